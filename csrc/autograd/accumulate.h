// The end of the tape: gradients become a leaf's .grad.
#pragma once
#include <mutex>

#include "autograd/node.h"
#include "core/object_cache.h"

namespace fl {

class AccumulateGrad final : public Node {
 public:
  explicit AccumulateGrad(TensorRef variable);
  Grads apply(Grads grads) override;
  std::string name() const override { return "AccumulateGrad"; }
  GradHook* leaf_hooks() const override;
  TensorRef zero_gradient() const override;
  Tensor* variable() const { return variable_.get(); }

  static void* operator new(size_t) { return ObjectCache<AccumulateGrad>::take(); }
  static void operator delete(void* p) { ObjectCache<AccumulateGrad>::give(p); }

 protected:
  void destroy() override;

 private:
  TensorRef variable_;
  // Kernels give the GIL away: two threads must not add to the same .grad. Hooks may come back in the same thread.
  std::recursive_mutex mutex_;
};

// Adds `g` to `t`'s .grad (takes it over where nobody else sees it) and runs the hooks that follow.
void accumulate_grad(Tensor* t, TensorRef g);
// Summed over the dimensions that broadcasting added or stretched. The sizes must expand to those of `t`.
TensorRef sum_to(TensorRef t, IntSpan sizes);
bool can_sum_to(const Tensor& t, IntSpan sizes);
TensorRef zeros(IntSpan sizes, DType dtype, Device device);
// For a tensor of one element.
TensorRef one_like(const Tensor& t);
bool has_nan(const Tensor& t);
// a + b where one of them is sparse; set by what knows Python.
extern TensorRef (*add_sparse)(const TensorRef& a, const TensorRef& b);
// A retained gradient: laid out like a tensor of its own, for a sum hands one number to all elements.
TensorRef kept_gradient(const TensorRef& g);
TensorRef sum_of_gradients(const TensorRef& a, const TensorRef& b);
// a + b, in place where the engine is the only owner of `a` and no graph is being made.
TensorRef add_gradients(TensorRef a, TensorRef b);
// The gradient as an input of these sizes and this dtype takes it: summed over broadcast dimensions, cast. Raises in
// the name of `by` where the shapes do not fit.
TensorRef fit_gradient(TensorRef g, IntSpan sizes, DType dtype, const Node& by, size_t index);

}  // namespace fl
