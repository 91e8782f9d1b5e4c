#include "bind/generator.h"

#include <cstring>

#include "bind/tensor_object.h"
#include "bind/types.h"

namespace fl {
namespace {

PyTypeObject* generator_type;
PyObject* default_object;

struct GeneratorObject {
  PyObject_HEAD Generator* g;  // a strong reference
};
Generator* generator_of(PyObject* o) { return reinterpret_cast<GeneratorObject*>(o)->g; }

struct ReleaseGenerator {
  void operator()(void* p) const { static_cast<Generator*>(p)->release(); }
};

PyObject* new_object(Ref<Generator> g, PyTypeObject* type = generator_type) {
  PyObject* o = checked(type->tp_alloc(type, 0)).release();
  reinterpret_cast<GeneratorObject*>(o)->g = g.detach();
  return o;
}

PyObject* generator_new(PyTypeObject* type, PyObject* args, PyObject* kwargs) {
  return guarded([&]() -> PyObject* {
    static const char* names[] = {"device", nullptr};
    PyObject* device = nullptr;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:Generator", const_cast<char**>(names), &device))
      throw PythonError{};
    Device d;
    if (device && !to_device(device, d))
      raise(PyExc_TypeError, "Generator(): argument 'device' (position 1) must be torch.device, not %s",
            Py_TYPE(device)->tp_name);
    FL_CHECK(d.type == DeviceType::CPU, ErrorKind::Runtime,
             "Device type %s is not supported for torch.Generator() api.",
             d.type == DeviceType::CUDA ? "cuda" : "meta");
    return new_object(make_ref<Generator>(), type);
  });
}
void generator_dealloc(PyObject* o) {
  PyTypeObject* type = Py_TYPE(o);
  if (Generator* g = generator_of(o)) g->release();
  type->tp_free(o);
  Py_DECREF(type);
}

// Negative seeds count from 2**64, as PyTorch has it.
uint64_t seed_from(PyObject* o) {
  if (!PyLong_Check(o) && !PyIndex_Check(o))
    raise(PyExc_RuntimeError, "manual_seed expected a long, but got %s", Py_TYPE(o)->tp_name);
  PyRef index = checked(PyNumber_Index(o));
  int overflow;
  long long v = PyLong_AsLongLongAndOverflow(index.get(), &overflow);
  if (!overflow) {
    if (v == -1 && PyErr_Occurred()) throw PythonError{};
    return static_cast<uint64_t>(v);
  }
  unsigned long long u = PyLong_AsUnsignedLongLong(index.get());
  if (PyErr_Occurred()) {
    PyErr_Clear();
    raise(PyExc_RuntimeError, "Overflow when unpacking long long");
  }
  return u;
}

PyObject* manual_seed(PyObject* o, PyObject* seed) {
  return guarded([&]() -> PyObject* {
    generator_of(o)->manual_seed(seed_from(seed));
    return Py_NewRef(o);
  });
}
PyObject* seed(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return PyLong_FromUnsignedLongLong(generator_of(o)->seed()); });
}
PyObject* initial_seed(PyObject* o, PyObject*) { return PyLong_FromUnsignedLongLong(generator_of(o)->initial_seed()); }
PyObject* get_state(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    std::vector<uint8_t> bytes = generator_of(o)->state();
    int64_t n = static_cast<int64_t>(bytes.size());
    TensorRef t = Tensor::empty(IntSpan(&n, 1), DType::U8);
    std::memcpy(t->data(), bytes.data(), bytes.size());
    return wrap(std::move(t));
  });
}
PyObject* set_state(PyObject* o, PyObject* state) {
  return guarded([&]() -> PyObject* {
    Tensor* t = is_tensor(state) ? tensor_of(state) : nullptr;
    if (!t || t->dtype != DType::U8 || !t->is_contiguous() || t->is_meta())
      raise(PyExc_TypeError,
            is_tensor(state) ? "RNG state must be a torch.ByteTensor" : "expected a torch.ByteTensor, but got %s",
            Py_TYPE(state)->tp_name);
    generator_of(o)->set_state(t->data<uint8_t>(), static_cast<size_t>(t->numel()));
    return Py_NewRef(o);
  });
}
PyObject* clone_state(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* { return new_object(generator_of(o)->clone()); });
}
PyObject* generator_device(PyObject*, void*) {
  return guarded([]() -> PyObject* { return device_object({}); });
}
PyObject* generator_reduce(PyObject* o, PyObject*) {
  return guarded([&]() -> PyObject* {
    PyRef maker = checked(PyObject_GetAttrString(reinterpret_cast<PyObject*>(generator_type), "_from_state"));
    PyRef state = checked(get_state(o, nullptr));
    return Py_BuildValue("O(O)", maker.get(), state.get());
  });
}
PyObject* from_state(PyObject*, PyObject* state) {
  return guarded([&]() -> PyObject* {
    PyRef o = checked(new_object(make_ref<Generator>()));
    checked(set_state(o.get(), state));
    return o.release();
  });
}

PyMethodDef methods[] = {
    {"manual_seed", manual_seed, METH_O, "Starts the stream that belongs to a seed; returns the generator."},
    {"seed", seed, METH_NOARGS, "Takes a seed from the system and returns it."},
    {"initial_seed", initial_seed, METH_NOARGS, "The seed that the stream began with."},
    {"get_state", get_state, METH_NOARGS, "The state as a tensor of bytes."},
    {"set_state", set_state, METH_O, "Goes on where get_state() was called."},
    {"clone_state", clone_state, METH_NOARGS, "Another generator in the same state."},
    {"__reduce__", generator_reduce, METH_NOARGS, nullptr},
    {"_from_state", from_state, METH_O | METH_STATIC, nullptr},
    {nullptr, nullptr, 0, nullptr}};
PyGetSetDef properties[] = {{"device", generator_device, nullptr, "Where it makes numbers: cpu.", nullptr},
                            {nullptr, nullptr, nullptr, nullptr, nullptr}};

}  // namespace

bool generator_from_python(PyObject* o, Value& v) {
  if (!PyObject_TypeCheck(o, generator_type)) return false;
  Generator* g = generator_of(o);
  g->retain();
  v = Value::object(std::shared_ptr<void>(g, ReleaseGenerator{}));
  return true;
}

PyObject* object_to_python(const Value& v) {
  if (!std::get_deleter<ReleaseGenerator>(v.shared_object())) return Py_NewRef(static_cast<PyObject*>(v.object()));
  auto* g = static_cast<Generator*>(v.object());
  return g == &default_generator() ? Py_NewRef(default_object) : new_object(Ref<Generator>(g));
}

void add_generator(PyObject* module) {
  PyType_Slot slots[] = {{Py_tp_new, reinterpret_cast<void*>(generator_new)},
                         {Py_tp_dealloc, reinterpret_cast<void*>(generator_dealloc)},
                         {Py_tp_methods, methods},
                         {Py_tp_getset, properties},
                         {Py_tp_doc, const_cast<char*>("Generator(device='cpu'): a stream of random numbers.")},
                         {0, nullptr}};
  PyType_Spec spec{"flambeau.Generator", sizeof(GeneratorObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  generator_type = make_type(spec);
  add_object(module, "Generator", reinterpret_cast<PyObject*>(generator_type));
  default_object = new_object(Ref<Generator>(&default_generator()));
  add_object(module, "default_generator", default_object);
}

}  // namespace fl
