"""Generated elementwise kernels against the interpreter: every primitive, dtype, class, tail, alignment."""

import ctypes
import itertools

import numpy as np
import pytest

import kernels
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn
from flambeau.ir import types as t
from flambeau.ir.interp import numpy_dtype, run
from flambeau.ir.program import In, Par, trace

LEVEL = pytest.mark.parametrize("level", kernels.host_levels())
RANDOM = np.random.default_rng(0)

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, 2.5, -2.5, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38, 2.0**31]
SPECIAL += [2.0**31 - 128, -(2.0**31) - 300, 2.0**63, 2.0**64, -(2.0**63), 300.7, -300.7, 70000.0]


def values(dtype: str, count: int = 203) -> np.ndarray:
    """Random elements among special ones, as they lie in memory."""
    kind = numpy_dtype(dtype)
    if dtype == "b1":
        return RANDOM.integers(0, 2, count).astype(bool)
    if t.is_int(dtype):
        info = np.iinfo(kind)
        edge = [0, 1, 2, 3, info.min, info.max, info.max - 1, t.bits(dtype), t.bits(dtype) - 1]
        small = RANDOM.integers(max(info.min, -20), 21, count - len(edge))
        return RANDOM.permutation(np.concatenate([np.array(edge, kind), small.astype(kind)]))
    if t.is_complex(dtype):
        x = np.empty(count, kind)
        x.real, x.imag = (values("f32" if dtype == "c64" else "f64", count) for _ in range(2))
        return x
    with np.errstate(all="ignore"):
        x = np.concatenate([SPECIAL, RANDOM.normal(0, 20, count - len(SPECIAL))])
        x = RANDOM.permutation(x).astype(np.float32 if dtype == "bf16" else kind)
    return (x.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bf16" else x


def check(body, dtypes, level, params=(), outputs=None, classes=None):
    program = trace(body, [In(d) for d in dtypes] + [Par(d) for d, _ in params], outputs=outputs)
    inputs = [values(d) for d in dtypes]
    arguments = [v for _, v in params]
    got = kernels.run(program, inputs, arguments, level, classes)
    for g, w in zip(got, run(program, inputs, arguments), strict=True):
        different = [k for k in range(len(g)) if not kernels.same_bits(g[k : k + 1], w[k : k + 1])]
        assert not different, [*(a[different[:5]] for a in inputs), g[different[:5]], w[different[:5]]]


FLOAT_BODIES = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: -x,
    lambda x, y: abs(x), lambda x, y: fn.fma(x, y, x), lambda x, y: fn.sqrt(x), lambda x, y: fn.floor(x),
    lambda x, y: fn.ceil(x), lambda x, y: fn.trunc(x), lambda x, y: fn.round(x), lambda x, y: fn.copysign(x, y),
    fn.maximum, fn.minimum, fn.fmax, fn.fmin, fn.relu, fn.sign, fn.signbit, fn.isnan, fn.isinf, fn.isfinite,
    lambda x, y: fn.eq(x, y), lambda x, y: fn.ne(x, y), lambda x, y: x < y, lambda x, y: x <= y, lambda x, y: x > y,
    lambda x, y: x >= y, lambda x, y: fn.where(x > y, x, y), lambda x, y: fn.clamp(x, -1.0, 2.0),
    lambda x, y: fn.unlikely(x > 50.0, x / y, x * y),
    lambda x, y: fn.unlikely(x > 50.0, fn.exp(x), y) + fn.unlikely(x > 50.0, y, x),
    lambda x, y: fn.cast(fn.cast(x, "bf16") + 1.0, "f16"), lambda x, y: fn.exp(x), lambda x, y: fn.pow(x, y),
    lambda x, y: fn.tanh(x), lambda x, y: fn.gelu(x), lambda x, y: fn.sin(x), lambda x, y: fn.fmod(x, y), lambda x, y: fn.remainder(x, y), lambda x, y: x // y,
]  # fmt: skip


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
def test_float_bodies(level, dtype):
    for body in FLOAT_BODIES:
        check(body, [dtype] * body.__code__.co_argcount, level)


