#include "runtime/contract/complex.h"

#include <algorithm>

#include "core/allocator.h"
#include "runtime/clones.h"
#include "runtime/contract/kernels.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

constexpr int64_t kFewRows = 4;               // for which b is not worth a copy
constexpr int64_t kFewColumns = 64;           // of b that go together at least
constexpr int64_t kCopiedBytes = 4 << 20;     // of b at a time
constexpr int64_t kCopiedElements = 1 << 14;  // by a thread at a time

template <class T>
struct Pair {
  T re, im;
};

// Rows of a that are not in order, one behind the other.
template <class T>
void copy_rows(const Gemm& g, Pair<T>* to, Threads threads) {
  const auto* from = static_cast<const Pair<T>*>(g.a);
  for_chunks(threads, ceil_div(g.m * g.k, kCopiedElements), [&](int64_t i) {
    const Range rows = even_part(g.m, ceil_div(g.m * g.k, kCopiedElements), i);
    for (int64_t r = rows.begin; r < rows.end; r++)
      for (int64_t k = 0; k < g.k; k++) to[r * g.k + k] = from[r * g.a_row + k * g.a_col];
  });
}

template <class T>
inline void expand_elements(const Pair<T>* from, int64_t step, int64_t n, Pair<T>* __restrict upper,
                            Pair<T>* __restrict lower) {
  for (int64_t j = 0; j < n; j++) {
    const Pair<T> x = from[j * step];
    upper[j] = x;
    lower[j] = {-x.im, x.re};
  }
}

template <class T>
FL_CLONES void expand_row(const Pair<T>* from, int64_t step, int64_t n, Pair<T>* upper, Pair<T>* lower) {
  constexpr int64_t kBlock = 16;  // elements: a number that compilers make vectors of
  int64_t j = 0;
  for (; step == 1 && j + kBlock <= n; j += kBlock) expand_elements(from + j, 1, kBlock, upper + j, lower + j);
  expand_elements(from + j * step, step, n - j, upper + j, lower + j);
}

template <class T>
void expand(const Gemm& g, Range columns, Pair<T>* to, Threads threads) {
  const auto* from = static_cast<const Pair<T>*>(g.b) + columns.begin * g.b_col;
  const int64_t n = columns.size(), chunks = ceil_div(g.k * n, kCopiedElements);
  for_chunks(threads, chunks, [&](int64_t i) {
    const Range rows = even_part(g.k, chunks, i);
    for (int64_t k = rows.begin; k < rows.end; k++)
      expand_row(from + k * g.b_row, g.b_col, n, to + 2 * k * n, to + (2 * k + 1) * n);
  });
}

template <class T>
void multiply(const Gemm& g, Threads threads) {
  Gemm real{.m = g.m, .k = 2 * g.k, .a = g.a, .a_row = 2 * g.a_row, .a_col = 1, .dtype = to_real(g.dtype)};
  const bool in_order = g.a_col == 1 || g.k == 1;
  Scratch rows(in_order ? 0 : static_cast<size_t>(g.m * g.k) * sizeof(Pair<T>));
  if (!in_order) {
    copy_rows(g, rows.as<Pair<T>>(), threads);
    real.a = rows.as();
    real.a_row = 2 * g.k;
  }
  const int64_t row_bytes = 2 * g.k * static_cast<int64_t>(sizeof(Pair<T>));
  const int64_t parts = std::clamp<int64_t>(g.n * row_bytes / kCopiedBytes, 1, ceil_div(g.n, kFewColumns));
  Scratch copy(static_cast<size_t>(ceil_div(g.n, parts) * row_bytes));
  for (int64_t part = 0; part < parts; part++) {
    const Range columns = even_part(g.n, parts, part);
    expand(g, columns, copy.as<Pair<T>>(), threads);
    real.n = 2 * columns.size();
    real.b = copy.as();
    real.b_row = real.n, real.b_col = 1;
    real.c = static_cast<Pair<T>*>(g.c) + columns.begin;
    real.c_row = 2 * g.c_row;
    real.bias = g.bias ? static_cast<const Pair<T>*>(g.bias) + columns.begin : nullptr;
    real.accumulate = g.accumulate;
    gemm(real, threads);
  }
}

}  // namespace

bool as_real_product(const Gemm& g) {
  return is_complex(g.dtype) && g.m >= kFewRows && g.k > 0 && !g.row_bias && g.act == Activation::None &&
         micro_kernels(to_real(g.dtype));
}

void complex_gemm(const Gemm& g, Threads threads) {
  g.dtype == DType::C64 ? multiply<float>(g, threads) : multiply<double>(g, threads);
}

}  // namespace fl
