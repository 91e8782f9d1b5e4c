// Solvers: triangular systems, systems with a factored matrix, least squares.
#include <algorithm>
#include <limits>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/lapack/batch.h"

namespace fl::lapack {
namespace {

template <class T>
char adjoint_form(bool adjoint) {
  return !adjoint ? 'N' : is_complex<T> ? 'C' : 'T';
}

// lapack_trsm(A, B, upper, left, unitriangular) -> X with A X = B or X A = B
void trsm(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_trsm");
  check_matrices(*c[1].tensor(), "lapack_trsm");
  Batch a = columns_of(c[0].tensor()), x = copy_of(c[1].tensor());
  bool upper = c[2].as_bool(), left = c[3].as_bool(), unit = c[4].as_bool();
  DType dtype = a.tensor->dtype;
  check_shape(*x.tensor, *a.tensor, {x.rows, x.cols}, dtype, "lapack_trsm");
  FL_CHECK((left ? x.rows : x.cols) == a.rows, ErrorKind::Runtime, "lapack_trsm: operands do not fit together");
  if (x.has_work() && x.size() > 0) {
    with_type(dtype, [&]<class T>(T) {
      Routine run(dtype, "trsm");
      each_range(x.count, static_cast<double>(x.size()) * a.rows, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i)
          run(left ? 'L' : 'R', upper ? 'U' : 'L', 'N', unit ? 'U' : 'N', x.rows, x.cols, T(1), a.at<T>(i), a.step(),
              x.at<T>(i), x.step());
      });
    });
  }
  outputs.emplace_back(x.tensor);
}

// Copies of pivots that may be read: raises where one is no row.
TensorRef checked_pivots(Tensor* t, const Batch& lu, int64_t most, const char* name) {
  check_shape(*t, *lu.tensor, {lu.rows}, DType::I32, name);
  TensorRef pivots = contiguous_tensor(t);
  const int* p = pivots->data<int>();
  bool good =
      t->is_meta() || std::all_of(p, p + t->numel(), [&](int v) { return v != 0 && std::abs(int64_t{v}) <= most; });
  FL_CHECK(good, ErrorKind::Runtime, "%s: a pivot is no row", name);
  return pivots;
}

// lapack_getrs(A, LU, pivots, B, adjoint) -> X with A X = B, or A^H X = B; A is what the gradient is written with
void getrs(const Call& c, Outputs& outputs) {
  check_square(*c[1].tensor(), "lapack_getrs");
  check_matrices(*c[3].tensor(), "lapack_getrs");
  Batch lu = columns_of(c[1].tensor()), x = copy_of(c[3].tensor());
  DType dtype = lu.tensor->dtype;
  check_shape(*x.tensor, *lu.tensor, {lu.rows, x.cols}, dtype, "lapack_getrs");
  TensorRef pivots = checked_pivots(c[2].tensor(), lu, lu.rows, "lapack_getrs");
  FL_CHECK(pivots->is_meta() ||
               std::all_of(pivots->data<int>(), pivots->data<int>() + pivots->numel(), [](int v) { return v > 0; }),
           ErrorKind::Runtime, "lapack_getrs: a pivot is no row");
  if (x.has_work() && x.size() > 0) {
    with_type(dtype, [&]<class T>(T) {
      Routine run(dtype, "getrs");
      each_range(x.count, 2.0 * static_cast<double>(x.size()) * lu.rows, [&](int64_t first, int64_t last) {
        int info = 0;
        for (int64_t i = first; i < last; ++i)
          run(adjoint_form<T>(c[4].as_bool()), lu.rows, x.cols, lu.at<T>(i), lu.step(),
              pivots->data<int>() + i * lu.rows, x.at<T>(i), x.step(), &info);
      });
    });
  }
  outputs.emplace_back(x.tensor);
}

// lapack_sytrs(LD, pivots, B, hermitian) -> X
void sytrs(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_sytrs");
  check_matrices(*c[2].tensor(), "lapack_sytrs");
  Batch ld = columns_of(c[0].tensor()), x = copy_of(c[2].tensor());
  DType dtype = ld.tensor->dtype;
  check_shape(*x.tensor, *ld.tensor, {ld.rows, x.cols}, dtype, "lapack_sytrs");
  TensorRef pivots = checked_pivots(c[1].tensor(), ld, ld.rows, "lapack_sytrs");
  if (x.has_work() && x.size() > 0) {
    // A block of two rows names both: a lone negative pivot would make the routine read beside the matrix.
    for (int64_t b = 0; b < x.count; ++b) {
      const int* p = pivots->data<int>() + b * ld.rows;
      for (int64_t i = 0; i < ld.rows; ++i)
        if (p[i] < 0) {
          FL_CHECK(i + 1 < ld.rows && p[i + 1] < 0, ErrorKind::Runtime, "lapack_sytrs: a pivot of half a block");
          ++i;
        }
    }
    with_type(dtype, [&]<class T>(T) {
      Routine run(dtype, "sytrs", c[3].as_bool() ? "hetrs" : nullptr);
      each_range(x.count, 2.0 * static_cast<double>(x.size()) * ld.rows, [&](int64_t first, int64_t last) {
        int info = 0;
        for (int64_t i = first; i < last; ++i)
          run('L', ld.rows, x.cols, ld.at<T>(i), ld.step(), pivots->data<int>() + i * ld.rows, x.at<T>(i), x.step(),
              &info);
      });
    });
  }
  outputs.emplace_back(x.tensor);
}

enum class Driver { Gels, Gelsy, Gelsd, Gelss };

