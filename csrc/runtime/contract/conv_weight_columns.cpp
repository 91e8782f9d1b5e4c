// The gradient of the weights, channels as lanes, for images of some size: taps that differ in nothing but the row read
// the same panel of transposed pixels at another place, and rows that a tap finds outside the input are not multiplied.
#include "runtime/contract/conv_taps.h"
#include "runtime/pool.h"

namespace fl {
namespace {

constexpr int64_t kLeastPixels = 192, kLeastOutputs = 16;
// Products of one weight from which rearranging the sums at the end costs little.
constexpr int64_t kLeastProducts = 2048;
// Pixels of a band of rows, and multiply-adds of a chunk.
constexpr int64_t kBandPixels = 800, kChunkWork = 1 << 19, kChunks = 24;
// Bytes of sums.
constexpr int64_t kMostSums = 64 << 20;

// Taps of one column of the kernel: row of the input less row of the output, and which tap that is.
struct TapColumn {
  TapPosition place;  // but for y
  std::vector<std::pair<int64_t, int64_t>> rows;
};

class ColumnsRun {
 public:
  ColumnsRun(const MicroKernels& mk, const TapConv& conv, const char* dy);
  template <class T>
  void run(T* dw);

 private:
  // One panel of channels, some images, some columns of taps.
  struct Chunk {
    int64_t part, group, panel;
    Range columns;
  };
  // A band of rows of outputs of one slice of one image.
  struct Band {
    const char* x;  // first channel of the panel, this image
    Left left;
    int64_t slice;
    Range rows;
  };
  void run_chunk(const Chunk& chunk) const;
  void run_column(const Chunk& chunk, const TapColumn& column, const Band& band, std::vector<uint8_t>& started,
                  char* panel) const;
  void pack(const TapColumn& column, const Band& band, int64_t panel, Range rows, char* out) const;
  template <class T>
  void reduce(int64_t output, T* dw) const;

  Range channels_of(int64_t panel) const { return {panel * width_, std::min((panel + 1) * width_, conv_.channels)}; }
  int64_t panel_row() const { return width_ * mk_.element_bytes; }
  int64_t panel_sums() const { return conv_.tap_count() * conv_.outputs * panel_row(); }
  int64_t part_bytes() const { return conv_.groups * panels_ * panel_sums(); }
  // [part][group][panel][tap][output][channel]
  char* sums_at(const Chunk& chunk, int64_t tap) const {
    int64_t panel = (chunk.part * conv_.groups + chunk.group) * panels_ + chunk.panel;
    return sums_->as() + (panel * conv_.tap_count() + tap) * conv_.outputs * panel_row();
  }

