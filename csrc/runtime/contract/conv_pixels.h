// Convolutions that read pixels where they lie, whatever the strides: lanes are output channels, rows of a tile are
// neighbouring pixels of an axis, and only the weights are packed. Outputs are cut by the taps that reach the input for
// them, so that padding costs nothing.
#pragma once
#include "runtime/contract/conv_phases.h"

namespace fl {

// Whether this is the fastest way for a convolution or, turned, the gradient of its input. `last`: channels are last.
bool pixels_suit(const MicroKernels& mk, const Conv& conv, bool turned, bool last = false);

// The convolutions have one input and fill one output together, each of them a phase of its own.
void run_pixels(const MicroKernels& mk, const std::vector<const TapConv*>& convs, bool last = false);

}  // namespace fl
