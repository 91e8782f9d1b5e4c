#include "core/tensor.h"

#include <algorithm>
#include <string>

#include "core/error.h"

namespace fl {

void (*py_release)(Tensor*) = nullptr;

namespace {

std::string list_text(IntSpan v) {
  std::string text = "[";
  for (size_t i = 0; i < v.size(); ++i) text += (i ? ", " : "") + std::to_string(v[i]);
  return text + "]";
}

bool strides_are_contiguous(const Dims& sizes, const Dims& strides) {
  int64_t expected = 1;
  for (int i = sizes.size() - 1; i >= 0; --i) {
    if (sizes[i] == 1) continue;
    if (strides[i] != expected) return false;
    expected *= sizes[i];
  }
  return true;
}

[[noreturn]] void fail_negative(IntSpan sizes) {
  int64_t first = *std::ranges::find_if(sizes, [](int64_t size) { return size < 0; });
  fail(ErrorKind::Runtime, "Trying to create tensor with negative dimension %lld: %s", static_cast<long long>(first),
       list_text(sizes).c_str());
}

// Bytes that `numel` elements take; raises where the number does not fit.
size_t checked_bytes(int64_t numel, IntSpan sizes, DType dtype) {
  int64_t bytes;
  FL_CHECK(!__builtin_mul_overflow(numel, static_cast<int64_t>(dtype_size(dtype)), &bytes), ErrorKind::Runtime,
           "Storage size calculation overflowed with sizes=%s", list_text(sizes).c_str());
  return static_cast<size_t>(bytes);
}

// One past the last element that sizes and strides reach, counted from the first; raises where it does not fit.
int64_t checked_extent(IntSpan sizes, IntSpan strides) {
  int64_t last = 0;
  bool overflow = false;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    int64_t reach;
    overflow |= __builtin_mul_overflow(sizes[i] - 1, strides[i], &reach);
    overflow |= __builtin_add_overflow(last, reach, &last);
  }
  overflow |= last == INT64_MAX;
  FL_CHECK(!overflow, ErrorKind::Runtime, "Storage size calculation overflowed with sizes=%s and strides=%s",
           list_text(sizes).c_str(), list_text(strides).c_str());
  return last + 1;
}

void check_layout(IntSpan sizes, IntSpan strides) {
  FL_CHECK(sizes.size() == strides.size(), ErrorKind::Runtime,
           "mismatch in length of strides and shape: %zu sizes but %zu strides", sizes.size(), strides.size());
  for (int64_t stride : strides)
    FL_CHECK(stride >= 0, ErrorKind::Runtime,
             "as_strided: Negative strides are not supported at the moment, got strides: %s",
             list_text(strides).c_str());
}

}  // namespace

Ref<Tensor> Tensor::empty(IntSpan sizes, DType dtype, Device device) {
  int64_t numel = checked_numel(sizes);
  Ref<Storage> storage = Storage::create(checked_bytes(numel, sizes, dtype), device);
  Ref<Tensor> t = Ref<Tensor>::fresh(new Tensor);
  t->storage = std::move(storage);
  t->sizes = Dims(sizes);
  t->strides = contiguous_strides(sizes);
  t->dtype = dtype;
  t->numel_ = numel;
  return t;
}

Ref<Tensor> Tensor::empty_strided(IntSpan sizes, IntSpan strides, DType dtype, Device device) {
  checked_numel(sizes);
  check_layout(sizes, strides);
  size_t bytes = checked_bytes(checked_extent(sizes, strides), sizes, dtype);
  Ref<Storage> storage = Storage::create(bytes, device);
  Ref<Tensor> t = Ref<Tensor>::fresh(new Tensor);
  t->storage = std::move(storage);
  t->sizes = Dims(sizes);
  t->strides = Dims(strides);
  t->dtype = dtype;
  t->refresh();
  return t;
}

