// Determinants from an LU factorisation.
#include <cmath>

#include "runtime/copy.h"
#include "runtime/lapack/batch.h"

namespace fl::lapack {
namespace {

struct Factored {
  Batch lu;
  TensorRef pivots;

  Factored(const Call& c, const char* name) {
    check_square(*c[0].tensor(), name);
    lu = columns_of(c[0].tensor());
    check_shape(*c[1].tensor(), *lu.tensor, {lu.rows}, DType::I32, name);
    pivots = contiguous_tensor(c[1].tensor());
  }

  // -1 where an odd number of rows was exchanged.
  int sign(int64_t i) const {
    int result = 1;
    for (int k = 0; k < lu.rows; ++k)
      if (pivots->data<int>()[i * lu.rows + k] != k + 1) result = -result;
    return result;
  }

  template <class T, class F>
  void each_diagonal(int64_t i, F&& fn) const {
    for (int64_t k = 0; k < lu.rows; ++k) fn(lu.at<T>(i)[k * (int64_t{lu.rows} + 1)]);
  }
};

// lapack_det(LU, pivots) -> determinant
void det(const Call& c, Outputs& outputs) {
  Factored f(c, "lapack_det");
  TensorRef result = new_vector(*f.lu.tensor, -1, f.lu.tensor->dtype);
  if (f.lu.has_work()) {
    with_type(result->dtype, [&]<class T>(T) {
      for (int64_t i = 0; i < f.lu.count; ++i) {
        T product = 1;
        f.each_diagonal<T>(i, [&](T u) { product *= u; });
        result->data<T>()[i] = product * T(static_cast<Real<T>>(f.sign(i)));
      }
    });
  }
  outputs.emplace_back(result);
}

// lapack_slogdet(LU, pivots) -> (sign, log|determinant|)
void slogdet(const Call& c, Outputs& outputs) {
  Factored f(c, "lapack_slogdet");
  DType dtype = f.lu.tensor->dtype;
  TensorRef signs = new_vector(*f.lu.tensor, -1, dtype), logs = new_vector(*f.lu.tensor, -1, to_real(dtype));
  if (f.lu.has_work()) {
    with_type(dtype, [&]<class T>(T) {
      for (int64_t i = 0; i < f.lu.count; ++i) {
        T sign = static_cast<Real<T>>(f.sign(i));
        Real<T> log = 0;
        f.each_diagonal<T>(i, [&](T u) {
          Real<T> size = std::abs(u);
          // As sgn does: what is no number has no sign.
          sign *= size > 0 ? u / size : T(0);
          log += std::log(size);
        });
        signs->data<T>()[i] = sign;
        logs->data<Real<T>>()[i] = log;
      }
    });
  }
  outputs.emplace_back(signs);
  outputs.emplace_back(logs);
}

RegisterNative natives[] = {{"lapack_det", det}, {"lapack_slogdet", slogdet}};

}  // namespace
}  // namespace fl::lapack
