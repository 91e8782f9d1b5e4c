// Numbers whose distribution each element chooses: gamma, Poisson and binomial numbers, points of a simplex. The ways
// of drawing are published ones, and each takes its uniform and normal numbers in PyTorch's order.
#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/element.h"
#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/drawing.h"
#include "runtime/op.h"

namespace fl {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double log_factorial(double k) {
#if defined(__GLIBC__)
  int sign;
  return lgamma_r(k + 1, &sign);  // std::lgamma writes a global
#else
  return std::lgamma(k + 1);
#endif
}

// Marsaglia and Tsang (2000): a cube of a normal number, accepted nearly always. A shape below 1 is drawn a unit higher
// and brought down by a power of a uniform number.
double draw_gamma(Generator& g, double shape) {
  if (!(shape > 0)) return shape == 0 ? 0 : kNan;
  double scale = 1;
  if (shape < 1) {
    scale = std::pow(1 - uniform(g), 1 / shape);
    shape += 1;
  }
  double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (;;) {
    double x, root;
    do {
      x = next_normal(g);
      root = 1 + c * x;
    } while (root <= 0);
    double v = root * root * root, u = 1 - uniform(g), square = x * x;
    if (u < 1 - 0.0331 * square * square) return scale * d * v;
    if (std::log(u) < 0.5 * square + d * (1 - v + std::log(v))) return scale * d * v;
  }
}

// What the transformed rejections of Hoermann (1993) have in common: a hat of width b and tails a around a centre.
struct Hat {
  double a, b, centre, sure;

  // Draws a candidate; whether it needs no further test.
  bool draw(Generator& g, double& k, double& v, double& edge) const {
    double u = uniform(g) - 0.5;
    v = uniform(g);
    edge = 0.5 - std::fabs(u);
    k = std::floor((2 * a / edge + b) * u + centre);
    return edge >= 0.07 && v <= sure;
  }
};

double draw_poisson(Generator& g, double rate) {
  if (rate == 0) return 0;
  if (rate < 10) {  // arrivals until the time is over
    double end = std::exp(-rate), product = 1;
    for (double k = 0;; ++k)
      if (!((product *= uniform(g)) > end)) return k;
  }
  double b = 0.931 + 2.53 * std::sqrt(rate), log_rate = std::log(rate), k, v, edge;
  Hat hat{-0.059 + 0.02483 * b, b, rate + 0.43, 0.9277 - 3.6224 / (b - 2)};
  double scale = std::log(1.1239 + 1.1328 / (b - 3.4));
  for (;;) {
    if (hat.draw(g, k, v, edge)) return k;
    if (k < 0 || (edge < 0.013 && v > edge)) continue;
    if (std::log(v) + scale - std::log(hat.a / (edge * edge) + b) <= k * log_rate - rate - log_factorial(k)) return k;
  }
}

// p <= 1/2.
double draw_binomial_below_half(Generator& g, double count, double p) {
  if (count * p < 10) {  // waiting times that fit into the count
    double sum = 0, scale = std::log1p(-p);
    for (double k = 0;; ++k)
      if ((sum += std::ceil(std::log(uniform(g)) / scale)) > count) return k;
  }
  double deviation = std::sqrt(count * p * (1 - p)), b = 1.15 + 2.53 * deviation, k, v, edge;
  Hat hat{-0.0873 + 0.0248 * b + 0.01 * p, b, count * p + 0.5, 0.92 - 4.2 / b};
  double scale = (2.83 + 5.1 / b) * deviation, odds = std::log(p / (1 - p)), mode = std::floor((count + 1) * p);
  double at_mode = log_factorial(mode) + log_factorial(count - mode);
  for (;;) {
    if (hat.draw(g, k, v, edge)) return k;
    if (k < 0 || k > count) continue;
    double ratio = at_mode - log_factorial(k) - log_factorial(count - k) + (k - mode) * odds;
    if (std::log(v * scale / (hat.a / (edge * edge) + b)) <= ratio) return k;
  }
}

double draw_binomial(Generator& g, double count, double p) {
  if (std::isnan(count) || std::isnan(p)) return kNan;
  if (count <= 0 || p <= 0) return 0;
  if (p >= 1) return count;
  return p <= 0.5 ? draw_binomial_below_half(g, count, p) : count - draw_binomial_below_half(g, count, 1 - p);
}

// Calls f with the type of a tensor's elements, one of those allowed. Without memory nothing is drawn.
template <class... Allowed, class F>
void with_type(const Tensor& t, const char* what, F&& f) {
  with_element_type(t.dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr ((std::is_same_v<T, Allowed> || ...)) {
      if (!t.is_meta()) f(type);
    } else {
      fail(ErrorKind::NotImplemented, "\"%s\" not implemented for '%s'", what, dtype_title(t.dtype));
    }
  });
}

