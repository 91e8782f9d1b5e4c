// A convolution as the sum over taps: output (z, y, x) reads input (z * stride_z + tap.z, y * stride_y + tap.y, ...).
// The forward convolution is one of these; the gradient of the input is one for each phase of the stride.
#pragma once
#include <cstdint>
#include <vector>

#include "runtime/contract/tiles.h"

namespace fl {

struct TapPosition {
  int64_t z, y, x;
  int64_t phase = 0;  // which volume of the channel
};

struct TapConv {
  int64_t batch, groups, channels, outputs;  // channels and outputs of one group
  int64_t slices, height, width;             // of the input
  int64_t phases = 1;                        // volumes of a channel: more where strides have been dealt out (Split)
  int64_t stride_z = 1, stride_y = 1, stride_x = 1;
  int64_t grid_slices, grid_height, grid_width;  // outputs that are computed
  std::vector<TapPosition> taps;
  const char* x;
  const char* weights;  // [groups * outputs][channels * taps]
  int64_t weights_row;  // bytes between rows of weights
  char* y;
  // Where output (k, i, j) of the grid lies in y.
  int64_t out_slices, out_height, out_width;
  int64_t first_z = 0, first_y = 0, first_x = 0, step_z = 1, step_y = 1, step_x = 1;
  const char* bias = nullptr;  // groups * outputs
  Activation act = Activation::None;

  int64_t tap_count() const { return static_cast<int64_t>(taps.size()); }
  int64_t depth() const { return channels * tap_count(); }
  int64_t pixels() const { return grid_height * grid_width; }  // of a slice
  int64_t volume() const { return grid_slices * pixels(); }
  int64_t in_volume() const { return phases * slices * height * width; }
  // Slices of outputs, each of them an image: number i is slice i % grid_slices of image i / grid_slices of the batch.
  int64_t images() const { return batch * grid_slices; }
  int64_t work() const { return batch * groups * outputs * depth() * volume(); }  // multiply-adds
  // What tap slice `tap_z` reads of a channel for image i, or null outside the input.
  const char* input_plane(int64_t i, int64_t group, int64_t channel, int64_t tap_z, int64_t element) const {
    int64_t z = i % grid_slices * stride_z + tap_z;
    if (z < 0 || z >= slices) return nullptr;
    int64_t volume = (i / grid_slices * groups + group) * channels + channel;
    return x + (volume * slices + z) * height * width * element;
  }
  char* output_plane(int64_t i, int64_t group, int64_t output, int64_t element) const {
    int64_t volume = (i / grid_slices * groups + group) * outputs + output;
    int64_t slice = volume * out_slices + first_z + i % grid_slices * step_z;
    return y + slice * out_height * out_width * element;
  }
  bool dense_planes() const { return out_height == grid_height && out_width == grid_width; }
  bool dense_output() const { return dense_planes() && out_slices == grid_slices; }
  // Output pixels and input pixels correspond one to one, a tap being a constant distance in memory.
  bool direct() const {
    bool flat = slices == 1 && grid_slices == 1;
    return stride_z == 1 && stride_y == 1 && stride_x == 1 && grid_width == width && (flat || grid_height == height);
  }
};

// Position of a tap, less the multiple of the stride that is not above it.
constexpr int64_t phase_of(int64_t position, int64_t stride) { return (position % stride + stride) % stride; }

// Whether one convolution computes the even, the other the odd columns of the same rows.
inline bool alternate(const TapConv& even, const TapConv& odd) {
  return even.step_x == 2 && even.first_x == 0 && odd.first_x == 1 && even.first_y == odd.first_y &&
         even.first_z == odd.first_z;
}

// Short rows: calling memcpy or memset would take longer than the work. Sizes are multiples of 4 bytes.
inline void copy_row(const char* from, int64_t bytes, char* to) {
  if (bytes > 256) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
  } else if (bytes >= 16) {
    for (int64_t i = 0; i + 16 < bytes; i += 16) std::memcpy(to + i, from + i, 16);
    std::memcpy(to + bytes - 16, from + bytes - 16, 16);
  } else {
    for (int64_t i = 0; i < bytes; i += 4) std::memcpy(to + i, from + i, 4);
  }
}
inline void clear_row(char* to, int64_t bytes) {
  if (bytes > 256) {
    std::memset(to, 0, static_cast<size_t>(bytes));
  } else if (bytes >= 16) {
    for (int64_t i = 0; i + 16 < bytes; i += 16) std::memset(to + i, 0, 16);
    std::memset(to + bytes - 16, 0, 16);
  } else {
    for (int64_t i = 0; i < bytes; i += 4) std::memset(to + i, 0, 4);
  }
}

