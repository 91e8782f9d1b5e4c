// Tensors whose elements stand in reverse order along some dimensions (copies read backwards), or further on.
#include <algorithm>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/elementwise.h"
#include "runtime/join.h"
#include "runtime/op.h"

namespace fl {
namespace {

// Which dimensions are named; raises where one is named twice.
std::vector<bool> named_dims(IntSpan dims, int ndim) {
  std::vector<bool> named(static_cast<size_t>(std::max(ndim, 1)));
  for (int64_t dim : dims) {
    auto d = static_cast<size_t>(wrap_dim(dim, ndim));
    FL_CHECK(!named[d], ErrorKind::Runtime, "dim %zu appears multiple times in the list of dims", d);
    named[d] = true;
  }
  return named;
}

void flip(const Call& call, Outputs& outputs) {
  Tensor* self = call[0].tensor();
  std::vector<bool> turned = named_dims(call[1].ints(), self->dim());
  TensorRef out = Tensor::empty(self->sizes, self->dtype, self->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  Iteration it(out->sizes);
  it.add(*out);
  it.add(*self);
  for (int d = 0, at = 0; d < self->dim(); ++d) {
    if (self->sizes[d] == 1) continue;
    if (turned[static_cast<size_t>(d)]) {
      it.data[1] += (self->sizes[d] - 1) * it.stride[at][1];
      it.stride[at][1] = -it.stride[at][1];
    }
    ++at;
  }
  copy_elements(it, static_cast<int64_t>(self->itemsize()));
}

// A part of a dimension.
TensorRef part_of(const Tensor& t, int d, int64_t first, int64_t length) {
  Dims sizes = t.sizes;
  sizes[d] = length;
  return Tensor::make(t.storage, t.offset + first * t.strides[d], sizes, t.strides, t.dtype);
}

// What stands at i comes to stand at i + shifts[d] along each dimension from d on: two parts change places.
void copy_further(Tensor* to, Tensor* from, const Dims& shifts, int d) {
  while (d < to->dim() && shifts[d] == 0) ++d;
  if (d == to->dim()) return copy_into(to, from);
  const int64_t shift = shifts[d], rest = to->sizes[d] - shift;
  TensorRef first = part_of(*from, d, rest, shift), second = part_of(*from, d, 0, rest);
  if (std::all_of(shifts.begin() + d + 1, shifts.end(), [](int64_t s) { return s == 0; }))
    return join_into(to, {first, second}, d);
  copy_further(part_of(*to, d, shift, rest).get(), second.get(), shifts, d + 1);
  copy_further(part_of(*to, d, 0, shift).get(), first.get(), shifts, d + 1);
}

// rolled(self, shifts, dims): one shift for each of the dimensions.
void rolled(const Call& call, Outputs& outputs) {
  Tensor* self = call[0].tensor();
  IntSpan given = call[1].ints(), dims = call[2].ints();
  Dims shifts(self->dim());
  for (size_t k = 0; k < std::min(given.size(), dims.size()); ++k) {
    const int d = wrap_dim(dims[k], self->dim());
    if (const int64_t n = self->dim() ? self->sizes[d] : 0) shifts[d] = ((shifts[d] + given[k] % n) % n + n) % n;
  }
  TensorRef out = Tensor::empty(self->sizes, self->dtype, self->device());
  outputs.emplace_back(out);
  if (!out->is_meta() && out->numel()) copy_further(out.get(), self, shifts, 0);
}

RegisterNative natives[] = {{"flip", flip}, {"rolled", rolled}};

}  // namespace
}  // namespace fl
