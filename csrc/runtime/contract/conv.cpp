#include "runtime/contract/conv.h"

#include <cstring>
#include <list>

#include "runtime/contract/conv_images.h"
#include "runtime/contract/conv_plain.h"
#include "runtime/contract/conv_planes.h"
#include "runtime/contract/conv_split.h"
#include "runtime/contract/conv_taps.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Rows of weights that are reordered together.
constexpr int64_t kReorderedRows = 16;

TapConv forward_taps(const Conv& conv) {
  TapConv taps;
  taps.batch = conv.batch;
  taps.groups = conv.groups;
  taps.channels = conv.in_channels / conv.groups;
  taps.outputs = conv.out_channels / conv.groups;
  taps.slices = conv.size[0];
  taps.height = conv.size[1];
  taps.width = conv.size[2];
  taps.stride_z = conv.stride[0];
  taps.stride_y = conv.stride[1];
  taps.stride_x = conv.stride[2];
  taps.grid_slices = taps.out_slices = conv.output[0];
  taps.grid_height = taps.out_height = conv.output[1];
  taps.grid_width = taps.out_width = conv.output[2];
  auto position = [&](int axis, int64_t k) { return k * conv.dilation[axis] - conv.padding[axis]; };
  for (int64_t z = 0; z < conv.kernel[0]; z++) {
    for (int64_t y = 0; y < conv.kernel[1]; y++) {
      for (int64_t x = 0; x < conv.kernel[2]; x++) {
        taps.taps.push_back({position(0, z), position(1, y), position(2, x)});
      }
    }
  }
  taps.weights_row = taps.depth() * static_cast<int64_t>(dtype_size(conv.dtype));
  return taps;
}

// Kernel positions in one direction that reach inputs at phase (position % stride), and where they read the gradient:
// in rising order, which the cache's prefetching likes better.
struct Reach {
  int64_t kernel, tap;
};
std::vector<Reach> phase_reach(const Conv& conv, int axis, int64_t phase) {
  std::vector<Reach> result;
  for (int64_t k = conv.kernel[axis] - 1; k >= 0; k--) {
    int64_t distance = phase + conv.padding[axis] - k * conv.dilation[axis];
    if (distance % conv.stride[axis] == 0) result.push_back({k, distance / conv.stride[axis]});
  }
  return result;
}

// Weights of one phase, [groups * channels][outputs * taps]: what the gradient is convolved with.
template <class T>
void reorder_weights(const Conv& conv, const T* w, const std::vector<int64_t>& positions, T* out) {
  int64_t channels = conv.in_channels / conv.groups, outputs = conv.out_channels / conv.groups;
  int64_t kernel = conv.kernel[0] * conv.kernel[1] * conv.kernel[2], taps = static_cast<int64_t>(positions.size());
  // A few rows at a time, outputs outside: both sides then stay in the cache.
  int64_t blocks = ceil_div(channels, kReorderedRows);
  parallel_for(conv.groups * blocks, [&](int64_t chunk) {
    int64_t group = chunk / blocks, begin = chunk % blocks * kReorderedRows;
    int64_t end = std::min(begin + kReorderedRows, channels);
    for (int64_t o = 0; o < outputs; o++) {
      for (int64_t c = begin; c < end; c++) {
        const T* from = w + ((group * outputs + o) * channels + c) * kernel;
        T* to = out + ((group * channels + c) * outputs + o) * taps;
        for (int64_t position : positions) *to++ = from[position];
      }
    }
  });
}

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

// The part of the gradient of the input that lies at one phase of the stride: a convolution of its own.
struct InputPhase {
  TapConv taps;
  std::optional<Scratch> weights;
};

void make_phase(const Conv& conv, TapPosition at, const void* dy, const void* w, const void* bias, void* dx,
                std::list<InputPhase>& phases) {
  std::vector<int64_t> positions;
  std::vector<TapPosition> reached;
  for (Reach z : phase_reach(conv, 0, at.z)) {
    for (Reach y : phase_reach(conv, 1, at.y)) {
      for (Reach x : phase_reach(conv, 2, at.x)) {
        reached.push_back({z.tap, y.tap, x.tap});
        positions.push_back((z.kernel * conv.kernel[1] + y.kernel) * conv.kernel[2] + x.kernel);
      }
    }
  }
  if (positions.empty()) return;
  InputPhase& phase = phases.emplace_back();
  TapConv& taps = phase.taps;
  taps.taps = reached;
  taps.batch = conv.batch;
  taps.groups = conv.groups;
  taps.channels = conv.out_channels / conv.groups;
  taps.outputs = conv.in_channels / conv.groups;
  taps.slices = conv.output[0];
  taps.height = conv.output[1];
  taps.width = conv.output[2];
  taps.out_slices = conv.size[0];
  taps.out_height = conv.size[1];
  taps.out_width = conv.size[2];
  taps.first_z = at.z;
  taps.first_y = at.y;
  taps.first_x = at.x;
  taps.step_z = conv.stride[0];
  taps.step_y = conv.stride[1];
  taps.step_x = conv.stride[2];
  taps.grid_slices = ceil_div(conv.size[0] - at.z, conv.stride[0]);
  taps.grid_height = ceil_div(conv.size[1] - at.y, conv.stride[1]);
  taps.grid_width = ceil_div(conv.size[2] - at.x, conv.stride[2]);
  taps.weights_row = taps.depth() * static_cast<int64_t>(dtype_size(conv.dtype));
  phase.weights.emplace(static_cast<size_t>(conv.in_channels * taps.weights_row));
  if (conv.dtype == DType::F32) {
    reorder_weights(conv, static_cast<const float*>(w), positions, phase.weights->as<float>());
  } else {
    reorder_weights(conv, static_cast<const double*>(w), positions, phase.weights->as<double>());
  }
  taps.x = static_cast<const char*>(dy);
  taps.weights = phase.weights->as();
  taps.bias = static_cast<const char*>(bias);
  taps.y = static_cast<char*>(dx);
}

