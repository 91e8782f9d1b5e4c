#include "runtime/contract/channel_kernels.h"

#include <iterator>

#include "runtime/contract/kernel_entry.h"

namespace fl {

void (*channel_kernel_source)(DType dtype) = nullptr;

const ChannelKernels* channel_kernels(DType dtype) {
  auto* entry = entry_of<ChannelKernels>(dtype);
  return entry ? entry->get(dtype, channel_kernel_source) : nullptr;
}

void install_channel_kernels(DType dtype, const uint64_t* addresses, int64_t count) {
  auto kernels = std::make_unique<ChannelKernels>();
  auto blocks = static_cast<int64_t>(std::size(kPixelBlocks));
  for (int64_t i = 0; i < count; i++) {
    auto& kernel = i < blocks ? kernels->taps[i] : kernels->sums[i - blocks + 1];
    kernel = reinterpret_cast<ChannelKernels::Kernel>(addresses[i]);
  }
  entry_of<ChannelKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
