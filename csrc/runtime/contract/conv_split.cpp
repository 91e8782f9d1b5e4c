#include "runtime/contract/conv_split.h"

#include <tuple>

#include "runtime/pool.h"

namespace fl {
namespace {

// Bytes of results that are interleaved at a time, so that they are read back from the cache; and of one chunk of that.
constexpr int64_t kBlockBytes = 4 << 20, kChunkBytes = 64 << 10;
// Bytes of rows that are dealt out before the rows between them: memory is to be read in its order.
constexpr int64_t kRowBytes = 2 << 10;

bool one_slice(const TapConv& conv) { return ceil_div(conv.slices, conv.stride_z) == 1 && conv.grid_slices == 1; }

// Whether taps at `position` read nothing of an axis at or behind place `places` of their phase.
bool inside(int64_t position, int64_t stride, int64_t places, int64_t size) {
  int64_t phase = phase_of(position, stride);
  return position < stride || places * stride + phase >= size;
}

auto place_of(const TapPosition& p) { return std::tuple(p.z, p.y, p.x); }

// The phases that taps read, in the order of the input.
std::vector<TapPosition> phases_of(const TapConv& conv) {
  std::vector<TapPosition> phases;
  for (const TapPosition& tap : conv.taps) {
    phases.push_back({phase_of(tap.z, conv.stride_z), phase_of(tap.y, conv.stride_y), phase_of(tap.x, conv.stride_x)});
  }
  std::ranges::sort(phases, {}, place_of);
  auto same = std::ranges::unique(phases, {}, place_of);
  phases.erase(same.begin(), same.end());
  return phases;
}

// The convolution over planes of phases.
TapConv without_strides(const TapConv& conv, const std::vector<TapPosition>& phases) {
  TapConv split = conv;
  split.stride_z = split.stride_y = split.stride_x = 1;
  split.slices = ceil_div(conv.slices, conv.stride_z);
  split.height = one_slice(conv) ? ceil_div(conv.height, conv.stride_y) : conv.grid_height;
  split.width = conv.grid_width;
  for (TapPosition& tap : split.taps) {
    TapPosition own{phase_of(tap.z, conv.stride_z), phase_of(tap.y, conv.stride_y), phase_of(tap.x, conv.stride_x)};
    auto at = std::ranges::lower_bound(phases, place_of(own), {}, place_of);
    tap = {(tap.z - own.z) / conv.stride_z, (tap.y - own.y) / conv.stride_y, (tap.x - own.x) / conv.stride_x,
           at - phases.begin()};
  }
  split.phases = static_cast<int64_t>(phases.size());
  return split;
}

}  // namespace

bool Split::suits(const TapConv& conv) {
  bool flat = one_slice(conv);
  for (auto [z, y, x, phase] : conv.taps) {
    if (!inside(x, conv.stride_x, conv.grid_width, conv.width)) return false;
    if (!flat && !inside(y, conv.stride_y, conv.grid_height, conv.height)) return false;
  }
  return without_strides(conv, phases_of(conv)).in_volume() <= 2 * conv.in_volume();
}

Split::Split(const MicroKernels& mk, const TapConv& conv)
    : mk_(mk), whole_(conv), phases_(phases_of(conv)), split_(without_strides(conv, phases_)), axis_(axis()) {
  pairs_ = std::min(split_.width, conv.width / 2) / mk.lanes;
  int64_t done = pairs_ * mk.lanes, rest = split_.width - done;
  bool by_pairs = conv.stride_x == 2 && rest <= mk.lanes;
  if (rest > 0 && by_pairs) masks_ = split_masks(mk.lanes, conv.width - 2 * done, rest, rest);
  for (size_t p = 0; p < phases_.size(); p++) {
    TapPosition own = phases_[p];
    own.phase = static_cast<int64_t>(p);
    bool odd = by_pairs && own.x == 1 && !planes_.empty() && planes_.back().first.x == 0 &&
               planes_.back().first.y == own.y && planes_.back().first.z == own.z;
    if (odd) {
      planes_.back().paired = true;
    } else {
      planes_.push_back({own, false});
    }
  }
}

Split::Axis Split::axis() const {
  bool slices = split_.slices > 1 || split_.grid_slices > 1;
  auto place = [&](const TapPosition& tap) { return slices ? tap.z : tap.y; };
  auto [low, high] = std::ranges::minmax(split_.taps, {}, place);
  if (slices) return {true, split_.grid_slices, split_.pixels(), low.z, high.z};
  return {false, split_.grid_height, split_.grid_width, low.y, high.y};
}

Split::Part Split::part_for(Range pixels) const {
  Part part = all();
  Range& range = axis_.slices ? part.slices : part.rows;
  int64_t end = range.end;
  range.begin = std::clamp<int64_t>(pixels.begin / axis_.pixels + axis_.low, 0, end);
  range.end = std::clamp<int64_t>(ceil_div(pixels.end, axis_.pixels) + axis_.high, range.begin, end);
  return part;
}

void Split::fill(int64_t i, const Part& part, char* out) const {
  int64_t element = mk_.element_bytes, row = whole_.stride_y * whole_.width * element;
  int64_t together = std::max<int64_t>(1, kRowBytes / row);
  const char* channel = whole_.x + i * whole_.in_volume() * element;
  for (int64_t k = part.slices.begin; k < part.slices.end; k++) {
    for (int64_t z = 0; z < whole_.stride_z; z++) {
      for (int64_t first = part.rows.begin; first < part.rows.end; first += together) {
        Range rows{first, std::min(first + together, part.rows.end)};
        for (const Planes& planes : planes_) {
          if (planes.first.z == z) fill_rows(planes, channel, k, rows, out);
        }
      }
    }
  }
}

void Split::fill_rows(const Planes& planes, const char* channel, int64_t slice, Range rows, char* out) const {
  auto [dz, dy, dx, phase] = planes.first;
  int64_t element = mk_.element_bytes, in_row = whole_.width * element, row = split_.width * element;
  int64_t z = slice * whole_.stride_z + dz, y = rows.begin * whole_.stride_y + dy;
  int64_t inside = z < whole_.slices ? ceil_div(whole_.height - y, whole_.stride_y) : 0;
  inside = std::clamp<int64_t>(inside, 0, rows.size());
  const char* from = channel + (z * whole_.height + y) * in_row + dx * element;
  char* to = out + ((phase * split_.slices + slice) * split_.height + rows.begin) * row;
  int64_t plane = split_.slices * split_.height * row;
  if (inside > 0 && planes.paired) {
    mk_.split_2(inside, pairs_, from, whole_.stride_y * in_row, to, to + plane, row, masks_);
  } else if (inside > 0) {
    copy_rows(from, inside, std::clamp<int64_t>(ceil_div(whole_.width - dx, whole_.stride_x), 0, split_.width), to);
  }
  if (inside == rows.size()) return;
  clear_row(to + inside * row, (rows.size() - inside) * row);
  if (planes.paired) clear_row(to + plane + inside * row, (rows.size() - inside) * row);
}

void Split::copy_rows(const char* from, int64_t count, int64_t columns, char* to) const {
  int64_t element = mk_.element_bytes, stride = whole_.stride_x, more = (split_.width - columns) * element;
  for (int64_t r = 0; r < count; r++) {
    if (stride == 1) {
      copy_row(from, columns * element, to);
    } else if (element == 4) {
      copy_strided<float>(from, stride, columns, to);
    } else {
      copy_strided<double>(from, stride, columns, to);
    }
    if (more > 0) clear_row(to + columns * element, more);
    from += whole_.stride_y * whole_.width * element;
    to += split_.width * element;
  }
}

namespace {

// Two rows of n elements, one after the other's.
template <class T>
void interleave(const char* first, const char* second, int64_t n, char* to) {
  constexpr int kLanes = 16 / sizeof(T);
  using Vector [[gnu::vector_size(16)]] = T;
  const T *a = reinterpret_cast<const T*>(first), *b = reinterpret_cast<const T*>(second);
  T* out = reinterpret_cast<T*>(to);
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    Vector x, y, low, high;
    std::memcpy(&x, a + i, 16);
    std::memcpy(&y, b + i, 16);
    if constexpr (kLanes == 4) {
      low = __builtin_shufflevector(x, y, 0, 4, 1, 5);
      high = __builtin_shufflevector(x, y, 2, 6, 3, 7);
    } else {
      low = __builtin_shufflevector(x, y, 0, 2);
      high = __builtin_shufflevector(x, y, 1, 3);
    }
    std::memcpy(out + 2 * i, &low, 16);
    std::memcpy(out + 2 * i + kLanes, &high, 16);
  }
  for (; i < n; i++) {
    out[2 * i] = a[i];
    out[2 * i + 1] = b[i];
  }
}

// A convolution that stands alone, and the one of whose results it has all, maybe more.
struct Alone {
  TapConv conv;
  const TapConv& wanted;
  int64_t volume_bytes(int64_t element) const { return conv.volume() * element; }
};

// A little is added to planes that are smaller than those of the input, so that taps are constant distances.
int64_t widened(int64_t outputs, int64_t inputs) {
  return 4 * outputs >= 3 * inputs ? std::max(outputs, inputs) : outputs;
}

Alone alone(const TapConv& conv) {
  Alone one{conv, conv};
  TapConv& c = one.conv;
  c.grid_width = widened(conv.grid_width, ceil_div(conv.width, conv.stride_x));
  if (!one_slice(conv)) c.grid_height = widened(conv.grid_height, ceil_div(conv.height, conv.stride_y));
  c.out_slices = c.grid_slices;
  c.out_height = c.grid_height;
  c.out_width = c.grid_width;
  c.first_z = c.first_y = c.first_x = 0;
  c.step_z = c.step_y = c.step_x = 1;
  return one;
}

template <class T>
void interleave_plane(const std::vector<Alone>& parts, const TapConv& whole, int64_t plane, int64_t out_plane) {
  constexpr int64_t kElement = sizeof(T);
  char* out = whole.y + out_plane * whole.out_slices * whole.out_height * whole.out_width * kElement;
  for (size_t p = 0; p < parts.size(); p++) {
    const Alone& part = parts[p];
    const TapConv &c = part.conv, &own = part.wanted;
    const Alone* next = p + 1 < parts.size() && alternate(own, parts[p + 1].wanted) ? &parts[p + 1] : nullptr;
    for (int64_t z = 0; z < c.grid_slices; z++) {
      for (int64_t y = 0; y < own.grid_height; y++) {
        int64_t row = (plane * c.grid_slices + z) * c.grid_height + y;
        int64_t slice = own.first_z + z * whole.step_z;
        char* to = out + ((slice * whole.out_height) + own.first_y + y * whole.step_y) * whole.out_width * kElement;
        const char* from = c.y + row * c.grid_width * kElement;
        if (!next) {
          spread_apart<T>(from, whole.step_x, own.grid_width, to + own.first_x * kElement);
          continue;
        }
        int64_t width = next->wanted.grid_width;
        interleave<T>(from, next->conv.y + row * next->conv.grid_width * kElement, width, to);
        if (own.grid_width > width) std::memcpy(to + 2 * width * kElement, from + width * kElement, kElement);
      }
    }
    if (next) p++;
  }
}

}  // namespace

