"""Decompositions, solvers, norms, products of matrices."""

from functools import partial

import flambeau as torch
from cases.make import Case, Fixed, Maker, case, quietly, seeded

SIZES = ((3, 3), (2, 2, 2))


def adjoint(a):
    return a.mH if a.is_complex() else a.mT


def hermitian(f, a, *rest, **options):
    """The function of the Hermitian part: of a matrix that is its own adjoint however it is changed."""
    return f((a + adjoint(a)) / 2, *rest, **options)


def last_hermitian(f, b, a, **options):
    return f(b, (a + adjoint(a)) / 2, **options)


def _square(s: Maker, **options) -> list[Case]:
    return [case(s.good(*shape), **options) for shape in SIZES]


def _empty(s: Maker) -> Case:
    return case(s.x(2, 0, 0))


def _definite(s: Maker, **options) -> list[Case]:
    return [case(s.definite(*shape), call=hermitian, **options) for shape in SIZES]


def _hermitian(s: Maker, *args, call=hermitian) -> list[Case]:
    return [case(s.hermitian(*shape), *args, call=call) for shape in SIZES]


def _phaseless(f, a, *rest, **options):
    """Vectors are unique up to a phase: the projections on them."""
    values, vectors = f((a + adjoint(a)) / 2, *rest, **options)
    return values, vectors.unsqueeze(-2) * vectors.conj().unsqueeze(-3)


def _eig_phaseless(f, a):
    values, vectors = f(a)
    return values, vectors.unsqueeze(-2) * vectors.conj().unsqueeze(-3)


def _svd_parts(f, a, *rest, **options):
    u, s, v = f(a, *rest, **options)
    k = s.shape[-1]
    if v.shape[-2] == a.shape[-1] and f.__name__ in ("svd", "svd_lowrank", "pca_lowrank"):
        v = adjoint(v)
    return s, u[..., :, :k].unsqueeze(-2) * v[..., :k, :].transpose(-1, -2).unsqueeze(-3)


def _factors(s: Maker) -> list[Case]:
    return [case(s.good(3, 3)), case(s.tall(4, 2)), case(s.tall(2, 3)), case(s.good(2, 2, 2))]


def _solve(s: Maker) -> list[Case]:
    return [
        case(s.good(3, 3), s.x(3, 2)), case(s.good(3, 3), s.x(3)), case(s.good(2, 2, 2), s.x(2, 2, 1)),
        case(s.good(2, 2), s.x(3, 2), left=False),
    ]  # fmt: skip


def _triangular(f, a, b, **options):
    return f(a.triu() if options["upper"] else a.tril(), b, **options)


def _lu_solved(f, a, b, **options):
    lu, pivots = torch.linalg.lu_factor(a)
    return f(lu, pivots, b, **options)


def _old_lu_solved(f, b, a):
    return f(b, *torch.linalg.lu_factor(a))


def _unpacked(f, a, **options):
    return f(*torch.linalg.lu_factor(a), **options)


def _of_factor(f, a, **options):
    return f(torch.linalg.cholesky((a + adjoint(a)) / 2, **options), **options)


def _second_lower(f, b, a, **options):
    return f(b, a.triu() if options.get("upper") else a.tril(), **options)


def _ldl_solved(f, a, b, **options):
    ld, pivots = torch.linalg.ldl_factor((a + (adjoint(a) if options.get("hermitian") else a.mT)) / 2, **options)
    return f(ld, pivots, b, **options)


def _matrix_norms(s: Maker) -> list[Case]:
    return [
        case(s.tall(3, 2)), case(s.tall(3, 2), "nuc"), case(s.tall(2, 3, 2), 2), case(s.tall(3, 2), -2),
        case(s.tall(3, 2), 1), case(s.tall(3, 2), float("inf")), case(s.tall(3, 2), -1, keepdim=True),
        case(s.tall(2, 3, 2), "fro", (0, 2)),
    ]  # fmt: skip


def _vector_norms(s: Maker) -> list[Case]:
    return [
        case(s.away(2, 3)), case(s.away(2, 3), 3, 1), case(s.away(4), 1), case(s.away(2, 3), float("inf"), 0),
        case(s.away(2, 3), 0.5, (0, 1), True), case(s.away(2, 3), float("-inf")), case(s.away(3), 0, call=_plus_first),
    ]  # fmt: skip


def _plus_first(f, x, *rest):
    """The number of elements that are not zero has no gradient of its own."""
    return f(x, *rest) + x.abs().sum()


def _low_rank(f, a, *rest, **options):
    return seeded(partial(_svd_parts, f), a, *rest, **options)


def _smallest(f, a, *rest, **options):
    values, vectors = seeded(f, (a + a.mT) / 2, *rest, **options)
    return values, vectors.unsqueeze(-2) * vectors.unsqueeze(-3)


