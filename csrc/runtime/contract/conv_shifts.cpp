#include "runtime/contract/conv_shifts.h"

#include <iterator>

#include "runtime/contract/shift_kernels.h"
#include "runtime/pool.h"

namespace fl {
namespace {

constexpr int64_t kChunkWork = 1 << 18;

// Number of the kernel size in kShiftSizes whose taps, centred, are those of the convolution; -1: none.
int centred_size(const TapConv& conv) {
  for (int i = 0; i < static_cast<int>(std::size(kShiftSizes)); i++) {
    int64_t size = kShiftSizes[i], half = size / 2, t = 0;
    if (conv.tap_count() != size * size) continue;
    for (auto [z, y, x, phase] : conv.taps) {
      if (z != 0 || y != t / size - half || x != t % size - half) return -1;
      t++;
    }
    return i;
  }
  return -1;
}

const ShiftKernels* kernels_for(const MicroKernels& mk) {
  return shift_kernels(mk.element_bytes == 4 ? DType::F32 : DType::F64);
}

// Bits of the lanes of vector `i` of a row that lie in columns [0, width).
uint16_t lanes_inside(int64_t i, int64_t lanes, int64_t width) {
  return i < 0 ? uint16_t{0} : lane_mask(std::clamp<int64_t>(width - i * lanes, 0, lanes));
}

// What all kernels are told of a convolution, and the loop over its planes.
class PlanesRun {
 public:
  PlanesRun(const MicroKernels& mk, const TapConv& conv) : conv_(conv), element_(mk.element_bytes) {
    args_.weights_plane = conv.weights_row;
    args_.x_row = conv.width * element_;
    args_.x_plane = conv.height * args_.x_row;
    args_.y_row = conv.grid_width * element_;
    args_.y_plane = conv.grid_height * args_.y_row;
    if (conv.bias) args_.flags |= kRowBias;
    if (conv.act == Activation::Relu) args_.flags |= kRelu;
  }
  ShiftArgs& args() { return args_; }

  // Calls run(args) for planes in a row, up to the last group of an image of the batch; `most` at a time.
  template <class F>
  void run(int64_t most, F&& kernels) const {
    int64_t planes = conv_.batch * conv_.groups;
    int64_t parts = std::clamp<int64_t>(conv_.work() / kChunkWork, 1, planes);
    parallel_for(parts, [&](int64_t chunk) {
      Range part = even_part(planes, parts, chunk);
      for (int64_t i = part.begin; i < part.end;) {
        ShiftArgs own = args_;
        int64_t group = i % conv_.groups;
        own.planes = std::min({part.end - i, conv_.groups - group, most});
        own.weights = conv_.weights + group * conv_.weights_row;
        own.x = conv_.x + i * args_.x_plane;
        own.y = conv_.y + i * args_.y_plane;
        own.bias = conv_.bias + (conv_.bias ? group * element_ : 0);
        kernels(own);
        i += own.planes;
      }
    });
  }

