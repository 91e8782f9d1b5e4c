"""Triangular systems and LU."""

from ..launch import check_tensor, needs_grad
from ..table import Composite, op
from ..views import broadcast_shape
from . import check
from .library import GIVEN
from .symmetric import legacy_system


def _solve_triangular(o, A, B, *, upper, left=True, unitriangular=False):
    name = "linalg.solve_triangular"
    check.system(A, B, left, name)
    check.routine(A, "triangular_solve_cpu")
    if A.dtype is not B.dtype:
        B = B.to(A.dtype)
    B, A = check.expanded(B, A)
    return o.lapack_trsm(A, B, upper, left, unitriangular)


op(
    "linalg_solve_triangular(Tensor self, Tensor B, *, bool upper, bool left=True, bool unitriangular=False) -> Tensor",
    names=("linalg.solve_triangular",),
    body=Composite(_solve_triangular),
    doc="X with A X = B (or X A = B) where A is triangular; only that triangle is read.",
)


def _triangular_solve(o, b, A, upper=True, transpose=False, unitriangular=False):
    for x, letter in ((b, "b"), (A, "A")):
        if x.dim() < 2:
            raise RuntimeError(
                f"torch.triangular_solve: Expected {letter} to have at least 2 dimensions, but it has {x.dim()} "
                "dimensions instead"
            )
    legacy_system(b, A, "triangular_solve")
    check.routine(b, "triangular_solve_cpu")
    b, A = check.expanded(b, A)
    factor, side = (A.mT, not upper) if transpose else (A, upper)
    # The second result is a copy of A in columns.
    return o.lapack_trsm(factor, b, side, True, unitriangular), A.mT.clone(memory_format=o.contiguous_format).mT


op(
    "triangular_solve(Tensor self, Tensor A, bool upper=True, bool transpose=False, bool unitriangular=False) -> (Tensor solution, Tensor cloned_coefficient)",
    body=Composite(_triangular_solve),
    doc="X with A X = b for a triangular A, and a copy of A; see linalg.solve_triangular.",
)


def rows(o, x, order):
    """The rows of x in another order."""
    return o.gather(x, -2, o.expand(o.unsqueeze(order, -1), x.shape))


def _lu_grad(o, g, A, back, shape, results):
    """A is P L U. What is beside the square part depends on it through the other factor."""
    LU = o.saved.output(0)
    m, n = A.shape[-2], A.shape[-1]
    if shape == "tall":
        top, below = o.narrow(LU, -2, 0, n), o.narrow(LU, -2, n, m - n)
        g_top, g_below = o.narrow(g, -2, 0, n), o.narrow(g, -2, n, m - n)
    elif shape == "wide":
        top, right = o.narrow(LU, -1, 0, m), o.narrow(LU, -1, m, n - m)
        g_top, g_right = o.narrow(g, -1, 0, m), o.narrow(g, -1, m, n - m)
    else:
        top, g_top = LU, g
    Lh, Uh = o.tril(top, -1).mH, o.triu(top).mH
    lower = o.matmul(Lh, o.tril(g_top, -1)) + o.tril(g_top, -1)  # the unit diagonal of L
    upper = o.matmul(o.triu(g_top), Uh)
    if shape == "tall":
        upper = upper - o.matmul(below.mH, g_below)
    elif shape == "wide":
        lower = lower - o.matmul(g_right, right.mH)
    inner = o.tril(lower, -1) + o.triu(upper)
    part = o.lapack_trsm(Uh, inner, False, False, False)
    part = o.lapack_trsm(Lh, part, True, True, True)
    if shape == "tall":
        # A2 = L2 U, so its gradient comes through L2 alone; and L2 depends on U through A1.
        part = o.cat([part, o.lapack_trsm(Uh, g_below, False, False, False)], -2)
    elif shape == "wide":
        part = o.cat([part, o.lapack_trsm(Lh, g_right, True, True, True)], -1)
    return rows(o, part, back), None, [None]


op(
    "lu_of(Tensor A, Tensor back, str shape, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_lu_grad,
    saves=("o0",),
    doc="The LU factorisation of A; row i of A is row back[i] of L U.",
)


def _lu_checked(A, pivot, name):
    if A.dim() < 2:
        raise RuntimeError(f"{name}: Expected tensor with 2 or more dimensions. Got size: {list(A.shape)} instead")
    check.routine(A, "lu_cpu")
    if not pivot:
        raise RuntimeError("linalg.lu_factor: LU without pivoting is not implemented on the CPU")


