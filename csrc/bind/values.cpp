#include "bind/values.h"

#include <cstring>

#include "autograd/meta.h"
#include "bind/generator.h"
#include "bind/interop.h"
#include "bind/tensor_object.h"
#include "bind/types.h"
#include "runtime/promotion.h"

namespace fl {

constinit thread_local bool tensors_as_numbers = false;

namespace {

PyObject* tuple_of_ints(const std::vector<int64_t>& v) {
  PyRef t = checked(PyTuple_New(static_cast<Py_ssize_t>(v.size())));
  for (size_t i = 0; i < v.size(); ++i)
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), checked(PyLong_FromLongLong(v[i])).release());
  return t.release();
}

PyObject* tuple_of_floats(const std::vector<double>& v) {
  PyRef t = checked(PyTuple_New(static_cast<Py_ssize_t>(v.size())));
  for (size_t i = 0; i < v.size(); ++i)
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), checked(PyFloat_FromDouble(v[i])).release());
  return t.release();
}

PyObject* tuple_of_tensors(const std::vector<TensorRef>& v) {
  PyRef t = checked(PyTuple_New(static_cast<Py_ssize_t>(v.size())));
  for (size_t i = 0; i < v.size(); ++i) PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), wrap(v[i]));
  return t.release();
}

int64_t to_int64(PyObject* o) {
  PyRef index = checked(PyNumber_Index(o));
  int overflow;
  int64_t v = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  if (overflow) raise(PyExc_OverflowError, "int too big to convert");
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}

bool numpy_number(PyObject* o, Value& v) {
  const char* name = Py_TYPE(o)->tp_name + 6;
  if (std::strncmp(name, "bool", 4) == 0) {
    int truth = PyObject_IsTrue(o);
    check_status(truth);
    v = Value(truth != 0);
  } else if (PyIndex_Check(o)) {
    v = Value(to_int64(o));
  } else if (std::strncmp(name, "float", 5) == 0 || std::strncmp(name, "longdouble", 10) == 0) {
    double d = PyFloat_AsDouble(o);
    if (d == -1 && PyErr_Occurred()) throw PythonError{};
    v = Value(d);
  } else if (std::strncmp(name, "complex", 7) == 0) {
    Py_complex c = PyComplex_AsCComplex(o);
    if (PyErr_Occurred()) throw PythonError{};
    v = Value(std::complex<double>(c.real, c.imag));
  } else {
    return false;
  }
  return true;
}

// A tensor of no dimensions stands for its element, unless that would lose its gradient. One that stands for something
// else (an example of a batch, a value with a tangent) does so only where no overload takes it as a tensor.
bool number_from_tensor(PyObject* o, Value& v) {
  Tensor* t = tensor_of(o);
  if (t->dim() != 0 || requires_grad(t) || t->is_meta()) return false;
  if (t->flags & kIntercept) {
    if (!tensors_as_numbers) return false;
    PyRef item = checked(PyObject_CallMethod(o, "item", nullptr));
    return number_from_python(item.get(), v);
  }
  v = item_value(*t);
  return true;
}

bool scalar_from_python(PyObject* o, Value& v) {
  if (is_tensor(o)) return number_from_tensor(o, v);
  return number_from_python(o, v);
}

bool int_from_python(PyObject* o, Value& v) {
  if (PyLong_Check(o)) {
    if (PyBool_Check(o)) return false;
    v = Value(to_int64(o));
    return true;
  }
  if (is_tensor(o)) return is_integer(tensor_of(o)->dtype) && number_from_tensor(o, v);
  if (!PyIndex_Check(o) || is_ndarray(o)) return false;
  v = Value(to_int64(o));
  return true;
}

bool float_from_python(PyObject* o, Value& v) {
  if (PyFloat_Check(o)) {
    v = Value(PyFloat_AS_DOUBLE(o));
    return true;
  }
  if (!scalar_from_python(o, v) || v.tag() == Value::Tag::Complex) return false;
  v = Value(v.as_double());
  return true;
}

bool bool_from_python(PyObject* o, Value& v) {
  if (PyBool_Check(o)) {
    v = Value(o == Py_True);
    return true;
  }
  if (PyLong_Check(o) || PyFloat_Check(o)) return false;
  return scalar_from_python(o, v) && v.tag() == Value::Tag::Bool;
}