 private:
  const TapConv& conv_;
  int64_t element_;
  ShiftArgs args_{};
};

// How rows of images stand in vectors, where a row is no wider than one.
struct Layout {
  int size;   // number in kShiftSizes
  int parts;  // number in kShiftParts
  int rows;   // number in kShiftRows
  int64_t vector_rows;
};

std::optional<Layout> layout_of(const MicroKernels& mk, const TapConv& conv) {
  Layout layout{};
  layout.size = centred_size(conv);
  bool same_size = conv.direct() && conv.grid_height == conv.height;
  if (layout.size < 0 || !same_size || conv.width > mk.lanes) return std::nullopt;
  layout.parts = 2 * conv.width <= mk.lanes ? 1 : 0;
  layout.vector_rows = ceil_div(conv.height, kShiftParts[layout.parts]);
  if (layout.vector_rows < kShiftRows[0] || 4 * conv.width <= mk.lanes) return std::nullopt;
  auto computed = [&](int64_t rows) { return round_up(layout.vector_rows, rows); };
  bool long_blocks = layout.vector_rows >= kShiftRows[1] && computed(kShiftRows[1]) <= computed(kShiftRows[0]);
  layout.rows = long_blocks ? 1 : 0;
  return layout;
}

// The lanes of every part of vector rows, those above and below the image included.
std::vector<uint16_t> lane_masks(const MicroKernels& mk, const TapConv& conv, const Layout& layout) {
  std::vector<uint16_t> masks;
  int64_t half = kShiftSizes[layout.size] / 2, parts = kShiftParts[layout.parts], part_lanes = mk.lanes / parts;
  for (int64_t row = -half; row < layout.vector_rows + half; row++) {
    for (int64_t part = 0; part < parts; part++) {
      int64_t y = row + part * layout.vector_rows;
      bool inside = y >= 0 && y < conv.height;
      masks.push_back(static_cast<uint16_t>(inside ? lane_mask(conv.width) << part * part_lanes : 0));
    }
  }
  return masks;
}

std::vector<uint16_t> edge_masks(const MicroKernels& mk, const Layout& layout) {
  std::vector<uint16_t> masks;
  int64_t half = kShiftSizes[layout.size] / 2, part_lanes = mk.lanes / kShiftParts[layout.parts];
  for (int64_t distance = -half; distance <= half; distance++) {
    int64_t mask = 0;
    for (int64_t i = 0; i < mk.lanes; i++) {
      int64_t lane = i % part_lanes + distance;
      if (lane >= 0 && lane < part_lanes) mask |= int64_t{1} << i;
    }
    masks.push_back(static_cast<uint16_t>(mask));
  }
  return masks;
}

void run_narrow(const MicroKernels& mk, const TapConv& conv, const Layout& layout) {
  std::vector<uint16_t> masks = lane_masks(mk, conv, layout), edges = edge_masks(mk, layout);
  auto* kernel = kernels_for(mk)->shift[layout.size][layout.parts][layout.rows];
  PlanesRun run(mk, conv);
  run.args().rows = layout.vector_rows;
  run.args().masks = masks.data();
  run.args().edges = edges.data();
  run.run(conv.groups, [&](const ShiftArgs& args) { kernel(&args); });
}

// Outputs as many as half the inputs, rounded up, so that of the rows outside only size / 2 are read on either side.
bool halves_suit(const TapConv& conv) {
  int size = centred_size(conv);
  auto halved = [](int64_t outputs, int64_t inputs) { return outputs == ceil_div(inputs, 2); };
  return size >= 0 && size < kHalveSizes && conv.stride_y == 2 && conv.stride_x == 2 &&
         halved(conv.grid_height, conv.height) && halved(conv.grid_width, conv.width) && conv.grid_height >= kHalveRows;
}

void run_halves(const MicroKernels& mk, const TapConv& conv) {
  int size = centred_size(conv);
  int64_t vectors = ceil_div(conv.grid_width, mk.lanes), blocks = ceil_div(vectors, kHalveVectors);
  constexpr int64_t kMasks = 2 * kHalveVectors + 3;
  std::vector<uint16_t> masks(static_cast<size_t>(blocks * kMasks));
  for (int64_t b = 0; b < blocks; b++) {
    Range own = even_part(vectors, blocks, b);
    uint16_t* at = &masks[static_cast<size_t>(b * kMasks)];
    for (int64_t i = 2 * own.begin - 1; i <= 2 * own.end; i++) *at++ = lanes_inside(i, mk.lanes, conv.width);
    *at = lanes_inside(own.end - 1, mk.lanes, conv.grid_width);
  }
  std::vector<char> zeros(static_cast<size_t>((2 * kHalveVectors + 2) * mk.vector_bytes));
  PlanesRun run(mk, conv);
  run.args().rows = conv.grid_height;
  run.args().height = conv.height;
  run.args().zeros = zeros.data() + mk.vector_bytes;  // the vector in front of the outputs' columns is read as well
  run.run(blocks == 1 ? conv.groups : 1, [&](ShiftArgs args) {
    const char* x = args.x;
    char* y = args.y;
    for (int64_t b = 0; b < blocks; b++) {
      Range own = even_part(vectors, blocks, b);
      args.masks = &masks[static_cast<size_t>(b * kMasks)];
      args.x = x + 2 * own.begin * mk.vector_bytes;
      args.y = y + own.begin * mk.vector_bytes;
      kernels_for(mk)->halve[size][own.size()](&args);
    }
  });
}

}  // namespace

bool shifts_suit(const MicroKernels& mk, const TapConv& conv) {
  bool depthwise = conv.channels == 1 && conv.outputs == 1 && conv.slices == 1 && conv.dense_output();
  return mk.masked && depthwise && (layout_of(mk, conv) || halves_suit(conv)) && kernels_for(mk);
}

void shifts_forward(const MicroKernels& mk, const TapConv& conv) {
  if (std::optional<Layout> layout = layout_of(mk, conv)) return run_narrow(mk, conv, *layout);
  run_halves(mk, conv);
}

}  // namespace fl
