"""The regularised incomplete gamma functions P(a, x) and Q(a, x) = 1 - P of float64.

P by its series where x is below a or small, Q by a continued fraction where x is above; Q by a series of its own where
both are small; near x = a for large a by Temme's uniform expansion. Bounds are measured in `tests/test_ir_special.py`.
"""

import math
from fractions import Fraction
from functools import cache

from . import fn
from .expr import Expr, const
from .math_common import between
from .math_special import lgamma_1p, stirling
from .repeat import repeat

_EPSILON = 2.0**-53
_LARGE = 150.0  # of a: beyond, Temme's expansion near x = a
_NEAR = 0.3  # largest |x - a| / a there
_LIMIT = 1000
_ROOT_TWO_PI = math.sqrt(2 * math.pi)

Pair = tuple[Expr, Expr]


@cache
def _temme() -> list[list[float]]:
    """Coefficients d[k][n] of eta**n / a**k, from those of x/a - 1 as a series in eta."""
    orders, powers = 7, 18
    total = powers + 2 * orders + 3
    alpha = [Fraction(0), Fraction(1)]
    for n in range(2, total):
        inner = sum((j * alpha[j] * alpha[n + 1 - j] for j in range(2, n)), Fraction(0))
        alpha.append((alpha[n - 1] - inner) / (n + 1))
    first = [(n + 2) * alpha[n + 2] - (n == 0) for n in range(total - 2)]
    rows = [first]
    for _ in range(orders - 1):
        last = rows[-1]
        rows.append([(n + 2) * last[n + 2] - last[1] * first[n] for n in range(len(last) - 2)])
    return [[float(c) for c in row[: powers - 2 * k]] for k, row in enumerate(rows)]


def _distance(mu: Expr, ratio: Expr) -> Expr:
    """mu - log(ratio) with ratio = 1 + mu, relatively exact near 0: by 2 atanh(s), s = mu / (2 + mu)."""
    near = between(mu, -0.4, 0.4)
    s = near / (near + 2.0)
    z = s * s
    small = s * (near - z * 2.0 * fn.polynomial(z, [1 / (2 * k + 3) for k in range(14)]))
    return fn.where(fn.abs(mu) < 0.4, small, mu - fn.log(ratio))


def _prefactor(a: Expr, x: Expr) -> Expr:
    """x**a exp(-x) / Gamma(a + 1); for larger a by exp(-a (mu - log(1 + mu))), mu = x/a - 1."""
    small = fn.exp(fn.fma(a, fn.log(x), -x) - fn.lgamma(a + 1.0))
    safe = fn.maximum(a, 10.0)
    large = fn.exp(-safe * _distance((x - safe) / safe, x / safe) - stirling(safe)) / (fn.sqrt(safe) * _ROOT_TWO_PI)
    return fn.where(a < 10.0, small, large)


def _lower_series(a: Expr, x: Expr, wanted: Expr) -> Expr:
    """1 + x/(a + 1) + x^2/((a + 1)(a + 2)) + ...; times the prefactor P."""
    one = const(1.0, "f64")

    def step(total: Expr, term: Expr, k: Expr):
        following = term * x / (a + k)
        return wanted & (term > total * _EPSILON), total + following, following, k + 1.0

    return repeat(step, one, one, one, limit=_LIMIT)[0]


def _upper_fraction(a: Expr, x: Expr, wanted: Expr) -> Expr:
    """Lentz's evaluation of 1/(x + 1 - a - 1 (1 - a)/(x + 3 - a - ...)); times a and the prefactor Q."""
    start = 1.0 / (x + 1.0 - a)
    one = const(1.0, "f64")

    def step(value: Expr, change: Expr, b: Expr, c: Expr, d: Expr, k: Expr):
        numerator = (a - k) * k
        b = b + 2.0
        c = b + numerator / c
        d = 1.0 / fn.fma(numerator, d, b)
        factor = c * d
        return wanted & (fn.abs(change - 1.0) > _EPSILON * 2.0), value * factor, factor, b, c, d, k + 1.0

    return repeat(step, start, one * 2.0, x + 1.0 - a, one * 1e300, start, one, limit=_LIMIT)[0]


