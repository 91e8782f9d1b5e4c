"""What has no gradient: factories, comparisons of sets, counts, positions, random numbers."""

import numpy as np

from cases.make import Case, Fixed, Maker, case, drawn_in_place, seeded


def _shape_only(f, *args, **options):
    """Elements are not set."""
    return f(*args, **options) * 0


def _real(cases):
    return lambda s: cases(s) if s.real else []


def _bins(s: Maker) -> np.ndarray:
    return np.linspace(-2, 2, 6)


def _degree(s: Maker) -> list[Case]:
    return [case(s.x(2, 3), s.integers(0, 5, 3)), case(s.x(3), 2)] if s.real else []


POLYNOMIALS = (
    "chebyshev_polynomial_t", "chebyshev_polynomial_u", "chebyshev_polynomial_v", "chebyshev_polynomial_w",
    "shifted_chebyshev_polynomial_t", "shifted_chebyshev_polynomial_u", "shifted_chebyshev_polynomial_v",
    "shifted_chebyshev_polynomial_w", "hermite_polynomial_h", "hermite_polynomial_he", "laguerre_polynomial_l",
    "legendre_polynomial_p",
)  # fmt: skip

WINDOWS = (
    *((n, "", ()) for n in ("hann", "hamming", "blackman", "bartlett", "kaiser")),
    *((n, ".periodic", (False,)) for n in ("hann", "hamming", "blackman", "bartlett", "kaiser")),
    ("hamming", ".alpha", (True, 0.5)), ("hamming", ".beta", (True, 0.5, 0.4)), ("kaiser", ".beta", (True, 8.0)),
)  # fmt: skip

