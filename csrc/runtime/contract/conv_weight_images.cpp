#include <vector>

#include "runtime/contract/conv_images.h"
#include "runtime/contract/tiles.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Pixels of an image up to which this way pays: rearranging reads and writes all of both operands.
constexpr int64_t kMostPixels = 1000;
// Depth that a product over one row of pixels should have, and the least with which it pays.
constexpr int64_t kDepth = 512, kLeastDepth = 128;
constexpr int64_t kLeastOutputs = 16, kChunks = 24;
// Outputs of a chunk, at least.
constexpr int64_t kLeastRows = 8;

// Rows of pixels that one kernel row meets: of dy, and of x.
struct RowPair {
  int64_t out, in;
};

// The part of a row of pixels whose tap lies inside the input.
struct ColumnRun {
  int64_t out, in, count;
};

// Images that are rearranged together.
struct Block {
  int64_t first, count;
  char* x;   // [group][panel of channels][pixel][image][channel]
  char* dy;  // [group][output][pixel][image]
};

class WeightImagesRun {
 public:
  WeightImagesRun(const MicroKernels& mk, const Conv& conv, const char* x, const char* dy);
  template <class T>
  void run(T* dw);

 private:
  void load_input(const Block& block, int64_t group, int64_t panel, int64_t pixel) const;
  void load_gradient(const Block& block, int64_t output) const;
  void run_chunk(int64_t group, int64_t panel, int64_t kernel_row, Range outputs) const;
  int64_t in_pixels() const { return conv_.size[1] * conv_.size[2]; }
  int64_t out_pixels() const { return conv_.output[1] * conv_.output[2]; }
  int64_t padded(int64_t pixels) const { return round_up(pixels, mk_.lanes); }
  int64_t panel_bytes() const { return width_ * mk_.element_bytes; }
  // Bytes between outputs of a block; a multiple of 2 kB would crowd few sets of the cache.
  int64_t gradient_row(const Block& block) const {
    int64_t bytes = padded(out_pixels()) * block.count * mk_.element_bytes;
    return bytes % 2048 == 0 ? bytes + 64 : bytes;
  }
  // [group][panel][kernel row][kernel column][output][channel]
  char* sums_at(int64_t group, int64_t panel, int64_t tap, int64_t output) const {
    int64_t taps = conv_.kernel[1] * conv_.kernel[2];
    return sums_.as() + (((group * panels_ + panel) * taps + tap) * outputs_ + output) * panel_bytes();
  }

  const MicroKernels& mk_;
  const Conv& conv_;
  const char *x_, *dy_;
  int64_t channels_, outputs_;  // of a group
  int64_t vectors_, width_, panels_;
  std::vector<std::vector<RowPair>> rows_;  // by kernel row
  std::vector<ColumnRun> columns_;          // by kernel column
  std::vector<Block> blocks_;
  std::optional<Scratch> x_memory_, dy_memory_;
  Scratch sums_;
};

WeightImagesRun::WeightImagesRun(const MicroKernels& mk, const Conv& conv, const char* x, const char* dy)
    : mk_(mk),
      conv_(conv),
      x_(x),
      dy_(dy),
      channels_(conv.in_channels / conv.groups),
      outputs_(conv.out_channels / conv.groups),
      vectors_(best_vectors(mk, channels_)),
      width_(vectors_ * mk.lanes),
      panels_(ceil_div(channels_, width_)),
      sums_(static_cast<size_t>(conv.groups * panels_ * conv.kernel[1] * conv.kernel[2] * outputs_ * panel_bytes())) {
  rows_.resize(static_cast<size_t>(conv.kernel[1]));
  for (int64_t k = 0; k < conv.kernel[1]; k++) {
    for (int64_t out = 0; out < conv.output[1]; out++) {
      int64_t in = out * conv.stride[1] + k * conv.dilation[1] - conv.padding[1];
      if (in >= 0 && in < conv.size[1]) rows_[static_cast<size_t>(k)].push_back({out, in});
    }
  }
  for (int64_t k = 0; k < conv.kernel[2]; k++) {
    int64_t shift = k * conv.dilation[2] - conv.padding[2], first = std::max<int64_t>(0, -shift);
    int64_t end = std::min(conv.output[2], conv.size[2] - shift);
    columns_.push_back({first, first + shift, std::max<int64_t>(0, end - first)});
  }
  int64_t parts = ceil_div(conv.batch, std::min(conv.batch, ceil_div(kDepth, conv.output[2])));
  int64_t x_bytes = 0, dy_bytes = 0;
  for (int64_t i = 0; i < parts; i++) {
    Range images = even_part(conv.batch, parts, i);
    blocks_.push_back({images.begin, images.size(), nullptr, nullptr});
    x_bytes += conv.groups * panels_ * padded(in_pixels()) * images.size() * panel_bytes();
    dy_bytes += conv.out_channels * gradient_row(blocks_.back());
  }
  x_memory_.emplace(static_cast<size_t>(x_bytes));
  dy_memory_.emplace(static_cast<size_t>(dy_bytes));
  char *x_at = x_memory_->as(), *dy_at = dy_memory_->as();
  for (Block& block : blocks_) {
    block.x = x_at;
    block.dy = dy_at;
    x_at += conv.groups * panels_ * padded(in_pixels()) * block.count * panel_bytes();
    dy_at += conv.out_channels * gradient_row(block);
  }
}

