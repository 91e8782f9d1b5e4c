#include "autograd/call.h"

#include "core/error.h"

namespace fl {

namespace {

bool takes(const Param& p, const Value& v) {
  using Tag = Value::Tag;
  if (v.is_none()) return p.optional || p.has_default;
  switch (p.type) {
    case ParamType::Tensor: return v.is_tensor();
    case ParamType::Tensors: return v.tag() == Tag::Tensors;
    case ParamType::Scalar: return v.is_number();
    case ParamType::Int: return v.tag() == Tag::Int || v.tag() == Tag::Bool;
    case ParamType::Float: return v.tag() == Tag::Float || v.tag() == Tag::Int;
    case ParamType::Bool: return v.tag() == Tag::Bool;
    case ParamType::Str: return v.tag() == Tag::Str;
    case ParamType::Ints: return v.tag() == Tag::Ints;
    case ParamType::Floats: return v.tag() == Tag::Floats;
    case ParamType::DType: return v.tag() == Tag::DType;
    case ParamType::Device: return v.tag() == Tag::Device;
    case ParamType::Layout: return v.tag() == Tag::Layout;
    case ParamType::MemoryFormat: return v.tag() == Tag::MemoryFormat;
    case ParamType::Generator:
    case ParamType::Any: return true;
  }
  return false;
}

// Positional arguments first; what is left must have a default. Keyword-only parameters are filled in order as well.
bool fits(const Overload& o, std::initializer_list<Value> args) {
  if (args.size() > o.params.size()) return false;
  size_t i = 0;
  for (const Value& v : args)
    if (!takes(o.params[i++], v)) return false;
  for (; i < o.params.size(); ++i)
    if (!o.params[i].has_default) return false;
  return true;
}

const Overload& find_overload(std::string_view name, std::initializer_list<Value> args) {
  for (uint32_t id = 0; id < op_count(); ++id)
    for (const auto& o : op_by_id(id).overloads)
      if (o->name == name && fits(*o, args)) return *o;
  fail(ErrorKind::NotImplemented, "the operator '%s', which a gradient needs, is not there", std::string(name).c_str());
}

}  // namespace

void OpRef::call(std::initializer_list<Value> args, Outputs& outputs) const {
  if (!overload_) overload_ = &find_overload(name_, args);
  const size_t n = overload_->params.size();
  SmallList<Value, 6> values(n);
  size_t i = 0;
  for (const Value& v : args) {
    values[i] = v.is_none() ? overload_->params[i].default_value : v;
    ++i;
  }
  for (; i < n; ++i) values[i] = overload_->params[i].default_value;
  dispatch_step(Call{overload_, values.data()}, outputs);
}

TensorRef OpRef::operator()(std::initializer_list<Value> args) const {
  Outputs outputs;
  call(args, outputs);
  return outputs[0].tensor_ref();
}

}  // namespace fl
