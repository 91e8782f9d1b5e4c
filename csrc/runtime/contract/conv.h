// Convolutions in one, two or three dimensions and their gradients, on dense tensors in channels-first order.
#pragma once
#include <cstdint>

#include "runtime/contract/gemm.h"

namespace fl {

// The geometry of the forward convolution; the gradients are told the same. A convolution with fewer dimensions sets
// the leading ones to 1 (size, kernel, stride, dilation, output) and 0 (padding). Positions outside the input count as
// 0, so `output` alone says how far the padding at the end goes.
struct Conv {
  int64_t batch = 1, groups = 1, in_channels = 1, out_channels = 1;  // channels of all groups
  int64_t size[3] = {1, 1, 1}, output[3] = {1, 1, 1};
  int64_t kernel[3] = {1, 1, 1}, stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  DType dtype = DType::F32;
  bool flat() const { return size[0] == 1 && output[0] == 1 && kernel[0] == 1 && padding[0] == 0; }
};

// y[n, o] = act(sum over channels and kernel of x * w + bias[o]); `bias` may be null.
void conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y,
                  Activation act = Activation::None);

// dx of the forward convolution; also the transposed convolution, which is why it takes a bias (in_channels long).
void conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);

void conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw);

// The same with given kernels, for convolutions that are not empty: every operand has elements of the kernels' size.
struct MicroKernels;
void conv_forward(const MicroKernels& mk, const Conv& conv, const void* x, const void* w, const void* bias, void* y,
                  Activation act);
void conv_backward_input(const MicroKernels& mk, const Conv& conv, const void* dy, const void* w, const void* bias,
                         void* dx);
void conv_backward_weight(const MicroKernels& mk, const Conv& conv, const void* x, const void* dy, void* dw);

}  // namespace fl
