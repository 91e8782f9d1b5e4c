"""QR, and what is made of reflections."""

from ..launch import needs_grad
from ..table import Composite, op
from . import check
from .library import GIVEN, without_gradient

_NOT_COMPLETE = (
    "The QR decomposition is not differentiable when mode='complete' and nrows > ncols"
)
_NO_Q = (
    "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use linalg.qr(..., "
    "mode='reduced') if you are going to require gradients"
)


def _refuse(o, self, why):
    raise RuntimeError(why)


op(
    "refuse_gradient(Tensor self, str why) -> Tensor",
    names=(),
    body=Composite(_refuse),
    doc="Raises: a gradient of what has none.",
)


def _half_diagonal(o, x):
    """x with half of the real parts of its diagonal."""
    diagonal = o.diagonal(x, 0, -2, -1)
    if x.is_complex():
        diagonal = o.complex(o.real(diagonal), o.real(diagonal) * 0)
    return x - o.diag_embed(diagonal * 0.5)


def _qr_grad(o, g, A, mode, results):
    """A = Q R. Where A is wide, its right part is Q times that of R and reaches Q through its left part only."""
    if mode in ("complete", "r"):
        return o.refuse_gradient(A, _NOT_COMPLETE if mode == "complete" else _NO_Q), [None, None]
    (gQ, gR), (Q, R) = g, (o.saved.output(0), o.saved.output(1))
    m, n = A.shape[-2], A.shape[-1]
    if mode == "wide":
        right, g_right = o.narrow(R, -1, m, n - m), o.narrow(gR, -1, m, n - m)
        R, gR = o.narrow(R, -1, 0, m), o.narrow(gR, -1, 0, m)
        gQ = gQ + o.matmul(Q, o.matmul(right, g_right.mH))
    inner = o.triu(o.matmul(gR, R.mH) - o.matmul(Q.mH, gQ))
    inner = _half_diagonal(o, inner + inner.mH)
    gA = o.lapack_trsm(R.mH, gQ + o.matmul(Q, inner), False, False, False)
    return (o.cat([gA, o.matmul(Q, g_right)], -1) if mode == "wide" else gA), [None, None]


op(
    "qr_of(Tensor A, str mode, Tensor[] results) -> (Tensor Q, Tensor R)",
    names=(),
    body=GIVEN,
    grad=_qr_grad,
    saves=("o0", "o1"),
    doc="Q and R of A, given.",
)


def _qr(o, A, mode="reduced"):
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or 'complete'"
        )
    check.matrices(A, "linalg.qr")
    check.floating(A, "linalg.qr")
    check.routine(A, "geqrf_cpu")
    m, n = A.shape[-2:]
    k = min(m, n)
    factored, tau = o.lapack_geqrf(A.detach())
    R = o.triu(factored if mode == "complete" else factored.narrow(-2, 0, k))
    if R.stride() != factored.stride():  # results lie in columns
        R = R.mT.contiguous().mT
    if mode == "r":
        Q = o.empty((0,), dtype=A.dtype, device=A.device)
    elif mode == "complete" and m > n:
        beside = o.zeros((*A.shape[:-1], m - n), dtype=A.dtype, device=A.device)
        Q = o.lapack_orgqr(o.cat([factored, beside], -1), tau)
    else:
        Q = o.lapack_orgqr(factored.narrow(-1, 0, k), tau)
    if not needs_grad(o, A):
        return Q, R
    form = "r" if mode == "r" else "complete" if mode == "complete" and m > n else "wide" if m < n else "tall"
    found = o.qr_of(A, form, [Q, R])
    return (Q, found[1]) if mode == "r" else tuple(found)


op(
    "linalg_qr(Tensor A, str mode='reduced') -> (Tensor Q, Tensor R)",
    names=("linalg.qr",),
    body=Composite(_qr),
    doc="""A = Q R: orthonormal columns and an upper triangular matrix.

    mode 'reduced' gives min(m, n) columns of Q, 'complete' all m, 'r' no Q.""",
)
op(
    "qr(Tensor self, bool some=True) -> (Tensor Q, Tensor R)",
    body=Composite(lambda o, A, some=True: _qr(o, A, "reduced" if some else "complete")),
    doc="QR decomposition; see linalg.qr.",
)


def _geqrf(o, A):
    if A.dim() < 2:
        raise RuntimeError("torch.geqrf: input must have at least 2 dimensions.")
    check.routine(A, "geqrf_cpu")
    return without_gradient(o, tuple(o.lapack_geqrf(A.detach())), [A], "geqrf")


