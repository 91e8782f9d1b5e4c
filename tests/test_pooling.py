"""Pooling against windows cut by NumPy: borders, strides, dilations, overhanging windows, ties and nans."""

import itertools
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

F = torch.nn.functional
SHAPES = [(1, (2, 3, 13)), (2, (2, 2, 9, 12)), (2, (1, 2, 3, 3)), (3, (1, 2, 4, 5, 6))]
WINDOWS = [
    (k, s, p, d)
    for k, s, p, d in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (1, 2))
    if p <= k // 2 and not (k == 1 and d == 2)
]


def places(size, kernel, stride, padding, dilation, ceil):
    """The positions inside of every window along one axis, and how many a window counts with its padding."""
    count = (size + 2 * padding - dilation * (kernel - 1) - 1 + (stride - 1 if ceil else 0)) // stride + 1
    if ceil and (count - 1) * stride >= size + padding:
        count -= 1
    found = []
    for i in range(count):
        start = i * stride - padding
        taps = [start + j * dilation for j in range(kernel)]
        found.append(([t for t in taps if 0 <= t < size], min(start + kernel, size + padding) - start))
    return found


def windows(x, n, kernel, stride, padding, dilation, ceil):
    """(output's index, elements of every plane in its window, their positions, its count with padding)"""
    sizes = x.shape[-n:]
    axes = [places(size, kernel, stride, padding, dilation, ceil) for size in sizes]
    for index in itertools.product(*(range(len(a)) for a in axes)):
        chosen = [axes[k][i] for k, i in enumerate(index)]
        inside = np.ix_(*(taps for taps, _ in chosen))
        positions = np.arange(np.prod(sizes)).reshape(sizes)[inside].ravel()
        elements = x.reshape(*x.shape[:-n], -1)[..., positions]
        yield (..., *index), elements, positions, int(np.prod([count for _, count in chosen]))


def data(shape, kind):
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape)
    if kind == "ties":
        x = rng.integers(0, 3, shape).astype(float)
    if kind == "nan":
        x[..., ::4] = np.nan
    return x


