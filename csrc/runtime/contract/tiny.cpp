#include "runtime/contract/tiny.h"

#include <algorithm>
#include <cmath>

#include "runtime/clones.h"
#include "runtime/runs.h"

namespace fl {
namespace {

constexpr int64_t kMost = 4;

// Rows of `columns` elements: sums are in the order of the depth, each rounded once, as those of the micro-kernels.
template <class T, int columns, bool beside>
FL_INLINE void multiply(const Gemm& g, Range items, int64_t a_step, int64_t b_step) {
  const T* a = static_cast<const T*>(g.a) + items.begin * a_step;
  const T* b = static_cast<const T*>(g.b) + items.begin * b_step;
  T* c = static_cast<T*>(g.c) + items.begin * g.m * columns;
  const int64_t rows = g.m, depth = g.k, a_row = g.a_row, a_col = g.a_col, b_row = g.b_row;
  const int64_t b_col = beside ? 1 : g.b_col;
  const bool accumulate = g.accumulate;
  for (int64_t item = items.begin; item < items.end; ++item, a += a_step, b += b_step) {
    for (int64_t i = 0; i < rows; ++i, c += columns) {
      T sums[columns];
      for (int j = 0; j < columns; ++j) sums[j] = accumulate ? c[j] : T(0);
      for (int64_t k = 0; k < depth; ++k)
        for (int j = 0; j < columns; ++j)
          sums[j] = std::fma(a[i * a_row + k * a_col], b[k * b_row + j * b_col], sums[j]);
      for (int j = 0; j < columns; ++j) c[j] = sums[j];
    }
  }
}

template <class T, bool beside>
FL_INLINE void multiply_all(const Gemm& g, Range items, int64_t a_step, int64_t b_step) {
  switch (g.n) {
    case 1: return multiply<T, 1, beside>(g, items, a_step, b_step);
    case 2: return multiply<T, 2, beside>(g, items, a_step, b_step);
    case 3: return multiply<T, 3, beside>(g, items, a_step, b_step);
    default: return multiply<T, 4, beside>(g, items, a_step, b_step);
  }
}

template <class T>
FL_INLINE void multiply_any(const Gemm& g, Range items, int64_t a_step, int64_t b_step) {
  if (g.b_col == 1) return multiply_all<T, true>(g, items, a_step, b_step);
  multiply_all<T, false>(g, items, a_step, b_step);
}

}  // namespace

bool is_tiny(const Gemm& g) {
  const bool plain = !g.bias && !g.row_bias && g.act == Activation::None && g.c_row == g.n;
  return plain && (g.dtype == DType::F32 || g.dtype == DType::F64) && std::max({g.m, g.n, g.k}) <= kMost;
}

FL_CLONES void tiny_products(const Gemm& g, Range items, int64_t a_step, int64_t b_step) {
  if (g.dtype == DType::F32) return multiply_any<float>(g, items, a_step, b_step);
  multiply_any<double>(g, items, a_step, b_step);
}

}  // namespace fl
