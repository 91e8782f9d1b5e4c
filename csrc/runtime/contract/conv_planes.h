// Convolutions of groups with few channels (depthwise ones above all): no panel is made. Planes are copied between
// zeros into a scratch that stays in the nearest cache, columns of a stride apart, and every tap is an offset in it.
#pragma once
#include "runtime/contract/conv_taps.h"

namespace fl {

bool planes_suit(const MicroKernels& mk, const TapConv& conv);
// Several phases of one result are written plane by plane, so that its memory is touched once.
void planes_forward(const MicroKernels& mk, const std::vector<const TapConv*>& phases);

// `conv` is the forward convolution; its weights and output are not looked at.
bool planes_suit_weights(const MicroKernels& mk, const TapConv& conv);
void planes_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw);

}  // namespace fl
