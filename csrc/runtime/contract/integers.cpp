// Matrix products of integers, which wrap around: tiles of C in the compiler's vectors.
#include <type_traits>

#include "core/element.h"
#include "core/error.h"
#include "runtime/clones.h"
#include "runtime/contract/gemv.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

// A tile, and the depth of a panel.
constexpr int64_t kVectorBytes = 64, kRows = 4, kDepth = 512;
constexpr int64_t kChunkWork = 1 << 18, kMostChunks = 48, kBlockRows = 64;

template <class U>
constexpr int64_t kLanes = kVectorBytes / static_cast<int64_t>(sizeof(U));

template <class U>
struct Factors {
  const U* a[kRows];  // element 0 of each row
  int64_t a_col;
  const U* b;
  int64_t b_row;
  int64_t depth;
};

// sums += a b, for kRows rows of a vector.
template <class U>
FL_CLONES void multiply_tile(const Factors<U>& f, U* sums) {
  typedef U Vector __attribute__((vector_size(kVectorBytes)));
  Vector tile[kRows], b;
  std::memcpy(tile, sums, sizeof(tile));
  for (int64_t k = 0; k < f.depth; k++) {
    std::memcpy(&b, f.b + k * f.b_row, sizeof(b));
    for (int64_t i = 0; i < kRows; i++) tile[i] += f.a[i][k * f.a_col] * b;
  }
  std::memcpy(sums, tile, sizeof(tile));
}

// Rows of C by `width` columns from j on, over a part of the depth; f.b is the panel.
template <class U>
void multiply_panel(const Gemm& g, Factors<U>& f, Range rows, Range depth, int64_t j, int64_t width) {
  const auto bytes = static_cast<size_t>(width) * sizeof(U);
  f.depth = depth.size();
  for (int64_t i = rows.begin; i < rows.end; i += kRows) {
    const int64_t height = std::min(kRows, rows.end - i);
    alignas(kVectorBytes) U sums[kRows * kLanes<U>] = {};
    U* c = static_cast<U*>(g.c) + i * g.c_row + j;
    for (int64_t r = 0; r < kRows; r++) {
      f.a[r] = static_cast<const U*>(g.a) + (i + std::min(r, height - 1)) * g.a_row + depth.begin * g.a_col;
      if (r < height && (g.accumulate || depth.begin > 0)) std::memcpy(sums + r * kLanes<U>, c + r * g.c_row, bytes);
    }
    multiply_tile(f, sums);
    for (int64_t r = 0; r < height; r++) std::memcpy(c + r * g.c_row, sums + r * kLanes<U>, bytes);
  }
}

template <class U>
void multiply_block(const Gemm& g, Range rows, Range columns) {
  alignas(kVectorBytes) U panel[kDepth * kLanes<U>];
  for (int64_t j = columns.begin; j < columns.end; j += kLanes<U>) {
    const int64_t width = std::min(kLanes<U>, columns.end - j);
    for (int64_t k = 0; k == 0 || k < g.k; k += kDepth) {
      const Range depth{k, std::min(k + kDepth, g.k)};
      const U* b = static_cast<const U*>(g.b) + k * g.b_row + j * g.b_col;
      Factors<U> f{.a = {}, .a_col = g.a_col, .b = b, .b_row = g.b_row, .depth = 0};
      if (g.b_col != 1 || width < kLanes<U>) {
        for (int64_t x = 0; x < depth.size(); x++) {
          for (int64_t y = 0; y < kLanes<U>; y++) {
            panel[x * kLanes<U> + y] = y < width ? b[x * g.b_row + y * g.b_col] : U(0);
          }
        }
        f.b = panel;
        f.b_row = kLanes<U>;
      }
      multiply_panel(g, f, rows, depth, j, width);
    }
  }
}

template <class T>
FL_CLONES T dot(const T* x, const T* y, int64_t n) {
  Wrapping<T> sum = 0;
  for (int64_t i = 0; i < n; i++) sum += static_cast<Wrapping<T>>(x[i]) * static_cast<Wrapping<T>>(y[i]);
  return static_cast<T>(sum);
}

// sums += x times a row.
template <class U>
FL_CLONES void add_row(U x, const U* row, int64_t n, U* sums) {
  for (int64_t i = 0; i < n; i++) sums[i] = static_cast<U>(sums[i] + static_cast<Wrapping<U>>(x) * row[i]);
}

// One row of C, a range of columns of B where it lies: by its rows, or by columns that are contiguous.
template <class U>
void multiply_row(const Gemm& g, Range columns) {
  const auto *a = static_cast<const U*>(g.a), *b = static_cast<const U*>(g.b) + columns.begin * g.b_col;
  U* c = static_cast<U*>(g.c) + columns.begin;
  if (!g.accumulate) std::fill_n(c, columns.size(), U(0));
  if (g.b_col == 1) {
    for (int64_t k = 0; k < g.k; k++) add_row(a[k * g.a_col], b + k * g.b_row, columns.size(), c);
    return;
  }
  for (int64_t j = 0; j < columns.size(); j++) c[j] = static_cast<U>(c[j] + dot(a, b + j * g.b_col, g.k));
}

template <class T>
void multiply(const Gemm& g, Threads threads) {
  using U = std::make_unsigned_t<T>;
  if (g.n == 1 && g.m > 1 && g.c_row == 1) return multiply<T>(transposed(g), threads);
  const int64_t panels = ceil_div(g.n, kLanes<U>), blocks = ceil_div(g.m, kBlockRows);
  const int64_t wanted = std::clamp<int64_t>(g.m * g.n * g.k / kChunkWork, 1, kMostChunks);
  const int64_t wide = std::min(panels, wanted), high = std::min(blocks, ceil_div(wanted, wide));
  for_chunks(threads, wide * high, [&](int64_t i) {
    const Range rows = even_part(g.m, high, i / wide), part = even_part(panels, wide, i % wide);
    const Range columns{part.begin * kLanes<U>, std::min(part.end * kLanes<U>, g.n)};
    if (g.m == 1 && (g.b_col == 1 || (g.b_row == 1 && g.a_col == 1))) return multiply_row<U>(g, columns);
    multiply_block<U>(g, rows, columns);
  });
  if (!g.bias && !g.row_bias && g.act == Activation::None) return;
  for (int64_t i = 0; i < g.m; i++) finish_row(g, i, static_cast<T*>(g.c) + i * g.c_row);
}

}  // namespace

void integer_gemm(const Gemm& g, Threads threads) {
  with_element_type(g.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
      multiply<T>(g, threads);
    } else {
      fail(ErrorKind::NotImplemented, "\"addmm_impl_cpu_\" not implemented for '%s'", dtype_title(g.dtype));
    }
  });
}

}  // namespace fl
