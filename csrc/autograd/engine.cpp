// Backward: nodes run when all gradients that flow into them are there, the latest of those that are ready first.
#include <algorithm>
#include <utility>

#include "autograd/accumulate.h"
#include "autograd/meta.h"
#include "autograd/program.h"
#include "autograd/text.h"
#include "core/error.h"

namespace fl {

namespace {

using Edges = SmallList<Edge, 2>;

struct Task {
  explicit Task(Node* n) : node(n) {}
  Node* node;
  uint32_t waits = 0;  // edges over which gradients are still to come
  bool runs = true;    // false: nothing that is asked for lies behind it
  int capture = -1;    // the last of the captured edges that lead here, -1: there is none
  bool is_captured() const { return capture >= 0; }
  bool is_zero = false;  // a gradient known to be zero came in: no tensor stands for it before the leaf
  Grads grads;
};

// Node -> index of its task. Open addressing; small graphs need no memory of their own.
class TaskIndex {
 public:
  static constexpr uint32_t kAbsent = ~uint32_t{0};

  uint32_t find(const Node* node) const {
    for (size_t i = slot_of(node);; i = (i + 1) & (capacity_ - 1)) {
      if (entries_[i].node == node) return entries_[i].task;
      if (!entries_[i].node) return kAbsent;
    }
  }
  void insert(const Node* node, uint32_t task) {
    if (2 * ++count_ > capacity_) grow();
    place(node, task);
  }

 private:
  struct Entry {
    const Node* node = nullptr;
    uint32_t task = 0;
  };
  size_t slot_of(const Node* node) const {
    return (reinterpret_cast<uintptr_t>(node) * 0x9E3779B97F4A7C15ull >> 32) & (capacity_ - 1);
  }
  void place(const Node* node, uint32_t task) {
    size_t i = slot_of(node);
    while (entries_[i].node) i = (i + 1) & (capacity_ - 1);
    entries_[i] = {node, task};
  }
  void grow() {
    std::vector<Entry> old(entries_, entries_ + capacity_);
    capacity_ *= 4;
    heap_.assign(capacity_, Entry{});
    entries_ = heap_.data();
    for (const Entry& e : old)
      if (e.node) place(e.node, e.task);
  }

  Entry own_[32];
  std::vector<Entry> heap_;
  Entry* entries_ = own_;
  size_t capacity_ = 32, count_ = 0;
};

class Run {
 public:
  Run(const Edges& roots, bool retain_graph, const Edges& captures, const std::vector<TensorRef>& inputs)
      : roots_(roots), captures_(captures), inputs_(inputs), retain_graph_(retain_graph), captured_(captures.size()) {
    capture_before_.resize(captures.size());
    discover();
    if (!captures.empty()) prune();
    count();
  }

  Grads execute(Grads seeds) {
    for (size_t i = 0; i < roots_.size(); ++i)
      give(tasks_[index_.find(roots_[i].node.get())], roots_[i].input, std::move(seeds[i]));
    for (uint32_t i = 0; i < n_roots_; ++i)
      if (tasks_[i].waits == 0) push(i);
    while (!ready_.empty()) step(pop());
    return std::move(captured_);
  }

 private:
  uint32_t task_of(Node* node) {
    uint32_t i = index_.find(node);
    if (i != TaskIndex::kAbsent) return i;
    i = static_cast<uint32_t>(tasks_.size());
    index_.insert(node, i);
    tasks_.push_back(Task(node));
    return i;
  }

  void discover() {
    for (const Edge& e : roots_) task_of(e.node.get());
    n_roots_ = static_cast<uint32_t>(tasks_.size());
    for (uint32_t i = 0; i < tasks_.size(); ++i)
      for (const Edge& e : tasks_[i].node->next)
        if (e.node) task_of(e.node.get());
  }

  // Keeps what lies between the roots and the captured edges.
  void prune() {
    for (size_t k = 0; k < captures_.size(); ++k) {
      uint32_t i = index_.find(captures_[k].node.get());
      if (i != TaskIndex::kAbsent) capture_before_[k] = std::exchange(tasks_[i].capture, static_cast<int>(k));
    }
    std::vector<uint32_t> order(tasks_.size());
    for (uint32_t i = 0; i < order.size(); ++i) order[i] = i;
    // Whatever a node leads to is older; accumulators lead nowhere.
    auto age = [&](uint32_t i) { return tasks_[i].node->next.empty() ? 0 : tasks_[i].node->sequence; };
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return age(a) < age(b); });
    for (uint32_t i : order) {
      tasks_[i].runs = false;
      for (const Edge& e : tasks_[i].node->next) {
        if (!e.node) continue;
        const Task& t = tasks_[index_.find(e.node.get())];
        tasks_[i].runs |= t.runs || t.is_captured();
      }
    }
  }

