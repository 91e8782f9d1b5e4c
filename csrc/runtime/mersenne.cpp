// Compiled with vectorisation (see CMakeLists.txt); the loops are written for it.
#include "runtime/mersenne.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "runtime/clones.h"

namespace fl {
namespace {

constexpr uint32_t kShift = 397;

inline uint32_t mixed(uint32_t high, uint32_t low) {
  uint32_t y = (high & 0x80000000) | (low & 0x7fffffff);
  return y >> 1 ^ ((0 - (low & 1)) & 0x9908b0df);
}

FL_CLONES void twist_words(uint32_t* w) {
  constexpr uint32_t n = Mt19937::kWords;
  for (uint32_t i = 0; i < n - kShift; ++i) w[i] = w[i + kShift] ^ mixed(w[i], w[i + 1]);
  for (uint32_t i = n - kShift; i < n - 1; ++i) w[i] = w[i + kShift - n] ^ mixed(w[i], w[i + 1]);
  w[n - 1] = w[kShift - 1] ^ mixed(w[n - 1], w[0]);
}

}  // namespace

Mt19937::Mt19937(uint64_t seed) : seed_(seed) {
  words_[0] = static_cast<uint32_t>(seed);
  for (uint32_t i = 1; i < kWords; ++i) words_[i] = 1812433253u * (words_[i - 1] ^ words_[i - 1] >> 30) + i;
}

void Mt19937::twist() {
  twist_words(words_.data());
  left_ = kWords;
  next_ = 0;
}

void Mt19937::draw_raw(uint32_t* out, int64_t n) {
  while (n > 0) {
    if (left_ == 1) {
      twist();
      left_++;  // as if a word of the old table were left
    }
    auto count = static_cast<uint32_t>(std::min<int64_t>(n, left_ - 1));
    std::memcpy(out, words_.data() + next_, count * sizeof(uint32_t));
    left_ -= count;
    next_ += count;
    out += count;
    n -= count;
  }
}

FL_CLONES void temper(uint32_t* words, int64_t n) {
  for (int64_t i = 0; i < n; ++i) words[i] = Mt19937::tempered(words[i]);
}

FL_CLONES void uniform_numbers(const uint32_t* words, int64_t n, float from, float width, float* out) {
  constexpr float unit = 1.0f / (1 << 24);
  for (int64_t i = 0; i < n; ++i) {
    out[i] = std::fma(static_cast<float>(static_cast<int32_t>(words[i] & 0xffffff)) * unit, width, from);
  }
}

FL_CLONES void uniform_numbers(const uint32_t* pairs, int64_t n, double from, double width, double* out) {
  constexpr double unit = 1.0 / (uint64_t{1} << 53), high_unit = unit * 4294967296.0;
  for (int64_t i = 0; i < n; ++i) {
    // The lower half has no sign: it is moved around 0 and back. All of this is exact.
    double low = static_cast<double>(static_cast<int32_t>(pairs[2 * i + 1] ^ 0x80000000)) + 2147483648.0;
    double high = static_cast<double>(static_cast<int32_t>(pairs[2 * i] & 0x1fffff));
    out[i] = std::fma(high * high_unit + low * unit, width, from);
  }
}

FL_CLONES void pairs_below(const uint32_t* pairs, int64_t n, uint64_t limit, uint8_t* out) {
  const auto signed_limit = static_cast<int64_t>(limit);
  for (int64_t i = 0; i < n; ++i) {
    uint64_t bits = static_cast<uint64_t>(pairs[2 * i] & 0x1fffff) << 32 | pairs[2 * i + 1];
    out[i] = static_cast<int64_t>(bits) < signed_limit;
  }
}

FL_CLONES void remainders(uint32_t* words, int64_t n, uint32_t first, uint32_t step) {
  for (int64_t i = 0; i < n; ++i) {
    uint32_t divisor = first - static_cast<uint32_t>(i) * step;
    // Both are exact in a double, and the quotient of numbers below 2^32 is never rounded up to an integer.
    double over = static_cast<double>(static_cast<int32_t>(words[i] ^ 0x80000000)) + 2147483648.0;
    double under = static_cast<double>(static_cast<int32_t>(divisor ^ 0x80000000)) + 2147483648.0;
    words[i] -= static_cast<uint32_t>(static_cast<int32_t>(over / under)) * divisor;
  }
}

}  // namespace fl
