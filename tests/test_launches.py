"""Launches of loop operators that are remembered: a second call of a kind gives what a first one would."""

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


@pytest.mark.parametrize(
    "layout",
    [lambda t: t, lambda t: t.transpose(0, 1), lambda t: t[1:, ::2], lambda t: t[:1].expand(5, 6), lambda t: t > 0],
    ids=["in order", "transposed", "sliced", "expanded", "bool"],
)
def test_each_call_reads_its_own_operand(layout):
    for seed in range(3):
        a = layout(flambeau.from_numpy(numbers(5, 6, seed=seed)))
        want = np.cumsum(a.numpy(), axis=1)
        np.testing.assert_allclose(flambeau.cumsum(a, 1).numpy(), want, rtol=1e-6, atol=1e-6)
        assert np.array_equal(flambeau.flip(a, (0,)).numpy(), np.flip(a.numpy(), 0))


def test_numbers_and_dimensions_are_part_of_a_kind():
    x = flambeau.from_numpy(numbers(4, 6))
    for _ in range(2):
        for dim in (0, 1, -1):
            assert np.array_equal(flambeau.cummax(x, dim)[0].numpy(), np.maximum.accumulate(x.numpy(), dim))
        for dtype in (None, flambeau.float64):
            assert flambeau.cumsum(x, 0, dtype=dtype).dtype == (dtype or flambeau.float32)
        for size in (1, 2):
            assert F.avg_pool2d(x.view(1, 4, 6), size).shape == (1, 4 // size, 6 // size)
    for _ in range(2):
        with pytest.raises(IndexError, match="Dimension out of range"):
            flambeau.cumsum(x, 2)
    assert flambeau.cumsum(flambeau.zeros(0, 3), 1).shape == (0, 3)


def test_one_tensor_in_two_places():
    a, b = (flambeau.from_numpy(np.sort(numbers(9, seed=s))) for s in (1, 2))
    for first, second in ((a, a), (a, b), (b, b), (b, a)):
        want = np.searchsorted(first.numpy(), second.numpy())
        assert np.array_equal(flambeau.searchsorted(first, second).numpy(), want)


def test_results_keep_their_layout_and_their_memory():
    x = flambeau.from_numpy(numbers(2, 3, 4, 4)).contiguous(memory_format=flambeau.channels_last)
    first, second = F.max_pool2d(x, 2), F.max_pool2d(x + 1, 2)
    assert first.stride() == second.stride() == (12, 1, 6, 3)
    assert np.array_equal((first + 1).numpy(), second.numpy())
    assert first.data_ptr() != second.data_ptr()


def test_gradients_of_later_calls():
    for seed in range(3):
        x = flambeau.from_numpy(numbers(3, 4, seed=seed)).requires_grad_()
        weight = flambeau.from_numpy(numbers(3, 4, seed=seed + 9))
        (flambeau.cumsum(x, 1) * weight).sum().backward()
        want = np.cumsum(weight.numpy()[:, ::-1], 1)[:, ::-1]
        np.testing.assert_allclose(x.grad.numpy(), want, rtol=1e-5, atol=1e-6)


def test_more_kinds_than_are_kept():
    ones = flambeau.ones(4200)
    for n in range(1, 4200):
        assert flambeau.cumsum(ones[:n], 0).numel() == n
    assert flambeau.cumsum(ones[:3], 0).tolist() == [1.0, 2.0, 3.0]
