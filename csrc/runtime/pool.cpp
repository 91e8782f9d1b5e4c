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
#include <utility>
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

// The chunks that one thread starts with; others take from it when they are done with theirs. All that is needed to run
// them stands on this one line of the cache: each line that a thread fetches from another core's takes as long as a
// hundred multiply-adds.
struct alignas(64) Share {
  std::atomic<int64_t> left{0};  // chunks that nobody took yet; whoever finds one may use what follows
  int64_t end = 0;
  void (*fn)(void*, int64_t) = nullptr;
  void* context = nullptr;
  std::atomic<int64_t> finished{0};  // chunks, of all shares, that this thread ever finished
  std::atomic<bool> stop{false};

  void offer(int64_t begin, int64_t end_, void (*fn_)(void*, int64_t), void* context_) {
    end = end_;
    fn = fn_;
    context = context_;
    left.store(end_ - begin, std::memory_order_release);
  }
  bool has_chunks() const { return left.load(std::memory_order_relaxed) > 0; }
};

// Chunks that neighbour each other go to one thread, and the same ones to it in the next parallel_for of as many: what
// it wrote may still lie in its core's cache, and where cores share no cache, fetching it from another's costs more
// than most kernels.
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
    const int64_t count = std::min<int64_t>(chunks, std::ssize(shares_));
    for (int64_t i = count - 1; i >= 0; --i) {
      shares_[static_cast<size_t>(i)].offer(chunks * i / count, chunks * (i + 1) / count, fn, context);
    }
    epoch_.fetch_add(1);
    if (sleepers_.load() > 0) platform::wake(epoch_, static_cast<int>(count) - 1);
    finished_ += chunks;
    work(0);
    wait_for_workers();
    if (failure_) rethrow();
  }

  // Ends the workers; the caller has acquired the pool and nobody will use it again.
  void stop() {
    for (Share& share : shares_) share.stop.store(true);
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
    for (const Share& own = shares_[static_cast<size_t>(thread)]; !own.stop.load();) {
      wait_for_chunks(own);
      work(thread);
    }
  }

  // Returns early where another thread's chunks woke this one.
  void wait_for_chunks(const Share& own) {
    auto ready = [&] { return own.has_chunks() || own.stop.load(std::memory_order_relaxed); };
    if (spins_ && spin_until(ready)) return;
    const uint32_t seen = epoch_.load();
    sleepers_.fetch_add(1);
    while (!ready() && epoch_.load() == seen) platform::wait_on(epoch_, seen);
    sleepers_.fetch_sub(1);
  }

  // Own chunks, then those that others have left. What is done is said at once: the caller may be waiting for it.
  void work(int thread) {
    const int threads = static_cast<int>(shares_.size());
    std::atomic<int64_t>& finished = shares_[static_cast<size_t>(thread)].finished;
    inside_parallel = true;
    for (int i = 0; i < threads; ++i) {
      const int64_t done = drain(shares_[static_cast<size_t>((thread + i) % threads)]);
      if (!done) continue;
      finished.store(finished.load(std::memory_order_relaxed) + done);
      if (thread && caller_waits_.load()) wake_caller();
    }
    inside_parallel = false;
  }

  int64_t drain(Share& share) {
    int64_t done = 0;
    while (share.has_chunks()) {
      const int64_t left = share.left.fetch_sub(1, std::memory_order_acquire);
      if (left <= 0) break;
      ++done;
      const int64_t chunk = share.end - left;
      if (chunk > failed_chunk_.load(std::memory_order_relaxed)) continue;  // one below may still fail, and counts more
      try {
        share.fn(share.context, chunk);
      } catch (...) { keep(chunk, std::current_exception()); }
    }
    return done;
  }

  void keep(int64_t chunk, std::exception_ptr failure) {
    std::lock_guard lock(failure_mutex_);
    if (chunk >= failed_chunk_.load(std::memory_order_relaxed)) return;
    failed_chunk_.store(chunk, std::memory_order_relaxed);
    failure_ = std::move(failure);
  }

  void rethrow() {
    failed_chunk_.store(INT64_MAX, std::memory_order_relaxed);
    std::rethrow_exception(std::exchange(failure_, nullptr));
  }

  bool all_finished() const {
    int64_t sum = 0;
    for (const Share& share : shares_) sum += share.finished.load();
    return sum == finished_;
  }

  void wait_for_workers() {
    if (spin_until([&] { return all_finished(); })) return;
    while (!all_finished()) {
      caller_waits_.store(1);
      if (!all_finished()) platform::wait_on(caller_waits_, 1);
    }
    caller_waits_.store(0);
  }

  void wake_caller() {
    caller_waits_.store(0);
    platform::wake(caller_waits_, 1);
  }

  // Written by the caller, and read by workers that are about to sleep.
  alignas(64) std::atomic<uint32_t> epoch_{0};
  std::atomic<int> sleepers_{0};
  std::atomic<bool> busy_{false};
  int64_t finished_ = 0;  // chunks of all jobs so far
  // Written where a job fails, or the caller sleeps.
  alignas(64) std::atomic<int64_t> failed_chunk_{INT64_MAX};
  std::atomic<uint32_t> caller_waits_{0};
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
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
