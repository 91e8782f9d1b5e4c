#include "runtime/contract/pairs.h"

#include "core/element.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/plan.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

constexpr int64_t kElement = 2, kPair = 4;

// One operand of a block: `depth` elements of `others` rows (or columns); strides in bytes.
struct Operand {
  const char* data;
  int64_t other, step, others, depth;
  int64_t pairs() const { return ceil_div(depth, 2); }
  int64_t whole_pairs() const { return depth / 2; }
};

// Pairs [first, pairs) one by one; half a pair at the end of an odd depth is filled up with 0.
void copy_pairs(const Operand& x, int64_t first, char* out, int64_t out_other, int64_t out_pair) {
  for (int64_t k = first; k < x.pairs(); k++) {
    for (int64_t i = 0; i < x.others; i++) {
      const char* at = x.data + i * x.other + 2 * k * x.step;
      uint16_t pair[2] = {0, 0};
      std::memcpy(&pair[0], at, kElement);
      if (2 * k + 1 < x.depth) std::memcpy(&pair[1], at + x.step, kElement);
      std::memcpy(out + i * out_other + k * out_pair, pair, kPair);
    }
  }
}

// What mode make of the kernels needs to read `width` neighbouring columns of an operand.
struct Reader {
  Tap tap;
  Reader(const MicroKernels& mk, const PanelShape& shape) : tap(plain_tap(mk.lanes, shape.vectors, shape.tail)) {}
  void set(MicroArgs& args, const char* source, int64_t step) const {
    args.b = source;
    args.pair_step = step;
    args.channel_step = 2 * step;
    args.taps = &tap;
    args.taps_end = &tap + 1;
  }
};

// The left operand as rows of pairs: as it lies where pairs are neighbours, or a copy.
class LeftPairs {
 public:
  // For blocks up to the size of `x`; `odd`: one of them may end with half a pair.
  LeftPairs(const MicroKernels& mk, const Operand& x, bool odd, int64_t height, int64_t panels) {
    if (x.step == kElement && !odd && !LeftPacking::worthwhile(x.others, height, x.other, panels)) return;
    interleaved_ = x.other == kElement && x.others > 1;
    // An odd number of lines, so that neighbouring rows do not fall into the same sets of the cache.
    stride_ = (ceil_div(interleaved_ ? x.others : x.pairs(), mk.lanes) | 1) * mk.vector_bytes;
    bytes_ = static_cast<size_t>((interleaved_ ? x.pairs() : x.others) * stride_);
  }
  size_t bytes() const { return bytes_; }  // 0: the operand serves as it lies

  Left pack(const MicroKernels& mk, const Operand& x, char* out) const {
    if (bytes_ == 0) return {x.data, x.other, kPair};
    if (interleaved_) {
      interleave(mk, x, out);
      return {out, kPair, stride_};
    }
    if (x.step == kElement) {
      for (int64_t i = 0; i < x.others; i++) {
        std::memcpy(out + i * stride_, x.data + i * x.other, static_cast<size_t>(x.whole_pairs() * kPair));
      }
      copy_pairs(x, x.whole_pairs(), out, stride_, kPair);
    } else {
      copy_pairs(x, 0, out, stride_, kPair);
    }
    return {out, stride_, kPair};
  }

 private:
  void interleave(const MicroKernels& mk, const Operand& x, char* out) const {
    const int64_t most = kMaxVectors * mk.lanes;
    for (int64_t i = 0; i < x.others && x.whole_pairs() > 0; i += most) {
      PanelShape shape(std::min(most, x.others - i), mk.lanes);
      Reader reader(mk, shape);
      MicroArgs args{};
      args.k = x.whole_pairs();
      reader.set(args, x.data + i * kElement, x.step);
      args.panel = out + i * kPair;
      args.panel_step = stride_;
      mk.make[shape.vectors][0](&args);
    }
    copy_pairs(x, x.whole_pairs(), out, kPair, stride_);
  }

  int64_t stride_ = 0;
  bool interleaved_ = false;
  size_t bytes_ = 0;
};

struct Problem {
  const NarrowKernels& nk;
  const Gemm& g;
  const Plan& plan;
  const float *bias, *row_bias;
  float* partials;  // [parts, m, n] where the depth is cut among chunks

