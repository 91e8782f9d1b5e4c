#include "core/allocator.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "core/error.h"
#include "core/guard.h"
#include "core/platform.h"

#if defined(__SANITIZE_ADDRESS__)
#define FL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FL_ASAN 1
#endif
#endif
#ifdef FL_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace fl {

namespace {

constexpr size_t kAlignment = 64;
constexpr size_t kHugePage = size_t{2} << 20;
constexpr size_t kMapped = size_t{1} << 20;        // blocks from here are mappings of their own
constexpr size_t kHuge = size_t{4} << 20;          // blocks from here ask for huge pages
constexpr size_t kLargest = size_t{1} << 56;       // nothing above is even tried
constexpr int64_t kSpare = int64_t{256} << 20;     // kept back on top of what the work needs
constexpr int kMostLent = 64;                      // mappings that serve requests of smaller classes
constexpr int64_t kLentSlack = int64_t{64} << 20;  // the most that those leave unused together

// --- size classes
// ----------------------------------------------------------------------------------------------------- Multiples of 64
// up to 256, then four steps to each power of two: at most a fifth of a block is slack.

constexpr int class_of(size_t bytes) {
  if (bytes <= 4 * kAlignment) return static_cast<int>((bytes - 1) / kAlignment);
  int shift = std::bit_width(bytes - 1) - 3;  // (bytes - 1) >> shift is 4, 5, 6 or 7
  return 4 * (shift - 6) + static_cast<int>((bytes - 1) >> shift);
}

constexpr size_t class_size(int c) {
  if (c < 4) return kAlignment * static_cast<size_t>(c + 1);
  return static_cast<size_t>(5 + (c - 4) % 4) << (6 + (c - 4) / 4);
}

constexpr int kClasses = class_of(kLargest) + 1;
constexpr int kLocalClasses = class_of(size_t{32} << 10) + 1;  // small blocks may wait in a thread's own cache
static_assert(class_size(class_of(257)) == 320 && class_size(class_of(320)) == 320 && class_of(321) == class_of(384));

// How many blocks of a class one thread keeps to itself.
constexpr int local_limit(int c) { return static_cast<int>(std::clamp<size_t>((64 << 10) / class_size(c), 4, 64)); }

// --- blocks
// -----------------------------------------------------------------------------------------------------------

#ifdef FL_ASAN
void poison(void* p, size_t bytes) { ASAN_POISON_MEMORY_REGION(p, bytes); }
void unpoison(void* p, size_t bytes) { ASAN_UNPOISON_MEMORY_REGION(p, bytes); }
#else
void poison(void*, size_t) {}
void unpoison(void*, size_t) {}
#endif

// A free block holds the link to the next one of its class.
struct FreeBlock {
  FreeBlock* next;
};

class FreeList {
 public:
  bool empty() const { return head_ == nullptr; }
  void push(void* p, int c) {
    unpoison(p, sizeof(FreeBlock));
    auto* block = static_cast<FreeBlock*>(p);
    block->next = head_;
    head_ = block;
    poison(p, class_size(c));
  }
  void* pop() {
    FreeBlock* block = head_;
    unpoison(block, sizeof(FreeBlock));
    head_ = block->next;
    return block;
  }

 private:
  FreeBlock* head_ = nullptr;
};

void* system_allocate(int c) {
  size_t size = class_size(c);
  if (size < kMapped) return std::aligned_alloc(kAlignment, size);
  void* p = platform::map_pages(size, size >= kHuge ? kHugePage : platform::page_size());
  if (p && size >= kHuge) platform::advise_huge_pages(p, size);
  return p;
}

void system_free(void* p, int c) noexcept {
  size_t size = class_size(c);
  unpoison(p, size);
  if (size < kMapped) {
    std::free(p);
  } else {
    platform::unmap_pages(p, size);
  }
}

// --- the cache all threads share
// --------------------------------------------------------------------------------------

std::atomic<int64_t> live_bytes{0}, peak_bytes{0}, owned_bytes{0}, system_allocations{0};

class Central {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  void* take(int c) {
    std::lock_guard lock(mutex_);
    if (class_size(c) < kMapped) return lists_[c].empty() ? take_from_system(c) : lists_[c].pop();
    follow_need(static_cast<int64_t>(class_size(c)));
    if (!lists_[c].empty()) return lists_[c].pop();
    if (void* p = lend(c)) return p;
    return take_from_system(c);
  }

