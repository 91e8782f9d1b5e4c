"""Singular values, and what is made of them: pseudoinverse, rank, condition."""

import math

from ..launch import needs_grad
from ..table import Composite, op
from . import check
from .eigen import _differences
from .library import GIVEN


def _skew(x):
    return x - x.mH


def _svd_grad(o, g, A, shape, results):
    """A = U diag(S) V^H with k = min(m, n) singular vectors; those beyond have no influence on the loss.

    What gU and gV have outside of the space of U and V comes in over S once.
    """
    (gU, gS, gVh), (U, S, Vh) = g, (o.saved.output(0), o.saved.output(1), o.saved.output(2))
    k = S.shape[-1]
    U, gU = o.narrow(U, -1, 0, k), o.narrow(gU, -1, 0, k)
    Vh, gVh = o.narrow(Vh, -2, 0, k), o.narrow(gVh, -2, 0, k)
    turn_u, turn_v = _skew(o.matmul(U.mH, gU)), _skew(o.matmul(Vh, gVh.mH))
    row, column = o.unsqueeze(S, -2), o.unsqueeze(S, -1)
    if A.is_complex():
        both = o.imag(o.diagonal(turn_u + turn_v, 0, -2, -1))
        turn_u = o.check_phase(turn_u, both, "singular vectors", "svd_backward")
    gaps = _differences(o, S * S)
    middle = (turn_u / gaps) * row + column * (turn_v / gaps)
    middle = middle - o.diag_embed(o.diagonal(middle, 0, -2, -1)) + o.diag_embed(gS)
    if A.is_complex():
        middle = middle + o.diag_embed(o.diagonal(turn_u, 0, -2, -1) / (S * 2))
    if shape == "tall":
        beyond = gU / row
        left = o.matmul(U, middle) + beyond - o.matmul(U, o.matmul(U.mH, beyond))
        return o.matmul(left, Vh), [None] * 3
    right = o.matmul(middle, Vh)
    if shape == "wide":
        beyond = gVh / column
        right = right + beyond - o.matmul(o.matmul(beyond, Vh.mH), Vh)
    return o.matmul(U, right), [None] * 3


op(
    "svd_of(Tensor A, str shape, Tensor[] results) -> (Tensor U, Tensor S, Tensor Vh)",
    names=(),
    body=GIVEN,
    grad=_svd_grad,
    saves=("o0", "o1", "o2"),
    doc="The singular value decomposition of A, given.",
)


op(
    "svdvals_of(Tensor A, Tensor U, Tensor Vh, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=lambda o, g, A, U, Vh, results: (o.matmul(U * o.unsqueeze(g, -2), Vh), None, None, [None]),
    doc="The singular values of A, given with its singular vectors: their gradient needs no gaps between them.",
)

_NOT_FINITE = "The algorithm failed to converge because the input matrix contained non-finite values."


def _decomposed(o, A, full, vectors):
    """U, S, V^H; without `vectors` and gradients U and V^H are empty."""
    check.matrices(A, "linalg.svd")
    check.floating(A, "linalg.svd")
    check.routine(A, "linalg_svd_cpu")
    tracked = needs_grad(o, A)
    U, S, Vh, info = o.lapack_gesdd(A.detach(), full and vectors, vectors or tracked)
    _, code = check.first_failure(info)
    check.raise_failure(
        info, "linalg.svd", _NOT_FINITE if code == -4 else check.NOT_CONVERGED.replace("{what}", "singular values")
    )
    if not tracked:
        return U, S, Vh
    U, S, Vh = o.svd_of(A, check.shape_of(A), [U, S, Vh])
    k = S.shape[-1]
    return U, o.svdvals_of(A, U.narrow(-1, 0, k), Vh.narrow(-2, 0, k), [S.detach()]), Vh


