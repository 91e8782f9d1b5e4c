#include "runtime/contract/conv_patches.h"

#include "runtime/contract/conv_taps.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Elements of a kernel's row from which on copying rows costs little beside the product.
constexpr int64_t kLeastRow = 8;
// Patches made at a time, so that the product finds them in the cache.
constexpr int64_t kBlockBytes = 8 << 20;

// Patches of some images as rows [image * count + position][channel, kernel], and back.
class Patches {
 public:
  explicit Patches(const Conv& conv)
      : conv_(conv),
        element_(static_cast<int64_t>(dtype_size(conv.dtype))),
        run_(conv.kernel[2] * element_),
        memory_(static_cast<size_t>(block() * count() * depth() * element_)) {}

  int64_t count() const { return conv_.output[0] * conv_.output[1] * conv_.output[2]; }  // of an image
  int64_t depth() const { return conv_.in_channels * conv_.kernel[0] * conv_.kernel[1] * conv_.kernel[2]; }
  int64_t block() const {  // images at a time
    return std::clamp<int64_t>(kBlockBytes / std::max<int64_t>(1, count() * depth() * element_), 1, conv_.batch);
  }
  char* rows() { return memory_.as(); }

  void gather(const char* x, int64_t images) {
    each_line(images, [&](int64_t pixel, int64_t place) {
      for (int64_t i = 0; i < conv_.output[2]; i++)
        copy_row(x + pixel * element_ + i * run_, run_, rows() + place * element_ + i * depth() * element_);
    });
  }

  void scatter(char* dx, int64_t images) {
    each_line(images, [&](int64_t pixel, int64_t place) {
      for (int64_t i = 0; i < conv_.output[2]; i++)
        copy_row(rows() + place * element_ + i * depth() * element_, run_, dx + pixel * element_ + i * run_);
    });
  }

 private:
  // Calls fn(pixel, place) for every line of pixels that patches side by side share: where it begins in the images, and
  // where the first patch's part of it stands among the rows. By the rows of patches of an image.
  template <class F>
  void each_line(int64_t images, F&& fn) {
    const auto [planes, lines, across] = conv_.output;
    const auto [deep, high, wide] = conv_.kernel;
    parallel_for(images * planes * lines, [&](int64_t task) {
      const int64_t line = task % lines, plane = task / lines % planes, image = task / lines / planes;
      for (int64_t c = 0; c < conv_.in_channels; c++) {
        for (int64_t z = 0; z < deep; z++) {
          for (int64_t y = 0; y < high; y++) {
            int64_t slice = (image * conv_.in_channels + c) * conv_.size[0] + plane * deep + z;
            int64_t pixel = (slice * conv_.size[1] + line * high + y) * conv_.size[2];
            fn(pixel, task * across * depth() + ((c * deep + z) * high + y) * wide);
          }
        }
      }
    });
  }

  const Conv& conv_;
  const int64_t element_, run_;
  Scratch memory_;
};

// Calls fn(first image, images) for blocks of the batch.
template <class F>
void each_block(const Conv& conv, int64_t block, F&& fn) {
  for (int64_t first = 0; first < conv.batch; first += block) fn(first, std::min(block, conv.batch - first));
}

int64_t image_bytes(const Conv& conv, int64_t channels, const int64_t* size) {
  return channels * size[0] * size[1] * size[2] * static_cast<int64_t>(dtype_size(conv.dtype));
}

}  // namespace

bool patches_suit(const Conv& conv) {
  for (int d = 0; d < 3; d++) {
    bool once = conv.kernel[d] == conv.stride[d] && conv.dilation[d] == 1 && conv.padding[d] == 0;
    if (!once || conv.output[d] * conv.kernel[d] > conv.size[d]) return false;
  }
  return conv.groups == 1 && conv.kernel[2] >= kLeastRow && conv.kernel[1] > 1;
}

void patches_forward(const Conv& conv, const char* x, const void* w, const void* bias, char* y, Activation act) {
  Patches patches(conv);
  const int64_t count = patches.count(), depth = patches.depth();
  Gemm g{.m = conv.out_channels, .n = count, .k = depth, .a = w, .a_row = depth, .a_col = 1};
  g.b = patches.rows(), g.b_row = 1, g.b_col = depth;
  g.c_row = count, g.dtype = conv.dtype, g.row_bias = bias, g.act = act;
  each_block(conv, patches.block(), [&](int64_t first, int64_t images) {
    patches.gather(x + first * image_bytes(conv, conv.in_channels, conv.size), images);
    g.c = y + first * image_bytes(conv, conv.out_channels, conv.output);
    gemm_batched(g, {.sizes = {images}, .a = {0}, .b = {count * depth}});
  });
}

void patches_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx) {
  Patches patches(conv);
  const int64_t count = patches.count(), depth = patches.depth(), taps = depth / conv.in_channels;
  const auto element = static_cast<int64_t>(dtype_size(conv.dtype));
  std::vector<char> spread(bias ? static_cast<size_t>(depth * element) : 0);  // the bias of each column
  for (int64_t i = 0; bias && i < depth; i++)
    std::memcpy(&spread[static_cast<size_t>(i * element)], static_cast<const char*>(bias) + i / taps * element,
                static_cast<size_t>(element));
  Gemm g{.m = count, .n = depth, .k = conv.out_channels, .a_row = 1, .a_col = count, .b = w, .b_row = depth};
  g.b_col = 1, g.c = patches.rows(), g.c_row = depth, g.dtype = conv.dtype;
  g.bias = bias ? spread.data() : nullptr;
  each_block(conv, patches.block(), [&](int64_t first, int64_t images) {
    g.a = dy + first * image_bytes(conv, conv.out_channels, conv.output);
    gemm_batched(g, {.sizes = {images}, .a = {conv.out_channels * count}, .b = {0}});
    patches.scatter(dx + first * image_bytes(conv, conv.in_channels, conv.size), images);
  });
}

void patches_backward_weight(const Conv& conv, const char* x, const char* dy, void* dw) {
  Patches patches(conv);
  const int64_t count = patches.count(), depth = patches.depth();
  const auto element = static_cast<int64_t>(dtype_size(conv.dtype));
  Gemm g{.m = conv.out_channels, .n = depth, .k = count, .a_row = count, .a_col = 1, .b_row = depth, .b_col = 1};
  g.c = dw, g.c_row = depth, g.dtype = conv.dtype;
  each_block(conv, patches.block(), [&](int64_t first, int64_t images) {
    patches.gather(x + first * image_bytes(conv, conv.in_channels, conv.size), images);
    for (int64_t i = 0; i < images; i++) {
      g.a = dy + (first + i) * image_bytes(conv, conv.out_channels, conv.output);
      g.b = patches.rows() + i * count * depth * element;
      g.accumulate = first + i > 0;
      gemm(g);
    }
  });
}

}  // namespace fl
