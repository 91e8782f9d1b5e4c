#include "runtime/contract/conv_taps.h"

#include "runtime/contract/conv_panels.h"
#include "runtime/contract/conv_split.h"
#include "runtime/pool.h"
#include "runtime/stream.h"

namespace fl {
namespace {

constexpr int64_t kWholeDepth = 800, kBlockDepth = 640;
// Multiply-adds of a chunk, and how many chunks at most a convolution is cut into.
constexpr int64_t kChunkWork = 1 << 19, kManyChunks = 256, kFewChunks = 24;
// Units from which each deals out the strides for itself, and bytes of a channel that it takes then, at least, if not
// all: less would be read too far out of the order of memory. Bytes of a chunk where all is dealt out first.
constexpr int64_t kFusedUnits = 16, kLeastPart = 8 << 10, kDealtBytes = 64 << 10;
// Panels that share one block of weights in the cache.
constexpr int64_t kSharedPanels = 4;
// Depth from which computing a few columns too many takes less time than expanding.
constexpr int64_t kWidenedDepth = 128;
// Outputs of a block, if there are so many, for which an expansion is made.
constexpr int64_t kExpandedOutputs = 128;
// Images of fewer pixels than this are computed several side by side.
constexpr int64_t kSmallImage = 256;

int64_t floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -ceil_div(-a, b); }

// What the units of a convolution have in common.
struct Cut {
  int vectors;
  int64_t width;          // pixels of a panel
  int64_t channels;       // of a block of depth
  int64_t output_blocks;  // cut of the output channels
};

Cut make_cut(const MicroKernels& mk, const TapConv& conv, int64_t units, int64_t least_outputs) {
  Cut cut;
  cut.vectors = panel_vectors(mk);
  cut.width = cut.vectors * mk.lanes;
  cut.channels = block_channels(conv.channels, conv.tap_count(), mk.element_bytes);
  int64_t wanted = std::clamp<int64_t>(conv.work() / kChunkWork, 1, kFewChunks);
  int64_t most = ceil_div(conv.outputs, least_outputs);
  cut.output_blocks = std::clamp<int64_t>(ceil_div(wanted, units), 1, most);
  return cut;
}

// Units are claimed in chunks of about even work; their order never matters.
template <class F>
void for_units(const TapConv& conv, int64_t units, F&& run) {
  int64_t chunks = std::clamp<int64_t>(conv.work() / kChunkWork, 1, std::min(units, kManyChunks));
  parallel_for(chunks, [&](int64_t chunk) {
    Range part = even_part(units, chunks, chunk);
    for (int64_t u = part.begin; u < part.end; u++) run(u);
  });
}

// What one block of depth adds to all panels of a unit.
struct Step {
  const MicroKernels& mk;
  const TapConv& conv;
  Range outputs;  // of all groups
  Range channels;
  MicroArgs args{};

  Step(const MicroKernels& mk_, const TapConv& conv_, Range outputs_, int64_t group, Range channels_)
      : mk(mk_),
        conv(conv_),
        outputs{group * conv_.outputs + outputs_.begin, group * conv_.outputs + outputs_.end},
        channels(channels_) {
    if (channels.begin > 0) args.flags |= kAccumulate;
    if (channels.end < conv.channels) return;
    if (conv.bias) {
      args.flags |= kRowBias;
      args.row_bias = conv.bias + outputs.begin * mk.element_bytes;
    }
    if (conv.act == Activation::Relu) args.flags |= kRelu;
  }