  void count() {
    for (const Task& t : tasks_) {
      if (!t.runs) continue;
      for (const Edge& e : t.node->next)
        if (e.node) ++tasks_[index_.find(e.node.get())].waits;
    }
  }

  bool later(uint32_t a, uint32_t b) const { return tasks_[a].node->sequence < tasks_[b].node->sequence; }
  void push(uint32_t i) {
    ready_.push_back(i);
    std::push_heap(ready_.begin(), ready_.end(), [this](uint32_t a, uint32_t b) { return later(a, b); });
  }
  uint32_t pop() {
    std::pop_heap(ready_.begin(), ready_.end(), [this](uint32_t a, uint32_t b) { return later(a, b); });
    uint32_t i = ready_.back();
    ready_.pop_back();
    return i;
  }

  void give(Task& task, uint32_t input, TensorRef g) {
    if (!g) return;
    if (task.grads.size() <= input) task.grads.resize(std::max<size_t>(input + 1, task.node->n_inputs));
    TensorRef& place = task.grads[input];
    place = place ? add_gradients(std::move(place), std::move(g)) : std::move(g);
  }

  void step(uint32_t i) {
    Node& node = *tasks_[i].node;
    const bool runs = tasks_[i].runs;
    Grads grads = std::move(tasks_[i].grads);
    const bool is_zero = tasks_[i].is_zero && !any(grads);
    if (runs || tasks_[i].is_captured()) {
      grads.resize(std::max<size_t>(grads.size(), node.n_inputs));
      if (is_zero) grads[0] = node.zero_gradient();
      run_tensor_hooks(node, grads);
      capture(tasks_[i], grads);
    }
    if (!runs) return;
    const bool came = any(grads);
    Grads results = call(node, std::move(grads), wanted_edges(node));
    for (size_t k = 0; k < node.next.size(); ++k) {
      const Edge& e = node.next[k];
      if (!e.node) continue;
      uint32_t next = index_.find(e.node.get());
      if (k < results.size() && results[k]) {
        give(tasks_[next], e.input, std::move(results[k]));
      } else if (is_zero || (came && node.is_zero(k))) {
        tasks_[next].is_zero = true;
      }
      if (--tasks_[next].waits == 0) push(next);
    }
  }

  void capture(const Task& task, const Grads& grads) {
    for (int i = task.capture; i >= 0; i = capture_before_[static_cast<size_t>(i)]) {
      const auto k = static_cast<size_t>(i);
      captured_[k] = grads[captures_[k].input];
      const Tensor& t = *inputs_[k];
      if (!captured_[k] && task.is_zero) captured_[k] = zeros(t.sizes, t.dtype, t.device());
    }
  }

  // Hooks may add hooks, so that lists are not held over a call.
  static void run_tensor_hooks(Node& node, Grads& grads) {
    if (Ref<GradHook> hooks{node.leaf_hooks()}; hooks && grads[0]) hooks->run(grads, nullptr);
    if (!node.extras) return;
    for (size_t i = 0; i < node.extras->tensor_hooks.size(); ++i) {
      NodeExtras::TensorHook h = node.extras->tensor_hooks[i];
      if (!grads[h.input]) continue;
      Grads one;
      one.push_back(std::move(grads[h.input]));
      h.hook->run(one, nullptr);
      grads[h.input] = std::move(one[0]);
    }
    for (const NodeExtras::Retain& r : node.extras->retains) {
      const TensorRef& g = grads[r.input];
      if (!g) continue;
      r.meta->grad = r.meta->grad ? sum_of_gradients(r.meta->grad, g) : kept_gradient(g);
    }
  }

  // As `apply_some` takes them.
  uint64_t wanted_edges(const Node& node) const {
    if (captures_.empty()) return ~uint64_t{0};
    uint64_t wanted = 0;
    for (size_t k = 0; k < node.next.size(); ++k) {
      if (!node.next[k].node) continue;
      const Task& t = tasks_[index_.find(node.next[k].node.get())];
      if (t.runs || t.is_captured()) wanted |= GradProgram::bit_of(k);
    }
    return wanted;
  }

  Grads call(Node& node, Grads grads, uint64_t wanted) {
    // What hooks do to the graph must not free a node that runs.
    Ref<GradHook> before = node.extras ? node.extras->pre_hooks : nullptr;
    if (before) before->run(grads, nullptr);
    Ref<GradHook> after = node.extras ? node.extras->post_hooks : nullptr;
    Grads came_in;
    if (after) came_in = grads;
    Grads results = AnomalyMode::enabled ? apply_watched(node, std::move(grads), wanted)
                                         : node.apply_some(std::move(grads), wanted);
    if (!retain_graph_) node.release_saved();
    if (after) after->run(results, &came_in);
    return results;
  }

