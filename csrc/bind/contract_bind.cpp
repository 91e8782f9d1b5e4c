// The micro-kernels of contractions, which Python generates or finds in its cache when they are first wanted.
#include <vector>

#include "bind/hooks.h"
#include "bind/python.h"
#include "runtime/contract/attention_kernels.h"
#include "runtime/contract/channel_kernels.h"
#include "runtime/contract/conv_kernels.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/shift_kernels.h"

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
PyRef provide(const char* source, DType dtype) {
  PyRef module = checked(PyImport_ImportModule(source));
  return checked(PyObject_CallMethod(module.get(), "provide", "s", dtype_code(dtype)));
}

const char* micro_kernel_module(DType dtype) {
  if (is_complex(dtype)) return "flambeau.codegen.complex_tiles";
  return compute_type(dtype) != dtype ? "flambeau.codegen.narrow" : "flambeau.codegen.contract";
}

void load_micro_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide(micro_kernel_module(dtype), dtype);
  if (answer.get() == Py_None) return;
  PyObject *layout, *addresses;
  if (!PyArg_ParseTuple(answer.get(), "O!O!", &PyList_Type, &layout, &PyList_Type, &addresses)) throw PythonError{};
  install_micro_kernels(dtype, numbers<int64_t>(layout).data(), numbers<uint64_t>(addresses).data());
}

void load_conv_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide("flambeau.codegen.conv", dtype);
  if (answer.get() != Py_None) install_conv_kernels(dtype, numbers<uint64_t>(answer.get()).data());
}

void load_paired_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide("flambeau.codegen.paired", dtype);
  if (answer.get() != Py_None) install_paired_kernels(dtype, numbers<uint64_t>(answer.get()).data());
}

void load_attention_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide("flambeau.codegen.attention", dtype);
  if (answer.get() != Py_None) install_attention_kernels(dtype, numbers<uint64_t>(answer.get()).data());
}

void load_channel_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide("flambeau.codegen.channels", dtype);
  if (answer.get() == Py_None) return;
  auto addresses = numbers<uint64_t>(answer.get());
  install_channel_kernels(dtype, addresses.data(), static_cast<int64_t>(addresses.size()));
}

void load_shift_kernels(DType dtype) {
  NeedsGil gil;
  if (!gil.alive()) return;
  PyRef answer = provide("flambeau.codegen.shifts", dtype);
  if (answer.get() != Py_None) install_shift_kernels(dtype, numbers<uint64_t>(answer.get()).data());
}

}  // namespace

void add_contractions() {
  micro_kernel_source = load_micro_kernels;
  conv_kernel_source = load_conv_kernels;
  paired_kernel_source = load_paired_kernels;
  attention_kernel_source = load_attention_kernels;
  channel_kernel_source = load_channel_kernels;
  shift_kernel_source = load_shift_kernels;
}

}  // namespace fl
