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

// A block of queries of one chunk, ready for products.
struct Queries {
  int64_t batch;
  QueryBlock block;
  int vectors;
};

class Backward : public AttentionBlocks {
 public:
  Backward(const Attention& attention, const AttentionGradient& gradient, const MicroKernels& micro,
           const AttentionKernels& kernels)
      : AttentionBlocks(attention, micro, kernels),
        g(gradient),
        heads_(a.batch * a.key_heads),
        parts_(std::min(ceil_div(kChunks, heads_), ceil_div(a.keys, kKeyBlock))),
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
    const auto dk_size = static_cast<size_t>(range.size() * a.depth * element);
    const auto dv_size = static_cast<size_t>(range.size() * a.value_depth * element);
    const size_t key_size = key_bytes(a.k, a.depth, range.size()), rows_size = row_bytes(a.depth);
    const size_t value_size = key_bytes(a.v, a.value_depth, range.size());
    const size_t grad_size = row_bytes(a.value_depth), block_size = panel_bytes(kKeyBlock), lanes = lane_bytes();
    size_t all = 4 * Workspace::padded(lanes) + 2 * Workspace::padded(block_size);
    for (size_t size : {dk_size, dv_size, key_size, value_size, rows_size, grad_size, panel_bytes(a.depth),
                        panel_bytes(a.value_depth), panel_bytes(std::max(a.depth, a.value_depth))})
      all += Workspace::padded(size);
    Workspace work(all);
    Place p{};
    p.key_copy = key_size ? work.take(key_size) : nullptr;
    p.value_copy = value_size ? work.take(value_size) : nullptr;
    p.dk = work.take(dk_size), p.dv = work.take(dv_size);
    p.rows = work.take(rows_size), p.grad_rows = work.take(grad_size);
    p.panel = work.take(panel_bytes(a.depth)), p.sums = work.take(panel_bytes(std::max(a.depth, a.value_depth)));
    p.grad_panel = work.take(panel_bytes(a.value_depth));
    p.scores = work.take(block_size), p.grad_scores = work.take(block_size);
    for (char** x : {&p.limits, &p.lse, &p.delta, &p.scale}) *x = work.take(lanes);
    std::memset(p.dk, 0, dk_size);
    std::memset(p.dv, 0, dv_size);
    KeyRows k = keys(a.k, batch, group, a.depth, range, p.key_copy);
    KeyRows v = keys(a.v, batch, group, a.value_depth, range, p.value_copy);
    for (int64_t i = 0; i < blocks.count(); i++) {
      Queries queries{batch, blocks.at(group, i), 0};
      queries.vectors = block_vectors(queries.block);
      run_block(queries, range, part, k, v, p);
    }
    write_keys(g.dk, batch, group, a.depth, range, p.dk);
    write_keys(g.dv, batch, group, a.value_depth, range, p.dv);
  }

  void run_block(const Queries& queries, Range range, int64_t part, KeyRows k, KeyRows v, const Place& p) const {
    const int64_t seen = std::min(fill_limits(queries.block, p.limits), range.end);
    if (seen > range.begin) {
      prepare(queries, p);
    } else {
      std::memset(p.sums, 0, panel_bytes(a.depth));
    }
    for (int64_t first = range.begin; first < seen; first += kKeyBlock) {
      const Range keys{first, std::min(first + kKeyBlock, seen)};
      const int64_t at = first - range.begin;
      run_pair(queries, keys, {k.data + at * k.row, k.row}, {v.data + at * v.row, v.row}, p.dk + at * a.depth * element,
               p.dv + at * a.value_depth * element, first > range.begin, p);
    }
    unpack(p.sums, queries.block, a.depth, p.rows);
    if (parts_ == 1) return write(g.dq, queries.batch, queries.block, a.depth, p.rows, row_step(a.depth));
    for (int64_t i = 0; i < queries.block.rows(); i++) {
      int64_t head = queries.batch * a.heads + queries.block.head_of(i);
      std::memcpy(partial(head, part) + queries.block.query_of(i) * a.depth * element, p.rows + i * row_step(a.depth),
                  static_cast<size_t>(a.depth * element));
    }
  }

  // Panels of q and of the gradient; lse and delta = sum(out * gradient) of every query.
  void prepare(const Queries& queries, const Place& p) const {
    const QueryBlock& block = queries.block;
    ScoreArgs args{};
    read(a.out, queries.batch, block, a.value_depth, p.grad_rows);
    pack(p.grad_rows, block, a.value_depth, p.sums);
    read(g.grad, queries.batch, block, a.value_depth, p.grad_rows);
    pack(p.grad_rows, block, a.value_depth, p.grad_panel);
    args.scores = p.sums, args.other = p.grad_panel, args.rows = a.value_depth, args.delta = p.delta;
    ak.products[queries.vectors](&args);
    read(a.q, queries.batch, block, a.depth, p.rows);
    pack(p.rows, block, a.depth, p.panel);
    fill_lanes(mk, queries.vectors, a.scale, p.scale);
    args.scores = p.panel, args.rows = a.depth, args.factors = p.scale;
    ak.scale[queries.vectors](&args);
    fill_lanes(mk, queries.vectors, 0, p.lse);
    for (int64_t h = 0; h < block.heads; h++) {
      int64_t at = (queries.batch * a.heads + block.head + h) * a.queries + block.first;
      std::memcpy(p.lse + h * block.count * element, a.lse + at * element, static_cast<size_t>(block.count * element));
    }
  }

  // A block of queries with a block of keys.
  void run_pair(const Queries& queries, Range keys, KeyRows k, KeyRows v, char* dk, char* dv, bool accumulate,
                const Place& p) const {
    const int n = queries.vectors;
    multiply(k, keys.size(), a.depth, n, p.panel, p.scores);
    if (a.mask.data) add_mask(queries.batch, queries.block, keys, p.scores);
    multiply(v, keys.size(), a.value_depth, n, p.grad_panel, p.grad_scores);
    ScoreArgs args{};
    args.scores = p.scores, args.other = p.grad_scores, args.rows = keys.size();
    args.free = free_rows(queries.block, keys), args.first = keys.begin;
    args.limits = p.limits, args.lse = p.lse, args.delta = p.delta, args.scale = p.scale;
    ak.gradient[n](&args);
    add_product(p.scores, n, keys.size(), p.grad_rows, queries.block.rows(), a.value_depth, dv);
    add_product(p.grad_scores, n, keys.size(), p.rows, queries.block.rows(), a.depth, dk);
    collect(k, keys.size(), a.depth, n, p.grad_scores, p.sums, accumulate);
  }

  // out += weights times rows of queries.
  void add_product(const char* weights, int n, int64_t keys, const char* rows, int64_t queries, int64_t columns,
                   char* out) const {
    Gemm product{.m = keys, .n = columns, .k = queries};
    product.a = weights, product.a_row = n * mk.lanes, product.a_col = 1;
    product.b = rows, product.b_row = columns, product.b_col = 1;
    product.c = out, product.c_row = columns;
    product.dtype = compute_type(a.dtype);
    product.accumulate = true;
    gemm(product, Threads::Caller);
  }

  void write_keys(const Heads& heads, int64_t batch, int64_t head, int64_t columns, Range range,
                  const char* rows) const {
    const auto size = static_cast<int64_t>(dtype_size(a.dtype));
    char* to = head_data(heads, batch, head, a.dtype) + range.begin * heads.row * size;
    for (int64_t i = 0; i < range.size(); i++) {
      write_elements(a.dtype, rows + i * columns * element, columns, to + i * heads.row * size, heads.col);
    }
  }

  char* partial(int64_t head, int64_t part) const {
    return partial_.as() + (head * parts_ + part) * a.queries * a.depth * element;
  }

  // dq of a head: its parts in their order.
  void add_parts(int64_t head) const {
    const int64_t n = a.queries * a.depth, row = a.depth * element;
    for (int64_t part = 1; part < parts_; part++) {
      if (element == 4) {
        add(n, reinterpret_cast<const float*>(partial(head, part)), reinterpret_cast<float*>(partial(head, 0)));
      } else {
        add(n, reinterpret_cast<const double*>(partial(head, part)), reinterpret_cast<double*>(partial(head, 0)));
      }
    }
    write(g.dq, head / a.heads, {head % a.heads, 1, 0, a.queries}, a.depth, partial(head, 0), row);
  }

  template <class T>
  static void add(int64_t n, const T* from, T* to) {
    for (int64_t i = 0; i < n; i++) to[i] += from[i];
  }

  const AttentionGradient& g;
  int64_t heads_, parts_;
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
