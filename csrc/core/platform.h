// Every call of the operating system stands here and in platform.cpp.
#pragma once
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

namespace fl::platform {

// --- memory
// -----------------------------------------------------------------------------------------------------------
size_t page_size();
uint64_t total_memory();  // physical memory and swap
// Fresh zeroed pages at a multiple of `alignment` (a power of two, at least a page); nullptr where there is no memory.
void* map_pages(size_t bytes, size_t alignment);
void unmap_pages(void* p, size_t bytes) noexcept;
enum class Access { None, ReadWrite, ReadExecute };
bool protect_pages(void* p, size_t bytes, Access access) noexcept;
void advise_huge_pages(void* p, size_t bytes) noexcept;
void discard_pages(void* p, size_t bytes) noexcept;  // the contents are lost, the addresses stay

// --- threads
// ----------------------------------------------------------------------------------------------------------
int available_cpus();  // what affinity and cgroup quotas leave to this process
// Sleeps while `word` holds `expected`; may return early.
void wait_on(std::atomic<uint32_t>& word, uint32_t expected) noexcept;
void wake(std::atomic<uint32_t>& word, int count) noexcept;
// Threads started while this lives leave every signal to the others, so that Ctrl-C reaches the main thread.
class SignalsBlocked {
 public:
  SignalsBlocked();
  ~SignalsBlocked();
  SignalsBlocked(const SignalsBlocked&) = delete;
  SignalsBlocked& operator=(const SignalsBlocked&) = delete;

 private:
  unsigned char saved_[128];
};
void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)());

// --- shared libraries
// -------------------------------------------------------------------------------------------------
void* open_library(const char* path);  // nullptr: not found; `library_error` says why
void* library_symbol(void* library, const char* name);
std::string library_error();

// --- random bits
// ------------------------------------------------------------------------------------------------------
uint64_t entropy();

}  // namespace fl::platform
