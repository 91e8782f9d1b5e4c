// Matrix products as operators: shapes, checks and outputs around the drivers of gemm.h.
#include <numeric>
#include <string>

#include "core/error.h"
#include "runtime/contract/gemm.h"
#include "runtime/copy.h"
#include "runtime/op.h"
#include "runtime/promotion.h"
#include "runtime/views.h"

namespace fl {
namespace {

std::string shape_text(IntSpan sizes, const char* separator) {
  std::string out;
  for (size_t i = 0; i < sizes.size(); ++i) out += (i ? separator : "") + std::to_string(sizes[i]);
  return out;
}

std::string list_text(IntSpan sizes) { return "[" + shape_text(sizes, ", ") + "]"; }

// "input=(2, 3) float32"
std::string describe(const char* name, const Tensor* t) {
  return std::string(name) + "=(" + shape_text(t->sizes, ", ") + (t->dim() == 1 ? ",) " : ") ") + dtype_name(t->dtype);
}

// As PyTorch's messages about products spell it.
const char* scalar_type(DType d) {
  if (d == DType::I16) return "short";
  return d == DType::U16 || d == DType::U32 || d == DType::U64 ? dtype_title(d) : dtype_c_name(d);
}

void check_pair(const char* op, const Tensor* a, const Tensor* b) {
  FL_CHECK(a->dtype == b->dtype, ErrorKind::Runtime,
           "expected m1 and m2 to have the same dtype, but got: %s != %s [in %s: %s, %s]. Convert one with .to(dtype).",
           scalar_type(a->dtype), scalar_type(b->dtype), op, describe("a", a).c_str(), describe("b", b).c_str());
  FL_CHECK(a->device().type == b->device().type, ErrorKind::Runtime,
           "Expected all tensors to be on the same device, but found at least two devices [in %s]", op);
}

// The same of added + a b, in the words that PyTorch has for it.
void check_three(const char* op, const Tensor* added, const Tensor* a, const Tensor* b) {
  const char *first = "self", *title = dtype_title(added->dtype);
  if (added->dtype == b->dtype) {
    if (a->dtype == b->dtype) return;
    first = "mat1";
    title = dtype_title(a->dtype);
  }
  fail(ErrorKind::Runtime, "%s and mat2 must have the same dtype, but got %s and %s [in %s: %s, %s]", first, title,
       dtype_title(b->dtype), op, describe("a", a).c_str(), describe("b", b).c_str());
}

// A matrix: rows, columns and their strides.
struct Matrix {
  const char* data;
  int64_t rows, cols, row, col;
};

Matrix matrix(const Tensor* t) {
  int n = t->dim();
  return {t->is_meta() ? nullptr : t->data(), t->sizes[n - 2], t->sizes[n - 1], t->strides[n - 2], t->strides[n - 1]};
}

[[noreturn]] void fail_shapes(const char* op, const Tensor* a, const Tensor* b, int64_t rows, int64_t cols) {
  fail(ErrorKind::Runtime,
       "mat1 and mat2 shapes cannot be multiplied (%ldx%ld and %ldx%ld) [in %s: %s, %s]. "
       "a.shape[-1] must equal b.shape[-2].",
       rows, cols, b->sizes[b->dim() - 2], b->sizes[b->dim() - 1], op, describe("a", a).c_str(),
       describe("b", b).c_str());
}

Gemm product(const Matrix& a, const Matrix& b, Tensor* c) {
  Gemm g;
  g.m = a.rows, g.n = b.cols, g.k = a.cols;
  g.a = a.data, g.a_row = a.row, g.a_col = a.col;
  g.b = b.data, g.b_row = b.row, g.b_col = b.col;
  g.c = c->data(), g.c_row = b.cols;
  g.dtype = c->dtype;
  return g;
}

// Leading dimensions as one, where memory allows it: the stride between rows, or -1.
int64_t folded_row_stride(const Tensor* t) {
  int64_t expected = -1;
  for (int d = t->dim() - 2; d >= 0; --d) {
    if (t->sizes[d] == 1) continue;
    if (expected >= 0 && t->strides[d] != expected) return -1;
    expected = t->strides[d] * t->sizes[d];
  }
  for (int d = t->dim() - 2; d >= 0; --d)
    if (t->sizes[d] != 1) return t->strides[d];
  return t->sizes[t->dim() - 1];
}

// The product `g` of the last two dimensions for batch dimensions that broadcast, into contiguous c.
void batched(const Tensor* a, const Tensor* b, const Tensor* c, const Gemm& g) {
  const int n = c->dim() - 2;
  auto stride = [&](const Tensor* t, int d) {  // of batch dimension d of c
    int at = d - (c->dim() - t->dim());
    return at < 0 || t->sizes[at] == 1 ? int64_t{0} : t->strides[at];
  };
  Batch batch{Dims(IntSpan(c->sizes).first(static_cast<size_t>(n))), Dims(n), Dims(n)};
  for (int d = 0; d < n; ++d) {
    batch.a[d] = stride(a, d);
    batch.b[d] = stride(b, d);
  }
  gemm_batched(g, batch);
}

// A 1-d operand seen as a matrix with one row (or column).
TensorRef as_matrix(Tensor* t, bool row) {
  if (t->dim() != 1) return TensorRef(t);
  Dims sizes = row ? Dims{1, t->sizes[0]} : Dims{t->sizes[0], 1};
  Dims strides = row ? Dims{t->sizes[0], t->strides[0]} : Dims{t->strides[0], 1};
  return Tensor::make(t->storage, t->offset, sizes, strides, t->dtype);
}

// Lets a product begin with `added`: one row for all is a bias, anything else is written to the result first.
void begin_with(Tensor* added, Tensor* out, Gemm& g) {
  if (!added) return;
  TensorRef whole = expand_to(*added, out->sizes);
  const int last = out->dim() - 1;
  bool one_row = whole->sizes[last] > 1 && whole->strides[last] == 1;
  for (int d = 0; d < last; ++d) one_row = one_row && (whole->sizes[d] == 1 || whole->strides[d] == 0);
  if (one_row) {
    g.bias = added->data();
  } else {
    copy_into(out, whole.get());
    g.accumulate = true;
  }
}

// a b, or added + a b.
TensorRef multiply(const char* op, const Call& call, Tensor* a, Tensor* b, Tensor* added = nullptr) {
  if (added) check_three(op, added, a, b);
  check_pair(op, a, b);
  FL_CHECK(a->dim() && b->dim(), ErrorKind::Runtime,
           "both arguments to matmul need to be at least 1D, but they are %dD and %dD", a->dim(), b->dim());
  if (a->dim() == 1 && b->dim() == 1)
    FL_CHECK(
        a->sizes[0] == b->sizes[0], ErrorKind::Runtime,
        "inconsistent tensor size, expected tensor [%ld] and src [%ld] to have the same number of elements, but got "
        "%ld and %ld elements respectively",
        a->sizes[0], b->sizes[0], a->sizes[0], b->sizes[0]);
  if (b->dim() == 1 && a->dim() == 2 && a->sizes[1] != b->sizes[0])
    fail(ErrorKind::Runtime, "size mismatch, got input (%ld), mat (%ldx%ld), vec (%ld) [in %s]", a->sizes[0],
         a->sizes[0], a->sizes[1], b->sizes[0], op);
  TensorRef am = as_matrix(a, true), bm = as_matrix(b, false);
  Matrix ma = matrix(am.get()), mb = matrix(bm.get());
  bool fold = am->dim() > 2 && bm->dim() == 2;
  int64_t lead = fold ? std::accumulate(am->sizes.begin(), am->sizes.end() - 2, int64_t{1}, std::multiplies<>()) : 1;
  if (ma.cols != mb.rows) {
    if (am->dim() > 2 && bm->dim() > 2)
      fail(ErrorKind::Runtime,
           "Expected size for first two dimensions of batch2 tensor to be: %s but got: %s. [in %s: %s, %s]",
           list_text(Dims{am->sizes[0], ma.cols}).c_str(), list_text(Dims{bm->sizes[0], mb.rows}).c_str(), op,
           describe("a", a).c_str(), describe("b", b).c_str());
    fail_shapes(op, a, bm.get(), fold ? lead * ma.rows : ma.rows, ma.cols);
  }
  Dims batch = broadcast_sizes(IntSpan(am->sizes).first(static_cast<size_t>(am->dim() - 2)),
                               IntSpan(bm->sizes).first(static_cast<size_t>(bm->dim() - 2)));
  Dims sizes = batch;
  if (a->dim() > 1) sizes.push_back(ma.rows);
  if (b->dim() > 1) sizes.push_back(mb.cols);
  TensorRef out = takes_result(call, sizes, a->dtype, a->device(), false) ? TensorRef(call.out)
                                                                          : Tensor::empty(sizes, a->dtype, a->device());
  if (out->is_meta() || out->numel() == 0) return out;
  Dims full = batch;
  full.push_back(ma.rows);
  full.push_back(mb.cols);
  TensorRef c = Tensor::make(out->storage, out->offset, full, contiguous_strides(full), out->dtype);
  int64_t row = fold ? folded_row_stride(am.get()) : -1;
  if (row >= 0) {
    ma.rows *= lead;
    ma.row = row;
  }
  Gemm g = product(ma, mb, c.get());
  begin_with(added, out.get(), g);
  if (row >= 0 || full.size() == 2) {
    gemm(g);
  } else {
    batched(am.get(), bm.get(), c.get(), g);
  }
  return out;
}

void matmul(const Call& call, Outputs& outputs) {
  outputs.emplace_back(multiply("matmul", call, call[0].tensor(), call[1].tensor()));
}

// matmul_add(self, a, b): self + a b.
void matmul_add(const Call& call, Outputs& outputs) {
  outputs.emplace_back(multiply("matmul_add", call, call[1].tensor(), call[2].tensor(), call[0].tensor()));
}

void mm(const Call& call, Outputs& outputs) {
  Tensor *a = call[0].tensor(), *b = call[1].tensor();
  FL_CHECK(a->dim() == 2, ErrorKind::Runtime, "self must be a matrix [in mm: %s]", describe("self", a).c_str());
  FL_CHECK(b->dim() == 2, ErrorKind::Runtime, "mat2 must be a matrix [in mm: %s]", describe("mat2", b).c_str());
  outputs.emplace_back(multiply("mm", call, a, b));
}

void bmm(const Call& call, Outputs& outputs) {
  Tensor *a = call[0].tensor(), *b = call[1].tensor();
  FL_CHECK(a->dim() == 3, ErrorKind::Runtime, "batch1 must be a 3D tensor [in bmm: %s]", describe("self", a).c_str());
  FL_CHECK(b->dim() == 3, ErrorKind::Runtime, "batch2 must be a 3D tensor [in bmm: %s]", describe("mat2", b).c_str());
  FL_CHECK(a->sizes[0] == b->sizes[0] && a->sizes[2] == b->sizes[1], ErrorKind::Runtime,
           "Expected size for first two dimensions of batch2 tensor to be: %s but got: %s. [in bmm: %s, %s]",
           list_text(Dims{a->sizes[0], a->sizes[2]}).c_str(), list_text(Dims{b->sizes[0], b->sizes[1]}).c_str(),
           describe("self", a).c_str(), describe("mat2", b).c_str());
  outputs.emplace_back(multiply("bmm", call, a, b));
}

void mv(const Call& call, Outputs& outputs) {
  Tensor *a = call[0].tensor(), *b = call[1].tensor();
  FL_CHECK(a->dim() == 2 && b->dim() == 1, ErrorKind::Runtime,
           "vector + matrix @ vector expected, got %d, %d, %d [in mv]", 1, a->dim(), b->dim());
  outputs.emplace_back(multiply("mv", call, a, b));
}

void dot(const Call& call, Outputs& outputs) {
  Tensor *a = call[0].tensor(), *b = call[1].tensor();
  FL_CHECK(a->dim() == 1 && b->dim() == 1, ErrorKind::Runtime, "1D tensors expected, but got %dD and %dD tensors",
           a->dim(), b->dim());
  FL_CHECK(a->dtype == b->dtype, ErrorKind::Runtime,
           "dot : expected both vectors to have same dtype, but found %s and %s", dtype_title(a->dtype),
           dtype_title(b->dtype));
  outputs.emplace_back(multiply("dot", call, a, b));
}

TensorRef contiguous(Tensor* t) {
  if (t->is_meta() || t->is_contiguous()) return TensorRef(t);
  TensorRef copy = Tensor::empty(t->sizes, t->dtype, t->device());
  copy_into(copy.get(), t);
  return copy;
}

// The input's rows: all leading dimensions as one. `x` becomes a copy where memory does not allow that.
Matrix rows_of(TensorRef& x) {
  if (x->dim() == 1) return {x->is_meta() ? nullptr : x->data(), 1, x->sizes[0], x->sizes[0], x->strides[0]};
  if (folded_row_stride(x.get()) < 0) x = contiguous(x.get());
  int n = x->dim();
  int64_t cols = x->sizes[n - 1];
  int64_t rows = std::accumulate(x->sizes.begin(), x->sizes.end() - 1, int64_t{1}, std::multiplies<>());
  return {x->is_meta() ? nullptr : x->data(), rows, cols, folded_row_stride(x.get()), x->strides[n - 1]};
}

// linear(input, weight, bias): input[..., k] weight[n, k]^T + bias[n].
void linear(const Call& call, Outputs& outputs) {
  Tensor *x = call[0].tensor(), *w = call[1].tensor(), *bias = call[2].is_tensor() ? call[2].tensor() : nullptr;
  if (bias) check_three("linear", bias, x, w);
  check_pair("linear", x, w);
  FL_CHECK(w->dim() > 0 && x->dim() > 0, ErrorKind::Runtime,
           "both arguments to linear need to be at least 1D, but they are %dD and %dD [in linear: %s, %s]", x->dim(),
           w->dim(), describe("input", x).c_str(), describe("weight", w).c_str());
  FL_CHECK(w->dim() <= 2, ErrorKind::Runtime, "linear(): weight must be a matrix [%s, %s]",
           describe("input", x).c_str(), describe("weight", w).c_str());
  const bool vector = w->dim() == 1;  // the weight of one output, which has no dimension then
  FL_CHECK(!vector || !bias || x->dim() > 2 || (x->dim() == 1 && bias->dim() == 0), ErrorKind::Runtime,
           "mat2 must be a matrix, got 1-D tensor [in linear: %s, %s]", describe("input", x).c_str(),
           describe("weight", w).c_str());
  TensorRef matrix = vector ? view_of(*w, Dims{1, w->sizes[0]}, Dims{0, w->strides[0]}) : TensorRef(w);
  w = matrix.get();
  TensorRef rows(x), row_bias, only_row;
  Matrix a = rows_of(rows);
  FL_CHECK(a.cols == w->sizes[1], ErrorKind::Runtime,
           "mat1 and mat2 shapes cannot be multiplied (%ldx%ld and %ldx%ld) [in linear: %s, %s]. "
           "input.shape[-1] must equal weight.shape[-1].",
           a.rows, a.cols, w->sizes[1], w->sizes[0], describe("input", x).c_str(), describe("weight", w).c_str());
  Dims sizes = x->sizes;
  if (vector)
    sizes.erase(x->dim() - 1);
  else
    sizes[x->dim() - 1] = w->sizes[0];
  const bool plain = !bias || (bias->dim() == 1 && bias->sizes[0] == w->sizes[0]);
  if (!plain) {  // it may be expanded to the result
    FL_CHECK(bias->dim() != 1 || bias->sizes[0] == 1, ErrorKind::Runtime,
             "The expanded size of the tensor (%ld) must match the existing size (%ld) at non-singleton dimension 1.  "
             "Target sizes: [%ld, %ld].  Tensor sizes: %s [in linear: %s, %s]. bias.shape must be (weight.shape[0],).",
             w->sizes[0], bias->numel(), a.rows, w->sizes[0], list_text(bias->sizes).c_str(),
             describe("weight", w).c_str(), describe("bias", bias).c_str());
    if (x->dim() == 1 && bias->sizes == Dims{1, w->sizes[0]}) {  // PyTorch takes one row beside a vector
      only_row = select_at(*bias, 0, 0);
      bias = only_row.get();
    }
    expand_to(*bias, sizes);
  }
  TensorRef out = Tensor::empty(sizes, x->dtype, x->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  Matrix b{w->data(), w->sizes[1], w->sizes[0], w->strides[1], w->strides[0]};
  Gemm g = product(a, b, out.get());
  if (bias && plain) row_bias = contiguous(bias);
  if (!plain) begin_with(bias, out.get(), g);
  if (row_bias) g.bias = row_bias->data();
  gemm(g);
}

// linear_weight_grad(grad[..., n], input[..., k]) -> [n, k]: the sum over all leading dimensions of outer products.
void linear_weight_grad(const Call& call, Outputs& outputs) {
  TensorRef grad = call[0].tensor_ref(), x = call[1].tensor_ref();
  Matrix g = rows_of(grad), a = rows_of(x);
  TensorRef out = Tensor::empty(Dims{g.cols, a.cols}, x->dtype, x->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  Matrix gt{g.data, g.cols, g.rows, g.col, g.row};
  gemm(product(gt, a, out.get()));
}

RegisterNative natives[] = {{"matmul", matmul}, {"matmul_add", matmul_add},
                            {"mm", mm},         {"bmm", bmm},
                            {"mv", mv},         {"dot", dot},
                            {"linear", linear}, {"linear_weight_grad", linear_weight_grad}};

}  // namespace
}  // namespace fl
