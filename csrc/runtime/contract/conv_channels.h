// Depthwise convolutions of channels-last operands, as they lie: lanes are channels.
#pragma once
#include "runtime/contract/conv.h"

namespace fl {

// As many outputs as channels, each a group of its own, of a type that has kernels.
bool channels_suit(const Conv& conv);

// Dense weights, everything else channels last and not empty; as the functions of conv.h.
void channels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y);
void channels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void channels_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