  void panel(const Panel& p, const char* source, char* c) {
    PanelShape shape(p.width, mk.lanes);
    Tiles tiles(outputs.size(), mk.max_height[shape.vectors]);
    int64_t element = mk.element_bytes;
    const char* weights = p.weights + outputs.begin * p.weights_row + channels.begin * p.count * element;
    args.k = channels.size() * p.count;
    args.mask = lane_mask(shape.tail);
    args.taps = p.taps;
    args.taps_end = p.taps + p.count;
    args.b = source;
    args.c = c;
    args.prefetch = p.width * element;
    bool make = mk.masked || p.whole;
    args.panel_step = make && tiles.count == 1 ? 0 : shape.vectors * mk.vector_bytes;
    if (!make) mk.make[shape.vectors][0](&args);
    sweep(mk, shape.vectors, args, {weights, p.weights_row, element}, tiles, make);
  }
};

// Stride 1 and rows of the same width: panels read the input itself, lane masks stand for the padding. With a `split`
// every unit first deals out what it reads, which then stays in the nearest cache.
class DirectRun {
 public:
  DirectRun(const MicroKernels& mk, const TapConv& conv, const Split* split = nullptr)
      : mk_(mk),
        conv_(conv),
        split_(split),
        panels_(mk, conv, panel_vectors(mk) * mk.lanes),
        groups_(split ? std::min(part_count(mk, *split), panels_.size()) : ceil_div(panels_.size(), kSharedPanels)),
        cut_(make_cut(mk, conv, conv.batch * conv.groups * groups_,
                      split ? kExpandedOutputs : 4 * mk.max_height[panel_vectors(mk)])),
        streams_(mk.vector_bytes == kLine && cut_.channels >= conv.channels &&
                 conv.volume() * mk.element_bytes % kLine == 0 &&
                 conv.batch * conv.groups * conv.outputs * conv.volume() * mk.element_bytes >= kStreamBytes) {}
  void run() {
    for_units(conv_, conv_.batch * conv_.groups * cut_.output_blocks * groups_, [&](int64_t u) { unit(u); });
  }
  // Parts of an image that are units: as many as are wanted, each of a size for the cache.
  static int64_t part_count(const MicroKernels& mk, const Split& split) {
    const TapConv& conv = split.conv();
    int64_t channels = block_channels(conv.channels, conv.tap_count(), mk.element_bytes);
    int64_t for_cache = ceil_div(channels * split.channel_bytes(), mk.l2_bytes / 4);
    return std::min(std::max(ceil_div(kFewChunks, conv.batch * conv.groups), for_cache), split.most_parts());
  }

 private:
  void unit(int64_t u) {
    int64_t panel_group = u % groups_, block = u / groups_ % cut_.output_blocks;
    int64_t image = u / (groups_ * cut_.output_blocks), group = image % conv_.groups;  // image and group together
    Range panels = even_part(panels_.size(), groups_, panel_group);
    Range outputs = even_part(conv_.outputs, cut_.output_blocks, block);
    int64_t element = mk_.element_bytes, plane = conv_.in_volume() * element, pixels = conv_.volume();
    size_t panel_size = panel_bytes(mk_, cut_.channels * conv_.tap_count(), cut_.vectors);
    auto dealt_size = static_cast<size_t>(split_ ? cut_.channels * plane : 0);
    Workspace work(Workspace::padded(panel_size) + Workspace::padded(dealt_size));
    char *panel_memory = work.take(panel_size), *dealt = work.take(dealt_size);
    for (int64_t c = 0; c < conv_.channels; c += cut_.channels) {
      Range channels{c, std::min(c + cut_.channels, conv_.channels)};
      Step step(mk_, conv_, outputs, group, channels);
      step.args.panel = panel_memory;
      step.args.c_row = pixels * element;
      step.args.channel_step = plane;
      const char* source = conv_.x + (image * conv_.channels + c) * plane;
      if (split_) source = deal_out(image, channels, panels, dealt);
      char* y = conv_.y + (image * conv_.outputs + outputs.begin) * pixels * element;
      for (int64_t p = panels.begin; p < panels.end; p++) {
        int64_t begin = panels_[p].begin * element;
        bool lines = reinterpret_cast<uintptr_t>(y + begin) % kLine == 0 && panels_[p].width % mk_.lanes == 0;
        step.args.flags = streams_ && lines ? step.args.flags | kStream : step.args.flags & ~kStream;
        step.panel(panels_[p], source + begin, y + begin);
      }
    }
    if (streams_) stream_fence();
  }

