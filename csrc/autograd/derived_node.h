// The node of a scalar or row operator: its gradient is one launch of a derived operator.
#pragma once
#include "autograd/record.h"

namespace fl {

class DerivedNode final : public RecordedNode {
 public:
  DerivedNode(Op& op, const Call& call, const OverloadTape& info, const DerivedPlan& plan, uint32_t needs);
  void finish(const Call& call, const OverloadTape& info, const Outputs& outputs) override;
  Grads apply(Grads grads) override;
  bool is_zero(size_t k) const override;
  void release_saved() override;

  static void* operator new(size_t) { return ObjectCache<DerivedNode>::take(); }
  static void operator delete(void* p) { ObjectCache<DerivedNode>::give(p); }

 private:
  void run_derived(const Grads& grads, Outputs& outputs);

  const DerivedPlan& plan_;
  uint32_t needs_;
  uint32_t unlike_ = 0;  // operands whose sizes or dtype are not those of the result: their gradients are fitted
  SmallList<Saved, 3> saved_;
  SmallList<Value, 2> params_;
  std::unique_ptr<std::vector<TensorInfo>> inputs_;  // by operand, where unlike_ is set
};

}  // namespace fl
