#include "runtime/contract/tiles.h"

#include <numeric>

namespace fl {
namespace {

// Rows whose distance is a multiple of the bytes of one way of the L1 cache all fall into one set, which holds few.
constexpr int64_t kWayBytes = 4096, kWays = 9, kAliasedHeight = 8;
// Rows so short begin again before they are foreseen: copied one after the other they arrive from memory in time, which
// pays where the product is too narrow to hide the waiting.
constexpr int64_t kShortRow = 1024, kFewPanels = 3;
constexpr int64_t kNearPanels = 8;

bool rows_alias(int64_t height, int64_t row_bytes) {
  return height * std::gcd(row_bytes, kWayBytes) > kWays * kWayBytes;
}
// A packed row is followed by this many unused elements, so that packed rows do not alias either.
constexpr int64_t kRowPadding = 16;
void copy_strided(const char* from, int64_t step, int64_t n, int64_t element, char* to) {
  if (element == 4) {
    for (int64_t i = 0; i < n; i++) std::memcpy(to + 4 * i, from + i * step, 4);
  } else if (element == 8) {
    for (int64_t i = 0; i < n; i++) std::memcpy(to + 8 * i, from + i * step, 8);
  } else {
    for (int64_t i = 0; i < n; i++) std::memcpy(to + 16 * i, from + i * step, 16);
  }
}

// pack_columns of `depth` elements of each row: whole groups without masks, then the rest. `out_row` is the distance
// of rows of the result.
void pack_rows(const MicroKernels& mk, const char* source, PackedRow* rows, int64_t depth, int64_t vectors,
               int64_t out_row, char* out) {
  int64_t lanes = mk.lanes, whole = depth / lanes, rest = depth - whole * lanes;
  if (whole) mk.pack_columns(whole, source, rows, out, vectors, out_row, 0);
  if (!rest) return;
  const uint16_t mask = lane_mask(rest);
  for (int64_t j = 0; j < vectors * lanes; j++) rows[j].masks = &mask;
  mk.pack_columns(1, source + whole * mk.vector_bytes, rows, out + whole * lanes * out_row, vectors, out_row, 0);
}

}  // namespace

void transpose_rows(const MicroKernels& mk, const char* from, int64_t col, int64_t n_rows, int64_t depth,
                    int64_t to_row, char* to) {
  int64_t lanes = mk.lanes, most = kMaxVectors * lanes;
  PackedRow rows[kMaxVectors * 16];
  for (int64_t k = 0; k < depth; k += most) {
    int64_t width = std::min(most, depth - k), vectors = ceil_div(width, lanes);
    for (int64_t j = 0; j < vectors * lanes; j++) rows[j] = {std::min(j, width - 1) * col, nullptr};
    pack_rows(mk, from + k * col, rows, n_rows, vectors, to_row, to + k * mk.element_bytes);
  }
}

void transpose_exactly(const MicroKernels& mk, const char* from, int64_t col, int64_t n_rows, int64_t depth,
                       int64_t to_row, char* to) {
  const int64_t element = mk.element_bytes, lanes = mk.lanes, groups = n_rows / lanes, most = kMaxVectors * lanes;
  PackedRow rows[kMaxVectors * 16];
  for (int64_t k = 0; groups && k < depth; k += most) {
    const int64_t width = std::min(most, depth - k), whole = width / lanes, rest = width - whole * lanes;
    for (int64_t j = 0; j < round_up(width, lanes); j++) rows[j] = {std::min(j, width - 1) * col, nullptr};
    const char* source = from + k * col;
    char* out = to + k * element;
    if (whole) mk.pack_columns(groups, source, rows, out, whole, to_row, 0);
    if (!rest) continue;
    out += whole * mk.vector_bytes;
    mk.scatter_columns(groups, source, rows + whole * lanes, out, 1, to_row, lane_mask(rest));
  }
  for (int64_t i = groups * lanes; i < n_rows; i++) {
    copy_strided(from + i * element, col, depth, element, to + i * to_row);
  }
}

int64_t tile_height(int64_t most, int64_t a_row) { return rows_alias(most, a_row) ? kAliasedHeight : most; }

bool LeftPacking::worthwhile(int64_t rows, int64_t height, int64_t a_row, int64_t panels) {
  return rows > height && panels > 1 && rows_alias(height, a_row);
}

LeftPacking::LeftPacking(const MicroKernels& mk, int64_t rows, int64_t depth, int64_t height, int64_t a_row,
                         int64_t a_col, int64_t panels, bool far) {
  int64_t element = mk.element_bytes;
  if (rows <= height || panels <= 1) return;
  bool waits = far && a_row <= kShortRow && panels <= kFewPanels;
  if (a_col == element && !waits && !worthwhile(rows, height, a_row, panels)) return;
  // Columns so near stay in the L2 cache as they lie; panels beyond a few are worth rows, which the L1 cache holds.
  if (a_row == element && (panels <= 2 || (panels <= kNearPanels && depth * a_col <= mk.l2_bytes / 2))) return;
  row_ = (round_up(depth, mk.lanes) + kRowPadding) * element;
  bytes_ = static_cast<size_t>(round_up(rows, mk.lanes) * row_);
}

Left LeftPacking::pack(const MicroKernels& mk, const char* a, int64_t a_row, int64_t a_col, int64_t depth, int64_t rows,
                       char* out) const {
  if (bytes_ == 0) return {a, a_row, a_col};
  int64_t element = mk.element_bytes;
  if (a_col != element && a_row == element) {
    transpose_rows(mk, a, a_col, rows, depth, row_, out);
    return {out, row_, element};
  }
  for (int64_t i = 0; i < rows; i++) {
    if (a_col == element) {
      std::memcpy(out + i * row_, a + i * a_row, static_cast<size_t>(depth * element));
    } else {
      copy_strided(a + i * a_row, a_col, depth, element, out + i * row_);
    }
  }
  return {out, row_, element};
}

void pack_panel(const MicroKernels& mk, const char* source, int64_t row, int64_t col, int64_t depth,
                const PanelShape& shape, char* panel) {
  int64_t element = mk.element_bytes, lanes = mk.lanes, width = shape.vectors * lanes;
  if (row == element) {
    PackedRow rows[kMaxVectors * 16];
    for (int64_t j = 0; j < width; j++) rows[j] = {std::min(j, shape.width - 1) * col, nullptr};
    pack_rows(mk, source, rows, depth, shape.vectors, width * element, panel);
    return;
  }
  for (int64_t k = 0; k < depth; k++) {
    char* to = panel + k * width * element;
    copy_strided(source + k * row, col, shape.width, element, to);
    std::memset(to + shape.width * element, 0, static_cast<size_t>((width - shape.width) * element));
  }
}

}  // namespace fl
