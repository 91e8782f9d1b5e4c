"""Linear systems and inverses."""

import math

from ..launch import needs_grad
from ..table import Composite, op
from ..views import broadcast_shape
from . import check
from .library import GIVEN


def _is_vector(A, B) -> bool:
    return B.dim() == 1 or (A.dim() - 1 == B.dim() and B.shape == A.shape[:-1])


def _in_columns(X):
    """Vectors of a batch stand in the order in which PyTorch leaves them."""
    return X.mT.contiguous().mT if X.dim() > 1 else X


def _solved(o, A, B, left):
    """X and LAPACK's codes."""
    name = "linalg.solve"
    check.matrices(A, name)
    check.floating(A, name)
    check.same_dtype(A, B, name)
    check.square(A, name)
    vector = _is_vector(A, B)
    if vector and not left:
        raise RuntimeError(
            f"{name}: Vector broadcasting of the left hand side is not supported for left=False. In this case "
            "linalg.solve is equivalent to B / A.squeeze(-1)"
        )
    if vector:
        B = B.unsqueeze(-1)
    check.system(A, B, left, name)
    check.routine(A, "lu_cpu")
    batch = broadcast_shape([B.shape[:-2], A.shape[:-2]])
    LU, pivots, info = o.lapack_getrf(A.detach())
    A, LU, B = (x.expand((*batch, *x.shape[-2:])) for x in (A, LU, B))
    pivots = pivots.expand((*batch, pivots.shape[-1]))
    X = o.lapack_getrs(A, LU, pivots, B, False) if left else o.lapack_getrs(A, LU, pivots, B.mH, True).mH
    return (_in_columns(X.squeeze(-1)) if vector else X), info


def _solve_ex(o, A, B, *, left=True, check_errors=False):
    X, info = _solved(o, A, B, left)
    if check_errors:
        check.raise_failure(info, "torch.linalg.solve_ex", check.SINGULAR_SOLVE)
    return X, info


op(
    "linalg_solve_ex(Tensor A, Tensor B, *, bool left=True, bool check_errors=False) -> (Tensor result, Tensor info)",
    names=("linalg.solve_ex",),
    body=Composite(_solve_ex),
    doc="X with A X = B, and for each matrix the first zero on U's diagonal (0 where it is regular).",
)


def _solve(o, A, B, *, left=True, name="torch.linalg.solve"):
    X, info = _solved(o, A, B, left)
    check.raise_failure(info, name, check.SINGULAR_SOLVE)
    return X


op(
    "linalg_solve(Tensor A, Tensor B, *, bool left=True) -> Tensor",
    names=("linalg.solve",),
    body=Composite(_solve),
    doc="X with A X = B, or X A = B with left=False; B may be a vector, and batches are broadcast.",
)


def _inverse_grad(o, g, A, results):
    h = o.saved.output(0).mH
    return -o.matmul(h, o.matmul(g, h)), [None]


op(
    "inverse_of(Tensor A, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_inverse_grad,
    saves=("o0",),
    doc="The inverse of A, given.",
)


def _inverted(o, A):
    check.square(A, "linalg.inv")
    check.floating(A, "linalg.inv", low=False)
    held = A.detach()
    LU, pivots, info = o.lapack_getrf(held)
    eye = o.eye(A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)
    inverse = o.lapack_getrs(held, LU, pivots, eye, False)
    return (o.inverse_of(A, [inverse]) if needs_grad(o, A) else inverse), info


def _inv_ex(o, A, *, check_errors=False):
    inverse, info = _inverted(o, A)
    if check_errors:
        check.raise_failure(info, "linalg.inv_ex", check.SINGULAR_INVERSE)
    return inverse, info


op(
    "linalg_inv_ex(Tensor A, *, bool check_errors=False) -> (Tensor inverse, Tensor info)",
    names=("linalg.inv_ex",),
    body=Composite(_inv_ex),
    doc="The inverse, and for each matrix the first zero on U's diagonal (0 where it is regular).",
)


def _inv(o, A):
    inverse, info = _inverted(o, A)
    check.raise_failure(info, "linalg.inv", check.SINGULAR_INVERSE)
    return inverse


for _signature, _names in (
    ("linalg_inv(Tensor A) -> Tensor", ("linalg.inv",)),
    ("inverse(Tensor self) -> Tensor", ("inverse", "Tensor.inverse")),
):
    op(_signature, names=_names, body=Composite(_inv), ref=lambda np, a: np.linalg.inv(a), doc="The inverse matrix.")


def _tensorinv(o, self, ind=2):
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    head, tail = tuple(self.shape[:ind]), tuple(self.shape[ind:])
    if math.prod(head) != math.prod(tail):
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), but got "
            f"{math.prod(tail)} != {math.prod(head)}"
        )
    inverse, info = _inverted(o, self.reshape((math.prod(head), math.prod(tail))))
    check.raise_failure(info, "inv", check.SINGULAR_INVERSE)
    return inverse.reshape((*tail, *head))


op(
    "linalg_tensorinv(Tensor self, int ind=2) -> Tensor",
    names=("linalg.tensorinv",),
    body=Composite(_tensorinv),
    doc="The inverse with respect to tensordot over `ind` dimensions.",
)


def _tensorsolve(o, self, other, dims=None):
    if dims is not None:
        self = o.movedim(self, list(dims), list(range(-len(dims), 0)))
    result_shape = tuple(self.shape[other.dim() :])
    n = math.prod(self.shape[: other.dim()])
    if math.prod(result_shape) != n:
        raise RuntimeError(
            "Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == prod(self.shape[:other.ndim]), "
            f"but got {math.prod(result_shape)} != {n}"
        )
    return _solve(o, self.reshape(n, n), other.reshape(-1)).reshape(result_shape)


op(
    "linalg_tensorsolve(Tensor self, Tensor other, int[]? dims=None) -> Tensor",
    names=("linalg.tensorsolve",),
    body=Composite(_tensorsolve),
    doc="X with tensordot(A, X, X.ndim) = B; dims of A are moved to its end first.",
)
