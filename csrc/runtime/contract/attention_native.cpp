// Attention as operators: shapes, checks and outputs around the drivers of attention.h.
#include <string>

#include "core/error.h"
#include "runtime/contract/attention.h"
#include "runtime/contract/plain.h"
#include "runtime/copy.h"
#include "runtime/op.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

Heads heads_of(const Tensor* t) {
  return {t->is_meta() ? nullptr : t->data(), t->strides[0], t->strides[1], t->strides[2], t->strides[3]};
}

void check_rows(const char* name, const Tensor* t, const Tensor* like) {
  FL_CHECK(t->dim() == 4 && t->dtype == like->dtype && t->device().type == like->device().type, ErrorKind::Runtime,
           "attention: %s must be a 4-d tensor of query's dtype and device", name);
}

void check_sizes(const char* name, const Tensor* t, IntSpan sizes) {
  FL_CHECK(std::ranges::equal(IntSpan(t->sizes), sizes), ErrorKind::Runtime, "attention: %s must have the shape %s",
           name, shape_text(sizes).c_str());
}

// The mask with contiguous columns and a stride for every dimension; none is an empty reference.
TensorRef mask_of(const Value& value, const Tensor* q, int64_t keys) {
  if (!value.is_tensor()) return {};
  Tensor* t = value.tensor();
  FL_CHECK(t->dtype == DType::Bool || t->dtype == compute_type(q->dtype), ErrorKind::Runtime,
           "attention: mask must be bool or of the dtype of the computation");
  check_sizes("mask", t, Dims{q->sizes[0], q->sizes[1], q->sizes[2], keys});
  if (t->is_meta() || keys <= 1 || t->strides[3] == 1) return TensorRef(t);
  TensorRef copy = Tensor::empty(t->sizes, t->dtype, t->device());
  copy_into(copy.get(), t);
  return copy;
}

// q, k, v, mask of a call from argument `first` on; causal and scale from `flags` on.
struct Operands {
  Attention a;
  TensorRef mask;

  Operands(const Call& call, int first, int flags) {
    Tensor *q = call[first].tensor(), *k = call[first + 1].tensor(), *v = call[first + 2].tensor();
    check_rows("query", q, q);
    check_rows("key", k, q);
    check_rows("value", v, q);
    a.dtype = q->dtype;
    FL_CHECK(a.dtype == DType::F32 || a.dtype == DType::F64 || compute_type(a.dtype) != a.dtype, ErrorKind::Runtime,
             "attention: query must be floating point");
    a.batch = q->sizes[0], a.heads = q->sizes[1], a.queries = q->sizes[2], a.depth = q->sizes[3];
    a.key_heads = k->sizes[1], a.keys = k->sizes[2], a.value_depth = v->sizes[3];
    check_sizes("key", k, Dims{a.batch, a.key_heads, a.keys, a.depth});
    check_sizes("value", v, Dims{a.batch, a.key_heads, a.keys, a.value_depth});
    FL_CHECK(q->numel() && k->numel() && v->numel() && a.heads % a.key_heads == 0, ErrorKind::Runtime,
             "attention: operands must not be empty, and key's heads must divide query's");
    mask = mask_of(call[first + 3], q, a.keys);
    a.causal = call[flags].as_bool();
    a.scale = call[flags + 1].as_double();
    a.q = heads_of(q), a.k = heads_of(k), a.v = heads_of(v);
    if (mask) a.mask = heads_of(mask.get()), a.mask_dtype = mask->dtype;
  }
};

TensorRef empty_like(Tensor* t) {
  return Tensor::empty_strided(t->sizes, result_strides(t->sizes, {&t, 1}), t->dtype, t->device());
}

// The layout is that of query where the sizes are the same.
TensorRef empty_result(Tensor* query, int64_t value_depth) {
  if (query->sizes[3] == value_depth) return empty_like(query);
  return Tensor::empty(Dims{query->sizes[0], query->sizes[1], query->sizes[2], value_depth}, query->dtype,
                       query->device());
}

// attention(query, key, value, mask, causal, scale) -> (out, logsumexp)
void attention(const Call& call, Outputs& outputs) {
  Operands operands(call, 0, 4);
  Attention& a = operands.a;
  Tensor* q = call[0].tensor();
  TensorRef out = empty_result(q, a.value_depth);
  TensorRef lse = Tensor::empty(Dims{a.batch, a.heads, a.queries}, compute_type(a.dtype), q->device());
  if (!out->is_meta()) {
    a.out = heads_of(out.get());
    a.lse = lse->data();
    attention_forward(a);
  }
  outputs.emplace_back(std::move(out));
  outputs.emplace_back(std::move(lse));
}

// attention_gradients(grad, query, key, value, mask, out, logsumexp, causal, scale) -> (dq, dk, dv)
void attention_gradients(const Call& call, Outputs& outputs) {
  Operands operands(call, 1, 7);
  Attention& a = operands.a;
  Tensor *grad = call[0].tensor(), *out = call[5].tensor(), *lse = call[6].tensor();
  Dims sizes{a.batch, a.heads, a.queries, a.value_depth};
  check_rows("grad", grad, call[1].tensor());
  check_sizes("grad", grad, sizes);
  check_rows("out", out, call[1].tensor());
  check_sizes("out", out, sizes);
  check_sizes("logsumexp", lse, Dims{a.batch, a.heads, a.queries});
  FL_CHECK(lse->is_contiguous() && lse->dtype == compute_type(a.dtype), ErrorKind::Runtime,
           "attention: logsumexp must be what the forward returned");
  TensorRef results[3];
  for (int i = 0; i < 3; i++) results[i] = empty_like(call[i + 1].tensor());
  if (!results[0]->is_meta()) {
    a.out = heads_of(out);
    a.lse = lse->data();
    AttentionGradient g{heads_of(grad), heads_of(results[0].get()), heads_of(results[1].get()),
                        heads_of(results[2].get())};
    attention_backward(a, g);
  }
  for (TensorRef& result : results) outputs.emplace_back(std::move(result));
}

RegisterNative natives[] = {{"attention", attention}, {"attention_gradients", attention_gradients}};

}  // namespace
}  // namespace fl
