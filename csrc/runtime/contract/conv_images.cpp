#include "runtime/contract/conv_images.h"

#include <vector>

#include "runtime/contract/conv_taps.h"
#include "runtime/contract/tiles.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Pixels of an image up to which this way pays.
constexpr int64_t kMostPixels = 400;
// Depth of a kernel row from which it pays: less is lost in calls.
constexpr int64_t kLeastDepth = 24;
constexpr int64_t kWholeDepth = 800, kBlockDepth = 512;
// Chunks that a convolution is cut into, at least, and bytes of results that one keeps in the cache.
constexpr int64_t kChunks = 24, kResultBytes = 1 << 19;
// Channels whose pixels, and outputs whose weights, are rearranged together.
constexpr int64_t kChunkChannels = 8, kOutputBlock = 16, kWeightVectors = 4;

// Taps along one axis that reach one output position: position in the reordered kernel, input coordinate. Both rise.
struct AxisTap {
  int64_t position, input;
};
using AxisTaps = std::vector<std::vector<AxisTap>>;

// A run of taps along x: neighbours in the kernel that read neighbouring pixels make one deep product.
struct Run {
  int64_t position, input, count;
};

// A forward convolution or the gradient of its input, whichever: channels in, channels out, taps of every output pixel.
struct Problem {
  int64_t groups, channels, outputs;  // of one group
  int64_t in_height, in_width, out_height, out_width, kernel_height, kernel_width;
  AxisTaps rows, columns;
  const char* x;
  const char* bias;
  char* y;
  Activation act;
  int64_t in_pixels() const { return in_height * in_width; }
  int64_t out_pixels() const { return out_height * out_width; }
  int64_t row_depth() const { return kernel_width * channels; }
};

AxisTaps forward_axis(const Conv& c, int axis) {
  AxisTaps taps(static_cast<size_t>(c.output[axis]));
  for (int64_t out = 0; out < c.output[axis]; out++) {
    for (int64_t k = 0; k < c.kernel[axis]; k++) {
      int64_t in = out * c.stride[axis] + k * c.dilation[axis] - c.padding[axis];
      if (in >= 0 && in < c.size[axis]) taps[static_cast<size_t>(out)].push_back({k, in});
    }
  }
  return taps;
}

// The kernel is reversed, so that positions and inputs rise together.
AxisTaps backward_axis(const Conv& c, int axis) {
  AxisTaps taps(static_cast<size_t>(c.size[axis]));
  for (int64_t out = 0; out < c.size[axis]; out++) {
    for (int64_t k = c.kernel[axis] - 1; k >= 0; k--) {
      int64_t distance = out + c.padding[axis] - k * c.dilation[axis];
      if (distance < 0 || distance % c.stride[axis] != 0) continue;
      int64_t in = distance / c.stride[axis];
      if (in < c.output[axis]) taps[static_cast<size_t>(out)].push_back({c.kernel[axis] - 1 - k, in});
    }
  }
  return taps;
}

std::vector<Run> runs_of(const std::vector<AxisTap>& taps) {
  std::vector<Run> runs;
  for (const AxisTap& tap : taps) {
    if (!runs.empty()) {
      Run& last = runs.back();
      if (tap.position == last.position + last.count && tap.input == last.input + last.count) {
        last.count++;
        continue;
      }
    }
    runs.push_back({tap.position, tap.input, 1});
  }
  return runs;
}

// Where the weights of (group, output, channel, kernel row, kernel column) stand, in elements; the last two as the
// problem counts them.
struct WeightStrides {
  int64_t group, output, channel, row, column, first;
};

class ImagesRun {
 public:
  ImagesRun(const MicroKernels& mk, const Problem& problem, int64_t images);
  void load_weights(const char* w, const WeightStrides& strides);
  void run();

