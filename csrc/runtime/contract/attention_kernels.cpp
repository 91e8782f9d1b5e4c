#include "runtime/contract/attention_kernels.h"

#include "runtime/contract/kernel_entry.h"

namespace fl {

void (*attention_kernel_source)(DType dtype) = nullptr;

const AttentionKernels* attention_kernels(DType dtype) {
  auto* entry = entry_of<AttentionKernels>(dtype);
  return entry ? entry->get(dtype, attention_kernel_source) : nullptr;
}

void install_attention_kernels(DType dtype, const uint64_t* addresses) {
  auto kernels = std::make_unique<AttentionKernels>();
  for (auto* family : {kernels->softmax, kernels->finish, kernels->gradient, kernels->scale, kernels->products,
                       kernels->hide, kernels->weigh}) {
    for (int v = 1; v <= kMaxVectors; v++) family[v] = reinterpret_cast<AttentionKernels::Block>(*addresses++);
  }
  kernels->scale_rows = reinterpret_cast<AttentionKernels::Block>(*addresses++);
  kernels->mask = reinterpret_cast<AttentionKernels::Mask>(*addresses++);
  kernels->mask_bool = reinterpret_cast<AttentionKernels::Mask>(*addresses++);
  if (dtype == DType::F32) {
    for (auto* convert : {&kernels->read_f16, &kernels->write_f16, &kernels->read_bf16, &kernels->write_bf16})
      *convert = reinterpret_cast<AttentionKernels::Convert>(*addresses++);
  }
  entry_of<AttentionKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
