// Nodes of operators: made around a forward call, from a derived or a traced gradient.
#pragma once
#include "autograd/program.h"
#include "core/object_cache.h"

namespace fl {

// What is known of an overload's parameters, computed once.
struct OverloadTape {
  struct Operand {
    int param;
    bool list;
  };
  std::vector<Operand> operands;  // Tensor and Tensor[] parameters, in order
  bool has_lists = false, out_form = false;
  uint64_t by_value = 0;  // int and float parameters whose value is part of a traced program's key
};

// The derived gradient for one key, and where the arguments of the derived operator come from.
struct DerivedPlan {
  struct Arg {
    enum class From : uint8_t { Gradient, Saved, Param } from;
    int index;
  };
  BackwardPlan* plan = nullptr;
  std::vector<Arg> args;
  int saved_self = -1;  // entry of plan->saved that is parameter `mutated` of an in-place call
};

struct Tape;
Tape& tape_of(Op& op);
const OverloadTape& overload_tape(const Tape& tape, const Overload& overload);

struct TensorInfo {
  Dims sizes;
  DType dtype;
  Device device;
  TensorInfo() = default;
  explicit TensorInfo(const Tensor& t) : sizes(t.sizes), dtype(t.dtype), device(t.device()) {}
};

class RecordedNode : public Node {
 public:
  // After the forward call: keeps what the gradient needs of its results.
  virtual void finish(const Call& call, const OverloadTape& info, const Outputs& outputs) = 0;
  std::string name() const override;

 protected:
  RecordedNode(Op& op, const Call& call, const OverloadTape& info);
  void fill_missing(Grads& grads) const;  // zeros for gradients that are not there
  void describe_outputs(const Outputs& outputs);

  Op& op_;
  std::unique_ptr<std::vector<TensorInfo>> outputs_;  // of operators with several results
};

// The node for a call that needs a gradient; saves inputs now. In-place calls make it before they run.
Ref<RecordedNode> record(const Call& call, const Outputs& outputs);

}  // namespace fl