@pytest.mark.parametrize("kind", ["plain", "ties", "nan"])
@pytest.mark.parametrize(("n", "shape"), SHAPES)
def test_max(n, shape, kind):
    x = data(shape, kind)
    pool = getattr(F, f"max_pool{n}d")
    for (kernel, stride, padding, dilation), ceil in itertools.product(WINDOWS, (False, True)):
        if min(len(places(s, kernel, stride, padding, dilation, ceil)) for s in shape[-n:]) < 1:
            continue
        t = torch.tensor(x, requires_grad=True)
        values, positions = pool(t, kernel, stride, padding, dilation, ceil, True)
        weights = np.random.default_rng(1).standard_normal(values.shape)
        (gradient,) = torch.autograd.grad(values, t, torch.tensor(weights))
        wanted = np.zeros((*x.shape[:-n], np.prod(x.shape[-n:])))
        for index, elements, where, _ in windows(x, n, kernel, stride, padding, dilation, ceil):
            isnan = np.isnan(elements)
            last_nan = elements.shape[-1] - 1 - isnan[..., ::-1].argmax(-1)
            at = where[np.where(isnan.any(-1), last_nan, np.where(isnan, -np.inf, elements).argmax(-1))]
            assert np.array_equal(values.detach().numpy()[index], elements.max(-1), equal_nan=True)
            assert np.array_equal(positions.numpy()[index], at)
            np.put_along_axis(
                wanted, at[..., None], np.take_along_axis(wanted, at[..., None], -1) + weights[index][..., None], -1
            )
        assert np.allclose(gradient.numpy().reshape(wanted.shape), wanted)
        only = pool(torch.tensor(x), kernel, stride, padding, dilation, ceil)
        assert np.array_equal(only.numpy(), values.detach().numpy(), equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_max_of_short_rows_is_that_of_integers(dtype):
    """Outputs of several rows are found together, of up to 2**16; of integers one by one."""
    rng = np.random.default_rng(3)
    for width in (1, 3, 7, 11, 19, 23):
        whole = torch.tensor(rng.integers(0, 50, (1, 1, 2**16 // width - 1, width)))
        for kernel, padding in (((1, 1), 0), ((3, 3), 1)):
            values, positions = F.max_pool2d(whole, kernel, 1, padding, return_indices=True)
            got, at = F.max_pool2d(whole.to(dtype), kernel, 1, padding, return_indices=True)
            assert torch.equal(at, positions)
            assert torch.equal(got, values.to(dtype))
            assert torch.equal(F.max_pool2d(whole.to(dtype), kernel, 1, padding), got)


@pytest.mark.parametrize("count_pad", [True, False])
@pytest.mark.parametrize("divisor", [None, 5])
@pytest.mark.parametrize(("n", "shape"), SHAPES)
def test_mean(n, shape, count_pad, divisor):
    x = data(shape, "plain")
    more = () if n == 1 else (divisor,)
    for (kernel, stride, padding, dilation), ceil in itertools.product(WINDOWS, (False, True)):
        if dilation != 1 or (n == 1 and divisor):
            continue
        t = torch.tensor(x, requires_grad=True)
        got = getattr(F, f"avg_pool{n}d")(t, kernel, stride, padding, ceil, count_pad, *more)
        weights = np.random.default_rng(1).standard_normal(got.shape)
        (gradient,) = torch.autograd.grad(got, t, torch.tensor(weights))
        wanted = np.zeros((*x.shape[:-n], np.prod(x.shape[-n:])))
        for index, elements, where, padded in windows(x, n, kernel, stride, padding, 1, ceil):
            count = divisor or (padded if count_pad else elements.shape[-1])
            assert np.allclose(got.detach().numpy()[index], elements.sum(-1) / count)
            wanted[..., where] += weights[index][..., None] / count
        assert np.allclose(gradient.numpy().reshape(wanted.shape), wanted)


def test_windows_whose_taps_all_miss_the_input():
    x = torch.tensor([[[5.0], [7.0]]], requires_grad=True)
    values, where = F.max_pool1d(x, 2, 1, 2, 3, return_indices=True)
    assert values.tolist() == [[[-math.inf] * 2] * 2]
    assert where.tolist() == [[[0, 0], [0, 0]]]
    (slope,) = torch.autograd.grad(values, x, torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
    assert slope.tolist() == [[[3.0], [7.0]]]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_global_mean(dtype):
    x = torch.tensor(data((2, 3, 5, 7), "plain")).to(dtype)
    got = F.adaptive_avg_pool2d(x, 1)
    assert got.shape == (2, 3, 1, 1)
    assert got.dtype == dtype
    assert np.allclose(got.double().numpy(), x.double().numpy().mean((2, 3), keepdims=True), 1e-2, 1e-2)
    assert F.adaptive_avg_pool1d(x[0], 1).shape == (3, 5, 1)
    with pytest.raises(NotImplementedError, match="not implemented for 'Long'"):
        F.adaptive_avg_pool2d(torch.ones(1, 2, 3, 3, dtype=torch.int64), 1)
    with pytest.raises(RuntimeError, match="non-zero size"):
        F.adaptive_avg_pool2d(torch.ones(1, 2, 0, 3), 1)


def test_gradients_of_both_orders():
    x = torch.tensor(data((1, 2, 5, 6), "plain"), requires_grad=True)
    for pool in (
        lambda t: F.max_pool2d(t, 3, 2, 1),
        lambda t: F.avg_pool2d(t, 3, 1, 1),
        lambda t: F.avg_pool2d(t, 2, 2, 1, count_include_pad=False),
        lambda t: F.adaptive_avg_pool2d(t, 1),
    ):
        assert gradcheck(pool, [x])
        assert gradgradcheck(pool, [x])


def test_channels_last_gives_the_same():
    x = torch.tensor(data((2, 19, 6, 5), "plain"))
    last = x.contiguous(memory_format=torch.channels_last)
    for pool in (
        lambda t: F.max_pool2d(t, 3, 2, 1), lambda t: F.avg_pool2d(t, 3, 1, 1), lambda t: F.max_pool2d(t, 2, dilation=2),
        lambda t: F.avg_pool2d(t, 2, 2, 1, True, False), lambda t: F.avg_pool2d(t, 2, 3, divisor_override=3),
        lambda t: F.max_pool2d(t, (6, 5)), lambda t: F.avg_pool2d(t, (6, 5)),
    ):  # fmt: skip
        assert pool(last).tolist() == pool(x).tolist()
        assert pool(last).is_contiguous(memory_format=torch.channels_last)
        a, b = x.clone().requires_grad_(), last.clone().requires_grad_()
        weights = torch.arange(float(pool(x).numel())).view(pool(x).shape)
        (pool(a) * weights).sum().backward()
        (pool(b) * weights).sum().backward()
        assert b.grad.tolist() == a.grad.tolist()


@pytest.mark.parametrize("n,sizes,wanted", [(1, (24,), 3), (2, (8, 12), (2, 3)), (2, (5, 7), 1), (3, (2, 4, 8), (1, 2, 2))])
def test_windows_of_one_size(n, sizes, wanted):
    """They are reduced as dimensions of a view; positions and other layouts take another way."""
    x = torch.from_numpy(np.random.default_rng(n).standard_normal((2, 3, *sizes)))
    x[0, 0, ..., -1] = float("nan")
    pool = getattr(F, f"adaptive_max_pool{n}d")
    want, where = pool(x, wanted, return_indices=True)
    np.testing.assert_array_equal(pool(x, wanted), want)
    leaf = x.clone().requires_grad_()
    pool(leaf, wanted).sum().backward()
    spread = torch.zeros(2, 3, x[0, 0].numel(), dtype=x.dtype).scatter_add(2, where.flatten(2), torch.ones_like(want).flatten(2))
    np.testing.assert_array_equal(leaf.grad[1], spread.view(x.shape)[1])
    y = x[1:].requires_grad_()
    means = getattr(F, f"adaptive_avg_pool{n}d")
    assert torch.autograd.gradcheck(lambda v: means(v, wanted), (y,))
    kernel = [s // w for s, w in zip(sizes, (wanted,) * n if isinstance(wanted, int) else wanted, strict=True)]
    np.testing.assert_allclose(means(y, wanted).detach(), getattr(F, f"avg_pool{n}d")(y.detach(), kernel), rtol=1e-12)