 private:
  // As many images as one panel has lanes.
  struct Images {
    int64_t first;
    int vectors;
    int64_t panel;  // bytes of one channel of one pixel
    char* pixels;   // [group][pixel][channel][image]
  };
  // Results of some rows and outputs, for one group of channels: [pixel][output][image].
  struct Chunk {
    const Images& images;
    int64_t group;
    Range rows, outputs;
    char* results;
  };
  void load_pixels(const Images& images, Range channels) const;
  void run_chunk(Chunk chunk) const;
  void run_row(const Chunk& chunk, int64_t y, char* results) const;
  void store_pixels(const Chunk& chunk) const;
  char* panel_at(const Images& images, int64_t group, int64_t pixel, int64_t channel) const {
    return images.pixels + ((group * padded_pixels_ + pixel) * p_.channels + channel) * images.panel;
  }
  int64_t all_channels() const { return p_.groups * p_.channels; }
  int64_t all_outputs() const { return p_.groups * p_.outputs; }

  const MicroKernels& mk_;
  const Problem& p_;
  int64_t weights_row_;  // elements between rows of weights: [kernel row][group, output][kernel column, channel]
  int64_t padded_pixels_;
  std::vector<std::vector<Run>> runs_;
  std::vector<Images> images_;
  Scratch weights_, pixels_;
};

// Rows that are a multiple of 2 kB apart would share few sets of the cache.
int64_t unaliased(int64_t elements, int64_t element) {
  return elements * element % 2048 == 0 ? elements + 16 : elements;
}

ImagesRun::ImagesRun(const MicroKernels& mk, const Problem& problem, int64_t images)
    : mk_(mk),
      p_(problem),
      weights_row_(unaliased(problem.row_depth(), mk.element_bytes)),
      padded_pixels_(round_up(problem.in_pixels(), mk.lanes)),
      weights_(static_cast<size_t>(p_.kernel_height * all_outputs() * weights_row_ * mk.element_bytes)),
      pixels_(static_cast<size_t>(images * all_channels() * padded_pixels_ * mk.element_bytes)) {
  for (const auto& taps : p_.columns) runs_.push_back(runs_of(taps));
  char* pixels = pixels_.as();
  for (int64_t first = 0; first < images; first += images_.back().vectors * mk.lanes) {
    int vectors = static_cast<int>(std::min<int64_t>((images - first) / mk.lanes, 2));
    images_.push_back({first, vectors, vectors * mk.vector_bytes, pixels});
    pixels += all_channels() * padded_pixels_ * images_.back().panel;
  }
}

// Blocks of [channel][kernel position], channels being lanes, are transposed on their way, those that lie together one
// after the other.
void ImagesRun::load_weights(const char* w, const WeightStrides& strides) {
  int64_t element = mk_.element_bytes, lanes = mk_.lanes, kernel = p_.kernel_height * p_.kernel_width;
  int64_t blocks = p_.groups * ceil_div(p_.outputs, kOutputBlock), groups = ceil_div(kernel, lanes);
  int64_t padded = round_up(p_.channels, lanes), together = std::min(padded, kWeightVectors * lanes);
  std::vector<int64_t> from(static_cast<size_t>(kernel)), to(static_cast<size_t>(kernel));
  for (int64_t k = 0; k < kernel; k++) {
    int64_t row = k / p_.kernel_width, column = k % p_.kernel_width;
    from[static_cast<size_t>(k)] = (strides.first + row * strides.row + column * strides.column) * together * element;
    to[static_cast<size_t>(k)] = (row * all_outputs() * weights_row_ + column * p_.channels) * element;
  }
  std::vector<uint16_t> masks(static_cast<size_t>(groups), lane_mask(lanes));
  masks.back() = lane_mask(kernel - (groups - 1) * lanes);
  std::vector<PackedRow> rows(static_cast<size_t>(padded));
  for (int64_t i = 0; i < padded; i++) {
    rows[static_cast<size_t>(i)] = {std::min(i, p_.channels - 1) * strides.channel * element, masks.data()};
  }
  parallel_for(blocks, [&](int64_t block) {
    int64_t group = block % p_.groups, begin = block / p_.groups * kOutputBlock;
    int64_t outputs = std::min(kOutputBlock, p_.outputs - begin), pieces = ceil_div(padded, together);
    auto bytes = static_cast<size_t>(groups * lanes * together * element);
    Workspace work(Workspace::padded(bytes));
    char* positions = work.take(bytes);  // [kernel position][channel]
    for (int64_t i = 0; i < outputs * pieces; i++) {
      bool channels_inside = strides.channel < strides.output;
      int64_t o = begin + (channels_inside ? i / pieces : i % outputs);
      int64_t channel = (channels_inside ? i % pieces : i / outputs) * together;
      int64_t count = std::min(together, p_.channels - channel);
      const char* source = w + (group * strides.group + o * strides.output) * element;
      mk_.pack_columns(groups, source, &rows[static_cast<size_t>(channel)], positions, ceil_div(count, lanes),
                       together * element, 0);
      char* target = weights_.as() + ((group * p_.outputs + o) * weights_row_ + channel) * element;
      for (size_t k = 0; k < from.size(); k++) copy_row(positions + from[k], count * element, target + to[k]);
    }
  });
}

