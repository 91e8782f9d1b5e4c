"""Writing through positions: scatter, slices, masks: the ways that shapes choose, against NumPy, by several threads."""

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F


def tensor(a):
    return flambeau.from_numpy(np.ascontiguousarray(a))


def small(seed, *shape):
    """Small whole numbers: their sums are exact in any order."""
    return np.random.default_rng(seed).integers(-8, 9, shape).astype(np.float64)


# Few wide rows, many rows, narrow slices, slices of one element, a dimension in the middle.
SHAPES = [((5, 200), 0, 40), ((300, 40), 0, 900), ((300, 3), 0, 500), ((7, 60), 1, 500), ((6, 90, 20), 1, 400),
          ((4000, 32), 0, 3), ((9,), 0, 70)]  # fmt: skip


@pytest.fixture(params=[1, 3])
def threads(request):
    before = flambeau.get_num_threads()
    flambeau.set_num_threads(request.param)
    yield
    flambeau.set_num_threads(before)


@pytest.mark.parametrize("shape, dim, n", SHAPES)
@pytest.mark.usefixtures("threads")
def test_slices_written_and_added(shape, dim, n):
    at = np.random.default_rng(n).integers(0, shape[dim], n)
    sizes = [n if d == dim else s for d, s in enumerate(shape)]
    x, source = small(0, *shape), small(1, *sizes)
    added, written = x.copy(), x.copy()
    np.add.at(added, (slice(None),) * dim + (at,), 2 * source)
    for k, place in enumerate(at):
        written[(slice(None),) * dim + (place,)] = source[(slice(None),) * dim + (k,)]
    assert np.array_equal(tensor(x).index_add(dim, tensor(at), tensor(source), alpha=2).numpy(), added)
    assert np.array_equal(tensor(x).index_add_(dim, tensor(at.astype(np.int32)), 2 * tensor(source)).numpy(), added)
    assert np.array_equal(tensor(x).index_copy(dim, tensor(at), tensor(source)).numpy(), written)
    filled = x.copy()
    filled[(slice(None),) * dim + (at,)] = 3
    assert np.array_equal(tensor(x).index_fill(dim, tensor(at - shape[dim]), 3).numpy(), filled)
    once = x.copy()
    np.add.at(once, (slice(None),) * dim + (at,), 1)
    ones = flambeau.ones((), dtype=flambeau.float64).expand(sizes)
    assert np.array_equal(tensor(x).index_add(dim, tensor(at), ones).numpy(), once)


@pytest.mark.parametrize("shape, dim, n", SHAPES)
def test_gradients_of_slices_sum_in_order(shape, dim, n):
    at = np.random.default_rng(n).integers(0, shape[dim], n)
    g = small(2, *(n if d == dim else s for d, s in enumerate(shape)))
    expected = np.zeros(shape)
    np.add.at(expected, (slice(None),) * dim + (at,), g)
    for read in (lambda x: x.index_select(dim, tensor(at)), lambda x: x[(slice(None),) * dim + (tensor(at),)]):
        x = flambeau.zeros(shape, dtype=flambeau.float64, requires_grad=True)
        read(x).backward(tensor(g))
        assert np.array_equal(x.grad.numpy(), expected)


