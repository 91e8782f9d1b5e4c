"""PTX of kernels of every family: one text without calls, which `ptxas` assembles. Nothing is run: no GPU is needed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from flambeau.codegen import row as code
from flambeau.codegen.resolve import compile_ptx
from flambeau.codegen.row_program import prepare
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn, loop
from flambeau.ir import row as ir
from flambeau.ir.expr import Expr, input_, param
from flambeau.ir.program import In, Par, trace

PTXAS = shutil.which("ptxas") or next((str(p) for p in Path("/usr/local").glob("cuda*/bin/ptxas")), None)
LEVEL = pytest.mark.parametrize("level", ["sm_80", "sm_90"])


def assemble(program, classes: str, level: str) -> str:
    """The PTX of a program, which `ptxas` has accepted."""
    text = compile_ptx(program, LEVELS[level], classes)
    assert ".visible .entry k(" in text
    assert not re.search(r"^\s*(call|\.extern)\b", text, re.MULTILINE), "something outside is called"
    if PTXAS is None:
        pytest.skip("ptxas is not installed, so PTX is made but not assembled")
    done = subprocess.run(
        [PTXAS, f"-arch={level}", "-o", "/dev/null", "-"], input=text, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr + text
    return text


SCALAR = {
    "add": (lambda x, y, a: x + y * a, 2),
    "exp": (lambda x, a: fn.exp(x), 1),
    "gelu": (lambda x, a: fn.gelu(x), 1),
    "tanh": (lambda x, a: fn.tanh(x) * a, 1),
    "sin": (lambda x, a: fn.sin(x), 1),
    "pow": (lambda x, y, a: fn.pow(x, y), 2),
    "zeta": (lambda x, y, a: fn.zeta(x, y), 2),
    "igamma": (lambda x, y, a: fn.igamma(x, y), 2),
    "legendre": (lambda x, y, a: fn.orthogonal("legendre", x, y), 2),
    "where": (lambda x, y, a: fn.where(x > y, x, fn.maximum(y, a)), 2),
}


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "f16"])
@pytest.mark.parametrize("name", SCALAR)
def test_scalar_programs_of_floats(name, dtype, level):
    body, operands = SCALAR[name]
    program = trace(body, [*[In(dtype)] * operands, Par(dtype)], outputs=[dtype])
    assemble(program, "ccs"[: operands + 1], level)
    if level == "sm_80" and name == "add":
        assemble(program, "scb", level)


@LEVEL
@pytest.mark.parametrize("dtype", ["i64", "i8", "u8", "b1", "c64"])
def test_scalar_programs_of_other_dtypes(dtype, level):
    assemble(trace(lambda x, y: x + y, [In(dtype)] * 2, outputs=[dtype]), "ccs", level)
    assemble(trace(lambda x: x, [In(dtype)], outputs=["f32"]), "cc", level)
    if dtype in ("i64", "u8"):
        assemble(trace(lambda x, y: (x // y) ^ (x << y), [In(dtype)] * 2), "cbc", level)


X, W, B = (input_(k, "f32") for k in range(3))


def softmax(x: Expr) -> Expr:
    e = fn.exp(x - ir.constant(ir.row_max(x)))
    return e / ir.row_sum(e)


def layer_norm(x: Expr, w: Expr, b: Expr) -> Expr:
    centred = x - ir.row_mean(x)
    return centred * fn.rsqrt(ir.row_mean(centred * centred) + param(0, "f32")) * w + b


# roots, roles of operands, roles of results, dtypes of results, dtypes of operands
ROWS = {
    "softmax": ([softmax(X)], "F", "F", ["f32"], ["f32"]),
    "softmax of bf16": ([softmax(X)], "F", "F", ["bf16"], ["bf16"]),
    "layer_norm": ([layer_norm(X, W, B)], "FRR", "F", ["f32"], ["f32"] * 3),
    "sum": ([ir.row_sum(X)], "F", "B", ["f32"], ["f32"]),
    "sum of i64": ([ir.row_sum(input_(0, "i64"))], "F", "B", ["i64"], ["i64"]),
    "mean of f64": ([ir.row_mean(input_(0, "f64"))], "F", "B", ["f64"], ["f64"]),
    "any": ([ir.row_any(X)], "F", "B", ["b1"], ["f32"]),
    "argmax": ([ir.row_max(X), ir.row_argmax(X)], "F", "BB", ["f32", "i64"], ["f32"]),
}


def row_kernel(name: str, mode: str, columns: bool) -> tuple[code.RowKernel, str]:
    roots, roles, out_roles, outputs, inputs = ROWS[name]
    step = ir.plan(roots, roles, out_roles).steps[0]
    program = prepare(step, [outputs[k] for k in step.outputs], [inputs[k] for k in step.inputs], name)
    kinds = {"F": "c", "B": "c" if columns else "b", "R": "b" if columns else "c", "S": "b"}
    results = step.out_roles if not mode.startswith("level") else "B" * len(program.states(int(mode[5:])))
    finished = [] if mode in ("fused", "level0") else range(len(program.levels))
    states = "B" * sum(len(program.states(k)) for k in finished)
    return code.RowKernel(program, mode, columns), "".join(kinds[r] for r in results + step.roles + states)


@LEVEL
@pytest.mark.parametrize("columns", [False, True], ids=["rows", "columns"])
@pytest.mark.parametrize("name", ROWS)
def test_row_programs(name, columns, level):
    text = assemble(*row_kernel(name, "fused", columns), level)
    assert ("bar.sync" in text) is not columns, "threads of a row meet; columns have threads of their own"


@pytest.mark.parametrize("mode", ["level0", "combine0", "write", "finish"])
def test_parts_of_long_rows(mode):
    name = "softmax" if mode == "write" else "argmax"
    assemble(*row_kernel(name, mode, False), "sm_80")


@LEVEL
@pytest.mark.parametrize("dtype", ["f32", "f64", "bf16", "i64"])
def test_a_loop_program(dtype, level):
    def gather(b):
        with b.parallel() as i:
            at = b.load(2, i)
            at = fn.where(at < 0, at + b.int(1), at)
            total = b.variable(0, b.compute_dtype(0))
            with b.loop(0, b.int(0)) as j:
                value = b.load(1, at * b.int(0) + j)
                total.value = total.value + value
                with b.when(j % 3 != 1):
                    b.store(0, i * b.int(0) + j, value * b.param(0, b.compute_dtype(0)))
                with b.otherwise():
                    b.store(0, i * b.int(0) + j, total.value)

    assemble(loop.record(gather, (dtype, dtype, "i64")), "", level)


@LEVEL
@pytest.mark.parametrize("turned", [False, True])
def test_a_scan(turned, level):
    def running_sums(b):
        with b.parallel() as i:
            n, width, lines = (b.int(k) for k in range(3))
            start = fn.const(0, b.compute_dtype(0))
            b.scan((1, 1), (i * n * lines, lines), (n, width), [start], lambda s, x, j: [s[0] + x[0] * j], turned)

    assemble(loop.record(running_sums, ("f32", "bf16")), "", level)


def test_products_are_not_contracted_with_sums():
    text = compile_ptx(trace(lambda x, y: x * y + x, [In("f32")] * 2), LEVELS["sm_80"], "ccc")
    assert "mul.rn.f32" in text and "add.rn.f32" in text and "fma" not in text
