// What autograd keeps of a tensor, and what Tensor's properties and methods do with it.
#pragma once
#include "autograd/node.h"
#include "core/object_cache.h"

namespace fl {

class AccumulateGrad;

// How a view came to be decides whether it may be changed in place.
enum class ViewOrigin : uint8_t { Plain, NoGrad, Several, Custom };

struct ViewInfo {
  TensorRef base;
  uint32_t version;  // of the storage when grad_fn was last valid
  ViewOrigin origin;

  static void* operator new(size_t) { return ObjectCache<ViewInfo>::take(); }
  static void operator delete(void* p) { ObjectCache<ViewInfo>::give(p); }
};

struct GradMeta final : GradMetaBase {
  ~GradMeta() override;
  int visit_python(int (*visit)(void*, void*), void* arg) const override;

  TensorRef grad;
  Ref<Node> grad_fn;
  AccumulateGrad* accumulator = nullptr;  // clears this when it dies; it holds the tensor
  Ref<GradHook> hooks;                    // of a leaf; those of other tensors are with their grad_fn
  Ref<GradHook> post_hooks;               // after .grad was accumulated
  std::unique_ptr<ViewInfo> view;
  uint32_t output_nr = 0;
  bool retains_grad = false;

  static void* operator new(size_t) { return ObjectCache<GradMeta>::take(); }
  static void operator delete(void* p) { ObjectCache<GradMeta>::give(p); }
};

GradMeta& grad_meta(Tensor* t);  // made where there is none
inline GradMeta* find_meta(const Tensor* t) { return static_cast<GradMeta*>(t->grad_meta.get()); }

namespace detail {
bool stale_view_requires_grad(const Tensor* t);
}
// True for leaves that ask for it, for results with a history, and for views whose base was given one in place.
inline bool requires_grad(const Tensor* t) {
  return t->requires_grad || (t->grad_meta && detail::stale_view_requires_grad(t));
}

Ref<Node> grad_fn(Tensor* t);  // null for leaves; brings a stale view's history up to date
inline bool is_leaf(Tensor* t) { return !grad_fn(t); }
uint32_t output_nr(Tensor* t);
TensorRef base_of(const Tensor* t);  // null where t is not a view

void set_requires_grad(Tensor* t, bool on);
TensorRef grad_of(const Tensor* t);
void set_grad(Tensor* t, TensorRef grad);  // checks sizes, dtype, device; null clears
void retain_grad(Tensor* t);
bool retains_grad(const Tensor* t);
// Where a tensor's hooks hang: of its grad_fn, or of the leaf. `make` where there are none yet.
Ref<GradHook> tensor_hooks(Tensor* t, Ref<GradHook> (*make)());

TensorRef alias_of(const Tensor& t);  // the same elements and version counter, no history
TensorRef data_of(const Tensor& t);   // `.data`: the same elements, a version counter of its own
void set_data(Tensor* t, Tensor* other);
void detach_in_place(Tensor* t);
// After `view` was made as a view of `source`.
void make_view(Tensor* view, Tensor* source, ViewOrigin origin);

// In-place changes, in this order: check, change, record.
void check_in_place(Tensor* t, bool records, const char* what);  // records: a node will be made
void check_no_overlap(const Tensor* t);
void rebase_history(Tensor* t, const Ref<Node>& node, uint32_t output_nr = 0);

}  // namespace fl
