// The gradients of attention: scores are computed again from q, k and the logarithm of their sum.
#include "runtime/contract/attention_blocks.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Chunks wanted where heads are few. Each beyond the first of a head takes memory for its part of dq.
constexpr int64_t kChunks = 16;

// The memory of a chunk.
struct Place {
  char *key_copy, *value_copy, *dk, *dv;
  char *rows, *grad_rows, *panel, *grad_panel, *scores, *grad_scores, *sums;
  char *limits, *lse, *delta, *scale;
};

// The part of a head of keys that a chunk computes, and where its gradients are summed.
struct Keys {
  Range range;
  Rows k, v, dk, dv;
};

// A block of queries: rows of q and of the gradient of the output.
struct Queries {
  int64_t batch;
  QueryBlock block;
  int vectors;
  Rows q, grad;
};

class Backward : public AttentionBlocks {
 public:
  Backward(const Attention& attention, const AttentionGradient& gradient, const MicroKernels& micro,
           const AttentionKernels& kernels)
      : AttentionBlocks(attention, micro, kernels, kKeyBlock),
        g(gradient),
        heads_(a.batch * a.key_heads),
        parts_(std::min(ceil_div(kChunks, heads_), ceil_div(a.keys, kKeyBlock))),
        by_rows_(column_parts(a.depth) > 0),
        partial_((parts_ > 1 ? parts_ : 0) * a.batch * a.heads * a.queries * a.depth * element) {}

  void run() const {
    parallel_for(heads_ * parts_, [&](int64_t chunk) { run_chunk(chunk); });
    if (parts_ > 1) parallel_for(a.batch * a.heads, [&](int64_t head) { add_parts(head); });
  }

 private:
  // A group of heads with a part of its keys: their dk and dv, and what they add to dq.
  void run_chunk(int64_t chunk) const {
    const int64_t batch = chunk / parts_ / a.key_heads, group = chunk / parts_ % a.key_heads, part = chunk % parts_;
    const Range range = even_part(a.keys, parts_, part);
    const size_t sizes[] = {key_bytes(a.k, a.depth, range.size()),
                            key_bytes(a.v, a.value_depth, range.size()),
                            key_bytes(g.dk, a.depth, range.size()),
                            key_bytes(g.dv, a.value_depth, range.size()),
                            row_bytes(a.depth),
                            row_bytes(a.value_depth),
                            panel_bytes(a.depth),
                            panel_bytes(a.value_depth),
                            score_bytes(),
                            score_bytes(),
                            panel_bytes(std::max(a.depth, a.value_depth)),
                            lane_bytes(),
                            lane_bytes(),
                            lane_bytes(),
                            lane_bytes()};
    size_t all = 0;
    for (size_t size : sizes) all += Workspace::padded(size);
    Workspace work(all);
    Place p{};
    char** places[] = {&p.key_copy, &p.value_copy,  &p.dk,   &p.dv,     &p.rows, &p.grad_rows, &p.panel, &p.grad_panel,
                       &p.scores,   &p.grad_scores, &p.sums, &p.limits, &p.lse,  &p.delta,     &p.scale};
    for (size_t i = 0; i < std::size(sizes); i++) *places[i] = work.take(sizes[i]);
    Keys keys{range, this->keys(a.k, batch, group, a.depth, range, p.key_copy),
              this->keys(a.v, batch, group, a.value_depth, range, p.value_copy),
              sums_of(g.dk, batch, group, a.depth, range, p.dk),
              sums_of(g.dv, batch, group, a.value_depth, range, p.dv)};
    int64_t known = range.begin;
    for (int64_t i = 0; i < blocks.count(); i++) {
      const QueryBlock block = blocks.at(group, i);
      known = run_block({batch, block, block_vectors(block), {}, {}}, keys, part, known, p);
    }
    write_sums(g.dk, batch, group, a.depth, keys.range, keys.dk);
    write_sums(g.dv, batch, group, a.value_depth, keys.range, keys.dv);
  }

