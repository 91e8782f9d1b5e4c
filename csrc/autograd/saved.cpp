#include "autograd/saved.h"

#include <array>

#include "autograd/call.h"
#include "autograd/meta.h"
#include "autograd/text.h"
#include "core/error.h"

namespace fl {

std::shared_ptr<void> (*pack_saved)(Tensor*) = nullptr;
TensorRef (*unpack_saved)(void*) = nullptr;

namespace {

struct Change {
  const Storage* storage = nullptr;
  uint32_t version = 0;
  const Overload* by = nullptr;
};
std::array<Change, 64> changes;
uint32_t next_change = 0;

const Overload* last_change(const Tensor& t) {
  // The latest first: storages are made anew at the same address.
  for (uint32_t back = 1; back <= changes.size(); ++back) {
    const Change& c = changes[(next_change - back) % changes.size()];
    if (c.storage == t.storage.get()) return c.version == t.version() ? c.by : nullptr;
  }
  return nullptr;
}

// Of all tensors of a list together.
uint32_t versions_of(const Value& v) {
  uint32_t sum = 0;
  if (v.tag() == Value::Tag::Tensors)
    for (const TensorRef& t : v.tensors()) sum += t ? t->version() : 0;
  return sum;
}

[[noreturn]] void fail_stale(Tensor* t, Node* owner, uint32_t output_nr, uint32_t expected) {
  std::string text =
      "one of the variables needed for gradient computation has been modified by an inplace operation: " +
      std::string("[torch.") + dtype_title(t->dtype) + "Tensor " + list_text(t->sizes) + "]";
  Ref<Node> made_by = owner ? Ref<Node>(owner) : grad_fn(t);
  if (made_by)
    text += ", which is output " + std::to_string(owner ? output_nr : fl::output_nr(t)) + " of " +
            operator_name(*made_by) + ",";
  text += " is at version " + std::to_string(t->version()) + "; expected version " + std::to_string(expected) +
          " instead. Hint: ";
  text += AnomalyMode::enabled
              ? "the backtrace further above shows the operation that failed to compute its gradient. The variable in "
                "question was changed in there or anywhere later. Good luck!"
              : "enable anomaly detection to find the operation that failed to compute its gradient, with "
                "torch.autograd.set_detect_anomaly(True, check_nan=False).";
  if (const Overload* by = last_change(*t)) text += " [changed last by " + by->name + "]";
  throw Error(ErrorKind::Runtime, text);
}

}  // namespace

TensorRef before_change(Tensor* t) {
  static const OpRef clone{"clone"};
  GradGuard off(false);
  TensorRef old = clone({TensorRef(t)});
  if (Edge from = gradient_edge(t); from.node) set_history(old.get(), from.node, from.input);
  return old;
}

void note_change(const Storage* storage, uint32_t version, const Overload& by) {
  changes[next_change++ % changes.size()] = {storage, version, &by};
}

void fail_freed() {
  fail(ErrorKind::Runtime,
       "Trying to backward through the graph a second time (or directly access saved tensors after they have already "
       "been freed). Saved intermediate values of the graph are freed when you call .backward() or autograd.grad(). "
       "Specify retain_graph=True if you need to backward through the graph a second time or if you need to access "
       "saved tensors after calling backward.");
}

Saved::Saved(const Value& value, bool is_output, uint32_t output_nr)
    : output_nr_(static_cast<uint16_t>(output_nr)), is_output_(is_output) {
  if (!value.is_tensor()) {
    value_ = value;
    version_ = versions_of(value);
    return;
  }
  Tensor* t = value.tensor();
  FL_CHECK(!t->inference, ErrorKind::Runtime,
           "Inference tensors cannot be saved for backward. To work around you can make a clone to get a normal tensor "
           "and use it in autograd.");
  version_ = t->version();
  if (pack_saved) {
    if (std::shared_ptr<void> packed = pack_saved(t)) {
      value_ = Value::object(std::move(packed));
      packed_ = true;
      return;
    }
  }
  value_ = is_output ? Value(fl::alias_of(*t)) : value;
}

Value Saved::unpack(Node* owner) const {
  if (freed_) fail_freed();
  if (packed_) {
    TensorRef t = unpack_saved(value_.object());
    if (is_output_ && owner && !requires_grad(t.get())) {
      t = fl::alias_of(*t);
      set_history(t.get(), Ref<Node>(owner), output_nr_);
    }
    return t;
  }
  if (!value_.is_tensor()) {
    FL_CHECK(
        versions_of(value_) == version_, ErrorKind::Runtime,
        "one of the variables needed for gradient computation has been modified by an inplace operation: it is one of "
        "a list that %s saved",
        owner ? owner->name().c_str() : "a function");
    return value_;
  }
  Tensor* t = value_.tensor();
  if (t->version() != version_) fail_stale(t, is_output_ ? owner : nullptr, output_nr_, version_);
  return restore(owner);
}

TensorRef Saved::restore(Node* owner) const {
  TensorRef t = value_.tensor_ref();
  if (!is_output_ || !GradMode::enabled || !owner) return t;
  t = fl::alias_of(*t);
  set_history(t.get(), Ref<Node>(owner), output_nr_);
  return t;
}

}  // namespace fl