Ref<Tensor> Tensor::make(Ref<Storage> storage, int64_t offset, Dims sizes, Dims strides, DType dtype) {
  checked_numel(sizes);
  check_layout(sizes, strides);
  FL_CHECK(offset >= 0, ErrorKind::Runtime, "Tensor: invalid storage offset %lld", static_cast<long long>(offset));
  int64_t extent = checked_extent(sizes, strides);
  int64_t end = 0, end_bytes = 0;
  bool overflow = extent > 0 && (__builtin_add_overflow(offset, extent, &end) ||
                                 __builtin_mul_overflow(end, static_cast<int64_t>(dtype_size(dtype)), &end_bytes));
  FL_CHECK(
      !overflow && static_cast<uint64_t>(end_bytes) <= storage->bytes(), ErrorKind::Runtime,
      "setStorage: sizes %s, strides %s, storage offset %lld, and itemsize %zu requiring a storage size of %lld are "
      "out of bounds for storage of size %zu",
      list_text(sizes).c_str(), list_text(strides).c_str(), static_cast<long long>(offset), dtype_size(dtype),
      static_cast<long long>(end_bytes), storage->bytes());
  Ref<Tensor> t = Ref<Tensor>::fresh(new Tensor);
  t->storage = std::move(storage);
  t->offset = offset;
  t->sizes = std::move(sizes);
  t->strides = std::move(strides);
  t->dtype = dtype;
  t->refresh();
  return t;
}

void Tensor::refresh() {
  numel_ = 1;
  for (int64_t size : sizes) numel_ *= size;
  contiguous_ = numel_ == 0 || strides_are_contiguous(sizes, strides);
}

void Tensor::destroy() {
  if (owns_py) return py_release(this);
  delete this;
}

Dims contiguous_strides(IntSpan sizes) {
  Dims strides(static_cast<int>(sizes.size()));
  int64_t stride = 1;
  for (int i = strides.size() - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= sizes[static_cast<size_t>(i)] > 1 ? sizes[static_cast<size_t>(i)] : 1;
  }
  return strides;
}

int64_t checked_numel(IntSpan sizes) {
  int64_t positive = 1;  // strides do not see zeros, so the other sizes must fit by themselves
  bool zero = false, overflow = false, negative = false;
  for (int64_t size : sizes) {
    negative |= size < 0;
    zero |= size == 0;
    if (size > 1) overflow |= __builtin_mul_overflow(positive, size, &positive);
  }
  if (negative) [[unlikely]]
    fail_negative(sizes);
  FL_CHECK(!overflow, ErrorKind::Runtime, "Storage size calculation overflowed with sizes=%s",
           list_text(sizes).c_str());
  return zero ? 0 : positive;
}

Dims broadcast_sizes(IntSpan a, IntSpan b) {
  size_t n = std::max(a.size(), b.size());
  Dims sizes(static_cast<int>(n));
  for (size_t i = n; i-- > 0;) {  // the last dimension that does not fit is named
    size_t from_end = n - i;
    int64_t x = from_end <= a.size() ? a[a.size() - from_end] : 1;
    int64_t y = from_end <= b.size() ? b[b.size() - from_end] : 1;
    FL_CHECK(x == y || x == 1 || y == 1, ErrorKind::Runtime,
             "The size of tensor a (%lld) must match the size of tensor b (%lld) at non-singleton dimension %zu",
             static_cast<long long>(x), static_cast<long long>(y), i);
    sizes[static_cast<int>(i)] = x == 1 ? y : x;
  }
  return sizes;
}

int wrap_dim(int64_t dim, int ndim) {
  int64_t n = ndim > 0 ? ndim : 1;  // a scalar answers to -1 and 0
  FL_CHECK(dim >= -n && dim < n, ErrorKind::Index,
           "Dimension out of range (expected to be in range of [%lld, %lld], but got %lld)", static_cast<long long>(-n),
           static_cast<long long>(n - 1), static_cast<long long>(dim));
  return static_cast<int>(dim < 0 ? dim + n : dim);
}

}  // namespace fl
