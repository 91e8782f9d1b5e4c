// The gradient of broadcasting: sums over what was repeated.
#include "autograd/accumulate.h"
#include "autograd/call.h"
#include "autograd/text.h"
#include "core/error.h"

namespace fl {

namespace {

const OpRef op_sum{"sum"}, op_view{"view"};

bool is_expandable(IntSpan from, IntSpan to) {
  if (from.size() > to.size()) return false;
  for (size_t i = 0; i < from.size(); ++i) {
    int64_t a = from[from.size() - 1 - i], b = to[to.size() - 1 - i];
    if (a != b && a != 1) return false;
  }
  return true;
}

void sum_to_size(const Call& call, Outputs& outputs) {
  const std::vector<int64_t>& size = call[1].ints();
  Tensor* self = call[0].tensor();
  FL_CHECK(is_expandable(size, self->sizes), ErrorKind::Runtime, "size {%s} is not expandable to size {%s}.",
           list_text(size).c_str(), list_text(self->sizes).c_str());
  outputs.push_back(sum_to(TensorRef(self), size));
}
RegisterNative native("sum_to_size", sum_to_size);

}  // namespace

bool can_sum_to(const Tensor& t, IntSpan sizes) { return is_expandable(sizes, t.sizes); }

TensorRef sum_to(TensorRef t, IntSpan sizes) {
  const int lead = t->dim() - static_cast<int>(sizes.size());
  std::vector<int64_t> dims;
  for (int d = 0; d < t->dim(); ++d)
    if (d < lead || (sizes[static_cast<size_t>(d - lead)] == 1 && t->sizes[d] != 1)) dims.push_back(d);
  const bool whole = static_cast<int>(dims.size()) == lead;  // the leading dimensions and no other
  if (!dims.empty()) t = op_sum({t, Value(std::move(dims)), Value(!whole)});
  return !whole && lead > 0 ? op_view({t, Value(std::vector<int64_t>(sizes.begin(), sizes.end()))}) : t;
}

}  // namespace fl
