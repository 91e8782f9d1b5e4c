#include "runtime/lapack/library.h"

#include <map>
#include <mutex>

#include "core/error.h"
#include "core/platform.h"

namespace fl::lapack {

std::string (*library_path)() = nullptr;

namespace {

constexpr const char* kPrefix = "scipy_";

void* find(void* library, const std::string& name) {
  void* found = platform::library_symbol(library, name.c_str());
  FL_CHECK(found, ErrorKind::Runtime, "the LAPACK library has no %s: %s", name.c_str(),
           platform::library_error().c_str());
  return found;
}

// One thread: our pool runs matrices of a batch side by side, and results must not depend on the number of threads.
void* open() {
  void* library = platform::open_library(library_path().c_str());
  FL_CHECK(library, ErrorKind::Runtime, "linear algebra needs scipy-openblas32, which cannot be opened: %s",
           platform::library_error().c_str());
  reinterpret_cast<void (*)(int)>(find(library, std::string(kPrefix) + "openblas_set_num_threads"))(1);
  return library;
}

char letter(DType dtype) {
  switch (dtype) {
    case DType::F32: return 's';
    case DType::F64: return 'd';
    case DType::C64: return 'c';
    case DType::C128: return 'z';
    default: fail(ErrorKind::Runtime, "LAPACK has no routines for this dtype");
  }
}

}  // namespace

void* routine(DType dtype, const char* real, const char* complex) {
  static void* library = open();
  static auto* known = new std::map<std::string, void*>;
  static std::mutex mutex;
  char first = letter(dtype);
  bool is_real = first == 's' || first == 'd';
  std::string name = std::string(kPrefix) + first + (is_real || !complex ? real : complex) + "_";
  std::lock_guard lock(mutex);
  void*& address = (*known)[name];
  if (!address) address = find(library, name);
  return address;
}

}  // namespace fl::lapack
