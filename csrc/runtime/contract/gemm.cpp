#include "runtime/contract/gemm.h"

#include "core/error.h"
#include "runtime/contract/gemv.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Depth up to which a product is not cut, and of its blocks when it is: a panel stays in L2, a tile of A in L1.
constexpr int64_t kWholeDepth = 800, kBlockDepth = 512;
// Multiply-adds that one chunk should have before threads are worth waking.
constexpr int64_t kChunkWork = 1 << 19;
// Chunks of middling and of large products: numbers that most counts of threads divide; each chunk packs its own
// panels, so not more.
constexpr int64_t kChunks = 24, kManyChunks = 48, kLargeWork = int64_t{1} << 32;
// Depth from which partial sums over parts of it are worth their memory, when tiles are too few for the threads.
constexpr int64_t kPartDepth = 1024;

// How a product is cut. It follows from the sizes and strides alone, never from the number of threads.
struct Plan {
  int vectors;            // of a panel
  int64_t width, height;  // of a tile
  int64_t depth;          // of a block
  int64_t row_blocks = 1, column_blocks = 1, parts = 1;
  int64_t chunks() const { return row_blocks * column_blocks * parts; }
};

int panel_vectors(const MicroKernels& mk, const Gemm& g) {
  int64_t n = ceil_div(g.n, mk.lanes);
  if (n <= 2) return static_cast<int>(std::max<int64_t>(n, 1));
  // Three vectors a panel load less per multiplication, where registers leave tiles of eight rows or more; two suit a
  // panel better that is transposed first and then read by few tiles.
  int64_t rows = g.b_col == 1 ? 64 : 256;
  return mk.max_height[3] >= 8 && n >= 16 && g.m >= rows ? 3 : 2;
}

int64_t wanted_chunks(int64_t work) {
  if (work >= kLargeWork) return kManyChunks;
  return std::clamp<int64_t>(work / kChunkWork, 1, kChunks);
}

// Every row block packs all of B, every column block reads all of A: of the grids that give enough chunks, the
// cheapest.
void choose_grid(const MicroKernels& mk, const Gemm& g, int64_t wanted, Plan& p) {
  int64_t panels = ceil_div(g.n, p.width), tiles = ceil_div(g.m, p.height);
  int64_t block_rows = std::max(p.height, mk.l2_bytes * 5 / 8 / (p.depth * mk.element_bytes));
  int64_t fewest = ceil_div(g.m, block_rows), most = std::max(fewest, ceil_div(tiles, 2));
  int64_t best = INT64_MAX;
  for (int64_t c = 1; c <= std::min(panels, wanted); c++) {
    int64_t r = std::clamp(ceil_div(wanted, c), fewest, most);
    if (r * c < wanted && c < std::min(panels, wanted)) continue;
    int64_t cost = 4 * r * g.n + c * g.m * (g.a_col == 1 ? 1 : 6);
    if (cost < best) {
      best = cost;
      p.row_blocks = r;
      p.column_blocks = c;
    }
  }
}

Plan make_plan(const MicroKernels& mk, const Gemm& g) {
  Plan p;
  p.vectors = panel_vectors(mk, g);
  p.width = p.vectors * mk.lanes;
  p.height = mk.max_height[p.vectors];
  int64_t scale = 4 / mk.element_bytes > 0 ? 1 : 2;
  p.depth = g.k;
  if (g.k > kWholeDepth / scale) p.depth = round_up(ceil_div(g.k, ceil_div(g.k, kBlockDepth / scale)), 16);
  int64_t wanted = wanted_chunks(g.m * g.n * g.k);
  if (wanted > 1) choose_grid(mk, g, wanted, p);
  int64_t grid = p.row_blocks * p.column_blocks;
  if (2 * grid <= wanted && g.k >= 2 * kPartDepth) p.parts = std::min(wanted / grid, g.k / kPartDepth);
  return p;
}

// One block of C over one range of depth. `c` may be a part's own memory instead of g.c.
struct Block {
  Range rows, columns, depth;
  char* c;  // element (rows.begin, columns.begin)
  int64_t c_row;
  bool accumulate, finish;  // add to what is there; apply bias and activation
};

void multiply_panels(const MicroKernels& mk, const Gemm& g, const Plan& p, const Block& block, MicroArgs args,
                     const Left& left, const Tiles& tiles, Range depth, char* packed_panel, uint16_t* masks) {
  const int64_t element = mk.element_bytes, row = g.b_row * element, col = g.b_col * element;
  const bool finish = block.finish && depth.end == block.depth.end;
  args.k = depth.size();
  args.flags = 0;
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
      pack_panel(mk, source, row, col, args.k, shape, masks, packed_panel);
    }
    sweep(mk, shape.vectors, args, left, tiles, make);
  }
}

