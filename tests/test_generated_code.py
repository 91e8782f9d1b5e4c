"""What the code of elementwise, row and optimizer kernels looks like: whole registers, and none of them on the stack."""

import numpy as np
import pytest

import kernels
import test_interpreters as rows
from flambeau.codegen import row as code
from flambeau.codegen.ahead import AheadKernel
from flambeau.codegen.bands import BandKernel
from flambeau.codegen.jit import compile_assembly
from flambeau.codegen.module import Module
from flambeau.codegen.resolve import emit_program
from flambeau.codegen.row_program import prepare
from flambeau.codegen.staggered import StaggeredKernel, StaggeredRunsKernel
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn
from flambeau.ir import row as ir
from flambeau.ir.expr import input_
from flambeau.ir.interp import numpy_dtype, run
from flambeau.ir.program import In, Par, trace
from flambeau.optim import _fused

REGISTERS = {"x86-64-v3": "%ymm", "x86-64-v4": "%zmm"}
ELEMENTWISE = {
    "add": lambda x, y: x + y, "exp": lambda x, y: fn.exp(x) * y, "log": lambda x, y: fn.log(x) * y,
    "tanh": lambda x, y: fn.tanh(x) * y, "sigmoid": lambda x, y: fn.sigmoid(x) * y, "erf": lambda x, y: fn.erf(x) * y,
    "gelu": lambda x, y: fn.gelu(x) + y, "where": lambda x, y: fn.where(x > y, x, y * 2.0),
}  # fmt: skip


def assembly(program, classes: str, level: str) -> list[str]:
    module = Module(LEVELS[level])
    emit_program(module, program, classes, "k")
    return compile_assembly(module).splitlines()


@pytest.mark.parametrize("level", REGISTERS)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise(name: str, level: str) -> None:
    lines = assembly(trace(ELEMENTWISE[name], [In("f32")] * 2), "ccc", level)
    assert [line for line in lines if REGISTERS[level] in line and "vmovups" in line]
    assert not kernels.spills(lines, REGISTERS[level])


@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("name", ["sum and maximum", "softmax", "layer norm"])
def test_rows(name: str, columns: bool) -> None:
    for level, register in REGISTERS.items():
        program = rows.Rows(name, columns, level)
        roles = program.roles[0] + "".join(program.roles[1][k] for k in program.step.inputs)
        kernel = code.RowKernel(program.program, "fused", columns)
        lines = assembly(kernel, rows.classes_of(roles, columns, "c"), level)
        assert [line for line in lines if register in line and "vaddps" in line]
        if level == "x86-64-v4":  # sixteen registers are few for a row's four accumulators
            loops = kernels.innermost(lines)
            assert [line for line in loops if register in line and "vaddps" in line]
            assert not kernels.spills(loops, register)


X, Y = input_(0, "f32"), input_(1, "f32")
NORM = ir.plan([X * fn.rsqrt(ir.row_mean(X * X))], "F", "F").steps[0]
SLOPE = ir.plan([Y * (X - ir.row_sum(X * Y))], "FF", "F").steps[0]


def streaming(kind: str, dtype: str):
    """A kernel of some kind with a result that goes past the caches, and its classes."""
    if kind == "elementwise":  # of so many operations that one vector is enough to do
        return trace(lambda x: fn.gelu(x) + fn.erf(x), [In(dtype)], (dtype,)), "nc"
    step, count = (SLOPE, 2) if kind == "ahead" else (NORM, 1)
    program = prepare(step, [dtype], [dtype] * count, "k")
    made = {"ahead": AheadKernel, "bands": BandKernel, "runs": StaggeredRunsKernel}.get(kind, StaggeredKernel)
    return made(program, "fused", kind == "bands"), "n" + "c" * (count + 1)


@pytest.mark.parametrize("level", REGISTERS)
@pytest.mark.parametrize("dtype", ["f32", "f16", "bf16"])
@pytest.mark.parametrize("kind", ["elementwise", "staggered", "runs", "ahead", "bands"])
def test_results_go_past_the_caches(kind: str, dtype: str, level: str) -> None:
    """Though what narrows a vector and stores it would be one instruction, through the caches."""
    lines = assembly(*streaming(kind, dtype), level)
    halves = "%xmm" if (level, dtype) == ("x86-64-v3", "f16") else REGISTERS[level]
    assert [line for line in lines if "movnt" in line and halves in line]


def test_spills_in_loops_are_seen() -> None:
    """And none outside, nor in a loop around another one."""
    spill, block = "\tvmovups\t%zmm1, 32(%rsp)", ["\tvaddps\t%zmm1, %zmm2, %zmm2", "\tjl\t.LBB0_2"]
    loop = [".LBB0_2:                # %b", *block]
    around = [".LBB0_1:", spill, *loop, spill, "\tjmp\t.LBB0_1", ".LBB0_3:", "\tretq"]
    assert kernels.innermost(around) == loop
    assert not kernels.spills(kernels.innermost(around), "%zmm")
    assert kernels.spills(kernels.innermost([loop[0], spill, *block]), "%zmm") == [spill]


# name, flags, tensors read, numbers
OPTIMIZERS = [
    ("sgd", (False, False, False, True, False), 2, 4), ("sgd", (False, True, False, False, True), 3, 4),
    ("sgd", (True, True, True, True, False), 2, 4), ("adam", (False, False, True, False), 4, 8),
    ("adam", (True, True, True, True), 5, 8),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIMIZERS, ids=lambda c: f"{c[0]}-{c[1]}")
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16"])
def test_optimizers(case: tuple, dtype: str) -> None:
    """One pass over parameters and state, in place: the interpreter's bits for every length around a vector's."""
    name, flags, reads, numbers = case
    body = (_fused._sgd_body if name == "sgd" else _fused._adam_body)(*flags)
    writes = len(trace(body, [*[In("f32")] * reads, *[Par("f32")] * numbers]).outputs)
    number = Par("f64" if dtype == "f64" else "f32")
    program = trace(body, [*[In(dtype)] * reads, *[number] * numbers], (dtype,) * writes, name)
    random, values = np.random.default_rng(5), [0.9, 0.1, 0.9, 0.99, 0.01, 0.5, 1e-8, 0.02][:numbers]
    for level in kernels.host_levels():
        kernel = kernels.load(program, "c" * (writes + reads), level)
        for length in (0, 1, 7, 15, 16, 17, 33, 100):
            state = [_random(random, dtype, length) for _ in range(reads)]
            wanted = run(program, [x.copy() for x in state], values)
            into = [state[0], *state[2 : 1 + writes]]  # the parameter, and the state behind its gradient
            into += [np.zeros(length, numpy_dtype(dtype)) for _ in range(writes - len(into))]
            arrays = [x.reshape(1, -1) for x in (*into, *state)]
            kernels.call(kernel, arrays, kernels.pack_params(program.params, values))
            for got, want in zip(into, wanted, strict=True):
                assert kernels.same_bits(got, want), (level, length)
        register = REGISTERS.get(level)
        if register:
            assert [line for line in assembly(program, "c" * (writes + reads), level) if register in line]


def _random(random: np.random.Generator, dtype: str, length: int) -> np.ndarray:
    """Positive numbers, one element behind an aligned address."""
    x = np.empty(length + 1, numpy_dtype(dtype))[1:]
    drawn = random.random(length).astype(np.float32)
    x[...] = (drawn.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bf16" else drawn
    return x
