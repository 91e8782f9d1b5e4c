#include "runtime/contract/conv_planes.h"

#include "runtime/contract/conv_kernels.h"
#include "runtime/contract/conv_shifts.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

// Bytes of a band of planes, so that it stays in the nearest cache; and up to which this way is taken at all.
constexpr int64_t kBandBytes = 24 << 10, kMostBytes = 192 << 10;
constexpr int64_t kChunkWork = 1 << 18, kChunks = 24;
constexpr int64_t kFewOutputs = 2, kFewSums = 4;
// Bytes of a row from which prefetching it costs little beside copying it.
constexpr int64_t kLongRow = 128;
// Groups whose sums over lanes make one chunk.
constexpr int64_t kReducedGroups = 64;
constexpr int64_t kCacheLine = 64;

struct Extent {
  int64_t low = INT64_MAX, high = INT64_MIN;
  void add(int64_t x) {
    low = std::min(low, x);
    high = std::max(high, x);
  }
};

// Every other element, as many as are safe to read in whole pairs of 16 bytes; returns how many.
template <class T>
int64_t copy_evens(const T* source, int64_t n, T* out) {
  constexpr int kLanes = 16 / sizeof(T);
  using Vector [[gnu::vector_size(16)]] = T;
  int64_t i = 0;
  for (; i + kLanes < n; i += kLanes) {
    Vector a, b, evens;
    std::memcpy(&a, source + 2 * i, 16);
    std::memcpy(&b, source + 2 * i + kLanes, 16);
    if constexpr (kLanes == 4) {
      evens = __builtin_shufflevector(a, b, 0, 2, 4, 6);
    } else {
      evens = __builtin_shufflevector(a, b, 0, 2);
    }
    std::memcpy(out + i, &evens, 16);
  }
  return i;
}

template <class T>
void copy_apart(const char* from, int64_t stride, int64_t n, char* to) {
  const T* source = reinterpret_cast<const T*>(from);
  T* out = reinterpret_cast<T*>(to);
  for (int64_t i = stride == 2 ? copy_evens(source, n, out) : 0; i < n; i++) out[i] = source[i * stride];
}

// Number i of the images of groups: a slice of a group of an image of the batch, in the order of memory.
struct GroupImage {
  int64_t image, group;
  GroupImage(const TapConv& conv, int64_t i)
      : image(i / conv.grid_slices / conv.groups * conv.grid_slices + i % conv.grid_slices),
        group(i / conv.grid_slices % conv.groups) {}
};

// The scratch: [channel][slice of the taps and phase of the column][row of the input][column], and where taps lie in
// it.
class Planes {
 public:
  Planes(const MicroKernels& mk, const TapConv& conv) : mk_(mk), conv_(conv), element_(mk.element_bytes) {
    Extent ys, quotients;
    int64_t stride = conv.stride_x;
    for (auto [z, y, x, volume] : conv.taps) {
      Phase phase{z, phase_of(x, stride)};
      ys.add(y);
      quotients.add((x - phase.column) / stride);
      if (std::find(phases_.begin(), phases_.end(), phase) == phases_.end()) phases_.push_back(phase);
    }
    first_row_ = ys.low;
    more_rows_ = ys.high - ys.low;
    first_column_ = quotients.low;
    padded_width_ = round_up(conv.grid_width, mk.lanes);
    pitch_ = padded_width_ + round_up(quotients.high - quotients.low, mk.lanes);  // rows start at cache lines
    planes_ = conv.channels * static_cast<int64_t>(phases_.size());
    int64_t most = (kBandBytes / (planes_ * pitch_ * element_) - 1 - more_rows_) / conv.stride_y + 1;
    most = std::max<int64_t>(most, 2 * kPlaneRows);
    bands_ = ceil_div(conv.grid_height, most);
    rows_ = (ceil_div(conv.grid_height, bands_) - 1) * conv.stride_y + 1 + more_rows_;
    for (int64_t c = 0; c < conv.channels; c++) {
      for (auto [z, y, x, volume] : conv.taps) {
        Phase phase{z, phase_of(x, stride)};
        int64_t column = (x - phase.column) / stride - first_column_;
        auto at = std::find(phases_.begin(), phases_.end(), phase) - phases_.begin();
        int64_t plane = c * static_cast<int64_t>(phases_.size()) + at;
        offsets_.push_back(((plane * rows_ + y - first_row_) * pitch_ + column) * element_);
      }
    }
  }

