// Generated kernels of depthwise convolutions on channels-last operands, as src/flambeau/codegen/channels.py makes
// them: the table and their arguments.
#pragma once
#include "runtime/contract/kernels.h"

namespace fl {

// One tap: from a pixel to what it reads, and its place among the weights of a vector of channels; bytes.
struct ChannelTap {
  int64_t x, weights;
};

// A rectangle of pixels that the same taps reach; distances in bytes. The order is that of FIELDS in channels.py.
struct ChannelArgs {
  const ChannelTap* taps;
  int64_t count;
  char* weights;  // sums_<taps>: the sums
  int64_t weights_vector;
  const char* x;
  int64_t x_pixel, x_row;
  char* y;
  int64_t y_pixel, y_row;
  int64_t pixels;   // of a row; taps_<pixels>: blocks of them
  int64_t rows;     // at least 1, like pixels
  int64_t vectors;  // of channels
  int64_t mask;     // lanes of the last vector
  const char* bias;
  int64_t flags;  // kRowBias, kRelu, kStream
  int64_t ahead;  // rows from here to those that are prefetched
};

constexpr int kPixelBlocks[] = {1, 2, 4, 8};

struct ChannelKernels {
  using Kernel = void (*)(const ChannelArgs*);
  Kernel taps[4];                  // by the pixels of a block, kPixelBlocks
  Kernel sums[kMaxPlaneSums + 1];  // by the number of taps, up to max_plane_sums of the micro-kernels
};

// The kernels of float32 or float64; null where none can be had.
const ChannelKernels* channel_kernels(DType dtype);

// Set by bind; see micro_kernel_source.
extern void (*channel_kernel_source)(DType dtype);

// `addresses` in the order of `kernel_names` in channels.py.
void install_channel_kernels(DType dtype, const uint64_t* addresses, int64_t count);

}  // namespace fl
