"""Rows made of runs that lie apart: side by side or not, asked for ahead or not, they come to the same."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.codegen.module import Module
from flambeau.codegen.resolve import emit_program
from flambeau.codegen.row_program import prepare
from flambeau.codegen.runs import RunsKernel
from flambeau.codegen.target import LEVELS
from flambeau.ir import row as ir
from flambeau.ir.expr import input_

F = torch.nn.functional
# long runs, short ones with a tail, short ones in a slice and some left over: of more than the caches keep
SIZES = [(8, 17, 97, 161), (64, 41, 29, 29), (191, 33, 14, 26)]
ROW = (0, 2, 3)


def make(size, seed=0) -> np.ndarray:
    whole = np.random.default_rng(seed).standard_normal((size[0], size[1] + 1, *size[2:]), dtype="f4") + 0.5
    return whole[:, 1:]


@pytest.mark.parametrize("size", SIZES)
def test_reductions(size):
    x = make(size)
    t, exact = torch.from_numpy(x), x.astype("f8")
    np.testing.assert_allclose(t.sum(ROW).numpy(), exact.sum(ROW), rtol=1e-5)
    np.testing.assert_allclose(t.var(ROW).numpy(), exact.var(ROW, ddof=1), rtol=1e-5)
    np.testing.assert_array_equal(t.amax(ROW).numpy(), x.max(ROW))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("size", SIZES)
def test_batch_norm(size, dtype):
    dtype = getattr(torch, dtype)
    x = torch.from_numpy(make(size)).to(dtype).requires_grad_()
    g = torch.from_numpy(make(size, 1)).to(dtype)
    w = torch.linspace(0.5, 2, size[1], dtype=dtype, requires_grad=True)
    y = F.batch_norm(x, None, None, w, None, True)
    to_x, to_w = torch.autograd.grad(y, (x, w), g)
    exact, slope, scale = (t.detach().double().numpy() for t in (x, g, w))
    scale = scale[:, None, None]
    deviation = np.sqrt(exact.var(ROW, keepdims=True) + 1e-5)
    normal = (exact - exact.mean(ROW, keepdims=True)) / deviation
    product = (slope * normal).mean(ROW, keepdims=True)
    wanted = (slope - slope.mean(ROW, keepdims=True) - normal * product) * scale / deviation
    near = 2e-5 if dtype == torch.float32 else 2e-2
    np.testing.assert_allclose(y.detach().double().numpy(), normal * scale, rtol=near, atol=near)
    np.testing.assert_allclose(to_x.double().numpy(), wanted, rtol=near, atol=near)
    np.testing.assert_allclose(to_w.double().numpy(), (slope * normal).sum(ROW), rtol=near, atol=near * 500)


@pytest.mark.parametrize("level", [k for k, target in LEVELS.items() if not target.is_gpu])
def test_passes_ask_ahead(level):
    """For each vector a line: the first pass of the next eight runs, or two; the second one in the next row."""
    x = input_(0, "f32")
    step = ir.plan([x - ir.row_mean(x)], "F", "F").steps[0]
    module = Module(LEVELS[level])
    emit_program(module, RunsKernel(prepare(step, ["f32"], ["f32"], "test"), "fused", False), "cc", "k")
    assert module.text().count("call void @llvm.prefetch") == 8 + 2 + (4 + 1 + 1)