def _check_driver(driver):
    if driver is not None:
        raise RuntimeError(
            "torch.linalg.svd: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )


def _linalg_svd(o, A, full_matrices=True, *, driver=None):
    _check_driver(driver)
    return _decomposed(o, A, full_matrices, True)


op(
    "linalg_svd(Tensor A, bool full_matrices=True, *, str? driver=None) -> (Tensor U, Tensor S, Tensor Vh)",
    names=("linalg.svd",),
    body=Composite(_linalg_svd),
    doc="""A = U diag(S) V^H with orthonormal columns of U and V and S descending.

    full_matrices=False leaves min(m, n) columns of U and rows of V^H.""",
)


def _svdvals(o, A, *, driver=None):
    _check_driver(driver)
    return _decomposed(o, A, False, False)[1]


op(
    "linalg_svdvals(Tensor A, *, str? driver=None) -> Tensor",
    names=("linalg.svdvals",),
    body=Composite(_svdvals),
    ref=lambda np, a: np.linalg.svd(a, compute_uv=False),
    doc="Singular values, descending.",
)


def _svd(o, A, some=True, compute_uv=True):
    if A.dim() < 2:
        raise RuntimeError(f"linalg.svd: input should have at least 2 dimensions, but has {A.dim()} dimensions instead")
    if compute_uv:
        U, S, Vh = _decomposed(o, A, not some, True)
        return U, S, Vh.mH
    S = _decomposed(o, A, False, False)[1]
    m, n = A.shape[-2:]
    zeros = {"dtype": A.dtype, "device": A.device}
    return o.zeros((*A.shape[:-2], m, m), **zeros), S, o.zeros((*A.shape[:-2], n, n), **zeros).mT


op(
    "svd(Tensor self, bool some=True, bool compute_uv=True) -> (Tensor U, Tensor S, Tensor V)",
    body=Composite(_svd),
    doc="U, S and V with A = U diag(S) V^H; see linalg.svd.",
)


# ---- pseudoinverse and rank


def pinv_grad(o, g, A, P, shape):
    """Without decompositions, so that equal singular values do no harm."""
    Ph, gh = P.mH, g.mH
    if shape != "tall":
        K = o.matmul(gh, P)
        KPh = o.matmul(K, Ph)
        gA = KPh - o.matmul(P, K).mH - o.matmul(o.matmul(A, P), KPh)
        return gA + o.matmul(o.matmul(Ph, P), gh - o.matmul(K, A))
    K = o.matmul(P, gh)
    PhK = o.matmul(Ph, K)
    gA = PhK - o.matmul(K, P).mH - o.matmul(o.matmul(PhK, P), A)
    return gA + o.matmul(o.matmul(gh - o.matmul(A, K), P), Ph)


op(
    "pinv_of(Tensor A, str shape, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=lambda o, g, A, shape, results: (pinv_grad(o, g, A, o.saved.output(0), shape), [None]),
    saves=("o0",),
    doc="The pseudoinverse of A, given.",
)


def _tolerances(o, A, atol, rtol, name):
    """Both as tensors of A's real dtype; rtol is max(m, n) eps where there is no other tolerance."""
    real = A.dtype.to_real()
    for what, x in (("atol", atol), ("rtol", rtol)):
        if isinstance(x, o.Tensor) and x.dtype.is_complex:
            raise RuntimeError(f"{name}: {what} tensor of complex type is not supported. Got {x.dtype.title}")
    default = check.epsilon(A.dtype) * max(A.shape[-2:])

    def tensor(x):
        return x.detach().to(real) if isinstance(x, o.Tensor) else o.full((), float(x), dtype=real, device=A.device)

    if rtol is None:
        rtol = o.full((), default, dtype=real, device=A.device)
        if atol is not None:
            rtol = o.where(tensor(atol) > 0, o.zeros_like(rtol), rtol)
    return tensor(0.0 if atol is None else atol), tensor(rtol)


def _significant(o, S, largest, A, atol, rtol, name):
    """Which singular values count."""
    atol, rtol = _tolerances(o, A, atol, rtol, name)
    return o.maximum(atol, rtol * largest).unsqueeze(-1) < S


def _pinv(o, A, *, atol=None, rtol=None, hermitian=False):
    if A.dim() < 2 or A.dtype.code in check.NO_ROUTINES:
        raise RuntimeError(
            f"linalg.pinv({A.dtype.title}{{{list(A.shape)}}}): expected a tensor with 2 or more dimensions of float, "
            "double, cfloat or cdouble types"
        )
    held = A.detach()
    if not A.numel():
        P = o.empty((*A.shape[:-2], A.shape[-1], A.shape[-2]), dtype=A.dtype, device=A.device)
        return o.pinv_of(A, check.shape_of(A), [P]) if needs_grad(o, A) else P
    if hermitian:
        check.square(A, "linalg.eigh")
        S, U = o.linalg_eigh(held)
        sizes = S.abs()
        Vh, largest = U.mH, o.amax(sizes, -1)
    else:
        U, S, Vh = o.linalg_svd(held, False)
        sizes, largest = S, S.select(-1, 0)
    kept = _significant(o, sizes, largest, held, atol, rtol, "torch.linalg.pinv")
    inverse = o.where(kept, 1 / S, o.zeros_like(S))
    P = o.matmul(Vh.mH * inverse.unsqueeze(-2), U.mH)
    return o.pinv_of(A, check.shape_of(A), [P]) if needs_grad(o, A) else P


_PINV = {"names": ("linalg.pinv",), "doc": "The pseudoinverse: singular values at or below max(atol, rtol S[0]) count as 0."}
op(
    "linalg_pinv.atol_rtol_tensor(Tensor self, *, Tensor? atol=None, Tensor? rtol=None, bool hermitian=False) -> Tensor",
    body=Composite(_pinv),
    **_PINV,
)
op(
    "linalg_pinv.atol_rtol_float(Tensor self, *, float? atol=None, float? rtol=None, bool hermitian=False) -> Tensor",
    body=Composite(_pinv),
    **_PINV,
)
for _overload, _kind in (("rcond", "float"), ("rcond_tensor", "Tensor")):
    op(
        f"linalg_pinv.{_overload}(Tensor self, {_kind} rcond, bool hermitian=False) -> Tensor",
        body=Composite(lambda o, A, rcond, hermitian=False: _pinv(o, A, rtol=rcond, hermitian=hermitian)),
        **_PINV,
    )
op(
    "pinverse(Tensor self, float rcond=1e-15) -> Tensor",
    body=Composite(lambda o, A, rcond=1e-15: _pinv(o, A, rtol=rcond)),
    doc="The pseudoinverse; see linalg.pinv.",
)


def _matrix_rank(o, A, *, atol=None, rtol=None, hermitian=False):
    name = "torch.linalg.matrix_rank"
    check.matrices(A, name, "input")
    if A.dtype.code in check.NO_ROUTINES:
        raise RuntimeError("This function doesn't handle types other than float and double")
    A = A.detach()
    if not A.numel():
        return o.zeros(A.shape[:-2], dtype=o.int64, device=A.device)
    S = o.linalg_eigvalsh(A).abs() if hermitian else o.linalg_svdvals(A)
    return o.sum(_significant(o, S, o.amax(S, -1), A, atol, rtol, name), -1)


_RANK = {"names": ("linalg.matrix_rank",), "differentiable": False,
         "doc": "How many singular values are above max(atol, rtol S[0])."}  # fmt: skip
for _overload, _kind in (("atol_rtol_tensor", "Tensor"), ("atol_rtol_float", "float")):
    op(
        f"linalg_matrix_rank.{_overload}(Tensor input, *, {_kind}? atol=None, {_kind}? rtol=None, bool hermitian=False) -> Tensor",
        body=Composite(_matrix_rank),
        **_RANK,
    )
for _overload, _kind in (("tol", "float"), ("tol_tensor", "Tensor")):
    op(
        f"linalg_matrix_rank.{_overload}(Tensor self, {_kind} tol, bool hermitian=False) -> Tensor",
        body=Composite(lambda o, A, tol, hermitian=False: _matrix_rank(o, A, atol=tol, rtol=0.0, hermitian=hermitian)),
        **_RANK,
    )


# ---- condition


def _cond(o, A, p=None):
    if A.dim() < 2:
        raise RuntimeError("linalg.cond: The input tensor must have at least 2 dimensions.")
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not isinstance(p, str) and p not in (None, 1, -1, 2, -2, math.inf, -math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if p not in (None, 2, -2):
        check.square_sizes(A, f"linalg.cond(ord={p}): A")
    if not A.numel():
        return o.zeros(A.shape[:-2], dtype=A.dtype.to_real(), device=A.device)
    if p in (None, 2, -2):
        S = o.linalg_svdvals(A)
        largest, least = S.select(-1, 0), S.select(-1, -1)
        return least / largest if p == -2 else largest / least
    inverse, info = o.linalg_inv_ex(A)
    singular = (info != 0).unsqueeze(-1).unsqueeze(-1)
    inverse = o.masked_fill(inverse, singular, math.inf)
    return o.linalg_matrix_norm(A, p) * o.linalg_matrix_norm(inverse, p)


op(
    "linalg_cond(Tensor self, Any p=None) -> Tensor",
    names=("linalg.cond",),
    body=Composite(_cond),
    doc="Condition: the norm of A times that of its inverse; without p (or 2) the greatest over the least singular value.",
)
