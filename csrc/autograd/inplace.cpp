#include "autograd/inplace.h"

#include <algorithm>

#include "autograd/accumulate.h"
#include "autograd/call.h"
#include "autograd/text.h"
#include "core/error.h"

namespace fl {

namespace {

const OpRef op_copy_in_place{"copy_"}, op_clone{"clone"}, op_index_add{"index_add"}, op_reshape{"reshape"};

int64_t extent_of(IntSpan sizes, IntSpan strides) {
  int64_t last = 0;
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (sizes[i] == 0) return 0;
    last += (sizes[i] - 1) * strides[i];
  }
  return last + 1;
}

// Part of `t`, `offset` elements on. Recorded without as_strided itself, which keeps what it views.
TensorRef as_strided(const TensorRef& t, const Geometry& at, int64_t offset) {
  TensorRef view = Tensor::make(t->storage, t->offset + offset, at.sizes, at.strides, t->dtype);
  if (!GradMode::enabled) return view;
  make_view(view.get(), t.get(), ViewOrigin::Plain);
  if (requires_grad(t.get())) set_history(view.get(), make_ref<AsStridedNode>(t.get(), *view), 0);
  return view;
}

// A flat tensor of zeros in which both geometries can be laid out, counted from the base's offset.
TensorRef zero_buffer(const Geometry& base, const Geometry& view, const Tensor& like) {
  int64_t n =
      std::max(extent_of(base.sizes, base.strides), view.offset - base.offset + extent_of(view.sizes, view.strides));
  return zeros(IntSpan(&n, 1), like.dtype, like.device());
}

// Whether two elements may share a place, once dimensions of stride 0 are gone.
bool may_overlap(const Geometry& g) {
  SmallList<int, 6> order;
  for (int i = 0; i < g.sizes.size(); ++i)
    if (g.sizes[i] > 1) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](int a, int b) { return g.strides[a] < g.strides[b]; });
  int64_t reach = 0;
  for (int i : order) {
    if (g.strides[i] <= reach) return true;
    reach += (g.sizes[i] - 1) * g.strides[i];
  }
  return false;
}

// Positions of the view's elements in the flat buffer.
TensorRef positions(const Geometry& view, int64_t offset) {
  TensorRef index = Tensor::empty(view.sizes, DType::I64);
  int64_t* to = index->data<int64_t>();
  Dims at(view.sizes.size());
  for (int64_t i = 0, n = index->numel(); i < n; ++i) {
    int64_t place = offset;
    for (int d = 0; d < at.size(); ++d) place += at[d] * view.strides[d];
    to[i] = place;
    for (int d = at.size() - 1; d >= 0 && ++at[d] == view.sizes[d]; --d) at[d] = 0;
  }
  int64_t flat[] = {index->numel()};
  return Tensor::make(index->storage, 0, Dims(IntSpan(flat)), Dims{1}, DType::I64);
}

}  // namespace

void refresh_view(Tensor* t, GradMeta& meta) {
  ViewInfo& view = *meta.view;
  if (!meta.grad_fn && !view.base->requires_grad) return;
  view.version = t->version();
  if (!view.base->requires_grad) return;
  FL_CHECK(
      t->dtype == view.base->dtype, ErrorKind::Runtime,
      "a view of another dtype was changed through its base: its gradient is not known [view=%s, base=%s]. Make the "
      "view again after the change.",
      describe(*t).c_str(), describe(*view.base).c_str());
  meta.grad_fn = make_ref<AsStridedNode>(view.base.get(), *t);
  meta.output_nr = 0;
  t->requires_grad = true;
}

AsStridedNode::AsStridedNode(Tensor* base, const Tensor& view) : base_(*base), view_(view) {
  next.push_back(gradient_edge(base));
}

Grads AsStridedNode::apply(Grads grads) {
  if (!grads[0]) return Grads(1);
  TensorRef g = std::move(grads[0]);
  int64_t offset = view_.offset - base_.offset;
  Geometry view = view_;
  for (int d = 0; d < view.sizes.size(); ++d)
    if (view.strides[d] == 0) view.sizes[d] = std::min<int64_t>(view.sizes[d], 1);
  if (!(view.sizes == g->sizes)) g = sum_to(std::move(g), view.sizes);
  TensorRef buffer = zero_buffer(base_, view_, *g);
  if (may_overlap(view) && g->numel() > 0) {
    buffer = op_index_add(
        {buffer, Value(int64_t{0}), positions(view, offset), op_reshape({g, Value(std::vector<int64_t>{-1})})});
  } else {
    op_copy_in_place({as_strided(buffer, view, offset), g});
  }
  Grads result;
  result.push_back(as_strided(buffer, base_, 0));
  return result;
}

CopySlices::CopySlices(Tensor* base, const Tensor& view, Ref<Node> fn) : base_(*base), view_(view), fn_(std::move(fn)) {
  next.push_back(gradient_edge(base));
  for (size_t i = 1; i < fn_->next.size(); ++i) next.push_back(fn_->next[i]);
  if (!fn_->next.empty()) fn_->next[0] = {};
}

