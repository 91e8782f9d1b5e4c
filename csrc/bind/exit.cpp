// Threads that are still at work when the interpreter goes.
#include <unistd.h>

#include "bind/python.h"

namespace fl {

std::atomic<unsigned long> exiting_thread{0};

namespace {

PyObject* note_exit(PyObject*, PyObject*) {
  exiting_thread.store(PyThread_get_thread_ident());
  Py_RETURN_NONE;
}

PyMethodDef exit_function = {"note_exit", note_exit, METH_NOARGS, "Called by atexit."};

}  // namespace

bool finalizing() noexcept {
#if PY_VERSION_HEX >= 0x030d0000
  return Py_IsFinalizing() != 0;
#else
  return _Py_IsFinalizing() != 0;
#endif
}

void halt_thread() noexcept {
  for (;;) pause();
}

void halt_if_gil_is_lost() noexcept {
  if (finalizing() && exiting_thread.load() != PyThread_get_thread_ident() && !PyGILState_Check()) halt_thread();
}

void watch_exit() {
  PyRef atexit = checked(PyImport_ImportModule("atexit"));
  PyRef function = checked(PyCFunction_New(&exit_function, nullptr));
  checked(PyObject_CallMethod(atexit.get(), "register", "O", function.get()));
}

}  // namespace fl
