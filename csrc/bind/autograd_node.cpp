#include "bind/autograd_node.h"

#include <structmember.h>

#include <cstring>
#include <string>
#include <unordered_map>

#include "autograd/accumulate.h"
#include "autograd/meta.h"
#include "bind/tensor_object.h"

namespace fl {

PyTypeObject* node_type = nullptr;

namespace {

NodeObject* as_node(PyObject* o) { return reinterpret_cast<NodeObject*>(o); }

const char* type_name(PyObject* o) {
  const char* name = Py_TYPE(o)->tp_name;
  const char* dot = std::strrchr(name, '.');
  return dot ? dot + 1 : name;
}

int node_traverse(PyObject* o, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(o));
  Py_VISIT(as_node(o)->dict);
  Node* node = as_node(o)->node;
  if (!node || !as_node(o)->owns || node->ref_count() != 1 || !node->extras) return 0;
  struct Context {
    visitproc visit;
    void* arg;
  } context{visit, arg};
  auto call = [](void* object, void* c) {
    auto* with = static_cast<Context*>(c);
    return with->visit(static_cast<PyObject*>(object), with->arg);
  };
  for (const auto& h : node->extras->tensor_hooks)
    if (int stop = h.hook->ref_count() == 1 ? h.hook->visit_python(call, &context) : 0) return stop;
  for (const Ref<GradHook>& h : {node->extras->pre_hooks, node->extras->post_hooks})
    if (int stop = h && h->ref_count() == 2 ? h->visit_python(call, &context) : 0) return stop;
  return 0;
}

int node_clear(PyObject* o) {
  Py_CLEAR(as_node(o)->dict);
  return 0;
}

void node_dealloc(PyObject* o) {
  PyObject_GC_UnTrack(o);
  NodeObject* self = as_node(o);
  if (self->weakrefs) PyObject_ClearWeakRefs(o);
  Py_CLEAR(self->dict);
  if (Node* node = std::exchange(self->node, nullptr)) {
    if (node->extras && node->extras->py == o) node->extras->py = nullptr;
    if (self->owns) node->release();
  }
  PyTypeObject* type = Py_TYPE(o);
  type->tp_free(o);
  Py_DECREF(type);
}

PyObject* node_repr(PyObject* o) { return PyUnicode_FromFormat("<%s object at %p>", type_name(o), o); }

PyObject* node_name(PyObject* o, PyObject*) {
  return guarded([&] { return PyUnicode_FromString(node_of(o).name().c_str()); });
}

PyObject* get_next_functions(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    Node& node = node_of(o);
    PyRef all = checked(PyTuple_New(static_cast<Py_ssize_t>(node.next.size())));
    for (size_t i = 0; i < node.next.size(); ++i) {
      PyRef next = checked(wrap_node(node.next[i].node));
      PyObject* pair = checked(Py_BuildValue("(OI)", next.get(), node.next[i].input)).release();
      PyTuple_SET_ITEM(all.get(), static_cast<Py_ssize_t>(i), pair);
    }
    return all.release();
  });
}

PyObject* get_metadata(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    std::shared_ptr<void>& metadata = node_of(o).extra().metadata;
    if (!metadata) {
      metadata = std::shared_ptr<void>(checked(PyDict_New()).release(), [](void* p) {
        WithGil gil;
        if (gil.alive()) Py_DECREF(static_cast<PyObject*>(p));
      });
    }
    return Py_NewRef(static_cast<PyObject*>(metadata.get()));
  });
}

PyObject* get_variable(PyObject* o, void*) {
  return guarded([&]() -> PyObject* {
    auto* accumulate = dynamic_cast<AccumulateGrad*>(&node_of(o));
    if (!accumulate) raise(PyExc_AttributeError, "'%s' object has no attribute 'variable'", type_name(o));
    return wrap(TensorRef(accumulate->variable()));
  });
}

PyObject* node_sequence(PyObject* o, PyObject*) {
  return guarded([&] { return PyLong_FromUnsignedLongLong(node_of(o).sequence); });
}

