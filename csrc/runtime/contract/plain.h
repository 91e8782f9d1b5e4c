// Contractions without generated kernels (integers, machines that refuse executable memory), 16-bit floating point, and
// complex rows.
#pragma once
#include "core/element.h"
#include "runtime/contract/gemm.h"
#include "runtime/pool.h"

namespace fl {

void plain_gemm(const Gemm& g, Threads threads);
void integer_gemm(const Gemm& g, Threads threads);
// One complex row, and a B whose depth is contiguous.
void complex_row_product(const Gemm& g, Threads threads);

constexpr DType compute_type(DType dtype) { return dtype == DType::F16 || dtype == DType::BF16 ? DType::F32 : dtype; }

// float16 and bfloat16: blocks are converted to float32, summed in float32 and rounded once.
void narrow_gemm(const Gemm& g, Threads threads);

// Types whose sums may be kept in the type itself.
template <class T>
constexpr bool kPlainElement = !std::is_same_v<T, bool> && !std::is_same_v<T, Half> && !std::is_same_v<T, BFloat16>;

template <class F>
void for_chunks(Threads threads, int64_t chunks, F&& fn) {
  if (threads == Threads::Pool && chunks > 1) return parallel_for(chunks, fn);
  for (int64_t i = 0; i < chunks; i++) fn(i);
}

// Bias and activation of row i of C.
template <class T>
void finish_row(const Gemm& g, int64_t i, T* c) {
  if (g.bias) {
    for (int64_t j = 0; j < g.n; j++) c[j] = element_sum(c[j], static_cast<const T*>(g.bias)[j]);
  }
  if (g.row_bias) {
    for (int64_t j = 0; j < g.n; j++) c[j] = element_sum(c[j], static_cast<const T*>(g.row_bias)[i]);
  }
  if constexpr (requires(T x) { x > x; }) {
    if (g.act != Activation::Relu) return;
    for (int64_t j = 0; j < g.n; j++) c[j] = c[j] <= T(0) ? T(0) : c[j];  // keeps nan
  }
}

}  // namespace fl