  void give(void* p, int c) {
    std::lock_guard lock(mutex_);
    if (class_size(c) < kMapped) return lists_[c].push(p, c);
    if (lent_count_ > 0) c = take_back(p, c);
    lists_[c].push(p, c);
    shrink_to(limit());
  }

  // The last `count` blocks that were freed into a thread's own list.
  void give(FreeList& from, int c, int count) {
    std::lock_guard lock(mutex_);
    for (; count > 0; --count) lists_[c].push(from.pop(), c);
  }

  void shrink() {
    std::lock_guard lock(mutex_);
    shrink_to(0);
  }

 private:
  // The most that was in use at one time lately: between one and two windows of large allocations back. A training step
  // comes back to its peak again and again, and fresh pages cost more than most kernels, so this much is never
  // returned.
  void follow_need(int64_t size) {
    constexpr int kWindow = 4096;
    if (++in_window_ == kWindow) {
      in_window_ = 0;
      previous_peak_ = std::exchange(window_peak_, 0);
    }
    window_peak_ = std::max(window_peak_, live_bytes.load(std::memory_order_relaxed) + size);
  }

  int64_t limit() const {
    int64_t need = std::max(window_peak_, previous_peak_);
    return need + need / 4 + kSpare;
  }

  static int64_t slack(int mapped, int asked) {
    return static_cast<int64_t>(class_size(mapped)) - static_cast<int64_t>(class_size(asked));
  }

  // A waiting mapping of the next larger class that has one: pages that are there already cost nothing, and a network
  // whose layers differ in size needs no more memory than the largest ones do.
  void* lend(int c) {
    if (lent_count_ == kMostLent) return nullptr;
    for (int d = c + 1; d < kClasses && lent_slack_ + slack(d, c) <= kLentSlack; ++d) {
      if (lists_[d].empty()) continue;
      void* p = lists_[d].pop();
      lent_[lent_count_++] = {p, d};
      lent_slack_ += slack(d, c);
      return p;
    }
    return nullptr;
  }

  // The class of a block that was asked for as one of class `c`.
  int take_back(void* p, int c) {
    for (int i = 0; i < lent_count_; ++i) {
      if (lent_[i].p != p) continue;
      int d = lent_[i].c;
      lent_[i] = lent_[--lent_count_];
      lent_slack_ -= slack(d, c);
      return d;
    }
    return c;
  }

  void* take_from_system(int c) {
    int64_t size = static_cast<int64_t>(class_size(c));
    if (class_size(c) >= kMapped) {
      shrink_to(limit() - size);
      replace_smaller(c);
    }
    void* p = system_allocate(c);
    if (!p) {
      shrink_to(0);
      p = system_allocate(c);
    }
    if (!p) return nullptr;
    poison(p, class_size(c));
    owned_bytes.fetch_add(size, std::memory_order_relaxed);
    system_allocations.fetch_add(1, std::memory_order_relaxed);
    return p;
  }

  // Returns waiting mappings that one of class `c` will serve as well: as many bytes as it has.
  void replace_smaller(int c) {
    const int64_t least = owned_bytes.load(std::memory_order_relaxed) - static_cast<int64_t>(class_size(c));
    for (int d = c - 1; class_size(d) >= kMapped; --d) {
      while (!lists_[d].empty() && owned_bytes.load(std::memory_order_relaxed) > least) free_one(d);
    }
  }

  void free_one(int c) {
    system_free(lists_[c].pop(), c);
    owned_bytes.fetch_sub(static_cast<int64_t>(class_size(c)), std::memory_order_relaxed);
  }

  // Returns waiting blocks, the largest first, until no more than `bytes` are owned.
  void shrink_to(int64_t bytes) {
    for (int c = kClasses - 1; c >= 0 && owned_bytes.load(std::memory_order_relaxed) > bytes; --c) {
      while (owned_bytes.load(std::memory_order_relaxed) > bytes && !lists_[c].empty()) free_one(c);
    }
  }

  std::mutex mutex_;
  FreeList lists_[kClasses];
  int64_t window_peak_ = 0, previous_peak_ = 0;
  int in_window_ = 0;
  struct Lent {
    void* p;
    int c;  // the class it was mapped for
  };
  Lent lent_[kMostLent] = {};
  int lent_count_ = 0;
  int64_t lent_slack_ = 0;
};

// Usable before and after every other static object.
constinit Central central;

// --- the cache of one thread
// ------------------------------------------------------------------------------------------

struct Local {
  FreeList lists[kLocalClasses];
  int counts[kLocalClasses] = {};