  int64_t pairs() const { return ceil_div(g.k, 2); }
  // Tiles are rounded as they are stored, unless they are summed up further.
  bool direct() const { return plan.parts == 1 && plan.depth >= pairs() && !g.accumulate; }
};

class Block {
 public:
  Block(const Problem& problem, const Chunk& chunk)
      : p_(problem), mk_(problem.nk.pairs), chunk_(chunk), tiles_(chunk.rows.size(), problem.plan.height) {}

  void run() {
    const Gemm& g = p_.g;
    int64_t panels = ceil_div(chunk_.columns.size(), p_.plan.width);
    Operand first = left({chunk_.depth.begin, std::min(chunk_.depth.begin + p_.plan.depth, chunk_.depth.end)});
    LeftPairs packing(mk_, first, g.k % 2 != 0, p_.plan.height, panels);
    bool kept = tiles_.count > 1 || g.b_col != 1 || g.k % 2;
    size_t panel_size = panel_bytes(mk_, kept ? p_.plan.depth : 1, p_.plan.vectors);
    bool scratch = !p_.direct() && p_.plan.parts == 1;
    auto sums_size = static_cast<size_t>(scratch ? chunk_.rows.size() * chunk_.columns.size() : 0) * sizeof(float);
    Workspace work(Workspace::padded(panel_size) + Workspace::padded(packing.bytes()) + Workspace::padded(sums_size));
    panel_ = work.take(panel_size);
    char* packed_left = packing.bytes() ? work.take(packing.bytes()) : nullptr;
    char* out = static_cast<char*>(g.c) + (chunk_.rows.begin * g.c_row + chunk_.columns.begin) * kElement;
    c_ = out, c_row_ = g.c_row * kElement, c_element_ = kElement;
    if (!p_.direct()) {
      c_element_ = sizeof(float);
      c_ = scratch ? work.take(sums_size) : partial();
      c_row_ = (scratch ? chunk_.columns.size() : g.n) * c_element_;
    }
    accumulates_ = g.accumulate && chunk_.part == 0;
    if (accumulates_) { p_.nk.widen(chunk_.rows.size(), chunk_.columns.size(), out, g.c_row * kElement, c_, c_row_); }
    for (int64_t k = chunk_.depth.begin; k < chunk_.depth.end; k += p_.plan.depth) {
      Range depth{k, std::min(k + p_.plan.depth, chunk_.depth.end)};
      multiply(depth, packing.pack(mk_, left(depth), packed_left));
    }
    if (scratch) p_.nk.narrow(chunk_.rows.size(), chunk_.columns.size(), c_, c_row_, out, g.c_row * kElement);
  }

 private:
  char* partial() const {
    return reinterpret_cast<char*>(p_.partials + (chunk_.part * p_.g.m + chunk_.rows.begin) * p_.g.n +
                                   chunk_.columns.begin);
  }

  // A range of pairs as elements of the operands.
  int64_t elements(Range depth) const { return std::min(2 * depth.end, p_.g.k) - 2 * depth.begin; }

  Operand left(Range depth) const {
    const Gemm& g = p_.g;
    const char* a =
        static_cast<const char*>(g.a) + (chunk_.rows.begin * g.a_row + 2 * depth.begin * g.a_col) * kElement;
    return {a, g.a_row * kElement, g.a_col * kElement, chunk_.rows.size(), elements(depth)};
  }

