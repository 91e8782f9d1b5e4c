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
  for (auto& size : kernels->planes) {
    for (auto& parts : size) {
      for (auto& kernel : parts) kernel = reinterpret_cast<ShiftKernels::Kernel>(*addresses++);
    }
  }
  entry_of<ShiftKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
