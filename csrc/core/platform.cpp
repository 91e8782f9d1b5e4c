#include "core/platform.h"

#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#ifdef __linux__
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#endif

namespace fl::platform {

// --- memory
// -----------------------------------------------------------------------------------------------------------

size_t page_size() {
  static const size_t size = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return size;
}

uint64_t total_memory() {
#ifdef __linux__
  struct sysinfo info;
  if (sysinfo(&info) == 0) return (static_cast<uint64_t>(info.totalram) + info.totalswap) * info.mem_unit;
#endif
  return static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * page_size();
}

void* map_pages(size_t bytes, size_t alignment) {
  size_t slack = alignment > page_size() ? alignment - page_size() : 0;
  if (bytes > SIZE_MAX - slack) return nullptr;
  void* raw = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) return nullptr;
  uintptr_t begin = reinterpret_cast<uintptr_t>(raw);
  uintptr_t at = (begin + alignment - 1) & ~(static_cast<uintptr_t>(alignment) - 1);
  if (at > begin) munmap(raw, at - begin);
  size_t tail = begin + bytes + slack - (at + bytes);
  if (tail > 0) munmap(reinterpret_cast<void*>(at + bytes), tail);
  return reinterpret_cast<void*>(at);
}

void unmap_pages(void* p, size_t bytes) noexcept { munmap(p, bytes); }

bool protect_pages(void* p, size_t bytes, Access access) noexcept {
  int protection = access == Access::None        ? PROT_NONE
                   : access == Access::ReadWrite ? PROT_READ | PROT_WRITE
                                                 : PROT_READ | PROT_EXEC;
  return mprotect(p, bytes, protection) == 0;
}

void advise_huge_pages(void* p, size_t bytes) noexcept {
#ifdef MADV_HUGEPAGE
  madvise(p, bytes, MADV_HUGEPAGE);
#else
  (void)p, (void)bytes;
#endif
}

void discard_pages(void* p, size_t bytes) noexcept { madvise(p, bytes, MADV_DONTNEED); }

// --- threads
// ----------------------------------------------------------------------------------------------------------

namespace {

#ifdef __linux__
// The CPUs' worth of time a cgroup grants, or 0 where it sets no limit.
double cgroup_quota() {
  double quota = 0, period = 0;
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu.max", "r")) {  // version 2: "max 100000" or "150000 100000"
    if (std::fscanf(f, "%lf %lf", &quota, &period) != 2) quota = 0;
    std::fclose(f);
    return period > 0 ? quota / period : 0;
  }
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r")) {
    if (std::fscanf(f, "%lf", &quota) != 1) quota = 0;
    std::fclose(f);
  }
  if (FILE* f = std::fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r")) {
    if (std::fscanf(f, "%lf", &period) != 1) period = 0;
    std::fclose(f);
  }
  return quota > 0 && period > 0 ? quota / period : 0;
}

long futex(std::atomic<uint32_t>& word, int operation, uint32_t value) {
  return syscall(SYS_futex, &word, operation, value, nullptr, nullptr, 0);
}
#endif

}  // namespace

int available_cpus() {
  int cpus = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
#ifdef __linux__
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) cpus = std::max(1, CPU_COUNT(&set));
  double quota = cgroup_quota();
  if (quota > 0) cpus = std::min(cpus, std::max(1, static_cast<int>(std::ceil(quota))));
#endif
  return cpus;
}

#ifdef __linux__
void wait_on(std::atomic<uint32_t>& word, uint32_t expected) noexcept { futex(word, FUTEX_WAIT_PRIVATE, expected); }
void wake(std::atomic<uint32_t>& word, int count) noexcept {
  futex(word, FUTEX_WAKE_PRIVATE, static_cast<uint32_t>(count));
}
#else
void wait_on(std::atomic<uint32_t>& word, uint32_t expected) noexcept { word.wait(expected); }
void wake(std::atomic<uint32_t>& word, int) noexcept { word.notify_all(); }
#endif

SignalsBlocked::SignalsBlocked() {
  sigset_t all, before;
  static_assert(sizeof before <= sizeof saved_);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::memcpy(saved_, &before, sizeof before);
}

SignalsBlocked::~SignalsBlocked() {
  sigset_t before;
  std::memcpy(&before, saved_, sizeof before);
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

void on_fork(void (*before)(), void (*after_in_parent)(), void (*after_in_child)()) {
  pthread_atfork(before, after_in_parent, after_in_child);
}

// --- shared libraries
// -------------------------------------------------------------------------------------------------

void* open_library(const char* path) { return dlopen(path, RTLD_NOW | RTLD_LOCAL); }
void* library_symbol(void* library, const char* name) { return dlsym(library, name); }
std::string library_error() {
  const char* text = dlerror();
  return text ? text : "";
}

// --- random bits
// ------------------------------------------------------------------------------------------------------

uint64_t entropy() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

}  // namespace fl::platform
