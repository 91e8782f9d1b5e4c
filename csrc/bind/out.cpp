// `out=` for every function that returns tensors: the result is computed, then written to the tensors given.
#include "autograd/meta.h"
#include "bind/op_function.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/promotion.h"

namespace fl {
namespace {

// Elementwise operators and composites cast into `out`; the others write it themselves and take its dtype as it is.
void check_out_dtype(const Op& op, const Tensor& result, const Tensor& out) {
  if (result.dtype == out.dtype) return;
  if (!op.out_error.empty()) {
    std::string text = fill_in(op.out_error, out.dtype);
    size_t at = text.find("{want}");
    if (at != std::string::npos) text.replace(at, 6, dtype_title(result.dtype));
    fail(ErrorKind::Runtime, "%s", text.c_str());
  }
  FL_CHECK(op.kind == BodyKind::Scalar || op.kind == BodyKind::Composite, ErrorKind::Runtime,
           "Expected out tensor to have dtype %s, but got %s instead", dtype_c_name(result.dtype),
           dtype_c_name(out.dtype));
  check_can_cast(result.dtype, out.dtype);
}

void write_one(const Overload& overload, Tensor* result, Tensor* out) {
  const char* name = overload.name.c_str();
  if (result == out) return;
  FL_CHECK(!(GradMode::enabled && (requires_grad(result) || requires_grad(out))), ErrorKind::Runtime,
           "%s(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires grad.",
           name);
  FL_CHECK(result->device() == out->device(), ErrorKind::Runtime,
           "Expected out tensor to have the device of the result, in %s()", name);
  check_out_dtype(*overload.op, *result, *out);
  check_no_internal_overlap(*out);
  if (out->sizes != result->sizes) resize_output(out, result->sizes);
  copy_into(out, result);
  out->bump_version();
}

Tensor* out_tensor(const char* name, PyObject* o) {
  if (!is_tensor(o)) raise(PyExc_TypeError, "%s(): argument 'out' must be Tensor, not %s", name, Py_TYPE(o)->tp_name);
  return tensor_of(o);
}

}  // namespace

void take_dtype_of_out(const Form& form, Arguments& args) {
  const std::vector<Param>& params = form.overload->params;
  if (!args.out || !is_tensor(args.out)) return;
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].type == ParamType::DType && params[i].keyword_only && args[i].is_none())
      args[i] = Value(tensor_of(args.out)->dtype);
}

PyRef write_out(const Overload& overload, PyRef result, PyObject* out) {
  const char* name = overload.name.c_str();
  if (is_tensor(result.get())) {
    write_one(overload, tensor_of(result.get()), out_tensor(name, out));
    return PyRef::borrow(out);
  }
  if (!PyTuple_Check(result.get()) || (!PyTuple_Check(out) && !PyList_Check(out)))
    raise(PyExc_TypeError, "%s(): argument 'out' must be tuple of Tensors, not %s", name, Py_TYPE(out)->tp_name);
  Py_ssize_t n = PyTuple_GET_SIZE(result.get());
  if (PySequence_Fast_GET_SIZE(out) != n)
    raise(PyExc_TypeError, "expected tuple of %zd elements but got %zd [in %s: out]", n, PySequence_Fast_GET_SIZE(out),
          name);
  PyRef outs = checked(PyTuple_New(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* target = PySequence_Fast_GET_ITEM(out, i);
    out_tensor(name, target);
    PyTuple_SET_ITEM(outs.get(), i, Py_NewRef(target));
  }
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* value = PyTuple_GET_ITEM(result.get(), i);
    if (is_tensor(value)) write_one(overload, tensor_of(value), tensor_of(PyTuple_GET_ITEM(outs.get(), i)));
  }
  return name_results(overload, std::move(outs));
}

}  // namespace fl
