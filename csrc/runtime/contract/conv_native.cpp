// Convolutions as operators: shapes, checks and outputs around the drivers of conv.h.
#include <string>

#include "core/error.h"
#include "runtime/contract/conv.h"
#include "runtime/contract/conv_channels.h"
#include "runtime/contract/conv_layout.h"
#include "runtime/contract/conv_narrow.h"
#include "runtime/contract/conv_pixels.h"
#include "runtime/copy.h"
#include "runtime/op.h"
#include "runtime/promotion.h"
#include "runtime/shape_text.h"

namespace fl {
namespace {

using Ints = std::vector<int64_t>;

std::string by_text(IntSpan sizes) {
  std::string text = "(";
  for (size_t i = 0; i < sizes.size(); ++i) text += (i ? " x " : "") + std::to_string(sizes[i]);
  return text + ")";
}

// stride, padding, dilation and groups as the caller gave them; `n` spatial dimensions.
struct Window {
  size_t n;
  Ints stride, padding, dilation;
  int64_t groups;

  Window(const Call& call, int first, size_t dims, int groups_at) : n(dims), groups(call[groups_at].as_int()) {
    stride = spread(call[first], "stride");
    padding = spread(call[first + 1], "padding");
    dilation = spread(call[first + 2], "dilation");
    for (size_t i = 0; i < n; ++i) {
      FL_CHECK(stride[i] > 0, ErrorKind::Runtime, "non-positive stride is not supported");
      FL_CHECK(padding[i] >= 0, ErrorKind::Runtime, "negative padding is not supported");
      FL_CHECK(
          dilation[i] > 0, ErrorKind::Runtime, "dilation should be greater than zero, but got %s",
          shape_text(n == 1 ? Ints{1, dilation[0]} : dilation).c_str());  // PyTorch's 1-d convolutions are 2-d ones
    }
    FL_CHECK(groups > 0, ErrorKind::Runtime, "non-positive groups is not supported");
  }

  void check_output_padding(const Ints& extra) const {
    for (size_t i = 0; i < n; ++i) {
      FL_CHECK(extra[i] >= 0, ErrorKind::Runtime, "negative output_padding is not supported");
      FL_CHECK(extra[i] < stride[i] || extra[i] < dilation[i], ErrorKind::Runtime,
               "output padding must be smaller than either stride or dilation, but got %s %s %s",
               by_axis("output_padding", extra, 0).c_str(), by_axis("stride", stride, 1).c_str(),
               by_axis("dilation", dilation, 1).c_str());
    }
  }

  // "stride_height: 1 stride_width: 2". PyTorch's 1-d convolutions are 2-d ones, of `missing` in the other axis.
  std::string by_axis(const char* what, Ints values, int64_t missing) const {
    static constexpr const char* axes[] = {"depth", "height", "width"};
    if (n == 1) values = {missing, values[0]};
    std::string text;
    for (size_t i = 0; i < values.size(); ++i)
      text += (i ? " " : "") + std::string(what) + "_" + axes[3 - values.size() + i] + ": " + std::to_string(values[i]);
    return text;
  }

