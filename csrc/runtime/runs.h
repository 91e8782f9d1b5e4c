// Runs of bytes, written one after the other wherever they come from, and what lies between them.
#pragma once
#include "runtime/pool.h"
#include "runtime/stream.h"

#define FL_INLINE [[gnu::always_inline]] inline

namespace fl {

constexpr int64_t kPieceBytes = 64 << 10;  // of a result: one task, or about as much

// Calls task(k) for the tasks that write a result of so many bytes: on one thread if there are few.
template <class F>
void share_pieces(int64_t tasks, int64_t bytes, F&& task) {
  if (bytes < 2 * kPieceBytes) {
    for (int64_t k = 0; k < tasks; ++k) task(k);
    return;
  }
  LongWork quiet(bytes >= 8 * kPieceBytes);
  parallel_for(tasks, task);
}

template <int n>
struct Words {
  uint64_t parts[n];
};

template <class T>
FL_INLINE void copy_ends(char* to, const char* from, int64_t n) {  // sizeof(T) .. 2 * sizeof(T) bytes
  const int64_t last = n - static_cast<int64_t>(sizeof(T));
  std::memcpy(to, from, sizeof(T));
  std::memcpy(to + last, from + last, sizeof(T));
}

// Elements that fill a cache line, again and again between runs.
struct Line {
  char bytes[kLine];
};

// memcpy of what mostly is short.
FL_INLINE void copy_run(char* to, const char* from, int64_t n) {
  if (n >= kLine) {
    for (int64_t i = 0; i + kLine <= n; i += kLine) std::memcpy(to + i, from + i, kLine);
    std::memcpy(to + n - kLine, from + n - kLine, kLine);
  } else if (n >= 32) {
    copy_ends<Words<4>>(to, from, n);
  } else if (n >= 16) {
    copy_ends<Words<2>>(to, from, n);
  } else if (n >= 8) {
    copy_ends<uint64_t>(to, from, n);
  } else if (n >= 4) {
    copy_ends<uint32_t>(to, from, n);
  } else if (n >= 2) {
    copy_ends<uint16_t>(to, from, n);
  } else if (n == 1) {
    *to = *from;
  }
}

// Writes bytes one after the other.
class Direct {
 public:
  FL_INLINE explicit Direct(char* to) : to_(to) {}

  FL_INLINE void copy(const char* from, int64_t n) {
    copy_run(to_, from, n);
    to_ += n;
  }

  FL_INLINE void fill(const Line& filling, int64_t n) {
    for (; n >= kLine; n -= kLine) copy(filling.bytes, kLine);
    copy(filling.bytes, n);
  }

  FL_INLINE void finish() {}

 private:
  char* to_;
};

#if defined(__x86_64__)
FL_INLINE uint64_t word_at(const char* from) {
  uint64_t word;
  std::memcpy(&word, from, 8);
  return word;
}

// The first n < 8 bytes, 0 behind them.
FL_INLINE uint64_t short_word(const char* from, int64_t n) {
  char bytes[8] = {};
  copy_run(bytes, from, n);
  return word_at(bytes);
}

// Writes bytes one after the other past the caches. `to` is a multiple of 8. What does not fill a word waits in a
// register: stores to the caches between those past them would hold these up.
class Streamed {
 public:
  FL_INLINE explicit Streamed(char* to) : to_(to) {}

  FL_INLINE void copy(const char* from, int64_t n) {
    if (n < 8) return append(short_word(from, n), n);
    int64_t i = 0;
    if (held_) {
      i = 8 - held_;
      put(word_ | word_at(from) << 8 * held_);
    }
    if (reinterpret_cast<uintptr_t>(to_) % 16 && i + 8 <= n) {
      put(word_at(from + i));
      i += 8;
    }
    for (; i + kLine <= n; i += kLine, to_ += kLine) copy_line(to_, from + i, true);
    for (; i + 16 <= n; i += 16, to_ += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to_), _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i)));
    if (i + 8 <= n) {
      put(word_at(from + i));
      i += 8;
    }
    held_ = n - i;
    word_ = held_ ? word_at(from + n - 8) >> 8 * (8 - held_) : 0;
  }

  FL_INLINE void fill(const Line& filling, int64_t n) {
    for (; n >= kLine; n -= kLine) copy(filling.bytes, kLine);
    if (n >= 8) return copy(filling.bytes, n);
    append(word_at(filling.bytes) & ((uint64_t{1} << 8 * n) - 1), n);
  }

  FL_INLINE void finish() {
    std::memcpy(to_, &word_, static_cast<size_t>(held_));
    stream_fence();
  }

 private:
  FL_INLINE void put(uint64_t word) {
    _mm_stream_si64(reinterpret_cast<long long*>(to_), static_cast<long long>(word));
    to_ += 8;
  }

  // n < 8 bytes, 0 behind them.
  FL_INLINE void append(uint64_t word, int64_t n) {
    word_ |= word << 8 * held_;
    held_ += n;
    if (held_ < 8) return;
    put(word_);
    held_ -= 8;
    word_ = held_ ? word >> 8 * (n - held_) : 0;
  }

  char* to_;
  uint64_t word_ = 0;  // the bytes that wait
  int64_t held_ = 0;   // so many
};
#else
using Streamed = Direct;
#endif

}  // namespace fl
