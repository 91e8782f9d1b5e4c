#include "runtime/contract/conv_pixels.h"

#include <numeric>

#include "runtime/contract/conv_images.h"
#include "runtime/contract/conv_kernels.h"
#include "runtime/contract/conv_planes.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Units at least, and pixels of one at most, so that the results of a panel stay in the nearest cache.
constexpr int64_t kUnits = 24, kUnitPixels = 512;
// Pixels side by side from which a tile goes along a row, which reads fewer lines than one that goes down a column, or
// down a column.
constexpr int64_t kAlongRow = 4;
// Neighbouring channels that are taken together, as they share lines; the nearest cache holds the panel for those
// ahead.
constexpr int64_t kBlockChannels = 4;
// Rows of a panel that are packed together.
constexpr int64_t kPackedDepth = 256;
// The cost of a row of a panel that is packed, in pixels that it is multiplied by, and of a tile's beginning and end,
// in pixels times depth. A tile of less than kFewPixels waits for its panel.
constexpr int64_t kPackCost = 64, kTileCost = 50, kFewPixels = 6;
// Taps up to which areas are few, and pixels of a row up to which a unit is small enough.
constexpr int64_t kMostTaps = 128, kMostWidth = 2048;
// Pixels from which packing the weights may pay.
constexpr int64_t kLeastPixels = 768;

// By the number of pixels; null where none can be had.
const MicroKernels::Kernel* taps_kernels(const MicroKernels& mk) {
  if (mk.taps[kMaxHeight]) return mk.taps;
  const ConvKernels* kernels = conv_kernels(mk);
  return kernels ? kernels->taps : nullptr;
}

// Outputs of one axis, cut where taps begin or cease to reach the input.
std::vector<Range> stretches(int64_t outputs, int64_t stride, int64_t size, const std::vector<int64_t>& taps) {
  std::vector<int64_t> cuts{0, outputs};
  for (int64_t tap : taps) {
    for (int64_t edge : {-tap, size - tap}) cuts.push_back(std::clamp<int64_t>(ceil_div(edge, stride), 0, outputs));
  }
  std::ranges::sort(cuts);
  std::vector<Range> result;
  for (size_t i = 1; i < cuts.size(); i++) {
    if (cuts[i - 1] < cuts[i]) result.push_back({cuts[i - 1], cuts[i]});
  }
  return result;
}

bool reaches(int64_t tap, const Range& outputs, int64_t stride, int64_t size) {
  int64_t at = outputs.begin * stride + tap;
  return at >= 0 && at < size;
}

// Bytes between images, groups, channels and pixels.
struct Places {
  int64_t image, group, channel, pixel;
  Places(int64_t groups, int64_t channels, int64_t volume, int64_t element, bool last)
      : image(groups * channels * volume * element),
        group(channels * (last ? 1 : volume) * element),
        channel((last ? 1 : volume) * element),
        pixel((last ? groups * channels : 1) * element) {}
};

// Pixels that the same taps reach the input for.
struct Area {
  Range axes[3];
  size_t first_tap;
  int64_t count;
  int64_t first_pixel = 0;  // of those of narrow areas
  int64_t pixels() const { return axes[0].size() * axes[1].size() * axes[2].size(); }
  // The axis that tiles go along; 0 for corners and the like, whose tiles go through the images of the batch.
  int along() const { return axes[2].size() >= kAlongRow ? 2 : axes[1].size() >= kAlongRow ? 1 : 0; }
};

// One of the convolutions: its areas and their taps, each for a block of channels.
struct Part {
  const TapConv& conv;
  int64_t block;
  std::vector<Area> areas;
  std::vector<Tap> taps;
  std::optional<Scratch> weights;  // [group][panel][channel][tap][output]
  std::optional<Scratch> corners;  // results of narrow areas: [group][panel][pixel][image][output]
  int64_t panel_bytes = 0, corner_pixels = 0;

