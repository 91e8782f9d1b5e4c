#include "runtime/views.h"

#include <algorithm>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/shape_text.h"

namespace fl {

TensorRef view_of(const Tensor& t, Dims sizes, Dims strides, int64_t offset) {
  TensorRef v = Tensor::make(t.storage, offset, std::move(sizes), std::move(strides), t.dtype);
  v->own_version = t.own_version;
  return v;
}

TensorRef view_of(const Tensor& t, Dims sizes, Dims strides) {
  return view_of(t, std::move(sizes), std::move(strides), t.offset);
}

Dims infer_sizes(IntSpan shape, int64_t numel) {
  Dims sizes(shape);
  int unknown = -1;
  int64_t known = 1;
  bool overflow = false;
  for (int d = 0; d < sizes.size(); ++d) {
    if (sizes[d] == -1) {
      FL_CHECK(unknown < 0, ErrorKind::Runtime, "only one dimension can be inferred");
      unknown = d;
      continue;
    }
    FL_CHECK(sizes[d] >= 0, ErrorKind::Runtime, "invalid shape dimension %lld at index %d of shape %s",
             static_cast<long long>(sizes[d]), d, shape_text(shape).c_str());
    overflow |= __builtin_mul_overflow(known, sizes[d], &known);
  }
  bool fits = !overflow && (known == numel || (unknown >= 0 && known > 0 && numel % known == 0));
  FL_CHECK(fits, ErrorKind::Runtime, "shape '%s' is invalid for input of size %lld", shape_text(shape).c_str(),
           static_cast<long long>(numel));
  if (unknown < 0) return sizes;
  FL_CHECK(
      known != 0, ErrorKind::Runtime,
      "cannot reshape tensor of 0 elements into shape %s because the unspecified dimension size -1 can be any value "
      "and is ambiguous",
      shape_text(shape).c_str());
  sizes[unknown] = numel / known;
  return sizes;
}

// Runs of dimensions that lie in memory as one are cut into the new sizes from the innermost on.
std::optional<Dims> view_strides(const Tensor& t, IntSpan sizes) {
  if (t.numel() == 0 || t.is_contiguous()) {
    if (t.numel() == 0 && std::ranges::equal(IntSpan(t.sizes), sizes)) return t.strides;
    return contiguous_strides(sizes);
  }
  Dims strides(static_cast<int>(sizes.size()));
  int at = strides.size() - 1;
  int64_t run = 1, made = 1;
  int64_t step = t.strides[t.dim() - 1];
  for (int d = t.dim() - 1; d >= 0; --d) {
    run *= t.sizes[d];
    bool ends = d == 0 || (t.sizes[d - 1] != 1 && t.strides[d - 1] != run * step);
    if (!ends) continue;
    while (at >= 0 && (made < run || sizes[static_cast<size_t>(at)] == 1)) {
      strides[at] = made * step;
      made *= sizes[static_cast<size_t>(at)];
      --at;
    }
    if (made != run) return std::nullopt;
    if (d > 0) {
      step = t.strides[d - 1];
      run = made = 1;
    }
  }
  if (at >= 0) return std::nullopt;
  return strides;
}

TensorRef expand_to(const Tensor& t, IntSpan sizes) {
  int n = static_cast<int>(sizes.size()), missing = n - t.dim();
  FL_CHECK(missing >= 0, ErrorKind::Runtime,
           "expand(torch.%sTensor{%s}, size=%s): the number of sizes provided (%d) must be greater or equal to the "
           "number of "
           "dimensions in the tensor (%d)",
           dtype_title(t.dtype), shape_text(t.sizes).c_str(), shape_text(sizes).c_str(), n, t.dim());
  Dims out(sizes), strides(n);
  for (int d = n - 1; d >= 0; --d) {
    int own = d - missing;
    int64_t have = own >= 0 ? t.sizes[own] : 1;
    if (out[d] == -1) {
      FL_CHECK(own >= 0, ErrorKind::Runtime,
               "The expanded size of the tensor (-1) isn't allowed in a leading, non-existing dimension %d", d);
      out[d] = have;
    }
    FL_CHECK(out[d] >= 0 || (own >= 0 && have != 1), ErrorKind::Runtime,
             "Trying to create tensor with negative dimension %lld: %s", static_cast<long long>(out[d]),
             shape_text(sizes).c_str());
    FL_CHECK(
        have == out[d] || have == 1, ErrorKind::Runtime,
        "The expanded size of the tensor (%lld) must match the existing size (%lld) at non-singleton dimension %d.  "
        "Target sizes: %s.  Tensor sizes: %s",
        static_cast<long long>(out[d]), static_cast<long long>(have), d, shape_text(sizes).c_str(),
        shape_text(t.sizes).c_str());
    // A dimension that is not there gets the stride it would have if it were contiguous.
    int64_t inner = d + 1 < n ? out[d + 1] * strides[d + 1] : 1;
    strides[d] = own < 0 ? (out[d] == 1 ? inner : 0) : have == 1 && out[d] != 1 ? 0 : t.strides[own];
  }
  return view_of(t, std::move(out), std::move(strides));
}

TensorRef select_at(const Tensor& t, int dim, int64_t index) {
  Dims sizes = t.sizes, strides = t.strides;
  int64_t offset = t.offset + index * strides[dim];
  sizes.erase(dim);
  strides.erase(dim);
  return view_of(t, std::move(sizes), std::move(strides), offset);
}

TensorRef slice_at(const Tensor& t, int dim, int64_t start, int64_t end, int64_t step) {
  Dims sizes = t.sizes, strides = t.strides;
  int64_t offset = t.offset + start * strides[dim];
  sizes[dim] = end > start ? (end - start - 1) / step + 1 : 0;
  strides[dim] *= step;
  return view_of(t, std::move(sizes), std::move(strides), offset);
}

Range clamp_range(const Value& start, const Value& end, int64_t size) {
  auto bound = [&](const Value& v, int64_t missing) {
    int64_t at = v.is_none() ? missing : v.as_int();
    if (at < 0) at += size;
    return std::clamp<int64_t>(at, 0, size);
  };
  Range r{bound(start, 0), bound(end, size)};
  r.end = std::max(r.start, r.end);
  return r;
}

namespace {

Dims dims_argument(const Value& v) { return Dims(IntSpan(v.ints())); }

void give(Outputs& outputs, TensorRef t) { outputs.emplace_back(std::move(t)); }

void view(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  Dims sizes = infer_sizes(c[1].ints(), t.numel());
  std::optional<Dims> strides = view_strides(t, sizes);
  FL_CHECK(strides, ErrorKind::Runtime,
           "view size is not compatible with input tensor's size and stride (at least one dimension spans across two "
           "contiguous subspaces). Use .reshape(...) instead.");
  give(outputs, view_of(t, std::move(sizes), std::move(*strides)));
}

TensorRef reshape_to(Tensor* t, Dims sizes) {
  std::optional<Dims> strides = view_strides(*t, sizes);
  if (strides) return view_of(*t, std::move(sizes), std::move(*strides));
  TensorRef copy = clone_tensor(t, MemoryFormat::Contiguous);
  Dims dense = contiguous_strides(sizes);
  return view_of(*copy, std::move(sizes), std::move(dense));
}

void reshape(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  give(outputs, reshape_to(t, infer_sizes(c[1].ints(), t->numel())));
}

void flatten(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  int first = wrap_dim(c[1].as_int(), t->dim()), last = wrap_dim(c[2].as_int(), t->dim());
  FL_CHECK(first <= last, ErrorKind::Runtime, "flatten() has invalid args: start_dim cannot come after end_dim");
  if (t->dim() == 0) return give(outputs, reshape_to(t, {1}));
  if (first == last) return give(outputs, TensorRef(t));
  Dims sizes;
  int64_t together = 1;
  for (int d = 0; d < t->dim(); ++d) {
    if (d < first || d > last) sizes.push_back(t->sizes[d]);
    if (d >= first && d <= last) together *= t->sizes[d];
    if (d == last) sizes.push_back(together);
  }
  give(outputs, reshape_to(t, std::move(sizes)));
}

void transpose(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  int a = wrap_dim(c[1].as_int(), t.dim()), b = wrap_dim(c[2].as_int(), t.dim());
  Dims sizes = t.sizes, strides = t.strides;
  if (t.dim() > 0) {
    std::swap(sizes[a], sizes[b]);
    std::swap(strides[a], strides[b]);
  }
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

void t_of_matrix(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() <= 2, ErrorKind::Runtime, "t() expects a tensor with <= 2 dimensions, but self is %dD", t.dim());
  Dims sizes = t.sizes, strides = t.strides;
  if (t.dim() == 2) {
    std::swap(sizes[0], sizes[1]);
    std::swap(strides[0], strides[1]);
  }
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

void permute(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  Dims order = dims_argument(c[1]);
  FL_CHECK(
      order.size() == t.dim(), ErrorKind::Runtime,
      "permute(sparse_coo): number of dimensions in the tensor input does not match the length of the desired ordering "
      "of dimensions i.e. input.dim() = %d is not equal to len(dims) = %d",
      t.dim(), order.size());
  Dims sizes(t.dim()), strides(t.dim());
  std::vector<bool> used(static_cast<size_t>(t.dim()));
  for (int i = 0; i < order.size(); ++i) {
    int d = wrap_dim(order[i], t.dim());
    FL_CHECK(!used[static_cast<size_t>(d)], ErrorKind::Runtime, "permute(): duplicate dims are not allowed.");
    used[static_cast<size_t>(d)] = true;
    sizes[i] = t.sizes[d];
    strides[i] = t.strides[d];
  }
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

// Dimensions counted from the front, none of them twice.
Dims moved_dims(const Dims& given, int ndim, const char* what) {
  Dims dims(given.size());
  for (int i = 0; i < given.size(); ++i) {
    dims[i] = wrap_dim(given[i], ndim);
    FL_CHECK(std::find(dims.begin(), dims.begin() + i, dims[i]) == dims.begin() + i, ErrorKind::Runtime,
             "movedim: repeated dim in `%s` (%s)", what, shape_text(given).c_str());
  }
  return dims;
}

// movedim(self, source, destination)
void movedim(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  Dims source = dims_argument(c[1]), destination = dims_argument(c[2]);
  FL_CHECK(source.size() == destination.size(), ErrorKind::Runtime,
           "movedim: Invalid source or destination dims: source (%s dims) should contain the same number of dims as "
           "destination (%s dims)",
           shape_text(source).c_str(), shape_text(destination).c_str());
  Dims from = moved_dims(source, t.dim(), "source"), to = moved_dims(destination, t.dim(), "destination");
  Dims sizes(t.dim()), strides(t.dim());
  std::vector<int> order(static_cast<size_t>(t.dim()), -1);  // which dimension comes to each place
  for (int i = 0; i < from.size() && t.dim(); ++i) order[static_cast<size_t>(to[i])] = static_cast<int>(from[i]);
  int next = 0;
  for (int place = 0; place < t.dim(); ++place) {
    int& d = order[static_cast<size_t>(place)];
    if (d < 0) {
      while (std::find(from.begin(), from.end(), next) != from.end()) ++next;
      d = next++;
    }
    sizes[place] = t.sizes[d];
    strides[place] = t.strides[d];
  }
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

void expand(const Call& c, Outputs& outputs) { give(outputs, expand_to(*c[0].tensor(), c[1].ints())); }

// Dimensions of one element among `drop` go.
TensorRef squeezed(Tensor& t, const std::vector<bool>& drop) {
  Dims sizes, strides;
  for (int d = 0; d < t.dim(); ++d) {
    if (t.sizes[d] == 1 && drop[static_cast<size_t>(d)]) continue;
    sizes.push_back(t.sizes[d]);
    strides.push_back(t.strides[d]);
  }
  return view_of(t, std::move(sizes), std::move(strides));
}

void squeeze(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  give(outputs, squeezed(t, std::vector<bool>(static_cast<size_t>(t.dim()), true)));
}

void squeeze_dims(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  std::vector<bool> drop(static_cast<size_t>(std::max(t.dim(), 1)));
  for (int64_t dim : c[1].ints()) {
    size_t d = static_cast<size_t>(wrap_dim(dim, t.dim()));
    FL_CHECK(!drop[d], ErrorKind::Runtime, "dim %zu appears multiple times in the list of dims", d);
    drop[d] = true;
  }
  give(outputs, squeezed(t, drop));
}

void unsqueeze(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  int d = wrap_dim(c[1].as_int(), t.dim() + 1);
  Dims sizes = t.sizes, strides = t.strides;
  int64_t stride = d < t.dim() ? t.sizes[d] * t.strides[d] : 1;
  sizes.insert(d, 1);
  strides.insert(d, stride);
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

void select(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Index, "select() cannot be applied to a 0-dim tensor.");
  int d = wrap_dim(c[1].as_int(), t.dim());
  int64_t index = c[2].as_int(), size = t.sizes[d];
  FL_CHECK(index >= -size && index < size, ErrorKind::Index,
           "select(): index %lld out of range for tensor of size %s at dimension %d", static_cast<long long>(index),
           shape_text(t.sizes).c_str(), d);
  give(outputs, select_at(t, d, index < 0 ? index + size : index));
}

void slice(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "slice() cannot be applied to a 0-dim tensor.");
  int d = wrap_dim(c[1].as_int(), t.dim());
  int64_t step = c[4].as_int();
  FL_CHECK(step > 0, ErrorKind::Runtime, "slice step must be positive");
  Range r = clamp_range(c[2], c[3], t.sizes[d]);
  give(outputs, slice_at(t, d, r.start, r.end, step));
}

void narrow(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "narrow() cannot be applied to a 0-dim tensor.");
  int d = wrap_dim(c[1].as_int(), t.dim());
  int64_t start = c[2].as_int(), length = c[3].as_int(), size = t.sizes[d];
  FL_CHECK(length >= 0, ErrorKind::Runtime, "narrow(): length must be non-negative.");
  FL_CHECK(start >= -size && start <= size, ErrorKind::Index,
           "start out of range (expected to be in range of [%lld, %lld], but got %lld)", static_cast<long long>(-size),
           static_cast<long long>(size), static_cast<long long>(start));
  if (start < 0) start += size;
  FL_CHECK(length <= size - start, ErrorKind::Runtime, "start (%lld) + length (%lld) exceeds dimension size (%lld).",
           static_cast<long long>(start), static_cast<long long>(length), static_cast<long long>(size));
  give(outputs, slice_at(t, d, start, start + length, 1));
}

void as_strided(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  int64_t offset = c[3].is_none() ? t.offset : c[3].as_int();
  FL_CHECK(c[1].ints().size() == c[2].ints().size(), ErrorKind::Runtime, "mismatch in length of strides and shape");
  give(outputs, view_of(t, dims_argument(c[1]), dims_argument(c[2]), offset));
}

void diagonal(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  int64_t shift = c[1].as_int();
  int a = wrap_dim(c[2].as_int(), t.dim()), b = wrap_dim(c[3].as_int(), t.dim());
  FL_CHECK(a != b, ErrorKind::Runtime, "diagonal dimensions cannot be identical %lld, %lld",
           static_cast<long long>(c[2].as_int()), static_cast<long long>(c[3].as_int()));
  int64_t length = shift >= 0 ? std::min(t.sizes[a], t.sizes[b] - shift) : std::min(t.sizes[a] + shift, t.sizes[b]);
  length = std::max<int64_t>(length, 0);
  int64_t offset = t.offset;
  if (length > 0) offset += shift >= 0 ? shift * t.strides[b] : -shift * t.strides[a];
  Dims sizes = t.sizes, strides = t.strides;
  int64_t step = t.strides[a] + t.strides[b];
  for (int d : {std::max(a, b), std::min(a, b)}) {
    sizes.erase(d);
    strides.erase(d);
  }
  sizes.push_back(length);
  strides.push_back(step);
  give(outputs, view_of(t, std::move(sizes), std::move(strides), offset));
}

void unfold(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  int d = wrap_dim(c[1].as_int(), t.dim());
  int64_t size = c[2].as_int(), step = c[3].as_int(), have = t.dim() ? t.sizes[d] : 1;
  FL_CHECK(size >= 0, ErrorKind::Runtime, "size is %lld but must be >= 0", static_cast<long long>(size));
  FL_CHECK(size <= have, ErrorKind::Runtime, "maximum size for tensor at dimension %d is %lld but size is %lld", d,
           static_cast<long long>(have), static_cast<long long>(size));
  FL_CHECK(step > 0, ErrorKind::Runtime, "step is %lld but must be > 0", static_cast<long long>(step));
  Dims sizes = t.sizes, strides = t.strides;
  sizes.push_back(size);
  strides.push_back(t.dim() ? t.strides[d] : 1);
  if (t.dim()) {
    sizes[d] = (have - size) / step + 1;
    // Where there is one part only, nobody takes the step, however far it goes.
    strides[d] = static_cast<int64_t>(static_cast<uint64_t>(strides[d]) * static_cast<uint64_t>(step));
  }
  give(outputs, view_of(t, std::move(sizes), std::move(strides)));
}

void unbind(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Index, "Dimension specified as %lld but tensor has no dimensions",
           static_cast<long long>(c[1].as_int()));
  int d = wrap_dim(c[1].as_int(), t.dim());
  std::vector<TensorRef> parts;
  for (int64_t i = 0; i < t.sizes[d]; ++i) parts.push_back(select_at(t, d, i));
  outputs.emplace_back(std::move(parts));
}

void split(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "split expects at least a 1-dimensional tensor");
  int d = wrap_dim(c[2].as_int(), t.dim());
  int64_t length = c[1].as_int(), size = t.sizes[d];
  FL_CHECK(length >= 0, ErrorKind::Runtime, "split expects split_size be non-negative, but got split_size=%lld",
           static_cast<long long>(length));
  FL_CHECK(length > 0 || size == 0, ErrorKind::Runtime,
           "split_size can only be 0 if dimension size is 0, but got dimension size of %lld",
           static_cast<long long>(size));
  length = std::min(length, std::max<int64_t>(size, 1));  // what is longer gives one part, and would overflow
  int64_t count = length == 0 ? 1 : std::max<int64_t>(1, (size + length - 1) / length);
  std::vector<TensorRef> parts;
  for (int64_t i = 0; i < count; ++i) parts.push_back(slice_at(t, d, i * length, std::min(size, (i + 1) * length), 1));
  outputs.emplace_back(std::move(parts));
}

void split_with_sizes(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "split expects at least a 1-dimensional tensor");
  int d = wrap_dim(c[2].as_int(), t.dim());
  int64_t total = 0;
  bool fits = true;
  for (int64_t s : c[1].ints()) {
    FL_CHECK(s >= 0, ErrorKind::Runtime,
             "split_with_sizes expects split_sizes have only non-negative entries, but got split_sizes=%s",
             shape_text(c[1].ints()).c_str());
    fits = fits && !__builtin_add_overflow(total, s, &total);
  }
  FL_CHECK(
      fits && total == t.sizes[d], ErrorKind::Runtime,
      "split_with_sizes expects split_sizes to sum exactly to %lld (input tensor's size at dimension %lld), but got "
      "split_sizes=%s",
      static_cast<long long>(t.sizes[d]), static_cast<long long>(c[2].as_int()), shape_text(c[1].ints()).c_str());
  std::vector<TensorRef> parts;
  int64_t start = 0;
  for (int64_t s : c[1].ints()) {
    parts.push_back(slice_at(t, d, start, start + s, 1));
    start += s;
  }
  outputs.emplace_back(std::move(parts));
}