  int64_t bands() const { return bands_; }
  Range band(int64_t i) const { return even_part(conv_.grid_height, bands_, i); }
  int64_t bytes() const { return planes_ * rows_ * pitch_ * element_; }
  int64_t padded_width() const { return padded_width_; }
  int64_t row_step() const { return conv_.stride_y * pitch_ * element_; }
  const std::vector<int64_t>& offsets() const { return offsets_; }

  // What lies outside the input's planes is the same for all planes of a band: it is cleared once.
  void clear(char* out) const { std::memset(out, 0, static_cast<size_t>(bytes())); }

  void fill(GroupImage from, Range band, char* out) const {
    int64_t plane = rows_ * pitch_ * element_;
    for (int64_t c = 0; c < conv_.channels; c++) {
      for (const Phase& phase : phases_) {
        const char* x = conv_.input_plane(from.image, from.group, c, phase.slice, element_);
        int64_t partner = other_parity(phase);
        if (!x) {
          std::memset(out, 0, static_cast<size_t>(plane));
        } else if (partner == 0) {
          fill_plane(x, phase.column, band, out);
        } else if (phase.column == 0) {
          split_plane(x, band, out, out + partner * plane);
        }
        out += plane;
      }
    }
  }

  // The same rows of the next plane, which are copied as soon as these are done with.
  const char* ahead_of(GroupImage at, Range band) const {
    const char* x = conv_.input_plane(at.image, at.group, conv_.channels - 1, 0, element_);
    int64_t row = std::max<int64_t>(0, band.begin * conv_.stride_y + first_row_);
    return (x ? x : conv_.x) + (conv_.height + row) * conv_.width * element_;
  }

 private:
  struct Phase {
    int64_t slice, column;
    bool operator==(const Phase&) const = default;
  };

  // How many phases away the odd columns of even ones lie, or the even ones of odd; 0 if no tap is there.
  int64_t other_parity(const Phase& phase) const {
    if (conv_.stride_x != 2) return 0;
    auto other = std::find(phases_.begin(), phases_.end(), Phase{phase.slice, 1 - phase.column});
    return other == phases_.end() ? 0 : (&*other - &phase);
  }

  // Even and odd columns at once.
  void split_plane(const char* x, Range band, char* evens, char* odds) const {
    int64_t top = band.begin * conv_.stride_y + first_row_, lanes = mk_.lanes;
    int64_t bottom = (band.end - 1) * conv_.stride_y + first_row_ + more_rows_ + 1;
    int64_t begin = std::max<int64_t>(0, -first_column_), first = begin + first_column_;
    int64_t count = std::min(2 * (pitch_ - begin), conv_.width - 2 * first), whole = count / (2 * lanes);
    int64_t from_row = conv_.width * element_, y = std::max<int64_t>(0, top), end = std::min(bottom, conv_.height);
    if (count <= 0 || y >= end) return;
    int64_t rest = count - whole * 2 * lanes, evens_rest = (rest + 1) / 2;
    int64_t masks = split_masks(lanes, rest, evens_rest, rest - evens_rest);
    int64_t to = ((y - top) * pitch_ + begin) * element_;
    if (from_row >= kLongRow) {  // the same rows of the next plane
      const char* next = x + (conv_.height + y) * from_row;
      for (int64_t i = 0; i < (end - y) * from_row; i += kCacheLine) __builtin_prefetch(next + i, 0, 2);
    }
    mk_.split_2(end - y, whole, x + y * from_row + 2 * first * element_, from_row, evens + to, odds + to,
                pitch_ * element_, masks);
  }

