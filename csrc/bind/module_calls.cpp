// Calls and attributes of nn.Module in C, for the classes that use what Module itself defines: what Module.__call__
// does where no hook is registered, and what Module.__getattr__ does where a name is known. A class that defines one of
// these methods, or is given one later, gets Python's own slots.
#include "bind/module_calls.h"

#include <array>

namespace fl {
namespace {

// Names in a module's dictionary.
PyObject *parameters, *modules, *buffers, *forward_name;
std::array<PyObject*, 4> own_hooks;
// Methods of Module, the dictionaries of hooks for all modules, and what notes a module's path in an error.
PyObject *python_getattr, *python_call, *note_path;
std::array<PyObject*, 4> global_hooks;

PyRef dict_of(PyObject* self) { return checked(PyObject_GenericGetDict(self, nullptr)); }

// An entry of a dictionary, borrowed; null where there is none.
PyObject* entry(PyObject* dict, PyObject* name) {
  PyObject* value = PyDict_GetItemWithError(dict, name);
  if (!value && PyErr_Occurred()) throw PythonError{};
  return value;
}

PyObject* registered(PyObject* self, PyObject* name) {
  PyRef dict = dict_of(self);
  for (PyObject* place : {parameters, modules, buffers}) {
    PyObject* values = entry(dict.get(), place);
    if (!values || !PyDict_Check(values)) break;
    if (PyObject* value = entry(values, name)) return Py_NewRef(value);
  }
  return PyObject_CallFunctionObjArgs(python_getattr, self, name, nullptr);
}

PyObject* get_attribute(PyObject* self, PyObject* name) {
  PyObject* found = _PyObject_GenericGetAttrWithDict(self, name, nullptr, 1);
  if (found || PyErr_Occurred()) return found;
  return guarded([&] { return registered(self, name); });
}

bool has_hooks(PyObject* dict) {
  for (PyObject* name : own_hooks) {
    PyObject* hooks = entry(dict, name);
    if (!hooks || !PyDict_Check(hooks) || PyDict_GET_SIZE(hooks) > 0) return true;
  }
  for (PyObject* hooks : global_hooks) {
    if (PyDict_GET_SIZE(hooks) > 0) return true;
  }
  return false;
}

// self.forward(*args, **kwargs), without making a bound method where `forward` is a plain function of the class.
PyObject* call_forward(PyObject* self, PyObject* dict, PyObject* args, PyObject* kwargs) {
  constexpr Py_ssize_t kMost = 8;
  const Py_ssize_t n = PyTuple_GET_SIZE(args);
  PyTypeObject* type = Py_TYPE(self);
  PyObject* method = type->tp_getattro == get_attribute ? _PyType_Lookup(type, forward_name) : nullptr;
  if (method && PyFunction_Check(method) && n < kMost && !entry(dict, forward_name)) {
    PyObject* all[kMost] = {self};
    for (Py_ssize_t i = 0; i < n; ++i) all[i + 1] = PyTuple_GET_ITEM(args, i);
    PyRef held = PyRef::borrow(method);
    return PyObject_VectorcallDict(method, all, static_cast<size_t>(n + 1), kwargs);
  }
  PyRef bound = checked(PyObject_GetAttr(self, forward_name));
  return PyObject_Call(bound.get(), args, kwargs);
}

void add_path(PyObject* self) {
  if (!PyErr_ExceptionMatches(PyExc_Exception)) return;
  PyObject *type, *value, *trace;
  PyErr_Fetch(&type, &value, &trace);
  PyErr_NormalizeException(&type, &value, &trace);
  if (trace) PyException_SetTraceback(value, trace);
  PyRef done = PyRef::steal(PyObject_CallFunctionObjArgs(note_path, value, self, nullptr));
  if (!done) PyErr_Clear();  // the error itself is what counts
  PyErr_Restore(type, value, trace);
}

PyObject* call_module(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyRef dict = dict_of(self);
    if (has_hooks(dict.get())) {
      PyRef bound = checked(PyMethod_New(python_call, self));
      return PyObject_Call(bound.get(), args, kwargs);
    }
    PyObject* result = call_forward(self, dict.get(), args, kwargs);
    if (!result) add_path(self);
    return result;
  });
}

bool uses(PyTypeObject* type, const char* name, PyObject* method) {
  PyRef key = checked(PyUnicode_InternFromString(name));
  return _PyType_Lookup(type, key.get()) == method;
}

// quicken_module(class): gives a class of modules the slots above where its methods allow it.
PyObject* quicken_module(PyObject*, PyObject* object) {
  return guarded([&]() -> PyObject* {
    if (!PyType_Check(object)) raise(PyExc_TypeError, "quicken_module expects a class");
    auto* type = reinterpret_cast<PyTypeObject*>(object);
    PyRef key = checked(PyUnicode_InternFromString("__getattribute__"));
    PyObject* usual = _PyType_Lookup(&PyBaseObject_Type, key.get());
    if (uses(type, "__getattr__", python_getattr) && uses(type, "__getattribute__", usual))
      type->tp_getattro = get_attribute;
    if (uses(type, "__call__", python_call)) type->tp_call = call_module;
    PyType_Modified(type);
    Py_RETURN_NONE;
  });
}

// set_module_class(Module, note_path, hooks): the class whose methods these are, and the four dictionaries of hooks.
PyObject* set_module_class(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *type, *note, *hooks[4];
    if (!PyArg_ParseTuple(args, "O!OO!O!O!O!", &PyType_Type, &type, &note, &PyDict_Type, &hooks[0], &PyDict_Type,
                          &hooks[1], &PyDict_Type, &hooks[2], &PyDict_Type, &hooks[3]))
      return nullptr;
    python_getattr = checked(PyObject_GetAttrString(type, "__getattr__")).release();
    python_call = checked(PyObject_GetAttrString(type, "__call__")).release();
    note_path = Py_NewRef(note);
    for (size_t i = 0; i < global_hooks.size(); ++i) global_hooks[i] = Py_NewRef(hooks[i]);
    return quicken_module(nullptr, type);
  });
}

PyMethodDef functions[] = {
    {"quicken_module", quicken_module, METH_O, "quicken_module(class): calls and attributes of its objects in C."},
    {"set_module_class", set_module_class, METH_VARARGS,
     "set_module_class(Module, note_path, *hooks): what that is for."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_module_calls(PyObject* module) {
  auto name = [](const char* text) { return checked(PyUnicode_InternFromString(text)).release(); };
  parameters = name("_parameters"), modules = name("_modules"), buffers = name("_buffers");
  forward_name = name("forward");
  own_hooks = {name("_forward_hooks"), name("_forward_pre_hooks"), name("_backward_hooks"),
               name("_backward_pre_hooks")};
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace fl
