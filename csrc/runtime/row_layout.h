// How a step of a row program lies over its operands: which dimensions are walked, merged, and in which order.
#pragma once
#include <cstdint>
#include <vector>

#include "core/dtype.h"
#include "core/tensor.h"

namespace fl {

struct RowAxis {  // one dimension of the iteration, with the stride in bytes of each operand
  int64_t size;
  std::vector<int64_t> strides;
};

struct RowOperand {
  char* data;
  char role;
  DType dtype;
  std::vector<int64_t> strides;  // one a dimension of the whole iteration, in bytes; 0 where it does not vary
};

// A step laid out over its operands: what to loop over, and how kernels are called.
struct RowLayout {
  std::vector<RowAxis> batch, row;  // innermost last; row has at most two
  int64_t n_batch = 1, n_row = 1;
  bool columns = false;  // vectors run along the innermost batch dimension, not along the row

  int64_t row_size(int i) const {  // 1: inner, 0: outer
    size_t at = row.size() - 1 - static_cast<size_t>(1 - i);
    return row.size() > static_cast<size_t>(1 - i) ? row[at].size : 1;
  }
  int64_t row_stride(int i, size_t operand) const {
    return row.size() > static_cast<size_t>(1 - i) ? row[row.size() - 1 - static_cast<size_t>(1 - i)].strides[operand]
                                                   : 0;
  }
  int64_t inner_batch() const { return batch.empty() ? 1 : batch.back().size; }
  int64_t batch_stride(size_t operand) const { return batch.empty() ? 0 : batch.back().strides[operand]; }
  // Byte offset of an operand at outer batch index `outer` (all batch dimensions but the innermost).
  int64_t outer_offset(int64_t outer, size_t operand) const {
    int64_t offset = 0;
    for (size_t i = batch.size(); i-- > 0;) {
      if (i + 1 == batch.size()) continue;
      offset += outer % batch[i].size * batch[i].strides[operand];
      outer /= batch[i].size;
    }
    return offset;
  }
};

constexpr int64_t kGrain = 16384;  // elements of a chunk, or of what one task does

struct RowChunk {
  int64_t outer0, outers, inner0, inners;  // a box of the row's two dimensions
};

// A row that is split; `whole_runs`: between runs of the inner dimension only.
std::vector<RowChunk> cut_row(const RowLayout& layout, bool whole_runs);

RowLayout lay_out(const std::vector<RowOperand>& operands, const Dims& sizes, const std::vector<bool>& in_row,
                  bool ordered);

}  // namespace fl
