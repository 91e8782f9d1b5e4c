// Matrix products of complex numbers as one of real numbers: a matrix of complex numbers is, as it lies, one of twice
// as many real columns. Rows of A become two rows each, so that B is read where it lies.
#include <complex>

#include "runtime/clones.h"
#include "runtime/contract/gemv.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

constexpr int64_t kPieceElements = 1 << 14;

// Calls fn with ranges of rows, of `row` elements each.
template <class F>
void for_rows(Threads threads, int64_t rows, int64_t row, F&& fn) {
  const int64_t pieces = std::clamp<int64_t>(rows * row / kPieceElements, 1, std::max<int64_t>(rows, 1));
  for_chunks(threads, pieces, [&](int64_t i) { fn(even_part(rows, pieces, i)); });
}

// x + iy: x, and y apart; or, for a B whose depth is contiguous, (x, -y) pair by pair, and (y, x) apart.
template <class R, bool pairs>
FL_CLONES void split_row(const std::complex<R>* from, int64_t step, int64_t n, R* __restrict first,
                         R* __restrict second) {
  for (int64_t k = 0; k < n; k++) {
    const R x = from[k * step].real(), y = from[k * step].imag();
    if constexpr (pairs) {
      first[2 * k] = x, first[2 * k + 1] = -y;
      second[2 * k] = y, second[2 * k + 1] = x;
    } else {
      first[k] = x, second[k] = y;
    }
  }
}

// What a row's two rows of sums stand for.
template <class R, bool pairs>
FL_CLONES void join_row(const R* first, const R* second, int64_t n, bool accumulate, R* __restrict out) {
  for (int64_t j = 0; j < n; j++) {
    const R x = pairs ? first[j] : first[2 * j] - second[2 * j + 1];
    const R y = pairs ? second[j] : first[2 * j + 1] + second[2 * j];
    out[2 * j] = accumulate ? out[2 * j] + x : x;
    out[2 * j + 1] = accumulate ? out[2 * j + 1] + y : y;
  }
}

// `pairs`: B's depth is contiguous.
template <class R, bool pairs>
class Product {
 public:
  using C = std::complex<R>;

  Product(const Gemm& g, Threads threads) : g_(g), threads_(threads) {}

  void run() {
    const bool copies = !pairs && g_.b_col != 1 && g_.n > 1;
    Gemm real{.m = 2 * g_.m, .n = pairs ? g_.n : 2 * g_.n, .k = pairs ? 2 * g_.k : g_.k};
    Scratch memory(static_cast<size_t>(real.m * (real.k + real.n) + (copies ? 2 * g_.k * g_.n : 0)) * sizeof(R));
    R *a = memory.as<R>(), *c = a + real.m * real.k;
    for_rows(threads_, g_.m, g_.k, [&](Range rows) { split(rows, a); });
    real.a = a, real.a_row = real.k, real.a_col = 1;
    real.b = g_.b, real.b_row = pairs ? 1 : 2 * g_.b_row, real.b_col = pairs ? 2 * g_.b_col : 1;
    real.c = c, real.c_row = real.n;
    real.dtype = std::is_same_v<R, float> ? DType::F32 : DType::F64;
    if (copies) {
      R* b = c + real.m * real.n;
      for_rows(threads_, g_.k, g_.n, [&](Range rows) { copy_right(rows, b); });
      real.b = b, real.b_row = 2 * g_.n;
    }
    gemm(real, threads_);
    for_rows(threads_, g_.m, g_.n, [&](Range rows) { join(rows, c); });
  }

 private:
  void split(Range rows, R* out) const {
    constexpr int64_t width = pairs ? 2 : 1;
    for (int64_t i = rows.begin; i < rows.end; i++) {
      R* first = out + width * i * g_.k;
      split_row<R, pairs>(static_cast<const C*>(g_.a) + i * g_.a_row, g_.a_col, g_.k, first,
                          first + width * g_.m * g_.k);
    }
  }

  void copy_right(Range rows, R* out) const {
    for (int64_t k = rows.begin; k < rows.end; k++) {
      const C* from = static_cast<const C*>(g_.b) + k * g_.b_row;
      for (int64_t j = 0; j < g_.n; j++) std::memcpy(out + 2 * (k * g_.n + j), from + j * g_.b_col, sizeof(C));
    }
  }

  void join(Range rows, const R* sums) const {
    constexpr int64_t width = pairs ? 1 : 2;
    for (int64_t i = rows.begin; i < rows.end; i++) {
      const R* first = sums + width * i * g_.n;
      C* out = static_cast<C*>(g_.c) + i * g_.c_row;
      join_row<R, pairs>(first, first + width * g_.m * g_.n, g_.n, g_.accumulate, reinterpret_cast<R*>(out));
      finish_row(g_, i, out);
    }
  }

  const Gemm& g_;
  const Threads threads_;
};

}  // namespace

void complex_gemm(const Gemm& g, Threads threads) {
  if (g.n == 1 && g.m > 1 && g.c_row == 1) return complex_gemm(transposed(g), threads);
  const bool pairs = g.b_row == 1 && g.b_col != 1;
  if (g.dtype == DType::C64)
    return pairs ? Product<float, true>(g, threads).run() : Product<float, false>(g, threads).run();
  pairs ? Product<double, true>(g, threads).run() : Product<double, false>(g, threads).run();
}

}  // namespace fl
