#include "bind/modes.h"

#include <vector>

#include "bind/tensor_object.h"

namespace fl {

constinit thread_local ThreadModes thread_modes;
constexpr uint32_t kMostModes = 63;  // a bit each in ThreadModes::quiet

namespace {

PyObject* name_torch_function() {
  static PyObject* name = PyUnicode_InternFromString("__torch_function__");
  return name;
}

// Types of plain values, which have no __torch_function__, are known without a look-up.
bool is_plain(PyTypeObject* type) {
  return type == &PyLong_Type || type == &PyFloat_Type || type == &PyUnicode_Type || type == &PyBool_Type ||
         type == Py_TYPE(Py_None) || type == &PyTuple_Type || type == &PyList_Type || type == &PyDict_Type ||
         type == &PySlice_Type || type == &PyComplex_Type;
}

bool wants_calls(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (type == tensor_type || is_plain(type)) return false;
  if (PyType_IsSubtype(type, tensor_type)) return (tensor_of(o)->flags & kIntercept) != 0;
  return type_intercepts(type);
}

// Calls `f(o)` for the object, or for its items where it is a list or tuple.
template <class F>
void each_candidate(PyObject* o, F&& f) {
  if (!PyTuple_Check(o) && !PyList_Check(o)) {
    f(o);
    return;
  }
  Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  for (Py_ssize_t i = 0; i < n; ++i) f(PySequence_Fast_GET_ITEM(o, i));
}

// The arguments whose __torch_function__ is asked, one a type, subclasses before their bases.
std::vector<PyObject*> overloaded_arguments(PyObject* const* args, size_t count) {
  std::vector<PyObject*> found;
  auto add = [&](PyObject* o) {
    if (!wants_calls(o)) return;
    for (PyObject* other : found)
      if (Py_TYPE(other) == Py_TYPE(o)) return;
    auto at = found.begin();
    while (at != found.end() && !PyType_IsSubtype(Py_TYPE(o), Py_TYPE(*at))) ++at;
    found.insert(at, o);
  };
  for (size_t i = 0; i < count; ++i) each_candidate(args[i], add);
  return found;
}

PyRef types_of(const std::vector<PyObject*>& objects) {
  PyRef types = checked(PyTuple_New(static_cast<Py_ssize_t>(objects.size())));
  for (size_t i = 0; i < objects.size(); ++i)
    PyTuple_SET_ITEM(types.get(), static_cast<Py_ssize_t>(i),
                     Py_NewRef(reinterpret_cast<PyObject*>(Py_TYPE(objects[i]))));
  return types;
}

PyRef tuple_of(PyObject* const* args, Py_ssize_t n) {
  PyRef t = checked(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) PyTuple_SET_ITEM(t.get(), i, Py_NewRef(args[i]));
  return t;
}

PyRef dict_of(PyObject* kwnames, PyObject* const* values) {
  PyRef d = checked(PyDict_New());
  Py_ssize_t n = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;
  for (Py_ssize_t i = 0; i < n; ++i) check_status(PyDict_SetItem(d.get(), PyTuple_GET_ITEM(kwnames, i), values[i]));
  return d;
}

struct Restore {
  uint32_t saved = thread_modes.active;
  ~Restore() { thread_modes.active = saved; }
};

PyRef call4(PyObject* f, PyObject* a, PyObject* b, PyObject* c, PyObject* d) {
  PyObject* args[] = {a, b, c, d};
  return checked(PyObject_Vectorcall(f, args, 4, nullptr));
}

// What a handler returns that does not care whether the call is seen: unlike NotImplemented it makes no call fail.
PyObject* no_opinion() {
  static PyObject* object = PyObject_CallNoArgs(reinterpret_cast<PyObject*>(&PyBaseObject_Type));
  return object;
}

[[noreturn]] void nobody_took(PyObject* function, PyObject* types) {
  PyRef name = PyRef::steal(PyObject_GetAttrString(function, "__name__"));
  PyErr_Clear();
  raise(PyExc_TypeError,
        "Multiple dispatch failed for 'torch.%S'; all __torch_function__ handlers returned NotImplemented: %R",
        name ? name.get() : function, types);
}

}  // namespace

bool must_intercept(PyObject* const* args, size_t count) {
  if (thread_modes.all_off) return false;
  if (~thread_modes.quiet & ((uint64_t{1} << thread_modes.active) - 1)) return true;
  if (thread_modes.subclass_off) return false;
  bool found = false;
  for (size_t i = 0; i < count && !found; ++i) each_candidate(args[i], [&](PyObject* o) { found |= wants_calls(o); });
  return found;
}

PyRef intercept(PyObject* function, PyObject* const* args, Py_ssize_t n, PyObject* kwnames, bool& handled) {
  handled = true;
  size_t count = static_cast<size_t>(n + (kwnames ? PyTuple_GET_SIZE(kwnames) : 0));
  PyRef positional = tuple_of(args, n), keywords = dict_of(kwnames, args + n);
  std::vector<PyObject*> objects;
  if (!thread_modes.subclass_off) objects = overloaded_arguments(args, count);
  PyRef types = types_of(objects);
  bool refused = false;
  // Whether the handler leaves the call to the next one.
  auto leaves = [&](const PyRef& result) {
    if (result.get() == Py_NotImplemented) return refused = true;
    return result.get() == no_opinion();
  };
  {
    Restore restore;
    for (uint32_t i = restore.saved; i-- > 0;) {
      thread_modes.active = i;
      PyRef handler = PyRef::borrow(PyList_GET_ITEM(thread_modes.handlers, static_cast<Py_ssize_t>(i)));
      PyRef result = call4(handler.get(), function, types.get(), positional.get(), keywords.get());
      if (!leaves(result)) return result;
    }
  }
  for (PyObject* o : objects) {
    PyRef handler = checked(PyObject_GetAttr(o, name_torch_function()));
    PyRef result = call4(handler.get(), function, types.get(), positional.get(), keywords.get());
    if (!leaves(result)) return result;
  }
  if (refused) nobody_took(function, types.get());
  handled = false;
  return {};
}

namespace {

// __torch_function__ of a subclass that opted out: just runs the function.
PyObject* run_plainly(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n < 3 || n > 4) raise(PyExc_TypeError, "expected func, types, args and kwargs");
    struct Off {
      Off() { ++thread_modes.subclass_off; }
      ~Off() { --thread_modes.subclass_off; }
    } off;
    PyRef positional = checked(PySequence_Tuple(args[2]));
    return PyObject_Call(args[0], positional.get(), n == 4 && args[3] != Py_None ? args[3] : nullptr);
  });
}
PyMethodDef run_plainly_def = {"_disabled_torch_function_impl", py_function(run_plainly), METH_FASTCALL, nullptr};

