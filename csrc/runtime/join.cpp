// Tensors one after the other: cat and stack.
#include "runtime/join.h"

#include <algorithm>
#include <vector>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/elementwise.h"
#include "runtime/iteration.h"
#include "runtime/op.h"
#include "runtime/runs.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

constexpr int64_t kLeastRun = 32;         // shorter runs are copied element by element
constexpr int64_t kLeastStreamedRun = 8;  // and of results that go past the caches

// Runs of bytes that lie a fixed distance apart on either side.
struct Runs {
  char* to;
  const char* from;
  int64_t bytes, count, to_step, from_step;
};

// The result from line `first` to `last`, all of it in order.
void stream_runs(const std::vector<Runs>& all, int64_t first, int64_t last) {
  Streamed sink(all[0].to + first * all[0].to_step);
  for (int64_t i = first; i < last; ++i)
    for (const Runs& r : all) sink.copy(r.from + i * r.from_step, r.bytes);
  sink.finish();
}

// Runs of which each is a part of a line of the result, as many of each. Tasks follow one another in the result: a
// thread that writes between the lines of another one takes them from its cache.
void copy_runs(const std::vector<Runs>& all, int64_t total) {
  if (all.empty()) return;
  const bool stream = streams(total, total);
  int64_t line = 0, count = all[0].count;
  for (const Runs& r : all) line += r.bytes;
  if (line < 2 * kPieceBytes) {
    const int64_t together = std::max<int64_t>(1, kPieceBytes / line / 8) * 8;  // so that each task begins at a word
    // Nothing else lies between, and it begins with a line of the cache.
    const bool whole = line == all[0].to_step && reinterpret_cast<uintptr_t>(all[0].to) % kLine == 0;
    return share_pieces((count + together - 1) / together, total, [&](int64_t k) {
      const int64_t first = k * together, last = std::min(count, first + together);
      if (stream && whole) return stream_runs(all, first, last);
      for (const Runs& r : all)
        for (int64_t i = first; i < last; ++i)
          copy_bytes(r.to + i * r.to_step, r.from + i * r.from_step, static_cast<size_t>(r.bytes), stream);
      if (stream) stream_fence();
    });
  }
  struct Piece {
    char* to;
    const char* from;
    int64_t bytes;
  };
  std::vector<Piece> pieces;
  for (int64_t i = 0; i < count; ++i)
    for (const Runs& r : all)
      for (int64_t at = 0; at < r.bytes; at += kPieceBytes)
        pieces.push_back(
            {r.to + i * r.to_step + at, r.from + i * r.from_step + at, std::min(kPieceBytes, r.bytes - at)});
  share_pieces(static_cast<int64_t>(pieces.size()), total, [&](int64_t k) {
    const Piece& piece = pieces[static_cast<size_t>(k)];
    copy_bytes(piece.to, piece.from, static_cast<size_t>(piece.bytes), stream);
    if (stream) stream_fence();
  });
}

// Whether a tensor lies in runs over the dimensions from `dim` on, a fixed number of elements apart.
bool lies_in_runs(const Tensor& t, int dim, int64_t& step) {
  int64_t expected = 1;
  bool inside = true;  // a run, or the first of the dimensions before it
  for (int d = t.dim(); d-- > 0;) {
    if (t.sizes[d] == 1) continue;
    if (d < dim && inside) {
      inside = false;
      step = expected = t.strides[d];
    }
    if (t.strides[d] != expected) return false;
    expected *= t.sizes[d];
  }
  return true;
}

}  // namespace

void join_into(Tensor* out, const std::vector<TensorRef>& parts, int dim) {
  auto item = static_cast<int64_t>(out->itemsize());
  const Dims& sizes = out->sizes;
  const DType dtype = out->dtype;
  int64_t start = 0, before = 1, after = item;
  for (int d = 0; d < dim; ++d) before *= sizes[d];
  for (int d = dim + 1; d < sizes.size(); ++d) after *= sizes[d];
  const int64_t least = streams(out->numel() * item, out->numel() * item) ? kLeastStreamedRun : kLeastRun;
  std::vector<Runs> runs;
  for (const TensorRef& t : parts) {
    int64_t size = t->sizes[dim], step = 0;
    if (size * after >= least && t->dtype == dtype && out->is_contiguous() && lies_in_runs(*t, dim, step)) {
      runs.push_back({out->data() + start * after, t->data(), size * after, before, sizes[dim] * after, step * item});
    } else if (size) {
      Dims own = t->sizes;
      copy_into(Tensor::make(out->storage, out->offset + start * out->strides[dim], own, out->strides, dtype).get(),
                t.get());
    }
    start += size;
  }
  copy_runs(runs, out->numel() * item);
}

