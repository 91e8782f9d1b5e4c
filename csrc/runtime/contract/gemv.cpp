#include "runtime/contract/gemv.h"

#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

// More rows are better served by a panel.
constexpr int64_t kMostRows = 3;
// Multiply-adds of a chunk: half a megabyte of b, as memory bounds such products.
constexpr int64_t kChunkWork = 1 << 17;
constexpr int64_t kMostChunks = 64;
// Results that are computed before they are finished and stored.
constexpr int64_t kBlock = 64;

template <class T>
void finish_block(const Gemm& g, int64_t row, Range columns, const T* sums) {
  T* c = static_cast<T*>(g.c) + row * g.c_row + columns.begin;
  const T* bias = g.bias ? static_cast<const T*>(g.bias) + columns.begin : nullptr;
  for (int64_t j = 0; j < columns.size(); j++) {
    T value = sums[j];
    if (g.accumulate) value = c[j] + value;
    if (bias) value += bias[j];
    if (g.row_bias) value += static_cast<const T*>(g.row_bias)[row];
    if (g.act == Activation::Relu && value <= T(0)) value = T(0);  // keeps nan
    c[j] = value;
  }
}

// Columns of the result for every row of a; rows of a are `x_row` bytes apart and contiguous.
void multiply_columns(const MicroKernels& mk, const Gemm& g, const char* x, int64_t x_row, Range columns) {
  const int64_t element = mk.element_bytes, lanes = mk.lanes, b_row = g.b_col * element;
  const int64_t pairs = g.k / (2 * lanes), rest = g.k - pairs * 2 * lanes;
  const int64_t masks =
      lane_mask(std::min(rest, lanes)) | static_cast<int64_t>(lane_mask(std::max<int64_t>(0, rest - lanes))) << 32;
  alignas(64) char sums[kBlock * sizeof(double)];
  for (int64_t begin = columns.begin; begin < columns.end; begin += kBlock) {
    Range block{begin, std::min(begin + kBlock, columns.end)};
    for (int64_t i = 0; i < g.m; i++) {
      const char* b = static_cast<const char*>(g.b) + block.begin * b_row;
      int64_t j = 0;
      for (; j + 4 <= block.size(); j += 4) {
        mk.dot_4(pairs, x + i * x_row, b + j * b_row, b_row, masks, sums + j * element);
      }
      for (; j < block.size(); j++) mk.dot_1(pairs, x + i * x_row, b + j * b_row, b_row, masks, sums + j * element);
      if (element == 4) {
        finish_block(g, i, block, reinterpret_cast<const float*>(sums));
      } else {
        finish_block(g, i, block, reinterpret_cast<const double*>(sums));
      }
    }
  }
}

}  // namespace

bool is_row_product(const Gemm& g) { return g.m <= kMostRows && (g.b_row == 1 || g.k == 1); }

void row_product(const MicroKernels& mk, const Gemm& g, Threads threads) {
  const int64_t element = mk.element_bytes;
  const char* x = static_cast<const char*>(g.a);
  int64_t x_row = g.a_row * element;
  bool copied = g.a_col != 1 && g.k > 1;
  Workspace work(copied ? static_cast<size_t>(g.m * g.k * element) : 0);
  if (copied) {
    char* copy = work.take(static_cast<size_t>(g.m * g.k * element));
    for (int64_t i = 0; i < g.m; i++) {
      for (int64_t k = 0; k < g.k; k++) {
        std::memcpy(copy + (i * g.k + k) * element, x + i * x_row + k * g.a_col * element,
                    static_cast<size_t>(element));
      }
    }
    x = copy;
    x_row = g.k * element;
  }
  int64_t chunks = std::clamp<int64_t>(g.m * g.n * g.k / kChunkWork, 1, std::min(kMostChunks, ceil_div(g.n, 4)));
  for_chunks(threads, chunks, [&](int64_t chunk) { multiply_columns(mk, g, x, x_row, even_part(g.n, chunks, chunk)); });
}

Gemm transposed_column(const Gemm& g) {
  Gemm t = g;
  t.m = 1;
  t.n = g.m;
  t.a = g.b;
  t.a_row = 0;
  t.a_col = g.b_row;
  t.b = g.a;
  t.b_row = g.a_col;
  t.b_col = g.a_row;
  t.c_row = 0;
  t.bias = g.row_bias;
  t.row_bias = g.bias;
  return t;
}

}  // namespace fl
