#include "runtime/contract/tiles.h"

#include <numeric>

namespace fl {
namespace {

// Rows whose distance is a multiple of the bytes of one way of the L1 cache all fall into one set, which holds few.
constexpr int64_t kWayBytes = 4096, kWays = 9;

bool rows_alias(int64_t height, int64_t row_bytes) {
  return height * std::gcd(row_bytes, kWayBytes) > kWays * kWayBytes;
}
// A packed row is followed by this many unused elements, so that packed rows do not alias either.
constexpr int64_t kRowPadding = 16;
// Columns of A that are packed at a time for all tiles.
constexpr int64_t kPackedColumns = 16;

int tile_vectors(const MicroKernels& mk, int64_t height) { return static_cast<int>(ceil_div(height, mk.lanes)); }

void copy_strided(const char* from, int64_t step, int64_t n, int64_t element, char* to) {
  if (element == 4) {
    for (int64_t i = 0; i < n; i++) std::memcpy(to + 4 * i, from + i * step, 4);
  } else {
    for (int64_t i = 0; i < n; i++) std::memcpy(to + 8 * i, from + i * step, 8);
  }
}

}  // namespace

LeftPacking::LeftPacking(const MicroKernels& mk, int64_t rows, int64_t depth, int64_t height, int64_t a_row,
                         int64_t a_col, int64_t panels) {
  int64_t element = mk.element_bytes;
  if (rows <= height || panels <= 1) return;
  if (a_col == element) {
    if (!rows_alias(height, a_row)) return;
    kind = Rows;
  } else if (a_row == element && tile_vectors(mk, height) <= kMaxVectors) {
    if (panels <= 2) return;
    kind = Tile;
    bytes = static_cast<size_t>(ceil_div(rows, height) * depth * tile_vectors(mk, height) * mk.vector_bytes);
    return;
  } else {
    kind = Rows;
  }
  bytes = static_cast<size_t>(rows * (round_up(depth, mk.lanes) + kRowPadding) * element);
}

Left LeftPacking::pack(const MicroKernels& mk, const char* a, int64_t a_row, int64_t a_col, int64_t depth,
                       const Tiles& tiles, char* out) const {
  if (kind == None) return {a, a_row, a_col};
  int64_t element = mk.element_bytes;
  if (kind == Rows) {
    int64_t row = (round_up(depth, mk.lanes) + kRowPadding) * element;
    for (int64_t i = 0; i < tiles.rows; i++) {
      const char* from = a + i * a_row;
      if (a_col == element) {
        std::memcpy(out + i * row, from, static_cast<size_t>(depth * element));
      } else {
        copy_strided(from, a_col, depth, element, out + i * row);
      }
    }
    return {out, row, element};
  }
  int64_t tallest = ceil_div(tiles.rows, tiles.count);
  int vectors = tile_vectors(mk, tallest);
  int64_t step = vectors * mk.vector_bytes, tile = depth * step;
  MicroArgs args{};
  args.channel_step = a_col;
  args.panel_step = step;
  // All tiles for a few columns, then the next columns: neighbouring tiles share lines of the cache.
  for (int64_t k = 0; k < depth; k += kPackedColumns) {
    args.k = std::min(kPackedColumns, depth - k);
    for (int64_t t = 0; t < tiles.count; t++) {
      int64_t first = tiles.begin(t);
      PanelShape shape(tiles.begin(t + 1) - first, mk.lanes);
      Tap tap = plain_tap(mk.lanes, shape.vectors, shape.tail);
      args.taps = &tap;
      args.taps_end = &tap + 1;
      args.b = a + first * element + k * a_col;
      args.panel = out + t * tile + k * step;
      mk.make[shape.vectors][0](&args);
    }
  }
  return {out, element, step, tile};
}

void pack_panel(const MicroKernels& mk, const char* source, int64_t row, int64_t col, int64_t depth,
                const PanelShape& shape, uint16_t* masks, char* panel) {
  int64_t element = mk.element_bytes, lanes = mk.lanes, width = shape.vectors * lanes;
  if (row == element) {
    int64_t groups = ceil_div(depth, lanes);
    std::fill(masks, masks + groups, lane_mask(lanes));
    masks[groups - 1] = lane_mask(depth - (groups - 1) * lanes);
    PackedRow rows[kMaxVectors * 16];
    for (int64_t j = 0; j < width; j++) rows[j] = {std::min(j, shape.width - 1) * col, masks};
    mk.pack_columns(groups, source, rows, panel, shape.vectors, width * element, 0);
    return;
  }
  for (int64_t k = 0; k < depth; k++) {
    char* to = panel + k * width * element;
    copy_strided(source + k * row, col, shape.width, element, to);
    std::memset(to + shape.width * element, 0, static_cast<size_t>((width - shape.width) * element));
  }
}

}  // namespace fl
