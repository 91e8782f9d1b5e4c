#include "runtime/contract/conv_kernels.h"

#include "runtime/contract/kernel_entry.h"

namespace fl {

void (*conv_kernel_source)(DType dtype) = nullptr;

const ConvKernels* conv_kernels(const MicroKernels& mk) {
  const DType dtype = mk.element_bytes == 4 ? DType::F32 : DType::F64;
  return entry_of<ConvKernels>(dtype)->get(dtype, conv_kernel_source);
}

void install_conv_kernels(DType dtype, const uint64_t* addresses) {
  const MicroKernels& mk = *micro_kernels(dtype);
  auto kernels = std::make_unique<ConvKernels>();
  auto take = [&]<class F>(F& kernel) { kernel = reinterpret_cast<F>(*addresses++); };
  if (mk.max_height[kTapsVectors] == kMaxHeight) {
    for (int h = 1; h <= kMaxHeight; h++) take(kernels->taps[h]);
  }
  for (int v = 1; v <= kMaxVectors; v++) {
    take(kernels->plane_row[v]);
    take(kernels->plane_rows[v]);
  }
  for (int v = 1; v <= kColumnVectors; v++) {
    for (auto& column : kernels->plane_column) take(column[v]);
  }
  for (int t = 1; t <= mk.max_plane_sums; t++) take(kernels->plane_sums[t]);
  if (mk.masked) {
    for (int t = 1; t <= mk.max_plane_sums; t++) take(kernels->flat_sums[t]);
    take(kernels->plane_flat_1);
    take(kernels->plane_flat_4);
  }
  entry_of<ConvKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
