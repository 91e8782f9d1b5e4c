"""Row and loop kernels against NumPy: both directions, all modes, tails, strides, nan, ties."""

import ctypes

import numpy as np
import pytest

from flambeau.codegen import row as code
from flambeau.codegen.arena import Arena
from flambeau.codegen.resolve import compile_program
from flambeau.codegen.row_program import prepare
from flambeau.codegen.target import LEVELS, host
from flambeau.ir import fn, loop
from flambeau.ir import row as ir
from flambeau.ir.expr import input_, param, walk
from flambeau.ir.interp import fma

X = input_(0, "f32")
_arena = Arena()


def address(program, classes, target=None):
    made = compile_program(program, target or host(), classes)
    return _arena.load(made.blob) + made.symbols["k"]


def kernel(roots, roles, out_roles, out_dtypes, in_dtypes, mode="fused", columns=False, classes=None, target=None):
    """Compiles one kernel of a program's step; gives (callable, order of the inputs)."""
    plan = ir.plan(roots, roles, out_roles)
    s = plan.steps[0]
    outs = [out_dtypes[k] if k >= 0 else plan.temps[~k][1] for k in s.outputs]
    ins = [in_dtypes[k] if k >= 0 else plan.temps[~k][1] for k in s.inputs]
    program = prepare(s, outs, ins, "test")
    if classes is None:
        kinds = {"F": "c", "B": "c" if columns else "b", "R": "b" if columns else "c", "S": "b"}
        classes = "".join(kinds[r] for r in s.out_roles + s.roles)
    where = address(code.RowKernel(program, mode, columns), classes, target)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(where)

    def call(arrays, strides, shape, params=()):
        pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        stride, size = np.array(strides, np.int64).ravel(), np.array((*shape, 0), np.int64)
        slots = np.zeros((max(1, len(params)), 2))
        slots[: len(params), 0] = params
        function(ctypes.addressof(pointers), stride.ctypes.data, size.ctypes.data, slots.ctypes.data)

    return call, s.inputs


def softmax(x):
    e = fn.exp(x - ir.constant(ir.row_max(x)))
    return e / ir.row_sum(e)


def softmax_reference(x, axis):
    e = np.exp(x.astype("f8") - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


TARGETS = [host(), LEVELS["x86-64-v3"]] if host().level == "x86-64-v4" else [host()]


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.level)
def test_softmax_along_rows_and_columns(target):
    rng = np.random.default_rng(0)
    rows, _ = kernel([softmax(X)], "F", "F", ["f32"], ["f32"], target=target)
    columns, _ = kernel([softmax(X)], "F", "F", ["f32"], ["f32"], columns=True, target=target)
    for n in (1, 3, 15, 16, 33, 64, 100, 257):
        x = rng.standard_normal((5, n)).astype("f4")
        y = np.zeros_like(x)
        rows([y, x], [[4 * n, 0, 4]] * 2, [5, 1, n, 0, n])
        np.testing.assert_allclose(y, softmax_reference(x, 1), rtol=2e-6)
        y = np.zeros_like(x)
        columns([y, x], [[4, 0, 4 * n]] * 2, [n, 1, 5, 0, 5])
        np.testing.assert_allclose(y, softmax_reference(x, 0), rtol=2e-6)