  // What some panels read of some channels, as if all of it had been dealt out; the same memory whatever the panels.
  const char* deal_out(int64_t image, Range channels, Range panels, char* dealt) const {
    const Panel& last = panels_[panels.end - 1];
    Split::Part part = split_->part_for({panels_[panels.begin].begin, last.begin + last.width});
    char* first = dealt - (part.slices.begin * conv_.height + part.rows.begin) * conv_.width * mk_.element_bytes;
    for (int64_t c = channels.begin; c < channels.end; c++) {
      split_->fill(image * conv_.channels + c, part, first + (c - channels.begin) * split_->channel_bytes());
    }
    return first;
  }

  const MicroKernels& mk_;
  const TapConv& conv_;
  const Split* split_;
  Panels panels_;
  int64_t groups_;
  Cut cut_;
  bool streams_;  // results are written once, and too large to stay in the caches
};

// With few units, or small parts of planes, it is better to deal out everything first.
void run_split(const MicroKernels& mk, const TapConv& conv) {
  Split split(mk, conv);
  int64_t images = conv.batch * conv.groups, planes = images * conv.channels;
  int64_t parts = DirectRun::part_count(mk, split);
  bool in_order = parts == 1 || split.channel_bytes() >= parts * kLeastPart;
  if (in_order && images * parts >= kFusedUnits) return DirectRun(mk, split.conv(), &split).run();
  Scratch memory(static_cast<size_t>(planes * split.channel_bytes()));
  int64_t chunks = std::clamp<int64_t>(planes * split.channel_bytes() / kDealtBytes, 1, planes);
  parallel_for(chunks, [&](int64_t chunk) {
    Range part = even_part(planes, chunks, chunk);
    for (int64_t i = part.begin; i < part.end; i++) {
      split.fill(i, split.all(), memory.as() + i * split.channel_bytes());
    }
  });
  TapConv dealt = split.conv();
  dealt.x = memory.as();
  DirectRun(mk, dealt).run();
}

// Everything else: bands of rows, or several small images side by side, are expanded first.
class ExpandedRun {
 public:
  ExpandedRun(const MicroKernels& mk, const TapConv& conv)
      : mk_(mk),
        conv_(conv),
        images_(side_by_side(mk, conv)),
        bands_(band_count(mk, conv, images_)),
        expansion_(conv, mk.element_bytes, images_, ceil_div(conv.grid_height, bands_)),
        cut_(make_cut(mk, conv, ceil_div(conv.images(), images_) * conv.groups * bands_, kExpandedOutputs)),
        in_place_(images_ == 1 && conv.dense_planes()) {
    cut_.channels = std::clamp<int64_t>(mk.l2_bytes * 3 / 8 / expansion_.channel_bytes(), 1, cut_.channels);
    cut_.channels = ceil_div(conv.channels, ceil_div(conv.channels, cut_.channels));
  }
  void run() {
    int64_t units = ceil_div(conv_.images(), images_) * conv_.groups * cut_.output_blocks * bands_;
    for_units(conv_, units, [&](int64_t u) { unit(u); });
  }

 private:
  static int64_t side_by_side(const MicroKernels& mk, const TapConv& conv) {
    int64_t pixels = conv.pixels();
    if (pixels > kSmallImage || pixels % mk.lanes == 0) return 1;
    return std::clamp<int64_t>(ceil_div(conv.images(), 2), 1, pixels <= 64 ? 8 : 4);
  }
  // Few rows at a time keep the expansion in the cache; many avoid doing the rows above and below again.
  static int64_t band_count(const MicroKernels& mk, const TapConv& conv, int64_t images) {
    if (images > 1) return 1;
    int64_t channels = block_channels(conv.channels, conv.tap_count(), mk.element_bytes);
    Expansion one_row(conv, mk.element_bytes, 1, 1);
    int64_t rows = std::max<int64_t>(8, mk.l2_bytes / 2 / (channels * one_row.channel_bytes()));
    return ceil_div(conv.grid_height, rows);
  }

