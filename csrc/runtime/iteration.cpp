#include "runtime/iteration.h"

#include "core/error.h"

namespace fl {

Iteration::Iteration(IntSpan sizes) : sizes_(sizes) {
  for (int64_t s : sizes) {
    elements *= s;
    if (s == 1) continue;
    FL_CHECK(dims < kMaxDims, ErrorKind::Runtime, "operators take tensors of up to %d dimensions", kMaxDims);
    size[dims++] = s;
  }
}

void Iteration::add(const Tensor& t) {
  FL_CHECK(operands < kMaxOperands, ErrorKind::Runtime, "a kernel takes up to %d operands", kMaxOperands);
  auto item = static_cast<int64_t>(t.itemsize());
  int missing = static_cast<int>(sizes_.size()) - t.dim(), at = 0;
  for (size_t d = 0; d < sizes_.size(); ++d) {
    if (sizes_[d] == 1) continue;
    int own = static_cast<int>(d) - missing;
    stride[at++][operands] = own < 0 || t.sizes[own] == 1 ? 0 : t.strides[own] * item;
  }
  data[operands++] = t.data();
}

void Iteration::add_number(void* element) {
  FL_CHECK(operands < kMaxOperands, ErrorKind::Runtime, "a kernel takes up to %d operands", kMaxOperands);
  for (int d = 0; d < dims; ++d) stride[d][operands] = 0;
  data[operands++] = static_cast<char*>(element);
}

namespace {

// Whether dimension a should stand inside b.
bool inside(const Iteration& it, int a, int b) {
  for (int k = 0; k < it.operands; ++k) {
    int64_t x = it.stride[a][k], y = it.stride[b][k];
    if (x && y && x != y) return x < y;
  }
  return false;
}

bool merges(const Iteration& it, int outer, int inner) {
  for (int k = 0; k < it.operands; ++k)
    if (it.stride[outer][k] != it.stride[inner][k] * it.size[inner]) return false;
  return true;
}

}  // namespace

void Iteration::swap_dims(int a, int b) {
  std::swap(size[a], size[b]);
  for (int k = 0; k < operands; ++k) std::swap(stride[a][k], stride[b][k]);
}

void Iteration::collapse() {
  if (dims == 0) {
    dims = 1;
    size[0] = 1;
    for (int k = 0; k < operands; ++k) stride[0][k] = 0;
    return;
  }
  for (int i = 1; i < dims; ++i)
    for (int j = i; j > 0 && inside(*this, j - 1, j); --j) swap_dims(j - 1, j);
  int last = 0;
  for (int d = 1; d < dims; ++d) {
    if (merges(*this, last, d)) {
      size[last] *= size[d];
    } else {
      ++last;
      size[last] = size[d];
    }
    for (int k = 0; k < operands; ++k) stride[last][k] = stride[d][k];
  }
  dims = last + 1;
}

Pieces::Pieces(const Iteration& it, int64_t least_rows, int64_t work) {
  int64_t n = it.inner_size();
  rows = n ? it.elements / n : 0;
  per_row = 1;
  row_length = n;
  rows_per_piece = std::max<int64_t>(rows, 1);
  if (it.elements * work >= kParallelElements) {
    const int64_t piece = std::max<int64_t>(kPieceElements / work, 1);
    const int64_t unit = least_rows == 1 ? 1 : kRowUnit;
    rows_per_piece = std::max(least_rows, piece / n / unit * unit);
    if (n >= 2 * piece && least_rows == 1) {
      rows_per_piece = 1;
      int64_t parts = n / piece;
      row_length = (n + parts - 1) / parts;
      row_length = (row_length + 63) / 64 * 64;  // whole cache lines
      per_row = (n + row_length - 1) / row_length;
    }
    rows_per_piece = std::max<int64_t>(1, rows_per_piece);
  }
  count = (rows + rows_per_piece - 1) / rows_per_piece * per_row;
}

}  // namespace fl