@pytest.mark.parametrize("columns", [False, True])
def test_argmax_takes_the_first_of_ties_and_nan(columns):
    rng = np.random.default_rng(1)
    call, _ = kernel([ir.row_max(X), ir.row_argmax(X)], "F", "BB", ["f32", "i64"], ["f32"], columns=columns)
    for n in (1, 5, 16, 17, 100, 300):
        x = np.round(rng.standard_normal((20, n)) * 2).astype("f4")
        x[2, n // 2 :] = np.nan
        x[3], x[4, : n // 2] = -np.inf, -np.inf
        data = np.ascontiguousarray(x.T) if columns else x
        value, position = np.zeros(20, "f4"), np.zeros(20, "i8")
        stride = [4, 0, 80] if columns else [4 * n, 0, 4]
        call([value, position, data], [[4, 0, 0], [8, 0, 0], stride], [20, 1, n, 0, n])
        assert np.array_equal(position, x.argmax(1))
        assert np.array_equal(value, x.max(1), equal_nan=True)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.level)
def test_sums_of_columns_take_elements_in_the_order_of_rows(target):
    """In registers and in panels, whatever the number of columns, with a second dimension of the row."""
    rng = np.random.default_rng(5)
    call, _ = kernel([ir.row_sum(X * X)], "F", "B", ["f32"], ["f32"], columns=True, target=target)
    for n in (1, 16, 100, 256, 300, 2048, 2100, 4999):
        for outer, inner in ((1, 3), (2, 8), (3, 13)):
            x = rng.standard_normal((outer, inner, n)).astype("f4")
            y = np.zeros(n + 1, "f4")
            call([y, x], [[4, 0, 0], [4, 4 * n * inner, 4 * n]], [n, outer, inner, 0, outer * inner])
            want = np.zeros(n, "f4")
            for row in x.reshape(-1, n):
                want = fma(row, row, want)
            assert np.array_equal(y[:n], want) and y[n] == 0


def test_positions_in_chunks_of_columns():
    """A chunk that holds nothing above the least number gives its own first position."""
    call, _ = kernel([ir.row_argmax(X)], "F", "B", ["i64"], ["f32"], mode="level0", columns=True, classes="ccc")
    x = np.full((9, 300), -np.inf, "f4")
    x[4, ::3], x[6, ::3] = 2.0, 2.0
    value, position = np.zeros(300, "f4"), np.zeros(300, "i8")
    call([value, position, x], [[4, 0, 0], [8, 0, 0], [4, 0, 1200]], [300, 1, 9, 40, 100])
    assert np.array_equal(position, np.where(np.arange(300) % 3, 40, 44))
    assert np.array_equal(value, x.max(0))


def test_a_strided_row_gives_the_same_bits_as_a_dense_one():
    rng = np.random.default_rng(2)
    dense, _ = kernel([ir.row_sum(X)], "F", "B", ["f32"], ["f32"], classes="bc")
    strided, _ = kernel([ir.row_sum(X)], "F", "B", ["f32"], ["f32"], classes="bs")
    for n in range(1, 140, 7):
        wide = rng.standard_normal((3, 2 * n)).astype("f4")
        x = np.ascontiguousarray(wide[:, ::2])
        a, b = np.zeros(3, "f4"), np.zeros(3, "f4")
        dense([a, x], [[4, 0, 0], [4 * n, 0, 4]], [3, 1, n, 0, n])
        strided([b, wide], [[4, 0, 0], [8 * n, 0, 8]], [3, 1, n, 0, n])
        assert np.array_equal(a, b)
        np.testing.assert_allclose(a, x.sum(1, dtype="f8"), rtol=1e-5, atol=1e-5)


def test_layer_norm_and_the_gradient_of_its_weight_in_two_steps():
    rng = np.random.default_rng(3)
    x, w, g = (input_(k, "f32") for k in range(3))
    centred = x - ir.row_mean(x)
    normal = centred * fn.rsqrt(ir.row_mean(centred * centred) + param(0, "f32"))
    call, order = kernel([normal * w], "FRF", "F", ["f32"], ["f32"] * 3)
    data = {0: rng.standard_normal((6, 77)).astype("f4"), 1: rng.random(77).astype("f4")}
    out = np.zeros((6, 77), "f4")
    strides = {0: [308, 0, 4], 1: [0, 0, 4]}
    call([out, *(data[k] for k in order)], [[308, 0, 4], *(strides[k] for k in order)], [6, 1, 77, 0, 77], [1e-5])
    a = data[0].astype("f8")
    want = (a - a.mean(1, keepdims=True)) / np.sqrt(a.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(out, want * data[1], rtol=1e-4, atol=1e-5)
    plan = ir.plan([ir.batch_sum(g * normal)], "FRF", "R")
    assert [s.over_batch for s in plan.steps] == [False, True]
    assert plan.steps[1].out_roles == "B" and [role for role, _ in plan.temps] == ["B", "B"]  # mean and scale
    assert {e.op for e in walk(plan.steps[1].roots)} == {"input", "sub", "mul", "row_sum"}


def test_chunks_of_a_row_combine_to_its_sum():
    x = np.random.default_rng(4).standard_normal(1000).astype("f4")
    level, _ = kernel([ir.row_sum(X)], "F", "B", ["f32"], ["f32"], mode="level0", classes="bc")
    states = np.zeros(2, "f4")
    for k in range(2):
        level([states[k:], x[500 * k :]], [[4, 0, 0], [0, 0, 4]], [1, 1, 500, 500 * k, 1000])
    np.testing.assert_allclose(states, [x[:500].sum(), x[500:].sum()], rtol=1e-5)
    finish, _ = kernel([ir.row_mean(X)], "F", "B", ["f32"], ["f32"], mode="finish", classes="bcb")
    out = np.zeros(1, "f4")
    finish([out, x, states[:1]], [[4, 0, 0], [0, 0, 4], [4, 0, 0]], [1, 1, 1, 0, 1000])
    np.testing.assert_allclose(out, states[0] / 1000, rtol=1e-6)


def test_a_loop_program_gathers_rows():
    def body(b):
        with b.parallel() as i:
            at = b.load(2, i)
            with b.loop(0, b.int(0)) as j, b.when(j % 3 != 1):
                b.store(0, i * b.int(0) + j, b.load(1, at * b.int(0) + j) * 2)

    program = loop.record(body, ("f32", "bf16", "i64"))
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    call = function(address(program, ""))
    table = np.arange(60, dtype="f4").reshape(6, 10)
    halves = (table.view("u4") >> 16).astype("u2")
    index = np.array([5, 0, 3], "i8")
    out = np.full((3, 10), -1, "f4")
    pointers = (ctypes.c_void_p * 3)(out.ctypes.data, halves.ctypes.data, index.ctypes.data)
    ints = np.array([10], "i8")
    call(ctypes.addressof(pointers), ints.ctypes.data, 1, 3, None)
    want = np.where(np.arange(10) % 3 != 1, 2 * table[index], -1)
    want[0] = -1
    assert np.array_equal(out, want)


@pytest.mark.parametrize("target", TARGETS, ids=lambda t: t.level)
def test_results_past_the_caches_are_the_same(target):
    """Vectors of rows that start at multiples of 64 bytes; values wait in a row of their own between two passes."""
    rng = np.random.default_rng(6)
    plain, _ = kernel([softmax(X)], "F", "F", ["f32"], ["f32"], target=target)
    streamed, _ = kernel([softmax(X)], "F", "F", ["f32"], ["f32"], classes="ncc", target=target)
    for outer, n in ((1, 16), (1, 37), (3, 64), (2, 130)):
        step = -(-n // 16) * 16
        x = rng.standard_normal((4, outer, n)).astype("f4")
        results = []
        for call in (plain, streamed):
            space = np.zeros(4 * outer * step + 16, "f4")
            y = space[-space.ctypes.data % 64 // 4 :][: 4 * outer * step].reshape(4, outer, step)
            row = np.zeros((outer, n), "f4")
            strides = [[4 * outer * step, 4 * step, 4], [4 * outer * n, 4 * n, 4], [0, 4 * n, 4]]
            call([y, x, row], strides, [4, outer, n, 0, outer * n])
            results.append(y.copy())
        assert np.array_equal(*results)
        np.testing.assert_allclose(results[0][..., :n].sum((1, 2)), 1, rtol=1e-5)
        assert not results[0][..., n:].any()
