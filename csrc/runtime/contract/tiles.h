// What the drivers of contractions share: scratch memory, a packed left operand, and the sweep of tiles over a panel.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>

#include "core/allocator.h"
#include "core/error.h"
#include "runtime/contract/gemm.h"
#include "runtime/contract/kernels.h"

namespace fl {

constexpr int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
constexpr int64_t round_up(int64_t a, int64_t b) { return ceil_div(a, b) * b; }

// Part i of [0, n) cut into `parts` even parts.
struct Range {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};
constexpr Range even_part(int64_t n, int64_t parts, int64_t i) { return {n * i / parts, n * (i + 1) / parts}; }

// Memory of one chunk, handed out in 64-byte aligned pieces: small sizes stand on the stack.
class Workspace {
 public:
  explicit Workspace(size_t needed) {
    const size_t bytes = padded(needed);
    if (bytes > sizeof(small_)) large_.emplace(bytes);
    next_ = large_ ? large_->as() : small_;
    end_ = next_ + std::max(bytes, sizeof(small_));
  }
  static constexpr size_t padded(size_t bytes) { return (bytes + 63) / 64 * 64; }
  template <class T = char>
  T* take(size_t bytes) {
    char* p = next_;
    next_ += padded(bytes);
    FL_CHECK(next_ <= end_, ErrorKind::Runtime, "contraction: scratch memory of a chunk is too small");
    return reinterpret_cast<T*>(p);
  }

 private:
  alignas(64) char small_[16384];
  std::optional<Scratch> large_;
  char* next_;
  char* end_;
};

// The left operand of a block: strides in bytes.
struct Left {
  const char* data;
  int64_t row, col;
};

// Tiles of a block of rows: as few as `height` allows, evened out instead of leaving a remainder.
struct Tiles {
  int64_t rows, count, height, taller;  // the first `taller` are a row higher than `height`
  Tiles(int64_t rows_, int64_t most)
      : rows(rows_), count(ceil_div(rows_, most)), height(count ? rows_ / count : 0), taller(rows_ - count * height) {}
  int64_t begin(int64_t i) const { return i * height + std::min(i, taller); }
  int64_t alike(int64_t i) const { return i < taller ? taller - i : count - i; }  // tiles from i on as high as it
};

// Multiplies every tile of `left` by one panel of `vectors` vectors. With `make` the first tile packs the panel.
// `args` holds what all tiles share; args.c and args.row_bias stand at the first row. It is changed in place and put
// back: a copy made of what was just written would wait until all results before it have left for the cache.
inline void sweep(const MicroKernels& mk, int vectors, MicroArgs& args, const Left& left, const Tiles& tiles,
                  bool make) {
  args.a_row = left.row;
  args.a_col = left.col;
  char* c = args.c;
  const char *b = args.b, *row_bias = args.row_bias;
  if (!make || tiles.count > 1) args.panel_step = vectors * mk.vector_bytes;
  for (int64_t t = 0; t < tiles.count; t += args.tiles) {
    int64_t first = tiles.begin(t), height = tiles.begin(t + 1) - first;
    args.a = left.data + first * left.row;
    args.c = c + first * args.c_row;
    if (row_bias) args.row_bias = row_bias + first * mk.element_bytes;
    if (t == 0 && make) {
      args.tiles = 1;
      mk.make[vectors][height](&args);
    } else {
      args.tiles = tiles.alike(t);
      args.b = args.panel;
      mk.use[vectors][height](&args);
    }
  }
  args.c = c;
  args.b = b;
  args.row_bias = row_bias;
}

// Lane mask of the first n of `lanes` lanes.
constexpr uint16_t lane_mask(int64_t n) { return static_cast<uint16_t>((1u << n) - 1); }

// What split_2 takes: `rest` elements that are left after whole pairs of vectors, and what becomes of them.
constexpr int64_t split_masks(int64_t lanes, int64_t rest, int64_t evens, int64_t odds) {
  return int64_t{lane_mask(std::min(rest, lanes))} |
         int64_t{lane_mask(std::clamp<int64_t>(rest - lanes, 0, lanes))} << 16 | int64_t{lane_mask(evens)} << 32 |
         int64_t{lane_mask(odds)} << 48;
}

// The tap of a matrix: whole vectors, the last one of `tail` lanes.
inline Tap plain_tap(int lanes, int vectors, int64_t tail) {
  uint16_t full = lane_mask(lanes);
  Tap tap{0, {full, full, full, full}};
  tap.mask[vectors - 1] = lane_mask(tail);
  return tap;
}

// A panel [begin, begin + width) of n columns: its vectors and the lanes of the last one.
struct PanelShape {
  int64_t width;
  int vectors;
  int64_t tail;
  PanelShape(int64_t width_, int lanes)
      : width(width_), vectors(static_cast<int>(ceil_div(width_, lanes))), tail(width_ - (vectors - 1) * lanes) {}
  bool full(int lanes) const { return tail == lanes; }
};

// Vectors of a panel where there is work enough.
inline int panel_vectors(const MicroKernels& mk) { return mk.max_height[3] >= 8 ? 3 : 2; }

// Vectors of a panel that leave the fewest lanes of the last panel of n columns empty.
inline int best_vectors(const MicroKernels& mk, int64_t n) {
  int best = 1;
  for (int v = 2; v <= panel_vectors(mk); v++) {
    if (ceil_div(n, v * mk.lanes) * v <= ceil_div(n, best * mk.lanes) * best) best = v;
  }
  return best;
}

// Rows of a tile whose rows of A are `a_row` bytes apart: at most so many, fewer where one set of the L1 cache would
// have to hold them all.
int64_t tile_height(int64_t most, int64_t a_row);

// Copies a block of the left operand into rows that suit the cache, where that pays.
class LeftPacking {
 public:
  // For blocks of up to `rows` and `depth` that are multiplied by `panels` panels; strides in bytes. `far`: the operand
  // is too large for the cache.
  LeftPacking(const MicroKernels& mk, int64_t rows, int64_t depth, int64_t height, int64_t a_row, int64_t a_col,
              int64_t panels, bool far = false);
  size_t bytes() const { return bytes_; }  // 0: the operand serves as it lies
  // Should rows that are contiguous be copied even so?
  static bool worthwhile(int64_t rows, int64_t height, int64_t a_row, int64_t panels);
  Left pack(const MicroKernels& mk, const char* a, int64_t a_row, int64_t a_col, int64_t depth, int64_t rows,
            char* out) const;

 private:
  size_t bytes_ = 0;
  int64_t row_ = 0;
};

// A panel from rows of a matrix: element (k, j) at source + k * row + j * col bytes, for strides that `make` cannot
// read.
void pack_panel(const MicroKernels& mk, const char* source, int64_t row, int64_t col, int64_t depth,
                const PanelShape& shape, char* panel);

// A block whose columns are contiguous, transposed into rows `to_row` bytes apart with room for whole vectors, in whole
// vectors of rows.
void transpose_rows(const MicroKernels& mk, const char* from, int64_t col, int64_t n_rows, int64_t depth,
                    int64_t to_row, char* to);

// The same without a byte more than the transpose has.
void transpose_exactly(const MicroKernels& mk, const char* from, int64_t col, int64_t n_rows, int64_t depth,
                       int64_t to_row, char* to);

// Bytes of a panel.
inline size_t panel_bytes(const MicroKernels& mk, int64_t depth, int vectors) {
  return static_cast<size_t>(round_up(depth, mk.lanes) * vectors * mk.vector_bytes);
}

}  // namespace fl