  void multiply(Range depth, const Left& a) {
    const Gemm& g = p_.g;
    MicroArgs args{};
    args.k = depth.size();
    args.c_row = c_row_;
    args.prefetch = p_.plan.width * kElement;
    args.panel = panel_;
    if (accumulates_ || depth.begin > chunk_.depth.begin) args.flags |= kAccumulate;
    bool finish = p_.plan.parts == 1 && depth.end == chunk_.depth.end;
    if (finish && p_.bias) args.flags |= kColumnBias;
    if (finish && p_.row_bias) {
      args.flags |= kRowBias;
      args.row_bias = reinterpret_cast<const char*>(p_.row_bias + chunk_.rows.begin);
    }
    if (finish && g.act == Activation::Relu) args.flags |= kRelu;
    if (p_.direct()) args.flags |= kNarrow;
    for (int64_t j = chunk_.columns.begin; j < chunk_.columns.end; j += p_.plan.width) {
      PanelShape shape(std::min(p_.plan.width, chunk_.columns.end - j), mk_.lanes);
      const char* b = static_cast<const char*>(g.b) + (2 * depth.begin * g.b_row + j * g.b_col) * kElement;
      Operand right{b, g.b_col * kElement, g.b_row * kElement, shape.width, elements(depth)};
      args.mask = lane_mask(shape.tail);
      args.c = c_ + (j - chunk_.columns.begin) * c_element_;
      if (p_.bias) args.column_bias = reinterpret_cast<const char*>(p_.bias + j);
      args.panel_step = shape.vectors * mk_.vector_bytes;
      Reader reader(mk_, shape);
      reader.set(args, b, right.step);
      bool make = g.b_col == 1 && right.depth % 2 == 0;
      if (make && tiles_.count == 1) args.panel_step = 0;
      if (!make) pack(args, right, shape);
      sweep(mk_, shape.vectors, args, a, tiles_, make);
    }
  }

  void pack(MicroArgs args, const Operand& right, const PanelShape& shape) {
    int64_t first = 0;
    if (right.other == kElement || right.step == kElement) first = right.whole_pairs();
    args.k = first;
    if (first > 0 && right.other == kElement) {
      mk_.make[shape.vectors][0](&args);
    } else if (first > 0) {
      pack_panel(mk_, right.data, kPair, right.other, first, shape, panel_);
    }
    copy_pairs(right, first, panel_, kPair, args.panel_step);
  }

  const Problem& p_;
  const MicroKernels& mk_;
  const Chunk& chunk_;
  Tiles tiles_;
  char* panel_ = nullptr;
  char* c_ = nullptr;
  int64_t c_row_ = 0, c_element_ = 0;
  bool accumulates_ = false;
};

// The sums over the parts of the depth, in their order; then bias, activation and rounding.
void add_partials(const Problem& p, Range rows) {
  const Gemm& g = p.g;
  Gemm wide = g;
  wide.bias = p.bias;
  wide.row_bias = p.row_bias;
  for (int64_t i = rows.begin; i < rows.end; i++) {
    float* sum = p.partials + i * g.n;
    for (int64_t part = 1; part < p.plan.parts; part++) {
      const float* other = sum + part * g.m * g.n;
      for (int64_t j = 0; j < g.n; j++) sum[j] += other[j];
    }
    finish_row(wide, i, sum);
    char* out = static_cast<char*>(g.c) + i * g.c_row * kElement;
    p.nk.narrow(1, g.n, reinterpret_cast<const char*>(sum), 0, out, 0);
  }
}

}  // namespace

void pairs_gemm(const NarrowKernels& nk, const Gemm& g, Threads threads) {
  Gemm units = g;
  units.k = ceil_div(g.k, 2);
  Plan plan = make_plan(nk.pairs, units);
  Scratch memory(
      static_cast<size_t>((g.bias ? g.n : 0) + (g.row_bias ? g.m : 0) + (plan.parts > 1 ? plan.parts * g.m * g.n : 0)) *
      sizeof(float));
  auto* next = memory.as<float>();
  auto widened = [&](const void* from, int64_t n) -> const float* {
    if (!from) return nullptr;
    float* to = next;
    next += n;
    nk.widen(1, n, static_cast<const char*>(from), 0, reinterpret_cast<char*>(to), 0);
    return to;
  };
  const float* bias = widened(g.bias, g.n);
  const float* row_bias = widened(g.row_bias, g.m);
  Problem problem{nk, g, plan, bias, row_bias, next};
  for_chunks(threads, plan.chunks(), [&](int64_t i) {
    Chunk chunk = chunk_of(units, plan, i);
    if (chunk.rows.size() > 0 && chunk.columns.size() > 0) Block(problem, chunk).run();
  });
  if (plan.parts == 1) return;
  int64_t blocks = std::min<int64_t>(g.m, ceil_div(g.m * g.n * plan.parts, 1 << 16));
  for_chunks(threads, blocks, [&](int64_t i) { add_partials(problem, even_part(g.m, blocks, i)); });
}

}  // namespace fl
