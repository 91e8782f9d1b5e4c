"""Rows that go past the caches while the next one is read come out as alone, wherever a task begins and ends."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.codegen.ahead import AheadKernel
from flambeau.codegen.module import Module
from flambeau.codegen.resolve import emit_program
from flambeau.codegen.row import RowKernel
from flambeau.codegen.row_program import prepare
from flambeau.codegen.staggered import StaggeredKernel, StaggeredRunsKernel
from flambeau.codegen.target import LEVELS
from flambeau.ir import fn
from flambeau.ir import row as ir
from flambeau.ir.expr import input_

F = torch.nn.functional
CALLS = {
    "softmax": lambda x, w: torch.softmax(x, 1),
    "log_softmax": lambda x, w: torch.log_softmax(x, 1),
    "layer_norm": lambda x, w: F.layer_norm(x, w.shape, w, w),
    "rms_norm": lambda x, w: F.rms_norm(x, w.shape, w),
    "masked": lambda x, w: torch.softmax(x.masked_fill(x < -1, -torch.inf), 1),
}


def make(rows, columns, dtype):
    """Some rows of which are far from 0, without a number, with one that is none, with a high peak, or constant."""
    x = np.random.default_rng(rows).standard_normal((rows, columns), dtype="f4")
    x[3] += 1000
    x[7] = -np.inf
    x[8, 5] = np.nan
    x[9, columns - 1] = 200
    x[64] *= 1e5
    x[rows - 1] = 0.1
    return torch.from_numpy(x).to(dtype)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    "rows, columns, dtype",
    [(6300, 1008, "float32"), (160, 40000, "float32"), (3300, 1000, "float64"), (25000, 512, "bfloat16")],
)
def test_as_alone(call, rows, columns, dtype):
    x, call = make(rows, columns, getattr(torch, dtype)), CALLS[call]
    w = torch.linspace(0.5, 2, columns, dtype=x.dtype)
    together = call(x, w)
    assert together.nbytes >= 24e6  # goes past the caches
    chosen = sorted({*range(12), *range(60, 70), *range(rows // 2, rows // 2 + 9), *range(rows - 10, rows)})
    found, alone = together[chosen].double().numpy(), call(x[chosen], w).double().numpy()
    # A few narrow rows have no place where exponentials wait, and take another way to the same result.
    np.testing.assert_allclose(found, alone, rtol=2**-7 if dtype == "bfloat16" else 0)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_gradients_of_long_rows(name):
    """Two operands are read; 40000 elements of a row stay near, 50000 do not."""
    for columns in (40000, 50000):
        x = make(160, columns, torch.float32).nan_to_num(0, 0, 0).requires_grad_()
        g = torch.from_numpy(np.random.default_rng(1).standard_normal((160, columns), dtype="f4"))
        (together,) = torch.autograd.grad(CALLS[name](x, None), x, g)
        chosen = [*range(12), 63, 64, 65, 100, 158, 159]  # so many are not cut
        part = x.detach()[chosen].requires_grad_()
        (alone,) = torch.autograd.grad(CALLS[name](part, None), part, g[chosen])
        np.testing.assert_array_equal(together[chosen].numpy(), alone.numpy())


@pytest.mark.parametrize("name, columns", [("softmax", 2100), ("rms_norm", 1008), ("layer_norm", 1008)])
def test_gradients_that_ask_ahead(name, columns):
    """Rows that leave the first cache, or that are added up as well."""
    rows, chosen = 6300 * 1008 // columns, [*range(12), 63, 64, 65, -2, -1]
    x = make(rows, columns, torch.float32).nan_to_num(0, 0, 0).requires_grad_()
    g = torch.from_numpy(np.random.default_rng(1).standard_normal((rows, columns), dtype="f4"))
    w = torch.linspace(0.5, 2, columns).requires_grad_()
    together = torch.autograd.grad(CALLS[name](x, w), (x, w), g, allow_unused=True)
    part = x.detach()[chosen].requires_grad_()
    (alone,) = torch.autograd.grad(CALLS[name](part, w), part, g[chosen])
    np.testing.assert_array_equal(together[0][chosen].numpy(), alone.numpy())
    if together[1] is not None:
        exact = x.detach().double().requires_grad_(), w.detach().double().requires_grad_()
        _, wanted = torch.autograd.grad(CALLS[name](*exact), exact, g.double())
        np.testing.assert_allclose(together[1].double().numpy(), wanted.numpy(), rtol=1e-4, atol=1e-3)


def test_rows_that_lie_apart():
    x = make(6300, 1100, torch.float32)
    part = x[:, 64:1072]
    np.testing.assert_array_equal(torch.softmax(part, 1).numpy(), torch.softmax(part.contiguous(), 1).numpy())


def test_what_a_row_leaves_for_the_next_pass():
    """Statistics of each row are results of their own, and the element of a class is another in each row."""
    x = make(6300, 1008, torch.float32)
    normal, mean, scale = torch.native_layer_norm(x, (1008,), None, None, 1e-5)
    alone = [torch.native_layer_norm(x[k : k + 1], (1008,), None, None, 1e-5) for k in (0, 63, 64, 6299)]
    for whole, parts in zip((normal, mean, scale), zip(*alone, strict=True), strict=True):
        np.testing.assert_array_equal(whole[[0, 63, 64, 6299]].numpy(), torch.cat(parts).numpy())


def test_factors_of_each_row():
    """Its mean is a result, and asked for where the row is written: with a weight and a bias of its own."""
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((64, 128, 28, 28), dtype="f4"))
    w = torch.linspace(0.5, 2, 128)
    normal = F.instance_norm(x, None, None, w, w)
    exact, scale = x.double().numpy(), w.double().numpy()[:, None, None]
    wanted = exact - exact.mean((2, 3), keepdims=True)
    wanted = wanted / np.sqrt(exact.var((2, 3), keepdims=True) + 1e-5) * scale + scale
    np.testing.assert_allclose(normal.double().numpy(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side, dtype", [(28, "float32"), (27, "float32"), (28, "bfloat16")])
def test_rows_of_runs_that_follow_each_other(side, dtype):
    """Groups of channels, with a weight and a bias for each channel; few rows at each index of the batch."""
    images = np.random.default_rng(0).standard_normal((140, 64, side, side), dtype="f4")
    images[3] += 1000
    images[5, 9] = np.nan
    x, w = torch.from_numpy(images).to(getattr(torch, dtype)), torch.linspace(0.5, 2, 64, dtype=getattr(torch, dtype))
    normal = F.group_norm(x, 8, w, w)
    chosen = [0, 1, 3, 5, 77, 139]
    alone = torch.cat([F.group_norm(x[k : k + 1], 8, w, w) for k in chosen])
    near = 0.02 if dtype == "bfloat16" else 2e-5
    np.testing.assert_allclose(normal[chosen].double().numpy(), alone.double().numpy(), rtol=near, atol=near)
    whole = [x[4], w]
    exact, scale = (t.double().numpy() for t in whole)
    groups = exact.reshape(8, -1)
    wanted = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1, keepdims=True) + 1e-5)
    wanted = wanted.reshape(exact.shape) * scale[:, None, None] + scale[:, None, None]
    np.testing.assert_allclose(normal[4].double().numpy(), wanted, rtol=near, atol=near)


@pytest.mark.parametrize(
    "size, dtype",
    [((21, 160, 44, 44), "float32"), ((19, 150, 28, 40), "float64"), ((27, 150, 56, 56), "bfloat16")],
)
def test_rows_of_runs_that_lie_apart(size, dtype):
    """Channels of images: 8 runs side by side, then 2, then 1; blocks of 8 vectors, then the vectors that are left.
    How many channels a task has depends on the threads, what comes out does not."""
    channels = size[1]
    images = np.random.default_rng(0).standard_normal(size, dtype="f4")
    images[:, 3] += 1000
    images[2, 5, 1, 1] = np.nan
    images[:, 7] = 0.25
    images[:, channels - 1] *= 1e5
    x = torch.from_numpy(images).to(getattr(torch, dtype))
    w = torch.linspace(0.5, 2, channels, dtype=x.dtype)
    assert x.nbytes >= 24e6  # goes past the caches
    threads, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 7):
            torch.set_num_threads(count)
            results.append(F.batch_norm(x, None, None, w, w, True))
    finally:
        torch.set_num_threads(threads)
    exact, scale = x.double().numpy(), w.double().numpy()[:, None, None]
    spread = np.sqrt(exact.var((0, 2, 3), keepdims=True) + 1e-5)
    wanted = (exact - exact.mean((0, 2, 3), keepdims=True)) / spread * scale + scale
    near = {"float32": 1e-4, "float64": 1e-9, "bfloat16": 0.03}[dtype]
    np.testing.assert_allclose(results[0].double().numpy(), wanted, rtol=near, atol=near)
    for other in results[1:]:
        np.testing.assert_array_equal(other.double().numpy(), results[0].double().numpy())


def asked_for(target, lines_apart):
    """By the wide loop of a pass, the narrow one, and the tail."""
    return max(1, 4 * target.vector_bytes // (64 * lines_apart)) + 2


@pytest.mark.parametrize("level", [k for k, target in LEVELS.items() if not target.is_gpu])
def test_runs_are_written_in_blocks_where_others_are_read(level):
    x = input_(0, "f32")
    step = ir.plan([x - ir.row_mean(x)], "F", "F").steps[0]
    module = Module(LEVELS[level])
    emit_program(module, StaggeredRunsKernel(prepare(step, ["f32"], ["f32"], "k"), "fused", False), "ncc", "k")
    text = module.text()
    blocks, sides, last = 8, 8 + 2 + 1, 4 + 1
    assert text.count("!nontemporal") == blocks + sides + last
    assert text.count("call void @llvm.prefetch") == 8 + 8 + 2


@pytest.mark.parametrize("level", [k for k, target in LEVELS.items() if not target.is_gpu])
def test_memory_is_asked_for_where_rows_are_written(level):
    x = input_(0, "f32")
    e = fn.exp(x - ir.constant(ir.row_max(x)))
    step = ir.plan([e / ir.row_sum(e)], "F", "F").steps[0]
    module = Module(LEVELS[level])
    emit_program(module, StaggeredKernel(prepare(step, ["f32"], ["f32"], "k"), "fused", False), "ncc", "k")
    text = module.text()
    streams = 4 + 1  # vectors of the wide loop and the narrow one, which only the tail comes beyond
    assert text.count("call void @llvm.prefetch") == asked_for(LEVELS[level], 1)
    assert text.count("!nontemporal") == 2 * streams  # where the next row is read, and after the last one


@pytest.mark.parametrize("level", [k for k, target in LEVELS.items() if not target.is_gpu])
def test_half_a_row_of_each_operand_is_asked_for_by_each_pass(level):
    g, y = input_(0, "f32"), input_(1, "f32")
    step = ir.plan([y * (g - ir.row_sum(g * y))], "FF", "F").steps[0]
    for kind, passes in ((AheadKernel, 2), (RowKernel, 0)):
        module = Module(LEVELS[level])
        emit_program(module, kind(prepare(step, ["f32"], ["f32"] * 2, "k"), "fused", False), "nccc", "k")
        assert module.text().count("call void @llvm.prefetch") == passes * 2 * asked_for(LEVELS[level], 2)
