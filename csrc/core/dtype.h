// Element types, their properties and PyTorch's promotion lattice.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fl {

// The types of 8 bits are stored and cast only; FN has no infinity, FNUZ neither infinity nor -0.
enum class DType : uint8_t {
  Bool,
  U8,
  I8,
  I16,
  I32,
  I64,
  U16,
  U32,
  U64,
  F8E4M3FN,
  F8E5M2,
  F8E4M3FNUZ,
  F8E5M2FNUZ,
  F16,
  BF16,
  F32,
  F64,
  C64,
  C128
};
constexpr int kDTypes = 19;

constexpr bool is_complex(DType d) { return d >= DType::C64; }
constexpr bool is_float(DType d) { return d >= DType::F8E4M3FN && d <= DType::F64; }
constexpr bool is_float8(DType d) { return d >= DType::F8E4M3FN && d <= DType::F8E5M2FNUZ; }
constexpr bool is_differentiable(DType d) { return d >= DType::F8E4M3FN; }
constexpr bool is_bool(DType d) { return d == DType::Bool; }
constexpr bool is_integer(DType d) { return d >= DType::U8 && d <= DType::U64; }  // without bool
constexpr bool is_signed(DType d) {
  return d != DType::Bool && d != DType::U8 && d != DType::U16 && d != DType::U32 && d != DType::U64;
}

constexpr size_t dtype_size(DType d) {
  constexpr uint8_t sizes[kDTypes] = {1, 1, 1, 2, 4, 8, 2, 4, 8, 1, 1, 1, 1, 2, 2, 4, 8, 8, 16};
  return sizes[static_cast<int>(d)];
}

// "float32": the name users see; "f32": the code in kernel keys.
const char* dtype_name(DType d);
const char* dtype_code(DType d);
// "Float": the name in PyTorch's error sentences.
const char* dtype_title(DType d);

// float32 -> complex64, complex128 -> float64, and so on; a type already of that kind is returned as it is.
DType to_real(DType d);
DType to_complex(DType d);

// The type that PyTorch gives `a + b` for two tensors of dimension one or more. Raises for an unsigned type of 16 bits
// or more beside another integer, bool or complex type, as PyTorch does.
DType promote(DType a, DType b);

}  // namespace fl
