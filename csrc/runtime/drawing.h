// From a generator's bits to uniform and normal numbers, for whatever is drawn from these.
#pragma once
#include <cmath>
#include <limits>
#include <mutex>
#include <numbers>
#include <type_traits>

#include "runtime/pool.h"
#include "runtime/random.h"

namespace fl {

constexpr int64_t kLongFill = 4096;  // elements from which on a call is worth letting other threads run

// In this order: the lock is given back before the GIL is asked for, so that no thread waits for one holding the other.
class Drawing {
 public:
  Drawing(Generator& g, int64_t n) : long_work_(n >= kLongFill), lock_(g.mutex()) {}

 private:
  LongWork long_work_;
  std::lock_guard<std::mutex> lock_;
};

// Words that a number of [0, 1) takes: as many bits as float or double has.
template <class W>
constexpr int64_t kUniformWords = std::is_same_v<W, double> ? 2 : 1;

inline uint64_t pair(const uint32_t* words) { return static_cast<uint64_t>(words[0]) << 32 | words[1]; }

// [0, 1) from as many words.
template <class T>
T uniform(const uint32_t* words) {
  constexpr int digits = std::numeric_limits<T>::digits;
  constexpr uint64_t mask = (uint64_t{1} << digits) - 1;
  constexpr T unit = T(1) / static_cast<T>(uint64_t{1} << digits);
  uint64_t bits = std::is_same_v<T, double> ? pair(words) : words[0];
  return static_cast<T>(bits & mask) * unit;
}

inline double uniform(Generator& g) {
  uint32_t words[] = {g.random(), g.random()};
  return uniform<double>(words);
}

inline double next_normal(Generator& g) {
  if (g.waiting_normal) {
    double value = *g.waiting_normal;
    g.waiting_normal.reset();
    return value;
  }
  double u1 = uniform(g), u2 = uniform(g);
  double radius = std::sqrt(-2 * std::log1p(-u2)), angle = 2 * std::numbers::pi * u1;
  g.waiting_normal = radius * std::sin(angle);
  return radius * std::cos(angle);
}

}  // namespace fl
