// Copies that go past the caches, for results that would be gone from them before they are read.
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fl {

constexpr int64_t kLine = 64;  // bytes of a cache line

constexpr int64_t kStreamBytes = int64_t{16} << 20;  // of a result
// Of a result and all that it is made of. Below, ordinary stores were up to twice as fast wherever two threads share 32
// MB of cache, and more so for whoever reads the result; above, they were slower by a quarter.
constexpr int64_t kStreamTotal = int64_t{48} << 20;
// Of a result of zeros. Zen 4 writes lines of zeros past the caches three times as fast as others, but what the caches
// keep is faster still to whoever reads it next: measured both ways, up to here.
constexpr int64_t kStreamZeros = int64_t{64} << 20;

// Whether a result of so many bytes goes past the caches, where so many are read for it.
constexpr bool streams(int64_t written, int64_t read) {
  return written >= kStreamBytes && written + read >= kStreamTotal;
}

inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

#if defined(__SSE2__)
// Written out: as a loop, fetching its instructions would take longer than the stores.
inline void stream_line(char* to, __m128i a, __m128i b, __m128i c, __m128i d) {
  auto* parts = reinterpret_cast<__m128i*>(to);
  _mm_stream_si128(parts, a);
  _mm_stream_si128(parts + 1, b);
  _mm_stream_si128(parts + 2, c);
  _mm_stream_si128(parts + 3, d);
}
#endif

// 64 bytes; `stream` needs `to` to be a multiple of 16, and is quick where it follows on what was streamed before.
inline void copy_line(char* to, const char* from, bool stream) {
#if defined(__SSE2__)
  if (stream) {
    const auto* parts = reinterpret_cast<const __m128i*>(from);
    return stream_line(to, _mm_loadu_si128(parts), _mm_loadu_si128(parts + 1), _mm_loadu_si128(parts + 2),
                       _mm_loadu_si128(parts + 3));
  }
#else
  (void)stream;
#endif
  std::memcpy(to, from, 64);
}

// memcpy; `stream` writes whole cache lines past the caches. stream_fence() comes before others read.
inline void copy_bytes(char* to, const char* from, size_t n, bool stream) {
#if defined(__SSE2__)
  if (stream && n >= 256) {
    size_t head = (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64;
    std::memcpy(to, from, head);
    size_t i = head;
    for (; i + 64 <= n; i += 64) copy_line(to + i, from + i, true);
    std::memcpy(to + i, from + i, n - i);
    return;
  }
#else
  (void)stream;
#endif
#if defined(__x86_64__)
  // For long runs memcpy takes an instruction that is ten times as slow as a loop where `to` stands less than a line
  // further on in its page than `from` (Zen 3 and 4).
  const uintptr_t ahead = (reinterpret_cast<uintptr_t>(to) - reinterpret_cast<uintptr_t>(from)) % 4096;
  if (n >= 1024 && ahead && ahead < kLine) {
    size_t i = 0;
    for (; i + kLine <= n; i += kLine) copy_line(to + i, from + i, false);
    to += i, from += i, n -= i;
  }
#endif
  std::memcpy(to, from, n);
}

// Eight bytes again and again, n bytes in all, a multiple of 8: for that the machine has an instruction that neither
// reads the lines first nor waits for each.
inline void fill_words(char* to, uint64_t word, size_t n) {
#if defined(__x86_64__)
  size_t count = n / 8;
  asm volatile("rep stosq" : "+D"(to), "+c"(count) : "a"(word) : "memory");
#else
  for (size_t i = 0; i < n; i += 8) std::memcpy(to + i, &word, 8);
#endif
}

// Zeros past the caches.
inline void stream_zeros(char* to, size_t n) {
#if defined(__SSE2__)
  size_t i = std::min(n, (64 - reinterpret_cast<uintptr_t>(to) % 64) % 64);
  std::memset(to, 0, i);
  const __m128i zero = _mm_setzero_si128();
  for (; i + 64 <= n; i += 64) stream_line(to + i, zero, zero, zero, zero);
  std::memset(to + i, 0, n - i);
  stream_fence();
#else
  std::memset(to, 0, n);
#endif
}

}  // namespace fl
