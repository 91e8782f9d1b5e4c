// backward, modes, hooks and anomaly detection for Python.
#include <unordered_set>
#include <vector>

#include "autograd/accumulate.h"
#include "autograd/meta.h"
#include "autograd/saved.h"
#include "bind/autograd_node.h"
#include "bind/tensor_object.h"

namespace fl {
namespace {

std::vector<TensorRef> tensor_list(PyObject* sequence, const char* what) {
  std::vector<TensorRef> list;
  if (sequence == Py_None) return list;
  PyRef items = checked(PySequence_Fast(sequence, what));
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    if (item == Py_None) {
      list.emplace_back();
    } else if (is_tensor(item)) {
      list.emplace_back(tensor_of(item));
    } else {
      raise(PyExc_TypeError, "%s: element %zd is a '%s'", what, i, Py_TYPE(item)->tp_name);
    }
  }
  return list;
}

// run_backward(tensors, grads, retain_graph, create_graph, inputs, allow_unused, accumulate) -> gradients of inputs
PyObject* py_run_backward(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 7) raise(PyExc_TypeError, "run_backward() takes 7 arguments");
    std::vector<TensorRef> roots = tensor_list(args[0], "tensors must be Tensors");
    std::vector<TensorRef> given = tensor_list(args[1], "gradients must be Tensors or None");
    std::vector<TensorRef> inputs = tensor_list(args[4], "inputs must be Tensors");
    Grads seeds;
    for (TensorRef& g : given) seeds.push_back(std::move(g));
    Grads grads = run_backward(roots, std::move(seeds), PyObject_IsTrue(args[2]) == 1, PyObject_IsTrue(args[3]) == 1,
                               inputs, PyObject_IsTrue(args[5]) == 1, PyObject_IsTrue(args[6]) == 1);
    return gradients_to_python(grads);
  });
}

// has_other_leaves(tensors, leaves) -> whether the history of one of the tensors ends in a leaf that is not among these
// and still requires a gradient
PyObject* has_other_leaves(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) raise(PyExc_TypeError, "has_other_leaves() takes 2 arguments");
    std::unordered_set<const Node*> seen;
    for (const TensorRef& t : tensor_list(args[1], "leaves must be Tensors"))
      if (t && requires_grad(t.get())) seen.insert(gradient_edge(t.get()).node.get());
    std::vector<const Node*> waiting;
    auto visit = [&](const Node* node) {
      if (node && seen.insert(node).second) waiting.push_back(node);
    };
    std::vector<TensorRef> tensors = tensor_list(args[0], "tensors must be Tensors");
    for (const TensorRef& t : tensors)
      if (t && requires_grad(t.get())) visit(gradient_edge(t.get()).node.get());
    while (!waiting.empty()) {
      const Node* node = waiting.back();
      waiting.pop_back();
      auto* end = dynamic_cast<const AccumulateGrad*>(node);
      if (end && end->variable()->requires_grad) Py_RETURN_TRUE;
      for (const Edge& edge : node->next) visit(edge.node.get());
    }
    Py_RETURN_FALSE;
  });
}

PyObject* is_grad_enabled(PyObject*, PyObject*) { return PyBool_FromLong(GradMode::enabled); }
PyObject* set_grad_mode(PyObject*, PyObject* on) {
  int truth = PyObject_IsTrue(on);
  if (truth < 0) return nullptr;
  bool before = std::exchange(GradMode::enabled, truth == 1);
  return PyBool_FromLong(before);
}
PyObject* is_inference_mode_enabled(PyObject*, PyObject*) { return PyBool_FromLong(GradMode::inference); }
PyObject* set_inference_mode(PyObject*, PyObject* on) {
  int truth = PyObject_IsTrue(on);
  if (truth < 0) return nullptr;
  return PyBool_FromLong(std::exchange(GradMode::inference, truth == 1));
}

Tensor* tensor_or_raise(PyObject* o, const char* function) { return tensor_argument(o, function, "tensor"); }

PyObject* tensor_hook_dict(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    Ref<GradHook> hooks = tensor_hooks(tensor_or_raise(o, "register_hook"), make_hooks<HookKind::Tensor>);
    return Py_NewRef(static_cast<HookDict*>(hooks.get())->dict());
  });
}

PyObject* accumulated_hook_dict(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    Tensor* t = tensor_or_raise(o, "register_post_accumulate_grad_hook");
    if (!requires_grad(t))
      raise(PyExc_RuntimeError, "cannot register a hook on a tensor that doesn't require gradient");
    if (!is_leaf(t)) raise(PyExc_RuntimeError, "post accumulate grad hooks cannot be registered on non-leaf tensors");
    GradMeta& meta = grad_meta(t);
    if (!meta.post_hooks) meta.post_hooks = make_hooks<HookKind::Accumulated>();
    return Py_NewRef(static_cast<HookDict*>(meta.post_hooks.get())->dict());
  });
}

PyObject* accumulator_of(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    Edge e = gradient_edge(tensor_or_raise(o, "get_gradient_edge"));
    PyRef node = checked(wrap_node(e.node));
    return Py_BuildValue("(OI)", node.get(), e.input);
  });
}

PyObject* increment_version(PyObject*, PyObject* o) {
  return guarded([&]() -> PyObject* {
    tensor_or_raise(o, "increment_version")->bump_version();
    Py_RETURN_NONE;
  });
}

// --- saved-tensor hooks

struct SavedHooks {
  PyRef pack, unpack;
};
thread_local std::vector<SavedHooks> saved_hooks;

struct Packed {
  PyRef object, unpack;
};

