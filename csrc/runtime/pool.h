// The thread pool. Work is cut into chunks that depend on shapes only; each thread starts with neighbouring ones, and
// whoever is done takes from the others.
#pragma once
#include <cstdint>
#include <type_traits>

namespace fl {

int thread_count();
void set_thread_count(int n);  // raises on n < 1; takes effect with the next parallel_for
// A forked child has none of its parent's threads: it drops the pool whatever state that was in and starts another one
// when it first needs it. Nothing has to be done before the fork or in the parent.
void pool_after_fork_child();

// Set by bind: give the GIL away around work that takes longer than about 20 us, and take it back.
extern void* (*long_work_begin)();
extern void (*long_work_end)(void*);

struct LongWork {
  explicit LongWork(bool is_long)
      : active_(is_long && long_work_begin), state_(active_ ? long_work_begin() : nullptr) {}
  ~LongWork() {
    if (active_) long_work_end(state_);
  }
  LongWork(const LongWork&) = delete;
  LongWork& operator=(const LongWork&) = delete;

 private:
  bool active_;
  void* state_;
};

namespace detail {
bool runs_inline();  // one thread only, or already inside a parallel_for
void run_chunks(int64_t chunks, void (*fn)(void*, int64_t), void* context);
}  // namespace detail

// Calls fn(chunk) once for each chunk in [0, chunks), in any order and on any thread; the caller takes part. Nested
// calls run inline, and so do calls made while another thread has the pool. The exception of the lowest chunk is
// rethrown here.
template <class F>
void parallel_for(int64_t chunks, F&& fn) {
  if (chunks <= 1 || detail::runs_inline()) {
    for (int64_t c = 0; c < chunks; ++c) fn(c);
    return;
  }
  using Fn = std::remove_reference_t<F>;
  detail::run_chunks(
      chunks, [](void* f, int64_t c) { (*static_cast<Fn*>(f))(c); }, const_cast<void*>(static_cast<const void*>(&fn)));
}

}  // namespace fl
