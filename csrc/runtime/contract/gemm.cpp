#include "runtime/contract/gemm.h"

#include <complex>
#include <functional>
#include <numeric>

#include "core/error.h"
#include "runtime/contract/gemv.h"
#include "runtime/contract/pairs.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/plan.h"
#include "runtime/contract/tiles.h"
#include "runtime/contract/tiny.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

// A product with a transposed B that has so many times more columns than rows is computed as its transpose.
constexpr int64_t kFewRows = 16;
// Rows of B that are asked for ahead where they are many: what a whole panel asks for the next one is more than the few
// sets hold that rows a power of two apart fall into.
constexpr int64_t kRowsAhead = 64;

// One block of C over one range of depth. `c` may be a part's own memory instead of g.c.
struct Block {
  Range rows, columns, depth;
  char* c = nullptr;  // element (rows.begin, columns.begin)
  int64_t c_row = 0;
  bool accumulate = false, finish = false;  // add to what is there; apply bias and activation
  int64_t flags = 0;                        // kStream: whole panels go past the caches; kNear
};

// Whether C is written once, by whole lines of the cache, and too large to stay there.
bool streams(const MicroKernels& mk, const Gemm& g, const Plan& p) {
  return mk.vector_bytes == kLine && g.m * g.n * mk.element_bytes >= kStreamBytes && !g.accumulate && p.parts == 1 &&
         p.depth >= g.k && reinterpret_cast<uintptr_t>(g.c) % kLine == 0 && g.c_row * mk.element_bytes % kLine == 0;
}

void multiply_panels(const MicroKernels& mk, const Gemm& g, const Plan& p, const Block& block, MicroArgs args,
                     const Left& left, const Tiles& tiles, Range depth, char* packed_panel) {
  const int64_t element = mk.element_bytes, row = g.b_row * element, col = g.b_col * element;
  const bool finish = block.finish && depth.end == block.depth.end;
  args.k = depth.size();
  args.flags = block.flags & kNear;
  if (block.accumulate || depth.begin > block.depth.begin) args.flags |= kAccumulate;
  if (finish && g.bias) args.flags |= kColumnBias;
  if (finish && g.row_bias) {
    args.flags |= kRowBias;
    args.row_bias = static_cast<const char*>(g.row_bias) + block.rows.begin * element;
  }
  if (finish && g.act == Activation::Relu) args.flags |= kRelu;
  for (int64_t j = block.columns.begin; j < block.columns.end; j += p.width) {
    PanelShape shape(std::min(p.width, block.columns.end - j), mk.lanes);
    const char* source = static_cast<const char*>(g.b) + depth.begin * row + j * col;
    Tap tap = plain_tap(mk.lanes, shape.vectors, shape.tail);
    args.mask = lane_mask(shape.tail);
    args.flags = shape.full(mk.lanes) ? args.flags | (block.flags & kStream) : args.flags & ~kStream;
    args.c = block.c + (j - block.columns.begin) * element;
    args.column_bias = static_cast<const char*>(g.bias) + (g.bias ? j * element : 0);
    args.panel = packed_panel;
    args.panel_step = shape.vectors * mk.vector_bytes;
    args.b = source;
    args.channel_step = row;
    args.taps = &tap;
    args.taps_end = &tap + 1;
    bool make = g.b_col == 1 && (mk.masked || shape.full(mk.lanes));
    if (make) {
      if (tiles.count == 1) args.panel_step = 0;
    } else if (g.b_col == 1) {
      mk.make[shape.vectors][0](&args);
    } else {
      pack_panel(mk, source, row, col, args.k, shape, packed_panel);
    }
    sweep(mk, shape.vectors, args, left, tiles, make);
  }
}

void multiply_block(const MicroKernels& mk, const Gemm& g, const Plan& p, const Block& block) {
  const int64_t element = mk.element_bytes, a_row = g.a_row * element, a_col = g.a_col * element;
  const int64_t height = a_col == element ? tile_height(p.height, a_row) : p.height;
  Tiles tiles(block.rows.size(), height);
  int64_t panels = ceil_div(block.columns.size(), p.width);
  LeftPacking packing(mk, tiles.rows, p.depth, height, a_row, a_col, panels, g.m * a_row > mk.l2_bytes);
  // A panel that is read once and straight from B needs the room of one row only.
  bool kept = tiles.count > 1 || g.b_col != 1 || !mk.masked;
  size_t panel_size = panel_bytes(mk, kept ? p.depth : 1, p.vectors);
  Workspace work(Workspace::padded(panel_size) + Workspace::padded(packing.bytes()));
  char* panel = work.take(panel_size);
  char* packed_left = packing.bytes() ? work.take(packing.bytes()) : nullptr;
  MicroArgs args{};
  args.c_row = block.c_row;
  args.prefetch = p.depth > 4 * kRowsAhead ? kRowsAhead * g.b_row * element : p.width * element;
  for (int64_t k = block.depth.begin; k < block.depth.end; k += p.depth) {
    Range depth{k, std::min(k + p.depth, block.depth.end)};
    const char* a = static_cast<const char*>(g.a) + block.rows.begin * a_row + k * a_col;
    Left left = packing.pack(mk, a, a_row, a_col, depth.size(), tiles.rows, packed_left);
    multiply_panels(mk, g, p, block, args, left, tiles, depth, panel);
  }
}

