// From the bits of a generator to distributions: how many bits each element takes, in which order, and in which
// precision they are turned into a number is what makes a seed give PyTorch's numbers, so it is written down here once.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <numeric>

#include "core/allocator.h"
#include "core/element.h"
#include "core/error.h"
#include "runtime/box_muller.h"
#include "runtime/pool.h"
#include "runtime/random.h"

namespace fl {

namespace {

constexpr int64_t kLongFill = 4096;    // elements from which on a call is worth letting other threads run
constexpr int64_t kBlockChunk = 8192;  // elements of one chunk of the parallel part of normal_

// In this order: the lock is given back before the GIL is asked for, so that no thread waits for one holding the other.
class Drawing {
 public:
  Drawing(Generator& g, int64_t n) : long_work_(n >= kLongFill), lock_(g.mutex()) {}

 private:
  LongWork long_work_;
  std::lock_guard<std::mutex> lock_;
};

// The type in which the numbers of T are computed.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

// [0, 1) with as many bits as float (one draw) or double (two draws) has.
template <class T>
T uniform(Generator& g) {
  constexpr int digits = std::numeric_limits<T>::digits;
  constexpr uint64_t mask = (uint64_t{1} << digits) - 1;
  constexpr T unit = T(1) / static_cast<T>(uint64_t{1} << digits);
  uint64_t bits = std::is_same_v<T, double> ? g.random64() : g.random();
  return static_cast<T>(bits & mask) * unit;
}

double next_normal(Generator& g) {
  if (g.waiting_normal) {
    double value = *g.waiting_normal;
    g.waiting_normal.reset();
    return value;
  }
  double u1 = uniform<double>(g), u2 = uniform<double>(g);
  double radius = std::sqrt(-2 * std::log1p(-u2)), angle = 2 * std::numbers::pi * u1;
  g.waiting_normal = radius * std::sin(angle);
  return radius * std::cos(angle);
}

template <class F>
void with_floating(DType dtype, F&& fn) {
  with_element_type(dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (std::is_floating_point_v<T> || std::is_same_v<T, Half> || std::is_same_v<T, BFloat16>) {
      fn(type);
    } else {
      fail(ErrorKind::Runtime, "random numbers of this kind have a floating-point type, not %s", dtype_name(dtype));
    }
  });
}

template <class F>
void with_real(DType dtype, F&& fn) {
  with_element_type(dtype, [&]<class T>(std::type_identity<T> type) {
    if constexpr (std::is_same_v<T, std::complex<float>> || std::is_same_v<T, std::complex<double>>) {
      fail(ErrorKind::Runtime, "random numbers of this kind have a real type, not %s", dtype_name(dtype));
    } else {
      fn(type);
    }
  });
}

// One draw in double precision for each element, in order.
template <class F>
void fill_each(Generator& g, void* p, int64_t n, DType dtype, F&& draw) {
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(draw());
  });
}

// --- normal numbers in blocks
// -----------------------------------------------------------------------------------------

template <class W>
void draw_uniforms(Generator& g, W* p, int64_t n) {
  for (int64_t i = 0; i < n; ++i) p[i] = uniform<W>(g);
}

// Normal numbers for whole blocks of uniform ones, many blocks at a time.
template <class W, class T>
void transform_blocks(const W* uniforms, T* out, int64_t n, W mean, W std) {
  parallel_for((n + kBlockChunk - 1) / kBlockChunk, [&](int64_t chunk) {
    int64_t begin = chunk * kBlockChunk, end = std::min(n, begin + kBlockChunk);
    if constexpr (std::is_same_v<T, W>) {
      box_muller(uniforms + begin, out + begin, (end - begin) / kNormalBlock, mean, std);
    } else {
      for (W block[kNormalBlock]; begin < end; begin += kNormalBlock) {
        box_muller(uniforms + begin, block, 1, mean, std);
        std::transform(block, block + kNormalBlock, out + begin, [](W value) { return static_cast<T>(value); });
      }
    }
  });
}

// At least one whole block. The last block of a length that is no multiple overlaps its neighbour and is drawn again.
template <class T>
void fill_normal_blocks(Generator& g, T* p, int64_t n, double mean, double std) {
  using W = Wide<T>;
  constexpr bool in_place = std::is_same_v<T, W>;
  W m = static_cast<W>(mean), s = static_cast<W>(std);
  int64_t whole = n / kNormalBlock * kNormalBlock;
  Scratch scratch(in_place ? 0 : static_cast<size_t>(whole) * sizeof(W));
  W* uniforms = scratch.as<W>();
  if constexpr (in_place) uniforms = p;
  // Where the numbers are drawn in place, the elements beyond the last whole block are drawn too, though in vain.
  draw_uniforms(g, uniforms, in_place ? n : whole);
  transform_blocks(uniforms, p, whole, m, s);
  if (whole == n) return;
  W last[kNormalBlock];
  draw_uniforms(g, last, kNormalBlock);
  transform_blocks(last, p + n - kNormalBlock, kNormalBlock, m, s);
}

// --- integers
// ---------------------------------------------------------------------------------------------------------

template <class T>
constexpr int kDigits = std::numeric_limits<T>::digits;
template <>
constexpr int kDigits<Half> = 11;
template <>
constexpr int kDigits<BFloat16> = 8;

