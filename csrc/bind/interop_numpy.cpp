#include <cstring>
#include <optional>
#include <string>

#include "autograd/meta.h"
#include "bind/interop.h"
#include "bind/native_function.h"
#include "bind/storage_object.h"
#include "bind/tensor_object.h"
#include "bind/types.h"
#include "bind/values.h"

namespace fl {
namespace {

// NumPy is never imported here before someone else has done so, or asks for an array.
struct Numpy {
  PyObject *module, *ndarray, *generic, *asarray;
  PyObject* dtypes[kDTypes];
};

const Numpy* load_numpy(PyRef module) {
  auto attribute = [&](const char* name) { return checked(PyObject_GetAttrString(module.get(), name)).release(); };
  auto* np = new Numpy{nullptr, attribute("ndarray"), attribute("generic"), attribute("asarray"), {}};
  PyRef make = checked(PyObject_GetAttrString(module.get(), "dtype"));
  for (int i = 0; i < kDTypes; ++i) {
    auto d = static_cast<DType>(i);
    if (d != DType::BF16 && !is_float8(d))
      np->dtypes[i] = checked(PyObject_CallFunction(make.get(), "s", dtype_name(d))).release();
  }
  np->module = module.release();
  return np;
}

const Numpy* cached_numpy = nullptr;

// Null while nobody has imported NumPy.
const Numpy* loaded_numpy() {
  if (cached_numpy) return cached_numpy;
  PyObject* modules = PyImport_GetModuleDict();
  PyObject* module = PyDict_GetItemString(modules, "numpy");
  if (!module || !PyObject_HasAttrString(module, "asarray")) return nullptr;  // it may be half imported
  return cached_numpy = load_numpy(PyRef::borrow(module));
}
const Numpy& numpy() {
  if (const Numpy* np = loaded_numpy()) return *np;
  return *(cached_numpy = load_numpy(checked(PyImport_ImportModule("numpy"))));
}

std::string type_text(PyObject* array) {
  PyRef dtype = checked(PyObject_GetAttrString(array, "dtype"));
  PyRef type = checked(PyObject_GetAttrString(dtype.get(), "type"));
  PyRef name = checked(PyObject_GetAttrString(type.get(), "__name__"));
  return std::string("numpy.") + PyUnicode_AsUTF8(name.get());
}

[[noreturn]] void unsupported(PyObject* array) {
  raise(PyExc_TypeError,
        "can't convert np.ndarray of type %s. The only supported types are: float64, float32, float16, complex64, "
        "complex128, int64, int32, int16, int8, uint64, uint32, uint16, uint8, and bool.",
        type_text(array).c_str());
}

// The dtype of a buffer's format; native byte order only.
std::optional<DType> dtype_of_format(const char* format, Py_ssize_t itemsize) {
  if (!format) return DType::U8;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  std::string_view f = format;
  auto integer = [itemsize](bool is_unsigned) {
    switch (itemsize) {
      case 1: return is_unsigned ? DType::U8 : DType::I8;
      case 2: return is_unsigned ? DType::U16 : DType::I16;
      case 4: return is_unsigned ? DType::U32 : DType::I32;
      default: return is_unsigned ? DType::U64 : DType::I64;
    }
  };
  if (f == "?") return DType::Bool;
  if (f == "e") return DType::F16;
  if (f == "f") return DType::F32;
  if (f == "d") return DType::F64;
  if (f == "Zf") return DType::C64;
  if (f == "Zd") return DType::C128;
  if (f.size() == 1 && std::strchr("bhilq", f[0])) return integer(false);
  if (f.size() == 1 && std::strchr("BHILQ", f[0])) return integer(true);
  return std::nullopt;
}

const char* format_of(DType d) {
  constexpr const char* formats[kDTypes] = {"?",     "B",     "b",     "h", "i",     "l", "H", "I",  "L", nullptr,
                                            nullptr, nullptr, nullptr, "e", nullptr, "f", "d", "Zf", "Zd"};
  return formats[static_cast<int>(d)];
}

struct HeldBuffer {
  Py_buffer view;
  ~HeldBuffer() { PyBuffer_Release(&view); }
};

void warn_read_only() {
  static bool warned = false;
  if (std::exchange(warned, true)) return;
  check_status(PyErr_WarnEx(
      PyExc_UserWarning,
      "The given NumPy array is not writable, and PyTorch does not support non-writable tensors. This means writing to "
      "this "
      "tensor will result in undefined behavior. You may want to copy the array to protect its data or make it "
      "writable "
      "before converting it to a tensor. This type of warning will be suppressed for the rest of this program.",
      1));
}

// The array's buffer, read-only where it cannot be written. NumPy refuses some dtypes.
std::unique_ptr<HeldBuffer> buffer_of(PyObject* array) {
  auto held = std::make_unique<HeldBuffer>();
  std::memset(&held->view, 0, sizeof held->view);
  if (PyObject_GetBuffer(array, &held->view, PyBUF_FULL_RO) < 0) {
    PyErr_Clear();
    unsupported(array);
  }
  if (held->view.readonly) warn_read_only();
  return held;
}

TensorRef over_buffer(std::unique_ptr<HeldBuffer> held, DType dtype, const char* what) {
  const Py_buffer& b = held->view;
  Dims sizes(b.ndim), strides(b.ndim);
  int64_t extent = 1;
  for (int i = 0; i < b.ndim; ++i) {
    sizes[i] = b.shape[i];
    FL_CHECK(
        b.strides[i] >= 0 || b.shape[i] == 0, ErrorKind::Value,
        "At least one stride in the given numpy array is negative, and tensors with negative strides are not currently "
        "supported. (You can probably work around this by making a copy of your array  with array.copy().) ");
    FL_CHECK(b.strides[i] % b.itemsize == 0, ErrorKind::Value,
             "given %s strides not a multiple of the element byte size. Copy the %s to reallocate the memory.", what,
             what);
    strides[i] = b.shape[i] ? b.strides[i] / b.itemsize : 0;
    extent = sizes[i] == 0 ? 0 : extent + (sizes[i] - 1) * strides[i];
    if (extent == 0) break;
  }
  for (int i = 0; extent == 0 && i < b.ndim; ++i) sizes[i] = b.shape[i];
  if (extent == 0) strides = contiguous_strides(sizes);
  void* data = b.buf;
  bool writable = !b.readonly;
  auto bytes = static_cast<size_t>(extent * b.itemsize);
  HeldBuffer* raw = held.release();
  Ref<Storage> storage = Storage::wrap(
      data, bytes, {},
      [raw] {
        WithGil gil;
        if (gil.alive()) delete raw;
      },
      writable);
  return Tensor::make(std::move(storage), 0, std::move(sizes), std::move(strides), dtype);
}

TensorRef from_ndarray(PyObject* array) {
  std::unique_ptr<HeldBuffer> held = buffer_of(array);
  const char* format = held->view.format;
  FL_CHECK(!format || (*format != '>' && *format != '!'), ErrorKind::Value,
           "given numpy array has byte order different from the native byte order. Conversion between byte orders is "
           "currently not supported.");
  std::optional<DType> dtype = dtype_of_format(format, held->view.itemsize);
  if (!dtype) unsupported(array);
  return over_buffer(std::move(held), *dtype, "numpy array");
}

// ---- functions and methods

void from_numpy_forward(const Call& call, Outputs& outputs) {
  PyRef array = checked(to_python(call[0]));
  if (!is_ndarray(array.get())) raise(PyExc_TypeError, "expected np.ndarray (got %s)", Py_TYPE(array.get())->tp_name);
  outputs.emplace_back(from_ndarray(array.get()));
}

// frombuffer(buffer, *, dtype, count=-1, offset=0)
void frombuffer_forward(const Call& call, Outputs& outputs) {
  PyRef source = checked(to_python(call[0]));
  DType dtype = call[1].dtype();
  int64_t count = call[2].as_int(), offset = call[3].as_int(), item = static_cast<int64_t>(dtype_size(dtype));
  auto held = std::make_unique<HeldBuffer>();
  std::memset(&held->view, 0, sizeof held->view);
  if (PyObject_GetBuffer(source.get(), &held->view, PyBUF_WRITABLE) < 0) {
    PyErr_Clear();
    if (PyObject_GetBuffer(source.get(), &held->view, PyBUF_SIMPLE) < 0) throw PythonError{};
  }
  int64_t length = held->view.len;
  FL_CHECK(length > 0 && count != 0, ErrorKind::Value, "both buffer length (%lld) and count (%lld) must not be 0",
           static_cast<long long>(length), static_cast<long long>(count));
  FL_CHECK(offset >= 0 && offset < length, ErrorKind::Value,
           "offset (%lld bytes) must be non-negative and no greater than buffer length (%lld bytes) - 1",
           static_cast<long long>(offset), static_cast<long long>(length));
  FL_CHECK(count > 0 || (length - offset) % item == 0, ErrorKind::Value,
           "buffer length (%lld bytes) after offset (%lld bytes) must be a multiple of element size (%lld)",
           static_cast<long long>(length), static_cast<long long>(offset), static_cast<long long>(item));
  int64_t n = count < 0 ? (length - offset) / item : count;
  FL_CHECK(
      n <= (length - offset) / item, ErrorKind::Value,
      "requested buffer length (%lld * %lld bytes) after offset (%lld bytes) must not be greater than actual buffer "
      "length (%lld bytes)",
      static_cast<long long>(n), static_cast<long long>(item), static_cast<long long>(offset),
      static_cast<long long>(length));
  char* data = static_cast<char*>(held->view.buf) + offset;
  bool writable = !held->view.readonly;
  if (!writable) warn_read_only();
  HeldBuffer* raw = held.release();
  Ref<Storage> storage = Storage::wrap(
      data, static_cast<size_t>(n * item), {},
      [raw] {
        WithGil gil;
        if (gil.alive()) delete raw;
      },
      writable);
  outputs.emplace_back(Tensor::make(std::move(storage), 0, Dims{n}, Dims{1}, dtype));
}

PyObject* py_numpy(PyObject* self, PyObject* const* args, Py_ssize_t n, PyObject* kwnames) {
  return guarded([&]() -> PyObject* {
    bool force = false;
    if (n) raise(PyExc_TypeError, "numpy() takes 0 positional arguments but %zd %s given", n, n == 1 ? "was" : "were");
    if ((kwnames &&
         (PyTuple_GET_SIZE(kwnames) != 1 || PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "force"))))
      raise(PyExc_TypeError, "numpy() takes only the keyword argument 'force'");
    if (kwnames) force = PyObject_IsTrue(args[0]) > 0;
    Tensor* t = tensor_of(self);
    if (!force) return numpy_from_tensor(t);
    TensorRef detached = alias_of(*t);
    return numpy_from_tensor(detached.get());
  });
}

// __array__(dtype=None, copy=None)
PyObject* py_array(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"dtype", "copy", nullptr};
    PyObject *dtype = Py_None, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:__array__", const_cast<char**>(names), &dtype, &copy))
      throw PythonError{};
    PyRef array = checked(numpy_from_tensor(tensor_of(self)));
    if (dtype == Py_None && copy != Py_True) return array.release();
    PyRef astype =
        checked(PyObject_GetAttrString(array.get(), copy == Py_True && dtype == Py_None ? "copy" : "astype"));
    if (dtype == Py_None) return PyObject_CallNoArgs(astype.get());
    PyRef keywords = checked(PyDict_New());
    check_status(PyDict_SetItemString(keywords.get(), "copy", copy == Py_True ? Py_True : Py_False));
    PyRef positional = checked(PyTuple_Pack(1, dtype));
    PyRef result = checked(PyObject_Call(astype.get(), positional.get(), keywords.get()));
    if (copy == Py_False && result.get() != array.get())
      raise(PyExc_ValueError, "Unable to avoid copy while creating an array as requested.");
    return result.release();
  });
}

