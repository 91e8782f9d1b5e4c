// Copies that go past the caches, for results that would be gone from them before they are read.
#pragma once
#include <cstdint>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace fl {

constexpr int64_t kStreamBytes = int64_t{16} << 20;  // of a result

inline void stream_fence() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// 64 bytes; `stream` needs `to` to be a multiple of 64.
inline void copy_line(char* to, const char* from, bool stream) {
#if defined(__SSE2__)
  if (stream) {
    for (int k = 0; k < 4; ++k)
      _mm_stream_si128(reinterpret_cast<__m128i*>(to) + k, _mm_loadu_si128(reinterpret_cast<const __m128i*>(from) + k));
    return;
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

}  // namespace fl
