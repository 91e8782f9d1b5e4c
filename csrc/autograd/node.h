// The tape. A node holds what backward needs and nothing more.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "autograd/small_list.h"
#include "runtime/op.h"

namespace fl {

class Node;
struct Edge {
  Ref<Node> node;  // null: no gradient flows there
  uint32_t input = 0;
};

using Grads = SmallList<TensorRef, 3>;  // an element may be null: zero

inline bool any(const Grads& grads) {
  for (const TensorRef& g : grads)
    if (g) return true;
  return false;
}

// A hook of a tensor, of a node before it runs, or of a node after it ran. Bind implements it over a dict of callables.
class GradHook : public RefCounted {
 public:
  // Tensor hooks and pre-hooks get and may replace the gradients that come in. Post-hooks also see them as `came_in`
  // and may replace the results.
  virtual void run(Grads& grads, const Grads* came_in) = 0;
  virtual int visit_python(int (*visit)(void*, void*), void* arg) const = 0;
};

struct GradMeta;

// What few nodes have.
struct NodeExtras {
  struct TensorHook {
    uint32_t input;
    Ref<GradHook> hook;
  };
  struct Retain {
    uint32_t input;
    GradMeta* meta;  // removes itself when the tensor dies
  };
  std::vector<TensorHook> tensor_hooks;
  Ref<GradHook> pre_hooks, post_hooks;
  std::vector<Retain> retains;
  std::shared_ptr<void> trace;     // where the forward call was, in anomaly mode
  std::shared_ptr<void> metadata;  // the dict behind grad_fn.metadata
  void* py = nullptr;              // the Python object of the node, while there is one (borrowed)
};

class Node : public RefCounted {
 public:
  // grads: one an output of the forward call; returns one an edge.
  virtual Grads apply(Grads grads) = 0;
  // The same where only some edges lead to what is asked for: bit k for edge k, the last bit for all from 63 on. Others
  // may be left null.
  virtual Grads apply_some(Grads grads, uint64_t) { return apply(std::move(grads)); }
  virtual void release_saved() {}
  virtual std::string name() const = 0;  // "MulBackward0"
  // Whether what flows over edge `k` is always zero: apply returns null there.
  virtual bool is_zero(size_t) const { return false; }
  // Of the leaf that an accumulator serves.
  virtual TensorRef zero_gradient() const { return {}; }
  // Hooks of the leaf that an accumulator serves.
  virtual GradHook* leaf_hooks() const { return nullptr; }
  // See GradMetaBase::visit_python.
  virtual int visit_python(int (*)(void*, void*), void*) const { return 0; }

  NodeExtras& extra() {
    if (!extras) extras = std::make_unique<NodeExtras>();
    return *extras;
  }

  SmallList<Edge, 3> next;
  uint32_t n_inputs = 1;  // outputs of the forward call = gradients that come in
  uint64_t sequence = 0;  // later nodes run first among those that are ready
  std::unique_ptr<NodeExtras> extras;

 protected:
  Node();
  void destroy() override;  // iterative: a chain 100,000 deep is destroyed without recursion
};

// Thread-local modes.
struct GradMode {
  static constinit thread_local bool enabled;
  static constinit thread_local bool inference;
};

class GradGuard {
 public:
  explicit GradGuard(bool enabled) : before_(GradMode::enabled) { GradMode::enabled = enabled; }
  ~GradGuard() { GradMode::enabled = before_; }
  GradGuard(const GradGuard&) = delete;
  GradGuard& operator=(const GradGuard&) = delete;

 private:
  bool before_;
};

// The history of `t`: its grad_fn and output number, or its gradient accumulator for a leaf that requires grad.
Edge gradient_edge(Tensor* t);
void set_history(Tensor* t, const Ref<Node>& node, uint32_t output_nr);

// Runs an operator with everything around it: modes have been handled by the caller; makes the node where an input
// needs a gradient; handles in-place (version, rebase of views) and view bookkeeping. The single entry for C++ callers
// (bind, gradient programs, composites).
void dispatch(const Call& call, Outputs& outputs);
// The same for steps of gradients: where nothing is recorded, views are not marked either.
void dispatch_step(const Call& call, Outputs& outputs);

// Runs backward from roots. `inputs` empty: accumulate into the leaves' .grad; otherwise returns the gradients of
// inputs (null: not used), or, with `accumulate`, adds them to the inputs' .grad. A seed may be null for a scalar root.
Grads run_backward(const std::vector<TensorRef>& roots, Grads seeds, bool retain_graph, bool create_graph,
                   const std::vector<TensorRef>& inputs, bool allow_unused, bool accumulate);

// Anomaly mode: nodes remember where they were made and results are checked for nan.
struct AnomalyMode {
  static bool enabled, check_nan;
  static std::shared_ptr<void> (*capture)();  // set by bind
  static void (*report)(const Node&);         // set by bind: warns with the trace of the forward call
};

}  // namespace fl
