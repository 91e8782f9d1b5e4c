// The LAPACK and BLAS of scipy-openblas32: opened when first needed, and set to one thread.
#pragma once
#include <complex>
#include <string>

#include "core/dtype.h"

namespace fl::lapack {

// Set by bind: where the library lies. May take the GIL; raises where there is none.
extern std::string (*library_path)();

// The address of a routine: `real` is its name for float32 and float64 ("syevd"), `complex` for complex numbers
// ("heevd"); null: the same.
void* routine(DType dtype, const char* real, const char* complex = nullptr);

template <class T>
struct RealOf {
  using type = T;
};
template <class T>
struct RealOf<std::complex<T>> {
  using type = T;
};
template <class T>
using Real = typename RealOf<T>::type;
template <class T>
inline constexpr bool is_complex = !std::is_same_v<T, Real<T>>;

// A routine of Fortran: everything goes by address, and lengths of strings stand behind the arguments (more of them
// than a routine has are not read).
class Routine {
 public:
  Routine(DType dtype, const char* real, const char* complex = nullptr) : address_(routine(dtype, real, complex)) {}

  template <class... Args>
  void operator()(Args... args) const {
    call(by_address(args)...);
  }

 private:
  template <class T>
  static T* by_address(T& value) {
    return &value;
  }
  template <class T>
  static T* by_address(T*& pointer) {
    return pointer;
  }
  template <class... Args>
  void call(Args... args) const {
    using Function = void (*)(Args..., size_t, size_t, size_t);
    reinterpret_cast<Function>(address_)(args..., 1, 1, 1);
  }
  void* address_;
};

// Calls fn with a value of the element type; raises for dtypes that LAPACK does not have.
template <class F>
void with_type(DType d, F&& fn) {
  switch (d) {
    case DType::F32: return fn(float{});
    case DType::F64: return fn(double{});
    case DType::C64: return fn(std::complex<float>{});
    default: return fn(std::complex<double>{});
  }
}

}  // namespace fl::lapack
