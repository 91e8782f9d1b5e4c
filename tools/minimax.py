#!/usr/bin/env python3
"""Minimax polynomials by Remez exchange, and quotients: where the coefficients in `ir/math_*.py` come from.

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
    parts: int = 0  # coefficients, from the lowest, whose rounding error is printed as well


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


def quotient(function: Callable, high, above: int, below: int) -> tuple[list, list, mpf]:
    """p and q, its last coefficient 1, that minimise max |p/q / function - 1| on [0, high], by Lawson's method.

    Least squares with q p's share of the error divided by the last q, weights growing where the error is large.
    """
    grid = [3 * u / (1 - u) for u in (high / (high + 3) * (1 - mp.cos(mp.pi * k / 160)) / 2 for k in range(161))]
    values = [function(x) for x in grid]
    rows = [[x**j for j in range(above + 1)] + [-function(x) * x**j for j in range(below)] for x in grid]
    weights, divisors = [mpf(1)] * len(grid), [mpf(1)] * len(grid)
    best = ([], [], mpf(1))
    for _ in range(50):
        scales = [mp.sqrt(w) / (abs(d) * v) for w, d, v in zip(weights, divisors, values, strict=True)]
        matrix = mp.matrix([[s * a for a in row] for s, row in zip(scales, rows, strict=True)])
        right = mp.matrix([s * v * x**below for s, v, x in zip(scales, values, grid, strict=True)])
        solution = list(mp.lu_solve(matrix.T * matrix, matrix.T * right))
        p, q = solution[: above + 1], [*solution[above + 1 :], mpf(1)]
        divisors = [mp.polyval(q[::-1], x) for x in grid]
        errors = [abs(mp.polyval(p[::-1], x) / (d * v) - 1) for x, d, v in zip(grid, divisors, values, strict=True)]
        if max(errors) < best[2]:
            best = p, q, max(errors)
        weights = [w * (e / max(errors) + mpf("1e-3")) for w, e in zip(weights, errors, strict=True)]
        weights = [w / max(weights) for w in weights]
    return best


def series_safe(function: Callable, z, at_zero):
    """function(z), and its limit at z = 0."""
    return mpf(at_zero) if z == 0 else function(z)


def exp_tail(z):
    """(exp(z) - 1 - z) / z**2."""
    return (mp.expm1(z) - z) / z**2 if abs(z) > 1e-20 else mpf("0.5") + z / 6


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


def erfinv_over_x(z):
    """erfinv(x) / x with x = sqrt(z)."""
    return mp.erfinv(mp.sqrt(z)) / mp.sqrt(z) if z > 0 else mp.sqrt(mp.pi) / 2


def erfinv_of(w):
    """erfinv(1 - exp(-w**2))."""
    if w < 5:
        return mp.erfinv(1 - mp.exp(-w * w))
    return mp.findroot(lambda x: mp.log(mp.erfc(x)) + w * w, (w - mpf("0.2"), w - mpf("0.3")))


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


def moebius(function: Callable, k, low, high) -> dict:
    """g and interval of a fit of function(x), low <= x <= high, in t = (x - k) / (x + k)."""
    k = mpf(k)
    low, high = ((mpf(x) - k) / (mpf(x) + k) for x in (low, high))
    return {"g": lambda t: function(k * (1 + t) / (1 - t)), "low": low, "high": high}


def relative_moebius(function: Callable, k, low, high, degree: int, value: Callable | None = None, parts=0) -> "Fit":
    """The same, with the error relative to value(x) (of the function itself if there is none)."""
    size = moebius(value or function, k, low, high)["g"]
    return Fit(**moebius(function, k, low, high), degree=degree, weight=lambda t: 1 / size(t), parts=parts)


def scaled_erfc(x):
    """exp(x*x) * erfc(x)."""
    return mp.exp(x * x) * mp.erfc(x)


def bessel_in_inverse(bessel: Callable, sign: int, cut, limit) -> Callable:
    """t -> sqrt(x) exp(sign * x) bessel(x), t = 2 cut/x - 1; `limit` at infinity (t = -1)."""

    def g(t):
        x = 2 * cut / (t + 1) if t > -1 else mp.inf
        return limit if x == mp.inf else mp.sqrt(x) * mp.exp(sign * x) * bessel(x)

    return g


def hankel(order: int, second: bool) -> Callable:
    """w -> Hankel's P, or Q * x/5, of an order, with w = 2 (5/x)**2 - 1."""

    def g(w):
        if w == -1:
            return mpf(4 * order * order - 1) / 40 if second else mpf(1)
        x = 5 * mp.sqrt(2 / (w + 1))
        angle = x - mp.pi * (2 * order + 1) / 4
        j, y = mp.besselj(order, x), mp.bessely(order, x)
        root = mp.sqrt(mp.pi * x / 2)
        if second:
            return root * (y * mp.cos(angle) - j * mp.sin(angle)) * x / 5
        return root * (j * mp.cos(angle) + y * mp.sin(angle))

    return g


