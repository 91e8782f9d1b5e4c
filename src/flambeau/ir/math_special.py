"""Special functions of float64 in primitives: log-gamma and its derivatives.

Measured bounds stand with the tests. Polynomials are minimax fits made by `tools/minimax.py`.
"""

import math

from . import fn
from .expr import Expr, const
from .math_common import between
from .math_parts import Pair, log_pair, pair_product, two_product, two_sum, two_sum_of_any
from .math_zeta import derivative_of_digamma
from .repeat import repeat

# lgamma_f64: lgamma(x) / ((x - 1)(x - 2)) in x - 3/2, 1 <= x <= 2
LGAMMA = (
    0.4831289505409809, -0.14595989591430608, 0.06291140107456496, -0.03130848750100946, 0.016797098631183286,
    -0.009425622448628972, 0.005446457844815174, -0.0032120740696148474, 0.0019229161302261645,
    -0.0011644146742688165, 0.0007115224837273775, -0.000437991899933522, 0.0002712739009560487,
    -0.00016892748115081944, 0.00010565337810894246, -6.609122388822004e-05, 4.159364502257987e-05,
    -2.736118580580834e-05, 1.7466486677117218e-05, -8.071088833857233e-06, 4.920953795464054e-06,
    -7.977312290758742e-06, 5.256716774188108e-06,
)  # fmt: skip
# lgamma_parts_f64: the same with an error of 2^-76; the rounding errors of the first four coefficients
_LGAMMA_LONG = (
    0.4831289505409809, -0.14595989591430608, 0.06291140107456494, -0.031308487501011, 0.016797098631186877,
    -0.009425622448469803, 0.005446457844550815, -0.003212074077195477, 0.0019229161402721164, -0.00116441447404927,
    0.0007115222588549003, -0.00043799512239280574, 0.00027127708306371834, -0.0001688943000568767,
    0.00010562387315664866, -6.63138519556563e-05, 4.177469338009667e-05, -2.6397107000247233e-05,
    1.6743609975351793e-05, -1.064178499050825e-05, 6.692404854107153e-06, -4.248456106097942e-06,
    2.99019066395517e-06, -1.9619247129839927e-06, 6.597389884311193e-07, -3.602643243213347e-07,
    9.983595406379245e-07, -6.80367038361575e-07,
)  # fmt: skip
_LGAMMA_LOST = (1.6718807140877013e-17, -7.811427661660052e-19, -4.5242452469544e-18, 8.114449615175434e-19)
# B(2k) / (2k (2k - 1)): Stirling's series of lgamma in 1/x^2
_STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400)
# B(2k): asymptotic series of digamma and its derivatives
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
HALF_LOG_2PI = 0.9189385332046728


def sine_of_pi(x: Expr) -> Expr:
    """sin(pi * x), exactly 0 at integers."""
    return fn.sin((x - fn.round(x)) * math.pi)


def _lgamma_pair(x: Expr) -> Pair:
    """lgamma(1 + x) in two parts, 0 <= x <= 1."""
    z = x - 0.5
    few = len(_LGAMMA_LOST)
    quotient, rest = fn.polynomial(z, _LGAMMA_LONG[few:]), const(0.0, x.dtype)
    for coefficient, lost in zip(_LGAMMA_LONG[few - 1 :: -1], _LGAMMA_LOST[::-1], strict=True):
        high, low = two_product(quotient, z)
        low = fn.fma(rest, z, low)
        quotient, rest = two_sum(const(coefficient, x.dtype), high)
        rest = rest + (low + lost)
    return pair_product(two_product(x, x - 1.0), (quotient, rest))


_REFLECTED = -20.0  # below, lgamma is too large for its terms to cancel
STIRLING_FROM = 8.0


def steps_to_one(x: Expr) -> tuple[Expr, Expr, Expr, tuple[Expr, Expr, Expr]]:
    """The product p with lgamma(x) = lgamma(1 + y) + log |p|, or - log |p| below 1, for 0 <= y <= 1.

    It is (x - 1) (x - 2) ... (1 + y), or x (x + 1) ... y below.

    Returns:
        y; is x below 1; the product's first factor; and a, b, c: its further factors are k + b for k = a, ... before c.
    """
    floor = fn.floor(x)
    y, below = x - floor, x < 1.0
    start = fn.where(below, const(0.0, x.dtype), 1.0)
    further = (start, fn.where(below, -y, y), fn.where(below, -floor, floor))
    return y, below, fn.where(below, fn.abs(x), 1.0), further


