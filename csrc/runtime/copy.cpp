#include "runtime/copy.h"

#include <vector>

#include "core/error.h"
#include "runtime/elementwise.h"
#include "runtime/iteration.h"
#include "runtime/promotion.h"
#include "runtime/shape_text.h"

namespace fl {

namespace {

constexpr int64_t kTile = 32;  // of a transposing copy

// Through a small buffer: sources whose rows are a power of two apart would otherwise push one another out of the
// cache.
template <class T>
void copy_tile(char* to, const char* from, int64_t to_inner, int64_t to_row, int64_t from_inner, int64_t from_row,
               int64_t n, int64_t m) {
  T tile[kTile * kTile];
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < m; ++j) std::memcpy(&tile[j * kTile + i], from + j * from_row + i * from_inner, sizeof(T));
  for (int64_t j = 0; j < m; ++j)
    for (int64_t i = 0; i < n; ++i) std::memcpy(to + j * to_row + i * to_inner, &tile[j * kTile + i], sizeof(T));
}

// m rows of n elements of T, in tiles so that neither side strides through memory for long.
template <class T>
void copy_block(char** ptr, const Iteration& it, int64_t n, int64_t m) {
  int64_t to_inner = it.inner_stride(0), from_inner = it.inner_stride(1);
  int64_t to_row = it.row_stride(0), from_row = it.row_stride(1);
  for (int64_t i = 0; i < n; i += kTile)
    for (int64_t j = 0; j < m; j += kTile)
      copy_tile<T>(ptr[0] + i * to_inner + j * to_row, ptr[1] + i * from_inner + j * from_row, to_inner, to_row,
                   from_inner, from_row, std::min(kTile, n - i), std::min(kTile, m - j));
}

struct Wide {
  uint64_t parts[2];
};

void copy_strided(const Iteration& it, size_t item) {
  auto rows = [&](auto element) {
    run_pieces(it, [&](char** ptr, int64_t n, int64_t m) { copy_block<decltype(element)>(ptr, it, n, m); }, kTile);
  };
  switch (item) {
    case 1: return rows(uint8_t{});
    case 2: return rows(uint16_t{});
    case 4: return rows(uint32_t{});
    case 8: return rows(uint64_t{});
    default: return rows(Wide{});
  }
}

// Brings the dimension in which `from` is contiguous next to the innermost one.
void bring_near(Iteration& it, int64_t item) {
  for (int d = it.dims - 3; d >= 0; --d) {
    if (it.stride[d][1] != item) continue;
    std::swap(it.size[d], it.size[it.dims - 2]);
    for (int k = 0; k < 2; ++k) std::swap(it.stride[d][k], it.stride[it.dims - 2][k]);
    return;
  }
}

void copy_same_dtype(Tensor* to, Tensor* from) {
  Iteration it(to->sizes);
  it.add(*to);
  it.add(*from);
  it.collapse();
  auto item = static_cast<int64_t>(to->itemsize());
  if (it.inner_stride(0) != item || it.inner_stride(1) != item) {
    bring_near(it, item);
    return copy_strided(it, to->itemsize());
  }
  run_pieces(it, [&](char** ptr, int64_t n, int64_t m) {
    for (int64_t j = 0; j < m; ++j)
      std::memcpy(ptr[0] + j * it.row_stride(0), ptr[1] + j * it.row_stride(1), static_cast<size_t>(n * item));
  });
}

const Overload& cast_overload() {
  static const Overload* found = [] {
    Op* op = find_op("cast");
    FL_CHECK(op, ErrorKind::Runtime, "the table of operators has no 'cast'");
    return op->overloads[0].get();
  }();
  return *found;
}

void cast_elements(Tensor* to, Tensor* from) {
  Iteration it(to->sizes);
  it.add(*to);
  it.add(*from);
  DType dtypes[] = {to->dtype, from->dtype};
  run_elements(ElementKernelCall{.overload = cast_overload(), .dtypes = dtypes}, it);
}

bool same_elements(const Tensor& a, const Tensor& b) {
  return a.storage == b.storage && a.offset == b.offset && a.dtype == b.dtype && a.sizes == b.sizes &&
         a.strides == b.strides;
}

struct Span {
  int64_t begin, end;  // bytes in the storage
};
Span bytes_of(const Tensor& t) {
  int64_t last = 0;
  for (int d = 0; d < t.dim(); ++d) last += (t.sizes[d] - 1) * t.strides[d];
  auto item = static_cast<int64_t>(t.itemsize());
  return {t.offset * item, (t.offset + last + 1) * item};
}

// Every element has a place of its own and together they leave no gap.
bool is_dense(const Tensor& t) {
  if (t.is_contiguous()) return true;
  Iteration it(t.sizes);
  it.add(t);
  it.collapse();
  return it.dims == 1 && it.inner_stride(0) == static_cast<int64_t>(t.itemsize());
}

}  // namespace

