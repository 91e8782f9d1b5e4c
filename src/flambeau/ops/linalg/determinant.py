"""Determinants, from LU."""

from ..launch import needs_grad
from ..table import Composite, op
from . import check
from .library import GIVEN


def _factored(o, A, name, low=True):
    check.square(A, name)
    check.floating(A, name, low)
    check.routine(A, "lu_cpu")
    return o.lapack_getrf(A.detach())[:2]


def _scaled_inverse(o, A, LU, pivots, scale):
    """A^-H times a number for each matrix."""
    diagonal = o.expand(o.unsqueeze(scale, -1), A.shape[:-1])
    return o.lapack_getrs(A, LU, pivots, o.diag_embed(diagonal), True)


def _det_grad(o, g, A, LU, pivots, results):
    """det A^-H; a zero on U's diagonal is moved away so that the system has a solution."""
    diagonal = o.diagonal(LU, 0, -2, -1)
    moved = LU + o.diag_embed((diagonal == 0).to(A.dtype) * check.epsilon(A.dtype))
    return _scaled_inverse(o, A, moved, pivots, g * o.conj(o.saved.output(0))), None, None, [None]


op(
    "det_of(Tensor A, Tensor LU, Tensor pivots, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_det_grad,
    saves=("o0",),
    doc="The determinant of A, given.",
)


def _det(o, A):
    LU, pivots = _factored(o, A, "linalg.det")
    det = o.lapack_det(LU, pivots)
    return o.det_of(A, LU, pivots, [det]) if needs_grad(o, A) else det


for _signature, _names in (
    ("linalg_det(Tensor A) -> Tensor", ("linalg.det",)),
    ("det(Tensor self) -> Tensor", ("det", "Tensor.det")),
):
    op(_signature, names=_names, body=Composite(_det), ref=lambda np, a: np.linalg.det(a), doc="The determinant.")


def _slogdet_grad(o, g, A, LU, pivots, results):
    """d log|det| = Re tr(A^-1 dA), d sign = i Im tr(A^-1 dA) sign."""
    g_sign, g_log = g
    if A.is_complex():
        g_log = o.complex(g_log, o.imag(g_sign * o.conj(o.saved.output(0))))
    return _scaled_inverse(o, A, LU, pivots, g_log), None, None, [None, None]


op(
    "slogdet_of(Tensor A, Tensor LU, Tensor pivots, Tensor[] results) -> (Tensor sign, Tensor logabsdet)",
    names=(),
    body=GIVEN,
    grad=_slogdet_grad,
    saves=("o0",),
    doc="Sign and logarithm of the determinant of A, given.",
)


def _signed(o, A, name):
    LU, pivots = _factored(o, A, name, low=False)
    sign, logs = o.lapack_slogdet(LU, pivots)
    return o.slogdet_of(A, LU, pivots, [sign, logs]) if needs_grad(o, A) else (sign, logs)


def _slogdet(o, A):
    return tuple(_signed(o, A, "linalg.slogdet"))


for _signature, _names in (
    ("linalg_slogdet(Tensor A) -> (Tensor sign, Tensor logabsdet)", ("linalg.slogdet",)),
    ("slogdet(Tensor self) -> (Tensor sign, Tensor logabsdet)", ("slogdet", "Tensor.slogdet")),
):
    op(
        _signature,
        names=_names,
        body=Composite(_slogdet),
        doc="Sign (a number of modulus 1, or 0) and natural logarithm of the absolute value of the determinant.",
    )


def _logdet(o, A):
    sign, logs = _signed(o, A, "logdet")
    if A.dtype.is_complex:
        return o.log(sign) + logs
    return o.where(sign == -1, float("nan"), logs)


op("logdet(Tensor self) -> Tensor", body=Composite(_logdet), doc="Logarithm of the determinant; nan where it is negative.")