  // Returns the end of the keys that the block saw; `known` is what the one before saw.
  int64_t run_block(Queries queries, const Keys& keys, int64_t part, int64_t known, const Place& p) const {
    const int64_t begin = keys.range.begin, seen = std::min(fill_limits(queries.block, p.limits), keys.range.end);
    if (seen > begin) prepare(queries, p);
    // Queries that the first step leaves out.
    if (seen <= begin || (a.causal && begin > queries.block.first)) std::memset(p.sums, 0, panel_bytes(a.depth));
    for (int64_t first = begin; first < seen;) {
      const KeyStep s = step(queries.block, first, seen);
      prefetch(s, keys.k.from(-begin), keys.v.from(-begin), known, seen);
      run_step(queries, keys, s, p);
      first = s.keys.end;
    }
    write_queries(queries, part, p);
    return std::max(seen, begin);
  }

  // dq, or a part of it.
  void write_queries(const Queries& queries, int64_t part, const Place& p) const {
    const QueryBlock& block = queries.block;
    const int64_t step = row_step(a.depth);
    const char* rows = by_rows_ ? p.sums : p.rows;
    if (!by_rows_) transpose_rows(mk, p.sums, queries.vectors * mk.vector_bytes, block.rows(), a.depth, step, p.rows);
    for (int64_t i = 0; i < block.rows(); i++) {
      if (parts_ == 1) {
        write_row(rows + i * step, a.depth, query_data(g.dq, queries.batch, block, i), g.dq.col);
        continue;
      }
      char* to = partial(queries.batch * a.heads + block.head_of(i), part);
      std::memcpy(to + block.query_of(i) * a.depth * element, rows + i * step, static_cast<size_t>(a.depth * element));
    }
  }

  // Panels of q and of the gradient; lse and delta = sum(out * gradient) of every query.
  void prepare(Queries& queries, const Place& p) const {
    const QueryBlock& block = queries.block;
    ScoreArgs args{};
    pack(this->queries(a.out, queries.batch, block, a.value_depth, p.grad_rows), block, a.value_depth, p.sums);
    queries.grad = this->queries(g.grad, queries.batch, block, a.value_depth, p.grad_rows);
    pack(queries.grad, block, a.value_depth, p.grad_panel);
    args.scores = p.sums, args.other = p.grad_panel, args.rows = a.value_depth, args.delta = p.delta;
    ak.products[queries.vectors](&args);
    queries.q = this->queries(a.q, queries.batch, block, a.depth, p.rows);
    pack(queries.q, block, a.depth, p.panel);
    fill_lanes(mk, queries.vectors, a.scale, p.scale);
    args.scores = p.panel, args.rows = a.depth, args.factors = p.scale;
    ak.scale[queries.vectors](&args);
    fill_lanes(mk, queries.vectors, 0, p.lse);
    for (int64_t h = 0; h < block.heads; h++) {
      int64_t at = (queries.batch * a.heads + block.head + h) * a.queries + block.first;
      std::memcpy(p.lse + h * block.count * element, a.lse + at * element, static_cast<size_t>(block.count * element));
    }
  }

  // A block of queries, or the rest of one, with some keys.
  void run_step(const Queries& queries, const Keys& keys, const KeyStep& s, const Place& p) const {
    const int64_t at = s.keys.begin - keys.range.begin, skipped = s.block.first - queries.block.first;
    multiply(keys.k.from(at), s, a.depth, p.panel, p.scores);
    if (a.mask.data) add_mask(queries.batch, s, p.scores);
    multiply(keys.v.from(at), s, a.value_depth, p.grad_panel, p.grad_scores);
    ScoreArgs args{};
    args.scores = p.scores, args.other = p.grad_scores, args.rows = s.keys.size();
    args.free = free_rows(s.block, s.keys), args.first = s.keys.begin;
    args.limits = p.limits + s.offset, args.lse = p.lse + s.offset, args.delta = p.delta + s.offset;
    args.scale = p.scale;
    ak.gradient[s.vectors](&args);
    add_product(p.scores, s, queries.grad.from(skipped), a.value_depth, keys.dv.from(at));
    add_product(p.grad_scores, s, queries.q.from(skipped), a.depth, keys.dk.from(at));
    Ahead nothing;
    const int64_t row = s.vectors * mk.vector_bytes;
    if (!by_rows_) {
      return collect(keys.k.from(at), s, a.depth, p.grad_scores, p.sums, queries.vectors * mk.vector_bytes,
                     at > 0 || s.offset > 0, nothing);
    }
    const Rows sums{p.sums, row_step(a.depth)};
    add_rows_product({p.grad_scores, element, row}, s.block.rows(), keys.k.from(at), a.depth, sums.from(skipped),
                     kNear | (at > 0 || skipped > 0 ? kAccumulate : 0), nothing,
                     [&](int64_t, int64_t end) { return seen_of(s, end); });
  }

