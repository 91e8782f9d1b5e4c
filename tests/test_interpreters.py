"""Generated row and loop kernels against the interpreters that define them: tails, zero sizes, strides, every dtype."""

import ctypes
import itertools

import numpy as np
import pytest

import kernels
from flambeau.codegen import row as code
from flambeau.codegen.arena import Arena
from flambeau.codegen.jit import compile_assembly
from flambeau.codegen.module import Module
from flambeau.codegen.resolve import compile_program, emit_program
from flambeau.codegen.row_program import prepare
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn, loop, loop_interp, row_interp
from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import input_, param
from flambeau.ir.interp import numpy_dtype

LEVEL = pytest.mark.parametrize("level", kernels.host_levels())
_arena = Arena()


def address(program, classes: str, level: str) -> int:
    made = compile_program(program, LEVELS[level], classes)
    return _arena.load(made.blob) + made.symbols["k"]


def unaligned(a: np.ndarray) -> np.ndarray:
    """A copy whose memory begins one element behind where it would."""
    copy = np.empty(a.size + 1, a.dtype)[1:].reshape(a.shape)
    copy[...] = a
    return copy


def elements(random, dtype: str, shape) -> np.ndarray:
    """Small numbers as they lie in memory: sums of them are exact in every dtype but f16 and bf16."""
    whole = random.integers(0, 2, shape) if dtype == "b1" else random.integers(-4 if dtype[0] != "u" else 0, 5, shape)
    if dtype == "bf16":
        return (whole.astype(np.float32).view(np.uint32) >> 16).astype(np.uint16)
    made = np.asarray(whole).astype(numpy_dtype(dtype))
    return made + made[..., ::-1] * made.dtype.type(1j) if t.is_complex(dtype) and made.ndim else made


# ---- loop programs


def run_both(program, buffers, ints, begin, end, params, level) -> None:
    """Runs kernel and interpreter on copies and compares all buffers."""
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 2, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p)
    mine, theirs = ([unaligned(a) for a in buffers] for _ in range(2))
    pointers = (ctypes.c_void_p * len(mine))(*(a.ctypes.data for a in mine))
    sizes = np.array(ints, np.int64)
    slots = kernels.pack_params([d for d, _ in params], [v for _, v in params])
    call = function(address(program, "", level))
    call(ctypes.addressof(pointers), sizes.ctypes.data, begin, end, slots.ctypes.data)
    loop_interp.run(program, theirs, ints, begin, end, [v for _, v in params])
    for k, (a, b) in enumerate(zip(mine, theirs, strict=True)):
        assert kernels.same_bits(a, b), k