PyMethodDef tensor_methods[] = {{"numpy", py_function(py_numpy), METH_FASTCALL | METH_KEYWORDS,
                                 "numpy(*, force=False) -> ndarray over the same memory."},
                                {"__array__", py_function(py_array), METH_VARARGS | METH_KEYWORDS, nullptr},
                                {nullptr, nullptr, 0, nullptr}};

}  // namespace

bool has_attribute(PyObject* o, const char* name) {
  PyRef attribute = PyRef::steal(PyObject_GetAttrString(reinterpret_cast<PyObject*>(Py_TYPE(o)), name));
  if (!attribute) PyErr_Clear();
  return static_cast<bool>(attribute);
}

bool is_ndarray(PyObject* o) {
  const Numpy* np = loaded_numpy();
  return np && PyObject_TypeCheck(o, reinterpret_cast<PyTypeObject*>(np->ndarray));
}

bool is_numpy_scalar(PyObject* o) {
  if (std::strncmp(Py_TYPE(o)->tp_name, "numpy.", 6) != 0) return false;
  const Numpy* np = loaded_numpy();
  return np && PyObject_TypeCheck(o, reinterpret_cast<PyTypeObject*>(np->generic));
}

DType numpy_scalar_dtype(PyObject* o) {
  PyRef dtype = checked(PyObject_GetAttrString(o, "dtype"));
  PyRef name = checked(PyObject_GetAttrString(dtype.get(), "name"));
  for (int i = 0; i < kDTypes; ++i)
    if (PyUnicode_CompareWithASCIIString(name.get(), dtype_name(static_cast<DType>(i))) == 0)
      return static_cast<DType>(i);
  raise(PyExc_RuntimeError, "Could not infer dtype of %s", Py_TYPE(o)->tp_name);
}

