"""The normal distribution of float64: its cumulative function, the logarithm and the inverse of that.

All are made of erfcx, so that tails keep their relative accuracy. Bounds are measured in `tests/test_ir_special.py`.
"""

import math

from . import fn
from .expr import Expr, const
from .math_common import between

_ROOT_HALF = math.sqrt(0.5)
_HAZARD = math.sqrt(2 / math.pi)  # density / tail = _HAZARD / erfcx(x / sqrt(2))


def _tail(x: Expr) -> Expr:
    """The probability beyond x >= 0: exp(-x*x/2) erfcx(x / sqrt(2)) / 2, the square in two parts."""
    near = between(x, 0.0, 40.0)
    square = near * near
    lost = fn.fma(near, near, -square)
    density = fn.exp(square * -0.5)
    return fn.fma(density, lost * -0.5, density) * fn.erfcx(near * _ROOT_HALF) * 0.5


def ndtr(x: Expr) -> Expr:
    tail = _tail(fn.abs(x))
    near = fn.fma(fn.erf(x * _ROOT_HALF), 0.5, 0.5)
    return fn.where(fn.abs(x) < 1.0, near, fn.where(x < 0.0, tail, 1.0 - tail))


def log_ndtr(x: Expr) -> Expr:
    left = fn.log(fn.erfcx(x * -_ROOT_HALF) * 0.5) - x * x * 0.5
    return fn.where(x < -1.0, left, fn.log1p(-ndtr(-x)))


def ndtri(p: Expr) -> Expr:
    """Within the middle half by erfinv; in the tails by Newton's steps on the logarithm of the tail."""
    upper = p > 0.5
    q = fn.where(upper, 1.0 - p, p)
    inside = fn.where((q > 0.0) & (q < 0.25), q, 0.125)
    goal = fn.log(inside)
    t = fn.sqrt(goal * -2.0)
    x = t - fn.fma(t, 0.27061, 2.30753) / fn.fma(t, fn.fma(t, 0.04481, 0.99229), 1.0)
    for _ in range(3):
        scaled = fn.erfcx(x * _ROOT_HALF)
        excess = fn.log(scaled * 0.5) - x * x * 0.5 - goal
        x = x + excess * scaled * (1 / _HAZARD)
    tail = fn.where(q == 0.0, const(math.inf, "f64"), x)
    middle = fn.erfinv(p * 2.0 - 1.0) * math.sqrt(2.0)
    value = fn.where(q < 0.25, fn.where(upper, tail, -tail), middle)
    return fn.where((p >= 0.0) & (p <= 1.0), value, math.nan)


EXPANSIONS = {"ndtr": ndtr, "log_ndtr": log_ndtr, "ndtri": ndtri}