  void unit(int64_t u) {
    int64_t block = u % cut_.output_blocks, band = u / cut_.output_blocks % bands_;
    int64_t rest = u / (cut_.output_blocks * bands_), group = rest % conv_.groups;
    Range outputs = even_part(conv_.outputs, cut_.output_blocks, block);
    Range rows = even_part(conv_.grid_height, bands_, band);
    int64_t image = rest / conv_.groups * images_, images = std::min(images_, conv_.images() - image);
    if (rows.size() == 0) return;
    int64_t element = mk_.element_bytes, pixels = rows.size() * expansion_.row_pixels();
    size_t panel_size = panel_bytes(mk_, cut_.channels * conv_.tap_count(), cut_.vectors);
    auto expanded = static_cast<size_t>(expansion_.bytes(cut_.channels, cut_.vectors * mk_.vector_bytes));
    int64_t result_row = in_place_ ? conv_.out_slices * conv_.pixels() : round_up(pixels, mk_.lanes) + mk_.lanes;
    auto result_size = static_cast<size_t>(in_place_ ? 0 : outputs.size() * result_row * element);
    auto taps_size = static_cast<size_t>(conv_.tap_count()) * sizeof(Tap);
    Workspace work(Workspace::padded(panel_size) + Workspace::padded(expanded) + Workspace::padded(result_size) +
                   Workspace::padded(taps_size));
    char* panel = work.take(panel_size);
    char* source = work.take(expanded);
    auto* taps = work.take<Tap>(taps_size);
    for (int64_t t = 0; t < conv_.tap_count(); t++) {
      taps[t] = plain_tap(mk_.lanes, 1, mk_.lanes);
      taps[t].offset = expansion_.tap_offset(t);
    }
    char* y = conv_.output_plane(image, group, outputs.begin, element);
    char* result = in_place_ ? y + rows.begin * conv_.grid_width * element : work.take(result_size);
    for (int64_t c = 0; c < conv_.channels; c += cut_.channels) {
      Range channels{c, std::min(c + cut_.channels, conv_.channels)};
      expansion_.fill(image, images, group, channels, rows, source);
      Step step(mk_, conv_, outputs, group, channels);
      step.args.panel = panel;
      step.args.c_row = result_row * element;
      step.args.channel_step = expansion_.channel_bytes();
      for (int64_t p = 0; p < pixels; p += cut_.width) {
        Panel shape{p,   std::min(cut_.width, pixels - p), taps, conv_.tap_count(), conv_.weights, conv_.weights_row,
                    true};
        step.panel(shape, source + p * element, result + p * element);
      }
    }
    if (!in_place_) {
      for (int64_t i = 0; i < images; i++)
        scatter(image + i, group, outputs, rows, result + i * conv_.grid_width * element, result_row);
    }
  }

  // Rows of the computed grid to their places in y.
  void scatter(int64_t image, int64_t group, Range outputs, Range rows, const char* from, int64_t from_row) const {
    int64_t element = mk_.element_bytes;
    for (int64_t o = outputs.begin; o < outputs.end; o++) {
      char* plane = conv_.output_plane(image, group, o, element);
      for (int64_t r = 0; r < rows.size(); r++) {
        const char* source = from + ((o - outputs.begin) * from_row + r * expansion_.row_pixels()) * element;
        int64_t y = conv_.first_y + (rows.begin + r) * conv_.step_y;
        char* to = plane + (y * conv_.out_width + conv_.first_x) * element;
        if (conv_.step_x == 1) {
          copy_row(source, conv_.grid_width * element, to);
        } else if (element == 4) {
          spread_apart<float>(source, conv_.step_x, conv_.grid_width, to);
        } else {
          spread_apart<double>(source, conv_.step_x, conv_.grid_width, to);
        }
      }
    }
  }

  const MicroKernels& mk_;
  const TapConv& conv_;
  int64_t images_, bands_;
  Expansion expansion_;
  Cut cut_;
  bool in_place_;
};

}  // namespace

int64_t block_channels(int64_t channels, int64_t taps, int64_t element) {
  int64_t scale = element / 4, depth = channels * taps;
  if (depth <= kWholeDepth / scale) return channels;
  int64_t most = std::max<int64_t>(1, kBlockDepth / scale / taps);
  return ceil_div(channels, ceil_div(channels, most));
}

