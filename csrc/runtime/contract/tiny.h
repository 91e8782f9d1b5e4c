// Many products of matrices of a few rows and columns: rotations, boxes, cameras.
#pragma once
#include "runtime/contract/gemm.h"
#include "runtime/contract/tiles.h"

namespace fl {

// Whether a product is too small for micro-kernels to be worth their preparations.
bool is_tiny(const Gemm& g);

// The products of these numbers; a and b lie so many elements apart, results one behind the other.
void tiny_products(const Gemm& g, Range items, int64_t a_step, int64_t b_step);

}  // namespace fl
