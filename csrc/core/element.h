// The C++ types behind the dtypes, for code that handles elements one by one. Hot loops are generated kernels.
#pragma once
#include <bit>
#include <complex>
#include <cstdint>
#include <type_traits>

#include "core/dtype.h"
#include "core/error.h"

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

// A type of 8 bits: those of the significand, the exponent's bias, the bits of +nan, and of what numbers
// beyond the largest become: infinity, the largest, or nan. One whose only nan is 0x80 has no -0.
struct Float8Format {
  int significand, bias;
  uint8_t nan, above;
  bool unsigned_zero() const { return nan == 0x80; }
};

inline Float8Format float8_format(DType d) {
  switch (d) {
    case DType::F8E4M3FN: return {3, 7, 0x7f, 0x7e};
    case DType::F8E5M2: return {2, 15, 0x7f, 0x7c};
    case DType::F8E4M3FNUZ: return {3, 8, 0x80, 0x80};
    default: return {2, 16, 0x80, 0x80};
  }
}

// Round to nearest, ties to even; the codes of numbers follow each other, so what is rounded past the last is `above`.
inline uint8_t float_to_float8_bits(float value, DType d) {
  const Float8Format f = float8_format(d);
  uint32_t bits = std::bit_cast<uint32_t>(value), magnitude = bits & 0x7fffffff, code = f.nan;
  if (magnitude <= 0x7f800000) {
    const int shift = 23 - f.significand;
    const uint32_t quantum = static_cast<uint32_t>(127 + 1 - f.bias - f.significand + 23) << 23;
    if (magnitude < static_cast<uint32_t>(128 - f.bias) << 23) {  // subnormal: the addition rounds it into place
      float shifted = std::bit_cast<float>(magnitude) + std::bit_cast<float>(quantum);
      code = std::bit_cast<uint32_t>(shifted) - quantum;
    } else {
      uint32_t rounded = magnitude + (1u << (shift - 1)) - 1 + (magnitude >> shift & 1);
      code = (rounded - (static_cast<uint32_t>(127 - f.bias) << 23)) >> shift;
    }
    if (code > 0x7f || (f.above < 0x80 && code > f.above)) code = f.above;
  }
  bool has_sign = !f.unsigned_zero() || (code > 0 && code < 0x80);
  return static_cast<uint8_t>(code | (has_sign ? bits >> 24 & 0x80 : 0));
}

inline float float8_bits_to_float(uint8_t bits, DType d) {
  const Float8Format f = float8_format(d);
  uint32_t sign = static_cast<uint32_t>(bits & 0x80) << 24, magnitude = bits & 0x7f;
  if (f.unsigned_zero() ? bits == f.nan : magnitude > f.above) return std::bit_cast<float>(sign | 0x7fc00000);
  if (d == DType::F8E5M2 && magnitude == f.above) return std::bit_cast<float>(sign | 0x7f800000);
  const int shift = 23 - f.significand;
  uint32_t out = (magnitude << shift) + (static_cast<uint32_t>(127 - f.bias) << 23);
  if (magnitude >> f.significand == 0) {
    float unit = std::bit_cast<float>(static_cast<uint32_t>(128 - f.bias - f.significand) << 23);
    out = std::bit_cast<uint32_t>(static_cast<float>(magnitude) * unit);
  }
  return std::bit_cast<float>(sign | out);
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

// Calls fn with a std::type_identity of the element type. Types of 8 bits have no arithmetic.
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
    case DType::C128: return fn(std::type_identity<std::complex<double>>{});
    default: break;
  }
  fail(ErrorKind::NotImplemented, "%s numbers are stored and cast only. Convert them with .to(torch.float32) first.",
       dtype_title(d));
}

}  // namespace fl
