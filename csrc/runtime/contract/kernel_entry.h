// A table of generated kernels of one element type, made when it is first wanted.
#pragma once
#include <atomic>
#include <memory>

#include "core/dtype.h"

namespace fl {

template <class Kernels>
class KernelEntry {
 public:
  // Asks `source` once, which answers by `set`, or not at all; null where it did not, or is not there yet.
  const Kernels* get(DType dtype, void (*source)(DType)) {
    if (const auto* known = kernels_.load(std::memory_order_acquire)) return known;
    if (!source || asked_.load(std::memory_order_acquire)) return kernels_.load();
    source(dtype);  // threads that ask at once wait for each other in the source
    asked_.store(true, std::memory_order_release);
    return kernels_.load();
  }
  // A table that was replaced stays: another thread may be reading it.
  void set(std::unique_ptr<Kernels> fresh) { kernels_.store(fresh.release(), std::memory_order_release); }

 private:
  std::atomic<const Kernels*> kernels_ = nullptr;
  std::atomic<bool> asked_ = false;
};

// float32 or float64.
template <class Kernels>
KernelEntry<Kernels>* entry_of(DType dtype) {
  static KernelEntry<Kernels> entries[2];
  if (dtype == DType::F32) return &entries[0];
  if (dtype == DType::F64) return &entries[1];
  return nullptr;
}

}  // namespace fl