void ImagesRun::load_pixels(const Images& images, Range channels) const {
  int64_t element = mk_.element_bytes, pixels = p_.in_pixels(), lanes = mk_.lanes;
  uint16_t full = lane_mask(lanes), tail = lane_mask(pixels - (ceil_div(pixels, lanes) - 1) * lanes);
  PackedRow rows[kMaxVectors * 16], last_rows[kMaxVectors * 16];
  for (int64_t i = 0; i < images.vectors * lanes; i++) {
    rows[i] = {i * all_channels() * pixels * element, &full};
    last_rows[i] = {rows[i].offset, &tail};
  }
  for (int64_t pixel = 0; pixel < pixels; pixel += lanes) {
    const PackedRow* table = pixel + lanes < pixels ? rows : last_rows;
    for (int64_t c = channels.begin; c < channels.end; c++) {
      const char* source = p_.x + ((images.first * all_channels() + c) * pixels + pixel) * element;
      char* out = panel_at(images, c / p_.channels, pixel, c % p_.channels);
      mk_.pack_columns(1, source, table, out, images.vectors, p_.channels * images.panel, 0);
    }
  }
}

// One row of outputs: rows of the kernel outside, so that a block of weights serves all pixels of the row.
void ImagesRun::run_row(const Chunk& chunk, int64_t y, char* results) const {
  int64_t element = mk_.element_bytes, panel = chunk.images.panel, outputs = chunk.outputs.size();
  int64_t depth = p_.row_depth(), blocks = depth <= kWholeDepth ? 1 : ceil_div(depth, kBlockDepth);
  int64_t first_output = chunk.group * p_.outputs + chunk.outputs.begin;
  Tiles tiles(outputs, mk_.max_height[chunk.images.vectors]);
  std::vector<uint8_t> started(runs_.size(), 0);
  MicroArgs args{};
  args.c_row = panel;
  args.mask = lane_mask(mk_.lanes);
  for (const AxisTap& tap : p_.rows[static_cast<size_t>(y)]) {
    const char* weights = weights_.as() + (tap.position * all_outputs() + first_output) * weights_row_ * element;
    for (int64_t b = 0; b < blocks; b++) {
      Range block = even_part(depth, blocks, b);
      for (size_t x = 0; x < runs_.size(); x++) {
        for (const Run& run : runs_[x]) {
          int64_t origin = run.position * p_.channels;
          Range k{std::max(block.begin, origin), std::min(block.end, origin + run.count * p_.channels)};
          if (k.size() <= 0) continue;
          args.k = k.size();
          args.panel = panel_at(chunk.images, chunk.group, tap.input * p_.in_width + run.input, k.begin - origin);
          args.c = results + static_cast<int64_t>(x) * outputs * panel;
          args.flags = started[x] * kAccumulate;
          if (!started[x] && p_.bias) args.flags = kRowBias;
          args.row_bias = p_.bias ? p_.bias + first_output * element : nullptr;
          sweep(mk_, chunk.images.vectors, args, {weights + k.begin * element, weights_row_ * element, element}, tiles,
                false);
          started[x] = 1;
        }
      }
    }
  }
  for (size_t x = 0; x < runs_.size(); x++) {
    if (started[x]) continue;
    char* pixel = results + static_cast<int64_t>(x) * outputs * panel;
    for (int64_t i = 0; i < outputs * panel; i += element) {
      if (p_.bias) {
        std::memcpy(pixel + i, p_.bias + (first_output + i / panel) * element, static_cast<size_t>(element));
      } else {
        std::memset(pixel + i, 0, static_cast<size_t>(element));
      }
    }
  }
}

