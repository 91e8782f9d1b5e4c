"""Reading and writing by index, and pooling: against NumPy, in place, by several threads, with shared memory."""

import numpy as np
import pytest

import flambeau
from flambeau.nn import functional as F

RANDOM = np.random.default_rng(0)


def tensor(a, grad: bool = False):
    t = flambeau.from_numpy(np.ascontiguousarray(a))
    return t.requires_grad_() if grad else t


def test_reading_through_index_tensors_matches_numpy():
    a = RANDOM.standard_normal((4, 5, 6, 3))
    i, j = RANDOM.integers(-4, 4, (2, 3)), RANDOM.integers(-5, 5, 3)
    mask = RANDOM.random((5, 6)) < 0.4
    x = tensor(a)
    every = slice(None)
    keys = [
        (i,), (every, j), (i, j), (i, every, j), (slice(1, None), mask), (..., np.array([0, 2])),
        (None, i, slice(None, None, 2), j),
    ]  # fmt: skip
    for key in keys:
        ours = tuple(tensor(k) if isinstance(k, np.ndarray) else k for k in key)
        assert np.array_equal(x[ours].numpy(), a[key])
    turned, plain = x.permute(3, 2, 1, 0), a.transpose(3, 2, 1, 0)
    for key in ((i % 3,), (every, j), (i % 3, every, j)):
        ours = tuple(tensor(k) if isinstance(k, np.ndarray) else k for k in key)
        assert np.array_equal(turned[ours].numpy(), plain[key])


@pytest.mark.parametrize("accumulate", [False, True])
def test_writing_through_index_tensors_in_place(accumulate):
    for key in ((np.array([0, 2, 2]),), (slice(None), np.array([4, 0, 4])), (np.array([1, 3, 1]), np.array([2, 2, 2]))):
        a = RANDOM.standard_normal((5, 6, 40))
        index = [None if isinstance(k, slice) else tensor(k) for k in key]
        values = RANDOM.standard_normal(a[key].shape)
        x = tensor(a.copy())
        memory = x.data_ptr()
        x.index_put_(index, tensor(values), accumulate)
        if accumulate:
            np.add.at(a, key, values)
            np.testing.assert_allclose(x.numpy(), a, rtol=1e-12)
        else:
            a[key] = values
            assert np.array_equal(x.numpy(), a)
        assert x.data_ptr() == memory


def test_a_source_that_shares_memory_with_what_is_written_is_read_first():
    x = flambeau.arange(6.0)
    x.index_copy_(0, flambeau.tensor([1, 2, 3, 4, 5]), x[:5])
    assert x.tolist() == [0, 0, 1, 2, 3, 4]
    y = flambeau.arange(4.0)
    y.scatter_(0, flambeau.tensor([3, 2, 1, 0]), y)
    assert y.tolist() == [3, 2, 1, 0]
    z = flambeau.arange(4)
    z.index_put_([z], flambeau.tensor(7))
    assert z.tolist() == [7, 7, 7, 7]


def test_gather_and_scatter():
    a, index = RANDOM.standard_normal((4, 7, 3)), RANDOM.integers(0, 7, (4, 9, 3))
    x, i = tensor(a, True), tensor(index)
    got = flambeau.gather(x, 1, i)
    assert np.array_equal(got.detach().numpy(), np.take_along_axis(a, index, 1))
    got.sum().backward()
    want = np.zeros_like(a)
    np.add.at(want, (np.arange(4)[:, None, None], index, np.arange(3)[None, None]), 1.0)
    np.testing.assert_array_equal(x.grad.numpy(), want)
    source = RANDOM.standard_normal((4, 9, 3))
    np.add.at(want := a.copy(), (np.arange(4)[:, None, None], index, np.arange(3)[None, None]), source)
    np.testing.assert_allclose(flambeau.scatter_add(tensor(a), 1, i, tensor(source)).numpy(), want, rtol=1e-12)
    y = flambeau.zeros(2, 3, dtype=flambeau.complex64).scatter(1, flambeau.tensor([[2], [0]]), 1 + 2j)
    assert y.tolist() == [[0, 0, 1 + 2j], [1 + 2j, 0, 0]]