namespace {

// What cat gives: in order, or channels-last where all parts are.
Dims cat_strides(const Dims& sizes, std::span<Tensor* const> parts) {
  Dims plain = contiguous_strides(sizes);
  if (sizes.size() != 4) return plain;
  Dims strides = result_strides(sizes, parts);
  bool channels_last = strides[1] == 1 && strides[3] == sizes[1] && strides[2] == sizes[1] * sizes[3];
  return channels_last ? strides : plain;
}

// The parts, whose sizes were checked, joined along a dimension.
TensorRef joined(const std::vector<TensorRef>& parts, int dim, DType dtype) {
  Dims sizes = parts[0]->sizes;
  sizes[dim] = 0;
  std::vector<Tensor*> like;
  for (const TensorRef& t : parts) {
    sizes[dim] += t->sizes[dim];
    like.push_back(t.get());
  }
  TensorRef out = Tensor::empty_strided(sizes, cat_strides(sizes, like), dtype, parts[0]->device());
  if (out->is_meta() || out->numel() == 0) return out;
  join_into(out.get(), parts, dim);
  return out;
}

bool is_nothing(const Tensor& t) { return t.dim() == 1 && t.sizes[0] == 0; }

void cat(const Call& call, Outputs& outputs) {
  const std::vector<TensorRef>& tensors = call[0].tensors();
  FL_CHECK(!tensors.empty(), ErrorKind::Value, "torch.cat(): expected a non-empty list of Tensors");
  DType dtype = tensors[0]->dtype;
  std::vector<TensorRef> parts;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorRef& t = tensors[i];
    FL_CHECK(t->dim(), ErrorKind::Runtime, "zero-dimensional tensor (at position %zu) cannot be concatenated", i);
    dtype = t->dtype == dtype ? dtype : promote(dtype, t->dtype);
    if (!is_nothing(*t)) parts.push_back(t);
  }
  if (parts.empty()) return (void)outputs.emplace_back(joined({tensors[0]}, 0, dtype));
  const Tensor& first = *parts[0];
  int dim = wrap_dim(call[1].as_int(), first.dim());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& t = *tensors[i];
    if (is_nothing(t)) continue;
    FL_CHECK(t.dim() == first.dim(), ErrorKind::Runtime, "Tensors must have same number of dimensions: got %d and %d",
             first.dim(), t.dim());
    for (int d = 0; d < t.dim(); ++d)
      FL_CHECK(
          d == dim || t.sizes[d] == first.sizes[d], ErrorKind::Runtime,
          "Sizes of tensors must match except in dimension %d. Expected size %lld but got size %lld for tensor number "
          "%zu in the list.",
          dim, static_cast<long long>(first.sizes[d]), static_cast<long long>(t.sizes[d]), i);
  }
  outputs.emplace_back(joined(parts, dim, dtype));
}

// Two tensors element by element: as the parts of complex numbers, which kernels write interleaved.
TensorRef interleaved(Tensor* a, Tensor* b) {
  const bool wide = a->itemsize() == 8;
  Dims sizes = a->sizes;
  sizes.push_back(2);
  TensorRef out = Tensor::empty(sizes, a->dtype);
  if (out->numel() == 0) return out;
  const DType part = wide ? DType::F64 : DType::F32, pair = to_complex(part);
  TensorRef pairs = Tensor::make(out->storage, out->offset / 2, a->sizes, contiguous_strides(a->sizes), pair);
  Iteration it(a->sizes);
  it.add(*pairs);
  it.add(*a);
  it.add(*b);
  const DType dtypes[] = {pair, part, part};
  static const Op* op = find_op("complex_parts");
  run_elements(ElementKernelCall{.overload = *op->overloads[0], .dtypes = dtypes}, it);
  return out;
}

bool interleaves(const std::vector<TensorRef>& tensors, int dim, DType dtype) {
  return tensors.size() == 2 && dim == tensors[0]->dim() && (dtype_size(dtype) == 4 || dtype_size(dtype) == 8) &&
         std::ranges::all_of(tensors, [&](auto& t) { return t->dtype == dtype && t->device() == Device{}; });
}

void stack(const Call& call, Outputs& outputs) {
  const std::vector<TensorRef>& tensors = call[0].tensors();
  FL_CHECK(!tensors.empty(), ErrorKind::Runtime, "stack expects a non-empty TensorList");
  const Tensor& first = *tensors[0];
  DType dtype = first.dtype;
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorRef& t = tensors[i];
    FL_CHECK(t->sizes == first.sizes, ErrorKind::Runtime,
             "stack expects each tensor to be equal size, but got %s at entry 0 and %s at entry %zu",
             shape_text(first.sizes).c_str(), shape_text(t->sizes).c_str(), i);
    dtype = t->dtype == dtype ? dtype : promote(dtype, t->dtype);
  }
  int dim = wrap_dim(call[1].as_int(), first.dim() + 1);
  if (interleaves(tensors, dim, dtype))
    return (void)outputs.emplace_back(interleaved(tensors[0].get(), tensors[1].get()));
  std::vector<TensorRef> parts;
  for (const TensorRef& t : tensors) {
    Dims sizes = t->sizes, strides = t->strides;
    strides.insert(dim, dim < sizes.size() ? sizes[dim] * strides[dim] : 1);
    sizes.insert(dim, 1);
    parts.push_back(Tensor::make(t->storage, t->offset, sizes, strides, t->dtype));
  }
  outputs.emplace_back(joined(parts, dim, dtype));
}

RegisterNative natives[] = {{"cat", cat}, {"stack", stack}};

}  // namespace
}  // namespace fl
