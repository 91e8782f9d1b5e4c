// register_op and merge_functions: how the table (flambeau.ops) becomes functions.
#include <map>
#include <string>

#include "bind/op_function.h"
#include "bind/types.h"
#include "runtime/elementwise.h"
#include "runtime/row.h"

namespace fl {
namespace {

template <class T>
struct Named {
  const char* name;
  T value;
};
constexpr Named<BodyKind> kKinds[] = {{"scalar", BodyKind::Scalar}, {"reduce", BodyKind::Reduce},
                                      {"row", BodyKind::Row},       {"native", BodyKind::Native},
                                      {"loop", BodyKind::Loop},     {"composite", BodyKind::Composite}};
constexpr Named<ResultRule> kRules[] = {{"promote", ResultRule::Promote},   {"float", ResultRule::Float},
                                        {"bool", ResultRule::Bool},         {"real", ResultRule::Real},
                                        {"input", ResultRule::Input},       {"int64", ResultRule::Int64},
                                        {"int32", ResultRule::Int32},       {"complex", ResultRule::Complex},
                                        {"explicit", ResultRule::Explicit}, {"real_float", ResultRule::RealFloat},
                                        {"number", ResultRule::Number}};

template <class T, size_t N>
T lookup(const Named<T> (&known)[N], const char* name, const char* what) {
  for (const Named<T>& k : known)
    if (std::string_view(k.name) == name) return k.value;
  raise(PyExc_ValueError, "register_op(): there is no %s '%s'", what, name);
}

// `f(text)` for each string of a sequence, or for the one string.
template <class F>
void each_string(PyObject* o, F&& f) {
  if (!o || o == Py_None) return;
  if (PyUnicode_Check(o)) {
    f(PyUnicode_AsUTF8(o));
    return;
  }
  PyRef items = checked(PySequence_Fast(o, "register_op(): expected strings"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    const char* text = PyUnicode_AsUTF8(PySequence_Fast_GET_ITEM(items.get(), i));
    if (!text) throw PythonError{};
    f(text);
  }
}

// Calls `f(param)` for the parameters of that name; raises where no overload has one.
template <class F>
void each_param(Op& op, const char* name, F&& f) {
  bool found = false;
  for (auto& overload : op.overloads)
    for (Param& p : overload->params)
      if (p.name == name) {
        f(p);
        found = true;
      }
  if (!found) raise(PyExc_ValueError, "register_op(): operator '%s' has no parameter '%s'", op.name.c_str(), name);
}

void set_roles(Op& op, PyObject* roles) {
  if (!roles || roles == Py_None) return;
  PyRef items = checked(PyMapping_Items(roles));
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items.get()); ++i) {
    const char *name, *role;
    if (!PyArg_ParseTuple(PyList_GET_ITEM(items.get(), i), "ss", &name, &role)) throw PythonError{};
    each_param(op, name, [role](Param& p) { p.role = *role; });
  }
}

uint32_t dtype_bits(PyObject* dtypes) {
  uint32_t bits = 0;
  PyRef items = checked(PySequence_Fast(dtypes, "register_op(): dtypes must be a sequence of torch.dtype"));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    DType d;
    if (!to_dtype(PySequence_Fast_GET_ITEM(items.get(), i), d))
      raise(PyExc_TypeError, "register_op(): dtypes must be a sequence of torch.dtype");
    bits |= 1u << static_cast<int>(d);
  }
  return bits;
}

void set_results(Op& op, PyObject* result) {
  if (PyUnicode_Check(result)) {
    op.result = lookup(kRules, PyUnicode_AsUTF8(result), "result rule");
    return;
  }
  each_string(result, [&](const char* rule) { op.results.push_back(lookup(kRules, rule, "result rule")); });
  if (!op.results.empty()) op.result = op.results[0];
}

ForwardFn forward_of(BodyKind kind, const char* native) {
  if (kind == BodyKind::Scalar) return elementwise_forward;
  if (kind == BodyKind::Composite) return composite_forward;
  if (kind == BodyKind::Row || kind == BodyKind::Reduce) return row_forward;
  ForwardFn forward = find_native(kind == BodyKind::Loop ? "loop body" : native);
  if (!forward) raise(PyExc_ValueError, "register_op(): no C++ function is registered under '%s'", native);
  return forward;
}

bool returns_new_tensors(const Overload& o) {
  if (o.mutated >= 0 || o.is_view || o.returns.empty()) return false;
  for (const Param& p : o.params)
    if (p.name == "out") return false;
  for (const Return& r : o.returns)
    if (r.type != ParamType::Tensor) return false;
  return true;
}

// One function a base name, in the order in which names first appear.
PyRef functions_of(Op& op) {
  std::vector<std::pair<std::string, OpGroup*>> groups;
  for (auto& overload : op.overloads) {
    auto at = std::find_if(groups.begin(), groups.end(), [&](auto& g) { return g.first == overload->name; });
    if (at == groups.end()) {
      groups.emplace_back(overload->name, new OpGroup{overload->name, {}, returns_new_tensors(*overload), false});
      at = groups.end() - 1;
    }
    at->second->forms.push_back(make_form(*overload));
  }
  PyRef result = checked(PyDict_New());
  for (auto& [name, group] : groups) {
    PyRef function = checked(new_function(group, false));
    check_status(PyDict_SetItemString(result.get(), name.c_str(), function.get()));
  }
  return result;
}

