#include "bind/op_function.h"

#include <cstddef>
#include <cstring>

#include "autograd/meta.h"
#include "bind/modes.h"
#include "bind/values.h"
#include "runtime/elementwise.h"

namespace fl {

PyTypeObject *function_type, *method_type;

namespace {

OpFunction* function_of(PyObject* o) { return reinterpret_cast<OpFunction*>(o); }

// ---- the plainest calls

// A vector that keeps its memory from call to call.
class OutputsLease {
 public:
  OutputsLease() : outputs(std::move(spare)) { outputs.clear(); }
  ~OutputsLease() {
    outputs.clear();
    spare = std::move(outputs);
  }
  OutputsLease(const OutputsLease&) = delete;
  OutputsLease& operator=(const OutputsLease&) = delete;
  Outputs outputs;

 private:
  static thread_local Outputs spare;
};
thread_local Outputs OutputsLease::spare;

// Arguments that are borrowed for the length of the call: no reference is counted.
class BorrowedArguments {
 public:
  BorrowedArguments(const Value* defaults, size_t n) {
    std::memcpy(static_cast<void*>(bytes_), static_cast<const void*>(defaults), n * sizeof(Value));
  }
  void set(size_t i, Tensor* t) { new (values() + i) Value(TensorRef::adopt(t)); }
  template <class T>
  void set_number(size_t i, T v) {
    new (values() + i) Value(v);
  }
  Value* values() { return reinterpret_cast<Value*>(bytes_); }
  static constexpr size_t kMost = 8;

