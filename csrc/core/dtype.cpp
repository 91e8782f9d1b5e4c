#include "core/dtype.h"

#include "core/error.h"

namespace fl {

namespace {

struct Names {
  const char *name, *code, *title;
};

constexpr Names kNames[kDTypes] = {
    {"bool", "b1", "Bool"},
    {"uint8", "u8", "Byte"},
    {"int8", "i8", "Char"},
    {"int16", "i16", "Short"},
    {"int32", "i32", "Int"},
    {"int64", "i64", "Long"},
    {"uint16", "u16", "UInt16"},
    {"uint32", "u32", "UInt32"},
    {"uint64", "u64", "UInt64"},
    {"float8_e4m3fn", "e4m3", "Float8_e4m3fn"},
    {"float8_e5m2", "e5m2", "Float8_e5m2"},
    {"float8_e4m3fnuz", "e4m3z", "Float8_e4m3fnuz"},
    {"float8_e5m2fnuz", "e5m2z", "Float8_e5m2fnuz"},
    {"float16", "f16", "Half"},
    {"bfloat16", "bf16", "BFloat16"},
    {"float32", "f32", "Float"},
    {"float64", "f64", "Double"},
    {"complex64", "c64", "ComplexFloat"},
    {"complex128", "c128", "ComplexDouble"},
};

// The unsigned types that take part in promotion with floating-point types only.
constexpr bool is_wide_unsigned(DType d) { return d >= DType::U16 && d <= DType::U64; }

DType promote_floating(DType a, DType b) {
  if (!is_float(a)) return b;
  if (!is_float(b)) return a;
  if (a == DType::F64 || b == DType::F64) return DType::F64;
  return DType::F32;  // two different types, float16 beside bfloat16 included
}

DType promote_complex(DType a, DType b) {
  auto wide = [](DType d) { return d == DType::C128 || d == DType::F64; };
  return wide(a) || wide(b) ? DType::C128 : DType::C64;
}

// Bool, U8, I8 .. I64 stand in the order of their width; only uint8 beside int8 needs a third type.
DType promote_integers(DType a, DType b) {
  auto mixed_bytes = [](DType x, DType y) { return x == DType::U8 && y == DType::I8; };
  if (mixed_bytes(a, b) || mixed_bytes(b, a)) return DType::I16;
  return a > b ? a : b;
}

}  // namespace

const char* dtype_name(DType d) { return kNames[static_cast<int>(d)].name; }
const char* dtype_code(DType d) { return kNames[static_cast<int>(d)].code; }
const char* dtype_title(DType d) { return kNames[static_cast<int>(d)].title; }

DType to_real(DType d) {
  if (d == DType::C64) return DType::F32;
  if (d == DType::C128) return DType::F64;
  return d;
}

DType to_complex(DType d) {
  if (is_complex(d)) return d;
  return d == DType::F64 ? DType::C128 : DType::C64;
}

DType promote(DType a, DType b) {
  if (a == b) return a;
  bool unsigned_mixture = is_wide_unsigned(a) ? !is_float(b) : is_wide_unsigned(b) && !is_float(a);
  FL_CHECK(!unsigned_mixture, ErrorKind::Runtime,
           "Promotion for uint16, uint32, uint64 types is not supported, attempted to promote %s and %s",
           dtype_title(a), dtype_title(b));
  FL_CHECK(!is_float8(a) && !is_float8(b), ErrorKind::Runtime,
           "Promotion for Float8 Types is not supported, attempted to promote %s and %s", dtype_title(a),
           dtype_title(b));
  if (is_complex(a) || is_complex(b)) return promote_complex(a, b);
  if (is_float(a) || is_float(b)) return promote_floating(a, b);
  return promote_integers(a, b);
}

}  // namespace fl
