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


# Rows i of x become v.
WRITERS = {
    "scatter": lambda x, i, v: flambeau.scatter(x, 0, i[:, None].expand(3, 4).contiguous(), v),
    "scatter of rows": lambda x, i, v: flambeau.scatter(x, 0, i[:, None].expand(3, 4), v),
    "index_copy": lambda x, i, v: flambeau.index_copy(x, 0, i, v),
    "index_put": lambda x, i, v: flambeau.index_put(x, [i], v),
    "index_put of columns": lambda x, i, v: flambeau.index_put(x.t(), [None, i], v.t()).t(),
    "index_put of elements": lambda x, i, v: flambeau.index_put(
        x, [i[:, None].expand(3, 4).contiguous(), flambeau.arange(4).expand(3, 4).contiguous()], v
    ),
    "index_put apart": lambda x, i, v: flambeau.index_put(
        x.view(6, 1, 4).transpose(0, 1).unsqueeze(0),
        [flambeau.zeros(3, dtype=flambeau.int64), None, i], v.unsqueeze(1),
    ).view(6, 4),
    "in place": lambda x, i, v: x.clone().index_copy_(0, i, v),
}  # fmt: skip


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_writing_is_remembered_with_its_indices(write):
    for seed in range(4):
        x, v = (flambeau.from_numpy(numbers(*shape, seed=seed)) for shape in ((6, 4), (3, 4)))
        i = np.random.default_rng(seed).permutation(6)[:3]
        want, before = x.numpy().copy(), x.clone()
        want[i] = v.numpy()
        assert np.array_equal(write(x, flambeau.from_numpy(i), v).numpy(), want)
        assert x.equal(before)
        with pytest.raises((IndexError, RuntimeError), match="out of bounds|out of range"):
            write(x, flambeau.tensor([0, 6, 1]), v)
        assert x.equal(before)


@pytest.mark.parametrize("name", ["index_put", "index_fill"])
def test_indices_that_count_from_the_end_among_others(name):
    x = flambeau.zeros(5, 3)
    for rows in ([0, 1], [-1, 2], [4, 3], [-5, -2]):
        at, want = flambeau.tensor(rows), np.zeros((5, 3))
        want[rows] = 2
        put = flambeau.index_put(x, [at], flambeau.full((2, 3), 2.0)) if name == "index_put" else x.index_fill(0, at, 2)
        assert np.array_equal(put.numpy(), want)


def test_writing_to_what_is_read():
    """The order of writes is not to be seen where source and target share memory, whatever calls came before."""
    at = flambeau.tensor([1, 2, 3])
    x = flambeau.arange(4.0)
    for _ in range(2):
        assert x.clone().index_copy_(0, at, flambeau.arange(3.0)).tolist() == [0, 0, 1, 2]
    shared = x.clone()
    assert shared.index_copy_(0, at, shared[:3]).tolist() == [0, 0, 1, 2]
    index = flambeau.tensor([1, 2, 3, 0])
    for _ in range(2):
        assert index.clone().scatter_(0, index, flambeau.tensor([5, 6, 7, 8])).tolist() == [8, 5, 6, 7]
    assert index.scatter_(0, index, flambeau.tensor([5, 6, 7, 8])).tolist() == [8, 5, 6, 7]


def test_arguments_that_share_memory_are_told_from_those_that_do_not():
    at = flambeau.tensor([[2, 0, 1]])
    for seed in range(2):
        x, y = (flambeau.from_numpy(numbers(1, 3, seed=s)) for s in (seed, seed + 5))
        both = flambeau.from_numpy(numbers(2, 3, seed=seed))
        for a, b in ((x, x), (x, y), (y, y), (x, x[:]), (both[:1], both[1:]), (both[:1], both[:1])):
            want = a.numpy().copy()
            want[0, at.numpy()[0]] = b.numpy()[0]
            assert np.array_equal(a.scatter(1, at, b).numpy(), want)
            assert np.array_equal(a.clone().scatter_(1, at, b).numpy(), want)


def test_gradients_through_remembered_writing():
    for seed in range(3):
        x, v = (flambeau.from_numpy(numbers(*shape, seed=seed)).requires_grad_() for shape in ((5, 3), (2, 3)))
        at = flambeau.tensor([seed, seed + 1])
        flambeau.index_copy(x * 1, 0, at, v).sum().backward()
        y = x * 1
        y.index_copy_(0, at, v * 2).sum().backward()
        assert x.grad.sum(1).tolist() == [0.0 if k in (seed, seed + 1) else 6.0 for k in range(5)]
        assert v.grad.tolist() == [[3.0] * 3] * 2
