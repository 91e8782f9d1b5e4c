#include "bind/construct.h"

#include <cstring>

#include "autograd/meta.h"
#include "bind/interop.h"
#include "bind/native_function.h"
#include "bind/tensor_object.h"
#include "bind/types.h"
#include "bind/values.h"
#include "runtime/copy.h"
#include "runtime/cuda_driver.h"
#include "runtime/factories.h"
#include "runtime/promotion.h"

namespace fl {
namespace {

constexpr int kMostDims = 64;

bool is_text(PyObject* o) { return PyUnicode_Check(o) || PyBytes_Check(o); }
bool is_sequence(PyObject* o) {
  return PyList_Check(o) || PyTuple_Check(o) ||
         (PySequence_Check(o) && !is_text(o) && !is_tensor(o) && !PyDict_Check(o) && !is_numpy_scalar(o) &&
          !PyAnySet_Check(o));
}

[[noreturn]] void refuse_text(PyObject* o) {
  raise(PyExc_TypeError, "new(): invalid data type '%s'", Py_TYPE(o)->tp_name);
}

// ---- sizes and dtype

// The shape that first elements show; filling checks the others.
Dims infer_sizes(PyObject* data) {
  Dims sizes;
  PyRef o = PyRef::borrow(data);
  while (is_sequence(o.get())) {
    Py_ssize_t n = PySequence_Length(o.get());
    if (n < 0) throw PythonError{};
    sizes.push_back(n);
    if (sizes.size() > kMostDims) raise(PyExc_ValueError, "too many dimensions '%s'", Py_TYPE(data)->tp_name);
    if (n == 0) break;
    o = checked(PySequence_GetItem(o.get(), 0));
  }
  return sizes;
}

DType dtype_of_leaf(PyObject* o) {
  if (PyFloat_CheckExact(o)) return default_dtype();
  if (PyBool_Check(o)) return DType::Bool;
  if (PyLong_Check(o)) return DType::I64;
  if (is_numpy_scalar(o)) return numpy_scalar_dtype(o);
  if (PyFloat_Check(o)) return default_dtype();
  if (PyComplex_Check(o)) return to_complex(default_dtype());
  if (is_tensor(o)) return tensor_of(o)->dtype;
  if (is_text(o)) refuse_text(o);
  raise(PyExc_RuntimeError, "Could not infer dtype of %s", Py_TYPE(o)->tp_name);
}

struct Inferred {
  bool any = false;
  DType dtype = DType::Bool;
  void add(DType d) {
    dtype = any ? promote(dtype, d) : d;
    any = true;
  }
};

// Promotion of a Python number must not widen what is there: lists are promoted as tensors are, so int with float32 is
// float32.
void infer_dtype(PyObject* o, Inferred& found, int depth) {
  if (!is_sequence(o)) return found.add(dtype_of_leaf(o));
  if (depth > kMostDims) raise(PyExc_ValueError, "too many dimensions '%s'", Py_TYPE(o)->tp_name);
  PyRef items = checked(PySequence_Fast(o, "not a sequence"));
  Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
  PyTypeObject* last = nullptr;
  for (Py_ssize_t i = 0; i < n && i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    bool repeated = Py_TYPE(item) == last && (last == &PyFloat_Type || last == &PyLong_Type);
    last = Py_TYPE(item);
    if (!repeated) infer_dtype(item, found, depth + 1);
  }
}

// ---- elements

Value leaf_value(PyObject* o, DType dtype) {
  if (is_tensor(o)) {
    FL_CHECK(tensor_of(o)->numel() == 1, ErrorKind::Value,
             "only one element tensors can be converted to Python scalars");
    return item_value(*tensor_of(o));
  }
  if (is_text(o)) refuse_text(o);
  if (PyLong_Check(o)) {
    int overflow;
    int64_t v = PyLong_AsLongLongAndOverflow(o, &overflow);
    if (!overflow) return PyBool_Check(o) ? Value(v != 0) : Value(v);
    if (is_float(dtype) || is_complex(dtype)) return Value(PyLong_AsDouble(o));
    raise(PyExc_ValueError, "Overflow when unpacking long long");
  }
  Value v;
  if (number_from_python(o, v)) return v;
  if (is_float(dtype)) raise(PyExc_TypeError, "must be real number, not %s", Py_TYPE(o)->tp_name);
  raise(PyExc_TypeError, "'%s' object cannot be interpreted as an integer", Py_TYPE(o)->tp_name);
}

void write_leaf(PyObject* o, DType dtype, char* to) {
  if (dtype == DType::U64 && PyLong_CheckExact(o)) {
    uint64_t u = PyLong_AsUnsignedLongLong(o);
    if (!PyErr_Occurred()) {
      std::memcpy(to, &u, sizeof u);
      return;
    }
    PyErr_Clear();
  }
  Value v = leaf_value(o, dtype);
  if (v.tag() == Value::Tag::Complex && !is_complex(dtype) && !is_bool(dtype))
    raise(PyExc_TypeError, "must be real number, not complex");
  check_number_fits(v, dtype, dtype_name(dtype));
  write_number(v, dtype, to);
}

class Filler {
 public:
  Filler(const Tensor& t) : sizes_(t.sizes), dtype_(t.dtype), step_(t.itemsize()), at_(t.data()) {}

