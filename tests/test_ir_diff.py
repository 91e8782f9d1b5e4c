"""Symbolic derivatives against finite differences, at kinks, of second order, of complex functions; backward plans."""

import cmath
import math

import numpy as np
import pytest

import kernels
from flambeau.ir import fn
from flambeau.ir.diff import backward
from flambeau.ir.interp import run
from flambeau.ir.program import In, Par, trace

RANDOM = np.random.default_rng(0)

# body, domain of its arguments
SMOOTH = {
    "exp": (fn.exp, (-2, 2)), "exp2": (fn.exp2, (-2, 2)), "expm1": (fn.expm1, (-2, 2)), "log": (fn.log, (0.2, 3)),
    "log2": (fn.log2, (0.2, 3)), "log10": (fn.log10, (0.2, 3)), "log1p": (fn.log1p, (-0.8, 3)),
    "sin": (fn.sin, (-3, 3)), "cos": (fn.cos, (-3, 3)), "tan": (fn.tan, (-1, 1)), "asin": (fn.asin, (-0.9, 0.9)),
    "acos": (fn.acos, (-0.9, 0.9)), "atan": (fn.atan, (-3, 3)), "sinh": (fn.sinh, (-2, 2)), "cosh": (fn.cosh, (-2, 2)),
    "tanh": (fn.tanh, (-2, 2)), "asinh": (fn.asinh, (-2, 2)), "acosh": (fn.acosh, (1.2, 3)),
    "atanh": (fn.atanh, (-0.9, 0.9)), "erf": (fn.erf, (-2, 2)), "erfc": (fn.erfc, (-2, 2)),
    "erfinv": (fn.erfinv, (-0.9, 0.9)), "lgamma": (fn.lgamma, (0.3, 6)), "digamma": (fn.digamma, (0.3, 6)),
    "sqrt": (fn.sqrt, (0.2, 3)), "rsqrt": (fn.rsqrt, (0.2, 3)), "sigmoid": (fn.sigmoid, (-3, 3)),
    "softplus": (fn.softplus, (-3, 3)), "log_sigmoid": (fn.log_sigmoid, (-3, 3)),
    "reciprocal": (fn.reciprocal, (0.2, 3)), "square": (fn.square, (-2, 2)), "abs": (lambda x: abs(x), (-2, 2)),
    "relu": (fn.relu, (0.2, 2)), "gauss": (fn.gauss, (-2, 2)), "ndtr": (fn.ndtr, (-2, 2)),
    "gelu slope": (fn.gelu_slope, (-3, 3)),
    "clamp": (lambda x: fn.clamp(x * x, 0.1, 3), (0.5, 1.5)), "pow3": (lambda x: x**3, (-2, 2)),
    "pow2.5": (lambda x: x**2.5, (0.2, 2)), "2pow": (lambda x: 2.0**x, (-2, 2)),
    "silu": (lambda x: x * fn.sigmoid(x), (-3, 3)), "gelu": (fn.gelu, (-3, 3)),
    "mish": (lambda x: x * fn.tanh(fn.softplus(x)), (-3, 3)), "where": (lambda x: fn.where(x > 0, x * x, -x), (0.2, 2)),
    "round trip": (lambda x: fn.cast(fn.cast(x, "c128") * 2, "f64"), (-2, 2)), "unlikely": (
        lambda x: fn.unlikely(x > 1, fn.exp(x), x), (0.1, 0.9)),
    "add": (lambda x, y: x + y, (-2, 2)), "sub": (lambda x, y: x - y, (-2, 2)), "mul": (lambda x, y: x * y, (-2, 2)),
    "div": (lambda x, y: x / y, (0.3, 2)), "pow": (fn.pow, (0.3, 2)), "atan2": (fn.atan2, (0.3, 2)),
    "hypot": (fn.hypot, (0.3, 2)), "max": (fn.maximum, (-2, 2)), "min": (fn.minimum, (-2, 2)),
    "fmod": (lambda x, y: fn.fmod(x + 5, y), (1.6, 1.9)), "remainder": (lambda x, y: (x + 5) % y, (1.6, 1.9)),
    "copysign": (fn.copysign, (-2, 2)), "fma": (lambda x, y: fn.fma(x, y, x), (-2, 2)),
    "abs of complex": (lambda x, y: abs(fn.complex_(x, y)), (0.3, 2)),
    "parts": (lambda x, y: fn.imag(fn.exp(fn.complex_(x, y)) * fn.conj(fn.complex_(y, x))), (-1, 1)),
}  # fmt: skip


