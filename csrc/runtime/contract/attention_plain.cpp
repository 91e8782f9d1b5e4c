// Attention in plain loops, for machines that refuse executable memory.
#include <cmath>
#include <limits>
#include <vector>

#include "core/element.h"
#include "runtime/contract/attention_blocks.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// One head of a tensor, copied to rows of the type of the computation.
template <class T>
std::vector<T> rows_of(const Attention& a, const Heads& heads, int64_t batch, int64_t head, int64_t rows,
                       int64_t columns) {
  std::vector<T> out(static_cast<size_t>(rows * columns));
  const auto size = static_cast<int64_t>(dtype_size(a.dtype));
  const char* from = head_data(heads, batch, head, a.dtype);
  for (int64_t i = 0; i < rows; i++) {
    read_elements(a.dtype, from + i * heads.row * size, heads.col, columns,
                  reinterpret_cast<char*>(out.data() + i * columns));
  }
  return out;
}

template <class T>
void write_rows(const Attention& a, const Heads& heads, int64_t batch, int64_t head, int64_t rows, int64_t columns,
                const T* from) {
  const auto size = static_cast<int64_t>(dtype_size(a.dtype));
  char* to = head_data(heads, batch, head, a.dtype);
  for (int64_t i = 0; i < rows; i++) {
    write_elements(a.dtype, reinterpret_cast<const char*>(from + i * columns), columns, to + i * heads.row * size,
                   heads.col);
  }
}

template <class T>
T mask_at(const Attention& a, int64_t batch, int64_t head, int64_t query, int64_t key) {
  if (!a.mask.data) return 0;
  int64_t at = batch * a.mask.batch + head * a.mask.head + query * a.mask.row + key;
  if (a.mask_dtype != DType::Bool) return reinterpret_cast<const T*>(a.mask.data)[at];
  return a.mask.data[at] ? 0 : -std::numeric_limits<T>::infinity();
}

template <class T>
T dot(const T* x, const T* y, int64_t n) {
  T sum = 0;
  for (int64_t i = 0; i < n; i++) sum += x[i] * y[i];
  return sum;
}

template <class T>
void add_scaled(T factor, const T* x, int64_t n, T* to) {
  for (int64_t i = 0; i < n; i++) to[i] += factor * x[i];
}

// Scores of one query; returns how many keys it sees.
template <class T>
int64_t score(const Attention& a, int64_t batch, int64_t head, int64_t query, const T* q, const T* k, T* scores) {
  int64_t seen = a.causal ? std::min(query + 1, a.keys) : a.keys;
  for (int64_t j = 0; j < seen; j++) {
    scores[j] = dot(q, k + j * a.depth, a.depth) * static_cast<T>(a.scale) + mask_at<T>(a, batch, head, query, j);
  }
  return seen;
}

template <class T>
void forward_head(const Attention& a, int64_t batch, int64_t head) {
  auto q = rows_of<T>(a, a.q, batch, head, a.queries, a.depth);
  auto k = rows_of<T>(a, a.k, batch, head / a.group(), a.keys, a.depth);
  auto v = rows_of<T>(a, a.v, batch, head / a.group(), a.keys, a.value_depth);
  std::vector<T> out(static_cast<size_t>(a.queries * a.value_depth)), scores(static_cast<size_t>(a.keys));
  T* lse = reinterpret_cast<T*>(a.lse) + (batch * a.heads + head) * a.queries;
  for (int64_t i = 0; i < a.queries; i++) {
    int64_t seen = score(a, batch, head, i, q.data() + i * a.depth, k.data(), scores.data());
    T maximum = -std::numeric_limits<T>::infinity(), total = 0;
    for (int64_t j = 0; j < seen; j++) maximum = scores[j] > maximum ? scores[j] : maximum;
    T base = maximum == -std::numeric_limits<T>::infinity() ? 0 : maximum;
    T* row = out.data() + i * a.value_depth;
    for (int64_t j = 0; j < seen; j++) {
      T weight = std::exp(scores[j] - base);
      total += weight;
      add_scaled(weight, v.data() + j * a.value_depth, a.value_depth, row);
    }
    lse[i] = total == 0 ? std::numeric_limits<T>::infinity() : base + std::log(total);
    for (int64_t d = 0; d < a.value_depth; d++) row[d] = total == 0 ? 0 : row[d] / total;
  }
  write_rows(a, a.out, batch, head, a.queries, a.value_depth, out.data());
}

template <class T>
void backward_group(const Attention& a, const AttentionGradient& g, int64_t batch, int64_t group) {
  auto k = rows_of<T>(a, a.k, batch, group, a.keys, a.depth);
  auto v = rows_of<T>(a, a.v, batch, group, a.keys, a.value_depth);
  std::vector<T> dk(k.size()), dv(v.size()), scores(static_cast<size_t>(a.keys));
  for (int64_t head = group * a.group(); head < (group + 1) * a.group(); head++) {
    auto q = rows_of<T>(a, a.q, batch, head, a.queries, a.depth);
    auto out = rows_of<T>(a, a.out, batch, head, a.queries, a.value_depth);
    auto grad = rows_of<T>(a, g.grad, batch, head, a.queries, a.value_depth);
    std::vector<T> dq(q.size());
    const T* lse = reinterpret_cast<const T*>(a.lse) + (batch * a.heads + head) * a.queries;
    for (int64_t i = 0; i < a.queries; i++) {
      const T *qi = q.data() + i * a.depth, *gi = grad.data() + i * a.value_depth;
      int64_t seen = score(a, batch, head, i, qi, k.data(), scores.data());
      T delta = dot(out.data() + i * a.value_depth, gi, a.value_depth);
      for (int64_t j = 0; j < seen; j++) {
        T weight = std::exp(scores[j] - lse[i]);
        T slope = weight * (dot(gi, v.data() + j * a.value_depth, a.value_depth) - delta) * static_cast<T>(a.scale);
        add_scaled(weight, gi, a.value_depth, dv.data() + j * a.value_depth);
        add_scaled(slope, qi, a.depth, dk.data() + j * a.depth);
        add_scaled(slope, k.data() + j * a.depth, a.depth, dq.data() + i * a.depth);
      }
    }
    write_rows(a, g.dq, batch, head, a.queries, a.depth, dq.data());
  }
  write_rows(a, g.dk, batch, group, a.keys, a.depth, dk.data());
  write_rows(a, g.dv, batch, group, a.keys, a.value_depth, dv.data());
}

template <class F>
void with_compute_type(DType dtype, F&& fn) {
  if (compute_type(dtype) == DType::F32) return fn(float{});
  fn(double{});
}

}  // namespace

void plain_attention_forward(const Attention& a) {
  with_compute_type(a.dtype, [&](auto x) {
    parallel_for(a.batch * a.heads, [&](int64_t i) { forward_head<decltype(x)>(a, i / a.heads, i % a.heads); });
  });
}

void plain_attention_backward(const Attention& a, const AttentionGradient& g) {
  with_compute_type(a.dtype, [&](auto x) {
    parallel_for(a.batch * a.key_heads,
                 [&](int64_t i) { backward_group<decltype(x)>(a, g, i / a.key_heads, i % a.key_heads); });
  });
}

}  // namespace fl
