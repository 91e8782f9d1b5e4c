"""Expressions: interning, formulas, simplification, verifier, printer, interpreter."""

import math
import random
import threading

import numpy as np
import pytest

import kernels
from flambeau.ir import expr, fn, row, scalar
from flambeau.ir import types as t
from flambeau.ir.expr import const, input_, node
from flambeau.ir.interp import fma, numpy_dtype, run
from flambeau.ir.program import In, Par, trace
from flambeau.ir.verify import verify

X, Y = input_(0, "f32"), input_(1, "f32")
N, M = input_(0, "i32"), input_(1, "i32")
P, Q = input_(0, "b1"), input_(1, "b1")


def test_equal_nodes_are_one_object():
    assert X + Y * 2.0 is X + Y * 2.0
    assert const(0.0, "f32") is not const(-0.0, "f32")
    assert const(math.nan, "f32") is const(math.nan, "f32")
    assert const(1, "f32") is const(1.0, "f32")


def test_nodes_die_with_their_users():
    before = len(expr._nodes)
    kept = fn.exp(X * 123.0) + 45.0
    assert len(expr._nodes) > before
    del kept
    assert len(expr._nodes) == before


def test_interning_from_many_threads():
    results = [[] for _ in range(8)]

    def work(mine):
        for k in range(300):
            mine.append(fn.exp(X * float(k % 50)) + Y)

    threads = [threading.Thread(target=work, args=(r,)) for r in results]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(a is b for r in results for a, b in zip(r, results[0], strict=True))


def test_numbers_take_the_dtype_beside_them():
    assert (X + 1).dtype == "f32" and (N + 1).dtype == "i32" and (2.5 * X).dtype == "f32"
    assert (X + 1j).dtype == "c64"
    assert (X + N).dtype == "f32" and (P * X).dtype == "f32" and (X > Y).dtype == "b1"
    for wrong in (lambda: N + 1.5, lambda: P + 1, lambda: N / M, lambda: -P, lambda: X & Y, lambda: P - Q):
        with pytest.raises(TypeError):
            wrong()
    with pytest.raises(TypeError, match="where"):
        bool(X > Y)


def test_bool_sums_and_products():
    assert (P + Q).op == "or" and (P * Q).op == "and" and fn.maximum(P, Q).op == "or"


@pytest.mark.parametrize(
    "build, want",
    [
        (lambda: X * 1.0, X), (lambda: 1.0 * X, X), (lambda: X / 1.0, X), (lambda: X - 0.0, X), (lambda: X + -0.0, X),
        (lambda: -fn.cast(-X, "f32"), X), (lambda: X * -1.0, -X), (lambda: abs(-X), abs(X)), (lambda: X + -Y, X - Y),
        (lambda: fn.where(const(True, "b1"), X, Y), X), (lambda: fn.where(~P, X, Y), fn.where(P, Y, X)),
        (lambda: fn.where(P, X, X), X), (lambda: const(2.0, "f32") * 3.0, const(6.0, "f32")),
        (lambda: N * 0, const(0, "i32")), (lambda: X / 4.0, X * 0.25), (lambda: fn.real(fn.complex_(X, Y)), X),
        (lambda: ~fn.eq(X, Y), fn.ne(X, Y)),
        (lambda: fn.cast(fn.cast(X, "f64"), "f64"), fn.cast(X, "f64")),
        (lambda: X**1, X), (lambda: X**0, const(1.0, "f32")),
    ],
)  # fmt: skip
def test_exact_simplifications(build, want):
    assert build() is want


@pytest.mark.parametrize(
    "build", [lambda: X + 0.0, lambda: X * 0.0, lambda: X - X, lambda: X / 3.0, lambda: ~(X < Y), lambda: X / X]
)
def test_what_is_not_exact_stays(build):
    assert build().args


def random_expression(rng: random.Random, depth: int, dtype: str):
    """A random formula over two inputs and constants, special ones among them."""
    if depth == 0:
        if rng.random() < 0.5:
            return input_(rng.randrange(2), dtype)
        edge = [0.0, -0.0, 1.0, -1.0, 2.0, math.inf, math.nan, 0.5, 3.0] if t.is_float(dtype) else [0, 1, -1, 2, 7]
        return const(rng.choice(edge), dtype)
    a, b, c = (random_expression(rng, depth - 1, dtype) for _ in range(3))
    forms = [lambda: ("add", (a, b)), lambda: ("sub", (a, b)), lambda: ("mul", (a, b)), lambda: ("neg", (a,))]
    if t.is_float(dtype):
        forms += [lambda: ("div", (a, b)), lambda: ("abs", (a,)), lambda: ("max", (a, b)), lambda: ("fma", (a, b, c))]
    else:
        forms += [lambda: ("and", (a, b)), lambda: ("or", (a, b)), lambda: ("xor", (a, b)), lambda: ("not", (a,))]
    if rng.random() < 0.2:
        condition = scalar.make(rng.choice(expr.COMPARISONS), "b1", (a, b))
        if rng.random() < 0.5:
            condition = ~condition
        return condition, "select", (b, c)
    return rng.choice(forms)()


