#include "runtime/contract/conv_patches.h"

#include "runtime/contract/conv_taps.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Elements of a kernel's row from which on copying rows costs little beside the product.
constexpr int64_t kLeastRow = 8;
// Pixels to a patch (and stride) from which on a convolution over all pixels would mostly multiply padding.
constexpr int64_t kPixelsToPatch = 2;
// A product of so many channels, and a sum over patches, take less time than so few outputs that leave lanes empty.
constexpr int64_t kFewChannels = 2, kManyChannels = 16;
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

// What the gradient of the output adds to the patches: rows [image, position][channel, kernel], with a bias of the
// channels on top, which may be null.
class GradientRows {
 public:
  GradientRows(const Conv& conv, const void* w, const void* bias)
      : conv_(conv), count_(conv.output[0] * conv.output[1] * conv.output[2]) {
    const int64_t taps = conv.kernel[0] * conv.kernel[1] * conv.kernel[2], depth = conv.in_channels * taps;
    const auto element = static_cast<int64_t>(dtype_size(conv.dtype));
    if (bias) bias_.resize(static_cast<size_t>(depth * element));
    for (int64_t i = 0; bias && i < depth; i++)
      std::memcpy(&bias_[static_cast<size_t>(i * element)], static_cast<const char*>(bias) + i / taps * element,
                  static_cast<size_t>(element));
    product_.n = depth, product_.k = conv.out_channels, product_.b = w, product_.b_row = depth, product_.b_col = 1;
    product_.c_row = depth, product_.dtype = conv.dtype, product_.bias = bias ? bias_.data() : nullptr;
  }

  void make(const char* dy, int64_t images, char* rows) const {
    Gemm g = product_;
    g.a = dy, g.c = rows;
    if (count_ == 1) {  // the images' rows are one matrix
      g.m = images, g.a_row = conv_.out_channels, g.a_col = 1;
      return gemm(g);
    }
    g.m = count_, g.a_row = 1, g.a_col = count_;
    gemm_batched(g, {.sizes = {images}, .a = {conv_.out_channels * count_}, .b = {0}});
  }

 private:
  const Conv& conv_;
  const int64_t count_;
  std::vector<char> bias_;
  Gemm product_;
};

// Adds what rows of patches hold for one channel to its plane.
template <class T>
class Fold {
 public:
  Fold(const Conv& conv, const T* bias) : conv_(conv), bias_(bias) {}

  // `rows`: of the image's first patch.
  void plane(const T* rows, int64_t channel, T* out) const {
    const auto [deep, high, wide] = conv_.kernel;
    const int64_t taps = deep * high * wide, depth = conv_.in_channels * taps;
    std::fill_n(out, conv_.size[0] * conv_.size[1] * conv_.size[2], bias_ ? bias_[channel] : T(0));
    const T* patch = rows + channel * taps;
    for (int64_t z = 0; z < conv_.output[0]; z++) {
      for (int64_t y = 0; y < conv_.output[1]; y++) {
        for (int64_t x = 0; x < conv_.output[2]; x++, patch += depth) add(patch, {z, y, x}, out);
      }
    }
  }

 private:
  // Kernel positions of patch `i` that lie inside the input, where no dilation leaves any out.
  Range inside(int axis, int64_t i) const {
    const int64_t first = i * conv_.stride[axis] - conv_.padding[axis];
    return {std::max<int64_t>(0, -first), std::min(conv_.kernel[axis], conv_.size[axis] - first)};
  }

  int64_t position(int axis, int64_t i, int64_t k) const { return i * conv_.stride[axis] - conv_.padding[axis] + k; }

  void add(const T* patch, TapPosition at, T* out) const {
    const Range zs = inside(0, at.z), ys = inside(1, at.y), xs = inside(2, at.x);
    for (int64_t z = zs.begin; z < zs.end; z++) {
      for (int64_t y = ys.begin; y < ys.end; y++) {
        const int64_t line = position(0, at.z, z) * conv_.size[1] + position(1, at.y, y);
        const T* from = patch + (z * conv_.kernel[1] + y) * conv_.kernel[2];
        T* to = out + line * conv_.size[2] + position(2, at.x, 0);
        for (int64_t x = xs.begin; x < xs.end; x++) to[x] += from[x];
      }
    }
  }

