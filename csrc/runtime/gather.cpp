// Reading through positions: gather, index_select, embedding, take, and indexing with tensors and masks.
//
// The result, the tensor read and the positions are walked over together; positions add, for each indexed dimension,
// its stride times the position. They are checked on the way, so that they are read once; what was read by then is
// dropped.
#include <atomic>
#include <type_traits>

#include "core/error.h"
#include "runtime/clones.h"
#include "runtime/copy.h"
#include "runtime/iteration.h"
#include "runtime/op.h"
#include "runtime/positions.h"
#include "runtime/runs.h"
#include "runtime/shape_text.h"
#include "runtime/stream.h"

namespace fl {
namespace {

struct Wide {
  uint64_t parts[2];
};

// An indexed dimension of the tensor that is read; the stride is in bytes.
struct Axis {
  int64_t size, stride;
};

// Operands of an iteration: the result (contiguous), the tensor read, and positions in each axis.
struct Reading {
  const Iteration& it;
  std::span<const Axis> axes;
  bool wraps;  // negative positions count from the end

  // Adds where a position leads; false where it lies outside.
  bool lead(int64_t at, const Axis& axis, int64_t& offset) const {
    if (wraps) at += (at >> 63) & axis.size;
    offset += static_cast<int64_t>(static_cast<uint64_t>(at) * static_cast<uint64_t>(axis.stride));
    return static_cast<uint64_t>(at) < static_cast<uint64_t>(axis.size);
  }
};

int64_t position(const char* p) {
  int64_t at;
  std::memcpy(&at, p, sizeof at);
  return at;
}

template <class T, bool kWraps>
bool pick_line(char* out, const char* from, int64_t from_step, const char* at, int64_t at_step, const Axis& axis,
               int64_t n) {
  const int64_t size = axis.size, stride = axis.stride;  // copies: `out` could point to them for all that is known
  for (int64_t i = 0; i < n; ++i) {
    int64_t k = position(at);
    if (kWraps) k += (k >> 63) & size;
    if (static_cast<uint64_t>(k) >= static_cast<uint64_t>(size)) return false;
    std::memcpy(out, from + k * stride, sizeof(T));
    at += at_step;
    from += from_step;
    out += sizeof(T);
  }
  return true;
}

// The same of a line of neighbours by positions that are neighbours, with nothing to add up.
template <class T, bool kWraps>
bool pick_neighbours(char* out, const char* from, const char* at, int64_t size, int64_t n) {
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
#pragma GCC unroll 4
  for (int64_t i = 0; i < n; ++i) {
    int64_t k = position(at + i * 8);
    if (kWraps) k += (k >> 63) & size;
    if (static_cast<uint64_t>(k) >= static_cast<uint64_t>(size)) return false;
    std::memcpy(out + i * kItem, from + k * kItem, sizeof(T));
  }
  return true;
}

// Several axes, or several rows with the same positions: offsets are added up for a part of the row at a time.
template <class T>
bool pick_sum(const Reading& r, char** ptr, int64_t n, int64_t m) {
  constexpr int64_t kPart = 512, kItem = sizeof(T);
  int64_t offsets[kPart], from_step = r.it.inner_stride(1);
  for (int64_t first = 0; first < n; first += kPart) {
    int64_t count = std::min(kPart, n - first);
    for (int64_t i = 0; i < count; ++i) offsets[i] = (first + i) * from_step;
    bool inside = true;
    for (size_t k = 0; k < r.axes.size(); ++k) {
      int64_t step = r.it.inner_stride(static_cast<int>(k) + 2);
      for (int64_t i = 0; i < count; ++i)
        inside &= r.lead(position(ptr[k + 2] + (first + i) * step), r.axes[k], offsets[i]);
    }
    if (!inside) return false;
    char* out = ptr[0] + first * kItem;
    const char* from = ptr[1];
    for (int64_t j = 0; j < m; ++j) {
      for (int64_t i = 0; i < count; ++i) std::memcpy(out + i * kItem, from + offsets[i], sizeof(T));
      out += r.it.row_stride(0);
      from += r.it.row_stride(1);
    }
  }
  return true;
}

template <class T>
bool pick_elements(const Reading& r, char** ptr, int64_t n) {
  if (r.axes.size() != 1) return pick_sum<T>(r, ptr, n, 1);
  const Axis& axis = r.axes[0];
  const int64_t from_step = r.it.inner_stride(1), at_step = r.it.inner_stride(2);
  if (from_step == 0 && at_step == sizeof(int64_t) && axis.stride == sizeof(T)) {
    auto line = r.wraps ? pick_neighbours<T, true> : pick_neighbours<T, false>;
    return line(ptr[0], ptr[1], ptr[2], axis.size, n);
  }
  auto line = r.wraps ? pick_line<T, true> : pick_line<T, false>;
  return line(ptr[0], ptr[1], from_step, ptr[2], at_step, axis, n);
}

// One position for a whole row of n elements.
template <class T>
bool pick_row(const Reading& r, char** ptr, int64_t n, bool stream) {
  int64_t offset = 0, step = r.it.inner_stride(1);
  for (size_t k = 0; k < r.axes.size(); ++k)
    if (!r.lead(position(ptr[k + 2]), r.axes[k], offset)) return false;
  const char* from = ptr[1] + offset;
  constexpr auto kItem = static_cast<int64_t>(sizeof(T));
  if (step == kItem || n == 1) {
    copy_bytes(ptr[0], from, static_cast<size_t>(n * kItem), stream);
  } else {
    for (int64_t i = 0; i < n; ++i) std::memcpy(ptr[0] + i * kItem, from + i * step, sizeof(T));
  }
  return true;
}

constexpr int64_t kShortRow = 1024;  // bytes of a row that is copied in place of a call of memcpy
constexpr int64_t kRowsAhead = 8;    // that memory is asked for: which they are, nobody can guess

// m short rows of so many bytes, each at a position of one axis.
template <class Bytes>
FL_INLINE bool pick_rows_of(Bytes bytes, const Axis& axis, bool wraps, char** ptr, const int64_t* step, int64_t m) {
  const int64_t size = axis.size, stride = axis.stride, out_step = step[0], from_step = step[1], at_step = step[2];
  char* out = ptr[0];
  const char *from = ptr[1], *at = ptr[2];
  for (int64_t j = 0; j < m; ++j) {
    int64_t k = position(at);
    if (wraps) k += (k >> 63) & size;
    if (static_cast<uint64_t>(k) >= static_cast<uint64_t>(size)) return false;
    if (bytes >= kLine && j + kRowsAhead < m) {
      const auto far = static_cast<uint64_t>(position(at + kRowsAhead * at_step)) * static_cast<uint64_t>(stride);
      for (int64_t i = 0; i < bytes; i += kLine)
        __builtin_prefetch(reinterpret_cast<const char*>(reinterpret_cast<uintptr_t>(from) + far) + i);
    }
    copy_run(out, from + k * stride, bytes);
    out += out_step;
    from += from_step;
    at += at_step;
  }
  return true;
}

FL_CLONES bool pick_short_rows(const Axis& axis, bool wraps, char** ptr, const int64_t* step, int64_t bytes,
                               int64_t m) {
  auto pick = [&](auto row) __attribute__((always_inline)) { return pick_rows_of(row, axis, wraps, ptr, step, m); };
  switch (bytes) {  // pixels of three channels
    case 3: return pick(std::integral_constant<int64_t, 3>{});
    case 6: return pick(std::integral_constant<int64_t, 6>{});
    case 12: return pick(std::integral_constant<int64_t, 12>{});
    default: return pick(bytes);
  }
}

template <class T>
bool read_all(const Reading& r) {
  bool by_rows = true, alike = true;
  for (int k = 2; k < r.it.operands; ++k) {
    by_rows &= r.it.inner_stride(k) == 0;
    alike &= r.it.row_stride(k) == 0;
  }
  const int64_t bytes = r.it.elements * static_cast<int64_t>(sizeof(T));
  const bool stream = streams(bytes, bytes);
  std::atomic<bool> inside{true};
  const bool dense = by_rows && r.axes.size() == 1 && r.it.inner_stride(1) == sizeof(T);
  run_pieces(r.it, [&](char** ptr, int64_t n, int64_t m) {
    const int64_t row = n * static_cast<int64_t>(sizeof(T));
    if (dense && row <= (stream ? kLine : kShortRow)) {
      const int64_t steps[] = {r.it.row_stride(0), r.it.row_stride(1), r.it.row_stride(2)};
      if (!pick_short_rows(r.axes[0], r.wraps, ptr, steps, row, m)) inside = false;
      return;
    }
    if (alike && !by_rows && m > 1) {
      if (!pick_sum<T>(r, ptr, n, m)) inside = false;
      return;
    }
    for (int64_t j = 0; j < m; ++j) {
      if (!(by_rows ? pick_row<T>(r, ptr, n, stream) : pick_elements<T>(r, ptr, n))) {
        inside = false;
        return;
      }
      for (int k = 0; k < r.it.operands; ++k) ptr[k] += r.it.row_stride(k);
    }
    if (stream) stream_fence();
  });
  return inside;
}

// A view of a tensor's memory with other sizes and strides.
TensorRef seen_as(const Tensor& t, const Dims& sizes, const Dims& strides) {
  return Tensor::make(t.storage, t.offset, sizes, strides, t.dtype);
}

// Positions as int64, with `back` more dimensions of one element behind their own.
TensorRef positions(Tensor* index, int back) {
  TensorRef t = cast_to(index, DType::I64);
  Dims sizes = t->sizes, strides = t->strides;
  for (int k = 0; k < back; ++k) {
    sizes.push_back(1);
    strides.push_back(0);
  }
  return seen_as(*t, sizes, strides);
}

// Fills `out` from x, walked with these strides; false where a position lies outside.
bool read_through(Tensor* out, const Tensor& x, const Dims& strides, std::span<const TensorRef> indices,
                  std::span<const Axis> axes, bool wraps) {
  if (out->numel() == 0) return true;
  Iteration it(out->sizes);
  it.add(*out);
  it.add(*seen_as(x, out->sizes, strides));
  for (const TensorRef& t : indices) it.add(*t);
  it.collapse();
  Reading reading{it, axes, wraps};
  switch (x.itemsize()) {
    case 1: return read_all<uint8_t>(reading);
    case 2: return read_all<uint16_t>(reading);
    case 4: return read_all<uint32_t>(reading);
    case 8: return read_all<uint64_t>(reading);
    default: return read_all<Wide>(reading);
  }
}

Axis axis_of(const Tensor& x, int dim) {
  if (x.dim() == 0) return {1, 0};
  return {x.sizes[dim], x.strides[dim] * static_cast<int64_t>(x.itemsize())};
}

TensorRef result_of(const Dims& sizes, const Tensor& x, const Tensor& index) {
  return Tensor::empty(sizes, x.dtype, index.is_meta() ? index.device() : x.device());
}

bool is_index(DType d) { return d == DType::I64 || d == DType::I32; }

// ---- gather

void check_gather(const Tensor& self, int dim, const Tensor& index) {
  FL_CHECK(is_index(index.dtype) || index.numel() == 0, ErrorKind::Runtime,
           "gather(): Expected dtype int32/int64 for index");
  if (index.numel() == 0) return;
  FL_CHECK(std::max(index.dim(), 1) == std::max(self.dim(), 1), ErrorKind::Runtime,
           "Index tensor must have the same number of dimensions as input tensor");
  for (int d = 0; d < index.dim(); ++d)
    FL_CHECK(
        d == dim || index.sizes[d] <= self.sizes[d], ErrorKind::Runtime,
        "Size does not match at dimension %d expected index %s to be no larger than self %s apart from dimension %d", d,
        shape_text(index.sizes).c_str(), shape_text(self.sizes).c_str(), dim);
}

TensorRef gathered(Tensor* self, int dim, Tensor* index, bool wraps) {
  TensorRef out = result_of(index->sizes, *self, *index);
  if (out->is_meta() || out->numel() == 0) return out;
  Dims strides(index->dim());
  for (int d = 0; d < index->dim(); ++d) strides[d] = d == dim || self->dim() == 0 ? 0 : self->strides[d];
  TensorRef at = positions(index, 0);
  Axis axis = axis_of(*self, dim);
  if (read_through(out.get(), *self, strides, {&at, 1}, {&axis, 1}, wraps)) return out;
  int64_t bad = 0;
  first_outside(*index, wraps ? -axis.size : 0, axis.size, &bad);
  fail(ErrorKind::Runtime,
       "index %lld is out of bounds for dimension %d with size %lld\tIndices must lie in [%lld, %lld).",
       static_cast<long long>(bad), dim, static_cast<long long>(axis.size),
       static_cast<long long>(wraps ? -axis.size : 0), static_cast<long long>(axis.size));
}

void gather(const Call& call, Outputs& outputs) {
  Tensor *self = call[0].tensor(), *index = call[2].tensor();
  int dim = wrap_dim(call[1].as_int(), self->dim());
  check_gather(*self, dim, *index);
  outputs.emplace_back(gathered(self, dim, index, false));
}

// gather for indices that may count from the end.
void gather_signed(const Call& call, Outputs& outputs) {
  Tensor *self = call[0].tensor(), *index = call[2].tensor();
  int dim = wrap_dim(call[1].as_int(), self->dim());
  check_gather(*self, dim, *index);
  outputs.emplace_back(gathered(self, dim, index, true));
}

// ---- whole slices

// Slices of x along a dimension; the dimensions of the index stand in its place.
TensorRef slices(Tensor* x, int dim, Tensor* index, const Dims& sizes) {
  TensorRef out = result_of(sizes, *x, *index);
  if (out->is_meta() || out->numel() == 0) return out;
  Dims strides(sizes.size());
  int own = x->dim() ? x->dim() : 1, more = sizes.size() - own;  // dimensions the index has beyond one
  for (int d = 0; d < own; ++d) {
    if (d < dim) strides[d] = x->strides[d];
    if (d > dim) strides[d + more] = x->strides[d];
  }
  TensorRef at = positions(index, x->dim() ? x->dim() - 1 - dim : 0);
  Axis axis = axis_of(*x, dim);
  if (read_through(out.get(), *x, strides, {&at, 1}, {&axis, 1}, false)) return out;
  int64_t bad = 0;
  first_outside(*index, 0, axis.size, &bad);
  fail(ErrorKind::Index,
       "index out of range in self: index %lld, dimension %d of size %lld\tIndices must lie in [0, %lld).",
       static_cast<long long>(bad), dim, static_cast<long long>(axis.size), static_cast<long long>(axis.size));
}

void index_select(const Call& call, Outputs& outputs) {
  Tensor *self = call[0].tensor(), *index = call[2].tensor();
  int dim = wrap_dim(call[1].as_int(), self->dim());
  int64_t n = index->numel();
  FL_CHECK(index->dim() <= 1, ErrorKind::Index, "index_select(): Index is supposed to be a vector");
  FL_CHECK(is_index(index->dtype), ErrorKind::Runtime, "index_select(): Expected dtype int32 or int64 for index");
  FL_CHECK(self->dim() || n == 1, ErrorKind::Runtime,
           "index_select(): Index to scalar can have only 1 value, got %lld value(s)", static_cast<long long>(n));
  FL_CHECK(n == 0 || self->dim() == 0 || self->sizes[dim], ErrorKind::Runtime,
           "index_select(): self indexing axis dim should be positive");
  Dims sizes = self->sizes;
  if (self->dim()) sizes[dim] = n;
  TensorRef at = seen_as(*index, Dims{n}, Dims{index->dim() ? index->strides[0] : 0});
  if (self->dim() == 0) {
    TensorRef one = slices(seen_as(*self, Dims{1}, Dims{0}).get(), 0, at.get(), Dims{1});
    return (void)outputs.emplace_back(seen_as(*one, Dims{}, Dims{}));
  }
  outputs.emplace_back(slices(self, dim, at.get(), sizes));
}

void embedding(const Call& call, Outputs& outputs) {
  Tensor *weight = call[0].tensor(), *indices = call[1].tensor();
  FL_CHECK(weight->dim() == 2, ErrorKind::Runtime, "'weight' must be 2-D");
  FL_CHECK(is_index(indices->dtype), ErrorKind::Runtime,
           "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
           "torch.%sTensor instead (while checking arguments for embedding)",
           dtype_title(indices->dtype));
  Dims sizes = indices->sizes;
  sizes.push_back(weight->sizes[1]);
  outputs.emplace_back(slices(weight, 0, indices, sizes));
}

// ---- positions in the flattened tensor

void take(const Call& call, Outputs& outputs) {
  Tensor *self = call[0].tensor(), *index = call[1].tensor();
  FL_CHECK(index->dtype == DType::I64, ErrorKind::Runtime, "take(): Expected a long tensor for index, but got %s",
           dtype_title(index->dtype));
  FL_CHECK(index->numel() == 0 || self->numel(), ErrorKind::Index, "take(): tried to take from an empty tensor");
  TensorRef out = result_of(index->sizes, *self, *index);
  if (!out->is_meta()) {
    TensorRef flat = contiguous_tensor(self), at(index);
    Axis axis{self->numel(), static_cast<int64_t>(self->itemsize())};
    if (!read_through(out.get(), *flat, Dims(index->dim()), {&at, 1}, {&axis, 1}, true)) {
      int64_t bad = 0;
      first_outside(*index, -axis.size, axis.size, &bad);
      fail(ErrorKind::Index, "out of range: tried to access index %lld on a tensor of %lld elements.",
           static_cast<long long>(bad), static_cast<long long>(axis.size));
    }
  }
  outputs.emplace_back(out);
}

// ---- x[indices]

bool is_mask(const Tensor& t) { return t.dtype == DType::Bool || t.dtype == DType::U8; }

void check_mask(const Tensor& mask, const Tensor& x, int at) {
  for (int k = 0; k < mask.dim(); ++k)
    FL_CHECK(at + k < x.dim() && mask.sizes[k] == x.sizes[at + k], ErrorKind::Index,
             "The shape of the mask %s at index %d does not match the shape of the indexed tensor %s at index %d",
             shape_text(mask.sizes).c_str(), k, shape_text(x.sizes).c_str(), at + k);
}

// One entry a dimension of x from the first on, null where it is taken whole: each mask becomes the positions where it
// holds, one index a dimension of the mask.
std::vector<TensorRef> without_masks(const Tensor& x, const std::vector<TensorRef>& indices) {
  std::vector<TensorRef> out;
  for (const TensorRef& t : indices) {
    if (!t || !is_mask(*t)) {
      out.push_back(t);
      continue;
    }
    check_mask(*t, x, static_cast<int>(out.size()));
    TensorRef at = nonzero_positions(t.get());
    for (int k = 0; k < t->dim(); ++k)
      out.push_back(Tensor::make(at->storage, k * at->sizes[1], Dims{at->sizes[1]}, Dims{1}, DType::I64));
  }
  return out;
}

std::string shapes_text(const std::vector<TensorRef>& tensors) {
  std::string text;
  for (const TensorRef& t : tensors) text += (text.empty() ? "" : ", ") + shape_text(t->sizes);
  return text;
}

Dims common_shape(const std::vector<TensorRef>& tensors) {
  Dims shape;
  for (const TensorRef& t : tensors) {
    FL_CHECK(is_integer(t->dtype) && is_signed(t->dtype), ErrorKind::Index,
             "tensors used as indices must be long, int, byte or bool tensors");
    try {
      shape = broadcast_sizes(shape, t->sizes);
    } catch (const Error&) {
      fail(ErrorKind::Index, "shape mismatch: indexing tensors could not be broadcast together with shapes %s",
           shapes_text(tensors).c_str());
    }
  }
  return shape;
}

// x seen as [front, indexed dimensions, back]: where they are not side by side, all others are at the back.
struct Indexed {
  Dims sizes, strides;  // of the result; the strides are x's, 0 for the dimensions of the positions
  std::vector<TensorRef> tensors;
  std::vector<Axis> axes;
  int back = 0;