void alias(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  give(outputs, view_of(t, t.sizes, t.strides));
}

TensorRef retyped(const Tensor& t, DType d, Dims sizes, Dims strides, int64_t offset) {
  TensorRef v = Tensor::make(t.storage, offset, std::move(sizes), std::move(strides), d);
  v->own_version = t.own_version;
  return v;
}

void view_as_real(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(is_complex(t.dtype), ErrorKind::Runtime, "view_as_real is only supported for complex tensors");
  Dims sizes = t.sizes, strides = t.strides;
  for (int d = 0; d < strides.size(); ++d) strides[d] *= 2;
  sizes.push_back(2);
  strides.push_back(1);
  give(outputs, retyped(t, to_real(t.dtype), std::move(sizes), std::move(strides), t.offset * 2));
}

void view_as_complex(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  FL_CHECK(t.dtype == DType::F32 || t.dtype == DType::F64, ErrorKind::Runtime,
           "view_as_complex is only supported for half, float and double tensors, but got a tensor of scalar type: %s",
           dtype_title(t.dtype));
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "Input tensor must have one or more dimensions");
  int last = t.dim() - 1;
  FL_CHECK(t.sizes[last] == 2, ErrorKind::Runtime, "Tensor must have a last dimension of size 2");
  FL_CHECK(t.strides[last] == 1, ErrorKind::Runtime, "Tensor must have a last dimension with stride 1");
  Dims sizes, strides;
  for (int d = 0; d < last; ++d) {
    FL_CHECK(t.strides[d] % 2 == 0, ErrorKind::Runtime,
             "Tensor must have a stride divisible by 2 for all but last dimension");
    sizes.push_back(t.sizes[d]);
    strides.push_back(t.strides[d] / 2);
  }
  FL_CHECK(t.offset % 2 == 0, ErrorKind::Runtime, "Tensor must have a storage_offset divisible by 2");
  give(outputs, retyped(t, to_complex(t.dtype), std::move(sizes), std::move(strides), t.offset / 2));
}