void copy_into(Tensor* to, Tensor* from) {
  Dims sizes = broadcast_sizes(to->sizes, from->sizes);
  FL_CHECK(sizes == to->sizes, ErrorKind::Runtime, "output with shape %s doesn't match the broadcast shape %s",
           shape_text(to->sizes).c_str(), shape_text(sizes).c_str());
  if (to->is_meta() || from->is_meta() || to->numel() == 0 || same_elements(*to, *from)) return;
  check_writable(*to);
  if (from->numel() == 1) {
    fill_with(to, read_number(from->data(), from->dtype));
  } else if (to->dtype == from->dtype) {
    copy_same_dtype(to, from);
  } else {
    cast_elements(to, from);
  }
}

void fill_with(Tensor* to, const Value& number) {
  if (to->is_meta() || to->numel() == 0) return;
  alignas(16) char element[16] = {};
  write_number(number, to->dtype, element);
  if (to->numel() == 1) {
    std::memcpy(to->data(), element, to->itemsize());
    return;
  }
  Iteration it(to->sizes);
  it.add(*to);
  it.add_number(element);
  DType dtypes[] = {to->dtype, to->dtype};
  run_elements(ElementKernelCall{.overload = cast_overload(), .dtypes = dtypes}, it);
}

TensorRef cast_to(Tensor* t, DType dtype) {
  if (t->dtype == dtype) return TensorRef(t);
  TensorRef out = Tensor::empty_strided(t->sizes, result_strides(t->sizes, {&t, 1}), dtype, t->device());
  copy_into(out.get(), t);
  return out;
}

TensorRef clone_tensor(Tensor* t, MemoryFormat format) {
  Dims strides =
      format == MemoryFormat::Preserve ? result_strides(t->sizes, {&t, 1}) : format_strides(t->sizes, format);
  TensorRef out = Tensor::empty_strided(t->sizes, strides, t->dtype, t->device());
  copy_into(out.get(), t);
  return out;
}

TensorRef contiguous_tensor(Tensor* t, MemoryFormat format) {
  FL_CHECK(format != MemoryFormat::Preserve, ErrorKind::Runtime,
           "preserve memory format is unsupported by the contiguous operator");
  return has_format(*t, format) ? TensorRef(t) : clone_tensor(t, format);
}

Dims format_strides(IntSpan sizes, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return contiguous_strides(sizes);
  size_t n = format == MemoryFormat::ChannelsLast ? 4 : 5;
  FL_CHECK(sizes.size() == n, ErrorKind::Runtime, "required rank %zu tensor to use %s format", n,
           n == 4 ? "channels_last" : "channels_last_3d");
  Dims strides(static_cast<int>(n));
  int64_t stride = 1;
  auto put = [&](size_t d) {
    strides[static_cast<int>(d)] = stride;
    stride *= std::max<int64_t>(1, sizes[d]);
  };
  put(1);
  for (size_t d = n - 1; d >= 2; --d) put(d);
  put(0);
  return strides;
}

bool has_format(const Tensor& t, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return t.is_contiguous();
  int n = format == MemoryFormat::ChannelsLast ? 4 : 5;
  if (t.dim() != n) return false;
  Dims expected = format_strides(t.sizes, format);
  for (int d = 0; d < n; ++d)
    if (t.sizes[d] != 1 && t.strides[d] != expected[d]) return false;
  return true;
}

void check_writable(const Tensor& written) {
  FL_CHECK(written.storage->writable(), ErrorKind::Runtime,
           "the memory to be written is read-only. Clone the tensor first.");
}

void check_no_internal_overlap(const Tensor& written) {
  if (written.is_contiguous()) return;
  for (int d = 0; d < written.dim(); ++d)
    FL_CHECK(
        written.strides[d] != 0 || written.sizes[d] < 2, ErrorKind::Runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation.");
}

void check_no_partial_overlap(const Tensor& written, const Tensor& read) {
  if (&written == &read || !(written.storage == read.storage) || written.numel() == 0 || read.numel() == 0) return;
  if (!is_dense(written) || !is_dense(read)) return;
  Span a = bytes_of(written), b = bytes_of(read);
  if (a.begin >= b.end || b.begin >= a.end) return;
  bool same = a.begin == b.begin && a.end == b.end && written.strides == read.strides;
  FL_CHECK(
      same, ErrorKind::Runtime,
      "unsupported operation: some elements of the input tensor and the written-to tensor refer to a single memory "
      "location. Please clone() the tensor before performing the operation.");
}

}  // namespace fl