def _factored(o, A):
    """LU, pivots, info; LU with A's history."""
    LU, pivots, info = o.lapack_getrf(A.detach())
    if needs_grad(o, A):
        order = o.lapack_permutation(pivots, A.shape[-2])
        LU = o.lu_of(A, o.argsort(order, dim=-1), check.shape_of(A), [LU])
    return LU, pivots, info


_LU_SINGULAR = (
    "U[{code},{code}] is zero and using it on lu_solve would result in a division by zero. If you still want to perform "
    "the factorization, consider calling linalg.lu(A, pivot) or linalg.lu_factor_ex(A, pivot)"
)


def _lu_factor_ex(o, A, *, pivot=True, check_errors=False, name="torch.linalg.lu_factor_ex"):
    _lu_checked(A, pivot, "torch.lu_factor")
    LU, pivots, info = _factored(o, A)
    if check_errors:
        check.raise_failure(info, name, _LU_SINGULAR, RuntimeError)
    return LU, pivots, info


op(
    "linalg_lu_factor_ex(Tensor A, *, bool pivot=True, bool check_errors=False) -> (Tensor LU, Tensor pivots, Tensor info)",
    names=("linalg.lu_factor_ex",),
    body=Composite(_lu_factor_ex),
    doc="LU factorisation in one matrix, with pivots; info is the first zero on U's diagonal, or 0.",
)
op(
    "linalg_lu_factor(Tensor A, *, bool pivot=True) -> (Tensor LU, Tensor pivots)",
    names=("linalg.lu_factor",),
    body=Composite(
        lambda o, A, *, pivot=True: _lu_factor_ex(
            o, A, pivot=pivot, check_errors=True, name="torch.linalg.lu_factor"
        )[:2]
    ),
    doc="LU factorisation in one matrix, with pivots: what linalg.lu_solve takes.",
)


def _lu(o, A, pivot=True, get_infos=False, out=None):
    check_tensor("lu", "A", A)
    found = _lu_factor_ex(o, A, pivot=pivot)
    found = found if get_infos else found[:2]
    if out is None:
        return found
    if not isinstance(out, list | tuple):
        raise TypeError(f"argument 'out' must be tuple of Tensors, not {type(out).__name__}")
    if len(out) - int(get_infos) != 2:
        raise TypeError(f"expected tuple of {2 + int(get_infos)} elements but got {len(out)}")
    for to, x in zip(out, found, strict=True):
        to.resize_(x.shape).copy_(x)
    return out


op(
    "lu(Tensor self, bool pivot=True, bool get_infos=False) -> Any",
    names=("lu", "Tensor.lu"),
    body=Composite(_lu, raw=True),
    doc="LU factorisation with pivots and, with get_infos, LAPACK's codes; see linalg.lu_factor.",
)


def _unit_lower(o, LU, k):
    """L: ones on the diagonal."""
    lower = o.tril(LU.narrow(-1, 0, k), -1)
    return lower + o.eye(LU.shape[-2], k, dtype=LU.dtype, device=LU.device)


def _unpacked(o, LU, pivots, data, with_pivots):
    m, n = LU.shape[-2:]
    k = min(m, n)
    empty = o.empty((0,), dtype=LU.dtype, device=LU.device)
    P = L = U = empty
    if with_pivots:
        order = o.lapack_permutation(pivots, m)
        P = o.zeros((*order.shape, m), dtype=LU.dtype, device=LU.device)
        P = o.scatter(P, -2, order.unsqueeze(-2), 1)
    if data:
        L = _unit_lower(o, LU, k).contiguous()
        U = o.triu(LU.narrow(-2, 0, k)).contiguous()
    return P, L, U


def _linalg_lu(o, A, *, pivot=True):
    _lu_checked(A, pivot, "linalg.lu")
    LU, pivots, _ = _factored(o, A)
    return _unpacked(o, LU, pivots, True, True)


op(
    "linalg_lu(Tensor A, *, bool pivot=True) -> (Tensor P, Tensor L, Tensor U)",
    names=("linalg.lu",),
    body=Composite(_linalg_lu),
    doc="A = P L U: a permutation, a lower triangular matrix with ones on its diagonal, an upper triangular one.",
)


