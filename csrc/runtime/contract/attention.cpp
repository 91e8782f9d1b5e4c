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

// What a step may add to a sum without a look at its maximum, and by one over which all may stay below: so much room is
// left to the values that weights are multiplied by, and to weights that are less. Beyond, a true maximum is taken.
constexpr double kMostAdded = int64_t{1} << 40;
// Products that begin with the maximum round as it does: where it is larger, they would no longer be beside what others
// come to.
constexpr double kLargestMaximum = 1 << 8;
// Vectors of scores that are worth a call.
constexpr int64_t kTile = 28;
constexpr double kLowest = -std::numeric_limits<double>::infinity();
constexpr double kLn2 = 0.6931471805599453;

// Keys of a block of scores where most are made by whole tiles, of 9 rows and of 14: the deeper a block, the fewer sums
// are read and written again.
constexpr int64_t kKeysOfThree = 252, kKeysOfTwo = 504;

int64_t keys_at_once(const Attention& a, const MicroKernels& mk) {
  if (a.mask.data) return kKeyBlock;
  return panel_width(a, mk) == 3 ? kKeysOfThree : kKeysOfTwo;
}

// The memory of a chunk.
struct Place {
  char *key_copy, *value_copy, *rows, *panel, *scores, *sums;
  char *limits, *maximum, *total, *factors, *ones, *lse, *scale, *ln2, *unused, *before;
};

