#include "runtime/contract/plain.h"

#include <complex>
#include <type_traits>

#include "core/element.h"
#include "core/error.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

constexpr int64_t kPlainChunkWork = 1 << 17;

template <class T>
T multiply_add(T a, T b, T c) {
  if constexpr (std::is_integral_v<T>) {
    using U = Wrapping<T>;
    return static_cast<T>(static_cast<U>(c) + static_cast<U>(a) * static_cast<U>(b));
  } else {
    return c + a * b;
  }
}

template <class T>
std::complex<T> multiply_add(std::complex<T> a, std::complex<T> b, std::complex<T> c) {
  return {c.real() + (a.real() * b.real() - a.imag() * b.imag()),
          c.imag() + (a.real() * b.imag() + a.imag() * b.real())};
}

template <class T>
void plain_row(const Gemm& g, int64_t i) {
  const T* a = static_cast<const T*>(g.a) + i * g.a_row;
  T* c = static_cast<T*>(g.c) + i * g.c_row;
  if (!g.accumulate) std::fill(c, c + g.n, T(0));
  for (int64_t k = 0; k < g.k; k++) {
    const T x = a[k * g.a_col];
    const T* b = static_cast<const T*>(g.b) + k * g.b_row;
    if (g.b_col == 1) {
      for (int64_t j = 0; j < g.n; j++) c[j] = multiply_add(x, b[j], c[j]);
    } else {
      for (int64_t j = 0; j < g.n; j++) c[j] = multiply_add(x, b[j * g.b_col], c[j]);
    }
  }
  finish_row(g, i, c);
}

template <class T>
void plain_rows(const Gemm& g, Threads threads) {
  int64_t chunks =
      std::clamp<int64_t>(g.m * g.n * std::max<int64_t>(g.k, 1) / kPlainChunkWork, 1, std::min<int64_t>(g.m, 64));
  for_chunks(threads, chunks, [&](int64_t chunk) {
    Range rows = even_part(g.m, chunks, chunk);
    for (int64_t i = rows.begin; i < rows.end; i++) plain_row<T>(g, i);
  });
}

// A block of a 16-bit matrix in float32, rows of `columns` elements.
template <class Narrow>
void widen_block(const Narrow* from, int64_t row, int64_t col, Range rows, Range columns, float* to) {
  for (int64_t i = rows.begin; i < rows.end; i++) {
    const Narrow* source = from + i * row + columns.begin * col;
    for (int64_t j = 0; j < columns.size(); j++) *to++ = source[j * col];
  }
}

constexpr int64_t kNarrowRows = 192, kNarrowColumns = 256, kNarrowDepth = 512;

template <class Narrow>
void narrow_block(const Gemm& g, Range rows, Range columns) {
  int64_t m = rows.size(), n = columns.size(), depth = std::min(g.k, kNarrowDepth);
  Scratch work(static_cast<size_t>(m * depth + depth * n + m * n + m + n) * sizeof(float));
  auto* a = work.as<float>();
  float *b = a + m * depth, *c = b + depth * n, *bias = c + m * n, *row_bias = bias + n;
  Narrow* out = static_cast<Narrow*>(g.c) + rows.begin * g.c_row + columns.begin;
  Gemm wide{.m = m, .n = n, .a = a, .a_col = 1, .b = b, .b_row = n, .b_col = 1, .c = c, .c_row = n};
  wide.accumulate = g.accumulate;
  if (g.accumulate) widen_block(out, g.c_row, 1, {0, m}, {0, n}, c);
  int64_t k = 0;
  do {
    Range part{k, std::min(k + depth, g.k)};
    widen_block(static_cast<const Narrow*>(g.a), g.a_row, g.a_col, rows, part, a);
    widen_block(static_cast<const Narrow*>(g.b), g.b_row, g.b_col, part, columns, b);
    wide.k = wide.a_row = part.size();
    if (part.end == g.k) {
      wide.act = g.act;
      if (g.bias) widen_block(static_cast<const Narrow*>(g.bias), 0, 1, {0, 1}, columns, bias), wide.bias = bias;
      if (g.row_bias)
        widen_block(static_cast<const Narrow*>(g.row_bias), 0, 1, {0, 1}, rows, row_bias), wide.row_bias = row_bias;
    }
    gemm(wide, Threads::Caller);
    wide.accumulate = true;
    k = part.end;
  } while (k < g.k);
  for (int64_t i = 0; i < m; i++) {
    for (int64_t j = 0; j < n; j++) out[i * g.c_row + j] = Narrow(c[i * n + j]);
  }
}

}  // namespace

void plain_gemm(const Gemm& g, Threads threads) {
  with_element_type(g.dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (kPlainElement<T>) {
      plain_rows<T>(g, threads);
    } else {
      fail(ErrorKind::Runtime, "matrix product of %s is not implemented", dtype_name(g.dtype));
    }
  });
}

void narrow_gemm(const Gemm& g, Threads threads) {
  micro_kernels(DType::F32);  // asked for here, so that no thread of the pool has to wait for Python
  int64_t rows = ceil_div(g.m, kNarrowRows), columns = ceil_div(g.n, kNarrowColumns);
  for_chunks(threads, rows * columns, [&](int64_t i) {
    Range row = even_part(g.m, rows, i / columns), column = even_part(g.n, columns, i % columns);
    if (g.dtype == DType::BF16) {
      narrow_block<BFloat16>(g, row, column);
    } else {
      narrow_block<Half>(g, row, column);
    }
  });
}

}  // namespace fl
