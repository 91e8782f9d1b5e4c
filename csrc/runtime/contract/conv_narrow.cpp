#include "runtime/contract/conv_narrow.h"

#include "runtime/contract/conv_channels.h"
#include "runtime/contract/conv_layout.h"
#include "runtime/contract/conv_patches.h"
#include "runtime/contract/conv_phases.h"
#include "runtime/contract/conv_pixels.h"
#include "runtime/contract/conv_planes.h"
#include "runtime/contract/plain.h"
#include "runtime/contract/tiles.h"

namespace fl {
namespace {

// Elements that are converted or paired together.
constexpr int64_t kBlock = 1 << 14;

int64_t product(const int64_t* sizes) { return sizes[0] * sizes[1] * sizes[2]; }

// Elements of the operands of a convolution.
struct Sizes {
  int64_t in, out, kernel;  // of a channel
  int64_t x, y, w;
  explicit Sizes(const Conv& c)
      : in(product(c.size)),
        out(product(c.output)),
        kernel(product(c.kernel)),
        x(c.batch * c.in_channels * in),
        y(c.batch * c.out_channels * out),
        w(c.out_channels * (c.in_channels / c.groups) * kernel) {}
};

template <class F>
void for_blocks(int64_t n, F&& run) {
  const int64_t blocks = ceil_div(n, kBlock);
  parallel_for(blocks, [&](int64_t b) { run(even_part(n, blocks, b)); });
}

// A 16-bit operand in float32, or a float32 result to be rounded into it once.
class Wide {
 public:
  Wide(DType dtype, const void* data, int64_t n) : Wide(dtype, data ? n : 0) {
    auto* in = static_cast<const uint16_t*>(data);
    for_blocks(n_, [&](Range r) {
      if (kernels_) {
        return kernels_->widen(1, r.size(), reinterpret_cast<const char*>(in + r.begin), 0, at(r.begin), 0);
      }
      for (int64_t i = r.begin; i < r.end; i++) values()[i] = widened(in[i]);
    });
  }
  Wide(DType dtype, int64_t n)
      : dtype_(dtype), n_(n), kernels_(narrow_kernels(dtype)), memory_(static_cast<size_t>(n) * sizeof(float)) {}
  float* values() const { return n_ ? memory_.as<float>() : nullptr; }
  void round_into(void* data) const {
    auto* to = static_cast<uint16_t*>(data);
    for_blocks(n_, [&](Range r) {
      if (kernels_) return kernels_->narrow(1, r.size(), at(r.begin), 0, reinterpret_cast<char*>(to + r.begin), 0);
      for (int64_t i = r.begin; i < r.end; i++) to[i] = rounded(values()[i]);
    });
  }

 private:
  char* at(int64_t i) const { return reinterpret_cast<char*>(values() + i); }
  float widened(uint16_t bits) const {
    return dtype_ == DType::BF16 ? std::bit_cast<float>(static_cast<uint32_t>(bits) << 16) : half_bits_to_float(bits);
  }
  uint16_t rounded(float x) const { return dtype_ == DType::BF16 ? float_to_bfloat16_bits(x) : float_to_half_bits(x); }

  DType dtype_;
  int64_t n_;
  const NarrowKernels* kernels_;
  Scratch memory_;
};

// Two rows of 16-bit elements as one row of pairs; without a second row its elements are 0.
void pair_rows(const uint16_t* first, const uint16_t* second, int64_t n, uint16_t* out) {
  using Eight [[gnu::vector_size(16)]] = uint16_t;
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    Eight a, b = {};
    std::memcpy(&a, first + i, sizeof(a));
    if (second) std::memcpy(&b, second + i, sizeof(b));
    const Eight low = __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
    const Eight high = __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
    std::memcpy(out + 2 * i, &low, sizeof(low));
    std::memcpy(out + 2 * i + 8, &high, sizeof(high));
  }
  for (; i < n; i++) {
    out[2 * i] = first[i];
    out[2 * i + 1] = second ? second[i] : uint16_t{0};
  }
}

// An operand [groups][rows][n] as [groups][pairs of rows][n].
class Paired {
 public:
  Paired(const void* data, int64_t groups, int64_t rows, int64_t n)
      : memory_(static_cast<size_t>(groups * ceil_div(rows, 2) * n) * 4) {
    const auto* in = static_cast<const uint16_t*>(data);
    auto* out = memory_.as<uint16_t>();
    const int64_t pairs = ceil_div(rows, 2), parts = ceil_div(n, kBlock), count = groups * pairs * parts;
    const int64_t chunks = std::clamp<int64_t>(groups * pairs * n / kBlock, 1, std::max<int64_t>(count, 1));
    parallel_for(chunks, [&](int64_t chunk) {
      const Range mine = even_part(count, chunks, chunk);
      for (int64_t i = mine.begin; i < mine.end; i++) {
        const int64_t pair = i / parts, row = pair / pairs * rows + pair % pairs * 2;
        const Range r = even_part(n, parts, i % parts);
        const uint16_t* first = in + row * n + r.begin;
        pair_rows(first, pair % pairs * 2 + 1 < rows ? first + n : nullptr, r.size(), out + 2 * (pair * n + r.begin));
      }
    });
  }
  const void* data() const { return memory_.as(); }

