// Python objects and exceptions in C++.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <utility>

#include "core/error.h"

namespace fl {

// Owns one reference to a Python object.
class PyRef {
 public:
  PyRef() = default;
  static PyRef steal(PyObject* p) {
    PyRef r;
    r.p_ = p;
    return r;
  }
  static PyRef borrow(PyObject* p) { return steal(Py_XNewRef(p)); }
  PyRef(const PyRef& o) : p_(Py_XNewRef(o.p_)) {}
  PyRef(PyRef&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  PyRef& operator=(PyRef o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~PyRef() { Py_XDECREF(p_); }
  PyObject* get() const { return p_; }
  PyObject* release() { return std::exchange(p_, nullptr); }
  explicit operator bool() const { return p_ != nullptr; }

 private:
  PyObject* p_ = nullptr;
};

// Python's error indicator is set; unwinds C++ to the boundary.
struct PythonError {};

// A new reference that a call of the C API returned, or its error.
inline PyRef checked(PyObject* p) {
  if (!p) throw PythonError{};
  return PyRef::steal(p);
}
inline void check_status(int status) {
  if (status < 0) throw PythonError{};
}
template <class... A>
[[noreturn]] void raise(PyObject* type, const char* format, A... args) {
  PyErr_Format(type, format, args...);
  throw PythonError{};
}

// Turns the C++ exception being handled into Python's; call only in a catch block.
void set_python_error() noexcept;
// The Python class of a kind of error.
PyObject* error_class(ErrorKind kind);
void set_memory_error_class(PyObject* type);

// Runs `f`; exceptions become Python's and `failed` is returned.
template <class F, class R = PyObject*>
R guarded(F&& f, R failed = nullptr) noexcept {
  try {
    return f();
  } catch (...) {
    set_python_error();
    return failed;
  }
}

// Holds the GIL in a thread that may not have it; does nothing once the interpreter is gone.
class WithGil {
 public:
  WithGil() : alive_(Py_IsInitialized() != 0 && !_Py_IsFinalizing()) {
    if (alive_) state_ = PyGILState_Ensure();
  }
  ~WithGil() {
    if (alive_) PyGILState_Release(state_);
  }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;
  bool alive() const { return alive_; }

 private:
  bool alive_;
  PyGILState_STATE state_{};
};

// A function of any calling convention, for PyMethodDef.
template <class F>
PyCFunction py_function(F* f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

// A heap type made from a spec, kept for the life of the process.
PyTypeObject* make_type(PyType_Spec& spec, PyTypeObject* base = nullptr);
void add_object(PyObject* module, const char* name, PyObject* object);
// Adds methods to a type that exists; `methods` lives as long as the process.
void add_methods(PyTypeObject* type, PyMethodDef* methods);
void add_properties(PyTypeObject* type, PyGetSetDef* properties);

}  // namespace fl
