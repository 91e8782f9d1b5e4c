// Operands of convolutions in channels-last order: a convolution of points is a matrix product of them as they lie,
// some others read pixels where they lie, the rest is computed channels first, with squares of lanes transposed on the
// way.
#pragma once
#include "runtime/contract/conv.h"
#include "runtime/copy.h"

namespace fl {

// The channels-last format that the memory of `t` has; Contiguous for all others.
MemoryFormat channels_format(const Tensor* t);

// The values of `t` in contiguous memory.
TensorRef channels_first(Tensor* t);
// A contiguous result in a format.
TensorRef in_format(TensorRef t, MemoryFormat format);

// One kernel position, no strides, no padding, no groups.
bool is_pointwise(const Conv& conv);
// For those that pixels_suit.
void pixels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y);
void pixels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);

// Dense weights, everything else channels last; as the functions of conv.h.
void points_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y);
void points_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);
void points_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
