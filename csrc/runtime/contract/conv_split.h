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
  // Channel i of those of all groups and images.
  void fill(int64_t i, char* out) const;

 private:
  // Rows of one slice of the input that a phase takes, or two phases that differ in nothing but the parity of the
  // column: places in bytes.
  struct Rows {
    int64_t from, to, odds, count, columns;  // odds = to: one phase alone
  };
  void find_rows(int64_t z);
  bool dealt_out() const;
  template <class T>
  void copy_rows(const Rows& rows, const char* channel, char* out) const;
  void clear_outside(char* out) const;
  int64_t rows_of(const TapPosition& phase) const;

  const MicroKernels& mk_;
  const TapConv& whole_;
  std::vector<TapPosition> phases_;
  TapConv split_;
  std::vector<Rows> rows_;     // in the order of the input
  int64_t pairs_, masks_ = 0;  // of vectors in a row, and the lanes of the last pair
};

// The convolution by way of a Split that suits.
void run_split(const MicroKernels& mk, const TapConv& conv);

// Convolutions of one input whose outputs lie between each other (step_* apart, from first_* on) and fill y together:
// each is computed as if it stood alone, then their rows are interleaved.
// One alone is computed with a few columns more than it has, where that makes its taps constant distances.
bool widening_suits(const TapConv& conv);
void run_interleaved(const MicroKernels& mk, const std::vector<const TapConv*>& convs);

}  // namespace fl
