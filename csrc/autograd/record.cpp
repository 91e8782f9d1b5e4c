#include "autograd/record.h"

#include <bit>
#include <cstring>

#include "autograd/accumulate.h"
#include "autograd/derived_node.h"
#include "autograd/meta.h"
#include "autograd/program_node.h"
#include "autograd/text.h"
#include "core/error.h"
#include "runtime/scalar_layout.h"

namespace fl {

BackwardPlan* (*backward_planner)(Op&, const std::string&, bool, uint32_t) = nullptr;
GradProgram* (*program_tracer)(const Call&, const Outputs&, const Needs&, uint64_t&) = nullptr;

namespace {

struct PlanEntry {
  const Overload* overload;
  uint32_t needs, attributes, fold;
  bool complex;
  DerivedPlan plan;
};

using ProgramKey = SmallList<char, 112>;

struct ProgramEntry {
  const Overload* overload;
  ProgramKey key;
  GradProgram* program;
};

}  // namespace

struct Tape {
  std::string node_name;
  std::vector<OverloadTape> overloads;
  // Programs and plans are few and live as long as the process; nodes point to them.
  std::vector<std::unique_ptr<PlanEntry>> plans;
  std::vector<ProgramEntry> programs;
};

namespace {

OverloadTape study(const Overload& o) {
  OverloadTape t;
  for (int i = 0; i < static_cast<int>(o.params.size()); ++i) {
    const Param& p = o.params[static_cast<size_t>(i)];
    bool list = p.type == ParamType::Tensors;
    if (p.type == ParamType::Tensor || list) t.operands.push_back({i, list});
    t.has_lists |= list;
  }
  t.out_form = o.mutated >= 0 && o.params[static_cast<size_t>(o.mutated)].keyword_only;
  return t;
}

std::vector<DerivedPlan::Arg> derived_args(const BackwardPlan& plan, const Overload& forward) {
  using From = DerivedPlan::Arg::From;
  std::vector<DerivedPlan::Arg> args;
  const auto& params = plan.derived->overloads[0]->params;
  int operands = 0;
  for (const Param& p : params) operands += p.type == ParamType::Tensor;
  const int gradients = operands - static_cast<int>(plan.saved.size());
  int operand = 0;
  for (const Param& p : params) {
    if (p.type == ParamType::Tensor) {
      args.push_back(operand < gradients ? DerivedPlan::Arg{From::Gradient, operand}
                                         : DerivedPlan::Arg{From::Saved, operand - gradients});
      ++operand;
      continue;
    }
    int index = -1;
    for (size_t i = 0; i < forward.params.size(); ++i)
      if (forward.params[i].name == p.name) index = static_cast<int>(i);
    FL_CHECK(index >= 0, ErrorKind::Runtime, "derived operator %s asks for '%s', which %s does not have",
             plan.derived->name.c_str(), p.name.c_str(), forward.op->name.c_str());
    args.push_back({From::Param, index});
  }
  return args;
}

bool any_complex(const Call& call, const OverloadTape& info) {
  for (const auto& operand : info.operands) {
    const Value& v = call[operand.param];
    if (v.is_tensor() ? is_complex(v.tensor()->dtype) : v.tag() == Value::Tag::Complex) return true;
  }
  return false;
}

const DerivedPlan& find_plan(Tape& tape, const Call& call, const OverloadTape& info, uint32_t needs) {
  const Overload& o = *call.overload;
  const ScalarLayout& layout = scalar_layout(o);
  const uint32_t attributes = attributes_of(layout, call), fold = fold_of(layout, call);
  const bool complex = any_complex(call, info);
  for (const auto& e : tape.plans)
    if (e->overload == &o && e->needs == needs && e->fold == fold && e->attributes == attributes &&
        e->complex == complex)
      return e->plan;

  auto e = std::make_unique<PlanEntry>(PlanEntry{&o, needs, attributes, fold, complex, {}});
  e->plan.plan = backward_planner(*o.op, full_attributes(o, attributes, fold), complex, needs);
  if (e->plan.plan && e->plan.plan->derived) e->plan.args = derived_args(*e->plan.plan, o);
  if (e->plan.plan && o.mutated >= 0)
    for (size_t i = 0; i < e->plan.plan->saved.size(); ++i) {
      const auto& s = e->plan.plan->saved[i];
      if (!s.output && info.operands[static_cast<size_t>(s.index)].param == o.mutated)
        e->plan.saved_self = static_cast<int>(i);
    }
  tape.plans.push_back(std::move(e));
  return tape.plans.back()->plan;
}

void put(ProgramKey& key, int64_t v) {
  for (size_t i = 0; i < sizeof v; ++i) key.push_back(static_cast<char>(v >> 8 * i));
}

void put_tensor(ProgramKey& key, const Tensor* t, bool need) {
  if (!t) return key.push_back('-');
  key.push_back(need ? '+' : '.');
  key.push_back(static_cast<char>(t->dtype));
  key.push_back(static_cast<char>(t->dim()));
}

void put_value(ProgramKey& key, const Value& v, bool by_value) {
  using Tag = Value::Tag;
  switch (v.tag()) {
    case Tag::Int:
    case Tag::Float:
      if (by_value) put(key, v.tag() == Tag::Int ? v.as_int() : std::bit_cast<int64_t>(v.as_double()));
      break;
    case Tag::Ints:
      put(key, static_cast<int64_t>(v.ints().size()));
      if (by_value)
        for (int64_t i : v.ints()) put(key, i);
      break;
    case Tag::Floats:
      put(key, static_cast<int64_t>(v.floats().size()));
      if (by_value)
        for (double d : v.floats()) put(key, std::bit_cast<int64_t>(d));
      break;
    case Tag::Complex:
      put(key, std::bit_cast<int64_t>(v.as_complex().real()));
      put(key, std::bit_cast<int64_t>(v.as_complex().imag()));
      break;
    case Tag::Str:
      for (char c : v.str()) key.push_back(c);
      key.push_back('\0');
      break;
    case Tag::Object:
    case Tag::None:
    case Tag::Layout: break;
    default: put(key, v.as_int());
  }
}

bool operator==(const ProgramKey& a, const ProgramKey& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size()) == 0;
}

// Everything a traced gradient may look at.
ProgramKey program_key(const Call& call, const OverloadTape& info, const Needs& needs, const Outputs& outputs) {
  ProgramKey key;
  size_t k = 0;
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    const Value& v = call[static_cast<int>(i)];
    key.push_back(static_cast<char>(v.tag()));
    if (call.overload->params[i].type == ParamType::Tensors) {
      put(key, static_cast<int64_t>(v.is_none() ? 0 : v.tensors().size()));
      for_each_tensor(v, [&](Tensor* t) { put_tensor(key, t, needs[k++]); });
    } else if (call.overload->params[i].type == ParamType::Tensor) {
      put_tensor(key, v.is_tensor() ? v.tensor() : nullptr, needs[k++]);
    } else {
      put_value(key, v, info.by_value >> i & 1);
    }
  }
  for (const Value& v : outputs) {
    key.push_back('|');
    for_each_tensor(v, [&](Tensor* t) { put_tensor(key, t, false); });
  }
  return key;
}

