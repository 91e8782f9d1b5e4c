#include "runtime/contract/conv_channels.h"

#include <iterator>

#include "runtime/contract/channel_kernels.h"
#include "runtime/contract/conv_phases.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

// Multiply-adds of a chunk of the result; chunks of sums, at most, and bytes of both operands that pass through one
// before the next channels do.
constexpr int64_t kChunkWork = 1 << 19, kChunks = 24, kBandBytes = 256 << 10;

// Ranges of outputs along one axis for which the same taps lie inside the input.
std::vector<Range> same_taps(int64_t outputs, int64_t stride, int64_t size, const std::vector<int64_t>& positions) {
  std::vector<int64_t> cuts{0, outputs};
  for (int64_t position : positions) {
    cuts.push_back(std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, -position), stride), 0, outputs));
    cuts.push_back(std::clamp<int64_t>(ceil_div(std::max<int64_t>(0, size - position), stride), 0, outputs));
  }
  std::sort(cuts.begin(), cuts.end());
  std::vector<Range> ranges;
  for (size_t i = 1; i < cuts.size(); i++) {
    if (cuts[i - 1] < cuts[i]) ranges.push_back({cuts[i - 1], cuts[i]});
  }
  return ranges;
}

// A convolution whose pixels hold all channels, side by side.
class Pixels {
 public:
  Pixels(const MicroKernels& mk, const TapConv& conv)
      : mk_(mk), conv_(conv), vectors_(ceil_div(conv.groups, mk.lanes)) {
    std::vector<int64_t> ys, xs;
    for (const TapPosition& tap : conv.taps) {
      ys.push_back(tap.y);
      xs.push_back(tap.x);
      rows_below_ = std::max(rows_below_, tap.y / conv.stride_y + 1);
      distances_.push_back(((tap.z * conv.height + tap.y) * conv.width + tap.x) * pixel());
    }
    rows_ = same_taps(conv.grid_height, conv.stride_y, conv.height, ys);
    columns_ = same_taps(conv.grid_width, conv.stride_x, conv.width, xs);
  }

  int64_t pixel() const { return conv_.groups * mk_.element_bytes; }
  int64_t vectors() const { return vectors_; }
  // Rows from one of outputs to the first whose inputs none of the taps here reaches.
  int64_t rows_below() const { return rows_below_; }
  // Of the weights, or sums, of a vector of channels, and of all of them.
  int64_t table_bytes() const { return conv_.tap_count() * mk_.vector_bytes; }
  int64_t all_bytes() const { return vectors_ * table_bytes(); }

  // Calls run(args) for the rectangles of some rows of one slice of outputs: number `image` of the batch's slices.
  // `args` knows everything but the weights; x and y stand at the first pixel.
  template <class F>
  void for_rectangles(int64_t image, Range rows, F&& run) const {
    int64_t z = image % conv_.grid_slices * conv_.stride_z,
            out = conv_.first_z + image % conv_.grid_slices * conv_.step_z;
    int64_t batch = image / conv_.grid_slices;
    const char* x = conv_.x + (batch * conv_.slices + z) * conv_.height * conv_.width * pixel();
    char* y = conv_.y + (batch * conv_.out_slices + out) * conv_.out_height * conv_.out_width * pixel();
    std::vector<ChannelTap> inside;
    ChannelArgs args{};
    args.weights_vector = table_bytes();
    args.x_pixel = conv_.stride_x * pixel();
    args.x_row = conv_.stride_y * conv_.width * pixel();
    args.y_pixel = conv_.step_x * pixel();
    args.y_row = conv_.step_y * conv_.out_width * pixel();
    args.vectors = vectors_;
    args.mask = lane_mask(conv_.groups - (vectors_ - 1) * mk_.lanes);
    for (Range part : rows_) {
      int64_t top = std::max(part.begin, rows.begin), bottom = std::min(part.end, rows.end);
      if (top >= bottom) continue;
      for (Range columns : columns_) {
        collect({z, top * conv_.stride_y, columns.begin * conv_.stride_x}, inside);
        args.taps = inside.data();
        args.count = static_cast<int64_t>(inside.size());
        args.rows = bottom - top;
        args.pixels = columns.size();
        args.x = x + top * args.x_row + columns.begin * args.x_pixel;
        args.y = y + ((conv_.first_y + top * conv_.step_y) * conv_.out_width + conv_.first_x) * pixel() +
                 columns.begin * args.y_pixel;
        run(args);
      }
    }
  }

