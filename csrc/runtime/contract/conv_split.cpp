#include "runtime/contract/conv_split.h"

#include "runtime/pool.h"

namespace fl {
namespace {

// Bytes that are dealt out at a time, so that they are read back from the cache; and of one chunk of that.
constexpr int64_t kBlockBytes = 4 << 20, kChunkBytes = 64 << 10;

bool one_slice(const TapConv& conv) { return ceil_div(conv.slices, conv.stride_z) == 1 && conv.grid_slices == 1; }

// Whether taps at `position` read nothing of an axis at or behind place `places` of their phase.
bool inside(int64_t position, int64_t stride, int64_t places, int64_t size) {
  int64_t phase = phase_of(position, stride);
  return position < stride || places * stride + phase >= size;
}

// The convolution over planes of phases, which are listed.
TapConv without_strides(const TapConv& conv, std::vector<TapPosition>& phases) {
  TapConv split = conv;
  split.stride_z = split.stride_y = split.stride_x = 1;
  split.slices = ceil_div(conv.slices, conv.stride_z);
  split.height = one_slice(conv) ? ceil_div(conv.height, conv.stride_y) : conv.grid_height;
  split.width = conv.grid_width;
  for (TapPosition& tap : split.taps) {
    TapPosition own{phase_of(tap.z, conv.stride_z), phase_of(tap.y, conv.stride_y), phase_of(tap.x, conv.stride_x)};
    auto at = std::find_if(phases.begin(), phases.end(),
                           [&](const TapPosition& p) { return p.z == own.z && p.y == own.y && p.x == own.x; });
    tap = {(tap.z - own.z) / conv.stride_z, (tap.y - own.y) / conv.stride_y, (tap.x - own.x) / conv.stride_x,
           at - phases.begin()};
    if (at == phases.end()) phases.push_back(own);
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
  std::vector<TapPosition> phases;
  return without_strides(conv, phases).in_volume() <= 2 * conv.in_volume();
}

Split::Split(const TapConv& conv, int64_t element)
    : whole_(conv), split_(without_strides(conv, phases_)), element_(element) {
  for (int64_t z = 0; z < conv.slices; z++) {
    for (int64_t y = 0; y < conv.height; y++) find_copies(z, y);
  }
}

void Split::find_copies(int64_t z, int64_t y) {
  int64_t slice = z / whole_.stride_z, row = y / whole_.stride_y;
  if (row >= split_.height) return;
  for (int64_t p = 0; p < split_.phases; p++) {
    TapPosition phase = phases_[static_cast<size_t>(p)];
    if (phase.z != z % whole_.stride_z || phase.y != y % whole_.stride_y) continue;
    int64_t from = (z * whole_.height + y) * whole_.width + phase.x;
    int64_t to = ((p * split_.slices + slice) * split_.height + row) * split_.width;
    int64_t count = std::clamp<int64_t>(ceil_div(whole_.width - phase.x, whole_.stride_x), 0, split_.width);
    copies_.push_back({from * element_, to * element_, count});
  }
}

void Split::fill(int64_t i, char* out) const {
  const char* channel = whole_.x + i * whole_.in_volume() * element_;
  element_ == 4 ? copy_rows<float>(channel, out) : copy_rows<double>(channel, out);
  clear_outside(out);
}

template <class T>
void Split::copy_rows(const char* channel, char* out) const {
  constexpr int64_t kElement = sizeof(T);
  int64_t width = split_.width, stride = whole_.stride_x;
  for (RowCopy copy : copies_) {
    if (stride == 1) {
      copy_row(channel + copy.from, copy.count * kElement, out + copy.to);
    } else {
      copy_strided<T>(channel + copy.from, stride, copy.count, out + copy.to);
    }
    if (copy.count < width) clear_row(out + copy.to + copy.count * kElement, (width - copy.count) * kElement);
  }
}

// Rows and slices that the input does not have.
void Split::clear_outside(char* out) const {
  int64_t row = split_.width * element_, slice = split_.height * row;
  for (const TapPosition& phase : phases_) {
    int64_t rows = std::clamp<int64_t>(ceil_div(whole_.height - phase.y, whole_.stride_y), 0, split_.height);
    for (int64_t k = 0; k < split_.slices; k++, out += slice) {
      int64_t inside = k * whole_.stride_z + phase.z < whole_.slices ? rows * row : 0;
      if (inside < slice) std::memset(out + inside, 0, static_cast<size_t>(slice - inside));
    }
  }
}

void run_split(const MicroKernels& mk, const TapConv& conv) {
  Split split(conv, mk.element_bytes);
  int64_t channels = conv.groups * conv.channels;
  int64_t bytes = channels * split.channel_bytes(), result = conv.groups * conv.outputs * conv.volume();
  int64_t blocks = std::clamp<int64_t>(ceil_div(conv.batch * bytes, kBlockBytes), 1, conv.batch);
  Scratch memory(static_cast<size_t>(ceil_div(conv.batch, blocks) * bytes));
  for (int64_t b = 0; b < blocks; b++) {
    Range images = even_part(conv.batch, blocks, b);
    int64_t planes = images.size() * channels;
    int64_t chunks = std::clamp<int64_t>(planes * split.channel_bytes() / kChunkBytes, 1, planes);
    parallel_for(chunks, [&](int64_t chunk) {
      Range part = even_part(planes, chunks, chunk);
      for (int64_t i = part.begin; i < part.end; i++) {
        split.fill(images.begin * channels + i, memory.as() + i * split.channel_bytes());
      }
    });
    TapConv part = split.conv();
    part.batch = images.size();
    part.x = memory.as();
    part.y = conv.y + images.begin * result * mk.element_bytes;
    run_taps(mk, part);
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
