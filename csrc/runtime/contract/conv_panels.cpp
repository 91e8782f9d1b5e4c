#include "runtime/contract/conv_panels.h"

#include <bit>
#include <map>

#include "runtime/pool.h"

namespace fl {
namespace {

constexpr uint64_t kAllTaps = ~uint64_t{0};
constexpr int64_t kMostTaps = 64;
constexpr size_t kMostRows = 64;  // different rows of pixels among which stretches are looked for
// What it costs to copy one weight and to begin one more panel, in multiply-adds of one lane.
constexpr int64_t kCopyCost = 64, kBeginCost = 32;
constexpr int64_t kCopiedRows = 16;

}  // namespace

int64_t Panels::tap_count(uint64_t taps) const { return taps == kAllTaps ? conv_.tap_count() : std::popcount(taps); }

int64_t Panels::cost(const Stretch& stretch) const {
  return round_up(stretch.pixels, mk_.lanes) * tap_count(stretch.taps) + kBeginCost;
}

// Rows of pixels, neighbours with the same taps together.
std::vector<Panels::Stretch> Panels::rows() const {
  std::vector<Stretch> found;
  for (int64_t z = 0; z < conv_.grid_slices; z++) {
    for (int64_t y = 0; y < conv_.grid_height; y++) {
      uint64_t taps = 0;
      for (int64_t t = 0; t < conv_.tap_count(); t++) {
        const TapPosition& tap = conv_.taps[static_cast<size_t>(t)];
        bool reaches = z + tap.z >= 0 && z + tap.z < conv_.slices && y + tap.y >= 0 && y + tap.y < conv_.height &&
                       std::abs(tap.x) < conv_.width;
        taps |= uint64_t{reaches} << t;
      }
      if (!taps) taps = 1;  // kernels want some depth
      if (found.empty() || found.back().taps != taps) found.push_back({0, taps});
      found.back().pixels += conv_.grid_width;
    }
  }
  return found;
}

// The cheapest cut into stretches; one stretch, if copying weights would cost more than is saved.
std::vector<Panels::Stretch> Panels::stretches() const {
  const Stretch all{conv_.volume(), kAllTaps};
  if (conv_.tap_count() == 1 || conv_.tap_count() > kMostTaps) return {all};
  if (conv_.batch * conv_.volume() < kCopyCost) return {all};
  std::vector<Stretch> parts = rows();
  if (parts.size() == 1 || parts.size() > kMostRows) return {all};
  // best[i]: the least cost of the first i parts, and where their last stretch begins.
  std::vector<std::pair<int64_t, size_t>> best(parts.size() + 1, {INT64_MAX, 0});
  best[0].first = 0;
  for (size_t begin = 0; begin < parts.size(); begin++) {
    Stretch joined{0, 0};
    for (size_t end = begin + 1; end <= parts.size(); end++) {
      joined = {joined.pixels + parts[end - 1].pixels, joined.taps | parts[end - 1].taps};
      best[end] = std::min(best[end], {best[begin].first + cost(joined), begin});
    }
  }
  std::vector<Stretch> result;
  std::map<uint64_t, int64_t> sets;
  for (size_t end = parts.size(); end > 0; end = best[end].second) {
    Stretch joined{0, 0};
    for (size_t i = best[end].second; i < end; i++) {
      joined = {joined.pixels + parts[i].pixels, joined.taps | parts[i].taps};
    }
    if (tap_count(joined.taps) == conv_.tap_count()) joined.taps = kAllTaps;
    result.insert(result.begin(), joined);
    if (joined.taps != kAllTaps) sets[joined.taps] = tap_count(joined.taps);
  }
  int64_t copied = 0;
  for (auto [taps, count] : sets) copied += count;
  if ((cost(all) - best.back().first) * conv_.batch < copied * kCopyCost) return {all};
  return result;
}

Panels::Panels(const MicroKernels& mk, const TapConv& conv, int64_t width) : mk_(mk), conv_(conv) {
  int64_t begin = 0;
  std::map<uint64_t, const char*> weights{{kAllTaps, conv.weights}};
  for (const Stretch& stretch : stretches()) {
    int64_t count = tap_count(stretch.taps), row = conv.channels * count * mk.element_bytes;
    if (!weights.contains(stretch.taps)) {
      char* copy = weights_.emplace_back(static_cast<size_t>(conv.groups * conv.outputs * row)).as();
      mk.element_bytes == 4 ? copy_weights<float>(stretch.taps, copy) : copy_weights<double>(stretch.taps, copy);
      weights[stretch.taps] = copy;
    }
    if (stretch.taps == kAllTaps) row = conv.weights_row;
    for (int64_t end = begin + stretch.pixels; begin < end; begin += panels_.back().width) {
      panels_.push_back({begin, std::min(width, end - begin), nullptr, count, weights[stretch.taps], row, true});
      sets_.push_back(stretch.taps);
    }
  }
  fill_table();
}

void Panels::fill_table() {
  int64_t entries = 0;
  for (const Panel& panel : panels_) entries += panel.count;
  table_.resize(static_cast<size_t>(entries));
  Tap* at = table_.data();
  for (size_t p = 0; p < panels_.size(); p++) {
    panels_[p].taps = at;
    for (int64_t t = 0; t < conv_.tap_count(); t++) {
      if (t < kMostTaps && !(sets_[p] >> t & 1)) continue;
      *at++ = {tap_distance(conv_, t) * mk_.element_bytes, {}};
    }
  }
  for (int64_t t = 0; t < conv_.tap_count(); t++) {
    size_t panels[2] = {0, 0};
    for_valid_pixels(conv_, t, [&](Range pixels, bool inside) { mark(t, panels[inside], pixels, inside); });
  }
  for (Panel& panel : panels_) {
    PanelShape shape(panel.width, mk_.lanes);
    for (int64_t t = 0; t < panel.count; t++) {
      for (int j = 0; j < shape.vectors; j++) panel.whole &= panel.taps[t].mask[j] == lane_mask(mk_.lanes);
    }
  }
}

// Some pixels of one tap, the first of them in `panel` or behind it.
void Panels::mark(int64_t tap, size_t& panel, Range pixels, bool inside) {
  while (pixels.size() > 0) {
    while (panels_[panel].begin + panels_[panel].width <= pixels.begin) panel++;
    const Panel& p = panels_[panel];
    bool few = conv_.tap_count() <= kMostTaps;
    int64_t place = few ? std::popcount(sets_[panel] & ((uint64_t{1} << tap) - 1)) : tap;
    Tap& entry = table_[static_cast<size_t>(p.taps - table_.data() + place)];
    Range here{pixels.begin - p.begin, std::min(p.width, pixels.end - p.begin)};
    if (inside && here.size() == p.width) {
      PanelShape shape(p.width, mk_.lanes);
      Tap all = plain_tap(mk_.lanes, shape.vectors, shape.tail);
      std::copy(std::begin(all.mask), std::begin(all.mask) + shape.vectors, entry.mask);
    } else {
      mark_pixels(entry.mask, 1, mk_.lanes, here, inside);
    }
    pixels.begin = p.begin + here.end;
  }
}

template <class T>
void Panels::copy_weights(uint64_t taps, char* out) const {
  std::vector<int64_t> chosen;
  for (int64_t t = 0; t < conv_.tap_count(); t++) {
    if (taps >> t & 1) chosen.push_back(t);
  }
  int64_t rows = conv_.groups * conv_.outputs, count = static_cast<int64_t>(chosen.size());
  parallel_for(ceil_div(rows, kCopiedRows), [&](int64_t block) {
    int64_t end = std::min(rows, (block + 1) * kCopiedRows);
    for (int64_t row = block * kCopiedRows; row < end; row++) {
      const T* from = reinterpret_cast<const T*>(conv_.weights + row * conv_.weights_row);
      T* to = reinterpret_cast<T*>(out) + row * conv_.channels * count;
      for (int64_t c = 0; c < conv_.channels; c++, from += conv_.tap_count()) {
        for (int64_t t : chosen) *to++ = from[t];
      }
    }
  });
}

}  // namespace fl