// One vector of pixels, all images of the block, one panel of channels.
void WeightImagesRun::load_input(const Block& block, int64_t group, int64_t panel, int64_t pixel) const {
  int64_t element = mk_.element_bytes, plane = in_pixels() * element, first = panel * width_;
  uint16_t mask = lane_mask(std::min<int64_t>(mk_.lanes, in_pixels() - pixel));
  PackedRow rows[kMaxVectors * 16];
  for (int64_t j = 0; j < width_; j++) rows[j] = {std::min(j, channels_ - 1 - first) * plane, &mask};
  char* out = block.x + ((group * panels_ + panel) * padded(in_pixels()) + pixel) * block.count * panel_bytes();
  for (int64_t n = 0; n < block.count; n++) {
    int64_t channel = (block.first + n) * conv_.in_channels + group * channels_ + first;
    mk_.pack_columns(1, x_ + channel * plane + pixel * element, rows, out + n * panel_bytes(), vectors_,
                     block.count * panel_bytes(), 0);
  }
}

// All pixels and images of one output.
void WeightImagesRun::load_gradient(const Block& block, int64_t output) const {
  int64_t element = mk_.element_bytes, lanes = mk_.lanes, plane = out_pixels() * element;
  int64_t groups = ceil_div(out_pixels(), lanes), step = block.count * element;
  std::vector<uint16_t> masks(static_cast<size_t>(groups), lane_mask(lanes));
  masks.back() = lane_mask(out_pixels() - (groups - 1) * lanes);
  PackedRow rows[16];
  for (int64_t n = 0; n < block.count; n += lanes) {
    int64_t count = std::min<int64_t>(lanes, block.count - n);
    for (int64_t j = 0; j < lanes; j++) rows[j] = {std::min(j, count - 1) * conv_.out_channels * plane, masks.data()};
    const char* source = dy_ + ((block.first + n) * conv_.out_channels + output) * plane;
    char* out = block.dy + output * gradient_row(block) + n * element;
    auto* move = count == lanes ? mk_.pack_columns : mk_.scatter_columns;
    move(groups, source, rows, out, 1, step, lane_mask(count));
  }
}

