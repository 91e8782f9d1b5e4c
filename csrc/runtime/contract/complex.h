// Products of complex matrices as products of real ones.
#pragma once
#include "runtime/contract/gemm.h"

namespace fl {

// Whether a product of complex matrices is worth a real one, and one can do it.
bool as_real_product(const Gemm& g);

// A row of a is 2k real numbers as it lies, one of c 2n. Between them stands b with every element as the 2x2 matrix
// (re, im; -im, re).
void complex_gemm(const Gemm& g, Threads threads);

}  // namespace fl
