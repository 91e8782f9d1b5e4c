// Depthwise convolutions that keep the size of narrow images: a row of an image stands in a register, and taps are
// shuffles of it (codegen/shifts.py).
#pragma once
#include "runtime/contract/conv_taps.h"

namespace fl {

bool shifts_suit(const MicroKernels& mk, const TapConv& conv);
void shifts_forward(const MicroKernels& mk, const TapConv& conv);

}  // namespace fl
