// Eigenvalues and singular values.
#include <algorithm>
#include <array>
#include <limits>

#include "core/error.h"
#include "runtime/lapack/batch.h"

namespace fl::lapack {
namespace {

// lapack_syevd(A, upper, vectors) -> (eigenvalues, eigenvectors, info)
void syevd(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_syevd");
  Batch a = copy_of(c[0].tensor());
  DType dtype = a.tensor->dtype;
  TensorRef values = new_vector(*a.tensor, a.rows, to_real(dtype)), info = new_info(*a.tensor);
  char job = c[2].as_bool() ? 'V' : 'N', side = c[1].as_bool() ? 'U' : 'L';
  auto solve = [&]<class T>(T) {
    Routine run(dtype, "syevd", "heevd");
    auto call = [&](int64_t i, std::vector<T>& work, std::vector<Real<T>>& reals, std::vector<int>& ints, bool ask) {
      auto length = [ask](auto& v) { return ask ? -1 : static_cast<int>(v.size()); };
      auto* to = values->data<Real<T>>() + i * a.rows;
      int* status = info->data<int>() + i;
      if constexpr (is_complex<T>)
        run(job, side, a.rows, a.at<T>(i), a.step(), to, work.data(), length(work), reals.data(), length(reals),
            ints.data(), length(ints), status);
      else
        run(job, side, a.rows, a.at<T>(i), a.step(), to, work.data(), length(work), ints.data(), length(ints), status);
    };
    std::vector<T> work(1);
    std::vector<Real<T>> reals(1);
    std::vector<int> ints(1);
    call(0, work, reals, ints, true);
    auto lengths = std::array{wanted(work[0]), wanted(reals[0]), std::max(ints[0], 1)};
    each_range(a.count, 9 * cube(a.rows), [&](int64_t first, int64_t last) {
      std::vector<T> w(static_cast<size_t>(lengths[0]));
      std::vector<Real<T>> r(static_cast<size_t>(lengths[1]));
      std::vector<int> n(static_cast<size_t>(lengths[2]));
      for (int64_t i = first; i < last; ++i) {
        if (all_finite(a.at<T>(i), a.size()))
          call(i, w, r, n, false);
        else
          info->data<int>()[i] = 1;  // the iteration would not end
      }
    });
  };
  if (a.has_work() && a.rows > 0) {
    with_type(dtype, solve);
  } else if (a.has_work()) {
    std::fill_n(info->data<int>(), a.count, 0);
  }
  outputs.emplace_back(values);
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(info);
}

// Eigenvectors of a real matrix: a pair of conjugate ones stands as its real and its imaginary part.
template <class T>
void join_pairs(const T* imaginary, const T* from, std::complex<T>* to, int64_t n) {
  for (int64_t j = 0; j < n; ++j) {
    const T* column = from + j * n;
    if (imaginary[j] == 0 || j + 1 == n) {
      for (int64_t i = 0; i < n; ++i) to[j * n + i] = column[i];
      continue;
    }
    for (int64_t i = 0; i < n; ++i) {
      to[j * n + i] = {column[i], column[n + i]};
      to[(j + 1) * n + i] = {column[i], -column[n + i]};
    }
    ++j;
  }
}

// The eigenvalues and right eigenvectors of one matrix after another, with the workspace of one thread.
template <class T>
class General {
  using Complex = std::complex<Real<T>>;

 public:
  General(DType dtype, bool vectors, int n)
      : run_(dtype, "geev"), job_(vectors ? 'V' : 'N'), n_(n), reals_(static_cast<size_t>(2 * n)) {
    if (!is_complex<T>) vectors_.resize(vectors ? static_cast<size_t>(n) * static_cast<size_t>(n) : 1);
    work_.resize(1);
    std::vector<Complex> none(static_cast<size_t>(n));
    call(nullptr, none.data(), nullptr, -1);
    work_.resize(static_cast<size_t>(wanted(work_[0])));
  }

  int operator()(T* a, Complex* values, Complex* vectors) {
    int info = call(a, values, vectors, static_cast<int>(work_.size()));
    if constexpr (!is_complex<T>) {
      for (int64_t i = 0; i < n_; ++i)
        values[i] = {reals_[static_cast<size_t>(i)], reals_[static_cast<size_t>(n_ + i)]};
      if (job_ == 'V') join_pairs(reals_.data() + n_, vectors_.data(), vectors, n_);
    }
    return info;
  }

 private:
  int call(T* a, Complex* values, [[maybe_unused]] Complex* vectors, int length) {
    int info = 0;
    T none{};
    if constexpr (is_complex<T>)
      run_('N', job_, n_, a, n_, values, &none, 1, vectors, n_, work_.data(), length, reals_.data(), &info);
    else
      run_('N', job_, n_, a, n_, reals_.data(), reals_.data() + n_, &none, 1, vectors_.data(), n_, work_.data(), length,
           &info);
    return info;
  }

