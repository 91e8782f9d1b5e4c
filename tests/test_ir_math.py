"""Accuracy of the generated mathematical functions: 2 ulp in float32, 4 in float64, exact at the specials."""

import re

import mpmath
import numpy as np
import pytest
from scipy import special

import flambeau
import kernels
from flambeau.ir import fn
from flambeau.ir.program import In, trace

LONG = np.longdouble
HAS_LONG = np.finfo(LONG).nmant > 60
RANDOM = np.random.default_rng(0)

# name: (reference, lowest and highest argument)
REAL_LINE = (-np.inf, np.inf)
REFERENCES = {
    "exp": (np.exp, REAL_LINE), "exp2": (np.exp2, REAL_LINE), "expm1": (np.expm1, REAL_LINE),
    "log": (np.log, (0, np.inf)), "log2": (np.log2, (0, np.inf)), "log10": (np.log10, (0, np.inf)),
    "log1p": (np.log1p, (-1, np.inf)), "sqrt": (np.sqrt, (0, np.inf)),
    "sinh": (np.sinh, REAL_LINE), "cosh": (np.cosh, REAL_LINE), "tanh": (np.tanh, REAL_LINE),
    "asin": (np.arcsin, (-1, 1)), "acos": (np.arccos, (-1, 1)), "atan": (np.arctan, REAL_LINE),
    "asinh": (np.arcsinh, REAL_LINE), "acosh": (np.arccosh, (1, np.inf)), "atanh": (np.arctanh, (-1, 1)),
    "sin": (np.sin, (-1e4, 1e4)), "cos": (np.cos, (-1e4, 1e4)), "tan": (np.tan, (-1e4, 1e4)),
    "rsqrt": (lambda x: 1 / np.sqrt(x), (0, np.inf)),
    "sigmoid": (lambda x: np.where(x < 0, np.exp(x), 1) / (1 + np.exp(-abs(x))), REAL_LINE),
    "softplus": (lambda x: np.maximum(x, 0) + np.log1p(np.exp(-abs(x))), REAL_LINE),
    "log_sigmoid": (lambda x: np.minimum(x, 0) - np.log1p(np.exp(-abs(x))), REAL_LINE),
}  # fmt: skip


def evaluate(name: str, *arguments: np.ndarray) -> np.ndarray:
    """The function by a generated kernel."""
    dtype = {4: "f32", 8: "f64"}[arguments[0].itemsize]
    program = trace(getattr(fn, name), [In(dtype)] * len(arguments))
    return kernels.run(program, list(arguments))[0]