void multiply_block(const MicroKernels& mk, const Gemm& g, const Plan& p, const Block& block) {
  const int64_t element = mk.element_bytes, a_row = g.a_row * element, a_col = g.a_col * element;
  Tiles tiles(block.rows.size(), p.height);
  int64_t panels = ceil_div(block.columns.size(), p.width);
  LeftPacking packing(mk, tiles.rows, p.depth, p.height, a_row, a_col, panels);
  // A panel that is read once and straight from B needs the room of one row only.
  bool kept = tiles.count > 1 || g.b_col != 1 || !mk.masked;
  size_t panel_size = panel_bytes(mk, kept ? p.depth : 1, p.vectors), masks_size = mask_bytes(mk, p.depth);
  Workspace work(Workspace::padded(panel_size) + Workspace::padded(masks_size) + Workspace::padded(packing.bytes()));
  char* panel = work.take(panel_size);
  auto* masks = work.take<uint16_t>(masks_size);
  char* packed_left = packing.bytes() ? work.take(packing.bytes()) : nullptr;
  MicroArgs args{};
  args.c_row = block.c_row;
  args.prefetch = p.width * element;
  for (int64_t k = block.depth.begin; k < block.depth.end; k += p.depth) {
    Range depth{k, std::min(k + p.depth, block.depth.end)};
    const char* a = static_cast<const char*>(g.a) + block.rows.begin * a_row + k * a_col;
    Left left = packing.pack(mk, a, a_row, a_col, depth.size(), tiles.rows, packed_left);
    multiply_panels(mk, g, p, block, args, left, tiles, depth, panel, masks);
  }
}

// Chunk i: a block of rows and columns, over one part of the depth; part 0 alone writes to C, the others beside it.
void run_chunk(const MicroKernels& mk, const Gemm& g, const Plan& p, char* partials, int64_t i) {
  int64_t part = i / (p.row_blocks * p.column_blocks), row = i / p.column_blocks % p.row_blocks;
  int64_t column = i % p.column_blocks;
  Range panels = even_part(ceil_div(g.n, p.width), p.column_blocks, column);
  Block block;
  // Blocks of a transposed operand begin with a line of the cache (if the operand does).
  int64_t unit = g.a_row == 1 ? mk.lanes : 1;
  Range units = even_part(ceil_div(g.m, unit), p.row_blocks, row);
  block.rows = {units.begin * unit, std::min(units.end * unit, g.m)};
  block.columns = {panels.begin * p.width, std::min(panels.end * p.width, g.n)};
  block.depth = even_part(g.k, p.parts, part);
  if (part == 0) {
    block.c = static_cast<char*>(g.c) + (block.rows.begin * g.c_row + block.columns.begin) * mk.element_bytes;
    block.c_row = g.c_row * mk.element_bytes;
  } else {
    int64_t first = ((part - 1) * g.m + block.rows.begin) * g.n + block.columns.begin;
    block.c = partials + first * mk.element_bytes;
    block.c_row = g.n * mk.element_bytes;
  }
  block.accumulate = part == 0 && g.accumulate;
  block.finish = p.parts == 1;
  if (block.rows.size() > 0 && block.columns.size() > 0) multiply_block(mk, g, p, block);
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

void run_generated(const MicroKernels& mk, const Gemm& g, Threads threads) {
  if (g.n == 1 && g.m > 1 && g.c_row == 1) return run_generated(mk, transposed_column(g), threads);
  if (is_row_product(g)) return row_product(mk, g, threads);
  Plan p = make_plan(mk, g);
  if (p.chunks() == 1) return run_chunk(mk, g, p, nullptr, 0);
  Scratch partials(static_cast<size_t>((p.parts - 1) * g.m * g.n * mk.element_bytes));
  for_chunks(threads, p.chunks(), [&](int64_t i) { run_chunk(mk, g, p, partials.as(), i); });
  if (p.parts == 1) return;
  int64_t blocks = std::min<int64_t>(g.m, ceil_div(g.m * g.n * p.parts, 1 << 16));
  for_chunks(threads, blocks, [&](int64_t i) {
    Range rows = even_part(g.m, blocks, i);
    if (g.dtype == DType::F32) {
      add_partials(g, p.parts, partials.as<float>(), rows);
    } else {
      add_partials(g, p.parts, partials.as<double>(), rows);
    }
  });
}

}  // namespace

void gemm(const Gemm& g, Threads threads) {
  if (g.m <= 0 || g.n <= 0) return;
  if (compute_type(g.dtype) != g.dtype) return narrow_gemm(g, threads);
  const MicroKernels* mk = g.k > 0 ? micro_kernels(g.dtype) : nullptr;
  if (mk) return run_generated(*mk, g, threads);
  plain_gemm(g, threads);
}

void gemm_batched(const Gemm& g, int64_t batch, const BatchStrides& strides) {
  // Asked for here, so that no thread of the pool has to wait for Python.
  micro_kernels(compute_type(g.dtype));
  const auto element = static_cast<int64_t>(dtype_size(g.dtype));
  auto one = [&](int64_t i, Threads threads) {
    Gemm item = g;
    item.a = static_cast<const char*>(g.a) + i * strides.a * element;
    item.b = static_cast<const char*>(g.b) + i * strides.b * element;
    item.c = static_cast<char*>(g.c) + i * strides.c * element;
    gemm(item, threads);
  };
  // Large products are cut themselves; of small ones a chunk takes several.
  int64_t work = g.m * g.n * std::max<int64_t>(g.k, 1);
  if (work >= 2 * kChunkWork && batch < kChunks) {
    for (int64_t i = 0; i < batch; i++) one(i, Threads::Pool);
    return;
  }
  int64_t chunks =
      std::clamp<int64_t>(batch * std::max<int64_t>(work, 1) / kChunkWork, 1, std::min(batch, kManyChunks));
  for_chunks(Threads::Pool, chunks, [&](int64_t chunk) {
    Range items = even_part(batch, chunks, chunk);
    for (int64_t i = items.begin; i < items.end; i++) one(i, Threads::Caller);
  });
}

}  // namespace fl
