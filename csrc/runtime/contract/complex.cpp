// The product of a complex row with a matrix whose depth is contiguous, as one of two real rows: the matrix, real and
// imaginary parts pair by pair, is read where it lies.
#include <complex>

#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

// x + iy becomes (x, -y), which gives the real part of a product, and (y, x), which gives the imaginary one.
template <class R>
void split_row(const Gemm& g, R* first, R* second) {
  const auto* a = static_cast<const std::complex<R>*>(g.a);
  for (int64_t k = 0; k < g.k; k++) {
    const R x = a[k * g.a_col].real(), y = a[k * g.a_col].imag();
    first[2 * k] = x, first[2 * k + 1] = -y;
    second[2 * k] = y, second[2 * k + 1] = x;
  }
}

template <class R>
void multiply_row(const Gemm& g, Threads threads) {
  Gemm real{.m = 2, .n = g.n, .k = 2 * g.k, .a_row = 2 * g.k, .a_col = 1, .b = g.b, .b_row = 1, .b_col = 2 * g.b_col};
  Scratch memory(static_cast<size_t>(2 * (real.k + real.n)) * sizeof(R));
  R *a = memory.as<R>(), *sums = a + 2 * real.k;
  split_row(g, a, a + real.k);
  real.a = a, real.c = sums, real.c_row = g.n;
  real.dtype = std::is_same_v<R, float> ? DType::F32 : DType::F64;
  gemm(real, threads);
  auto* c = static_cast<std::complex<R>*>(g.c);
  for (int64_t j = 0; j < g.n; j++) {
    const std::complex<R> sum(sums[j], sums[g.n + j]);
    c[j] = g.accumulate ? c[j] + sum : sum;
  }
  finish_row(g, 0, c);
}

}  // namespace

void complex_row_product(const Gemm& g, Threads threads) {
  if (g.dtype == DType::C64) return multiply_row<float>(g, threads);
  multiply_row<double>(g, threads);
}

}  // namespace fl
