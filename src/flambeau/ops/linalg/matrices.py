"""Functions of matrices: powers and the exponential."""

import math

from ..launch import needs_grad
from ..table import Composite, op
from . import check
from .library import GIVEN


def _matrix_power(o, A, n):
    check.square(A, "linalg.matrix_power")
    if n == 0:
        eye = o.eye(A.shape[-1], dtype=A.dtype, device=A.device)
        return A.clone(memory_format=o.contiguous_format).zero_() + eye  # a constant, but of A's history
    if n < 0:
        A, n = o.linalg_inv(A), -n
    if n == 1:
        return A.clone()
    power, result = A, None
    while n:
        if n & 1:
            result = power if result is None else o.matmul(result, power)
        n >>= 1
        if n:
            power = o.matmul(power, power)
    return result


for _signature, _names in (
    ("linalg_matrix_power(Tensor self, int n) -> Tensor", ("linalg.matrix_power",)),
    ("matrix_power(Tensor self, int n) -> Tensor", ("matrix_power", "Tensor.matrix_power")),
):
    op(
        _signature,
        names=_names,
        body=Composite(_matrix_power),
        doc="A times itself n times, by squaring; of the inverse where n is negative.",
    )

# exp(A) by the Taylor series of degree 18 of A / 2^s, squared s times. Below this norm the rest of the series is under
# the rounding of float64 (Bader, Blanes, Casas 2019: 1.09); powers are grouped by threes (Paterson, Stockmeyer).
_LARGEST_NORM = 1.09
_DEGREE = 18
_GROUP = 3


def _taylor(o, A):
    """The series as a polynomial in A^3 whose coefficients are polynomials of degree 2."""
    eye = o.eye(A.shape[-1], dtype=A.dtype, device=A.device)
    powers = [eye, A, o.matmul(A, A)]
    cube = o.matmul(powers[2], A)
    total = None
    for first in range(_DEGREE - _DEGREE % _GROUP, -1, -_GROUP):
        terms = [p / math.factorial(first + i) for i, p in enumerate(powers) if first + i <= _DEGREE]
        part = sum(terms[1:], terms[0])
        total = part if total is None else o.matmul(total, cube) + part
    return total


def _exponential(o, A):
    norm = o.amax(o.sum(o.abs(A), -2), -1)
    if A.is_meta:
        return o.empty_like(A)
    halvings = o.clamp(o.ceil(o.log2(norm / _LARGEST_NORM)), min=0)
    halvings = o.where(o.isfinite(halvings), halvings, o.zeros_like(halvings))
    E = _taylor(o, A * o.unsqueeze(o.unsqueeze(o.exp2(-halvings), -1), -1))
    most = int(o.amax(halvings).item())
    for i in range(most):
        again = (halvings > i).unsqueeze(-1).unsqueeze(-1)
        E = o.where(again, o.matmul(E, E), E)
    return E


def _exponential_grad(o, g, A, results):
    """The right upper block of exp([[A^H, g], [0, A^H]])."""
    h, n = A.mH, A.shape[-1]
    above = o.cat([h, g], -1)
    below = o.cat([o.zeros_like(h), h], -1)
    return o.narrow(o.narrow(o.linalg_matrix_exp(o.cat([above, below], -2)), -2, 0, n), -1, n, n), [None]


op(
    "matrix_exp_of(Tensor A, Tensor[] results) -> Tensor",
    names=(),
    body=GIVEN,
    grad=_exponential_grad,
    doc="The exponential of A, given.",
)


def _matrix_exp(o, A):
    check.square(A, "linalg.matrix_exp")
    check.floating(A, "linalg.matrix_exp")
    held = A.detach()
    if not A.numel():
        found = held.clone(memory_format=o.contiguous_format)
    else:  # squarings double the error, so that single precision is computed in double
        wide = o.complex128 if A.dtype.is_complex else o.float64
        found = _exponential(o, held.to(wide).contiguous()).to(A.dtype)
    return o.matrix_exp_of(A, [found]) if needs_grad(o, A) else found


for _signature, _names in (
    ("linalg_matrix_exp(Tensor self) -> Tensor", ("linalg.matrix_exp",)),
    ("matrix_exp(Tensor self) -> Tensor", ("matrix_exp", "Tensor.matrix_exp")),
):
    op(_signature, names=_names, body=Composite(_matrix_exp), doc="sum A^k / k!, the exponential of a square matrix.")