  const MicroKernels& mk_;
  const TapConv& conv_;
  const char* dy_;
  std::vector<TapColumn> columns_;
  int64_t more_rows_ = 0;  // of the input than of the outputs
  int vectors_;
  int64_t width_, panels_, bands_, parts_, column_parts_;
  std::vector<uint16_t> masks_;  // [column][lanes of pixels]
  int64_t mask_row_;
  std::optional<Scratch> sums_;
};

ColumnsRun::ColumnsRun(const MicroKernels& mk, const TapConv& conv, const char* dy)
    : mk_(mk),
      conv_(conv),
      dy_(dy),
      vectors_(best_vectors(mk, conv.channels)),
      width_(vectors_ * mk.lanes),
      panels_(ceil_div(conv.channels, width_)) {
  for (int64_t t = 0; t < conv.tap_count(); t++) {
    TapPosition tap = conv.taps[static_cast<size_t>(t)];
    auto at = std::find_if(columns_.begin(), columns_.end(), [&](const TapColumn& c) {
      return c.place.z == tap.z && c.place.x == tap.x && c.place.phase == tap.phase;
    });
    if (at == columns_.end()) at = columns_.insert(at, {tap, {}});
    at->rows.emplace_back(tap.y, t);
  }
  for (const TapColumn& column : columns_) {
    auto [low, high] = std::minmax_element(column.rows.begin(), column.rows.end());
    more_rows_ = std::max(more_rows_, high->first - low->first);
  }
  bands_ = ceil_div(conv.pixels(), std::max(kBandPixels, conv.grid_width));
  int64_t most_rows = ceil_div(conv.grid_height, bands_) + more_rows_;
  mask_row_ = ceil_div(most_rows * conv.width, mk.lanes);
  masks_.assign(columns_.size() * static_cast<size_t>(mask_row_), 0);
  for (size_t c = 0; c < columns_.size(); c++) {
    for (int64_t i = 0; i < mask_row_ * mk.lanes; i++) {
      int64_t x = i % conv.width + columns_[c].place.x;
      if (x < 0 || x >= conv.width) continue;
      masks_[c * static_cast<size_t>(mask_row_) + static_cast<size_t>(i / mk.lanes)] |=
          static_cast<uint16_t>(1u << i % mk.lanes);
    }
  }
  int64_t wanted = std::clamp<int64_t>(conv.work() / kChunkWork, 1, kChunks), units = conv.groups * panels_;
  parts_ = std::clamp<int64_t>(ceil_div(wanted, units), 1, conv.batch);
  parts_ = std::clamp<int64_t>(kMostSums / part_bytes(), 1, parts_);
  column_parts_ = std::clamp<int64_t>(wanted / (units * parts_), 1, static_cast<int64_t>(columns_.size()));
}

void ColumnsRun::pack(const TapColumn& column, const Band& band, int64_t panel, Range rows, char* out) const {
  int64_t element = mk_.element_bytes, pixels = rows.size() * conv_.width, whole = pixels / mk_.lanes;
  Range channels = channels_of(panel);
  int64_t plane = (column.place.phase * conv_.slices + band.slice + column.place.z) * conv_.height + rows.begin;
  const char* source = band.x + (plane * conv_.width + column.place.x) * element;
  const uint16_t* masks = masks_.data() + (&column - columns_.data()) * mask_row_;
  PackedRow table[kMaxVectors * 16];
  for (int64_t i = 0; i < width_; i++) {
    table[i] = {std::min(i, channels.size() - 1) * conv_.in_volume() * element, masks};
  }
  if (whole) mk_.pack_columns(whole, source, table, out, vectors_, panel_row(), 0);
  if (whole * mk_.lanes == pixels) return;
  uint16_t rest = masks[whole] & lane_mask(pixels - whole * mk_.lanes);
  for (int64_t i = 0; i < width_; i++) table[i].masks = &rest;
  mk_.pack_columns(1, source + whole * mk_.vector_bytes, table, out + whole * mk_.lanes * panel_row(), vectors_,
                   panel_row(), 0);
}

void ColumnsRun::run_column(const Chunk& chunk, const TapColumn& column, const Band& band,
                            std::vector<uint8_t>& started, char* panel) const {
  int64_t slice = band.slice + column.place.z;
  if (slice < 0 || slice >= conv_.slices) return;
  auto [low, high] = std::minmax_element(column.rows.begin(), column.rows.end());
  Range rows{std::max<int64_t>(0, band.rows.begin + low->first), std::min(conv_.height, band.rows.end + high->first)};
  if (rows.size() <= 0) return;
  pack(column, band, chunk.panel, rows, panel);
  Tiles tiles(conv_.outputs, mk_.max_height[vectors_]);
  MicroArgs args{};
  args.c_row = panel_row();
  args.mask = lane_mask(mk_.lanes);
  for (auto [y, tap] : column.rows) {
    Range outputs{std::max(band.rows.begin, -y), std::min(band.rows.end, conv_.height - y)};
    if (outputs.size() <= 0) continue;
    uint8_t& seen = started[static_cast<size_t>(tap)];
    args.k = outputs.size() * conv_.width;
    args.panel = panel + (outputs.begin + y - rows.begin) * conv_.width * panel_row();
    args.c = sums_at(chunk, tap);
    args.flags = seen * kAccumulate;
    Left left = band.left;
    left.data += (outputs.begin - band.rows.begin) * conv_.width * left.col;
    sweep(mk_, vectors_, args, left, tiles, false);
    seen = 1;
  }
}

void ColumnsRun::run_chunk(const Chunk& chunk) const {
  int64_t element = mk_.element_bytes, volume = conv_.volume(), most_rows = ceil_div(conv_.grid_height, bands_);
  Range images = even_part(conv_.batch, parts_, chunk.part);
  LeftPacking packing(mk_, conv_.outputs, most_rows * conv_.width, mk_.max_height[vectors_], volume * element, element,
                      conv_.tap_count());
  size_t panel_size = panel_bytes(mk_, (most_rows + more_rows_) * conv_.width, vectors_);
  Workspace work(Workspace::padded(panel_size) + Workspace::padded(packing.bytes()));
  char *panel = work.take(panel_size), *packed_left = work.take(packing.bytes());
  std::vector<uint8_t> started(static_cast<size_t>(conv_.tap_count()), 0);
  for (int64_t n = images.begin; n < images.end; n++) {
    int64_t image = n * conv_.groups + chunk.group, first = image * conv_.channels + chunk.panel * width_;
    Band band{conv_.x + first * conv_.in_volume() * element, {}, 0, {}};
    for (int64_t b = 0; b < conv_.grid_slices * bands_; b++) {
      band.slice = b / bands_;
      band.rows = even_part(conv_.grid_height, bands_, b % bands_);
      int64_t begin = band.slice * conv_.pixels() + band.rows.begin * conv_.width;
      const char* dy = dy_ + (image * conv_.outputs * volume + begin) * element;
      band.left =
          packing.pack(mk_, dy, volume * element, element, band.rows.size() * conv_.width, conv_.outputs, packed_left);
      for (int64_t c = chunk.columns.begin; c < chunk.columns.end; c++) {
        run_column(chunk, columns_[static_cast<size_t>(c)], band, started, panel);
      }
    }
  }
  for (int64_t c = chunk.columns.begin; c < chunk.columns.end; c++) {
    for (auto [y, tap] : columns_[static_cast<size_t>(c)].rows) {
      if (started[static_cast<size_t>(tap)]) continue;
      std::memset(sums_at(chunk, tap), 0, static_cast<size_t>(conv_.outputs * panel_row()));
    }
  }
}

// The parts' sums of one output, in their order, to where they belong.
template <class T>
void ColumnsRun::reduce(int64_t output, T* dw) const {
  int64_t taps = conv_.tap_count();
  T* to = dw + output * conv_.channels * taps;
  for (int64_t panel = 0; panel < panels_; panel++) {
    Range channels = channels_of(panel);
    for (int64_t t = 0; t < taps; t++) {
      T total[kMaxVectors * 16] = {};
      for (int64_t part = 0; part < parts_; part++) {
        const char* sums = sums_at({part, output / conv_.outputs, panel, {}}, t) + output % conv_.outputs * panel_row();
        for (int64_t i = 0; i < width_; i++) total[i] += reinterpret_cast<const T*>(sums)[i];
      }
      for (int64_t c = channels.begin; c < channels.end; c++) to[c * taps + t] = total[c - channels.begin];
    }
  }
}

template <class T>
void ColumnsRun::run(T* dw) {
  int64_t units = conv_.groups * panels_, per_part = units * column_parts_;
  sums_.emplace(static_cast<size_t>(parts_ * part_bytes()));
  parallel_for(parts_ * per_part, [&](int64_t i) {
    int64_t unit = i % per_part / column_parts_;
    Range columns = even_part(static_cast<int64_t>(columns_.size()), column_parts_, i % column_parts_);
    run_chunk({i / per_part, unit / panels_, unit % panels_, columns});
  });
  parallel_for(conv_.groups * conv_.outputs, [&](int64_t output) { reduce(output, dw); });
}

}  // namespace

bool columns_suit(const MicroKernels& mk, const TapConv& conv) {
  auto column = [](const TapPosition& a, const TapPosition& b) {
    return a.z == b.z && a.x == b.x && a.phase == b.phase && a.y != b.y;
  };
  bool shared = std::any_of(conv.taps.begin(), conv.taps.end(), [&](auto& tap) { return column(tap, conv.taps[0]); });
  bool lanes_filled = 4 * round_up(conv.channels, mk.lanes) <= 5 * conv.channels;
  return conv.direct() && lanes_filled && conv.outputs >= kLeastOutputs && conv.pixels() >= kLeastPixels &&
         conv.batch * conv.volume() >= kLeastProducts && conv.grid_width <= kBandPixels && shared;
}

void columns_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw) {
  ColumnsRun run(mk, conv, dy);
  if (mk.element_bytes == 4) {
    run.run(reinterpret_cast<float*>(dw));
  } else {
    run.run(reinterpret_cast<double*>(dw));
  }
}

}  // namespace fl
