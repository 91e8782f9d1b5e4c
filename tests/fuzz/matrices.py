"""Arguments of linear algebra: square, symmetric, triangular and factored matrices with right-hand sides that fit."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import flambeau as torch

if TYPE_CHECKING:
    from fuzz.draw import Draw

KINDS = (torch.float32, torch.float64, torch.float64, torch.complex64, torch.complex128)


def _lead(d: Draw) -> list[int]:
    return d.sizes(d.rng.choice((0, 0, 0, 1, 1, 2)), 0, 3)


def _square(d: Draw, lead: list[int], n: int) -> torch.Tensor:
    """Far from singular, mostly."""
    a = d.x(*lead, n, n, of=KINDS)
    return a if d.chance(0.2) else a + 9 * torch.eye(n, dtype=a.dtype)


def _definite(d: Draw, lead: list[int], n: int) -> torch.Tensor:
    a = d.x(*lead, n, n, of=KINDS)
    return a @ a.mH + torch.eye(n, dtype=a.dtype)


def square(d: Draw) -> tuple:
    a = _square(d, _lead(d), d.rng.randint(0, 6))
    return (a, d.rng.randint(-3, 5)) if "power" in d.name else (a,)


def symmetric(d: Draw) -> tuple:
    a = _definite(d, _lead(d), d.rng.randint(0, 6))
    words = {"linalg_eigh": (d.rng.choice("LU"),), "linalg_eigvalsh": (d.rng.choice("LU"),)}
    return a, *words.get(d.name, (d.some(upper=True),) if "cholesky" in d.name else ())


def solve(d: Draw) -> tuple:
    lead, (n, k) = _lead(d), d.sizes(2, 0, 5)
    a = _square(d, lead, n)
    b = d.x(*lead, n, k)
    if d.name == "triangular_solve":
        return b, a, d.chance(0.5), d.chance(0.5), d.chance(0.5)
    if d.name == "linalg_solve_triangular":
        return a, b, {"upper": d.chance(0.5), **d.some(unitriangular=True)}
    return a, b


def factored(d: Draw) -> tuple:
    """Solvers that take what a factorization gave."""
    lead, (n, k) = _lead(d), d.sizes(2, 1, 5)
    a = d.ordinary(*lead, n, n, of=KINDS)
    a = a @ a.mH + torch.eye(n, dtype=a.dtype)
    b = d.x(*lead, n, k)
    if d.name.startswith("cholesky"):
        factor = torch.linalg.cholesky(a)
        return (factor,) if d.name == "cholesky_inverse" else (b, factor)
    if d.name == "linalg_ldl_solve":
        return *torch.linalg.ldl_factor(a), b
    lu, pivots = torch.linalg.lu_factor(a)
    if d.chance(0.05):
        pivots = pivots + d.rng.choice((-9, 9, 1 << 30))
    return {"lu_unpack": (lu, pivots), "lu_solve": (b, lu, pivots)}.get(d.name, (lu, pivots, b))


def reflectors(d: Draw) -> tuple:
    lead, columns, more = _lead(d), d.rng.randint(0, 4), d.rng.randint(0, 3)
    a = d.x(*lead, columns + more, columns, of=KINDS)
    tau = d.x(*lead, d.rng.randint(0, columns))
    if d.name != "ormqr":
        return a, tau
    return a, d.x(*lead, columns), d.x(*lead, columns + more, d.rng.randint(0, 3)), True, d.chance(0.5)


def any_matrix(d: Draw) -> tuple:
    return (d.x(*_lead(d), *d.sizes(2, 0, 6), of=KINDS),)


def norms(d: Draw) -> tuple:
    a = _square(d, _lead(d), d.rng.randint(0, 5))
    if d.name == "linalg_cond":
        return a, d.rng.choice((None, "fro", "nuc", 1, -1, 2, -2, float("inf")))
    return a, torch.tensor(d.rng.random(), dtype=torch.float64)


def least_squares(d: Draw) -> tuple:
    lead, (n, m, k) = _lead(d), d.sizes(3, 0, 5)
    return d.x(*lead, n, m, of=KINDS), d.x(*lead, n, k)


def tensors(d: Draw) -> tuple:
    a, b = d.sizes(2, 1, 3)
    x = d.x(a, b, a * b, of=KINDS)
    return (x, 2) if d.name == "linalg_tensorinv" else (x, d.x(a, b))


def eigenpairs(d: Draw) -> tuple:
    n = d.rng.randint(3, 12)
    a = d.x(n, n, of=KINDS[:3])
    return a @ a.mT + torch.eye(n, dtype=a.dtype), d.rng.randint(1, n // 3)


def cross(d: Draw) -> tuple:
    shape = d.sizes(d.rng.randint(0, 3), 0, 4)
    return d.x(*shape, 3, of=KINDS), d.x(*shape, 3)


TOGETHER: dict[str, Callable[[Draw], tuple]] = {
    r"(linalg_)?(det|slogdet|logdet|inv|inv_ex|inverse|eig|eigvals|matrix_power|matrix_exp|lu_factor|lu_factor_ex|lu)": square,
    r"(linalg_)?(eigh|eigvalsh|cholesky|cholesky_ex|ldl_factor|ldl_factor_ex)": symmetric,
    r"linalg_solve|linalg_solve_ex|linalg_solve_triangular|triangular_solve": solve,
    r"cholesky_(solve|inverse)|linalg_ldl_solve|(linalg_)?lu_solve|lu_unpack": factored,
    r"orgqr|ormqr|linalg_householder_product": reflectors,
    r"(linalg_)?(qr|svd|svdvals|geqrf)|pinverse|svd_lowrank|pca_lowrank": any_matrix,
    r"linalg_cond|linalg_pinv\.rcond_tensor|linalg_matrix_rank\.tol_tensor": norms, "linalg_lstsq": least_squares, r"linalg_tensor(inv|solve)": tensors, "lobpcg": eigenpairs,
    r"(linalg_)?cross": cross,
}  # fmt: skip