TensorRef tensor_from_array(PyObject* o) {
  if (is_ndarray(o)) return from_ndarray(o);
  PyRef array = checked(PyObject_CallOneArg(numpy().asarray, o));
  return from_ndarray(array.get());
}

PyObject* numpy_from_tensor(Tensor* t) {
  FL_CHECK(!(requires_grad(t) && GradMode::enabled) && !requires_grad(t), ErrorKind::Runtime,
           "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead.");
  FL_CHECK(!t->is_meta(), ErrorKind::Type, "can't convert meta device type tensor to numpy. A meta tensor has no data");
  FL_CHECK(
      t->device().type == DeviceType::CPU, ErrorKind::Type,
      "can't convert cuda:%d device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first.",
      t->device().index < 0 ? 0 : t->device().index);
  FL_CHECK(t->dtype != DType::BF16 && !is_float8(t->dtype), ErrorKind::Type,
           "Got unsupported ScalarType %s\tUse tensor.float().numpy()", dtype_title(t->dtype));
  const Numpy& np = numpy();
  PyRef shape = checked(PyTuple_New(t->dim())), strides = checked(PyTuple_New(t->dim()));
  for (int i = 0; i < t->dim(); ++i) {
    PyTuple_SET_ITEM(shape.get(), i, checked(PyLong_FromLongLong(t->sizes[i])).release());
    PyTuple_SET_ITEM(strides.get(), i, checked(PyLong_FromLongLong(t->byte_step(i))).release());
  }
  PyObject* dtype = np.dtypes[static_cast<int>(t->dtype)];
  if (t->numel() == 0) return PyObject_CallFunctionObjArgs(np.ndarray, shape.get(), dtype, nullptr);
  PyRef memory = checked(storage_object(t->storage));
  PyRef offset = checked(PyLong_FromLongLong(t->offset * static_cast<int64_t>(t->itemsize())));
  return PyObject_CallFunctionObjArgs(np.ndarray, shape.get(), dtype, memory.get(), offset.get(), strides.get(),
                                      nullptr);
}

