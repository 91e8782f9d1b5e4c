#include "bind/seen_function.h"

#include <cstddef>

#include "bind/modes.h"

namespace fl {
namespace {

struct SeenFunction {
  PyObject_HEAD vectorcallfunc call;
  PyObject* function;
  PyObject* dict;  // what functools.update_wrapper sets
  PyObject* weakrefs;
};

SeenFunction* seen_of(PyObject* o) { return reinterpret_cast<SeenFunction*>(o); }

PyObject* call(PyObject* self, PyObject* const* args, size_t nargsf, PyObject* kwnames) {
  if (!must_intercept(nullptr, 0)) [[likely]]
    return PyObject_Vectorcall(seen_of(self)->function, args, nargsf, kwnames);
  return guarded([&]() -> PyObject* {
    bool handled;
    PyRef result = intercept(self, args, PyVectorcall_NARGS(nargsf), kwnames, handled);
    return handled ? result.release() : PyObject_Vectorcall(seen_of(self)->function, args, nargsf, kwnames);
  });
}

PyObject* make(PyTypeObject* type, PyObject* args, PyObject*) {
  PyObject* function;
  if (!PyArg_ParseTuple(args, "O", &function)) return nullptr;
  PyObject* self = type->tp_alloc(type, 0);
  if (!self) return nullptr;
  seen_of(self)->call = call;
  seen_of(self)->function = Py_NewRef(function);
  return self;
}

int traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(seen_of(o)->function);
  Py_VISIT(seen_of(o)->dict);
  return 0;
}
int clear(PyObject* o) {
  Py_CLEAR(seen_of(o)->function);
  Py_CLEAR(seen_of(o)->dict);
  return 0;
}
void dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  PyObject_GC_UnTrack(o);
  if (seen_of(o)->weakrefs) PyObject_ClearWeakRefs(o);
  clear(o);
  type->tp_free(o);
  Py_DECREF(type);
}

PyObject* repr(PyObject* o) { return PyObject_Repr(seen_of(o)->function); }

// As an attribute of a class it is a method, like any function of Python.
PyObject* bind(PyObject* self, PyObject* object, PyObject*) {
  return !object || object == Py_None ? Py_NewRef(self) : PyMethod_New(self, object);
}

// Pickled by name.
PyObject* reduce(PyObject* o, PyObject*) { return PyObject_GetAttrString(seen_of(o)->function, "__qualname__"); }

PyMethodDef methods[] = {{"__reduce__", reduce, METH_NOARGS, nullptr}, {nullptr, nullptr, 0, nullptr}};
PyGetSetDef properties[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef members[] = {{"__vectorcalloffset__", T_PYSSIZET, offsetof(SeenFunction, call), READONLY, nullptr},
                         {"__dictoffset__", T_PYSSIZET, offsetof(SeenFunction, dict), READONLY, nullptr},
                         {"__weaklistoffset__", T_PYSSIZET, offsetof(SeenFunction, weakrefs), READONLY, nullptr},
                         {nullptr, 0, 0, 0, nullptr}};

}  // namespace

void add_seen_function(PyObject* module) {
  PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(make)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(dealloc)},
                         {Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                         {Py_tp_clear, reinterpret_cast<void*>(clear)},
                         {Py_tp_call, reinterpret_cast<void*>(PyVectorcall_Call)},
                         {Py_tp_repr, reinterpret_cast<void*>(repr)},
                         {Py_tp_descr_get, reinterpret_cast<void*>(bind)},
                         {Py_tp_methods, methods},
                         {Py_tp_getset, properties},
                         {Py_tp_members, members},
                         {0, nullptr}};
  unsigned flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
  PyType_Spec spec{"flambeau.SeenFunction", sizeof(SeenFunction), 0, flags, slots};
  add_object(module, "SeenFunction", reinterpret_cast<PyObject*>(make_type(spec)));
}

}  // namespace fl