GradProgram* find_program(Tape& tape, const Call& call, OverloadTape& info, const Needs& needs,
                          const Outputs& outputs) {
  ProgramKey key = program_key(call, info, needs, outputs);
  for (const ProgramEntry& e : tape.programs)
    if (e.overload == call.overload && e.key == key) return e.program;
  uint64_t by_value = info.by_value;
  GradProgram* program = program_tracer(call, outputs, needs, by_value);
  if (by_value != info.by_value) {
    // Programs found under the narrower key say nothing about the values: they are looked up no more.
    info.by_value = by_value;
    std::erase_if(tape.programs, [&](const ProgramEntry& e) { return e.overload == call.overload; });
    key = program_key(call, info, needs, outputs);
  }
  tape.programs.push_back({call.overload, std::move(key), program});
  return program;
}

// Stands in the graph where an operator has no gradient: says so when one is asked for.
class MissingGradientNode final : public RecordedNode {
 public:
  MissingGradientNode(Op& op, const Call& call, const OverloadTape& info) : RecordedNode(op, call, info) {}
  void finish(const Call&, const OverloadTape&, const Outputs& outputs) override { describe_outputs(outputs); }
  Grads apply(Grads) override {
    fail(ErrorKind::Runtime, "derivative for aten::%s is not implemented",
         op_.name.substr(0, op_.name.find('.')).c_str());
  }
};

