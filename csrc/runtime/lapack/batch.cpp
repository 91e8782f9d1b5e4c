#include "runtime/lapack/batch.h"

#include <climits>

#include "core/error.h"
#include "runtime/copy.h"

namespace fl::lapack {

namespace {

int small(int64_t n) {
  FL_CHECK(n <= INT_MAX, ErrorKind::Runtime, "a matrix of %lld rows or columns is too large for LAPACK",
           static_cast<long long>(n));
  return static_cast<int>(n);
}

Dims column_strides(IntSpan sizes) {
  Dims strides = contiguous_strides(sizes);
  int n = strides.size();
  strides[n - 2] = 1;
  strides[n - 1] = std::max<int64_t>(sizes[static_cast<size_t>(n) - 2], 1);
  return strides;
}

Batch described(TensorRef t) {
  int n = t->dim();
  Batch b{std::move(t)};
  b.rows = small(b.tensor->sizes[n - 2]);
  b.cols = small(b.tensor->sizes[n - 1]);
  b.count = 1;
  for (int d = 0; d < n - 2; ++d) b.count *= b.tensor->sizes[d];
  return b;
}

}  // namespace

Dims batch_dims(const Tensor& t, int last) { return Dims(IntSpan(t.sizes).first(static_cast<size_t>(t.dim() - last))); }

void check_matrices(const Tensor& t, const char* name) {
  FL_CHECK(t.dim() >= 2, ErrorKind::Runtime, "%s: expected matrices, got a tensor of %d dimensions", name, t.dim());
  FL_CHECK(t.dtype >= DType::F32, ErrorKind::NotImplemented, "\"%s\" is implemented for float32, float64 and complex",
           name);
}

void check_square(const Tensor& t, const char* name) {
  check_matrices(t, name);
  FL_CHECK(t.sizes[t.dim() - 1] == t.sizes[t.dim() - 2], ErrorKind::Runtime, "%s: expected square matrices", name);
}

void check_shape(const Tensor& t, const Tensor& like, std::initializer_list<int64_t> last, DType dtype,
                 const char* name) {
  Dims sizes = batch_dims(like);
  for (int64_t n : last) sizes.push_back(n);
  FL_CHECK(t.sizes == sizes && t.dtype == dtype && t.device() == like.device(), ErrorKind::Runtime,
           "%s: operands do not fit together", name);
}

Batch new_batch(const Tensor& like, int64_t rows, int64_t cols, DType dtype) {
  Dims sizes = batch_dims(like);
  sizes.push_back(rows);
  sizes.push_back(cols);
  checked_numel(sizes);
  return described(Tensor::empty_strided(sizes, column_strides(sizes), dtype, like.device()));
}

Batch copy_of(Tensor* t) {
  Batch b = new_batch(*t, t->sizes[t->dim() - 2], t->sizes[t->dim() - 1], t->dtype);
  if (!t->is_meta()) copy_into(b.tensor.get(), t);
  return b;
}

Batch columns_of(Tensor* t) {
  if (t->strides == column_strides(t->sizes)) return described(TensorRef(t));
  return copy_of(t);
}

TensorRef new_vector(const Tensor& like, int64_t n, DType dtype) {
  Dims sizes = batch_dims(like);
  if (n >= 0) sizes.push_back(n);
  return Tensor::empty(sizes, dtype, like.device());
}

DType complex_of(DType dtype) { return dtype == DType::F32 ? DType::C64 : dtype == DType::F64 ? DType::C128 : dtype; }

}  // namespace fl::lapack
