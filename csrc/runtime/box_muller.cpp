// In float, what PyTorch computes on a machine with AVX2, bit by bit: logarithm, sine and cosine are the
// single-precision polynomials of Cephes (S. Moshier), and where multiplications and additions are fused is part of the
// result.
#include "runtime/box_muller.h"

#include <bit>
#include <cmath>
#include <numbers>

#include "runtime/clones.h"

#define FL_INLINE inline __attribute__((always_inline))

namespace fl {

namespace {

constexpr int kLanes = 8;

// log(x) for x in [2^-24, 1].
FL_INLINE float log_positive(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  float exponent = static_cast<float>(static_cast<int32_t>(bits >> 23) - 126);
  float m = std::bit_cast<float>((bits & 0x007fffff) | 0x3f000000);  // [0.5, 1)
  // Below sqrt(1/2) the significand counts twice. A mask rather than a branch, so that loops become vector code.
  uint32_t low = 0 - static_cast<uint32_t>(m < std::numbers::sqrt2_v<float> / 2);
  exponent -= std::bit_cast<float>(low & std::bit_cast<uint32_t>(1.0f));
  float r = (m - 1) + std::bit_cast<float>(low & std::bit_cast<uint32_t>(m));
  float square = r * r;
  float y = 7.0376836292e-2f;
  y = std::fma(y, r, -1.1514610310e-1f);
  y = std::fma(y, r, 1.1676998740e-1f);
  y = std::fma(y, r, -1.2420140846e-1f);
  y = std::fma(y, r, 1.4249322787e-1f);
  y = std::fma(y, r, -1.6668057665e-1f);
  y = std::fma(y, r, 2.0000714765e-1f);
  y = std::fma(y, r, -2.4999993993e-1f);
  y = std::fma(y, r, 3.3333331174e-1f);
  y = y * r;
  y = std::fma(y, square, exponent * -2.12194440e-4f);  // log 2 in two parts
  y = std::fma(-0.5f, square, y);
  return std::fma(exponent, 0.693359375f, r + y);
}

struct SineCosine {
  float sine, cosine;
};

// For x in [0, 2 pi].
FL_INLINE SineCosine sine_cosine(float x) {
  constexpr float four_over_pi = 1.27323954473516f;
  int32_t octant = (static_cast<int32_t>(x * four_over_pi) + 1) & ~1;
  float turns = static_cast<float>(octant);
  // pi / 4 in three parts
  x = std::fma(turns, -0.78515625f, x);
  x = std::fma(turns, -2.4187564849853515625e-4f, x);
  x = std::fma(turns, -3.77489497744594108e-8f, x);
  float square = x * x;
  float c = 2.443315711809948e-5f;
  c = std::fma(c, square, -1.388731625493765e-3f);
  c = std::fma(c, square, 4.166664568298827e-2f);
  c = std::fma(c * square, square, -0.5f * square) + 1;
  float s = -1.9515295891e-4f;
  s = std::fma(s, square, 8.3321608736e-3f);
  s = std::fma(s, square, -1.6666654611e-1f);
  s = std::fma(s * square, x, x);
  bool swapped = octant & 2;
  float sine = swapped ? c : s, cosine = swapped ? s : c;
  return {octant & 4 ? -sine : sine, (octant + 2) & 4 ? -cosine : cosine};
}

}  // namespace

FL_CLONES void box_muller(const float* in, float* out, int64_t blocks, float mean, float std) {
  constexpr float two_pi = 2 * std::numbers::pi_v<float>;
  for (int64_t b = 0; b < blocks; ++b, in += kNormalBlock, out += kNormalBlock) {
    float radius[kLanes], first[kLanes], second[kLanes];
    for (int j = 0; j < kLanes; ++j) radius[j] = -2 * log_positive(1 - in[j]);
    for (int j = 0; j < kLanes; ++j) radius[j] = std::sqrt(radius[j]);
    for (int j = 0; j < kLanes; ++j) {
      SineCosine angle = sine_cosine(two_pi * in[j + kLanes]);
      first[j] = std::fma(radius[j] * angle.cosine, std, mean);
      second[j] = std::fma(radius[j] * angle.sine, std, mean);
    }
    for (int j = 0; j < kLanes; ++j) out[j] = first[j];
    for (int j = 0; j < kLanes; ++j) out[j + kLanes] = second[j];
  }
}

void box_muller(const double* in, double* out, int64_t blocks, double mean, double std) {
  for (int64_t b = 0; b < blocks; ++b, in += kNormalBlock, out += kNormalBlock) {
    for (int j = 0; j < kLanes; ++j) {
      double radius = std::sqrt(-2 * std::log(1 - in[j])), angle = 2 * std::numbers::pi * in[j + kLanes];
      out[j] = std::fma(radius * std::cos(angle), std, mean);
      out[j + kLanes] = std::fma(radius * std::sin(angle), std, mean);
    }
  }
}

}  // namespace fl
