// Generated kernels of attention, as src/flambeau/codegen/attention.py makes them: the table and their arguments.
#pragma once
#include "runtime/contract/kernels.h"

namespace fl {

// The arguments of a kernel over a block of scores: keys as rows, queries as lanes. The order is that of FIELDS in
// attention.py. Rows are whole aligned vectors; so are the values of each query that follow them.
struct ScoreArgs {
  char* scores;
  char* other;
  int64_t rows;
  int64_t free;        // rows before this one are seen by every query
  int64_t first;       // the key of row 0
  const char* limits;  // keys that each query sees: integers as wide as the elements
  char* maximum;
  char* total;
  char* factors;
  char* lse;  // logarithm of the sum of exponentials
  char* delta;
  const char* scale;
  const char* keys;  // weigh: rows of tiles, `key_row` bytes apart, times the panel `other`
  int64_t key_row, depth;
  int64_t step;       // weigh: bytes between rows of scores, and of the panel
  const char* ahead;  // weigh: pieces of rows, `ahead_step` bytes apart, that memory is asked for, one a step
  int64_t ahead_step;
  const char* ahead_last;
};

struct AttentionKernels {
  using Block = void (*)(const ScoreArgs*);
  // Groups of keys as wide as a vector; otherwise the operands of pack_columns.
  using Mask = void (*)(int64_t groups, const char* source, const PackedRow* rows, char* scores, int64_t vectors,
                        int64_t step);
  // n contiguous elements in another type.
  using Convert = void (*)(int64_t n, const char* from, char* to);
  // By the number of vectors.
  Block softmax[kMaxVectors + 1], finish[kMaxVectors + 1], gradient[kMaxVectors + 1], scale[kMaxVectors + 1],
      products[kMaxVectors + 1], hide[kMaxVectors + 1], weigh[kMaxVectors + 1];
  Block scale_rows;
  Mask mask, mask_bool;
  Convert read_f16, write_f16, read_bf16, write_bf16;  // of float32 only
};

// The kernels of float32 or float64; null where none can be had.
const AttentionKernels* attention_kernels(DType dtype);

// Set by bind; see micro_kernel_source.
extern void (*attention_kernel_source)(DType dtype);

// `addresses` in the order of `kernel_names` in attention.py.
void install_attention_kernels(DType dtype, const uint64_t* addresses);

}  // namespace fl