  Indexed(const Tensor& x, const std::vector<TensorRef>& indices) {
    int n = static_cast<int>(indices.size()), first = n, last = -1;
    FL_CHECK(n <= x.dim(), ErrorKind::Index, "too many indices for tensor of dimension %d (got %d)", x.dim(), n);
    for (int d = 0; d < n; ++d) {
      if (!indices[static_cast<size_t>(d)]) continue;
      tensors.push_back(indices[static_cast<size_t>(d)]);
      axes.push_back(axis_of(x, d));
      first = std::min(first, d);
      last = d;
    }
    bool adjacent = last - first + 1 == static_cast<int>(tensors.size());
    int front = tensors.empty() || !adjacent ? 0 : first;
    Dims shape = common_shape(tensors);
    for (int d = 0; d < front; ++d) add(x.sizes[d], x.strides[d]);
    for (int64_t s : shape) add(s, 0);
    for (int d = front; d < x.dim(); ++d) {
      if (d < n && indices[static_cast<size_t>(d)]) continue;
      add(x.sizes[d], x.strides[d]);
      ++back;
    }
  }

 private:
  void add(int64_t size, int64_t stride) {
    sizes.push_back(size);
    strides.push_back(stride);
  }
};

[[noreturn]] void fail_outside(const std::vector<TensorRef>& tensors, std::span<const Axis> axes) {
  for (size_t k = 0; k < tensors.size(); ++k) {
    int64_t size = axes[k].size, bad = 0;
    if (first_outside(*tensors[k], -size, size, &bad))
      fail(ErrorKind::Index, "index %lld is out of bounds for dimension %zu with size %lld",
           static_cast<long long>(bad), k, static_cast<long long>(size));
  }
  fail(ErrorKind::Index, "index is out of bounds");
}

// Positions, even of no elements, need a dimension that they can lie in.
void check_not_empty(const std::vector<TensorRef>& tensors, std::span<const Axis> axes) {
  for (size_t k = 0; k < tensors.size(); ++k)
    FL_CHECK(axes[k].size || tensors[k]->numel() == 0, ErrorKind::Index,
             "index is out of bounds for dimension with size 0");
}

void index(const Call& call, Outputs& outputs) {
  Tensor* x = call[0].tensor();
  const std::vector<TensorRef>& given = call[1].tensors();
  bool masks = false, meta = x->is_meta();
  for (const TensorRef& t : given) {
    masks |= t && is_mask(*t);
    meta |= t && t->is_meta();
  }
  FL_CHECK(!masks || !meta, ErrorKind::NotImplemented,
           "Cannot index with a mask on the meta device: the size of the result depends on its elements");
  if (masks && given.size() == 1 && given[0]->dim() == x->dim() && x->dim()) {
    check_mask(*given[0], *x, 0);
    return (void)outputs.emplace_back(masked_elements(x, given[0].get()));
  }
  Indexed where(*x, masks ? without_masks(*x, given) : given);
  TensorRef out = Tensor::empty(where.sizes, x->dtype, meta ? Device{DeviceType::Meta} : x->device());
  check_not_empty(where.tensors, where.axes);
  if (!meta && out->numel()) {
    std::vector<TensorRef> at;
    for (const TensorRef& t : where.tensors) at.push_back(positions(t.get(), where.back));
    if (!read_through(out.get(), *x, where.strides, at, where.axes, true)) fail_outside(where.tensors, where.axes);
  }
  outputs.emplace_back(out);
}

// Positions in several dimensions as one position in all of them.
void flat_positions(const Call& call, Outputs& outputs) {
  const std::vector<TensorRef>& tensors = call[0].tensors();
  Dims shape = common_shape(tensors);
  TensorRef out = Tensor::empty(shape, DType::I64, tensors.empty() ? Device{} : tensors[0]->device());
  std::vector<Axis> axes;
  int64_t step = 1;
  for (size_t k = tensors.size(); k-- > 0;) {
    int64_t size = call[1].ints()[k];
    axes.insert(axes.begin(), Axis{size, step});
    step *= size;
  }
  outputs.emplace_back(out);
  check_not_empty(tensors, axes);
  if (out->numel() == 0 || out->is_meta() || !call[2].as_bool()) return;
  std::vector<TensorRef> kept;
  Iteration it(shape);
  it.add(*out);
  for (const TensorRef& t : tensors) it.add(*kept.emplace_back(positions(t.get(), 0)));
  it.collapse();
  std::atomic<bool> inside{true};
  Reading reading{it, axes, true};
  run_pieces(it, [&](char** ptr, int64_t n, int64_t m) {
    bool all = true;
    for (int64_t j = 0; j < m; ++j) {
      auto* to = reinterpret_cast<int64_t*>(ptr[0] + j * it.row_stride(0));
      std::fill_n(to, n, 0);
      for (size_t k = 0; k < axes.size(); ++k) {
        int operand = static_cast<int>(k) + 1;
        const char* from = ptr[operand] + j * it.row_stride(operand);
        int64_t from_step = it.inner_stride(operand);
        for (int64_t i = 0; i < n; ++i) all &= reading.lead(position(from + i * from_step), axes[k], to[i]);
      }
    }
    if (!all) inside = false;
  });
  if (!inside) fail_outside(tensors, axes);
}

void nonzero(const Call& call, Outputs& outputs) {
  FL_CHECK(!call[0].tensor()->is_meta(), ErrorKind::NotImplemented,
           "nonzero is not possible on the meta device: the size of the result depends on the elements");
  TensorRef at = nonzero_positions(call[0].tensor());
  outputs.emplace_back(seen_as(*at, Dims{at->sizes[1], at->sizes[0]}, Dims{1, at->sizes[1]}));
}

RegisterNative natives[] = {{"gather", gather},
                            {"gather_signed", gather_signed},
                            {"index_select", index_select},
                            {"embedding", embedding},
                            {"take", take},
                            {"index", index},
                            {"flat_positions", flat_positions},
                            {"nonzero_mask", nonzero}};

}  // namespace
}  // namespace fl