constexpr const char* kRegisterDoc =
    "register_op(name, signatures, *, kind, result='promote', dtypes=None, dtype_error='', mask_error='', "
    "out_error='', alone=None, mixed_error='', numbers_fit=False, static=(), fold=(), numbers=(),\n"
    "            roles={}, has_gradient=True, hand_gradient=False, derived=False, pure=False, work=1,\n"
    "            native=None, entry=None) -> dict\n\n"
    "Adds an operator to the table and returns its functions by base name: {'add': ..., 'add_': ...}.\n\n"
    "name is unique in the table. Signatures with several base names are forms of the same operator and share "
    "kernels.\n"
    "kind: scalar, reduce, row, native, loop, composite. result: a rule, or one an output. dtypes: what operands may "
    "have\n"
    "after promotion. static, fold: parameters by name. numbers: Tensor parameters for which a Python number may "
    "stand.\n"
    "roles: a letter for parameters that are not plain operands. pure: launches of a loop operator are remembered. "
    "entry: the table's entry (kept for ever); composites "
    "run entry.body.fn.";

PyObject* register_op(PyObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {
        "name",   "signatures", "kind",    "result", "dtypes",       "dtype_error",   "mask_error", "out_error",
        "static", "fold",       "numbers", "roles",  "has_gradient", "hand_gradient", "derived",    "pure",
        "work",   "native",     "entry",   "alone",  "mixed_error",  "numbers_fit",   nullptr};
    const char *name, *kind = "", *dtype_error = "", *mask_error = "", *out_error = "", *mixed_error = "";
    PyObject *signatures, *result = nullptr, *dtypes = Py_None, *statics = nullptr, *fold = nullptr, *numbers = nullptr,
                          *roles = nullptr, *native = Py_None, *entry = Py_None, *alone = Py_None;
    int has_gradient = 1, hand_gradient = 0, derived = 0, pure = 0, work = 1, numbers_fit = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "sO|$sOOsssOOOOppppiOOOsp:register_op", const_cast<char**>(names),
                                     &name, &signatures, &kind, &result, &dtypes, &dtype_error, &mask_error, &out_error,
                                     &statics, &fold, &numbers, &roles, &has_gradient, &hand_gradient, &derived, &pure,
                                     &work, &native, &entry, &alone, &mixed_error, &numbers_fit))
      throw PythonError{};
    std::vector<std::string> texts;
    each_string(signatures, [&](const char* text) { texts.emplace_back(text); });
    BodyKind body = lookup(kKinds, kind, "kind of body");
    ForwardFn forward = forward_of(body, native == Py_None ? name : PyUnicode_AsUTF8(native));
    Op& op = create_op(name, body, texts);
    op.forward = forward;
    if (result) set_results(op, result);
    if (dtypes != Py_None) op.dtypes = dtype_bits(dtypes);
    op.dtype_error = dtype_error;
    op.mask_error = mask_error;
    if (alone != Py_None) op.alone = dtype_bits(alone);
    op.mixed_error = mixed_error;
    op.numbers_fit = numbers_fit != 0;
    op.out_error = out_error;
    each_string(statics, [&](const char* p) { each_param(op, p, [](Param& param) { param.is_static = true; }); });
    each_string(fold, [&](const char* p) { each_param(op, p, [](Param& param) { param.fold = true; }); });
    each_string(numbers,
                [&](const char* p) { each_param(op, p, [](Param& param) { param.number = !param.written; }); });
    set_roles(op, roles);
    op.has_gradient = has_gradient != 0;
    op.hand_gradient = hand_gradient != 0;
    op.derived = derived != 0;
    op.pure = pure != 0;
    op.work = work;
    op.python = Py_NewRef(entry);
    return functions_of(op).release();
  });
}

PyObject* merge_functions(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !PyUnicode_Check(args[0])) raise(PyExc_TypeError, "merge_functions(name, functions)");
    PyRef items = checked(PySequence_Fast(args[1], "merge_functions(): expected functions"));
    auto group = std::make_unique<OpGroup>();
    group->name = PyUnicode_AsUTF8(args[0]);
    for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
      PyObject* f = PySequence_Fast_GET_ITEM(items.get(), i);
      if (!is_op_function(f))
        raise(PyExc_TypeError, "merge_functions(): expected functions, not %s", Py_TYPE(f)->tp_name);
      const OpGroup& other = *reinterpret_cast<OpFunction*>(f)->group;
      group->forms.insert(group->forms.end(), other.forms.begin(), other.forms.end());
      group->takes_out |= other.takes_out;
    }
    if (group->forms.empty()) raise(PyExc_ValueError, "merge_functions(): there is nothing to merge");
    return new_function(group.release(), false);
  });
}

PyMethodDef functions[] = {
    {"register_op", py_function(register_op), METH_VARARGS | METH_KEYWORDS, kRegisterDoc},
    {"merge_functions", py_function(merge_functions), METH_FASTCALL,
     "merge_functions(name, functions) -> one function with the overloads of all, tried in that order."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_registration(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