  void fill_plane(const char* x, int64_t phase, Range band, char* out) const {
    int64_t stride = conv_.stride_x, top = band.begin * conv_.stride_y + first_row_;
    int64_t bottom = (band.end - 1) * conv_.stride_y + first_row_ + more_rows_ + 1;
    int64_t begin = std::max<int64_t>(0, -first_column_);
    int64_t end = std::min(pitch_, ceil_div(conv_.width - phase, stride) - first_column_);
    if (begin >= end) return;
    const char* from = x + ((begin + first_column_) * stride + phase) * element_;
    char* to = out + begin * element_;
    for (int64_t y = std::max<int64_t>(0, top); y < std::min(bottom, conv_.height); y++) {
      const char* row = from + y * conv_.width * element_;
      char* row_out = to + (y - top) * pitch_ * element_;
      if (stride == 1) {
        copy_row(row, (end - begin) * element_, row_out);
      } else if (element_ == 4) {
        copy_apart<float>(row, stride, end - begin, row_out);
      } else {
        copy_apart<double>(row, stride, end - begin, row_out);
      }
    }
  }

  const MicroKernels& mk_;
  const TapConv& conv_;
  int64_t element_, first_row_, more_rows_, first_column_, padded_width_, pitch_, planes_, bands_, rows_;
  std::vector<Phase> phases_;
  std::vector<int64_t> offsets_;
};

// Taps that stand in columns of some height, the neighbours of each a row of outputs apart; row by row in memory.
bool in_columns(const TapConv& conv, int64_t height) {
  if (conv.channels != 1 || conv.stride_y != 1 || conv.tap_count() % height) return false;
  int64_t width = conv.tap_count() / height;
  for (int64_t t = width; t < conv.tap_count(); t++) {
    TapPosition tap = conv.taps[static_cast<size_t>(t)], above = conv.taps[static_cast<size_t>(t - width)];
    if (tap.x != above.x || tap.y != above.y + 1 || tap.z != above.z) return false;
  }
  return true;
}

class ForwardRun {
 public:
  ForwardRun(const MicroKernels& mk, const TapConv& conv)
      : mk_(mk), ck_(*conv_kernels(mk)), conv_(conv), planes_(mk, conv) {
    for (size_t i = 0; i < std::size(kColumnHeights); i++) {
      if (!in_columns(conv, kColumnHeights[i])) continue;
      columns_ = ck_.plane_column[i];
      taps_ = conv.tap_count() / kColumnHeights[i];
    }
  }

  // Where results go other than to y: `shift` bytes from there, or rows of their own, `pitch` bytes apart.
  struct Place {
    int64_t shift = 0;
    char* rows = nullptr;  // [output][row]
    int64_t pitch = 0;
  };

  int64_t bands() const { return planes_.bands(); }
  int64_t row_bytes() const { return planes_.padded_width() * mk_.element_bytes; }

  // All slices and bands of one group of one image of the batch.
  void run_volume(int64_t i, int64_t shift) const {
    int64_t slices = conv_.grid_slices;
    for (int64_t b = 0; b < bands(); b++) run_band({i * slices, (i + 1) * slices}, b, {.shift = shift});
  }

  // The same, and another phase's columns between its own.
  void run_volume_with(const ForwardRun& odds, int64_t i, int64_t shift) const {
    int64_t pitch = std::max(row_bytes(), odds.row_bytes());
    auto bytes = static_cast<size_t>(conv_.outputs * conv_.grid_height * pitch);
    Workspace work(2 * Workspace::padded(bytes));
    Place even{.rows = work.take(bytes), .pitch = pitch}, odd{.rows = work.take(bytes), .pitch = pitch};
    for (int64_t slice = i * conv_.grid_slices; slice < (i + 1) * conv_.grid_slices; slice++) {
      for (int64_t b = 0; b < bands(); b++) run_band({slice, slice + 1}, b, even);
      for (int64_t b = 0; b < odds.bands(); b++) odds.run_band({slice, slice + 1}, b, odd);
      merge({conv_, slice}, even, odd, shift);
    }
  }