void ImagesRun::store_pixels(const Chunk& chunk) const {
  int64_t element = mk_.element_bytes, lanes = mk_.lanes, outputs = chunk.outputs.size();
  int64_t pixels = chunk.rows.size() * p_.out_width, whole = pixels / lanes;
  const uint16_t full[kMaxVectors] = {lane_mask(lanes), lane_mask(lanes), lane_mask(lanes)};
  std::vector<PackedRow> rows(static_cast<size_t>(round_up(pixels, lanes)));
  for (size_t i = 0; i < rows.size(); i++) {
    rows[i] = {std::min(static_cast<int64_t>(i), pixels - 1) * outputs * chunk.images.panel, full};
  }
  int64_t image = all_outputs() * p_.out_pixels() * element, groups = chunk.images.vectors;
  for (int64_t o = 0; o < outputs; o++) {
    const char* source = chunk.results + o * chunk.images.panel;
    int64_t output = chunk.group * p_.outputs + chunk.outputs.begin + o;
    char* out =
        p_.y + chunk.images.first * image + (output * p_.out_pixels() + chunk.rows.begin * p_.out_width) * element;
    if (whole) mk_.pack_columns(groups, source, rows.data(), out, whole, image, 0);
    if (whole * lanes == pixels) continue;
    mk_.scatter_columns(groups, source, rows.data() + whole * lanes, out + whole * mk_.vector_bytes, 1, image,
                        lane_mask(pixels - whole * lanes));
  }
}

template <class T>
void relu(T* values, int64_t n) {
  for (int64_t i = 0; i < n; i++) values[i] = values[i] <= T(0) ? T(0) : values[i];  // keeps nan
}

void ImagesRun::run_chunk(Chunk chunk) const {
  int64_t row_bytes = p_.out_width * chunk.outputs.size() * chunk.images.panel, rows = chunk.rows.size();
  if (rows * row_bytes == 0) return;
  Workspace work(static_cast<size_t>(rows * row_bytes));
  chunk.results = work.take(static_cast<size_t>(rows * row_bytes));
  for (int64_t r = 0; r < rows; r++) run_row(chunk, chunk.rows.begin + r, chunk.results + r * row_bytes);
  if (p_.act == Activation::Relu) {
    int64_t n = rows * row_bytes / mk_.element_bytes;
    if (mk_.element_bytes == 4) {
      relu(reinterpret_cast<float*>(chunk.results), n);
    } else {
      relu(reinterpret_cast<double*>(chunk.results), n);
    }
  }
  store_pixels(chunk);
}

