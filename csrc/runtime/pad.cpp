// Elements around the last dimensions of a tensor: one pass over the result, whose rows need not begin where cache
// lines do.
#include <algorithm>
#include <limits>
#include <vector>

#include "core/error.h"
#include "runtime/clones.h"
#include "runtime/copy.h"
#include "runtime/iteration.h"
#include "runtime/op.h"
#include "runtime/promotion.h"
#include "runtime/runs.h"

namespace fl {
namespace {

// A dimension of the result: `inside` of its `size` elements, from `before` on, come from the input.
struct Axis {
  int64_t size, before, inside;
  int64_t step, from_step;  // bytes of the result, and of the input
};

// Outermost first, as the result lies in memory; neighbours that are one run of either side are one axis. The last axis
// is the row: what lies between the rows of the input is filled.
class Padding {
 public:
  Padding(const char* from, int64_t item) : from_(from), item_(item) {}

  void add(int64_t size, int64_t before, int64_t inside, int64_t from_step) {
    if (size == 1 && inside == 1) return;
    if (inside == 1) from_step = item_;
    if (!axes_.empty() && inside == size && axes_.back().from_step == from_step * size) {
      Axis& outer = axes_.back();
      outer = {outer.size * size, outer.before * size, outer.inside * size, 0, from_step};
    } else {
      axes_.push_back({size, before, inside, 0, from_step});
    }
  }

  // Whether the elements of a row follow one another. The last call before any of the others.
  bool finish() {
    if (axes_.empty()) axes_.push_back({1, 0, 1, 0, item_});
    int64_t step = item_;
    for (size_t d = axes_.size(); d-- > 0; step *= axes_[d].size) axes_[d].step = step;
    return axes_.back().from_step == item_;
  }

  // Gives the bytes begin .. end of the result, multiples of the size of an element, to `sink` one after the other.
  template <class Sink>
  FL_INLINE void write(Sink& sink, const Line& filling, int64_t begin, int64_t end) const {
    const Axis& inner = axes_.back();
    const int64_t row = inner.inside * item_;
    for (Row at(*this, begin); begin < end; at.next()) {
      if (const int64_t first = std::min(at.to, end); first > begin) {
        sink.fill(filling, first - begin);
        begin = first;
      }
      if (const int64_t last = std::min(at.to + row, end); last > begin) {
        sink.copy(at.from + (begin - at.to), last - begin);
        begin = last;
      }
    }
  }

 private:
  // A row of the input: where it begins there, and in the result.
  struct Row {
    // The first one that ends behind a byte of the result.
    Row(const Padding& padding, int64_t byte) : axes(padding.axes_), outer(axes.size() - 1), start(padding.from_) {
      std::fill_n(at, axes.size(), 0);
      for (size_t d = 0; d <= outer; ++d) {
        const int64_t place = byte / axes[d].step - axes[d].before;
        byte %= axes[d].step;
        if (place < 0) break;
        if (place >= axes[d].inside) {
          carry(d);
          return;
        }
        if (d < outer) at[d] = place;
      }
      locate();
    }

    FL_INLINE void next() {
      if (--left > 0) {
        to += step;
        from += from_step;
      } else {
        carry(outer ? outer - 1 : 0);
      }
    }

    // On from the end of axis d.
    void carry(size_t d) {
      for (; d > 0; --d) {
        at[d] = 0;
        if (++at[d - 1] < axes[d - 1].inside) return locate();
      }
      to = std::numeric_limits<int64_t>::max() / 2;  // there are no more; a row can be added to it
    }

    void locate() {
      to = axes[outer].before * axes[outer].step;
      from = start;
      for (size_t d = 0; d < outer; ++d) {
        to += (at[d] + axes[d].before) * axes[d].step;
        from += at[d] * axes[d].from_step;
      }
      if (!outer) return;
      left = axes[outer - 1].inside - at[outer - 1];
      step = axes[outer - 1].step;
      from_step = axes[outer - 1].from_step;
    }

    const std::vector<Axis>& axes;
    const size_t outer;  // axes around a row
    const char* const start;
    const char* from = nullptr;
    int64_t to = 0;
    int64_t left = 1, step = 0, from_step = 0;  // rows up to the end of the axis around them, and from one to the next
    int64_t at[kMaxDims];
  };

