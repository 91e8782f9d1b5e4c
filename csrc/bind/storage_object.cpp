#include "bind/storage_object.h"

#include <cstring>
#include <unordered_map>

#include "bind/tensor_object.h"
#include "bind/types.h"

namespace fl {
namespace {

PyTypeObject* storage_type;

struct StorageObject {
  PyObject_HEAD Storage* storage;  // a strong reference
};
Storage* self_of(PyObject* o) { return reinterpret_cast<StorageObject*>(o)->storage; }

// The living object of a storage, so that one storage is seen as one object while it is held (pickle relies on it).
std::unordered_map<Storage*, PyObject*>& living() {
  static auto* objects = new std::unordered_map<Storage*, PyObject*>;
  return *objects;
}

PyObject* new_object(Ref<Storage> storage, PyTypeObject* type) {
  PyObject* o = checked(type->tp_alloc(type, 0)).release();
  Storage* s = storage.detach();
  reinterpret_cast<StorageObject*>(o)->storage = s;
  living()[s] = o;
  return o;
}

size_t byte_count(PyObject* o) {
  Py_ssize_t n = PyNumber_AsSsize_t(o, PyExc_OverflowError);
  if (n == -1 && PyErr_Occurred()) throw PythonError{};
  FL_CHECK(n >= 0, ErrorKind::Runtime, "Storage size must not be negative, got %zd", n);
  return static_cast<size_t>(n);
}

PyObject* storage_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"size", "device", nullptr};
    PyObject *size = nullptr, *device = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|OO:UntypedStorage", const_cast<char**>(names), &size, &device))
      throw PythonError{};
    Device d;
    if (device != Py_None && !to_device(device, d))
      raise(PyExc_TypeError, "UntypedStorage(): device must be torch.device");
    if (!size || PyIndex_Check(size)) return new_object(Storage::create(size ? byte_count(size) : 0, d), type);
    PyRef bytes = checked(PyBytes_FromObject(size));
    auto n = static_cast<size_t>(PyBytes_GET_SIZE(bytes.get()));
    Ref<Storage> storage = Storage::create(n, d);
    if (n && storage->data()) std::memcpy(storage->data(), PyBytes_AS_STRING(bytes.get()), n);
    return new_object(std::move(storage), type);
  });
}
void storage_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (Storage* s = self_of(o)) {
    living().erase(s);
    s->release();
  }
  type->tp_free(o);
  Py_DECREF(type);
}

PyObject* storage_repr(PyObject* o) {
  return guarded([&]() -> PyObject* {
    PyRef device = checked(device_object(self_of(o)->device()));
    return PyUnicode_FromFormat("[torch.storage.UntypedStorage(device=%S) of size %zu]", device.get(),
                                self_of(o)->bytes());
  });
}
PyObject* storage_nbytes(PyObject* o, PyObject*) { return PyLong_FromSize_t(self_of(o)->bytes()); }
Py_ssize_t storage_length(PyObject* o) { return static_cast<Py_ssize_t>(self_of(o)->bytes()); }
PyObject* storage_data_ptr(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return PyLong_FromVoidPtr(self_of(o)->data()); });
}
PyObject* storage_device(PyObject* o, void*) {
  return guarded([&]() -> PyObject* { return device_object(self_of(o)->device()); });
}
PyObject* storage_identity(PyObject* o, void*) { return PyLong_FromVoidPtr(self_of(o)); }
PyObject* storage_resizable(PyObject* o, PyObject*) { return PyBool_FromLong(self_of(o)->resizable()); }
PyObject* storage_resize(PyObject* o, PyObject* size) {
  return guarded([&]() -> PyObject* {
    Storage* s = self_of(o);
    const size_t bytes = byte_count(size);
    FL_CHECK(
        bytes >= s->bytes() || s->ref_count() == 1, ErrorKind::Runtime,
        "a storage that tensors look at cannot become smaller [in resize_: %zu bytes to %zu]. Clone what is needed.",
        s->bytes(), bytes);
    s->resize(bytes);
    return Py_NewRef(o);
  });
}

char* bytes_of(Storage* s) {
  FL_CHECK(s->device().type == DeviceType::CPU, ErrorKind::Runtime, "the bytes of this storage are not on the CPU");
  return static_cast<char*>(s->data());
}
PyObject* storage_clone(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Storage* from = self_of(o);
    Ref<Storage> to = Storage::create(from->bytes(), from->device());
    if (from->bytes() && from->device().type == DeviceType::CPU) std::memcpy(to->data(), bytes_of(from), from->bytes());
    return storage_object(std::move(to));
  });
}
PyObject* storage_copy(PyObject* o, PyObject* source) {
  return guarded([&]() -> PyObject* {
    Storage* from = storage_of(source);
    if (!from) raise(PyExc_TypeError, "copy_(): expected an UntypedStorage, not %s", Py_TYPE(source)->tp_name);
    FL_CHECK(from->bytes() == self_of(o)->bytes(), ErrorKind::Runtime,
             "size does not match, self was %zu bytes but src was %zu bytes", self_of(o)->bytes(), from->bytes());
    FL_CHECK(self_of(o)->writable(), ErrorKind::Runtime, "this storage is over memory that is read-only");
    if (from->bytes()) std::memmove(bytes_of(self_of(o)), bytes_of(from), from->bytes());
    return Py_NewRef(o);
  });
}
PyObject* storage_tolist(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyRef view = checked(PyMemoryView_FromObject(o));
    return PySequence_List(view.get());
  });
}
PyObject* storage_item(PyObject* o, PyObject* key) {
  return guarded([&]() -> PyObject* {
    PyRef view = checked(PyMemoryView_FromObject(o));
    return PyObject_GetItem(view.get(), key);
  });
}
int storage_set_item(PyObject* o, PyObject* key, PyObject* value) {
  return guarded(
      [&]() -> int {
        PyRef view = checked(PyMemoryView_FromObject(o));
        return value ? PyObject_SetItem(view.get(), key, value) : PyObject_DelItem(view.get(), key);
      },
      -1);
}

