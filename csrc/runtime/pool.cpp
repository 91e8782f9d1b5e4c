#include "runtime/pool.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <exception>
#include <mutex>
#include <new>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/platform.h"

namespace fl {

void* (*long_work_begin)() = nullptr;
void (*long_work_end)(void*) = nullptr;

namespace {

using Clock = std::chrono::steady_clock;
constexpr auto kSpin = std::chrono::microseconds(100);
constexpr int kMaxThreads = 1024;

thread_local bool inside_parallel = false;

inline void pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// True as soon as `ready()` is, false when that took longer than kSpin.
template <class F>
bool spin_until(F ready) {
  auto end = Clock::now() + kSpin;
  do {
    for (int i = 0; i < 64; ++i) {
      if (ready()) return true;
      pause();
    }
  } while (Clock::now() < end);
  return false;
}

// The chunks that one thread starts with, on a line of its own: others take from it when they are done with theirs.
struct alignas(64) Share {
  std::atomic<int64_t> next{0};
  int64_t end = 0;
};

// One parallel_for; lives on the caller's stack. Chunks that neighbour each other go to one thread, and the same ones
// to it in the next parallel_for of as many: what it wrote may still lie in its core's cache, and where cores share
// no cache, fetching it from another's costs more than most kernels.
class Job {
 public:
  Job(int64_t chunks, void (*fn)(void*, int64_t), void* context, Share* shares, int most)
      : shares_(shares), count_(static_cast<int>(std::min<int64_t>(chunks, most))), fn_(fn), context_(context) {
    open_.store(count_, std::memory_order_relaxed);
    int64_t each = chunks / count_, extra = chunks % count_, begin = 0;
    for (int i = 0; i < count_; ++i) {
      shares_[i].next.store(begin, std::memory_order_relaxed);
      shares_[i].end = begin += each + (i < extra);
    }
  }

  int shares() const { return count_; }

  void work(int thread) {
    inside_parallel = true;
    for (int i = 0; i < count_ && open_.load(std::memory_order_relaxed) > 0; ++i) drain(shares_[(thread + i) % count_]);
    inside_parallel = false;
  }

  void rethrow() {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  void drain(Share& share) {
    if (share.next.load(std::memory_order_relaxed) >= share.end) return;
    for (int64_t c; (c = share.next.fetch_add(1, std::memory_order_relaxed)) < share.end;) {
      if (c == share.end - 1) open_.fetch_sub(1, std::memory_order_relaxed);
      if (c > failed_chunk_.load(std::memory_order_relaxed)) continue;  // those below may still fail, and count more
      try {
        fn_(context_, c);
      } catch (...) { keep(c, std::current_exception()); }
    }
  }

  void keep(int64_t chunk, std::exception_ptr failure) {
    std::lock_guard lock(mutex_);
    if (chunk >= failed_chunk_.load(std::memory_order_relaxed)) return;
    failed_chunk_.store(chunk, std::memory_order_relaxed);
    failure_ = std::move(failure);
  }

  Share* const shares_;
  const int count_;
  std::atomic<int> open_;  // shares of which chunks are left
  void (*const fn_)(void*, int64_t);
  void* const context_;
  std::mutex mutex_;
  std::atomic<int64_t> failed_chunk_{INT64_MAX};
  std::exception_ptr failure_;
};

class Pool {
 public:
  explicit Pool(int threads)
      : spins_(threads <= platform::available_cpus()),
        workers_wanted_(threads - 1),
        shares_(static_cast<size_t>(threads)) {}

  bool try_acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
  void release() { busy_.store(false, std::memory_order_release); }

  // The caller has acquired the pool.
  void run(int64_t chunks, void (*fn)(void*, int64_t), void* context) {
    if (workers_.empty()) start();
    Job job(chunks, fn, context, shares_.data(), static_cast<int>(shares_.size()));
    job_.store(&job);
    epoch_.fetch_add(1);
    if (sleepers_.load() > 0) platform::wake(epoch_, std::min(job.shares() - 1, workers_wanted_));
    job.work(0);
    job_.store(nullptr);
    wait_for_workers();
    job.rethrow();
  }

  // Ends the workers; the caller has acquired the pool and nobody will use it again.
  void stop() {
    stop_.store(true);
    epoch_.fetch_add(1);
    platform::wake(epoch_, kMaxThreads);
    for (std::thread& t : workers_) t.join();
    workers_.clear();
  }