 private:
  // The taps that lie inside the input, seen from there.
  void collect(TapPosition from, std::vector<ChannelTap>& inside) const {
    inside.clear();
    for (size_t t = 0; t < distances_.size(); t++) {
      int64_t z = from.z + conv_.taps[t].z, y = from.y + conv_.taps[t].y, x = from.x + conv_.taps[t].x;
      bool reached = z >= 0 && z < conv_.slices && y >= 0 && y < conv_.height && x >= 0 && x < conv_.width;
      if (reached) inside.push_back({distances_[t], static_cast<int64_t>(t) * mk_.vector_bytes});
    }
  }

  const MicroKernels& mk_;
  const TapConv& conv_;
  int64_t vectors_, rows_below_ = 1;
  std::vector<int64_t> distances_;  // of the taps, in bytes
  std::vector<Range> rows_, columns_;
};

// The result, or one phase of the gradient of the input.
class ChannelsRun {
 public:
  ChannelsRun(const MicroKernels& mk, const ChannelKernels& ck, const TapConv& conv)
      : ck_(ck),
        conv_(conv),
        pixels_(mk, conv),
        // Whole squares of lanes are written.
        weights_(static_cast<size_t>(pixels_.all_bytes() + mk.lanes * mk.vector_bytes)),
        streams_(conv.batch * conv.volume() * pixels_.pixel() >= kStreamBytes &&
                 pixels_.pixel() % mk.vector_bytes == 0 && reinterpret_cast<uintptr_t>(conv.y) % 64 == 0) {
    for (int64_t v = 0; v < pixels_.vectors(); v++) {
      PanelShape shape(std::min<int64_t>(mk.lanes, conv.groups - v * mk.lanes), mk.lanes);
      pack_panel(mk, conv.weights + v * mk.lanes * conv.weights_row, mk.element_bytes, conv.weights_row,
                 conv.tap_count(), shape, weights_.as() + v * pixels_.table_bytes());
    }
  }

  void run() const {
    int64_t images = conv_.images(), height = conv_.grid_height, work = conv_.work();
    int64_t bands = std::clamp<int64_t>(work / images / kChunkWork, 1, height), units = images * bands;
    int64_t chunks = std::clamp<int64_t>(work / kChunkWork, 1, units);
    parallel_for(chunks, [&](int64_t chunk) {
      Range part = even_part(units, chunks, chunk);
      for (int64_t i = part.begin; i < part.end; i++) {
        pixels_.for_rectangles(i / bands, even_part(height, bands, i % bands),
                               [&](const ChannelArgs& args) { run_rectangle(args); });
      }
      if (streams_) stream_fence();
    });
  }

 private:
  // Blocks of as many pixels as possible; where they leave a rest, the last one overlaps the one before.
  void run_rectangle(ChannelArgs args) const {
    args.weights = weights_.as();
    args.ahead = pixels_.rows_below();
    args.bias = conv_.bias;
    if (conv_.bias) args.flags |= kRowBias;
    if (streams_) args.flags |= kStream;
    size_t largest = std::size(kPixelBlocks) - 1;
    int64_t n = args.pixels, rest = n % kPixelBlocks[largest];
    if (n >= kPixelBlocks[largest]) run_blocks(args, largest, 0, n / kPixelBlocks[largest]);
    if (rest == 0) return;
    size_t k = 0;
    while (kPixelBlocks[k] < rest) k++;
    if (kPixelBlocks[k] > n) run_blocks(args, --k, 0, 1);
    run_blocks(args, k, n - kPixelBlocks[k], 1);
  }

  void run_blocks(ChannelArgs args, size_t kind, int64_t first, int64_t blocks) const {
    args.x += first * args.x_pixel;
    args.y += first * args.y_pixel;
    args.pixels = blocks;
    ck_.taps[kind](&args);
  }

  const ChannelKernels& ck_;
  const TapConv& conv_;
  Pixels pixels_;
  Scratch weights_;
  bool streams_;
};