 private:
  alignas(Value) unsigned char bytes_[kMost * sizeof(Value)];
};

PyObject* run_borrowed(OpFunction* f, BorrowedArguments& args) {
  OutputsLease lease;
  dispatch({f->plain->overload, args.values()}, lease.outputs);
  return results_to_python(*f->plain->overload, lease.outputs).release();
}

bool is_plain_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type && tensor_of(o)->flags == 0; }
bool records(const Tensor* t) { return requires_grad(t) && GradMode::enabled; }
bool modes_are_quiet() { return !thread_modes.active; }

// Null without an error: not this plain after all.
PyObject* plain_unary(OpFunction* f, PyObject* a) {
  Tensor* x = tensor_of(a);
  if (f->elementwise && !records(x) && !GradMode::inference) {
    if (TensorRef result = elementwise1(*f->elementwise, x)) return wrap(std::move(result));
  }
  BorrowedArguments args(f->defaults, f->plain->names.size());
  args.set(0, x);
  return run_borrowed(f, args);
}

PyObject* plain_binary(OpFunction* f, PyObject* a, PyObject* b) {
  Tensor *x = tensor_of(a), *y = tensor_of(b);
  if (f->elementwise && !records(x) && !records(y) && !GradMode::inference) {
    if (TensorRef result = elementwise2(*f->elementwise, x, y)) return wrap(std::move(result));
  }
  BorrowedArguments args(f->defaults, f->plain->names.size());
  args.set(0, x);
  args.set(1, y);
  return run_borrowed(f, args);
}

// The number of a Python float or a short int, exactly of those types.
bool plain_number(PyObject* o, Value& v) {
  if (PyFloat_CheckExact(o)) {
    v = Value(PyFloat_AS_DOUBLE(o));
    return true;
  }
  if (!PyLong_CheckExact(o)) return false;
  int overflow;
  int64_t i = PyLong_AsLongLongAndOverflow(o, &overflow);
  if (overflow) return false;
  v = Value(i);
  return true;
}

PyObject* plain_with_number(OpFunction* f, PyObject* tensor, const Value& number, bool number_first) {
  Tensor* x = tensor_of(tensor);
  if (f->elementwise && !records(x) && !GradMode::inference) {
    if (TensorRef result = elementwise2(*f->elementwise, x, number, number_first)) return wrap(std::move(result));
  }
  BorrowedArguments args(f->defaults, f->plain->names.size());
  args.set(number_first ? 1 : 0, x);
  args.set_number(number_first ? 0 : 1, number);
  return run_borrowed(f, args);
}

bool takes_number(const OpFunction* f, size_t i) { return f->elementwise && f->plain->overload->params[i].number; }

// One or two operands and nothing else. Null without an error: the general call decides.
PyObject* try_plain(OpFunction* f, PyObject* const* args, Py_ssize_t n) {
  if (n == 0 || n != f->operands || !modes_are_quiet()) return nullptr;
  bool first = is_plain_tensor(args[0]);
  if (n == 1) return first ? plain_unary(f, args[0]) : nullptr;
  bool second = is_plain_tensor(args[1]);
  if (first && second) return plain_binary(f, args[0], args[1]);
  Value number;
  if (first && takes_number(f, 1) && plain_number(args[1], number)) return plain_with_number(f, args[0], number, false);
  if (second && takes_number(f, 0) && plain_number(args[0], number)) return plain_with_number(f, args[1], number, true);
  return nullptr;
}

// ---- the general call

bool any_intercepts(Arguments& args) {
  if (thread_modes.subclass_off || thread_modes.all_off) return false;
  for (size_t i = 0; i < args.size(); ++i) {
    const Value& v = args[i];
    if (v.is_tensor() && v.tensor()->flags & kIntercept) return true;
    if (v.tag() != Value::Tag::Tensors) continue;
    for (const TensorRef& t : v.tensors())
      if (t && t->flags & kIntercept) return true;
  }
  return false;
}

PyRef call_general(OpFunction* f, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  size_t count = static_cast<size_t>(n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
  bool handled = false, asked = false;
  auto ask = [&] {
    asked = true;
    return intercept(reinterpret_cast<PyObject*>(f), args, n, kwnames, handled);
  };
  if (thread_modes.active && !thread_modes.all_off) {
    PyRef result = ask();
    if (handled) return result;
  }
  if (f->raw) {
    if (!asked && must_intercept(args, count)) {
      PyRef result = ask();
      if (handled) return result;
    }
    return run_raw_composite(*f->raw, args, n, kwnames);
  }
  Arguments values;
  const Form* form = parse(*f->group, args, n, kwnames, values);
  // A foreign class with __torch_function__ fits no signature.
  if (!asked && (!form ? must_intercept(args, count) : any_intercepts(values))) {
    PyRef result = ask();
    if (handled) return result;
  }
  if (!form) raise_mismatch(*f->group, args, n, kwnames);
  take_dtype_of_out(*form, values);
  PyRef result = run_form(*form, values);
  return values.out ? write_out(*form->overload, std::move(result), values.out) : std::move(result);
}

}  // namespace

PyRef run_form(const Form& form, Arguments& args) {
  const Overload& overload = *form.overload;
  if (overload.op->kind == BodyKind::Composite) return run_composite(overload, args.data());
  OutputsLease lease;
  dispatch({&overload, args.data(), out_of_call(overload, args)}, lease.outputs);
  return results_to_python(overload, lease.outputs);
}

PyObject* call_function(OpFunction* f, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  Py_ssize_t n = PyVectorcall_NARGS(nargsf);
  return guarded([&]() -> PyObject* {
    try {
      if (!kwnames) {
        PyObject* result = try_plain(f, args, n);
        if (result) return result;
        if (PyErr_Occurred()) return nullptr;
      }
      return call_general(f, args, n, kwnames).release();
    } catch (const Error& error) { raise_in_call(*f->group, error, args, n, kwnames); }
  });
}

PyObject* call_binary(OpFunction* f, PyObject* a, PyObject* b) {
  PyObject* args[] = {a, b};
  return call_function(f, args, 2, nullptr);
}
PyObject* call_unary(OpFunction* f, PyObject* a) { return call_function(f, &a, 1, nullptr); }

// ---- the Python types

namespace {

PyObject* function_call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  return call_function(function_of(self), args, nargsf, kwnames);
}

int function_traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(function_of(o)->dict);
  Py_VISIT(function_of(o)->method);
  return 0;
}
int function_clear(PyObject* o) {
  Py_CLEAR(function_of(o)->dict);
  Py_CLEAR(function_of(o)->method);
  return 0;
}
void function_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (function_of(o)->weakrefs) PyObject_ClearWeakRefs(o);
  function_clear(o);
  PyObject_GC_Del(o);
  Py_DECREF(type);
}

