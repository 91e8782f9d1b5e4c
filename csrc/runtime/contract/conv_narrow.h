// Convolutions of 16-bit floating point, summed in float32 and rounded once.
#pragma once
#include "runtime/contract/conv.h"

namespace fl {

constexpr bool is_narrow(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16; }

void narrow_conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act);
void narrow_conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void narrow_conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

// The same for channels last, as conv_layout.h and conv_channels.h have them for float32.
bool narrow_pixels_suit(const Conv& conv, bool turned);
void narrow_pixels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y);
void narrow_pixels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
bool narrow_channels_suit(const Conv& conv);
void narrow_channels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y);
void narrow_channels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void narrow_channels_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