  Ints spread(const Value& v, const char* what) const {
    Ints values = v.ints();
    if (values.size() == 1) values.assign(n, values[0]);
    FL_CHECK(
        values.size() == n, ErrorKind::Runtime,
        "expected %s to be a single integer value or a list of %zu values to match the convolution dimensions, but "
        "got %s=%s",
        what, n, what, shape_text(v.ints()).c_str());
    return values;
  }
};

// The input with a batch dimension of its own.
TensorRef batched(Tensor* t, size_t n) {
  if (t->dim() != static_cast<int>(n) + 1) return TensorRef(t);
  Dims sizes = t->sizes, strides = t->strides;
  sizes.insert(0, 1);
  strides.insert(0, t->numel());
  return Tensor::make(t->storage, t->offset, sizes, strides, t->dtype);
}

// A weight for another number of dimensions: PyTorch finds that by what the stride was spread to.
void check_weight_dims(const char* op, const Tensor* x, const Tensor* w, const Value& stride, size_t n) {
  if (w->dim() == static_cast<int>(n) + 2) return;
  FL_CHECK(w->dim() >= 3, ErrorKind::Runtime,
           "weight should have at least three dimensions [in %s: weight=%s]. It has %zu.", op,
           shape_text(w->sizes).c_str(), n + 2);
  FL_CHECK(
      n > 1, ErrorKind::Runtime,
      "Expected %d-dimensional input for %d-dimensional weight %s, but got %d-dimensional input of size %s instead",
      w->dim(), w->dim(), shape_text(w->sizes).c_str(), x->dim(), shape_text(x->sizes).c_str());
  Ints spread = stride.ints();
  if (spread.size() == 1) spread.assign(n, spread[0]);
  fail(ErrorKind::Runtime,
       "expected stride to be a single integer value or a list of %d values to match the convolution dimensions, but "
       "got stride=%s",
       w->dim() - 2, shape_text(spread).c_str());
}

void check_operands(const char* op, const Tensor* x, const Tensor* w, const Tensor* bias, const Value& stride,
                    size_t n) {
  check_weight_dims(op, x, w, stride, n);
  FL_CHECK(x->dim() == static_cast<int>(n) + 2 || x->dim() == static_cast<int>(n) + 1, ErrorKind::Runtime,
           "Expected %zuD (unbatched) or %zuD (batched) input to %s, but got input of size: %s", n + 1, n + 2, op,
           shape_text(x->sizes).c_str());
  FL_CHECK(!bias || bias->dtype == x->dtype, ErrorKind::Runtime,
           "Input type (%s) and bias type (%s) should be the same [in %s]. Convert one with .to(dtype).",
           dtype_c_name(x->dtype), dtype_c_name(bias->dtype), op);
  FL_CHECK(
      x->dtype == w->dtype, ErrorKind::Runtime,
      "expected scalar type %s but found %s [in %s: the second is that of the weight]. Convert one with .to(dtype).",
      dtype_title(x->dtype), dtype_title(w->dtype), op);
  for (size_t i = 0; i < n; ++i)
    FL_CHECK(w->sizes[2 + static_cast<int>(i)] > 0, ErrorKind::Runtime,
             "kernel size should be greater than zero, but got weight of size %s [in %s]", shape_text(w->sizes).c_str(),
             op);
  FL_CHECK(x->device().type == w->device().type, ErrorKind::Runtime,
           "Expected all tensors to be on the same device, but found at least two devices [in %s]", op);
}

// Geometry from the sizes of the convolution's input and weight.
Conv geometry(const Window& window, IntSpan x, IntSpan w, DType dtype) {
  Conv c;
  c.batch = x[0], c.groups = window.groups, c.in_channels = x[1], c.out_channels = w[0], c.dtype = dtype;
  for (size_t i = 0; i < window.n; ++i) {
    size_t at = 3 - window.n + i;
    c.size[at] = x[2 + i], c.kernel[at] = w[2 + i];
    c.stride[at] = window.stride[i], c.padding[at] = window.padding[i], c.dilation[at] = window.dilation[i];
    c.output[at] = (c.size[at] + 2 * c.padding[at] - c.dilation[at] * (c.kernel[at] - 1) - 1) / c.stride[at] + 1;
  }
  return c;
}

void check_forward(const char* op, const Window& window, const Tensor* x, const Tensor* w, const Tensor* bias) {
  int64_t channels = x->sizes[1], per_group = w->sizes[1], out = w->sizes[0];
  FL_CHECK(out >= window.groups, ErrorKind::Runtime,
           "Given groups=%ld, expected weight to be at least %ld at dimension 0, but got weight of size %s instead "
           "[in %s]",
           window.groups, window.groups, shape_text(w->sizes).c_str(), op);
  FL_CHECK(per_group * window.groups == channels, ErrorKind::Runtime,
           "Given groups=%ld, weight of size %s, expected input%s to have %ld channels, but got %ld channels instead "
           "[in %s]. input.shape[1] must be weight.shape[1] * groups.",
           window.groups, shape_text(w->sizes).c_str(), shape_text(x->sizes).c_str(), per_group * window.groups,
           channels, op);
  FL_CHECK(
      out % window.groups == 0 && out >= window.groups, ErrorKind::Runtime,
      "Given groups=%ld, expected weight to be at least %ld at dimension 0, and divisible by it, but got weight of "
      "size %s instead",
      window.groups, window.groups, shape_text(w->sizes).c_str());
  FL_CHECK(
      !bias || (bias->dim() == 1 && bias->sizes[0] == out), ErrorKind::Runtime,
      "Given weight of size %s, expected bias to be 1-dimensional with %ld elements, but got bias of size %s instead",
      shape_text(w->sizes).c_str(), out, bias ? shape_text(bias->sizes).c_str() : "");
  Dims padded(static_cast<int>(window.n)), extent(static_cast<int>(window.n));
  bool fits = true;
  for (size_t i = 0; i < window.n; ++i) {
    int d = static_cast<int>(i);
    padded[d] = x->sizes[2 + d] + 2 * window.padding[i];
    extent[d] = window.dilation[i] * (w->sizes[2 + d] - 1) + 1;
    fits &= padded[d] >= extent[d];
  }
  FL_CHECK(
      fits, ErrorKind::Runtime,
      "Calculated padded input size per channel: %s. Kernel size: %s. Kernel size can't be greater than actual input "
      "size [in %s: input=%s]",
      by_text(padded).c_str(), by_text(extent).c_str(), op, shape_text(x->sizes).c_str());
}

// The format of an operand of a convolution over n dimensions: without a batch dimension it is none.
MemoryFormat format_of(const Tensor* t, size_t n) {
  return t->dim() == static_cast<int>(n) + 2 ? channels_format(t) : MemoryFormat::Contiguous;
}

// The result as the caller sees it: without the batch dimension that was added, in the input's memory format.
TensorRef finished(TensorRef y, const Tensor* x, size_t n) {
  if (x->dim() == static_cast<int>(n) + 1) {
    Dims sizes = y->sizes, strides = y->strides;
    sizes.erase(0);
    strides.erase(0);
    return Tensor::make(y->storage, y->offset, sizes, strides, y->dtype);
  }
  return in_format(y, format_of(x, n));
}

TensorRef empty_in_format(IntSpan sizes, MemoryFormat format, const Tensor* like) {
  return Tensor::empty_strided(sizes, format_strides(sizes, format), like->dtype, like->device());
}

// Functions that take operands as they lie whose channels are last; the gradient of the weight may be missing.
struct ChannelsLast {
  decltype(&points_forward) forward;
  decltype(&points_backward_input) backward_input;
  decltype(&points_backward_weight) backward_weight;
};
constexpr ChannelsLast kPoints{points_forward, points_backward_input, points_backward_weight};
constexpr ChannelsLast kPixels{pixels_forward, pixels_backward_input, nullptr};
constexpr ChannelsLast kDepthwise{channels_forward, channels_backward_input, channels_backward_weight};
constexpr ChannelsLast kNarrowPixels{narrow_pixels_forward, narrow_pixels_backward_input, nullptr};
constexpr ChannelsLast kNarrowDepthwise{narrow_channels_forward, narrow_channels_backward_input,
                                        narrow_channels_backward_weight};

// Null where channels have to come first. `turned`: for the gradient of the input.
const ChannelsLast* channels_last(const Conv& c, const Tensor* x, size_t n, bool turned) {
  if (format_of(x, n) == MemoryFormat::Contiguous || x->is_meta()) return nullptr;
  if (is_pointwise(c)) return &kPoints;
  if (is_narrow(c.dtype)) {
    if (narrow_channels_suit(c)) return &kNarrowDepthwise;
    return narrow_pixels_suit(c, turned) ? &kNarrowPixels : nullptr;
  }
  if (channels_suit(c)) return &kDepthwise;
  const MicroKernels* mk = micro_kernels(c.dtype);
  return mk && pixels_suit(*mk, c, turned, true) ? &kPixels : nullptr;
}

const void* data_of(const TensorRef& t) { return t ? t->data() : nullptr; }

// The result of a convolution over n dimensions or, turned, of a transposed one, in the memory format of x.
TensorRef convolved(const Conv& c, bool turned, IntSpan sizes, Tensor* x, Tensor* w, Tensor* bias, size_t n) {
  const ChannelsLast* last = channels_last(c, x, n, turned);
  TensorRef y = empty_in_format(sizes, last ? channels_format(x) : MemoryFormat::Contiguous, x);
  if (y->is_meta() || y->numel() == 0) return finished(y, x, n);
  TensorRef weight = contiguous_tensor(w), b = bias ? contiguous_tensor(bias) : nullptr;
  if (last) {
    (turned ? last->backward_input : last->forward)(c, x->data(), weight->data(), data_of(b), y->data());
    return y;
  }
  TensorRef dense = channels_first(batched(x, n).get());
  if (turned) {
    conv_backward_input(c, dense->data(), weight->data(), data_of(b), y->data());
  } else {
    conv_forward(c, dense->data(), weight->data(), data_of(b), y->data());
  }
  return finished(y, x, n);
}

template <size_t N>
void convolution(const Call& call, Outputs& outputs) {
  const char* op = N == 1 ? "conv1d" : N == 2 ? "conv2d" : "conv3d";
  Tensor *x = call[0].tensor(), *w = call[1].tensor(), *bias = call[2].is_tensor() ? call[2].tensor() : nullptr;
  check_operands(op, x, w, bias, call[3], N);
  Window window(call, 3, N, 6);
  TensorRef input = batched(x, N);
  check_forward(op, window, input.get(), w, bias);
  Conv c = geometry(window, input->sizes, w->sizes, x->dtype);
  Dims sizes{c.batch, c.out_channels};
  for (size_t i = 3 - N; i < 3; ++i) sizes.push_back(c.output[i]);
  outputs.emplace_back(convolved(c, false, sizes, x, w, bias, N));
}

// conv_input_grad(grad, weight, size, stride, padding, dilation, groups): the gradient of the input of that size.
void input_grad(const Call& call, Outputs& outputs) {
  Tensor *g = call[0].tensor(), *w = call[1].tensor();
  Dims size(IntSpan(call[2].ints()));
  auto n = static_cast<size_t>(w->dim() - 2);
  Window window(call, 3, n, 6);
  TensorRef dx = Tensor::empty(size, g->dtype, g->device());
  TensorRef result = batched(dx.get(), n), grad = batched(g, n);
  if (!dx->is_meta() && dx->numel()) {
    Conv c = geometry(window, result->sizes, w->sizes, g->dtype);
    TensorRef weight = contiguous_tensor(w);
    if (const ChannelsLast* last = channels_last(c, g, n, true)) {
      dx = empty_in_format(size, channels_format(g), g);
      last->backward_input(c, g->data(), weight->data(), nullptr, dx->data());
      outputs.emplace_back(dx);
      return;
    }
    TensorRef dense = channels_first(grad.get());
    conv_backward_input(c, dense->data(), weight->data(), nullptr, result->data());
  }
  outputs.emplace_back(in_format(dx, format_of(g, n)));
}

// conv_weight_grad(grad, input, size, stride, padding, dilation, groups): the gradient of the weight of that size.
void weight_grad(const Call& call, Outputs& outputs) {
  Tensor *g = call[0].tensor(), *x = call[1].tensor();
  Dims size(IntSpan(call[2].ints()));
  auto n = static_cast<size_t>(size.size() - 2);
  Window window(call, 3, n, 6);
  TensorRef input = batched(x, n), grad = batched(g, n);
  TensorRef dw = Tensor::empty(size, g->dtype, g->device());
  if (!dw->is_meta() && dw->numel()) {
    Conv c = geometry(window, input->sizes, size, g->dtype);
    const ChannelsLast* last = format_of(g, n) == format_of(x, n) ? channels_last(c, x, n, false) : nullptr;
    if (last && last->backward_weight) {
      last->backward_weight(c, x->data(), g->data(), dw->data());
    } else {
      TensorRef dense = channels_first(input.get()), dy = channels_first(grad.get());
      conv_backward_weight(c, dense->data(), dy->data(), dw->data());
    }
  }
  outputs.emplace_back(dw);
}

// conv_transposeNd(input, weight, bias, stride, padding, output_padding, groups, dilation)
template <size_t N>
void transposed(const Call& call, Outputs& outputs) {
  const char* op = N == 1 ? "conv_transpose1d" : N == 2 ? "conv_transpose2d" : "conv_transpose3d";
  Tensor *x = call[0].tensor(), *w = call[1].tensor(), *bias = call[2].is_tensor() ? call[2].tensor() : nullptr;
  check_operands(op, x, w, bias, call[3], N);
  Value rearranged[] = {call[3], call[4], call[7], call[6]};
  Window window(Call{call.overload, rearranged}, 0, N, 3);
  Ints extra = window.spread(call[5], "output_padding");
  window.check_output_padding(extra);
  TensorRef input = batched(x, N);
  FL_CHECK(input->sizes[1] == w->sizes[0], ErrorKind::Runtime,
           "Given transposed=1, weight of size %s, expected input%s to have %ld channels, but got %ld channels instead",
           shape_text(w->sizes).c_str(), shape_text(input->sizes).c_str(), w->sizes[0], input->sizes[1]);
  FL_CHECK(input->sizes[1] % window.groups == 0, ErrorKind::Runtime,
           "Given groups=%ld, expected input channels to be divisible by it, but got %ld [in %s]", window.groups,
           input->sizes[1], op);
  Dims sizes{input->sizes[0], w->sizes[1] * window.groups};
  for (size_t i = 0; i < N; ++i) {
    int d = static_cast<int>(i);
    int64_t out = (input->sizes[2 + d] - 1) * window.stride[i] - 2 * window.padding[i] +
                  window.dilation[i] * (w->sizes[2 + d] - 1) + extra[i] + 1;
    FL_CHECK(out > 0, ErrorKind::Runtime,
             "Given input size per channel: %s. Calculated output size per channel is too small [in %s]",
             by_text(IntSpan(input->sizes).subspan(2)).c_str(), op);
    sizes.push_back(out);
  }
  FL_CHECK(
      !bias || (bias->dim() == 1 && bias->sizes[0] == sizes[1]), ErrorKind::Runtime,
      "Given transposed=1, weight of size %s, expected bias to be 1-dimensional with %ld elements, but got bias of "
      "size %s instead",
      shape_text(w->sizes).c_str(), sizes[1], bias ? shape_text(bias->sizes).c_str() : "");
  Conv c = geometry(window, sizes, w->sizes, x->dtype);
  for (size_t i = 0; i < N; ++i) c.output[3 - N + i] = input->sizes[2 + static_cast<int>(i)];
  outputs.emplace_back(convolved(c, true, sizes, x, w, bias, N));
}

RegisterNative natives[] = {{"conv1d", convolution<1>},          {"conv2d", convolution<2>},
                            {"conv3d", convolution<3>},          {"conv_transpose1d", transposed<1>},
                            {"conv_transpose2d", transposed<2>}, {"conv_transpose3d", transposed<3>},
                            {"conv_input_grad", input_grad},     {"conv_weight_grad", weight_grad}};

}  // namespace
}  // namespace fl
