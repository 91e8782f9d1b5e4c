#include "bind/tensor_object.h"

#include <vector>

#include "bind/modes.h"

namespace fl {

PyTypeObject* tensor_type = nullptr;

namespace {

PyTypeObject* meta_type = nullptr;
#if defined(__SANITIZE_ADDRESS__)
constexpr int kSpares = 0;  // AddressSanitizer watches freed objects itself
#else
constexpr int kSpares = 64;
#endif
PyObject* spares[kSpares + 1];
int spare_count = 0;

TensorObject* object_of(PyObject* o) { return reinterpret_cast<TensorObject*>(o); }

PyObject* allocate_object(PyTypeObject* type) {
  if (type == tensor_type && spare_count > 0) {
    PyObject* o = spares[--spare_count];
    PyObject_Init(o, type);
    return o;
  }
  PyObject* o = reinterpret_cast<PyObject*>(PyObject_GC_New(TensorObject, type));
  if (!o) throw PythonError{};
  return o;
}

// Subclasses may have slots of their own, which tp_alloc clears.
PyObject* allocate_subclass(PyTypeObject* type) {
  PyObject* o = checked(type->tp_alloc(type, 0)).release();
  PyObject_GC_UnTrack(o);
  return o;
}

PyObject* attach(PyObject* o, TensorRef t) {
  t->py = o;
  object_of(o)->t = t.detach();
  object_of(o)->dict = nullptr;
  object_of(o)->weakrefs = nullptr;
  PyObject_GC_Track(o);
  return o;
}

// Hands the dying object to its tensor where both must live on.
bool resurrect(PyObject* o) {
  TensorObject* self = object_of(o);
  Tensor* t = self->t;
  if (!t || t->ref_count() == 1 || t->owns_py) return false;
  bool precious = self->weakrefs || Py_TYPE(o) != tensor_type || (self->dict && PyDict_GET_SIZE(self->dict) > 0);
  if (!precious) return false;
#ifdef Py_TRACE_REFS
  _Py_NewReference(o);
#else
  Py_SET_REFCNT(o, 1);
#endif
  t->owns_py = true;
  t->release();
  return true;
}

void drop_tensor(TensorObject* self) {
  Tensor* t = std::exchange(self->t, nullptr);
  if (!t) return;
  t->py = nullptr;
  t->release();
}

void tensor_dealloc(PyObject* o) {
  if (resurrect(o)) return;
  PyTypeObject* type = Py_TYPE(o);
  TensorObject* self = object_of(o);
  PyObject_GC_UnTrack(o);
  if (type->tp_finalize) {
    PyObject_GC_Track(o);
    if (PyObject_CallFinalizerFromDealloc(o) < 0) return;
    PyObject_GC_UnTrack(o);
  }
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  if (type != tensor_type) type->tp_clear(o);  // slots that subclasses added
  Py_CLEAR(self->dict);
  drop_tensor(self);
  if (type == tensor_type && spare_count < kSpares) {
    spares[spare_count++] = o;
  } else {
    PyObject_GC_Del(o);
  }
  Py_DECREF(type);
}

struct Visit {
  visitproc visit;
  void* arg;
};

// A tensor held only by its object lets the collector see through to what its history holds.
int tensor_traverse(PyObject* o, visitproc visit, void* arg) {
  TensorObject* self = object_of(o);
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(self->dict);
  if (!self->t || self->t->owns_py || self->t->ref_count() != 1 || !self->t->grad_meta) return 0;
  Visit pair{visit, arg};
  return self->t->grad_meta->visit_python(
      [](void* object, void* p) {
        auto* v = static_cast<Visit*>(p);
        return v->visit(static_cast<PyObject*>(object), v->arg);
      },
      &pair);
}

int tensor_clear(PyObject* o) {
  TensorObject* self = object_of(o);
  Py_CLEAR(self->dict);
  if (self->t && !self->t->owns_py && self->t->ref_count() == 1) {
    // Moved out first: what dies may come back to this tensor.
    std::unique_ptr<GradMetaBase> history = std::move(self->t->grad_meta);
    self->t->requires_grad = false;
  }
  return 0;
}

// A dying tensor that owns its object gives itself back to the object, which then dies in Python's way (finalizers may
// still use the tensor). Any thread may be the last to hold the tensor.
void release_object(Tensor* t) {
  WithGil gil;
  if (!gil.alive()) return;
  auto* o = static_cast<PyObject*>(t->py);
  t->owns_py = false;
  object_of(o)->t = TensorRef::fresh(t).detach();
  Py_DECREF(o);
}

// Classes made in Python get their own tp_dealloc, which knows nothing of resurrection.
int meta_init(PyObject* type, PyObject* args, PyObject* kwargs) {
  if (PyType_Type.tp_init(type, args, kwargs) < 0) return -1;
  reinterpret_cast<PyTypeObject*>(type)->tp_dealloc = tensor_dealloc;
  return 0;
}

void make_meta_type() {
  PyType_Slot slots[] = {{Py_tp_init, reinterpret_cast<void*>(meta_init)}, {Py_tp_base, &PyType_Type}, {0, nullptr}};
  PyType_Spec spec{"flambeau._core._TensorMeta", 0, 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE, slots};
  meta_type = make_type(spec, &PyType_Type);
}

}  // namespace

bool type_intercepts(PyTypeObject* type) {
  if (type == tensor_type) return false;
  static PyObject* name = PyUnicode_InternFromString("__torch_function__");
  PyRef handler = PyRef::steal(PyObject_GetAttr(reinterpret_cast<PyObject*>(type), name));
  if (!handler) {
    PyErr_Clear();
    return false;
  }
  return handler.get() != disabled_torch_function();
}

PyObject* wrap(TensorRef t) {
  if (!t) Py_RETURN_NONE;
  if (auto* o = static_cast<PyObject*>(t->py)) {
    if (!t->owns_py) return Py_NewRef(o);
    t->owns_py = false;
    object_of(o)->t = t.detach();
    return o;
  }
  return attach(allocate_object(tensor_type), std::move(t));
}

PyObject* wrap_as(TensorRef t, PyTypeObject* type) {
  if (type == tensor_type && !t->py) return wrap(std::move(t));
  FL_CHECK(!t->py, ErrorKind::Runtime,
           "Creating a new Tensor subclass %s but the raw Tensor object is already associated to a python object",
           type->tp_name);
  if (type_intercepts(type)) t->flags |= kIntercept;
  return attach(allocate_subclass(type), std::move(t));
}

PyObject* swap_tensors(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) raise(PyExc_TypeError, "swap_tensors() takes 2 tensors");
    tensor_argument(args[0], "swap_tensors", "t1");
    tensor_argument(args[1], "swap_tensors", "t2");
    TensorObject *a = object_of(args[0]), *b = object_of(args[1]);
    std::swap(a->t, b->t);
    std::swap(a->dict, b->dict);
    a->t->py = args[0];
    b->t->py = args[1];
    Py_RETURN_NONE;
  });
}

