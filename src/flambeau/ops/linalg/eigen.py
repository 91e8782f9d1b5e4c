"""Eigenvalues and eigenvectors."""

from ..launch import needs_grad
from ..table import Composite, op
from . import check
from .library import GIVEN


def _check_phase(o, self, turned, what, function):
    """self, unless the loss depends on the phase of complex vectors: `turned` is its derivative by that."""
    if not self.is_meta and not o.allclose(turned, o.zeros_like(turned), rtol=1e-2, atol=1e-2):
        raise RuntimeError(
            f"{function}: The {what} in the complex case are specified up to multiplication by e^{{i phi}}. The specified "
            "loss function depends on this quantity, so it is ill-defined."
        )
    return self


op(
    "check_phase(Tensor self, Tensor turned, str what, str function) -> Tensor",
    names=(),
    body=Composite(_check_phase),
    doc="Raises where a loss depends on the phase of eigenvectors or singular vectors.",
)


def _differences(o, values):
    """values[j] - values[i], with ones on the diagonal."""
    gaps = o.unsqueeze(values, -2) - o.unsqueeze(values, -1)
    return gaps + o.diag_embed(o.ones_like(values))


def _eigh_grad(o, g, A, results):
    (gw, gV), (w, V) = g, (o.saved.output(0), o.saved.output(1))
    inner = o.matmul(V.mH, gV)
    if A.is_complex():
        turned = o.imag(o.diagonal(inner, 0, -2, -1))
        inner = o.check_phase(inner, turned, "eigenvectors", "linalg_eigh_backward")
    off = inner - o.diag_embed(o.diagonal(inner, 0, -2, -1))
    middle = off / _differences(o, w) + o.diag_embed(gw)
    return o.matmul(V, o.matmul(middle, V.mH)), [None, None]


op(
    "eigh_of(Tensor A, Tensor[] results) -> (Tensor eigenvalues, Tensor eigenvectors)",
    names=(),
    body=GIVEN,
    grad=_eigh_grad,
    saves=("o0", "o1"),
    doc="Eigenvalues and eigenvectors of a Hermitian A, given.",
)


op(
    "eigvalsh_of(Tensor A, Tensor V, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=lambda o, g, A, V, results: (o.matmul(V * o.unsqueeze(g, -2), V.mH), None, [None]),
    doc="The eigenvalues of a Hermitian A, given with its eigenvectors: their gradient needs no gaps between them.",
)


def _hermitian(o, A, UPLO, vectors):
    check.square(A, "linalg.eigh")
    side = UPLO.upper()
    if side not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    check.routine(A, "linalg_eigh_cpu")
    tracked = needs_grad(o, A)
    w, V, info = o.lapack_syevd(A.detach(), side == "U", vectors or tracked)
    check.raise_failure(info, "linalg.eigh", check.NOT_CONVERGED.replace("{what}", "eigenvalues"))
    if tracked:
        w, V = o.eigh_of(A, [w, V])
        w = o.eigvalsh_of(A, V, [w.detach()])
    return w, V


op(
    "linalg_eigh(Tensor self, str UPLO='L') -> (Tensor eigenvalues, Tensor eigenvectors)",
    names=("linalg.eigh",),
    body=Composite(lambda o, A, UPLO="L": _hermitian(o, A, UPLO, True)),
    doc="Eigenvalues in ascending order and orthonormal eigenvectors of Hermitian matrices; one triangle is read.",
)
op(
    "linalg_eigvalsh(Tensor self, str UPLO='L') -> Tensor",
    names=("linalg.eigvalsh",),
    body=Composite(lambda o, A, UPLO="L": _hermitian(o, A, UPLO, False)[0]),
    ref=lambda np, a: np.linalg.eigvalsh(a),
    doc="Eigenvalues of Hermitian matrices in ascending order; one triangle is read.",
)


def _eig_grad(o, g, A, results):
    """With A = V diag(w) V^-1 and columns of V of length 1."""
    (gw, gV), (w, V) = g, (o.saved.output(0), o.saved.output(1))
    h = V.mH
    inner = o.matmul(h, gV)
    diagonal = o.diagonal(inner, 0, -2, -1)
    inner = o.check_phase(inner, o.imag(diagonal), "eigenvectors", "linalg_eig_backward")
    along = o.real(diagonal)
    inner = inner - o.matmul(h, V) * o.unsqueeze(along, -2)
    off = inner - o.diag_embed(o.diagonal(inner, 0, -2, -1))
    middle = off / o.conj(_differences(o, w)) + o.diag_embed(gw)
    LU, pivots, _ = o.lapack_getrf(h)
    gA = o.lapack_getrs(h, LU, pivots, o.matmul(middle, h), False)
    return (gA if A.is_complex() else o.real(gA)), [None, None]


op(
    "eig_of(Tensor A, Tensor[] results) -> (Tensor eigenvalues, Tensor eigenvectors)",
    names=(),
    body=GIVEN,
    grad=_eig_grad,
    saves=("o0", "o1"),
    doc="Eigenvalues and eigenvectors of A, given.",
)


def _eigvals_grad(o, g, A, V, results):
    h = V.mH
    LU, pivots, _ = o.lapack_getrf(h)
    gA = o.lapack_getrs(h, LU, pivots, o.unsqueeze(g, -1) * h, False)
    return (gA if A.is_complex() else o.real(gA)), None, [None]


op(
    "eigvals_of(Tensor A, Tensor V, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_eigvals_grad,
    doc="The eigenvalues of A, given with its eigenvectors: their gradient needs no gaps between them.",
)


def _general(o, A, name, vectors):
    check.square(A, name)
    if A.dtype.code in check.INTEGRAL:
        raise RuntimeError(f"Unknown Complex ScalarType for {A.dtype.title}")
    check.routine(A, "linalg_eig_out_cpu")
    if not A.is_meta and not bool(o.all(o.isfinite(A))):
        raise RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs.")
    tracked = needs_grad(o, A)
    w, V, info = o.lapack_geev(A.detach(), vectors or tracked)
    check.raise_failure(info, "linalg.eig", check.NOT_CONVERGED.replace("{what}", "eigenvalues"))
    if tracked:
        w, V = o.eig_of(A, [w, V])
        w = o.eigvals_of(A, V, [w.detach()])
    return w, V


op(
    "linalg_eig(Tensor self) -> (Tensor eigenvalues, Tensor eigenvectors)",
    names=("linalg.eig",),
    body=Composite(lambda o, A: _general(o, A, "linalg.eig", True)),
    doc="Eigenvalues and eigenvectors of length 1 of square matrices; both are complex, in no order.",
)
op(
    "linalg_eigvals(Tensor self) -> Tensor",
    names=("linalg.eigvals",),
    body=Composite(lambda o, A: _general(o, A, "linalg.eigvals", False)[0]),
    doc="Eigenvalues of square matrices, complex, in no order.",
)
