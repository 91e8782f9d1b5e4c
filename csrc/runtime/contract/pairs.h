// Products of bfloat16 on machines that multiply pairs: two steps of the depth in one, summed in float32, rounded once.
#pragma once
#include "runtime/contract/gemm.h"
#include "runtime/contract/kernels.h"

namespace fl {

// `nk` has pairs.
void pairs_gemm(const NarrowKernels& nk, const Gemm& g, Threads threads);

}  // namespace fl
