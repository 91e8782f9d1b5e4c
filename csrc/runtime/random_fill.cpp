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
#include "runtime/drawing.h"
#include "runtime/pool.h"
#include "runtime/random.h"

namespace fl {

namespace {

constexpr int64_t kBlockChunk = 8192;  // elements of one chunk of the parallel part of normal_
// Words drawn at a time, words of a chunk, and elements that are converted at a time.
constexpr int64_t kManyWords = 1 << 17, kChunkWords = 1 << 14, kBlock = 256;

// Calls make(words, first, count) for stretches of n elements, each of which takes `each` words of the generator, on
// several threads where there is much to do. The words come in the elements' order: while those of one piece are used,
// a thread draws the next.
template <class F>
void for_words(Generator& g, int64_t n, int64_t each, F&& make, int64_t step = 0) {
  if (step == 0) step = std::max<int64_t>(kChunkWords / each, 1);
  const int64_t piece = std::min(n, std::max(kManyWords / each, step));  // elements at a time
  const auto bytes = static_cast<size_t>(piece * each) * sizeof(uint32_t);
  Scratch memory(bytes), more(piece < n ? bytes : 0);
  auto *words = memory.as<uint32_t>(), *following = more.as<uint32_t>();
  g.draw_raw(words, piece * each);
  for (int64_t begin = 0; begin < n; begin += piece) {
    const int64_t count = std::min(piece, n - begin), left = std::min(piece, n - begin - count);
    const int64_t draws = left > 0;
    parallel_for((count + step - 1) / step + draws, [&](int64_t chunk) {
      if (chunk < draws) return g.draw_raw(following, left * each);
      const int64_t first = (chunk - draws) * step, m = std::min(step, count - first);
      temper(words + first * each, m * each);
      make(words + first * each, begin + first, m);
    });
    std::swap(words, following);
  }
}

// The type in which the numbers of T are computed.
template <class T>
using Wide = std::conditional_t<std::is_same_v<T, double>, double, float>;

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

// out[i] = draw(words of element i), of `each` words an element.
template <class F>
void fill_each(Generator& g, void* p, int64_t n, DType dtype, int64_t each, F&& draw) {
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    for_words(g, n, each, [&](const uint32_t* words, int64_t first, int64_t count) {
      T* out = static_cast<T*>(p) + first;
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(draw(words + i * each));
    });
  });
}

// Normal numbers one after the other, as no number of words is known beforehand.
template <class F>
void fill_in_order(Generator& g, void* p, int64_t n, DType dtype, F&& draw) {
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
  for_words(g, n, kUniformWords<W>, [&](const uint32_t* words, int64_t first, int64_t count) {
    uniform_numbers(words, count, W(0), W(1), p + first);
  });
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

template <class T>
constexpr int64_t kIntegerWords = (std::is_integral_v<T> && sizeof(T) == 8) || std::is_same_v<T, double> ? 2 : 1;

// random_(): what the bits give for the whole range of T. Floating-point types get the integers they hold exactly.
template <class T>
T whole_range(const uint32_t* words) {
  uint64_t bits = kIntegerWords<T> == 2 ? pair(words) : words[0];
  if constexpr (std::is_same_v<T, bool>) {
    return bits & 1;
  } else if constexpr (std::is_integral_v<T>) {
    uint64_t top = static_cast<uint64_t>(std::numeric_limits<T>::max());
    return static_cast<T>(top == UINT64_MAX ? bits : bits % (top + 1));
  } else {
    return static_cast<T>(static_cast<double>(bits % ((uint64_t{1} << kDigits<T>)+1)));
  }
}

// The first of n ascending numbers that is not below x, or n. Without branches, as nobody foresees where x falls.
template <class W>
int64_t first_from(const W* numbers, int64_t n, double x) {
  int64_t at = 0;
  while (n > 0) {
    const int64_t half = (n + 1) / 2;
    at += static_cast<double>(numbers[at + half - 1]) < x ? half : 0;
    n -= half;
  }
  return at;
}

// Exchanges each element with one of those from it on.
template <class T>
void shuffle(Generator& g, T* out, int64_t n) {
  constexpr int64_t kAhead = 16;  // places that memory is asked for before they are exchanged
  const int64_t most = std::min(n, kManyWords);
  Scratch memory(static_cast<size_t>(most) * sizeof(uint32_t));
  auto* distance = memory.as<uint32_t>();
  for (int64_t begin = 0; begin < n - 1; begin += most) {
    const int64_t count = std::min(most, n - 1 - begin), chunks = (count + kChunkWords - 1) / kChunkWords;
    g.draw_raw(distance, count);
    parallel_for(chunks, [&](int64_t chunk) {
      const int64_t first = chunk * kChunkWords, m = std::min(kChunkWords, count - first);
      temper(distance + first, m);
      remainders(distance + first, m, static_cast<uint32_t>(n - begin - first), 1);
    });
    T* at = out + begin;
    for (int64_t i = 0; i < count; ++i) {
      if (i + kAhead < count) __builtin_prefetch(at + i + kAhead + distance[i + kAhead], 1);
      std::swap(at[i], at[i + distance[i]]);
    }
  }
}

}  // namespace

