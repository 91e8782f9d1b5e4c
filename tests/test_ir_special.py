"""Loops in scalar programs, and the accuracy of the special functions that are made of them."""

import mpmath
import numpy as np
import pytest

import kernels
from flambeau.ir import fn, interp
from flambeau.ir.diff import vjp
from flambeau.ir.expr import const, input_, node
from flambeau.ir.program import In, trace
from flambeau.ir.repeat import Steps, carry, repeat
from flambeau.ir.verify import verify

RANDOM = np.random.default_rng(0)
LEVEL = pytest.mark.parametrize("level", kernels.host_levels())


# ---- loops


def nested(x):
    """A loop that reads an expression of its surroundings, with a loop within, behind a branch."""
    outside = fn.exp(x * 0.01) + 1.0
    zero, one = const(0.0, x.dtype), const(1.0, x.dtype)

    def step(a, b, k):
        inner = repeat(lambda p: (p < x * 3.0, p + x * 2.0 + k), one, limit=5)[0]
        return k < x, a + outside * k, b * 0.5 + inner, k + 1.0

    a, b, _ = repeat(step, zero, one, zero, limit=9)
    return fn.unlikely(x > 5.0, a, b)


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_loops_agree_with_the_interpreter(dtype, level):
    x = RANDOM.uniform(-3, 14, 67).astype(interp.numpy_dtype(dtype))
    program = trace(nested, [In(dtype)])
    want = interp.run(program, [x])[0]
    assert np.array_equal(kernels.run(program, [x], level=level)[0], want)


def test_each_element_stops_for_itself():
    x = np.array([0.0, 3.0, 7.5, 100.0, np.nan])
    program = trace(lambda x: repeat(lambda k: (k < x, k + 1.0), const(0.0, "f64"), limit=20)[0], [In("f64")])
    want = np.array([0.0, 3.0, 8.0, 20.0, 0.0])
    assert np.array_equal(kernels.run(program, [x])[0], want)
    assert np.array_equal(interp.run(program, [x])[0], want)


def test_equal_loops_are_one():
    x = input_(0, "f64")
    first, second = (repeat(lambda a, b: (a < x, a + b, b * x), x, x, limit=4) for _ in range(2))
    assert first[0] is second[0]
    assert first[1].args is first[0].args or first[1].args == first[0].args


def test_loops_that_are_wrong():
    x, bad = input_(0, "f64"), carry(3, "f64")
    go = node("lt", "b1", (carry(0, "f64"), carry(0, "f64")))
    for steps in (Steps(go, (bad,), 3), Steps(go, (x,), 3), Steps(carry(0, "f64"), (carry(0, "f64"),), 3)):
        with pytest.raises(ValueError, match="invalid program"):
            verify([node("repeat", "f64", (x,), (steps, 0))], ["f64"], [])
    (loop,) = repeat(lambda a: (a < 9.0, a * 2.0), x, limit=4)
    with pytest.raises(NotImplementedError, match="derivative of repeat"):
        vjp([loop], [const(1.0, "f64")], [x])


# ---- accuracy


def _zeta(s, q):
    """By the terms below 0 and the function above."""
    count = max(0, int(mpmath.ceil(-q)))
    return sum((q + k) ** -s for k in range(count)) + mpmath.zeta(s, q + count)


