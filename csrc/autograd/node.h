// The tape. A node holds what backward needs and nothing more.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "runtime/op.h"

namespace fl {

class Node;
struct Edge {
  Ref<Node> node;  // null: no gradient flows there
  uint32_t input = 0;
};

// A value kept for backward, with the version it had. An output of the node itself is kept without its grad_fn.
class Saved {
 public:
  Saved() = default;
  Saved(Tensor* t, bool is_output);
  // Raises where the value was changed in place since, naming the operator. `owner` restores the history of an output.
  TensorRef unpack(Node* owner) const;
  void reset() { tensor_ = nullptr; }
  explicit operator bool() const { return bool(tensor_); }

 private:
  TensorRef tensor_;
  uint32_t version_ = 0;
  uint32_t output_nr_ = 0;
  bool is_output_ = false;
};

using Grads = std::vector<TensorRef>;  // an element may be null: zero

class Node : public RefCounted {
 public:
  // grads: one an output of the forward call; returns one an edge.
  virtual Grads apply(Grads grads) = 0;
  virtual void release_saved() {}
  virtual std::string name() const = 0;  // "MulBackward0"

  std::vector<Edge> next;
  uint32_t n_inputs = 1;  // outputs of the forward call = gradients that come in
  uint64_t sequence = 0;  // later nodes run first among those that are ready
  std::unique_ptr<struct NodeExtras> extras;  // hooks, anomaly trace, python attributes; most nodes have none

 protected:
  void destroy() override;  // iterative: a chain 100,000 deep is destroyed without recursion
};

// Thread-local modes.
struct GradMode {
  static thread_local bool enabled;
  static thread_local bool inference;
};

// The history of `t`: its grad_fn and output number, or its gradient accumulator for a leaf that requires grad.
Edge gradient_edge(Tensor* t);
void set_history(Tensor* t, const Ref<Node>& node, uint32_t output_nr);

// Runs an operator with everything around it: modes have been handled by the caller; makes the node where an input
// needs a gradient; handles in-place (version, rebase of views) and view bookkeeping. The single entry for C++ callers
// (bind, gradient programs, composites).
void dispatch(const Call& call, Outputs& outputs);

// Runs backward from roots. `inputs` empty: accumulate into the leaves' .grad; otherwise returns the gradients of inputs.
Grads run_backward(const std::vector<TensorRef>& roots, Grads seeds, bool retain_graph, bool create_graph,
                   const std::vector<TensorRef>& inputs, bool allow_unused, bool accumulate);

}  // namespace fl
