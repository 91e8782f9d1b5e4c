// The panels of a direct convolution: stretches of output pixels, and the taps that reach the input for any of them. At
// the edges of an image, taps that would read nothing but padding are left out, with the weights that belong to them.
#pragma once
#include <list>
#include <vector>

#include "runtime/contract/conv_taps.h"

namespace fl {

struct Panel {
  int64_t begin, width;  // pixels
  const Tap* taps;
  int64_t count;
  const char* weights;  // [groups * outputs][channels * count]
  int64_t weights_row;  // bytes
  bool whole;           // every tap reads every lane
};

class Panels {
 public:
  // Of up to `width` pixels each.
  Panels(const MicroKernels& mk, const TapConv& conv, int64_t width);
  int64_t size() const { return static_cast<int64_t>(panels_.size()); }
  const Panel& operator[](int64_t i) const { return panels_[static_cast<size_t>(i)]; }

 private:
  // Neighbouring pixels and their taps: bit t is tap t. Where there are too many to tell, all bits.
  struct Stretch {
    int64_t pixels;
    uint64_t taps;
  };
  std::vector<Stretch> rows() const;
  std::vector<Stretch> stretches() const;
  int64_t cost(const Stretch& stretch) const;
  int64_t tap_count(uint64_t taps) const;
  void fill_table();
  void mark(int64_t tap, size_t& panel, Range pixels, bool inside);
  template <class T>
  void copy_weights(uint64_t taps, char* out) const;

  const MicroKernels& mk_;
  const TapConv& conv_;
  std::vector<Panel> panels_;
  std::vector<uint64_t> sets_;  // by panel
  std::vector<Tap> table_;
  std::list<Scratch> weights_;
};

}  // namespace fl
