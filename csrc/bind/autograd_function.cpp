// autograd.Function: nodes whose gradient is Python.
#include <vector>

#include "autograd/accumulate.h"
#include "autograd/inplace.h"
#include "autograd/saved.h"
#include "bind/autograd_node.h"
#include "bind/tensor_object.h"

namespace fl {
namespace {

// The context knows the node from the start; the node holds the context once the forward call succeeded.
class FunctionNode final : public Node {
 public:
  FunctionNode(PyObject* context, const std::vector<Tensor*>& inputs) : context_(context) {
    for (Tensor* t : inputs) {
      next.push_back(gradient_edge(t));
      inputs_.emplace_back(t->sizes, t->dtype);
    }
    if (AnomalyMode::enabled && AnomalyMode::capture) extra().trace = AnomalyMode::capture();
  }
  ~FunctionNode() override {
    WithGil gil;
    if (!gil.alive()) return;
    if (context_) reinterpret_cast<NodeObject*>(context_)->node = nullptr;
    if (holds_) Py_DECREF(context_);
  }
  Grads apply(Grads grads) override;
  void release_saved() override {
    for (Saved& s : saved) s.reset();
  }
  std::string name() const override { return Py_TYPE(context_)->tp_name; }
  int visit_python(int (*visit)(void*, void*), void* arg) const override { return holds_ ? visit(context_, arg) : 0; }

  void hold_context() {
    holds_ = true;
    Py_INCREF(context_);
  }

  std::vector<Saved> saved;
  bool materialize = true;
  struct Shape {
    Dims sizes;
    DType dtype;
    Device device;
  };
  std::vector<Shape> outputs;

 private:
  PyObject* context_;
  bool holds_ = false;
  std::vector<std::pair<Dims, DType>> inputs_;
};

Grads FunctionNode::apply(Grads grads) {
  for (size_t i = 0; materialize && i < grads.size(); ++i)
    if (!grads[i] && is_differentiable(outputs[i].dtype))
      grads[i] = zeros(outputs[i].sizes, outputs[i].dtype, outputs[i].device);
  PyRef arguments = checked(gradients_to_python(grads));
  grads.clear();
  static PyObject* method = PyUnicode_InternFromString("_run_backward");
  PyRef got = checked(PyObject_CallMethodOneArg(context_, method, arguments.get()));
  Grads results(next.size());
  if (!PyTuple_Check(got.get()) || PyTuple_GET_SIZE(got.get()) != static_cast<Py_ssize_t>(next.size()))
    raise(PyExc_RuntimeError, "function %s returned an incorrect number of gradients (expected %zu, got %zd)",
          name().c_str(), next.size(), PyTuple_Check(got.get()) ? PyTuple_GET_SIZE(got.get()) : Py_ssize_t{1});
  for (size_t i = 0; i < next.size(); ++i) {
    PyObject* item = PyTuple_GET_ITEM(got.get(), static_cast<Py_ssize_t>(i));
    if (item == Py_None || !next[i].node) continue;
    if (!is_tensor(item)) raise(PyExc_RuntimeError, "expected Variable or None (got %s)", Py_TYPE(item)->tp_name);
    results[i] = fit_gradient(TensorRef(tensor_of(item)), inputs_[i].first, inputs_[i].second, *this, i);
  }
  return results;
}

FunctionNode& function_of(PyObject* context) {
  auto* node = dynamic_cast<FunctionNode*>(&node_of(context));
  if (!node) raise(PyExc_TypeError, "expected the context of a Function");
  return *node;
}

std::vector<Tensor*> tensors_of(PyObject* sequence) {
  PyRef items = checked(PySequence_Fast(sequence, "expected tensors"));
  std::vector<Tensor*> tensors;
  for (Py_ssize_t i = 0; i < PySequence_Fast_GET_SIZE(items.get()); ++i) {
    PyObject* item = PySequence_Fast_GET_ITEM(items.get(), i);
    tensors.push_back(is_tensor(item) ? tensor_of(item) : nullptr);
  }
  return tensors;
}

// function_begin(context, tensors): before the forward call.
PyObject* function_begin(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 2 || !PyObject_TypeCheck(args[0], node_type)) raise(PyExc_TypeError, "function_begin(context, tensors)");
    auto* context = reinterpret_cast<NodeObject*>(args[0]);
    Ref<FunctionNode> node = make_ref<FunctionNode>(args[0], tensors_of(args[1]));
    node->extra().py = args[0];
    context->owns = true;
    context->node = node.detach();
    Py_RETURN_NONE;
  });
}

bool contains(const std::vector<Tensor*>& list, const Tensor* t) {
  for (Tensor* x : list)
    if (x == t) return true;
  return false;
}

