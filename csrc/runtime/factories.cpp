#include "runtime/factories.h"

#include <algorithm>
#include <cmath>

#include "core/element.h"
#include "core/error.h"
#include "runtime/clones.h"
#include "runtime/copy.h"
#include "runtime/cuda_driver.h"
#include "runtime/promotion.h"
#include "runtime/runs.h"
#include "runtime/shape_text.h"

namespace fl {

void (*warn_user)(const char* text) = nullptr;

void resize_tensor(Tensor* t, IntSpan sizes, MemoryFormat format) {
  int64_t numel = checked_numel(sizes);
  int64_t end;
  bool overflow = __builtin_add_overflow(numel, t->offset, &end) ||
                  __builtin_mul_overflow(end, static_cast<int64_t>(t->itemsize()), &end);
  FL_CHECK(!overflow, ErrorKind::Runtime, "Storage size calculation overflowed with sizes=%s",
           shape_text(sizes).c_str());
  Dims strides = format_strides(sizes, format);
  if (numel > 0 && static_cast<size_t>(end) > t->storage->bytes()) {
    FL_CHECK(t->storage->resizable(), ErrorKind::Runtime, "Trying to resize storage that is not resizable");
    t->storage->resize(static_cast<size_t>(end));
  }
  t->strides = std::move(strides);
  t->sizes = Dims(sizes);
  t->refresh();
}

void resize_output(Tensor* t, IntSpan sizes) {
  if (std::ranges::equal(IntSpan(t->sizes), sizes)) return;
  if (t->numel() != 0 && warn_user) {
    std::string text = "An output with one or more elements was resized since it had shape " + shape_text(t->sizes) +
                       ", which does not match the required output shape " + shape_text(sizes) +
                       ". This behavior is deprecated, and in a future PyTorch release outputs will not be resized "
                       "unless they have zero elements. You can explicitly reuse an out tensor t by resizing it, "
                       "inplace, to zero elements with t.resize_(0).";
    warn_user(text.c_str());
  }
  resize_tensor(t, sizes);
}

namespace {
constinit thread_local Device device_of_new_tensors;
}

Device default_device() { return device_of_new_tensors; }
void set_default_device(Device device) { device_of_new_tensors = device; }

TensorOptions::TensorOptions(const Call& call, int at, DType otherwise, const Tensor* like) {
  dtype = !call[at].is_none() ? call[at].dtype() : like ? like->dtype : otherwise;
  device = !call[at + 2].is_none() ? call[at + 2].device() : like ? like->device() : default_device();
  if (device.type == DeviceType::CUDA) fail_without_cuda();
  const Value& grad = call[at + 4];
  requires_grad = !grad.is_none() && grad.as_bool();
  FL_CHECK(!requires_grad || is_differentiable(dtype), ErrorKind::Runtime,
           "Only Tensors of floating point and complex dtype can require gradients");
}

TensorRef TensorOptions::empty(IntSpan sizes) const { return finish(Tensor::empty(sizes, dtype, device)); }

TensorRef TensorOptions::finish(TensorRef t) const {
  t->requires_grad = requires_grad;
  return t;
}

void clear_tensor(Tensor* t) {
  if (t->is_meta() || t->numel() == 0) return;
  if (t->is_contiguous()) {
    clear_bytes(t->data(), t->numel() * static_cast<int64_t>(t->itemsize()));
  } else {
    fill_with(t, Value(int64_t{0}));
  }
}

namespace {

void give(Outputs& outputs, TensorRef t) { outputs.emplace_back(std::move(t)); }

MemoryFormat format_of(const Value& v, MemoryFormat otherwise) { return v.is_none() ? otherwise : v.memory_format(); }

// empty(size, <options>, memory_format)
void empty(const Call& c, Outputs& outputs) {
  TensorOptions options(c, 1, default_dtype());
  MemoryFormat format = format_of(c[6], MemoryFormat::Contiguous);
  if (format == MemoryFormat::Contiguous) return give(outputs, options.empty(c[0].ints()));
  FL_CHECK(format != MemoryFormat::Preserve, ErrorKind::Runtime,
           "memory format option is only supported by strided tensors");
  Dims strides = format_strides(c[0].ints(), format);
  give(outputs, options.finish(Tensor::empty_strided(c[0].ints(), strides, options.dtype, options.device)));
}

// empty_strided(size, stride, <options>)
void empty_strided(const Call& c, Outputs& outputs) {
  TensorOptions options(c, 2, default_dtype());
  give(outputs, options.finish(Tensor::empty_strided(c[0].ints(), c[1].ints(), options.dtype, options.device)));
}

// zeros(size, <options>)
void zeros(const Call& c, Outputs& outputs) {
  const auto& sizes = c[0].ints();
  FL_CHECK(std::ranges::none_of(sizes, [](int64_t n) { return n < 0; }), ErrorKind::Runtime,
           "zeros: Dimension size must be non-negative.");
  TensorRef t = TensorOptions(c, 1, default_dtype()).empty(sizes);
  clear_tensor(t.get());
  give(outputs, std::move(t));
}

void ones(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 1, default_dtype()).empty(c[0].ints());
  fill_with(t.get(), Value(int64_t{1}));
  give(outputs, std::move(t));
}

// full(size, value, <options>)
void full(const Call& c, Outputs& outputs) {
  TensorOptions options(c, 2, number_dtype(c[1]));
  check_number_fits(c[1], options.dtype);
  TensorRef t = options.empty(c[0].ints());
  fill_with(t.get(), c[1]);
  give(outputs, std::move(t));
}

// A new tensor with the sizes and, where they are to be kept, the strides of another.
TensorRef like(const Call& c, int at, int format_at) {
  Tensor* self = c[0].tensor();
  TensorOptions options(c, at, self->dtype, self);
  MemoryFormat format = format_of(c[format_at], MemoryFormat::Preserve);
  Dims strides =
      format == MemoryFormat::Preserve ? result_strides(self->sizes, {&self, 1}) : format_strides(self->sizes, format);
  return options.finish(Tensor::empty_strided(self->sizes, strides, options.dtype, options.device));
}

// Every dense layout is filled as one run of memory.
void fill_dense(Tensor* t, const Value& number) {
  check_number_fits(number, t->dtype);
  fill_with(t, number);
}

void empty_like(const Call& c, Outputs& outputs) { give(outputs, like(c, 1, 6)); }
void zeros_like(const Call& c, Outputs& outputs) {
  TensorRef t = like(c, 1, 6);
  if (!t->is_meta()) clear_bytes(t->data(), t->numel() * static_cast<int64_t>(t->itemsize()));
  give(outputs, std::move(t));
}
void ones_like(const Call& c, Outputs& outputs) {
  TensorRef t = like(c, 1, 6);
  fill_dense(t.get(), Value(int64_t{1}));
  give(outputs, std::move(t));
}
void full_like(const Call& c, Outputs& outputs) {
  TensorRef t = like(c, 2, 7);
  fill_dense(t.get(), c[1]);
  give(outputs, std::move(t));
}

// new_empty(self, size, <options>)
void new_empty(const Call& c, Outputs& outputs) {
  give(outputs, TensorOptions(c, 2, DType::F32, c[0].tensor()).empty(c[1].ints()));
}
void new_zeros(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 2, DType::F32, c[0].tensor()).empty(c[1].ints());
  clear_tensor(t.get());
  give(outputs, std::move(t));
}
void new_ones(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 2, DType::F32, c[0].tensor()).empty(c[1].ints());
  fill_with(t.get(), Value(int64_t{1}));
  give(outputs, std::move(t));
}
void new_full(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 3, DType::F32, c[0].tensor()).empty(c[1].ints());
  fill_dense(t.get(), c[2]);
  give(outputs, std::move(t));
}

