// `out=` for every function that returns tensors: the result is computed, then written to the tensors given.
#include "autograd/meta.h"
#include "bind/op_function.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/promotion.h"

namespace fl {
namespace {

void write_one(const char* name, Tensor* result, Tensor* out) {
  if (result == out) return;
  FL_CHECK(!(GradMode::enabled && (requires_grad(result) || requires_grad(out))), ErrorKind::Runtime,
           "%s(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires grad.",
           name);
  FL_CHECK(result->device() == out->device(), ErrorKind::Runtime,
           "Expected out tensor to have the device of the result, in %s()", name);
  check_can_cast(result->dtype, out->dtype);
  if (out->sizes != result->sizes) resize_output(out, result->sizes);
  copy_into(out, result);
  out->bump_version();
}

Tensor* out_tensor(const char* name, PyObject* o) {
  if (!is_tensor(o)) raise(PyExc_TypeError, "%s(): argument 'out' must be Tensor, not %s", name, Py_TYPE(o)->tp_name);
  return tensor_of(o);
}

}  // namespace

PyRef write_out(const Overload& overload, PyRef result, PyObject* out) {
  const char* name = overload.name.c_str();
  if (is_tensor(result.get())) {
    write_one(name, tensor_of(result.get()), out_tensor(name, out));
    return PyRef::borrow(out);
  }
  if (!PyTuple_Check(result.get()) || (!PyTuple_Check(out) && !PyList_Check(out)))
    raise(PyExc_TypeError, "%s(): argument 'out' must be tuple of Tensors, not %s", name, Py_TYPE(out)->tp_name);
  Py_ssize_t n = PyTuple_GET_SIZE(result.get());
  if (PySequence_Fast_GET_SIZE(out) != n)
    raise(PyExc_TypeError, "%s(): expected tuple of %zd elements but got %zd", name, n, PySequence_Fast_GET_SIZE(out));
  PyRef outs = checked(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* target = PySequence_Fast_GET_ITEM(out, i);
    out_tensor(name, target);
    PyTuple_SET_ITEM(outs.get(), i, Py_NewRef(target));
  }
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* value = PyTuple_GET_ITEM(result.get(), i);
    if (is_tensor(value)) write_one(name, tensor_of(value), tensor_of(PyTuple_GET_ITEM(outs.get(), i)));
  }
  return name_results(overload, std::move(outs));
}

}  // namespace fl
