// Views: other sizes, strides and offset over the same storage.
#pragma once
#include <optional>

#include "runtime/op.h"

namespace fl {

// Elements of `t`'s storage under another layout; shares the version counter of `t`.
TensorRef view_of(const Tensor& t, Dims sizes, Dims strides, int64_t offset);
TensorRef view_of(const Tensor& t, Dims sizes, Dims strides);

// Sizes with a -1 worked out; raises with PyTorch's sentences.
Dims infer_sizes(IntSpan shape, int64_t numel);
// Strides that show `t` under other sizes without a copy; nothing where there are none.
std::optional<Dims> view_strides(const Tensor& t, IntSpan sizes);

TensorRef expand_to(const Tensor& t, IntSpan sizes);
TensorRef select_at(const Tensor& t, int dim, int64_t index);
// Elements start, start + step, ... below end along dim; bounds were clamped.
TensorRef slice_at(const Tensor& t, int dim, int64_t start, int64_t end, int64_t step);

// `start:end` of a dimension of `size` elements with negative and missing bounds worked out, as Python clamps them.
struct Range {
  int64_t start, end;
};
Range clamp_range(const Value& start, const Value& end, int64_t size);

}  // namespace fl
