#include "autograd/accumulate.h"

#include <algorithm>
#include <limits>

#include "autograd/call.h"
#include "autograd/meta.h"
#include "autograd/text.h"
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/pool.h"
#include "runtime/promotion.h"

namespace fl {

namespace {

const OpRef op_add{"add"}, op_add_in_place{"add_"}, op_clone{"clone"}, op_to{"to"}, op_real{"real"},
    op_copy_in_place{"copy_"}, op_isnan{"isnan"}, op_any{"any"};

bool is_sparse(const TensorRef& t) { return t->flags & kSparse; }

bool is_unshared(const TensorRef& t) {
  return t->ref_count() == 1 && t->storage->ref_count() == 1 && !t->py && !t->grad_meta;
}

// Every element has a place of its own: strides are a permutation of contiguous ones.
bool is_dense(const Tensor& t) {
  if (t.is_contiguous()) return true;
  SmallList<int, 6> order;
  for (int i = 0; i < t.dim(); ++i)
    if (t.sizes[i] != 1) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return t.strides[a] < t.strides[b]; });
  int64_t expected = 1;
  for (int i : order) {
    if (t.strides[i] != expected) return false;
    expected *= t.sizes[i];
  }
  return true;
}

bool same_layout(const Tensor& a, const Tensor& b) {
  for (int i = 0; i < a.dim(); ++i)
    if (a.sizes[i] != 1 && a.strides[i] != b.strides[i]) return false;
  return true;
}

// What .grad starts as: laid out as the variable where that is dense, else contiguous.
TensorRef first_grad(const Tensor& variable, TensorRef g) {
  if (is_sparse(g)) return g;
  bool dense = is_dense(variable);
  bool fits = dense ? same_layout(variable, *g) : g->is_contiguous();
  if (!GradMode::enabled) {
    if (fits && is_unshared(g)) return g;
    if (dense && !variable.is_contiguous()) {
      TensorRef copy = Tensor::empty_strided(variable.sizes, variable.strides, g->dtype, g->device());
      op_copy_in_place({copy, g});
      return copy;
    }
    return op_clone({g, Value(MemoryFormat::Contiguous)});
  }
  return op_clone({g});
}

}  // namespace

AccumulateGrad::AccumulateGrad(TensorRef variable) : variable_(std::move(variable)) {
  sequence = std::numeric_limits<uint64_t>::max();  // runs as soon as its gradient is complete
  grad_meta(variable_.get()).accumulator = this;
}

// Forgotten at once: until it is deleted, Python may run and ask for the leaf's accumulator again.
void AccumulateGrad::destroy() {
  if (GradMeta* meta = find_meta(variable_.get()); meta && meta->accumulator == this) meta->accumulator = nullptr;
  Node::destroy();
}

GradHook* AccumulateGrad::leaf_hooks() const {
  GradMeta* meta = find_meta(variable_.get());
  return meta ? meta->hooks.get() : nullptr;
}

TensorRef AccumulateGrad::zero_gradient() const {
  return zeros(variable_->sizes, variable_->dtype, variable_->device());
}

Grads AccumulateGrad::apply(Grads grads) {
  if (grads[0] && variable_->requires_grad) {
    std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) {
      LongWork waiting(true);  // whoever holds it needs the GIL to go on
      lock.lock();
    }
    TensorRef g = fit_gradient(std::move(grads[0]), variable_->sizes, variable_->dtype, *this, 0);
    accumulate_grad(variable_.get(), std::move(g));
  }
  return {};
}

void accumulate_grad(Tensor* t, TensorRef g) {
  GradMeta& meta = grad_meta(t);
  if (!meta.grad) {
    meta.grad = first_grad(*t, std::move(g));
  } else if (GradMode::enabled || is_sparse(meta.grad) || is_sparse(g)) {
    meta.grad = sum_of_gradients(meta.grad, g);
  } else {
    op_add_in_place({meta.grad, g});
  }
  if (Ref<GradHook> hooks = meta.post_hooks) {
    Grads self;
    self.push_back(TensorRef(t));
    hooks->run(self, nullptr);
  }
}

TensorRef zeros(IntSpan sizes, DType dtype, Device device) {
  TensorRef t = Tensor::empty(sizes, dtype, device);
  if (!t->is_meta()) clear_bytes(t->storage->data(), static_cast<int64_t>(t->storage->bytes()));
  return t;
}

TensorRef one_like(const Tensor& t) {
  TensorRef one = Tensor::empty(t.sizes, t.dtype, t.device());
  if (one->is_meta()) return one;
  write_number(Value(1.0), t.dtype, one->data());
  return one;
}

bool has_nan(const Tensor& t) {
  if (t.is_meta() || t.numel() == 0) return false;
  GradGuard off(false);
  TensorRef same(const_cast<Tensor*>(&t));
  TensorRef found = op_any({op_isnan({same})});
  return *found->data<bool>();
}

TensorRef (*add_sparse)(const TensorRef& a, const TensorRef& b) = nullptr;

TensorRef kept_gradient(const TensorRef& g) {
  return is_sparse(g) || g->is_contiguous() ? g : op_clone({g, Value(MemoryFormat::Contiguous)});
}

TensorRef sum_of_gradients(const TensorRef& a, const TensorRef& b) {
  return is_sparse(a) || is_sparse(b) ? add_sparse(a, b) : op_add({a, b});
}

TensorRef add_gradients(TensorRef a, TensorRef b) {
  bool in_place = !GradMode::enabled && is_unshared(a) && a->dtype == b->dtype && a->sizes == b->sizes &&
                  is_dense(*a) && !is_sparse(a) && !is_sparse(b);
  return in_place ? op_add_in_place({a, b}) : sum_of_gradients(a, b);
}

TensorRef fit_gradient(TensorRef g, IntSpan sizes, DType dtype, const Node& by, size_t index) {
  if (!std::ranges::equal(IntSpan(g->sizes), sizes)) {
    if (!can_sum_to(*g, sizes))
      fail(ErrorKind::Runtime,
           "Function %s returned an invalid gradient at index %zu - got %s but expected shape "
           "compatible with %s",
           by.name().c_str(), index, list_text(g->sizes).c_str(), list_text(sizes).c_str());
    g = sum_to(std::move(g), sizes);
  }
  if (g->dtype == dtype) return g;
  if (is_complex(g->dtype) && !is_complex(dtype)) g = op_real({g});
  return g->dtype == dtype ? g : op_to({g, Value(dtype)});
}

}  // namespace fl
