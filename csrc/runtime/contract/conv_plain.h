// Convolutions as a matrix product with the input unfolded in memory: any type, no generated kernels.
#pragma once
#include "runtime/contract/conv.h"

namespace fl {

void plain_conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act);
void plain_conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void plain_conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
