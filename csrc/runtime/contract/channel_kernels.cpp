#include "runtime/contract/channel_kernels.h"

#include <atomic>
#include <iterator>
#include <memory>

namespace fl {

void (*channel_kernel_source)(DType dtype) = nullptr;

namespace {

struct Entry {
  std::atomic<const ChannelKernels*> kernels = nullptr;
  std::atomic<bool> asked = false;
};

Entry& entry_of(DType dtype) {
  static Entry entries[2];
  return entries[dtype == DType::F64];
}

}  // namespace

const ChannelKernels* channel_kernels(DType dtype) {
  if (dtype != DType::F32 && dtype != DType::F64) return nullptr;
  Entry& entry = entry_of(dtype);
  const auto* kernels = entry.kernels.load(std::memory_order_acquire);
  if (kernels || !channel_kernel_source || entry.asked.load(std::memory_order_acquire)) return kernels;
  channel_kernel_source(dtype);  // threads that ask at once wait for each other in the source
  entry.asked.store(true, std::memory_order_release);
  return entry.kernels.load();
}

void install_channel_kernels(DType dtype, const uint64_t* addresses, int64_t count) {
  auto kernels = std::make_unique<ChannelKernels>();
  auto blocks = static_cast<int64_t>(std::size(kPixelBlocks));
  for (int64_t i = 0; i < count; i++) {
    auto& kernel = i < blocks ? kernels->taps[i] : kernels->sums[i - blocks + 1];
    kernel = reinterpret_cast<ChannelKernels::Kernel>(addresses[i]);
  }
  // A table that was replaced stays: another thread may be reading it.
  entry_of(dtype).kernels.store(kernels.release(), std::memory_order_release);
}

}  // namespace fl