INT_BODIES = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: -x, lambda x, y: abs(x), lambda x, y: ~x,
    lambda x, y: x & y, lambda x, y: x | y, lambda x, y: x ^ y, lambda x, y: x << y, lambda x, y: x >> y,
    lambda x, y: fn.idiv(x, y), lambda x, y: fn.irem(x, y), lambda x, y: x // y, lambda x, y: x % y,
    lambda x, y: fn.maximum(x, y), lambda x, y: fn.minimum(x, y), lambda x, y: fn.pow(x, y), lambda x, y: x < y,
    lambda x, y: fn.lookup((7, 8, 9), fn.cast(x, "i32"), "i64"), lambda x, y: fn.sign(x),
    *(lambda x, y, n=n: fn.lookup(range(n), fn.cast(x, "i32"), "f32") for n in (7, 8, 16, 32)),
    *(lambda x, y, n=n: fn.lookup(range(n), fn.cast(x, "i32") & n - 1, "f32") for n in (4, 8, 16, 32)),
    lambda x, y: fn.lookup(range(16), fn.cast(x, "i32") & 12, "f32"),
]  # fmt: skip


@LEVEL
@pytest.mark.parametrize("dtype", t.INTS)
def test_integer_bodies(level, dtype):
    for body in INT_BODIES:
        check(body, [dtype, dtype], level)


@LEVEL
def test_bool_bodies(level):
    for body in (
        lambda x, y: x + y, lambda x, y: x * y, lambda x, y: x ^ y, lambda x, y: ~x, lambda x, y: x < y,
        lambda x, y: fn.where(x, y, x), lambda x, y: fn.eq(x, y), fn.maximum, fn.logical_xor,
    ):  # fmt: skip
        check(body, ["b1", "b1"], level)


@LEVEL
@pytest.mark.parametrize("source", [d for d in t.DTYPES if not t.is_complex(d)])
def test_casts(level, source):
    for target in t.DTYPES:
        check(lambda x: x, [source], level, outputs=[target])


COMPLEX_BODIES = [
    lambda x, y: x + y, lambda x, y: x - y, lambda x, y: x * y, lambda x, y: x / y, lambda x, y: fn.conj(x),
    lambda x, y: abs(x), lambda x, y: fn.real(x) + fn.imag(y), lambda x, y: fn.exp(x), lambda x, y: fn.log(x),
    lambda x, y: fn.sqrt(x), lambda x, y: fn.eq(x, y), lambda x, y: fn.where(fn.real(x) > 0.0, x, y),
]  # fmt: skip


@LEVEL
@pytest.mark.parametrize("dtype", ["c64", "c128"])
def test_complex_bodies(level, dtype):
    for body in COMPLEX_BODIES:
        check(body, [dtype, dtype], level)


@LEVEL
def test_parameters(level):
    check(lambda x, y, a: x + a * y, ["f32", "f32"], level, [("f32", 0.1)])
    check(lambda x, y, a: x + a * y, ["bf16", "f32"], level, [("f32", 0.1)])
    check(lambda x, y, a: x + a * y, ["i32", "i32"], level, [("i32", -7)])
    check(lambda x, y, a: x + a * y, ["c64", "c64"], level, [("c64", 1 + 2j)])
    check(lambda x, a: fn.where(a, x, -x), ["f32"], level, [("b1", 1)])


@LEVEL
def test_several_outputs_and_mixed_dtypes(level):
    check(lambda x, y: (x + y, x > y, fn.cast(x, "i64")), ["f32", "f64"], level, outputs=["f64", "b1", "i8"])
    check(lambda x, y: (fn.where(x, y, 0.0), y), ["b1", "bf16"], level, outputs=["f32", "f16"])


@LEVEL
@pytest.mark.parametrize(
    "dtypes", [("f32", "f32", "f32"), ("i8", "i8", "i8"), ("b1", "f64", "f32"), ("c64", "c64", "c64")]
)
def test_classes(level, dtypes):
    """Rows of every length around the vector width, every class of every operand, odd bases."""
    out, *inputs = dtypes
    body = (lambda x, y: x > y) if out == "b1" else (lambda x, y: x * y - x)
    program = trace(body, [In(d) for d in inputs], outputs=[out])
    reversed_too = "" if t.is_complex(out) else "r"
    for classes in map("".join, itertools.product("cs", "cbs" + reversed_too, "cbs")):
        kernel = kernels.load(program, classes, level)
        for n in [0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 64, 65, 100, 300]:
            arrays = [_operand(c, d, 3, n) for c, d in zip(classes, dtypes, strict=True)]
            want = run(program, [a.copy() for a in arrays[1:]])[0] if n else arrays[0].copy()
            kernels.call(kernel, arrays)
            assert kernels.same_bits(np.ascontiguousarray(arrays[0]), want), (classes, n)