PyObject* function_repr(PyObject* o) {
  const char* name = function_of(o)->group->name.c_str();
  if (Py_TYPE(o) == method_type) return PyUnicode_FromFormat("<method '%s' of 'flambeau.Tensor' objects>", name);
  return PyUnicode_FromFormat("<built-in method %s of flambeau>", name);
}
PyObject* method_get(PyObject* self, PyObject* object, PyObject*) {
  if (!object || object == Py_None) return Py_NewRef(self);
  return PyMethod_New(self, object);
}
PyObject* function_name(PyObject* o, void*) { return PyUnicode_FromString(function_of(o)->group->name.c_str()); }
PyObject* function_method(PyObject* o, void*) {
  OpFunction* f = function_of(o);
  if (Py_TYPE(o) == method_type) return Py_NewRef(o);
  if (!f->method) {
    auto* group = new OpGroup(*f->group);
    group->with_self = true;
    f->method = new_function(group, true);
    if (!f->method) return nullptr;
    if (f->dict && PyDict_Update(function_of(f->method)->dict, f->dict) < 0) return nullptr;
  }
  return Py_NewRef(f->method);
}
PyObject* function_overloads(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    PyRef list = checked(PyList_New(0));
    for (const Form& form : function_of(o)->group->forms) {
      PyRef name = checked(PyUnicode_FromString(form.overload->op->name.c_str()));
      PyRef pair = checked(Py_BuildValue("(Oi)", name.get(), form.overload->index));
      check_status(PyList_Append(list.get(), pair.get()));
    }
    return list.release();
  });
}
// What is told about a function is made when somebody asks: page_maker(function, "page" or "signature").
PyObject* page_maker = nullptr;

PyObject* function_told(PyObject* o, void* what) {
  const char* kind = static_cast<const char*>(what);
  const char* kept = kind[0] == 'p' ? "__doc__" : "__signature__";
  PyObject* dict = function_of(o)->dict;
  if (PyObject* known = PyDict_GetItemString(dict, kept)) return Py_NewRef(known);
  if (!page_maker) Py_RETURN_NONE;
  PyRef made = PyRef::steal(PyObject_CallFunction(page_maker, "Os", o, kind));
  if (!made || PyDict_SetItemString(dict, kept, made.get()) < 0) return nullptr;
  return made.release();
}
int set_function_doc(PyObject* o, PyObject* text, void*) {
  return PyDict_SetItemString(function_of(o)->dict, "__doc__", text ? text : Py_None);
}
PyObject* set_page_maker(PyObject*, PyObject* maker) {
  Py_XSETREF(page_maker, Py_NewRef(maker));
  Py_RETURN_NONE;
}

// Pickled by name: that of its place, or, where the operator has none, its own.
PyObject* function_reduce(PyObject* o, PyObject*) {
  PyObject* qualified = PyObject_GetAttrString(o, "__qualname__");
  if (qualified) return qualified;
  PyErr_Clear();
  return function_name(o, nullptr);
}

PyMethodDef function_methods[] = {{"__reduce__", function_reduce, METH_NOARGS, nullptr},
                                  {nullptr, nullptr, 0, nullptr}};
