// Launching loop programs and multi-tensor elementwise kernels.
#pragma once
#include <span>

#include "runtime/row.h"

namespace fl {

// void k(char** ptr, const int64_t* ints, int64_t begin, int64_t end, const Slot* params)
using LoopKernel = void (*)(char** ptr, const int64_t* ints, int64_t begin, int64_t end, const Slot* params);

// Runs iterations [0, n), several to a task so that a task has about 16K elements (`work` an iteration).
void run_loop(LoopKernel kernel, std::span<Tensor* const> buffers, IntSpan ints, int64_t n, int64_t work,
              const Slot* params);

// One elementwise kernel over many groups of dense tensors of equal sizes: one launch for all parameters of a model.
// groups: outputs first, then inputs, `width` tensors each.
void run_multi(ElementKernel kernel, std::span<Tensor* const> tensors, int width, const Slot* params);

}  // namespace fl