 private:
  Scratch memory_;
};

Conv in_float32(const Conv& conv) {
  Conv wide = conv;
  wide.dtype = DType::F32;
  return wide;
}

// Where the machine multiplies pairs of bfloat16, what is summed over is paired in memory: neighbouring channels of the
// input for the outputs, neighbouring outputs for the gradient of the input, neighbouring images for that of the
// weights. To all drivers a pair is an element of 32 bits, of half as many channels or images. Elsewhere, and where
// there is nothing to multiply, operands are widened to float32: null.
const MicroKernels* pairing_kernels(const Conv& conv) {
  const Sizes n(conv);
  return n.x * n.y * n.w == 0 ? nullptr : paired_kernels(conv.dtype);
}

// Whether groups of so many channels can be paired.
bool pairs_up(const Conv& conv, int64_t channels) { return conv.groups == 1 || channels % 2 == 0; }

// Whether float32 computes products of rows instead of sums over taps, so that the drivers of those are not for it.
bool is_product(const Conv& conv) { return whole_suits(conv) || patches_suit(conv) || few_patches(conv); }

// Rows of patches are copied by units of four bytes.
bool narrow_patches_suit(const Conv& conv) { return patches_suit(conv) && conv.kernel[2] % 2 == 0; }

// Elements of an operand, of the weights (or the second operand), the bias and the result.
struct Counts {
  int64_t x, w, bias, y;
};
Counts forward_counts(const Conv& conv, const Sizes& n) { return {n.x, n.w, conv.out_channels, n.y}; }
Counts input_counts(const Conv& conv, const Sizes& n) { return {n.y, n.w, conv.in_channels, n.x}; }

// run(conv, x, w, bias, y) in float32.
template <class F>
void widened(const Conv& conv, const Counts& n, const void* x, const void* w, const void* bias, void* y, F&& run) {
  const Wide wx(conv.dtype, x, n.x), ww(conv.dtype, w, n.w), wb(conv.dtype, bias, n.bias), out(conv.dtype, n.y);
  run(in_float32(conv), wx.values(), ww.values(), wb.values(), out.values());
  out.round_into(y);
}

// The same convolution over pairs: of channels of the input or, turned, of the output.
Conv over_pairs(const Conv& conv, bool turned) {
  Conv half = in_float32(conv);
  int64_t& channels = turned ? half.out_channels : half.in_channels;
  channels = conv.groups * ceil_div(channels / conv.groups, 2);
  return half;
}

// Weights over pairs of channels or, turned, of outputs.
Paired paired_weights(const Conv& conv, const void* w, bool turned) {
  const int64_t channels = conv.in_channels / conv.groups, kernel = product(conv.kernel);
  if (turned) return {w, conv.groups, conv.out_channels / conv.groups, channels * kernel};
  return {w, conv.out_channels, channels, kernel};
}

Gemm images_product(const Conv& conv, int64_t m, int64_t k, int64_t n) {
  return {.m = m, .n = n, .k = k, .b_row = n, .b_col = 1, .c_row = n, .dtype = conv.dtype};
}

}  // namespace

void narrow_conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act) {
  const Sizes n(conv);
  const MicroKernels* pairs = pairing_kernels(conv);
  const int64_t channels = conv.in_channels / conv.groups;
  const MicroKernels* mk = pairs ? micro_kernels(DType::F32) : nullptr;
  if (mk && whole_suits(conv))
    return whole_forward(conv, static_cast<const char*>(x), w, bias, static_cast<char*>(y), act);
  if (mk && narrow_patches_suit(conv))
    return patches_forward(conv, static_cast<const char*>(x), w, bias, static_cast<char*>(y), act);
  if (mk && is_pointwise(conv)) {
    Gemm g = images_product(conv, conv.out_channels, conv.in_channels, n.out);
    g.a = w, g.a_row = conv.in_channels, g.a_col = 1, g.b = x, g.c = y, g.row_bias = bias, g.act = act;
    return gemm_batched(g, {.sizes = {conv.batch}, .a = {0}, .b = {conv.in_channels * n.in}});
  }
  if (!mk || !pairs_up(conv, channels) || is_product(conv) || planes_suit(*mk, forward_taps(in_float32(conv))))
    return widened(conv, forward_counts(conv, n), x, w, bias, y,
                   [&](auto... operands) { conv_forward(operands..., act); });
  const Wide wide_bias(conv.dtype, bias, conv.out_channels), out(conv.dtype, n.y);
  const Paired px(x, conv.batch * conv.groups, channels, n.in), pw = paired_weights(conv, w, false);
  conv_forward(*pairs, over_pairs(conv, false), px.data(), pw.data(), wide_bias.values(), out.values(), act);
  out.round_into(y);
}