PyObject* push_handler(PyObject* handler, bool quiet) {
  return guarded([&]() -> PyObject* {
    if (thread_modes.active >= kMostModes) raise(PyExc_RecursionError, "more than %u modes are active", kMostModes);
    uint64_t bit = uint64_t{1} << thread_modes.active;
    thread_modes.quiet = quiet ? thread_modes.quiet | bit : thread_modes.quiet & ~bit;
    if (!thread_modes.handlers) thread_modes.handlers = checked(PyList_New(0)).release();
    check_status(PyList_Insert(thread_modes.handlers, static_cast<Py_ssize_t>(thread_modes.active), handler));
    ++thread_modes.active;
    Py_RETURN_NONE;
  });
}

PyObject* push_mode(PyObject*, PyObject* handler) { return push_handler(handler, false); }
PyObject* push_quiet_mode(PyObject*, PyObject* handler) { return push_handler(handler, true); }

PyObject* pop_mode(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (!thread_modes.active) raise(PyExc_RuntimeError, "pop_mode: no mode is active on this thread");
    Py_ssize_t at = static_cast<Py_ssize_t>(--thread_modes.active);
    PyRef handler = PyRef::borrow(PyList_GET_ITEM(thread_modes.handlers, at));
    check_status(PyList_SetSlice(thread_modes.handlers, at, at + 1, nullptr));
    return handler.release();
  });
}

PyObject* active_modes(PyObject*, PyObject*) { return PyLong_FromUnsignedLong(thread_modes.active); }

// subclass_function(delta): nested switches of what subclasses see; all_function(delta): of everything.
PyObject* switch_subclasses(PyObject*, PyObject* delta) {
  long d = PyLong_AsLong(delta);
  if (d == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(thread_modes.subclass_off += static_cast<int>(d));
}
PyObject* switch_all(PyObject*, PyObject* delta) {
  long d = PyLong_AsLong(delta);
  if (d == -1 && PyErr_Occurred()) return nullptr;
  return PyLong_FromLong(thread_modes.all_off += static_cast<int>(d));
}

PyObject* has_torch_function(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyRef list = checked(PySequence_Fast(args, "expected a sequence of arguments"));
    return PyBool_FromLong(
        must_intercept(PySequence_Fast_ITEMS(list.get()), static_cast<size_t>(PySequence_Fast_GET_SIZE(list.get()))));
  });
}

// handle_torch_function(public_api, relevant_args, *args, **kwargs)
PyObject* handle_torch_function(PyObject*, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    if (n < 2) raise(PyExc_TypeError, "handle_torch_function(public_api, relevant_args, *args, **kwargs)");
    bool handled;
    PyRef result = intercept(args[0], args + 2, n - 2, kwnames, handled);
    if (!handled) raise(PyExc_TypeError, "no argument of %R handles __torch_function__", args[0]);
    return result.release();
  });
}

PyMethodDef functions[] = {
    {"push_mode", push_mode, METH_O, "Lets handler(func, types, args, kwargs) see every call on this thread."},
    {"push_quiet_mode", push_quiet_mode, METH_O, "The same for a handler that sees operators of the table only."},
    {"pop_mode", pop_mode, METH_NOARGS, "Takes the innermost handler away and returns it."},
    {"active_modes", active_modes, METH_NOARGS, "How many handlers see calls on this thread."},
    {"switch_subclasses", switch_subclasses, METH_O, "+1: __torch_function__ of subclasses is off until -1."},
    {"switch_all", switch_all, METH_O, "+1: handlers and __torch_function__ are off until -1."},
    {"has_torch_function", has_torch_function, METH_O, "Whether a call with these arguments would be intercepted."},
    {"handle_torch_function", py_function(handle_torch_function), METH_FASTCALL | METH_KEYWORDS,
     "Runs a Python function of the public interface through handlers and __torch_function__."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyObject* disabled_torch_function() {
  static PyObject* function = PyCFunction_New(&run_plainly_def, nullptr);
  return function;
}

void add_modes(PyObject* module) {
  add_object(module, "_disabled_torch_function_impl", disabled_torch_function());
  add_object(module, "no_opinion", no_opinion());
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace fl