  void flush() {
    for (int c = 0; c < kLocalClasses; ++c) central.give(lists[c], c, std::exchange(counts[c], 0));
  }
};

enum class LocalState : uint8_t { Unborn, Alive, Gone };
thread_local Local* local_cache = nullptr;
thread_local LocalState local_state = LocalState::Unborn;

struct LocalOwner {
  Local local;
  LocalOwner() {
    local_cache = &local;
    local_state = LocalState::Alive;
  }
  ~LocalOwner() {
    local_cache = nullptr;
    local_state = LocalState::Gone;
    local.flush();
  }
};

// nullptr while the thread ends: other objects of the thread may still free memory.
Local* local() {
  if (local_cache) [[likely]]
    return local_cache;
  if (local_state == LocalState::Gone) return nullptr;
  static thread_local LocalOwner owner;
  return &owner.local;
}

void* take_block(int c) {
  Local* mine = c < kLocalClasses ? local() : nullptr;
  if (!mine || mine->counts[c] == 0) return central.take(c);
  --mine->counts[c];
  return mine->lists[c].pop();
}

void give_block(void* p, int c) {
  Local* mine = c < kLocalClasses ? local() : nullptr;
  if (!mine) return central.give(p, c);
  mine->lists[c].push(p, c);
  if (++mine->counts[c] <= local_limit(c)) return;
  int half = mine->counts[c] / 2;
  mine->counts[c] -= half;
  central.give(mine->lists[c], c, half);
}

void count_live(int64_t bytes) {
  int64_t now = live_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  int64_t peak = peak_bytes.load(std::memory_order_relaxed);
  while (now > peak && !peak_bytes.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {}
}

[[noreturn]] void out_of_memory(size_t bytes) {
  MemoryStats stats = memory_stats();
  fail(ErrorKind::Runtime,
       "DefaultCPUAllocator: can't allocate memory: you tried to allocate %zu bytes. Error code 12 (Cannot allocate "
       "memory) "
       "[%lld bytes are in use, %lld were at the peak, the machine has %llu]",
       bytes, static_cast<long long>(stats.live_bytes), static_cast<long long>(stats.peak_bytes),
       static_cast<unsigned long long>(platform::total_memory()));
}

// Requests that no machine state could serve are refused before the system promises what it cannot keep.
bool is_impossible(size_t bytes) {
  static const uint64_t total = platform::total_memory();
  return bytes > kLargest || bytes > total;
}

void* allocate_guarded(size_t bytes) {
  void* p = guard_allocate(bytes);
  if (!p) out_of_memory(bytes);
  count_live(static_cast<int64_t>(bytes));
  system_allocations.fetch_add(1, std::memory_order_relaxed);
  owned_bytes.fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
  return p;
}

}  // namespace

void* allocate(size_t bytes) {
  if (bytes == 0) return nullptr;
  if (bytes >= kMapped && is_impossible(bytes)) out_of_memory(bytes);
  if (guard_mode) [[unlikely]]
    return allocate_guarded(bytes);
  int c = class_of(bytes);
  void* p = take_block(c);
  if (!p) [[unlikely]]
    out_of_memory(bytes);
  unpoison(p, bytes);
  count_live(static_cast<int64_t>(class_size(c)));
  return p;
}

void deallocate(void* p, size_t bytes) noexcept {
  if (!p) return;
  if (guard_mode) [[unlikely]] {
    live_bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    owned_bytes.fetch_sub(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    return guard_deallocate(p, bytes);
  }
  int c = class_of(bytes);
  live_bytes.fetch_sub(static_cast<int64_t>(class_size(c)), std::memory_order_relaxed);
  give_block(p, c);
}

MemoryStats memory_stats() {
  int64_t live = live_bytes.load(std::memory_order_relaxed);
  int64_t owned = owned_bytes.load(std::memory_order_relaxed);
  return {live, peak_bytes.load(std::memory_order_relaxed), std::max<int64_t>(owned - live, 0),
          system_allocations.load(std::memory_order_relaxed)};
}

void reset_peak_memory() { peak_bytes.store(live_bytes.load(std::memory_order_relaxed), std::memory_order_relaxed); }

void empty_cache() {
  if (Local* mine = local()) mine->flush();
  central.shrink();
}

void allocator_before_fork() {
  central.lock();
  guard_before_fork();
}

void allocator_after_fork() {
  guard_after_fork();
  central.unlock();
}

}  // namespace fl
