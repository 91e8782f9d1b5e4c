#include <algorithm>
#include <new>
#include <stdexcept>
#include <string>

#include "bind/python.h"

namespace fl {
namespace {
PyObject* memory_error = nullptr;
}

PyObject* error_class(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::Runtime: return PyExc_RuntimeError;
    case ErrorKind::Type: return PyExc_TypeError;
    case ErrorKind::Value: return PyExc_ValueError;
    case ErrorKind::Index: return PyExc_IndexError;
    case ErrorKind::NotImplemented: return PyExc_NotImplementedError;
    case ErrorKind::Memory: return memory_error ? memory_error : PyExc_RuntimeError;
    case ErrorKind::Attribute: return PyExc_AttributeError;
    case ErrorKind::Import: return PyExc_ImportError;
    case ErrorKind::OS: return PyExc_OSError;
    case ErrorKind::Assertion: return PyExc_AssertionError;
  }
  return PyExc_RuntimeError;
}

void set_memory_error_class(PyObject* type) { Py_XSETREF(memory_error, Py_NewRef(type)); }

void set_python_error() noexcept {
  try {
    throw;
#ifdef __GLIBCXX__
  } catch (abi::__forced_unwind&) {
    halt_thread();
#endif
  } catch (const PythonError&) {
  } catch (const Error& e) {
    std::string text = e.what();
    std::replace(text.begin(), text.end(), '\t', ' ');
    PyErr_SetString(error_class(e.kind()), text.c_str());
  } catch (const std::bad_alloc&) { PyErr_NoMemory(); } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

PyTypeObject* make_type(PyType_Spec& spec, PyTypeObject* base) {
  PyRef bases = base ? checked(PyTuple_Pack(1, base)) : PyRef();
  return reinterpret_cast<PyTypeObject*>(checked(PyType_FromSpecWithBases(&spec, bases.get())).release());
}

void add_methods(PyTypeObject* type, PyMethodDef* methods) {
  for (; methods->ml_name; ++methods) {
    PyObject* method = methods->ml_flags & METH_CLASS ? PyDescr_NewClassMethod(type, methods)
                       : methods->ml_flags & METH_STATIC
                           ? PyStaticMethod_New(checked(PyCFunction_New(methods, nullptr)).get())
                           : PyDescr_NewMethod(type, methods);
    PyRef owned = checked(method);
    check_status(PyObject_SetAttrString(reinterpret_cast<PyObject*>(type), methods->ml_name, owned.get()));
  }
}

void add_properties(PyTypeObject* type, PyGetSetDef* properties) {
  for (; properties->name; ++properties) {
    PyRef property = checked(PyDescr_NewGetSet(type, properties));
    check_status(PyObject_SetAttrString(reinterpret_cast<PyObject*>(type), properties->name, property.get()));
  }
}

void add_object(PyObject* module, const char* name, PyObject* object) {
  check_status(PyModule_AddObjectRef(module, name, object));
}

}  // namespace fl