Grads CopySlices::apply(Grads grads) {
  if (!grads[0]) return Grads(next.size());
  TensorRef buffer = zero_buffer(base_, view_, *grads[0]);
  TensorRef result = as_strided(buffer, base_, 0);
  op_copy_in_place({result, grads[0]});
  TensorRef slice = as_strided(buffer, view_, view_.offset - base_.offset);
  Grads inner;
  inner.push_back(op_clone({slice}));
  Grads got = fn_->apply(std::move(inner));
  got.resize(next.size());
  op_copy_in_place({slice, got[0] ? got[0] : zeros(view_.sizes, slice->dtype, slice->device())});
  got[0] = as_strided(buffer, base_, 0);
  return got;
}

void make_view(Tensor* view, Tensor* source, ViewOrigin origin) {
  GradMeta* from = find_meta(source);
  GradMeta& meta = grad_meta(view);
  meta.view = std::make_unique<ViewInfo>();
  if (from && from->view) {
    meta.view->base = from->view->base;
    if (origin == ViewOrigin::Plain) origin = from->view->origin;
  } else {
    meta.view->base = TensorRef(source);
  }
  meta.view->version = view->version();
  meta.view->origin = origin;
}

namespace {

void check_view_in_place(Tensor* t, const GradMeta& meta, const char* what) {
  std::string made_by = meta.grad_fn ? "Output " + std::to_string(meta.output_nr) + " of " +
                                           operator_name(*meta.grad_fn) + " is a view and is being modified inplace. "
                                     : "A view is being modified inplace. ";
  std::string context = std::string(" [in ") + what + ": self=" + describe(*t) + "]";
  switch (meta.view->origin) {
    case ViewOrigin::Plain: break;
    case ViewOrigin::NoGrad:
      throw Error(
          ErrorKind::Runtime,
          "A view was created in no_grad mode and is being modified inplace with grad mode enabled. Given that "
          "this use case is ambiguous and error-prone, it is forbidden. You can clarify your code by moving both "
          "the view and the inplace either both inside the no_grad block (if you don't want the inplace to be "
          "tracked) or both outside (if you want the inplace to be tracked)." +
              context);
    case ViewOrigin::Several:
      throw Error(ErrorKind::Runtime,
                  made_by +
                      "This view is the output of a function that returns multiple views. Such functions do not "
                      "allow the output views to be modified inplace. You should replace the inplace operation by an "
                      "out-of-place one." +
                      context);
    case ViewOrigin::Custom:
      throw Error(
          ErrorKind::Runtime,
          made_by +
              "This view was created inside a custom Function (or because an input was returned as-is) and "
              "the autograd logic to handle view+inplace would override the custom backward associated with the "
              "custom Function, leading to incorrect gradients. This behavior is forbidden. You can fix this by "
              "cloning the output of the custom Function." +
              context);
  }
  FL_CHECK(!requires_grad(t) || !is_leaf(meta.view->base.get()), ErrorKind::Runtime,
           "a view of a leaf Variable that requires grad is being used in an in-place operation.%s", context.c_str());
}

}  // namespace

void check_in_place(Tensor* t, bool records, const char* what) {
  FL_CHECK(
      !t->inference || GradMode::inference, ErrorKind::Runtime,
      "Inplace update to inference tensor outside InferenceMode is not allowed.You can make a clone to get a normal "
      "tensor before doing inplace update.See https://github.com/pytorch/rfcs/pull/17 for more details.");
  GradMeta* meta = find_meta(t);
  const bool is_view = meta && meta->view;
  if (is_view && (records || (GradMode::enabled && meta->view->base->requires_grad)))
    check_view_in_place(t, *meta, what);
  if (!records) return;
  FL_CHECK(!requires_grad(t) || !is_leaf(t), ErrorKind::Runtime,
           "a leaf Variable that requires grad is being used in an in-place operation. [in %s: self=%s]. Use "
           "torch.no_grad() around it, or an operation that is not in-place.",
           what, describe(*t).c_str());
}

void check_no_overlap(const Tensor* t) {
  if (t->is_contiguous()) return;
  for (int i = 0; i < t->dim(); ++i)
    FL_CHECK(
        t->strides[i] != 0 || t->sizes[i] <= 1, ErrorKind::Runtime,
        "unsupported operation: more than one element of the written-to tensor refers to a single memory location. "
        "Please clone() the tensor before performing the operation. [tensor=%s]",
        describe(*t).c_str());
}

void rebase_history(Tensor* t, const Ref<Node>& node, uint32_t output_nr) {
  GradMeta& meta = grad_meta(t);
  bool retains = meta.retains_grad && meta.grad_fn;
  if (retains && meta.grad_fn->extras)
    std::erase_if(meta.grad_fn->extras->retains, [&](const NodeExtras::Retain& r) { return r.meta == &meta; });
  if (meta.view) {
    Tensor* base = meta.view->base.get();
    rebase_history(base, make_ref<CopySlices>(base, *t, node));
    meta.view->version = t->version();
    meta.grad_fn = make_ref<AsStridedNode>(base, *t);
    meta.output_nr = 0;
    t->requires_grad = true;
  } else {
    set_history(t, node, output_nr);
  }
  if (retains) meta.grad_fn->extra().retains.push_back({meta.output_nr, &meta});
}

}  // namespace fl