def value(program, arrays):
    return run(program, arrays)[0]


def gradients(program, arrays, g):
    """Gradients of all inputs, by the interpreter."""
    plan = backward(program, [True] * len(arrays))
    outputs = run(program, arrays)
    saved = [arrays[int(s[1:])] if s[0] == "i" else outputs[int(s[1:])] for s in plan.saved]
    computed = run(plan.program, [g, *saved]) if plan.program else []
    zero = [np.zeros_like(a) for a in arrays]
    return [g if p == "g" else z if p == "0" else computed[p] for p, z in zip(plan.outputs, zero, strict=True)]


def numeric(function, arrays, k, step=1e-6):
    moved = [[a + (d if j == k else 0) for j, a in enumerate(arrays)] for d in (step, -step)]
    return (function(moved[0]) - function(moved[1])) / (2 * step)


def arguments(body, low, high, count=50):
    arity = body.__code__.co_argcount
    return [RANDOM.uniform(low, high, count) for _ in range(arity)]


@pytest.mark.parametrize("name", SMOOTH)
def test_first_derivatives(name):
    body, (low, high) = SMOOTH[name]
    arrays = arguments(body, low, high)
    program = trace(body, [In("f64")] * len(arrays))
    g = RANDOM.normal(size=50)
    for k, got in enumerate(gradients(program, arrays, g)):
        want = g * numeric(lambda a: value(program, a), arrays, k)
        assert np.allclose(got, want, rtol=2e-5, atol=1e-7), (name, k)


@pytest.mark.parametrize("name", SMOOTH)
def test_second_derivatives(name):
    """The backward's own backward, against differences of the backward."""
    body, (low, high) = SMOOTH[name]
    arrays = arguments(body, low, high)
    g = RANDOM.normal(size=50)
    program = trace(body, [In("f64")] * len(arrays))
    for k in range(len(arrays)):
        plan = backward(program, [j == k for j in range(len(arrays))])
        if plan.program is None:
            continue
        saved = [arrays[int(s[1:])] if s[0] == "i" else run(program, arrays)[int(s[1:])] for s in plan.saved]
        operands = [g, *saved]
        h = RANDOM.normal(size=50)
        for j, got in enumerate(gradients(plan.program, operands, h)):
            want = h * numeric(lambda a, p=plan.program: value(p, a), operands, j)
            assert np.allclose(got, want, rtol=5e-5, atol=1e-6), (name, k, j)


HOLOMORPHIC = [
    fn.exp, fn.exp2, fn.expm1, fn.log, fn.log1p, fn.sin, fn.cos, fn.tan, fn.sinh, fn.cosh, fn.tanh, fn.sqrt, fn.rsqrt,
    fn.asin, fn.acos, fn.atan, fn.asinh, fn.acosh, fn.atanh, fn.sigmoid, fn.square, fn.reciprocal,
    lambda x: fn.conj(x) * x * x, lambda x: x / (x + 2), lambda x: abs(x), lambda x: fn.sign(x), lambda x: x**3,
    lambda x: fn.where(fn.real(x) > 0, x * x, x), lambda x: fn.real(x) * x, lambda x, y: x * y, lambda x, y: x / y,
    lambda x, y: x**y,
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(HOLOMORPHIC)))
def test_complex_gradients(case):
    """dL/dx + i dL/dy of L = Re(conj(w) f(z)), against differences in both directions."""
    body = HOLOMORPHIC[case]
    arrays = [a + 1j * RANDOM.uniform(0.3, 0.8, 50) for a in arguments(body, 0.3, 0.8)]
    program = trace(body, [In("c128")] * len(arrays))
    outputs = value(program, arrays)
    w = RANDOM.normal(size=50) + (1j * RANDOM.normal(size=50) if np.iscomplexobj(outputs) else 0)

    def loss(a):
        return np.real(np.conj(w) * value(program, a))

    for k, got in enumerate(gradients(program, arrays, w)):
        want = numeric(loss, arrays, k) + 1j * numeric(loss, arrays, k, 1e-6j) * 1j
        assert np.allclose(got, want, rtol=1e-5, atol=1e-7), k