def _lu_unpack(o, LU_data, LU_pivots, unpack_data=True, unpack_pivots=True):
    if LU_data.dim() < 2:
        raise RuntimeError(
            f"torch.lu_unpack: Expected tensor with 2 or more dimensions. Got size: {list(LU_data.shape)} instead"
        )
    if unpack_pivots:
        if LU_pivots.dtype is not o.int32:
            raise RuntimeError(
                "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\nNote: this "
                "function is intended to be used with the output produced by torch.linalg.lu_factor"
            )
        m, n = LU_data.shape[-2:]
        sizes = (*LU_data.shape[:-2], min(m, n))
        if LU_pivots.dim() < 1 or LU_pivots.shape[-1] != min(m, n) or (
            not LU_pivots.is_meta and bool(o.any((LU_pivots < 1) | (LU_pivots > m)))
        ):
            raise RuntimeError(
                "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive."
                "Did you properly pass the result of lu_factor?"
            )
        LU_pivots = LU_pivots.expand(sizes)
    return _unpacked(o, LU_data, LU_pivots, unpack_data, unpack_pivots)


op(
    "lu_unpack(Tensor LU_data, Tensor LU_pivots, bool unpack_data=True, bool unpack_pivots=True) -> (Tensor P, Tensor L, Tensor U)",
    names=("lu_unpack",),
    body=Composite(_lu_unpack),
    doc="P, L and U of the result of linalg.lu_factor; what is not asked for is empty.",
)


def _lu_solve_matrices(o, LU, pivots, B, adjoint):
    if not needs_grad(o, LU):
        return o.lapack_getrs(LU, LU, pivots, B, adjoint)
    order = o.lapack_permutation(pivots, LU.shape[-1])
    if not adjoint:
        X = o.lapack_trsm(LU, rows(o, B, order), False, True, True)
        return o.lapack_trsm(LU, X, True, True, False)
    h = LU.mH
    X = o.lapack_trsm(h, B, False, True, False)
    X = o.lapack_trsm(h, X, True, True, True)
    back = o.argsort(order, dim=-1).unsqueeze(-2)
    return o.gather(X.mT, -1, back.expand(X.mT.shape)).mT  # in columns, as the others


def _lu_solve(o, LU, pivots, B, *, left=True, adjoint=False):
    name = "linalg.lu_solve"
    check.matrices(LU, name, "LU")
    check.square_sizes(LU, "torch.linalg.lu_solve: A")
    if pivots.dtype is not o.int32:
        raise RuntimeError(f"{name}: pivots should be a Tensor of scalar type torch.int32")
    if not pivots.dim() or pivots.shape[-1] != LU.shape[-1]:
        raise RuntimeError(f"{name}: Number of pivots per batch should be same as the dimension of the matrix")
    if pivots.shape[:-1] != LU.shape[:-2]:
        try:
            broadcast_shape([LU.shape[:-2], pivots.shape[:-1]])
        except RuntimeError:
            raise RuntimeError(f"{name}: Expected LU.shape[:-1] and pivots.shape to be the same, but got pivots with shape {list(pivots.shape)} instead") from None
    check.same_dtype(LU, B, name, "LU", "B")
    check.floating(LU, name)
    check.system(LU, B, left, name)
    check.routine(LU, "lu_solve_cpu")
    if not pivots.is_meta and pivots.numel():
        for bad, what in ((pivots > LU.shape[-2], "smaller or equal to LU.size(-2)"), (pivots < 1, "greater or equal to 1")):
            if bool(o.any(bad)):
                raise RuntimeError(
                    f"Pivots given to lu_solve must all be {what}. Did you properly pass the result of lu_factor?"
                )
    sizes = broadcast_shape([B.shape[:-2], LU.shape[:-2], pivots.shape[:-1]])
    LU, B = LU.expand((*sizes, *LU.shape[-2:])), B.expand((*sizes, *B.shape[-2:]))
    pivots = pivots.expand((*sizes, pivots.shape[-1]))
    if left:
        return _lu_solve_matrices(o, LU, pivots, B, adjoint)
    return _lu_solve_matrices(o, LU, pivots, B.mH, not adjoint).mH


op(
    "linalg_lu_solve(Tensor LU, Tensor pivots, Tensor B, *, bool left=True, bool adjoint=False) -> Tensor",
    names=("linalg.lu_solve",),
    body=Composite(_lu_solve),
    doc="X with A X = B (or X A = B; with `adjoint` A^H in A's place), from the LU factorisation of A.",
)
op(
    "lu_solve(Tensor self, Tensor LU_data, Tensor LU_pivots) -> Tensor",
    body=Composite(lambda o, b, LU, pivots: _lu_solve(o, LU, pivots, b)),
    doc="X with A X = b; see linalg.lu_solve.",
)