def errors(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Distance in units in the last place of the result's format; inf and nan must agree."""
    with np.errstate(all="ignore"):
        rounded = want.astype(got.dtype)
        unit = np.spacing(np.abs(rounded))
        distance = np.abs(got.astype(LONG) - want) / unit.astype(LONG)
    special_ = ~np.isfinite(rounded) | ~np.isfinite(got)
    near_overflow = np.isinf(rounded) & (np.abs(got) == np.finfo(got.dtype).max)
    agree = (got == rounded) | (np.isnan(got) & np.isnan(rounded)) | near_overflow
    return np.where(special_, np.where(agree, 0, np.inf), distance)


def every(step: int) -> np.ndarray:
    """Every step-th float32 of all."""
    return np.arange(0, 2**32, step, np.uint64).astype(np.uint32).view(np.float32)


@pytest.mark.parametrize("name", REFERENCES)
def test_float32(name):
    reference, (low, high) = REFERENCES[name]
    x = every(9973)
    x = x[(x >= low) & (x <= high) | np.isnan(x)]
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    worst = errors(evaluate(name, x), want)
    assert worst.max() <= 2.001, (x[worst.argmax()], worst.max())


@pytest.mark.slow
@pytest.mark.parametrize("name", REFERENCES)
def test_float32_dense(name):
    reference, (low, high) = REFERENCES[name]
    for start in range(0, 97 * 8, 97):
        x = every(97 * 8).view(np.uint32) + np.uint32(start)
        x = x.view(np.float32)
        x = x[(x >= low) & (x <= high)]
        with np.errstate(all="ignore"):
            want = reference(x.astype(np.float64))
        worst = errors(evaluate(name, x), want)
        assert worst.max() <= 2.001, (x[worst.argmax()], worst.max())


def spread(low: float, high: float, count: int) -> np.ndarray:
    """Arguments of all sizes between two bounds."""
    logarithmic = 10.0 ** RANDOM.uniform(-300, 300, count)
    x = np.concatenate([logarithmic, -logarithmic, RANDOM.normal(0, 1, count), RANDOM.normal(0, 100, count)])
    return x[(x >= low) & (x <= high)]


def stated(name: str) -> tuple[float, float]:
    """The bounds that an operator's documentation states: float32, float64."""
    document = getattr(flambeau, name).__doc__
    found = re.search(r"Error: at most ([\d.]+) ulp in float32, ([\d.]+) ulp in float64", document)
    return float(found[1]), float(found[2])


@pytest.mark.skipif(not HAS_LONG, reason="needs a long double of more than 53 bits")
@pytest.mark.parametrize("name", REFERENCES)
def test_float64(name):
    """Within what the documentation states, and within 4 ulp."""
    reference, (low, high) = REFERENCES[name]
    x = np.concatenate([spread(low, high, 20000), RANDOM.uniform(max(low, -3), min(high, 3), 20000)])
    bound = 4 if name in ("softplus", "log_sigmoid") else stated(name)[1]
    with np.errstate(all="ignore"):
        want = reference(x.astype(LONG))
    worst = errors(evaluate(name, x), want)
    assert worst.max() <= bound <= 4, (x[worst.argmax()], worst.max())


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("dtype, bound", [("f4", 2), ("f8", 4)])
def test_trigonometry_of_huge_arguments(name, dtype, bound):
    x = (10.0 ** RANDOM.uniform(3, 38 if dtype == "f4" else 307, 300)).astype(dtype)
    with mpmath.workdps(400):
        exact = [getattr(mpmath, name)(mpmath.mpf(float(v))) for v in x]
        got = evaluate(name, x)
        for v, g, w in zip(x, got, exact, strict=True):
            unit = float(np.spacing(np.abs(np.dtype(dtype).type(w))))
            assert abs(float((mpmath.mpf(float(g)) - w) / unit)) <= bound, v


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_power(dtype):
    bound = stated("pow")[dtype == "f8"]
    limit = 37 if dtype == "f4" else 300
    x = (10.0 ** RANDOM.uniform(-3, 3, 40000)).astype(dtype)
    y = (RANDOM.uniform(-1, 1, x.size) * limit / np.maximum(np.abs(np.log10(x)), 0.2)).astype(dtype)
    wide = np.float64 if dtype == "f4" else LONG
    worst = errors(evaluate("pow", x, y), np.power(x.astype(wide), y.astype(wide)))
    assert worst.max() <= bound, (x[worst.argmax()], y[worst.argmax()], worst.max())


def test_power_at_specials():
    edge = np.array([0.0, -0.0, 1, -1, 2, -2, 3, 0.5, -0.5, np.inf, -np.inf, np.nan, 1e300, 1e-300, 2**53 + 2, -3.0])
    x, y = (a.ravel() for a in np.meshgrid(edge, edge))
    with np.errstate(all="ignore"):
        got, want = evaluate("pow", x, y), np.power(x, y)
    finite = np.isfinite(want) & (want != 0)
    assert np.allclose(got[finite], want[finite], rtol=1e-15)
    assert kernels.same_bits(got[~finite], want[~finite])


@pytest.mark.parametrize("name, exact", [("erf", special.erf), ("erfc", special.erfc)])
def test_error_function(name, exact):
    bound32, bound64 = stated(name)
    x = every(99991)
    x = x[np.isfinite(x)]
    worst = errors(evaluate(name, x), exact(x.astype(np.float64)))
    assert worst.max() <= bound32, (x[worst.argmax()], worst.max())
    x = RANDOM.uniform(-6, 26, 2000)
    with mpmath.workdps(40):
        want = np.array([_long(getattr(mpmath, name)(mpmath.mpf(float(v)))) for v in x])
    worst = errors(evaluate(name, x), want)
    assert worst.max() <= bound64, (x[worst.argmax()], worst.max())


def _long(value) -> np.longdouble:
    head = float(value)
    return LONG(head) + LONG(float(value - head)) if np.isfinite(head) else LONG(head)


# function, exact value, arguments, bound in ulp beyond an error of 1e-16 (their zeros are not at representable numbers)
SPECIAL = [
    (fn.erfinv, mpmath.erfinv, (-1, 1), 1),
    (fn.digamma, mpmath.digamma, (1e-3, 60), 10),
    (lambda x: fn.polygamma(1, x), lambda x: mpmath.psi(1, x), (1e-3, 60), 8),
    (lambda x: fn.polygamma(3, x), lambda x: mpmath.psi(3, x), (1e-3, 60), 12),
    (fn.digamma, mpmath.digamma, (-20.3, -0.01), 200),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(SPECIAL)))