Tensor* tensor_argument(PyObject* o, const char* function, const char* argument) {
  if (!is_tensor(o))
    raise(PyExc_TypeError, "%s(): argument '%s' must be Tensor, not %s", function, argument, Py_TYPE(o)->tp_name);
  return tensor_of(o);
}

PyTypeObject* make_tensor_type(PyType_Slot* more) {
  make_meta_type();
  static PyMemberDef members[] = {
      {"__dictoffset__", T_PYSSIZET, offsetof(TensorObject, dict), READONLY, nullptr},
      {"__weaklistoffset__", T_PYSSIZET, offsetof(TensorObject, weakrefs), READONLY, nullptr},
      {nullptr, 0, 0, 0, nullptr}};
  static PyGetSetDef own[] = {{"__dict__", PyObject_GenericGetDict, PyObject_GenericSetDict, nullptr, nullptr},
                              {nullptr, nullptr, nullptr, nullptr, nullptr}};
  std::vector<PyType_Slot> slots = {{Py_tp_dealloc, reinterpret_cast<void*>(tensor_dealloc)},
                                    {Py_tp_traverse, reinterpret_cast<void*>(tensor_traverse)},
                                    {Py_tp_clear, reinterpret_cast<void*>(tensor_clear)},
                                    {Py_tp_members, members},
                                    {Py_tp_getset, own}};
  for (; more->slot; ++more) slots.push_back(*more);
  slots.push_back({0, nullptr});
  PyType_Spec spec{"flambeau.Tensor", sizeof(TensorObject), 0,
                   Py_TPFLAGS_DEFAULT | Py_TPFLAGS_BASETYPE | Py_TPFLAGS_HAVE_GC, slots.data()};
  tensor_type = make_type(spec);
  Py_SET_TYPE(reinterpret_cast<PyObject*>(tensor_type), reinterpret_cast<PyTypeObject*>(Py_NewRef(meta_type)));
  tensor_type->tp_name = "Tensor";  // as Python's own messages name it
  py_release = release_object;
  return tensor_type;
}

}  // namespace fl
