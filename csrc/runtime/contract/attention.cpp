#include "runtime/contract/attention.h"

#include <limits>

#include "runtime/contract/attention_blocks.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

// Chunks wanted where heads are few; a number that most counts of threads divide.
constexpr int64_t kChunks = 48;
// Rows of queries that memory is asked for in one step over keys.
constexpr int64_t kRowsAhead = 16;
// Multiply-adds from which other threads of Python may run meanwhile.
constexpr int64_t kLongWork = 1 << 21;

// The memory of a chunk.
struct Place {
  char *key_copy, *value_copy, *rows, *panel, *rest, *scores, *sums;
  char *limits, *maximum, *total, *factors, *ones, *lse, *scale;
};

class Forward : public AttentionBlocks {
 public:
  Forward(const Attention& attention, const MicroKernels& micro, const AttentionKernels& kernels)
      : AttentionBlocks(attention, micro, kernels),
        heads_(a.batch * a.key_heads),
        parts_(std::min(ceil_div(kChunks, heads_), blocks.count())) {}

  int64_t chunks() const { return heads_ * parts_; }

  // Some blocks of queries of a group of heads.
  void run(int64_t chunk) const {
    int64_t batch = chunk / parts_ / a.key_heads, group = chunk / parts_ % a.key_heads;
    Range part = even_part(blocks.count(), parts_, chunk % parts_);
    const size_t lanes = lane_bytes();
    const size_t sizes[] = {key_bytes(a.k, a.depth, a.keys),
                            key_bytes(a.v, a.value_depth, a.keys),
                            row_bytes(std::max(a.depth, a.value_depth)),
                            panel_bytes(a.depth),
                            a.causal ? panel_bytes(a.depth) : 0,
                            panel_bytes(kKeyBlock),
                            panel_bytes(a.value_depth),
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes};
    size_t all = 0;
    for (size_t size : sizes) all += Workspace::padded(size);
    Workspace work(all);
    Place p{};
    char** places[] = {&p.key_copy, &p.value_copy, &p.rows,  &p.panel,   &p.rest, &p.scores, &p.sums,
                       &p.limits,   &p.maximum,    &p.total, &p.factors, &p.ones, &p.lse,    &p.scale};
    for (size_t n = 0; n < std::size(sizes); n++) *places[n] = work.take(sizes[n]);
    fill_lanes(mk, vectors, a.scale, p.scale);
    fill_lanes(mk, vectors, 1, p.ones);
    Rows k = keys(a.k, batch, group, a.depth, {0, a.keys}, p.key_copy);
    Rows v = keys(a.v, batch, group, a.value_depth, {0, a.keys}, p.value_copy);
    int64_t known = 0;
    for (int64_t i = part.begin; i < part.end; i++) {
      const QueryBlock next = i + 1 < part.end ? blocks.at(group, i + 1) : QueryBlock{};
      known = run_block(batch, blocks.at(group, i), next, k, v, known, p);
    }
  }

 private:
  // Returns how many keys the block saw; `known` is what the one before saw.
  int64_t run_block(int64_t batch, const QueryBlock& block, const QueryBlock& next, Rows k, Rows v, int64_t known,
                    const Place& p) const {
    const int n = block_vectors(block);
    ScoreArgs args{};
    args.lse = p.lse;
    pack(queries(a.q, batch, block, a.depth, p.rows), block, a.depth, p.panel);
    scale_rows(args, n, p.panel, a.depth, p.scale);
    fill_lanes(mk, n, -std::numeric_limits<double>::infinity(), p.maximum);
    fill_lanes(mk, n, 0, p.total);
    const int64_t seen = fill_limits(block, p.limits);
    for (int64_t first = 0, asked = 0; first < seen; asked += kRowsAhead) {
      const KeyStep s = step(block, first, seen);
      ask_for_rows(a.q, batch, next, asked, a.depth);
      ask_for_rows(a.out, batch, block, asked, a.value_depth);
      prefetch(s, k, v, known, seen);
      multiply(k.from(first), s, a.depth, rest(p.panel, a.depth, s, p.rest), p.scores);
      if (a.mask.data) add_mask(batch, s, p.scores);
      args.scores = p.scores, args.limits = p.limits + s.offset, args.maximum = p.maximum + s.offset;
      args.total = p.total + s.offset, args.factors = p.factors + s.offset;
      args.rows = s.keys.size(), args.free = free_rows(s.block, s.keys), args.first = first;
      ak.softmax[s.vectors](&args);
      fill_lanes(mk, n - s.vectors, 1, p.factors);
      const bool raised = std::memcmp(p.factors, p.ones, static_cast<size_t>(n * mk.vector_bytes)) != 0;
      if (first && raised) scale_rows(args, n, p.sums, a.value_depth, p.factors);
      collect(v.from(first), s, a.value_depth, p.scores, p.sums, n * mk.vector_bytes, first > 0);
      first = s.keys.end;
    }
    args.maximum = p.maximum, args.total = p.total;
    args.factors = p.factors;
    ak.finish[n](&args);
    scale_rows(args, n, p.sums, a.value_depth, p.factors);
    unpack(p.sums, a.out, batch, block, a.value_depth, p.rows);
    for (int64_t h = 0; h < block.heads; h++) {
      int64_t at = (batch * a.heads + block.head + h) * a.queries + block.first;
      std::memcpy(a.lse + at * element, p.lse + h * block.count * element, static_cast<size_t>(block.count * element));
    }
    return seen;
  }

  // Asks memory for some rows of a block, well before they are read or written: their addresses follow no line.
  void ask_for_rows(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t begin, int64_t columns) const {
    const int64_t bytes = columns * static_cast<int64_t>(dtype_size(a.dtype));
    for (int64_t i = begin; i < std::min(begin + kRowsAhead, block.rows()); i++) {
      const char* row = query_data(heads, batch, block, i);
      for (int64_t at = 0; at < bytes; at += kLine) __builtin_prefetch(row + at, 0, 2);
    }
  }

  void scale_rows(ScoreArgs& args, int n, char* matrix, int64_t rows, char* factors) const {
    args.scores = matrix, args.rows = rows, args.factors = factors;
    ak.scale[n](&args);
  }

  int64_t heads_, parts_;
};

}  // namespace

void attention_forward(const Attention& a) {
  const MicroKernels* mk = micro_kernels(compute_type(a.dtype));
  const AttentionKernels* ak = attention_kernels(compute_type(a.dtype));
  if (!mk || !ak) return plain_attention_forward(a);
  Forward forward(a, *mk, *ak);
  LongWork quiet(a.batch * a.heads * a.queries * a.keys * (a.depth + a.value_depth) >= kLongWork);
  if (queries_are_few(forward)) return attend_few_queries(forward);
  parallel_for(forward.chunks(), [&](int64_t chunk) { forward.run(chunk); });
}

}  // namespace fl
