// The Python object of a tensor. One tensor has at most one, and the same one is seen as long as either lives: normally
// the object owns the tensor; when Python drops an object that carries something of its own (attributes, weak
// references, a subclass) while C++ still holds the tensor, the tensor comes to own the object until Python sees it
// again.
#pragma once
#include "bind/python.h"
#include "core/tensor.h"

namespace fl {

struct TensorObject {
  PyObject_HEAD Tensor* t;  // a strong reference, unless t->owns_py
  PyObject* dict;
  PyObject* weakrefs;
};

extern PyTypeObject* tensor_type;

inline bool is_tensor(PyObject* o) { return Py_TYPE(o) == tensor_type || PyType_IsSubtype(Py_TYPE(o), tensor_type); }
inline Tensor* tensor_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o)->t; }
// Checks the type; raises TypeError in the name of `function`.
Tensor* tensor_argument(PyObject* o, const char* function, const char* argument);

// The object of `t` (a new reference), made where there is none.
PyObject* wrap(TensorRef t);
// A new object of a subclass for a tensor that has none yet.
PyObject* wrap_as(TensorRef t, PyTypeObject* type);

// swap_tensors(t1, t2): exchanges what two objects hold, attributes included.
PyObject* swap_tensors(PyObject* module, PyObject* const* args, Py_ssize_t n);

PyTypeObject* make_tensor_type(PyType_Slot* more);
// Whether values of the type leave the fast path: a subclass whose __torch_function__ is not disabled.
bool type_intercepts(PyTypeObject* type);

}  // namespace fl
