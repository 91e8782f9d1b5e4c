"""Symmetric and Hermitian matrices: Cholesky and LDL."""

from ..launch import needs_grad
from ..table import Composite, op
from ..views import broadcast_shape
from . import check
from .library import GIVEN, without_gradient


def _factor(o, A, upper, name, check_errors):
    L, info = o.lapack_potrf(A, upper)
    if check_errors:
        check.raise_failure(info, name, check.NOT_POSITIVE)
    return L, info


def _checked(A, name):
    check.square(A, name)
    if name != "cholesky":
        check.floating(A, "linalg.cholesky")
    check.routine(A, "cholesky_cpu")


def _cholesky_ex(o, A, *, upper=False, check_errors=False):
    _checked(A, "linalg.cholesky")
    return _factor(o, A, upper, "linalg.cholesky_ex", check_errors)


op(
    "linalg_cholesky_ex(Tensor self, *, bool upper=False, bool check_errors=False) -> (Tensor L, Tensor info)",
    names=("linalg.cholesky_ex",),
    body=Composite(_cholesky_ex),
    doc="Cholesky factor and, for each matrix, the order of the first minor that is not positive (0 where all are).",
)


def _linalg_cholesky(o, A, *, upper=False):
    _checked(A, "linalg.cholesky")
    return _factor(o, A, upper, "linalg.cholesky", True)[0]


op(
    "linalg_cholesky(Tensor self, *, bool upper=False) -> Tensor",
    names=("linalg.cholesky",),
    body=Composite(_linalg_cholesky),
    ref=lambda np, a: np.linalg.cholesky(a),
    doc="The lower triangular L with A = L L^H, or with `upper` the U with A = U^H U.",
)


def _cholesky(o, A, upper=False):
    _checked(A, "cholesky")
    return _factor(o, A, upper, "cholesky", True)[0]


op(
    "cholesky(Tensor self, bool upper=False) -> Tensor",
    body=Composite(_cholesky),
    doc="The Cholesky factor; see linalg.cholesky.",
)


def _both(x):
    return x + x.mH


def _cholesky_inverse_grad(o, g, L, upper, results):
    inverse = o.saved.output(0)
    common = o.matmul(inverse, o.matmul(_both(g), inverse))
    return -(o.matmul(L, common) if upper else o.matmul(common, L)), [None]


op(
    "cholesky_inverse_of(Tensor L, bool upper, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_cholesky_inverse_grad,
    saves=("o0",),
    doc="The inverse from a Cholesky factor, given.",
)


def _cholesky_inverse(o, L, upper=False):
    check.square(L, "cholesky_inverse")
    check.routine(L, "cholesky_inverse_out_cpu")
    inverse, info = o.lapack_potri(L.detach(), upper)
    check.raise_failure(info, "cholesky_inverse", check.SINGULAR_INVERSE)
    return o.cholesky_inverse_of(L, upper, [inverse]) if needs_grad(o, L) else inverse


op(
    "cholesky_inverse(Tensor self, bool upper=False) -> Tensor",
    body=Composite(_cholesky_inverse),
    doc="(L L^H)^-1, or (U^H U)^-1 with `upper`.",
)


def _cholesky_solve_grad(o, g, B, L, upper, results):
    """The gradient of L is not that of a triangle alone: PyTorch's is not."""
    gB = o.cholesky_solve_pair(g, L, upper)
    if not o.needs[1]:
        return gB, None, [None]
    common = _both(o.matmul(gB, o.saved.output(0).mH))
    return gB, -(o.matmul(L, common) if upper else o.matmul(common, L)), [None]


op(
    "cholesky_solve_of(Tensor B, Tensor L, bool upper, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_cholesky_solve_grad,
    saves=("o0",),
    doc="The solution of a system with a Cholesky factor, given.",
)


def _solve_pair(o, B, L, upper):
    """Both triangular systems; batch dimensions are equal."""
    factor = L.detach()
    X = o.lapack_trsm(factor.mH if upper else factor, B.detach(), False, True, False)
    X = o.lapack_trsm(factor if upper else factor.mH, X, True, True, False)
    return o.cholesky_solve_of(B, L, upper, [X]) if needs_grad(o, B, L) else X


op(
    "cholesky_solve_pair(Tensor B, Tensor L, bool upper) -> Tensor",
    names=(),
    body=Composite(_solve_pair),
    doc="X with L L^H X = B of checked operands.",
)