  std::vector<Axis> axes_;
  const char* from_;
  int64_t item_;
};

template <class Sink>
FL_INLINE void write_piece(const Padding& padding, char* to, const Line& filling, int64_t begin, int64_t end) {
  Sink sink(to + begin);
  padding.write(sink, filling, begin, end);
  sink.finish();
}

FL_CLONES void write_direct(const Padding& padding, char* to, const Line& filling, int64_t begin, int64_t end) {
  write_piece<Direct>(padding, to, filling, begin, end);
}

void write_streamed(const Padding& padding, char* to, const Line& filling, int64_t begin, int64_t end) {
  write_piece<Streamed>(padding, to, filling, begin, end);
}

void write_all(const Padding& padding, char* to, int64_t bytes, const Line& filling) {
  const bool stream = streams(bytes, bytes) && reinterpret_cast<uintptr_t>(to) % kLine == 0;
  share_pieces((bytes + kPieceBytes - 1) / kPieceBytes, bytes, [&](int64_t p) {
    const int64_t begin = p * kPieceBytes, end = std::min(bytes, begin + kPieceBytes);
    stream ? write_streamed(padding, to, filling, begin, end) : write_direct(padding, to, filling, begin, end);
  });
}

struct Widths {
  int64_t before = 0, after = 0;
};

// The widths of a dimension; `pad` has those of the last one first.
Widths widths_of(IntSpan pad, int dims, int d) {
  auto k = static_cast<size_t>(2 * (dims - 1 - d));
  return k < pad.size() ? Widths{pad[k], pad[k + 1]} : Widths{};
}

// What of the input is kept: negative widths cut off.
TensorRef kept_part(Tensor* self, IntSpan pad) {
  Dims sizes = self->sizes;
  int64_t offset = self->offset;
  for (int d = 0; d < self->dim(); ++d) {
    auto [before, after] = widths_of(pad, self->dim(), d);
    const int64_t size = sizes[d], first = std::min<int64_t>(0, before), last = std::min<int64_t>(0, after);
    FL_CHECK(first >= -size && last >= -size - first, ErrorKind::Runtime,
             "narrow(): length must be non-negative. [in pad: dimension %d has %lld elements, of which %lld and %lld "
             "cut off more]",
             d, static_cast<long long>(size), static_cast<long long>(before), static_cast<long long>(after));
    sizes[d] += first + last;
    offset -= first * self->strides[d];
  }
  return Tensor::make(self->storage, offset, sizes, self->strides, self->dtype);
}

// The elements of a dimension of the result.
int64_t padded_size(int64_t size, Widths widths, int d) {
  int64_t all;
  bool overflow = __builtin_add_overflow(size, widths.before, &all) || __builtin_add_overflow(all, widths.after, &all);
  FL_CHECK(!overflow, ErrorKind::Runtime,
           "The input size %lld, plus negative padding %lld and %lld resulted in a negative output size, which is "
           "invalid. Check dimension %d of your input. [in pad: a size is less than 2^63]",
           static_cast<long long>(size), static_cast<long long>(widths.before), static_cast<long long>(widths.after),
           d);
  return all;
}

// Dimensions by their steps in memory, outermost first.
std::vector<int> order_of(const Tensor& t) {
  std::vector<int> order(static_cast<size_t>(t.dim()));
  for (size_t d = 0; d < order.size(); ++d) order[d] = static_cast<int>(d);
  if (!t.is_contiguous()) std::ranges::stable_sort(order, [&](int a, int b) { return t.strides[a] > t.strides[b]; });
  return order;
}

// constant_pad_nd(self, pad, value)
void constant_pad(const Call& call, Outputs& outputs) {
  Tensor* self = call[0].tensor();
  IntSpan pad = call[1].ints();
  FL_CHECK(pad.size() % 2 == 0, ErrorKind::Runtime, "Length of pad must be even but instead it equals %zu", pad.size());
  FL_CHECK(pad.size() / 2 <= static_cast<size_t>(self->dim()), ErrorKind::Runtime,
           "Length of pad should be no more than twice the number of dimensions of the input. Pad length is %zuwhile "
           "the input has %ddimensions.",
           pad.size(), self->dim());
  check_number_casts(call[2], self->dtype);
  TensorRef inside = kept_part(self, pad);
  Dims sizes = self->sizes;
  for (int d = 0; d < self->dim(); ++d) sizes[d] = padded_size(sizes[d], widths_of(pad, self->dim(), d), d);
  const bool last = self->dim() == 4 && !self->is_contiguous() && has_format(*self, MemoryFormat::ChannelsLast);
  const MemoryFormat format = last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
  TensorRef out = Tensor::empty_strided(sizes, format_strides(sizes, format), self->dtype, self->device());
  outputs.emplace_back(out);
  if (out->is_meta() || out->numel() == 0) return;
  const auto item = static_cast<int64_t>(out->itemsize());
  Padding padding(inside->data(), item);
  int64_t first = 0;  // where the input begins in the result
  for (int d : order_of(*out)) {
    const int64_t before = std::max<int64_t>(0, widths_of(pad, self->dim(), d).before);
    padding.add(sizes[d], before, inside->sizes[d], inside->strides[d] * item);
    first += before * out->strides[d];
  }
  if (inside->numel() == 0 || !padding.finish()) {
    fill_with(out.get(), call[2]);
    return copy_into(Tensor::make(out->storage, first, inside->sizes, out->strides, out->dtype).get(), inside.get());
  }
  Line filling;  // elements that fill it
  for (int64_t k = 0; k < kLine; k += item) write_number(call[2], out->dtype, filling.bytes + k);
  write_all(padding, out->data(), out->numel() * item, filling);
}

RegisterNative native("constant_pad_nd", constant_pad);

}  // namespace
}  // namespace fl