@pytest.mark.parametrize("dim", [0, 1, 2])
@pytest.mark.usefixtures("threads")
def test_scatter_in_every_direction(dim):
    x, source = small(3, 40, 50, 130), small(4, 30, 50, 140)
    index = np.random.default_rng(dim).integers(0, x.shape[dim], (30, 45, 130))
    places = list(np.meshgrid(*map(np.arange, index.shape), indexing="ij"))
    places[dim] = index
    cut = source[:30, :45, :130]
    added, written = x.copy(), x.copy()
    np.add.at(added, tuple(places), cut)
    order = np.moveaxis(np.arange(index.size).reshape(index.shape), dim, 0).reshape(-1)  # `dim` outermost: the last wins
    flat = [p.reshape(-1)[order] for p in places]
    for k in range(index.shape[dim]):
        part = slice(k * (index.size // index.shape[dim]), (k + 1) * (index.size // index.shape[dim]))
        written[tuple(p[part] for p in flat)] = cut.reshape(-1)[order][part]
    assert np.array_equal(tensor(x).scatter_add(dim, tensor(index), tensor(source)).numpy(), added)
    assert np.array_equal(tensor(x).scatter(dim, tensor(index), tensor(source)).numpy(), written)
    filled = x.copy()
    filled[tuple(places)] = 7
    assert np.array_equal(tensor(x).scatter_(dim, tensor(index), 7).numpy(), filled)
    largest = x.copy()
    np.maximum.at(largest, tuple(places), cut)
    assert np.array_equal(tensor(x).scatter_reduce(dim, tensor(index), tensor(source), "amax").numpy(), largest)


def test_scatter_by_an_expanded_vector_writes_slices():
    at = np.random.default_rng(5).integers(0, 30, 200)
    x, source = small(6, 30, 24), small(7, 210, 24)
    index = tensor(at).view(-1, 1).expand(-1, 24)
    added = x.copy()
    np.add.at(added, at, source[:200])
    assert np.array_equal(tensor(x).scatter_add_(0, index, tensor(source)).numpy(), added)
    written = x.copy()
    for k, place in enumerate(at):
        written[place] = source[k]
    assert np.array_equal(tensor(x).scatter(0, index, tensor(source)).numpy(), written)
    filled = x.copy()
    filled[at] = -1
    assert np.array_equal(tensor(x).scatter(0, index, -1).numpy(), filled)
    y = flambeau.zeros(30, 24, dtype=flambeau.float64, requires_grad=True)
    y.gather(0, index).backward(tensor(source[:200]))
    expected = np.zeros((30, 24))
    np.add.at(expected, at, source[:200])
    assert np.array_equal(y.grad.numpy(), expected)


def test_numbers_through_masks():
    a, mask = small(8, 6, 7, 5), np.random.default_rng(9).random((6, 7)) < 0.5
    for key in ((mask,), (slice(None), mask[0]), (slice(None), slice(None), np.array([True, False, True, True, False])),
                (slice(1, 4), mask[0]), (2, mask[2])):  # fmt: skip
        expected, x = a.copy(), tensor(a)
        expected[key] = 9
        x[tuple(tensor(k) if isinstance(k, np.ndarray) else k for k in key)] = 9
        assert np.array_equal(x.numpy(), expected)
    value = flambeau.tensor(2.0, dtype=flambeau.float64, requires_grad=True)
    x = tensor(a).clone().requires_grad_()
    y = x * 1
    y[tensor(mask)] = value
    y.sum().backward()
    assert value.grad.item() == 5 * mask.sum() and np.array_equal(x.grad.numpy()[..., 0], ~mask)
    with pytest.raises(RuntimeError, match="Index put requires the source and destination dtypes match"):
        x.detach()[tensor(mask)] = flambeau.tensor(1)


def test_rows_of_an_embedding_that_are_used_often_or_never():
    at = np.array([3, 3, 3, 0, 700, 3])
    weight = flambeau.zeros(1000, 48, dtype=flambeau.float64, requires_grad=True)
    g = small(10, 6, 48)
    F.embedding(tensor(at), weight, padding_idx=0).backward(tensor(g))
    expected = np.zeros((1000, 48))
    np.add.at(expected, at, g)
    expected[0] = 0
    assert np.array_equal(weight.grad.numpy(), expected)


def test_nothing_is_written_where_an_index_lies_outside():
    x = flambeau.zeros(6, 40)
    bad = flambeau.tensor([0, 1, 6])
    calls = [
        lambda: x.index_add_(0, bad, flambeau.ones(3, 40)), lambda: x.index_copy_(0, bad, flambeau.ones(3, 40)),
        lambda: x.index_fill_(0, bad, 1.0), lambda: x.index_put_((bad,), flambeau.ones(40)),
        lambda: x.scatter_(0, bad.view(3, 1).expand(3, 40), 1.0), lambda: x.scatter_add_(1, bad.view(1, 3) + 34, x + 1),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises((IndexError, RuntimeError), match="out of (range|bounds)"):
            call()
    assert not x.any()


@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
@pytest.mark.parametrize("rows,columns,count", [(10, 64, 100), (10, 3, 7), (1000, 20, 50), (5, 1, 40)])
def test_slices_are_reduced_as_elements_are(reduce: str, rows: int, columns: int, count: int) -> None:
    """An index that names whole slices takes another way than one of elements."""
    rng = np.random.default_rng(rows + columns)
    x, z = (tensor(rng.standard_normal((n, columns))) for n in (count, rows))
    index = tensor(rng.integers(0, rows, count))
    slices = index.view(-1, 1).expand(count, columns)
    for inside in (True, False):
        want = z.scatter_reduce(0, slices.contiguous(), x, reduce, include_self=inside)
        found = [z.scatter_reduce(0, slices, x, reduce, include_self=inside)]
        found += [z.mT.contiguous().scatter_reduce(1, slices.mT, x.mT.contiguous(), reduce, include_self=inside).mT]
        if reduce != "sum":
            found += [z.index_reduce(0, index, x, reduce, include_self=inside)]
        for each in found:
            np.testing.assert_allclose(each, want, rtol=1e-12, atol=1e-14)