def gather_sums(b):
    """Picks elements by position, keeps running sums, and treats every third element in its own way."""
    row = b.int(0)
    with b.parallel() as i:
        at = b.load(2, i)
        at = fn.where(at < 0, at + b.int(1), at)
        total = b.variable(0, b.compute_dtype(1))
        with b.loop(0, row) as j:
            value = b.load(1, at * row + j)
            total.value = total.value + value
            with b.when(j % 3 != 1):
                b.store(0, i * row + j, value * b.param(0, b.compute_dtype(1)))
            with b.otherwise():
                with b.when(at > 2):
                    b.store(0, i * row + j, total.value)
                with b.otherwise(), b.loop(j, row, 2) as k:
                    b.store(0, i * row + j, b.load(1, at * row + k))


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "f16", "bf16", "i8", "u8", "i32", "i64", "c64", "c128"])
def test_loop_programs(dtype, level):
    random = np.random.default_rng(0)
    program = loop.record(gather_sums, (dtype, dtype, "i64"))
    real = t.real_of(t.compute_dtype(dtype))
    factor = 2 if t.is_int(dtype) else 0.5 + 1j if t.is_complex(dtype) else 0.5
    for rows, width, picks in itertools.product((1, 7), (0, 1, 5, 33), (0, 1, 6)):
        index = random.integers(-rows, rows, picks)
        buffers = [elements(random, dtype, picks * width), elements(random, dtype, rows * width), index]
        kind = real if not t.is_complex(dtype) else dtype
        run_both(program, buffers, [width, rows], picks // 3, picks, [(kind, factor)], level)


@LEVEL
def test_loop_programs_of_bools_and_two_results(level):
    def running_any(b):
        with b.parallel() as i:
            seen = b.variable(False, "b1")
            last = b.variable(-1, "i64")
            with b.loop(0, b.int(0)) as j:
                x = b.load(2, i * b.int(0) + j)
                seen.value = seen.value | x
                last.value = fn.where(x, j, last.value)
                b.store(0, i * b.int(0) + j, seen.value)
            b.store(1, i, last.value)

    program = loop.record(running_any, ("b1", "i64", "b1"))
    random = np.random.default_rng(1)
    for n in (1, 4, 19):
        x = random.random(5 * n) < 0.2
        run_both(program, [np.zeros(5 * n, bool), np.zeros(5, np.int64), x], [n], 0, 5, [], level)


def pairs_of_neighbours(singly: bool):
    def differences(b):
        with b.parallel(singly=singly) as i, b.loop(0, b.int(0), independent=True) as j:
            at = i * b.int(0) + j
            first, second = b.load_pair(1, fn.cast(b.load(2, at), "i64"))
            b.store(0, at, second - first)

    return differences


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "i32", "c64"])
@pytest.mark.parametrize("singly", [False, True])
def test_pairs_of_neighbours(dtype, singly, level):
    """Up to the last two elements."""
    random = np.random.default_rng(2)
    program = loop.record(pairs_of_neighbours(singly), (dtype, dtype, "i32"))
    for n in (1, 7, 40):
        at = random.integers(0, 8, 3 * n).astype(np.int32)
        at[0] = 7
        run_both(program, [elements(random, dtype, 3 * n), elements(random, dtype, 9), at], [n], 0, 3, [], level)


def test_lanes_that_lie_apart_are_gathered_or_loaded_one_by_one():
    for singly in (False, True):
        program = loop.record(pairs_of_neighbours(singly), ("f32", "f32", "i32"))
        module = Module(LEVELS["x86-64-v4"], optimize=True)
        emit_program(module, program, "", "k")
        assert ("gatherdq" in compile_assembly(module)) is not singly


def test_the_interpreter_of_loops_reports_what_lies_outside():
    def past_the_end(b):
        with b.parallel() as i:
            b.store(0, i + 1, b.load(1, i))

    program = loop.record(past_the_end, ("f32", "f32"))
    with pytest.raises(IndexError, match="element 4 of buffer 0, which has 4"):
        loop_interp.run(program, [np.zeros(4, "f4"), np.zeros(4, "f4")], [], 0, 4)


# ---- row programs

X, Y = input_(0, "f32"), input_(1, "f32")
E = fn.exp(X - fn.detach(ir.row_max(X)))
CENTRED = X - ir.row_mean(X)

