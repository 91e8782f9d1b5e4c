#include "runtime/contract/attention_kernels.h"

#include <atomic>
#include <memory>

namespace fl {

void (*attention_kernel_source)(DType dtype) = nullptr;

namespace {

struct Entry {
  std::atomic<const AttentionKernels*> kernels = nullptr;
  std::atomic<bool> asked = false;
};

Entry& entry_of(DType dtype) {
  static Entry entries[2];
  return entries[dtype == DType::F64];
}

}  // namespace

const AttentionKernels* attention_kernels(DType dtype) {
  Entry& entry = entry_of(dtype);
  const auto* kernels = entry.kernels.load(std::memory_order_acquire);
  if (kernels || !attention_kernel_source || entry.asked.load(std::memory_order_acquire)) return kernels;
  attention_kernel_source(dtype);  // threads that ask at once wait for each other in the source
  entry.asked.store(true, std::memory_order_release);
  return entry.kernels.load();
}

void install_attention_kernels(DType dtype, const uint64_t* addresses) {
  auto kernels = std::make_unique<AttentionKernels>();
  for (auto* family : {kernels->softmax, kernels->finish, kernels->gradient, kernels->scale, kernels->products}) {
    for (int v = 1; v <= kMaxVectors; v++) family[v] = reinterpret_cast<AttentionKernels::Block>(*addresses++);
  }
  kernels->mask = reinterpret_cast<AttentionKernels::Mask>(*addresses++);
  kernels->mask_bool = reinterpret_cast<AttentionKernels::Mask>(*addresses++);
  if (dtype == DType::F32) {
    for (auto* convert : {&kernels->read_f16, &kernels->write_f16, &kernels->read_bf16, &kernels->write_bf16})
      *convert = reinterpret_cast<AttentionKernels::Convert>(*addresses++);
  }
  // A table that was replaced stays: another thread may be reading it.
  entry_of(dtype).kernels.store(kernels.release(), std::memory_order_release);
}

}  // namespace fl