PyObject* hooks_of(PyObject* o, Ref<GradHook> NodeExtras::* which, Ref<GradHook> (*make)()) {
  return guarded([&]() -> PyObject* {
    Ref<GradHook>& hooks = node_of(o).extra().*which;
    if (!hooks) hooks = make();
    return Py_NewRef(static_cast<HookDict*>(hooks.get())->dict());
  });
}

PyObject* get_pre_hooks(PyObject* o, void*) {
  return hooks_of(o, &NodeExtras::pre_hooks, make_hooks<HookKind::Before>);
}
PyObject* get_post_hooks(PyObject* o, void*) {
  return hooks_of(o, &NodeExtras::post_hooks, make_hooks<HookKind::After>);
}

PyMethodDef node_methods[] = {{"name", node_name, METH_NOARGS, "The name of the operation: 'MulBackward0'."},
                              {"_sequence_nr", node_sequence, METH_NOARGS, "Later nodes have higher numbers."},
                              {nullptr, nullptr, 0, nullptr}};
PyGetSetDef node_properties[] = {
    {"next_functions", get_next_functions, nullptr, "Pairs of a node (or None) and the number of its input.", nullptr},
    {"metadata", get_metadata, nullptr, "A dict for whatever users keep with the node.", nullptr},
    {"variable", get_variable, nullptr, "Of an AccumulateGrad: the leaf.", nullptr},
    {"_pre_hooks", get_pre_hooks, nullptr, nullptr, nullptr},
    {"_post_hooks", get_post_hooks, nullptr, nullptr, nullptr},
    {nullptr, nullptr, nullptr, nullptr, nullptr}};
PyMemberDef node_members[] = {{"__dictoffset__", T_PYSSIZET, offsetof(NodeObject, dict), READONLY, nullptr},
                              {"__weaklistoffset__", T_PYSSIZET, offsetof(NodeObject, weakrefs), READONLY, nullptr},
                              {nullptr, 0, 0, 0, nullptr}};
PyType_Slot node_slots[] = {{Py_tp_traverse, reinterpret_cast<void*>(node_traverse)},
                            {Py_tp_clear, reinterpret_cast<void*>(node_clear)},
                            {Py_tp_dealloc, reinterpret_cast<void*>(node_dealloc)},
                            {Py_tp_repr, reinterpret_cast<void*>(node_repr)},
                            {Py_tp_methods, node_methods},
                            {Py_tp_getset, node_properties},
                            {Py_tp_members, node_members},
                            {Py_tp_new, reinterpret_cast<void*>(PyType_GenericNew)},
                            {Py_tp_doc, const_cast<char*>("A step of the graph of gradients.")},
                            {0, nullptr}};
PyType_Spec node_spec = {"flambeau._core.Node", sizeof(NodeObject), 0,
                         Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE, node_slots};

// One type a name, so that `type(fn).__name__` says what it is.
PyTypeObject* type_named(const std::string& name) {
  static auto* types = new std::unordered_map<std::string, PyTypeObject*>;
  PyTypeObject*& type = (*types)[name];
  if (!type) {
    PyRef made = checked(PyObject_CallFunction(reinterpret_cast<PyObject*>(&PyType_Type), "s(O){s:s}", name.c_str(),
                                               node_type, "__module__", "flambeau.autograd"));
    type = reinterpret_cast<PyTypeObject*>(made.release());
  }
  return type;
}

PyRef tuple_of(const Grads& grads) {
  PyRef t = checked(PyTuple_New(static_cast<Py_ssize_t>(grads.size())));
  for (size_t i = 0; i < grads.size(); ++i) {
    PyObject* g = grads[i] ? checked(wrap(grads[i])).release() : Py_NewRef(Py_None);
    PyTuple_SET_ITEM(t.get(), static_cast<Py_ssize_t>(i), g);
  }
  return t;
}