// n elements that are `stride` apart, of which no more is read; the shuffle works on four at a time.
template <class T>
void copy_strided(const char* from, int64_t stride, int64_t n, char* to) {
  int64_t i = 0;
  if constexpr (sizeof(T) == 4) {
    if (stride == 2) {
      using Four [[gnu::vector_size(16)]] = float;
      for (; i + 4 <= n; i += 4) {
        Four low, high;
        std::memcpy(&low, from + 8 * i, sizeof(low));
        std::memcpy(&high, from + 8 * i + 12, sizeof(high));
        Four even = __builtin_shufflevector(low, high, 0, 2, 5, 7);
        std::memcpy(to + 4 * i, &even, sizeof(even));
      }
    }
  }
  const T* source = reinterpret_cast<const T*>(from);
  T* out = reinterpret_cast<T*>(to);
  for (; i < n; i++) out[i] = source[i * stride];
}

// n elements written `stride` apart.
template <class T>
void spread_apart(const char* from, int64_t stride, int64_t n, char* to) {
  const T* source = reinterpret_cast<const T*>(from);
  T* out = reinterpret_cast<T*>(to);
  for (int64_t i = 0; i < n; i++) out[i * stride] = source[i];
}

// Channels of a block of depth, so that a panel of them stays in the cache.
int64_t block_channels(int64_t channels, int64_t taps, int64_t element);

// Pixels between an output and what tap t of a direct convolution reads for it.
inline int64_t tap_distance(const TapConv& conv, int64_t t) {
  auto [z, y, x, phase] = conv.taps[static_cast<size_t>(t)];
  return ((phase * conv.slices + z) * conv.height + y) * conv.width + x;
}

// Which output pixels' tap t lies inside the input of a direct convolution: calls run(pixels, true) for whole rows
// some pixels of which do, then run(pixels, false) for those of their pixels that do not.
template <class F>
void for_valid_pixels(const TapConv& conv, int64_t t, F&& run) {
  auto [dz, dy, dx, phase] = conv.taps[static_cast<size_t>(t)];
  int64_t width = conv.width, top = std::max<int64_t>(0, -dy), bottom = std::min(conv.grid_height, conv.height - dy);
  int64_t front = std::max<int64_t>(0, -dz), back = std::min(conv.grid_slices, conv.slices - dz);
  if (std::abs(dx) >= width || top >= bottom) return;
  Range outside = dx < 0 ? Range{0, -dx} : Range{width - dx, width};
  for (int64_t z = front; z < back; z++) {
    int64_t first = z * conv.pixels();
    run(Range{first + top * width, first + bottom * width}, true);
    if (dx == 0) continue;
    for (int64_t y = top; y < bottom; y++) {
      run(Range{first + y * width + outside.begin, first + y * width + outside.end}, false);
    }
  }
}

// Sets or clears pixels in masks of lanes, which stand `step` apart.
inline void mark_pixels(uint16_t* masks, int64_t step, int64_t lanes, Range pixels, bool on) {
  for (int64_t count, at = pixels.begin; at < pixels.end; at += count) {
    int64_t lane = at % lanes;
    count = std::min(lanes - lane, pixels.end - at);
    auto bits = static_cast<uint16_t>(lane_mask(count) << lane);
    uint16_t& mask = masks[at / lanes * step];
    mask = static_cast<uint16_t>(on ? mask | bits : mask & ~bits);
  }
}

// Copies of input planes shifted by the taps' columns, without strides and with zeros for the padding, so that every
// tap is an offset: planes [channel][shift][slice of the taps and phase of the row], rows of `images * grid_width`
// pixels, image beside image.
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
    int64_t slice, remainder, first;  // tap.z; tap.y = stride * quotient + remainder; the lowest quotient
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

// The same with channels as lanes: for many channels and images of some size.
bool columns_suit(const MicroKernels& mk, const TapConv& conv);
void columns_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw);

}  // namespace fl
