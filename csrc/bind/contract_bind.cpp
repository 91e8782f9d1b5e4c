// The micro-kernels of contractions, which Python generates or finds in its cache when they are first wanted.
#include <vector>

#include "bind/hooks.h"
#include "bind/python.h"
#include "runtime/contract/kernels.h"

namespace fl {
namespace {

template <class T>
std::vector<T> numbers(PyObject* list) {
  std::vector<T> out;
  for (Py_ssize_t i = 0; i < PyList_Size(list); ++i) {
    out.push_back(static_cast<T>(PyLong_AsUnsignedLongLong(PyList_GetItem(list, i))));
  }
  if (PyErr_Occurred()) throw PythonError{};
  return out;
}

// None as an answer: this machine runs no generated code, plain loops serve.
void load_micro_kernels(DType dtype) {
  WithGil gil;
  if (!gil.alive()) return;
  PyRef module = checked(PyImport_ImportModule("flambeau.codegen.contract"));
  PyRef answer = checked(PyObject_CallMethod(module.get(), "provide", "s", dtype_code(dtype)));
  if (answer.get() == Py_None) return;
  PyObject *layout, *addresses;
  if (!PyArg_ParseTuple(answer.get(), "O!O!", &PyList_Type, &layout, &PyList_Type, &addresses)) throw PythonError{};
  install_micro_kernels(dtype, numbers<int64_t>(layout).data(), numbers<uint64_t>(addresses).data());
}

}  // namespace

void add_contractions() { micro_kernel_source = load_micro_kernels; }

}  // namespace fl