CASES = {
    "empty_like": lambda s: [case(s.x(2, 3), call=_shape_only)],
    "zeros_like": lambda s: [case(s.x(2, 3)), case(s.x())],
    "ones_like": lambda s: [case(s.x(2, 3))],
    "full_like": lambda s: [case(s.x(2, 3), 1.5)],
    "new_empty": lambda s: [case(s.x(2), (2, 3), call=_shape_only)],
    "new_zeros": lambda s: [case(s.x(2), (2, 3))],
    "new_ones": lambda s: [case(s.x(2), (2, 3))],
    "new_full": lambda s: [case(s.x(2), (2, 3), 1.5)],
    "new_empty_strided": lambda s: [case(s.x(2), (2, 3), (3, 1), call=_shape_only)],
    "empty": lambda s: [case((2, 3), call=_shape_only)],
    "empty_strided": lambda s: [case((2, 3), (3, 1), call=_shape_only)],
    "empty_permuted": lambda s: [case((2, 3), (0, 1), call=_shape_only)],
    "zeros": lambda s: [case((2, 3))],
    "ones": lambda s: [case((2, 3))],
    "full": lambda s: [case((2, 3), 1.5)],
    "scalar_tensor": lambda s: [case(1.5)],
    "arange": lambda s: [case(5)],
    "arange.start_step": lambda s: [case(1, 5, 2)],
    "range": lambda s: [],
    "linspace": lambda s: [case(0, 1, 5)],
    "logspace": lambda s: [case(0, 1, 5)],
    "linspace.Tensor_Tensor": lambda s: [case(Fixed(s.within(0, 1)), Fixed(s.within(2, 3)), 4)],
    "linspace.Tensor_Scalar": lambda s: [case(Fixed(s.within(0, 1)), 2, 4)],
    "linspace.Scalar_Tensor": lambda s: [case(0, Fixed(s.within(2, 3)), 4)],
    "logspace.Tensor_Tensor": lambda s: [case(Fixed(s.within(0, 1)), Fixed(s.within(2, 3)), 4)],
    "logspace.Tensor_Scalar": lambda s: [case(Fixed(s.within(0, 1)), 2, 4)],
    "logspace.Scalar_Tensor": lambda s: [case(0, Fixed(s.within(2, 3)), 4)],
    "eye.m": lambda s: [case(3), case(2, 3)],
    "tril_indices": lambda s: [case(3, 3)],
    "triu_indices": lambda s: [case(3, 3)],
    "searchsorted.Tensor": _real(lambda s: [case(np.sort(s.x(2, 5)), s.x(2, 3)), case(np.sort(s.x(5)), s.x(3), right=True)]),
    "searchsorted.Scalar": _real(lambda s: [case(np.sort(s.x(5)), 0.5)]),
    "bucketize.Tensor": _real(lambda s: [case(s.x(2, 3), _bins(s)), case(s.x(3), _bins(s), right=True)]),
    "bucketize.Scalar": _real(lambda s: [case(0.5, np.sort(s.x(5)))]),
    "isin.Tensor_Tensor": _real(lambda s: [case(s.integers(0, 9, 2, 3), s.integers(0, 9, 4)), case(s.integers(0, 9, 4), s.integers(0, 9, 2), invert=True)]),
    "isin.Tensor_Scalar": _real(lambda s: [case(s.integers(0, 9, 2, 3), 3)]),
    "isin.Scalar_Tensor": _real(lambda s: [case(3, s.integers(0, 9, 5))]),
    "histc": _real(lambda s: [case(s.x(8), 4, -2, 2)]),
    "histogram.bin_ct": _real(lambda s: [case(s.x(8), 4, range=(-2.0, 2.0))]),
    "histogram.bins_tensor": _real(lambda s: [case(s.x(8), Fixed(_bins(s)))]),
    "histogramdd": _real(lambda s: [case(s.x(8, 2), [2, 3], range=(-2.0, 2.0, -2.0, 2.0))]),
    "unravel_index": lambda s: [case(s.integers(0, 6, 4), (2, 3))],
    "one_hot": lambda s: [case(s.integers(0, 3, 2, 2), 3)],
    "linalg_matrix_rank.atol_rtol_tensor": lambda s: [case(s.good(3, 3)), case(s.good(2, 2, 2))],
    "linalg_matrix_rank.atol_rtol_float": lambda s: [case(s.good(3, 3), atol=0.1, rtol=0.1)],
    "linalg_matrix_rank.tol": lambda s: [case(s.good(3, 3), 0.1)],
    "argsort.stable": _real(lambda s: [case(s.distinct(2, 3), stable=True, dim=0)]),
    "masked_argmax": _real(lambda s: [case(s.distinct(2, 3), 1, mask=Fixed(np.array([True, False, True])))]),
    "masked_argmin": _real(lambda s: [case(s.distinct(2, 3), 1)]),
    "isclose": lambda s: [case(s.x(2, 3), s.x(3))],
    "repeat_interleave.Tensor": lambda s: [case(Fixed(s.integers(1, 3, 3)))],
    "nonzero_static": lambda s: [case(s.mask(2, 3), size=4)],
    "linalg_matrix_rank.tol_tensor": lambda s: [case(s.good(3, 3), Fixed(np.array(0.1)))],
    "histogramdd.int_bins": _real(lambda s: [case(s.x(8, 2), 3, range=(-2.0, 2.0, -2.0, 2.0))]),
    "histogramdd.TensorList_bins": _real(lambda s: [case(s.x(8, 2), [Fixed(_bins(s)), Fixed(_bins(s))])]),
    "fft_fftfreq": lambda s: [case(5)],
    "fft_rfftfreq": lambda s: [case(5)],
    "nonzero": lambda s: [case(Fixed(s.mask(2, 3)))],
    "argwhere": lambda s: [case(Fixed(s.mask(2, 3)))],
    "where.positions": lambda s: [case(Fixed(s.mask(2, 3)))],
    "bincount": lambda s: [case(s.integers(0, 4, 6), minlength=4)],
    "unique": lambda s: [case(Fixed(s.integers(0, 4, 6)))],
    "unique_consecutive": lambda s: [case(Fixed(s.integers(0, 4, 6)))],
    **{f"{n}_window{k}": lambda s, a=a: [case(5, *a)] for n, k, a in WINDOWS},
    **{f"special_{name}": _degree for name in POLYNOMIALS},
    # random
    "rand": lambda s: [case((2, 3), call=seeded)],
    "randn": lambda s: [case((2, 3), call=seeded)],
    "rand_like": lambda s: [case(s.x(2, 3), call=seeded)] if s.real else [],
    "randn_like": lambda s: [case(s.x(2, 3), call=seeded)],
    "randint_like": _real(lambda s: [case(s.x(2, 3), 9, call=seeded)]),
    "randint_like.low": _real(lambda s: [case(s.x(2, 3), 2, 9, call=seeded)]),
    "randint": lambda s: [case(9, (2, 3), call=seeded)],
    "randint.low": lambda s: [case(2, 9, (2, 3), call=seeded)],
    "randperm": lambda s: [case(5, call=seeded)],
    "uniform_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "normal_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "exponential_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "geometric_": _real(lambda s: [case(s.x(2, 3), 0.5, call=drawn_in_place)]),
    "cauchy_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "log_normal_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "random_": _real(lambda s: [case(s.x(2, 3), call=drawn_in_place)]),
    "random_.to": _real(lambda s: [case(s.x(2, 3), 9, call=drawn_in_place)]),
    "random_.from": _real(lambda s: [case(s.x(2, 3), 2, 9, call=drawn_in_place)]),
    "bernoulli_.float": _real(lambda s: [case(s.x(2, 3), 0.4, call=drawn_in_place)]),
    "bernoulli_.Tensor": _real(lambda s: [case(s.x(2, 3), s.within(0.1, 0.9, 2, 3), call=drawn_in_place)]),
    "bernoulli": _real(lambda s: [case(s.within(0.1, 0.9, 2, 3), call=seeded)]),
    "bernoulli.p": _real(lambda s: [case(s.x(2, 3), 0.4, call=seeded)]),
    "normal.Tensor_Tensor": _real(lambda s: [case(s.x(2, 3), s.positive(3), call=seeded)]),
    "normal.Tensor_float": _real(lambda s: [case(s.x(2, 3), 1.5, call=seeded)]),
    "normal.float_Tensor": _real(lambda s: [case(0.5, s.positive(3), call=seeded)]),
    "normal.float_float": lambda s: [case(0.5, 1.5, (2, 3), call=seeded)],
    "poisson": _real(lambda s: [case(s.positive(2, 3), call=seeded)]),
    "binomial": _real(lambda s: [case(s.integers(4, 9, 2, 3).astype(float), s.within(0.1, 0.9, 2, 3), call=seeded)]),
    "_standard_gamma": _real(lambda s: [case(s.positive(2, 3), call=seeded)]),
    "_sample_dirichlet": _real(lambda s: [case(s.positive(2, 3), call=seeded)]),
    "_standard_gamma_grad": _real(lambda s: [case(s.positive(2, 3), s.positive(2, 3))]),
    "_dirichlet_grad": _real(lambda s: [case(s.within(0.1, 0.9, 2, 3), s.positive(2, 3), s.positive(2, 3) + 3)]),
    "multinomial": _real(lambda s: [case(s.positive(2, 4), 2, call=seeded), case(s.positive(4), 3, True, call=seeded)]),
}  # fmt: skip
