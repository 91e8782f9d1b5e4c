// The gradient of the weights: dw[o, (c, t)] = sum over images and pixels of dy[o, p] * x[c, p + tap t]. The panel's
// columns (c, t) are rows of pixels in x, so it is packed by transposing.
#include "runtime/contract/conv_split.h"
#include "runtime/contract/conv_taps.h"
#include "runtime/pool.h"

namespace fl {
namespace {

constexpr int64_t kWholeDepth = 800;
constexpr int64_t kChunkWork = 1 << 19, kChunks = 24;
// Panels of a chunk, at least, if there are so many: they share a block of dy in the cache.
constexpr int64_t kSharedPanels = 4;
// Bytes of sums that are kept beside dw when images are shared out.
constexpr int64_t kPartialBytes = 64 << 20;

class WeightRun {
 public:
  // With `split`, `conv` is the convolution over its planes.
  WeightRun(const MicroKernels& mk, const TapConv& conv, const Split* split, const char* dy, char* dw);
  void run();

 private:
  struct Chunk {
    Range images, columns;
    int64_t group;
    char* sums;  // row 0, column columns.begin
  };
  Chunk chunk(int64_t i, char* partials) const;
  void run_chunk(const Chunk& c) const;
  void multiply(const Chunk& c, const char* source, const uint16_t* masks, int64_t mask_row, int64_t depth,
                const Left& left, const Tiles& tiles, bool first, char* panel) const;
  // Bytes of the copies of so many channels of x.
  int64_t copy_bytes(int64_t channels) const {
    if (split_) return channels * split_->channel_bytes();
    return direct_ ? 0 : expansion_.bytes(channels, mk_.vector_bytes);
  }
  void fill_masks(uint16_t* masks) const;
  template <class T>
  void add_partials(const T* partials) const;

  int64_t columns() const { return conv_.depth(); }
  int64_t row_bytes() const { return columns() * mk_.element_bytes; }
  int64_t mask_row() const { return ceil_div(pixels_, mk_.lanes); }

