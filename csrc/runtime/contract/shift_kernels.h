// Generated kernels of depthwise convolutions whose taps are shuffles, as src/flambeau/codegen/shifts.py makes them:
// the table and their arguments.
#pragma once
#include "runtime/contract/kernels.h"

namespace fl {

// Whole planes; distances in bytes. The order is that of FIELDS in shifts.py.
struct ShiftArgs {
  const char* weights;
  int64_t weights_plane;  // between planes
  const char* x;
  int64_t x_plane, x_row;
  char* y;
  int64_t y_plane, y_row;
  int64_t planes;
  int64_t rows;  // of vectors of outputs, at least those of the kernel's block
  // shift: [vector row, from size / 2 above the first to as many below the last][part]. halve: of the vectors of a row
  // that are read, from one in front of the outputs' columns to one behind, and of the last vector of outputs.
  const uint16_t* masks;
  const uint16_t* edges;  // shift: [distance of a lane, from -size / 2 on], lanes whose neighbour is of the same part
  int64_t height;         // halve: rows of x
  const char* zeros;      // halve: read in place of rows outside
  const char* bias;       // an element a plane
  int64_t flags;          // kRowBias, kRelu
};

constexpr int kShiftSizes[] = {3, 5, 7};
constexpr int kShiftParts[] = {1, 2};
constexpr int kShiftRows[] = {4, 7};
constexpr int kHalveSizes = 2;  // the first of kShiftSizes
constexpr int kHalveVectors = 2, kHalveRows = 4;

struct ShiftKernels {
  using Kernel = void (*)(const ShiftArgs*);
  Kernel shift[3][2][2];                         // by kernel size, parts of a vector, and vector rows of a block
  Kernel halve[kHalveSizes][kHalveVectors + 1];  // by kernel size and vectors of outputs
};

// The kernels of float32 or float64; null where none can be had.
const ShiftKernels* shift_kernels(DType dtype);

// Set by bind; see micro_kernel_source.
extern void (*shift_kernel_source)(DType dtype);

// `addresses` in the order of `kernel_names` in shifts.py.
void install_shift_kernels(DType dtype, const uint64_t* addresses);

}  // namespace fl
