// Convolutions whose SIMD lanes are images. Inputs are rearranged to [pixel][channel][image], where every pixel is a
// packed panel already: no panel is made, taps outside the input cost nothing, and strides and dilations are offsets.
// It suits batches of small images; for large ones the rearranging would take too long.
#pragma once
#include "runtime/contract/conv.h"
#include "runtime/contract/kernels.h"

namespace fl {

// Images of a batch that are best computed this way: 0, or a multiple of the lanes; the rest goes another way.
int64_t images_as_lanes(const MicroKernels& mk, const Conv& conv);

// The first `images` of the batch.
void images_forward(const MicroKernels& mk, const Conv& conv, int64_t images, const char* x, const char* w,
                    const char* bias, char* y, Activation act);
void images_backward_input(const MicroKernels& mk, const Conv& conv, int64_t images, const char* dy, const char* w,
                           const char* bias, char* dx);

// The gradient of the weights, with channels as lanes and the depth running over pixels and images: rearranged once
// instead of once a tap, and nothing outside the input is multiplied.
bool weights_from_images(const MicroKernels& mk, const Conv& conv);
void images_backward_weight(const MicroKernels& mk, const Conv& conv, const char* x, const char* dy, char* dw);

}  // namespace fl