def test_special_functions(case):
    function, exact, (low, high), bound = SPECIAL[case]
    x = RANDOM.uniform(low, high, 400)
    with mpmath.workdps(40):
        want = np.array([_long(exact(mpmath.mpf(float(v)))) for v in x])
    got = kernels.run(trace(function, [In("f64")]), [x])[0]
    distance = np.maximum(np.abs(got - want) - LONG(2e-15), 0) / np.spacing(np.abs(want.astype(np.float64)))
    assert distance.max() <= bound, (x[distance.argmax()], distance.max())
    single = kernels.run(trace(function, [In("f32")]), [x.astype(np.float32)])[0]
    with mpmath.workdps(40):
        want = np.array([float(exact(mpmath.mpf(float(np.float32(v))))) for v in x])
    assert np.allclose(single, want, rtol=3e-7, atol=1e-12)


def test_erfinv_of_float32():
    """Within a unit in the last place: in the middle, in both tails, and where the two forms meet."""
    tails = 1 - 10.0 ** RANDOM.uniform(-7.2, -0.3, 20000)
    x = np.concatenate([RANDOM.uniform(-1, 1, 20000), tails, -tails, np.linspace(0.74, 0.76, 999), [1e-44, 1e-38]])
    x = x.astype(np.float32)
    x = x[np.abs(x) < 1]
    assert errors(evaluate("erfinv", x), special.erfinv(x.astype(np.float64))).max() <= stated("erfinv")[0]
    edge = evaluate("erfinv", np.array([0.0, -0.0, 1, -1, 2, np.inf, np.nan], np.float32))
    assert np.array_equal(edge, [0, 0, np.inf, -np.inf, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(np.signbit(edge[:2]), [False, True])


def test_erfinv_of_float64():
    """Within a unit in the last place: in the middle, in both tails, and where the two forms meet."""
    tails = 1 - 10.0 ** RANDOM.uniform(-15.9, -0.3, 300)
    x = np.concatenate([RANDOM.uniform(-1, 1, 300), tails, -tails, np.linspace(0.49, 0.51, 99), [1e-300, 1e-9]])
    with mpmath.workdps(40):
        want = np.array([_long(mpmath.erfinv(mpmath.mpf(float(v)))) for v in x])
    assert errors(evaluate("erfinv", x), want).max() <= stated("erfinv")[1]
    edge = evaluate("erfinv", np.array([0.0, -0.0, 1, -1, 2, np.inf, np.nan]))
    assert np.array_equal(edge, [0, 0, np.inf, -np.inf, np.nan, np.nan, np.nan], equal_nan=True)
    assert np.array_equal(np.signbit(edge[:2]), [False, True])


# function, exact value; bounds in ulp: float64; float32 above 1, around 0, down to -5, down to -12
NORMAL = {
    "gelu": (lambda x: x * mpmath.ncdf(x), lambda x: x * special.ndtr(x), 3, (0.75, 1.5, 2, 6.1)),
    "ndtr": (mpmath.ncdf, special.ndtr, 3, (0.503, 0.503, 0.503, 0.503)),
    "gauss": (lambda x: mpmath.exp(-x * x / 2), lambda x: np.exp(-x * x / 2), 1, (1.3, 1, 1.3, 1.3)),
}


@pytest.mark.parametrize("name", NORMAL)
def test_normal_distribution(name):
    exact, near, bound, (above, around, below, far) = NORMAL[name]
    x = np.concatenate([RANDOM.uniform(-37, 6, 300), RANDOM.normal(0, 1, 300)])
    with mpmath.workdps(40):
        want = np.array([_long(exact(mpmath.mpf(float(v)))) for v in x])
    assert errors(evaluate(name, x), want).max() <= bound
    x = np.concatenate([RANDOM.uniform(-12, 12, 60000), RANDOM.normal(0, 1, 60000)]).astype(np.float32)
    worst = errors(evaluate(name, x), near(x.astype(np.float64)))
    for chosen, limit in ((x >= 1, above), (np.abs(x) <= 0.5, around), (x >= -5, below), (x < -5, far)):
        assert worst[chosen].max() <= limit, x[chosen][worst[chosen].argmax()]


def test_gelu_at_the_edges():
    for dtype in ("f4", "f8"):
        got = evaluate("gelu", np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e30, -1e30, -50], dtype))
        assert np.array_equal(got, np.array([0, 0, np.inf, np.nan, np.nan, 1e30, 0, 0], dtype), equal_nan=True)
        assert np.array_equal(np.signbit(got[[0, 1, 6, 7]]), [False, True, True, True])


