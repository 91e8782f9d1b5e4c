"""Numbers in two parts, whose sum has about twice the bits of one: sums, products, exponential and logarithm.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

from . import fn
from .expr import Expr, const
from .math_common import F64, LOG2E, exponent_and_mantissa

# exp_f64: (exp(r) - 1 - r) / r^2
EXP = (
    0.5, 0.16666666666666685, 0.04166666666666672, 0.008333333333316735, 0.0013888888888859132, 0.00019841269897067197,
    2.4801587372599085e-05, 2.7557234228209365e-06, 2.7557234219155687e-07, 2.5112242919097036e-08,
    2.0926703404844063e-09,
)  # fmt: skip
# atanh_f64: (2 atanh(s) - 2s) / s^3 in s^2
_LOG = (
    0.6666666666666713, 0.39999999999520797, 0.285714287230138, 0.2222220027819545, 0.18183486221582634,
    0.15315844862590183, 0.14779613705557845,
)  # fmt: skip
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


def two_sum_of_any(a: Expr, b: Expr) -> Pair:
    """a + b exactly."""
    total = a + b
    moved = total - a
    return total, (a - (total - moved)) + (b - moved)


def two_product(a: Expr, b: Expr) -> Pair:
    product = a * b
    return product, fn.fma(a, b, -product)


def pair_product(a: Pair, b: Pair) -> Pair:
    high, low = two_product(a[0], b[0])
    return high, low + fn.fma(a[0], b[1], a[1] * b[0])


def exp_parts(high: Expr, low: Expr) -> tuple[Expr, Expr, Expr]:
    """n, a and b with exp(high + low) = 2^n * (a + b), -746 <= high <= 710: a is near 1, b within 0.07."""
    n = fn.round(high * LOG2E)
    first = fn.fma(-n, F64.ln2[0], high)  # exact
    second = fn.fma(-n, F64.ln2[1], low)
    r, r_low = two_sum(first, second)
    one, lost = two_sum(const(1.0, "f64"), r)
    return n, one, fn.fma(r * r, fn.polynomial(r, EXP), lost + r_low)


def log_parts(x: Expr, correction: Expr | None = None) -> tuple[Expr, Expr, Expr]:
    """e, f and t with log(x) = e*ln2 + f + t, by log(1 + f) = 2 atanh(s), s = f / (2 + f)."""
    e, m = exponent_and_mantissa(x, F64)
    f = m - 1.0
    s = f / (f + 2.0)
    half_square = f * f * 0.5
    z = s * s
    tail = fn.fma(s, fn.fma(z, fn.polynomial(z, _LOG), half_square), -half_square)
    return e, f, tail if correction is None else tail + correction


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
