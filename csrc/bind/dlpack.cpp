// DLPack: tensors shared with other libraries without a copy, in both directions. The structures are those of the
// standard's C header, versions 0 and 1.
#include <memory>
#include <optional>

#include "autograd/meta.h"
#include "bind/interop.h"
#include "bind/native_function.h"
#include "bind/tensor_object.h"
#include "bind/types.h"
#include "bind/values.h"
#include "runtime/copy.h"

namespace fl {
namespace {

struct DLDevice {
  int32_t type, id;
};
struct DLDataType {
  uint8_t code, bits;
  uint16_t lanes;
};
struct DLTensor {
  void* data;
  DLDevice device;
  int32_t ndim;
  DLDataType dtype;
  int64_t *shape, *strides;
  uint64_t byte_offset;
};
struct DLManagedTensor {
  DLTensor tensor;
  void* context;
  void (*deleter)(DLManagedTensor*);
};
struct DLManagedTensorVersioned {
  struct {
    uint32_t major, minor;
  } version;
  void* context;
  void (*deleter)(DLManagedTensorVersioned*);
  uint64_t flags;
  DLTensor tensor;
};
constexpr int32_t kCpu = 1, kCudaHost = 3, kRocmHost = 11;
constexpr uint64_t kReadOnly = 1, kCopied = 2;
enum Code : uint8_t { kInt = 0, kUInt = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6 };
constexpr uint8_t kFloat8[] = {10, 12, 11, 13};  // of the types of 8 bits, in their order

DLDataType dtype_to(DType d) {
  auto bits = static_cast<uint8_t>(8 * dtype_size(d));
  Code code = is_float8(d)       ? static_cast<Code>(kFloat8[static_cast<int>(d) - static_cast<int>(DType::F8E4M3FN)])
              : is_bool(d)       ? kBool
              : d == DType::BF16 ? kBfloat
              : is_complex(d)    ? kComplex
              : is_float(d)      ? kFloat
              : is_signed(d)     ? kInt
                                 : kUInt;
  return {code, bits, 1};
}

std::optional<DType> dtype_from(DLDataType t) {
  if (t.lanes != 1) return std::nullopt;
  for (int i = 0; i < kDTypes; ++i) {
    DLDataType known = dtype_to(static_cast<DType>(i));
    if (known.code == t.code && known.bits == t.bits) return static_cast<DType>(i);
  }
  return std::nullopt;
}

// ---- out

struct Exported {
  TensorRef tensor;
  Dims shape, strides;
};

template <class M>
void delete_exported(M* m) {
  delete static_cast<Exported*>(m->context);
  delete m;
}

template <class M>
M* export_tensor(TensorRef t) {
  auto exported = std::make_unique<Exported>(Exported{t, t->sizes, t->strides});
  auto m = std::make_unique<M>();
  for (int i = 0; i < t->dim(); ++i)
    if (exported->shape[i] < 2) exported->strides[i] = 1;  // what some importers insist on
  m->tensor = {t->numel() ? t->data() : nullptr, {kCpu, 0}, t->dim(), dtype_to(t->dtype), exported->shape.data(),
               exported->strides.data(),         0};
  m->deleter = delete_exported<M>;
  m->context = exported.release();
  return m.release();
}

template <class M>
void free_unused(PyObject* capsule, const char* name) {
  if (!PyCapsule_IsValid(capsule, name)) return;  // an importer has taken it and renamed the capsule
  auto* m = static_cast<M*>(PyCapsule_GetPointer(capsule, name));
  if (m->deleter) m->deleter(m);
}

// The newest major version that the importer understands, 0 where it says nothing.
long wanted_version(PyObject* max_version) {
  if (!max_version || max_version == Py_None) return 0;
  PyRef major = checked(PySequence_GetItem(max_version, 0));
  long v = PyLong_AsLong(major.get());
  if (v == -1 && PyErr_Occurred()) throw PythonError{};
  return v;
}

// __dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None)
PyObject* to_dlpack(PyObject* self, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"stream", "max_version", "dl_device", "copy", nullptr};
    PyObject *stream = nullptr, *max_version = nullptr, *device = nullptr, *copy = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|$OOOO:__dlpack__", const_cast<char**>(names), &stream,
                                     &max_version, &device, &copy))
      throw PythonError{};
    TensorRef t(tensor_of(self));
    if (requires_grad(t.get()))
      raise(PyExc_BufferError, "Can't export tensors that require gradient, use tensor.detach()");
    if (t->device().type != DeviceType::CPU) raise(PyExc_BufferError, "only tensors on the CPU can be exported");
    if (copy == Py_True) t = clone_tensor(t.get());
    if (wanted_version(max_version) >= 1) {
      auto* m = export_tensor<DLManagedTensorVersioned>(t);
      m->version = {1, 0};
      m->flags = (t->storage->writable() ? 0 : kReadOnly) | (copy == Py_True ? kCopied : 0);
      return PyCapsule_New(m, "dltensor_versioned",
                           [](PyObject* c) { free_unused<DLManagedTensorVersioned>(c, "dltensor_versioned"); });
    }
    if (!t->storage->writable()) raise(PyExc_BufferError, "read-only memory needs DLPack 1.0 or later");
    return PyCapsule_New(export_tensor<DLManagedTensor>(t), "dltensor",
                         [](PyObject* c) { free_unused<DLManagedTensor>(c, "dltensor"); });
  });
}

