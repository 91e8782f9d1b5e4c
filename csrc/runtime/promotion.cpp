#include "runtime/promotion.h"

#include <atomic>
#include <cmath>
#include <limits>

#include "core/element.h"
#include "core/error.h"

namespace fl {

const char* dtype_c_name(DType d) {
  static constexpr const char* names[kDTypes] = {"bool",
                                                 "unsigned char",
                                                 "signed char",
                                                 "short int",
                                                 "int",
                                                 "long int",
                                                 "short unsigned int",
                                                 "unsigned int",
                                                 "unsigned long",
                                                 "c10::Float8_e4m3fn",
                                                 "c10::Float8_e5m2",
                                                 "c10::Float8_e4m3fnuz",
                                                 "c10::Float8_e5m2fnuz",
                                                 "c10::Half",
                                                 "c10::BFloat16",
                                                 "float",
                                                 "double",
                                                 "c10::complex<float>",
                                                 "c10::complex<double>"};
  return names[static_cast<int>(d)];
}

namespace {

std::atomic<DType> the_default_dtype = DType::F32;

int kind_rank(DType d) { return is_bool(d) ? 0 : is_integer(d) ? 1 : is_float(d) ? 2 : 3; }

template <class T>
void put(void* to, T value) {
  std::memcpy(to, &value, sizeof value);
}
template <class T>
T take(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

int64_t truncated(double d) {
  return d >= -0x1p63 && d < 0x1p63 ? static_cast<int64_t>(d) : std::numeric_limits<int64_t>::min();
}

// Out of range and nan give the least integer of 64 bits, or of 32 for signed ones that are no wider, as in generated
// casts.
int64_t to_integer(const Value& v, DType dtype = DType::I64) {
  if (v.tag() == Value::Tag::Bool || v.tag() == Value::Tag::Int) return v.as_int();
  double d = v.as_double();
  if (dtype == DType::U64 && d >= 0x1p63) return truncated(d - 0x1p63) ^ std::numeric_limits<int64_t>::min();
  if (dtype == DType::I8 || dtype == DType::I16 || dtype == DType::I32)
    return d > -0x1p31 - 1 && d < 0x1p31 ? static_cast<int64_t>(d) : std::numeric_limits<int32_t>::min();
  return truncated(d);
}

struct Range {
  int64_t low, high;
};
Range integer_range(DType d) {
  switch (d) {
    case DType::U8: return {0, UINT8_MAX};
    case DType::I8: return {INT8_MIN, INT8_MAX};
    case DType::I16: return {INT16_MIN, INT16_MAX};
    case DType::U16: return {0, UINT16_MAX};
    case DType::I32: return {INT32_MIN, INT32_MAX};
    case DType::U32: return {0, UINT32_MAX};
    default: return {INT64_MIN, INT64_MAX};
  }
}

const char* fixed_width_name(DType d) {
  switch (d) {
    case DType::U8: return "uint8_t";
    case DType::I8: return "int8_t";
    case DType::I16: return "int16_t";
    case DType::U16: return "uint16_t";
    case DType::I32: return "int";
    case DType::I64: return "int64_t";
    case DType::U32: return "uint32_t";
    case DType::U64: return "uint64_t";
    case DType::F16: return "at::Half";
    case DType::BF16: return "c10::BFloat16";
    default: return dtype_c_name(d);
  }
}

}  // namespace

DType default_dtype() { return the_default_dtype.load(std::memory_order_relaxed); }

void set_default_dtype(DType d) {
  FL_CHECK(!is_float8(d), ErrorKind::Type, "couldn't find storage object %sStorage", dtype_title(d));
  FL_CHECK(is_float(d), ErrorKind::Type, "only floating-point types are supported as the default type");
  the_default_dtype = d;
}

DType number_dtype(const Value& number) {
  switch (number.tag()) {
    case Value::Tag::Bool: return DType::Bool;
    case Value::Tag::Int: return DType::I64;
    case Value::Tag::Complex: return to_complex(default_dtype());
    default: return default_dtype();
  }
}

void Promotion::Category::add(DType d) {
  dtype = set ? promote(dtype, d) : d;
  set = true;
}

void Promotion::add(const Tensor& t, DType d) {
  if (t.wrapped_number) {
    if (is_complex(d)) d = to_complex(default_dtype());
    if (is_float(d)) d = default_dtype();
  }
  (t.dim() > 0 ? tensors_ : t.wrapped_number ? numbers_ : scalars_).add(d);
}

void Promotion::add(const Value& number) { numbers_.add(number_dtype(number)); }

Promotion::Category Promotion::combine(const Category& higher, const Category& lower) {
  if (!higher.set || !lower.set) return higher.set ? higher : lower;
  Category result = higher;
  if (is_complex(higher.dtype)) return result;
  if (is_float(higher.dtype)) {
    if (is_complex(lower.dtype)) result.dtype = to_complex(higher.dtype);
    return result;
  }
  if (kind_rank(lower.dtype) > kind_rank(higher.dtype)) result.dtype = promote(higher.dtype, lower.dtype);
  return result;
}

DType Promotion::result() const { return combine(tensors_, combine(scalars_, numbers_)).dtype; }

bool can_cast(DType from, DType to) {
  if (is_complex(from)) return is_complex(to);
  if (is_float(from)) return is_float(to) || is_complex(to);
  return is_bool(from) || !is_bool(to);
}

void check_can_cast(DType from, DType to) {
  FL_CHECK(can_cast(from, to), ErrorKind::Runtime, "result type %s can't be cast to the desired output type %s",
           dtype_title(from), dtype_title(to));
}

void check_dtype(const Op& op, DType d) {
  if (op.dtypes >> static_cast<int>(d) & 1) [[likely]]
    return;
  // Most sentences are about bools or complex numbers.
  if (op.dtype_error.empty() || (is_float8(d) && op.dtype_error[0] != '"'))
    fail(ErrorKind::NotImplemented, "\"%s_cpu\" not implemented for '%s'", op.name.c_str(), dtype_title(d));
  std::string text = op.dtype_error;
  if (size_t other = text.find('|'); other != std::string::npos)
    text = is_complex(d) ? text.substr(0, other) : text.substr(other + 1);
  ErrorKind kind = ErrorKind::NotImplemented;
  if (text.starts_with("RuntimeError: ")) {
    kind = ErrorKind::Runtime;
    text.erase(0, 14);
  }
  fail(kind, "%s", fill_in(std::move(text), d).c_str());
}

std::string fill_in(std::string sentence, DType d) {
  for (const auto& [mark, name] : {std::pair("{got}", dtype_title(d)), std::pair("{name}", dtype_c_name(d))})
    for (size_t at; (at = sentence.find(mark)) != std::string::npos;) sentence.replace(at, std::strlen(mark), name);
  return sentence;
}

void check_number_fits(const Value& number, DType d, const char* name) {
  const bool real =
      is_complex(d) || is_bool(d) || number.tag() != Value::Tag::Complex || number.as_complex().imag() == 0;
  FL_CHECK(real, ErrorKind::Runtime, "value cannot be converted to type %s without overflow", fixed_width_name(d));
  if (!is_integer(d) || dtype_size(d) == 8 || number.tag() == Value::Tag::Bool) return;
  Range range = integer_range(d);
  bool whole = number.tag() == Value::Tag::Int;
  if (whole && range.low == 0) range.low = -range.high;  // PyTorch lets negative integers wrap in unsigned types
  double x = whole                                 ? static_cast<double>(number.as_int())
             : number.tag() == Value::Tag::Complex ? number.as_complex().real()
                                                   : number.as_double();
  FL_CHECK(x >= static_cast<double>(range.low) && x <= static_cast<double>(range.high), ErrorKind::Runtime,
           "value cannot be converted to type %s without overflow", name ? name : fixed_width_name(d));
}

void check_number_casts(const Value& number, DType d) {
  bool fits = is_complex(d) || number.tag() != Value::Tag::Complex || number.as_complex().imag() == 0;
  if (fits && is_integer(d) && number.tag() == Value::Tag::Float) fits = std::isfinite(number.as_double());
  FL_CHECK(fits, ErrorKind::Runtime, "value cannot be converted to type %s without overflow", fixed_width_name(d));
  check_number_fits(number, d);
}

void check_number_assigns(const Value& number, DType d) {
  if (!is_bool(d)) check_number_casts(number, d);
  const bool large = d == DType::F32 && number.tag() == Value::Tag::Float && std::isfinite(number.as_double()) &&
                     std::abs(number.as_double()) > std::numeric_limits<float>::max();
  FL_CHECK(!large, ErrorKind::Runtime, "value cannot be converted to type float without overflow");
}

void write_number(const Value& number, DType d, void* to) {
  switch (d) {
    case DType::Bool: {
      std::complex<double> c = number.as_complex();
      return put<uint8_t>(to, c.real() != 0 || c.imag() != 0);
    }
    case DType::F8E4M3FN:
    case DType::F8E5M2:
    case DType::F8E4M3FNUZ:
    case DType::F8E5M2FNUZ: return put(to, float_to_float8_bits(static_cast<float>(number.as_double()), d));
    case DType::F16: return put(to, Half(number.as_double()));
    case DType::BF16: return put(to, BFloat16(number.as_double()));
    case DType::F32: return put(to, static_cast<float>(number.as_double()));
    case DType::F64: return put(to, number.as_double());
    case DType::C64: return put(to, std::complex<float>(number.as_complex()));
    case DType::C128: return put(to, number.as_complex());
    default: break;
  }
  int64_t v = to_integer(number, d);
  std::memcpy(to, &v, dtype_size(d));  // the low bytes of a little-endian integer
}

Value read_number(const void* from, DType d) {
  switch (d) {
    case DType::Bool: return Value(take<uint8_t>(from) != 0);
    case DType::U8: return Value(int64_t{take<uint8_t>(from)});
    case DType::I8: return Value(int64_t{take<int8_t>(from)});
    case DType::I16: return Value(int64_t{take<int16_t>(from)});
    case DType::U16: return Value(int64_t{take<uint16_t>(from)});
    case DType::I32: return Value(int64_t{take<int32_t>(from)});
    case DType::U32: return Value(int64_t{take<uint32_t>(from)});
    case DType::I64:
    case DType::U64: return Value(take<int64_t>(from));
    case DType::F8E4M3FN:
    case DType::F8E5M2:
    case DType::F8E4M3FNUZ:
    case DType::F8E5M2FNUZ: return Value(double{float8_bits_to_float(take<uint8_t>(from), d)});
    case DType::F16: return Value(double{take<Half>(from)});
    case DType::BF16: return Value(double{take<BFloat16>(from)});
    case DType::F32: return Value(double{take<float>(from)});
    case DType::F64: return Value(take<double>(from));
    case DType::C64: return Value(std::complex<double>(take<std::complex<float>>(from)));
    case DType::C128: return Value(take<std::complex<double>>(from));
  }
  return Value();
}

}  // namespace fl
