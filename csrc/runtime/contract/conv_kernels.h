// Generated kernels that only some convolutions take, as micro.py, planes.py and conv.py in src/flambeau/codegen make
// them: the table and their arguments.
#pragma once
#include <iterator>

#include "runtime/contract/kernels.h"

namespace fl {

// The arguments of a kernel over planes, as PLANE_FIELDS in planes.py; strides and offsets in bytes.
struct PlaneArgs {
  const int64_t* taps;  // distance from an output to what tap t reads for it
  int64_t count;
  char* weights;  // one a tap; for plane_sums a vector of sums a tap
  const char* x;
  int64_t x_row;  // between what neighbouring rows of outputs read
  char* y;
  int64_t y_row;
  int64_t blocks;   // of rows
  int64_t vectors;  // of a row of y (plane_sums)
  int64_t mask;     // lanes of the last vector
  const char* bias;
  int64_t flags;          // kRowBias, kRelu
  int64_t weights_row;    // between weights of a column of taps (plane_column), or of planes (plane_flat)
  const uint16_t* masks;  // lanes of x by vector and tap (plane_flat, flat_sums)
  int64_t masks_row;      // between vectors
  const char* ahead;      // what will be read next (plane_row, plane_rows, plane_column)
};

constexpr int kPlaneRows = 4;
constexpr int kColumnVectors = 2;
constexpr int kColumnHeights[] = {3, 5, 7};
constexpr int kFlatPlanes = 4;

struct ConvKernels {
  using Plane = void (*)(const PlaneArgs*);

  MicroKernels::Kernel taps[kMaxHeight + 1];                      // kTapsVectors wide; null where tiles are low
  Plane plane_row[kMaxVectors + 1], plane_rows[kMaxVectors + 1];  // one row, kPlaneRows rows a block
  Plane plane_column[std::size(kColumnHeights)]
                    [kColumnVectors + 1];  // by the height in kColumnHeights; kPlaneRows rows a block
  Plane plane_sums[kMaxPlaneSums + 1];     // by the number of taps
  // With masks only.
  Plane flat_sums[kMaxPlaneSums + 1];
  Plane plane_flat_1, plane_flat_4;  // one plane, kFlatPlanes planes a block
};

// The kernels beside those of float32 or float64; null where none can be had.
const ConvKernels* conv_kernels(const MicroKernels& mk);

// Set by bind; see micro_kernel_source.
extern void (*conv_kernel_source)(DType dtype);

// `addresses` in the order of `kernel_names` in conv.py; the micro-kernels are there.
void install_conv_kernels(DType dtype, const uint64_t* addresses);

}  // namespace fl
