// Size, a tuple of integers, and device.
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "bind/types.h"
#include "runtime/factories.h"

namespace fl {

PyTypeObject *device_type, *size_type;

namespace {

// ---- Size

PyObject* as_size(PyObject* tuple) {
  if (!tuple || Py_TYPE(tuple) != &PyTuple_Type) return tuple;
  Py_ssize_t n = PyTuple_GET_SIZE(tuple);
  PyObject* size = size_type->tp_alloc(size_type, n);
  for (Py_ssize_t i = 0; size && i < n; ++i) PyTuple_SET_ITEM(size, i, Py_NewRef(PyTuple_GET_ITEM(tuple, i)));
  Py_DECREF(tuple);
  return size;
}

PyObject* size_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    PyRef size = checked(PyTuple_Type.tp_new(type, args, kwargs));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(size.get()); ++i) {
      PyObject* item = PyTuple_GET_ITEM(size.get(), i);
      if (PyLong_Check(item)) continue;
      PyRef number = PyRef::steal(PyNumber_Index(item));
      if (!number) {
        PyErr_Clear();
        raise(PyExc_TypeError, "torch.Size() takes an iterable of 'int' (item %zd is '%s')", i, Py_TYPE(item)->tp_name);
      }
      PyTuple_SET_ITEM(size.get(), i, number.release());
      Py_DECREF(item);
    }
    return size.release();
  });
}

PyObject* size_repr(PyObject* o) {
  return guarded([&]() -> PyObject* {
    std::string text = "torch.Size([";
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); ++i) {
      PyRef item = checked(PyObject_Repr(PyTuple_GET_ITEM(o, i)));
      text += (i ? ", " : "") + std::string(PyUnicode_AsUTF8(item.get()));
    }
    return PyUnicode_FromString((text + "])").c_str());
  });
}

PyObject* size_numel(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyRef product = checked(PyLong_FromLong(1));
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(o); ++i)
      product = checked(PyNumber_Multiply(product.get(), PyTuple_GET_ITEM(o, i)));
    return product.release();
  });
}

