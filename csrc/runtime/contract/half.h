// float16 and bfloat16 to float32 and back, rounding to nearest even.
#pragma once
#include <bit>
#include <cstdint>

namespace fl {

struct BFloat16 {
  uint16_t bits;
};
struct Float16 {
  uint16_t bits;
};

inline float widen(BFloat16 x) { return std::bit_cast<float>(static_cast<uint32_t>(x.bits) << 16); }

inline float widen(Float16 x) {
  uint32_t sign = static_cast<uint32_t>(x.bits & 0x8000) << 16, rest = static_cast<uint32_t>(x.bits & 0x7fff) << 13;
  if (rest >= 0x0f800000) return std::bit_cast<float>(sign | rest | 0x7f800000);  // infinity, nan
  // Moving the exponent by a multiplication makes subnormal numbers come out right as well.
  float value = std::bit_cast<float>(rest) * std::bit_cast<float>(0x77800000u);  // 2^112
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(value));
}

template <class Half>
Half narrow(float x);

template <>
inline BFloat16 narrow<BFloat16>(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x);
  if ((bits & 0x7fffffff) > 0x7f800000) return {static_cast<uint16_t>(bits >> 16 | 0x40)};
  return {static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

template <>
inline Float16 narrow<Float16>(float x) {
  uint32_t bits = std::bit_cast<uint32_t>(x), rest = bits & 0x7fffffff;
  auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  if (rest > 0x7f800000) return {static_cast<uint16_t>(sign | 0x7e00 | (rest >> 13 & 0x3ff))};
  if (rest >= 0x477ff000) return {static_cast<uint16_t>(sign | 0x7c00)};
  if (rest < 0x38800000) {  // subnormal: adding 0.5 leaves units of 2^-24 in the low bits, rounded by the addition
    float shifted = std::bit_cast<float>(rest) + 0.5f;
    return {static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000))};
  }
  uint32_t rounded = rest + 0xfff + (rest >> 13 & 1);
  return {static_cast<uint16_t>(sign | (rounded - 0x38000000) >> 13)};
}

}  // namespace fl