void narrow_conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  const Sizes n(conv);
  const MicroKernels* pairs = pairing_kernels(conv);
  const int64_t outputs = conv.out_channels / conv.groups;
  const MicroKernels* mk = pairs ? micro_kernels(DType::F32) : nullptr;
  if (mk && is_pointwise(conv)) {
    Gemm g = images_product(conv, conv.in_channels, conv.out_channels, n.out);
    g.a = w, g.a_row = 1, g.a_col = conv.in_channels, g.b = dy, g.c = dx, g.row_bias = bias;
    return gemm_batched(g, {.sizes = {conv.batch}, .a = {0}, .b = {conv.out_channels * n.out}});
  }
  if (!mk || !pairs_up(conv, outputs) || is_product(conv) || planes_suit(*mk, forward_taps(in_float32(conv))))
    return widened(conv, input_counts(conv, n), dy, w, bias, dx,
                   [](auto... operands) { conv_backward_input(operands...); });
  const Wide wide_bias(conv.dtype, bias, conv.in_channels), out(conv.dtype, n.x);
  const Paired py(dy, conv.batch * conv.groups, outputs, n.out), pw = paired_weights(conv, w, true);
  conv_backward_input(*pairs, over_pairs(conv, true), py.data(), pw.data(), wide_bias.values(), out.values());
  out.round_into(dx);
}

void narrow_conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  const Sizes n(conv);
  const MicroKernels* pairs = pairing_kernels(conv);
  Conv wide = in_float32(conv);
  const MicroKernels* mk = pairs ? micro_kernels(DType::F32) : nullptr;
  if (mk && whole_suits(conv))
    return whole_backward_weight(conv, static_cast<const char*>(x), static_cast<const char*>(dy), dw);
  const Wide out(conv.dtype, n.w);
  if (mk && conv.batch > 1 && !is_product(conv) && !planes_suit_weights(*mk, forward_taps(wide))) {
    const Paired px(x, 1, conv.batch, n.x / conv.batch), py(dy, 1, conv.batch, n.y / conv.batch);
    wide.batch = ceil_div(conv.batch, 2);
    conv_backward_weight(*pairs, wide, px.data(), py.data(), out.values());
  } else {
    const Wide wx(conv.dtype, x, n.x), wy(conv.dtype, dy, n.y);
    conv_backward_weight(wide, wx.values(), wy.values(), out.values());
  }
  out.round_into(dw);
}

bool narrow_pixels_suit(const Conv& conv, bool turned) {
  const int64_t summed = (turned ? conv.out_channels : conv.in_channels) / conv.groups;
  const MicroKernels* pairs = summed % 2 != 0 ? nullptr : pairing_kernels(conv);
  return pairs && micro_kernels(DType::F32) && pixels_suit(*pairs, over_pairs(conv, turned), turned, true);
}

// Neighbouring channels are pairs as they lie.
void narrow_pixels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  const Conv half = over_pairs(conv, false);
  const Wide wide_bias(conv.dtype, bias, conv.out_channels), out(conv.dtype, Sizes(conv).y);
  const Paired pw = paired_weights(conv, w, false);
  TapConv taps = forward_taps(half, x, pw.data(), wide_bias.values(), out.values());
  run_pixels(*pairing_kernels(conv), {&taps}, true);
  out.round_into(y);
}

void narrow_pixels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  const Conv half = over_pairs(conv, true);
  const Wide wide_bias(conv.dtype, bias, conv.in_channels), out(conv.dtype, Sizes(conv).x);
  const Paired pw = paired_weights(conv, w, true);
  const std::list<InputPhase> phases = input_phases(half, dy, pw.data(), wide_bias.values(), out.values());
  run_pixels(*pairing_kernels(conv), taps_of(phases), true);
  out.round_into(dx);
}

bool narrow_channels_suit(const Conv& conv) { return channels_suit(in_float32(conv)); }

void narrow_channels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  widened(conv, forward_counts(conv, Sizes(conv)), x, w, bias, y, channels_forward);
}

void narrow_channels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  widened(conv, input_counts(conv, Sizes(conv)), dy, w, bias, dx, channels_backward_input);
}

void narrow_channels_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  const Sizes n(conv);
  widened(conv, {n.x, n.y, 0, n.w}, x, dy, nullptr, dw,
          [](const Conv& wide, const float* wx, const float* wy, const float*, float* out) {
            channels_backward_weight(wide, wx, wy, out);
          });
}

}  // namespace fl