int storage_buffer(PyObject* o, Py_buffer* view, int flags) {
  return guarded(
      [&]() -> int {
        Storage* s = self_of(o);
        if (s->device().type != DeviceType::CPU)
          raise(PyExc_BufferError, "the bytes of this storage are not on the CPU");
        static char nothing;
        void* data = s->bytes() ? s->data() : &nothing;
        s->lend();
        return PyBuffer_FillInfo(view, o, data, static_cast<Py_ssize_t>(s->bytes()), !s->writable(), flags);
      },
      -1);
}

PyObject* storage_compare(PyObject* a, PyObject* b, int op) {
  Storage* other = storage_of(b);
  if (!other || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  return PyBool_FromLong((self_of(a) == other) == (op == Py_EQ));
}
Py_hash_t storage_hash(PyObject* o) { return _Py_HashPointer(self_of(o)); }

PyMethodDef methods[] = {{"nbytes", storage_nbytes, METH_NOARGS, "Bytes that it holds."},
                         {"size", storage_nbytes, METH_NOARGS, "Bytes that it holds."},
                         {"data_ptr", storage_data_ptr, METH_NOARGS, "The address of the first byte."},
                         {"resizable", storage_resizable, METH_NOARGS, "Whether resize_ works: memory of its own."},
                         {"resize_", storage_resize, METH_O, "Changes the number of bytes; what fits is kept."},
                         {"clone", storage_clone, METH_NOARGS, "A copy."},
                         {"copy_", storage_copy, METH_O, "Takes the bytes of another storage of the same size."},
                         {"tolist", storage_tolist, METH_NOARGS, "The bytes as integers."},
                         {nullptr, nullptr, 0, nullptr}};
PyGetSetDef properties[] = {{"device", storage_device, nullptr, "Where the bytes are.", nullptr},
                            {"_cdata", storage_identity, nullptr, "Equal for two handles of one storage.", nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

PyObject* storage_object(Ref<Storage> storage) {
  auto found = living().find(storage.get());
  return found != living().end() ? Py_NewRef(found->second) : new_object(std::move(storage), storage_type);
}

Storage* storage_of(PyObject* o) { return PyObject_TypeCheck(o, storage_type) ? self_of(o) : nullptr; }

namespace {

Dims dims_of(PyObject* sequence) {
  PyRef items = checked(PySequence_Tuple(sequence));
  Dims dims(static_cast<int>(PyTuple_GET_SIZE(items.get())));
  for (int i = 0; i < dims.size(); ++i) {
    dims[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(items.get(), i));
    if (dims[i] == -1 && PyErr_Occurred()) throw PythonError{};
  }
  return dims;
}

PyObject* tensor_over(PyObject*, PyObject* args) {
  return guarded([&]() -> PyObject* {
    PyObject *source, *type, *sizes, *strides;
    long long offset;
    if (!PyArg_ParseTuple(args, "OOLOO:tensor_over", &source, &type, &offset, &sizes, &strides)) throw PythonError{};
    Storage* storage = storage_of(source);
    DType dtype;
    if (!storage || !to_dtype(type, dtype)) raise(PyExc_TypeError, "tensor_over(): a storage and a dtype are needed");
    return wrap(Tensor::make(Ref<Storage>(storage), offset, dims_of(sizes), dims_of(strides), dtype));
  });
}

PyMethodDef functions[] = {{"tensor_over", tensor_over, METH_VARARGS,
                            "tensor_over(storage, dtype, offset, size, stride): a tensor without history."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_storage(PyObject* module) {
  check_status(PyModule_AddFunctions(module, functions));
  PyType_Slot slots[] = {
      {Py_tp_new, reinterpret_cast<void*>(storage_new)},
      {Py_tp_dealloc, reinterpret_cast<void*>(storage_dealloc)},
      {Py_tp_repr, reinterpret_cast<void*>(storage_repr)},
      {Py_tp_richcompare, reinterpret_cast<void*>(storage_compare)},
      {Py_tp_hash, reinterpret_cast<void*>(storage_hash)},
      {Py_mp_length, reinterpret_cast<void*>(storage_length)},
      {Py_mp_subscript, reinterpret_cast<void*>(storage_item)},
      {Py_mp_ass_subscript, reinterpret_cast<void*>(storage_set_item)},
      {Py_bf_getbuffer, reinterpret_cast<void*>(storage_buffer)},
      {Py_tp_methods, methods},
      {Py_tp_getset, properties},
      {Py_tp_doc, const_cast<char*>("UntypedStorage(size, device='cpu'): bytes that tensors share.")},
      {0, nullptr}};
  PyType_Spec spec{"flambeau.UntypedStorage", sizeof(StorageObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE,
                   slots};
  storage_type = make_type(spec);
  add_object(module, "UntypedStorage", reinterpret_cast<PyObject*>(storage_type));
}

}  // namespace fl
