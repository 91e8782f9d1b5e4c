// The dimensions that several operands are walked over together, and how they are cut into pieces.
#pragma once
#include <algorithm>

#include "runtime/kernel_table.h"
#include "runtime/pool.h"

namespace fl {

constexpr int kMaxDims = 64;                  // PyTorch's limit as well
constexpr int64_t kPieceElements = 16384;     // of one task
constexpr int64_t kParallelElements = 32768;  // fewer run on the calling thread

struct Iteration {
  int dims = 0, operands = 0;
  int64_t elements = 1;
  int64_t size[kMaxDims];                  // outermost first
  int64_t stride[kMaxDims][kMaxOperands];  // bytes
  char* data[kMaxOperands];

  // Dimensions of one element are left out.
  explicit Iteration(IntSpan sizes);
  // The tensor broadcast to the sizes given to the constructor.
  void add(const Tensor& t);
  void add_number(void* element);
  // Orders dimensions by the strides of the first operand that tells two of them apart, then merges neighbours that
  // every operand walks as one. At least one dimension stays.
  void collapse();
  void swap_dims(int a, int b);

  int64_t inner_size() const { return size[dims - 1]; }
  int64_t inner_stride(int operand) const { return stride[dims - 1][operand]; }
  int64_t row_stride(int operand) const { return dims > 1 ? stride[dims - 2][operand] : 0; }

 private:
  IntSpan sizes_;
};

// Rows are runs of the innermost dimension. A piece is either a part of one row, or `rows` rows.
struct Pieces {
  static constexpr int64_t kRowUnit = 64;
  int64_t rows, per_row, row_length, rows_per_piece, count;
  // least_rows: 1, or a multiple of kRowUnit, as all pieces then have but the last.
  Pieces(const Iteration& it, int64_t least_rows, int64_t work);
};

// Calls fn(char** ptr, n, m) for blocks of m rows of n elements; the strides are those of the two innermost dimensions.
// Blocks depend on the shape and the work only.
template <class F>
void run_piece(const Iteration& it, const Pieces& pieces, int64_t piece, F&& fn) {
  char* ptr[kMaxOperands];
  int64_t first = piece / pieces.per_row * pieces.rows_per_piece;
  int64_t last = std::min(pieces.rows, first + pieces.rows_per_piece);
  int64_t begin = piece % pieces.per_row * pieces.row_length;
  int64_t n = std::min(pieces.row_length, it.inner_size() - begin);
  int64_t group = it.dims > 1 ? it.size[it.dims - 2] : 1;
  while (first < last) {
    for (int k = 0; k < it.operands; ++k) ptr[k] = it.data[k] + begin * it.inner_stride(k);
    int64_t rest = first;
    for (int d = it.dims - 2; d >= 0; --d) {
      int64_t at = rest % it.size[d];
      rest /= it.size[d];
      for (int k = 0; k < it.operands; ++k) ptr[k] += at * it.stride[d][k];
    }
    int64_t m = std::min(last - first, group - first % group);
    fn(ptr, n, m);
    first += m;
  }
}

template <class F>
void run_pieces(const Iteration& it, F&& fn, int64_t least_rows = 1, int64_t work = 1) {
  if (it.elements == 0) return;
  Pieces pieces(it, least_rows, work);
  LongWork quiet(it.elements * work >= 4 * kParallelElements);
  parallel_for(pieces.count, [&](int64_t p) { run_piece(it, pieces, p, fn); });
}

}  // namespace fl
