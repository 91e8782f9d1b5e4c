// The caching allocator of the CPU: 64-byte aligned blocks in size classes, live and peak counters always on.
// FLAMBEAU_GUARD=end|start (or 1: every other block) gives every block pages of its own, against a protected page.
#pragma once
#include <cstddef>
#include <cstdint>

namespace fl {

struct MemoryStats {
  int64_t live_bytes, peak_bytes;  // of blocks in use, each rounded up to its size class
  int64_t cached_bytes;            // held back for later
  int64_t allocations;             // blocks asked of the system since the process began
};

void* allocate(size_t bytes);  // raises Error(Runtime) with PyTorch's sentence; bytes == 0 gives nullptr
void deallocate(void* p, size_t bytes) noexcept;
MemoryStats memory_stats();
void reset_peak_memory();
void empty_cache();
// Around fork(): the allocator's lock is held while the process is copied.
void allocator_before_fork();
void allocator_after_fork();

// Scratch of one kernel launch.
class Scratch {
 public:
  explicit Scratch(size_t bytes) : p_(allocate(bytes)), n_(bytes) {}
  ~Scratch() { deallocate(p_, n_); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
  template <class T = char>
  T* as() const {
    return static_cast<T*>(p_);
  }

 private:
  void* p_;
  size_t n_;
};

}  // namespace fl
