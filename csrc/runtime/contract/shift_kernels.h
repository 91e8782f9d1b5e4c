// Generated kernels of depthwise convolutions of narrow images, as src/flambeau/codegen/shifts.py makes them: the table
// and their arguments.
#pragma once
#include "runtime/contract/kernels.h"

namespace fl {

// Whole planes of images; distances in bytes. The order is that of FIELDS in shifts.py.
struct ShiftArgs {
  const char* weights;
  int64_t weights_plane;  // between planes
  const char* x;
  int64_t x_plane;
  char* y;
  int64_t y_plane;
  int64_t row;            // between rows of x, and of y
  int64_t planes, rows;   // rows of vectors, at least those of the kernel's block
  const uint16_t* masks;  // [vector row, from size / 2 above the first to as many below the last][part]
  const uint16_t* edges;  // [distance of a lane, from -size / 2 on]: lanes whose neighbour there is of the same part
  const char* bias;       // an element a plane
  int64_t flags;          // kRowBias, kRelu
};

constexpr int kShiftSizes[] = {3, 5, 7};
constexpr int kShiftParts[] = {1, 2};
constexpr int kShiftRows[] = {4, 7};

struct ShiftKernels {
  using Kernel = void (*)(const ShiftArgs*);
  Kernel planes[3][2][2];  // by kernel size, parts of a vector, and vector rows of a block
};

// The kernels of float32 or float64; null where none can be had.
const ShiftKernels* shift_kernels(DType dtype);

// Set by bind; see micro_kernel_source.
extern void (*shift_kernel_source)(DType dtype);

// `addresses` in the order of `kernel_names` in shifts.py.
void install_shift_kernels(DType dtype, const uint64_t* addresses);

}  // namespace fl
