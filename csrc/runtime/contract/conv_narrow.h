// Convolutions of 16-bit floating point, summed in float32 and rounded once.
#pragma once
#include "runtime/contract/conv.h"

namespace fl {

constexpr bool is_narrow(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

void narrow_conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act);
void narrow_conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void narrow_conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