AT_ONCE = 3  # factors that a step of the product takes


def factors(k: Expr, shift: Expr, count: Expr) -> list[Expr]:
    """k + shift, k + 1 + shift, ... of one step; 1 for what is not before count."""
    return [k + shift] + [fn.where(k + float(j) < count, (k + float(j)) + shift, 1.0) for j in range(1, AT_ONCE)]


def _product_to_one(x: Expr) -> tuple[Expr, Expr, Pair]:
    """y, the sign of the logarithm, and the product in two parts."""
    y, below, first, (start, shift, count) = steps_to_one(x)

    def step(high: Expr, low: Expr, k: Expr):
        go = k < count
        for factor in factors(k, shift, count):
            factor = fn.abs(factor)
            high, lost = two_product(high, factor)
            low = fn.fma(low, factor, lost)
        return go, high, low, k + float(AT_ONCE)

    high, low, _ = repeat(step, first, const(0.0, x.dtype), start, limit=1 - int(_REFLECTED) // AT_ONCE)
    return y, fn.where(below, -1.0, const(1.0, x.dtype)), (high, low)


def lgamma(x: Expr) -> Expr:
    """By lgamma between 1 and 2 and the logarithm of a product; by Stirling's series from 8; below -20 by reflection.

    Terms are kept in two parts: they cancel at the zeros of lgamma.
    """
    size = fn.abs(x)
    y, sign, (product, product_low) = _product_to_one(between(x, _REFLECTED, STIRLING_FROM))
    log, log_low = log_pair(fn.where((x < STIRLING_FROM) & (x > _REFLECTED), product, size))
    head, head_low = _lgamma_pair(y)
    total, lost = two_sum_of_any(head, sign * log)
    near = total + (lost + fn.fma(sign, log_low + product_low / product, head_low))
    factor, rest = two_sum(log, const(-1.0, x.dtype))
    main, main_low = two_product(size - 0.5, factor)
    main_low = fn.fma(size, rest + log_low, main_low) + (stirling(size) + (HALF_LOG_2PI - 0.5))
    above = fn.where(main == math.inf, main, main + main_low)
    log, log_low = log_pair(math.pi / fn.abs(x * sine_of_pi(x)))
    total, lost = two_sum_of_any(log, -main)
    reflected = total + (lost + (log_low - main_low))
    value = fn.where(x >= STIRLING_FROM, above, fn.unlikely(x <= _REFLECTED, reflected, near))
    return fn.where((fn.trunc(x) == x) & ((x <= 0.0) | (size == math.inf)), math.inf, value)


def lgamma_1p(x: Expr) -> Expr:
    """lgamma(1 + x) for 0 <= x <= 1, relatively exact near 0."""
    return x * (x - 1.0) * fn.polynomial(x - 0.5, LGAMMA)


def stirling(x: Expr) -> Expr:
    """lgamma(x) - ((x - 1/2) log(x) - x + log(2 pi) / 2) for x >= 8."""
    inverse = 1.0 / x
    return inverse * fn.polynomial(inverse * inverse, _STIRLING)


def polygamma(n: int, x: Expr) -> Expr:
    """The n-th derivative of digamma."""
    return derivative_of_digamma(n, x) if n else _digamma(x)


def _digamma(x: Expr) -> Expr:
    rest = x - fn.round(x)
    cotangent = math.pi / fn.tan(rest * math.pi)
    reflected = _digamma_positive(1.0 - x) - cotangent
    integer = fn.where(x == 0.0, fn.copysign(const(math.inf, x.dtype), -x), math.nan)
    reflected = fn.where(fn.trunc(x) == x, integer, reflected)
    return fn.where(x > 0.0, _digamma_positive(x), fn.where(fn.isnan(x), x, reflected))


_SHIFT = 10


def _digamma_positive(x: Expr) -> Expr:
    below = const(0.0, x.dtype)
    y = x
    for _ in range(_SHIFT):
        small = y < _SHIFT
        below = fn.where(small, below + 1.0 / y, below)
        y = fn.where(small, y + 1.0, y)
    inverse = 1.0 / y
    z = inverse * inverse
    series = z * fn.polynomial(z, [b / (2 * k + 2) for k, b in enumerate(_BERNOULLI)])
    value = (fn.log(y) - inverse * 0.5) - series - below
    return fn.where(x == math.inf, x, value)


EXPANSIONS = {"lgamma": lgamma, "polygamma": polygamma}