// Elements become narrower: the last dimension grows.
TensorRef view_narrower(const Tensor& t, DType d, int64_t times) {
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "self.dim() cannot be 0 to view %s as %s (different element sizes)",
           dtype_title(t.dtype), dtype_title(d));
  int last = t.dim() - 1;
  FL_CHECK(t.strides[last] == 1, ErrorKind::Runtime,
           "self.stride(-1) must be 1 to view %s as %s (different element sizes), but got %lld", dtype_title(t.dtype),
           dtype_title(d), static_cast<long long>(t.strides[last]));
  Dims sizes = t.sizes, strides = t.strides;
  for (int k = 0; k < last; ++k) strides[k] *= times;
  sizes[last] *= times;
  return retyped(t, d, std::move(sizes), std::move(strides), t.offset * times);
}

TensorRef view_wider(const Tensor& t, DType d, int64_t times) {
  const char *from = dtype_title(t.dtype), *to = dtype_title(d);
  FL_CHECK(t.dim() > 0, ErrorKind::Runtime, "self.dim() cannot be 0 to view %s as %s (different element sizes)", from,
           to);
  int last = t.dim() - 1;
  FL_CHECK(t.strides[last] == 1, ErrorKind::Runtime,
           "self.stride(-1) must be 1 to view %s as %s (different element sizes), but got %lld", from, to,
           static_cast<long long>(t.strides[last]));
  FL_CHECK(t.sizes[last] % times == 0, ErrorKind::Runtime,
           "self.size(-1) must be divisible by %lld to view %s as %s (different element sizes), but got %lld",
           static_cast<long long>(times), from, to, static_cast<long long>(t.sizes[last]));
  FL_CHECK(t.offset % times == 0, ErrorKind::Runtime,
           "self.storage_offset() must be divisible by %lld to view %s as %s (different element sizes), but got %lld",
           static_cast<long long>(times), from, to, static_cast<long long>(t.offset));
  Dims sizes = t.sizes, strides = t.strides;
  for (int k = 0; k < last; ++k) {
    FL_CHECK(strides[k] % times == 0, ErrorKind::Runtime,
             "self.stride(%d) must be divisible by %lld to view %s as %s (different element sizes), but got %lld", k,
             static_cast<long long>(times), from, to, static_cast<long long>(strides[k]));
    strides[k] /= times;
  }
  sizes[last] /= times;
  return retyped(t, d, std::move(sizes), std::move(strides), t.offset / times);
}

