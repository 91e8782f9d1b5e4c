// Matrix products of any size, stride and type. Results are bitwise the same for any number of threads and alignment.
#pragma once
#include <cstdint>

#include "core/dtype.h"
#include "core/tensor.h"

namespace fl {

enum class Activation : uint8_t { None, Relu };

// c[m, n] = act((accumulate ? c : 0) + a[m, k] b[k, n] + bias[n] + row_bias[m]); strides in elements.
struct Gemm {
  int64_t m = 0, n = 0, k = 0;
  const void* a = nullptr;
  int64_t a_row = 0, a_col = 0;
  const void* b = nullptr;
  int64_t b_row = 0, b_col = 0;
  void* c = nullptr;
  int64_t c_row = 0;  // columns of c are contiguous
  DType dtype = DType::F32;
  const void* bias = nullptr;      // n elements, or null
  const void* row_bias = nullptr;  // m elements, or null
  bool accumulate = false;
  Activation act = Activation::None;
};

// The pool's threads, or the caller alone (inside a chunk of something larger): the bits are the same.
enum class Threads : uint8_t { Pool, Caller };

void gemm(const Gemm& g, Threads threads = Threads::Pool);

// Products over batch dimensions, with the strides of a and b in elements (0: shared by all); results lie one behind
// the other.
struct Batch {
  Dims sizes, a, b;
};
void gemm_batched(const Gemm& g, const Batch& batch);

}  // namespace fl