// random_(): what the bits give for the whole range of T. Floating-point types get the integers they hold exactly.
template <class T>
T whole_range(Generator& g) {
  if constexpr (std::is_same_v<T, bool>) {
    return g.random() & 1;
  } else if constexpr (std::is_integral_v<T>) {
    uint64_t bits = sizeof(T) == 8 ? g.random64() : g.random();
    uint64_t top = static_cast<uint64_t>(std::numeric_limits<T>::max());
    return static_cast<T>(top == UINT64_MAX ? bits : bits % (top + 1));
  } else {
    uint64_t bits = std::is_same_v<T, double> ? g.random64() : g.random();
    return static_cast<T>(static_cast<double>(bits % ((uint64_t{1} << kDigits<T>)+1)));
  }
}

}  // namespace

// --- floating point
// ---------------------------------------------------------------------------------------------------

void fill_uniform(Generator& g, void* p, int64_t n, DType dtype, double from, double to) {
  Drawing drawing(g, n);
  with_floating(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    using W = Wide<T>;
    W low = static_cast<W>(from), width = static_cast<W>(to) - low;
    T end = static_cast<T>(static_cast<W>(to)), begin = static_cast<T>(low);
    for (int64_t i = 0; i < n; ++i) {
      T value = static_cast<T>(std::fma(uniform<W>(g), width, low));  // rounded once, as in PyTorch
      out[i] = value == end ? begin : value;  // rounding may reach the end, which does not belong to the range
    }
  });
}

void fill_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std, bool was_contiguous) {
  if (n < kNormalBlock || !was_contiguous) {
    fill_each(g, p, n, dtype, [&] { return std::fma(next_normal(g), std, mean); });
    return;
  }
  Drawing drawing(g, n);
  with_floating(dtype,
                [&]<class T>(std::type_identity<T>) { fill_normal_blocks(g, static_cast<T*>(p), n, mean, std); });
}

void fill_log_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std) {
  fill_each(g, p, n, dtype, [&] { return std::exp(std::fma(next_normal(g), std, mean)); });
}

void fill_exponential(Generator& g, void* p, int64_t n, DType dtype, double lambda) {
  fill_each(g, p, n, dtype, [&] { return -1.0 / lambda * std::log1p(-uniform<double>(g)); });
}

void fill_geometric(Generator& g, void* p, int64_t n, DType dtype, double p_success) {
  fill_each(g, p, n, dtype, [&] { return std::ceil(std::log(uniform<double>(g)) / std::log1p(-p_success)); });
}

void fill_cauchy(Generator& g, void* p, int64_t n, DType dtype, double median, double sigma) {
  fill_each(g, p, n, dtype,
            [&] { return std::fma(sigma, std::tan(std::numbers::pi * (uniform<double>(g) - 0.5)), median); });
}

// --- choices
// ----------------------------------------------------------------------------------------------------------

void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, double probability) {
  fill_each(g, p, n, dtype, [&] { return static_cast<int>(uniform<double>(g) < probability); });
}

void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, const void* probabilities, DType probability_dtype) {
  with_floating(probability_dtype, [&]<class P>(std::type_identity<P>) {
    const P* probability = static_cast<const P*>(probabilities);
    fill_each(g, p, n, dtype,
              [&] { return static_cast<int>(uniform<Wide<P>>(g) < static_cast<Wide<P>>(*probability++)); });
  });
}

void fill_random(Generator& g, void* p, int64_t n, DType dtype) {
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    for (int64_t i = 0; i < n; ++i) out[i] = whole_range<T>(g);
  });
}

void fill_random_from_to(Generator& g, void* p, int64_t n, DType dtype, uint64_t range, int64_t base) {
  constexpr uint64_t kWideRange = uint64_t{1} << 28;  // from here on 32 bits would favour some numbers too much
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    for (int64_t i = 0; i < n; ++i) {
      uint64_t bits = range >= kWideRange ? g.random64() : g.random();
      out[i] = static_cast<T>(static_cast<int64_t>(bits % range + static_cast<uint64_t>(base)));
    }
  });
}

void fill_random_64(Generator& g, void* p, int64_t n, DType dtype) {
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(static_cast<int64_t>(g.random64()));
  });
}

void fill_randperm(Generator& g, void* p, int64_t n, DType dtype) {
  constexpr int64_t kLong = UINT32_MAX / 20;  // from here on 32 bits would favour some positions
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    if (n < kLong) {
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(i);
      for (int64_t i = 0; i < n - 1; ++i) {
        std::swap(out[i], out[i + static_cast<int64_t>(g.random() % static_cast<uint64_t>(n - i))]);
      }
      return;
    }
    for (int64_t i = 0; i < n; ++i) {  // the shuffle that starts from nothing
      int64_t j = static_cast<int64_t>(g.random64() % static_cast<uint64_t>(i + 1));
      out[i] = out[j];
      out[j] = static_cast<T>(i);
    }
  });
}

void fill_multinomial(Generator& g, int64_t* p, int64_t rows, int64_t samples, const void* weights, int64_t categories,
                      DType weights_dtype) {
  Drawing drawing(g, rows * (samples + categories));
  with_floating(weights_dtype, [&]<class T>(std::type_identity<T>) {
    std::vector<Wide<T>> cumulative(static_cast<size_t>(categories));
    for (int64_t row = 0; row < rows; ++row) {
      const T* weight = static_cast<const T*>(weights) + row * categories;
      Wide<T> sum = 0;
      for (int64_t c = 0; c < categories; ++c)
        cumulative[static_cast<size_t>(c)] = sum += static_cast<Wide<T>>(weight[c]);
      for (auto& c : cumulative) c /= sum;
      for (int64_t s = 0; s < samples; ++s) {
        double u = uniform<double>(g);
        auto at =
            std::lower_bound(cumulative.begin(), cumulative.end() - 1, u, [](Wide<T> c, double x) { return c < x; });
        p[row * samples + s] = at - cumulative.begin();
      }
    }
  });
}

}  // namespace fl
