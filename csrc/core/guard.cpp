#include "core/guard.h"

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "core/platform.h"

namespace fl {

namespace {

enum class Mode { Off, Start, End, Alternate };

Mode mode_from_environment() {
  const char* text = std::getenv("FLAMBEAU_GUARD");
  if (!text || !*text || std::strcmp(text, "0") == 0) return Mode::Off;
  if (std::strcmp(text, "start") == 0) return Mode::Start;
  if (std::strcmp(text, "end") == 0) return Mode::End;
  return Mode::Alternate;
}

const Mode mode = mode_from_environment();

// Blocks alive at once that get protected pages. Each takes two mappings, of which the system gives about 65,000;
// blocks beyond stand on pages of their own, but join their neighbours' mapping.
constexpr int64_t kMostGuarded = 16384;
std::atomic<int64_t> alive{0};

// Protected page, whole pages of data, protected page.
struct Layout {
  char* base;
  size_t data_bytes;
  size_t total() const { return data_bytes + 2 * platform::page_size(); }
};

size_t round_to_pages(size_t bytes) {
  size_t page = platform::page_size();
  return (bytes + page - 1) / page * page;
}

Layout layout_of(void* p, size_t bytes) {
  uintptr_t page = reinterpret_cast<uintptr_t>(p) / platform::page_size() * platform::page_size();
  return {reinterpret_cast<char*>(page) - platform::page_size(), round_to_pages(bytes)};
}

bool next_at_start() {
  static std::atomic<uint32_t> count{0};
  if (mode == Mode::Alternate) return count.fetch_add(1, std::memory_order_relaxed) % 2 == 1;
  return mode == Mode::Start;
}

// Freed blocks keep their addresses, without memory behind them, until this many others were freed after them.
class Quarantine {
 public:
  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }
  void add(Layout block) {
    platform::discard_pages(block.base, block.total());
    platform::protect_pages(block.base, block.total(), platform::Access::None);
    std::lock_guard lock(mutex_);
    Layout& slot = blocks_[next_++ % blocks_.size()];
    if (slot.base) platform::unmap_pages(slot.base, slot.total());
    slot = block;
  }

 private:
  std::mutex mutex_;
  std::array<Layout, 1024> blocks_{};
  size_t next_ = 0;
};

constinit Quarantine quarantine;

}  // namespace

const bool guard_mode = mode != Mode::Off;

void* guard_allocate(size_t bytes) {
  size_t page = platform::page_size(), data_bytes = round_to_pages(bytes);
  char* base = static_cast<char*>(platform::map_pages(data_bytes + 2 * page, page));
  if (!base) return nullptr;
  bool crowded = alive.fetch_add(1, std::memory_order_relaxed) >= kMostGuarded;
  bool fine = crowded || (platform::protect_pages(base, page, platform::Access::None) &&
                          platform::protect_pages(base + page + data_bytes, page, platform::Access::None));
  if (!fine) {  // out of mappings
    alive.fetch_sub(1, std::memory_order_relaxed);
    platform::unmap_pages(base, data_bytes + 2 * page);
    return nullptr;
  }
  return base + page + (next_at_start() ? 0 : data_bytes - bytes);
}

void guard_deallocate(void* p, size_t bytes) noexcept {
  alive.fetch_sub(1, std::memory_order_relaxed);
  quarantine.add(layout_of(p, bytes));
}

void guard_before_fork() { quarantine.lock(); }
void guard_after_fork() { quarantine.unlock(); }

}  // namespace fl
