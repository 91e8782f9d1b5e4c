// Positions in tensors: where masks hold, and checks of index tensors.
#pragma once
#include "core/tensor.h"

namespace fl {

// The first value outside [low, high), in the order of the elements; false where there is none. Raises IndexError for a
// dtype that is no index.
bool first_outside(const Tensor& index, int64_t low, int64_t high, int64_t* bad);

// Whether an element of a tensor of integers is 0.
bool holds_zero(const Tensor& t);

// Positions of the true elements of a bool (or uint8) tensor, in order: one row a dimension, [dim, count].
TensorRef nonzero_positions(Tensor* mask);
// The elements of x where the mask of the same sizes holds, in order.
TensorRef masked_elements(Tensor* x, Tensor* mask);

}  // namespace fl