void view_dtype(const Call& c, Outputs& outputs) {
  Tensor& t = *c[0].tensor();
  DType d = c[1].dtype();
  size_t have = t.itemsize(), want = dtype_size(d);
  if (have == want) return give(outputs, retyped(t, d, t.sizes, t.strides, t.offset));
  give(outputs, have > want ? view_narrower(t, d, static_cast<int64_t>(have / want))
                            : view_wider(t, d, static_cast<int64_t>(want / have)));
}

// The tensor itself takes the layout of the view.
template <ForwardFn fn>
void in_place(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  Outputs view;
  fn(c, view);
  Tensor& v = *view[0].tensor();
  self->sizes = v.sizes;
  self->strides = v.strides;
  self->offset = v.offset;
  self->refresh();
  give(outputs, TensorRef(self));
}

const RegisterNative natives[] = {{"transpose_", in_place<transpose>},
                                  {"t_", in_place<t_of_matrix>},
                                  {"squeeze_", in_place<squeeze>},
                                  {"squeeze_dims_", in_place<squeeze_dims>},
                                  {"unsqueeze_", in_place<unsqueeze>},
                                  {"as_strided_", in_place<as_strided>},
                                  {"view", view},
                                  {"reshape", reshape},
                                  {"flatten", flatten},
                                  {"transpose", transpose},
                                  {"t", t_of_matrix},
                                  {"permute", permute},
                                  {"movedim", movedim},
                                  {"expand", expand},
                                  {"squeeze", squeeze},
                                  {"squeeze_dims", squeeze_dims},
                                  {"unsqueeze", unsqueeze},
                                  {"select", select},
                                  {"slice", slice},
                                  {"narrow", narrow},
                                  {"as_strided", as_strided},
                                  {"diagonal", diagonal},
                                  {"unfold", unfold},
                                  {"unbind", unbind},
                                  {"split", split},
                                  {"split_with_sizes", split_with_sizes},
                                  {"alias", alias},
                                  {"view_as_real", view_as_real},
                                  {"view_as_complex", view_as_complex},
                                  {"view_dtype", view_dtype}};

}  // namespace
}  // namespace fl