class Forward : public AttentionBlocks {
 public:
  Forward(const Attention& attention, const MicroKernels& micro, const AttentionKernels& kernels)
      : AttentionBlocks(attention, micro, kernels, keys_at_once(attention, micro)),
        heads_(a.batch * a.key_heads),
        parts_(std::min(ceil_div(kChunks, heads_), blocks.count())),
        by_rows_(column_parts(a.value_depth) > 0),
        steps_ask_(mk.max_height[3] >= 8) {}

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
                            lanes,
                            2 * lanes};
    size_t all = 0;
    for (size_t size : sizes) all += Workspace::padded(size);
    Workspace work(all);
    Place p{};
    char** places[] = {&p.key_copy, &p.value_copy, &p.rows, &p.panel, &p.scores, &p.sums, &p.limits, &p.maximum,
                       &p.total,    &p.factors,    &p.ones, &p.lse,   &p.scale,  &p.ln2,  &p.unused, &p.before};
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
    const int64_t seen = fill_limits(block, p.limits), begin = std::max(known, seen);
    Ahead now;  // no block before has asked for these
    now.add(k.from(known).data, k.row, step_end(0, seen) - known, a.depth * element);
    now.ask_all();
    pack(queries(a.q, batch, block, a.depth, p.rows), block, a.depth, p.panel);
    scale_lanes(args, n, p.panel, a.depth, p.scale);
    fill_lanes(mk, n, a.mask.data ? kLowest : 0, p.maximum);  // most scores are near enough to 0
    fill_lanes(mk, n, 0, p.total);
    const int64_t wanted = a.causal ? std::min(next.first + next.count, a.keys) : 0;
    Ahead ahead;
    add_rows(a.out, batch, block, a.value_depth, ahead);
    add_rows(a.q, batch, next, a.depth, ahead);
    ahead.add(k.from(begin).data, k.row, wanted - begin, a.depth * element);
    ahead.add(v.from(begin).data, v.row, wanted - begin, a.value_depth * element);
    ahead.share((steps_ask_ ? 0 : ceil_div(seen, mk.max_height[n])) +
                ceil_div(seen, key_block) * ceil_div(block.rows(), mk.max_height[n]));
    for (int64_t first = 0; first < seen;) {
      const KeyStep s{{first, step_end(first, seen)}, block, n, 0};
      Ahead soon = needed_soon(s, k, v, known, seen);
      weigh(batch, s, k.from(first), soon, ahead, p);
      const bool raised = std::memcmp(p.factors, p.ones, static_cast<size_t>(n * mk.vector_bytes)) != 0;
      if (first && raised) scale_sums(n, p);
      add_values(s, v, ahead, p);
      first = s.keys.end;
    }
    args.maximum = p.maximum, args.total = p.total;
    args.factors = p.factors;
    ak.finish[n](&args);
    write_out(batch, block, p);
    for (int64_t h = 0; h < block.heads; h++) {
      int64_t at = (batch * a.heads + block.head + h) * a.queries + block.first;
      std::memcpy(a.lse + at * element, p.lse + h * block.count * element, static_cast<size_t>(block.count * element));
    }
    return std::max(begin, wanted);
  }

  // sums (+)= weights times values. Some rows are asked for with every tile.
  void add_values(const KeyStep& s, Rows v, Ahead& ahead, const Place& p) const {
    if (!by_rows_) {
      const int64_t row = s.vectors * mk.vector_bytes;
      return collect(v.from(s.keys.begin), s, a.value_depth, p.scores, p.sums, row, s.keys.begin > 0, ahead);
    }
    const Left weights{p.scores, element, s.vectors * mk.vector_bytes};
    add_rows_product(weights, s.block.rows(), v.from(s.keys.begin), a.value_depth, {p.sums, row_step(a.value_depth)},
                     kNear | (s.keys.begin ? kAccumulate : 0), ahead,
                     [&](int64_t, int64_t end) { return seen_of(s, end); });
  }

  // Sums so far, by what their maximum was raised by.
  void scale_sums(int n, const Place& p) const {
    ScoreArgs args{};
    if (!by_rows_) return scale_lanes(args, n, p.sums, a.value_depth, p.factors);
    scale_rows(n * mk.lanes, p, p.sums, row_step(a.value_depth));
  }

  void scale_rows(int64_t rows, const Place& p, char* to, int64_t to_row) const {
    ScoreArgs args{};
    args.scores = p.sums, args.step = row_step(a.value_depth), args.rows = rows;
    args.depth = a.value_depth / mk.lanes, args.factors = p.factors;
    args.other = to, args.key_row = to_row;
    ak.scale_rows(&args);
  }

  // The result of a block.
  void write_out(int64_t batch, const QueryBlock& block, const Place& p) const {
    if (!by_rows_) {
      ScoreArgs args{};
      scale_lanes(args, block_vectors(block), p.sums, a.value_depth, p.factors);
      return unpack(p.sums, a.out, batch, block, a.value_depth, p.rows);
    }
    if (block.heads == 1 && in_place(a.out, a.value_depth)) {
      return scale_rows(block.rows(), p, query_data(a.out, batch, block, 0), a.out.row * element);
    }
    const int64_t step = row_step(a.value_depth);
    scale_rows(block.rows(), p, p.sums, step);
    for (int64_t i = 0; i < block.rows(); i++) {
      write_row(p.sums + i * step, a.value_depth, query_data(a.out, batch, block, i), a.out.col);
    }
  }

  int64_t step_end(int64_t first, int64_t end) const {
    return end - first <= key_block + key_block / 2 ? end : first + key_block;
  }

  // Values of a step, and keys of the next, from `known` on.
  Ahead needed_soon(const KeyStep& s, Rows k, Rows v, int64_t known, int64_t end) const {
    const int64_t value = std::max(known, s.keys.begin), key = std::max(known, s.keys.end);
    Ahead soon;
    soon.add(v.from(value).data, v.row, s.keys.end - value, a.value_depth * element);
    soon.add(k.from(key).data, k.row, step_end(s.keys.end, end) - key, a.depth * element);
    return soon;
  }

  // The scores of a step as weights; maximum and total go on, factors are for the sums before.
  void weigh(int64_t batch, const KeyStep& s, Rows k, Ahead& soon, Ahead& ahead, const Place& p) const {
    const auto lanes = static_cast<size_t>(s.vectors * mk.vector_bytes);
    const int64_t rows = s.keys.size(), n = s.vectors * mk.lanes;
    const int64_t first = a.mask.data ? rows : rows % mk.max_height[s.vectors];
    if (first == rows || !steps_ask_) soon.ask_all();
    fill_lanes(mk, vectors, 1, p.factors);
    std::memcpy(p.before, p.maximum, lanes);
    std::memcpy(p.before + lanes, p.total, lanes);
    if (first) weigh_rows({0, first}, batch, s, k, p);
    if (first == rows) return;
    weigh_tiles({first, rows}, s, k, soon, ahead, p);
    soon.ask_all();
    if (element == 4 ? is_near<float>(n, p, p.before + lanes) : is_near<double>(n, p, p.before + lanes)) return;
    if (s.keys.begin) {
      std::memcpy(p.maximum, p.before, lanes);
    } else {
      fill_lanes(mk, s.vectors, kLowest, p.maximum);
    }
    std::memcpy(p.total, p.before + lanes, lanes);
    weigh_rows({0, rows}, batch, s, k, p);
  }

  // Rows of a step, by the maximum of all.
  void weigh_rows(Range rows, int64_t batch, KeyStep s, Rows k, const Place& p) const {
    s.keys = {s.keys.begin + rows.begin, s.keys.begin + rows.end};
    ScoreArgs args{};
    args.scores = p.scores + rows.begin * s.vectors * mk.vector_bytes;
    multiply(k.from(rows.begin), s, a.depth, p.panel, args.scores);
    if (a.mask.data) {
      add_mask(batch, s, args.scores);
    } else {
      scale_lanes(args, s.vectors, args.scores, rows.size(), p.ln2);
    }
    args.rows = rows.size(), args.free = free_rows(s.block, s.keys), args.first = s.keys.begin;
    args.limits = p.limits, args.maximum = p.maximum, args.total = p.total, args.factors = p.factors;
    ak.softmax[s.vectors](&args);
  }

  // Rows of a step in whole tiles, by the maximum so far. Tiles beside the diagonal take the vectors of queries that
  // see some of their keys.
  void weigh_tiles(Range rows, const KeyStep& s, Rows k, Ahead& soon, Ahead& ahead, const Place& p) const {
    const int64_t height = mk.max_height[s.vectors], row = s.vectors * mk.vector_bytes;
    const int64_t free = free_rows(s.block, s.keys);
    const int64_t together = ceil_div(kTile, height * s.vectors);
    int64_t partly = rows.end;
    ScoreArgs args{};
    args.step = row, args.key_row = k.row, args.depth = a.depth;
    for (int64_t first = rows.begin; first < rows.end; first += args.rows * height) {
      int64_t skipped = 0;
      args.total = p.total;
      args.rows = std::min(together, (free - first) / height);
      if (args.rows <= 0) {
        partly = std::min(partly, first);
        args.rows = 1, args.total = p.unused;
        if (s.block.heads == 1) skipped = std::max<int64_t>(0, s.keys.begin + first - s.block.first) / mk.lanes;
        while (mk.max_height[s.vectors - skipped] != height) skipped--;
      }
      const int64_t offset = skipped * mk.vector_bytes;
      args.scores = p.scores + first * row + offset, args.other = p.panel + offset;
      args.maximum = p.maximum + offset, args.keys = k.from(first).data;
      const int64_t steps = steps_ask_ ? a.depth * args.rows : 0;
      if (!steps || (!soon.leave(args, steps) && !ahead.leave(args, steps))) args.ahead = args.ahead_last = args.other;
      ak.weigh[s.vectors - skipped](&args);
      if (!steps) ahead.ask();
    }
    if (partly == rows.end) return;
    args.scores = p.scores + partly * row, args.rows = rows.end - partly, args.first = s.keys.begin + partly;
    args.limits = p.limits, args.total = p.total;
    ak.hide[s.vectors](&args);
  }

  // Whether sums have grown from `before` by what is near the maximum.
  template <class T>
  static bool is_near(int64_t n, const Place& p, const char* before) {
    const T *from = reinterpret_cast<const T*>(before), *to = reinterpret_cast<const T*>(p.total);
    const T* maximum = reinterpret_cast<const T*>(p.maximum);
    bool near = true;
    for (int64_t i = 0; i < n; i++) {
      near &= (to[i] >= from[i]) & (to[i] >= static_cast<T>(1 / kMostAdded)) &
              (to[i] - from[i] <= static_cast<T>(kMostAdded)) &
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

  // Rows of as many vectors as a block of queries, times a number for each lane.
  void scale_lanes(ScoreArgs& args, int n, char* matrix, int64_t rows, char* factors) const {
    args.scores = matrix, args.rows = rows, args.factors = factors;
    ak.scale[n](&args);
  }

  int64_t heads_, parts_;
  bool by_rows_;    // sums are rows of the result, not lanes
  bool steps_ask_;  // `weigh` asks memory for rows, having registers for it
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