# roots, results (role, dtype), operands (role, dtype), relative tolerance
ROWS = {
    "sum and maximum": ([ir.row_sum(X), ir.row_max(X)], "B f32 B f32", "F f32", 0),
    "sum of bf16": ([ir.row_sum(X)], "B bf16", "F bf16", 0),
    "sum of i8": ([ir.row_sum(input_(0, "i8"))], "B i64", "F i8", 0),
    "sum of c64": ([ir.row_sum(input_(0, "c64"))], "B c64", "F c64", 0),
    "product of f64": ([ir.row_prod(input_(0, "f64"))], "B f64", "F f64", 0),
    "minimum of u8": ([ir.row_min(input_(0, "u8"))], "B u8", "F u8", 0),
    "any and all": ([ir.row_any(X), ir.row_all(X)], "B b1 B b1", "F f32", 0),
    "positions": ([ir.row_argmax(X), ir.row_argmin(X)], "B i64 B i64", "F f32", 0),
    "sum of what does not vary": ([ir.row_sum(Y) + ir.row_sum(X)], "B f32", "F f32 B f32", 0),
    "positions in use": ([X + fn.cast(ir.row_index(), "f32")], "F f32", "F f32", 0),
    "element by position": ([ir.row_pick(X, input_(1, "i64"))], "B f32", "F f32 B i64", 0),
    "softmax": ([E / ir.row_sum(E)], "F f32", "F f32", 2e-6),
    "softmax of f16": ([E / ir.row_sum(E)], "F f16", "F f16", 2e-3),
    "layer norm": (
        [CENTRED * fn.rsqrt(ir.row_mean(CENTRED * CENTRED) + param(0, "f32")) * Y, ir.row_mean(X)],
        "F f32 B f32",
        "F f32 R f32",
        1e-4,
    ),
}
PARAMS = (1e-5,)
LENGTHS = (0, 1, 3, 15, 16, 17, 65, 130)


def pairs(text: str) -> list[tuple[str, str]]:
    words = text.split()
    return list(zip(words[::2], words[1::2], strict=True))


def operand(random, role: str, dtype: str, batch: int, length: int, kind: str, columns: bool):
    """An array of its role with the strides of its class along the vector axis; gives (array, strides in bytes)."""
    b, n = (batch if role in "FB" else 1), (length if role in "FR" else 1)
    step = 3 if kind == "s" else 1
    order = (n, b * step) if columns else (b, n * step)
    wide = unaligned(elements(random, dtype, order))
    x = wide[:, ::step].T if columns else wide[:, ::step]
    strides = (x.strides[0] if role in "FB" else 0, 0, x.strides[1] if role in "FR" else 0)
    return x, strides


def classes_of(roles: str, columns: bool, kind: str) -> str:
    """Operands that vary along the vector axis are of the given class, others are broadcast."""
    return "".join(kind if r in ("FB" if columns else "FR") else "b" for r in roles)


class Rows:
    """A row program of one step, its operands, and what its kernels are called with."""

    def __init__(self, name: str, columns: bool, level: str):
        self.roots, outputs, inputs, self.tolerance = ROWS[name]
        self.outputs, self.inputs = pairs(outputs), pairs(inputs)
        self.roles = "".join(r for r, _ in self.outputs), "".join(r for r, _ in self.inputs)
        (self.step,) = ir.plan(self.roots, self.roles[1], self.roles[0]).steps
        dtypes = [self.outputs[k][1] for k in self.step.outputs], [self.inputs[k][1] for k in self.step.inputs]
        self.program = prepare(self.step, *dtypes, name)
        self.columns, self.level = columns, level
        self.random = np.random.default_rng(2)

    def kernel(self, mode: str, kind: str, before: int = 0, after: int = 0) -> int:
        """The address of a kernel whose operands are these, and states before or after them."""
        roles = self.roles[0] + "".join(self.roles[1][k] for k in self.step.inputs)
        classes = classes_of("" if before else roles[: len(self.roles[0])], self.columns, kind)
        classes += classes_of(roles[len(self.roles[0]) :], self.columns, kind)
        state = "c" if self.columns else "b"
        kernel = code.RowKernel(self.program, mode, self.columns)
        return address(kernel, state * before + classes + state * after, self.level)

    def draw(self, shape: tuple[int, int], kind: str) -> None:
        """Operands and wanted results of one call."""
        made = [operand(self.random, r, d, *shape, kind, self.columns) for r, d in (*self.outputs, *self.inputs)]
        self.shape, self.results, operands = shape, made[: len(self.outputs)], made[len(self.outputs) :]
        described = [(r, d, x) for (r, d), (x, _) in zip(self.inputs, operands, strict=True)]
        with np.errstate(invalid="ignore"):
            self.wanted = row_interp.run(self.roots, self.outputs, described, shape, PARAMS)
        self.ins = [operands[k] for k in self.step.inputs]
        self.outs = [self.results[k] for k in self.step.outputs]

    def launch(self, where: int, passed: list, first: int, count: int) -> None:
        """Calls a kernel for `count` elements of each row from the one numbered `first` on."""
        starts = [x.ctypes.data + first * strides[2] for x, strides in passed]
        pointers = (ctypes.c_void_p * len(passed))(*starts)
        strides = np.array([s for _, s in passed], np.int64).ravel()
        sizes = np.array([self.shape[0], 1, count, first, self.shape[1], 0], np.int64)
        slots = kernels.pack_params(["f32"], PARAMS)
        function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(where)
        function(ctypes.addressof(pointers), strides.ctypes.data, sizes.ctypes.data, slots.ctypes.data)

    def compare(self, what) -> None:
        for (x, _), w in zip(self.results, self.wanted, strict=True):
            got = x.reshape(w.shape)
            if self.tolerance:
                np.testing.assert_allclose(got, w, rtol=self.tolerance, atol=self.tolerance)
            else:
                assert kernels.same_bits(got, w), what


