#include "runtime/contract/conv_plain.h"

#include <complex>

#include "core/allocator.h"
#include "core/error.h"
#include "runtime/contract/plain.h"
#include "runtime/pool.h"

namespace fl {
namespace {

// Sizes of one group of one image.
struct Shape {
  int64_t channels, outputs, kernel, pixels, inputs;
  explicit Shape(const Conv& c)
      : channels(c.in_channels / c.groups),
        outputs(c.out_channels / c.groups),
        kernel(c.kernel[0] * c.kernel[1] * c.kernel[2]),
        pixels(c.output[0] * c.output[1] * c.output[2]),
        inputs(c.size[0] * c.size[1] * c.size[2]) {}
  int64_t depth() const { return channels * kernel; }
};

// Calls visit(unfolded position, input position) for kernel position `tap` of one channel; -1: outside the input.
template <class F>
void for_positions(const Conv& c, int64_t tap, F&& visit) {
  int64_t k[3] = {tap / (c.kernel[1] * c.kernel[2]), tap / c.kernel[2] % c.kernel[1], tap % c.kernel[2]};
  auto input = [&](int axis, int64_t out) {
    return out * c.stride[axis] + k[axis] * c.dilation[axis] - c.padding[axis];
  };
  int64_t position = 0;
  for (int64_t z = 0; z < c.output[0]; z++) {
    for (int64_t y = 0; y < c.output[1]; y++) {
      int64_t iz = input(0, z), iy = input(1, y);
      bool inside = iz >= 0 && iz < c.size[0] && iy >= 0 && iy < c.size[1];
      for (int64_t x = 0; x < c.output[2]; x++, position++) {
        int64_t ix = input(2, x);
        visit(position, inside && ix >= 0 && ix < c.size[2] ? (iz * c.size[1] + iy) * c.size[2] + ix : -1);
      }
    }
  }
}

// columns[channel, tap, pixel]
template <class T>
void unfold(const Conv& c, const Shape& s, const T* x, T* columns) {
  parallel_for(s.depth(), [&](int64_t row) {
    const T* plane = x + row / s.kernel * s.inputs;
    T* out = columns + row * s.pixels;
    for_positions(c, row % s.kernel, [&](int64_t p, int64_t i) { out[p] = i < 0 ? T(0) : plane[i]; });
  });
}

template <class T>
void fold(const Conv& c, const Shape& s, const T* columns, const T* bias, T* dx) {
  parallel_for(s.channels, [&](int64_t channel) {
    T* plane = dx + channel * s.inputs;
    std::fill(plane, plane + s.inputs, bias ? bias[channel] : T(0));
    for (int64_t tap = 0; tap < s.kernel; tap++) {
      const T* from = columns + (channel * s.kernel + tap) * s.pixels;
      for_positions(c, tap, [&](int64_t p, int64_t i) {
        if (i >= 0) plane[i] = element_sum(plane[i], from[p]);
      });
    }
  });
}

template <class T>
struct PlainConv {
  const Conv& conv;
  Shape shape{conv};
  Scratch columns{static_cast<size_t>(shape.depth() * shape.pixels) * sizeof(T)};

  // One product for every group of every image: index of the image's group, index of the group.
  template <class F>
  void for_groups(F&& run) {
    for (int64_t i = 0; i < conv.batch * conv.groups; i++) run(i, i % conv.groups);
  }
  Gemm product(int64_t m, int64_t n, int64_t k) const { return {.m = m, .n = n, .k = k, .dtype = conv.dtype}; }

  void forward(const T* x, const T* w, const T* bias, T* y, Activation act) {
    for_groups([&](int64_t i, int64_t group) {
      unfold(conv, shape, x + i * shape.channels * shape.inputs, columns.template as<T>());
      Gemm g = product(shape.outputs, shape.pixels, shape.depth());
      g.a = w + group * shape.outputs * shape.depth();
      g.a_row = shape.depth();
      g.b = columns.as();
      g.b_row = g.c_row = shape.pixels;
      g.a_col = g.b_col = 1;
      g.c = y + i * shape.outputs * shape.pixels;
      g.row_bias = bias ? bias + group * shape.outputs : nullptr;
      g.act = act;
      gemm(g);
    });
  }

  void backward_input(const T* dy, const T* w, const T* bias, T* dx) {
    for_groups([&](int64_t i, int64_t group) {
      Gemm g = product(shape.depth(), shape.pixels, shape.outputs);
      g.a = w + group * shape.outputs * shape.depth();
      g.a_row = g.b_col = 1;
      g.a_col = shape.depth();
      g.b = dy + i * shape.outputs * shape.pixels;
      g.b_row = g.c_row = shape.pixels;
      g.c = columns.as();
      gemm(g);
      const T* group_bias = bias ? bias + group * shape.channels : nullptr;
      fold(conv, shape, columns.template as<T>(), group_bias, dx + i * shape.channels * shape.inputs);
    });
  }

  void backward_weight(const T* x, const T* dy, T* dw) {
    std::fill(dw, dw + conv.groups * shape.outputs * shape.depth(), T(0));
    for_groups([&](int64_t i, int64_t group) {
      unfold(conv, shape, x + i * shape.channels * shape.inputs, columns.template as<T>());
      Gemm g = product(shape.outputs, shape.depth(), shape.pixels);
      g.a = dy + i * shape.outputs * shape.pixels;
      g.a_row = g.b_col = shape.pixels;
      g.a_col = g.b_row = 1;
      g.b = columns.as();
      g.c = dw + group * shape.outputs * shape.depth();
      g.c_row = shape.depth();
      g.accumulate = true;
      gemm(g);
    });
  }
};

template <class F>
void with_type(DType dtype, F&& run) {
  with_element_type(dtype, [&](auto type) {
    using T = typename decltype(type)::type;
    if constexpr (kPlainElement<T>) {
      run(T{});
    } else {
      fail(ErrorKind::Runtime, "convolution of %s is not implemented", dtype_name(dtype));
    }
  });
}

}  // namespace

void plain_conv_forward(const Conv& conv, const void* x, const void* w, const void* bias, void* y, Activation act) {
  with_type(conv.dtype, [&]<class T>(T) {
    PlainConv<T>{conv}.forward(static_cast<const T*>(x), static_cast<const T*>(w), static_cast<const T*>(bias),
                               static_cast<T*>(y), act);
  });
}

void plain_conv_backward_input(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx) {
  with_type(conv.dtype, [&]<class T>(T) {
    PlainConv<T>{conv}.backward_input(static_cast<const T*>(dy), static_cast<const T*>(w), static_cast<const T*>(bias),
                                      static_cast<T*>(dx));
  });
}

void plain_conv_backward_weight(const Conv& conv, const void* x, const void* dy, void* dw) {
  with_type(conv.dtype, [&]<class T>(T) {
    PlainConv<T>{conv}.backward_weight(static_cast<const T*>(x), static_cast<const T*>(dy), static_cast<T*>(dw));
  });
}

}  // namespace fl
