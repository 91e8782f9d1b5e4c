#include "bind/class_checks.h"

#include <algorithm>
#include <string>

#include "bind/tensor_object.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

constexpr auto kRuntime = ErrorKind::Runtime, kValue = ErrorKind::Value;

void check_batch(const Tensor& input, const Tensor& target) {
  if (input.dim() > 1) {
    const int64_t n = input.sizes[0], given = target.dim() ? target.sizes[0] : 0;
    FL_CHECK(target.dim() && n == given, kValue, "Expected input batch_size (%lld) to match target batch_size (%lld).",
             static_cast<long long>(n), static_cast<long long>(given));
  }
  if (input.dim() > 2)
    FL_CHECK(std::ranges::equal(IntSpan(input.sizes).subspan(2), IntSpan(target.sizes).subspan(1)), kRuntime,
             "size mismatch (got input: %s , target: %s", shape_text(input.sizes).c_str(),
             shape_text(target.sizes).c_str());
  FL_CHECK(input.dim() > 2 || target.dim() <= 1, kRuntime,
           "0D or 1D target tensor expected, multi-target not supported");
  FL_CHECK(input.dim() > 1 || target.numel() == 1, kValue,
           "For 1D input, 1D target must have size 1, but got target size: %lld",
           static_cast<long long>(target.numel()));
}

int64_t count_of_classes(const Tensor& input, const Tensor& target, const Tensor* weight) {
  FL_CHECK(input.dim() > 0, kRuntime, "input tensor should be 1D or 2D");
  const int64_t classes = input.sizes[input.dim() > 1 ? 1 : 0];
  check_batch(input, target);
  FL_CHECK(target.dtype == DType::I64 || target.dtype == DType::U8, kRuntime,
           "expected target dtype to be Long or Byte, but got %s", dtype_title(target.dtype));
  FL_CHECK(!weight || (weight->dim() == 1 && weight->numel() == classes), kRuntime,
           "weight tensor should be defined either for all %lld classes or no classes but got weight tensor of shape: "
           "%s",
           static_cast<long long>(classes), weight ? shape_text(weight->sizes).c_str() : "");
  return classes;
}

PyObject* class_count(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3) raise(PyExc_TypeError, "class_count(input, target, weight)");
    const Tensor *input = tensor_argument(args[0], "nll_loss", "input"),
                 *target = tensor_argument(args[1], "nll_loss", "target"),
                 *weight = args[2] == Py_None ? nullptr : tensor_argument(args[2], "nll_loss", "weight");
    return PyLong_FromLongLong(count_of_classes(*input, *target, weight));
  });
}

PyMethodDef functions[] = {{"class_count", py_function(class_count), METH_FASTCALL,
                            "The classes of input, which fits target and weight; raises where it does not."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_class_checks(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
