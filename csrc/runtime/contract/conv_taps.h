// A convolution as the sum over taps: output (y, x) reads input (y * stride_y + tap.y, x * stride_x + tap.x).
// The forward convolution is one of these; the gradient of the input is one for each phase of the stride.
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/contract/tiles.h"

namespace fl {

struct TapPosition {
  int64_t y, x;
};

struct TapConv {
  int64_t batch, groups, channels, outputs;  // channels and outputs of one group
  int64_t height, width;                     // of the input
  int64_t stride_y = 1, stride_x = 1;
  int64_t grid_height, grid_width;  // outputs that are computed
  std::vector<TapPosition> taps;
  const char* x;
  const char* weights;  // [groups * outputs][channels * taps]
  int64_t weights_row;  // bytes between rows of weights
  char* y;
  // Where output (i, j) of the grid lies in the planes of y.
  int64_t out_height, out_width, first_y = 0, first_x = 0, step_y = 1, step_x = 1;
  const char* bias = nullptr;  // groups * outputs
  Activation act = Activation::None;

  int64_t tap_count() const { return static_cast<int64_t>(taps.size()); }
  int64_t depth() const { return channels * tap_count(); }
  int64_t pixels() const { return grid_height * grid_width; }
  bool dense_output() const { return out_height == grid_height && out_width == grid_width; }
  // Output pixels and input pixels correspond one to one, a tap being a constant distance in memory.
  bool direct() const { return stride_y == 1 && stride_x == 1 && grid_width == width; }
};

// Channels of a block of depth, so that a panel of them stays in the cache.
int64_t block_channels(int64_t channels, int64_t taps, int64_t element);

// Pixels between an output and what tap t of a direct convolution reads for it.
inline int64_t tap_distance(const TapConv& conv, int64_t t) {
  auto [y, x] = conv.taps[static_cast<size_t>(t)];
  return y * conv.width + x;
}

// Calls run(begin, end) for the runs of output pixels whose tap t lies inside the input of a direct convolution.
template <class F>
void for_valid_pixels(const TapConv& conv, int64_t t, F&& run) {
  auto [dy, dx] = conv.taps[static_cast<size_t>(t)];
  int64_t width = conv.width, left = std::max<int64_t>(0, -dx), right = std::min(width, width - dx);
  int64_t top = std::max<int64_t>(0, -dy), bottom = std::min(conv.grid_height, conv.height - dy);
  if (left >= right || top >= bottom) return;
  if (right - left == width) return run(top * width, bottom * width);
  for (int64_t y = top; y < bottom; y++) run(y * width + left, y * width + right);
}

// Lane masks of a direct convolution: table[panel * taps + t] is tap t of a panel of `panel_width` pixels.
void fill_tap_table(const TapConv& conv, const MicroKernels& mk, int64_t panel_width, Tap* table);

// Copies of input planes shifted by the taps' columns, without strides and with zeros for the padding, so that every
// tap is an offset: planes [channel][shift][phase of the row], rows of `images * grid_width` pixels, image beside
// image.
class Expansion {
 public:
  // For bands of up to `band` rows of `images` images at a time.
  Expansion(const TapConv& conv, int64_t element, int64_t images, int64_t band);
  int64_t row_pixels() const { return images_ * conv_.grid_width; }
  int64_t channel_bytes() const { return planes_ * rows_ * row_pixels() * element_; }
  // With room for a panel that reads past the last row.
  int64_t bytes(int64_t channels, int64_t panel_bytes) const { return channels * channel_bytes() + panel_bytes; }
  int64_t tap_offset(int64_t tap) const { return offsets_[static_cast<size_t>(tap)]; }
  void fill(int64_t first_image, int64_t images, int64_t group, Range channels, Range rows, char* out) const;

 private:
  struct Phase {
    int64_t remainder, first;  // tap.y = stride * quotient + remainder; the lowest quotient
  };
  // A shift of columns, and the outputs for which it stays inside the input.
  struct Shift {
    int64_t x;
    Range inside;
  };
  Range outputs_inside(int64_t shift) const;
  void fill_plane(const char* plane, const Shift& shift, const Phase& phase, Range rows, char* out) const;

  const TapConv& conv_;
  int64_t element_, images_, rows_ = 0, planes_ = 0;
  std::vector<Shift> shifts_;
  std::vector<Phase> phases_;
  std::vector<int64_t> offsets_;
};

void run_taps(const MicroKernels& mk, const TapConv& conv);

// `conv` is the forward convolution; its weights and output are not looked at.
void run_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw);

}  // namespace fl
