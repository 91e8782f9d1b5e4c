// Generated micro-kernels of contractions, as micro.py and contract.py in src/flambeau/codegen make them: the tables
// and their arguments.
#pragma once
#include <cstdint>

#include "core/dtype.h"

namespace fl {

// Where a kernel in mode `make` finds a row of B: at `offset` bytes, lanes by mask, one mask a vector. In mode `taps` a
// column of A lies there, and its row of the panel at `panel` bytes.
struct Tap {
  int64_t offset;
  union {
    uint16_t mask[4];
    int64_t panel;
  };
};

// Where pack_columns finds one lane of the panel: at `offset` bytes, elements by mask, one mask a group of lanes. Null
// masks of the first row of a vector: all elements of all its rows.
struct PackedRow {
  int64_t offset;
  const uint16_t* masks;
};

enum MicroFlag : int64_t {
  kAccumulate = 1,
  kColumnBias = 2,
  kRowBias = 4,
  kRelu = 8,
  kNarrow = 16,
  kStream = 32,  // whole rows of 64-byte vectors go past the caches, to addresses that are multiples of 64
  kNear = 64,    // the result lies in a near cache, and is not asked for ahead
};

// The arguments of a micro-kernel; strides in bytes. The order is that of FIELDS in micro.py.
struct MicroArgs {
  int64_t k;  // at least 1
  const char* a;
  int64_t a_row, a_col;
  const char* b;  // mode use: rows `panel_step` apart; mode make: what the taps' offsets count from
  char* c;
  int64_t c_row;
  int64_t mask;   // lanes of the last vector
  int64_t flags;  // MicroFlag
  const char* column_bias;
  const char* row_bias;
  char* panel;         // mode make writes the panel here, rows `panel_step` apart (0: the panel is not wanted)
  int64_t panel_step;  // mode taps: between channels of the panel
  const Tap* taps;     // row k of B is tap k % taps of channel k / taps
  const Tap* taps_end;
  int64_t channel_step;
  int64_t prefetch;   // bytes from here to what the next panel will read
  int64_t pair_step;  // kernels of pairs, mode make: to the second row of a pair
  int64_t tiles;      // mode use: so many below each other; 0 is one
};

constexpr int kMaxVectors = 3;
constexpr int kMaxHeight = 14;
constexpr int kTapsVectors = 2;
constexpr int kMaxPlaneSums = 9;

struct MicroKernels {
  using Kernel = void (*)(const MicroArgs*);
  // Element k of row j of the source becomes lane j of row k of `out`: rows in groups of as many as a vector has lanes,
  // `step` bytes apart; scatter_columns writes of every vector only the lanes in `mask`.
  using PackColumns = void (*)(int64_t groups, const char* source, const PackedRow* rows, char* out, int64_t vectors,
                               int64_t step, int64_t mask);
  // Products of the vector x with one or four rows of b: `pairs` pairs of vectors and a last pair with lanes by `masks`
  // (low and high 32 bits).
  using Dot = void (*)(int64_t pairs, const char* x, const char* b, int64_t row, int64_t masks, char* out);

  // Rows of `whole` pairs of vectors, and a last pair by masks of 16 bits: dealt out to even and odd elements, and
  // back. split_2 takes the lanes of both vectors and of evens and odds, merge_2 those of the two vectors written.
  using Split = void (*)(int64_t rows, int64_t whole, const char* from, int64_t from_row, char* evens, char* odds,
                         int64_t to_row, int64_t masks);
  using Merge = void (*)(int64_t rows, int64_t whole, const char* evens, const char* odds, int64_t from_row, char* to,
                         int64_t to_row, int64_t masks);

  int lanes;  // of a vector
  int vector_bytes;
  int element_bytes;
  int max_height[kMaxVectors + 1];  // rows of a tile, by the number of vectors
  bool masked;                      // kernels in mode make respect lane masks; if not, only height 0 (pack) does
  int64_t l2_bytes;
  int max_plane_sums;  // taps; 0: there are no kernels over planes
  Kernel make[kMaxVectors + 1][kMaxHeight + 1];
  Kernel use[kMaxVectors + 1][kMaxHeight + 1];
  Kernel taps[kMaxHeight + 1];  // of pairs; those of float32 and float64 are among the ConvKernels
  PackColumns pack_columns, scatter_columns;
  Split split_2;
  Merge merge_2;
  Dot dot_1, dot_4;
};

// Kernels of float16 or bfloat16, as src/flambeau/codegen/narrow.py makes them.
struct NarrowKernels {
  // Rows of `count` elements as float32, and back; rows in bytes.
  using Rows = void (*)(int64_t rows, int64_t count, const char* source, int64_t source_row, char* out,
                        int64_t out_row);
  int lanes;       // 16-bit elements that dot takes at a time; its results are float32
  bool has_pairs;  // the machine multiplies pairs of bfloat16
  Rows widen, narrow;
  MicroKernels::Dot dot_1, dot_4;
  // Elements are pairs along the depth, 32 bits each, in A and in panels; C is float32, or 16 bits with kNarrow.
  MicroKernels pairs;
};

// The kernels of float16 or bfloat16; null where none can be had.
const NarrowKernels* narrow_kernels(DType dtype);

// Kernels of pairs for operands that consist of pairs where they lie, as src/flambeau/codegen/paired.py makes them: all
// that convolutions need but kernels over planes. Null where the machine multiplies no pairs of this type.
const MicroKernels* paired_kernels(DType dtype);

// The kernels of float32 or float64; null where none can be had (other types, no executable memory).
const MicroKernels* micro_kernels(DType dtype);

// The kernels of complex64 or complex128, as src/flambeau/codegen/complex_tiles.py makes them: what products of
// matrices need. An element is a number, lanes count numbers. Null where none can be had.
const MicroKernels* complex_kernels(DType dtype);

// Set by bind. Called when the kernels of a type are first wanted; it answers by install_micro_kernels, or not at all.
extern void (*micro_kernel_source)(DType dtype);
extern void (*paired_kernel_source)(DType dtype);

// `layout` and `addresses` in the order of `layout` and `kernel_names` in contract.py, narrow.py or complex_tiles.py.
void install_micro_kernels(DType dtype, const int64_t* layout, const uint64_t* addresses);
// The kernels of pairs are there.
void install_paired_kernels(DType dtype, const uint64_t* addresses);

}  // namespace fl
