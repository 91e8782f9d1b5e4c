#!/usr/bin/env python3
"""Minimax polynomials by Remez exchange: where the coefficients in `ir/math_f32.py` and `ir/math_f64.py` come from.

    tools/minimax.py                 every fit, one line a polynomial
    tools/minimax.py exp_f32 ...     only these

A fit is a function g(z), an interval, a weight and a degree: the polynomial p minimises max |weight * (p - g)|. The
error printed is that maximum in bits, which the weight makes the relative error of the whole function.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

from mpmath import mp, mpf

mp.dps = 60


@dataclass(frozen=True)
class Fit:
    g: Callable
    low: float
    high: float
    degree: int
    weight: Callable = lambda z: 1


def remez(fit: Fit) -> tuple[list, mpf]:
    """Coefficients, lowest power first, and the largest weighted error.

    A weight that vanishes is kept above 1/50 of its maximum, without which no error could alternate there.
    """
    low, high, n = mpf(fit.low), mpf(fit.high), fit.degree + 2
    floor = max(abs(fit.weight(low)), abs(fit.weight(high))) / 50
    fit = replace(fit, weight=lambda z, weight=fit.weight: max(abs(weight(z)), floor))
    points = [(low + high) / 2 - (high - low) / 2 * mp.cos(mp.pi * k / (n - 1)) for k in range(n)]
    coefficients, worst = [], mpf(0)
    for _ in range(12):
        rows = [[z**j for j in range(n - 1)] + [(-1) ** k / fit.weight(z)] for k, z in enumerate(points)]
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix([fit.g(z) for z in points]))
        coefficients, levelled = list(solution[: n - 1]), abs(solution[n - 1])
        points, worst = exchange(fit, coefficients, points)
        if worst <= levelled * mpf("1.001"):
            break
    return coefficients, worst


def exchange(fit: Fit, coefficients: list, points: list) -> tuple[list, mpf]:
    """The places where the error is extreme, one between each two of its zeros."""

    def error(z):
        return fit.weight(z) * (mp.polyval(coefficients[::-1], z) - fit.g(z))

    grid = []
    for a, b in pairwise(points):
        grid += [a + (b - a) * k / 16 for k in range(16)]
    grid.append(points[-1])
    values = [error(z) for z in grid]
    runs: list[list[int]] = [[0]]
    for k in range(1, len(grid)):
        if mp.sign(values[k]) == mp.sign(values[runs[-1][0]]):
            runs[-1].append(k)
        else:
            runs.append([k])
    best = [max(run, key=lambda k: abs(values[k])) for run in runs]
    while len(best) > len(points):
        best.pop(0 if abs(values[best[0]]) < abs(values[best[-1]]) else -1)
    if len(best) < len(points):
        return points, max(abs(v) for v in values)
    return [polish(error, grid, k) for k in best], max(abs(values[k]) for k in best)


def polish(error: Callable, grid: list, k: int):
    """The vertex of the parabola through a grid extremum and its neighbours."""
    if k in (0, len(grid) - 1):
        return grid[k]
    a, b, c = grid[k - 1 : k + 2]
    fa, fb, fc = error(a), error(b), error(c)
    denominator = (b - a) * (fb - fc) - (b - c) * (fb - fa)
    if denominator == 0:
        return b
    vertex = b - ((b - a) ** 2 * (fb - fc) - (b - c) ** 2 * (fb - fa)) / (2 * denominator)
    return min(max(vertex, a), c)


def series_safe(function: Callable, z, at_zero):
    """function(z), and its limit at z = 0."""
    return mpf(at_zero) if z == 0 else function(z)


def exp_tail(z):
    """(exp(z) - 1 - z) / z**2."""
    return series_safe(lambda z: (mp.expm1(z) - z) / z**2, z, 0.5)


def log_tail(z):
    """(log(1 + z) - z + z*z/2) / z**3."""
    return series_safe(lambda z: (mp.log1p(z) - z + z * z / 2) / z**3, z, mpf(1) / 3)


def odd_tail(function: Callable, third) -> Callable:
    """z -> (f(x) - x) / x**3 with x = sqrt(z), for an odd f with slope 1; `third` is its value at 0."""

    def g(z):
        x = mp.sqrt(abs(z))
        return series_safe(lambda _: (function(x) - x) / x**3, z, third)

    return g


def cos_tail(z):
    """(cos(x) - 1 + x*x/2) / x**4 with x = sqrt(z)."""
    return series_safe(lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, z, mpf(1) / 24)


def atanh_tail(z):
    """(2*atanh(s) - 2*s) / s**3 with s = sqrt(z)."""
    return series_safe(lambda z: (2 * mp.atanh(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 3, z, mpf(2) / 3)


def erf_over_x(z):
    """erf(x) / x with x = sqrt(z)."""
    return series_safe(lambda z: mp.erf(mp.sqrt(z)) / mp.sqrt(z), z, 2 / mp.sqrt(mp.pi))


def lgamma_quotient(z):
    """lgamma(z) / ((z - 1) * (z - 2)), by its limits at 1 and 2."""
    if z == 1:
        return mp.euler
    if z == 2:
        return 1 - mp.euler
    return mp.loggamma(z) / ((z - 1) * (z - 2))


def erfcx_of(t, k):
    """(1 + 2x) * exp(x*x) * erfc(x) with t = (x - k) / (x + k); 2/sqrt(pi) at x = inf (t = 1)."""
    if t == 1:
        return 2 / mp.sqrt(mp.pi)
    x = k * (1 + t) / (1 - t)
    if x > 100:
        tail = mp.nsum(lambda n: (-1) ** int(n) * mp.fac2(2 * int(n) - 1) / (2 * x * x) ** int(n), [0, 12])
        return (1 + 2 * x) * tail / (x * mp.sqrt(mp.pi))
    return (1 + 2 * x) * mp.exp(x * x) * mp.erfc(x)


HALF_LN2 = mp.log(2) / 2 * mpf("1.0001")
SQRT2 = mp.sqrt(2)
QUARTER_PI = mp.pi / 4 * mpf("1.0001")
SMALL_S = mpf("0.1717")  # largest s of log(1 + f) = 2 atanh(s), s = f / (2 + f)
TAN_PI_8 = mp.tan(mp.pi / 8) * mpf("1.0001")


def log_interval():
    return {"low": 1 / SQRT2 - 1 - 1e-4, "high": SQRT2 - 1 + 1e-4}


FITS = {
    "exp_f32": Fit(exp_tail, -HALF_LN2, HALF_LN2, 4, lambda z: z * z),
    "exp2_f32": Fit(lambda z: series_safe(lambda z: (2**z - 1) / z, z, mp.log(2)), -0.5, 0.5, 6, lambda z: z),
    "expm1_f32": Fit(exp_tail, -HALF_LN2, HALF_LN2, 5, lambda z: z),
    "log_f32": Fit(log_tail, **log_interval(), degree=8, weight=lambda z: z * z),
    "sin_f32": Fit(odd_tail(mp.sin, -mpf(1) / 6), 0, QUARTER_PI**2, 2, lambda z: z),
    "cos_f32": Fit(cos_tail, 0, QUARTER_PI**2, 2, lambda z: z * z),
    "tan_f32": Fit(odd_tail(mp.tan, mpf(1) / 3), 0, QUARTER_PI**2, 6, lambda z: z),
    "tanh_f32": Fit(odd_tail(mp.tanh, -mpf(1) / 3), 0, mpf("0.36"), 5, lambda z: z),
    "atan_f32": Fit(odd_tail(mp.atan, -mpf(1) / 3), 0, 1, 8, lambda z: z),
    "asin_f32": Fit(odd_tail(mp.asin, mpf(1) / 6), 0, mpf("0.2501"), 5, lambda z: z),
    "erf_f32": Fit(erf_over_x, 0, 1, 7, lambda z: 1 / erf_over_x(z)),
    "erf_log_f32": Fit(lambda a: -mp.log(mp.erfc(a)), 1, 4.1, 8, lambda a: mp.erfc(a) / mp.erf(a)),
    "exp_f64": Fit(exp_tail, -HALF_LN2, HALF_LN2, 10, lambda z: z * z),
    "expm1_f64": Fit(exp_tail, -HALF_LN2, HALF_LN2, 11, lambda z: z),
    "exp2_f64": Fit(lambda z: series_safe(lambda z: (2**z - 1) / z, z, mp.log(2)), -0.5, 0.5, 11, lambda z: z),
    "exp2_pow_f32": Fit(lambda z: 2**z, -0.5, 0.5, 7),
    "atanh_f64": Fit(atanh_tail, 0, SMALL_S**2, 6, lambda z: z),
    "atanh_pow_f64": Fit(
        lambda z: series_safe(lambda z: (atanh_tail(z) - mpf(2) / 3) / z, z, 0.4), 0, SMALL_S**2, 8, lambda z: z * z / 2
    ),
    "atanh_pow_f32": Fit(atanh_tail, 0, SMALL_S**2, 3, lambda z: z),
    "sin_f64": Fit(odd_tail(mp.sin, -mpf(1) / 6), 0, QUARTER_PI**2, 6, lambda z: z),
    "cos_f64": Fit(cos_tail, 0, QUARTER_PI**2, 6, lambda z: z * z),
    "atan_f64": Fit(odd_tail(mp.atan, -mpf(1) / 3), 0, TAN_PI_8**2, 11, lambda z: z),
    "asin_f64": Fit(odd_tail(mp.asin, mpf(1) / 6), 0, mpf("0.2501"), 13, lambda z: z),
    "erf_f64": Fit(erf_over_x, 0, 1, 13, lambda z: 1 / erf_over_x(z)),
    "lgamma_f64": Fit(lambda u: lgamma_quotient(u + 1.5), -0.5, 0.5, 22, lambda u: 1 / lgamma_quotient(u + 1.5)),
    "erfcx_f64": Fit(lambda t: erfcx_of(t, mpf(4)), mpf(-1), mpf(1), 25, lambda t: 1 / erfcx_of(t, mpf(4))),
}


def main(names: list[str]) -> None:
    for name in names or FITS:
        coefficients, worst = remez(FITS[name])
        bits = -mp.log(worst, 2)
        print(f"{name}: 2^-{float(bits):.1f}")
        print("    " + ", ".join(repr(float(c)) for c in coefficients), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