PyObject* size_concat(PyObject* a, PyObject* b) {
  if (!PyTuple_Check(b)) {
    PyErr_Format(PyExc_TypeError, "can only concatenate tuple (not %s) to torch.Size", Py_TYPE(b)->tp_name);
    return nullptr;
  }
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
// (1, 2) + Size: Size first asks here, as a number, so that the result is a Size either way.
PyObject* size_add(PyObject* a, PyObject* b) {
  if (!PyTuple_Check(a) || !PyTuple_Check(b)) Py_RETURN_NOTIMPLEMENTED;
  return as_size(PyTuple_Type.tp_as_sequence->sq_concat(a, b));
}
PyObject* size_repeat(PyObject* a, Py_ssize_t n) { return as_size(PyTuple_Type.tp_as_sequence->sq_repeat(a, n)); }
PyObject* size_subscript(PyObject* a, PyObject* key) {
  return as_size(PyTuple_Type.tp_as_mapping->mp_subscript(a, key));
}
PyObject* size_reduce(PyObject* o, PyObject*) {
  PyObject* tuple = PyTuple_GetSlice(o, 0, PyTuple_GET_SIZE(o));
  if (!tuple) return nullptr;
  return Py_BuildValue("O(N)", size_type, tuple);
}

PyMethodDef size_methods[] = {{"numel", size_numel, METH_NOARGS, "The product of the sizes."},
                              {"__reduce__", size_reduce, METH_NOARGS, nullptr},
                              {nullptr, nullptr, 0, nullptr}};

// ---- device

struct DeviceObject {
  PyObject_HEAD Device device;
  const char* other;  // a type that exists as a name only: mps, xpu, ...
};
DeviceObject* device_of(PyObject* o) { return reinterpret_cast<DeviceObject*>(o); }

constexpr const char* kOtherDevices[] = {"ipu",    "xpu", "mkldnn", "opengl", "opencl",       "ideep",
                                         "hip",    "ve",  "fpga",   "maia",   "xla",          "lazy",
                                         "vulkan", "mps", "hpu",    "mtia",   "privateuseone"};

const char* type_name(const DeviceObject& d) {
  if (d.other) return d.other;
  return d.device.type == DeviceType::CPU ? "cpu" : d.device.type == DeviceType::CUDA ? "cuda" : "meta";
}

bool set_type(std::string_view name, DeviceObject& d) {
  d.other = nullptr;
  if (name == "cpu")
    d.device.type = DeviceType::CPU;
  else if (name == "cuda")
    d.device.type = DeviceType::CUDA;
  else if (name == "meta")
    d.device.type = DeviceType::Meta;
  else {
    for (const char* other : kOtherDevices)
      if (name == other) d.other = other;
    return d.other != nullptr;
  }
  return true;
}

void parse_device(std::string_view text, DeviceObject& d) {
  size_t colon = text.find(':');
  std::string whole(text);
  FL_CHECK(!text.empty(), ErrorKind::Runtime, "Device string must not be empty");
  FL_CHECK(
      set_type(text.substr(0, colon), d), ErrorKind::Runtime,
      "Expected one of cpu, cuda, ipu, xpu, mkldnn, opengl, opencl, ideep, hip, ve, fpga, maia, xla, lazy, vulkan, "
      "mps, meta, hpu, mtia, privateuseone device type at start of device string: %s",
      std::string(text.substr(0, colon)).c_str());
  d.device.index = -1;
  if (colon == std::string_view::npos) return;
  std::string_view digits = text.substr(colon + 1);
  int index = -1;
  auto [end, status] = std::from_chars(digits.data(), digits.data() + digits.size(), index);
  bool bad = status != std::errc() || end != digits.data() + digits.size() || index < 0 || index > 127 ||
             (digits.size() > 1 && digits[0] == '0');
  FL_CHECK(!bad, ErrorKind::Runtime, "Invalid device string: '%s'", whole.c_str());
  d.device.index = static_cast<int8_t>(index);
}

void fill_device(PyObject* o, DeviceObject& d) {
  if (Py_TYPE(o) == device_type) {
    d.device = device_of(o)->device;
    d.other = device_of(o)->other;
  } else if (PyUnicode_Check(o)) {
    Py_ssize_t n;
    const char* s = PyUnicode_AsUTF8AndSize(o, &n);
    if (!s) throw PythonError{};
    parse_device({s, static_cast<size_t>(n)}, d);
  } else {
    long index = PyLong_AsLong(o);
    if (index == -1 && PyErr_Occurred()) throw PythonError{};
    FL_CHECK(index >= 0 && index < 128, ErrorKind::Runtime, "Device index must be between 0 and 127, got %ld", index);
    d.device = {DeviceType::CUDA, static_cast<int8_t>(index)};
    d.other = nullptr;
  }
}

PyObject* new_device(Device device, const char* other) {
  PyObject* o = checked(device_type->tp_alloc(device_type, 0)).release();
  device_of(o)->device = device;
  device_of(o)->other = other;
  return o;
}

PyObject* device_new(PyTypeObject*, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"type", "index", nullptr};
    PyObject *type = nullptr, *index = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O:device", const_cast<char**>(names), &type, &index))
      throw PythonError{};
    if (!PyUnicode_Check(type) && !PyLong_Check(type) && Py_TYPE(type) != device_type)
      raise(PyExc_TypeError, "device(): argument 'type' (position 1) must be str, not %s", Py_TYPE(type)->tp_name);
    DeviceObject d{};
    fill_device(type, d);
    if (index != Py_None) {
      long i = PyLong_AsLong(index);
      if (i == -1 && PyErr_Occurred()) throw PythonError{};
      FL_CHECK(d.device.index < 0, ErrorKind::Runtime,
               "type (string) must not include an index because index was passed explicitly: %s",
               PyUnicode_Check(type) ? PyUnicode_AsUTF8(type) : "");
      FL_CHECK(i >= 0 && i < 128, ErrorKind::Runtime, "Device index must not be negative");
      d.device.index = static_cast<int8_t>(i);
    }
    return new_device(d.device, d.other);
  });
}

