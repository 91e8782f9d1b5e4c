#include "autograd/meta.h"

#include <algorithm>

#include "autograd/accumulate.h"
#include "autograd/inplace.h"
#include "autograd/text.h"
#include "core/error.h"

namespace fl {

namespace {

void stop_retaining(GradMeta& meta) {
  if (!meta.grad_fn || !meta.grad_fn->extras) return;
  std::erase_if(meta.grad_fn->extras->retains, [&](const NodeExtras::Retain& r) { return r.meta == &meta; });
}

int visit_hook(const Ref<GradHook>& hook, int (*visit)(void*, void*), void* arg) {
  return hook && hook->ref_count() == 1 ? hook->visit_python(visit, arg) : 0;
}

int visit_node(const Node& node, int (*visit)(void*, void*), void* arg) {
  if (int stop = node.visit_python(visit, arg)) return stop;
  if (!node.extras) return 0;
  for (const auto& h : node.extras->tensor_hooks)
    if (int stop = visit_hook(h.hook, visit, arg)) return stop;
  if (int stop = visit_hook(node.extras->pre_hooks, visit, arg)) return stop;
  return visit_hook(node.extras->post_hooks, visit, arg);
}

}  // namespace

GradMeta::~GradMeta() {
  if (retains_grad) stop_retaining(*this);
}

int GradMeta::visit_python(int (*visit)(void*, void*), void* arg) const {
  if (int stop = visit_hook(hooks, visit, arg)) return stop;
  if (int stop = visit_hook(post_hooks, visit, arg)) return stop;
  return grad_fn && grad_fn->ref_count() == 1 ? visit_node(*grad_fn, visit, arg) : 0;
}

GradMeta& grad_meta(Tensor* t) {
  if (!t->grad_meta) t->grad_meta = std::make_unique<GradMeta>();
  return static_cast<GradMeta&>(*t->grad_meta);
}

Edge gradient_edge(Tensor* t) {
  if (!requires_grad(t)) return {};
  if (Ref<Node> fn = grad_fn(t)) return {std::move(fn), find_meta(t)->output_nr};
  if (!t->requires_grad) return {};
  GradMeta& meta = grad_meta(t);
  if (meta.accumulator) return {Ref<Node>(meta.accumulator), 0};
  return {make_ref<AccumulateGrad>(TensorRef(t)), 0};
}

void set_history(Tensor* t, const Ref<Node>& node, uint32_t output_nr) {
  GradMeta& meta = grad_meta(t);
  meta.grad_fn = node;
  meta.output_nr = output_nr;
  t->requires_grad = true;
}

bool detail::stale_view_requires_grad(const Tensor* t) {
  const GradMeta* meta = find_meta(t);
  return meta->view && meta->view->version != t->version() && meta->view->base->requires_grad;
}

Ref<Node> grad_fn(Tensor* t) {
  GradMeta* meta = find_meta(t);
  if (!meta) return {};
  if (meta->view && meta->view->version != t->version()) refresh_view(t, *meta);
  return meta->grad_fn;
}

uint32_t output_nr(Tensor* t) { return grad_fn(t) ? find_meta(t)->output_nr : 0; }

TensorRef base_of(const Tensor* t) {
  GradMeta* meta = find_meta(t);
  return meta && meta->view ? meta->view->base : TensorRef();
}

void set_requires_grad(Tensor* t, bool on) {
  FL_CHECK(!on || is_differentiable(t->dtype), ErrorKind::Runtime,
           "only Tensors of floating point and complex dtype can require gradients [got %s]", describe(*t).c_str());
  FL_CHECK(!on || !t->inference || GradMode::inference, ErrorKind::Runtime,
           "Setting requires_grad=True on inference tensor outside InferenceMode is not allowed.");
  FL_CHECK(on || is_leaf(t), ErrorKind::Runtime,
           "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
           "subgraph that doesn't require differentiation use var_no_grad = var.detach().");
  t->requires_grad = on;
}

TensorRef grad_of(const Tensor* t) {
  GradMeta* meta = find_meta(t);
  return meta ? meta->grad : TensorRef();
}

void set_grad(Tensor* t, TensorRef grad) {
  if (!grad) {
    if (GradMeta* meta = find_meta(t)) meta->grad = nullptr;
    return;
  }
  FL_CHECK(grad.get() != t, ErrorKind::Runtime, "can't assign Variable as its own grad");
  FL_CHECK(
      grad->dtype == t->dtype, ErrorKind::Runtime,
      "attempting to assign a gradient with dtype '%s' to a tensor with grad_dtype '%s'. The gradient must match the "
      "tensor's grad_dtype (defaults to the tensor's dtype). [grad=%s, tensor=%s]. Cast the gradient first.",
      c_type_name(grad->dtype), dtype_title(t->dtype), describe(*grad).c_str(), describe(*t).c_str());
  FL_CHECK(
      grad->device().type == t->device().type || grad->flags & kSparse, ErrorKind::Runtime,
      "attempting to assign a gradient with device type '%s' to a tensor with device type '%s'. Please ensure that the "
      "gradient and the tensor are on the same device",
      device_name(grad->device()), device_name(t->device()));
  FL_CHECK(
      grad->sizes == t->sizes, ErrorKind::Runtime,
      "attempting to assign a gradient of size '%s' to a tensor of size '%s'. Please ensure that the gradient and the "
      "tensor are the same size",
      list_text(grad->sizes).c_str(), list_text(t->sizes).c_str());
  grad_meta(t).grad = std::move(grad);
}

void retain_grad(Tensor* t) {
  FL_CHECK(requires_grad(t), ErrorKind::Runtime, "can't retain_grad on Tensor that has requires_grad=False");
  Ref<Node> fn = grad_fn(t);
  if (!fn) return;
  GradMeta& meta = grad_meta(t);
  if (meta.retains_grad) return;
  meta.retains_grad = true;
  fn->extra().retains.push_back({meta.output_nr, &meta});
}

bool retains_grad(const Tensor* t) {
  GradMeta* meta = find_meta(t);
  return meta && meta->retains_grad;
}

Ref<GradHook> tensor_hooks(Tensor* t, Ref<GradHook> (*make)()) {
  FL_CHECK(requires_grad(t), ErrorKind::Runtime, "cannot register a hook on a tensor that doesn't require gradient");
  Ref<Node> fn = grad_fn(t);
  GradMeta& meta = grad_meta(t);
  if (!fn) {
    if (!meta.hooks) meta.hooks = make();
    return meta.hooks;
  }
  auto& hooks = fn->extra().tensor_hooks;
  for (auto& h : hooks)
    if (h.input == meta.output_nr) return h.hook;
  hooks.push_back({meta.output_nr, make()});
  return hooks.back().hook;
}

TensorRef alias_of(const Tensor& t) {
  TensorRef a = Tensor::make(t.storage, t.offset, t.sizes, t.strides, t.dtype);
  a->own_version = t.own_version;
  a->inference = t.inference;
  return a;
}

TensorRef data_of(const Tensor& t) {
  TensorRef a = alias_of(t);
  a->own_version = std::make_shared<uint32_t>(0);
  return a;
}

void set_data(Tensor* t, Tensor* other) {
  FL_CHECK(t->device().type == other->device().type, ErrorKind::Runtime,
           "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have incompatible tensor type. "
           "[variable=%s, tensor=%s]",
           describe(*t).c_str(), describe(*other).c_str());
  FL_CHECK(!t->requires_grad || is_differentiable(other->dtype), ErrorKind::Runtime,
           "data set to a tensor that requires gradients must be floating point or complex dtype");
  auto version = std::make_shared<uint32_t>(t->version());
  t->storage = other->storage;
  t->offset = other->offset;
  t->sizes = other->sizes;
  t->strides = other->strides;
  t->dtype = other->dtype;
  t->own_version = std::move(version);
  t->refresh();
}

void detach_in_place(Tensor* t) {
  GradMeta* meta = find_meta(t);
  FL_CHECK(
      !meta || !meta->view, ErrorKind::Runtime,
      "Can't detach views in-place. Use detach() instead. If you are using DistributedDataParallel (DDP) for "
      "training, and gradient_as_bucket_view is set as True, gradients are views of DDP buckets, and hence detach_() "
      "cannot be called on these gradients. To fix this error, please refer to the Optimizer.zero_grad() function "
      "in torch/optim/optimizer.py as a solution.");
  t->requires_grad = false;
  if (!meta) return;
  if (meta->retains_grad) stop_retaining(*meta);
  meta->retains_grad = false;
  meta->grad_fn = nullptr;
  meta->output_nr = 0;
}

}  // namespace fl