  // Some images of groups, one band.
  void run_band(Range images, int64_t b, Place place) const {
    Range band = planes_.band(b);
    int64_t spread = conv_.step_x == 1 || place.rows ? 0 : band.size() * row_bytes();
    auto scratch_bytes = static_cast<size_t>(planes_.bytes()), spread_bytes = static_cast<size_t>(spread);
    Workspace work(Workspace::padded(scratch_bytes) + Workspace::padded(spread_bytes));
    char *scratch = work.take(scratch_bytes), *rows = spread ? work.take(spread_bytes) : nullptr;
    planes_.clear(scratch);
    for (int64_t i = images.begin; i < images.end; i++) {
      planes_.fill({conv_, i}, band, scratch);
      for (int64_t o = 0; o < conv_.outputs; o++) {
        if (place.rows) {
          char* to = place.rows + (o * conv_.grid_height + band.begin) * place.pitch;
          run_output({conv_, i}, o, band, scratch, to, place.pitch);
        } else if (rows) {
          run_output({conv_, i}, o, band, scratch, rows, row_bytes());
          spread_rows({conv_, i}, o, band, rows, place.shift);
        } else {
          run_output({conv_, i}, o, band, scratch, first_of({conv_, i}, o, band) + place.shift, y_row());
        }
      }
    }
  }

 private:
  // Between rows of this phase in y.
  int64_t y_row() const { return conv_.step_y * conv_.out_width * mk_.element_bytes; }

  char* first_of(GroupImage at, int64_t o, Range band) const {
    int64_t first = conv_.first_y + band.begin * conv_.step_y;
    char* y = conv_.output_plane(at.image, at.group, o, mk_.element_bytes);
    return y + (first * conv_.out_width + conv_.first_x) * mk_.element_bytes;
  }

  void run_output(GroupImage at, int64_t o, Range band, const char* scratch, char* y, int64_t row) const {
    int64_t element = mk_.element_bytes, channel = at.group * conv_.outputs + o;
    PlaneArgs args{};
    args.taps = planes_.offsets().data();
    args.count = conv_.depth();
    args.weights = const_cast<char*>(conv_.weights) + channel * conv_.weights_row;
    args.x_row = planes_.row_step();
    if (conv_.bias) args.flags |= kRowBias;
    if (conv_.act == Activation::Relu) args.flags |= kRelu;
    args.bias = conv_.bias + (conv_.bias ? channel * element : 0);
    args.y_row = row;
    args.ahead = planes_.ahead_of(at, band);
    run_rows(args, scratch, y, band.size());
  }

  void spread_rows(GroupImage at, int64_t o, Range band, const char* rows, int64_t shift) const {
    char* y = first_of(at, o, band) + shift;
    for (int64_t i = 0; i < band.size(); i++) {
      const char* from = rows + i * row_bytes();
      if (mk_.element_bytes == 4) {
        spread_apart<float>(from, conv_.step_x, conv_.grid_width, y + i * y_row());
      } else {
        spread_apart<double>(from, conv_.step_x, conv_.grid_width, y + i * y_row());
      }
    }
  }

  void merge(GroupImage at, const Place& even, const Place& odd, int64_t shift) const {
    int64_t lanes = mk_.lanes, whole = conv_.out_width / (2 * lanes), rest = conv_.out_width - whole * 2 * lanes;
    int64_t masks = lane_mask(std::min(rest, lanes)) | int64_t{lane_mask(std::max<int64_t>(0, rest - lanes))} << 16;
    for (int64_t o = 0; o < conv_.outputs; o++) {
      int64_t from = o * conv_.grid_height * even.pitch;
      mk_.merge_2(conv_.grid_height, whole, even.rows + from, odd.rows + from, even.pitch,
                  first_of(at, o, {0, conv_.grid_height}) + shift, y_row(), masks);
    }
  }

  void run_rows(PlaneArgs args, const char* x, char* y, int64_t rows) const {
    bool in_columns = columns_ && rows >= kPlaneRows;
    const ConvKernels::Plane* blocks = in_columns ? columns_ : ck_.plane_rows;
    int64_t vectors = planes_.padded_width() / mk_.lanes;
    int64_t parts = ceil_div(vectors, in_columns ? kColumnVectors : kMaxVectors);
    if (in_columns) {
      args.count = taps_;
      args.weights_row = taps_ * mk_.element_bytes;
    }
    for (int64_t i = 0; i < parts; i++) {
      Range columns = even_part(vectors, parts, i);
      int64_t tail = std::min<int64_t>(mk_.lanes, conv_.grid_width - (columns.end - 1) * mk_.lanes);
      args.mask = lane_mask(tail);
      args.x = x + columns.begin * mk_.vector_bytes;
      args.y = y + columns.begin * mk_.vector_bytes;
      args.blocks = rows < kPlaneRows ? rows : rows / kPlaneRows;
      if (i > 0) args.ahead += rows * even_part(vectors, parts, i - 1).size() * kCacheLine;
      (rows < kPlaneRows ? ck_.plane_row : blocks)[columns.size()](&args);
      if (rows < kPlaneRows || rows % kPlaneRows == 0) continue;
      // The last block overlaps the one before: the same values are written twice.
      args.x += (rows - kPlaneRows) * args.x_row;
      args.y += (rows - kPlaneRows) * args.y_row;
      args.blocks = 1;
      blocks[columns.size()](&args);
    }
  }

