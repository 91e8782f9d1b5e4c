// Tensors whose elements stand in reverse order along some dimensions: copies read backwards.
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/elementwise.h"
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

RegisterNative native("flip", flip);

}  // namespace
}  // namespace fl
