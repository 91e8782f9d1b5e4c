// Products with a vector, or with few rows, of a matrix whose depth is contiguous: read once, straight from memory.
#pragma once
#include "runtime/contract/gemm.h"
#include "runtime/contract/kernels.h"

namespace fl {

// Does `g` have this form (a is one to three rows, b is transposed)?
bool is_row_product(const Gemm& g);
void row_product(const MicroKernels& mk, const Gemm& g, Threads threads);
void row_product(const NarrowKernels& nk, const Gemm& g, Threads threads);

// The product whose result is the transpose: a matrix times a column becomes a row times a matrix. `c` and `c_row`
// stay.
Gemm transposed(const Gemm& g);

}  // namespace fl
