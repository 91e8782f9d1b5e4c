#include "runtime/contract/step_product.h"

#include "runtime/contract/plain.h"

namespace fl {
namespace {

// With so few rows a product reads transposed weights as they lie: packing them would cost more.
constexpr int64_t kFewRows = 3;
constexpr int64_t kPanelVectors = 2;

}  // namespace

StepProduct::StepProduct(const Gemm& g, int64_t gates, int64_t rows)
    : g_(g),
      gates_(gates),
      width_(g.n / gates),
      panel_width_(kPanelVectors * 16),
      element_(static_cast<int64_t>(dtype_size(g.dtype))) {
  // Asked for here, so that no thread of the pool has to wait for Python.
  const MicroKernels* mk = micro_kernels(compute_type(g.dtype));
  const NarrowKernels* nk = narrow_kernels(g.dtype);
  if (compute_type(g.dtype) != g.dtype) {
    pairs_ = nk && nk->has_pairs && g.k % 2 == 0;
    mk = pairs_ ? &nk->pairs : nullptr;
  }
  if (!mk || g.k == 0 || g.n == 0 || (g.b_row == 1 && rows <= kFewRows)) return;
  mk_ = mk;
  const int vectors = static_cast<int>(std::min(kPanelVectors, ceil_div(width_, mk->lanes)));
  panel_width_ = vectors * mk->lanes;
  panel_bytes_ = panel_bytes(*mk, pairs_ ? g.k / 2 : g.k, vectors);
  packed_.emplace(panel_bytes_ * static_cast<size_t>(gates * panels()));
  if (pairs_ && g.bias) {
    bias_.emplace(static_cast<size_t>(g.n) * sizeof(float));
    nk->widen(1, g.n, static_cast<const char*>(g.bias), 0, bias_->as(), 0);
    g_.bias = bias_->as();
  }
  const int64_t count = gates * panels();
  const int64_t chunks = std::clamp<int64_t>(bytes() >> 16, 1, count);
  parallel_for(chunks, [&](int64_t chunk) {
    Range mine = even_part(count, chunks, chunk);
    for (int64_t i = mine.begin; i < mine.end; i++) pack(i / panels(), i % panels());
  });
}

Range StepProduct::columns(Range panels) const {
  return {panels.begin * panel_width_, std::min(panels.end * panel_width_, width_)};
}

PanelShape StepProduct::shape(int64_t panel) const {
  Range c = columns({panel, panel + 1});
  return {c.size(), mk_->lanes};
}

void StepProduct::pack(int64_t gate, int64_t panel) const {
  const PanelShape s = shape(panel);
  const int64_t row = g_.b_row * element_, col = g_.b_col * element_, steps = pairs_ ? 2 : 1;
  const int64_t first = gate * width_ + panel * panel_width_;
  const char* source = static_cast<const char*>(g_.b) + first * col;
  if (g_.b_col != 1) {
    // Pairs are neighbours along the depth: one element of 32 bits.
    pack_panel(*mk_, source, steps * row, col, g_.k / steps, s, packed(gate, panel));
    return;
  }
  Tap tap = plain_tap(mk_->lanes, s.vectors, s.tail);
  MicroArgs args{};
  args.k = g_.k / steps;
  args.b = source;
  args.pair_step = row;
  args.channel_step = steps * row;
  args.taps = &tap;
  args.taps_end = &tap + 1;
  args.panel = packed(gate, panel);
  args.panel_step = s.vectors * mk_->vector_bytes;
  mk_->make[s.vectors][0](&args);
}

void StepProduct::multiply(const char* a, int64_t a_row, int64_t rows, Range panels, char* out, int64_t out_row) const {
  if (rows <= 0) return;
  if (mk_) return multiply_packed(a, a_row, rows, panels, out, out_row);
  const Range c = columns(panels);
  for (int64_t gate = 0; gate < gates_; gate++) {
    const int64_t first = gate * width_ + c.begin;
    Gemm g = g_;
    g.m = rows, g.n = c.size();
    g.a = a, g.a_row = a_row / element_, g.a_col = 1;
    g.b = static_cast<const char*>(g_.b) + first * g_.b_col * element_;
    g.c = out + gate * c.size() * element_, g.c_row = out_row / element_;
    if (g.bias) g.bias = static_cast<const char*>(g.bias) + first * element_;
    gemm(g, Threads::Caller);
  }
}

void StepProduct::multiply_packed(const char* a, int64_t a_row, int64_t rows, Range panels, char* out,
                                  int64_t out_row) const {
  const int64_t steps = pairs_ ? 2 : 1, width = columns(panels).size(), bias_element = mk_->element_bytes;
  const Left left{a, a_row, steps * element_};
  MicroArgs args{};
  args.k = g_.k / steps;
  args.c_row = out_row;
  args.flags = kNear;
  if (pairs_) args.flags |= kNarrow;
  if (g_.bias) args.flags |= kColumnBias;
  for (int64_t gate = 0; gate < gates_; gate++) {
    for (int64_t p = panels.begin; p < panels.end; p++) {
      const PanelShape s = shape(p);
      const int64_t first = p * panel_width_;
      const Tiles tiles(rows, tile_height(mk_->max_height[s.vectors], a_row));
      args.mask = lane_mask(s.tail);
      args.panel = packed(gate, p);
      args.c = out + (gate * width + first - panels.begin * panel_width_) * element_;
      if (g_.bias) args.column_bias = static_cast<const char*>(g_.bias) + (gate * width_ + first) * bias_element;
      sweep(*mk_, s.vectors, args, left, tiles, false);
    }
  }
}

}  // namespace fl
