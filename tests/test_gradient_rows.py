"""Gradients of rows that are added up over the batch as well, by the kernels for each length of row.

Some rows are asked for ahead and written by parts, longer ones are done in pairs; all come to what one row after the
other comes to, for any number of rows and whatever is left of a row after whole steps.
"""

import ctypes

import numpy as np
import pytest

import flambeau as torch
import kernels
from flambeau.codegen.abreast import AbreastKernel
from flambeau.codegen.ahead import AheadKernel
from flambeau.codegen.jit import compile_assembly
from flambeau.codegen.module import Module
from flambeau.codegen.resolve import emit_program
from flambeau.codegen.row import RowKernel
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn
from flambeau.ir import row as ir
from flambeau.ir.expr import input_, param
from flambeau.kernels.row import RowPlan
from test_interpreters import address

LEVEL = pytest.mark.parametrize("level", kernels.host_levels())
LENGTHS = (5, 64, 65, 100, 127, 256, 330, 1000)


def rms_norm(x, g, w, eps):
    r = fn.rsqrt(ir.row_mean(x * x) + eps)
    t = g * w
    return t * r - x * (ir.row_mean(t * x) * r * r * r), ir.batch_sum(g * (x * r))


def layer_norm(x, g, w, eps):
    c = x - ir.row_mean(x)
    r = fn.rsqrt(ir.row_mean(c * c) + eps)
    t = g * w
    return (t - ir.row_mean(t)) * r - c * (ir.row_mean(t * c) * r * r * r), ir.batch_sum(g * (c * r))


def exact(name, x, g, w, eps):
    x, g, w = (a.astype(np.float64) for a in (x, g, w))
    c = x - x.mean(1, keepdims=True) * (name == "layer_norm")
    r, t = 1 / np.sqrt((c * c).mean(1, keepdims=True) + eps), g * w
    first = (t - t.mean(1, keepdims=True) * (name == "layer_norm")) * r
    return first - c * (t * c).mean(1, keepdims=True) * r**3, (g * c * r).sum(0)