// A block of the transpose of C.
void transpose_block(const MicroKernels& mk, const Gemm& g, const Plan& p, Block block) {
  const int64_t rows = block.rows.size(), columns = block.columns.size(), element = mk.element_bytes;
  // An odd number of lines, so that neighbouring rows do not fall into the same sets of the cache.
  block.c_row = (ceil_div(columns * element, kLine) | 1) * kLine;
  Workspace work(static_cast<size_t>(rows * block.c_row));
  block.c = work.take(static_cast<size_t>(rows * block.c_row));
  block.flags = kNear;
  multiply_block(mk, g, p, block);
  char* c = static_cast<char*>(g.c) + (block.columns.begin * g.c_row + block.rows.begin) * element;
  transpose_exactly(mk, block.c, block.c_row, columns, rows, g.c_row * element, c);
}

// Chunk i: a block of rows and columns, over one part of the depth; part 0 alone writes to C, the others beside it.
void run_chunk(const MicroKernels& mk, const Gemm& g, const Plan& p, char* partials, int64_t i) {
  auto [rows, columns, depth, part] = chunk_of(g, p, i);
  if (rows.size() <= 0 || columns.size() <= 0) return;
  Block block{.rows = rows, .columns = columns, .depth = depth};
  block.accumulate = part == 0 && g.accumulate;
  block.finish = p.parts == 1;
  if (p.transposes) return transpose_block(mk, g, p, block);
  if (part == 0) {
    block.c = static_cast<char*>(g.c) + (rows.begin * g.c_row + columns.begin) * mk.element_bytes;
    block.c_row = g.c_row * mk.element_bytes;
  } else {
    int64_t first = ((part - 1) * g.m + rows.begin) * g.n + columns.begin;
    block.c = partials + first * mk.element_bytes;
    block.c_row = g.n * mk.element_bytes;
  }
  if (streams(mk, g, p)) block.flags = kStream;
  multiply_block(mk, g, p, block);
  if (block.flags & kStream) stream_fence();
}

// C += the other parts' sums, in their order; then bias and activation.
template <class T>
void add_partials(const Gemm& g, int64_t parts, const T* partials, Range rows) {
  for (int64_t i = rows.begin; i < rows.end; i++) {
    T* c = static_cast<T*>(g.c) + i * g.c_row;
    for (int64_t part = 1; part < parts; part++) {
      const T* p = partials + ((part - 1) * g.m + i) * g.n;
      for (int64_t j = 0; j < g.n; j++) c[j] += p[j];
    }
    finish_row(g, i, c);
  }
}

// Whether to compute the transpose of C, since that saves more transposing of operands.
bool prefers_transpose(const MicroKernels& mk, const Gemm& g) {
  if (g.b_col == 1 || g.b_row != 1 || g.accumulate) return false;
  if (g.a_row == 1 && g.a_col != 1) return 2 * g.k * (g.m + g.n) > 3 * g.m * g.n;
  return g.a_col == 1 && g.m > mk.lanes / 2 && kFewRows * g.m <= g.n;
}

void run_transpose(const MicroKernels& mk, const Gemm& g, Threads threads) {
  Plan p = make_plan(mk, g);
  p.transposes = true;
  p.parts = 1;
  p.row_unit = mk.lanes;
  for_chunks(threads, p.chunks(), [&](int64_t i) { run_chunk(mk, g, p, nullptr, i); });
}

void add_partials_of(const Gemm& g, int64_t parts, const Scratch& partials, Range rows) {
  switch (g.dtype) {
    case DType::F32: return add_partials(g, parts, partials.as<float>(), rows);
    case DType::F64: return add_partials(g, parts, partials.as<double>(), rows);
    case DType::C64: return add_partials(g, parts, partials.as<std::complex<float>>(), rows);
    default: add_partials(g, parts, partials.as<std::complex<double>>(), rows);
  }
}

