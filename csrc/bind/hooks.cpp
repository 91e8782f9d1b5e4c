// What C++ below asks of Python: kernels, gradient plans, warnings, and the GIL around long work.
#include "bind/hooks.h"

#include "autograd/accumulate.h"
#include "bind/python.h"
#include "bind/tensor_object.h"
#include "runtime/factories.h"
#include "runtime/kernel_table.h"
#include "runtime/lapack/library.h"
#include "runtime/pool.h"

namespace fl {
namespace {

PyObject* resolver = nullptr;

// kernels.scalar.resolve(key) -> address, called with the GIL held: other threads may run Python meanwhile.
void* resolve(const std::string& key) {
  NeedsGil gil;
  if (!resolver) {
    PyRef module = checked(PyImport_ImportModule("flambeau.kernels.scalar"));
    resolver = checked(PyObject_GetAttrString(module.get(), "resolve")).release();
  }
  PyRef text = checked(PyUnicode_FromStringAndSize(key.data(), static_cast<Py_ssize_t>(key.size())));
  PyRef address = checked(PyObject_CallOneArg(resolver, text.get()));
  void* p = PyLong_AsVoidPtr(address.get());
  if (!p && PyErr_Occurred()) throw PythonError{};
  return p;
}

void warn(const char* text) {
  NeedsGil gil;
  check_status(PyErr_WarnEx(PyExc_UserWarning, text, 1));
}

// ops.linalg.library.library_path(), called when the first routine is needed.
std::string lapack_path() {
  NeedsGil gil;
  PyRef module = checked(PyImport_ImportModule("flambeau.ops.linalg.library"));
  PyRef path = checked(PyObject_CallMethod(module.get(), "library_path", nullptr));
  const char* text = PyUnicode_AsUTF8(path.get());
  if (!text) throw PythonError{};
  return text;
}

// A sparse gradient and another one: Python adds them, the dense one first.
TensorRef add_sparse_gradients(const TensorRef& a, const TensorRef& b) {
  NeedsGil gil;
  const bool turned = a->flags & kSparse;
  PyRef first = checked(wrap(turned ? b : a)), second = checked(wrap(turned ? a : b));
  PyRef sum = checked(PyNumber_Add(first.get(), second.get()));
  return TensorRef(tensor_argument(sum.get(), "add", "gradient"));
}

void* give_gil_away() { return PyGILState_Check() ? PyEval_SaveThread() : nullptr; }
void take_gil_back(void* state) {
  if (!state) return;
  halt_if_exiting();
  wait_for_gil([&] { PyEval_RestoreThread(static_cast<PyThreadState*>(state)); });
}

// launch(launch): runs a loop program that a composite made; see flambeau.ops.launch.
PyObject* launch(PyObject*, PyObject* what) {
  return guarded([&]() -> PyObject* {
    static PyObject* run = nullptr;
    if (!run) {
      PyRef module = checked(PyImport_ImportModule("flambeau.kernels.loop"));
      run = checked(PyObject_GetAttrString(module.get(), "run")).release();
    }
    PyRef name = checked(PyUnicode_FromString("launch"));
    return PyObject_CallFunctionObjArgs(run, name.get(), what, nullptr);
  });
}

PyMethodDef functions[] = {{"launch", launch, METH_O, "launch(launch): runs a loop program that a composite made."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_hooks(PyObject* module) {
  check_status(PyModule_AddFunctions(module, functions));
  watch_exit();
  kernel_resolver = resolve;
  add_sparse = add_sparse_gradients;
  lapack::library_path = lapack_path;
  add_contractions();
  warn_user = warn;
  long_work_begin = give_gil_away;
  long_work_end = take_gil_back;
}

}  // namespace fl
