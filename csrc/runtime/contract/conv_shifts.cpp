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

// How rows of images stand in vectors.
struct Layout {
  int size;   // number in kShiftSizes
  int parts;  // number in kShiftParts
  int rows;   // number in kShiftRows
  int64_t vector_rows;
};

std::optional<Layout> layout_of(const MicroKernels& mk, const TapConv& conv) {
  Layout layout{};
  layout.size = centred_size(conv);
  if (layout.size < 0 || conv.width > mk.lanes) return std::nullopt;
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

}  // namespace

bool shifts_suit(const MicroKernels& mk, const TapConv& conv) {
  bool same_size = conv.slices == 1 && conv.direct() && conv.dense_output() && conv.grid_height == conv.height;
  if (!mk.masked || conv.channels != 1 || conv.outputs != 1 || !same_size || !layout_of(mk, conv)) return false;
  return shift_kernels(mk.element_bytes == 4 ? DType::F32 : DType::F64) != nullptr;
}

void shifts_forward(const MicroKernels& mk, const TapConv& conv) {
  Layout layout = *layout_of(mk, conv);
  std::vector<uint16_t> masks = lane_masks(mk, conv, layout), edges = edge_masks(mk, layout);
  const ShiftKernels& kernels = *shift_kernels(mk.element_bytes == 4 ? DType::F32 : DType::F64);
  auto* kernel = kernels.planes[layout.size][layout.parts][layout.rows];
  int64_t element = mk.element_bytes, planes = conv.batch * conv.groups;
  ShiftArgs args{};
  args.weights_plane = conv.weights_row;
  args.x_plane = args.y_plane = conv.volume() * element;
  args.row = conv.width * element;
  args.rows = layout.vector_rows;
  args.masks = masks.data();
  args.edges = edges.data();
  if (conv.bias) args.flags |= kRowBias;
  if (conv.act == Activation::Relu) args.flags |= kRelu;
  int64_t parts = std::clamp<int64_t>(conv.work() / kChunkWork, 1, planes);
  parallel_for(parts, [&](int64_t chunk) {
    Range part = even_part(planes, parts, chunk);
    for (int64_t i = part.begin; i < part.end;) {  // up to the last group of an image of the batch
      ShiftArgs own = args;
      int64_t group = i % conv.groups;
      own.planes = std::min(part.end - i, conv.groups - group);
      own.weights = conv.weights + group * conv.weights_row;
      own.x = conv.x + i * args.x_plane;
      own.y = conv.y + i * args.y_plane;
      own.bias = conv.bias + (conv.bias ? group * element : 0);
      kernel(&own);
      i += own.planes;
    }
  });
}

}  // namespace fl
