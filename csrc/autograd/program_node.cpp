#include "autograd/program_node.h"

#include <algorithm>
#include <cmath>

#include "autograd/accumulate.h"
#include "core/error.h"

namespace fl {

namespace {

int64_t floor_div(int64_t a, int64_t b) {
  FL_CHECK(b != 0, ErrorKind::Runtime, "a gradient divides a size by zero");
  return a / b - (a % b != 0 && (a < 0) != (b < 0));
}

Value binary(Source::Kind kind, const Value& a, const Value& b) {
  using Kind = Source::Kind;
  using Tag = Value::Tag;
  bool whole = (a.tag() == Tag::Int || a.tag() == Tag::Bool) && (b.tag() == Tag::Int || b.tag() == Tag::Bool);
  if (kind == Kind::TrueDiv || !whole) {
    double x = a.as_double(), y = b.as_double();
    switch (kind) {
      case Kind::Add: return x + y;
      case Kind::Sub: return x - y;
      case Kind::Mul: return x * y;
      case Kind::TrueDiv: return x / y;
      case Kind::FloorDiv: return std::floor(x / y);
      case Kind::Mod: return x - std::floor(x / y) * y;
      case Kind::Max: return std::max(x, y);
      default: return std::min(x, y);
    }
  }
  int64_t x = a.as_int(), y = b.as_int();
  switch (kind) {
    case Kind::Add: return x + y;
    case Kind::Sub: return x - y;
    case Kind::Mul: return x * y;
    case Kind::FloorDiv: return floor_div(x, y);
    case Kind::Mod: return x - floor_div(x, y) * y;
    case Kind::Max: return std::max(x, y);
    default: return std::min(x, y);
  }
}

// Calls fn(slot) for every slot that a source reads.
template <class F>
void each_slot(const Source& source, F&& fn) {
  if (source.slot >= 0) fn(static_cast<size_t>(source.slot));
  for (const Source& part : source.parts) each_slot(part, fn);
}

}  // namespace

void GradProgram::find_uses() {
  std::vector<uint64_t> read_for(static_cast<size_t>(n_slots));  // by slot: the results it serves
  for (size_t i = 0; i < results.size(); ++i) each_slot(results[i], [&](size_t slot) { read_for[slot] |= bit_of(i); });
  for (auto step = code.rbegin(); step != code.rend(); ++step) {
    // What it changes in place may be read by another name.
    if (step->overload->mutated >= 0) step->serves = ~uint64_t{0};
    for (size_t k = 0; k < step->overload->returns.size(); ++k)
      step->serves |= read_for[static_cast<size_t>(step->first_slot) + k];
    for (const Source& arg : step->args) each_slot(arg, [&](size_t slot) { read_for[slot] |= step->serves; });
  }
}

ProgramNode::ProgramNode(Op& op, const Call& call, const OverloadTape& info, const GradProgram& program,
                         const Needs& needs)
    : RecordedNode(op, call, info), program_(program), n_params_(static_cast<int>(call.overload->params.size())) {
  saved_.resize(program.kept.size());
  for (size_t i = 0; i < program.kept.size(); ++i) {
    const auto& kept = program.kept[i];
    if (kept.output) continue;
    const Value& v = call[kept.index];
    if (!kept.data) {
      keep_info(kept.index, v);
    } else if (kept.index == call.overload->mutated) {
      saved_[i] = Saved(before_change(v.tensor()), false);
    } else {
      saved_[i] = Saved(v, false);
    }
  }
  inputs_.reserve(needs.size());
  for (const auto& operand : info.operands)
    for_each_tensor(call[operand.param],
                    [&](Tensor* t) { inputs_.push_back(needs[inputs_.size()] ? TensorInfo(*t) : TensorInfo()); });
}

void ProgramNode::keep_info(int slot, const Value& v) {
  int item = v.is_tensor() ? -1 : 0;
  for_each_tensor(v, [&](Tensor* t) { infos_.push_back({slot, item++, t ? TensorInfo(*t) : TensorInfo()}); });
}

void ProgramNode::finish(const Call&, const OverloadTape&, const Outputs& outputs) {
  describe_outputs(outputs);
  for (size_t i = 0; i < program_.kept.size(); ++i) {
    const auto& kept = program_.kept[i];
    if (!kept.output) continue;
    const auto nr = static_cast<uint32_t>(kept.index);
    saved_[i] = Saved(outputs[nr], true, nr);
  }
}

void ProgramNode::fill(Slots& slots, Grads& grads) {
  for (size_t i = 0; i < program_.kept.size(); ++i) {
    const auto& kept = program_.kept[i];
    if (!kept.output && !kept.data) continue;
    slots[static_cast<size_t>(kept.output ? n_params_ + kept.index : kept.index)] = saved_[i].unpack(this);
  }
  for (size_t i = 0; i < grads.size(); ++i)
    slots[static_cast<size_t>(program_.first_gradient) + i] = std::move(grads[i]);
}

void ProgramNode::run(Slots& slots, uint64_t wanted) {
  Outputs outputs;
  for (const Instruction& step : program_.code) {
    if (!(step.serves & wanted)) {
      for (int slot : step.drops) slots[static_cast<size_t>(slot)] = Value();
      continue;
    }
    SmallList<Value, 8> args;
    for (const Source& source : step.args) args.push_back(read(source, slots));
    for (int slot : step.drops) slots[static_cast<size_t>(slot)] = Value();
    outputs.clear();
    dispatch_step(Call{step.overload, args.data()}, outputs);
    for (size_t i = 0; i < outputs.size(); ++i) slots[static_cast<size_t>(step.first_slot) + i] = std::move(outputs[i]);
  }
}

Grads ProgramNode::apply_some(Grads grads, uint64_t wanted) {
  Grads results(next.size());
  if (std::none_of(grads.begin(), grads.end(), [](const TensorRef& g) { return bool(g); })) return results;
  fill_missing(grads);
  Slots slots(static_cast<size_t>(program_.n_slots));
  fill(slots, grads);
  run(slots, wanted);
  for (size_t i = 0; i < program_.results.size(); ++i) {
    if (!(GradProgram::bit_of(i) & wanted)) continue;
    TensorRef g = read(program_.results[i], slots).tensor_ref();
    if (g) results[i] = fit_gradient(std::move(g), inputs_[i].sizes, inputs_[i].dtype, *this, i);
  }
  return results;
}

void ProgramNode::release_saved() {
  for (Saved& s : saved_) s.reset();
}

Value ProgramNode::read(const Source& source, const Slots& slots) const {
  using Kind = Source::Kind;
  switch (source.kind) {
    case Kind::Const: return source.value;
    case Kind::Slot: return slots[static_cast<size_t>(source.slot)];
    case Kind::Item: {
      const Value& list = slots[static_cast<size_t>(source.slot)];
      const auto i = static_cast<size_t>(source.index);
      if (list.tag() == Value::Tag::Ints) return list.ints()[i];
      if (list.tag() == Value::Tag::Floats) return list.floats()[i];
      return list.tensors()[i];
    }
    case Kind::List: return read_list(source, slots);
    case Kind::Sizes:
    case Kind::Size:
    case Kind::Numel:
    case Kind::DType:
    case Kind::Device: return read_property(source, slots);
    default: return read_number(source, slots);
  }
}

Value ProgramNode::read_list(const Source& source, const Slots& slots) const {
  switch (source.list) {
    case ParamType::Tensors: {
      std::vector<TensorRef> list;
      for (const Source& part : source.parts) list.push_back(read(part, slots).tensor_ref());
      return list;
    }
    case ParamType::Floats: {
      std::vector<double> list;
      for (const Source& part : source.parts) list.push_back(read(part, slots).as_double());
      return list;
    }
    default: {
      std::vector<int64_t> list;
      for (const Source& part : source.parts) list.push_back(read(part, slots).as_int());
      return list;
    }
  }
}

Value ProgramNode::read_number(const Source& source, const Slots& slots) const {
  Value a = read(source.parts[0], slots);
  if (source.kind == Source::Kind::Neg) return binary(Source::Kind::Sub, int64_t{0}, a);
  return binary(source.kind, a, read(source.parts[1], slots));
}

Value ProgramNode::read_property(const Source& source, const Slots& slots) const {
  TensorInfo info = info_of(source, slots);
  switch (source.kind) {
    case Source::Kind::DType: return info.dtype;
    case Source::Kind::Device: return info.device;
    case Source::Kind::Numel: {
      int64_t n = 1;
      for (int64_t size : info.sizes) n *= size;
      return n;
    }
    case Source::Kind::Size: return info.sizes[wrap_dim(source.dim, info.sizes.size())];
    default: return std::vector<int64_t>(info.sizes.begin(), info.sizes.end());
  }
}

TensorInfo ProgramNode::info_of(const Source& source, const Slots& slots) const {
  const Value& v = slots[static_cast<size_t>(source.slot)];
  if (v.is_tensor()) return TensorInfo(*v.tensor());
  if (v.tag() == Value::Tag::Tensors) return TensorInfo(*v.tensors()[static_cast<size_t>(source.index)]);
  for (size_t i = 0; i < infos_.size(); ++i) {
    if (infos_[i].slot != source.slot) continue;
    // The tensors of a list stand one behind the other.
    return infos_[infos_[i].item < 0 ? i : i + static_cast<size_t>(source.index)].info;
  }
  fail(ErrorKind::Runtime, "the gradient of %s asks for the sizes of what is not a tensor", op_.name.c_str());
}

}  // namespace fl