bool widening_suits(const TapConv& conv) {
  TapConv wide = alone(conv).conv;
  bool changed = wide.grid_width != conv.grid_width || wide.grid_height != conv.grid_height;
  return changed && (wide.direct() || Split::suits(wide));
}

void run_interleaved(const MicroKernels& mk, const std::vector<const TapConv*>& convs) {
  const TapConv& whole = *convs[0];
  int64_t element = mk.element_bytes, planes = whole.groups * whole.outputs, bytes = 0;
  std::vector<Alone> parts;
  for (const TapConv* conv : convs) parts.push_back(alone(*conv));
  for (const Alone& part : parts) bytes += planes * part.volume_bytes(element);
  int64_t blocks = std::clamp<int64_t>(ceil_div(whole.batch * bytes, kBlockBytes), 1, whole.batch);
  int64_t most = ceil_div(whole.batch, blocks), image = whole.groups * whole.channels * whole.in_volume() * element;
  Scratch memory(static_cast<size_t>(most * bytes));
  for (int64_t b = 0; b < blocks; b++) {
    Range images = even_part(whole.batch, blocks, b);
    char* at = memory.as();
    for (Alone& part : parts) {
      part.conv.batch = images.size();
      part.conv.x = whole.x + images.begin * image;
      part.conv.y = at;
      at += images.size() * planes * part.volume_bytes(element);
      run_taps(mk, part.conv);
    }
    int64_t all = images.size() * planes;
    int64_t chunks = std::clamp<int64_t>(images.size() * bytes / kChunkBytes, 1, all);
    parallel_for(chunks, [&](int64_t chunk) {
      Range part = even_part(all, chunks, chunk);
      for (int64_t i = part.begin; i < part.end; i++) {
        auto* run = element == 4 ? interleave_plane<float> : interleave_plane<double>;
        run(parts, whole, i, images.begin * planes + i);
      }
    });
  }
}

}  // namespace fl
