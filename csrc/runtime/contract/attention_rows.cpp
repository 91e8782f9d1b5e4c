// Attention of a few queries, as when a text is continued by one token: scores stand row by row, lanes are keys.
#include <cmath>
#include <limits>

#include "runtime/contract/attention_blocks.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"

namespace fl {
namespace {

template <class T>
class FewQueries {
 public:
  FewQueries(const AttentionBlocks& blocks)
      : b(blocks), a(blocks.a), rows_(a.group() * a.queries), step_(round_up(a.keys, b.mk.lanes)) {}

  // All queries of a group of heads.
  void run(int64_t batch, int64_t group) const {
    const size_t sizes[] = {b.key_bytes(a.k, a.depth, a.keys),
                            b.key_bytes(a.v, a.value_depth, a.keys),
                            bytes(rows_ * a.depth),
                            bytes(rows_ * step_),
                            bytes(rows_ * a.value_depth),
                            b.lane_bytes(),
                            b.lane_bytes(),
                            b.lane_bytes()};
    size_t all = 0;
    for (size_t size : sizes) all += Workspace::padded(size);
    Workspace work(all);
    char *key_copy = work.take(sizes[0]), *value_copy = work.take(sizes[1]);
    T *q = work.take<T>(sizes[2]), *scores = work.take<T>(sizes[3]), *out = work.take<T>(sizes[4]);
    ScoreArgs lanes{};
    lanes.maximum = work.take(sizes[5]), lanes.total = work.take(sizes[6]), lanes.factors = work.take(sizes[7]);
    const QueryBlock block{group * a.group(), a.group(), 0, a.queries};
    const int64_t most = a.causal ? std::min(a.queries, a.keys) : a.keys;  // keys that some query sees
    Rows k = b.keys(a.k, batch, group, a.depth, {0, most}, key_copy);
    Rows v = b.keys(a.v, batch, group, a.value_depth, {0, most}, value_copy);
    for (int64_t i = 0; i < rows_; i++) {
      T* row = q + i * a.depth;
      b.read_row(b.query_data(a.q, batch, block, i), a.q.col, a.depth, reinterpret_cast<char*>(row));
      for (int64_t d = 0; d < a.depth; d++) row[d] *= static_cast<T>(a.scale);
    }
    Gemm product{.m = rows_, .n = most, .k = a.depth, .a = q, .a_row = a.depth, .a_col = 1, .b = k.data};
    product.b_row = 1, product.b_col = k.row / b.element;
    product.c = scores, product.c_row = step_;
    product.dtype = compute_type(a.dtype);
    gemm(product, Threads::Caller);
    for (int64_t i = 0; i < rows_; i++) weigh(batch, block, i, most, scores + i * step_, lanes);
    Gemm sum{.m = rows_, .n = a.value_depth, .k = most, .a = scores, .a_row = step_, .a_col = 1, .b = v.data};
    sum.b_row = v.row / b.element, sum.b_col = 1;
    sum.c = out, sum.c_row = a.value_depth;
    sum.dtype = product.dtype;
    gemm(sum, Threads::Caller);
    for (int64_t i = 0; i < rows_; i++) {
      b.write_row(reinterpret_cast<const char*>(out + i * a.value_depth), a.value_depth,
                  b.query_data(a.out, batch, block, i), a.out.col);
    }
  }

 private:
  static constexpr T kLowest = -std::numeric_limits<T>::infinity();

  static size_t bytes(int64_t n) { return static_cast<size_t>(n) * sizeof(T); }

  // Scores of one query become weights. Each lane has a maximum and a sum of its own, joined at the end.
  void weigh(int64_t batch, const QueryBlock& block, int64_t i, int64_t most, T* row, ScoreArgs& lanes) const {
    const int64_t n = b.mk.lanes, query = block.query_of(i), head = block.head_of(i);
    const int64_t seen = a.causal ? std::min(query + 1, most) : most;
    if (a.mask.data) add_mask(batch * a.mask.batch + head * a.mask.head + query * a.mask.row, seen, row);
    std::fill(row + seen, row + round_up(most, n), kLowest);
    fill_lanes(b.mk, 1, kLowest, lanes.maximum);
    fill_lanes(b.mk, 1, 0, lanes.total);
    lanes.scores = reinterpret_cast<char*>(row);
    lanes.rows = lanes.free = ceil_div(most, n);
    lanes.limits = lanes.factors;  // of no row
    b.ak.softmax[1](&lanes);
    const T *maxima = reinterpret_cast<T*>(lanes.maximum), *totals = reinterpret_cast<T*>(lanes.total);
    T* factors = reinterpret_cast<T*>(lanes.factors);
    T maximum = *std::max_element(maxima, maxima + n), total = 0;
    for (int64_t j = 0; j < n; j++) {
      factors[j] = maxima[j] == kLowest ? 0 : std::exp(maxima[j] - maximum);
      total += totals[j] * factors[j];
    }
    for (int64_t j = 0; j < n; j++) factors[j] = total == 0 ? 0 : factors[j] / total;
    b.ak.scale[1](&lanes);
    T* lse = reinterpret_cast<T*>(a.lse) + (batch * a.heads + head) * a.queries + query;
    *lse = total == 0 ? -kLowest : maximum + std::log(total);
  }

  void add_mask(int64_t at, int64_t seen, T* row) const {
    if (a.mask_dtype == DType::Bool) {
      for (int64_t j = 0; j < seen; j++) row[j] = a.mask.data[at + j] ? row[j] : kLowest;
    } else {
      for (int64_t j = 0; j < seen; j++) row[j] += reinterpret_cast<const T*>(a.mask.data)[at + j];
    }
  }

  const AttentionBlocks& b;
  const Attention& a;
  const int64_t rows_, step_;
};

template <class T>
void run(const AttentionBlocks& blocks) {
  const FewQueries<T> few(blocks);
  const int64_t key_heads = blocks.a.key_heads;
  parallel_for(blocks.a.batch * key_heads, [&](int64_t i) { few.run(i / key_heads, i % key_heads); });
}

}  // namespace

bool queries_are_few(const AttentionBlocks& blocks) {
  return blocks.a.group() * blocks.a.queries <= std::max(blocks.mk.lanes / 4, 1);
}

void attend_few_queries(const AttentionBlocks& blocks) {
  if (blocks.element == 4) return run<float>(blocks);
  run<double>(blocks);
}

}  // namespace fl