  const MicroKernels& mk_;
  const ConvKernels& ck_;
  const TapConv& conv_;
  Planes planes_;
  const ConvKernels::Plane* columns_ = nullptr;  // null where taps do not stand in columns
  int64_t taps_ = 0;                             // of a row
};

// Narrow planes of one channel each are taken whole, without a scratch: rows would leave most lanes of a vector empty.
bool flat_suits(const MicroKernels& mk, const TapConv& conv) {
  return mk.masked && conv.channels == 1 && conv.outputs == 1 && conv.direct() && conv.dense_output() &&
         2 * conv.grid_width <= mk.lanes;
}

// Where the taps of whole planes lie, and their lanes inside the input by vector and tap.
struct FlatTaps {
  std::vector<int64_t> offsets;
  std::vector<uint16_t> masks;
  int64_t vectors, tail;

  FlatTaps(const MicroKernels& mk, const TapConv& conv)
      : masks(static_cast<size_t>(ceil_div(conv.volume(), mk.lanes) * conv.tap_count())),
        vectors(ceil_div(conv.volume(), mk.lanes)),
        tail(conv.volume() - (vectors - 1) * mk.lanes) {
    int64_t taps = conv.tap_count();
    for (int64_t t = 0; t < taps; t++) {
      offsets.push_back(tap_distance(conv, t) * mk.element_bytes);
      for_valid_pixels(
          conv, t, [&](Range pixels, bool inside) { mark_pixels(masks.data() + t, taps, mk.lanes, pixels, inside); });
    }
  }
  void describe(PlaneArgs& args, int64_t first_tap, int64_t count) const {
    args.taps = offsets.data() + first_tap;
    args.count = count;
    args.masks = masks.data() + first_tap;
    args.masks_row = static_cast<int64_t>(offsets.size() * sizeof(uint16_t));
    args.vectors = vectors;
    args.mask = lane_mask(tail);
  }
};

void flat_forward(const MicroKernels& mk, const TapConv& conv) {
  FlatTaps taps(mk, conv);
  const ConvKernels& ck = *conv_kernels(mk);
  int64_t planes = conv.batch * conv.groups, element = mk.element_bytes;
  PlaneArgs args{};
  taps.describe(args, 0, conv.tap_count());
  args.x_row = conv.in_volume() * element;
  args.y_row = conv.volume() * element;
  args.weights_row = conv.weights_row;
  if (conv.bias) args.flags |= kRowBias;
  if (conv.act == Activation::Relu) args.flags |= kRelu;
  int64_t parts = std::clamp<int64_t>(conv.work() / kChunkWork, 1, planes);
  parallel_for(parts, [&](int64_t chunk) {
    Range part = even_part(planes, parts, chunk);
    for (int64_t i = part.begin; i < part.end;) {
      int64_t group = i % conv.groups, end = std::min(part.end, i - group + conv.groups);
      PlaneArgs own = args;
      while (i < end) {
        bool many = end - i >= kFlatPlanes;
        own.blocks = many ? (end - i) / kFlatPlanes : end - i;
        own.x = conv.x + i * args.x_row;
        own.y = conv.y + i * args.y_row;
        own.weights = const_cast<char*>(conv.weights) + i % conv.groups * conv.weights_row;
        own.bias = conv.bias + (conv.bias ? i % conv.groups * element : 0);
        (many ? ck.plane_flat_4 : ck.plane_flat_1)(&own);
        i += many ? own.blocks * kFlatPlanes : own.blocks;
      }
    }
  });
}

