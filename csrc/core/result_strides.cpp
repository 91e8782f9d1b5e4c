// The layout of an elementwise result: contiguous where an operand's layout does not say otherwise, else the dense
// permutation that follows the first operand which decides, as PyTorch's programs rely on.
#include <algorithm>

#include "core/tensor.h"

namespace fl {

namespace {

bool same_sizes(IntSpan sizes, std::span<Tensor* const> operands) {
  for (Tensor* t : operands)
    if (t && !std::ranges::equal(IntSpan(t->sizes), sizes)) return false;
  return true;
}

// Strides of a dense tensor whose dimensions, from the innermost, are order[0], order[1], ...
Dims dense_strides(IntSpan sizes, const Dims& order) {
  Dims strides(static_cast<int>(sizes.size()));
  int64_t stride = 1;
  for (int64_t d : order) {
    strides[static_cast<int>(d)] = stride;
    stride *= sizes[static_cast<size_t>(d)];
  }
  return strides;
}

// Strides of the channels-last layout of four dimensions; empty otherwise.
Dims channels_last_strides(IntSpan sizes) {
  if (sizes.size() != 4) return {};
  return dense_strides(sizes, {1, 3, 2, 0});
}

bool is_channels_last(const Tensor& t, const Dims& expected) {
  for (int d = 0; d < t.dim(); ++d)
    if (t.sizes[d] != 1 && t.strides[d] != expected[d]) return false;
  return true;
}

bool all_channels_last(std::span<Tensor* const> operands, const Dims& expected) {
  if (expected.empty()) return false;
  return std::ranges::all_of(operands, [&](Tensor* t) { return !t || is_channels_last(*t, expected); });
}

bool is_dense(const Tensor& t) {
  Dims order(t.dim());
  for (int d = 0; d < t.dim(); ++d) order[d] = d;
  std::sort(order.data(), order.data() + order.size(), [&](int64_t a, int64_t b) {
    int i = static_cast<int>(a), j = static_cast<int>(b);
    if (t.sizes[i] < 2 || t.sizes[j] < 2) return t.sizes[i] >= 2 && t.sizes[j] < 2;
    return t.strides[i] < t.strides[j];
  });
  int64_t expected = 1;
  for (int64_t d : order) {
    int i = static_cast<int>(d);
    if (t.sizes[i] < 2) continue;
    if (t.strides[i] != expected) return false;
    expected *= t.sizes[i];
  }
  return true;
}

// All operands have the same dense layout: the result has it as well, to the strides of its dimensions of one element.
const Tensor* shared_dense_layout(std::span<Tensor* const> operands) {
  const Tensor* first = nullptr;
  for (Tensor* t : operands) {
    if (!t) continue;
    if (!first) {
      if (!is_dense(*t)) return nullptr;
      first = t;
    } else if (!(t->strides == first->strides)) {
      return nullptr;
    }
  }
  return first;
}

// The stride with which an operand walks through dimension d of the result.
int64_t walking_stride(const Tensor& t, IntSpan sizes, int d) {
  int own = d - (static_cast<int>(sizes.size()) - t.dim());
  if (own < 0 || (t.sizes[own] == 1 && sizes[static_cast<size_t>(d)] != 1)) return 0;
  return t.strides[own];
}

// > 0: dimension a should stand outside b, < 0: it should stand inside, 0: no operand cares.
int compare_dims(IntSpan sizes, std::span<Tensor* const> operands, int a, int b) {
  for (Tensor* t : operands) {
    if (!t) continue;
    int64_t x = walking_stride(*t, sizes, a), y = walking_stride(*t, sizes, b);
    if (x == 0 || y == 0) continue;
    if (x != y) return x > y ? 1 : -1;
    if (sizes[static_cast<size_t>(a)] > sizes[static_cast<size_t>(b)]) return 1;
  }
  return 0;
}

// Insertion sort that leaves undecided pairs in place: the order is not total, so std::sort would not do.
Dims preferred_order(IntSpan sizes, std::span<Tensor* const> operands) {
  int n = static_cast<int>(sizes.size());
  Dims order(n);
  for (int i = 0; i < n; ++i) order[i] = n - 1 - i;
  for (int i = 1; i < n; ++i) {
    int at = i;
    for (int j = i - 1; j >= 0; --j) {
      int c = compare_dims(sizes, operands, static_cast<int>(order[j]), static_cast<int>(order[at]));
      if (c < 0) break;
      if (c == 0) continue;
      std::swap(order[j], order[at]);
      at = j;
    }
  }
  return order;
}

bool is_row_major(const Dims& order) {
  for (int i = 0; i < order.size(); ++i)
    if (order[i] != order.size() - 1 - i) return false;
  return true;
}

}  // namespace

Dims result_strides(IntSpan sizes, std::span<Tensor* const> operands) {
  bool contiguous = std::ranges::all_of(operands, [](Tensor* t) { return !t || t->is_contiguous(); });
  if (same_sizes(sizes, operands)) {
    if (contiguous) return contiguous_strides(sizes);
    Dims channels_last = channels_last_strides(sizes);
    if (all_channels_last(operands, channels_last)) return channels_last;
    if (const Tensor* t = shared_dense_layout(operands)) return t->strides;
  }
  Dims order = preferred_order(sizes, operands);
  return is_row_major(order) ? contiguous_strides(sizes) : dense_strides(sizes, order);
}

}  // namespace fl