  // `row_bytes` is the size of a row of the panels.
  Part(const TapConv& conv, const Places& in, int64_t row_bytes);
  int64_t cost() const;

 private:
  void add_area(const Range& z, const Range& y, const Range& x, const Places& in, int64_t row_bytes);
};

// Channels that lie side by side are taken together, as they share lines.
Part::Part(const TapConv& conv_, const Places& in, int64_t row_bytes)
    : conv(conv_), block(in.channel < in.pixel ? std::gcd(conv_.channels, kBlockChannels) : 1) {
  std::vector<int64_t> z, y, x;
  for (const TapPosition& tap : conv.taps) {
    z.push_back(tap.z);
    y.push_back(tap.y);
    x.push_back(tap.x);
  }
  auto rows = stretches(conv.grid_height, conv.stride_y, conv.height, y);
  auto columns = stretches(conv.grid_width, conv.stride_x, conv.width, x);
  for (const Range& slices : stretches(conv.grid_slices, conv.stride_z, conv.slices, z)) {
    for (const Range& row : rows) {
      for (const Range& column : columns) add_area(slices, row, column, in, row_bytes);
    }
  }
  std::ranges::stable_sort(areas, std::ranges::greater(), [](const Area& area) { return area.axes[2].size(); });
}

void Part::add_area(const Range& z, const Range& y, const Range& x, const Places& in, int64_t row_bytes) {
  Area area{{z, y, x}, taps.size(), 0};
  for (int64_t t = 0; t < conv.tap_count(); t++) {
    const TapPosition& tap = conv.taps[static_cast<size_t>(t)];
    if (!reaches(tap.z, z, conv.stride_z, conv.slices) || !reaches(tap.y, y, conv.stride_y, conv.height)) continue;
    if (!reaches(tap.x, x, conv.stride_x, conv.width)) continue;
    for (int64_t c = 0; c < block; c++) {
      Tap& own = taps.emplace_back();
      own.offset = ((tap.z * conv.height + tap.y) * conv.width + tap.x) * in.pixel + c * in.channel;
      own.panel = (c * conv.tap_count() + t) * row_bytes;
    }
    area.count++;
  }
  if (!area.along()) {
    area.first_pixel = corner_pixels;
    corner_pixels += area.pixels();
  }
  areas.push_back(area);
}

// Pixels times depth of all areas, and what tiles cost beside them.
int64_t Part::cost() const {
  int64_t sum = 0, depth = conv.channels;
  for (const Area& area : areas) {
    int64_t along = area.along() ? area.axes[area.along()].size() : conv.batch;
    int64_t lines = conv.batch * area.pixels() / along;
    sum += lines * (std::max(along, kFewPixels) * area.count * depth + ceil_div(along, kMaxHeight) * kTileCost);
  }
  return sum;
}

// Bytes between neighbours of each axis.
struct Steps {
  int64_t axes[3];
  int64_t to(int64_t z, int64_t y, int64_t x) const { return z * axes[0] + y * axes[1] + x * axes[2]; }
};

// Where results are written to: that of the first position, and how far it is to the others.
struct Results {
  char* data;
  Steps steps;
  // The same for the grid of a convolution.
  Results on_grid(const TapConv& conv) const {
    auto [z, y, x] = steps.axes;
    return {data + steps.to(conv.first_z, conv.first_y, conv.first_x),
            {z * conv.step_z, y * conv.step_y, x * conv.step_x}};
  }
};

Range overlap(const Range& a, const Range& b) { return {std::max(a.begin, b.begin), std::min(a.end, b.end)}; }

// All of one image and group, or some of its slices or rows.
struct Box {
  int64_t image, group;
  Range slices, rows;  // of the grid
};

class PixelsRun {
 public:
  PixelsRun(const MicroKernels& mk, const std::vector<const TapConv*>& convs, bool last);
  void run();

