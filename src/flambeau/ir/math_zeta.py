"""Hurwitz's zeta function of float64, and the derivatives of digamma, which are made of it.

Bounds are measured in `tests/test_ir_special.py`.
"""

import math
from collections.abc import Callable

from . import fn
from .expr import Expr, const
from .repeat import repeat

_TERMS = 10  # summed one by one; the rest by Euler and Maclaurin's formula
# B(2j) / (2j)!
_BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510, 43867 / 798, -174611 / 330)
_EULER_MACLAURIN = [b / math.factorial(2 * j) for j, b in enumerate(_BERNOULLI, 1)]


def _inverse_power(x: Expr, s: Expr) -> Expr:
    """x**-s; small constant powers by products."""
    if s.op != "const" or s.attr not in (2.0, 3.0, 4.0, 5.0, 6.0):
        return fn.pow(x, -s)
    power = x
    for _ in range(int(s.attr) - 1):
        power = power * x
    return 1.0 / power


def _terms(term: Callable[[Expr], Expr]) -> Expr:
    """term(0) + ... + term(_TERMS - 1)."""
    zero = const(0.0, "f64")
    return repeat(lambda total, k: (k < float(_TERMS), total + term(k), k + 1.0), zero, zero, limit=_TERMS)[0]


def _rest(s: Expr, w: Expr) -> Expr:
    """The sum of (w + k)**-s, for w >= _TERMS."""
    power = _inverse_power(w, s)
    inverse = 1.0 / w
    tail = const(_EULER_MACLAURIN[-1], "f64")
    for j in range(len(_EULER_MACLAURIN) - 1, 0, -1):
        factor = (s + (2.0 * j - 1.0)) * inverse * ((s + 2.0 * j) * inverse)
        tail = fn.fma(tail, factor, _EULER_MACLAURIN[j - 1])
    rest = power * (w / (s - 1.0) + fn.fma(s * inverse, tail, 0.5))
    return fn.where(power == 0.0, 0.0, rest)


def _hurwitz(s: Expr, a: Expr) -> Expr:
    """The sum of (a + k)**-s for s > 1, a > 0."""
    return _terms(lambda k: _inverse_power(a + k, s)) + _rest(s, a + float(_TERMS))


def _from_below(s: Expr, size: Expr) -> Expr:
    """zeta(s, -size) for an integral s: terms on both sides of 0, which may cancel, are summed in pairs."""
    whole = fn.floor(size)
    left, right = size - whole, 1.0 - (size - whole)
    half = s * 0.5
    sign = fn.where(fn.trunc(half) == half, const(1.0, "f64"), -1.0)

    def pair(k: Expr) -> Expr:
        mirrored = fn.where(k <= whole, sign * _inverse_power(left + k, s), 0.0)
        return mirrored + _inverse_power(right + k, s)

    count = float(_TERMS)
    beyond = sign * (_rest(s, left + count) - _rest(s, fn.maximum(size + 1.0, count)))
    return _terms(pair) + (_rest(s, right + count) + fn.where(whole >= count, beyond, 0.0))


def zeta(s: Expr, q: Expr) -> Expr:
    below = fn.where(fn.trunc(s) == s, _from_below(s, fn.abs(q)), math.nan)
    value = fn.unlikely(q < 0.0, below, _hurwitz(s, fn.abs(q)))
    value = fn.where((q <= 0.0) & (fn.floor(q) == q), math.inf, value)
    value = fn.where(s > 1.0, value, fn.where(s == 1.0, const(math.inf, "f64"), math.nan))
    return fn.where(fn.isnan(s) | fn.isnan(q), s + q, value)


def derivative_of_digamma(n: int, x: Expr) -> Expr:
    """(-1)^(n + 1) n! zeta(n + 1, x)."""
    factor = float(math.factorial(n)) if n <= 170 else math.inf
    return zeta(const(float(n + 1), "f64"), x) * (factor if n % 2 else -factor)


EXPANSIONS = {"zeta": zeta}
