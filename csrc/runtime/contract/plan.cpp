#include "runtime/contract/plan.h"

namespace fl {
namespace {

// Depth up to which a product is not cut, and of its blocks when it is: a panel stays in L2, a tile of A in L1.
constexpr int64_t kWholeDepth = 800, kBlockDepth = 512;
// Depth from which partial sums over parts of it are worth their memory, when tiles are too few for the threads.
constexpr int64_t kPartDepth = 1024;
// Multiply-adds that are worth sharing with another thread, and the chunks that a few of those are cut into at most.
constexpr int64_t kLeastWork = 1 << 17, kFewChunks = 4;
// Multiply-adds of a chunk of large products.
constexpr int64_t kLargeChunkWork = 1 << 26;

int panel_vectors(const MicroKernels& mk, const Gemm& g) {
  int64_t n = ceil_div(g.n, mk.lanes);
  if (n <= 2) return static_cast<int>(std::max<int64_t>(n, 1));
  // Three vectors a panel load less per multiplication, where registers leave tiles of eight rows or more; two suit a
  // panel better that is transposed first and then read by few tiles.
  int64_t rows = g.b_col == 1 ? 96 : 256;
  return mk.max_height[3] >= 8 && n >= 16 && g.m >= rows ? 3 : 2;
}

// Small products are shared by a few threads as soon as that pays; more chunks only where each has plenty to do.
int64_t wanted_chunks(int64_t work) {
  if (work < kLeastWork) return 1;
  if (work < kChunks * kChunkWork)
    return std::max(std::clamp<int64_t>(work / kLeastWork, 2, kFewChunks), work / kChunkWork);
  return std::min(round_up(ceil_div(work, kLargeChunkWork), kChunks), kManyChunks);
}

// Every row block packs all of B, every column block reads all of A: of the grids that give enough chunks, the
// cheapest.
void choose_grid(const MicroKernels& mk, const Gemm& g, int64_t wanted, Plan& p) {
  int64_t panels = ceil_div(g.n, p.width), tiles = ceil_div(g.m, p.height);
  int64_t block_rows = std::max(p.height, mk.l2_bytes * 5 / 8 / (p.depth * mk.element_bytes));
  int64_t fewest = ceil_div(g.m, block_rows), most = std::max(fewest, ceil_div(tiles, 2));
  // Where columns are no whole panels, blocks of rows are more even, and share fewer lines of C between threads: what
  // matters where chunks are few.
  const bool uneven = wanted <= kFewChunks && g.n % p.width;
  const int64_t column_cost = (g.a_col == 1 ? 1 : 6) + (uneven ? 2 : 0);
  int64_t best = INT64_MAX;
  for (int64_t c = 1; c <= std::min(panels, wanted); c++) {
    int64_t r = std::clamp(ceil_div(wanted, c), fewest, most);
    if (r * c < wanted && c < std::min(panels, wanted)) continue;
    int64_t cost = 4 * r * g.n + c * g.m * column_cost;
    if (cost < best) {
      best = cost;
      p.row_blocks = r;
      p.column_blocks = c;
    }
  }
}

}  // namespace

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
  // Blocks of a transposed operand begin with a line of the cache (if the operand does).
  if (g.a_row == 1) p.row_unit = mk.lanes;
  return p;
}

Chunk chunk_of(const Gemm& g, const Plan& p, int64_t i) {
  int64_t part = i / (p.row_blocks * p.column_blocks), row = i / p.column_blocks % p.row_blocks;
  Range panels = even_part(ceil_div(g.n, p.width), p.column_blocks, i % p.column_blocks);
  Range units = even_part(ceil_div(g.m, p.row_unit), p.row_blocks, row);
  return {.rows = {units.begin * p.row_unit, std::min(units.end * p.row_unit, g.m)},
          .columns = {panels.begin * p.width, std::min(panels.end * p.width, g.n)},
          .depth = even_part(g.k, p.parts, part),
          .part = part};
}

}  // namespace fl
