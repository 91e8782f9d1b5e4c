// A convolution and the gradient of its input as sums over taps.
#pragma once
#include <list>

#include "runtime/contract/conv.h"
#include "runtime/contract/conv_taps.h"

namespace fl {

// Geometry and taps of the forward convolution; operands are not set.
TapConv forward_taps(const Conv& conv);
TapConv forward_taps(const Conv& conv, const void* x, const void* w, const void* bias, void* y);

// The part of the gradient of the input that lies at one phase of the stride: a convolution of its own, with weights
// of its own, [groups * channels][outputs * taps].
struct InputPhase {
  TapConv taps;
  std::optional<Scratch> weights;
};

// All phases that a tap reaches; without weights, where `w` is null.
std::list<InputPhase> input_phases(const Conv& conv, const void* dy, const void* w, const void* bias, void* dx);

std::vector<const TapConv*> taps_of(const std::list<InputPhase>& phases);

bool every_phase_reached(const Conv& conv);

}  // namespace fl