void ImagesRun::run() {
  auto parts = static_cast<int64_t>(images_.size());
  int64_t channel_blocks = ceil_div(all_channels(), kChunkChannels);
  parallel_for(parts * channel_blocks, [&](int64_t i) {
    Range channels{i / parts * kChunkChannels, std::min((i / parts + 1) * kChunkChannels, all_channels())};
    load_pixels(images_[static_cast<size_t>(i % parts)], channels);
  });
  int64_t row_bytes = p_.out_width * p_.outputs * images_[0].panel;
  int64_t rows = std::max(kResultBytes / row_bytes, ceil_div(mk_.lanes, p_.out_width));
  int64_t bands = ceil_div(p_.out_height, rows), units = parts * p_.groups * bands;
  int64_t blocks = std::clamp<int64_t>(ceil_div(kChunks, units), 1, ceil_div(p_.outputs, 2 * kMaxHeight));
  parallel_for(units * blocks, [&](int64_t i) {
    int64_t unit = i % units, rest = unit / parts;
    run_chunk({images_[static_cast<size_t>(unit % parts)], rest % p_.groups,
               even_part(p_.out_height, bands, rest / p_.groups), even_part(p_.outputs, blocks, i / units), nullptr});
  });
}

void run_problem(const MicroKernels& mk, const Problem& problem, int64_t images, const char* w,
                 const WeightStrides& strides) {
  ImagesRun run(mk, problem, images);
  run.load_weights(w, strides);
  run.run();
}

}  // namespace

int64_t images_as_lanes(const MicroKernels& mk, const Conv& conv) {
  int64_t in = conv.size[1] * conv.size[2], out = conv.output[1] * conv.output[2];
  int64_t channels = std::min(conv.in_channels, conv.out_channels) / conv.groups;
  if (!conv.flat()) return 0;
  bool point = conv.kernel[1] * conv.kernel[2] == 1;  // nothing to skip, and with strides most pixels are not used
  if (point || in > 4 * kMostPixels || out > kMostPixels || conv.kernel[2] * channels < kLeastDepth) return 0;
  return conv.batch / mk.lanes * mk.lanes;
}

void images_forward(const MicroKernels& mk, const Conv& conv, int64_t images, const char* x, const char* w,
                    const char* bias, char* y, Activation act) {
  int64_t kernel = conv.kernel[1] * conv.kernel[2];
  Problem p{.groups = conv.groups,
            .channels = conv.in_channels / conv.groups,
            .outputs = conv.out_channels / conv.groups,
            .in_height = conv.size[1],
            .in_width = conv.size[2],
            .out_height = conv.output[1],
            .out_width = conv.output[2],
            .kernel_height = conv.kernel[1],
            .kernel_width = conv.kernel[2],
            .rows = forward_axis(conv, 1),
            .columns = forward_axis(conv, 2),
            .x = x,
            .bias = bias,
            .y = y,
            .act = act};
  run_problem(mk, p, images, w,
              {.group = p.outputs * p.channels * kernel,
               .output = p.channels * kernel,
               .channel = kernel,
               .row = p.kernel_width,
               .column = 1,
               .first = 0});
}

void images_backward_input(const MicroKernels& mk, const Conv& conv, int64_t images, const char* dy, const char* w,
                           const char* bias, char* dx) {
  int64_t kernel = conv.kernel[1] * conv.kernel[2];
  Problem p{.groups = conv.groups,
            .channels = conv.out_channels / conv.groups,
            .outputs = conv.in_channels / conv.groups,
            .in_height = conv.output[1],
            .in_width = conv.output[2],
            .out_height = conv.size[1],
            .out_width = conv.size[2],
            .kernel_height = conv.kernel[1],
            .kernel_width = conv.kernel[2],
            .rows = backward_axis(conv, 1),
            .columns = backward_axis(conv, 2),
            .x = dy,
            .bias = bias,
            .y = dx,
            .act = Activation::None};
  run_problem(mk, p, images, w,
              {.group = p.outputs * p.channels * kernel,
               .output = kernel,
               .channel = p.outputs * kernel,
               .row = -p.kernel_width,
               .column = -1,
               .first = kernel - 1});
}

}  // namespace fl