BOTH_WAYS = pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])


@LEVEL
@BOTH_WAYS
@pytest.mark.parametrize("name", ROWS)
def test_row_programs(name, columns, level):
    rows = Rows(name, columns, level)
    for kind in "cs":
        where = rows.kernel("fused", kind)
        drawn = [(int(a), int(b)) for a, b in rows.random.integers(0, 90, (4, 2))]
        for shape in [*itertools.product((1, 5), LENGTHS), *((n, 3) for n in LENGTHS), *drawn]:
            rows.draw(shape, kind)
            rows.launch(where, rows.outs + rows.ins, 0, shape[1])
            rows.compare((shape, kind))


@LEVEL
@BOTH_WAYS
@pytest.mark.parametrize("name", [n for n in ROWS if n != "positions in use"])  # it reduces nothing
def test_row_programs_in_chunks(name, columns, level):
    """States of chunks of a row, combined, then the results from them: what long rows run as."""
    rows = Rows(name, columns, level)
    program, write = rows.program, "F" in rows.step.out_roles
    for kind in "cs":
        finished: list = [program.states(k) for k in range(len(program.levels))]
        count = sum(map(len, finished))
        last = rows.kernel("write" if write else "finish", kind, 0, count)
        for batch, length in ((1, 40), (5, 131), (33, 7), (20, 64)):
            rows.draw((batch, length), kind)
            cuts = [0, *sorted(int(n) for n in rows.random.integers(0, length + 1, 2)), length]
            chunks = [(a, b - a) for a, b in itertools.pairwise(cuts)]
            stats: list = []
            for k, dtypes in enumerate(finished):
                where = rows.kernel(f"level{k}", kind, len(dtypes), len(stats))
                states = [[np.zeros(batch, numpy_dtype(d)) for d in dtypes] for _ in chunks]
                for (first, size), state in zip(chunks, states, strict=True):
                    rows.launch(where, described(state) + rows.ins + described(stats), first, size)
                for other in states[1:]:
                    combine(code.combine_program(code.RowKernel(program, f"combine{k}", columns), name), states[0], other, level)
                stats += states[0]
            for first, size in chunks if write else [(0, 1)]:
                rows.launch(last, rows.outs + rows.ins + described(stats), first, size)
            rows.compare((batch, length, kind, cuts))


def described(states: list[np.ndarray]) -> list:
    """One element of each state a row."""
    return [(x, (x.itemsize, 0, 0)) for x in states]


def combine(program, into: list[np.ndarray], other: list[np.ndarray], level: str) -> None:
    where = kernels.load(program, "c" * 3 * len(into), level)
    kernels.call(where, [x.reshape(1, -1) for x in (*into, *(x.copy() for x in into), *other)])
