#include "autograd/inplace.h"
#include "autograd/record.h"
#include "core/error.h"
#include "runtime/copy.h"

namespace fl {

namespace {

bool any_requires_grad(const Call& call, const OverloadTape& info) {
  for (const auto& operand : info.operands) {
    const Value& v = call[operand.param];
    if (v.is_tensor()) {
      if (requires_grad(v.tensor())) return true;
    } else if (operand.list && v.tag() == Value::Tag::Tensors) {
      for (const TensorRef& t : v.tensors())
        if (t && requires_grad(t.get())) return true;
    }
  }
  return false;
}

// What runs inside an operator is no history of its own.
void run_forward(const Call& call, Outputs& outputs) {
  GradGuard off(false);
  call.op().forward(call, outputs);
}

bool is_argument(const Call& call, const OverloadTape& info, const Tensor* t) {
  for (const auto& operand : info.operands)
    if (call[operand.param].is_tensor() && call[operand.param].tensor() == t) return true;
  return false;
}

// The argument whose storage a result shares; null for a copy, and for an argument that was returned as it is.
Tensor* viewed(const Call& call, const OverloadTape& info, const Tensor* result) {
  if (is_argument(call, info, result)) return nullptr;
  for (const auto& operand : info.operands) {
    const Value& v = call[operand.param];
    if (v.is_tensor() && v.tensor()->storage == result->storage) return v.tensor();
  }
  return nullptr;
}

void mark_views(const Call& call, const OverloadTape& info, const Outputs& outputs) {
  bool several = outputs.size() > 1 || (!outputs.empty() && outputs[0].tag() == Value::Tag::Tensors);
  ViewOrigin origin = several ? ViewOrigin::Several : GradMode::enabled ? ViewOrigin::Plain : ViewOrigin::NoGrad;
  for (const Value& v : outputs)
    for_each_tensor(v, [&](Tensor* t) {
      Tensor* source = t ? viewed(call, info, t) : nullptr;
      if (!source) return;
      t->inference = source->inference;
      if (!source->inference) make_view(t, source, t->dtype == source->dtype ? origin : ViewOrigin::Custom);
    });
}

void mark_inference(const Call& call, const OverloadTape& info, const Outputs& outputs) {
  for (const Value& v : outputs)
    for_each_tensor(v, [&](Tensor* t) {
      if (!t || is_argument(call, info, t)) return;
      Tensor* source = viewed(call, info, t);
      t->inference = !source || source->inference;
    });
}

void connect(const Call& call, const OverloadTape& info, const Ref<RecordedNode>& node, const Outputs& outputs) {
  uint32_t nr = 0;
  for (const Value& v : outputs)
    for_each_tensor(v, [&](Tensor* t) {
      if (t && is_differentiable(t->dtype) && !is_argument(call, info, t)) set_history(t, node, nr);
      ++nr;
    });
}

bool any_differentiable(const Call& call, const OverloadTape& info, const Outputs& outputs) {
  bool found = false;
  for (const Value& v : outputs)
    for_each_tensor(v, [&](Tensor* t) { found |= t && is_differentiable(t->dtype) && !is_argument(call, info, t); });
  return found;
}

void changed(const Call& call, Tensor* t) {
  t->bump_version();
  note_change(t->storage.get(), t->version(), *call.overload);
}

bool is_result(const Outputs& outputs, const Tensor* out) {
  return outputs.size() == 1 && outputs[0].is_tensor() && outputs[0].tensor() == out;
}

void run_out_form(const Call& call, bool records, Tensor* out, Outputs& outputs) {
  FL_CHECK(!(records || (GradMode::enabled && requires_grad(out))), ErrorKind::Runtime,
           "%s(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires grad.",
           call.op().name.c_str());
  check_in_place(out, false, call.overload->name.c_str());
  run_forward(call, outputs);
  changed(call, out);
}

void run_in_place(const Call& call, const OverloadTape& info, bool records, Outputs& outputs) {
  const Overload& o = *call.overload;
  const Value& self = call[o.mutated];
  if (!self.is_tensor()) return run_forward(call, outputs);
  Tensor* t = self.tensor();
  if (info.out_form) return run_out_form(call, records, t, outputs);
  records &= is_differentiable(t->dtype);  // integers that differentiable numbers are written to have no history
  check_in_place(t, records, o.name.c_str());
  if (o.op->kind != BodyKind::Native) {  // those that write say so themselves; `t_` and its like do not
    check_writable(*t);
    check_no_overlap(t);
  }
  if (!records || !is_differentiable(t->dtype)) {
    run_forward(call, outputs);
    return changed(call, t);
  }
  const Outputs result{self};
  Ref<RecordedNode> node = record(call, result);
  run_forward(call, outputs);
  changed(call, t);
  node->finish(call, info, result);
  rebase_history(t, node);
}

}  // namespace

void dispatch_step(const Call& call, Outputs& outputs) {
  if (GradMode::enabled || GradMode::inference || call.overload->mutated >= 0) return dispatch(call, outputs);
  call.op().forward(call, outputs);
}

void dispatch(const Call& call, Outputs& outputs) {
  Op& op = call.op();
  if (op.kind == BodyKind::Composite) return op.forward(call, outputs);
  const Overload& o = *call.overload;
  const OverloadTape& info = overload_tape(tape_of(op), o);
  const bool records = GradMode::enabled && any_requires_grad(call, info);
  if (o.mutated >= 0) return run_in_place(call, info, records, outputs);
  if (call.out && (records || GradMode::inference || requires_grad(call.out)))
    return dispatch(Call{call.overload, call.args}, outputs);
  run_forward(call, outputs);
  if (call.out && is_result(outputs, call.out)) return changed(call, call.out);
  if (o.is_view && op.has_gradient) mark_views(call, info, outputs);
  if (records && op.has_gradient && any_differentiable(call, info, outputs)) {
    Ref<RecordedNode> node = record(call, outputs);
    node->finish(call, info, outputs);
    connect(call, info, node, outputs);
  }
  if (GradMode::inference) [[unlikely]]
    mark_inference(call, info, outputs);
}

}  // namespace fl