@pytest.mark.parametrize("include", [False, True])
@pytest.mark.parametrize("reduce", ["sum", "prod", "mean", "amax", "amin"])
def test_scatter_reduce(reduce, include):
    a, source, index = RANDOM.standard_normal(5), RANDOM.standard_normal(12), RANDOM.integers(0, 4, 12)
    x, s = tensor(a, True), tensor(source, True)
    got = flambeau.scatter_reduce(x, 0, tensor(index), s, reduce, include_self=include)
    of = {"sum": np.sum, "prod": np.prod, "mean": np.mean, "amax": np.max, "amin": np.min}[reduce]
    groups = [[*([a[k]] if include or not (index == k).any() else []), *source[index == k]] for k in range(5)]
    np.testing.assert_allclose(got.detach().numpy(), [of(g) for g in groups], rtol=1e-12)
    run = lambda x, s: flambeau.scatter_reduce(x, 0, tensor(index), s, reduce, include_self=include)  # noqa: E731
    assert flambeau.autograd.gradcheck(run, (x, s))


def test_the_gradient_of_embedding_leaves_the_padding_out():
    w = tensor(RANDOM.standard_normal((6, 4)), True)
    index = flambeau.tensor([[1, 2, 2], [0, 5, 2]])
    F.embedding(index, w, padding_idx=2).sum().backward()
    assert w.grad.sum(1).tolist() == [4, 4, 0, 0, 0, 4]


def test_nonzero_of_blocks():
    a = RANDOM.random((3, 5, 1111)) < 0.3
    assert np.array_equal(flambeau.nonzero(tensor(a)).numpy(), np.argwhere(a))
    assert np.array_equal(tensor(a)[tensor(a)].numpy(), a[a])
    assert flambeau.nonzero(flambeau.tensor(3)).shape == (1, 0)


@pytest.mark.parametrize("channels_last", [False, True])
def test_pooling_in_both_layouts(channels_last):
    a = RANDOM.standard_normal((2, 3, 7, 9))
    x = tensor(a)
    if channels_last:
        x = x.contiguous(memory_format=flambeau.channels_last)
    x.requires_grad_()
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1))), (3, 3), (2, 3))
    mean = F.avg_pool2d(x, 3, 2, 1)
    np.testing.assert_allclose(mean.detach().numpy(), windows[:, :, ::2, ::2].mean((4, 5)), rtol=1e-12)
    low = np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    windows = np.lib.stride_tricks.sliding_window_view(low, (3, 3), (2, 3))
    values, at = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    assert np.array_equal(values.detach().numpy(), windows[:, :, ::2, ::2].max((4, 5)))
    assert np.array_equal(a.reshape(2, 3, -1)[np.arange(2)[:, None, None], np.arange(3)[:, None], at.numpy().reshape(2, 3, -1)], values.detach().numpy().reshape(2, 3, -1))  # fmt: skip
    for result in (mean, values, at, F.adaptive_avg_pool2d(x, 3), F.adaptive_max_pool2d(x, (2, 5))):
        assert result.is_contiguous(memory_format=flambeau.channels_last) is channels_last
    for pool in (
        lambda x: F.max_pool2d(x, 2),
        lambda x: F.avg_pool2d(x, 3, 2, 1),
        lambda x: F.adaptive_avg_pool2d(x, 4),
    ):
        assert flambeau.autograd.gradcheck(pool, (x,))


