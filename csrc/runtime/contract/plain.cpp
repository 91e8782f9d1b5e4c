#include "runtime/contract/plain.h"

#include <complex>

#include "core/element.h"
#include "core/error.h"
#include "runtime/contract/kernels.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

constexpr int64_t kPlainChunkWork = 1 << 17;

template <class T>
void plain_row(const Gemm& g, int64_t i) {
  const T* a = static_cast<const T*>(g.a) + i * g.a_row;
  T* c = static_cast<T*>(g.c) + i * g.c_row;
  if (!g.accumulate) std::fill(c, c + g.n, T(0));
  for (int64_t k = 0; k < g.k; k++) {
    const T x = a[k * g.a_col];
    const T* b = static_cast<const T*>(g.b) + k * g.b_row;
    if (g.b_col == 1) {
      for (int64_t j = 0; j < g.n; j++) c[j] += x * b[j];
    } else {
      for (int64_t j = 0; j < g.n; j++) c[j] += x * b[j * g.b_col];
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

// 16-bit rows to float32 and back, by generated kernels where there are any.
template <class Narrow>
struct Converter {
  const NarrowKernels* nk;

  void widen(int64_t rows, int64_t count, const Narrow* from, int64_t row, float* to) const {
    if (nk) {
      const auto bytes = [](int64_t n, size_t size) { return n * static_cast<int64_t>(size); };
      return nk->widen(rows, count, reinterpret_cast<const char*>(from), bytes(row, sizeof(Narrow)),
                       reinterpret_cast<char*>(to), bytes(count, sizeof(float)));
    }
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < count; j++) to[i * count + j] = from[i * row + j];
    }
  }

  void narrow(int64_t rows, int64_t count, const float* from, Narrow* to, int64_t row) const {
    if (nk) {
      const auto bytes = [](int64_t n, size_t size) { return n * static_cast<int64_t>(size); };
      return nk->narrow(rows, count, reinterpret_cast<const char*>(from), bytes(count, sizeof(float)),
                        reinterpret_cast<char*>(to), bytes(row, sizeof(Narrow)));
    }
    for (int64_t i = 0; i < rows; i++) {
      for (int64_t j = 0; j < count; j++) to[i * row + j] = Narrow(from[i * count + j]);
    }
  }

  // A block of a matrix in float32, in the order in which it lies; the strides of the copy come back.
  void widen_block(const Narrow* from, int64_t row, int64_t col, Range rows, Range columns, float* to, int64_t& to_row,
                   int64_t& to_col) const {
    from += rows.begin * row + columns.begin * col;
    to_row = columns.size(), to_col = 1;
    if (col == 1 || columns.size() == 1) return widen(rows.size(), columns.size(), from, row, to);
    if (row == 1) {
      to_row = 1, to_col = rows.size();
      return widen(columns.size(), rows.size(), from, col, to);
    }
    for (int64_t i = 0; i < rows.size(); i++) {
      for (int64_t j = 0; j < columns.size(); j++) *to++ = from[i * row + j * col];
    }
  }
};

constexpr int64_t kNarrowDepth = 256;

template <class Narrow>
void narrow_block(const Converter<Narrow>& convert, const Gemm& g, Range rows, Range columns) {
  int64_t m = rows.size(), n = columns.size(), depth = std::min(g.k, kNarrowDepth);
  Scratch work(static_cast<size_t>(m * depth + depth * n + m * n + m + n) * sizeof(float));
  auto* a = work.as<float>();
  float *b = a + m * depth, *c = b + depth * n, *bias = c + m * n, *row_bias = bias + n;
  Narrow* out = static_cast<Narrow*>(g.c) + rows.begin * g.c_row + columns.begin;
  Gemm wide{.m = m, .n = n, .a = a, .b = b, .c = c, .c_row = n};
  wide.accumulate = g.accumulate;
  if (g.accumulate) convert.widen(m, n, out, g.c_row, c);
  int64_t k = 0;
  do {
    Range part{k, std::min(k + depth, g.k)};
    convert.widen_block(static_cast<const Narrow*>(g.a), g.a_row, g.a_col, rows, part, a, wide.a_row, wide.a_col);
    convert.widen_block(static_cast<const Narrow*>(g.b), g.b_row, g.b_col, part, columns, b, wide.b_row, wide.b_col);
    wide.k = part.size();
    if (part.end == g.k) {
      wide.act = g.act;
      if (g.bias) convert.widen(1, n, static_cast<const Narrow*>(g.bias) + columns.begin, 0, bias), wide.bias = bias;
      if (g.row_bias)
        convert.widen(1, m, static_cast<const Narrow*>(g.row_bias) + rows.begin, 0, row_bias), wide.row_bias = row_bias;
    }
    gemm(wide, Threads::Caller);
    wide.accumulate = true;
    k = part.end;
  } while (k < g.k);
  convert.narrow(m, n, c, out, g.c_row);
}

// Blocks of 16-bit products: as large as the cache likes, smaller where that gives more threads something to do.
constexpr int64_t kNarrowRows = 192, kNarrowColumns = 256, kLeastSide = 64, kNarrowChunkWork = 1 << 20;
constexpr int64_t kWantedChunks = 12;

template <class Narrow>
void narrow_blocks(const Gemm& g, Threads threads) {
  Converter<Narrow> convert{narrow_kernels(g.dtype)};
  int64_t rows = ceil_div(g.m, kNarrowRows), columns = ceil_div(g.n, kNarrowColumns);
  int64_t wanted = std::min(g.m * g.n * std::max<int64_t>(g.k, 1) / kNarrowChunkWork, kWantedChunks);
  while (rows * columns < wanted) {
    int64_t height = g.m / rows, width = g.n / columns;
    if (std::max(height, width) < 2 * kLeastSide) break;
    (height > width ? rows : columns) *= 2;
  }
  for_chunks(threads, rows * columns, [&](int64_t i) {
    narrow_block(convert, g, even_part(g.m, rows, i / columns), even_part(g.n, columns, i % columns));
  });
}

}  // namespace

void plain_gemm(const Gemm& g, Threads threads) {
  switch (g.dtype) {
    case DType::F32: return plain_rows<float>(g, threads);
    case DType::F64: return plain_rows<double>(g, threads);
    case DType::C64: return plain_rows<std::complex<float>>(g, threads);
    case DType::C128: return plain_rows<std::complex<double>>(g, threads);
    default: integer_gemm(g, threads);
  }
}

void narrow_gemm(const Gemm& g, Threads threads) {
  micro_kernels(DType::F32);  // asked for here, so that no thread of the pool has to wait for Python
  if (g.dtype == DType::BF16) return narrow_blocks<BFloat16>(g, threads);
  narrow_blocks<Half>(g, threads);
}

}  // namespace fl
