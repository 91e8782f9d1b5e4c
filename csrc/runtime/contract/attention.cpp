#include "runtime/contract/attention.h"

#include <cmath>
#include <limits>

#include "runtime/contract/attention_blocks.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

// Chunks wanted where heads are few; a number that most counts of threads divide.
constexpr int64_t kChunks = 48;
// Multiply-adds from which other threads of Python may run meanwhile.
constexpr int64_t kLongWork = 1 << 21;

// What a step may add to a sum without a look at its maximum: so much room is left to the values that weights are
// multiplied by. Beyond, some weight is so large that the maximum is raised.
constexpr double kMostAdded = 1 << 24;
// Products that begin with the maximum round as it does: where it is larger, they would no longer be beside what others
// come to.
constexpr double kLargestMaximum = 1 << 8;
constexpr double kLn2 = 0.6931471805599453;

// Keys of a block of scores where most are made by whole tiles, of 9 rows and of 14: fewer sums are read and written
// again where blocks of two vectors are deeper.
constexpr int64_t kKeysOfThree = 126, kKeysOfTwo = 252;

int64_t keys_at_once(const Attention& a, const MicroKernels& mk) {
  if (a.mask.data) return kKeyBlock;
  return panel_width(a, mk) == 3 ? kKeysOfThree : kKeysOfTwo;
}

// The memory of a chunk.
struct Place {
  char *key_copy, *value_copy, *rows, *panel, *rest, *scores, *sums;
  char *limits, *maximum, *total, *factors, *ones, *lse, *scale, *ln2, *before;
};

