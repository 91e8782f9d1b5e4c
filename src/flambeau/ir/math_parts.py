"""Numbers in two parts, whose sum has about twice the bits of one: sums, products, the logarithm.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

from . import fn
from .expr import Expr, const
from .math_common import F64, exponent_and_mantissa

# atanh_pow_f64: ((2 atanh(s) - 2s) / s^3 - 2/3) / s^2 in s^2
_LOG_TAIL = (
    0.4, 0.2857142857142553, 0.2222222222364756, 0.18181817900840005, 0.15384644570848063, 0.1333159950911818,
    0.1182420001042785, 0.09418214785218115, 0.18552785537529393,
)  # fmt: skip
_LN2_SHORT = (0.6931471805592082, 7.371002565167799e-13)  # the high part has 40 bits
_TWO_THIRDS = (0.6666666666666666, 3.700743415417188e-17)

Pair = tuple[Expr, Expr]


def two_sum(a: Expr, b: Expr) -> Pair:
    """a + b exactly, |a| >= |b|."""
    total = a + b
    return total, b - (total - a)


def two_product(a: Expr, b: Expr) -> Pair:
    product = a * b
    return product, fn.fma(a, b, -product)


def pair_product(a: Pair, b: Pair) -> Pair:
    high, low = two_product(a[0], b[0])
    return high, low + fn.fma(a[0], b[1], a[1] * b[0])


def log_pair(x: Expr) -> Pair:
    """log(x) of positive finite x in two parts, good to about 2^-67."""
    e, m = exponent_and_mantissa(x, F64)
    f = m - 1.0
    divisor = m + 1.0
    lost = m - (divisor - 1.0)
    s = f / divisor
    s_low = (fn.fma(-s, divisor, f) - s * lost) / divisor
    z, z_low = two_product(s, s)
    z_low = fn.fma(s * 2.0, s_low, z_low)
    tail = z * fn.polynomial(z, _LOG_TAIL)
    p, p_low = two_sum(const(_TWO_THIRDS[0], "f64"), tail)
    cube = pair_product((s, s_low), (z, z_low))
    c, c_low = pair_product(cube, (p, p_low + _TWO_THIRDS[1]))
    head, head_low = two_sum(s * 2.0, c)
    head_low = head_low + (c_low + s_low * 2.0)
    scaled = e * _LN2_SHORT[0]
    high, low = two_sum(scaled, head)
    direct = e == 0.0
    high, low = fn.where(direct, head, high), fn.where(direct, 0.0, low)
    return two_sum(high, low + fn.fma(e, _LN2_SHORT[1], head_low))