class SumsRun {
 public:
  SumsRun(const MicroKernels& mk, const TapConv& conv, const char* dy)
      : mk_(mk), ck_(*conv_kernels(mk)), conv_(conv), dy_(dy), planes_(mk, conv) {
    if (flat_suits(mk, conv)) flat_.emplace(mk, conv);
    images_ = flat_ ? conv.batch : conv.images();
    parts_ = std::min(images_, ceil_div(kChunks, conv.groups));
    sums_.emplace(static_cast<size_t>(parts_ * part_bytes()));
  }

  template <class T>
  void run(T* dw) const {
    std::memset(sums_->as(), 0, static_cast<size_t>(parts_ * part_bytes()));
    parallel_for(parts_ * conv_.groups, [&](int64_t i) {
      if (flat_) return run_flat(i / conv_.groups, i % conv_.groups);
      run_chunk(i / conv_.groups, i % conv_.groups);
    });
    int64_t lanes = mk_.lanes, weights = conv_.outputs * conv_.depth();
    parallel_for(ceil_div(conv_.groups, kReducedGroups), [&](int64_t block) {
      int64_t end = std::min((block + 1) * kReducedGroups, conv_.groups) * weights;
      for (int64_t i = block * kReducedGroups * weights; i < end; i++) {
        T total = 0;
        for (int64_t part = 0; part < parts_; part++) {
          const T* lane = reinterpret_cast<const T*>(sums_->as() + part * part_bytes()) + i * lanes;
          for (int64_t j = 0; j < lanes; j++) total += lane[j];
        }
        dw[i] = total;
      }
    });
  }

 private:
  int64_t part_bytes() const { return conv_.groups * conv_.outputs * conv_.depth() * mk_.vector_bytes; }

  char* sums_of(int64_t part, int64_t group) const {
    return sums_->as() + part * part_bytes() + group * conv_.outputs * conv_.depth() * mk_.vector_bytes;
  }

  // The same for whole planes.
  void run_flat(int64_t part, int64_t group) const {
    Range images = even_part(images_, parts_, part);
    PlaneArgs args{};
    args.x_row = conv_.groups * conv_.in_volume() * mk_.element_bytes;
    args.y_row = conv_.groups * conv_.volume() * mk_.element_bytes;
    args.x = conv_.x + images.begin * args.x_row + group * conv_.in_volume() * mk_.element_bytes;
    args.y = const_cast<char*>(dy_) + images.begin * args.y_row + group * conv_.volume() * mk_.element_bytes;
    args.blocks = images.size();
    int64_t depth = conv_.depth(), parts = ceil_div(depth, mk_.max_plane_sums);
    for (int64_t i = 0; i < parts; i++) {
      Range taps = even_part(depth, parts, i);
      flat_->describe(args, taps.begin, taps.size());
      args.weights = sums_of(part, group) + taps.begin * mk_.vector_bytes;
      ck_.flat_sums[taps.size()](&args);
    }
  }

  // One part of the images, one group.
  void run_chunk(int64_t part, int64_t group) const {
    auto bytes = static_cast<size_t>(planes_.bytes());
    Workspace work(Workspace::padded(bytes));
    char* scratch = work.take(bytes);
    char* sums = sums_of(part, group);
    Range images = even_part(images_, parts_, part);
    for (int64_t b = 0; b < planes_.bands(); b++) {
      planes_.clear(scratch);
      for (int64_t n = images.begin; n < images.end; n++) {
        int64_t slices = conv_.grid_slices, volume = (n / slices * conv_.groups + group) * conv_.outputs;
        planes_.fill({conv_, volume / conv_.outputs * slices + n % slices}, planes_.band(b), scratch);
        for (int64_t o = 0; o < conv_.outputs; o++) {
          add_plane((volume + o) * slices + n % slices, planes_.band(b), scratch,
                    sums + o * conv_.depth() * mk_.vector_bytes);
        }
      }
    }
  }