struct FunctionCall {
  std::vector<Tensor*> inputs, dirty, constant;
};

// The result as it leaves the function, with its history.
TensorRef connect(const Ref<Node>& node, uint32_t nr, Tensor* t, const FunctionCall& call) {
  if (contains(call.dirty, t)) {
    {
      GradGuard on(true);
      check_in_place(t, true, "Function");
    }
    rebase_history(t, node, nr);
    return TensorRef(t);
  }
  TensorRef result(t);
  bool is_input = contains(call.inputs, t);
  if (is_input) {
    result = alias_of(*t);
    if (!contains(call.constant, t)) make_view(result.get(), t, ViewOrigin::Custom);
  }
  if (contains(call.constant, t) || !is_differentiable(t->dtype)) { return result; }
  if (GradMeta* meta = find_meta(result.get()); meta && meta->view) meta->view->origin = ViewOrigin::Custom;
  set_history(result.get(), node, nr);
  if (GradMeta* meta = find_meta(result.get()); meta->view) meta->view->version = result->version();
  return result;
}

// function_end(context, outputs, dirty, non_differentiable, inputs, to_save, materialize) -> outputs
PyObject* function_end(PyObject*, PyObject* const* args, Py_ssize_t n) {
  return guarded([&]() -> PyObject* {
    if (n != 7) raise(PyExc_TypeError, "function_end() takes 7 arguments");
    Ref<FunctionNode> node(&function_of(args[0]));
    std::vector<Tensor*> results = tensors_of(args[1]);
    FunctionCall call{tensors_of(args[4]), tensors_of(args[2]), tensors_of(args[3])};
    for (Tensor* t : call.dirty)
      if (!contains(results, t) && t)
        raise(
            PyExc_RuntimeError,
            "Some elements marked as dirty during the forward method were not returned as output. The inputs that are "
            "modified inplace must all be outputs of the Function.");
    node->materialize = PyObject_IsTrue(args[6]) == 1;
    node->n_inputs = static_cast<uint32_t>(results.size());
    PyRef outputs = checked(PyTuple_New(static_cast<Py_ssize_t>(results.size())));
    std::vector<TensorRef> made(results.size());
    for (size_t i = 0; i < results.size(); ++i) {
      Tensor* t = results[i];
      node->outputs.push_back(t ? FunctionNode::Shape{t->sizes, t->dtype, t->device()}
                                : FunctionNode::Shape{{}, DType::Bool, {}});
      PyObject* o = nullptr;
      if (t) {
        made[i] = connect(node, static_cast<uint32_t>(i), t, call);
        o = checked(wrap(made[i])).release();
      } else {
        o = Py_NewRef(PyTuple_GET_ITEM(args[1], static_cast<Py_ssize_t>(i)));
      }
      PyTuple_SET_ITEM(outputs.get(), static_cast<Py_ssize_t>(i), o);
    }
    for (Tensor* t : tensors_of(args[5])) {
      uint32_t nr = 0;
      while (nr < results.size() && results[nr] != t) ++nr;
      bool is_output = t && nr < results.size();
      node->saved.emplace_back(t ? Value(TensorRef(is_output ? made[nr].get() : t)) : Value(), is_output, nr);
    }
    auto* context = reinterpret_cast<NodeObject*>(args[0]);
    node->hold_context();
    context->owns = false;
    node->release();  // what the context held
    return outputs.release();
  });
}

PyObject* saved_tensors(PyObject*, PyObject* context) {
  return guarded([&]() -> PyObject* {
    FunctionNode& node = function_of(context);
    PyRef all = checked(PyTuple_New(static_cast<Py_ssize_t>(node.saved.size())));
    for (size_t i = 0; i < node.saved.size(); ++i) {
      Value v = node.saved[i].unpack(&node);
      PyObject* o = v.is_tensor() ? checked(wrap(v.tensor_ref())).release() : Py_NewRef(Py_None);
      PyTuple_SET_ITEM(all.get(), static_cast<Py_ssize_t>(i), o);
    }
    return all.release();
  });
}

template <class F>
PyCFunction fast(F f) {
  return reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(f));
}

PyMethodDef functions[] = {
    {"function_begin", fast(function_begin), METH_FASTCALL, "Makes the node of a Function's context."},
    {"function_end", fast(function_end), METH_FASTCALL, "Gives a Function's results their history."},
    {"function_saved_tensors", saved_tensors, METH_O, "What save_for_backward kept."},
    {nullptr, nullptr, 0, nullptr}};

}  // namespace

void add_functions(PyObject* module) { check_status(PyModule_AddFunctions(module, functions)); }

}  // namespace fl