def test_lgamma():
    """Within a unit in the last place, around its zeros and poles and where its forms meet; float32 rounded from it."""
    sizes = 10.0 ** RANDOM.uniform(-12, -1, 80)
    around = [c + s * sizes for c in (1.0, 2.0, 8.0, -20.0, -3.0) for s in (1, -1)]
    x = np.concatenate([RANDOM.uniform(-25, 12, 600), 10.0 ** RANDOM.uniform(-300, 300, 200), *around, -sizes])
    for dtype, bound in (("f8", stated("lgamma")[1]), ("f4", stated("lgamma")[0])):
        x = x[np.abs(x) < np.finfo(dtype).max].astype(dtype)
        x = x[(x > 0) | (np.trunc(x) != x)]
        with mpmath.workdps(60):
            want = np.array([_long(mpmath.log(abs(mpmath.gamma(mpmath.mpf(float(v)))))) for v in x])
        worst = errors(evaluate("lgamma", x), want)
        assert worst.max() <= bound, (x[worst.argmax()], worst.max())
        edge = np.array([0.0, -0.0, -1, -20, -1e17, np.inf, -np.inf, 3e38 if dtype == "f4" else 1e306, np.nan, 1, 2])
        got = evaluate("lgamma", edge.astype(dtype))
        assert np.array_equal(got, [np.inf] * 8 + [np.nan, 0, 0], equal_nan=True)


def test_lgamma_near_its_zeros():
    """Between poles both terms are kept in two parts: their difference is off by 1e-20, and a unit in the last place."""
    zeros = np.array([-2.4570247382208006, -2.7476826467274127, -3.1435808883499798, -4.991544640560048])
    near = 10 ** RANDOM.uniform(-12, -2, (2, 40, 1))
    x = np.concatenate([zeros + near[0], zeros - near[1]]).reshape(-1)
    with mpmath.workdps(40):
        want = np.array([_long(mpmath.log(abs(mpmath.gamma(mpmath.mpf(float(v)))))) for v in x])
    got = kernels.run(trace(fn.lgamma, [In("f64")]), [x])[0]
    assert np.all(np.abs(got - want) <= 1e-20 + np.spacing(np.abs(want.astype(np.float64))))


def test_specials():
    """Zeros keep their sign, infinities and nan are what C says."""
    edge = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0])
    exact = {
        "exp": np.exp, "expm1": np.expm1, "log": np.log, "log2": np.log2, "log10": np.log10, "log1p": np.log1p,
        "sin": np.sin, "tan": np.tan, "asin": np.arcsin, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
        "tanh": np.tanh, "asinh": np.arcsinh, "acosh": np.arccosh, "atanh": np.arctanh, "exp2": np.exp2,
        "erf": special.erf, "erfc": special.erfc, "cos": np.cos, "acos": np.arccos,
    }  # fmt: skip
    for dtype in ("f4", "f8"):
        x = edge.astype(dtype)
        for name, reference in exact.items():
            with np.errstate(all="ignore"):
                want = reference(x.astype(np.float64)).astype(dtype)
            got = evaluate(name, x)
            finite = np.isfinite(want) & (want != 0)
            assert np.allclose(got[finite], want[finite], rtol=1e-6), name
            assert kernels.same_bits(got[~finite], want[~finite]), (name, dtype, got, want)


@pytest.mark.parametrize("name, reference", [("atan2", np.arctan2), ("hypot", np.hypot)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_functions_of_two(name, reference, dtype):
    bound = stated(name)[dtype == "f8"]
    edge = np.array([0.0, -0.0, 1, -1, np.inf, -np.inf, np.nan, 3e38, -3e38, 1e-38, 1e-40])
    x, y = (a.ravel().astype(dtype) for a in np.meshgrid(edge, edge))
    x = np.concatenate([x, RANDOM.normal(size=20000) * 10.0 ** RANDOM.uniform(-30, 30, 20000)]).astype(dtype)
    y = np.concatenate([y, RANDOM.normal(size=20000) * 10.0 ** RANDOM.uniform(-30, 30, 20000)]).astype(dtype)
    wide = np.float64 if dtype == "f4" else LONG
    with np.errstate(all="ignore"):
        worst = errors(evaluate(name, x, y), reference(x.astype(wide), y.astype(wide)))
    assert worst.max() <= bound, (x[worst.argmax()], y[worst.argmax()], worst.max())


def test_remainders_are_exact():
    for dtype in ("f4", "f8"):
        limit = 37 if dtype == "f4" else 300
        x = (RANDOM.normal(size=5000) * 10.0 ** RANDOM.uniform(-limit, limit, 5000)).astype(dtype)
        y = (RANDOM.normal(size=5000) * 10.0 ** RANDOM.uniform(-limit, limit, 5000)).astype(dtype)
        x[:9], y[:9] = [5, -5, 5, -5, np.inf, 1, np.nan, 0, -0.0], [3, 3, -3, -3, 2, 0, 1, 2, 2]
        with np.errstate(all="ignore"):
            assert kernels.same_bits(evaluate("fmod", x, y), np.fmod(x, y))
            assert np.array_equal(evaluate("remainder", x, y), np.remainder(x, y), equal_nan=True)