void scalar_tensor(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 1, default_dtype()).empty({});
  fill_dense(t.get(), c[0]);
  give(outputs, std::move(t));
}

// ---- sequences

constexpr int32_t kBlock = 64;  // elements: a number that compilers make vectors of

// out[j] = value(first, j) for j < n. What is added to `first` fits 32 bits, which every machine makes vectors of
// floats of.
template <class T, class F>
FL_CLONES void write_run(T* out, int64_t first, int64_t n, const F& given) {
  const F value = given;  // a copy, which no store can change
  for (; n >= kBlock; n -= kBlock, first += kBlock, out += kBlock)
    for (int32_t j = 0; j < kBlock; ++j) out[j] = value(first, j);
  for (int32_t j = 0; j < n; ++j) out[j] = value(first, j);
}

// Elements begin .. end, element i by value(first, j) for some first + j = i.
template <class T, class F>
void write_elements(const TensorRef& t, int64_t begin, int64_t end, F&& value) {
  T* out = t->data<T>();
  constexpr int64_t piece = kPieceBytes / sizeof(T);
  share_pieces((end - begin + piece - 1) / piece, (end - begin) * static_cast<int64_t>(sizeof(T)), [&](int64_t p) {
    const int64_t first = begin + p * piece;
    write_run(out + first, first, std::min(piece, end - first), value);
  });
}