Expansion::Expansion(const TapConv& conv, int64_t element, int64_t images, int64_t band)
    : conv_(conv), element_(element), images_(images) {
  struct Place {
    int64_t shift, phase, row;
  };
  std::vector<Place> places;
  for (const TapPosition& tap : conv.taps) {
    int64_t row = floor_div(tap.y, conv.stride_y), remainder = tap.y - row * conv.stride_y;
    auto shift = std::find_if(shifts_.begin(), shifts_.end(), [&](const Shift& s) { return s.x == tap.x; });
    auto phase = std::find_if(phases_.begin(), phases_.end(),
                              [&](const Phase& p) { return p.slice == tap.z && p.remainder == remainder; });
    places.push_back({shift - shifts_.begin(), phase - phases_.begin(), row});
    if (shift == shifts_.end()) shifts_.push_back({tap.x, outputs_inside(tap.x)});
    if (phase == phases_.end()) phases_.push_back({tap.z, remainder, row});
    Phase& own = phases_[static_cast<size_t>(places.back().phase)];
    own.first = std::min(own.first, row);
  }
  auto phases = static_cast<int64_t>(phases_.size());
  planes_ = phases * static_cast<int64_t>(shifts_.size());
  for (Place& place : places) {
    place.row -= phases_[static_cast<size_t>(place.phase)].first;
    rows_ = std::max(rows_, band + place.row);
  }
  for (const Place& place : places) {
    int64_t plane = place.shift * phases + place.phase;
    offsets_.push_back((plane * rows_ + place.row) * row_pixels() * element);
  }
}

Range Expansion::outputs_inside(int64_t shift) const {
  int64_t width = conv_.grid_width, stride = conv_.stride_x;
  int64_t begin = std::min(ceil_div(std::max<int64_t>(0, -shift), stride), width);
  return {begin, std::clamp(ceil_div(std::max<int64_t>(0, conv_.width - shift), stride), begin, width)};
}

void Expansion::fill(int64_t first_image, int64_t images, int64_t group, Range channels, Range rows, char* out) const {
  int64_t copy_bytes = rows_ * row_pixels() * element_;
  for (int64_t c = channels.begin; c < channels.end; c++) {
    for (const Shift& shift : shifts_) {
      for (const Phase& phase : phases_) {
        for (int64_t i = 0; i < images; i++) {
          const char* plane = conv_.input_plane(first_image + i, group, c, phase.slice, element_);
          fill_plane(plane, shift, phase, rows, out + i * conv_.grid_width * element_);
        }
        out += copy_bytes;
      }
    }
  }
}

void Expansion::fill_plane(const char* plane, const Shift& shift, const Phase& phase, Range rows, char* out) const {
  const int64_t stride = conv_.stride_x, step = row_pixels() * element_, in_row = conv_.width * element_;
  const int64_t before = shift.inside.begin * element_, inside = shift.inside.size();
  const int64_t after = (conv_.grid_width - shift.inside.end) * element_;
  const int64_t first = (shift.inside.begin * stride + shift.x) * element_;
  for (int64_t r = 0; r < rows_; r++, out += step) {
    int64_t y = (rows.begin + r + phase.first) * conv_.stride_y + phase.remainder;
    if (!plane || y < 0 || y >= conv_.height) {
      clear_row(out, conv_.grid_width * element_);
      continue;
    }
    const char* from = plane + y * in_row + first;
    char* to = out + before;
    clear_row(out, before);
    clear_row(to + inside * element_, after);
    if (stride == 1) {
      copy_row(from, inside * element_, to);
    } else if (element_ == 4) {
      copy_strided<float>(from, stride, inside, to);
    } else {
      copy_strided<double>(from, stride, inside, to);
    }
  }
}

void run_taps(const MicroKernels& mk, const TapConv& conv) {
  bool small = conv.volume() <= kSmallImage && conv.volume() % mk.lanes != 0 && conv.batch > 1;
  if (conv.dense_output() && !small) {
    if (conv.direct()) return DirectRun(mk, conv).run();
    if (Split::suits(conv)) return run_split(mk, conv);
    if (conv.depth() >= kWidenedDepth && widening_suits(conv)) return run_interleaved(mk, {&conv});
  }
  ExpandedRun(mk, conv).run();
}

}  // namespace fl
