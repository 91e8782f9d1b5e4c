// The node of an operator with a hand-written gradient: runs its traced program.
#pragma once
#include "autograd/record.h"

namespace fl {

class ProgramNode final : public RecordedNode {
 public:
  ProgramNode(Op& op, const Call& call, const OverloadTape& info, const GradProgram& program, const Needs& needs);
  void finish(const Call& call, const OverloadTape& info, const Outputs& outputs) override;
  Grads apply(Grads grads) override { return apply_some(std::move(grads), ~uint64_t{0}); }
  Grads apply_some(Grads grads, uint64_t wanted) override;
  void release_saved() override;

  static void* operator new(size_t) { return ObjectCache<ProgramNode>::take(); }
  static void operator delete(void* p) { ObjectCache<ProgramNode>::give(p); }

 private:
  // A tensor of which only the metadata is kept.
  struct Info {
    int slot, item;  // item of a list, -1: a single tensor
    TensorInfo info;
  };
  using Slots = SmallList<Value, 12>;

  void keep_info(int slot, const Value& v);
  void fill(Slots& slots, Grads& grads);
  void run(Slots& slots, uint64_t wanted);
  Value read(const Source& source, const Slots& slots) const;
  Value read_list(const Source& source, const Slots& slots) const;
  Value read_number(const Source& source, const Slots& slots) const;
  Value read_property(const Source& source, const Slots& slots) const;
  TensorInfo info_of(const Source& source, const Slots& slots) const;

  const GradProgram& program_;
  int n_params_;
  SmallList<Saved, 3> saved_;
  SmallList<Info, 2> infos_;
  SmallList<TensorInfo, 3> inputs_;  // by flattened tensor argument; what needs no gradient has no sizes
};

}  // namespace fl
