// Masks: true elements are counted block by block, then every block writes to its place. Their places in a block are
// found eight at a time, without a branch.
#include <array>
#include <bit>
#include <numeric>
#include <vector>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/pool.h"
#include "runtime/positions.h"

namespace fl {
namespace {

constexpr int64_t kBlock = 2048;  // elements that are counted together
constexpr int64_t kTogether = 8;  // blocks of one task

// The highest bit of each byte that is true.
uint64_t true_bytes(uint64_t w) {
  constexpr uint64_t kLow = 0x7f7f7f7f7f7f7f7f;
  return (((w & kLow) + kLow) | w) & ~kLow;
}

uint64_t load_word(const uint8_t* mask) {
  uint64_t word;
  std::memcpy(&word, mask, 8);
  return word;
}

// The bits that are set in a number of eight, in order; what stands behind them does not matter.
using Bits = std::array<uint16_t, 8>;
constexpr std::array<Bits, 256> kBits = [] {
  std::array<Bits, 256> all{};
  for (size_t i = 0; i < 256; ++i)
    for (size_t bit = 0, k = 0; bit < 8; ++bit)
      if (i >> bit & 1) all[i][k++] = static_cast<uint16_t>(bit);
  return all;
}();

int64_t count_true(const uint8_t* mask, int64_t n) {
  int64_t count = 0, i = 0;
  for (; i + 8 <= n; i += 8) count += std::popcount(true_bytes(load_word(mask + i)));
  for (; i < n; ++i) count += mask[i] != 0;
  return count;
}

// Where in the result each block begins; the total stands behind the last.
std::vector<int64_t> block_starts(const uint8_t* mask, int64_t n) {
  int64_t blocks = (n + kBlock - 1) / kBlock;
  std::vector<int64_t> starts(static_cast<size_t>(blocks + 1));
  LongWork quiet(n >= 64 * kBlock);
  parallel_for((blocks + kTogether - 1) / kTogether, [&](int64_t task) {
    for (int64_t b = task * kTogether; b < std::min(blocks, (task + 1) * kTogether); ++b)
      starts[static_cast<size_t>(b + 1)] = count_true(mask + b * kBlock, std::min(kBlock, n - b * kBlock));
  });
  std::partial_sum(starts.begin(), starts.end(), starts.begin());
  return starts;
}

// Calls fn(first element, elements, where the block's results begin, how many) for each block that has any.
template <class F>
void each_block(const std::vector<int64_t>& starts, int64_t n, F&& fn) {
  auto blocks = static_cast<int64_t>(starts.size()) - 1;
  LongWork quiet(n >= 64 * kBlock);
  parallel_for((blocks + kTogether - 1) / kTogether, [&](int64_t task) {
    for (int64_t b = task * kTogether; b < std::min(blocks, (task + 1) * kTogether); ++b) {
      int64_t at = starts[static_cast<size_t>(b)], count = starts[static_cast<size_t>(b + 1)] - at;
      if (count) fn(b * kBlock, std::min(kBlock, n - b * kBlock), at, count);
    }
  });
}

using Places = uint16_t[kBlock + 8];

// The places of a block's true elements within the block.
void places(const uint8_t* mask, int64_t n, Places& found) {
  int64_t k = 0, i = 0;
  if constexpr (std::endian::native == std::endian::little) {
    for (; i + 8 <= n; i += 8) {
      uint64_t bits = (true_bytes(load_word(mask + i)) >> 7) * 0x0102040810204080 >> 56;
      uint64_t four[2];  // places each
      std::memcpy(four, kBits[bits].data(), sizeof four);
      for (uint64_t& f : four) f += static_cast<uint64_t>(i) * 0x0001000100010001;
      std::memcpy(found + k, four, sizeof four);
      k += std::popcount(bits);
    }
  }
  for (; i < n; ++i) {
    found[k] = static_cast<uint16_t>(i);
    k += mask[i] != 0;
  }
}

template <class T>
void compact(const T* x, const uint8_t* mask, int64_t n, T* out, int64_t count) {
  if (count == n) {
    std::memcpy(out, x, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  Places found;
  places(mask, n, found);
  for (int64_t k = 0; k < count; ++k) out[k] = x[found[k]];
}

struct Wide {
  uint64_t parts[2];
};

template <class T>
void compact_all(const Tensor& x, const uint8_t* mask, const std::vector<int64_t>& starts, Tensor& out) {
  const T* from = x.data<T>();
  T* to = out.data<T>();
  each_block(starts, x.numel(), [&](int64_t first, int64_t n, int64_t at, int64_t count) {
    compact(from + first, mask + first, n, to + at, count);
  });
}

// Turns places, counted from `first`, into positions in each dimension; `out` has `total` positions a dimension.
void unravel(const uint16_t* found, int64_t count, int64_t first, const Dims& sizes, int64_t* out, int64_t total) {
  int last = sizes.size() - 1;
  if (last == 0) {
    for (int64_t k = 0; k < count; ++k) out[k] = first + found[k];
    return;
  }
  Dims at(last + 1);
  int64_t rest = first;
  for (int d = last; d >= 0; --d) {
    at[d] = rest % sizes[d];
    rest /= sizes[d];
  }
  int64_t row = -at[last];  // where in the block the current run of the last dimension begins
  for (int64_t k = 0; k < count; ++k) {
    while (found[k] - row >= sizes[last]) {
      row += sizes[last];
      for (int d = last - 1; d >= 0 && ++at[d] == sizes[d]; --d) at[d] = 0;
    }
    out[last * total + k] = found[k] - row;
    for (int d = 0; d < last; ++d) out[d * total + k] = at[d];
  }
}

}  // namespace

TensorRef nonzero_positions(Tensor* mask) {
  TensorRef bytes = contiguous_tensor(mask);
  const auto* data = bytes->data<uint8_t>();
  std::vector<int64_t> starts = block_starts(data, bytes->numel());
  int64_t total = starts.back();
  TensorRef out = Tensor::empty(Dims{mask->dim(), total}, DType::I64);
  if (mask->dim() == 0) return out;
  auto* to = out->data<int64_t>();
  each_block(starts, bytes->numel(), [&](int64_t first, int64_t n, int64_t at, int64_t count) {
    Places found;
    places(data + first, n, found);
    unravel(found, count, first, bytes->sizes, to + at, total);
  });
  return out;
}

TensorRef masked_elements(Tensor* x, Tensor* mask) {
  TensorRef from = contiguous_tensor(x), bytes = contiguous_tensor(mask);
  const auto* data = bytes->data<uint8_t>();
  std::vector<int64_t> starts = block_starts(data, bytes->numel());
  TensorRef out = Tensor::empty(Dims{starts.back()}, x->dtype);
  switch (x->itemsize()) {
    case 1: compact_all<uint8_t>(*from, data, starts, *out); break;
    case 2: compact_all<uint16_t>(*from, data, starts, *out); break;
    case 4: compact_all<uint32_t>(*from, data, starts, *out); break;
    case 8: compact_all<uint64_t>(*from, data, starts, *out); break;
    default: compact_all<Wide>(*from, data, starts, *out);
  }
  return out;
}

}  // namespace fl