def _cholesky_solve(o, B, L, upper=False):
    for x, letter in ((B, "b"), (L, "u")):
        if x.dim() < 2:
            raise RuntimeError(f"{letter} should have at least 2 dimensions, but has {x.dim()} dimensions instead")
    legacy_system(B, L, "cholesky_solve")
    check.routine(B, "cholesky_solve_cpu")
    B, L = check.expanded(B, L)
    return _solve_pair(o, B, L, upper)


def legacy_system(B, A, name: str) -> None:
    """The sentences of the older solvers."""
    check.square_sizes(A, "A")
    if A.shape[-2] != B.shape[-2]:
        raise RuntimeError(
            f"Incompatible matrix sizes for {name}: each A matrix is {A.shape[-1]} by {A.shape[-1]} but each b matrix "
            f"is {B.shape[-2]} by {B.shape[-1]}"
        )
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"Expected b and A to have the same dtype, but found b of type {B.dtype.title} and A of type "
            f"{A.dtype.title} instead."
        )


op(
    "cholesky_solve(Tensor self, Tensor input2, bool upper=False) -> Tensor",
    body=Composite(_cholesky_solve),
    doc="X with L L^H X = B, or U^H U X = B with `upper`.",
)


def _ldl_factor_ex(o, A, *, hermitian=False, check_errors=False, name="torch.linalg.ldl_factor_ex"):
    check.square(A, "torch.linalg.ldl_factor_ex")
    check.floating(A, "torch.linalg.ldl_factor_ex")
    check.routine(A, "ldl_factor_kernel_cpu")
    LD, pivots, info = without_gradient(
        o, o.lapack_sytrf(A.detach(), hermitian), [A], "derivative for aten::linalg_ldl_factor_ex is not implemented"
    )
    if check_errors:
        check.raise_failure(info, name, "The factorization could not be completed: D is singular (error code: {code}).", RuntimeError)
    return LD, pivots, info


op(
    "linalg_ldl_factor_ex(Tensor self, *, bool hermitian=False, bool check_errors=False) -> (Tensor LD, Tensor pivots, Tensor info)",
    names=("linalg.ldl_factor_ex",),
    body=Composite(_ldl_factor_ex),
    doc="LDL factorisation by pivoting of the lower triangle; info is the first zero on D's diagonal, or 0.",
)
op(
    "linalg_ldl_factor(Tensor self, *, bool hermitian=False) -> (Tensor LD, Tensor pivots)",
    names=("linalg.ldl_factor",),
    body=Composite(
        lambda o, A, *, hermitian=False: _ldl_factor_ex(
            o, A, hermitian=hermitian, check_errors=True, name="torch.linalg.ldl_factor"
        )[:2]
    ),
    doc="LDL factorisation of symmetric (or Hermitian) matrices.",
)


def _ldl_solve(o, LD, pivots, B, *, hermitian=False):
    check.square(LD, "torch.linalg.ldl_solve")
    if B.dim() < 2:
        raise RuntimeError(
            f"torch.linalg.ldl_solve: Expected B to have at least 2 dimensions, but it has {B.dim()} dimensions instead"
        )
    if pivots.dtype.is_floating_point or pivots.dtype.is_complex or pivots.dtype.code == "b1":
        raise RuntimeError(f"torch.linalg.ldl_solve: Expected pivots to be integers. Got {pivots.dtype.title}")
    if LD.shape[:-1] != pivots.shape:
        raise RuntimeError(
            "torch.linalg.ldl_solve: Expected LD.shape[:-1] and pivots.shape to be the same, but got pivots with shape "
            f"{list(pivots.shape)} instead"
        )
    legacy_system(B, LD, "torch.linalg.ldl_solve")
    check.routine(B, "ldl_solve_kernel_cpu")
    if not pivots.is_meta and bool(o.any((pivots == 0) | (pivots.abs() > LD.shape[-1]))):
        raise RuntimeError(
            "Pivots given to ldl_solve must all satisfy |pivot| >= 1. Did you properly pass the result of ldl_factor?"
        )
    sizes = broadcast_shape([B.shape[:-2], LD.shape[:-2]])
    solved = o.lapack_sytrs(
        LD.detach().expand((*sizes, *LD.shape[-2:])), pivots.to(o.int32).expand((*sizes, LD.shape[-1])),
        B.detach().expand((*sizes, *B.shape[-2:])), hermitian,
    )  # fmt: skip
    why = "derivative for aten::linalg_ldl_solve is not implemented"
    return without_gradient(o, (solved,), [LD, B], why)[0]


op(
    "linalg_ldl_solve(Tensor LD, Tensor pivots, Tensor B, *, bool hermitian=False) -> Tensor",
    names=("linalg.ldl_solve",),
    body=Composite(_ldl_solve),
    doc="X with A X = B, from the LDL factorisation of A.",
)