// A result in the size of a parameter.
TensorRef result_of(const Tensor& t) { return Tensor::empty(t.sizes, t.dtype, t.device()); }

// standard_gamma(self, generator): the elements of self are the shapes. Never 0, so that a logarithm is finite.
void standard_gamma(const Call& c, Outputs& outputs) {
  TensorRef shapes = contiguous_tensor(c[0].tensor()), out = result_of(*shapes);
  with_type<float, double>(*shapes, "gamma_cpu", [&]<class T>(std::type_identity<T>) {
    Generator& g = generator(c[1]);
    Drawing drawing(g, shapes->numel());
    T least = std::numeric_limits<T>::min();
    for (int64_t i = 0; i < shapes->numel(); ++i) {
      T value = static_cast<T>(draw_gamma(g, static_cast<double>(shapes->data<T>()[i])));
      out->data<T>()[i] = value < least ? least : value;
    }
  });
  outputs.emplace_back(std::move(out));
}

// poisson(self, generator): the elements of self are the rates.
void poisson(const Call& c, Outputs& outputs) {
  TensorRef rates = contiguous_tensor(c[0].tensor()), out = result_of(*rates);
  with_type<float, double, Half, BFloat16>(*rates, "poisson_cpu", [&]<class T>(std::type_identity<T>) {
    const T* rate = rates->data<T>();
    for (int64_t i = 0; i < rates->numel(); ++i)
      FL_CHECK(static_cast<double>(rate[i]) >= 0, ErrorKind::Runtime,
               "invalid Poisson rate, expected rate to be non-negative");
    Generator& g = generator(c[1]);
    Drawing drawing(g, rates->numel());
    for (int64_t i = 0; i < rates->numel(); ++i)
      out->data<T>()[i] = static_cast<T>(draw_poisson(g, static_cast<double>(rate[i])));
  });
  outputs.emplace_back(std::move(out));
}

// binomial(count, prob, generator): of one size and dtype.
void binomial(const Call& c, Outputs& outputs) {
  TensorRef counts = contiguous_tensor(c[0].tensor()), chances = contiguous_tensor(c[1].tensor());
  TensorRef out = result_of(*counts);
  with_type<float, double>(*counts, "binomial_cpu", [&]<class T>(std::type_identity<T>) {
    Generator& g = generator(c[2]);
    Drawing drawing(g, counts->numel());
    for (int64_t i = 0; i < counts->numel(); ++i)
      out->data<T>()[i] = static_cast<T>(
          draw_binomial(g, static_cast<double>(counts->data<T>()[i]), static_cast<double>(chances->data<T>()[i])));
  });
  outputs.emplace_back(std::move(out));
}

// sample_dirichlet(self, generator): gamma numbers in double precision, divided by their sum over the last dimension.
void sample_dirichlet(const Call& c, Outputs& outputs) {
  TensorRef shapes = contiguous_tensor(c[0].tensor()), out = result_of(*shapes);
  with_type<float, double>(*shapes, "dirichlet", [&]<class T>(std::type_identity<T>) {
    int64_t n = shapes->numel(), width = shapes->dim() ? shapes->sizes[shapes->dim() - 1] : 1;
    Generator& g = generator(c[1]);
    Drawing drawing(g, n);
    std::vector<double> row(static_cast<size_t>(width));
    constexpr double kTiny = std::numeric_limits<double>::min();
    double least = static_cast<double>(std::numeric_limits<T>::min()), greatest = std::nextafter(1.0f, 0.0f);
    for (int64_t at = 0; at < n; at += width) {
      double sum = 0;
      for (int64_t i = 0; i < width; ++i) {
        double drawn = draw_gamma(g, static_cast<double>(shapes->data<T>()[at + i]));
        sum += row[static_cast<size_t>(i)] = drawn < kTiny ? kTiny : drawn;
      }
      for (int64_t i = 0; i < width; ++i) {
        double part = row[static_cast<size_t>(i)] / sum;
        out->data<T>()[at + i] = static_cast<T>(part < least ? least : part > greatest ? greatest : part);
      }
    }
  });
  outputs.emplace_back(std::move(out));
}

const RegisterNative natives[] = {{"standard_gamma", standard_gamma},
                                  {"poisson", poisson},
                                  {"binomial_each", binomial},
                                  {"sample_dirichlet", sample_dirichlet}};

}  // namespace
}  // namespace fl