bool is_integral(const Value& v) { return v.tag() == Value::Tag::Int || v.tag() == Value::Tag::Bool; }

int64_t arange_length(const Value& start, const Value& end, const Value& step, bool integers) {
  double s = start.as_double(), e = end.as_double(), d = step.as_double();
  FL_CHECK(d != 0, ErrorKind::Runtime, "step must be nonzero");
  FL_CHECK(std::isfinite(s) && std::isfinite(e), ErrorKind::Runtime, "unsupported range: %g -> %g", s, e);
  FL_CHECK((d > 0 && e >= s) || (d < 0 && e <= s), ErrorKind::Runtime,
           "upper bound and lower bound inconsistent with step sign");
  if (integers) {
    int64_t i = start.as_int(), k = step.as_int();
    __int128 span = static_cast<__int128>(end.as_int()) - i;
    __int128 length = k > 0 ? (span + k - 1) / k : (span + k + 1) / k;
    FL_CHECK(length <= INT64_MAX, ErrorKind::Runtime, "invalid size, possible overflow?");
    return static_cast<int64_t>(length);
  }
  double length = std::ceil((e - s) / d);
  FL_CHECK(length >= 0 && length < 0x1p63, ErrorKind::Runtime, "invalid size, possible overflow?");
  return static_cast<int64_t>(length);
}

// Whether a dtype is one to count in.
bool is_counted(DType d) { return d != DType::Bool && !is_float8(d); }

// start, start + step, ... below end; the options stand at argument `at`.
void arange_between(const Value& from, const Value& to, const Value& by, const Call& c, int at, Outputs& outputs) {
  bool integers = is_integral(from) && is_integral(to) && is_integral(by);
  TensorOptions options(c, at, integers ? DType::I64 : default_dtype());
  FL_CHECK(!is_integer(options.dtype) || by.as_double() == 0 || std::abs(by.as_double()) >= 1, ErrorKind::Value,
           "step must be nonzero [it is cast to %s]", dtype_title(options.dtype));
  FL_CHECK(is_counted(options.dtype) && !is_complex(options.dtype), ErrorKind::NotImplemented,
           "\"arange_cpu\" not implemented for '%s'", dtype_title(options.dtype));
  int64_t length = arange_length(from, to, by, integers && is_integer(options.dtype));
  TensorRef t = options.empty(IntSpan(&length, 1));
  if (!t->is_meta()) {
    with_element_type(options.dtype, [&]<class T>(std::type_identity<T>) {
      if constexpr (std::is_integral_v<T>)
        write_elements<T>(t, 0, length, [start = from.as_int(), step = by.as_int()](int64_t first, int32_t j) {
          return static_cast<T>(start + (first + j) * step);
        });
      else
        write_elements<T>(t, 0, length, [start = from.as_double(), step = by.as_double()](int64_t first, int32_t j) {
          return static_cast<T>(start + (static_cast<double>(first) + j) * step);
        });
    });
  }
  give(outputs, std::move(t));
}

// arange(start, end, step, <options>)
void arange(const Call& c, Outputs& outputs) { arange_between(c[0], c[1], c[2], c, 3, outputs); }

// arange_to(end, <options>)
void arange_to(const Call& c, Outputs& outputs) {
  arange_between(Value(int64_t{0}), c[0], Value(int64_t{1}), c, 1, outputs);
}

template <class T>
constexpr bool is_complex_type = std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>;

// What the steps between elements of T are computed in.
template <class T>
using StepType =
    std::conditional_t<is_complex_type<T>, T,
                       std::conditional_t<std::is_same_v<T, double> || std::is_integral_v<T>, double, float>>;

template <class T>
T end_of_line(const Value& v) {
  if constexpr (is_complex_type<T>)
    return static_cast<T>(v.as_complex());
  else
    return static_cast<T>(v.as_double());
}