 private:
  void pack_weights(Part& part) const;
  void unit(const Box& box, Range panels) const;
  void run_corners();
  void run_corner(const Part& part, const Area& area, int64_t group, int64_t panel) const;
  void copy_corner(const Part& part, const Area& area, const Box& box, int64_t panel, const Results& results) const;
  MicroArgs arguments(const Part& part, const Area& area, int64_t group, int64_t panel) const;
  void run_line(MicroArgs& args, const char* a, char* c, int64_t pixels, int64_t next) const;
  char* corner(const Part& part, int64_t group, int64_t panel, int64_t pixel) const {
    int64_t index = (group * panels_ + panel) * part.corner_pixels + pixel;
    return part.corners->as() + index * whole_.batch * row_bytes_;
  }
  Steps input_steps(const TapConv& conv) const {
    int64_t row = conv.width * in_.pixel;
    return {{conv.stride_z * conv.height * row, conv.stride_y * row, conv.stride_x * in_.pixel}};
  }
  Results results_of(const Box& box, int64_t first, char* scratch) const;
  void run_area(const Part& part, const Area& area, const Box& box, int64_t panel, const Results& results) const;
  void store(const Box& box, int64_t first, int64_t outputs, const char* results) const;
  Range out_slices(const Box& box) const {
    return {box.slices.begin * whole_.step_z, std::min(box.slices.end * whole_.step_z, whole_.out_slices)};
  }
  Range out_rows(const Box& box) const {
    return {box.rows.begin * whole_.step_y, std::min(box.rows.end * whole_.step_y, whole_.out_height)};
  }

  const MicroKernels& mk_;
  const MicroKernels::Kernel* taps_;
  const TapConv& whole_;  // any of them: what they share
  bool last_;             // channels are last
  Places in_, out_;
  int64_t width_, row_bytes_, panels_;
  std::list<Part> parts_;
};

PixelsRun::PixelsRun(const MicroKernels& mk, const std::vector<const TapConv*>& convs, bool last)
    : mk_(mk),
      taps_(taps_kernels(mk)),
      whole_(*convs[0]),
      last_(last),
      in_(whole_.groups, whole_.channels, whole_.in_volume(), mk.element_bytes, last),
      out_(whole_.groups, whole_.outputs, whole_.out_slices * whole_.out_height * whole_.out_width, mk.element_bytes,
           last),
      width_(kTapsVectors * mk.lanes),
      row_bytes_(kTapsVectors * mk.vector_bytes),
      panels_(ceil_div(whole_.outputs, width_)) {
  for (const TapConv* conv : convs) pack_weights(parts_.emplace_back(*conv, in_, row_bytes_));
}

void PixelsRun::pack_weights(Part& part) const {
  const TapConv& conv = part.conv;
  int64_t depth = conv.depth(), blocks = ceil_div(depth, kPackedDepth);
  part.panel_bytes = round_up(depth, mk_.lanes) * row_bytes_;  // whole squares of lanes are packed
  part.weights.emplace(static_cast<size_t>(conv.groups * panels_ * part.panel_bytes));
  parallel_for(conv.groups * panels_ * blocks, [&](int64_t i) {
    int64_t panel = i / blocks, first = panel % panels_ * width_, k = i % blocks * kPackedDepth;
    PanelShape shape(std::min(width_, conv.outputs - first), mk_.lanes);
    shape.vectors = kTapsVectors;
    const char* from = conv.weights + (panel / panels_ * conv.outputs + first) * conv.weights_row;
    pack_panel(mk_, from + k * mk_.element_bytes, mk_.element_bytes, conv.weights_row,
               std::min(kPackedDepth, depth - k), shape,
               part.weights->as() + panel * part.panel_bytes + k * row_bytes_);
  });
}

