// Tensors that are put one after the other.
#pragma once
#include <vector>

#include "core/tensor.h"

namespace fl {

// Writes parts, whose sizes add up to those of `out`, one after the other along a dimension.
void join_into(Tensor* out, const std::vector<TensorRef>& parts, int dim);

}  // namespace fl