def of_square(function: Callable) -> Callable:
    """u -> function(x) with x*x = 12.5 (u + 1): around the middle of [0, 5] squared; the limit at 0 from beside it."""
    return lambda u: function(mp.sqrt(max(mpf(12.5) * (u + 1), mpf("1e-30"))))


J0_ZEROS = [mp.besseljzero(0, k) for k in (1, 2)]
J1_ZERO = mp.besseljzero(1, 1)
AIRY_ZERO = mp.airyaizero(1)


def j0_without_zeros(x):
    return mp.besselj(0, x) / ((x * x - J0_ZEROS[0] ** 2) * (x * x - J0_ZEROS[1] ** 2))


def j1_without_zeros(x):
    return mp.besselj(1, x) / (x * (x * x - J1_ZERO**2))


def y0_regular(x):
    return mp.bessely(0, x) - 2 / mp.pi * mp.log(x) * mp.besselj(0, x)


def y1_regular(x):
    return (mp.bessely(1, x) - 2 / mp.pi * (mp.log(x) * mp.besselj(1, x) - 1 / x)) / x


def airy_decay(t):
    """2 sqrt(pi) x**(1/4) exp(zeta) Ai(x) with zeta = 2/3 x**(3/2), t = 4/zeta - 1."""
    if t == -1:
        return mpf(1)
    zeta = 4 / (t + 1)
    x = (zeta * 3 / 2) ** (mpf(2) / 3)
    return 2 * mp.sqrt(mp.pi) * x ** mpf("0.25") * mp.exp(zeta) * mp.airyai(x)


def airy_oscillating(second: bool) -> Callable:
    """w -> P, or Q * zeta/3.5, of Ai(-x), with w = 2 (3.5/zeta)**2 - 1, zeta = 2/3 x**(3/2)."""

    def g(w):
        if w == -1:
            return mpf(5) / 72 / mpf(3.5) if second else mpf(1)
        zeta = mpf(3.5) * mp.sqrt(2 / (w + 1))
        x = (zeta * 3 / 2) ** (mpf(2) / 3)
        root = mp.sqrt(mp.pi) * x ** mpf("0.25")
        a, b = mp.airyai(-x) * root, mp.airybi(-x) * root
        cosine, sine = mp.cos(zeta - mp.pi / 4), mp.sin(zeta - mp.pi / 4)
        return (a * sine + b * cosine) * zeta / mpf(3.5) if second else a * cosine - b * sine

    return g


def airy_middle(u):
    """Ai(x) / (x - its first zero), x = 2.6 u - 0.5."""
    x = mpf("2.6") * u - mpf("0.5")
    return mp.airyai(x) / (x - AIRY_ZERO)


def relative(g: Callable, degree: int) -> "Fit":
    """A fit on [-1, 1] of the same relative error everywhere."""
    return Fit(g, -1, 1, degree, lambda t: 1 / g(t))


HALF_LN2 = mp.log(2) / 2 * mpf("1.0001")
SQRT2 = mp.sqrt(2)
QUARTER_PI = mp.pi / 4 * mpf("1.0001")
SMALL_S = mpf("0.1717")  # largest s of log(1 + f) = 2 atanh(s), s = f / (2 + f)
TAN_PI_8 = mp.tan(mp.pi / 8) * mpf("1.0001")


def log_interval():
    return {"low": 1 / SQRT2 - 1 - 1e-4, "high": SQRT2 - 1 + 1e-4}