// History of what was overwritten by an operator without a gradient (random numbers): nothing flows further.
class CutNode final : public RecordedNode {
 public:
  CutNode(Op& op, const Call& call, const OverloadTape& info) : RecordedNode(op, call, info) { next.clear(); }
  void finish(const Call&, const OverloadTape&, const Outputs&) override {}
  Grads apply(Grads) override { return {}; }
};

uint32_t needed_operands(const Call& call, const OverloadTape& info) {
  FL_CHECK(info.operands.size() <= 32, ErrorKind::Runtime, "%s has more than 32 tensor operands",
           call.op().name.c_str());
  uint32_t needs = 0;
  for (size_t i = 0; i < info.operands.size(); ++i) {
    const Value& v = call[info.operands[i].param];
    if (v.is_tensor() && requires_grad(v.tensor())) needs |= uint32_t{1} << i;
  }
  return needs;
}

Needs needed_tensors(const Call& call, const OverloadTape& info) {
  Needs needs;
  for (const auto& operand : info.operands)
    for_each_tensor(call[operand.param], [&](Tensor* t) { needs.push_back(t && requires_grad(t)); });
  return needs;
}

bool is_derivable(const Op& op) {
  return !op.hand_gradient && (op.kind == BodyKind::Scalar || op.kind == BodyKind::Row || op.kind == BodyKind::Reduce);
}

// "index.Tensor" -> IndexBackward0; the derived operator "mul__b3[~alpha]" -> MulBackwardBackward0.
std::string node_name(const std::string& op) {
  std::string name = op.substr(0, op.find_first_of(".["));
  std::string backwards;
  for (size_t at; (at = name.rfind("__b")) != std::string::npos; name.resize(at)) backwards += "Backward";
  return camel_case(name) + backwards + "Backward0";
}

}  // namespace

Tape& tape_of(Op& op) {
  if (op.tape) [[likely]]
    return *static_cast<Tape*>(op.tape);
  auto* tape = new Tape;  // operators are never removed
  tape->node_name = node_name(op.name);
  for (const auto& o : op.overloads) tape->overloads.push_back(study(*o));
  op.tape = tape;
  return *tape;
}

const OverloadTape& overload_tape(const Tape& tape, const Overload& overload) {
  return tape.overloads[static_cast<size_t>(overload.index)];
}

RecordedNode::RecordedNode(Op& op, const Call& call, const OverloadTape& info) : op_(op) {
  for (const auto& operand : info.operands)
    for_each_tensor(call[operand.param], [&](Tensor* t) { next.push_back(t ? gradient_edge(t) : Edge{}); });
  if (AnomalyMode::enabled && AnomalyMode::capture) extra().trace = AnomalyMode::capture();
}

std::string RecordedNode::name() const { return tape_of(op_).node_name; }

void RecordedNode::describe_outputs(const Outputs& outputs) {
  n_inputs = 0;
  for (const Value& v : outputs) for_each_tensor(v, [&](Tensor*) { ++n_inputs; });
  if (n_inputs < 2) return;
  outputs_ = std::make_unique<std::vector<TensorInfo>>();
  for (const Value& v : outputs)
    for_each_tensor(v, [&](Tensor* t) { outputs_->push_back(t ? TensorInfo(*t) : TensorInfo()); });
}

void RecordedNode::fill_missing(Grads& grads) const {
  if (!outputs_) return;
  for (size_t i = 0; i < grads.size(); ++i) {
    const TensorInfo& info = (*outputs_)[i];
    if (!grads[i] && is_differentiable(info.dtype)) grads[i] = zeros(info.sizes, info.dtype, info.device);
  }
}

Ref<RecordedNode> record(const Call& call, const Outputs& outputs) {
  Op& op = call.op();
  Tape& tape = tape_of(op);
  OverloadTape& info = tape.overloads[static_cast<size_t>(call.overload->index)];
  if (!op.has_gradient) return make_ref<CutNode>(op, call, info);
  if (is_derivable(op)) {
    uint32_t needs = needed_operands(call, info);
    const DerivedPlan& plan = find_plan(tape, call, info, needs);
    if (plan.plan) return make_ref<DerivedNode>(op, call, info, plan, needs);
  } else {
    Needs needs = needed_tensors(call, info);
    if (GradProgram* program = find_program(tape, call, info, needs, outputs))
      return make_ref<ProgramNode>(op, call, info, *program, needs);
  }
  return make_ref<MissingGradientNode>(op, call, info);
}

}  // namespace fl
