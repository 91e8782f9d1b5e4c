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
#include "runtime/pool.h"
#include "runtime/promotion.h"
#include "runtime/stream.h"

namespace fl {
namespace {

#define FL_INLINE [[gnu::always_inline]] inline

struct Wide {
  uint64_t parts[2];
};

constexpr int64_t kPieceBytes = 64 << 10;  // of the result: one task

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
  FL_INLINE void write(Sink& sink, int64_t begin, int64_t end) const {
    const Axis& inner = axes_.back();
    const int64_t row = inner.inside * item_;
    for (Row at(*this, begin); begin < end; at.next()) {
      if (const int64_t first = std::min(at.to, end); first > begin) {
        sink.fill(first - begin);
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
      to = std::numeric_limits<int64_t>::max();  // there are no more
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

constexpr int64_t kLine = 64;

template <class T>
FL_INLINE void copy_ends(char* to, const char* from, int64_t n) {  // sizeof(T) .. 2 * sizeof(T) bytes
  const int64_t last = n - static_cast<int64_t>(sizeof(T));
  std::memcpy(to, from, sizeof(T));
  std::memcpy(to + last, from + last, sizeof(T));
}

struct Line {
  char bytes[kLine];
};

// memcpy of what mostly is short.
FL_INLINE void copy_run(char* to, const char* from, int64_t n) {
  if (n >= kLine) {
    for (int64_t i = 0; i + kLine <= n; i += kLine) std::memcpy(to + i, from + i, kLine);
    std::memcpy(to + n - kLine, from + n - kLine, kLine);
  } else if (n >= 32) {
    struct Half {
      uint64_t parts[4];
    };
    copy_ends<Half>(to, from, n);
  } else if (n >= 16) {
    copy_ends<Wide>(to, from, n);
  } else if (n >= 8) {
    copy_ends<uint64_t>(to, from, n);
  } else if (n >= 4) {
    copy_ends<uint32_t>(to, from, n);
  } else if (n >= 2) {
    copy_ends<uint16_t>(to, from, n);
  } else if (n == 1) {
    *to = *from;
  }
}

// Writes bytes one after the other.
class Direct {
 public:
  FL_INLINE Direct(char* to, const Line& filling) : to_(to), filling_(filling) {}

  FL_INLINE void copy(const char* from, int64_t n) {
    copy_run(to_, from, n);
    to_ += n;
  }

  FL_INLINE void fill(int64_t n) {
    for (; n >= kLine; n -= kLine) copy(filling_.bytes, kLine);
    copy(filling_.bytes, n);
  }

  FL_INLINE void finish() {}

 private:
  char* to_;
  const Line& filling_;
};

#if defined(__x86_64__)
FL_INLINE uint64_t word_at(const char* from) {
  uint64_t word;
  std::memcpy(&word, from, 8);
  return word;
}

// The first n < 8 bytes, 0 behind them.
FL_INLINE uint64_t short_word(const char* from, int64_t n) {
  char bytes[8] = {};
  copy_run(bytes, from, n);
  return word_at(bytes);
}

// Writes bytes one after the other past the caches. `to` is a multiple of 8. What does not fill a word waits in a
// register: stores to the caches between those past them would hold these up.
class Streamed {
 public:
  FL_INLINE Streamed(char* to, const Line& filling) : to_(to), filling_(filling) {}

  FL_INLINE void copy(const char* from, int64_t n) {
    if (n < 8) return append(short_word(from, n), n);
    int64_t i = 0;
    if (held_) {
      i = 8 - held_;
      put(word_ | word_at(from) << 8 * held_);
    }
    if (reinterpret_cast<uintptr_t>(to_) % 16 && i + 8 <= n) {
      put(word_at(from + i));
      i += 8;
    }
    for (; i + kLine <= n; i += kLine, to_ += kLine) copy_line(to_, from + i, true);
    for (; i + 16 <= n; i += 16, to_ += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to_), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    if (i + 8 <= n) {
      put(word_at(from + i));
      i += 8;
    }
    held_ = n - i;
    word_ = held_ ? word_at(from + n - 8) >> 8 * (8 - held_) : 0;
  }

  FL_INLINE void fill(int64_t n) {
    for (; n >= kLine; n -= kLine) copy(filling_.bytes, kLine);
    if (n >= 8) return copy(filling_.bytes, n);
    append(word_at(filling_.bytes) & ((uint64_t{1} << 8 * n) - 1), n);
  }

  FL_INLINE void finish() {
    std::memcpy(to_, &word_, static_cast<size_t>(held_));
    stream_fence();
  }

 private:
  FL_INLINE void put(uint64_t word) {
    _mm_stream_si64(reinterpret_cast<long long*>(to_), static_cast<long long>(word));
    to_ += 8;
  }

  // n < 8 bytes, 0 behind them.
  FL_INLINE void append(uint64_t word, int64_t n) {
    word_ |= word << 8 * held_;
    held_ += n;
    if (held_ < 8) return;
    put(word_);
    held_ -= 8;
    word_ = held_ ? word >> 8 * (n - held_) : 0;
  }

  char* to_;
  const Line& filling_;
  uint64_t word_ = 0;  // the bytes that wait
  int64_t held_ = 0;   // so many
};
#else
using Streamed = Direct;
#endif

template <class Sink>
FL_INLINE void write_piece(const Padding& padding, char* to, const Line& filling, int64_t begin, int64_t end) {
  Sink sink(to + begin, filling);
  padding.write(sink, begin, end);
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
  auto piece = [&](int64_t begin, int64_t end) {
    stream ? write_streamed(padding, to, filling, begin, end) : write_direct(padding, to, filling, begin, end);
  };
  if (bytes < 2 * kPieceBytes) return piece(0, bytes);
  LongWork quiet(bytes >= 8 * kPieceBytes);
  parallel_for((bytes + kPieceBytes - 1) / kPieceBytes,
               [&](int64_t p) { piece(p * kPieceBytes, std::min(bytes, (p + 1) * kPieceBytes)); });
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
    const int64_t cut = std::max<int64_t>(0, -before);
    sizes[d] -= cut + std::max<int64_t>(0, -after);
    FL_CHECK(sizes[d] >= 0, ErrorKind::Runtime,
             "narrow(): length must be non-negative. [in pad: dimension %d has %lld elements, of which %lld and %lld "
             "cut off more]",
             d, static_cast<long long>(self->sizes[d]), static_cast<long long>(before), static_cast<long long>(after));
    offset += cut * self->strides[d];
  }
  return Tensor::make(self->storage, offset, sizes, self->strides, self->dtype);
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
  for (int d = 0; d < self->dim(); ++d) {
    auto [before, after] = widths_of(pad, self->dim(), d);
    sizes[d] += before + after;
  }
  const bool last = self->dim() == 4 && !inside->is_contiguous() && has_format(*inside, MemoryFormat::ChannelsLast);
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
