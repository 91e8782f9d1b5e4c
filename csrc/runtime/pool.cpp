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

// One parallel_for; lives on the caller's stack.
class Job {
 public:
  Job(int64_t chunks, void (*fn)(void*, int64_t), void* context) : chunks_(chunks), fn_(fn), context_(context) {}

  void work() {
    inside_parallel = true;
    for (int64_t c; (c = next_.fetch_add(1, std::memory_order_relaxed)) < chunks_;) {
      try {
        fn_(context_, c);
      } catch (...) { keep(c, std::current_exception()); }
    }
    inside_parallel = false;
  }

  void rethrow() {
    if (failed_chunk_ < chunks_) std::rethrow_exception(failure_);
  }

 private:
  // Chunks are claimed in order, so every chunk below a failed one has been claimed and will report here as well.
  void keep(int64_t chunk, std::exception_ptr failure) {
    next_.store(chunks_, std::memory_order_relaxed);
    std::lock_guard lock(mutex_);
    if (chunk >= failed_chunk_) return;
    failed_chunk_ = chunk;
    failure_ = std::move(failure);
  }

  std::atomic<int64_t> next_{0};
  const int64_t chunks_;
  void (*const fn_)(void*, int64_t);
  void* const context_;
  std::mutex mutex_;
  int64_t failed_chunk_ = INT64_MAX;
  std::exception_ptr failure_;
};

class Pool {
 public:
  explicit Pool(int threads) : spins_(threads <= platform::available_cpus()), workers_wanted_(threads - 1) {}

  bool try_acquire() { return !busy_.exchange(true, std::memory_order_acquire); }
  void release() { busy_.store(false, std::memory_order_release); }

  // The caller has acquired the pool.
  void run(Job& job, int64_t chunks) {
    if (workers_.empty()) start();
    job_.store(&job);
    epoch_.fetch_add(1);
    if (sleepers_.load() > 0) platform::wake(epoch_, static_cast<int>(std::min<int64_t>(chunks - 1, workers_wanted_)));
    job.work();
    job_.store(nullptr);
    wait_for_workers();
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
      for (int i = 0; i < workers_wanted_; ++i) workers_.emplace_back([this] { loop(); });
    } catch (const std::system_error&) {
      // The system grants no more threads: the ones there are, and the caller, do the work.
      workers_wanted_ = static_cast<int>(workers_.size());
    }
  }

  void loop() {
    for (uint32_t seen = 0; !stop_.load();) {
      seen = wait_for_epoch(seen);
      // Announced before the job is read, withdrawn after it was left: the caller takes the job away first and then
      // waits until nobody is announced, so a worker that comes late finds nothing and holds nobody up.
      inside_.fetch_add(1);
      if (Job* job = job_.load()) job->work();
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
  Job job(chunks, fn, context);
  p->run(job, chunks);
  p->release();
  job.rethrow();
}

}  // namespace detail

}  // namespace fl