// --- floating point
// ---------------------------------------------------------------------------------------------------

void fill_uniform(Generator& g, void* p, int64_t n, DType dtype, double from, double to) {
  Drawing drawing(g, n);
  with_floating(dtype, [&]<class T>(std::type_identity<T>) {
    using W = Wide<T>;
    W low = static_cast<W>(from), width = static_cast<W>(to) - low;
    T end = static_cast<T>(static_cast<W>(to)), begin = static_cast<T>(low);
    for_words(g, n, kUniformWords<W>, [&](const uint32_t* words, int64_t first, int64_t count) {
      T* out = static_cast<T*>(p) + first;
      for (W block[kBlock]; count > 0; words += kBlock * kUniformWords<W>, out += kBlock, count -= kBlock) {
        const int64_t m = std::min(count, kBlock);
        uniform_numbers(words, m, low, width, block);
        for (int64_t i = 0; i < m; ++i) {
          T value = static_cast<T>(block[i]);
          out[i] = value == end ? begin : value;  // rounding may reach the end, which does not belong to the range
        }
      }
    });
  });
}

void fill_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std, bool was_contiguous) {
  if (n < kNormalBlock || !was_contiguous) {
    fill_in_order(g, p, n, dtype, [&] { return std::fma(next_normal(g), std, mean); });
    return;
  }
  Drawing drawing(g, n);
  with_floating(dtype,
                [&]<class T>(std::type_identity<T>) { fill_normal_blocks(g, static_cast<T*>(p), n, mean, std); });
}

void fill_log_normal(Generator& g, void* p, int64_t n, DType dtype, double mean, double std) {
  fill_in_order(g, p, n, dtype, [&] { return std::exp(std::fma(next_normal(g), std, mean)); });
}

void fill_exponential(Generator& g, void* p, int64_t n, DType dtype, double lambda) {
  fill_each(g, p, n, dtype, 2, [&](const uint32_t* w) { return -1.0 / lambda * std::log1p(-uniform<double>(w)); });
}

void fill_geometric(Generator& g, void* p, int64_t n, DType dtype, double p_success) {
  fill_each(g, p, n, dtype, 2,
            [&](const uint32_t* w) { return std::ceil(std::log(uniform<double>(w)) / std::log1p(-p_success)); });
}

void fill_cauchy(Generator& g, void* p, int64_t n, DType dtype, double median, double sigma) {
  fill_each(g, p, n, dtype, 2, [&](const uint32_t* w) {
    return std::fma(sigma, std::tan(std::numbers::pi * (uniform<double>(w) - 0.5)), median);
  });
}

// --- choices
// ----------------------------------------------------------------------------------------------------------

void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, double probability) {
  // u < p for u of 53 bits: the bits, as an integer, are below p * 2^53.
  const auto limit = static_cast<uint64_t>(std::ceil(std::ldexp(probability, 53)));
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    for_words(g, n, 2, [&](const uint32_t* pairs, int64_t first, int64_t count) {
      T* out = static_cast<T*>(p) + first;
      if constexpr (sizeof(T) == 1) {
        pairs_below(pairs, count, limit, reinterpret_cast<uint8_t*>(out));
      } else {
        for (uint8_t block[kBlock]; count > 0; pairs += 2 * kBlock, out += kBlock, count -= kBlock) {
          const int64_t m = std::min(count, kBlock);
          pairs_below(pairs, m, limit, block);
          for (int64_t i = 0; i < m; ++i) out[i] = static_cast<T>(static_cast<int>(block[i]));
        }
      }
    });
  });
}

