// Where gradients come from: plans of derived operators and traced programs, both made by Python and kept for ever.
#include <string>
#include <vector>

#include "autograd/program.h"
#include "bind/autograd_node.h"
#include "bind/types.h"
#include "bind/values.h"

namespace fl {
namespace {

PyObject* imported(PyObject*& module, const char* name) {
  if (!module) module = checked(PyImport_ImportModule(name)).release();
  return module;
}

long integer(PyObject* o) {
  long v = PyLong_AsLong(o);
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}

PyObject* item(PyObject* sequence, Py_ssize_t i) {
  return PyTuple_Check(sequence) ? PyTuple_GET_ITEM(sequence, i) : PyList_GET_ITEM(sequence, i);
}

PyRef sequence(PyObject* o) { return checked(PySequence_Fast(o, "a gradient's program is malformed")); }
Py_ssize_t length(const PyRef& s) { return PySequence_Fast_GET_SIZE(s.get()); }

// --- derived operators

BackwardPlan* plan_backward(Op& op, const std::string& attributes, bool complex, uint32_t needs) {
  static PyObject *scalar = nullptr, *row = nullptr;
  PyObject* module =
      op.kind == BodyKind::Scalar ? imported(scalar, "flambeau.ops.derive") : imported(row, "flambeau.ops.rowderive");
  PyRef got = checked(PyObject_CallMethod(module, "backward_plan", "ssOI", op.name.c_str(), attributes.c_str(),
                                          complex ? Py_True : Py_False, needs));
  PyObject *derived, *saved, *outputs;
  if (!PyArg_ParseTuple(got.get(), "OOO:backward_plan", &derived, &saved, &outputs)) throw PythonError{};
  auto plan = std::make_unique<BackwardPlan>();
  if (derived != Py_None) {
    const char* name = PyUnicode_AsUTF8(derived);
    if (!name) throw PythonError{};
    plan->derived = find_op(name);
    if (!plan->derived) raise(PyExc_RuntimeError, "the derived operator '%s' was not registered", name);
  }
  PyRef kept = sequence(saved), wanted = sequence(outputs);
  for (Py_ssize_t i = 0; i < length(kept); ++i) {
    PyObject* pair = item(kept.get(), i);
    plan->saved.push_back({item(pair, 0) == Py_True, static_cast<int>(integer(item(pair, 1)))});
  }
  for (Py_ssize_t i = 0; i < length(wanted); ++i)
    plan->outputs.push_back(static_cast<int>(integer(item(wanted.get(), i))));
  return plan.release();  // kept by the operator for ever
}

// --- traced programs

const char* kind_name(ParamType type) {
  switch (type) {
    case ParamType::Tensor: return "Tensor";
    case ParamType::Tensors: return "Tensor[]";
    case ParamType::Scalar: return "Scalar";
    case ParamType::Int: return "int";
    case ParamType::Float: return "float";
    case ParamType::Bool: return "bool";
    case ParamType::Str: return "str";
    case ParamType::Ints: return "int[]";
    case ParamType::Floats: return "float[]";
    case ParamType::DType: return "ScalarType";
    case ParamType::Device: return "Device";
    case ParamType::Layout: return "Layout";
    case ParamType::MemoryFormat: return "MemoryFormat";
    case ParamType::Generator: return "Generator";
    case ParamType::Any: return "Any";
  }
  return "Any";
}

PyRef boolean(bool v) { return PyRef::borrow(v ? Py_True : Py_False); }

PyRef described(const Tensor* t) {
  if (!t) return PyRef::borrow(Py_None);
  PyRef sizes = checked(size_object(t->sizes));
  return checked(Py_BuildValue("(OiO)", dtype_object(t->dtype), t->dim(), sizes.get()));
}

PyRef described_list(const std::vector<TensorRef>& list) {
  PyRef all = checked(PyList_New(0));
  for (const TensorRef& t : list) check_status(PyList_Append(all.get(), described(t.get()).get()));
  return all;
}

PyRef argument(const Param& p, const Value& v) {
  if (v.is_none()) return PyRef::borrow(Py_None);
  if (p.type == ParamType::Tensor && v.is_tensor()) return described(v.tensor());
  if (p.type == ParamType::Tensors) return described_list(v.tensors());
  return checked(to_python(v));
}

struct CallText {
  PyRef params, args, outputs, needs;
};

PyRef needs_of(const Value& v, const Needs& needs, size_t& k) {
  if (v.tag() != Value::Tag::Tensors) return boolean(needs[k++]);
  PyRef list = checked(PyList_New(0));
  for (size_t i = 0; i < v.tensors().size(); ++i) check_status(PyList_Append(list.get(), boolean(needs[k++]).get()));
  return checked(PyList_AsTuple(list.get()));
}

CallText describe_call(const Call& call, const Outputs& outputs, const Needs& needs) {
  CallText text{checked(PyList_New(0)), checked(PyList_New(0)), checked(PyList_New(0)), checked(PyList_New(0))};
  size_t k = 0;
  for (size_t i = 0; i < call.overload->params.size(); ++i) {
    const Param& p = call.overload->params[i];
    const Value& v = call[static_cast<int>(i)];
    PyRef param = checked(Py_BuildValue("(ssO)", p.name.c_str(), kind_name(p.type), p.is_static ? Py_True : Py_False));
    check_status(PyList_Append(text.params.get(), param.get()));
    check_status(PyList_Append(text.args.get(), argument(p, v).get()));
    if (p.type == ParamType::Tensor || p.type == ParamType::Tensors)
      check_status(PyList_Append(text.needs.get(), needs_of(v, needs, k).get()));
  }
  for (const Value& v : outputs) {
    if (v.tag() == Value::Tag::Tensors) {
      for (const TensorRef& t : v.tensors()) check_status(PyList_Append(text.outputs.get(), described(t.get()).get()));
    } else {
      check_status(PyList_Append(text.outputs.get(), described(v.is_tensor() ? v.tensor() : nullptr).get()));
    }
  }
  text.needs = checked(PyList_AsTuple(text.needs.get()));
  return text;
}

Source parse_source(PyObject* o, const Param* param);

void parse_parts(PyObject* parts, const Param* param, Source& source) {
  PyRef items = sequence(parts);
  for (Py_ssize_t i = 0; i < length(items); ++i) source.parts.push_back(parse_source(item(items.get(), i), param));
}

Value constant(PyObject* o, const Param* param) {
  Value v;
  if (o == Py_None) return v;
  if (param && from_python(o, *param, v)) return v;
  if (!number_from_python(o, v)) {
    if (param)
      raise(PyExc_TypeError, "a gradient's program passes '%R' for the parameter '%s'", o, param->name.c_str());
    raise(PyExc_TypeError, "a gradient's program holds '%R'", o);
  }
  return v;
}

struct SourceName {
  const char* name;
  Source::Kind kind;
};
constexpr SourceName kArithmetic[] = {{"add", Source::Kind::Add},         {"sub", Source::Kind::Sub},
                                      {"mul", Source::Kind::Mul},         {"floordiv", Source::Kind::FloorDiv},
                                      {"truediv", Source::Kind::TrueDiv}, {"mod", Source::Kind::Mod}};
constexpr SourceName kProperties[] = {{"sizes", Source::Kind::Sizes},
                                      {"size", Source::Kind::Size},
                                      {"numel", Source::Kind::Numel},
                                      {"dtype", Source::Kind::DType},
                                      {"device", Source::Kind::Device}};

// What flambeau.autograd.program writes: a tuple that begins with the kind.
Source parse_source(PyObject* o, const Param* param) {
  const std::string_view kind = PyUnicode_AsUTF8(item(o, 0));
  Source source;
  if (kind == "const") {
    source.value = constant(item(o, 1), param);
    return source;
  }
  if (kind == "list") {
    source.kind = Source::Kind::List;
    source.list = param ? param->type : ParamType::Tensors;
    parse_parts(item(o, 1), nullptr, source);
    return source;
  }
  for (const SourceName& s : kArithmetic)
    if (kind == s.name) {
      source.kind = s.kind;
      parse_parts(item(o, 1), nullptr, source);
      return source;
    }
  source.kind = kind == "item" ? Source::Kind::Item : Source::Kind::Slot;
  source.slot = static_cast<int>(integer(item(o, 1)));
  if (kind == "slot") return source;
  source.index = static_cast<int>(integer(item(o, 2)));
  for (const SourceName& s : kProperties)
    if (kind == s.name) source.kind = s.kind;
  if (source.kind == Source::Kind::Size) source.dim = static_cast<int>(integer(item(o, 3)));
  return source;
}

Instruction parse_instruction(PyObject* o) {
  Instruction step;
  Op& op = op_by_id(static_cast<uint32_t>(integer(item(o, 0))));
  step.overload = op.overloads[static_cast<size_t>(integer(item(o, 1)))].get();
  PyRef sources = sequence(item(o, 2)), drops = sequence(item(o, 3));
  for (Py_ssize_t i = 0; i < length(sources); ++i)
    step.args.push_back(parse_source(item(sources.get(), i), &step.overload->params[static_cast<size_t>(i)]));
  for (Py_ssize_t i = 0; i < length(drops); ++i) step.drops.push_back(static_cast<int>(integer(item(drops.get(), i))));
  step.first_slot = static_cast<int>(integer(item(o, 4)));
  return step;
}

GradProgram* parse_program(PyObject* o, uint64_t& by_value) {
  PyObject *kept, *code, *results, *looked;
  int first_gradient, n_slots;
  if (!PyArg_ParseTuple(o, "OOOiiO:trace", &kept, &code, &results, &first_gradient, &n_slots, &looked))
    throw PythonError{};
  auto program = std::make_unique<GradProgram>();
  program->first_gradient = first_gradient;
  program->n_slots = n_slots;
  PyRef kept_items = sequence(kept), steps = sequence(code), sources = sequence(results), params = sequence(looked);
  for (Py_ssize_t i = 0; i < length(kept_items); ++i) {
    PyObject* k = item(kept_items.get(), i);
    program->kept.push_back({item(k, 0) == Py_True, static_cast<int>(integer(item(k, 1))), item(k, 2) == Py_True});
  }
  for (Py_ssize_t i = 0; i < length(steps); ++i) program->code.push_back(parse_instruction(item(steps.get(), i)));
  for (Py_ssize_t i = 0; i < length(sources); ++i)
    program->results.push_back(parse_source(item(sources.get(), i), nullptr));
  program->find_uses();
  for (Py_ssize_t i = 0; i < length(params); ++i) by_value |= uint64_t{1} << integer(item(params.get(), i));
  return program.release();  // kept by the operator for ever
}

GradProgram* trace_program(const Call& call, const Outputs& outputs, const Needs& needs, uint64_t& by_value) {
  static PyObject* module = nullptr;
  CallText text = describe_call(call, outputs, needs);
  PyRef got = checked(PyObject_CallMethod(imported(module, "flambeau.autograd.program"), "trace", "ssOOOO",
                                          call.op().name.c_str(), call.overload->name.c_str(), text.params.get(),
                                          text.args.get(), text.outputs.get(), text.needs.get()));
  return got.get() == Py_None ? nullptr : parse_program(got.get(), by_value);
}

// --- schemas for the tracer

PyRef describe_params(const Overload& o) {
  PyRef params = checked(PyList_New(0));
  for (const Param& p : o.params) {
    PyRef value = p.has_default ? checked(to_python(p.default_value)) : PyRef::borrow(Py_None);
    PyRef param = checked(Py_BuildValue("(ssNNNiNO)", p.name.c_str(), kind_name(p.type), PyBool_FromLong(p.optional),
                                        PyBool_FromLong(p.has_default), PyBool_FromLong(p.keyword_only), p.list_size,
                                        PyBool_FromLong(p.number), value.get()));
    check_status(PyList_Append(params.get(), param.get()));
  }
  return params;
}

// operator_schemas() -> {name: [(operator's number, overload's number, parameters, kinds of results)]}
PyObject* operator_schemas(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyRef all = checked(PyDict_New());
    for (uint32_t id = 0; id < op_count(); ++id) {
      for (const auto& o : op_by_id(id).overloads) {
        PyRef name = checked(PyUnicode_FromString(o->name.c_str()));
        PyRef empty = checked(PyList_New(0));
        PyObject* forms = PyDict_SetDefault(all.get(), name.get(), empty.get());
        if (!forms) throw PythonError{};
        PyRef returns = checked(PyList_New(0));
        for (const Return& r : o->returns)
          check_status(PyList_Append(returns.get(), checked(PyUnicode_FromString(kind_name(r.type))).get()));
        PyRef form = checked(Py_BuildValue("(IiOO)", id, o->index, describe_params(*o).get(), returns.get()));
        check_status(PyList_Append(forms, form.get()));
      }
    }
    return all.release();
  });
}

PyMethodDef functions[] = {
    {"operator_schemas", operator_schemas, METH_NOARGS, "Every overload by the name it is called by."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_gradient_sources(PyObject* module) {
  check_status(PyModule_AddFunctions(module, functions));
  backward_planner = plan_backward;
  program_tracer = trace_program;
}

}  // namespace fl