void PixelsRun::run() {
  run_corners();
  int64_t grid_slices = ceil_div(whole_.out_slices, whole_.step_z);
  int64_t grid_height = ceil_div(whole_.out_height, whole_.step_y), images = whole_.batch * whole_.groups;
  int64_t plane = whole_.out_height * whole_.out_width;
  int64_t wanted = std::max(ceil_div(whole_.out_slices * plane, kUnitPixels), ceil_div(kUnits, images));
  int64_t in_slices = std::min(wanted, grid_slices), in_rows = std::min(ceil_div(wanted, in_slices), grid_height);
  int64_t boxes = images * in_slices * in_rows, blocks = std::min(ceil_div(kUnits, boxes), panels_);
  parallel_for(boxes * blocks, [&](int64_t i) {
    int64_t rest = i % boxes / in_rows, image = rest / in_slices;
    unit({image / whole_.groups, image % whole_.groups, even_part(grid_slices, in_slices, rest % in_slices),
          even_part(grid_height, in_rows, i % in_rows)},
         even_part(panels_, blocks, i / boxes));
  });
}

void PixelsRun::unit(const Box& box, Range panels) const {
  int64_t pixels = out_rows(box).size() * whole_.out_width;
  auto bytes = static_cast<size_t>(last_ ? 0 : out_slices(box).size() * pixels * row_bytes_);
  Workspace work(bytes);
  char* scratch = work.take(bytes);
  for (int64_t panel = panels.begin; panel < panels.end; panel++) {
    int64_t first = panel * width_, outputs = std::min(width_, whole_.outputs - first);
    Results results = results_of(box, first, scratch);
    for (const Part& part : parts_) {
      for (const Area& area : part.areas) {
        if (area.along()) {
          run_area(part, area, box, panel, results);
        } else if (!last_) {
          copy_corner(part, area, box, panel, results);
        }
      }
    }
    if (!last_) store(box, first, outputs, scratch);
  }
}

// What all tiles of an area and a panel share.
MicroArgs PixelsRun::arguments(const Part& part, const Area& area, int64_t group, int64_t panel) const {
  int64_t first = panel * width_, outputs = std::min(width_, whole_.outputs - first);
  MicroArgs args{};
  args.mask = lane_mask(outputs - (kTapsVectors - 1) * mk_.lanes);
  if (!last_) args.flags |= kNear;
  if (whole_.bias) args.flags |= kColumnBias;
  if (whole_.bias) args.column_bias = whole_.bias + (group * whole_.outputs + first) * mk_.element_bytes;
  if (whole_.act == Activation::Relu) args.flags |= kRelu;
  args.channel_step = part.block * in_.channel;
  args.panel_step = part.block * part.conv.tap_count() * row_bytes_;
  args.b = part.weights->as() + (group * panels_ + panel) * part.panel_bytes;
  args.k = area.count * part.conv.channels;
  args.taps = part.taps.data() + area.first_tap;
  args.taps_end = args.taps + area.count * part.block;
  return args;
}

Results PixelsRun::results_of(const Box& box, int64_t first, char* scratch) const {
  if (last_) {
    int64_t row = whole_.out_width * out_.pixel;
    char* y = whole_.y + box.image * out_.image + box.group * out_.group + first * out_.channel;
    return {y, {{whole_.out_height * row, row, out_.pixel}}};
  }
  int64_t row = whole_.out_width * row_bytes_, slice = out_rows(box).size() * row;
  return {scratch - out_slices(box).begin * slice - out_rows(box).begin * row, {{slice, row, row_bytes_}}};
}

// Pixels at one distance, in tiles; `next` is that of what will be read afterwards.
void PixelsRun::run_line(MicroArgs& args, const char* a, char* c, int64_t pixels, int64_t next) const {
  Tiles tiles(pixels, kMaxHeight);
  for (int64_t t = 0; t < tiles.count; t++) {
    int64_t begin = tiles.begin(t), height = tiles.begin(t + 1) - begin;
    args.a = a + begin * args.a_row;
    args.c = c + begin * args.c_row;
    args.prefetch = t + 1 < tiles.count ? height * args.a_row : next - begin * args.a_row;
    taps_[height](&args);
  }
}

