#include "runtime/contract/plan.h"

#include <numeric>

#include "runtime/contract/plain.h"

namespace fl {
namespace {

// Depth up to which a product is not cut, and of its blocks when it is, in elements of four bytes; the bytes of a block
// of A, as a share of the L2 cache.
struct BlockSizes {
  int64_t whole, depth;
  double left;
};
// A panel stays in L2, a tile of A in L1.
constexpr BlockSizes kTall{800, 512, 0.625};
// Low tiles take few cycles beside which each begins anew, and rows of A in pieces that all lie in the same sets of the
// L2 cache, as half of a row of 4096 bytes does, are read from the third again.
constexpr BlockSizes kLow{1280, 1024, 1.0};
// A few rows wait for a B that is far away. The panels of a block of this depth go along rows of B, which are foreseen;
// down all of the depth, a piece of each row at a time, they are not.
constexpr int64_t kShallowDepth = 128;
// Rows from which on a panel that is transposed first is worth leaving the L1 cache.
constexpr int64_t kDeepRows = 128;
// Rows of a block that are worth transposing a panel, where too few columns leave rows alone to be cut.
constexpr int64_t kTransposedRows = 256;
// Depth from which partial sums over parts of it are worth their memory, when tiles are too few for the threads.
constexpr int64_t kPartDepth = 1024;
// Multiply-adds that are worth sharing with another thread, and the chunks that a few of those are cut into at most.
constexpr int64_t kLeastWork = 1 << 17, kFewChunks = 4;
// More chunks than that are a multiple of this, so that two or four threads have equally many.
constexpr int64_t kEvenChunks = 4;
// Multiply-adds of a chunk of large products.
constexpr int64_t kLargeChunkWork = 1 << 26;

bool low_tiles(const MicroKernels& mk) { return mk.max_height[2] < 7; }

BlockSizes block_sizes(const MicroKernels& mk, const Gemm& g) {
  return low_tiles(mk) && g.a_col == 1 && (g.b_col == 1 || g.m >= kDeepRows) ? kLow : kTall;
}

// Pairs of bfloat16 do not gain by it.
bool reads_along_rows(const MicroKernels& mk, const Gemm& g) {
  return g.b_col == 1 && g.k * g.n * mk.element_bytes > g.m * mk.l2_bytes && compute_type(g.dtype) == g.dtype;
}

int panel_vectors(const MicroKernels& mk, const Gemm& g) {
  int64_t n = ceil_div(g.n, mk.lanes);
  if (n <= 2) return static_cast<int>(std::max<int64_t>(n, 1));
  if (reads_along_rows(mk, g)) return 3;
  // Three vectors a panel load less per multiplication, where registers leave tiles of eight rows or more; two suit a
  // panel better that is transposed first and then read by few tiles.
  int64_t rows = g.b_col == 1 ? 96 : 256;
  return n >= 16 && g.m >= rows ? panel_vectors(mk) : 2;
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
void choose_grid(const MicroKernels& mk, const Gemm& g, const BlockSizes& sizes, int64_t wanted, Plan& p) {
  int64_t panels = ceil_div(g.n, p.width), tiles = ceil_div(g.m, p.height);
  const auto left = static_cast<int64_t>(sizes.left * static_cast<double>(mk.l2_bytes));
  int64_t block_rows = std::max(p.height, left / (p.depth * mk.element_bytes));
  int64_t fewest = ceil_div(g.m, block_rows), most = std::max(fewest, ceil_div(tiles, 2));
  // Where columns are no whole panels, blocks of rows are more even, and share fewer lines of C between threads: what
  // matters where chunks are few.
  const bool uneven = wanted <= kFewChunks && g.n % p.width;
  const int64_t column_cost = (g.a_col == 1 ? 1 : 6) + (uneven ? 2 : 0);
  int64_t best = INT64_MAX;
  for (int64_t c = 1; c <= std::min(panels, wanted); c++) {
    int64_t r = std::clamp(ceil_div(wanted, c), fewest, most);
    if (wanted > kFewChunks) r = std::min(round_up(r, kEvenChunks / std::gcd(c, kEvenChunks)), most);
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
  int64_t scale = mk.element_bytes / 4;
  const BlockSizes sizes = block_sizes(mk, g);
  p.depth = g.k;
  if (g.k > sizes.whole / scale) p.depth = round_up(ceil_div(g.k, ceil_div(g.k, sizes.depth / scale)), 16);
  if (reads_along_rows(mk, g)) p.depth = std::min(p.depth, kShallowDepth);
  int64_t wanted = wanted_chunks(multiply_adds(g)), panels = ceil_div(g.n, p.width);
  if (g.b_col != 1 && panels < kFewChunks)
    wanted = std::min(wanted, std::max(kFewChunks, panels * g.m / kTransposedRows));
  if (wanted > 1) choose_grid(mk, g, sizes, wanted, p);
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