COMPLEX_VALUES = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "sin": np.sin, "cos": np.cos, "tan": np.tan, "sinh": np.sinh,
    "cosh": np.cosh, "tanh": np.tanh, "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "abs": np.abs, "expm1": np.expm1, "log1p": np.log1p, "exp2": np.exp2,
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLEX_VALUES)
@pytest.mark.parametrize("dtype, tolerance", [("c64", 2e-6), ("c128", 1e-14)])
def test_complex_values(name, dtype, tolerance):
    z = RANDOM.normal(size=2000) * 3 + 3j * RANDOM.normal(size=2000)
    z = z.astype({"c64": "c8", "c128": "c16"}[dtype])
    got = kernels.run(trace(getattr(fn, name), [In(dtype)]), [z])[0]
    want = COMPLEX_VALUES[name](z.astype("c16"))
    assert np.all(np.abs(got - want) <= tolerance * np.abs(want) + 1e-300)


NUMBERS = [math.inf, -math.inf, 1.0, -1.0, 0.0, -0.0, math.nan]
SPECIAL = [complex(x, y) for x in NUMBERS for y in NUMBERS]
TURNED = {"sin": "sinh", "tan": "tanh", "asin": "asinh", "atan": "atanh"}  # f(z) = -i g(iz)
ANGLE = {**dict.fromkeys(("exp", "sinh", "cosh", "tanh"), "imag"), **dict.fromkeys(("sin", "cos", "tan"), "real")}
ENDLESS = {  # name, |x| -> the value for an angle y that is not finite; nan in both parts elsewhere
    ("exp", math.inf): (math.inf, math.nan), ("sinh", math.inf): (math.inf, math.nan), ("sinh", 0): (0, math.nan),
    ("cosh", math.inf): (math.inf, math.nan), ("cosh", 0): (math.nan, 0), ("tanh", 0): (0, math.nan),
}  # fmt: skip


def c99(name, z):
    """What Annex G of C says: cmath's value, and by hand where cmath raises or has not followed C17 (at 0 + nan i)."""
    x, y = z.real, z.imag
    if name in TURNED:
        value = c99(TURNED[name], complex(-y, x))
        return complex(value.imag, -value.real)
    if name == "cos":
        return c99("cosh", complex(-y, x))
    if x == 0 and math.isnan(y) and name in ("tanh", "acosh"):
        return complex(x, y) if name == "tanh" else complex(y, math.pi / 2)
    try:
        return getattr(cmath, name)(z)
    except ValueError:
        if name == "log":
            return complex(-math.inf, math.atan2(y, x))
        if name == "atanh":
            return complex(math.copysign(math.inf, x), y)
        return complex(*ENDLESS.get((name, abs(x)), (math.nan, math.nan)))


def agrees(got, want, any_sign, tolerance):
    if any_sign and (want == 0 or math.isinf(want)):
        return abs(got) == abs(want)
    if math.isnan(want):
        return math.isnan(got)
    close = got == want or abs(got - want) <= tolerance * abs(want)
    return close and math.copysign(1, got) == math.copysign(1, want)


@pytest.mark.parametrize("name", [n for n in COMPLEX_VALUES if n not in ("abs", "expm1", "log1p", "exp2")])
@pytest.mark.parametrize("dtype, tolerance", [("c64", 2e-7), ("c128", 1e-15)])
def test_complex_values_at_infinities_zeros_and_nan(name, dtype, tolerance):
    """As C99 has them, where it leaves no sign open: that of 0 and infinity beside a nan or an infinite angle."""
    z = np.array(SPECIAL, {"c64": "c8", "c128": "c16"}[dtype])
    program = trace(getattr(fn, name), [In(dtype)])
    for got in (kernels.run(program, [z])[0], run(program, [z])[0]):
        for at, value in zip(SPECIAL, got.tolist(), strict=True):
            want = c99(name, at)
            any_sign = cmath.isnan(at) or (name in ANGLE and math.isinf(getattr(at, ANGLE[name])))
            for part in ("real", "imag"):
                assert agrees(getattr(value, part), getattr(want, part), any_sign, tolerance), (at, value, want)


