// Factorisations: Cholesky, LU, QR by reflections, LDL.
#include <algorithm>
#include <cmath>

#include "core/error.h"
#include "runtime/copy.h"
#include "runtime/lapack/batch.h"

namespace fl::lapack {
namespace {

enum class Keep { Upper, Lower };

// Zeros on the other side of the diagonal.
template <class T>
void keep_triangle(T* a, int rows, int cols, Keep side) {
  for (int64_t j = 0; j < cols; ++j) {
    T* column = a + j * rows;
    int64_t first = side == Keep::Upper ? std::min<int64_t>(j + 1, rows) : 0;
    int64_t last = side == Keep::Upper ? rows : std::min<int64_t>(j, rows);
    std::fill(column + first, column + last, T{});
  }
}

// lapack_potrf(A, upper) -> (L, info)
void potrf(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_potrf");
  Batch a = copy_of(c[0].tensor());
  bool upper = c[1].as_bool();
  TensorRef info = new_info(*a.tensor);
  if (a.has_work()) {
    with_type(a.tensor->dtype, [&]<class T>(T) {
      Routine run(a.tensor->dtype, "potrf");
      each_range(a.count, cube(a.rows) / 3, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          int* status = info->data<int>() + i;
          run(upper ? 'U' : 'L', a.rows, a.at<T>(i), a.step(), status);
          // A diagonal that is no number is not positive; the routine does not always say so.
          for (int64_t k = 0; *status == 0 && k < a.rows; ++k)
            if (std::isnan(std::real(a.at<T>(i)[k * (int64_t{a.rows} + 1)]))) *status = static_cast<int>(k) + 1;
          keep_triangle(a.at<T>(i), a.rows, a.cols, upper ? Keep::Upper : Keep::Lower);
        }
      });
    });
  }
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(info);
}

// lapack_potri(L, upper) -> (inverse, info)
void potri(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_potri");
  Batch a = copy_of(c[0].tensor());
  bool upper = c[1].as_bool();
  TensorRef info = new_info(*a.tensor);
  auto inverse = [&]<class T>(T) {
    Routine run(a.tensor->dtype, "potri");
    each_range(a.count, cube(a.rows), [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        T* x = a.at<T>(i);
        run(upper ? 'U' : 'L', a.rows, x, a.step(), info->data<int>() + i);
        for (int64_t row = 0; row < a.rows; ++row)
          for (int64_t col = 0; col < row; ++col) {
            T &below = x[row + col * a.rows], &above = x[col + row * a.rows];
            T& to = upper ? below : above;
            to = upper ? above : below;
            if constexpr (is_complex<T>) to = std::conj(to);
          }
      }
    });
  };
  if (a.has_work()) with_type(a.tensor->dtype, inverse);
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(info);
}

// lapack_getrf(A) -> (LU, pivots, info)
void getrf(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_getrf");
  Batch a = copy_of(c[0].tensor());
  int k = std::min(a.rows, a.cols);
  TensorRef pivots = new_vector(*a.tensor, k, DType::I32), info = new_info(*a.tensor);
  if (a.has_work()) {
    with_type(a.tensor->dtype, [&]<class T>(T) {
      Routine run(a.tensor->dtype, "getrf");
      each_range(a.count, static_cast<double>(a.size()) * k, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          int* to = pivots->data<int>() + i * k;
          run(a.rows, a.cols, a.at<T>(i), a.step(), to, info->data<int>() + i);
        }
      });
    });
  }
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(pivots);
  outputs.emplace_back(info);
}

// lapack_geqrf(A) -> (reflections and R, tau)
void geqrf(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_geqrf");
  Batch a = copy_of(c[0].tensor());
  int k = std::min(a.rows, a.cols);
  TensorRef tau = new_vector(*a.tensor, k, a.tensor->dtype);
  auto factor = [&]<class T>(T) {
    Routine run(a.tensor->dtype, "geqrf");
    T answer{};
    int status = 0;
    run(a.rows, a.cols, a.at<T>(0), a.step(), tau->data<T>(), &answer, -1, &status);
    int length = wanted(answer);
    each_range(a.count, 2.0 * static_cast<double>(a.size()) * k, [&](int64_t first, int64_t last) {
      std::vector<T> work(static_cast<size_t>(length));
      int info = 0;
      for (int64_t i = first; i < last; ++i)
        run(a.rows, a.cols, a.at<T>(i), a.step(), tau->data<T>() + i * k, work.data(), length, &info);
    });
  };
  if (a.has_work() && k > 0) with_type(a.tensor->dtype, factor);
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(tau);
}

// lapack_orgqr(A, tau) -> Q: the first columns of the product of reflections, as many as A has
void orgqr(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_orgqr");
  Batch a = copy_of(c[0].tensor());
  TensorRef tau = contiguous_tensor(c[1].tensor());
  int k = tau->dim() ? static_cast<int>(tau->sizes[tau->dim() - 1]) : 0;
  check_shape(*tau, *a.tensor, {k}, a.tensor->dtype, "lapack_orgqr");
  FL_CHECK(a.cols <= a.rows && k <= a.cols, ErrorKind::Runtime, "lapack_orgqr: more reflections than columns");
  auto expand = [&]<class T>(T) {
    Routine run(a.tensor->dtype, "orgqr", "ungqr");
    T answer{};
    int status = 0;
    run(a.rows, a.cols, k, a.at<T>(0), a.step(), tau->data<T>(), &answer, -1, &status);
    int length = wanted(answer);
    each_range(a.count, 2.0 * static_cast<double>(a.size()) * a.cols, [&](int64_t first, int64_t last) {
      std::vector<T> work(static_cast<size_t>(length));
      int info = 0;
      for (int64_t i = first; i < last; ++i)
        run(a.rows, a.cols, k, a.at<T>(i), a.step(), tau->data<T>() + i * k, work.data(), length, &info);
    });
  };
  if (a.has_work() && a.cols > 0) with_type(a.tensor->dtype, expand);
  outputs.emplace_back(a.tensor);
}