PyGetSetDef function_properties[] = {
    {"__name__", function_name, nullptr, nullptr, nullptr},
    {"method", function_method, nullptr, "The same operator as a method of Tensor.", nullptr},
    {"overloads", function_overloads, nullptr, "(operator, index) of each overload.", nullptr},
    {"__doc__", function_told, set_function_doc, nullptr, const_cast<char*>("page")},
    {"__signature__", function_told, nullptr, nullptr, const_cast<char*>("signature")},
    {"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef function_members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(OpFunction, call), READONLY, nullptr},
                                  {"__dictoffset__", T_PYSSIZET, offsetof(OpFunction, dict), READONLY, nullptr},
                                  {"__weaklistoffset__", T_PYSSIZET, offsetof(OpFunction, weakrefs), READONLY, nullptr},
                                  {nullptr, 0, 0, 0, nullptr}};

PyTypeObject* make_function_type(const char* name, bool method) {
  PyType_Slot slots[] = {{Py_tp_dealloc, reinterpret_cast<void*>(function_dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(function_traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(function_clear)},
                         {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                         {Py_tp_repr, reinterpret_cast<void*>(function_repr)},
                         {Py_tp_methods, function_methods},
                         {Py_tp_getset, function_properties},
                         {Py_tp_members, function_members},
                         {method ? Py_tp_descr_get : 0, reinterpret_cast<void*>(method_get)},
                         {0, nullptr}};
  unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL |
                   Py_TPFLAGS_DISALLOW_INSTANTIATION | (method ? Py_TPFLAGS_METHOD_DESCRIPTOR : 0);
  PyType_Spec spec{name, sizeof(OpFunction), 0, flags, slots};
  return make_type(spec);
}

// Finds the plainest call of the group's first form.
void prepare_plain(OpFunction* f) {
  f->operands = 0;
  f->plain = nullptr;
  f->defaults = nullptr;
  f->elementwise = nullptr;
  const Form& form = f->group->forms[0];
  f->raw = is_raw_composite(*form.overload->op) ? form.overload->op : nullptr;
  const std::vector<Param>& params = form.overload->params;
  if (form.overload->op->kind == BodyKind::Composite || params.size() > BorrowedArguments::kMost) return;
  size_t operands = 0;
  while (operands < params.size() && operands < 2 && params[operands].type == ParamType::Tensor &&
         !params[operands].has_default)
    ++operands;
  for (size_t i = operands; i < params.size(); ++i)
    if (!params[i].has_default) return;
  if (operands == 0) return;
  auto* defaults = new Value[params.size()];
  for (size_t i = operands; i < params.size(); ++i) defaults[i] = params[i].default_value;
  f->operands = static_cast<int>(operands);
  f->plain = &form;
  f->defaults = defaults;
  bool pure =
      form.overload->op->kind == BodyKind::Scalar && form.overload->mutated < 0 && form.overload->returns.size() == 1;
  f->elementwise = pure ? form.overload->op : nullptr;
}

}  // namespace

PyObject* new_function(OpGroup* group, bool method) {
  PyTypeObject* type = method ? method_type : function_type;
  auto* f = PyObject_GC_New(OpFunction, type);
  if (!f) return nullptr;
  f->call = function_call;
  f->group = group;
  f->dict = PyDict_New();
  f->weakrefs = nullptr;
  f->method = nullptr;
  f->operands = 0;
  PyRef owner = PyRef::steal(reinterpret_cast<PyObject*>(f));
  PyObject_GC_Track(owner.get());
  return guarded([&]() -> PyObject* {
    prepare_plain(f);
    return owner.release();
  });
}

namespace {

// bound_call(function, args, kwargs) -> (entry, number of the overload, arguments, out), or None where the operator
// reads its arguments itself
PyObject* bound_call(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3 || !is_op_function(args[0])) raise(PyExc_TypeError, "bound_call(operator, args, kwargs)");
    OpFunction* f = function_of(args[0]);
    if (f->raw) Py_RETURN_NONE;
    PyRef given = checked(PySequence_List(args[1]));
    PyRef names = checked(PySequence_Tuple(args[2]));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(names.get()); ++i)
      check_status(PyList_Append(given.get(), PyDict_GetItem(args[2], PyTuple_GET_ITEM(names.get(), i))));
    PyObject* const* items = PySequence_Fast_ITEMS(given.get());
    Py_ssize_t positional = PyList_GET_SIZE(given.get()) - PyTuple_GET_SIZE(names.get());
    PyObject* kwnames = PyTuple_GET_SIZE(names.get()) ? names.get() : nullptr;
    Arguments values;
    const Form* form = parse(*f->group, items, positional, kwnames, values);
    if (!form) raise_mismatch(*f->group, items, positional, kwnames);
    PyRef bound = checked(PyList_New(0));
    for (size_t i = 0; i < values.size(); ++i) {
      PyRef value = checked(to_python(values[i]));
      check_status(PyList_Append(bound.get(), value.get()));
    }
    auto* entry = static_cast<PyObject*>(form->overload->op->python);
    return Py_BuildValue("(OiOO)", entry ? entry : Py_None, form->overload->index, bound.get(),
                         values.out ? values.out : Py_None);
  });
}
PyMethodDef module_functions[] = {
    {"bound_call", py_function(bound_call), METH_FASTCALL,
     "(entry, number of the overload, arguments by parameter, out) of a call."},
    {"set_page_maker", set_page_maker, METH_O, "Sets what makes the page and the signature of an operator."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_op_functions(PyObject* module) {
  check_status(PyModule_AddFunctions(module, module_functions));
  function_type = make_function_type("flambeau.OpFunction", false);
  method_type = make_function_type("flambeau.OpMethod", true);
  add_object(module, "OpFunction", reinterpret_cast<PyObject*>(function_type));
  add_object(module, "OpMethod", reinterpret_cast<PyObject*>(method_type));
}

}  // namespace fl
