#include "runtime/contract/kernels.h"

#include "runtime/contract/kernel_entry.h"

namespace fl {

void (*micro_kernel_source)(DType dtype) = nullptr;
void (*paired_kernel_source)(DType dtype) = nullptr;

namespace {

KernelEntry<NarrowKernels>* narrow_entry_of(DType dtype) {
  static KernelEntry<NarrowKernels> entries[2];
  if (dtype == DType::F16) return &entries[0];
  if (dtype == DType::BF16) return &entries[1];
  return nullptr;
}

KernelEntry<MicroKernels>& complex_entry(DType dtype) {
  static KernelEntry<MicroKernels> entries[2];
  return entries[dtype == DType::C128];
}

KernelEntry<MicroKernels>& paired_entry() {
  static KernelEntry<MicroKernels> entry;
  return entry;
}

template <class F>
void take(F& kernel, const uint64_t*& addresses) {
  kernel = reinterpret_cast<F>(*addresses++);
}

void take_tiles(MicroKernels& mk, int vectors, const uint64_t*& addresses) {
  int heights = mk.max_height[vectors];
  for (int h = 0; h <= heights; h++) take(mk.make[vectors][h], addresses);
  for (int h = 1; h <= heights; h++) take(mk.use[vectors][h], addresses);
}

void install_narrow_kernels(DType dtype, const int64_t* layout, const uint64_t* addresses) {
  auto kernels = std::make_unique<NarrowKernels>();
  kernels->lanes = static_cast<int>(layout[0]);
  kernels->has_pairs = layout[1] != 0;
  take(kernels->widen, addresses);
  take(kernels->narrow, addresses);
  take(kernels->dot_1, addresses);
  take(kernels->dot_4, addresses);
  if (kernels->has_pairs) {
    MicroKernels& mk = kernels->pairs;
    mk.element_bytes = 4;
    mk.lanes = static_cast<int>(layout[2]);
    mk.vector_bytes = mk.lanes * mk.element_bytes;
    for (int v = 1; v <= kMaxVectors; v++) mk.max_height[v] = static_cast<int>(layout[2 + v]);
    mk.masked = true;
    mk.l2_bytes = layout[3 + kMaxVectors];
    take(mk.pack_columns, addresses);
    for (int v = 1; v <= kMaxVectors; v++) take_tiles(mk, v, addresses);
  }
  narrow_entry_of(dtype)->set(std::move(kernels));
}

void install_complex_kernels(DType dtype, const int64_t* layout, const uint64_t* addresses) {
  auto kernels = std::make_unique<MicroKernels>();
  kernels->element_bytes = static_cast<int>(dtype_size(dtype));
  kernels->lanes = static_cast<int>(layout[0]);
  kernels->vector_bytes = kernels->lanes * kernels->element_bytes;
  for (int v = 1; v <= kMaxVectors; v++) kernels->max_height[v] = static_cast<int>(layout[v]);
  kernels->l2_bytes = layout[1 + kMaxVectors];
  take(kernels->pack_columns, addresses);
  take(kernels->scatter_columns, addresses);
  for (int v = 1; v <= kMaxVectors; v++) take_tiles(*kernels, v, addresses);
  complex_entry(dtype).set(std::move(kernels));
}

}  // namespace

const MicroKernels* micro_kernels(DType dtype) {
  auto* entry = entry_of<MicroKernels>(dtype);
  return entry ? entry->get(dtype, micro_kernel_source) : nullptr;
}

const NarrowKernels* narrow_kernels(DType dtype) {
  auto* entry = narrow_entry_of(dtype);
  return entry ? entry->get(dtype, micro_kernel_source) : nullptr;
}

const MicroKernels* complex_kernels(DType dtype) { return complex_entry(dtype).get(dtype, micro_kernel_source); }

const MicroKernels* paired_kernels(DType dtype) {
  const NarrowKernels* nk = narrow_kernels(dtype);
  return nk && nk->has_pairs ? paired_entry().get(dtype, paired_kernel_source) : nullptr;
}

void install_paired_kernels(DType dtype, const uint64_t* addresses) {
  auto kernels = std::make_unique<MicroKernels>(narrow_kernels(dtype)->pairs);
  take(kernels->scatter_columns, addresses);
  take(kernels->split_2, addresses);
  take(kernels->merge_2, addresses);
  for (int v = 1; v <= kMaxVectors; v++) {
    for (int h = 0; h <= kernels->max_height[v]; h++) take(kernels->make[v][h], addresses);
  }
  for (int h = 1; h <= kMaxHeight; h++) take(kernels->taps[h], addresses);
  paired_entry().set(std::move(kernels));
}

void install_micro_kernels(DType dtype, const int64_t* layout, const uint64_t* addresses) {
  if (narrow_entry_of(dtype)) return install_narrow_kernels(dtype, layout, addresses);
  if (is_complex(dtype)) return install_complex_kernels(dtype, layout, addresses);
  auto kernels = std::make_unique<MicroKernels>();
  kernels->element_bytes = static_cast<int>(dtype_size(dtype));
  kernels->lanes = static_cast<int>(layout[0]);
  kernels->vector_bytes = kernels->lanes * kernels->element_bytes;
  for (int v = 1; v <= kMaxVectors; v++) kernels->max_height[v] = static_cast<int>(layout[v]);
  kernels->masked = layout[4] != 0;
  kernels->l2_bytes = layout[5];
  kernels->max_plane_sums = static_cast<int>(layout[6]);
  take(kernels->pack_columns, addresses);
  take(kernels->scatter_columns, addresses);
  take(kernels->split_2, addresses);
  take(kernels->merge_2, addresses);
  take(kernels->dot_1, addresses);
  take(kernels->dot_4, addresses);
  for (int v = 1; v <= kMaxVectors; v++) take_tiles(*kernels, v, addresses);
  entry_of<MicroKernels>(dtype)->set(std::move(kernels));
}

}  // namespace fl