@pytest.mark.parametrize("dtype, size, tolerance", [("c64", 1e25, 1e-6), ("c128", 1e200, 1e-15)])
def test_complex_functions_of_large_numbers(dtype, size, tolerance):
    """By parts: the square of the size overflows in atanh; what tanh differs from 1 by is small, but not nothing."""

    def parts(name, z):
        got = kernels.run(trace(getattr(fn, name), [In(dtype)]), [np.array([z], {"c64": "c8", "c128": "c16"}[dtype])])
        return [got[0][0].real, got[0][0].imag]

    z = complex(3 * size, -4 * size)
    assert np.allclose(parts("atanh", z), [0.12 / size, -math.pi / 2], tolerance, 0)
    assert np.allclose(parts("atan", z), [math.pi / 2, -0.16 / size], tolerance, 0)
    for z in (12.5 + 1.5j, -15 + 0.25j, 19 + 1j, 30 - 2j):
        want = cmath.tanh(z)
        assert np.allclose(parts("tanh", z), [want.real, want.imag], tolerance, 0)


def test_complex_division_does_not_overflow():
    z = np.array([1e300 + 1e300j, 1e-300 + 1e-300j, 1 + 1j, 0])
    w = np.array([1e300 + 1e300j, 1e-300 + 1e-300j, 1e308 + 1e308j, 1 + 1j])
    got = kernels.run(trace(lambda x, y: x / y, [In("c128")] * 2), [z, w])[0]
    assert np.allclose(got, [1, 1, 1e-308, 0], rtol=1e-15, atol=0)


def at(body, *points):
    arrays = [np.array([float(p)]) for p in points]
    program = trace(body, [In("f64")] * len(points))
    return [float(g[0]) for g in gradients(program, arrays, np.ones(1))]


def test_kinks():
    assert at(fn.relu, 0) == [0] and at(fn.relu, -0.0) == [0] and at(fn.abs, 0) == [0]
    assert at(fn.maximum, 2, 2) == [0.5, 0.5] and at(fn.minimum, 2, 2) == [0.5, 0.5]
    assert at(fn.maximum, 1, 2) == [0, 1] and at(fn.fmax, 2, 2) == [1, 0] and at(fn.fmin, np.nan, 2) == [0, 1]
    assert at(fn.atan2, 0, 0) == [0, 0]
    clamp = lambda x: fn.clamp(x, -1.0, 1.0)  # noqa: E731
    assert [at(clamp, p)[0] for p in (-1.5, -1, 0, 1, 1.5)] == [0, 1, 1, 1, 0]
    assert at(lambda x: x**2, 0) == [0] and at(lambda x: x**1, 0) == [1] and at(lambda x: x**0, 0) == [0]
    assert at(fn.pow, 0, 2) == [0, 0] and at(fn.pow, 0, 0) == [0, 0] and at(fn.pow, 2, 0) == [0, np.log(2)]
    assert at(fn.sign, 0) == [0] and at(fn.floor, 0.5) == [0] and at(fn.copysign, 0, -1) == [0, 0]
    assert at(fn.sqrt, 0) == [np.inf]


def test_abs_of_complex_zero_has_no_gradient():
    program = trace(abs, [In("c128")])
    assert gradients(program, [np.zeros(1, complex)], np.ones(1))[0][0] == 0


