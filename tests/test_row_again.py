"""Row calls are remembered by how their operands lie: the next one like it gives what a first one would."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import flambeau as torch

F = torch.nn.functional


def drawn(*shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype("f4")


def softmax(x, axis):
    e = np.exp(x.astype("f8") - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


@pytest.mark.parametrize("shape", [(3, 5), (2, 3, 7), (4, 1), (16, 33)])
def test_other_values_and_dimensions(shape):
    for scale in (1, 2, -3):
        for dim in range(len(shape)):
            x = drawn(*shape) * scale
            np.testing.assert_allclose(torch.softmax(torch.tensor(x), dim).numpy(), softmax(x, dim), rtol=1e-5)
            np.testing.assert_allclose(
                torch.tensor(x).sum(dim, keepdim=True).numpy(), x.sum(dim, keepdims=True), 1e-4, 1e-5
            )


def test_other_layouts():
    x = drawn(6, 8)
    for _ in range(2):
        for view in (lambda t: t, lambda t: t.T, lambda t: t[::2], lambda t: t[:, 1::3], lambda t: t[1:, :4]):
            got = torch.softmax(view(torch.tensor(x)), 1)
            np.testing.assert_allclose(got.numpy(), softmax(view(x), 1), rtol=1e-5)
            assert got.stride() == torch.empty_like(view(torch.tensor(x))).stride()
        expanded = torch.tensor(x[:, :1]).expand(6, 8)
        np.testing.assert_allclose(expanded.var(1).numpy(), np.zeros(6), atol=1e-7)


def test_other_numbers():
    x = drawn(5, 9)
    for eps in (1e-5, 1.0, 1e-5, 3.0):
        want = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + eps)
        np.testing.assert_allclose(F.layer_norm(torch.tensor(x), (9,), eps=eps).numpy(), want, rtol=1e-4, atol=1e-5)
    for order in (1, 2, 3, 2):
        got = torch.linalg.vector_norm(torch.tensor(x), order, 1).numpy()
        np.testing.assert_allclose(got, (np.abs(x) ** order).sum(1) ** (1 / order), rtol=1e-5)


def test_other_dtypes_and_absent_operands():
    x = drawn(4, 6)
    w = drawn(6)
    for _ in range(2):
        for dtype in (torch.float32, torch.float64, torch.bfloat16):
            assert torch.softmax(torch.tensor(x), 1, dtype=dtype).dtype is dtype
            assert torch.softmax(torch.tensor(x, dtype=dtype), 1).dtype is dtype
        plain = F.layer_norm(torch.tensor(x), (6,))
        torch.testing.assert_close(F.layer_norm(torch.tensor(x), (6,), torch.tensor(w)), plain * torch.tensor(w))


def test_default_dtype():
    x = torch.arange(6).reshape(2, 3)
    before = torch.get_default_dtype()
    try:
        for dtype in (torch.float32, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            assert torch.logsumexp(x, 1).dtype is dtype
    finally:
        torch.set_default_dtype(before)


def test_errors_stay():
    x = torch.tensor(drawn(3, 4))
    for _ in range(2):
        torch.softmax(x, 1)
        with pytest.raises(IndexError):
            torch.softmax(x, 2)
        with pytest.raises(IndexError):
            torch.zeros(3, 0).amax(1)


def test_gradients_of_two_steps():
    for scale in (1, 5):
        x, w = (torch.tensor(drawn(*s) * scale, requires_grad=True) for s in ((7, 10), (10,)))
        F.layer_norm(x, (10,), w).square().sum().backward()
        y = (x.detach().numpy() - x.detach().numpy().mean(1, keepdims=True)).astype("f8")
        y = y / np.sqrt((y * y).mean(1, keepdims=True) + 1e-5)
        np.testing.assert_allclose(w.grad.numpy(), (2 * y * y * w.detach().numpy()).sum(0), rtol=1e-4)


@pytest.mark.parametrize("shape", [(4, 70000), (600, 600), (3000, 40), (2, 300, 20, 20)])
def test_one_element_of_each_row_is_little_work_however_long_rows_are(shape):
    """The same call, small by what it reads, gives what it first gave, of other values too."""
    rng = np.random.default_rng(0)
    for _ in range(3):
        x = rng.standard_normal(shape).astype("f4")
        target = rng.integers(0, shape[1], (shape[0], *shape[2:]))
        picked = -np.take_along_axis(x, target[:, None], 1)[:, 0]
        got = F.nll_loss(torch.tensor(x), torch.tensor(target), reduction="none")
        np.testing.assert_array_equal(got.numpy(), picked)
        ignored = F.nll_loss(torch.tensor(x), torch.tensor(target), reduction="none", ignore_index=int(target.flat[0]))
        np.testing.assert_array_equal(ignored.numpy(), np.where(target == target.flat[0], 0, picked))


@pytest.mark.parametrize("n", [33000, 65535])
def test_one_longer_row_of_other_values_and_layouts(n):
    for seed in range(3):
        x = np.random.default_rng(seed).standard_normal(2 * n).astype("f4")
        for view in (lambda t: t[:n], lambda t: t[::2], lambda t: t[1 : n + 1]):
            seen = view(torch.tensor(x))
            np.testing.assert_allclose(seen.sum().item(), view(x).sum(dtype="f8"), atol=2e-2)
            np.testing.assert_allclose(torch.softmax(seen, 0).numpy(), softmax(view(x), 0), rtol=1e-5)
            assert seen.amax().item() == view(x).max()


@pytest.mark.parametrize("shape", [(1, 200_000), (300, 400), (5, 40_000), (64, 50, 64)])
def test_calls_of_many_tasks_in_several_threads(shape):
    """Split and cut among threads, along rows and columns: other values at other places, in callers side by side."""

    def run(seed):
        x = np.random.default_rng(seed).standard_normal(shape).astype("f4")
        t = torch.tensor(x)
        for dim in (0, 1):
            np.testing.assert_allclose(t.sum(dim).numpy(), x.sum(dim, dtype="f8"), atol=5e-3)
            np.testing.assert_array_equal(t.argmax(dim).numpy(), x.argmax(dim))
            np.testing.assert_allclose(torch.softmax(t, dim).numpy(), softmax(x, dim), rtol=2e-5)

    run(0)
    with ThreadPoolExecutor(3) as callers:
        list(callers.map(run, range(1, 7)))