TensorRef replaced(PyObject* hook, PyObject* result, const TensorRef& before) {
  if (!is_tensor(result)) raise(PyExc_TypeError, "expected Tensor, but hook returned '%s'", Py_TYPE(result)->tp_name);
  TensorRef g(tensor_of(result));
  if (before && !(g->sizes == before->sizes)) {
    PyRef name = PyRef::steal(PyObject_GetAttrString(hook, "__name__"));
    if (!name) PyErr_Clear();
    raise(PyExc_RuntimeError, "hook '%S' has changed the size of value", name ? name.get() : hook);
  }
  return g;
}

}  // namespace

PyObject* gradients_to_python(const Grads& grads) { return tuple_of(grads).release(); }

HookDict::~HookDict() {
  WithGil gil;
  if (!gil.alive()) dict_.release();
  dict_ = PyRef();
}

void HookDict::run(Grads& grads, const Grads* came_in) {
  PyRef hooks = checked(PyMapping_Values(dict_.get()));  // hooks may remove themselves
  for (Py_ssize_t i = 0; i < PyList_GET_SIZE(hooks.get()); ++i) {
    PyObject* hook = PyList_GET_ITEM(hooks.get(), i);
    if (kind_ == HookKind::Tensor || kind_ == HookKind::Accumulated) {
      run_on_tensor(hook, grads[0]);
    } else {
      run_on_all(hook, grads, came_in);
    }
  }
}

void HookDict::run_on_tensor(PyObject* hook, TensorRef& g) {
  PyRef argument = checked(wrap(g));
  PyRef result = checked(PyObject_CallOneArg(hook, argument.get()));
  if (result.get() == Py_None) return;
  if (kind_ == HookKind::Accumulated)
    raise(PyExc_RuntimeError, "Tensor post accumulate grad hooks should return None.");
  g = replaced(hook, result.get(), g);
}

void HookDict::run_on_all(PyObject* hook, Grads& grads, const Grads* came_in) {
  PyRef arguments = tuple_of(grads);
  PyRef seen = came_in ? tuple_of(*came_in) : PyRef();
  PyRef result = checked(PyObject_CallFunctionObjArgs(hook, arguments.get(), seen.get(), nullptr));
  if (result.get() == Py_None) return;
  PyRef items = PyTuple_Check(result.get()) ? std::move(result) : checked(PyTuple_Pack(1, result.get()));
  if (PyTuple_GET_SIZE(items.get()) != static_cast<Py_ssize_t>(grads.size()))
    raise(PyExc_RuntimeError, "hook '%R' has returned an incorrect number of values (got %zd, but expected %zu)", hook,
          PyTuple_GET_SIZE(items.get()), grads.size());
  for (size_t i = 0; i < grads.size(); ++i) {
    PyObject* item = PyTuple_GET_ITEM(items.get(), static_cast<Py_ssize_t>(i));
    grads[i] = item == Py_None ? TensorRef() : replaced(hook, item, grads[i]);
  }
}

Node& node_of(PyObject* o) {
  if (!PyObject_TypeCheck(o, node_type)) raise(PyExc_TypeError, "expected a Node, not '%s'", Py_TYPE(o)->tp_name);
  Node* node = as_node(o)->node;
  if (!node)
    raise(PyExc_RuntimeError, "the graph of this %s is gone: the tensors that were made by it were freed",
          type_name(o));
  return *node;
}

PyObject* wrap_node(const Ref<Node>& node) {
  if (!node) Py_RETURN_NONE;
  NodeExtras& extras = node->extra();
  if (extras.py) return Py_NewRef(static_cast<PyObject*>(extras.py));
  PyTypeObject* type = type_named(node->name());
  PyObject* o = type->tp_alloc(type, 0);
  if (!o) throw PythonError{};
  as_node(o)->node = Ref<Node>(node).detach();
  as_node(o)->owns = true;
  extras.py = o;
  return o;
}

void add_nodes(PyObject* module) {
  node_type = make_type(node_spec);
  add_object(module, "Node", reinterpret_cast<PyObject*>(node_type));
}

}  // namespace fl
