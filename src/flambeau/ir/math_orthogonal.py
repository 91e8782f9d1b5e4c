"""Orthogonal polynomials of a degree that is known at run time, in float64: by their recurrences.

Chebyshev's polynomials of high degree come from cosines and hyperbolic cosines. The degree is rounded towards zero;
polynomials of a negative degree are 0. Bounds are measured in `tests/test_ir_special.py`.
"""

import math
from collections.abc import Callable

from . import fn
from .expr import Expr, const
from .repeat import repeat

_RECURRED = 64  # highest degree of a Chebyshev polynomial that comes from its recurrence
_HERMITE = 512  # beyond, values leave the range
_LONGEST = 1 << 20  # highest degree of a Laguerre or Legendre polynomial


def _recurrence(x: Expr, n: Expr, first: Expr, step: Callable, limit: int, beyond: Expr) -> Expr:
    """p(n) from p(0) = 1, p(1) = `first`, p(k + 1) = step(k, p(k), p(k - 1)); `beyond` where one before is infinite."""
    one = const(1.0, "f64")
    value, _, k = repeat(
        lambda q, p, k: ((k < n) & (fn.abs(q) < math.inf), step(k, q, p), q, k + 1.0), first, one, one, limit=limit
    )
    value = fn.where(fn.isinf(value) & (k < n), beyond, value)
    return fn.where(n >= 1.0, value, fn.where(n == 0.0, one, 0.0))


def _is_even(n: Expr) -> Expr:
    return fn.trunc(n * 0.5) == n * 0.5


def _infinity(negative: Expr) -> Expr:
    return fn.where(negative, const(-math.inf, "f64"), math.inf)


def _of_angle(kind: str, n: Expr, angle: Expr, sine: Callable, cosine: Callable) -> Expr:
    """A polynomial at cos(angle) (or cosh)."""
    if kind == "t":
        return cosine(angle * n)
    if kind == "u":
        return fn.where(angle == 0.0, n + 1.0, sine(angle * (n + 1.0)) / sine(angle))
    if kind == "v":
        return cosine(angle * (n + 0.5)) / cosine(angle * 0.5)
    return fn.where(angle == 0.0, n * 2.0 + 1.0, sine(angle * (n + 0.5)) / sine(angle * 0.5))


_MIRRORED = {"t": "t", "u": "u", "v": "w", "w": "v"}  # p(n, -x) = (-1)^n mirrored(n, x)


def _of_high_degree(kind: str, x: Expr, n: Expr) -> Expr:
    size = fn.abs(x)

    def both(kind: str) -> Expr:
        inside = _of_angle(kind, n, fn.acos(fn.minimum(size, 1.0)), fn.sin, fn.cos)
        outside = _of_angle(kind, n, fn.acosh(fn.maximum(size, 1.0)), fn.sinh, fn.cosh)
        return fn.where(size <= 1.0, inside, outside)

    mirrored = both(_MIRRORED[kind])
    mirrored = fn.where(_is_even(n), mirrored, -mirrored)
    return fn.where(x < 0.0, mirrored, both(kind))


def _chebyshev(kind: str, x: Expr, n: Expr) -> Expr:
    twice = x + x
    first = {"t": x, "u": twice, "v": twice - 1.0, "w": twice + 1.0}[kind]
    beyond = _infinity((x < 0.0) & ~_is_even(n))
    low = _recurrence(x, n, first, lambda k, q, p: fn.fma(twice, q, -p), _RECURRED, beyond)
    return fn.unlikely(n > float(_RECURRED), _of_high_degree(kind, x, n), low)


def _hermite(x: Expr, n: Expr, factor: float) -> Expr:
    scaled = x * factor
    nan = const(math.nan, "f64")
    value = _recurrence(x, n, scaled, lambda k, q, p: fn.fma(scaled, q, -(k * factor * p)), _HERMITE, nan)
    return fn.where(n > float(_HERMITE), nan, value)


def _laguerre(x: Expr, n: Expr) -> Expr:
    def step(k: Expr, q: Expr, p: Expr) -> Expr:
        return fn.fma(k + k + 1.0 - x, q, -(k * p)) / (k + 1.0)

    value = _recurrence(x, n, 1.0 - x, step, _LONGEST, _infinity((x > 0.0) & ~_is_even(n)))
    return fn.where(n > float(_LONGEST), math.nan, value)


def _legendre(x: Expr, n: Expr) -> Expr:
    def step(k: Expr, q: Expr, p: Expr) -> Expr:
        return fn.fma((k + k + 1.0) * x, q, -(k * p)) / (k + 1.0)

    value = _recurrence(x, n, x, step, _LONGEST, _infinity((x < 0.0) & ~_is_even(n)))
    return fn.where(n > float(_LONGEST), math.nan, value)


_KINDS: dict[str, Callable[[Expr, Expr], Expr]] = {
    "hermite_h": lambda x, n: _hermite(x, n, 2.0),
    "hermite_he": lambda x, n: _hermite(x, n, 1.0),
    "laguerre": _laguerre,
    "legendre": _legendre,
}


def orthogonal(kind: str, x: Expr, n: Expr) -> Expr:
    n = fn.trunc(n)
    family, _, letter = kind.rpartition("_")
    if family == "chebyshev":
        return _chebyshev(letter, x, n)
    if family == "shifted_chebyshev":
        return _chebyshev(letter, x + x - 1.0, n)
    return _KINDS[kind](x, n)


EXPANSIONS = {"orthogonal": orthogonal}