ERRORS = [
    (lambda t, x: x[t.tensor([5])], IndexError, "index 5 is out of bounds for dimension 0 with size 3"),
    (lambda t, x: x[t.tensor([0.5])], IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
    (
        lambda t, x: x[t.tensor([True])],
        IndexError,
        "The shape of the mask [1] at index 0 does not match the shape of the",
    ),
    (
        lambda t, x: x[t.zeros(2, dtype=t.int64), t.zeros(3, dtype=t.int64)],
        IndexError,
        "shape mismatch: indexing tensors",
    ),
    (
        lambda t, x: t.gather(x, 0, t.tensor([[5]])),
        RuntimeError,
        "index 5 is out of bounds for dimension 0 with size 3",
    ),
    (
        lambda t, x: t.gather(x, 0, t.tensor([5])),
        RuntimeError,
        "Index tensor must have the same number of dimensions as input",
    ),
    (
        lambda t, x: x.scatter_(0, t.tensor([[5]]), 1.0),
        RuntimeError,
        "index 5 is out of bounds for dimension 0 with size 3",
    ),
    (lambda t, x: x.scatter_(0, t.tensor([[0]]), 1j), RuntimeError, "value cannot be converted to type float without"),
    (lambda t, x: x.index_add_(0, t.tensor([7]), t.ones(1, 2)), RuntimeError, "index 7 is out of bounds for dimension 0"),
    (
        lambda t, x: x.index_copy_(0, t.tensor([7]), t.ones(1, 2)),
        IndexError,
        "index_copy_(): index 7 is out of bounds for",
    ),
    (
        lambda t, x: x.index_fill_(0, t.tensor([7]), 1),
        IndexError,
        "index 7 is out of bounds for dimension 0 with size 3",
    ),
    (
        lambda t, x: t.take(x, t.tensor([9])),
        IndexError,
        "out of range: tried to access index 9 on a tensor of 6 elements.",
    ),
    (lambda t, x: t.index_select(x, 0, t.tensor([-1])), IndexError, "index out of range in self"),
    (lambda t, x: F.embedding(t.tensor([5]), x), IndexError, "index out of range in self"),
    (
        lambda t, x: x.masked_scatter(x == 0, t.ones(1)),
        RuntimeError,
        "Number of elements of source < number of ones in mask",
    ),
    (lambda t, x: F.max_pool2d(x[None], 5), RuntimeError, "Given input size: (1x3x2). Calculated output size: (1x0x0)"),
    (
        lambda t, x: F.avg_pool2d(x[None], 2, padding=3),
        RuntimeError,
        "pad should be at most half of effective kernel size",
    ),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors_change_nothing(case):
    call, kind, sentence = ERRORS[case]
    x = flambeau.zeros(3, 2)
    with pytest.raises(kind) as caught:
        call(flambeau, x)
    assert sentence in str(caught.value) and x.sum().item() == 0 and x._version == 0


def test_messages_name_no_operator_that_users_cannot_call():
    x, at = flambeau.zeros(3, 2), flambeau.tensor([7])
    for call in (lambda: x.index_put((at,), x[0]), lambda: x.index_put_((at,), x[0]), lambda: x.__setitem__(at, 1)):
        with pytest.raises(IndexError) as caught:
            call()
        assert str(caught.value) == "index 7 is out of bounds for dimension 0 with size 3"


@pytest.mark.parametrize("options", [(2,), (3,), (3, 1), ((1, 3), 2), (2, 2, 0, True), (2, 1, 0, False, True, 3)])
def test_mean_pooling_of_small_windows_is_that_of_all_windows(options):
    values = np.random.default_rng(0).uniform(-1, 1, (2, 3, 9, 10))
    found = []
    for layout in (flambeau.contiguous_format, flambeau.channels_last):  # written out; general
        x = flambeau.from_numpy(values).clone(memory_format=layout).requires_grad_()
        y = F.avg_pool2d(x, *options)
        y.backward(flambeau.arange(y.numel(), dtype=flambeau.float64).reshape(y.shape))
        found.append((y.detach().numpy(), x.grad.numpy()))
    for small, general in zip(*found, strict=True):
        np.testing.assert_array_equal(small, general)
    window = flambeau.from_numpy(values).unfold(2, 2, 2).unfold(3, 2, 2)
    if options == (2,):
        np.testing.assert_allclose(found[0][0], window.numpy().mean((-1, -2)), rtol=1e-14)


@pytest.mark.parametrize("n", [7, 8, 2047, 2049, 40003])
@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.99, 1])
def test_masks_of_every_density(n, share):
    rng = np.random.default_rng(n)
    mask = rng.random((3, n)) < share
    ours = flambeau.from_numpy(mask)
    assert np.array_equal(flambeau.nonzero(ours).numpy(), np.argwhere(mask))
    assert np.array_equal(flambeau.nonzero(ours[1]).numpy(), np.argwhere(mask[1]))
    for dtype in ("u1", "i2", "f4", "f8", "c16"):
        x = rng.integers(0, 99, (3, n)).astype(dtype)
        assert np.array_equal(flambeau.from_numpy(x)[ours].numpy(), x[mask])
    assert np.array_equal(flambeau.unique_consecutive(ours[0]).numpy(), mask[0][np.diff(mask[0], prepend=~mask[0][:1])])


@pytest.mark.parametrize("count", [1, 2, 300])
@pytest.mark.parametrize("shape", [(6, 7), (1, 6, 7), (6, 1), (7,), (1, 7)])
@pytest.mark.parametrize("accumulate", [False, True])
def test_one_slice_for_all_positions(count, shape, accumulate):
    rng = np.random.default_rng(count)
    x, value = (rng.standard_normal(s, dtype="f4") for s in ((50, 6, 7), shape))
    at = rng.integers(0, 50, count)
    wanted = x.copy()
    if accumulate:
        np.add.at(wanted, at, value)
    else:
        wanted[at] = value
    got = flambeau.from_numpy(x).index_put_((flambeau.from_numpy(at),), flambeau.from_numpy(value), accumulate)
    np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-5)


