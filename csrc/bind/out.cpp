// `out=` for every function that returns tensors: the result is written straight to the tensor given where it fits
// (`takes_result`), else computed and then written.
#include "autograd/meta.h"
#include "autograd/text.h"
#include "bind/op_function.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/promotion.h"

namespace fl {
namespace {

[[noreturn]] void fail_sentence(const std::string& sentence, DType want, DType got) {
  constexpr std::string_view kType = "TypeError: ";
  const bool type = sentence.starts_with(kType);
  std::string text = fill_in(type ? sentence.substr(kType.size()) : sentence, got);
  if (size_t at = text.find("{want}"); at != std::string::npos) text.replace(at, 6, dtype_title(want));
  fail(type ? ErrorKind::Type : ErrorKind::Runtime, "%s", text.c_str());
}

// Elementwise operators and composites cast into `out`; the others write it themselves and take its dtype as it is.
void check_out_dtype(const Op& op, const Tensor& result, const Tensor& out) {
  if (result.dtype == out.dtype) return;
  const std::string& rule = op.out_error;
  const bool casts = rule.starts_with("cast"), exact = rule == "exact";
  if (rule.size() > 4 && !exact && !(casts && can_cast(result.dtype, out.dtype)))
    fail_sentence(casts ? rule.substr(5) : rule, result.dtype, out.dtype);
  FL_CHECK(!exact && (casts || op.kind == BodyKind::Scalar || op.kind == BodyKind::Composite), ErrorKind::Runtime,
           "Expected out tensor to have dtype %s, but got %s instead", dtype_c_name(result.dtype),
           dtype_c_name(out.dtype));
  check_can_cast(result.dtype, out.dtype);
}

void check_one(const Overload& overload, Tensor* result, Tensor* out) {
  const char* name = overload.name.c_str();
  if (result == out) return;
  FL_CHECK(!(GradMode::enabled && (requires_grad(result) || requires_grad(out))), ErrorKind::Runtime,
           "%s(): functions with out=... arguments don't support automatic differentiation, but one of the arguments "
           "requires grad.",
           name);
  FL_CHECK(result->device() == out->device(), ErrorKind::Runtime,
           "Attempting to copy from device %s to device %s, but cross-device copies are not allowed! [in %s: out]",
           device_name(result->device()), device_name(out->device()), name);
  check_out_dtype(*overload.op, *result, *out);
  check_no_internal_overlap(*out);
}

void write_one(Tensor* result, Tensor* out) {
  if (result == out) return;
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
  if (!args.out || !is_tensor(args.out) || form.overload->op->out_error == "exact") return;
  for (size_t i = 0; i < params.size(); ++i)
    if (params[i].type == ParamType::DType && params[i].keyword_only && args[i].is_none())
      args[i] = Value(tensor_of(args.out)->dtype);
}

Tensor* out_of_call(const Overload& overload, Arguments& args) {
  if (!args.out || !is_tensor(args.out)) return nullptr;
  Tensor* out = tensor_of(args.out);
  if (overload.op->kind == BodyKind::Scalar)
    for (size_t i = 0; i < args.size(); ++i)
      if (args[i].is_tensor()) check_no_partial_overlap(*out, *args[i].tensor());
  return out;
}

PyRef write_out(const Overload& overload, PyRef result, PyObject* out) {
  const char* name = overload.name.c_str();
  if (is_tensor(result.get())) {
    Tensor* target = out_tensor(name, out);
    check_one(overload, tensor_of(result.get()), target);
    write_one(tensor_of(result.get()), target);
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
  auto each = [&](auto&& f) {
    for (Py_ssize_t i = 0; i < n; ++i)
      if (PyObject* value = PyTuple_GET_ITEM(result.get(), i); is_tensor(value))
        f(tensor_of(value), tensor_of(PyTuple_GET_ITEM(outs.get(), i)));
  };
  each([&](Tensor* value, Tensor* target) { check_one(overload, value, target); });
  each(write_one);
  return name_results(overload, std::move(outs));
}

}  // namespace fl