// Gradients of the weights: sums of parts of the images, each in an order of its own.
class ChannelSums {
 public:
  ChannelSums(const MicroKernels& mk, const ChannelKernels& ck, const TapConv& conv)
      : mk_(mk), ck_(ck), conv_(conv), pixels_(mk, conv) {
    int64_t row_bytes = (conv.width * conv.stride_y + conv.grid_width) * pixels_.pixel();
    int64_t wanted = std::max(conv.grid_height * row_bytes / kBandBytes, ceil_div(kChunks, 2 * conv.images()));
    bands_ = std::clamp<int64_t>(wanted, 1, conv.grid_height);
    parts_ = std::min(conv.images() * bands_, kChunks);
    sums_.emplace(static_cast<size_t>(parts_ * pixels_.all_bytes()));
  }

  template <class T>
  void run(T* dw) const {
    parallel_for(parts_, [&](int64_t part) { run_part(part); });
    int64_t taps = conv_.tap_count(), lanes = mk_.lanes;
    parallel_for(pixels_.vectors(), [&](int64_t v) {
      int64_t width = std::min(lanes, conv_.groups - v * lanes);
      for (int64_t i = 0; i < taps * lanes; i++) {
        T total = 0;
        for (int64_t part = 0; part < parts_; part++) {
          total += reinterpret_cast<const T*>(sums_of(part) + v * pixels_.table_bytes())[i];
        }
        if (i % lanes < width) dw[(v * lanes + i % lanes) * taps + i / lanes] = total;
      }
    });
  }

 private:
  char* sums_of(int64_t part) const { return sums_->as() + part * pixels_.all_bytes(); }

  void run_part(int64_t part) const {
    std::memset(sums_of(part), 0, static_cast<size_t>(pixels_.all_bytes()));
    Range units = even_part(conv_.images() * bands_, parts_, part);
    for (int64_t i = units.begin; i < units.end; i++) {
      pixels_.for_rectangles(i / bands_, even_part(conv_.grid_height, bands_, i % bands_), [&](ChannelArgs args) {
        args.weights = sums_of(part);
        args.ahead = ceil_div(conv_.grid_height, bands_);
        const ChannelTap* taps = args.taps;
        int64_t count = args.count, groups = ceil_div(count, mk_.max_plane_sums);
        for (int64_t g = 0; g < groups; g++) {
          Range some = even_part(count, groups, g);
          args.taps = taps + some.begin;
          ck_.sums[some.size()](&args);
        }
      });
    }
  }

  const MicroKernels& mk_;
  const ChannelKernels& ck_;
  const TapConv& conv_;
  Pixels pixels_;
  int64_t bands_, parts_;
  std::optional<Scratch> sums_;
};

// Pixels that no tap reaches hold zeros, or the bias.
void fill_pixels(const Conv& conv, const void* bias, void* out) {
  auto pixel = static_cast<size_t>(conv.in_channels) * dtype_size(conv.dtype);
  auto pixels = static_cast<size_t>(conv.batch * conv.size[0] * conv.size[1] * conv.size[2]);
  if (!bias) {
    std::memset(out, 0, pixels * pixel);
    return;
  }
  for (size_t i = 0; i < pixels; i++) std::memcpy(static_cast<char*>(out) + i * pixel, bias, pixel);
}

}  // namespace

bool channels_suit(const Conv& conv) {
  bool depthwise = conv.groups == conv.in_channels && conv.groups == conv.out_channels;
  return depthwise && micro_kernels(conv.dtype) && channel_kernels(conv.dtype);
}

void channels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  TapConv taps = forward_taps(conv, x, w, bias, y);
  ChannelsRun(*micro_kernels(conv.dtype), *channel_kernels(conv.dtype), taps).run();
}

void channels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  if (!every_phase_reached(conv)) fill_pixels(conv, bias, dx);
  for (const InputPhase& phase : input_phases(conv, dy, w, bias, dx)) {
    ChannelsRun(*micro_kernels(conv.dtype), *channel_kernels(conv.dtype), phase.taps).run();
  }
}

void channels_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  TapConv taps = forward_taps(conv);
  taps.x = static_cast<const char*>(x);
  taps.y = static_cast<char*>(const_cast<void*>(dy));
  ChannelSums sums(*micro_kernels(conv.dtype), *channel_kernels(conv.dtype), taps);
  if (conv.dtype == DType::F32) {
    sums.run(static_cast<float*>(dw));
  } else {
    sums.run(static_cast<double*>(dw));
  }
}

}  // namespace fl
