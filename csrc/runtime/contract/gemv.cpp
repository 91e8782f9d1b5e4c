#include "runtime/contract/gemv.h"

#include "core/element.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

// More rows are better served by a panel.
constexpr int64_t kMostRows = 3;
// Bytes of b that one chunk reads, as memory bounds such products.
constexpr int64_t kChunkBytes = 1 << 19;
constexpr int64_t kMostChunks = 64;
// Depth from which few results are summed in parts.
constexpr int64_t kPartDepth = 1 << 14;
// Results that are computed before they are finished and stored.
constexpr int64_t kBlock = 64;

struct Dots {
  MicroKernels::Dot one, four;
  int64_t lanes;  // elements of a vector of the operands
};

// Rows of a as dot products want them: contiguous, `row` bytes apart.
struct Rows {
  const char* data;
  int64_t row;
};

template <class T>
using Sum = std::conditional_t<std::is_same_v<T, double>, double, float>;

// sums[j] = product of row x with column j of b, over a range of the depth.
template <class T>
void dot_columns(const Dots& dots, const Gemm& g, const char* x, Range columns, Range depth, Sum<T>* sums) {
  const int64_t element = sizeof(T), lanes = dots.lanes, b_row = g.b_col * element;
  const int64_t pairs = depth.size() / (2 * lanes), rest = depth.size() - pairs * 2 * lanes;
  auto bits = [&](int64_t n) { return (int64_t{1} << std::clamp<int64_t>(n, 0, lanes)) - 1; };
  const int64_t masks = bits(rest) | bits(rest - lanes) << 32;
  const char* b = static_cast<const char*>(g.b) + depth.begin * element + columns.begin * b_row;
  x += depth.begin * element;
  int64_t j = 0;
  for (; j + 4 <= columns.size(); j += 4) {
    dots.four(pairs, x, b + j * b_row, b_row, masks, reinterpret_cast<char*>(sums + j));
  }
  for (; j < columns.size(); j++) dots.one(pairs, x, b + j * b_row, b_row, masks, reinterpret_cast<char*>(sums + j));
}

template <class T>
void finish_block(const Gemm& g, int64_t row, Range columns, const Sum<T>* sums) {
  using S = Sum<T>;
  T* c = static_cast<T*>(g.c) + row * g.c_row + columns.begin;
  const T* bias = g.bias ? static_cast<const T*>(g.bias) + columns.begin : nullptr;
  for (int64_t j = 0; j < columns.size(); j++) {
    S value = sums[j];
    if (g.accumulate) value = static_cast<S>(c[j]) + value;
    if (bias) value += static_cast<S>(bias[j]);
    if (g.row_bias) value += static_cast<S>(static_cast<const T*>(g.row_bias)[row]);
    if (g.act == Activation::Relu && value <= S(0)) value = S(0);  // keeps nan
    c[j] = T(value);
  }
}

template <class T>
void multiply_columns(const Dots& dots, const Gemm& g, const Rows& x, Range columns) {
  Sum<T> sums[kBlock];
  for (int64_t begin = columns.begin; begin < columns.end; begin += kBlock) {
    Range block{begin, std::min(begin + kBlock, columns.end)};
    for (int64_t i = 0; i < g.m; i++) {
      dot_columns<T>(dots, g, x.data + i * x.row, block, {0, g.k}, sums);
      finish_block<T>(g, i, block, sums);
    }
  }
}

// Few long columns: parts of the depth apart, added up in their order.
template <class T>
void multiply_parts(const Dots& dots, const Gemm& g, const Rows& x, int64_t parts, Threads threads) {
  Scratch memory(static_cast<size_t>(parts * g.m * g.n) * sizeof(Sum<T>));
  auto* sums = memory.as<Sum<T>>();
  for_chunks(threads, parts, [&](int64_t part) {
    for (int64_t i = 0; i < g.m; i++) {
      Range depth = even_part(g.k, parts, part);
      dot_columns<T>(dots, g, x.data + i * x.row, {0, g.n}, depth, sums + (part * g.m + i) * g.n);
    }
  });
  for (int64_t part = 1; part < parts; part++) {
    for (int64_t i = 0; i < g.m * g.n; i++) sums[i] += sums[part * g.m * g.n + i];
  }
  for (int64_t i = 0; i < g.m; i++) finish_block<T>(g, i, {0, g.n}, sums + i * g.n);
}

template <class T>
void multiply_rows(const Dots& dots, const Gemm& g, Threads threads) {
  const int64_t element = sizeof(T);
  Rows x{static_cast<const char*>(g.a), g.a_row * element};
  bool copied = g.a_col != 1 && g.k > 1;
  Workspace work(copied ? static_cast<size_t>(g.m * g.k * element) : 0);
  if (copied) {
    char* copy = work.take(static_cast<size_t>(g.m * g.k * element));
    for (int64_t i = 0; i < g.m; i++) {
      for (int64_t k = 0; k < g.k; k++) {
        std::memcpy(copy + (i * g.k + k) * element, x.data + i * x.row + k * g.a_col * element, sizeof(T));
      }
    }
    x = {copy, g.k * element};
  }
  int64_t wanted = std::clamp<int64_t>(g.m * g.n * g.k * element / kChunkBytes, 1, kMostChunks);
  int64_t chunks = std::min(wanted, ceil_div(g.n, 4)), parts = std::min(wanted / chunks, g.k / kPartDepth);
  if (chunks == 1 && parts > 1) return multiply_parts<T>(dots, g, x, parts, threads);
  for_chunks(threads, chunks, [&](int64_t chunk) { multiply_columns<T>(dots, g, x, even_part(g.n, chunks, chunk)); });
}

}  // namespace

bool is_row_product(const Gemm& g) { return g.m <= kMostRows && (g.b_row == 1 || g.k == 1); }

void row_product(const MicroKernels& mk, const Gemm& g, Threads threads) {
  Dots dots{mk.dot_1, mk.dot_4, mk.lanes};
  if (g.dtype == DType::F32) return multiply_rows<float>(dots, g, threads);
  multiply_rows<double>(dots, g, threads);
}

void row_product(const NarrowKernels& nk, const Gemm& g, Threads threads) {
  Dots dots{nk.dot_1, nk.dot_4, nk.lanes};
  if (g.dtype == DType::F16) return multiply_rows<Half>(dots, g, threads);
  multiply_rows<BFloat16>(dots, g, threads);
}

Gemm transposed(const Gemm& g) {
  Gemm t = g;
  t.m = g.n;
  t.n = g.m;
  t.a = g.b;
  t.a_row = g.b_col;
  t.a_col = g.b_row;
  t.b = g.a;
  t.b_row = g.a_col;
  t.b_col = g.a_row;
  t.bias = g.row_bias;
  t.row_bias = g.bias;
  return t;
}

}  // namespace fl