  // out += weights times rows of queries.
  void add_product(const char* weights, const KeyStep& s, Rows rows, int64_t columns, Rows out) const {
    if (column_parts(columns)) {
      Ahead nothing;
      const Left left{weights, s.vectors * mk.vector_bytes, element};
      return add_rows_product(
          left, s.keys.size(), rows, columns, out, kAccumulate, nothing, [&](int64_t first, int64_t) {
            const bool cut = a.causal && s.block.heads == 1;
            return Range{cut ? std::max<int64_t>(0, s.keys.begin + first - s.block.first) : 0, s.block.rows()};
          });
    }
    Gemm product{.m = s.keys.size(), .n = columns, .k = s.block.rows()};
    product.a = weights, product.a_row = s.vectors * mk.lanes, product.a_col = 1;
    product.b = rows.data, product.b_row = rows.row / element, product.b_col = 1;
    product.c = out.data, product.c_row = out.row / element;
    product.dtype = compute_type(a.dtype);
    product.accumulate = true;
    gemm(product, Threads::Caller);
  }

  // Where a gradient of keys is summed: in place, or in `copy`. It begins with zeros.
  Rows sums_of(const Heads& heads, int64_t batch, int64_t head, int64_t columns, Range range, char* copy) const {
    Rows rows{copy, columns * element};
    if (in_place(heads, columns)) {
      rows = {head_data(heads, batch, head, a.dtype) + range.begin * heads.row * element, heads.row * element};
    }
    for (int64_t i = 0; i < range.size(); i++) {
      std::memset(rows.data + i * rows.row, 0, static_cast<size_t>(columns * element));
    }
    return rows;
  }

  void write_sums(const Heads& heads, int64_t batch, int64_t head, int64_t columns, Range range, Rows sums) const {
    if (in_place(heads, columns)) return;
    const auto size = static_cast<int64_t>(dtype_size(a.dtype));
    char* to = head_data(heads, batch, head, a.dtype) + range.begin * heads.row * size;
    for (int64_t i = 0; i < range.size(); i++) {
      write_row(sums.data + i * sums.row, columns, to + i * heads.row * size, heads.col);
    }
  }

  char* partial(int64_t head, int64_t part) const {
    return partial_.as() + (head * parts_ + part) * a.queries * a.depth * element;
  }

  // dq of a head: its parts in their order.
  void add_parts(int64_t head) const {
    const int64_t n = a.queries * a.depth;
    for (int64_t part = 1; part < parts_; part++) {
      if (element == 4) {
        add(n, reinterpret_cast<const float*>(partial(head, part)), reinterpret_cast<float*>(partial(head, 0)));
      } else {
        add(n, reinterpret_cast<const double*>(partial(head, part)), reinterpret_cast<double*>(partial(head, 0)));
      }
    }
    const QueryBlock all{head % a.heads, 1, 0, a.queries};
    for (int64_t i = 0; i < a.queries; i++) {
      write_row(partial(head, 0) + i * a.depth * element, a.depth, query_data(g.dq, head / a.heads, all, i), g.dq.col);
    }
  }

  template <class T>
  static void add(int64_t n, const T* from, T* to) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
  }

  const AttentionGradient& g;
  int64_t heads_, parts_;
  bool by_rows_;  // sums of dq are rows, not lanes
  Scratch partial_;
};

}  // namespace

void attention_backward(const Attention& a, const AttentionGradient& g) {
  const MicroKernels* mk = micro_kernels(compute_type(a.dtype));
  const AttentionKernels* ak = attention_kernels(compute_type(a.dtype));
  if (!mk || !ak) return plain_attention_backward(a, g);
  LongWork quiet(a.batch * a.heads * a.queries * a.keys * (a.depth + a.value_depth) >= 1 << 20);
  Backward(a, g, *mk, *ak).run();
}

}  // namespace fl