PyObject* device_repr(PyObject* o) {
  const DeviceObject& d = *device_of(o);
  if (d.device.index < 0) return PyUnicode_FromFormat("device(type='%s')", type_name(d));
  return PyUnicode_FromFormat("device(type='%s', index=%d)", type_name(d), d.device.index);
}
PyObject* device_str(PyObject* o) {
  const DeviceObject& d = *device_of(o);
  if (d.device.index < 0) return PyUnicode_FromString(type_name(d));
  return PyUnicode_FromFormat("%s:%d", type_name(d), d.device.index);
}
PyObject* device_compare(PyObject* a, PyObject* b, int op) {
  if (Py_TYPE(b) != device_type || (op != Py_EQ && op != Py_NE)) Py_RETURN_NOTIMPLEMENTED;
  const DeviceObject &x = *device_of(a), &y = *device_of(b);
  bool same = x.device == y.device && x.other == y.other;
  return PyBool_FromLong(same == (op == Py_EQ));
}
Py_hash_t device_hash(PyObject* o) {
  const DeviceObject& d = *device_of(o);
  auto kind =
      static_cast<Py_hash_t>(d.other ? reinterpret_cast<uintptr_t>(d.other) : static_cast<uintptr_t>(d.device.type));
  Py_hash_t h = kind * 1000003 + d.device.index;
  return h == -1 ? -2 : h;
}
PyObject* device_type_name(PyObject* o, void*) { return PyUnicode_FromString(type_name(*device_of(o))); }
PyObject* device_index(PyObject* o, void*) {
  if (device_of(o)->device.index < 0) Py_RETURN_NONE;
  return PyLong_FromLong(device_of(o)->device.index);
}
PyObject* device_reduce(PyObject* o, PyObject*) {
  const DeviceObject& d = *device_of(o);
  if (d.device.index < 0) return Py_BuildValue("O(s)", device_type, type_name(d));
  return Py_BuildValue("O(si)", device_type, type_name(d), static_cast<int>(d.device.index));
}

Device target_device(PyObject* o) {
  Device device;
  if (o != Py_None && !to_device(o, device))
    raise(PyExc_TypeError, "device(): argument 'type' (position 1) must be str, not %s", Py_TYPE(o)->tp_name);
  return device;
}

// `with device:` says where new tensors live. The device that each block replaced waits for its end.
thread_local std::vector<Device> replaced_devices;

PyObject* device_enter(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    Device device = target_device(o);
    replaced_devices.push_back(default_device());
    set_default_device(device);
    return Py_NewRef(o);
  });
}
PyObject* device_exit(PyObject*, PyObject*) {
  return guarded([&]() -> PyObject* {
    if (replaced_devices.empty()) raise(PyExc_RuntimeError, "device.__exit__: no block of `with device:` is open");
    set_default_device(replaced_devices.back());
    replaced_devices.pop_back();
    Py_RETURN_NONE;
  });
}

PyMethodDef device_methods[] = {{"__reduce__", device_reduce, METH_NOARGS, nullptr},
                                {"__enter__", device_enter, METH_NOARGS, nullptr},
                                {"__exit__", device_exit, METH_VARARGS, nullptr},
                                {nullptr, nullptr, 0, nullptr}};
PyGetSetDef device_properties[] = {{"type", device_type_name, nullptr, "cpu, cuda or meta.", nullptr},
                                   {"index", device_index, nullptr, "The number of the device, or None.", nullptr},
                                   {nullptr, nullptr, nullptr, nullptr, nullptr}};