def _upper_series(a: Expr, x: Expr, wanted: Expr) -> Expr:
    """Q for a <= 1, x <= 1.1, where P may be near 1: 1 - x**a / Gamma(a + 1) and the rest of the series of P."""
    one = const(1.0, "f64")

    def step(total: Expr, term: Expr, k: Expr):
        following = -term * x / k
        part = following / (a + k)
        return wanted & (fn.abs(term) > _EPSILON * fn.abs(total)), total + part, following, k + 1.0

    total = repeat(step, one * 0.0, one, one, limit=60)[0]
    small = fn.minimum(a, 1.0)
    exponent = small * fn.log(x) - lgamma_1p(small)
    return -fn.expm1(exponent) - fn.exp(exponent) * total * a


def _uniform(a: Expr, x: Expr) -> Pair:
    """P and Q for large a near x = a: half an error function, and a correction of order 1/sqrt(a)."""
    a = fn.maximum(a, _LARGE)
    mu = between((x - a) / a, -0.31, 0.31)
    half_square = _distance(mu, mu + 1.0)
    eta = fn.copysign(fn.sqrt(half_square * 2.0), mu)
    inverse = 1.0 / a
    total = const(0.0, "f64")
    for row in reversed(_temme()):
        total = fn.fma(total, inverse, fn.polynomial(eta, row))
    correction = fn.exp(-a * half_square) * total / (fn.sqrt(a) * _ROOT_TWO_PI)
    argument = eta * fn.sqrt(a * 0.5)
    return fn.erfc(-argument) * 0.5 - correction, fn.erfc(argument) * 0.5 + correction


def _inside(a: Expr, x: Expr) -> Pair:
    """P and Q for finite a > 0, x > 0."""
    uniform = (a > _LARGE) & (fn.abs(x - a) < a * _NEAR)
    lower = ((x <= a) | (x <= 1.1)) & ~uniform
    both_small = (a <= 1.0) & (x <= 1.1)
    factor = _prefactor(a, x)
    p_lower = factor * _lower_series(a, x, lower)
    q_upper = factor * a * _upper_fraction(a, x, ~lower & ~uniform)
    q_small = fn.unlikely(both_small, _upper_series(a, x, both_small), 1.0 - p_lower)
    near = _uniform(a, x)
    p = fn.where(uniform, near[0], fn.where(lower, p_lower, 1.0 - q_upper))
    q = fn.where(uniform, near[1], fn.where(lower, q_small, q_upper))
    return p, q


def _specials(a: Expr, x: Expr, value: Expr, at_zero: float, at_infinity: float) -> Expr:
    """`at_zero` where x is 0 or a infinite, `at_infinity` where x is infinite or a is 0; nan where both, or below 0."""
    value = fn.where((x == 0.0) | (a == math.inf), at_zero, value)
    value = fn.where((a == 0.0) | (x == math.inf), at_infinity, value)
    neither = ((a == 0.0) & (x == 0.0)) | ((a == math.inf) & (x == math.inf))
    value = fn.where(neither | ~(a >= 0.0) | ~(x >= 0.0), math.nan, value)
    return value


def _bounded(a: Expr, x: Expr) -> Pair:
    """The arguments, replaced where `_specials` decides, so that no loop starts there."""
    usual = (a > 0.0) & (x > 0.0) & (a < math.inf) & (x < math.inf)
    return _inside(fn.where(usual, a, 1.0), fn.where(usual, x, 1.0))


def igamma(a: Expr, x: Expr) -> Expr:
    return _specials(a, x, _bounded(a, x)[0], 0.0, 1.0)


def igammac(a: Expr, x: Expr) -> Expr:
    return _specials(a, x, _bounded(a, x)[1], 1.0, 0.0)


EXPANSIONS = {"igamma": igamma, "igammac": igammac}
