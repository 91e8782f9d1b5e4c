"""Scans: generated kernels against the interpreter that defines them, and running results against NumPy's."""

import ctypes
import itertools

import numpy as np
import pytest

import flambeau as torch
import kernels
from flambeau.codegen.arena import Arena
from flambeau.codegen.resolve import compile_program
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn, loop, loop_interp
from flambeau.ir.interp import numpy_dtype
from flambeau.ops import scan

LEVEL = pytest.mark.parametrize("level", kernels.host_levels())
RNG = np.random.default_rng(0)
_arena = Arena()


def placed(a: np.ndarray, offset: int) -> np.ndarray:
    """A copy that begins so many elements behind a multiple of 64 bytes."""
    space = np.zeros(a.size + offset + 128, a.dtype)
    start = -space.ctypes.data % 64 // a.itemsize + offset
    copy = space[start : start + a.size]
    copy[...] = a
    return copy


def compiled(program, level):
    """A program and its kernel."""
    made = compile_program(program, LEVELS[level], "")
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    return program, function(_arena.load(made.blob) + made.symbols["k"])


def run_both(both, buffers, ints, iterations, offset=1) -> None:
    """Runs kernel and interpreter on copies and compares all buffers, bit by bit."""
    program, call = both
    mine, theirs = ([placed(a, offset) for a in buffers] for _ in range(2))
    pointers = (ctypes.c_void_p * len(mine))(*(a.ctypes.data for a in mine))
    sizes = np.array(ints, np.int64)
    call(ctypes.addressof(pointers), sizes.ctypes.data, 0, iterations, None)
    loop_interp.run(program, theirs, ints, 0, iterations)
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        assert kernels.same_bits(a, b), k


def elements(dtype: str, count: int) -> np.ndarray:
    if dtype == "bf16":
        return (RNG.integers(-4, 5, count).astype("f4").view("u4") >> 16).astype("u2")
    whole = RNG.integers(0, 2 if dtype == "b1" else 5, count)
    return (whole * (1 - 0.5j) if dtype[0] == "c" else whole).astype(numpy_dtype(dtype))


def weighted(b, turned: bool, stream: bool):
    """Running sums of a product, and how often it was the largest so far: two results, two operands, three states."""
    with b.parallel() as i:
        size, width, count = b.int(0), b.int(1), b.int(2)

        def step(states, read, index):
            (total, times, best), product = states, read[0] * read[1]
            return total + product, times + fn.cast(product > best, "i64") * index, fn.maximum(best, product)

        dtype = b.compute_dtype(0)
        start = [fn.const(0, dtype), fn.const(0, "i64"), fn.const(-1, dtype)]
        b.scan((2, 2), (i * size * (count if turned else width), count), (size, width), start, step, turned, stream)


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "u8"])
def test_kernels_agree_with_the_interpreter(dtype, level):
    """Lines beside each other and after each other: tails, zero sizes, fewer lines than lie beside each other."""
    for turned in (False, True):
        program = loop.record(lambda b, turned=turned: weighted(b, turned, False), (dtype, "i64", dtype, dtype))
        both = compiled(program, level)
        for size, lines in (*itertools.product((0, 1, 7, 33), (0, 1, 3, 19)), (1, 1030)):
            whole = 2 * size * lines
            buffers = [np.zeros(whole, numpy_dtype(dtype)), np.zeros(whole, "i8")]
            width = 1 if turned else lines + 3  # neighbours may be some of the lines
            if not turned:
                buffers = [np.zeros(2 * size * width, b.dtype) for b in buffers]
            buffers += [elements(dtype, buffers[0].size) for _ in range(2)]
            run_both(both, buffers, [size, width, lines], 2)


@LEVEL
@pytest.mark.parametrize(
    ("how", "dtype"),
    [
        *itertools.product(("alone", "turned", "neighbours"), ("f32", "bf16", "b1", "i64")),
        ("alone", "c64"),
        ("neighbours", "c64"),
    ],
)
def test_programs_of_operators(how, dtype, level):
    programs = [(scan._extreme_program, (True,), (dtype, "i64", dtype))] if dtype[0] != "c" else []
    if dtype != "b1":
        programs += [(scan._scan_program, ("mul",), (dtype, dtype)), (scan._recurrence_program, (), (dtype,) * 3)]
    for body, attrs, dtypes in programs:
        program = loop.record(lambda b, body=body, attrs=attrs: body(b, *attrs, how, False), dtypes)
        both = compiled(program, level)
        for size, lines in itertools.product((1, 18), (1, 5, 33)):
            blocks = 2 if how == "neighbours" else 1
            made = [elements(d, blocks * lines * size) for d in dtypes]
            most = 1 if how == "alone" else 16
            width = lines if how == "neighbours" else 1
            run_both(both, made, [size, width, lines, most], blocks * -(-lines // most))


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "c128"])
def test_results_past_the_caches_are_the_same(dtype, level):
    """Runs of them begin at multiples of 64 bytes."""
    for turned in (False, True)[: 1 if dtype[0] == "c" else 2]:
        how = "turned" if turned else "neighbours"
        program = loop.record(lambda b, how=how: scan._scan_program(b, "add", how, True), (dtype, dtype))
        size, lines = (64, 21) if turned else (9, 96)
        data = [elements(dtype, size * lines) for _ in range(2)]
        run_both(compiled(program, level), data, [size, 1 if turned else lines, lines, 16], -(-lines // 16), offset=0)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bool"])
def test_sums_are_taken_in_order_whatever_the_layout(dtype):
    for shape in ((40,), (1, 7), (17, 35), (100, 3), (33, 1000), (3, 5, 300), (5, 70, 16), (0, 3), (3, 0)):
        x = (torch.randn(shape) * 3).to(getattr(torch, dtype))
        for d in range(len(shape)):
            y = torch.cumsum(x, d).numpy()
            assert np.array_equal(y, np.cumsum(x.numpy(), d, dtype=y.dtype))


@pytest.mark.parametrize("dim", [0, 1])
def test_large_results_are_those_of_their_parts(dim):
    """Lines are cut by how many there are, and written past the caches where results are large."""
    x = torch.randn(2112, 2112)
    for call in (torch.cumsum, torch.cumprod, torch.logcumsumexp, lambda x, d: torch.cummax(x, d)[0]):
        part = x.narrow(1 - dim, 100, 37)
        assert torch.equal(call(x, dim).narrow(1 - dim, 100, 37), call(part, dim))


def test_extremes_of_special_values():
    x = torch.tensor([-np.inf, -0.0, 0.0, 1.0, np.nan, np.inf, np.nan, -1.0])
    places = [0, 1, 2, 3, 4, 4, 6, 6]
    for y in (x, x.expand(40, 8), x.expand(40, 8).t()):
        dim = -1 if y.shape[-1] == 8 else 0
        values, found = torch.cummax(y, dim)
        lines = (values.reshape(-1, 8), found.reshape(-1, 8)) if dim else (values.t(), found.t())
        for v, k in zip(*lines, strict=True):
            assert k.tolist() == places
            assert np.array_equal(v.numpy(), x.numpy()[places], equal_nan=True)
