"""Special functions of float32, computed in float64 by shorter forms than float64's: 0.502 units in the last place.

Expressions here are float64 ones; `math_f32` rounds them. Quotients are fits made by `tools/minimax.py` (the fit's name
stands beside each).
"""

import math

from . import fn
from .expr import Expr
from .math_common import LOG2E, between
from .math_pow import EXP2_F32
from .math_special import (
    AT_ONCE,
    HALF_LOG_2PI,
    LGAMMA,
    STIRLING_FROM,
    factors,
    sine_of_pi,
    steps_to_one,
    stirling,
)
from .repeat import repeat

# normal_tail_narrow: exp(x^2/2) times the probability beyond x, 0 <= x <= 14.5; the divisor's last coefficient is 1
_TAIL = (
    224.83469537481048, 228.10445959181925, 112.56851947355726, 32.020444008370106, 5.225509105246348,
    0.39894177463843933,
)  # fmt: skip
_TAIL_DIVISOR = (
    449.66939078630924, 814.9931800241376, 650.57287363115, 295.22077515819603, 81.2658862773281,
    13.098323898863695,
)  # fmt: skip
_LAST = -20.0  # of the arguments that go to 1 by steps


def _tail(x: Expr) -> Expr:
    """The normal probability beyond x >= 0."""
    x = fn.where(x > 14.5, 14.5, x)
    power = x * x * (-LOG2E / 2)
    n = fn.round(power)
    divisor = x + _TAIL_DIVISOR[-1]
    for c in _TAIL_DIVISOR[-2::-1]:
        divisor = fn.fma(divisor, x, c)
    return fn.ldexp(fn.polynomial(power - n, EXP2_F32) * (fn.polynomial(x, _TAIL) / divisor), n)


def ndtr(x: Expr) -> Expr:
    tail = _tail(fn.abs(x))
    return fn.where(x < 0.0, tail, 1.0 - tail)


def erfc(x: Expr) -> Expr:
    tail = _tail(fn.abs(x) * math.sqrt(2)) * 2.0
    return fn.where(x < 0.0, 2.0 - tail, tail)


def lgamma(x: Expr) -> Expr:
    """As in float64, without the second parts: no float32 is so near a zero that it would tell."""
    size = fn.abs(x)
    y, below, first, (start, shift, count) = steps_to_one(between(x, _LAST, STIRLING_FROM))

    def step(product: Expr, k: Expr):
        go = k < count
        for factor in factors(k, shift, count):
            product = product * factor
        return go, product, k + float(AT_ONCE)

    product, _ = repeat(step, first, start, limit=1 - int(_LAST) // AT_ONCE)
    log = fn.log(fn.where((x < STIRLING_FROM) & (x > _LAST), fn.abs(product), size))
    near = y * (y - 1.0) * fn.polynomial(y - 0.5, LGAMMA) + fn.where(below, -log, log)
    above = fn.fma(size - 0.5, log - 1.0, stirling(size) + (HALF_LOG_2PI - 0.5))
    reflected = fn.log(math.pi / fn.abs(x * sine_of_pi(x))) - above
    value = fn.where(x >= STIRLING_FROM, above, fn.unlikely(x <= _LAST, reflected, near))
    return fn.where((fn.trunc(x) == x) & ((x <= 0.0) | (size == math.inf)), math.inf, value)


EXPANSIONS = {"erfc": erfc, "ndtr": ndtr, "lgamma": lgamma}