// The first half counts from the start, the second from the end, so that both ends are exact.
template <class T, class F>
void write_line(const TensorRef& t, const Value& from, const Value& to, F&& map) {
  using Step = StepType<T>;
  int64_t n = t->numel();
  auto start = static_cast<Step>(end_of_line<T>(from)), end = static_cast<Step>(end_of_line<T>(to));
  auto number = [](int64_t i, int32_t j) { return static_cast<Step>(static_cast<double>(i) + j); };
  Step step = n > 1 ? (end - start) / number(n - 1, 0) : Step{0}, last = n > 1 ? end : start;
  write_elements<T>(t, 0, n / 2,
                    [=](int64_t i, int32_t j) { return static_cast<T>(map(start + step * number(i, j))); });
  write_elements<T>(t, n / 2, n,
                    [=](int64_t i, int32_t j) { return static_cast<T>(map(last - step * number(n - 1 - i, -j))); });
}

template <class F>
void line(const Call& c, Outputs& outputs, int options_at, F&& map) {
  int64_t steps = c[2].as_int();
  FL_CHECK(steps >= 0, ErrorKind::Runtime, "number of steps must be non-negative");
  bool complex = c[0].tag() == Value::Tag::Complex || c[1].tag() == Value::Tag::Complex;
  TensorOptions options(c, options_at, complex ? to_complex(default_dtype()) : default_dtype());
  FL_CHECK(is_counted(options.dtype), ErrorKind::NotImplemented, "\"linspace_cpu\" not implemented for '%s'",
           dtype_title(options.dtype));
  TensorRef t = options.empty(IntSpan(&steps, 1));
  if (!t->is_meta())
    with_element_type(options.dtype, [&]<class T>(std::type_identity<T>) { write_line<T>(t, c[0], c[1], map); });
  give(outputs, std::move(t));
}

// linspace(start, end, steps, <options>)
void linspace(const Call& c, Outputs& outputs) {
  line(c, outputs, 3, [](auto x) { return x; });
}

// logspace(start, end, steps, base, <options>)
void logspace(const Call& c, Outputs& outputs) {
  double base = c[3].as_double();
  line(c, outputs, 4, [base]<class T>(T x) {
    if constexpr (is_complex_type<T>)
      return std::pow(static_cast<T>(base), x);
    else
      return std::pow(base, static_cast<double>(x));
  });
}

// eye(n, m, <options>)
void eye(const Call& c, Outputs& outputs) {
  int64_t n = c[0].as_int(), m = c[1].is_none() ? n : c[1].as_int();
  FL_CHECK(n >= 0, ErrorKind::Runtime, "n must be greater or equal to 0, got %lld", static_cast<long long>(n));
  FL_CHECK(m >= 0, ErrorKind::Runtime, "m must be greater or equal to 0, got %lld", static_cast<long long>(m));
  TensorRef t = TensorOptions(c, 2, default_dtype()).empty(Dims{n, m});
  clear_tensor(t.get());
  if (!t->is_meta() && t->numel() > 0) {
    TensorRef diagonal = Tensor::make(t->storage, 0, Dims{std::min(n, m)}, Dims{m + 1}, t->dtype);
    fill_with(diagonal.get(), Value(int64_t{1}));
  }
  give(outputs, std::move(t));
}

// ---- writing and copying

// fill_(self, value), value a number or a tensor of no dimensions
void fill(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  check_writable(*self);
  if (c[1].is_tensor()) {
    Tensor* value = c[1].tensor();
    FL_CHECK(value->dim() == 0, ErrorKind::Runtime,
             "fill_ only supports 0-dimension value tensor but got tensor with %d dimensions.", value->dim());
    if (!value->is_meta()) fill_with(self, read_number(value->data(), value->dtype));
  } else {
    check_number_fits(c[1], self->dtype);
    fill_with(self, c[1]);
  }
  give(outputs, TensorRef(self));
}

void zero(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  check_writable(*self);
  clear_tensor(self);
  give(outputs, TensorRef(self));
}

// The two share memory without being the same elements: what is read must be put aside first.
bool overlaps(const Tensor& a, const Tensor& b) {
  return a.storage == b.storage && !(a.offset == b.offset && a.strides == b.strides && a.sizes == b.sizes);
}