bool is_list(PyObject* o) { return PyTuple_Check(o) || PyList_Check(o); }

bool ints_from_python(PyObject* o, const Param& param, Value& v) {
  Value element;
  if (!is_list(o)) {
    if (param.list_size == 0 || !int_from_python(o, element)) return false;
    v = Value(std::vector<int64_t>(static_cast<size_t>(param.list_size), element.as_int()));
    return true;
  }
  std::vector<int64_t> ints;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  ints.reserve(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!int_from_python(PySequence_Fast_GET_ITEM(o, i), element)) return false;
    ints.push_back(element.as_int());
  }
  v = Value(std::move(ints));
  return true;
}

bool floats_from_python(PyObject* o, const Param& param, Value& v) {
  Value element;
  if (!is_list(o)) {
    if (param.list_size == 0 || !float_from_python(o, element)) return false;
    v = Value(std::vector<double>(static_cast<size_t>(param.list_size), element.as_double()));
    return true;
  }
  std::vector<double> floats;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  for (Py_ssize_t i = 0; i < n; ++i) {
    if (!float_from_python(PySequence_Fast_GET_ITEM(o, i), element)) return false;
    floats.push_back(element.as_double());
  }
  v = Value(std::move(floats));
  return true;
}

bool operand_from_number(PyObject* o, const Param& param, Value& v) { return param.number && number_from_python(o, v); }

bool tensors_from_python(PyObject* o, const Param& param, Value& v) {
  if (!is_list(o)) return false;
  std::vector<TensorRef> tensors;
  Py_ssize_t n = PySequence_Fast_GET_SIZE(o);
  tensors.reserve(static_cast<size_t>(n));
  for (Py_ssize_t i = 0; i < n; ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(o, i);
    Value number;
    if (is_tensor(item)) {
      tensors.emplace_back(tensor_of(item));
    } else if (item == Py_None && param.elements_optional) {
      tensors.emplace_back();
    } else if (operand_from_number(item, param, number)) {
      tensors.push_back(wrapped_number_tensor(number));
    } else {
      return false;
    }
  }
  v = Value(std::move(tensors));
  return true;
}

// Tensors are seen as such (they may want to see the call); everything else stays as it is.
bool any_from_python(PyObject* o, Value& v) {
  v = is_tensor(o) ? Value(TensorRef(tensor_of(o))) : object_value(o);
  return true;
}

}  // namespace

Value object_value(PyObject* o) {
  return Value::object(std::shared_ptr<void>(Py_NewRef(o), [](void* p) {
    WithGil gil;
    if (gil.alive()) Py_DECREF(static_cast<PyObject*>(p));
  }));
}

bool number_from_python(PyObject* o, Value& v) {
  if (PyFloat_Check(o))
    v = Value(PyFloat_AS_DOUBLE(o));
  else if (PyBool_Check(o))
    v = Value(o == Py_True);
  else if (PyLong_Check(o))
    v = Value(to_int64(o));
  else if (PyComplex_Check(o))
    v = Value(std::complex<double>(PyComplex_RealAsDouble(o), PyComplex_ImagAsDouble(o)));
  else if (is_numpy_scalar(o))
    return numpy_number(o, v);
  else if (PyIndex_Check(o) && !is_tensor(o) && !is_ndarray(o))
    v = Value(to_int64(o));
  else
    return false;
  return true;
}

