// Depthwise convolutions whose taps are shuffles of rows in registers (codegen/shifts.py): those that keep the size of
// narrow images, and those with a stride of 2.
#pragma once
#include "runtime/contract/conv_taps.h"

namespace fl {

bool shifts_suit(const MicroKernels& mk, const TapConv& conv);
void shifts_forward(const MicroKernels& mk, const TapConv& conv);

}  // namespace fl
