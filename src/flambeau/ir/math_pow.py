"""Powers: x**y for float64 with the logarithm in two parts, for float32 in float64, and for integers.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

import math

from . import fn
from . import types as t
from .expr import Expr, const
from .math_common import F64, LOG2E, between, exponent_and_mantissa, power_of_two_and_rest
from .math_parts import EXP, log_pair, two_product
from .repeat import repeat

# atanh_pow_f32: (2 atanh(s) - 2s) / s^3 in s^2; exp2_pow_f32: 2^r
_LOG_F32 = (0.6666666563931221, 0.40000336725704017, 0.2853720339162535, 0.2358427580883156)
EXP2_F32 = (
    0.9999999999595348, 0.6931471805350286, 0.24022651213692373, 0.05550410976105039, 0.00961802559259364,
    0.0013333422647083518, 0.000154697347408328, 1.5316461574910607e-05,
)  # fmt: skip


def _exp_pair(high: Expr, low: Expr) -> Expr:
    low = fn.where(fn.abs(high) < 1000.0, low, 0.0)
    n, _ = power_of_two_and_rest(between(high, -746.0, 710.0), F64)
    r = fn.fma(-n, F64.ln2[0], between(high, -746.0, 710.0))
    r = r + fn.fma(-n, F64.ln2[1], low)
    return fn.ldexp(fn.fma(r * r, fn.polynomial(r, EXP), r) + 1.0, n)


def _power_specials(x: Expr, y: Expr, magnitude: Expr) -> Expr:
    """x**y from |x|**y: signs, zeros, infinities and nan as in C."""
    size = fn.abs(x)
    integral = fn.trunc(y) == y
    half = y * 0.5
    negative = fn.signbit(x) & integral & (fn.trunc(half) != half)
    grows = (y > 0.0) == (size > 1.0)
    edge = (size == 0.0) | (size == math.inf) | (fn.abs(y) == math.inf)
    magnitude = fn.where(edge, fn.where(size == 1.0, 1.0, fn.where(grows, const(math.inf, x.dtype), 0.0)), magnitude)
    value = fn.where(negative, -magnitude, magnitude)
    value = fn.where((x < 0.0) & ~integral & (size != math.inf), math.nan, value)
    value = fn.where(fn.isnan(x) | fn.isnan(y), x + y, value)
    return fn.where((x == 1.0) | (y == 0.0), 1.0, value)


def _short_power(x: Expr, y: Expr) -> Expr | None:
    """The exponents that are written out, as in PyTorch."""
    forms = {
        2.0: lambda: x * x,
        3.0: lambda: x * x * x,
        0.5: lambda: fn.sqrt(x),
        -0.5: lambda: 1.0 / fn.sqrt(x),
        -1.0: lambda: 1.0 / x,
        -2.0: lambda: 1.0 / (x * x),
    }
    form = forms.get(y.attr) if y.op == "const" else None
    return form() if form else None


def pow_f64(x: Expr, y: Expr) -> Expr:
    short = _short_power(x, y)
    if short is not None:
        return short
    high, low = log_pair(fn.abs(x))
    product, product_low = two_product(high, y)
    return _power_specials(x, y, _exp_pair(product, fn.fma(low, y, product_low)))


def pow_f32(x: Expr, y: Expr) -> Expr:
    """exp2(y * log2(x)) in float64, where short polynomials leave an error far below float32's last place."""
    short = _short_power(x, y)
    if short is not None:
        return short
    e, m = exponent_and_mantissa(fn.cast(fn.abs(x), "f64"), F64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    log2 = fn.fma(fn.fma(z * s, fn.polynomial(z, _LOG_F32), s * 2.0), LOG2E, e)
    product = between(fn.cast(y, "f64") * log2, -160.0, 160.0)
    n = fn.round(product)
    power = fn.ldexp(fn.polynomial(product - n, EXP2_F32), n)
    return _power_specials(x, y, fn.cast(power, "f32"))


def pow_int(x: Expr, y: Expr) -> Expr:
    """x**y, wrapping, by squaring; a negative exponent gives 0 unless x is 1 or -1."""

    def step(result: Expr, square: Expr, y: Expr):
        return y > 0, fn.where(y & 1 != 0, result * square, result), square * square, y >> 1

    result = repeat(step, const(1, x.dtype), x, y, limit=t.bits(x.dtype))[0]
    if not t.is_signed(x.dtype):
        return result
    alternating = fn.where(y & 1 == 0, const(1, x.dtype), -1)
    reciprocal = fn.where(x == 1, const(1, x.dtype), fn.where(x == -1, alternating, 0))
    return fn.where(y < 0, reciprocal, result)