class Forward : public AttentionBlocks {
 public:
  Forward(const Attention& attention, const MicroKernels& micro, const AttentionKernels& kernels)
      : AttentionBlocks(attention, micro, kernels, keys_at_once(attention, micro)),
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
                            score_bytes(),
                            panel_bytes(a.value_depth),
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            lanes,
                            2 * lanes};
    size_t all = 0;
    for (size_t size : sizes) all += Workspace::padded(size);
    Workspace work(all);
    Place p{};
    char** places[] = {&p.key_copy, &p.value_copy, &p.rows,    &p.panel, &p.rest, &p.scores, &p.sums, &p.limits,
                       &p.maximum,  &p.total,      &p.factors, &p.ones,  &p.lse,  &p.scale,  &p.ln2,  &p.before};
    for (size_t n = 0; n < std::size(sizes); n++) *places[n] = work.take(sizes[n]);
    fill_lanes(mk, vectors, a.mask.data ? a.scale : a.scale / kLn2, p.scale);
    fill_lanes(mk, vectors, kLn2, p.ln2);
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
  // Returns how many keys memory has been asked for, which is `known` before.
  int64_t run_block(int64_t batch, const QueryBlock& block, const QueryBlock& next, Rows k, Rows v, int64_t known,
                    const Place& p) const {
    const int n = block_vectors(block);
    ScoreArgs args{};
    args.lse = p.lse;
    pack(queries(a.q, batch, block, a.depth, p.rows), block, a.depth, p.panel);
    scale_rows(args, n, p.panel, a.depth, p.scale);
    fill_lanes(mk, n, -std::numeric_limits<double>::infinity(), p.maximum);
    fill_lanes(mk, n, 0, p.total);
    const int64_t seen = fill_limits(block, p.limits), begin = std::max(known, seen);
    const int64_t wanted = a.causal ? std::min(next.first + next.count, a.keys) : 0;
    Ahead ahead;
    add_rows(a.out, batch, block, a.value_depth, ahead);
    add_rows(a.q, batch, next, a.depth, ahead);
    ahead.add(k.from(begin).data, k.row, wanted - begin, a.depth * element);
    ahead.add(v.from(begin).data, v.row, wanted - begin, a.value_depth * element);
    const int64_t tiles = ceil_div(a.value_depth, mk.max_height[n]);
    for (int64_t first = 0; first < seen;) {
      const KeyStep s = step(block, first, seen);
      prefetch(s, k, v, known, seen);
      weigh(batch, s, k.from(first), rest(p.panel, a.depth, s, p.rest), p);
      const bool raised = std::memcmp(p.factors, p.ones, static_cast<size_t>(n * mk.vector_bytes)) != 0;
      if (first && raised) scale_rows(args, n, p.sums, a.value_depth, p.factors);
      collect(v.from(first), s, a.value_depth, p.scores, p.sums, n * mk.vector_bytes, first > 0, ahead,
              ceil_div(ahead.rows() * s.keys.size(), seen * tiles));
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
    return std::max(begin, wanted);
  }

  // The scores of a step as weights; maximum and total go on, factors are for the sums before.
  void weigh(int64_t batch, const KeyStep& s, Rows k, char* panel, const Place& p) const {
    const size_t lanes = static_cast<size_t>(s.vectors * mk.vector_bytes);
    const int64_t quick = quick_rows(s);
    ScoreArgs args{};
    args.limits = p.limits + s.offset, args.maximum = p.maximum + s.offset;
    args.total = p.total + s.offset, args.factors = p.factors + s.offset;
    fill_lanes(mk, vectors, 1, p.factors);
    if (quick) {
      std::memcpy(p.before, args.maximum, lanes);
      std::memcpy(p.before + lanes, args.total, lanes);
    }
    if (quick < s.keys.size()) weigh_from(quick, batch, s, k, panel, args, p);
    if (!quick) return;
    const int64_t n = s.vectors * mk.lanes;
    const char* total = p.before + lanes;
    args.scores = p.scores, args.other = panel, args.rows = quick / mk.max_height[s.vectors];
    args.keys = k.data, args.key_row = k.row, args.depth = a.depth;
    ak.weigh[s.vectors](&args);
    if (element == 4 ? is_near<float>(n, args, total) : is_near<double>(n, args, total)) return;
    std::memcpy(args.maximum, p.before, lanes);
    std::memcpy(args.total, p.before + lanes, lanes);
    weigh_from(0, batch, s, k, panel, args, p);
  }

  // Rows in whole tiles that all queries see, after others that the first maximum comes from. None of a short step,
  // whose others would be too large a part.
  int64_t quick_rows(const KeyStep& s) const {
    const int64_t height = mk.max_height[s.vectors];
    if (a.mask.data || s.keys.size() < 3 * height) return 0;
    return (free_rows(s.block, s.keys) - (s.keys.begin == 0)) / height * height;
  }

  // The scores from a row on, by the maximum of all.
  void weigh_from(int64_t row, int64_t batch, KeyStep s, Rows k, char* panel, ScoreArgs& args, const Place& p) const {
    s.keys.begin += row;
    args.scores = p.scores + row * s.vectors * mk.vector_bytes;
    multiply(k.from(row), s, a.depth, panel, args.scores);
    args.rows = s.keys.size();
    if (a.mask.data) {
      add_mask(batch, s, args.scores);
    } else {
      char* factors = args.factors;
      scale_rows(args, s.vectors, args.scores, args.rows, p.ln2);
      args.factors = factors;
    }
    args.free = free_rows(s.block, s.keys), args.first = s.keys.begin;
    ak.softmax[s.vectors](&args);
  }

  // Whether sums have grown from `before` by what is near the maximum.
  template <class T>
  static bool is_near(int64_t n, const ScoreArgs& args, const char* before) {
    const T *from = reinterpret_cast<const T*>(before), *to = reinterpret_cast<const T*>(args.total);
    const T* maximum = reinterpret_cast<const T*>(args.maximum);
    bool near = true;
    for (int64_t i = 0; i < n; i++) {
      near &= (to[i] >= from[i]) & (to[i] - from[i] <= static_cast<T>(kMostAdded)) &
              (std::abs(maximum[i]) <= static_cast<T>(kLargestMaximum));
    }
    return near;
  }

  void add_rows(const Heads& heads, int64_t batch, const QueryBlock& block, int64_t columns, Ahead& ahead) const {
    const auto size = static_cast<int64_t>(dtype_size(a.dtype));
    for (int64_t h = 0; h < block.heads; h++) {
      ahead.add(query_data(heads, batch, block, h * block.count), heads.row * size, block.count, columns * size);
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