def _least(f, a, b, **options):
    return f(a, b, **options)[0]


_low_rank.draws = _smallest.draws = True  # type: ignore[attr-defined]

CASES = {
    "linalg_solve_triangular": lambda s: [
        case(s.good(3, 3), s.x(3, 2), upper=True, call=_triangular),
        case(s.good(2, 2, 2), s.x(2, 2, 1), upper=False, call=_triangular),
        case(s.good(2, 2), s.x(3, 2), upper=True, left=False, call=_triangular),
        case(s.good(2, 2), s.x(2, 2), upper=False, unitriangular=True, call=_triangular),
    ],
    "triangular_solve": lambda s: [
        case(s.x(3, 2), s.good(3, 3)), case(s.x(2, 2, 1), s.good(2, 2, 2), upper=False),
        case(s.x(2, 2), s.good(2, 2), transpose=True), case(s.x(2, 1), s.good(2, 2), unitriangular=True),
    ],
    "linalg_lu_factor_ex": _factors,
    "linalg_lu_factor": _factors,
    "linalg_lu": _factors,
    "lu": lambda s: [*_square(s), case(s.good(2, 2), get_infos=True)],
    "lu_unpack": lambda s: [case(a, call=_unpacked) for a in (s.good(3, 3), s.tall(4, 2), s.tall(2, 3))],
    "linalg_lu_solve": lambda s: [
        case(s.good(3, 3), s.x(3, 2), call=_lu_solved), case(s.good(2, 2, 2), s.x(2, 2, 1), call=_lu_solved),
        case(s.good(2, 2), s.x(3, 2), left=False, call=_lu_solved),
        case(s.good(2, 2), s.x(2, 3), adjoint=True, call=_lu_solved),
    ],
    "lu_solve": lambda s: [case(s.x(3, 2), s.good(3, 3), call=_old_lu_solved)],
    "linalg_multi_dot": lambda s: [
        case([s.x(2, 3), s.x(3, 2), s.x(2, 4)]), case([s.x(3), s.x(3, 2), s.x(2)]), case([s.x(2, 1), s.x(1, 3)]),
    ],
    "chain_matmul": lambda s: [case(s.x(2, 3), s.x(3, 2), s.x(2, 4), call=quietly)],
    "linalg_cross": lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(3, 2), s.x(3, 1), dim=0)],
    "cross": lambda s: [case(s.x(2, 3), s.x(2, 3), 1), case(s.x(3, 2), s.x(3, 2), dim=0)],
    "linalg_vecdot": lambda s: [case(s.x(2, 3), s.x(2, 3)), case(s.x(3, 2), s.x(2), dim=0), case(s.x(0), s.x(0))],
    "linalg_diagonal": lambda s: [case(s.x(3, 3)), case(s.x(2, 3, 4), offset=1), case(s.x(2, 3), dim1=0, dim2=1)],
    "linalg_vander": lambda s: [case(s.x(3)), case(s.x(2, 2), N=4)],
    "vander": lambda s: [case(s.x(3)), case(s.x(3), 4), case(s.x(2), increasing=True)],
    "linalg_solve_ex": _solve,
    "linalg_solve": _solve,
    "linalg_inv_ex": lambda s: [*_square(s), _empty(s)],
    "linalg_inv": lambda s: [*_square(s), _empty(s)],
    "inverse": _square,
    "linalg_tensorinv": lambda s: [case(s.good(4, 4).reshape(2, 2, 4), 2), case(s.good(4, 4).reshape(4, 2, 2), 1)],
    "linalg_tensorsolve": lambda s: [case(s.good(4, 4).reshape(2, 2, 4), s.x(2, 2))],
    "linalg_det": lambda s: [*_square(s), _empty(s), case(s.good(1, 1))],
    "det": _square,
    "linalg_slogdet": _square,
    "slogdet": _square,
    "logdet": lambda s: _definite(s),
    "linalg_cholesky_ex": lambda s: [*_definite(s), *_definite(s, upper=True)],
    "linalg_cholesky": lambda s: [*_definite(s), *_definite(s, upper=True)],
    "cholesky": lambda s: [*_definite(s), *_definite(s, upper=True)],
    "cholesky_inverse": lambda s: [
        case(s.definite(3, 3), call=_of_factor), case(s.definite(2, 2, 2), upper=True, call=_of_factor),
    ],
    "cholesky_solve": lambda s: [
        case(s.x(3, 2), s.good(3, 3), call=_second_lower), case(s.x(2, 2, 1), s.good(2, 2), call=_second_lower),
        case(s.x(2, 1), s.good(2, 2), upper=True, call=_second_lower),
    ],
    "linalg_ldl_factor_ex": lambda s: _hermitian(s),
    "linalg_ldl_factor": lambda s: _hermitian(s),
    "linalg_ldl_solve": lambda s: [case(s.good(3, 3), s.x(3, 2), call=_ldl_solved)],
    "linalg_lstsq": lambda s: [
        case(s.tall(4, 2), s.x(4, 3), call=_least), case(s.tall(2, 3, 2), s.x(2, 3, 1), call=_least),
        case(s.good(2, 2), s.x(2, 2), call=_least), case(s.tall(2, 4), s.x(2, 1), call=_least),
    ],
    "svd_lowrank": lambda s: [case(s.tall(4, 3), 3, call=_low_rank)],
    "pca_lowrank": lambda s: [case(s.tall(4, 3), 3, center=False, call=_low_rank)] if s.real else [],
    "lobpcg": lambda s: [case(s.definite(9, 9) * 1.0, 1, call=_smallest, niter=60, tol=1e-12)] if s.real else [],
    "linalg_qr": lambda s: [
        case(s.good(3, 3)), case(s.tall(4, 2)), case(s.good(2, 2, 2)), case(s.good(2, 2), "complete"),
    ],
    "qr": lambda s: [case(s.good(3, 3)), case(s.tall(4, 2))],
    "geqrf": lambda s: [case(s.good(3, 3)), case(s.tall(4, 2))],
    "linalg_householder_product": lambda s: [case(s.x(4, 3), s.x(3)), case(s.x(2, 3, 2), s.x(2, 2))],
    "orgqr": lambda s: [case(s.x(4, 3), s.x(3))],
    "ormqr": lambda s: [
        case(s.x(4, 3), s.x(3), s.x(4, 2)), case(s.x(3, 2), s.x(2), s.x(2, 3), False),
        case(s.x(3, 2), s.x(2), s.x(3, 2), True, True),
    ],
    "linalg_svd": lambda s: [
        case(s.good(3, 3), call=_svd_parts), case(s.tall(4, 2), False, call=_svd_parts),
        case(s.tall(2, 2, 2), full_matrices=False, call=_svd_parts),
    ],
    "linalg_svdvals": _factors,
    "svd": lambda s: [case(s.good(3, 3), call=_svd_parts), case(s.tall(4, 2), call=_svd_parts)],
    "linalg_pinv.atol_rtol_tensor": lambda s: [*_factors(s), case(s.hermitian(3, 3), hermitian=True, call=hermitian)],
    "linalg_pinv.atol_rtol_float": lambda s: [case(s.tall(4, 2), atol=0.01, rtol=0.001)],
    "linalg_pinv.rcond": lambda s: [case(s.tall(4, 2), 1e-10)],
    "linalg_pinv.rcond_tensor": lambda s: [case(s.tall(4, 2), Fixed(s.within(0.01, 0.02)))],
    "pinverse": _factors,
    "linalg_cond": lambda s: [case(s.good(3, 3)), case(s.good(2, 2, 2), 1), case(s.good(3, 3), "fro"), case(s.tall(4, 2), -2)],
    "linalg_matrix_power": lambda s: [case(s.good(3, 3), n) for n in (0, 1, 2, 5, -2)],
    "matrix_power": lambda s: [case(s.good(2, 2, 2), n) for n in (3, -1)],
    "linalg_matrix_exp": _square,
    "matrix_exp": lambda s: [*_square(s), case(s.x(1, 1))],
    "linalg_eigh": lambda s: [
        *_hermitian(s, call=_phaseless), *_hermitian(s, "U", call=_phaseless),
    ],
    "linalg_eigvalsh": lambda s: _hermitian(s),
    "linalg_eig": lambda s: _hermitian_free(s),
    "linalg_eigvals": _square,
    "linalg_vector_norm": _vector_norms,
    "linalg_matrix_norm": _matrix_norms,
    "linalg_norm": lambda s: [case(s.away(2, 3)), case(s.tall(3, 2), "nuc"), case(s.away(4), 3), case(s.tall(3, 2), 2, (0, 1))],
    "norm": lambda s: [
        case(s.away(2, 3)), case(s.away(2, 3), 2, 1), case(s.tall(3, 2), "nuc"), case(s.away(2, 3), 1, (0, 1), True),
    ],
    "pdist": lambda s: [case(s.x(3, 2)), case(s.x(4, 2), 3.0)] if s.real else [],
    "cdist": lambda s: [
        case(s.x(3, 2), s.x(4, 2)), case(s.x(2, 3, 2), s.x(2, 2, 2), 1.0), case(s.x(3, 2), s.x(2, 2), 3.0),
        case(s.x(3, 2), s.x(2, 2), float("inf")),
    ] if s.real else [],
}  # fmt: skip


def _hermitian_free(s: Maker) -> list[Case]:
    return [case(s.good(*shape), call=_eig_phaseless) for shape in SIZES]
