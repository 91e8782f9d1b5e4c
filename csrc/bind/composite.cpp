// Composites: operators whose body is Python over other operators. The body receives the namespace of operators first,
// then the arguments in the order of the signature; those it declares keyword-only are passed by keyword.
#include <string>
#include <unordered_set>

#include "autograd/call.h"
#include "autograd/meta.h"
#include "autograd/saved.h"
#include "bind/op_function.h"
#include "bind/values.h"
#include "runtime/promotion.h"

namespace fl {
namespace {

PyObject* operators = nullptr;  // the namespace `o`

struct Body {
  PyObject* function;
  std::unordered_set<std::string> keyword_only;
};

std::unordered_set<std::string> keyword_only_names(PyObject* function) {
  std::unordered_set<std::string> names;
  PyRef code = PyRef::steal(PyObject_GetAttrString(function, "__code__"));
  if (!code) {
    PyErr_Clear();
    return names;
  }
  PyRef positional = checked(PyObject_GetAttrString(code.get(), "co_argcount"));
  PyRef keyword = checked(PyObject_GetAttrString(code.get(), "co_kwonlyargcount"));
  PyRef variables = checked(PyObject_GetAttrString(code.get(), "co_varnames"));
  Py_ssize_t first = PyLong_AsSsize_t(positional.get()), n = PyLong_AsSsize_t(keyword.get());
  for (Py_ssize_t i = first; i < first + n; ++i) names.insert(PyUnicode_AsUTF8(PyTuple_GET_ITEM(variables.get(), i)));
  return names;
}

PyObject* operator_namespace() {
  if (!operators) raise(PyExc_RuntimeError, "operators are not set up yet");
  return operators;
}

// Read at the first call: bodies may be set after registration.
const Body& body_of(Op& op) {
  if (!op.dispatch) {
    auto* entry = static_cast<PyObject*>(op.python);
    if (!entry) raise(PyExc_RuntimeError, "operator '%s' has no Python body", op.name.c_str());
    PyRef body = checked(PyObject_GetAttrString(entry, "body"));
    PyRef function = PyRef::steal(PyObject_GetAttrString(body.get(), "fn"));
    if (!function) {
      PyErr_Clear();
      function = std::move(body);
    }
    auto names = keyword_only_names(function.get());
    op.dispatch = new Body{function.release(), std::move(names)};
  }
  return *static_cast<Body*>(op.dispatch);
}

}  // namespace

bool is_raw_composite(const Op& op) {
  if (op.kind != BodyKind::Composite || !op.python || op.python == Py_None) return false;
  PyRef body = checked(PyObject_GetAttrString(static_cast<PyObject*>(op.python), "body"));
  PyRef raw = PyRef::steal(PyObject_GetAttrString(body.get(), "raw"));
  if (!raw) PyErr_Clear();
  return raw && PyObject_IsTrue(raw.get()) > 0;
}

PyRef run_raw_composite(Op& op, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  std::vector<PyObject*> stack{operator_namespace()};
  Py_ssize_t keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  stack.insert(stack.end(), args, args + n + keywords);
  return checked(PyObject_Vectorcall(body_of(op).function, stack.data(), static_cast<size_t>(n + 1), kwnames));
}

// The in-place form of a composite: what its body made is copied into the tensor.
PyRef written_in_place(const Value& self, const PyRef& made) {
  if (is_tensor(made.get()) && tensor_of(made.get()) == self.tensor()) return made;
  static const OpRef copy{"copy_"};
  Tensor* source = tensor_argument(made.get(), "copy_", "src");
  check_can_cast(source->dtype, self.tensor()->dtype);
  return checked(wrap(copy({self, TensorRef(source), false})));
}

// What the body sees of the tensor that an in-place form changes afterwards: a copy where the tape keeps it.
Value seen_by_body(const Overload& overload, const Value* args, size_t i) {
  const bool written_after = static_cast<int>(i) == overload.mutated && overload.op->overloads[0]->mutated < 0;
  if (!written_after || !GradMode::enabled || !args[i].is_tensor() || !requires_grad(args[i].tensor())) return args[i];
  return before_change(args[i].tensor());
}

PyRef run_composite(const Overload& overload, const Value* args) {
  const Body& body = body_of(*overload.op);
  std::vector<PyRef> values, by_keyword;
  values.reserve(overload.params.size() + 1);
  values.push_back(PyRef::borrow(operator_namespace()));
  PyRef names;
  std::vector<PyRef> keywords;
  for (size_t i = 0; i < overload.params.size(); ++i) {
    const std::string& name = overload.params[i].name;
    bool keyword = body.keyword_only.contains(name);
    (keyword ? by_keyword : values).push_back(checked(to_python(seen_by_body(overload, args, i))));
    if (keyword) keywords.push_back(checked(PyUnicode_InternFromString(name.c_str())));
  }
  std::vector<PyObject*> stack;
  stack.reserve(overload.params.size() + 1);
  for (const PyRef& v : values) stack.push_back(v.get());
  for (const PyRef& v : by_keyword) stack.push_back(v.get());
  if (!keywords.empty()) {
    names = checked(PyTuple_New(static_cast<Py_ssize_t>(keywords.size())));
    for (size_t i = 0; i < keywords.size(); ++i)
      PyTuple_SET_ITEM(names.get(), static_cast<Py_ssize_t>(i), keywords[i].release());
  }
  PyRef result = checked(PyObject_Vectorcall(body.function, stack.data(), values.size(), names.get()));
  if (overload.mutated >= 0) return written_in_place(args[overload.mutated], result);
  return name_results(overload, std::move(result));
}

void composite_forward(const Call& call, Outputs& outputs) {
  const Overload& overload = *call.overload;
  PyRef result = run_composite(overload, call.args);
  if (overload.returns.size() == 1) {
    outputs.push_back(result_from_python(result.get(), overload.returns[0]));
    return;
  }
  PyRef items = checked(PySequence_Tuple(result.get()));
  if (PyTuple_GET_SIZE(items.get()) != static_cast<Py_ssize_t>(overload.returns.size()))
    raise(PyExc_TypeError, "%s returned %zd values where its signature says %zu", overload.name.c_str(),
          PyTuple_GET_SIZE(items.get()), overload.returns.size());
  for (size_t i = 0; i < overload.returns.size(); ++i)
    outputs.push_back(
        result_from_python(PyTuple_GET_ITEM(items.get(), static_cast<Py_ssize_t>(i)), overload.returns[i]));
}

namespace {

PyObject* set_operators(PyObject*, PyObject* o) {
  Py_XSETREF(operators, Py_NewRef(o));
  Py_RETURN_NONE;
}
PyMethodDef functions[] = {
    {"set_operators", set_operators, METH_O, "Sets the namespace of operators that composites receive first."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_composites(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