void fill_bernoulli(Generator& g, void* p, int64_t n, DType dtype, const void* probabilities, DType probability_dtype) {
  Drawing drawing(g, n);
  with_floating(probability_dtype, [&]<class P>(std::type_identity<P>) {
    using W = Wide<P>;
    with_real(dtype, [&]<class T>(std::type_identity<T>) {
      for_words(g, n, kUniformWords<W>, [&](const uint32_t* words, int64_t first, int64_t count) {
        const P* probability = static_cast<const P*>(probabilities) + first;
        T* out = static_cast<T*>(p) + first;
        for (int64_t i = 0; i < count; ++i) {
          bool below = uniform<W>(words + i * kUniformWords<W>) < static_cast<W>(probability[i]);
          out[i] = static_cast<T>(static_cast<int>(below));
        }
      });
    });
  });
}

void fill_random(Generator& g, void* p, int64_t n, DType dtype) {
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    for_words(g, n, kIntegerWords<T>, [&](const uint32_t* words, int64_t first, int64_t count) {
      T* out = static_cast<T*>(p) + first;
      for (int64_t i = 0; i < count; ++i) out[i] = whole_range<T>(words + i * kIntegerWords<T>);
    });
  });
}

void fill_random_from_to(Generator& g, void* p, int64_t n, DType dtype, uint64_t range, int64_t base) {
  constexpr uint64_t kWideRange = uint64_t{1} << 28;  // from here on 32 bits would favour some numbers too much
  if (range >= kWideRange) {
    fill_each(g, p, n, dtype, 2, [&](const uint32_t* words) {
      return static_cast<int64_t>(pair(words) % range + static_cast<uint64_t>(base));
    });
    return;
  }
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    for_words(g, n, 1, [&](uint32_t* words, int64_t first, int64_t count) {
      T* out = static_cast<T*>(p) + first;
      if (range == 1) {
        std::fill(words, words + count, 0);
      } else {
        remainders(words, count, static_cast<uint32_t>(range), 0);
      }
      for (int64_t i = 0; i < count; ++i) out[i] = static_cast<T>(static_cast<int64_t>(words[i]) + base);
    });
  });
}

void fill_random_64(Generator& g, void* p, int64_t n, DType dtype) {
  fill_each(g, p, n, dtype, 2, [&](const uint32_t* words) { return static_cast<int64_t>(pair(words)); });
}

void fill_randperm(Generator& g, void* p, int64_t n, DType dtype) {
  constexpr int64_t kLong = UINT32_MAX / 20;  // from here on 32 bits would favour some positions
  Drawing drawing(g, n);
  with_real(dtype, [&]<class T>(std::type_identity<T>) {
    T* out = static_cast<T*>(p);
    if (n < kLong) {
      for (int64_t i = 0; i < n; ++i) out[i] = static_cast<T>(i);
      shuffle(g, out, n);
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
  const int64_t step = std::max<int64_t>(kChunkWords / (2 * (samples + categories)), 1);
  with_floating(weights_dtype, [&]<class T>(std::type_identity<T>) {
    auto draw_row = [&](const uint32_t* pairs, int64_t row, std::vector<Wide<T>>& cumulative) {
      const T* weight = static_cast<const T*>(weights) + row * categories;
      Wide<T> sum = 0;
      for (int64_t c = 0; c < categories; ++c)
        cumulative[static_cast<size_t>(c)] = sum += static_cast<Wide<T>>(weight[c]);
      for (auto& c : cumulative) c /= sum;
      for (int64_t s = 0; s < samples; ++s) {
        p[row * samples + s] = first_from(cumulative.data(), categories - 1, uniform<double>(pairs + 2 * s));
      }
    };
    auto draw_rows = [&](const uint32_t* pairs, int64_t first, int64_t count) {
      std::vector<Wide<T>> cumulative(static_cast<size_t>(categories));
      for (int64_t i = 0; i < count; ++i) draw_row(pairs + 2 * i * samples, first + i, cumulative);
    };
    for_words(g, rows, 2 * samples, draw_rows, step);
  });
}

}  // namespace fl
