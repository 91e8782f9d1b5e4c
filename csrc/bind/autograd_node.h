// Nodes of the tape as Python sees them, and Python callables that hang on tensors and nodes.
#pragma once
#include "autograd/node.h"
#include "bind/python.h"

namespace fl {

// What `x.grad_fn` is. An ordinary node's object holds the node; the context of a Function is held by its node.
struct NodeObject {
  PyObject_HEAD Node* node;  // null: the graph is gone
  bool owns;
  PyObject* dict;
  PyObject* weakrefs;
};

extern PyTypeObject* node_type;

// None for null. The same object as long as Python holds it. A new reference.
PyObject* wrap_node(const Ref<Node>& node);
// Raises where `o` is no node, and where its graph is gone.
Node& node_of(PyObject* o);

// A dict of hooks by their number, shared with the handles that remove them.
enum class HookKind : uint8_t { Tensor, Accumulated, Before, After };
class HookDict final : public GradHook {
 public:
  explicit HookDict(HookKind kind) : dict_(checked(PyODict_New())), kind_(kind) {}  // handles refer to it weakly
  ~HookDict() override;
  void run(Grads& grads, const Grads* came_in) override;
  int visit_python(int (*visit)(void*, void*), void* arg) const override { return visit(dict_.get(), arg); }
  PyObject* dict() const { return dict_.get(); }

 private:
  void run_on_tensor(PyObject* hook, TensorRef& g);
  void run_on_all(PyObject* hook, Grads& grads, const Grads* came_in);

  PyRef dict_;
  HookKind kind_;
};
template <HookKind kind>
Ref<GradHook> make_hooks() {
  return make_ref<HookDict>(kind);
}

PyObject* gradients_to_python(const Grads& grads);  // a tuple; None where there is none
void add_nodes(PyObject* module);
void add_functions(PyObject* module);         // autograd.Function
void add_tensor_autograd(PyObject* module);   // properties and methods of Tensor
void add_gradient_sources(PyObject* module);  // plans and programs
void add_engine(PyObject* module);

// All of it; after the Tensor type was made.
void add_autograd(PyObject* module);

}  // namespace fl