// lapack_ormqr(A, tau, C, left, transpose) -> Q C, C Q and their like; Q is not made
void ormqr(const Call& c, Outputs& outputs) {
  check_matrices(*c[0].tensor(), "lapack_ormqr");
  check_matrices(*c[2].tensor(), "lapack_ormqr");
  Batch a = columns_of(c[0].tensor()), product = copy_of(c[2].tensor());
  TensorRef tau = contiguous_tensor(c[1].tensor());
  bool left = c[3].as_bool(), transpose = c[4].as_bool();
  int k = tau->dim() ? static_cast<int>(tau->sizes[tau->dim() - 1]) : 0;
  DType dtype = a.tensor->dtype;
  check_shape(*tau, *a.tensor, {k}, dtype, "lapack_ormqr");
  check_shape(*product.tensor, *a.tensor, {product.rows, product.cols}, dtype, "lapack_ormqr");
  FL_CHECK((left ? product.rows : product.cols) == a.rows && k <= a.rows && k <= a.cols, ErrorKind::Runtime,
           "lapack_ormqr: the reflections do not fit the matrix");
  auto multiply = [&]<class T>(T) {
    Routine run(dtype, "ormqr", "unmqr");
    char side = left ? 'L' : 'R', form = !transpose ? 'N' : is_complex<T> ? 'C' : 'T';
    T answer{};
    int status = 0;
    run(side, form, product.rows, product.cols, k, a.at<T>(0), a.step(), tau->data<T>(), product.at<T>(0),
        product.step(), &answer, -1, &status);
    int length = wanted(answer);
    each_range(a.count, 2.0 * static_cast<double>(product.size()) * k, [&](int64_t first, int64_t last) {
      std::vector<T> work(static_cast<size_t>(length));
      int info = 0;
      for (int64_t i = first; i < last; ++i)
        run(side, form, product.rows, product.cols, k, a.at<T>(i), a.step(), tau->data<T>() + i * k, product.at<T>(i),
            product.step(), work.data(), length, &info);
    });
  };
  if (product.has_work() && product.size() > 0 && k > 0) with_type(dtype, multiply);
  outputs.emplace_back(product.tensor);
}

// lapack_sytrf(A, hermitian) -> (LD, pivots, info), of the lower triangle
void sytrf(const Call& c, Outputs& outputs) {
  check_square(*c[0].tensor(), "lapack_sytrf");
  Batch a = copy_of(c[0].tensor());
  DType dtype = a.tensor->dtype;
  TensorRef pivots = new_vector(*a.tensor, a.rows, DType::I32), info = new_info(*a.tensor);
  auto factor = [&]<class T>(T) {
    Routine run(dtype, "sytrf", c[1].as_bool() ? "hetrf" : nullptr);
    T answer{};
    int* status = info->data<int>();
    run('L', a.rows, a.at<T>(0), a.step(), pivots->data<int>(), &answer, -1, status);
    int length = wanted(answer);
    each_range(a.count, cube(a.rows) / 3, [&](int64_t first, int64_t last) {
      std::vector<T> work(static_cast<size_t>(length));
      for (int64_t i = first; i < last; ++i) {
        int* to = pivots->data<int>() + i * a.rows;
        run('L', a.rows, a.at<T>(i), a.step(), to, work.data(), length, status + i);
        keep_triangle(a.at<T>(i), a.rows, a.cols, Keep::Lower);
      }
    });
  };
  if (a.has_work()) with_type(dtype, factor);
  outputs.emplace_back(a.tensor);
  outputs.emplace_back(pivots);
  outputs.emplace_back(info);
}

// lapack_permutation(pivots, n) -> indices: row i of P^T A is row indices[i] of A. Raises where a pivot is no row.
void permutation(const Call& c, Outputs& outputs) {
  FL_CHECK(c[0].tensor()->dim() >= 1 && c[0].tensor()->dtype == DType::I32 && c[1].as_int() >= 0, ErrorKind::Runtime,
           "lapack_permutation: expected vectors of int32");
  TensorRef pivots = contiguous_tensor(c[0].tensor());
  int64_t n = c[1].as_int(), k = pivots->sizes[pivots->dim() - 1];
  Dims sizes = batch_dims(*pivots, 1);
  sizes.push_back(n);
  TensorRef order = Tensor::empty(sizes, DType::I64, pivots->device());
  int64_t count = k == 0 || pivots->is_meta() ? 0 : pivots->numel() / k;
  const int* from = pivots->data<int>();
  FL_CHECK(std::all_of(from, from + count * k, [n](int p) { return p >= 1 && p <= n; }) && (k <= n || count == 0),
           ErrorKind::Runtime, "pivots must lie between 1 and the number of rows");
  if (!pivots->is_meta()) {
    int64_t* to = order->data<int64_t>();
    for (int64_t i = 0; i < order->numel(); ++i) to[i] = i % n;
    for (int64_t b = 0; b < count; ++b)
      for (int64_t i = 0; i < k; ++i) std::swap(to[b * n + i], to[b * n + from[b * k + i] - 1]);
  }
  outputs.emplace_back(order);
}

RegisterNative natives[] = {
    {"lapack_potrf", potrf}, {"lapack_potri", potri}, {"lapack_getrf", getrf}, {"lapack_geqrf", geqrf},
    {"lapack_orgqr", orgqr}, {"lapack_ormqr", ormqr}, {"lapack_sytrf", sytrf}, {"lapack_permutation", permutation}};

}  // namespace
}  // namespace fl::lapack