def _operand(kind: str, dtype: str, rows: int, n: int) -> np.ndarray:
    """An array of this class whose base is aligned to its element only, its neighbours watched by the allocation."""
    space = np.resize(values(dtype), 1 + rows * (3 * n + 5))
    body = space[1:]
    if kind == "b":
        return np.lib.stride_tricks.as_strided(body, (rows, n), (5 * body.itemsize, 0))
    if kind == "r":
        return np.lib.stride_tricks.as_strided(body, (rows, n), ((n + 2) * body.itemsize, body.itemsize))[:, ::-1]
    step = 1 if kind == "c" else 3
    return np.lib.stride_tricks.as_strided(body, (rows, n), ((step * n + 2) * body.itemsize, step * body.itemsize))


@LEVEL
def test_negative_strides_and_outputs_in_place(level):
    program = trace(lambda x, y: x + y, [In("f32"), In("f32")])
    x, y = (RANDOM.normal(size=(2, 77)).astype("f4") for _ in range(2))
    want = x[:, ::-1] + y
    out = np.zeros_like(x)
    kernels.call(kernels.load(program, "csc", level), [out, x[:, ::-1], y])
    assert np.array_equal(out, want)
    want = x + y
    kernels.call(kernels.load(program, "ccc", level), [x, x, y])
    assert np.array_equal(x, want)


def _guarded(size: int, at_end: bool):
    """Memory of `size` bytes that touches a protected page behind (or before) it."""
    libc = ctypes.CDLL(None)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    inner = -(-size // 4096) * 4096 or 4096
    base = libc.mmap(None, inner + 8192, 3, 0x22, -1, 0)
    libc.mprotect(base, 4096, 0)
    libc.mprotect(base + 4096 + inner, 4096, 0)
    start = base + 4096 + (inner - size if at_end else 0)
    return (ctypes.c_char * size).from_address(start)


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "bf16", "u8", "c64"])
def test_nothing_outside_is_touched(level, dtype):
    kind = numpy_dtype(dtype)
    program = trace(lambda x: x * x, [In(dtype)], outputs=[dtype])
    for classes in ("cc", "cs", "cb"):
        kernel = kernels.load(program, classes, level)
        for n, at_end in itertools.product([*range(1, 34), 127, 129], (False, True)):
            arrays = [np.frombuffer(_guarded(n * kind.itemsize, at_end), kind).reshape(1, n) for _ in range(2)]
            if classes[1] == "b":
                arrays[1] = np.lib.stride_tricks.as_strided(arrays[1], (1, n), (0, 0))
            kernels.call(kernel, arrays)


@pytest.mark.parametrize("level", ["aarch64"])
def test_other_targets_emit(level):
    from flambeau.codegen.resolve import compile_program

    for body in (lambda x, y: x + y, lambda x, y: fn.pow(x, y), lambda x, y: fn.sin(x) * y):
        for dtype in ("f32", "bf16", "f64"):
            code = compile_program(trace(body, [In(dtype), In(dtype)]), LEVELS[level], "ccs")
            assert code.symbols["k"] == 0


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "bf16", "b1", "f64"])
@pytest.mark.parametrize("body", [lambda x: x + x, fn.sigmoid], ids=["short", "long"])
def test_streamed_outputs(level, dtype, body):
    """Large outputs are written past the caches, from addresses that are multiples of 64 bytes, vectors of narrow ones
    together; so are those of long programs."""
    program = trace(lambda x: body(x) > 0.5 if dtype == "b1" else body(x), [In("f32")], outputs=[dtype])
    kernel = kernels.load(program, "nc", level)
    kind = numpy_dtype(dtype)
    for n in (1, 63, 64, 1000, 4096):
        space = np.zeros(n * kind.itemsize + 128, np.uint8)
        start = -space.ctypes.data % 64
        out = space[start : start + n * kind.itemsize].view(kind).reshape(1, n)
        x = values("f32", max(n, 100))[:n]
        kernels.call(kernel, [out, x.reshape(1, n)])
        assert kernels.same_bits(out[0], run(program, [x])[0])


@LEVEL
@pytest.mark.parametrize("dtypes", [("f32", "f32"), ("u8", "u8"), ("u16", "u16"), ("f64", "f64"), ("f32", "bf16"),
                                    ("f64", "u8"), ("b1", "f16")])  # fmt: skip