 private:
  void start() {
    platform::SignalsBlocked blocked;
    workers_.reserve(static_cast<size_t>(workers_wanted_));
    try {
      for (int i = 1; i <= workers_wanted_; ++i) workers_.emplace_back([this, i] { loop(i); });
    } catch (const std::system_error&) {
      // The system grants no more threads: the ones there are, and the caller, do the work.
      workers_wanted_ = static_cast<int>(workers_.size());
    }
  }

  void loop(int thread) {
    for (uint32_t seen = 0; !stop_.load();) {
      seen = wait_for_epoch(seen);
      // Announced before the job is read, withdrawn after it was left: the caller takes the job away first and then
      // waits until nobody is announced, so a worker that comes late finds nothing and holds nobody up.
      inside_.fetch_add(1);
      if (Job* job = job_.load()) job->work(thread);
      if (inside_.fetch_sub(1) == 1 && caller_waits_.load()) platform::wake(inside_, 1);
    }
  }

  uint32_t wait_for_epoch(uint32_t seen) {
    if (spins_ && spin_until([&] { return epoch_.load(std::memory_order_acquire) != seen; })) return epoch_.load();
    sleepers_.fetch_add(1);
    while (epoch_.load() == seen) platform::wait_on(epoch_, seen);
    sleepers_.fetch_sub(1);
    return epoch_.load();
  }

  void wait_for_workers() {
    if (spin_until([&] { return inside_.load() == 0; })) return;
    caller_waits_.store(true);
    for (uint32_t n; (n = inside_.load()) != 0;) platform::wait_on(inside_, n);
    caller_waits_.store(false);
  }

  alignas(64) std::atomic<uint32_t> epoch_{0};
  alignas(64) std::atomic<uint32_t> inside_{0};
  std::atomic<Job*> job_{nullptr};
  alignas(64) std::atomic<int> sleepers_{0};
  std::atomic<bool> caller_waits_{false}, stop_{false}, busy_{false};
  const bool spins_;
  int workers_wanted_;
  std::vector<std::thread> workers_;
  std::vector<Share> shares_;
};

int default_thread_count() {
  for (const char* name : {"FLAMBEAU_NUM_THREADS", "OMP_NUM_THREADS"}) {
    const char* text = std::getenv(name);
    int n = text ? std::atoi(text) : 0;
    if (n >= 1) return std::min(n, kMaxThreads);
  }
  return std::min(platform::available_cpus(), kMaxThreads);
}

std::atomic<int>& threads() {
  static std::atomic<int> n{default_thread_count()};
  return n;
}

// Never destroyed: workers may outlive static objects at exit.
std::atomic<Pool*> pool{nullptr};
std::mutex resize_mutex;

// The pool, acquired for this thread, or nullptr when another thread has it.
Pool* acquire_pool() {
  Pool* p = pool.load(std::memory_order_acquire);
  if (!p) {
    auto* fresh = new Pool(thread_count());
    if (pool.compare_exchange_strong(p, fresh)) {
      p = fresh;
    } else {
      delete fresh;
    }
  }
  return p->try_acquire() ? p : nullptr;
}

}  // namespace

int thread_count() { return threads().load(std::memory_order_relaxed); }

void set_thread_count(int n) {
  FL_CHECK(n >= 1, ErrorKind::Runtime, "Expected a positive number of threads");
  std::lock_guard lock(resize_mutex);
  n = std::min(n, kMaxThreads);
  if (n == thread_count()) return;
  threads().store(n);
  Pool* old = pool.load();
  if (!old) return;
  while (!old->try_acquire()) std::this_thread::yield();
  // The old pool stays acquired, and in memory, for a thread that still holds its address: that one runs inline.
  old->stop();
  pool.store(nullptr);
}

void pool_after_fork_child() {
  pool.store(nullptr);
  inside_parallel = false;
  new (&resize_mutex) std::mutex;
}

namespace detail {

bool runs_inline() { return inside_parallel || thread_count() == 1; }

void run_chunks(int64_t chunks, void (*fn)(void*, int64_t), void* context) {
  Pool* p = acquire_pool();
  if (!p) {
    for (int64_t c = 0; c < chunks; ++c) fn(context, c);
    return;
  }
  struct Release {
    Pool* pool;
    ~Release() { pool->release(); }
  } release{p};
  p->run(chunks, fn, context);
}

}  // namespace detail

}  // namespace fl
