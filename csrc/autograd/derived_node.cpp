#include "autograd/derived_node.h"

#include <bit>

#include "autograd/accumulate.h"

namespace fl {

DerivedNode::DerivedNode(Op& op, const Call& call, const OverloadTape& info, const DerivedPlan& plan, uint32_t needs)
    : RecordedNode(op, call, info), plan_(plan), needs_(needs) {
  const auto& saved = plan.plan->saved;
  saved_.resize(saved.size());
  for (size_t i = 0; i < saved.size(); ++i) {
    if (saved[i].output) continue;
    const Value& v = call[info.operands[static_cast<size_t>(saved[i].index)].param];
    if (static_cast<int>(i) == plan.saved_self) {
      saved_[i] = Saved(before_change(v.tensor()), false);
    } else {
      saved_[i] = Saved(v, false);
    }
  }
  for (const auto& arg : plan.args)
    if (arg.from == DerivedPlan::Arg::From::Param) params_.push_back(call[arg.index]);
}

void DerivedNode::finish(const Call& call, const OverloadTape& info, const Outputs& outputs) {
  if (outputs.size() > 1) describe_outputs(outputs);
  const auto& saved = plan_.plan->saved;
  for (size_t i = 0; i < saved.size(); ++i)
    if (saved[i].output)
      saved_[i] = Saved(outputs[static_cast<size_t>(saved[i].index)], true, static_cast<uint32_t>(saved[i].index));
  const Tensor& result = *outputs[0].tensor();
  for (size_t i = 0; i < info.operands.size(); ++i) {
    if (!(needs_ >> i & 1)) continue;
    const Tensor& t = *call[info.operands[i].param].tensor();
    if (t.dtype == result.dtype && t.sizes == result.sizes) continue;
    unlike_ |= uint32_t{1} << i;
    if (!inputs_) inputs_ = std::make_unique<std::vector<TensorInfo>>(info.operands.size());
    (*inputs_)[i] = TensorInfo(t);
  }
}

void DerivedNode::run_derived(const Grads& grads, Outputs& outputs) {
  SmallList<Value, 8> args;
  size_t param = 0;
  for (const auto& arg : plan_.args) {
    switch (arg.from) {
      case DerivedPlan::Arg::From::Gradient: args.push_back(grads[static_cast<size_t>(arg.index)]); break;
      case DerivedPlan::Arg::From::Saved: args.push_back(saved_[static_cast<size_t>(arg.index)].unpack(this)); break;
      case DerivedPlan::Arg::From::Param: args.push_back(params_[param++]); break;
    }
  }
  dispatch_step(Call{plan_.plan->derived->overloads[0].get(), args.data()}, outputs);
}

Grads DerivedNode::apply(Grads grads) {
  Grads results(next.size());
  if (!any(grads)) return results;
  fill_missing(grads);
  Outputs outputs;
  if (plan_.plan->derived) run_derived(grads, outputs);
  size_t k = 0;
  for (size_t i = 0; i < next.size(); ++i) {
    if (!(needs_ >> i & 1)) continue;
    int from = plan_.plan->outputs[k++];
    if (from == BackwardPlan::kZeroGrad) continue;
    TensorRef g = from == BackwardPlan::kPassGrad ? grads[0] : outputs[static_cast<size_t>(from)].tensor_ref();
    if (unlike_ >> i & 1) g = fit_gradient(std::move(g), (*inputs_)[i].sizes, (*inputs_)[i].dtype, *this, i);
    results[i] = std::move(g);
  }
  return results;
}

bool DerivedNode::is_zero(size_t k) const {
  if (!(needs_ >> k & 1)) return false;
  size_t before = static_cast<size_t>(std::popcount(needs_ & ((uint32_t{1} << k) - 1)));
  return plan_.plan->outputs[before] == BackwardPlan::kZeroGrad;
}

void DerivedNode::release_saved() {
  for (Saved& s : saved_) s.reset();
}

}  // namespace fl
