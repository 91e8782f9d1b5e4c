// Operators that draw random numbers. Dense tensors are filled in the order of their memory, as PyTorch does.
#include <cmath>

#include "core/element.h"
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/factories.h"
#include "runtime/promotion.h"
#include "runtime/random.h"

namespace fl {
namespace {

void give(Outputs& outputs, TensorRef t) { outputs.emplace_back(std::move(t)); }

bool is_dense(Tensor* t) { return t->strides == result_strides(t->sizes, {&t, 1}); }

// Calls fill(memory) on the elements of t, through a dense copy where they leave gaps.
template <class F>
void draw_into(Tensor* t, F&& fill) {
  if (t->is_meta() || t->numel() == 0) return;
  check_writable(*t);
  check_no_internal_overlap(*t);
  if (t->is_contiguous() || is_dense(t)) return fill(t->data());
  TensorRef dense = Tensor::empty_strided(t->sizes, result_strides(t->sizes, {&t, 1}), t->dtype);
  fill(dense->data());
  copy_into(t, dense.get());
}

void check_floating(const Tensor& t, const char* what) {
  FL_CHECK(is_differentiable(t.dtype) && !is_float8(t.dtype), ErrorKind::NotImplemented,
           "\"%s\" not implemented for '%s'", what, dtype_title(t.dtype));
}

// Complex numbers are drawn as pairs.
int64_t real_numbers(const Tensor& t) { return is_complex(t.dtype) ? 2 * t.numel() : t.numel(); }

void fill_uniform_into(Tensor* t, double from, double to, Generator& g) {
  draw_into(t, [&](void* p) { fill_uniform(g, p, real_numbers(*t), to_real(t->dtype), from, to); });
}
void fill_normal_into(Tensor* t, double mean, double std, Generator& g) {
  bool contiguous = t->is_contiguous();
  if (is_complex(t->dtype)) std /= std::sqrt(2.0);  // the variance is shared by both parts
  draw_into(t, [&](void* p) { fill_normal(g, p, real_numbers(*t), to_real(t->dtype), mean, std, contiguous); });
}

// uniform_(self, from, to, generator)
void uniform(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double from = c[1].as_double(), to = c[2].as_double();
  check_floating(*t, "check_uniform_bounds");
  FL_CHECK(from <= to, ErrorKind::Runtime, "uniform_ expects to return a [from, to) range, but found from=%g > to=%g",
           from, to);
  fill_uniform_into(t, from, to, generator(c[3]));
  give(outputs, TensorRef(t));
}

// normal_(self, mean, std, generator)
void normal(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double std = c[2].as_double();
  FL_CHECK(std >= 0, ErrorKind::Runtime, "normal expects std >= 0.0, but found std %g", std);
  check_floating(*t, "normal_kernel_cpu");
  fill_normal_into(t, c[1].as_double(), std, generator(c[3]));
  give(outputs, TensorRef(t));
}

// Distributions of one parameter: f_(self, parameter, generator).
void exponential(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double lambda = c[1].as_double();
  FL_CHECK(lambda > 0, ErrorKind::Runtime, "exponential_ expects lambda > 0.0, but found lambda=%g", lambda);
  FL_CHECK(is_float(t->dtype), ErrorKind::Runtime,
           "Exponential distribution is a continuous probability distribution. dtype must be a floating point but you "
           "specified %s",
           dtype_title(t->dtype));
  FL_CHECK(!is_float8(t->dtype), ErrorKind::NotImplemented, "\"exponential_cpu\" not implemented for '%s'",
           dtype_title(t->dtype));
  draw_into(t, [&](void* p) { fill_exponential(generator(c[2]), p, t->numel(), t->dtype, lambda); });
  give(outputs, TensorRef(t));
}

void geometric(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double p_success = c[1].as_double();
  FL_CHECK(p_success > 0 && p_success < 1, ErrorKind::Runtime, "geometric_ expects p to be in (0, 1), but got p=%g",
           p_success);
  draw_into(t, [&](void* p) { fill_geometric(generator(c[2]), p, t->numel(), t->dtype, p_success); });
  give(outputs, TensorRef(t));
}

void cauchy(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double sigma = c[2].as_double();
  FL_CHECK(sigma > 0, ErrorKind::Runtime, "cauchy_ expects sigma > 0.0, but found sigma=%g", sigma);
  FL_CHECK(is_float(t->dtype), ErrorKind::Runtime,
           "Cauchy distribution is a continuous probability distribution. dtype must be a floating point but you "
           "specified %s",
           dtype_c_name(t->dtype));
  draw_into(t, [&](void* p) { fill_cauchy(generator(c[3]), p, t->numel(), t->dtype, c[1].as_double(), sigma); });
  give(outputs, TensorRef(t));
}

void log_normal(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double std = c[2].as_double();
  FL_CHECK(std > 0, ErrorKind::Runtime, "log_normal_ expects std > 0.0, but found std=%g", std);
  FL_CHECK(is_float(t->dtype) && !is_float8(t->dtype), ErrorKind::NotImplemented,
           "\"log_normal_cpu\" not implemented for '%s'", dtype_title(t->dtype));
  draw_into(t, [&](void* p) { fill_log_normal(generator(c[3]), p, t->numel(), t->dtype, c[1].as_double(), std); });
  give(outputs, TensorRef(t));
}

void check_probability(double p) {
  FL_CHECK(p >= 0 && p <= 1, ErrorKind::Runtime, "bernoulli_ expects p to be in [0, 1], but got p=%g", p);
}

// bernoulli_(self, p, generator)
void bernoulli_number(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  double probability = c[1].as_double();
  check_probability(probability);
  draw_into(t, [&](void* p) { fill_bernoulli(generator(c[2]), p, t->numel(), t->dtype, probability); });
  give(outputs, TensorRef(t));
}

// The probabilities laid out as the result is.
void bernoulli_each(Tensor* t, Tensor* probabilities, Generator& g) {
  FL_CHECK(is_float(probabilities->dtype), ErrorKind::NotImplemented,
           "\"bernoulli_tensor_cpu_p_\" not implemented for '%s'", dtype_title(probabilities->dtype));
  if (t->is_meta() || t->numel() == 0) return;
  TensorRef dense = Tensor::empty_strided(t->sizes, result_strides(t->sizes, {&t, 1}), probabilities->dtype);
  copy_into(dense.get(), probabilities);
  with_element_type(dense->dtype, [&]<class P>(std::type_identity<P>) {
    if constexpr (std::is_convertible_v<P, double>)
      for (int64_t i = 0; i < dense->numel(); ++i) {
        const double p = static_cast<double>(dense->data<P>()[i]);
        FL_CHECK(p >= 0 && p <= 1, ErrorKind::Runtime, "Expected p_in >= 0 && p_in <= 1 to be true, but got false.");
      }
  });
  draw_into(t, [&](void* p) { fill_bernoulli(g, p, t->numel(), t->dtype, dense->data(), dense->dtype); });
}

// bernoulli_(self, p tensor, generator)
void bernoulli_tensor(const Call& c, Outputs& outputs) {
  bernoulli_each(c[0].tensor(), c[1].tensor(), generator(c[2]));
  give(outputs, c[0].tensor_ref());
}

// bernoulli(self, generator): the elements of self are the probabilities.
void bernoulli(const Call& c, Outputs& outputs) {
  Tensor* self = c[0].tensor();
  TensorRef t =
      Tensor::empty_strided(self->sizes, result_strides(self->sizes, {&self, 1}), self->dtype, self->device());
  bernoulli_each(t.get(), self, generator(c[1]));
  give(outputs, std::move(t));
}

// ---- integers

// What a floating-point type counts without gaps.
int64_t exact_integers(DType d) {
  switch (d) {
    case DType::F16: return int64_t{1} << 11;
    case DType::BF16: return int64_t{1} << 8;
    case DType::F32: return int64_t{1} << 24;
    default: return int64_t{1} << 53;
  }
}

// The greatest integer up to which a dtype holds them all.
uint64_t last_integer(DType d) {
  if (is_float(d)) return static_cast<uint64_t>(exact_integers(d));
  if (d == DType::Bool) return 1;
  return ~uint64_t{0} >> (64 - dtype_size(d) * 8 + (is_signed(d) ? 1 : 0));
}

void check_bound(int64_t v, DType d, const char* name) {
  if (is_float(d)) return;
  alignas(16) char element[16];
  write_number(Value(v), d, element);
  FL_CHECK(d == DType::U64 || read_number(element, d).as_int() == v, ErrorKind::Runtime, "%s is out of bounds for %s",
           name, dtype_title(d));
}

void draw_from_to(Tensor* t, int64_t from, int64_t to, Generator& g) {
  FL_CHECK(from < to, ErrorKind::Runtime, "random_ expects 'from' to be less than 'to', but got from=%lld >= to=%lld",
           static_cast<long long>(from), static_cast<long long>(to));
  check_bound(from, t->dtype, "from");
  check_bound(to - 1, t->dtype, "to - 1");
  uint64_t range = static_cast<uint64_t>(to) - static_cast<uint64_t>(from);
  draw_into(t, [&](void* p) { fill_random_from_to(g, p, t->numel(), t->dtype, range, from); });
}

// random_(self, generator)
void random(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  draw_into(t, [&](void* p) { fill_random(generator(c[1]), p, t->numel(), t->dtype); });
  give(outputs, TensorRef(t));
}

// random_(self, to, generator)
void random_to(const Call& c, Outputs& outputs) {
  draw_from_to(c[0].tensor(), 0, c[1].as_int(), generator(c[2]));
  give(outputs, c[0].tensor_ref());
}

// random_(self, from, to, generator)
void random_from_to(const Call& c, Outputs& outputs) {
  Tensor* t = c[0].tensor();
  int64_t from = c[1].as_int();
  if (!c[2].is_none()) {
    draw_from_to(t, from, c[2].as_int(), generator(c[3]));
  } else if (from == INT64_MIN) {
    draw_into(t, [&](void* p) { fill_random_64(generator(c[3]), p, t->numel(), t->dtype); });
  } else {  // up to the greatest value of the dtype
    check_bound(from, t->dtype, "from");
    uint64_t last = last_integer(t->dtype);
    FL_CHECK(from <= 0 || static_cast<uint64_t>(from) <= last, ErrorKind::Runtime, "from is out of bounds for %s",
             dtype_title(t->dtype));
    uint64_t range = last - static_cast<uint64_t>(from) + 1;  // 0: all of 64 bits
    draw_into(t, [&](void* p) {
      if (range == 0) return fill_random_64(generator(c[3]), p, t->numel(), t->dtype);
      fill_random_from_to(generator(c[3]), p, t->numel(), t->dtype, range, from);
    });
  }
  give(outputs, TensorRef(t));
}

// ---- factories: size, generator, <options>

void rand(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 2, default_dtype()).empty(c[0].ints());
  check_floating(*t, "check_uniform_bounds");
  fill_uniform_into(t.get(), 0, 1, generator(c[1]));
  give(outputs, std::move(t));
}

void randn(const Call& c, Outputs& outputs) {
  TensorRef t = TensorOptions(c, 2, default_dtype()).empty(c[0].ints());
  check_floating(*t, "normal_kernel_cpu");
  fill_normal_into(t.get(), 0, 1, generator(c[1]));
  give(outputs, std::move(t));
}

// randint(low, high, size, generator, <options>)
void randint(const Call& c, Outputs& outputs) {
  int64_t low = c[0].as_int(), high = c[1].as_int();
  TensorOptions options(c, 4, DType::I64);
  FL_CHECK(low < high, ErrorKind::Runtime, "random_ expects 'from' to be less than 'to', but got from=%lld >= to=%lld",
           static_cast<long long>(low), static_cast<long long>(high));
  TensorRef t = options.empty(c[2].ints());
  draw_from_to(t.get(), low, high, generator(c[3]));
  give(outputs, std::move(t));
}

// randperm(n, generator, <options>)
void randperm(const Call& c, Outputs& outputs) {
  int64_t n = c[0].as_int();
  TensorRef t = TensorOptions(c, 2, DType::I64).empty(IntSpan(&n, 1));
  if (!t->is_meta()) fill_randperm(generator(c[1]), t->data(), n, t->dtype);
  give(outputs, std::move(t));
}

// multinomial(self, num_samples, generator): with replacement, rows of weights.
void multinomial(const Call& c, Outputs& outputs) {
  TensorRef weights = contiguous_tensor(c[0].tensor());
  int64_t samples = c[1].as_int(), categories = weights->sizes[weights->dim() - 1];
  int64_t rows = weights->dim() == 2 ? weights->sizes[0] : 1;
  TensorRef t = Tensor::empty(weights->dim() == 2 ? Dims{rows, samples} : Dims{samples}, DType::I64);
  fill_multinomial(generator(c[2]), t->data<int64_t>(), rows, samples, weights->data(), categories, weights->dtype);
  give(outputs, std::move(t));
}

const RegisterNative natives[] = {{"uniform_", uniform},
                                  {"normal_", normal},
                                  {"exponential_", exponential},
                                  {"geometric_", geometric},
                                  {"cauchy_", cauchy},
                                  {"log_normal_", log_normal},
                                  {"bernoulli_number", bernoulli_number},
                                  {"bernoulli_tensor", bernoulli_tensor},
                                  {"bernoulli", bernoulli},
                                  {"random_", random},
                                  {"random_to", random_to},
                                  {"random_from_to", random_from_to},
                                  {"rand", rand},
                                  {"randn", randn},
                                  {"randint", randint},
                                  {"randperm", randperm},
                                  {"multinomial_rows", multinomial}};

}  // namespace
}  // namespace fl