  const Conv& conv_;
  const T* bias_;
};

template <class T>
void fold_images(const Conv& conv, const char* rows, const void* bias, int64_t images, char* dx) {
  const Fold<T> fold(conv, static_cast<const T*>(bias));
  const int64_t patches = conv.output[0] * conv.output[1] * conv.output[2];
  const int64_t pixels = conv.size[0] * conv.size[1] * conv.size[2];
  const int64_t depth = conv.in_channels * conv.kernel[0] * conv.kernel[1] * conv.kernel[2];
  parallel_for(images * conv.in_channels, [&](int64_t i) {
    const int64_t image = i / conv.in_channels, channel = i % conv.in_channels;
    fold.plane(reinterpret_cast<const T*>(rows) + image * patches * depth, channel,
               reinterpret_cast<T*>(dx) + i * pixels);
  });
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
  const GradientRows rows(conv, w, bias);
  each_block(conv, patches.block(), [&](int64_t first, int64_t images) {
    rows.make(dy + first * image_bytes(conv, conv.out_channels, conv.output), images, patches.rows());
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

bool whole_suits(const Conv& conv) {
  for (int d = 0; d < 3; d++)
    if (conv.kernel[d] != conv.size[d] || conv.output[d] != 1 || conv.padding[d] != 0) return false;
  return conv.groups == 1;
}

void whole_forward(const Conv& conv, const char* x, const void* w, const void* bias, char* y, Activation act) {
  const int64_t depth = conv.in_channels * conv.size[0] * conv.size[1] * conv.size[2];
  Gemm g{.m = conv.batch, .n = conv.out_channels, .k = depth, .a = x, .a_row = depth, .a_col = 1, .b = w, .b_row = 1};
  g.b_col = depth, g.c = y, g.c_row = conv.out_channels, g.dtype = conv.dtype, g.bias = bias, g.act = act;
  gemm(g);
}

void whole_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx) {
  GradientRows(conv, w, bias).make(dy, conv.batch, dx);
}

void whole_backward_weight(const Conv& conv, const char* x, const char* dy, void* dw) {
  const int64_t depth = conv.in_channels * conv.size[0] * conv.size[1] * conv.size[2];
  Gemm g{.m = conv.out_channels, .n = depth, .k = conv.batch, .a = dy, .a_row = 1, .a_col = conv.out_channels};
  g.b = x, g.b_row = depth, g.b_col = 1, g.c = dw, g.c_row = depth, g.dtype = conv.dtype;
  gemm(g);
}

bool few_patches(const Conv& conv) {
  int64_t pixels = 1, patches = 1, strides = 1, taps = 1;
  for (int d = 0; d < 3; d++) {
    if (conv.dilation[d] != 1 && conv.kernel[d] != 1) return false;
    pixels *= conv.size[d];
    patches *= conv.output[d];
    strides *= conv.stride[d];
    taps *= conv.kernel[d];
  }
  if (conv.groups != 1 || conv.kernel[2] == 1) return false;
  if (pixels >= kPixelsToPatch * patches * strides) return true;
  int64_t bytes = patches * conv.in_channels * taps * static_cast<int64_t>(dtype_size(conv.dtype));
  bool thin = conv.in_channels <= kFewChannels && conv.out_channels >= kManyChannels;
  return thin && conv.kernel[2] >= kLeastRow && bytes <= kBlockBytes;
}

void few_patches_backward_input(const Conv& conv, const char* dy, const void* w, const void* bias, char* dx) {
  Patches patches(conv);
  const GradientRows rows(conv, w, nullptr);
  const auto fold = conv.dtype == DType::F32 ? fold_images<float> : fold_images<double>;
  each_block(conv, patches.block(), [&](int64_t first, int64_t images) {
    rows.make(dy + first * image_bytes(conv, conv.out_channels, conv.output), images, patches.rows());
    fold(conv, patches.rows(), bias, images, dx + first * image_bytes(conv, conv.in_channels, conv.size));
  });
}

}  // namespace fl
