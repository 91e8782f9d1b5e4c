"""Least squares."""

from ..launch import needs_grad
from ..table import Composite, op
from ..views import broadcast_shape
from . import check
from .library import GIVEN
from .svd import pinv_grad

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def _lstsq_grad(o, g, A, B, P, shape, results):
    """X = A^+ B."""
    gA = pinv_grad(o, o.matmul(g, B.mH), A, P, shape) if o.needs[0] else None
    return gA, o.matmul(P.mH, g), None, [None]


op(
    "lstsq_of(Tensor A, Tensor B, Tensor P, str shape, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_lstsq_grad,
    doc="The least squares solution, given with the pseudoinverse of A.",
)


def _check(A, B, driver, name):
    if A.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if B.dim() < 1:
        raise RuntimeError(f"{name}: other must have at least 1 dimension.")
    if not 0 <= A.dim() - B.dim() <= 1:
        raise RuntimeError(
            f"{name}: input.dim() must be greater or equal to other.dim() and (input.dim() - other.dim()) <= 1"
        )
    vector = A.dim() - 1 == B.dim() and B.shape == A.shape[:-1]
    if (A.dim() > B.dim() and not vector) or (vector and A.shape[-2] != B.shape[-1]):
        raise RuntimeError(f"{name}: input.size(-2) should match other.size(-1)")
    if not vector and A.shape[-2] != B.shape[-2]:
        raise RuntimeError(f"{name}: input.size(-2) should match other.size(-2)")
    if A.dtype is not B.dtype:
        raise RuntimeError(
            f"{name}: Expected input and other to have the same dtype, but got input's dtype {A.dtype.title} and "
            f"other's dtype {B.dtype.title}"
        )
    if A.dtype.code in check.NO_ROUTINES:
        raise RuntimeError("This function doesn't handle types other than float and double")
    if driver not in _DRIVERS:
        raise RuntimeError(f"{name}: parameter `driver` should be one of (gels, gelsy, gelsd, gelss)")
    return vector


def _residuals(o, X, m, n, rank, driver):
    """Squared distances, where there are more rows than columns and every matrix has full rank."""
    full = driver != "gelsy" and m > n and (driver == "gels" or rank.is_meta or bool(o.all(rank == n)))
    if not full:
        return o.empty((0,), dtype=X.dtype.to_real(), device=X.device)
    return o.sum(o.abs(X.narrow(-2, n, m - n)) ** 2, -2)


def _lstsq(o, A, B, rcond=None, *, driver=None):
    name = "torch.linalg.lstsq"
    driver = "gelsy" if driver is None else driver
    vector = _check(A, B, driver, name)
    right = B.unsqueeze(-1) if vector else B
    m, n = A.shape[-2:]
    k = right.shape[-1]
    batch = broadcast_shape([A.shape[:-2], right.shape[:-2]])
    a, b = A.expand((*batch, m, n)), right.expand((*batch, m, k))
    padded = b.detach()
    if n > m:
        padded = o.cat([padded, o.zeros((*batch, n - m, k), dtype=B.dtype, device=B.device)], -2)
    tolerance = check.epsilon(A.dtype) * max(m, n) if rcond is None else rcond
    if min(m, n) and k and padded.numel():
        X, rank, values, info = o.lapack_gels(a.detach(), padded, tolerance, _DRIVERS.index(driver))
        check.raise_failure(info, name, _FAILED)
    else:
        X = o.zeros_like(padded)
        rank = o.zeros(batch, dtype=o.int64, device=A.device)
        values = o.zeros((*batch, min(m, n)), dtype=A.dtype.to_real(), device=A.device)
    residuals = _residuals(o, X, m, n, rank, driver)
    solution = X.narrow(-2, 0, n)
    if needs_grad(o, A, B):
        solution = o.lstsq_of(a, b, o.linalg_pinv(a), check.shape_of(a), [solution])
    none = o.empty((0,), dtype=values.dtype, device=A.device)
    return (
        solution.squeeze(-1) if vector else solution,
        residuals,
        o.empty((0,), dtype=o.int64, device=A.device) if driver == "gels" else rank,
        values if driver in ("gelsd", "gelss") else none,
    )


_FAILED = (
    "The least squares solution could not be computed because the input matrix does not have full rank (error code: "
    "{code})."
)
op(
    "linalg_lstsq(Tensor self, Tensor b, float? rcond=None, *, str? driver=None) -> (Tensor solution, Tensor residuals, Tensor rank, Tensor singular_values)",
    names=("linalg.lstsq",),
    body=Composite(_lstsq),
    doc="""X that makes the distance of A X from B least, of those the shortest.

    driver 'gelsy' (the default), 'gelsd' and 'gelss' take matrices of any rank, 'gels' those of full rank.""",
)