  void add_plane(int64_t plane, Range band, const char* scratch, char* sums) const {
    int64_t depth = conv_.depth(), parts = ceil_div(depth, mk_.max_plane_sums),
            vectors = planes_.padded_width() / mk_.lanes;
    PlaneArgs args{};
    args.x = scratch;
    args.x_row = planes_.row_step();
    args.y_row = conv_.grid_width * mk_.element_bytes;
    args.y = const_cast<char*>(dy_) + (plane * conv_.grid_height + band.begin) * args.y_row;
    args.blocks = band.size();
    args.vectors = vectors;
    args.mask = lane_mask(conv_.grid_width - (vectors - 1) * mk_.lanes);
    for (int64_t i = 0; i < parts; i++) {
      Range taps = even_part(depth, parts, i);
      args.taps = planes_.offsets().data() + taps.begin;
      args.weights = sums + taps.begin * mk_.vector_bytes;
      ck_.plane_sums[taps.size()](&args);
    }
  }

  const MicroKernels& mk_;
  const ConvKernels& ck_;
  const TapConv& conv_;
  const char* dy_;
  Planes planes_;
  std::optional<FlatTaps> flat_;
  int64_t images_, parts_;
  std::optional<Scratch> sums_;
};

bool scratch_fits(const MicroKernels& mk, const TapConv& conv) {
  return (conv.tap_count() > 1 || conv.channels == 1) && conv.depth() <= 1024 && Planes(mk, conv).bytes() <= kMostBytes;
}

}  // namespace

bool planes_suit(const MicroKernels& mk, const TapConv& conv) {
  return mk.max_plane_sums && conv.outputs <= kFewOutputs && scratch_fits(mk, conv) && conv_kernels(mk);
}

void planes_forward(const MicroKernels& mk, const std::vector<const TapConv*>& phases) {
  if (phases.size() == 1 && shifts_suit(mk, *phases[0])) return shifts_forward(mk, *phases[0]);
  if (phases.size() == 1 && flat_suits(mk, *phases[0])) return flat_forward(mk, *phases[0]);
  std::vector<ForwardRun> runs;
  for (const TapConv* phase : phases) runs.emplace_back(mk, *phase);
  const TapConv& first = *phases[0];
  int64_t volumes = first.groups * first.batch, work = 0, computed = 0;
  int64_t pixels = first.out_slices * first.out_height * first.out_width;
  int64_t volume = first.outputs * pixels * mk.element_bytes;
  for (const TapConv* phase : phases) {
    work += phase->work();
    computed += phase->volume();
  }
  // Large results are made in the cache, a volume at a time, and then go past the caches.
  bool streams = volumes * volume >= kStreamBytes && volume <= kMostBytes && computed == pixels;
  if (runs.size() == 1 && !streams) {  // cut into slices and bands as well
    int64_t bands = runs[0].bands(), images = first.groups * first.images();
    int64_t parts = std::clamp<int64_t>(work / bands / kChunkWork, 1, images);
    return parallel_for(parts * bands, [&](int64_t chunk) {
      runs[0].run_band(even_part(images, parts, chunk / bands), chunk % bands, {});
    });
  }
  int64_t parts = std::clamp<int64_t>(work / kChunkWork, 1, volumes);
  parallel_for(parts, [&](int64_t chunk) {
    Range part = even_part(volumes, parts, chunk);
    auto bytes = static_cast<size_t>(streams ? volume : 0);
    Workspace work_memory(bytes);
    char* made = work_memory.take(bytes);
    for (int64_t i = part.begin; i < part.end; i++) {
      char* y = first.y + i * volume;
      int64_t shift = streams ? made - y : 0;
      for (size_t r = 0; r < runs.size(); r++) {
        if (r + 1 < runs.size() && alternate(*phases[r], *phases[r + 1])) {
          runs[r].run_volume_with(runs[r + 1], i, shift);
          r++;
        } else {
          runs[r].run_volume(i, shift);
        }
      }
      if (streams) copy_bytes(y, made, bytes, true);
    }
    if (streams) stream_fence();
  });
}

bool planes_suit_weights(const MicroKernels& mk, const TapConv& conv) {
  return mk.max_plane_sums && conv.channels * conv.outputs <= kFewSums && scratch_fits(mk, conv) && conv_kernels(mk);
}

void planes_weight_gradient(const MicroKernels& mk, const TapConv& conv, const char* dy, char* dw) {
  SumsRun run(mk, conv, dy);
  if (mk.element_bytes == 4) {
    run.run(reinterpret_cast<float*>(dw));
  } else {
    run.run(reinterpret_cast<double*>(dw));
  }
}

}  // namespace fl
