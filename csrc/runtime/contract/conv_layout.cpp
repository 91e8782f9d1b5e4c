#include "runtime/contract/conv_layout.h"

#include <vector>

#include "runtime/contract/conv_pixels.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Vectors of rows that are transposed together.
constexpr int64_t kBlockVectors = 4;

// [images][rows][columns] -> [images][columns][rows]; `columns` are a vector at least.
void transpose_images(const MicroKernels& mk, int64_t images, int64_t rows, int64_t columns, const char* from,
                      char* to) {
  int64_t lanes = mk.lanes, element = mk.element_bytes, step = rows * element, groups = columns / lanes;
  int64_t block_rows = kBlockVectors * lanes, blocks = ceil_div(rows, block_rows);
  std::vector<uint16_t> masks(static_cast<size_t>(groups), lane_mask(lanes));
  parallel_for(images * blocks, [&](int64_t i) {
    int64_t first = i % blocks * block_rows, count = std::min(block_rows, rows - first), whole = count / lanes;
    int64_t corner = i / blocks * rows * columns;
    PackedRow table[kBlockVectors * 16];
    for (int64_t r = 0; r < round_up(count, lanes); r++) {
      table[r] = {std::min(r, count - 1) * columns * element, masks.data()};
    }
    auto move = [&](int64_t column, int64_t n) {
      const char* source = from + (corner + first * columns + column) * element;
      char* out = to + (corner + column * rows + first) * element;
      if (whole) mk.pack_columns(n, source, table, out, whole, step, 0);
      if (whole * lanes == count) return;
      uint16_t rest = lane_mask(count - whole * lanes);
      mk.scatter_columns(n, source, table + whole * lanes, out + whole * mk.vector_bytes, 1, step, rest);
    };
    move(0, groups);
    if (columns % lanes) move(columns - lanes, 1);  // overlaps the group before: the same values again
  });
}

// Pixels of an image and its channels.
int64_t pixels_of(const Tensor* t) { return t->numel() / (t->sizes[0] * t->sizes[1]); }

const MicroKernels* transposing_kernels(const Tensor* t, int64_t columns) {
  if (t->is_meta() || t->numel() == 0) return nullptr;
  const MicroKernels* mk = micro_kernels(t->dtype);
  return mk && columns >= mk->lanes ? mk : nullptr;
}

Gemm product(const Conv& conv, int64_t m, int64_t n, int64_t k) {
  return {.m = m, .n = n, .k = k, .dtype = conv.dtype};
}

int64_t points(const Conv& conv) { return conv.batch * conv.size[0] * conv.size[1] * conv.size[2]; }

}  // namespace

MemoryFormat channels_format(const Tensor* t) {
  if (t->is_contiguous()) return MemoryFormat::Contiguous;
  if (t->dim() == 4 && has_format(*t, MemoryFormat::ChannelsLast)) return MemoryFormat::ChannelsLast;
  if (t->dim() == 5 && has_format(*t, MemoryFormat::ChannelsLast3d)) return MemoryFormat::ChannelsLast3d;
  return MemoryFormat::Contiguous;
}

TensorRef channels_first(Tensor* t) {
  if (channels_format(t) == MemoryFormat::Contiguous) return contiguous_tensor(t);
  const MicroKernels* mk = transposing_kernels(t, t->sizes[1]);
  if (!mk) return contiguous_tensor(t);
  TensorRef out = Tensor::empty(t->sizes, t->dtype, t->device());
  transpose_images(*mk, t->sizes[0], pixels_of(t), t->sizes[1], static_cast<const char*>(t->data()),
                   static_cast<char*>(out->data()));
  return out;
}

TensorRef in_format(TensorRef t, MemoryFormat format) {
  if (format == MemoryFormat::Contiguous) return t;
  const MicroKernels* mk = transposing_kernels(t.get(), t->numel() ? pixels_of(t.get()) : 0);
  if (!mk) return contiguous_tensor(t.get(), format);
  TensorRef out = Tensor::empty_strided(t->sizes, format_strides(t->sizes, format), t->dtype, t->device());
  transpose_images(*mk, t->sizes[0], t->sizes[1], pixels_of(t.get()), static_cast<const char*>(t->data()),
                   static_cast<char*>(out->data()));
  return out;
}

void pixels_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  TapConv taps = forward_taps(conv, x, w, bias, y);
  run_pixels(*micro_kernels(conv.dtype), {&taps}, true);
}

void pixels_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  std::list<InputPhase> phases = input_phases(conv, dy, w, bias, dx);
  run_pixels(*micro_kernels(conv.dtype), taps_of(phases), true);
}

bool is_pointwise(const Conv& conv) {
  for (int axis = 0; axis < 3; axis++) {
    if (conv.kernel[axis] != 1 || conv.stride[axis] != 1 || conv.size[axis] != conv.output[axis]) return false;
    if (conv.padding[axis] != 0) return false;
  }
  return conv.groups == 1;
}

void points_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y) {
  Gemm g = product(conv, points(conv), conv.out_channels, conv.in_channels);
  g.a = x;
  g.a_row = g.b_col = conv.in_channels;
  g.a_col = g.b_row = 1;
  g.b = w;
  g.c = y;
  g.c_row = conv.out_channels;
  g.bias = bias;
  gemm(g);
}

void points_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  Gemm g = product(conv, points(conv), conv.in_channels, conv.out_channels);
  g.a = dy;
  g.a_row = conv.out_channels;
  g.a_col = g.b_col = 1;
  g.b = w;
  g.b_row = g.c_row = conv.in_channels;
  g.c = dx;
  g.bias = bias;
  gemm(g);
}

void points_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  Gemm g = product(conv, conv.out_channels, conv.in_channels, points(conv));
  g.a = dy;
  g.a_row = g.b_col = 1;
  g.a_col = conv.out_channels;
  g.b = x;
  g.b_row = g.c_row = conv.in_channels;
  g.c = dw;
  gemm(g);
}

}  // namespace fl