bool from_python(PyObject* o, const Param& param, Value& v) {
  if (o == Py_None) {
    v = Value();
    return param.optional || param.type == ParamType::Any;
  }
  switch (param.type) {
    case ParamType::Tensor:
      if (is_tensor(o))
        v = Value(TensorRef(tensor_of(o)));
      else
        return operand_from_number(o, param, v);
      return true;
    case ParamType::Tensors: return tensors_from_python(o, param, v);
    case ParamType::Scalar: return scalar_from_python(o, v);
    case ParamType::Int: return int_from_python(o, v);
    case ParamType::Float: return float_from_python(o, v);
    case ParamType::Bool: return bool_from_python(o, v);
    case ParamType::Ints: return ints_from_python(o, param, v);
    case ParamType::Floats: return floats_from_python(o, param, v);
    case ParamType::Any: return any_from_python(o, v);
    case ParamType::Generator: return generator_from_python(o, v);
    case ParamType::Layout: v = Value::layout(); return is_strided_layout(o);
    case ParamType::Str: {
      if (!PyUnicode_Check(o)) return false;
      const char* s = PyUnicode_AsUTF8(o);
      if (!s) throw PythonError{};
      v = Value(std::string(s));
      return true;
    }
    case ParamType::DType: {
      DType d;
      if (!to_dtype(o, d)) return false;
      v = Value(d);
      return true;
    }
    case ParamType::Device: {
      Device d;
      if (!to_device(o, d)) return false;
      v = Value(d);
      return true;
    }
    case ParamType::MemoryFormat: {
      MemoryFormat f;
      if (!to_memory_format(o, f)) return false;
      v = Value(f);
      return true;
    }
  }
  return false;
}

PyObject* to_python(const Value& v) {
  switch (v.tag()) {
    case Value::Tag::None: Py_RETURN_NONE;
    case Value::Tag::Tensor: return wrap(v.tensor_ref());
    case Value::Tag::Bool: return PyBool_FromLong(v.as_bool());
    case Value::Tag::Int: return PyLong_FromLongLong(v.as_int());
    case Value::Tag::Float: return PyFloat_FromDouble(v.as_double());
    case Value::Tag::Complex: return PyComplex_FromDoubles(v.as_complex().real(), v.as_complex().imag());
    case Value::Tag::DType: return Py_NewRef(dtype_object(v.dtype()));
    case Value::Tag::Device: return device_object(v.device());
    case Value::Tag::Layout: return Py_NewRef(strided_layout());
    case Value::Tag::MemoryFormat: return Py_NewRef(memory_format_object(v.memory_format()));
    case Value::Tag::Str: return PyUnicode_FromStringAndSize(v.str().data(), static_cast<Py_ssize_t>(v.str().size()));
    case Value::Tag::Ints: return tuple_of_ints(v.ints());
    case Value::Tag::Floats: return tuple_of_floats(v.floats());
    case Value::Tag::Tensors: return tuple_of_tensors(v.tensors());
    case Value::Tag::Object: return object_to_python(v);
  }
  Py_RETURN_NONE;
}

Value result_from_python(PyObject* o, const Return& expected) {
  Param param;
  param.type = expected.type;
  param.optional = true;
  Value v;
  if (!from_python(o, param, v))
    raise(PyExc_TypeError, "an operator's Python body returned '%s' where its signature says otherwise",
          Py_TYPE(o)->tp_name);
  return v;
}

Value item_value(const Tensor& t) {
  FL_CHECK(t.numel() == 1, ErrorKind::Runtime, "a Tensor with %lld elements cannot be converted to Scalar",
           static_cast<long long>(t.numel()));
  FL_CHECK(!t.is_meta(), ErrorKind::Runtime, "Tensor.item() cannot be called on meta tensors");
  return read_number(t.data(), t.dtype);
}

PyObject* element_object(const char* address, DType dtype) {
  if (dtype == DType::U64) {
    uint64_t u;
    std::memcpy(&u, address, sizeof u);
    return PyLong_FromUnsignedLongLong(u);
  }
  return to_python(read_number(address, dtype));
}

PyObject* item_object(const Tensor& t) {
  if (t.dtype != DType::U64 || t.numel() != 1 || t.is_meta()) return to_python(item_value(t));
  return element_object(t.data(), t.dtype);
}

TensorRef wrapped_number_tensor(const Value& number) {
  DType dtype = DType::F64;
  if (number.tag() == Value::Tag::Int)
    dtype = DType::I64;
  else if (number.tag() == Value::Tag::Bool)
    dtype = DType::Bool;
  else if (number.tag() == Value::Tag::Complex)
    dtype = DType::C128;
  TensorRef t = Tensor::empty({}, dtype);
  write_number(number, dtype, t->data());
  t->wrapped_number = true;
  return t;
}

}  // namespace fl