  Routine run_;
  char job_;
  int n_;
  std::vector<Real<T>> reals_;
  std::vector<T> vectors_, work_;
};

// lapack_geev(A, vectors) -> (eigenvalues, eigenvectors, info), both complex
void geev(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_geev");
  Batch a = copy_of(c[0].tensor());
  DType dtype = a.tensor->dtype;
  bool vectors = c[1].as_bool();
  TensorRef values = new_vector(*a.tensor, a.rows, complex_of(dtype)), info = new_info(*a.tensor);
  Batch v = new_batch(*a.tensor, vectors ? a.rows : 0, vectors ? a.rows : 0, complex_of(dtype));
  auto solve = [&]<class T>(T) {
    using Complex = std::complex<Real<T>>;
    each_range(a.count, 25 * cube(a.rows), [&](int64_t first, int64_t last) {
      General<T> run(dtype, vectors, a.rows);
      for (int64_t i = first; i < last; ++i) {
        if (all_finite(a.at<T>(i), a.size())) {
          info->data<int>()[i] = run(a.at<T>(i), values->data<Complex>() + i * a.rows, v.at<Complex>(i));
        } else {
          std::fill_n(values->data<Complex>() + i * a.rows, a.rows, Complex(std::numeric_limits<Real<T>>::quiet_NaN()));
          std::fill_n(v.at<Complex>(i), v.size(), Complex(std::numeric_limits<Real<T>>::quiet_NaN()));
          info->data<int>()[i] = 0;
        }
      }
    });
  };
  if (a.has_work() && a.rows > 0) {
    Routine ready(dtype, "geev");  // the library is opened on this thread
    with_type(dtype, solve);
  } else if (a.has_work()) {
    std::fill_n(info->data<int>(), a.count, 0);
  }
  outputs.emplace_back(values);
  outputs.emplace_back(v.tensor);
  outputs.emplace_back(info);
}

void set_identity(const Batch& b) {
  with_type(b.tensor->dtype, [&]<class T>(T) {
    for (int64_t i = 0; i < b.count; ++i) {
      std::fill_n(b.at<T>(i), b.size(), T{});
      for (int64_t j = 0; j < std::min(b.rows, b.cols); ++j) b.at<T>(i)[j * (int64_t{b.rows} + 1)] = T(1);
    }
  });
}

// lapack_gesdd(A, full, vectors) -> (U, S, V^H, info)
void gesdd(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_gesdd");
  Batch a = copy_of(c[0].tensor());
  DType dtype = a.tensor->dtype;
  bool full = c[1].as_bool(), vectors = c[2].as_bool();
  int k = std::min(a.rows, a.cols);
  Batch u = new_batch(*a.tensor, vectors ? a.rows : 0, !vectors ? 0 : full ? a.rows : k, dtype);
  Batch vh = new_batch(*a.tensor, !vectors ? 0 : full ? a.cols : k, vectors ? a.cols : 0, dtype);
  TensorRef values = new_vector(*a.tensor, k, to_real(dtype)), info = new_info(*a.tensor);
  auto solve = [&]<class T>(T) {
    Routine run(dtype, "gesdd");
    char job = !vectors ? 'N' : full ? 'A' : 'S';
    int64_t wide = std::max(a.rows, a.cols);
    auto call = [&](int64_t i, T* work, int length, Real<T>* reals, int* ints) {
      auto* to = values->data<Real<T>>() + i * k;
      int* status = info->data<int>() + i;
      if constexpr (is_complex<T>)
        run(job, a.rows, a.cols, a.at<T>(i), a.step(), to, u.at<T>(i), u.step(), vh.at<T>(i), vh.step(), work, length,
            reals, ints, status);
      else
        run(job, a.rows, a.cols, a.at<T>(i), a.step(), to, u.at<T>(i), u.step(), vh.at<T>(i), vh.step(), work, length,
            ints, status);
    };
    T answer{};
    Real<T> real_answer{};
    int int_answer = 0;
    call(0, &answer, -1, &real_answer, &int_answer);
    int length = wanted(answer);
    auto real_length = is_complex<T> ? static_cast<size_t>(k * std::max(5 * int64_t{k} + 7, 2 * wide + 2 * k + 1)) : 1;
    each_range(a.count, 12.0 * static_cast<double>(a.size()) * k, [&](int64_t first, int64_t last) {
      std::vector<T> work(static_cast<size_t>(length));
      std::vector<Real<T>> reals(real_length);
      std::vector<int> ints(static_cast<size_t>(8 * k));
      for (int64_t i = first; i < last; ++i) {
        if (all_finite(a.at<T>(i), a.size()))
          call(i, work.data(), length, reals.data(), ints.data());
        else
          info->data<int>()[i] = -4;  // as the routine says of nan
      }
    });
  };
  if (a.has_work() && k > 0) {
    with_type(dtype, solve);
  } else if (a.has_work()) {
    std::fill_n(info->data<int>(), a.count, 0);
    set_identity(u);
    set_identity(vh);
  }
  outputs.emplace_back(u.tensor);
  outputs.emplace_back(values);
  outputs.emplace_back(vh.tensor);
  outputs.emplace_back(info);
}

// lapack_given(A, results...) -> results: what was computed for A elsewhere, now with A's history.
void given(const Call& c, Outputs& outputs) {
  size_t n = c.overload->returns.size(), first = 0;
  for (size_t i = 0; i < c.overload->params.size(); ++i)
    if (c.overload->params[i].name == "results") first = i;
  for (const TensorRef& t : c[static_cast<int>(first)].tensors()) {
    FL_CHECK(t && outputs.size() < n, ErrorKind::Runtime, "%s: expected %zu results", c.overload->name.c_str(), n);
    outputs.emplace_back(Tensor::make(t->storage, t->offset, t->sizes, t->strides, t->dtype));
  }
  FL_CHECK(outputs.size() == n, ErrorKind::Runtime, "%s: expected %zu results", c.overload->name.c_str(), n);
}

RegisterNative natives[] = {
    {"lapack_syevd", syevd}, {"lapack_geev", geev}, {"lapack_gesdd", gesdd}, {"lapack_given", given}};

}  // namespace
}  // namespace fl::lapack
