"""Bands of columns: what later passes read are copies that the first one made."""

import ctypes

import numpy as np
import pytest

import flambeau as torch
import kernels
from flambeau.codegen.arena import Arena
from flambeau.codegen.bands import BandKernel
from flambeau.codegen.resolve import compile_program
from flambeau.codegen.row_program import prepare
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn, row_interp
from flambeau.ir import row as ir
from flambeau.ir.expr import input_, walk

LEVEL = pytest.mark.parametrize("level", kernels.host_levels())
RNG = np.random.default_rng(0)
_arena = Arena()
X, Y = input_(0, "f32"), input_(1, "f32")
E = fn.exp(X - ir.constant(ir.row_max(X)))
CENTRED = X - ir.row_mean(X)

# roots, roles of the results, what of the operands are copied
PROGRAMS = {
    "softmax": ([E / ir.row_sum(E)], "F", "cc"),
    "gradient of softmax": ([Y * (X - ir.row_sum(X * Y))], "F", "ccc"),
    "variance": ([ir.row_sum(CENTRED * CENTRED)], "B", "cc"),
    "two results": ([CENTRED * fn.rsqrt(ir.row_mean(CENTRED * CENTRED) + 1), ir.row_mean(X)], "FB", "ccc"),
    "positions": ([X * fn.cast(ir.row_index() == ir.row_argmax(X), "f32")], "F", "cc"),
    "an operand that is the same for all columns": ([(X - ir.row_max(X)) * Y], "F", "ccb"),
}


def unaligned(shape, dtype="f4") -> np.ndarray:
    """Zeros that begin one element behind a multiple of 64 bytes."""
    space = np.zeros(int(np.prod(shape)) + 64, dtype)
    return space[-space.ctypes.data % 64 // space.itemsize + 1 :][: int(np.prod(shape))].reshape(shape)


def band_kernel(name: str, level: str, classes: str):
    """The kernel of a program over bands, called with results, operands and copies, which have 64 places a row."""
    roots, out_roles, _ = PROGRAMS[name]
    roles = "FF" if any(e is Y for e in walk(roots)) else "F"
    step = ir.plan(roots, roles, out_roles).steps[0]
    program = prepare(step, ["f32"] * len(out_roles), ["f32"] * len(roles), "test")
    copied = classes[len(out_roles) :].count("c")
    made = compile_program(BandKernel(program, "fused", True), LEVELS[level], classes + "c" * copied)
    function = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 4)(_arena.load(made.blob) + made.symbols["k"])

    def call(arrays, strides, shape):
        pointers = (ctypes.c_void_p * len(arrays))(*[a.ctypes.data for a in arrays])
        stride, size = np.array(strides, np.int64).ravel(), np.array((*shape, 0), np.int64)
        function(ctypes.addressof(pointers), stride.ctypes.data, size.ctypes.data, np.zeros(2).ctypes.data)

    return call, step.inputs


@LEVEL
@pytest.mark.parametrize("name", PROGRAMS)
def test_bands_agree_with_the_interpreter(name, level):
    """Tails of columns, several bands, a row of two dimensions, more rows than one partial sum takes, unaligned bases."""
    roots, out_roles, classes = PROGRAMS[name]
    call, order = band_kernel(name, level, classes)
    for outer, inner in ((1, 1), (1, 70), (2, 65), (3, 4)):
        for width in (1, 7, 16, 37, 64, 203):
            rows = (outer, inner, width)
            operands = [unaligned(rows) for _ in order]
            for a in operands:
                a[...] = np.round(RNG.standard_normal(rows) * 4) / 4
            same = classes[-1] == "b"
            if same:
                operands[1][...] = operands[1][..., :1]
            results = [unaligned(rows if r == "F" else (width,)) for r in out_roles]
            copies = [unaligned((outer * inner, 64)) for _ in range(len(operands) - same)]
            lie = [4, 4 * inner * width, 4 * width]
            strides = [lie if r == "F" else [4, 0, 0] for r in out_roles]
            strides += [lie, [0, *lie[1:]]] if same else [lie] * len(operands)
            strides += [[0, 0, 0]] * len(copies)
            call([*results, *(operands[k] for k in order), *copies], strides, [width, outer, inner, 0, outer * inner])
            described = [("F", "f32", a.reshape(-1, width).T) for a in operands]
            wanted = row_interp.run(roots, [(r, "f32") for r in out_roles], described, (width, outer * inner))
            for got, expected in zip(results, wanted, strict=True):
                got = got.reshape(-1, width).T if got.ndim == 3 else got
                np.testing.assert_allclose(got, expected, rtol=2e-5, atol=2e-5)


def softmax_of_columns(x):
    e = np.exp(x - x.max(0))
    return e / e.sum(0)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float64"])
def test_large_matrices_are_reduced_in_bands(dtype):
    """As exact as small ones, and the same on any number of threads."""
    wide = {"float32": 65600, "bfloat16": 131136, "float64": 32800}[dtype]
    x = torch.randn(131, wide).to(getattr(torch, dtype)).requires_grad_()
    part = slice(wide - 70, wide)
    y = torch.softmax(x, 0)
    (gradient,) = torch.autograd.grad(y, x, x.detach())
    a = x.detach()[:, part].double().numpy()
    want = softmax_of_columns(a)
    tolerance = {"float32": 2e-6, "bfloat16": 8e-3, "float64": 1e-14}[dtype]
    np.testing.assert_allclose(y.detach()[:, part].double().numpy(), want, rtol=tolerance)
    slope = want * (a - (a * want).sum(0))
    np.testing.assert_allclose(gradient[:, part].double().numpy(), slope, rtol=1e-2, atol=20 * tolerance)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert torch.equal(torch.softmax(x, 0), y)
    finally:
        torch.set_num_threads(threads)


def test_variances_of_a_large_matrix():
    x = torch.randn(2048, 8200) + 100
    want = x[:, :100].double().numpy().var(0, ddof=1)
    np.testing.assert_allclose(torch.var(x, 0)[:100].numpy(), want, rtol=2e-5)