// All taps of one kernel row, for some outputs and one panel of channels.
void WeightImagesRun::run_chunk(int64_t group, int64_t panel, int64_t kernel_row, Range outputs) const {
  int64_t element = mk_.element_bytes, taps = conv_.kernel[2];
  auto vectors = static_cast<int>(vectors_);
  Tiles tiles(outputs.size(), mk_.max_height[vectors]);
  std::vector<uint8_t> started(static_cast<size_t>(taps), 0);
  MicroArgs args{};
  args.c_row = panel_bytes();
  args.mask = lane_mask(mk_.lanes);
  for (const Block& block : blocks_) {
    int64_t pixel_bytes = block.count * panel_bytes(), row = gradient_row(block);
    const char* x = block.x + (group * panels_ + panel) * padded(in_pixels()) * pixel_bytes;
    const char* dy = block.dy + (group * outputs_ + outputs.begin) * row;
    for (RowPair pair : rows_[static_cast<size_t>(kernel_row)]) {
      for (int64_t k = 0; k < taps; k++) {
        ColumnRun run = columns_[static_cast<size_t>(k)];
        if (run.count == 0) continue;
        uint8_t& seen = started[static_cast<size_t>(k)];
        args.k = run.count * block.count;
        args.panel = const_cast<char*>(x) + (pair.in * conv_.size[2] + run.in) * pixel_bytes;
        args.c = sums_at(group, panel, kernel_row * taps + k, outputs.begin);
        args.flags = seen * kAccumulate;
        Left left{dy + (pair.out * conv_.output[2] + run.out) * block.count * element, row, element};
        sweep(mk_, vectors, args, left, tiles, false);
        seen = 1;
      }
    }
  }
  for (int64_t k = 0; k < taps; k++) {
    if (started[static_cast<size_t>(k)]) continue;
    std::memset(sums_at(group, panel, kernel_row * taps + k, outputs.begin), 0,
                static_cast<size_t>(outputs.size() * panel_bytes()));
  }
}

template <class T>
void WeightImagesRun::run(T* dw) {
  int64_t parts = static_cast<int64_t>(blocks_.size()), pixel_groups = padded(in_pixels()) / mk_.lanes;
  int64_t panels = conv_.groups * panels_, taps = conv_.kernel[1] * conv_.kernel[2];
  parallel_for(parts * panels * pixel_groups, [&](int64_t i) {
    int64_t rest = i / pixel_groups, panel = rest % panels;
    load_input(blocks_[static_cast<size_t>(rest / panels)], panel / panels_, panel % panels_,
               i % pixel_groups * mk_.lanes);
  });
  parallel_for(parts * conv_.out_channels,
               [&](int64_t i) { load_gradient(blocks_[static_cast<size_t>(i % parts)], i / parts); });
  int64_t units = panels * conv_.kernel[1];
  // Outputs go outside, in an even number of blocks: two threads begin with halves that they have rearranged
  // themselves.
  int64_t even = units < kChunks ? 2 * ceil_div(kChunks, 2 * units) : 1;
  int64_t blocks = std::min(even, ceil_div(outputs_, kLeastRows));
  parallel_for(units * blocks, [&](int64_t i) {
    int64_t unit = i % units, panel = unit / conv_.kernel[1];
    run_chunk(panel / panels_, panel % panels_, unit % conv_.kernel[1], even_part(outputs_, blocks, i / units));
  });
  parallel_for(conv_.out_channels, [&](int64_t output) {
    int64_t group = output / outputs_;
    T* to = dw + output * channels_ * taps;
    for (int64_t t = 0; t < taps; t++) {
      for (int64_t c = 0; c < channels_; c++) {
        to[c * taps + t] = reinterpret_cast<T*>(sums_at(group, c / width_, t, output % outputs_))[c % width_];
      }
    }
  });
}

}  // namespace

bool weights_from_images(const MicroKernels& mk, const Conv& conv) {
  int64_t channels = conv.in_channels / conv.groups, outputs = conv.out_channels / conv.groups;
  int64_t in = conv.size[1] * conv.size[2], out = conv.output[1] * conv.output[2];
  int64_t images = std::min(conv.batch, ceil_div(kDepth, conv.output[2]));
  bool lanes_filled = 4 * round_up(channels, mk.lanes) <= 5 * channels;
  return conv.flat() && conv.stride[2] == 1 && in <= 2 * kMostPixels && out <= kMostPixels && lanes_filled &&
         outputs >= kLeastOutputs && conv.kernel[1] * conv.kernel[2] > 1 && conv.output[2] * images >= kLeastDepth;
}

void images_backward_weight(const MicroKernels& mk, const Conv& conv, const char* x, const char* dy, char* dw) {
  WeightImagesRun run(mk, conv, x, dy);
  if (conv.dtype == DType::F32) {
    run.run(reinterpret_cast<float*>(dw));
  } else {
    run.run(reinterpret_cast<double*>(dw));
  }
}

}  // namespace fl