PyObject* py_get_default_device(PyObject*, PyObject*) {
  return guarded([]() -> PyObject* { return device_object(default_device()); });
}
PyObject* py_set_default_device(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    set_default_device(target_device(o));
    Py_RETURN_NONE;
  });
}
PyMethodDef functions[] = {{"get_default_device", py_get_default_device, METH_NOARGS,
                            "get_default_device() -> device: where this thread's new tensors live."},
                           {"set_default_device", py_set_default_device, METH_O,
                            "set_default_device(device): where this thread's new tensors live; None: on the CPU."},
                           {nullptr, nullptr, 0, nullptr}};

}  // namespace

PyObject* device_object(Device d) {
  static PyObject* cpu = new_device({}, nullptr);
  return d == Device{} ? Py_NewRef(cpu) : new_device(d, nullptr);
}

PyObject* size_object(IntSpan v) {
  PyObject* size = checked(size_type->tp_alloc(size_type, static_cast<Py_ssize_t>(v.size()))).release();
  for (size_t i = 0; i < v.size(); ++i)
    PyTuple_SET_ITEM(size, static_cast<Py_ssize_t>(i), checked(PyLong_FromLongLong(v[i])).release());
  return size;
}

bool to_device(PyObject* o, Device& d) {
  if (Py_TYPE(o) != device_type && !PyUnicode_Check(o) && (!PyLong_Check(o) || PyBool_Check(o))) return false;
  DeviceObject found{};
  fill_device(o, found);
  FL_CHECK(!found.other, ErrorKind::Runtime,
           "PyTorch is not linked with support for %s devices [Flambeau computes on the CPU]. Use device='cpu'",
           found.other);
  FL_CHECK(found.device.type != DeviceType::CPU || found.device.index <= 0, ErrorKind::Runtime,
           "CPU device index must be -1 or zero, got %d", found.device.index);
  d = found.device;
  if (d.type == DeviceType::CPU) d.index = -1;
  return true;
}

void add_size_and_device(PyObject* module) {
  PyType_Slot size_slots[] = {{Py_tp_new, reinterpret_cast<void*>(size_new)},
                              {Py_tp_repr, reinterpret_cast<void*>(size_repr)},
                              {Py_tp_methods, size_methods},
                              {Py_sq_concat, reinterpret_cast<void*>(size_concat)},
                              {Py_sq_repeat, reinterpret_cast<void*>(size_repeat)},
                              {Py_nb_add, reinterpret_cast<void*>(size_add)},
                              {Py_mp_subscript, reinterpret_cast<void*>(size_subscript)},
                              {Py_tp_doc, const_cast<char*>("The sizes of a tensor: a tuple of integers.")},
                              {0, nullptr}};
  PyType_Spec size_spec{"flambeau.Size", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, size_slots};
  size_type = make_type(size_spec, &PyTuple_Type);
  add_object(module, "Size", reinterpret_cast<PyObject*>(size_type));

  PyType_Slot device_slots[] = {{Py_tp_new, reinterpret_cast<void*>(device_new)},
                                {Py_tp_repr, reinterpret_cast<void*>(device_repr)},
                                {Py_tp_str, reinterpret_cast<void*>(device_str)},
                                {Py_tp_richcompare, reinterpret_cast<void*>(device_compare)},
                                {Py_tp_hash, reinterpret_cast<void*>(device_hash)},
                                {Py_tp_methods, device_methods},
                                {Py_tp_getset, device_properties},
                                {Py_tp_doc, const_cast<char*>("device(type, index=None): where a tensor lives.")},
                                {0, nullptr}};
  PyType_Spec device_spec{"flambeau.device", sizeof(DeviceObject), 0, Py_TPFLAGS_DEFAULT, device_slots};
  device_type = make_type(device_spec);
  add_object(module, "device", reinterpret_cast<PyObject*>(device_type));
  check_status(PyModule_AddFunctions(module, functions));
}

}  // namespace fl
