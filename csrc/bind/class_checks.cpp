#include "bind/class_checks.h"

#include <algorithm>
#include <string>
#include <vector>

#include "bind/tensor_object.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

constexpr auto kRuntime = ErrorKind::Runtime, kValue = ErrorKind::Value;

void check_batch(const Tensor& input, const Tensor& target) {
  FL_CHECK(input.dim() > 0, kValue, "Expected 1 or more dimensions (got 0)");
  if (input.dim() == 1) return;
  const int64_t n = input.sizes[0], given = target.dim() ? target.sizes[0] : 0;
  FL_CHECK(target.dim() && n == given, kValue, "Expected input batch_size (%lld) to match target batch_size (%lld).",
           static_cast<long long>(n), static_cast<long long>(given));
}

void check_rows(const Tensor& input, const Tensor& target) {
  FL_CHECK(target.dim() <= 1, kRuntime, "0D or 1D target tensor expected, multi-target not supported");
  FL_CHECK(input.dim() > 1 || target.numel() == 1, kValue,
           "For 1D input, 1D target must have size 1, but got target size: %lld",
           static_cast<long long>(target.numel()));
}

// The dimensions behind the classes. PyTorch has a kernel for two of them, and its own words there.
void check_places(const Tensor& input, const Tensor& target) {
  const IntSpan places = IntSpan(input.sizes).subspan(2), given = IntSpan(target.sizes).subspan(1);
  const bool fits = std::ranges::equal(places, given);
  if (input.dim() != 4) {
    std::vector<int64_t> expected(input.sizes.begin(), input.sizes.end());
    expected.erase(expected.begin() + 1);
    FL_CHECK(fits, kRuntime, "Expected target size %s, got %s", shape_text(expected).c_str(),
             shape_text(target.sizes).c_str());
  }
  FL_CHECK(given.size() == places.size(), kRuntime,
           "only batches of spatial targets supported (3D tensors) but got targets of dimension: %lld",
           static_cast<long long>(target.dim()));
  FL_CHECK(fits, kRuntime, "size mismatch (got input: %s , target: %s", shape_text(input.sizes).c_str(),
           shape_text(target.sizes).c_str());
}

void check_weight(const Tensor& input, const Tensor& weight, int64_t classes) {
  const bool fits = weight.dim() == 1 && weight.numel() == classes;
  FL_CHECK(fits || input.dim() <= 2, kRuntime, "weight tensor should be defined either for all or no classes");
  FL_CHECK(fits, kRuntime,
           "weight tensor should be defined either for all %lld classes or no classes but got weight tensor of shape: "
           "%s",
           static_cast<long long>(classes), shape_text(weight.sizes).c_str());
  FL_CHECK(weight.dtype == input.dtype, kRuntime, "expected scalar type %s but found %s", dtype_title(input.dtype),
           dtype_title(weight.dtype));
}

int64_t count_of_classes(const Tensor& input, const Tensor& target, const Tensor* weight) {
  check_batch(input, target);
  const int64_t classes = input.sizes[input.dim() > 1 ? 1 : 0];
  input.dim() > 2 ? check_places(input, target) : check_rows(input, target);
  FL_CHECK(target.dtype == DType::I64 || target.dtype == DType::U8, kRuntime,
           "expected target dtype to be Long or Byte, but got %s", dtype_title(target.dtype));
  if (weight) check_weight(input, *weight, classes);
  return classes;
}

const Tensor* operand(PyObject* o, const char* name, int position) {
  if (!is_tensor(o))
    raise(PyExc_TypeError, "nll_loss_nd(): argument '%s' (position %d) must be Tensor, not %s", name, position,
          Py_TYPE(o)->tp_name);
  return tensor_of(o);
}

PyObject* class_count(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 3) raise(PyExc_TypeError, "class_count(input, target, weight)");
    const Tensor *input = operand(args[0], "input", 1), *target = operand(args[1], "target", 2),
                 *weight = args[2] == Py_None ? nullptr : operand(args[2], "weight", 3);
    return PyLong_FromLongLong(count_of_classes(*input, *target, weight));
  });
}

PyMethodDef functions[] = {{"class_count", py_function(class_count), METH_FASTCALL,
                            "The classes of input, which fits target and weight; raises where it does not."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_class_checks(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
