"""Mathematical functions of float64 in primitives: 4 units in the last place or better, exact at the specials.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

import math
from collections.abc import Callable

from . import fn
from .expr import Expr, const
from .math_common import F64, LOG2E, between, log_specials, odd, power_of_two_and_rest
from .math_erf import erf, erfc, erfcx, erfinv
from .math_parts import EXP, log_parts, two_product, two_sum
from .math_pow import pow_f64
from .math_trig import cos, sin, tan

# expm1_f64: (exp(r) - 1 - r) / r^2, relative to expm1
_EXPM1 = (
    0.5, 0.16666666666666666, 0.04166666666666669, 0.008333333333333338, 0.001388888888887193, 0.00019841269841245498,
    2.480158735005076e-05, 2.7557319277679294e-06, 2.755725194325508e-07, 2.5052047518349445e-08,
    2.0921570696317966e-09, 1.609339523966936e-10,
)  # fmt: skip
# exp2_f64: (2^r - 1) / r
_EXP2 = (
    0.6931471805599453, 0.24022650695910072, 0.0555041086648217, 0.009618129107628496, 0.0013333558146390483,
    0.0001540353039334114, 1.5252733856191133e-05, 1.3215486833039627e-06, 1.0178051229392017e-07,
    7.0548882532081175e-09, 4.456670501612729e-10, 2.5741809058791782e-11,
)  # fmt: skip
# atan_f64: (atan(x) - x) / x^3 in x^2, |x| <= tan(pi/8)
_ATAN = (
    -0.3333333333333333, 0.19999999999998783, -0.14285714285497494, 0.11111111093808965, -0.09090908317889039,
    0.07692286183779053, -0.06666271745612255, 0.05877419112690806, -0.052207367990348724, 0.04512277614310621,
    -0.033662889758448146, 0.01537376655286391,
)  # fmt: skip
# asin_f64: (asin(x) - x) / x^3 in x^2, |x| <= 1/2
_ASIN = (
    0.16666666666666666, 0.07500000000001189, 0.04464285714090233, 0.030381944586635606, 0.02237215329123482,
    0.017352912978570317, 0.013962298348536389, 0.011582050501825383, 0.009507700483621272, 0.009900528485942695,
    0.001028615754075851, 0.024104897799263406, -0.02526158810962024, 0.03315445798653916,
)  # fmt: skip

_TAN_PI_8 = 0.41421356237309503
_PI_4_LOW = 3.061616997868383e-17  # pi/4 without its float64


def exp(x: Expr) -> Expr:
    n, r = power_of_two_and_rest(between(x, -746.0, 710.0), F64)
    return fn.ldexp(fn.fma(r * r, fn.polynomial(r, EXP), r) + 1.0, n)


def exp_over(x: Expr, k: Expr) -> Expr:
    """exp(x) / 2^k for a whole k and x < (k + 1023) ln2."""
    n, r = power_of_two_and_rest(fn.clamp(x, k * F64.ln2[0] - 746.0), F64)
    return fn.ldexp(fn.fma(r * r, fn.polynomial(r, EXP), r) + 1.0, n - k)


def exp2(x: Expr) -> Expr:
    x = between(x, -1076.0, 1025.0)
    n = fn.round(x)
    r = x - n
    return fn.ldexp(fn.fma(r, fn.polynomial(r, _EXP2), 1.0), n)


def expm1(x: Expr) -> Expr:
    """2^n * (1 + t) - 1 with t = expm1(r); halved while it is summed, so that 2^1024 is not met."""
    return _half_expm1(x) * 2.0


def _half_expm1(x: Expr) -> Expr:
    n, r = power_of_two_and_rest(between(x, -60.0, 709.9), F64)
    small = fn.fma(r * r, fn.polynomial(r, _EXPM1), r)
    half_power = fn.ldexp(const(0.5, "f64"), n)
    value = fn.fma(half_power, small, half_power - 0.5)
    return fn.where(fn.abs(x) < 1e-300, x * 0.5, value)


def _log_sum(e: Expr, f: Expr, tail: Expr) -> Expr:
    high, low = F64.ln2
    return fn.fma(e, high, f + fn.fma(e, low, tail))


def log(x: Expr) -> Expr:
    return log_specials(x, _log_sum(*log_parts(x)))


def log1p(x: Expr) -> Expr:
    """log(u) with u = 1 + x rounded, and what the rounding lost put back divided by u."""
    u = x + 1.0
    lost = fn.where(x > 1.0, 1.0 - (u - x), x - (u - 1.0)) / u
    value = _log_sum(*log_parts(u, lost))
    return fn.where(fn.abs(x) < 1e-10, fn.fma(x * -0.5, x, x), log_specials(x, value, at=-1.0))


def _log_base(x: Expr, inverse: tuple[float, float], power: tuple[float, float]) -> Expr:
    """e*power + log(m)*inverse, constants given as a high part and a rest (`power` high: few bits)."""
    e, f, tail = log_parts(x)
    head = f * inverse[0]
    rest = fn.fma(f, inverse[0], -head) + fn.fma(f, inverse[1], tail * inverse[0])
    scaled = e * power[0]
    total = scaled + head
    lost = fn.where(e == 0.0, 0.0, head - (total - scaled))
    return log_specials(x, total + (lost + fn.fma(e, power[1], rest)))


def log2(x: Expr) -> Expr:
    return _log_base(x, (LOG2E, 2.0355273740931033e-17), (1.0, 0.0))


def log10(x: Expr) -> Expr:
    return _log_base(x, (0.4342944819032518, 1.098319650216765e-17), (0.301029995663157, 8.241712586023572e-13))


def sigmoid(x: Expr) -> Expr:
    e = exp(-fn.abs(x))
    return fn.where(x < 0.0, e, 1.0) / (e + 1.0)


def softplus(x: Expr) -> Expr:
    return fn.maximum(x, 0.0) + log1p(exp(-fn.abs(x)))


def log_sigmoid(x: Expr) -> Expr:
    return fn.minimum(x, 0.0) - log1p(exp(-fn.abs(x)))


def tanh(x: Expr) -> Expr:
    """m / (m + 2) with m = expm1(2|x|)."""
    half = _half_expm1(between(fn.abs(x) * 2.0, 0.0, 60.0))
    return fn.where(fn.abs(x) < 1e-9, x, odd(x, half / (half + 1.0)))


def sinh(x: Expr) -> Expr:
    """h + h/(2h + 1) with h = expm1(|x|)/2; exp(|x| - ln2) where that overflows."""
    size = fn.abs(x)
    h = _half_expm1(size)
    near = h + h / (h * 2.0 + 1.0)
    return fn.where(size < 1e-9, x, odd(x, fn.where(size < 40.0, near, _half_exp(size))))


def cosh(x: Expr) -> Expr:
    half = _half_exp(fn.abs(x))
    return half + 0.25 / half


def _half_exp(x: Expr) -> Expr:
    """exp(x) / 2 for x >= 0, infinite only where the half is."""
    n, r = power_of_two_and_rest(between(x, 0.0, 712.0), F64)
    return fn.ldexp(fn.fma(r * r, fn.polynomial(r, EXP), r) + 1.0, n - 1.0)


def asinh(x: Expr) -> Expr:
    size = fn.abs(x)
    square = x * x
    near = log1p(size + square / (fn.sqrt(square + 1.0) + 1.0))
    far = log(size) + math.log(2.0)
    return fn.where(size < 1e-9, x, odd(x, fn.where(size < 1e9, near, far)))


def acosh(x: Expr) -> Expr:
    above = x - 1.0
    near = log1p(above + fn.sqrt(fn.fma(above, above, above * 2.0)))
    return fn.where(x < 1.0, math.nan, fn.where(x < 1e9, near, log(x) + math.log(2.0)))


def atanh(x: Expr) -> Expr:
    size = fn.abs(x)
    value = log1p(size * 2.0 / (1.0 - size)) * 0.5
    return fn.where(size < 1e-9, x, odd(x, value))


def atan(x: Expr) -> Expr:
    """atan(y) + pi/2, pi/4 or 0."""
    size = fn.abs(x)
    large, middle = size > 2.414213562373095, size > _TAN_PI_8
    numerator = fn.where(large, -1.0, fn.where(middle, size - 1.0, size))
    denominator = fn.where(large, size, fn.where(middle, size + 1.0, 1.0))
    y = numerator / denominator
    base = fn.where(large, math.pi / 2, fn.where(middle, const(math.pi / 4, "f64"), 0.0))
    rest = fn.where(large, 2 * _PI_4_LOW, fn.where(middle, const(_PI_4_LOW, "f64"), 0.0))
    z = y * y
    return odd(x, base + fn.fma(y * z, fn.polynomial(z, _ATAN), y + rest))


def atan2(y: Expr, x: Expr) -> Expr:
    """atan of the smaller magnitude over the larger, unfolded by octant; what the quotient lost is kept: 0.6 ulp."""
    height, width = fn.abs(y), fn.abs(x)
    steep, behind = height > width, fn.signbit(x)
    small, large = _quotient(fn.where(steep, width, height), fn.where(steep, height, width))
    middle = small > large * _TAN_PI_8
    total, total_low = two_sum(large, small)
    less, less_low = two_sum(large, -small)
    above, above_low = fn.where(middle, -less, small), fn.where(middle, -less_low, 0.0)
    below, below_low = fn.where(middle, total, large), fn.where(middle, total_low, 0.0)
    t = above / below
    lost = (fn.fma(-t, below, above) + fn.fma(-t, below_low, above_low)) / below
    z = t * t
    tail = fn.fma(t * z, fn.polynomial(z, _ATAN), lost)
    eighths = fn.where(middle, const(1.0, "f64"), 0.0)
    eighths = fn.where(steep, 2.0 - eighths, eighths)
    eighths = fn.where(behind, 4.0 - eighths, eighths)
    back = steep ^ behind
    base, base_low = two_product(eighths, const(math.pi / 4, "f64"))
    base_low = fn.fma(eighths, _PI_4_LOW, base_low)
    angle, rest = two_sum(base, fn.where(back, -t, t))
    angle = angle + (rest + (base_low + fn.where(back, -tail, tail)))
    return fn.where(fn.isnan(x) | fn.isnan(y), x + y, odd(y, angle))


def _quotient(small: Expr, large: Expr) -> tuple[Expr, Expr]:
    """Two numbers of the same quotient whose residues stay within the range; 1 of infinities, 0 of zeros."""
    scale = fn.where(large > 1e300, const(2.0**-100, "f64"), fn.where(large < 1e-200, const(2.0**200, "f64"), 1.0))
    edge = (large == 0.0) | (large == math.inf)
    at_edge = fn.where(small == math.inf, const(1.0, "f64"), 0.0)
    return fn.where(edge, at_edge, small * scale), fn.where(edge, 1.0, large * scale)


def _asin_small(x: Expr, z: Expr) -> Expr:
    """asin(x) - x for |x| <= 1/2, z = x*x."""
    return x * z * fn.polynomial(z, _ASIN)


def asin(x: Expr) -> Expr:
    """Beyond 1/2: pi/2 - 2 asin(sqrt((1 - |x|) / 2)), the root in two parts."""
    size = fn.abs(x)
    near = size <= 0.5
    z = fn.where(near, x * x, (1.0 - size) * 0.5)
    root = fn.sqrt(z)
    lost = fn.where(root == 0.0, 0.0, fn.fma(-root, root, z) / (root * 2.0))
    far = math.pi / 2 - (root + (_asin_small(root, z) + lost) - 3.061616997868383e-17) * 2.0
    return fn.where(near, x + _asin_small(x, z), odd(x, far))


def acos(x: Expr) -> Expr:
    size = fn.abs(x)
    near = size <= 0.5
    z = fn.where(near, x * x, (1.0 - size) * 0.5)
    root = fn.sqrt(z)
    lost = fn.where(root == 0.0, 0.0, fn.fma(-root, root, z) / (root * 2.0))
    angle = (root + (_asin_small(root, z) + lost)) * 2.0
    inside = math.pi / 2 - (x + (_asin_small(x, z) - 6.123233995736766e-17))
    return fn.where(near, inside, fn.where(x < 0.0, (math.pi - angle) + 1.2246467991473532e-16, angle))


def rsqrt(x: Expr) -> Expr:
    return 1.0 / fn.sqrt(x)


def hypot(a: Expr, b: Expr) -> Expr:
    """sqrt of the sum of squares, scaled by a power of two where squares leave the range."""
    a, b = fn.abs(a), fn.abs(b)
    large = fn.where(a > b, a, b)
    scale = fn.where(large > 1e150, const(2.0**-600, "f64"), fn.where(large < 1e-140, const(2.0**600, "f64"), 1.0))
    back = fn.where(large > 1e150, const(2.0**600, "f64"), fn.where(large < 1e-140, const(2.0**-600, "f64"), 1.0))
    u, v = a * scale, b * scale
    value = fn.sqrt(fn.fma(u, u, v * v)) * back
    return fn.where((a == math.inf) | (b == math.inf), math.inf, fn.where(fn.isnan(a) | fn.isnan(b), a + b, value))


EXPANSIONS: dict[str, Callable] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "log": log, "log1p": log1p, "log2": log2, "log10": log10,
    "sigmoid": sigmoid, "softplus": softplus, "log_sigmoid": log_sigmoid,
    "sinh": sinh, "cosh": cosh, "tanh": tanh, "asinh": asinh, "acosh": acosh, "atanh": atanh,
    "sin": sin, "cos": cos, "tan": tan, "asin": asin, "acos": acos, "atan": atan, "atan2": atan2,
    "erf": erf, "erfc": erfc, "erfcx": erfcx, "erfinv": erfinv, "rsqrt": rsqrt, "hypot": hypot, "pow": pow_f64,
}  # fmt: skip