  void fill(PyObject* o, int dim) {
    if (dim == sizes_.size()) {
      write_leaf(o, dtype_, at_);
      at_ += step_;
      return;
    }
    if (!is_sequence(o)) raise(PyExc_TypeError, "not a sequence");
    PyRef items = checked(PySequence_Fast(o, "not a sequence"));
    Py_ssize_t n = PySequence_Fast_GET_SIZE(items.get());
    FL_CHECK(n == sizes_[dim], ErrorKind::Value, "expected sequence of length %lld at dim %d (got %zd)",
             static_cast<long long>(sizes_[dim]), dim, n);
    bool last = dim + 1 == sizes_.size();
    for (Py_ssize_t i = 0; i < n; ++i) {
      if (PySequence_Fast_GET_SIZE(items.get()) != n)
        raise(PyExc_RuntimeError, "the sequence changed while it was read");
      PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
      if (!last || !fast_leaf(item)) fill(item, dim + 1);
    }
  }

 private:
  bool fast_leaf(PyObject* o) {
    if (!PyFloat_CheckExact(o)) return false;
    double d = PyFloat_AS_DOUBLE(o);
    if (dtype_ == DType::F32) {
      auto f = static_cast<float>(d);
      std::memcpy(at_, &f, sizeof f);
    } else if (dtype_ == DType::F64) {
      std::memcpy(at_, &d, sizeof d);
    } else {
      return false;
    }
    at_ += step_;
    return true;
  }

