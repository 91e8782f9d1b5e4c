#include "runtime/contract/kernels.h"

#include <atomic>
#include <memory>
#include <mutex>

namespace fl {

void (*micro_kernel_source)(DType dtype) = nullptr;

namespace {

struct Entry {
  std::atomic<const MicroKernels*> kernels = nullptr;
  std::atomic<bool> asked = false;
};

Entry* entry_of(DType dtype) {
  static Entry entries[2];
  if (dtype == DType::F32) return &entries[0];
  if (dtype == DType::F64) return &entries[1];
  return nullptr;
}

const MicroKernels* ask_source(DType dtype, Entry& entry) {
  if (!micro_kernel_source || entry.asked.load(std::memory_order_acquire)) return entry.kernels.load();
  micro_kernel_source(dtype);  // threads that ask at once wait for each other in the source
  entry.asked.store(true, std::memory_order_release);
  return entry.kernels.load();
}

}  // namespace

const MicroKernels* micro_kernels(DType dtype) {
  Entry* entry = entry_of(dtype);
  if (!entry) return nullptr;
  if (const auto* kernels = entry->kernels.load(std::memory_order_acquire)) return kernels;
  return ask_source(dtype, *entry);
}

void install_micro_kernels(DType dtype, const int64_t* layout, const uint64_t* addresses) {
  auto kernels = std::make_unique<MicroKernels>();
  kernels->element_bytes = static_cast<int>(dtype_size(dtype));
  kernels->lanes = static_cast<int>(layout[0]);
  kernels->vector_bytes = kernels->lanes * kernels->element_bytes;
  for (int v = 1; v <= kMaxVectors; v++) kernels->max_height[v] = static_cast<int>(layout[v]);
  kernels->masked = layout[4] != 0;
  kernels->l2_bytes = layout[5];
  kernels->max_plane_sums = static_cast<int>(layout[6]);
  kernels->pack_columns = reinterpret_cast<MicroKernels::PackColumns>(*addresses++);
  kernels->scatter_columns = reinterpret_cast<MicroKernels::PackColumns>(*addresses++);
  kernels->dot_1 = reinterpret_cast<MicroKernels::Dot>(*addresses++);
  kernels->dot_4 = reinterpret_cast<MicroKernels::Dot>(*addresses++);
  for (int v = 1; v <= kMaxVectors; v++) {
    int heights = kernels->max_height[v];
    for (int h = 0; h <= heights; h++) kernels->make[v][h] = reinterpret_cast<MicroKernels::Kernel>(*addresses++);
    for (int h = 1; h <= heights; h++) kernels->use[v][h] = reinterpret_cast<MicroKernels::Kernel>(*addresses++);
    kernels->plane_row[v] = reinterpret_cast<MicroKernels::Plane>(*addresses++);
    kernels->plane_rows[v] = reinterpret_cast<MicroKernels::Plane>(*addresses++);
  }
  for (int v = 1; v <= kColumnVectors; v++) {
    for (auto& column : kernels->plane_column) column[v] = reinterpret_cast<MicroKernels::Plane>(*addresses++);
  }
  for (int t = 1; t <= kernels->max_plane_sums; t++)
    kernels->plane_sums[t] = reinterpret_cast<MicroKernels::Plane>(*addresses++);
  // A table that was replaced stays: another thread may be reading it.
  entry_of(dtype)->kernels.store(kernels.release(), std::memory_order_release);
}

}  // namespace fl
