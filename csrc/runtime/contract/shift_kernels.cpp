#include "runtime/contract/shift_kernels.h"

#include "runtime/contract/kernel_entry.h"

namespace fl {

void (*shift_kernel_source)(DType dtype) = nullptr;

const ShiftKernels* shift_kernels(DType dtype) {
  auto* entry = entry_of<ShiftKernels>(dtype);
  return entry ? entry->get(dtype, shift_kernel_source) : nullptr;
}

void install_shift_kernels(DType dtype, const uint64_t* addresses) {
  auto kernels = std::make_unique<ShiftKernels>();
  auto take = [&](ShiftKernels::Kernel& kernel) { kernel = reinterpret_cast<ShiftKernels::Kernel>(*addresses++); };
  for (auto& size : kernels->shift) {
    for (auto& parts : size) {
      for (auto& kernel : parts) take(kernel);
    }
  }
  for (auto& size : kernels->halve) {
    for (int v = 1; v <= kHalveVectors; v++) take(size[v]);
  }
  entry_of<ShiftKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
