// The C++ types behind the dtypes, for code that handles elements one by one. Hot loops are generated kernels.
#pragma once
#include <bit>
#include <complex>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"

namespace fl {

// Round to nearest, ties to even; nan stays nan.
inline uint16_t float_to_half_bits(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  uint32_t sign = bits >> 16 & 0x8000, magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
  if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00);  // 65520 and more
  if (magnitude < 0x38800000) {  // subnormal: the addition of 0.5 shifts and rounds the significand into place
    float shifted = std::bit_cast<float>(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
  }
  uint32_t rounded = magnitude + 0xfff + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded - 0x38000000) >> 13));
}

inline float half_bits_to_float(uint16_t half) {
  uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16, magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | magnitude << 13);
  if (magnitude >= 0x0400) return std::bit_cast<float>(sign | ((magnitude << 13) + 0x38000000));
  float subnormal = static_cast<float>(magnitude) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(subnormal));
}

inline uint16_t float_to_bfloat16_bits(float value) {
  uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffff) > 0x7f800000) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

struct Half {
  uint16_t bits = 0;
  Half() = default;
  explicit Half(double value) : bits(float_to_half_bits(static_cast<float>(value))) {}
  operator float() const { return half_bits_to_float(bits); }
};

struct BFloat16 {
  uint16_t bits = 0;
  BFloat16() = default;
  explicit BFloat16(double value) : bits(float_to_bfloat16_bits(static_cast<float>(value))) {}
  operator float() const { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }
};

// Integers of tensors wrap around, so C++ adds and multiplies them without sign, and wide enough not to be promoted.
template <class T>
using Wrapping = std::conditional_t<sizeof(T) < 4, uint32_t, std::make_unsigned_t<T>>;

template <class T>
T element_sum(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    return static_cast<T>(static_cast<Wrapping<T>>(a) + static_cast<Wrapping<T>>(b));
  } else {
    return a + b;
  }
}

// Calls fn with a std::type_identity of the element type.
template <class F>
decltype(auto) with_element_type(DType d, F&& fn) {
  switch (d) {
    case DType::Bool: return fn(std::type_identity<bool>{});
    case DType::U8: return fn(std::type_identity<uint8_t>{});
    case DType::I8: return fn(std::type_identity<int8_t>{});
    case DType::I16: return fn(std::type_identity<int16_t>{});
    case DType::I32: return fn(std::type_identity<int32_t>{});
    case DType::I64: return fn(std::type_identity<int64_t>{});
    case DType::U16: return fn(std::type_identity<uint16_t>{});
    case DType::U32: return fn(std::type_identity<uint32_t>{});
    case DType::U64: return fn(std::type_identity<uint64_t>{});
    case DType::F16: return fn(std::type_identity<Half>{});
    case DType::BF16: return fn(std::type_identity<BFloat16>{});
    case DType::F32: return fn(std::type_identity<float>{});
    case DType::F64: return fn(std::type_identity<double>{});
    case DType::C64: return fn(std::type_identity<std::complex<float>>{});
    default: return fn(std::type_identity<std::complex<double>>{});
  }
}

}  // namespace fl
