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
  Split(const TapConv& conv, int64_t element);
  const TapConv& conv() const { return split_; }  // over the phases' planes; where they lie is left open
  int64_t channel_bytes() const { return split_.in_volume() * element_; }
  // Channel i of those of all groups and images.
  void fill(int64_t i, char* out) const;

 private:
  // A row of the input, or as much of it as one phase takes: places in bytes.
  struct RowCopy {
    int64_t from, to, count;
  };
  void find_copies(int64_t z, int64_t y);
  template <class T>
  void copy_rows(const char* channel, char* out) const;
  void clear_outside(char* out) const;

  const TapConv& whole_;
  std::vector<TapPosition> phases_;
  TapConv split_;
  int64_t element_;
  std::vector<RowCopy> copies_;  // in the order of the input
};

// The convolution by way of a Split that suits.
void run_split(const MicroKernels& mk, const TapConv& conv);

// Convolutions of one input whose outputs lie between each other (step_* apart, from first_* on) and fill y together:
// each is computed as if it stood alone, then their rows are interleaved.
// One alone is computed with a few columns more than it has, where that makes its taps constant distances.
bool widening_suits(const TapConv& conv);
void run_interleaved(const MicroKernels& mk, const std::vector<const TapConv*>& convs);

}  // namespace fl
