"""Factorisations of low rank by random projections, and a few eigenpairs by iteration."""

import math

from ..launch import check_tensor, needs_grad
from ..table import Composite, op


def _basis(o, A, q, niter, M):
    """An orthonormal basis that holds most of A (Halko, Martinsson, Tropp 2009, algorithm 4.4)."""
    def apply(x, y):
        return o.matmul(x, y) if M is None else o.matmul(x, y) - o.matmul(M if x is A else M.mH, y)

    real = A.detach()
    R = o.randn((A.shape[-1], q), dtype=real.dtype, device=real.device)
    Q = o.linalg_qr(apply(A, R))[0]
    for _ in range(niter):
        Q = o.linalg_qr(apply(A.mH, Q))[0]
        Q = o.linalg_qr(apply(A, Q))[0]
    return Q


def _low_rank(o, A, q, niter, M):
    m, n = A.shape[-2:]
    if M is not None:
        M = M.expand(A.shape)
    if m < n:
        U, S, V = _low_rank(o, A.mH, q, niter, None if M is None else M.mH)
        return V, S, U
    Q = _basis(o, A, q, niter, M)
    B = o.matmul(Q.mH, A if M is None else A - M)
    U, S, Vh = o.linalg_svd(B, False)
    return o.matmul(Q, U), S, Vh.mH


def _svd_lowrank(o, A, q=6, niter=2, M=None):
    check_tensor("svd_lowrank", "A", A)
    m, n = A.shape[-2:]
    return _low_rank(o, A, min(6, m, n) if q is None else q, niter, M)


op(
    "svd_lowrank(Tensor A, int? q=6, int? niter=2, Tensor? M=None) -> Any",
    names=("svd_lowrank",),
    body=Composite(_svd_lowrank, raw=True),
    doc="U, S and V of a matrix of low rank (less M, if given), by random projections.",
)


def _pca_lowrank(o, A, q=None, center=True, niter=2):
    check_tensor("pca_lowrank", "A", A)
    m, n = A.shape[-2:]
    if q is None:
        q = min(6, m, n)
    elif not 0 <= q <= min(m, n):
        raise ValueError(f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}")
    if not niter >= 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if not A.dtype.is_floating_point:
        raise ValueError(f"input tensor must have a floating-point dtype, got {A.dtype}")
    return _low_rank(o, A - A.mean(-2, keepdim=True) if center else A, q, niter, None)


op(
    "pca_lowrank(Tensor A, int? q=None, bool center=True, int niter=2) -> Any",
    names=("pca_lowrank",),
    body=Composite(_pca_lowrank, raw=True),
    doc="Principal components: U, S and V of A less the means of its columns.",
)


def _check_lobpcg(A, B, X, k):
    if A.dim() < 2 or A.shape[-1] != A.shape[-2]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if B is not None and B.shape != A.shape:
        raise AssertionError(f"A and B shapes must match, got A.shape={A.shape}, B.shape={B.shape}")
    m, n = A.shape[-1], (1 if X is None else X.shape[-1]) if k is None else k
    if m < 3 * n:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than 3 x the number of "
            f"requested eigenpairs (={n})"
        )
    return n


def _reduced(o, B):
    """L^-1 such that L^-1 B L^-H is the unit matrix."""
    L = o.linalg_cholesky(B)
    eye = o.eye(L.shape[-1], dtype=L.dtype, device=L.device).expand(L.shape)
    return o.linalg_solve_triangular(L, eye, upper=False)


def _ritz(o, S, A, B, n, largest):
    """The best eigenpairs of A x = w B x within the space of S."""
    kept = o.linalg_qr(S)[0]
    a = o.matmul(kept.mH, o.matmul(A, kept))
    if B is None:
        w, Z = o.linalg_eigh(a)
    else:
        inverse = _reduced(o, o.matmul(kept.mH, o.matmul(B, kept)))
        w, Z = o.linalg_eigh(o.matmul(inverse, o.matmul(a, inverse.mH)))
        Z = o.matmul(inverse.mH, Z)
    if largest:
        w, Z = o.flip(w, (-1,)), o.flip(Z, (-1,))
    return w.narrow(-1, 0, n), o.matmul(kept, Z.narrow(-1, 0, n))


def _iterated(o, A, B, X, n, iK, niter, tol, largest, tracker):
    """Ritz pairs of the space of the last vectors, their residuals, and the last step."""
    space = [X]
    for step in range(niter + 1):
        w, found = _ritz(o, o.cat(space, -1), A, B, n, largest)
        R = o.matmul(A, found) - (found if B is None else o.matmul(B, found)) * w.unsqueeze(-2)
        scale = o.linalg_vector_norm(A, 2, (-2, -1)) + o.amax(o.abs(w), -1)
        error = o.linalg_vector_norm(R, 2, (-2, -1)) / scale
        if tracker is not None:
            tracker(step, w, found, error)
        if bool(o.all(error < tol)):
            break
        before = space[0].narrow(-1, 0, n) if space[0].shape[-1] >= n else space[0]
        space = [found, R if iK is None else o.matmul(iK, R), *([found - before] if step else [])]
    return w, found


def _lobpcg(o, A, k=None, B=None, X=None, n=None, iK=None, niter=None, tol=None, largest=None, method=None,
            tracker=None, ortho_iparams=None, ortho_fparams=None, ortho_bparams=None):  # fmt: skip
    check_tensor("lobpcg", "A", A)
    for name, given, place in (("B", B, 3), ("X", X, 4), ("iK", iK, 6)):
        if given is not None:
            check_tensor("lobpcg", name, given, place)
    n = _check_lobpcg(A, B, X, k) if n is None else n
    if method not in (None, "basic", "ortho"):
        raise ValueError(f"method must be 'basic' or 'ortho', got {method!r}")
    if A.dtype.code not in ("f32", "f64"):
        raise RuntimeError(f"lobpcg: expected A to be float32 or float64, got {A.dtype}")
    epsilon = {"f32": 1.2e-07, "f64": 2.23e-16}[A.dtype.code]
    if X is None:
        X = o.randn((*A.shape[:-1], n), dtype=A.dtype, device=A.device)
    w, V = _iterated(
        o, A.detach(), None if B is None else B.detach(), X.detach(), n if k is None else k, iK,
        1000 if niter is None else niter, math.sqrt(epsilon) if tol is None else tol,
        True if largest is None else largest, tracker,
    )  # fmt: skip
    if needs_grad(o, A):
        return _with_history(o, A, B, w, V)
    return w, V


def _with_history(o, A, B, w, V):
    """The same values and vectors as functions of A: those of the whole decomposition that were found."""
    if B is not None:  # to first order, vectors are constants
        return o.sum(V * o.matmul(A, V), -2), V
    values, vectors = o.linalg_eigh((A + A.mT) * 0.5)
    held = vectors.detach()
    overlap = o.matmul(held.mT, V)
    place = o.argmax(overlap.abs(), -2)
    sign = o.sgn(o.gather(overlap, -2, place.unsqueeze(-2)))
    columns = place.unsqueeze(-2).expand(V.shape)
    return o.gather(values, -1, place), o.gather(vectors, -1, columns) * sign


op(
    "lobpcg(Tensor A, int? k=None, Tensor? B=None, Tensor? X=None) -> Any",
    names=("lobpcg",),
    body=Composite(_lobpcg, raw=True),
    doc="The k greatest (or least) eigenvalues of A x = w B x and their eigenvectors, by iteration.",
)