def _ndtri(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def _recurrence(first, step):
    def value(x, n):
        before, now = mpmath.mpf(1), first(x)
        for k in range(1, int(n)):
            before, now = now, step(k, x, now, before)
        return now if n >= 1 else mpmath.mpf(1 if n == 0 else 0)

    return value


def _chebyshev(first, shifted=False):
    plain = _recurrence(first, lambda k, x, q, p: 2 * x * q - p)
    return (lambda x, n: plain(2 * x - 1, n)) if shifted else plain


def uniform(low, high):
    return lambda n: RANDOM.uniform(low, high, n)


def powers(low, high):
    return lambda n: 10.0 ** RANDOM.uniform(low, high, n)


def whole(low, high):
    return lambda n: RANDOM.integers(low, high, n).astype(float)


def _near(a):
    """Arguments x of the incomplete gamma functions around a."""
    return a * RANDOM.uniform(0.4, 1.6, a.size)


REGULAR = {"regularized": True}
KINDS = {"t": lambda x: x, "u": lambda x: 2 * x, "v": lambda x: 2 * x - 1, "w": lambda x: 2 * x + 1}

# name: function, exact value, domains of arguments, bound in ulp, absolute error that is allowed beside it
ONE = {
    "erfcx": (fn.erfcx, lambda x: mpmath.exp(x * x) * mpmath.erfc(x), [uniform(-5, 9), powers(-9, 9)], 5, 0),
    "ndtr": (fn.ndtr, mpmath.ncdf, [uniform(-30, 8), powers(-9, 0)], 3, 0),
    "log_ndtr": (fn.log_ndtr, lambda x: mpmath.log(mpmath.ncdf(x)), [uniform(-30, 5)], 5, 0),
    "ndtri": (fn.ndtri, _ndtri, [uniform(0.001, 0.999), powers(-12, -1)], 3, 0),
    "i0": (fn.i0, lambda x: mpmath.besseli(0, x), [uniform(-20, 20)], 5, 0),
    "i0e": (fn.i0e, lambda x: mpmath.besseli(0, x) * mpmath.exp(-abs(x)), [uniform(-20, 20), powers(0, 3)], 5, 0),
    "i1": (fn.i1, lambda x: mpmath.besseli(1, x), [uniform(-20, 20), powers(-9, 0)], 5, 0),
    "i1e": (fn.i1e, lambda x: mpmath.besseli(1, x) * mpmath.exp(-abs(x)), [uniform(-20, 20), powers(0, 3)], 5, 0),
    "k0": (fn.k0, lambda x: mpmath.besselk(0, x), [uniform(0, 20), powers(-9, 0)], 10, 0),
    "k0e": (fn.k0e, lambda x: mpmath.besselk(0, x) * mpmath.exp(x), [uniform(0, 20), powers(-9, 0)], 10, 0),
    "k1": (fn.k1, lambda x: mpmath.besselk(1, x), [uniform(0, 20), powers(-9, 0)], 7, 0),
    "k1e": (fn.k1e, lambda x: mpmath.besselk(1, x) * mpmath.exp(x), [uniform(0, 20), powers(-9, 0)], 6, 0),
    "j0": (fn.j0, mpmath.j0, [uniform(-30, 30), powers(0, 4)], 4, 4e-16),
    "j1": (fn.j1, mpmath.j1, [uniform(-30, 30), powers(0, 4)], 4, 4e-16),
    "y0": (fn.y0, lambda x: mpmath.bessely(0, x), [uniform(0, 30), powers(-9, 4)], 4, 4e-16),
    "y1": (fn.y1, lambda x: mpmath.bessely(1, x), [uniform(0, 30), powers(-9, 4)], 4, 4e-16),
    "spherical_j0": (fn.spherical_j0, mpmath.sinc, [uniform(-30, 30), powers(-9, 0)], 3, 0),
    "airy_ai": (fn.airy_ai, mpmath.airyai, [uniform(-12, 12)], 6, 4e-16),
    "polygamma(1)": (lambda x: fn.polygamma(1, x), lambda x: mpmath.psi(1, x), [uniform(-9, 9), powers(-5, 3)], 6, 0),
    "polygamma(2)": (lambda x: fn.polygamma(2, x), lambda x: mpmath.psi(2, x), [uniform(-9, 9)], 6, 4e-14),
    "polygamma(9)": (lambda x: fn.polygamma(9, x), lambda x: mpmath.psi(9, x), [uniform(-9, 9)], 9, 0),
}  # fmt: skip
TWO = {
    "zeta": (fn.zeta, _zeta, [(uniform(1.01, 12), powers(-2, 2)), (whole(2, 9), uniform(-9, 9))], 6, 1e-14),
    "igamma": (
        fn.igamma, lambda a, x: mpmath.gammainc(a, 0, x, **REGULAR),
        [(uniform(0, 9), uniform(0, 9)), (powers(-6, 0), powers(-3, 0.4)), (powers(1, 3), _near)], 4, 2e-15,
    ),
    "igammac": (
        fn.igammac, lambda a, x: mpmath.gammainc(a, x, **REGULAR),
        [(uniform(0, 9), uniform(0, 9)), (powers(-6, 0), powers(-3, 0.4)), (powers(1, 3), _near)], 4, 2e-15,
    ),
    "hermite_h": _recurrence(lambda x: 2 * x, lambda k, x, q, p: 2 * x * q - 2 * k * p),
    "hermite_he": _recurrence(lambda x: x, lambda k, x, q, p: x * q - k * p),
    "laguerre": _recurrence(lambda x: 1 - x, lambda k, x, q, p: ((2 * k + 1 - x) * q - k * p) / (k + 1)),
    "legendre": _recurrence(lambda x: x, lambda k, x, q, p: ((2 * k + 1) * x * q - k * p) / (k + 1)),
    **{f"chebyshev_{k}": _chebyshev(f) for k, f in KINDS.items()},
    **{f"shifted_chebyshev_{k}": _chebyshev(f, True) for k, f in KINDS.items()},
}  # fmt: skip


def check(function, exact, arguments, bound, absolute, scale=None):
    """Errors in float64 within a bound; float32 rounded from it."""
    for dtype in ("f64", "f32"):
        given = [a.astype(interp.numpy_dtype(dtype)) for a in arguments]
        got = kernels.run(trace(function, [In(dtype)] * len(given)), given)[0]
        with mpmath.workdps(40):
            want = [exact(*map(mpmath.mpf, map(float, v))) for v in zip(*given, strict=True)]
            error = np.array([float(abs(mpmath.mpf(float(g)) - w)) for g, w in zip(got, want, strict=True)])
        size = np.abs(np.array([float(w) for w in want])) if scale is None else scale
        unit = np.spacing(np.maximum(size, 1e-36 if dtype == "f32" else 1e-300).astype(got.dtype)).astype(float)
        allowed = absolute + (bound if dtype == "f64" else 0.51) * unit
        worst = (error / allowed).argmax()
        assert error[worst] <= allowed[worst], ([float(g[worst]) for g in given], got[worst], float(want[worst]))


@pytest.mark.parametrize("name", ONE)
def test_functions_of_one(name):
    function, exact, domains, bound, absolute = ONE[name]
    for domain in domains:
        check(function, exact, [domain(60)], bound, absolute)


@pytest.mark.parametrize("name", [n for n, case in TWO.items() if isinstance(case, tuple)])
def test_functions_of_two(name):
    function, exact, domains, bound, absolute = TWO[name]
    for first, second in domains:
        a = first(50)
        x = second(a) if second is _near else second(50)
        check(function, exact, [a, x], bound, absolute)


def summed(name: str, x: float, n: float) -> float:
    """The size of the terms of a polynomial: its value where all have one sign."""
    if name == "laguerre":
        place = mpmath.mpf(-abs(x))
    elif name.startswith("shifted"):
        place = mpmath.mpc(0.5, abs(x - 0.5))
    else:
        place = mpmath.mpc(0, abs(x))
    return float(abs(TWO[name](place, n)))


@pytest.mark.parametrize("name", [n for n, case in TWO.items() if not isinstance(case, tuple)])
def test_polynomials(name):
    """Relative to the terms; Chebyshev's and Legendre's between -1 and 1 absolutely."""

    def function(x, n):
        return fn.orthogonal(name, x, n)

    x, n = RANDOM.uniform(-9, 9, 60), whole(-3, 12)(60)
    check(function, TWO[name], [x, n], 20, 0, np.array([summed(name, *v) for v in zip(x, n, strict=True)]))
    x, n = RANDOM.uniform(0 if name.startswith("shifted") else -1, 1, 60), whole(0, 90)(60)
    if name.startswith(("hermite", "laguerre")):
        n = np.minimum(n, 20)
        scale = np.array([summed(name, *v) for v in zip(x, n, strict=True)])
    else:
        scale = n + 1
    check(function, TWO[name], [x, n], 90, 0, scale)


def test_polynomials_at_the_edges():
    infinity, nan = np.inf, np.nan

    def at(kind, x, n):
        x, n = np.array([float(x)]), np.array([float(n)])
        return kernels.run(trace(lambda x, n: fn.orthogonal(kind, x, n), [In("f64")] * 2), [x, n])[0][0]

    assert [at("chebyshev_t", 0.3, n) for n in (-1, 0, 0.9)] == [0, 1, 1]
    assert [at("chebyshev_u", x, 100) for x in (1, -1)] == [101, 101]
    assert [at("chebyshev_w", 1, n) for n in (3, 100)] == [7, 201]
    assert [at("chebyshev_t", x, n) for x in (30, -30) for n in (1000, 1001)] == [infinity, infinity, infinity, -infinity]
    assert [at("legendre", -50, n) for n in (500, 501)] == [infinity, -infinity]
    assert [at("laguerre", x, 401) for x in (-1e4, 1e9)] == [infinity, -infinity]
    assert all(np.isnan(at(kind, 0.5, 10.0**9)) for kind in ("hermite_h", "hermite_he", "laguerre", "legendre"))
    assert np.isnan(at("legendre", nan, 3))


def test_specials():
    infinity, nan = np.inf, np.nan
    points = np.array([0.0, -0.0, infinity, -infinity, nan, -1.0])
    want = {
        "erfcx": [1, 1, 0, infinity, nan, 5.00898008076228], "ndtr": [0.5, 0.5, 1, 0, nan, 0.15865525393145705],
        "log_ndtr": [-0.6931471805599453, -0.6931471805599453, -0.0, -infinity, nan, -1.8410216450092636],
        "ndtri": [-infinity, -infinity, nan, nan, nan, nan], "i0": [1, 1, infinity, infinity, nan, 1.2660658777520084],
        "i0e": [1, 1, 0, 0, nan, 0.46575960759364043], "i1": [0, -0.0, infinity, -infinity, nan, -0.565159103992485],
        "i1e": [0, -0.0, 0, -0.0, nan, -0.2079104153497085], "k0": [infinity, infinity, 0, nan, nan, nan],
        "k1e": [infinity, infinity, 0, nan, nan, nan], "j0": [1, 1, nan, nan, nan, 0.7651976865579666],
        "j1": [0, 0, nan, nan, nan, -0.4400505857449335], "y0": [-infinity, -infinity, nan, nan, nan, nan],
        "spherical_j0": [1, 1, 0, 0, nan, 0.8414709848078965],
        "airy_ai": [0.355028053887817, 0.355028053887817, 0, nan, nan, 0.5355608832923521],
    }  # fmt: skip
    for name, values in want.items():
        got = kernels.run(trace(getattr(fn, name), [In("f64")]), [points])[0]
        assert np.allclose(got, values, rtol=3e-15, atol=0, equal_nan=True), (name, got)
    pairs = np.array([[0, 2], [2, 0], [0, 0], [infinity, 2], [2, infinity], [infinity, infinity], [-1, 2], [2, -1]]).T
    got = kernels.run(trace(fn.igamma, [In("f64")] * 2), [pairs[0].copy(), pairs[1].copy()])[0]
    assert np.array_equal(got, [1, 0, nan, 0, 1, nan, nan, nan], equal_nan=True)
    pairs = np.array([[1, 2], [0.5, 2], [2, 0], [2, -3], [2.5, -0.5], [infinity, 1], [infinity, 2], [2, infinity]]).T
    got = kernels.run(trace(fn.zeta, [In("f64")] * 2), [pairs[0].copy(), pairs[1].copy()])[0]
    assert np.array_equal(got, [infinity, nan, infinity, infinity, nan, 1, 0, 0], equal_nan=True)