// One way to solve least squares, with the workspace of one thread.
template <class T>
class LeastSquares {
 public:
  LeastSquares(DType dtype, Driver driver, double rcond)
      : driver_(driver), run_(dtype, name(driver)), rcond_(static_cast<Real<T>>(rcond)) {}

  int operator()(const Batch& a, T* ai, const Batch& x, T* xi, Real<T>* values, int* rank) {
    if (work_.empty()) {
      work_.resize(1);
      real_work_.resize(static_cast<size_t>(std::max({5 * std::min(a.rows, a.cols), 2 * a.cols, 1})));
      int_work_.resize(1);
      solve(a, ai, x, xi, values, rank, -1);
      int length = wanted(work_[0]);
      if (driver_ == Driver::Gelsd) {
        int_work_.resize(static_cast<size_t>(std::max(int_work_[0], 1)));
        if (is_complex<T>) real_work_.resize(static_cast<size_t>(std::max<double>(real_work_[0], 1)));
      }
      work_.resize(static_cast<size_t>(length));
    }
    if (driver_ == Driver::Gelsy) int_work_.assign(static_cast<size_t>(a.cols), 0);
    return solve(a, ai, x, xi, values, rank, static_cast<int>(work_.size()));
  }

 private:
  static const char* name(Driver d) {
    constexpr const char* names[] = {"gels", "gelsy", "gelsd", "gelss"};
    return names[static_cast<int>(d)];
  }

  int solve(const Batch& a, T* ai, const Batch& x, T* xi, Real<T>* values, int* rank, int length) {
    int info = 0;
    if (driver_ == Driver::Gels)
      run_('N', a.rows, a.cols, x.cols, ai, a.step(), xi, x.step(), work_.data(), length, &info);
    else if (driver_ == Driver::Gelsy)
      with_reals(length, &info, a.rows, a.cols, x.cols, ai, a.step(), xi, x.step(), int_work_.data(), rcond_, rank);
    else if (driver_ == Driver::Gelss)
      with_reals(length, &info, a.rows, a.cols, x.cols, ai, a.step(), xi, x.step(), values, rcond_, rank);
    else if constexpr (is_complex<T>)
      run_(a.rows, a.cols, x.cols, ai, a.step(), xi, x.step(), values, rcond_, rank, work_.data(), length,
           real_work_.data(), int_work_.data(), &info);
    else
      run_(a.rows, a.cols, x.cols, ai, a.step(), xi, x.step(), values, rcond_, rank, work_.data(), length,
           int_work_.data(), &info);
    return info;
  }

  // Routines for complex numbers take a workspace of real ones behind the other.
  template <class... Args>
  void with_reals(int length, int* info, Args... args) {
    if constexpr (is_complex<T>)
      run_(args..., work_.data(), length, real_work_.data(), info);
    else
      run_(args..., work_.data(), length, info);
  }

  Driver driver_;
  Routine run_;
  Real<T> rcond_;
  std::vector<T> work_;
  std::vector<Real<T>> real_work_;
  std::vector<int> int_work_;
};

// lapack_gels(A, B, rcond, driver) -> (X, rank, singular values, info). B and X have max(rows, columns) rows.
void gels(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_gels");
  check_matrices(*c[1].tensor(), "lapack_gels");
  Batch a = copy_of(c[0].tensor()), x = copy_of(c[1].tensor());
  DType dtype = a.tensor->dtype;
  check_shape(*x.tensor, *a.tensor, {std::max(a.rows, a.cols), x.cols}, dtype, "lapack_gels");
  FL_CHECK(c[3].as_int() >= 0 && c[3].as_int() < 4, ErrorKind::Runtime, "lapack_gels: there are four drivers");
  auto driver = static_cast<Driver>(c[3].as_int());
  int k = std::min(a.rows, a.cols);
  TensorRef rank = new_vector(*a.tensor, -1, DType::I64), info = new_info(*a.tensor);
  TensorRef values = new_vector(*a.tensor, k, to_real(dtype));
  auto solve = [&]<class T>(T) {
    each_range(a.count, 4.0 * static_cast<double>(a.size() + x.size()) * k, [&](int64_t first, int64_t last) {
      LeastSquares<T> run(dtype, driver, c[2].as_double());
      for (int64_t i = first; i < last; ++i) {
        auto* v = values->data<Real<T>>() + i * k;
        int found = 0;
        if (all_finite(a.at<T>(i), a.size()) && all_finite(x.at<T>(i), x.size())) {
          info->data<int>()[i] = run(a, a.at<T>(i), x, x.at<T>(i), v, &found);
        } else {
          std::fill_n(x.at<T>(i), x.size(), T(std::numeric_limits<Real<T>>::quiet_NaN()));
          std::fill_n(v, k, std::numeric_limits<Real<T>>::quiet_NaN());
          info->data<int>()[i] = 0;
        }
        rank->data<int64_t>()[i] = found;
      }
    });
  };
  if (x.has_work() && k > 0 && x.cols > 0) {
    Routine ready(dtype, "gels");  // the library is opened on this thread
    with_type(dtype, solve);
  }
  outputs.emplace_back(x.tensor);
  outputs.emplace_back(rank);
  outputs.emplace_back(values);
  outputs.emplace_back(info);
}

RegisterNative natives[] = {
    {"lapack_trsm", trsm}, {"lapack_getrs", getrs}, {"lapack_sytrs", sytrs}, {"lapack_gels", gels}};

}  // namespace
}  // namespace fl::lapack