PyObject* dlpack_device(PyObject* self, PyObject*) {
  Tensor* t = tensor_of(self);
  if (t->device().type == DeviceType::CPU) return Py_BuildValue("(ii)", kCpu, 0);
  PyErr_SetString(PyExc_ValueError, "Unknown device type for Dlpack. Only tensors on the CPU can be exported");
  return nullptr;
}

// ---- in

template <class M>
struct Delete {
  void operator()(M* m) const {
    if (m->deleter) m->deleter(m);
  }
};

// Takes the managed tensor over, whatever happens.
template <class M>
TensorRef import_tensor(M* m, bool writable) {
  std::unique_ptr<M, Delete<M>> owner(m);
  const DLTensor& d = m->tensor;
  FL_CHECK(d.device.type == kCpu || d.device.type == kCudaHost || d.device.type == kRocmHost, ErrorKind::Runtime,
           "from_dlpack(): device type %d is not available here", d.device.type);
  std::optional<DType> dtype = dtype_from(d.dtype);
  FL_CHECK(dtype && d.ndim >= 0, ErrorKind::Runtime,
           "from_dlpack(): elements of type code %d with %d bits are not supported", d.dtype.code, d.dtype.bits);
  Dims sizes(IntSpan(d.shape, static_cast<size_t>(d.ndim)));
  Dims strides = d.strides ? Dims(IntSpan(d.strides, static_cast<size_t>(d.ndim))) : contiguous_strides(sizes);
  int64_t extent = checked_numel(sizes) ? 1 : 0;
  for (int i = 0; extent && i < d.ndim; ++i) extent += (sizes[i] - 1) * strides[i];
  if (!extent) strides = contiguous_strides(sizes);
  void* data = static_cast<char*>(d.data) + d.byte_offset;
  auto bytes = static_cast<size_t>(extent) * dtype_size(*dtype);
  for (int64_t stride : strides)
    FL_CHECK(stride >= 0, ErrorKind::Value, "from_dlpack(): negative strides are not supported");
  auto release = [m = owner.release()] {
    WithGil gil;
    if (gil.alive()) Delete<M>()(m);
  };
  Ref<Storage> storage = Storage::wrap(data, bytes, {}, release, writable);
  return Tensor::make(std::move(storage), 0, std::move(sizes), std::move(strides), *dtype);
}

TensorRef from_capsule(PyObject* capsule) {
  if (PyCapsule_IsValid(capsule, "dltensor_versioned")) {
    auto* m = static_cast<DLManagedTensorVersioned*>(PyCapsule_GetPointer(capsule, "dltensor_versioned"));
    FL_CHECK(m->version.major == 1, ErrorKind::Runtime, "from_dlpack(): version %u of DLPack is not known",
             m->version.major);
    check_status(PyCapsule_SetName(capsule, "used_dltensor_versioned"));
    return import_tensor(m, !(m->flags & kReadOnly));
  }
  if (!PyCapsule_IsValid(capsule, "dltensor"))
    raise(PyExc_RuntimeError,
          "from_dlpack received an invalid capsule. Note that DLTensor capsules can be consumed only once, "
          "so you might have already constructed a tensor from it once.");
  auto* m = static_cast<DLManagedTensor*>(PyCapsule_GetPointer(capsule, "dltensor"));
  check_status(PyCapsule_SetName(capsule, "used_dltensor"));
  return import_tensor(m, true);
}

PyRef ask_for_capsule(PyObject* o) {
  PyRef method = checked(PyObject_GetAttrString(o, "__dlpack__"));
  PyRef nothing = checked(PyTuple_New(0));
  PyRef keywords = checked(Py_BuildValue("{s:(ii)}", "max_version", 1, 0));
  PyRef capsule = PyRef::steal(PyObject_Call(method.get(), nothing.get(), keywords.get()));
  if (capsule) return capsule;
  if (!PyErr_ExceptionMatches(PyExc_TypeError)) throw PythonError{};
  PyErr_Clear();  // an exporter from before version 1
  return checked(PyObject_CallNoArgs(method.get()));
}

void from_dlpack_forward(const Call& call, Outputs& outputs) {
  PyRef o = checked(to_python(call[0]));
  if (PyCapsule_CheckExact(o.get())) {
    outputs.emplace_back(from_capsule(o.get()));
    return;
  }
  if (!has_attribute(o.get(), "__dlpack__"))
    raise(PyExc_TypeError, "from_dlpack(): expected an object with __dlpack__, not %s", Py_TYPE(o.get())->tp_name);
  outputs.emplace_back(from_capsule(ask_for_capsule(o.get()).get()));
}

PyMethodDef methods[] = {
    {"__dlpack__", py_function(to_dlpack), METH_VARARGS | METH_KEYWORDS, "A capsule over the same memory."},
    {"__dlpack_device__", dlpack_device, METH_NOARGS, "(device type, index) in DLPack's numbers."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_dlpack(PyObject* module) {
  add_native_function(module, "from_dlpack(Any ext_tensor, *, Any device=None, bool? copy=None) -> Tensor",
                      from_dlpack_forward,
                      "A tensor over the memory of an object of another library, or of a DLPack capsule.");
  add_methods(tensor_type, methods);
}

}  // namespace fl
