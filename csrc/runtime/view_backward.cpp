// Gradients of views that show a part: zeros of the input's size with the incoming gradient in the part's place.
#include <algorithm>

#include "core/element.h"
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/views.h"

namespace fl {
namespace {

TensorRef zeros_for(const Tensor& g, IntSpan sizes) {
  TensorRef t = Tensor::empty(sizes, g.dtype, g.device());
  clear_tensor(t.get());
  return t;
}

void give(Outputs& outputs, TensorRef whole, const TensorRef& part, Tensor* g) {
  copy_into(part.get(), g);
  outputs.emplace_back(std::move(whole));
}

// select_backward(g, sizes, dim, index)
void select_backward(const Call& c, Outputs& outputs) {
  Tensor* g = c[0].tensor();
  TensorRef whole = zeros_for(*g, c[1].ints());
  int d = wrap_dim(c[2].as_int(), whole->dim());
  int64_t index = c[3].as_int();
  give(outputs, whole, select_at(*whole, d, index < 0 ? index + whole->sizes[d] : index), g);
}

// slice_backward(g, sizes, dim, start, end, step)
void slice_backward(const Call& c, Outputs& outputs) {
  Tensor* g = c[0].tensor();
  TensorRef whole = zeros_for(*g, c[1].ints());
  int d = wrap_dim(c[2].as_int(), whole->dim());
  Range r = clamp_range(c[3], c[4], whole->sizes[d]);
  give(outputs, whole, slice_at(*whole, d, r.start, r.end, c[5].as_int()), g);
}

// narrow_backward(g, sizes, dim, start, length)
void narrow_backward(const Call& c, Outputs& outputs) {
  Tensor* g = c[0].tensor();
  TensorRef whole = zeros_for(*g, c[1].ints());
  int d = wrap_dim(c[2].as_int(), whole->dim());
  int64_t start = c[3].as_int();
  if (start < 0) start += whole->sizes[d];
  give(outputs, whole, slice_at(*whole, d, start, start + c[4].as_int(), 1), g);
}

// diagonal_backward(g, sizes, offset, dim1, dim2)
void diagonal_backward(const Call& c, Outputs& outputs) {
  Tensor* g = c[0].tensor();
  TensorRef whole = zeros_for(*g, c[1].ints());
  Value args[] = {Value(whole), c[2], c[3], c[4]};
  Outputs part;
  find_native("diagonal")({nullptr, args}, part);
  give(outputs, whole, part[0].tensor_ref(), g);
}

// ---- as_strided: elements of the result may lie on one another, and so may those of the input

// Calls fn(i, offset) for the i-th element and its place in the storage.
template <class F>
void each_place(IntSpan sizes, IntSpan strides, int64_t offset, F&& fn) {
  int64_t n = 1;
  for (int64_t s : sizes) n *= s;
  for (int64_t i = 0; i < n; ++i) {
    int64_t at = offset, rest = i;
    for (size_t d = sizes.size(); d-- > 0;) {
      at += rest % sizes[d] * strides[d];
      rest /= sizes[d];
    }
    fn(i, at);
  }
}

int64_t extent(IntSpan sizes, IntSpan strides, int64_t offset) {
  int64_t last = offset;
  for (size_t d = 0; d < sizes.size(); ++d) last += (sizes[d] - 1) * strides[d];
  return last + 1;
}

// What every place of the storage gets is summed, shared among the elements of the input that lie there, and read back.
template <class T>
void spread(const Tensor& g, const Tensor& self, IntSpan sizes, IntSpan strides, int64_t offset, Tensor& out) {
  auto count =
      static_cast<size_t>(std::max(extent(sizes, strides, offset), extent(self.sizes, self.strides, self.offset)));
  std::vector<T> sums(count);
  std::vector<int64_t> shares(count);
  const T* from = g.data<T>();
  T* to = out.data<T>();
  each_place(sizes, strides, offset, [&](int64_t i, int64_t at) { sums[static_cast<size_t>(at)] += from[i]; });
  each_place(self.sizes, self.strides, self.offset, [&](int64_t, int64_t at) { ++shares[static_cast<size_t>(at)]; });
  each_place(self.sizes, self.strides, self.offset, [&](int64_t i, int64_t at) {
    to[i] = sums[static_cast<size_t>(at)] / static_cast<T>(static_cast<double>(shares[static_cast<size_t>(at)]));
  });
}

// as_strided_backward(g, self, size, stride, storage_offset)
void as_strided_backward(const Call& c, Outputs& outputs) {
  TensorRef g = contiguous_tensor(c[0].tensor());
  Tensor& self = *c[1].tensor();
  TensorRef out = zeros_for(*g, self.sizes);
  int64_t offset = c[4].is_none() ? self.offset : c[4].as_int();
  if (!g->is_meta() && g->numel() > 0 && self.numel() > 0) {
    DType wide = g->dtype == DType::F16 || g->dtype == DType::BF16 ? DType::F32 : g->dtype;
    TensorRef from = cast_to(g.get(), wide), to = cast_to(out.get(), wide);
    with_element_type(wide, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_same_v<T, float> || std::is_same_v<T, double> || std::is_same_v<T, std::complex<float>> ||
                    std::is_same_v<T, std::complex<double>>)
        spread<T>(*from, self, c[2].ints(), c[3].ints(), offset, *to);
    });
    out = cast_to(to.get(), g->dtype);
  }
  outputs.emplace_back(std::move(out));
}

const RegisterNative natives[] = {{"select_backward", select_backward},
                                  {"slice_backward", slice_backward},
                                  {"narrow_backward", narrow_backward},
                                  {"diagonal_backward", diagonal_backward},
                                  {"as_strided_backward", as_strided_backward}};

}  // namespace
}  // namespace fl