// The pixels of an area that lie in a box, in tiles along one axis.
void PixelsRun::run_area(const Part& part, const Area& area, const Box& box, int64_t panel,
                         const Results& results) const {
  const Range axes[] = {overlap(area.axes[0], box.slices), overlap(area.axes[1], box.rows), area.axes[2]};
  int along = area.along(), other = 3 - along;
  int64_t slices = axes[0].size(), lines = axes[other].size(), pixels = axes[along].size();
  if (std::min({slices, lines, pixels}) <= 0) return;
  const Steps in = input_steps(part.conv);
  const Results out = results.on_grid(part.conv);
  const char* a = part.conv.x + box.image * in_.image + box.group * in_.group;
  a += in.to(axes[0].begin, axes[1].begin, axes[2].begin);
  char* c = out.data + out.steps.to(axes[0].begin, axes[1].begin, axes[2].begin);
  MicroArgs args = arguments(part, area, box.group, panel);
  args.a_row = in.axes[along];
  args.c_row = out.steps.axes[along];
  auto line = [&](const Steps& steps, int64_t i) { return i / lines * steps.axes[0] + i % lines * steps.axes[other]; };
  for (int64_t i = 0; i < slices * lines; i++) {
    int64_t next = i + 1 < slices * lines ? line(in, i + 1) - line(in, i) : 0;
    run_line(args, a + line(in, i), c + line(out.steps, i), pixels, next);
  }
}

template <class F>
void for_pixels(const Area& area, F&& run) {
  int64_t pixel = area.first_pixel;
  for (int64_t z = area.axes[0].begin; z < area.axes[0].end; z++) {
    for (int64_t y = area.axes[1].begin; y < area.axes[1].end; y++) {
      for (int64_t x = area.axes[2].begin; x < area.axes[2].end; x++) run(z, y, x, pixel++);
    }
  }
}

// All narrow areas, in tiles of images.
void PixelsRun::run_corners() {
  struct Corner {
    const Part& part;
    const Area& area;
  };
  std::vector<Corner> corners;
  for (Part& part : parts_) {
    if (!last_)
      part.corners.emplace(
          static_cast<size_t>(whole_.groups * panels_ * part.corner_pixels * whole_.batch * row_bytes_));
    for (const Area& area : part.areas) {
      if (!area.along()) corners.push_back({part, area});
    }
  }
  auto count = static_cast<int64_t>(corners.size());
  parallel_for(count * whole_.groups * panels_, [&](int64_t i) {
    const auto& [part, area] = corners[static_cast<size_t>(i % count)];
    run_corner(part, area, i / count / panels_, i / count % panels_);
  });
}

void PixelsRun::run_corner(const Part& part, const Area& area, int64_t group, int64_t panel) const {
  const Steps in = input_steps(part.conv);
  const Box box{0, group, {0, 0}, {0, 0}};
  const Results out = last_ ? results_of(box, panel * width_, nullptr).on_grid(part.conv) : Results{};
  MicroArgs args = arguments(part, area, group, panel);
  args.a_row = in_.image;
  args.c_row = last_ ? out_.image : row_bytes_;
  for_pixels(area, [&](int64_t z, int64_t y, int64_t x, int64_t pixel) {
    char* c = last_ ? out.data + out.steps.to(z, y, x) : corner(part, group, panel, pixel);
    run_line(args, part.conv.x + group * in_.group + in.to(z, y, x), c, whole_.batch, 0);
  });
}

// The pixels of a narrow area that lie in a box to their place among its results.
void PixelsRun::copy_corner(const Part& part, const Area& area, const Box& box, int64_t panel,
                            const Results& results) const {
  const Results out = results.on_grid(part.conv);
  for_pixels(area, [&](int64_t z, int64_t y, int64_t x, int64_t pixel) {
    if (z < box.slices.begin || z >= box.slices.end || y < box.rows.begin || y >= box.rows.end) return;
    const char* from = corner(part, box.group, panel, pixel) + box.image * row_bytes_;
    std::memcpy(out.data + out.steps.to(z, y, x), from, static_cast<size_t>(row_bytes_));
  });
}

