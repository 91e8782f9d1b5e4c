#include "runtime/copy.h"

#include <vector>

#include "core/error.h"
#include "runtime/elementwise.h"
#include "runtime/iteration.h"
#include "runtime/promotion.h"
#include "runtime/shape_text.h"
#include "runtime/stream.h"

namespace fl {

namespace {

// Bytes between neighbours of a block of m rows of n elements.
struct Distances {
  int64_t to_inner, to_row, from_inner, from_row;
};

constexpr int64_t kFewest = 8;      // with fewer rows or columns there is nothing to gain from turning squares
constexpr int64_t kRowPart = 1024;  // elements of a row that are copied before the next row is begun
constexpr int64_t kAhead = 8192;    // bytes of rows that are fetched before they are read
constexpr int64_t kLongRow = 2048;  // bytes: within such rows the machine sees by itself what comes next

template <class T>
void copy_row(char* to, const char* from, int64_t to_inner, int64_t from_inner, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(to, from, sizeof(T));
    to += to_inner;
    from += from_inner;
  }
}

template <class T>
void copy_part(char* to, const char* from, const Distances& d, int64_t n, int64_t m) {
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
  for (int64_t j = 0; j < m; ++j, to += d.to_row, from += d.from_row) {
    if (d.to_inner == kItem)
      copy_row<T>(to, from, kItem, d.from_inner, n);
    else if (d.from_inner == kItem)
      copy_row<T>(to, from, d.to_inner, kItem, n);
    else
      copy_row<T>(to, from, d.to_inner, d.from_inner, n);
  }
}

// Rows whose elements alternate in the result: that is one run, which is put together before it goes past the caches.
template <class T>
void mix_rows(char* to, const char* from, const Distances& d, int64_t n, int64_t m) {
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
  alignas(64) char near[kFewest * kRowPart * kItem];
  copy_part<T>(near, from, d, n, m);
  copy_bytes(to, near, static_cast<size_t>(n * m * kItem), true);
}

template <class T>
void copy_rows(char* to, const char* from, const Distances& d, int64_t n, int64_t m, bool stream) {
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
  stream = stream && m < kFewest && d.to_row == kItem && d.to_inner == m * kItem;
  for (int64_t i = 0; i < n; i += kRowPart, to += kRowPart * d.to_inner, from += kRowPart * d.from_inner)
    (stream ? mix_rows<T> : copy_part<T>)(to, from, d, std::min(kRowPart, n - i), m);
  if (stream) stream_fence();
}

struct Wide {
  uint64_t parts[2];
};

// Of few long rows, as of a few channels, all go together: they share what is read, or written.
template <class T>
void copy_strided_as(Iteration& it) {
  if (it.dims > 1 && it.size[it.dims - 2] < std::min(kFewest, it.inner_size())) it.swap_dims(it.dims - 2, it.dims - 1);
  const auto all = it.elements * static_cast<int64_t>(sizeof(T));
  const bool stream = streams(all, all);
  Distances d{it.inner_stride(0), it.row_stride(0), it.inner_stride(1), it.row_stride(1)};
  Distances across{d.to_row, d.to_inner, d.from_row, d.from_inner};
  run_pieces(it, [&](char** ptr, int64_t n, int64_t m) {
    if (n < std::min(kFewest, m))
      copy_rows<T>(ptr[0], ptr[1], across, m, n, stream);
    else
      copy_rows<T>(ptr[0], ptr[1], d, n, m, stream);
  });
}

void copy_strided(Iteration& it, size_t item) {
  switch (item) {
    case 1: return copy_strided_as<uint8_t>(it);
    case 2: return copy_strided_as<uint16_t>(it);
    case 4: return copy_strided_as<uint32_t>(it);
    case 8: return copy_strided_as<uint64_t>(it);
    default: return copy_strided_as<Wide>(it);
  }
}

const Overload& cast_overload() {
  static const Overload* found = [] {
    Op* op = find_op("cast");
    FL_CHECK(op, ErrorKind::Runtime, "the table of operators has no 'cast'");
    return op->overloads[0].get();
  }();
  return *found;
}

// Brings the dimension in which `from` is contiguous next to the innermost one.
void bring_near(Iteration& it, int64_t item) {
  for (int d = it.dims - 3; d >= 0; --d) {
    if (it.stride[d][1] != item) continue;
    return it.swap_dims(d, it.dims - 2);
  }
}

void fetch(const char* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(from + i, 0, 2);
}

// Rows of elements that lie next to each other on both sides. Of large results, rows that lie ahead are fetched: of the
// block that follows in this dimension or, at its end, in the next one.
void copy_contiguous_rows(const Iteration& it, int64_t item) {
  const int64_t all = it.elements * item;
  const bool stream = streams(all, all);
  const int64_t to_row = it.row_stride(0), from_row = it.row_stride(1);
  run_pieces(it, [&](char** ptr, int64_t n, int64_t m) {
    const int64_t bytes = n * item, ahead = std::min(m, kAhead / bytes);
    char* to = ptr[0];
    const char* from = ptr[1];
    auto copy = [&](int64_t rows, const char* fetched) {
      for (int64_t j = 0; j < rows; ++j, to += to_row, from += from_row) {
        if (fetched) fetch(fetched + j * from_row, bytes);
        copy_bytes(to, from, static_cast<size_t>(bytes), stream);
      }
    };
    if (all < kStreamBytes || bytes >= kLongRow) {
      copy(m, nullptr);
    } else {
      const bool whole = it.dims > 2 && m == it.size[it.dims - 2];
      const char* next = from + (whole ? it.stride[it.dims - 3][1] : m * from_row);
      copy(m - ahead, from + ahead * from_row);
      copy(ahead, next);
    }
    if (stream) stream_fence();
  });
}

void copy_same_dtype(Tensor* to, Tensor* from) {
  Iteration it(to->sizes);
  it.add(*to);
  it.add(*from);
  it.collapse();
  auto item = static_cast<int64_t>(to->itemsize());
  // One element everywhere, as in the gradient of a sum: vectors of it are stored.
  if (it.dims == 1 && it.inner_stride(0) == item && it.inner_stride(1) == 0 && item <= 8)
    return copy_elements(it, item);
  if (it.inner_stride(0) != item || it.inner_stride(1) != item) {
    bring_near(it, item);
    bool turned = it.inner_stride(0) == item && it.row_stride(1) == item;
    if (turned && item <= 8 && it.inner_size() >= kFewest && it.size[it.dims - 2] >= kFewest)
      return copy_elements(it, item);
    return copy_strided(it, to->itemsize());
  }
  copy_contiguous_rows(it, item);
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

void copy_elements(Iteration& it, int64_t item) {
  DType d = item == 1   ? DType::U8
            : item == 2 ? DType::U16
            : item == 4 ? DType::U32
            : item == 8 ? DType::U64
                        : DType::C128;
  DType dtypes[] = {d, d};
  run_elements(ElementKernelCall{.overload = cast_overload(), .dtypes = dtypes}, it);
}

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

namespace {

constexpr int64_t kFillPiece = 128 << 10;  // bytes of one task

// A word again and again, bytes % 8 == 0: each thread writes what it will read if it goes on with the result.
void fill_run(char* to, uint64_t word, int64_t bytes) {
  const bool stream = word == 0 && bytes >= kStreamZeros;
  LongWork work(bytes >= 8 * kFillPiece);
  parallel_for((bytes + kFillPiece - 1) / kFillPiece, [&](int64_t p) {
    char* piece = to + p * kFillPiece;
    auto n = static_cast<size_t>(std::min(kFillPiece, bytes - p * kFillPiece));
    stream ? stream_zeros(piece, n) : fill_words(piece, word, n);
  });
}

// Large and dense, of elements that make up whole words: false where the tensor is not so.
bool fill_large(const Iteration& it, const char* element, int64_t item) {
  int64_t bytes = it.elements * item;
  if (bytes < kStreamBytes || it.dims != 1 || it.inner_stride(0) != item || item > 8 || bytes % 8) return false;
  char word[8];
  for (int64_t i = 0; i < 8; i += item) std::memcpy(word + i, element, static_cast<size_t>(item));
  uint64_t pattern;
  std::memcpy(&pattern, word, 8);
  fill_run(it.data[0], pattern, bytes);
  return true;
}

}  // namespace

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
  it.collapse();
  if (fill_large(it, element, static_cast<int64_t>(to->itemsize()))) return;
  DType dtypes[] = {to->dtype, to->dtype};
  run_elements(ElementKernelCall{.overload = cast_overload(), .dtypes = dtypes}, it);
}

void clear_bytes(void* memory, int64_t bytes) {
  auto* to = static_cast<char*>(memory);
  const int64_t words = bytes < 2 * kFillPiece ? 0 : bytes / 8 * 8;
  if (words) fill_run(to, 0, words);
  if (bytes > words) std::memset(to + words, 0, static_cast<size_t>(bytes - words));
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

bool takes_result(const Call& call, IntSpan sizes, DType dtype, Device device, bool elementwise) {
  Tensor* out = call.out;
  if (!out || out->dtype != dtype || !(out->device() == device) || !std::ranges::equal(out->sizes, sizes) ||
      !out->is_contiguous() || !out->storage->writable())
    return false;
  auto apart = [&](const Tensor* t) {
    return !t || t->storage != out->storage || (elementwise && same_elements(*t, *out));
  };
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    bool all = true;
    for_each_tensor(call.args[i], [&](Tensor* t) { all &= apart(t); });
    if (!all) return false;
  }
  return true;
}

}  // namespace fl