std::shared_ptr<void> pack(Tensor* t) {
  if (saved_hooks.empty()) return nullptr;
  SavedHooks hooks = saved_hooks.back();
  GradGuard off(false);
  PyRef argument = checked(wrap(TensorRef(t)));
  PyRef object = checked(PyObject_CallOneArg(hooks.pack.get(), argument.get()));
  return std::shared_ptr<void>(new Packed{std::move(object), std::move(hooks.unpack)}, [](void* p) {
    WithGil gil;
    if (gil.alive()) delete static_cast<Packed*>(p);
  });
}

TensorRef unpack(void* p) {
  auto* packed = static_cast<Packed*>(p);
  PyRef got = checked(PyObject_CallOneArg(packed->unpack.get(), packed->object.get()));
  if (!is_tensor(got.get()))
    raise(PyExc_TypeError, "Output of saved tensor unpack_hook expected to be a Tensor but got result of type %s",
          Py_TYPE(got.get())->tp_name);
  return TensorRef(tensor_of(got.get()));
}

PyObject* push_saved_tensors_hooks(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) raise(PyExc_TypeError, "push_saved_tensors_hooks(pack, unpack)");
    saved_hooks.push_back({PyRef::borrow(args[0]), PyRef::borrow(args[1])});
    pack_saved = pack;
    unpack_saved = unpack;
    Py_RETURN_NONE;
  });
}
PyObject* pop_saved_tensors_hooks(PyObject*, PyObject*) {
  if (!saved_hooks.empty()) saved_hooks.pop_back();
  Py_RETURN_NONE;
}

// --- anomaly detection

PyObject* anomaly_module() {
  static PyObject* module = PyImport_ImportModule("flambeau.autograd.anomaly_mode");
  if (!module) throw PythonError{};
  return module;
}

std::shared_ptr<void> capture_trace() {
  PyRef trace = checked(PyObject_CallMethod(anomaly_module(), "forward_trace", nullptr));
  return std::shared_ptr<void>(trace.release(), [](void* p) {
    WithGil gil;
    if (gil.alive()) Py_DECREF(static_cast<PyObject*>(p));
  });
}

// An error may be on its way already: it waits.
void report_trace(const Node& node) {
  halt_if_exiting();
  PyObject *type, *value, *traceback;
  PyErr_Fetch(&type, &value, &traceback);
  PyObject* trace = node.extras && node.extras->trace ? static_cast<PyObject*>(node.extras->trace.get()) : Py_None;
  PyRef done = PyRef::steal(PyObject_CallMethod(anomaly_module(), "report", "sO", node.name().c_str(), trace));
  if (!done) {
    if (!type) throw PythonError{};
    PyErr_Clear();
  }
  PyErr_Restore(type, value, traceback);
}

PyObject* set_anomaly_mode(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2) raise(PyExc_TypeError, "set_anomaly_mode(enabled, check_nan)");
    AnomalyMode::enabled = PyObject_IsTrue(args[0]) == 1;
    AnomalyMode::check_nan = PyObject_IsTrue(args[1]) == 1;
    Py_RETURN_NONE;
  });
}
PyObject* anomaly_mode(PyObject*, PyObject*) {
  return Py_BuildValue("(OO)", AnomalyMode::enabled ? Py_True : Py_False, AnomalyMode::check_nan ? Py_True : Py_False);
}

template <class F>
PyCFunction fast(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

PyMethodDef functions[] = {
    {"run_backward", fast(py_run_backward), METH_FASTCALL, "Runs the graph from its roots."},
    {"has_other_leaves", fast(has_other_leaves), METH_FASTCALL,
     "has_other_leaves(tensors, leaves) -> bool\n\nWhether histories of the tensors end in leaves that are not named."},
    {"is_grad_enabled", is_grad_enabled, METH_NOARGS,
     "is_grad_enabled() -> bool\n\nWhether operations are recorded for gradients in this thread."},
    {"set_grad_mode", set_grad_mode, METH_O, "Sets whether operations are recorded; returns what was set before."},
    {"is_inference_mode_enabled", is_inference_mode_enabled, METH_NOARGS,
     "is_inference_mode_enabled() -> bool\n\nWhether inference mode is on in this thread."},
    {"set_inference_mode", set_inference_mode, METH_O, "Sets inference mode; returns what was set before."},
    {"tensor_hook_dict", tensor_hook_dict, METH_O, "The dict of a tensor's hooks."},
    {"accumulated_hook_dict", accumulated_hook_dict, METH_O, "The dict of a leaf's hooks after accumulation."},
    {"gradient_edge", accumulator_of, METH_O, "(node, number of its input) where the tensor's gradient flows to."},
    {"increment_version", increment_version, METH_O, "Counts a change that was made behind the library's back."},
    {"push_saved_tensors_hooks", fast(push_saved_tensors_hooks), METH_FASTCALL, "Packs what is saved from here on."},
    {"pop_saved_tensors_hooks", pop_saved_tensors_hooks, METH_NOARGS, "Ends the innermost pair of hooks."},
    {"set_anomaly_mode", fast(set_anomaly_mode), METH_FASTCALL, "Sets anomaly detection."},
    {"anomaly_mode", anomaly_mode, METH_NOARGS, "(enabled, check_nan)"},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_engine(PyObject* module) {
  check_status(PyModule_AddFunctions(module, functions));
  AnomalyMode::capture = capture_trace;
  AnomalyMode::report = report_trace;
}

void add_autograd(PyObject* module) {
  add_nodes(module);
  add_functions(module);
  add_engine(module);
  add_tensor_autograd(module);
  add_gradient_sources(module);
}

}  // namespace fl
