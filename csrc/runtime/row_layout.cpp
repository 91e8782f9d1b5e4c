#include "runtime/row_layout.h"

#include <algorithm>
#include <cstdlib>

namespace fl {

namespace {

// Reorders by decreasing stride of the first operand that varies (unless the order means something), then merges
// neighbours that every operand walks as one.
void collapse(std::vector<RowAxis>& axes, bool ordered) {
  std::erase_if(axes, [](const RowAxis& a) { return a.size == 1; });
  if (!ordered) {
    auto weight = [](const RowAxis& a) {
      for (int64_t s : a.strides)
        if (s) return std::abs(s);
      return int64_t{0};
    };
    std::stable_sort(axes.begin(), axes.end(),
                     [&](const RowAxis& a, const RowAxis& b) { return weight(a) > weight(b); });
  }
  for (size_t i = axes.size(); i-- > 1;) {
    RowAxis &outer = axes[i - 1], &inner = axes[i];
    bool merge = true;
    for (size_t k = 0; k < inner.strides.size() && merge; ++k)
      merge = outer.strides[k] == inner.strides[k] * inner.size;
    if (!merge) continue;
    inner.size *= outer.size;
    axes.erase(axes.begin() + static_cast<int64_t>(i) - 1);
  }
}

}  // namespace

RowLayout lay_out(const std::vector<RowOperand>& operands, const Dims& sizes, const std::vector<bool>& in_row,
                  bool ordered) {
  RowLayout l;
  for (int d = 0; d < sizes.size(); ++d) {
    RowAxis axis{sizes[d], {}};
    for (const RowOperand& o : operands) axis.strides.push_back(o.strides[static_cast<size_t>(d)]);
    (in_row[static_cast<size_t>(d)] ? l.row : l.batch).push_back(std::move(axis));
    (in_row[static_cast<size_t>(d)] ? l.n_row : l.n_batch) *= sizes[d];
  }
  collapse(l.batch, false);
  collapse(l.row, ordered);
  for (size_t k = 0; k < operands.size(); ++k) {
    // An operand that is expanded along both (the gradient of a sum) says nothing about memory.
    if (operands[k].role != 'F' || (l.batch_stride(k) == 0 && l.row_stride(1, k) == 0)) continue;
    int64_t item = static_cast<int64_t>(dtype_size(operands[k].dtype));
    l.columns = l.inner_batch() > 1 && l.batch_stride(k) == item && (l.n_row == 1 || l.row_stride(1, k) != item);
    break;
  }
  return l;
}

std::vector<RowChunk> cut_row(const RowLayout& layout, bool whole_runs) {
  std::vector<RowChunk> chunks;
  int64_t length = kGrain;
  if (layout.columns) length = std::max<int64_t>(64, kGrain / layout.inner_batch());
  int64_t n1 = layout.row_size(0), n0 = layout.row_size(1);
  if (whole_runs) length = std::max(length, n0);
  if (n0 >= length || n1 == 1) {
    for (int64_t i = 0; i < n1; ++i)
      for (int64_t at = 0; at < n0; at += length) chunks.push_back({i, 1, at, std::min(length, n0 - at)});
  } else {
    int64_t rows = length / n0, pieces = (n1 + rows - 1) / rows;
    for (int64_t p = 0; p < pieces; ++p)
      chunks.push_back({n1 * p / pieces, n1 * (p + 1) / pieces - n1 * p / pieces, 0, n0});
  }
  return chunks;
}

}  // namespace fl