// The results of a panel, [pixel][output], to the planes of its outputs.
void PixelsRun::store(const Box& box, int64_t first, int64_t outputs, const char* results) const {
  Range slices = out_slices(box), rows = out_rows(box);
  int64_t element = mk_.element_bytes, plane = whole_.out_height * whole_.out_width;
  int64_t pixels = rows.size() * whole_.out_width, step = whole_.out_slices * plane * element;
  int64_t output = (box.image * whole_.groups + box.group) * whole_.outputs + first;
  for (int64_t z = 0; z < slices.size(); z++) {
    int64_t corner = (output * whole_.out_slices + slices.begin + z) * plane + rows.begin * whole_.out_width;
    transpose_exactly(mk_, results + z * pixels * row_bytes_, row_bytes_, outputs, pixels, step,
                      whole_.y + corner * element);
  }
}

// Whether this takes less time than images as lanes do, which skip padding too, or else sums over taps.
bool wins(const MicroKernels& mk, const std::vector<const TapConv*>& convs, bool images, bool last) {
  if (convs.empty()) return false;
  const TapConv& whole = *convs[0];
  if (whole.tap_count() > kMostTaps || whole.out_width * whole.step_y > kMostWidth) return false;
  // A single tap reads every pixel once, whether that is dealt out before or not.
  if (!last && convs.size() == 1 && whole.tap_count() == 1) return false;
  Places in(whole.groups, whole.channels, whole.in_volume(), mk.element_bytes, last);
  int64_t volume = 0, cost = 0, others = 0;
  for (const TapConv* conv : convs) {
    if (planes_suit(mk, *conv)) return false;
    Part part(*conv, in, 1);
    for (const Area& area : part.areas) {
      if (area.count == 0) return false;  // kernels want some depth
      others += images ? conv->batch * area.pixels() * area.count * conv->channels : 0;
    }
    others += images ? 0 : conv->batch * conv->volume() * conv->depth();
    volume += conv->volume();
    cost += conv->depth() * kPackCost + part.cost();
  }
  bool direct = convs.size() == 1 && whole.direct();
  // In twentieths: what brings channels to the front, rearranges pixels, takes strides out or makes rows wider.
  int64_t more = (last ? 2 : 0) + (images ? 1 : direct ? 0 : 2);
  return volume == whole.out_slices * whole.out_height * whole.out_width && cost * 20 <= others * (20 + more);
}

}  // namespace

bool pixels_suit(const MicroKernels& mk, const Conv& conv, bool turned, bool last) {
  int64_t pixels = conv.batch, outputs = (turned ? conv.in_channels : conv.out_channels) / conv.groups;
  for (int64_t size : turned ? conv.size : conv.output) pixels *= size;
  if (mk.max_height[kTapsVectors] < kMaxHeight || pixels < kLeastPixels) return false;
  if (conv.in_channels * conv.out_channels == 0) return false;
  if (outputs % mk.lanes != 0 || 4 * round_up(outputs, kTapsVectors * mk.lanes) > 5 * outputs) return false;
  bool images = images_as_lanes(mk, conv) > 0;
  if (!turned) {
    TapConv taps = forward_taps(conv);
    return wins(mk, {&taps}, images, last) && taps_kernels(mk);
  }
  std::list<InputPhase> phases = input_phases(conv, nullptr, nullptr, nullptr, nullptr);
  return wins(mk, taps_of(phases), images, last) && taps_kernels(mk);
}

void run_pixels(const MicroKernels& mk, const std::vector<const TapConv*>& convs, bool last) {
  PixelsRun(mk, convs, last).run();
}

}  // namespace fl