  const MicroKernels& mk_;
  const TapConv& conv_;
  const Split* split_;
  const char* dy_;
  char* dw_;
  bool direct_;
  int64_t images_, pixels_;  // whole volumes when direct, else slices
  int vectors_;
  int64_t width_, height_;
  int64_t depth_;  // pixels of a block: groups of lanes when direct, whole rows when expanded
  int64_t image_parts_, column_parts_;
  Expansion expansion_;
  Scratch masks_;
};

int64_t block_pixels(const MicroKernels& mk, const TapConv& conv, bool direct) {
  int64_t pixels = conv.volume(), most = kWholeDepth * 4 / mk.element_bytes;
  if (!direct) {
    int64_t rows = std::clamp<int64_t>(most / conv.grid_width, 1, conv.grid_height);
    return ceil_div(conv.grid_height, ceil_div(conv.grid_height, rows)) * conv.grid_width;
  }
  return pixels <= most ? pixels : round_up(ceil_div(pixels, ceil_div(pixels, most)), 16);
}

WeightRun::WeightRun(const MicroKernels& mk, const TapConv& conv, const Split* split, const char* dy, char* dw)
    : mk_(mk),
      conv_(conv),
      split_(split),
      dy_(dy),
      dw_(dw),
      direct_(conv.direct()),
      images_(direct_ ? conv.batch : conv.images()),
      pixels_(direct_ ? conv.volume() : conv.pixels()),
      vectors_(static_cast<int>(std::min<int64_t>(panel_vectors(mk), ceil_div(conv.depth(), mk.lanes)))),
      width_(vectors_ * mk.lanes),
      height_(mk.max_height[vectors_]),
      depth_(block_pixels(mk, conv, direct_)),
      expansion_(conv, mk.element_bytes, 1, depth_ / conv.grid_width + (direct_ ? 1 : 0)),
      masks_(static_cast<size_t>(direct_ ? conv.tap_count() * mask_row() : ceil_div(depth_, mk.lanes)) *
             sizeof(uint16_t)) {
  int64_t panels = ceil_div(columns(), width_);
  int64_t wanted = ceil_div(std::clamp<int64_t>(conv.work() / kChunkWork, 1, kChunks), conv.groups);
  int64_t sums = conv.groups * conv.outputs * row_bytes();
  int64_t most_parts = std::min(images_, 1 + kPartialBytes / sums);
  // Sharing out images packs nothing twice, sharing out columns needs no partial sums.
  column_parts_ = std::clamp<int64_t>(panels / kSharedPanels, 1, ceil_div(wanted, 2));
  image_parts_ = std::clamp<int64_t>(ceil_div(wanted, column_parts_), 1, most_parts);
  column_parts_ = std::clamp<int64_t>(ceil_div(wanted, image_parts_), column_parts_, panels);
  fill_masks(masks_.as<uint16_t>());
}

void WeightRun::fill_masks(uint16_t* masks) const {
  if (!direct_) {
    std::fill(masks, masks + ceil_div(depth_, mk_.lanes), lane_mask(mk_.lanes));
    return;
  }
  std::fill(masks, masks + conv_.tap_count() * mask_row(), uint16_t{0});
  for (int64_t t = 0; t < conv_.tap_count(); t++) {
    for_valid_pixels(conv_, t, [&](Range pixels, bool inside) {
      mark_pixels(masks + t * mask_row(), 1, mk_.lanes, pixels, inside);
    });
  }
}

WeightRun::Chunk WeightRun::chunk(int64_t i, char* partials) const {
  int64_t part = i / (column_parts_ * conv_.groups), column = i / conv_.groups % column_parts_;
  Chunk c;
  c.group = i % conv_.groups;
  c.images = even_part(images_, image_parts_, part);
  Range panels = even_part(ceil_div(columns(), width_), column_parts_, column);
  c.columns = {panels.begin * width_, std::min(panels.end * width_, columns())};
  int64_t sums = conv_.groups * conv_.outputs * row_bytes();
  c.sums = (part == 0 ? dw_ : partials + (part - 1) * sums) + c.group * conv_.outputs * row_bytes() +
           c.columns.begin * mk_.element_bytes;
  return c;
}

void WeightRun::run_chunk(const Chunk& c) const {
  if (c.columns.size() <= 0) return;
  int64_t element = mk_.element_bytes, volume = conv_.volume(), plane = conv_.in_volume() * element;
  Range channels{c.columns.begin / conv_.tap_count(), ceil_div(c.columns.end, conv_.tap_count())};
  Tiles tiles(conv_.outputs, height_);
  LeftPacking packing(mk_, conv_.outputs, depth_, height_, volume * element, element,
                      ceil_div(c.columns.size(), width_));
  size_t panel_size = panel_bytes(mk_, depth_, vectors_);
  auto expanded = static_cast<size_t>(copy_bytes(channels.size()));
  Workspace work(Workspace::padded(panel_size) + Workspace::padded(expanded) + Workspace::padded(packing.bytes()));
  char* panel = work.take(panel_size);
  char* copy = expanded ? work.take(expanded) : nullptr;
  char* packed_left = packing.bytes() ? work.take(packing.bytes()) : nullptr;
  for (int64_t n = c.images.begin; n < c.images.end; n++) {
    int64_t slices = volume / pixels_, image = n / slices * conv_.groups + c.group;
    const char* source = conv_.x + (image * conv_.channels + channels.begin) * plane;
    if (split_) {
      source = copy;
      for (int64_t i = 0; i < channels.size(); i++) {
        split_->fill(image * conv_.channels + channels.begin + i, split_->all(), copy + i * split_->channel_bytes());
      }
    }
    for (int64_t p = 0; p < pixels_; p += depth_) {
      int64_t depth = std::min(depth_, pixels_ - p);
      const char* a = dy_ + (image * conv_.outputs * volume + n % slices * pixels_ + p) * element;
      Left left = packing.pack(mk_, a, volume * element, element, depth, tiles.rows, packed_left);
      bool first = n == c.images.begin && p == 0;
      const auto* masks = masks_.as<uint16_t>();
      if (direct_) {
        multiply(c, source + p * element, masks + p / mk_.lanes, mask_row(), depth, left, tiles, first, panel);
      } else {
        Range rows{p / conv_.grid_width, (p + depth) / conv_.grid_width};
        expansion_.fill(n, 1, c.group, channels, rows, copy);
        multiply(c, copy, masks, 0, depth, left, tiles, first, panel);
      }
    }
  }
}

void WeightRun::multiply(const Chunk& c, const char* source, const uint16_t* masks, int64_t mask_row, int64_t depth,
                         const Left& left, const Tiles& tiles, bool first, char* panel) const {
  int64_t element = mk_.element_bytes, taps = conv_.tap_count(), first_channel = c.columns.begin / taps;
  int64_t channel_step = direct_ ? conv_.in_volume() * element : expansion_.channel_bytes();
  MicroArgs args{};
  args.k = depth;
  args.c_row = row_bytes();
  if (!first) args.flags = kAccumulate;
  args.panel = panel;
  for (int64_t j = c.columns.begin; j < c.columns.end; j += width_) {
    PanelShape shape(std::min(width_, c.columns.end - j), mk_.lanes);
    PackedRow rows[kMaxVectors * 16];
    for (int64_t i = 0; i < shape.vectors * mk_.lanes; i++) {
      int64_t column = j + std::min(i, shape.width - 1), t = column % taps;
      int64_t offset = direct_ ? tap_distance(conv_, t) * element : expansion_.tap_offset(t);
      rows[i] = {(column / taps - first_channel) * channel_step + offset, masks + t * mask_row};
    }
    mk_.pack_columns(ceil_div(depth, mk_.lanes), source, rows, panel, shape.vectors, shape.vectors * mk_.vector_bytes,
                     0);
    args.mask = lane_mask(shape.tail);
    args.c = c.sums + (j - c.columns.begin) * element;
    sweep(mk_, shape.vectors, args, left, tiles, false);
  }
}

template <class T>
void WeightRun::add_partials(const T* partials) const {
  int64_t n = conv_.groups * conv_.outputs * columns(), blocks = ceil_div(n, 1 << 14);
  T* dw = reinterpret_cast<T*>(dw_);
  parallel_for(blocks, [&](int64_t block) {
    Range range = even_part(n, blocks, block);
    for (int64_t part = 1; part < image_parts_; part++) {
      const T* from = partials + (part - 1) * n;
      for (int64_t i = range.begin; i < range.end; i++) dw[i] += from[i];
    }
  });
}

void WeightRun::run() {
  Scratch partials(static_cast<size_t>((image_parts_ - 1) * conv_.groups * conv_.outputs * row_bytes()));
  parallel_for(image_parts_ * column_parts_ * conv_.groups, [&](int64_t i) { run_chunk(chunk(i, partials.as())); });
  if (image_parts_ == 1) return;
  if (mk_.element_bytes == 4) {
    add_partials(partials.as<float>());
  } else {
    add_partials(partials.as<double>());
  }
}

}  // namespace

void run_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw) {
  if (columns_suit(mk, conv)) return columns_weight_gradient(mk, conv, dy, dw);
  if (conv.direct() || !Split::suits(conv)) return WeightRun(mk, conv, nullptr, dy, dw).run();
  Split split(mk, conv);
  WeightRun(mk, split.conv(), &split, dy, dw).run();
}

}  // namespace fl