  const Dims& sizes_;
  DType dtype_;
  size_t step_;
  char* at_;
};

TensorRef on_device(TensorRef t, Device device) {
  return device == t->device() ? t : Tensor::empty(t->sizes, t->dtype, device);
}

TensorRef from_sequence(PyObject* data, std::optional<DType> dtype, Device device) {
  Dims sizes = infer_sizes(data);
  Inferred found;
  if (!dtype) infer_dtype(data, found, 0);
  DType d = dtype ? *dtype : found.any ? found.dtype : default_dtype();
  TensorRef t = Tensor::empty(sizes, d);
  Filler(*t).fill(data, 0);
  return on_device(std::move(t), device);
}

// Arrays and what turns into one.
bool is_array_like(PyObject* o) {
  if (PyList_Check(o) || PyTuple_Check(o) || PyLong_Check(o) || PyFloat_Check(o) || is_text(o) || is_numpy_scalar(o))
    return false;
  return is_ndarray(o) || has_attribute(o, "__array_interface__") || has_attribute(o, "__array__");
}

TensorRef copied(Tensor* t, std::optional<DType> dtype, Device device) {
  FL_CHECK(!t->is_meta() || device.type == DeviceType::Meta, ErrorKind::NotImplemented,
           "Cannot copy out of meta tensor; no data!");
  if (device.type == DeviceType::Meta) return Tensor::empty(t->sizes, dtype.value_or(t->dtype), device);
  return dtype && *dtype != t->dtype ? cast_to(t, *dtype) : clone_tensor(t);
}

void check_device(Device device) {
  if (device.type == DeviceType::CUDA) fail_without_cuda();
}

// ---- the functions

std::optional<DType> dtype_argument(const Value& v) {
  return v.is_none() ? std::nullopt : std::optional<DType>(v.dtype());
}
Device device_argument(const Value& v, Device otherwise = {}) { return v.is_none() ? otherwise : v.device(); }

void tensor_forward(const Call& call, Outputs& outputs) {
  PyRef data = checked(to_python(call[0]));
  if (is_tensor(data.get()))
    check_status(
        PyErr_WarnEx(PyExc_UserWarning,
                     "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                     "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
                     1));
  Device like = is_tensor(data.get()) ? tensor_of(data.get())->device() : default_device();
  TensorRef t = tensor_from_data(data.get(), dtype_argument(call[1]), device_argument(call[2], like));
  if (call[3].as_bool()) {
    FL_CHECK(is_differentiable(t->dtype), ErrorKind::Runtime,
             "Only Tensors of floating point and complex dtype can require gradients");
    set_requires_grad(t.get(), true);
  }
  outputs.emplace_back(std::move(t));
}

void as_tensor_forward(const Call& call, Outputs& outputs) {
  PyRef data = checked(to_python(call[0]));
  std::optional<DType> dtype = dtype_argument(call[1]);
  TensorRef t;
  if (is_tensor(data.get()))
    t = TensorRef(tensor_of(data.get()));
  else if (is_array_like(data.get()))
    t = tensor_from_array(data.get());
  Device device = device_argument(call[2], t ? t->device() : default_device());
  if (!t)
    t = tensor_from_data(data.get(), dtype, device);
  else if ((dtype && *dtype != t->dtype) || device != t->device())
    t = copied(t.get(), dtype, device);
  outputs.emplace_back(std::move(t));
}

// Tensor(data) computes in the default dtype, whatever the data.
TensorRef legacy_tensor(PyObject* args) {
  Py_ssize_t n = PyTuple_GET_SIZE(args);
  PyObject* first = n ? PyTuple_GET_ITEM(args, 0) : nullptr;
  if (n == 1 && is_tensor(first)) return alias_of(*tensor_of(first));
  if (n == 1 && (PyList_Check(first) || is_array_like(first) || (PyTuple_Check(first) && Py_TYPE(first) != size_type)))
    return tensor_from_data(first, default_dtype(), {});
  PyObject* sizes_argument = n == 1 && Py_TYPE(first) == size_type ? first : args;
  Dims sizes;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sizes_argument); ++i) {
    PyObject* item = PyTuple_GET_ITEM(sizes_argument, i);
    if (is_text(item)) refuse_text(item);
    if (!PyIndex_Check(item)) raise(PyExc_TypeError, "new(): data must be a sequence (got %s)", Py_TYPE(item)->tp_name);
    int64_t size = PyNumber_AsSsize_t(item, PyExc_OverflowError);
    if (size == -1 && PyErr_Occurred()) throw PythonError{};
    sizes.push_back(size);
  }
  if (n == 0) sizes.push_back(0);
  return Tensor::empty(sizes, default_dtype());
}

}  // namespace

TensorRef tensor_from_data(PyObject* data, std::optional<DType> dtype, Device device) {
  check_device(device);
  if (is_tensor(data)) return copied(tensor_of(data), dtype, device);
  if (is_text(data)) refuse_text(data);
  if (is_array_like(data)) {
    TensorRef t = tensor_from_array(data);
    return copied(t.get(), dtype, device);
  }
  return from_sequence(data, dtype, device);
}

PyObject* tensor_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyObject* device = kwargs ? PyDict_GetItemString(kwargs, "device") : nullptr;
    PyObject* data = kwargs ? PyDict_GetItemString(kwargs, "data") : nullptr;
    Py_ssize_t known = (device != nullptr) + (data != nullptr);
    // A subclass may give its __init__ keywords of its own.
    if (type == tensor_type && kwargs && PyDict_GET_SIZE(kwargs) != known)
      raise(PyExc_TypeError, "new() received an invalid combination of arguments. Use torch.tensor(data, dtype=...)");
    PyRef from_keyword = data ? checked(PyTuple_Pack(1, data)) : PyRef();
    TensorRef t = legacy_tensor(data ? from_keyword.get() : args);
    Device d;
    if (device && device != Py_None && to_device(device, d)) t = on_device(std::move(t), d);
    return wrap_as(std::move(t), type);
  });
}

void add_construction(PyObject* module) {
  add_native_function(
      module,
      "tensor(Any data, *, ScalarType? dtype=None, Device? device=None, bool requires_grad=False, "
      "bool pin_memory=False) -> Tensor",
      tensor_forward,
      "A new tensor with the numbers of `data`: nested sequences, a number, a NumPy array or a tensor.");
  add_native_function(module, "as_tensor(Any data, ScalarType? dtype=None, Device? device=None) -> Tensor",
                      as_tensor_forward,
                      "`data` as a tensor: itself, or over a NumPy array's memory, where that is possible.");
}

}  // namespace fl
