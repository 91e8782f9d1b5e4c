// Strides taken out of a convolution: every plane of the input is dealt out to one plane for each phase (position
// modulo stride) that taps read, as wide as the outputs. Then every tap is a constant distance in memory, and panels
// read the input itself. Without strides it widens rows that are shorter than those of the outputs.
#pragma once
#include "runtime/contract/conv_taps.h"

namespace fl {

class Split {
 public:
  // Whether the planes, cut to the width of the outputs, still hold all that taps read, and are not much larger.
  static bool suits(const TapConv& conv);
  Split(const MicroKernels& mk, const TapConv& conv);
  const TapConv& conv() const { return split_; }  // over the phases' planes; where they lie is left open
  int64_t channel_bytes() const { return split_.in_volume() * mk_.element_bytes; }
  // Slices and rows of the phases' planes.
  struct Part {
    Range slices, rows;
  };
  Part all() const { return {{0, split_.slices}, {0, split_.height}}; }
  // What a range of output pixels reads.
  Part part_for(Range pixels) const;
  // Into how many parts an image can be cut so that little is read by two of them.
  int64_t most_parts() const { return std::max<int64_t>(1, axis_.outputs / std::max<int64_t>(1, 4 * axis_.more())); }
  // Part of channel i of those of all groups and images.
  void fill(int64_t i, const Part& part, char* out) const;

 private:
  // One phase, or two that differ in nothing but the parity of the column.
  struct Planes {
    TapPosition first;  // its `phase` is the number of the plane
    bool paired;
  };
  // The axis along which an image can be cut: rows, or slices if there are several. What taps add to a position.
  struct Axis {
    bool slices;
    int64_t outputs, pixels, low, high;
    int64_t more() const { return high - low; }
  };
  Axis axis() const;
  void fill_rows(const Planes& planes, const char* channel, int64_t slice, Range rows, char* out) const;
  void copy_rows(const char* from, int64_t count, int64_t columns, char* to) const;

  const MicroKernels& mk_;
  const TapConv& whole_;
  std::vector<TapPosition> phases_;
  TapConv split_;
  Axis axis_;
  std::vector<Planes> planes_;  // in the order of the input
  int64_t pairs_, masks_ = 0;   // of vectors in a row, and the lanes of the last pair
};

// Convolutions of one input whose outputs lie between each other (step_* apart, from first_* on) and fill y together:
// each is computed as if it stood alone, then their rows are interleaved.
// One alone is computed with a few columns more than it has, where that makes its taps constant distances.
bool widening_suits(const TapConv& conv);
void run_interleaved(const MicroKernels& mk, const std::vector<const TapConv*>& convs);

}  // namespace fl