// ---- the buffer protocol

namespace {

struct Layout {
  std::vector<Py_ssize_t> shape, strides;
};

void fill_buffer(PyObject* self, Tensor* t, Py_buffer* view, int flags) {
  auto layout = std::make_unique<Layout>();
  for (int i = 0; i < t->dim(); ++i) {
    layout->shape.push_back(t->sizes[i]);
    layout->strides.push_back(t->byte_step(i));
  }
  static char nothing;
  view->buf = t->numel() ? t->data() : &nothing;
  view->len = t->numel() * static_cast<int64_t>(t->itemsize());
  view->itemsize = static_cast<Py_ssize_t>(t->itemsize());
  view->readonly = !t->storage->writable();
  view->ndim = t->dim();
  view->format = flags & PyBUF_FORMAT ? const_cast<char*>(format_of(t->dtype)) : nullptr;
  view->shape = flags & PyBUF_ND ? layout->shape.data() : nullptr;
  view->strides = (flags & PyBUF_STRIDES) == PyBUF_STRIDES ? layout->strides.data() : nullptr;
  view->suboffsets = nullptr;
  view->internal = layout.release();
  view->obj = Py_NewRef(self);
}

}  // namespace

int get_buffer(PyObject* self, Py_buffer* view, int flags) {
  view->obj = nullptr;
  return guarded(
      [&]() -> int {
        Tensor* t = tensor_of(self);
        if (requires_grad(t))
          raise(PyExc_BufferError, "Can't share the memory of a Tensor that requires grad. Use tensor.detach()");
        if (t->device().type != DeviceType::CPU)
          raise(PyExc_BufferError, "the memory of this tensor is not on the CPU");
        if (!format_of(t->dtype))
          raise(PyExc_BufferError, "%s has no buffer format. Use tensor.float()", dtype_name(t->dtype));
        bool strided = (flags & PyBUF_STRIDES) == PyBUF_STRIDES;
        if ((!strided || flags & (PyBUF_C_CONTIGUOUS & ~PyBUF_STRIDES)) && !t->is_contiguous())
          raise(PyExc_BufferError, "the tensor is not contiguous. Use tensor.contiguous()");
        if ((flags & PyBUF_WRITABLE) && !t->storage->writable())
          raise(PyExc_BufferError, "the tensor's memory is read-only");
        t->storage->lend();
        fill_buffer(self, t, view, flags);
        return 0;
      },
      -1);
}

void release_buffer(PyObject*, Py_buffer* view) { delete static_cast<Layout*>(view->internal); }

void add_numpy(PyObject* module) {
  add_native_function(module, "from_numpy(Any ndarray) -> Tensor", from_numpy_forward,
                      "A tensor over the memory of an ndarray.");
  add_native_function(module, "frombuffer(Any buffer, *, ScalarType dtype, int count=-1, int offset=0) -> Tensor",
                      frombuffer_forward, "A tensor of one dimension over an object's buffer.");
  add_methods(tensor_type, tensor_methods);
}

}  // namespace fl