void run_tiles(const MicroKernels& mk, const Gemm& g, Threads threads) {
  Plan p = make_plan(mk, g);
  if (p.parts == 1 && prefers_transpose(mk, g)) return run_transpose(mk, transposed(g), threads);
  if (p.chunks() == 1) return run_chunk(mk, g, p, nullptr, 0);
  Scratch partials(static_cast<size_t>((p.parts - 1) * g.m * g.n * mk.element_bytes));
  for_chunks(threads, p.chunks(), [&](int64_t i) { run_chunk(mk, g, p, partials.as(), i); });
  if (p.parts == 1) return;
  int64_t blocks = std::min<int64_t>(g.m, ceil_div(g.m * g.n * p.parts, 1 << 16));
  for_chunks(threads, blocks, [&](int64_t i) { add_partials_of(g, p.parts, partials, even_part(g.m, blocks, i)); });
}

bool is_column(const Gemm& g) { return g.n == 1 && g.m > 1 && g.c_row == 1; }

void run_generated(const MicroKernels& mk, const Gemm& g, Threads threads) {
  if (is_column(g)) return run_generated(mk, transposed(g), threads);
  if (is_row_product(g)) return row_product(mk, g, threads);
  run_tiles(mk, g, threads);
}

void run_complex(const MicroKernels& mk, const Gemm& g, Threads threads) {
  if (is_column(g)) return run_complex(mk, transposed(g), threads);
  if (g.m == 1 && g.b_row == 1) return complex_row_product(g, threads);
  run_tiles(mk, g, threads);
}

void run_narrow(const Gemm& g, Threads threads) {
  const NarrowKernels* nk = g.k > 0 ? narrow_kernels(g.dtype) : nullptr;
  if (!nk) return narrow_gemm(g, threads);
  if (is_column(g)) return run_narrow(transposed(g), threads);
  if (is_row_product(g)) return row_product(*nk, g, threads);
  if (nk->has_pairs) return pairs_gemm(*nk, g, threads);
  narrow_gemm(g, threads);
}

}  // namespace

void gemm(const Gemm& g, Threads threads) {
  if (g.m <= 0 || g.n <= 0) return;
  if (compute_type(g.dtype) != g.dtype) return run_narrow(g, threads);
  const bool complex = is_complex(g.dtype);
  const MicroKernels* mk = g.k <= 0 ? nullptr : complex ? complex_kernels(g.dtype) : micro_kernels(g.dtype);
  if (!mk) return plain_gemm(g, threads);
  complex ? run_complex(*mk, g, threads) : run_generated(*mk, g, threads);
}

void gemm_batched(const Gemm& g, const Batch& batch) {
  // Asked for here, so that no thread of the pool has to wait for Python.
  micro_kernels(to_real(compute_type(g.dtype)));
  if (is_complex(g.dtype)) complex_kernels(g.dtype);
  narrow_kernels(g.dtype);
  const auto element = static_cast<int64_t>(dtype_size(g.dtype));
  const int64_t count = std::accumulate(batch.sizes.begin(), batch.sizes.end(), int64_t{1}, std::multiplies<>());
  auto one = [&](int64_t i, Threads threads) {
    int64_t rest = i, at_a = 0, at_b = 0;
    for (int d = batch.sizes.size() - 1; d >= 0; --d) {
      at_a += rest % batch.sizes[d] * batch.a[d];
      at_b += rest % batch.sizes[d] * batch.b[d];
      rest /= batch.sizes[d];
    }
    Gemm item = g;
    item.a = static_cast<const char*>(g.a) + at_a * element;
    item.b = static_cast<const char*>(g.b) + at_b * element;
    item.c = static_cast<char*>(g.c) + i * g.m * g.n * element;
    gemm(item, threads);
  };
  // Large products are cut themselves; of small ones a chunk takes several.
  const int64_t work = multiply_adds(g);
  if (work >= 2 * kChunkWork && count < 2 * kChunks) {
    for (int64_t i = 0; i < count; i++) one(i, Threads::Pool);
    return;
  }
  int64_t chunks =
      std::clamp<int64_t>(count * std::max<int64_t>(work, 1) / kChunkWork, 1, std::min(count, kManyChunks));
  const bool tiny = batch.sizes.size() == 1 && is_tiny(g);
  for_chunks(Threads::Pool, chunks, [&](int64_t chunk) {
    Range items = even_part(count, chunks, chunk);
    if (tiny) return tiny_products(g, items, batch.a[0], batch.b[0]);
    for (int64_t i = items.begin; i < items.end; i++) one(i, Threads::Caller);
  });
}

}  // namespace fl