op(
    "geqrf(Tensor self) -> (Tensor a, Tensor tau)",
    body=Composite(_geqrf),
    doc="LAPACK's form of QR: R on and above the diagonal, reflections below it, and their factors.",
)


def _apply(o, A, tau, C, left, transpose):
    """The product of reflections I - tau v v^H times C, one after another: every step has a gradient."""
    k = tau.shape[-1]
    C = C if left else C.mH
    order = range(k) if left == transpose else range(k - 1, -1, -1)
    below = o.tril(A, -1)
    for i in order:
        unit = o.zeros((A.shape[-2],), dtype=A.dtype, device=A.device)
        unit[i] = 1
        v = (below.select(-1, i) + unit).unsqueeze(-1)
        t = tau.select(-1, i)[..., None, None]
        t = o.conj(t) if (transpose if left else not transpose) else t
        C = C - o.matmul(t * v, o.matmul(v.mH, C))
    return C if left else C.mH


def _householder_product(o, A, tau):
    name = "torch.linalg.householder_product"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if A.shape[-2] < A.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-2] must be greater than or equal to input.shape[-1]")
    if tau.dim() and A.shape[-1] < tau.shape[-1]:
        raise RuntimeError(f"{name}: input.shape[-1] must be greater than or equal to tau.shape[-1]")
    _check_tau(A, tau, name)
    if A.dtype is not tau.dtype:
        raise RuntimeError(f"{name}: tau dtype {tau.dtype.title} does not match input dtype {A.dtype.title}")
    check.routine(A, "orgqr_cpu")
    if not needs_grad(o, A, tau):
        return o.lapack_orgqr(A, tau)
    eye = o.eye(A.shape[-2], A.shape[-1], dtype=A.dtype, device=A.device).expand(A.shape)
    return _apply(o, A, tau, eye, True, False)


def _check_tau(A, tau, name):
    if A.dim() - tau.dim() != 1:
        raise RuntimeError(
            f"{name}: Expected tau to have one dimension less than input, but got tau.ndim equal to {tau.dim()} and "
            f"input.ndim is equal to {A.dim()}"
        )
    if tau.shape[:-1] != A.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got {list(tau.shape[:-1])}"
        )


for _signature, _names in (
    ("linalg_householder_product(Tensor input, Tensor tau) -> Tensor", ("linalg.householder_product",)),
    ("orgqr(Tensor self, Tensor input2) -> Tensor", ("orgqr", "Tensor.orgqr")),
):
    op(
        _signature,
        names=_names,
        body=Composite(_householder_product),
        doc="The first columns of the product of reflections I - tau_i v_i v_i^H; v_i stands below A's diagonal.",
    )


def _ormqr(o, A, tau, C, left=True, transpose=False):
    name = "torch.ormqr"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: input must have at least 2 dimensions.")
    if C.dim() < 2:
        raise RuntimeError(f"{name}: other must have at least 2 dimensions.")
    side = -2 if left else -1
    if not tau.dim():
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    if C.shape[side] != A.shape[-2]:
        raise RuntimeError(f"{name}: other.shape[{side}] must be equal to input.shape[-2]")
    if tau.shape[-1] != min(C.shape[side], A.shape[-1]):
        raise RuntimeError(f"{name}: tau.shape[-1] must be equal to min(other.shape[{side}], input.shape[-1])")
    _check_tau(A, tau, name)
    if A.dim() != C.dim():
        raise RuntimeError(
            f"{name}: Expected other to have the same number of dimensions as input, but got other.ndim equal to "
            f"{C.dim()} and input.ndim is equal to {A.dim()}"
        )
    if C.shape[:-2] != A.shape[:-2]:
        raise RuntimeError(
            f"{name}: Expected batch dimensions of other to be equal to input.shape[:-2], but got {list(C.shape[:-2])}"
        )
    for x, what in ((tau, "tau"), (C, "other")):
        if x.dtype is not A.dtype:
            raise RuntimeError(
                f"{name}: Expected input and {what} to have the same dtype, but input has dtype{A.dtype.title} and "
                f"{what} has dtype {x.dtype.title}"
            )
    check.routine(A, "ormqr_cpu")
    if needs_grad(o, A, tau, C):
        return _apply(o, A, tau, C, left, transpose)
    return o.lapack_ormqr(A, tau, C, left, transpose)


op(
    "ormqr(Tensor self, Tensor input2, Tensor input3, bool left=True, bool transpose=False) -> Tensor",
    body=Composite(_ormqr),
    doc="Q C, Q^H C, C Q or C Q^H, where Q is the product of reflections that geqrf gives.",
)
