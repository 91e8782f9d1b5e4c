// Batches of matrices as LAPACK wants them: columns one after another, matrices one after another.
#pragma once
#include <vector>

#include "core/tensor.h"
#include "runtime/lapack/library.h"
#include "runtime/op.h"
#include "runtime/pool.h"

namespace fl::lapack {

struct Batch {
  TensorRef tensor;
  int rows = 0, cols = 0;
  int64_t count = 0;

  bool has_work() const { return !tensor->is_meta() && count > 0; }
  int64_t size() const { return int64_t{rows} * cols; }
  int step() const { return rows > 1 ? rows : 1; }  // between columns, never 0
  template <class T>
  T* at(int64_t i) const {
    return tensor->data<T>() + i * size();
  }
};

// Sizes of a tensor less its last dimensions.
Dims batch_dims(const Tensor& t, int last = 2);
// A fresh batch; `like` gives batch dimensions and device.
Batch new_batch(const Tensor& like, int64_t rows, int64_t cols, DType dtype);
// A copy of the matrices of a tensor, to be worked on.
Batch copy_of(Tensor* t);
// The matrices of a tensor, to be read: itself where they lie in columns already.
Batch columns_of(Tensor* t);
// A fresh tensor with the batch dimensions of `like` and, if it is not negative, one more of size n.
TensorRef new_vector(const Tensor& like, int64_t n, DType dtype);
inline TensorRef new_info(const Tensor& like) { return new_vector(like, -1, DType::I32); }
DType complex_of(DType dtype);

// What every routine checks before it reads: users of the table's functions have been told more by then.
void check_matrices(const Tensor& t, const char* name);
void check_square(const Tensor& t, const char* name);
// Raises unless t has the batch dimensions of `like` followed by `last`, this dtype, and the same device.
void check_shape(const Tensor& t, const Tensor& like, std::initializer_list<int64_t> last, DType dtype,
                 const char* name);

// Calls fn(first, last) for ranges of `count` matrices, each of which takes about `work` operations.
template <class F>
void each_range(int64_t count, double work, F&& fn) {
  constexpr double kGrain = 50000;
  auto per = static_cast<int64_t>(kGrain / (work + 1)) + 1;
  int64_t ranges = (count + per - 1) / per;
  LongWork quiet(work * static_cast<double>(count) > 2 * kGrain);
  parallel_for(ranges, [&](int64_t r) { fn(r * per, std::min(count, (r + 1) * per)); });
}

inline double cube(int64_t n) { return static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n); }

// The length of workspace that a routine asks for in the first element of its answer.
template <class T>
int wanted(const T& answer) {
  auto n = static_cast<double>(std::real(answer));
  return n < 1 ? 1 : static_cast<int>(n);
}

// Whether all of n numbers are finite: some routines do not end otherwise.
template <class T>
bool all_finite(const T* x, int64_t n) {
  Real<T> sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += std::real(x[i]) * 0 + std::imag(x[i]) * 0;
  return sum == 0;
}

}  // namespace fl::lapack