FITS = {
    "exp_f32": Fit(exp_tail, -HALF_LN2, HALF_LN2, 4, lambda z: z * z),
    "exp_near_f32": Fit(exp_tail, -HALF_LN2 / 16, HALF_LN2 / 16, 1),
    "exp_eighths_f32": Fit(exp_tail, -HALF_LN2 / 8, HALF_LN2 / 8, 1, lambda z: z * z),
    "exp_half_f32": Fit(
        lambda z: series_safe(lambda z: mp.expm1(-z / 2) / z, z, mpf(-0.5)), -2 * HALF_LN2, 2 * HALF_LN2, 5, lambda z: z
    ),
    "exp2_f32": Fit(lambda z: series_safe(lambda z: (2**z - 1) / z, z, mp.log(2)), -0.5, 0.5, 6, lambda z: z),
    "exp2_part_f32": Fit(lambda z: series_safe(lambda z: (2**z - 1) / z, z, mp.log(2)), 0, 1, 4, lambda z: z / 2**z),
    "exp2_near_f32": Fit(
        lambda z: series_safe(lambda z: (2**z - 1) / z, z, mp.log(2)), -1 / mpf(32), 1 / mpf(32), 2, lambda z: z
    ),
    "expm1_f32": Fit(exp_tail, -HALF_LN2, HALF_LN2, 5, lambda z: z),
    "log_f32": Fit(log_tail, **log_interval(), degree=8, weight=lambda z: z * z),
    "sin_f32": Fit(odd_tail(mp.sin, -mpf(1) / 6), 0, QUARTER_PI**2, 2, lambda z: z),
    "cos_f32": Fit(cos_tail, 0, QUARTER_PI**2, 2, lambda z: z * z),
    "tan_f32": Fit(odd_tail(mp.tan, mpf(1) / 3), 0, QUARTER_PI**2, 6, lambda z: z),
    "atan_f32": Fit(odd_tail(mp.atan, -mpf(1) / 3), 0, 1, 8, lambda z: z),
    "asin_f32": Fit(odd_tail(mp.asin, mpf(1) / 6), 0, mpf("0.2501"), 5, lambda z: z),
    "erfinv_f32": Fit(erfinv_over_x, 0, mpf("0.5625"), 10, lambda z: 1 / erfinv_over_x(z)),
    "erfinv_tail_f32": Fit(
        lambda u: erfinv_of(u + 2.5) - u - 2.5, mpf("-1.33"), mpf("1.59"), 11, lambda u: 1 / erfinv_of(u + 2.5)
    ),
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
    "erf_f64": Fit(lambda z: erf_over_x(z) - 1, 0, 1, 11, lambda z: 1 / erf_over_x(z)),
    "erf_tail_f64": relative_moebius(scaled_erfc, 3, 1, "5.95", 13, lambda x: mp.erf(x) * mp.exp(x * x)),
    "erfc_f64": relative_moebius(lambda x: scaled_erfc(x) * (x + mpf("0.625")), 4, "0.5", "27.5", 21, parts=1),
    "normal_tail_f64": relative_moebius(lambda x: scaled_erfc(x / SQRT2) / 2 * (x + 1), "5.5", 0, 39, 22),
    "erfinv_f64": Fit(lambda z: erfinv_over_x(z) - 1, 0, "0.2725", 14, lambda z: 1 / erfinv_over_x(z)),
    "erfinv_tail_f64": relative_moebius(lambda w: erfinv_of(w) - w, "2.25", "0.83", "6.08", 24, erfinv_of),
    "erfinv_whole_tail_f64": relative_moebius(lambda w: erfinv_of(w) - w, "4.5", "0.83", "27.4", 34, erfinv_of),
    "lgamma_f64": Fit(lambda u: lgamma_quotient(u + 1.5), -0.5, 0.5, 22, lambda u: 1 / lgamma_quotient(u + 1.5)),
    "lgamma_parts_f64": Fit(lambda u: lgamma_quotient(u + 1.5), -0.5, 0.5, 27, parts=4),
    "erfcx_f64": Fit(lambda t: erfcx_of(t, mpf(4)), mpf(-1), mpf(1), 25, lambda t: 1 / erfcx_of(t, mpf(4))),
    "i0_f64": relative(bessel_in_inverse(lambda x: mp.besseli(0, x), -1, 8, 1 / mp.sqrt(2 * mp.pi)), 22),
    "i1_f64": relative(bessel_in_inverse(lambda x: mp.besseli(1, x), -1, 8, 1 / mp.sqrt(2 * mp.pi)), 22),
    "k0_f64": relative(bessel_in_inverse(lambda x: mp.besselk(0, x), 1, 2, mp.sqrt(mp.pi / 2)), 23),
    "k1_f64": relative(bessel_in_inverse(lambda x: mp.besselk(1, x), 1, 2, mp.sqrt(mp.pi / 2)), 23),
    "p0_f64": Fit(hankel(0, False), -1, 1, 17),
    "q0_f64": Fit(hankel(0, True), -1, 1, 18),
    "p1_f64": Fit(hankel(1, False), -1, 1, 17),
    "q1_f64": Fit(hankel(1, True), -1, 1, 18),
    "j0_f64": relative(of_square(j0_without_zeros), 12),
    "j1_f64": relative(of_square(j1_without_zeros), 12),
    "y0_f64": Fit(of_square(y0_regular), -1, 1, 14),
    "y1_f64": Fit(of_square(y1_regular), -1, 1, 13),
    "airy_decay_f64": relative(airy_decay, 23),
    "airy_middle_f64": relative(airy_middle, 28),
    "airy_p_f64": Fit(airy_oscillating(False), -1, 1, 23),
    "airy_q_f64": Fit(airy_oscillating(True), -1, 1, 24),
}


def normal_tail(x):
    """exp(x*x/2) times the normal distribution's probability beyond x."""
    return scaled_erfc(x / SQRT2) / 2


QUOTIENTS = {
    "normal_tail_f32": (normal_tail, mpf("14.5"), 4, 5),
    "normal_tail_narrow": (normal_tail, mpf("14.5"), 5, 6),
}


def main(names: list[str]) -> None:
    for name in names or (*FITS, *QUOTIENTS):
        if name in QUOTIENTS:
            p, q, worst = quotient(*QUOTIENTS[name])
            print(f"{name}: 2^-{float(-mp.log(worst, 2)):.1f}")
            print("    " + ", ".join(repr(float(c)) for c in p) + "\n    over " + ", ".join(repr(float(c)) for c in q))
            continue
        coefficients, worst = remez(FITS[name])
        bits = -mp.log(worst, 2)
        print(f"{name}: 2^-{float(bits):.1f}")
        print("    " + ", ".join(repr(float(c)) for c in coefficients), flush=True)
        if parts := FITS[name].parts:
            print("    low parts: " + ", ".join(repr(float(c - float(c))) for c in coefficients[:parts]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
