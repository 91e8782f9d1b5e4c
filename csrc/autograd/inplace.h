// In-place changes of tensors that have views, and of views.
#pragma once
#include "autograd/meta.h"

namespace fl {

// Where elements lie in a storage.
struct Geometry {
  Dims sizes, strides;
  int64_t offset = 0;
  explicit Geometry(const Tensor& t) : sizes(t.sizes), strides(t.strides), offset(t.offset) {}
};

// The history of a view whose storage was changed in place since: it reads its base anew.
void refresh_view(Tensor* t, GradMeta& meta);

// Reads a view's elements out of its base: the gradient is put back where they came from.
class AsStridedNode final : public Node {
 public:
  AsStridedNode(Tensor* base, const Tensor& view);
  Grads apply(Grads grads) override;
  std::string name() const override { return "AsStridedBackward0"; }

 private:
  Geometry base_, view_;
};

// History of a base of which one view was changed in place: the view's part of the gradient goes through `fn`.
class CopySlices final : public Node {
 public:
  CopySlices(Tensor* base, const Tensor& view, Ref<Node> fn);
  Grads apply(Grads grads) override;
  void release_saved() override { fn_->release_saved(); }
  std::string name() const override { return "CopySlices"; }
  int visit_python(int (*visit)(void*, void*), void* arg) const override { return fn_->visit_python(visit, arg); }

 private:
  Geometry base_, view_;
  Ref<Node> fn_;
};

}  // namespace fl
