#include "runtime/contract/conv.h"

#include <cstring>

#include "runtime/contract/conv_images.h"
#include "runtime/contract/conv_narrow.h"
#include "runtime/contract/conv_patches.h"
#include "runtime/contract/conv_phases.h"
#include "runtime/contract/conv_pixels.h"
#include "runtime/contract/conv_plain.h"
#include "runtime/contract/conv_planes.h"
#include "runtime/contract/conv_split.h"

namespace fl {
namespace {

// Planes that no tap reaches hold zeros, or the bias.
void fill_planes(const Conv& conv, const void* bias, char* out) {
  int64_t element = static_cast<int64_t>(dtype_size(conv.dtype)), plane = conv.size[0] * conv.size[1] * conv.size[2];
  for (int64_t i = 0; i < conv.batch * conv.in_channels; i++) {
    char* to = out + i * plane * element;
    std::memset(to, 0, static_cast<size_t>(plane * element));
    if (!bias) continue;
    const char* value = static_cast<const char*>(bias) + i % conv.in_channels * element;
    for (int64_t p = 0; p < plane; p++) std::memcpy(to + p * element, value, static_cast<size_t>(element));
  }
}

// Whether a convolution in patches reads every pixel.
bool covered(const Conv& conv) {
  for (int d = 0; d < 3; d++)
    if (conv.output[d] * conv.kernel[d] != conv.size[d]) return false;
  return true;
}

void run_phases(const MicroKernels& mk, const std::list<InputPhase>& phases, bool pixels) {
  if (pixels) return run_pixels(mk, taps_of(phases));
  std::vector<const TapConv*> planes, others;
  for (const InputPhase& phase : phases) { (planes_suit(mk, phase.taps) ? planes : others).push_back(&phase.taps); }
  if (!planes.empty()) planes_forward(mk, planes);
  if (others.size() > 1) return run_interleaved(mk, others);
  for (const TapConv* taps : others) run_taps(mk, *taps);
}

}  // namespace

void conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act) {
  if (is_narrow(conv.dtype)) return narrow_conv_forward(conv, x, w, bias, y, act);
  const MicroKernels* mk = micro_kernels(conv.dtype);
  if (!mk || conv.in_channels == 0) return plain_conv_forward(conv, x, w, bias, y, act);
  if (whole_suits(conv)) return whole_forward(conv, static_cast<const char*>(x), w, bias, static_cast<char*>(y), act);
  if (patches_suit(conv))
    return patches_forward(conv, static_cast<const char*>(x), w, bias, static_cast<char*>(y), act);
  conv_forward(*mk, conv, x, w, bias, y, act);
}

void conv_forward(const MicroKernels& mk, const Conv& conv, const void* x, const void* w, const void* bias, void* y,
                  Activation act) {
  TapConv taps = forward_taps(conv, x, w, bias, y);
  if (taps.batch * taps.groups * taps.outputs * taps.volume() == 0) return;
  taps.act = act;
  if (pixels_suit(mk, conv, false)) return run_pixels(mk, {&taps});
  if (int64_t images = images_as_lanes(mk, conv)) {
    images_forward(mk, conv, images, taps.x, taps.weights, taps.bias, taps.y, act);
    taps.batch -= images;
    taps.x += images * conv.in_channels * conv.size[1] * conv.size[2] * mk.element_bytes;
    taps.y += images * conv.out_channels * conv.output[1] * conv.output[2] * mk.element_bytes;
  }
  if (taps.batch == 0) return;
  if (planes_suit(mk, taps)) return planes_forward(mk, {&taps});
  run_taps(mk, taps);
}

void conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  if (is_narrow(conv.dtype)) return narrow_conv_backward_input(conv, dy, w, bias, dx);
  const MicroKernels* mk = micro_kernels(conv.dtype);
  bool empty = conv.out_channels == 0 || conv.output[0] * conv.output[1] * conv.output[2] == 0;
  if (!mk || empty) return plain_conv_backward_input(conv, dy, w, bias, dx);
  if (conv.batch * conv.in_channels * conv.size[0] * conv.size[1] * conv.size[2] == 0) return;
  if (whole_suits(conv))
    return whole_backward_input(conv, static_cast<const char*>(dy), w, bias, static_cast<char*>(dx));
  if (patches_suit(conv)) {
    if (!covered(conv)) fill_planes(conv, bias, static_cast<char*>(dx));
    return patches_backward_input(conv, static_cast<const char*>(dy), w, bias, static_cast<char*>(dx));
  }
  if (few_patches(conv) && !images_as_lanes(*mk, conv) && !pixels_suit(*mk, conv, true))
    return few_patches_backward_input(conv, static_cast<const char*>(dy), w, bias, static_cast<char*>(dx));
  conv_backward_input(*mk, conv, dy, w, bias, dx);
}

void conv_backward_input(const MicroKernels& mk, const Conv& conv, const void* dy, const void* w, const void* bias,
                         void* dx) {
  Conv rest = conv;
  const char* from = static_cast<const char*>(dy);
  char* to = static_cast<char*>(dx);
  bool pixels = pixels_suit(mk, conv, true);
  if (int64_t images = pixels ? 0 : images_as_lanes(mk, conv)) {
    images_backward_input(mk, conv, images, from, static_cast<const char*>(w), static_cast<const char*>(bias), to);
    rest.batch -= images;
    from += images * conv.out_channels * conv.output[1] * conv.output[2] * mk.element_bytes;
    to += images * conv.in_channels * conv.size[1] * conv.size[2] * mk.element_bytes;
  }
  if (rest.batch == 0) return;
  if (!every_phase_reached(rest)) fill_planes(rest, bias, to);
  run_phases(mk, input_phases(rest, from, w, bias, to), pixels);
}

void conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  if (is_narrow(conv.dtype)) return narrow_conv_backward_weight(conv, x, dy, dw);
  const MicroKernels* mk = micro_kernels(conv.dtype);
  int64_t pixels = conv.batch * conv.output[0] * conv.output[1] * conv.output[2];
  if (!mk || pixels == 0) return plain_conv_backward_weight(conv, x, dy, dw);
  if (conv.in_channels * conv.out_channels == 0) return;
  if (whole_suits(conv))
    return whole_backward_weight(conv, static_cast<const char*>(x), static_cast<const char*>(dy), dw);
  if (patches_suit(conv))
    return patches_backward_weight(conv, static_cast<const char*>(x), static_cast<const char*>(dy), dw);
  conv_backward_weight(*mk, conv, x, dy, dw);
}

void conv_backward_weight(const MicroKernels& mk, const Conv& conv, const void* x, const void* dy, void* dw) {
  if (weights_from_images(mk, conv)) {
    return images_backward_weight(mk, conv, static_cast<const char*>(x), static_cast<const char*>(dy),
                                  static_cast<char*>(dw));
  }
  TapConv taps = forward_taps(conv);
  taps.x = static_cast<const char*>(x);
  if (planes_suit_weights(mk, taps)) {
    return planes_weight_gradient(mk, taps, static_cast<const char*>(dy), static_cast<char*>(dw));
  }
  run_weight_gradient(mk, taps, static_cast<const char*>(dy), static_cast<char*>(dw));
}

}  // namespace fl