def test_values_of_as_many_elements_as_a_slice_are_not_taken_for_one():
    x, at, values = np.zeros((10, 4), "f4"), np.array([3, 1, 2, 7]), np.arange(4, dtype="f4").reshape(4, 1)
    got = flambeau.from_numpy(x.copy())
    got[flambeau.from_numpy(at)] = flambeau.from_numpy(values)
    x[at] = values
    np.testing.assert_array_equal(got.numpy(), x)


def test_a_slice_of_what_is_written():
    x = flambeau.arange(20.0).reshape(5, 4)
    x[flambeau.tensor([0, 1, 3])] = x[1]
    np.testing.assert_array_equal(x.numpy(), np.arange(20, dtype="f4").reshape(5, 4)[[1, 1, 2, 1, 4]])


def test_positions_in_a_dimension_without_elements():
    for x in (flambeau.zeros(0, 0), flambeau.zeros(0, 3)):
        with pytest.raises(IndexError, match="index is out of bounds for dimension with size 0"):
            x[[0]]
        with pytest.raises(IndexError, match="index is out of bounds for dimension with size 0"):
            x[[0]] = 1
    none = flambeau.zeros(0, dtype=flambeau.int64)
    assert flambeau.zeros(0, 3)[none].shape == (0, 3) and flambeau.zeros(3, 0)[[2]].shape == (1, 0)


def test_positions_of_narrow_integers_unravel_to_int64():
    rows, columns = flambeau.unravel_index(flambeau.tensor([1, 5], dtype=flambeau.int32), (2, 3))
    assert rows.dtype == columns.dtype == flambeau.int64 and rows.tolist() == [0, 1] and columns.tolist() == [1, 2]


def test_splitting_at_positions_of_other_dtypes():
    with pytest.raises(RuntimeError, match="to have dtype of long, but got Int"):
        flambeau.tensor_split(flambeau.ones(4), flambeau.tensor([1], dtype=flambeau.int32))
    with pytest.raises(RuntimeError, match="zero-dimensional or one-dimensional tensor, but got a tensor with 2 dims"):
        flambeau.tensor_split(flambeau.ones(4), flambeau.tensor([[1]]))


def test_reductions_of_complex_numbers_into_places():
    x, at = flambeau.ones(2, dtype=flambeau.complex64), flambeau.tensor([0, 0])
    got = flambeau.zeros_like(x).scatter_reduce(0, at, flambeau.tensor([1j, 3j]), "mean", include_self=False)
    assert got.tolist() == [2j, 0]
    for include_self in (True, False):
        with pytest.raises(NotImplementedError, match="reduce_amin\" not implemented for 'ComplexFloat'"):
            x.scatter_reduce(0, at, x, "amin", include_self=include_self)


@pytest.mark.parametrize(
    ("name", "reduce", "empty"),
    [("sum", np.sum, 0), ("mean", np.mean, np.nan), ("max", np.max, -np.inf), ("min", np.min, np.inf), ("prod", np.prod, 1)],
)
def test_segments_are_reduced(name, reduce, empty):
    x = np.random.default_rng(0).standard_normal((2, 6, 3))
    lengths = np.array([[1, 0, 5], [2, 3, 1]])
    ends = np.cumsum(lengths, 1)
    want = np.full((2, 3, 3), float(empty))
    for row in range(2):
        for i, (end, length) in enumerate(zip(ends[row], lengths[row], strict=True)):
            if length:
                want[row, i] = reduce(x[row, end - length : end], axis=0)
    data = flambeau.from_numpy(x)
    found = flambeau.segment_reduce(data, name, lengths=flambeau.from_numpy(lengths), axis=1)
    np.testing.assert_allclose(found.numpy(), want)
    offsets = flambeau.from_numpy(np.pad(ends, ((0, 0), (1, 0))))
    np.testing.assert_allclose(flambeau.segment_reduce(data, name, offsets=offsets, axis=1).numpy(), want)
    given = flambeau.segment_reduce(data, name, lengths=flambeau.from_numpy(lengths), axis=1, initial=2.5)
    assert given[0, 1].tolist() == [2.5] * 3


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({}, "segment_reduce(): Either lengths or offsets must be defined."),
        ({"lengths": [1, 3]}, "segment_reduce(): Expected all rows of lengths along axis to sum to data.size"),
        ({"lengths": [-1, 7]}, "lengths contains negative value!"),
        ({"lengths": [[6]]}, "segment_reduce(): Expected axis to be the last dimension of lengths but got 0."),
    ],
)
def test_lengths_of_segments_are_checked(options, sentence):
    options = {name: flambeau.tensor(value) for name, value in options.items()}
    with pytest.raises(RuntimeError) as error:
        flambeau.segment_reduce(flambeau.ones(6), "sum", **options)
    assert str(error.value).startswith(sentence)