@pytest.mark.parametrize("choose", [fn.where, fn.unlikely])
def test_slopes_of_what_is_not_chosen_do_not_count(choose):
    infinite = lambda x: choose(x > 0, x, fn.exp(x * 1000))  # noqa: E731
    assert at(infinite, 5) == [1] and at(infinite, -1) == [0]
    assert at(lambda x: choose(x > 0, fn.sqrt(x), 0.0), 0) == [0]
    assert np.isnan(at(lambda x, y: choose(x > y, fn.log(x) * y, y / x), 0, 0)[0])  # chosen, and not defined
    inner = lambda x: choose(x < 1, 0.0, choose(x < 2, fn.log(x - 1) * 2, 3 * x))  # noqa: E731
    assert [at(inner, p)[0] for p in (0, 0.5, 1.5, 3)] == [0, 0, 4, 3]
    shared = lambda x: (lambda s: choose(x > 0, s, 2 * s) + s)(1 / x)  # noqa: E731
    assert at(shared, 2) == [-0.5] and at(shared, -2) == [-0.75]
    both = lambda x, y: choose(x > 0, fn.sqrt(x) * y, fn.sqrt(-x) + y)  # noqa: E731
    assert at(both, 4, 3) == [0.75, 2] and at(both, -4, 3) == [-0.25, 1]
    bare = lambda x: choose(x > 0, choose(x > 1, x * x, x), x * 3) + x  # noqa: E731
    assert [at(bare, p)[0] for p in (2, 0.5, -1)] == [5, 2, 4]


def plan(body, *dtypes, needs=None, params=()):
    found = backward(trace(body, [*map(In, dtypes), *map(Par, params)]), needs or [True] * len(dtypes))
    return found.saved, found.outputs


def test_plans_save_little():
    assert plan(fn.exp, "f32") == (("o0",), (0,))
    assert plan(fn.tanh, "f32") == plan(fn.sigmoid, "f32") == plan(fn.sqrt, "f32") == (("o0",), (0,))
    assert plan(fn.relu, "f32") == (("o0",), (0,))
    assert plan(fn.sin, "f32") == (("i0",), (0,))
    assert plan(lambda x, y: x + y, "f32", "f32") == ((), ("g", "g"))
    assert plan(lambda x, y: x - y, "f32", "f32") == ((), ("g", 0))
    assert plan(lambda x, y, a: x + a * y, "f32", "f32", params=["f32"]) == ((), ("g", 0))
    assert plan(lambda x, y: x * y, "f32", "f32") == (("i0", "i1"), (0, 1))
    assert plan(lambda x, y: x * y, "f32", "f32", needs=[True, False]) == (("i1",), (0,))
    assert plan(lambda x, y: fn.where(x, y, 0.0), "b1", "f32", needs=[False, True]) == (("i0",), (0,))
    assert plan(fn.floor, "f32") == ((), ("0",))
    assert plan(lambda x, y: x > y, "f32", "f32") == ((), ("0", "0"))
    assert plan(lambda x: (x, fn.exp(x)), "f32") == (("o1",), (0,))


def test_a_chosen_plan_can_be_asked_for_again():
    for dtype in ("f32", "f64", "bf16", "c64"):
        program = trace(fn.tanh, [In(dtype)], outputs=[dtype])
        again = backward(program, [True], saved=("o0",))
        assert again.saved == ("o0",) and again.program.inputs == (dtype, dtype) and again.program.outputs == (dtype,)


def test_row_programs_sum_over_the_row():
    """softmax: the derivative of a sum is a broadcast, and that of a broadcast a sum."""
    from flambeau.ir import row_interp
    from flambeau.ir.diff import vjp
    from flambeau.ir.expr import input_
    from flambeau.ir.row import row_max

    x, weight, g = input_(0, "f64"), input_(1, "f64"), input_(2, "f64")
    e = fn.exp(x - fn.detach(row_max(x)))
    y = e / fn.row_sum(e) * weight

    def varies(node):
        if node.op.startswith("row_"):
            return False
        return (node.op == "input" and node.attr[0] != 1) or any(varies(a) for a in node.args)

    gradients = vjp([y], [g], [x, weight], lambda e, g: fn.row_sum(g) if varies(g) and not varies(e) else g)
    a, w, b = RANDOM.normal(size=(4, 7)), RANDOM.normal(size=4), RANDOM.normal(size=(4, 7))
    operands = [("F", "f64", a), ("B", "f64", w), ("F", "f64", b)]
    dx, dw = row_interp.run(gradients, [("F", "f64"), ("B", "f64")], operands, (4, 7))
    w = w[:, None]
    p = np.exp(a) / np.exp(a).sum(1, keepdims=True)
    inner = (b * w * p).sum(1, keepdims=True)
    assert np.allclose(dx, p * (b * w - inner)) and np.allclose(dw, (b * p).sum(1))
