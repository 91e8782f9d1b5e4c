// MT19937, one number or many at a time, and what the loops over many make of them.
#pragma once
#include <array>
#include <cstdint>

namespace fl {

class Mt19937 {
 public:
  static constexpr uint32_t kWords = 624;

  explicit Mt19937(uint64_t seed);

  uint32_t operator()() {
    if (--left_ == 0) twist();
    return tempered(words_[next_++]);
  }
  // The next n numbers before they are tempered, which needs no order.
  void draw_raw(uint32_t* out, int64_t n);

  static uint32_t tempered(uint32_t y) {
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680;
    y ^= y << 15 & 0xefc60000;
    return y ^ y >> 18;
  }

 private:
  friend class Generator;
  void twist();

  uint64_t seed_;
  std::array<uint32_t, kWords> words_;
  uint32_t left_ = 1;  // words until the next twist, plus one
  uint32_t next_ = 0;
};

// Loops over n numbers, or n pairs of numbers of which the first holds the upper bits.

void temper(uint32_t* words, int64_t n);
// [from, from + width) with as many bits as the type has; rounded once.
void uniform_numbers(const uint32_t* words, int64_t n, float from, float width, float* out);
void uniform_numbers(const uint32_t* pairs, int64_t n, double from, double width, double* out);
// Whether the last 53 bits of each pair are below a limit.
void pairs_below(const uint32_t* pairs, int64_t n, uint64_t limit, uint8_t* out);
// words[i] modulo first - i * step; divisors are at least 2.
void remainders(uint32_t* words, int64_t n, uint32_t first, uint32_t step);

}  // namespace fl