def test_turned_operands(level, dtypes):
    """Operands that are contiguous from row to row, in whole squares and less, beside others; nothing else is touched."""
    out, other = dtypes
    program = trace(lambda x, y: x > y if out == "b1" else x + y, [In(other), In(other)], outputs=[out])
    for classes in ("ctt", "cct", "ntb", "utt", "uct"):
        kernel = kernels.load(program, classes.replace("u", "n"), level)
        for m, n in [*itertools.product([1, 3, 8, 33, 64, 70], [1, 7, 16, 32, 65, 130]), (150, 600), (40, 2101)]:
            arrays = [_placed(c, d, m, n) for c, d in zip(classes, dtypes[:1] + dtypes[1:] * 2, strict=True)]
            arrays[0][:] = 0
            want = run(program, [np.array(a) for a in arrays[1:]])[0]
            kernels.call(kernel, arrays)
            assert kernels.same_bits(np.ascontiguousarray(arrays[0]), want), (classes, m, n)
            arrays[0][:] = 0
            assert not arrays[0].base.any()


@LEVEL
@pytest.mark.parametrize("out", ["f32", "b1"])
def test_turned_operands_of_large_matrices(level, out):
    """Where a turned operand is in no cache, fewer columns are written at a time."""
    program = trace(lambda x, y: x > y if out == "b1" else x + y, [In("f32")] * 2, outputs=[out])
    kernel = kernels.load(program, "nct", level)
    whole = np.zeros((200, 40_000), np.float32)
    for m, n in [(40, 160), (70, 200)]:
        turned = whole[:n, :m].T
        turned[:] = np.resize(values("f32"), (m, n))
        arrays = [_placed("n", out, m, n), _placed("c", "f32", m, n), turned]
        kernels.call(kernel, arrays)
        assert kernels.same_bits(np.ascontiguousarray(arrays[0]), run(program, [np.array(a) for a in arrays[1:]])[0])


@LEVEL
def test_turned_operands_of_different_sizes(level):
    program = trace(lambda x, y, z: x + y * z, [In("f32"), In("bf16"), In("i8")], outputs=["f32"])
    kernel = kernels.load(program, "cttt", level)
    for m, n in [(64, 130), (70, 33), (5, 200)]:
        arrays = [_placed(c, d, m, n) for c, d in zip("cttt", ("f32", "f32", "bf16", "i8"), strict=True)]
        want = run(program, [np.array(a) for a in arrays[1:]])[0]
        kernels.call(kernel, arrays)
        assert kernels.same_bits(np.ascontiguousarray(arrays[0]), want), (m, n)


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_turned_operands_of_programs_with_tables(level, dtype):
    program = trace(lambda x, y: fn.exp(x) * y, [In(dtype), In("f32")], outputs=["f32"])
    kernel = kernels.load(program, "ctc", level)
    for m, n in [(64, 130), (33, 7)]:
        arrays = [_placed(c, d, m, n) for c, d in zip("ctc", ("f32", dtype, "f32"), strict=True)]
        want = run(program, [np.array(a) for a in arrays[1:]])[0]
        kernels.call(kernel, arrays)
        assert kernels.same_bits(np.ascontiguousarray(arrays[0]), want), (m, n)


def _placed(kind: str, dtype: str, m: int, n: int) -> np.ndarray:
    """m rows of n elements: turned ones at the end of memory that may be read, results among zeros, which begin at
    multiples of 64 bytes or, uneven, anywhere."""
    size = numpy_dtype(dtype).itemsize
    if kind == "t":
        kept = np.frombuffer(_guarded(m * n * size, True), numpy_dtype(dtype))
        kept[:] = np.resize(values(dtype), m * n)
        return kept.reshape(n, m).T
    if kind == "b":
        return np.broadcast_to(values(dtype)[:1], (m, n))
    row = -(-n * size // 64) * 64 // size + 64 // size + (kind == "u")
    space = np.zeros(m * row * size + 128, np.uint8)
    start = -space.ctypes.data % 64 + (size if kind == "u" else 0)
    kept = space[start : start + m * row * size].view(numpy_dtype(dtype))
    if kind == "c":
        kept[: m * n] = np.resize(values(dtype), m * n)
        return kept[: m * n].reshape(m, n)
    return kept.reshape(m, row)[:, :n]
