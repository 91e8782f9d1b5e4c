// Python objects and exceptions in C++.
#pragma once
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <structmember.h>

#include <atomic>
#include <utility>

#if __has_include(<cxxabi.h>)
#include <cxxabi.h>
#endif

#include "core/error.h"

namespace fl {

// When the interpreter goes, only the thread that finalizes it has the GIL, for good. CPython up to 3.13 unwinds any
// other thread that asks for it, from wherever that was (3.14 halts it). Our frames must not be unwound so, since their
// destructors would touch Python objects without the GIL: the first of them that is reached halts the thread.
extern std::atomic<unsigned long> exiting_thread;  // the one that runs Python's exit functions; 0 before that
[[noreturn]] void halt_thread() noexcept;
void halt_if_gil_is_lost() noexcept;
inline void halt_if_exiting() noexcept {
  if (exiting_thread.load(std::memory_order_relaxed)) halt_if_gil_is_lost();
}
bool finalizing() noexcept;
void watch_exit();  // from now on exiting_thread is kept

// Runs `take`, which waits for the GIL; for callers that cannot be unwound, as destructors.
template <class F>
void wait_for_gil(F&& take) {
#ifdef __GLIBCXX__
  try {
    take();
  } catch (abi::__forced_unwind&) { halt_thread(); }
#else
  take();
#endif
}

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
  ~PyRef() {
    if (!p_) return;
    halt_if_exiting();
    Py_DECREF(p_);
  }
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
  WithGil() : alive_(Py_IsInitialized() != 0 && !finalizing()) {
    if (alive_) wait_for_gil([&] { state_ = PyGILState_Ensure(); });
  }
  ~WithGil() {
    if (!alive_) return;
    halt_if_exiting();
    PyGILState_Release(state_);
  }
  WithGil(const WithGil&) = delete;
  WithGil& operator=(const WithGil&) = delete;
  bool alive() const { return alive_; }

 private:
  bool alive_;
  PyGILState_STATE state_{};
};

// For work that cannot be left out: a thread that is refused the GIL goes no further.
struct NeedsGil : WithGil {
  NeedsGil() {
    if (!alive()) halt_if_gil_is_lost();
  }
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