def aligned(shape, fill=0.0):
    """Rows that begin with a line of the cache."""
    wide = -(-shape[1] // 16) * 16
    memory = np.full(shape[0] * wide + 16, fill, np.float32)
    start = -memory.ctypes.data % 64 // 4
    return memory[start : start + shape[0] * wide].reshape(shape[0], wide)[:, : shape[1]]


class Gradient:
    """The program of one gradient with its sums, and a kernel of some kind."""

    def __init__(self, call, kind, result, level):
        x, g, w = (input_(k, "f32") for k in range(3))
        plan = ir.plan(list(call(x, g, w, param(0, "f32"))), "FFR", "FR")
        self.program = RowPlan(call.__name__, plan, ("f32", "f32"), ("f32",) * 3).steps[0].joined
        roles = [role for role, _ in (*self.program.outputs, *self.program.inputs)]
        self.roles = [*roles, "parking"]
        self.kernel = address(kind(self.program, "fused", False), self.classes(result), level)

    def classes(self, result):
        """Of the operands, that of the first being given."""
        return result + "".join("b" if role == "B" else "c" for role in self.roles[1:])

    def run(self, operands, eps):
        """The gradient, the sums, and numbers of each row, made of x, g and w."""
        batch, length = operands[0].shape
        result, total = aligned((batch, length), np.nan), np.zeros(length, np.float32)
        made, given = iter([result]), {leaf: operands[leaf] for leaf in self.program.leaves if leaf in range(3)}
        inputs = iter([given[leaf] for leaf, _ in sorted(self.program.leaves.items(), key=lambda item: item[1])])
        arrays, strides, numbers = [], [], []
        for k, role in enumerate(self.roles):
            if role == "B":
                numbers.append(np.full(batch, np.nan, np.float32))
                a, step = numbers[-1], (4, 0, 0)
            elif role == "A":
                a, step = total, (0, 0, 4)
            elif role == "parking":
                a, step = np.zeros(length, np.float32), (0, 4 * length, 4)
            else:
                a = next(made) if k == 0 else next(inputs)
                step = (a.strides[0] if role == "F" else 0, 0, 4)
            arrays.append(a)
            strides += step
        pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        sizes, slots = np.array([batch, 1, length, 0, length, 0]), kernels.pack_params(["f32"], [eps])
        call = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(self.kernel)
        call(ctypes.addressof(pointers), np.array(strides).ctypes.data, sizes.ctypes.data, slots.ctypes.data)
        return result, total, *numbers


@LEVEL
@pytest.mark.parametrize("call", [rms_norm, layer_norm])
def test_kinds_of_kernels_agree(call, level):
    plain = Gradient(call, RowKernel, "c", level)
    others = {kind: Gradient(call, kind, "n", level) for kind in (AheadKernel, AbreastKernel)}
    random = np.random.default_rng(0)
    for batch in (1, 2, 3, 8, 33):
        for length in LENGTHS:
            x, g = (aligned((batch, length)) for _ in range(2))
            x[:], g[:] = random.standard_normal((2, batch, length)) + 0.5
            w = random.standard_normal((1, length)).astype(np.float32)
            wanted = exact(call.__name__, x, g, w, 1e-5)
            found = plain.run((x, g, w), 1e-5)
            for kind, gradient in others.items():
                got = gradient.run((x, g, w), 1e-5)
                for a, c in zip(got[:2], wanted, strict=True):
                    np.testing.assert_allclose(a, c, rtol=1e-4, atol=2e-5, err_msg=f"{kind} {batch} {length}")
                # Sums of four things have registers for half as many partial sums of two rows.
                same = kind is AheadKernel or call is rms_norm
                for a, b in zip(got, found, strict=True):
                    np.testing.assert_allclose(a, b, rtol=0 if same else 1e-4, atol=0 if same else 2e-5)


@LEVEL
def test_rows_that_no_guess_fits(level):
    """A row whose statistics are read again has its neighbour read again as well, and nothing is lost or written twice."""
    gradient = Gradient(layer_norm, AbreastKernel, "n", level)
    random = np.random.default_rng(1)
    x, g = aligned((7, 400)), aligned((7, 400))
    x[:], g[:] = random.standard_normal((2, 7, 400))
    x[2, 64:] += 1e4
    x[6, :64] -= 1e4
    w = np.ones((1, 400), np.float32)
    for a, b in zip(gradient.run((x, g, w), 1e-5)[:2], exact("layer_norm", x, g, w, 1e-5), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    x[3, 5] = np.nan
    result, total, *_ = gradient.run((x, g, w), 1e-5)
    assert np.isnan(result).all(1).tolist() == [False] * 3 + [True] + [False] * 3
    assert np.isnan(total).all()


@pytest.mark.parametrize("name, columns", [("rms_norm", 320), ("layer_norm", 1008), ("layer_norm", 2992), ("rms_norm", 5008)])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_sums_do_not_depend_on_threads(name, columns, dtype):
    """Chunks of the batch are added up one after the other by any number of threads; to as much as in float64."""
    rows, random = (1 << 23) // columns | 1, np.random.default_rng(2)
    x, g = (torch.from_numpy(random.standard_normal((rows, columns), dtype="f4")).to(getattr(torch, dtype)) for _ in "xg")
    x.requires_grad_()
    w = torch.linspace(0.5, 2, columns, dtype=x.dtype).requires_grad_()
    call = {
        "rms_norm": lambda x, w: torch.nn.functional.rms_norm(x, w.shape, w, 1e-5),
        "layer_norm": lambda x, w: torch.nn.functional.layer_norm(x, w.shape, w, w),
    }[name]
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(torch.autograd.grad(call(x, w), (x, w), g))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(a.equal(b) for a, b in zip(other, results[0], strict=True))
    inputs = [a.detach().double().requires_grad_() for a in (x, w)]
    near = 1e-4 if dtype == "float32" else 0.02
    for got, wanted in zip(results[0], torch.autograd.grad(call(*inputs), inputs, g.double()), strict=True):
        scale = wanted.abs().max().item()
        assert (got.double() - wanted).abs().max().item() <= near * scale


@pytest.mark.parametrize("kind", [AheadKernel, AbreastKernel])
@pytest.mark.parametrize("call", [rms_norm, layer_norm])
def test_sums_of_rows_stay_in_registers(call, kind):
    module, gradient = Module(LEVELS["x86-64-v4"]), Gradient(call, RowKernel, "c", kernels.host_levels()[-1])
    emit_program(module, kind(gradient.program, "fused", False), gradient.classes("n"), "k")
    loops = kernels.innermost(compile_assembly(module).splitlines())
    assert [line for line in loops if "%zmm" in line and "vfmadd" in line]
    assert not kernels.spills(loops, "%zmm")
