#include "runtime/contract/conv_phases.h"

#include "runtime/pool.h"

namespace fl {
namespace {

// Rows of weights that are reordered together.
constexpr int64_t kReorderedRows = 16;

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
  int64_t rows = conv.in_channels;
  parallel_for(ceil_div(rows, kReorderedRows), [&](int64_t block) {
    int64_t begin = block * kReorderedRows, count = std::min(kReorderedRows, rows - begin);
    const T* from[kReorderedRows];
    for (int64_t i = 0; i < count; i++) {
      int64_t group = (begin + i) / channels, c = (begin + i) % channels;
      from[i] = w + (group * outputs * channels + c) * kernel;
    }
    for (int64_t o = 0; o < outputs; o++) {
      for (int64_t i = 0; i < count; i++) {
        T* to = out + ((begin + i) * outputs + o) * taps;
        for (int64_t position : positions) *to++ = from[i][o * channels * kernel + position];
      }
    }
  });
}

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
  if (!w) return;
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

int64_t phase_count(const Conv& conv, int axis) { return std::min(conv.stride[axis], conv.size[axis]); }

}  // namespace

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

TapConv forward_taps(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  TapConv taps = forward_taps(conv);
  taps.x = static_cast<const char*>(x);
  taps.weights = static_cast<const char*>(w);
  taps.bias = static_cast<const char*>(bias);
  taps.y = static_cast<char*>(y);
  return taps;
}

std::vector<const TapConv*> taps_of(const std::list<InputPhase>& phases) {
  std::vector<const TapConv*> taps;
  for (const InputPhase& phase : phases) taps.push_back(&phase.taps);
  return taps;
}

bool every_phase_reached(const Conv& conv) {
  for (int axis = 0; axis < 3; axis++) {
    for (int64_t phase = 0; phase < phase_count(conv, axis); phase++) {
      if (phase_reach(conv, axis, phase).empty()) return false;
    }
  }
  return true;
}

std::list<InputPhase> input_phases(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  std::list<InputPhase> phases;
  for (int64_t z = 0; z < phase_count(conv, 0); z++) {
    for (int64_t y = 0; y < phase_count(conv, 1); y++) {
      for (int64_t x = 0; x < phase_count(conv, 2); x++) make_phase(conv, {z, y, x}, dy, w, bias, dx, phases);
    }
  }
  return phases;
}

}  // namespace fl