@pytest.mark.parametrize("dtype", ["f32", "f64", "i8", "u16"])
def test_simplified_programs_have_the_same_values(dtype):
    """Every random formula built with and without simplification."""

    def build(spec, make):
        if isinstance(spec, expr.Expr):
            return spec
        if len(spec) == 3:
            condition, op, args = spec
            return make(op, dtype, (condition, *(build(a, make) for a in args)))
        op, args = spec
        return make(op, dtype, tuple(build(a, make) for a in args))

    def tree(rng, depth):
        if depth == 0:
            return random_expression(rng, 0, dtype)
        spec = random_expression(rng, 1, dtype)
        if isinstance(spec, expr.Expr):
            return spec
        return (*spec[:-1], tuple(tree(rng, depth - 1) for _ in spec[-1]))

    rng = random.Random(0)
    kind = numpy_dtype(dtype)
    edge = [0, 1, 2, 5, 100] + ([-0.0, -1, math.inf, -math.inf, math.nan, 1e-40] if kind.kind == "f" else [])
    x, y = (a.ravel() for a in np.meshgrid(np.array(edge, kind), np.array(edge, kind)))
    for _ in range(300):
        spec = tree(rng, 3)
        programs = [trace(lambda a, b, m=m, s=spec: build(s, m), [In(dtype)] * 2) for m in (scalar.make, node)]
        got, want = (run(p, [x, y])[0] for p in programs)
        assert kernels.same_bits(got, want), programs[1].text()


def test_verifier_names_what_is_wrong():
    good = node("add", "f32", (X, Y))
    verify([good], ["f32", "f32"], [])
    wrong = [
        node("add", "f32", (X,)), node("add", "f64", (X, Y)), node("frobnicate", "f32", (X,)),
        node("select", "f32", (X, X, Y)), node("shl", "f32", (X, Y)), node("bitcast", "f64", (X,)),
        input_(7, "f32"), node("param", "f32", (), (0, 0)), input_(0, "i32"), node("lt", "f32", (X, Y)),
        node("round_to", "f32", (X,), "f32"), node("div", "i32", (N, M)), node("add", "b1", (P, Q)),
    ]  # fmt: skip
    for e in wrong:
        with pytest.raises(ValueError, match="invalid program"):
            verify([e], ["f32", "f32"], [])


def test_printer():
    program = trace(lambda x, y, a: (fn.exp(x) + fn.exp(x) * y, a * x), [In("f32"), In("bf16"), Par("f32")], name="p")
    lines = program.text().splitlines()
    assert lines[0] == "p(f32, bf16) -> (f32, f32)"
    assert "  t0: f32 = exp(i0)" in lines and any(line.endswith("(p0 * i0)") for line in lines)
    assert repr(X * 2.0 + Y) == "((i0 * 2.0) + i1)"
    assert repr(row.row_mean(X)) == "(row_sum(i0) / cast<f32>(p0.3))"


def test_wrong_number_of_outputs():
    with pytest.raises(ValueError, match="returns 1 values, expected 2"):
        trace(lambda x: x, [In("f32")], outputs=["f32", "f32"])


def test_interpreter_rounds_fused_operations_once():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=3000) * 10.0 ** rng.integers(-150, 150, 3000) for _ in range(2))
    c = -a * b * (1 + rng.choice([0, 1e-16, 1e-8, 1.0, -2.0], 3000)) + rng.normal(size=3000)
    program = trace(fn.fma, [In("f64")] * 3)
    assert kernels.same_bits(fma(a, b, c), kernels.run(program, [a, b, c])[0])
    a, b, c = (v.astype("f4") for v in (rng.normal(size=3000), rng.normal(size=3000), rng.normal(size=3000) * 1e-4))
    assert kernels.same_bits(fma(a, b, c), kernels.run(trace(fn.fma, [In("f32")] * 3), [a, b, c])[0])


def test_total_integer_operations():
    low = np.array([-(2**31)], "i4")
    zero, minus, big = np.array([0], "i4"), np.array([-1], "i4"), np.array([40], "i4")

    def value(body, a, b):
        return int(run(trace(body, [In("i32"), In("i32")]), [a, b])[0][0])

    assert value(fn.idiv, low, zero) == 0 and value(fn.irem, low, zero) == -(2**31)
    assert value(fn.idiv, low, minus) == -(2**31) and value(fn.irem, low, minus) == 0
    assert value(lambda a, b: a << b, low + 1, big) == 0 and value(lambda a, b: a >> b, low, big) == -1
    assert value(lambda a, b: a >> b, low, minus) == -1 and value(lambda a, b: a << b, big, minus) == 0