  static Grads apply_watched(Node& node, Grads grads, uint64_t wanted) {
    auto report = [&] {
      if (AnomalyMode::report) AnomalyMode::report(node);
    };
    Grads results;
    try {
      results = node.apply_some(std::move(grads), wanted);
    } catch (...) {
      report();
      throw;
    }
    for (size_t i = 0; AnomalyMode::check_nan && i < results.size(); ++i) {
      if (!results[i] || !has_nan(*results[i])) continue;
      report();
      fail(ErrorKind::Runtime, "Function '%s' returned nan values in its %zuth output.", node.name().c_str(), i);
    }
    return results;
  }

  const Edges& roots_;
  const Edges& captures_;
  const std::vector<TensorRef>& inputs_;  // whose edges are captured
  const bool retain_graph_;
  SmallList<int, 2> capture_before_;  // by edge: another one that leads to the same node, or -1
  uint32_t n_roots_ = 0;
  SmallList<Task, 8> tasks_;
  TaskIndex index_;
  SmallList<uint32_t, 8> ready_;
  Grads captured_;
};

Edge root_edge(Tensor* root, size_t i) {
  Edge e = gradient_edge(root);
  FL_CHECK(e.node, ErrorKind::Runtime, "element %zu of tensors does not require grad and does not have a grad_fn", i);
  return e;
}

TensorRef checked_seed(Tensor* root, TensorRef seed, size_t i) {
  if (!seed) {
    FL_CHECK(root->numel() == 1, ErrorKind::Runtime,
             "grad can be implicitly created only for scalar outputs [output %zu: %s]. Give gradient=, or reduce the "
             "output to a scalar.",
             i, describe(*root).c_str());
    FL_CHECK(!is_complex(root->dtype), ErrorKind::Runtime,
             "grad can be implicitly created only for real scalar outputs but got torch.%s", dtype_name(root->dtype));
    return one_like(*root);
  }
  FL_CHECK(seed->sizes == root->sizes, ErrorKind::Runtime,
           "Mismatch in shape: grad_output[%zu] has a shape of torch.Size(%s) and output[%zu] has a shape of "
           "torch.Size(%s).",
           i, list_text(seed->sizes).c_str(), i, list_text(root->sizes).c_str());
  FL_CHECK(is_complex(seed->dtype) == is_complex(root->dtype), ErrorKind::Runtime,
           "For complex Tensors, both grad_output and output are required to have the same dtype. Mismatch in dtype: "
           "grad_output[%zu] has a dtype of torch.%s and output[%zu] has a dtype of torch.%s.",
           i, dtype_name(seed->dtype), i, dtype_name(root->dtype));
  return seed;
}

Edges capture_edges(const std::vector<TensorRef>& inputs) {
  Edges edges;
  for (const TensorRef& t : inputs) {
    FL_CHECK(requires_grad(t.get()), ErrorKind::Runtime, "One of the differentiated Tensors does not require grad");
    edges.push_back(gradient_edge(t.get()));
  }
  return edges;
}

}  // namespace

Grads run_backward(const std::vector<TensorRef>& roots, Grads seeds, bool retain_graph, bool create_graph,
                   const std::vector<TensorRef>& inputs, bool allow_unused, bool accumulate) {
  Edges edges;
  edges.reserve(roots.size());
  seeds.resize(roots.size());
  for (size_t i = 0; i < roots.size(); ++i) {
    edges.push_back(root_edge(roots[i].get(), i));
    seeds[i] = checked_seed(roots[i].get(), std::move(seeds[i]), i);
  }
  Edges captures = capture_edges(inputs);
  if (edges.empty()) return Grads(inputs.size());
  GradGuard mode(create_graph);
  for (size_t i = 0; i < roots.size(); ++i)
    seeds[i] = fit_gradient(std::move(seeds[i]), roots[i]->sizes, roots[i]->dtype, *edges[i].node, i);
  Grads grads = Run(edges, retain_graph, captures, inputs).execute(std::move(seeds));
  for (size_t i = 0; i < inputs.size(); ++i) {
    FL_CHECK(grads[i] || allow_unused || accumulate, ErrorKind::Runtime,
             "The differentiated Tensor at index %zu appears to not have been used in the graph. Set allow_unused=True "
             "if this is the desired behavior.",
             i);
    if (!accumulate || !grads[i]) continue;
    Tensor* t = inputs[i].get();
    accumulate_grad(t, std::move(grads[i]));
  }
  return grads;
}

}  // namespace fl