void run_phases(const MicroKernels& mk, const std::list<InputPhase>& phases) {
  std::vector<const TapConv*> planes, others;
  for (const InputPhase& phase : phases) { (planes_suit(mk, phase.taps) ? planes : others).push_back(&phase.taps); }
  if (!planes.empty()) planes_forward(mk, planes);
  if (others.size() > 1) return run_interleaved(mk, others);
  for (const TapConv* taps : others) run_taps(mk, *taps);
}

int64_t phase_count(const Conv& conv, int axis) { return std::min(conv.stride[axis], conv.size[axis]); }

bool every_phase_reached(const Conv& conv) {
  for (int axis = 0; axis < 3; axis++) {
    for (int64_t phase = 0; phase < phase_count(conv, axis); phase++) {
      if (phase_reach(conv, axis, phase).empty()) return false;
    }
  }
  return true;
}

}  // namespace

void conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act) {
  const MicroKernels* mk = micro_kernels(conv.dtype);
  if (!mk || conv.in_channels == 0) return plain_conv_forward(conv, x, w, bias, y, act);
  TapConv taps = forward_taps(conv);
  if (taps.batch * taps.groups * taps.outputs * taps.volume() == 0) return;
  taps.x = static_cast<const char*>(x);
  taps.weights = static_cast<const char*>(w);
  taps.bias = static_cast<const char*>(bias);
  taps.y = static_cast<char*>(y);
  taps.act = act;
  if (int64_t images = images_as_lanes(*mk, conv)) {
    images_forward(*mk, conv, images, taps.x, taps.weights, taps.bias, taps.y, act);
    taps.batch -= images;
    taps.x += images * conv.in_channels * conv.size[1] * conv.size[2] * mk->element_bytes;
    taps.y += images * conv.out_channels * conv.output[1] * conv.output[2] * mk->element_bytes;
  }
  if (taps.batch == 0) return;
  if (planes_suit(*mk, taps)) return planes_forward(*mk, {&taps});
  run_taps(*mk, taps);
}

void conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  const MicroKernels* mk = micro_kernels(conv.dtype);
  bool empty = conv.out_channels == 0 || conv.output[0] * conv.output[1] * conv.output[2] == 0;
  if (!mk || empty) return plain_conv_backward_input(conv, dy, w, bias, dx);
  if (conv.batch * conv.in_channels * conv.size[0] * conv.size[1] * conv.size[2] == 0) return;
  Conv rest = conv;
  const char* from = static_cast<const char*>(dy);
  char* to = static_cast<char*>(dx);
  if (int64_t images = images_as_lanes(*mk, conv)) {
    images_backward_input(*mk, conv, images, from, static_cast<const char*>(w), static_cast<const char*>(bias), to);
    rest.batch -= images;
    from += images * conv.out_channels * conv.output[1] * conv.output[2] * mk->element_bytes;
    to += images * conv.in_channels * conv.size[1] * conv.size[2] * mk->element_bytes;
  }
  if (rest.batch == 0) return;
  if (!every_phase_reached(rest)) fill_planes(rest, bias, to);
  std::list<InputPhase> phases;
  for (int64_t z = 0; z < phase_count(conv, 0); z++) {
    for (int64_t y = 0; y < phase_count(conv, 1); y++) {
      for (int64_t x = 0; x < phase_count(conv, 2); x++) make_phase(rest, {z, y, x}, from, w, bias, to, phases);
    }
  }
  run_phases(*mk, phases);
}

void conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  const MicroKernels* mk = micro_kernels(conv.dtype);
  int64_t pixels = conv.batch * conv.output[0] * conv.output[1] * conv.output[2];
  if (!mk || pixels == 0) return plain_conv_backward_weight(conv, x, dy, dw);
  if (conv.in_channels * conv.out_channels == 0) return;
  if (weights_from_images(*mk, conv)) {
    return images_backward_weight(*mk, conv, static_cast<const char*>(x), static_cast<const char*>(dy),
                                  static_cast<char*>(dw));
  }
  TapConv taps = forward_taps(conv);
  taps.x = static_cast<const char*>(x);
  if (planes_suit_weights(*mk, taps)) {
    return planes_weight_gradient(*mk, taps, static_cast<const char*>(dy), static_cast<char*>(dw));
  }
  run_weight_gradient(*mk, taps, static_cast<const char*>(dy), static_cast<char*>(dw));
}

}  // namespace fl