// copy_(self, src, non_blocking)
void copy(const Call& c, Outputs& outputs) {
  Tensor *self = c[0].tensor(), *source = c[1].tensor();
  check_no_internal_overlap(*self);
  if (overlaps(*self, *source)) {
    copy_into(self, clone_tensor(source).get());
  } else {
    copy_into(self, source);
  }
  give(outputs, TensorRef(self));
}

// clone(self, memory_format)
void clone(const Call& c, Outputs& outputs) {
  give(outputs, clone_tensor(c[0].tensor(), format_of(c[1], MemoryFormat::Preserve)));
}

// contiguous(self, memory_format)
void contiguous(const Call& c, Outputs& outputs) {
  give(outputs, contiguous_tensor(c[0].tensor(), format_of(c[1], MemoryFormat::Contiguous)));
}

TensorRef converted(Tensor* self, DType dtype, Device device, bool always, MemoryFormat format) {
  bool same = self->dtype == dtype && self->device().type == device.type;
  if (same && !always && (format == MemoryFormat::Preserve || has_format(*self, format))) return TensorRef(self);
  FL_CHECK(!self->is_meta() || device.type == DeviceType::Meta, ErrorKind::NotImplemented,
           "Cannot copy out of meta tensor; no data!");
  if (device.type == DeviceType::CUDA) fail_without_cuda();
  Dims strides =
      format == MemoryFormat::Preserve ? result_strides(self->sizes, {&self, 1}) : format_strides(self->sizes, format);
  TensorRef out = Tensor::empty_strided(self->sizes, strides, dtype, device);
  copy_into(out.get(), self);
  return out;
}

// The target of a conversion that is not said stays.
DType dtype_or(const Value& v, const Tensor* self) { return v.is_none() ? self->dtype : v.dtype(); }
Device device_or(const Value& v, const Tensor* self) { return v.is_none() ? self->device() : v.device(); }

// to(self, dtype, non_blocking, copy, memory_format)
void to_dtype(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  give(outputs,
       converted(self, dtype_or(c[1], self), self->device(), c[3].as_bool(), format_of(c[4], MemoryFormat::Preserve)));
}
// to(self, device, dtype, non_blocking, copy, memory_format)
void to_device(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  give(outputs, converted(self, dtype_or(c[2], self), device_or(c[1], self), c[4].as_bool(),
                          format_of(c[5], MemoryFormat::Preserve)));
}
// to(self, other, non_blocking, copy, memory_format)
void to_other(const Call& c, Outputs& outputs) {
  Tensor *self = c[0].tensor(), *other = c[1].tensor();
  give(outputs,
       converted(self, other->dtype, other->device(), c[3].as_bool(), format_of(c[4], MemoryFormat::Preserve)));
}

// resize_(self, size, memory_format)
void resize(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  FL_CHECK(!self->requires_grad, ErrorKind::Runtime, "cannot resize variables that require grad");
  const std::vector<int64_t>& sizes = c[1].ints();
  if (!c[2].is_none() || !std::ranges::equal(IntSpan(self->sizes), sizes))  // the same sizes keep their strides
    resize_tensor(self, sizes, format_of(c[2], MemoryFormat::Contiguous));
  give(outputs, TensorRef(self));
}

const RegisterNative natives[] = {{"empty", empty},
                                  {"empty_strided", empty_strided},
                                  {"zeros", zeros},
                                  {"ones", ones},
                                  {"full", full},
                                  {"empty_like", empty_like},
                                  {"zeros_like", zeros_like},
                                  {"ones_like", ones_like},
                                  {"full_like", full_like},
                                  {"new_empty", new_empty},
                                  {"new_zeros", new_zeros},
                                  {"new_ones", new_ones},
                                  {"new_full", new_full},
                                  {"scalar_tensor", scalar_tensor},
                                  {"arange", arange},
                                  {"arange_to", arange_to},
                                  {"linspace", linspace},
                                  {"logspace", logspace},
                                  {"eye", eye},
                                  {"fill_", fill},
                                  {"zero_", zero},
                                  {"copy_", copy},
                                  {"clone", clone},
                                  {"contiguous", contiguous},
                                  {"to_dtype", to_dtype},
                                  {"to_device", to_device},
                                  {"to_other", to_other},
                                  {"resize_", resize}};

}  // namespace
}  // namespace fl
