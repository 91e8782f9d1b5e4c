"""How a random number moves with a parameter of its distribution while its rank stays: -(dF/da) / (dF/dx), in float64.

For gamma and beta numbers this is the integral of (E[log t] - log t) times the density, from 0 to x or from x on, over
the density at x. On the side where E[log t] - log t keeps its sign nothing cancels. With t = x exp(-s) (or exp(s), or
1 - t so) the integrand is smooth and decays on (0, inf), and the trapezoid rule after s = exp(u - exp(-u)) reaches
1e-8 with the same nodes for all arguments (2e-6 with half of them, enough for float32). Where x is small the
integrand is too wide, and a series is short.
"""

import math
from collections.abc import Callable
from functools import cache

from . import fn
from .expr import Expr, const
from .repeat import repeat

_TERMS = 26


@cache
def _rule(single: bool) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Nodes and weights of the trapezoid rule."""
    step = 0.16 if single else 0.08
    places = [-2.9 + step * k for k in range(round(6.1 / step) + 1)]
    nodes = [math.exp(u - math.exp(-u)) for u in places]
    return tuple(nodes), tuple(s * (1 + math.exp(-u)) * step for s, u in zip(nodes, places, strict=True))


def _integral(integrand, scale: Expr, wanted: Expr, single: bool) -> Expr:
    """The integral over (0, inf) of a function that decays within some multiples of `scale`."""
    zero = const(0.0, "f64")
    nodes, weights = _rule(single)

    def step(total: Expr, k: Expr):
        at = fn.cast(k, "i64")
        s = scale * fn.lookup(nodes, at, "f64")
        part = integrand(s) * fn.lookup(weights, at, "f64")
        return wanted & (k < len(nodes)), total + part, k + 1.0

    return scale * repeat(step, zero, zero, limit=len(nodes))[0]


def _width(slope: Expr, curvature: Expr) -> Expr:
    """About where exp(-slope s - curvature s^2 / 2) has gone down."""
    slope = fn.abs(slope)
    return 2.0 / (slope + fn.sqrt(fn.fma(slope, slope, 4.0 * fn.abs(curvature))))


def gamma_slope(a: Expr, x: Expr, single: bool = False) -> Expr:
    """dx/da of a gamma number x of shape a and rate 1."""
    usual = (a > 0.0) & (a < math.inf) & (x > 0.0) & (x < math.inf)
    a1, x1 = fn.where(usual, a, 1.0), fn.where(usual, x, 1.0)
    small = x1 < 1.0
    value = fn.where(small, _gamma_series(a1, x1, small), _gamma_integral(a1, x1, ~small, single))
    beside = fn.where((x == 0.0) & (a > 0.0), 0.0, const(math.nan, "f64"))
    return fn.where(usual, value, beside)


def _gamma_integral(a: Expr, x: Expr, wanted: Expr, single: bool) -> Expr:
    gap = fn.log(x) - fn.digamma(a)
    side = fn.where(gap > 0.0, const(1.0, "f64"), -1.0)
    distance = fn.abs(gap)

    def integrand(s: Expr) -> Expr:
        s = side * s
        return (distance + fn.abs(s)) * fn.exp(a * s - x * fn.expm1(s))

    return x * _integral(integrand, _width(a - x, x), wanted, single)


def _gamma_series(a: Expr, x: Expr, wanted: Expr) -> Expr:
    """By the series of the lower incomplete gamma function; its first term is freed of what cancels."""
    gap = fn.log(x) - fn.digamma(a + 1.0)
    return -x * fn.exp(x) * _series(gap, a, lambda term, k: -term * x / k, wanted)


def _series(gap: Expr, a: Expr, following: Callable[[Expr, Expr], Expr], wanted: Expr) -> Expr:
    """The sum over k of t_k / (a + k) (gap + 1 / a - 1 / (a + k)): t_0 is 1, and t_k follows from t_(k - 1) and k."""
    whole = gap + 1.0 / a
    one = const(1.0, "f64")

    def step(total: Expr, term: Expr, k: Expr):
        term = following(term, k)
        below = 1.0 / (a + k)
        return wanted & (k < _TERMS), total + term * below * (whole - below), term, k + 1.0

    return repeat(step, gap / a, one, one, limit=_TERMS)[0]


def beta_slope(x: Expr, a: Expr, b: Expr, single: bool = False) -> Expr:
    """dx/da of a beta number x of density x**(a - 1) (1 - x)**(b - 1)."""
    usual = (a > 0.0) & (b > 0.0) & (a < math.inf) & (b < math.inf) & (x > 0.0) & (x < 1.0)
    a1, b1, x1 = fn.where(usual, a, 1.0), fn.where(usual, b, 1.0), fn.where(usual, x, 0.5)
    y1 = 1.0 - x1
    low = (x1 <= 0.25) & (b1 * x1 <= 1.0)
    high = (y1 <= 0.25) & (a1 * y1 <= 0.5) & ~low
    value = _beta_integral(x1, a1, b1, ~low & ~high, single)
    value = fn.where(high, _beta_from_above(x1, a1, b1, high), value)
    value = fn.where(low, _beta_from_below(x1, a1, b1, low), value)
    at_end = ((x == 0.0) | (x == 1.0)) & (a > 0.0) & (b > 0.0)
    return fn.where(usual, value, fn.where(at_end, 0.0, const(math.nan, "f64")))


def _beta_integral(x: Expr, a: Expr, b: Expr, wanted: Expr, single: bool) -> Expr:
    gap = fn.log(x) - (fn.digamma(a) - fn.digamma(a + b))
    upper, y = gap > 0.0, 1.0 - x
    inner, outer = fn.where(upper, y, x), fn.where(upper, x, y)  # what shrinks by exp(-s), and the other part
    decay, power = fn.where(upper, b, a), fn.where(upper, a, b) - 1.0
    distance, odds = fn.abs(gap), inner / outer

    def integrand(s: Expr) -> Expr:
        growth = fn.log1p(-odds * fn.expm1(-s))
        return (distance + fn.where(upper, growth, s)) * fn.exp(power * growth - decay * s)

    width = _width(decay - power * odds, power * odds / outer)
    return inner * _integral(integrand, fn.maximum(width, 1.0 / decay), wanted, single)


def _beta_from_below(x: Expr, a: Expr, b: Expr, wanted: Expr) -> Expr:
    """By the series of the incomplete beta function in x."""
    gap = fn.log(x) - (fn.digamma(a + 1.0) - fn.digamma(a + b))
    rest = fn.exp((1.0 - b) * fn.log1p(-x))
    return -x * rest * _series(gap, a, lambda term, k: term * (k - b) * x / k, wanted)


def _beta_from_above(x: Expr, a: Expr, b: Expr, wanted: Expr) -> Expr:
    """By the series in 1 - x, of t**(a - 1) and of its derivative with regard to a."""
    y = 1.0 - x
    mean = fn.digamma(a) - fn.digamma(a + b)
    one = const(1.0, "f64")

    def step(total: Expr, term: Expr, slope: Expr, k: Expr):
        slope = (slope * (k - a) - term) * y / k
        term = term * (k - a) * y / k
        return wanted & (k < _TERMS), total + (slope - mean * term) / (b + k), term, slope, k + 1.0

    return y * fn.exp((1.0 - a) * fn.log(x)) * repeat(step, -mean / b, one, one * 0.0, one, limit=_TERMS)[0]
