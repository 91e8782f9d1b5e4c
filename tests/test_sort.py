"""Sorting, choosing by order, distinct elements, look-ups and counts against NumPy."""

import numpy as np
import pytest

import flambeau

nan, inf = float("nan"), float("inf")
DTYPES = ["float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool", "uint64"]


def tensor(dtype: str, shape, seed: int = 0):
    """Elements with many ties; floats with nan, infinities and both zeros."""
    random = np.random.default_rng(seed)
    if "float" in dtype:
        x = random.choice([0.0, -0.0, nan, inf, -inf, 1.5, -2.25, 3.0], shape).astype("f4")
    else:
        low = 0 if dtype[0] in "ub" else -3
        x = random.integers(low, 2 if dtype == "bool" else 4, shape).astype("i8")
        if dtype == "uint64":
            return flambeau.from_numpy(x.astype("u8") << np.uint64(62))
        if dtype == "int64":
            x *= 2**60
    return flambeau.from_numpy(np.asarray(x)).to(getattr(flambeau, dtype))


def array(t) -> np.ndarray:
    return (t.float() if t.dtype == flambeau.bfloat16 else t).numpy()


def stable_order(a: np.ndarray, axis: int, descending: bool) -> np.ndarray:
    """NumPy's own stable order; descending with equal elements in their order."""
    if not descending:
        return np.argsort(a, axis, kind="stable")
    n = a.shape[axis]
    return np.flip(n - 1 - np.argsort(np.flip(a, axis), axis, kind="stable"), axis)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sort_is_stable_and_puts_nan_last(dtype, descending):
    for shape, dim in (((40,), 0), ((7, 33), 1), ((7, 33), 0), ((3, 5, 4), 1), ((1, 9), 0), ((0, 3), 1), ((3, 0), 1)):
        x = tensor(dtype, shape)
        values, order = flambeau.sort(x, dim, descending)
        want = stable_order(array(x), dim, descending)
        assert order.dtype == flambeau.int64 and np.array_equal(order.numpy(), want)
        assert np.array_equal(
            array(values), np.take_along_axis(array(x), want, dim), equal_nan=array(x).dtype.kind == "f"
        )
        assert np.array_equal(flambeau.argsort(x, dim, descending).numpy(), want)
        assert np.array_equal(flambeau.argsort(x, dim=dim, descending=descending, stable=True).numpy(), want)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint64", "int32"])
def test_wide_keys(dtype):
    random = np.random.default_rng(1)
    kind = np.dtype(dtype)
    if kind.kind == "f":
        a = random.standard_normal((3, 1000)).astype(kind) * 10.0 ** random.integers(-30, 30, (3, 1000)).astype(kind)
        a[:, ::50] = a[:, :1]
    else:
        info = np.iinfo(kind)
        a = random.integers(info.min, info.max, (3, 1000), dtype=kind, endpoint=True)
        a[:, ::50], a[0, :2] = a[:, :1], (info.min, info.max)
    x = flambeau.from_numpy(a)
    for descending in (False, True):
        want = stable_order(a, 1, descending)
        assert np.array_equal(flambeau.argsort(x, 1, descending).numpy(), want)
        assert np.array_equal(flambeau.topk(x, 17, 1, descending)[0].numpy(), np.take_along_axis(a, want, 1)[:, :17])


def test_named_results_and_scalars():
    result = flambeau.sort(flambeau.tensor([3.0, 1.0]))
    assert result.values.tolist() == [1.0, 3.0] and result.indices.tolist() == [1, 0]
    assert flambeau.sort(flambeau.tensor(2.0)).values.item() == 2.0
    assert flambeau.tensor([2.0, 1.0]).sort(descending=True)[1].tolist() == [0, 1]
    assert flambeau.msort(flambeau.tensor([[2.0, 1.0], [1.0, 3.0]])).tolist() == [[1.0, 1.0], [2.0, 3.0]]


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32", "bfloat16"])
@pytest.mark.parametrize("length", [1, 4, 5, 15, 16, 17, 31, 33, 64, 128, 129])
def test_every_rank_of_short_rows(length, dtype):
    x = np.random.default_rng(length).integers(-length // 2, length // 2 + 1, (3, length))  # many are equal
    order, rows = np.argsort(x, axis=1, kind="stable"), flambeau.tensor(x).to(getattr(flambeau, dtype))
    for k in range(1, length + 1):
        values, at = flambeau.kthvalue(rows, k, 1)
        if length > 10:  # among equal elements of shorter ones, that of PyTorch is found
            assert at.tolist() == order[:, k - 1].tolist()
        assert values.tolist() == np.sort(x, axis=1)[:, k - 1].tolist()
        assert x[range(3), at.tolist()].tolist() == values.tolist()


@pytest.mark.parametrize("dtype", [d for d in DTYPES if d not in ("bool", "uint64")])
def test_chosen_by_order(dtype):
    x = tensor(dtype, (6, 21), 2)
    a = array(x)
    ranked = np.sort(a, 1)
    same = lambda t, w: np.array_equal(array(t), w, equal_nan=True)  # noqa: E731
    for k in (0, 1, 4, 21):
        values, at = flambeau.topk(x, k)
        assert same(values, np.take_along_axis(a, stable_order(a, 1, True), 1)[:, :k])
        assert same(values, np.take_along_axis(a, at.numpy(), 1))
        assert same(flambeau.topk(x, k, largest=False)[0], ranked[:, :k])
    for k in (1, 7, 21):
        value, at = flambeau.kthvalue(x, k, 1)
        assert same(value, ranked[:, k - 1]) and same(value, np.take_along_axis(a, at.numpy()[:, None], 1)[:, 0])
    values, at = x.median(1, keepdim=True)
    assert values.shape == (6, 1) and same(values, np.take_along_axis(a, at.numpy(), 1))
    whole = np.array([r[-1] if r[-1] != r[-1] else r[10] for r in ranked])
    assert same(values.squeeze(1), whole)
    skipped = [r[r == r] for r in ranked]
    assert same(x.nanmedian(1)[0], np.array([r[(len(r) - 1) // 2] for r in skipped]))


def test_mode_takes_the_least_of_the_most_frequent():
    assert [t.item() for t in flambeau.mode(flambeau.tensor([1, 2, 2, 1, 3, 1, 2]))] == [1, 5]
    assert flambeau.mode(flambeau.tensor([1.0, nan, nan]))[0].item() == 1.0
    values, at = flambeau.mode(flambeau.tensor([[1, 1, 0], [0, 2, 2]]), 0)
    assert values.tolist() == [0, 1, 0] and at.tolist() == [1, 0, 0]


def test_gradients_follow_the_order():
    x = flambeau.tensor([[3.0, 1.0, 2.0]], requires_grad=True)
    w = flambeau.tensor([[1.0, 10.0, 100.0]])
    (flambeau.sort(x)[0] * w).sum().backward()
    assert x.grad.tolist() == [[100.0, 1.0, 10.0]]
    x.grad = None
    (flambeau.topk(x, 2)[0] * w[:, :2]).sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 10.0]]
    x.grad = None
    x.max(1)[0].sum().backward()
    assert x.grad.tolist() == [[1.0, 0.0, 0.0]]
    y = flambeau.tensor([1.0, 2.0, 2.0, 3.0], requires_grad=True)
    y.median().backward()
    assert y.grad.tolist() == [0.0, 0.5, 0.5, 0.0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_unique(dtype):
    x = tensor(dtype, (5, 9), 3)
    a = array(x)
    values, inverse, counts = flambeau.unique(x, return_inverse=True, return_counts=True)
    want, want_counts = np.unique(a, return_counts=True, equal_nan=False)
    assert np.array_equal(array(values), want, equal_nan=a.dtype.kind == "f")
    assert np.array_equal(counts.numpy(), want_counts)
    assert np.array_equal(array(values)[inverse.numpy()], a, equal_nan=a.dtype.kind == "f")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64])
@pytest.mark.parametrize("spread", [1, 2**40])
def test_unique_integers_close_together_and_far_apart(dtype, spread):
    a = (np.random.default_rng(0).integers(-60, 60, (37, 5)) * spread).astype(dtype)
    values, counts = flambeau.unique(flambeau.from_numpy(a), return_counts=True)
    want, want_counts = np.unique(a, return_counts=True)
    assert np.array_equal(values.numpy(), want) and values.numpy().dtype == dtype
    assert np.array_equal(counts.numpy(), want_counts)
    assert np.array_equal(flambeau.from_numpy(a).t().unique().numpy(), want)
    nothing = flambeau.zeros(0, dtype=values.dtype)
    assert nothing.unique().numel() == 0 and nothing.unique(return_counts=True)[1].numel() == 0


def test_unique_slices():
    a = np.random.default_rng(4).integers(-1, 2, (40, 3))
    for dim in (0, 1):
        x = flambeau.from_numpy(a if dim == 0 else np.ascontiguousarray(a.T))
        values, inverse, counts = flambeau.unique(x, return_inverse=True, return_counts=True, dim=dim)
        want = np.unique(a, axis=0, return_inverse=True, return_counts=True)
        assert np.array_equal(values.numpy() if dim == 0 else values.numpy().T, want[0])
        assert np.array_equal(inverse.numpy(), want[1].reshape(-1)) and np.array_equal(counts.numpy(), want[2])


def test_unique_slices_of_no_rows():
    values, inverse, counts = flambeau.unique(flambeau.ones(0, 3), dim=0, return_inverse=True, return_counts=True)
    assert values.shape == (0, 3) and inverse.shape == counts.shape == (0,)


def test_unique_neighbours():
    x = flambeau.tensor([1.0, 1, 2, 2, 1, nan, nan])
    values, inverse, counts = flambeau.unique_consecutive(x, return_inverse=True, return_counts=True)
    assert np.array_equal(values.numpy(), [1, 2, 1, nan, nan], equal_nan=True)
    assert inverse.tolist() == [0, 0, 1, 1, 2, 3, 4] and counts.tolist() == [2, 2, 1, 1, 1]
    assert flambeau.unique_consecutive(flambeau.zeros(0), return_counts=True)[1].tolist() == []


@pytest.mark.parametrize("right", [False, True])
def test_searchsorted(right):
    random = np.random.default_rng(5)
    side = "right" if right else "left"
    for dtype in (np.float32, np.int64, np.uint8):
        a = np.sort(random.integers(0, 30, (4, 17)).astype(dtype), 1)
        x = random.integers(0, 33, (4, 6)).astype(dtype)
        got = flambeau.searchsorted(flambeau.from_numpy(a), flambeau.from_numpy(x), right=right)
        assert np.array_equal(got.numpy(), [np.searchsorted(r, v, side) for r, v in zip(a, x, strict=True)])
        got = flambeau.bucketize(flambeau.from_numpy(x), flambeau.from_numpy(a[0]), right=right, out_int32=True)
        assert got.dtype == flambeau.int32 and np.array_equal(got.numpy(), np.searchsorted(a[0], x, side))
    messy = random.permutation(a[0].astype("f4"))
    order = flambeau.from_numpy(np.argsort(messy, kind="stable"))
    got = flambeau.searchsorted(flambeau.from_numpy(messy), flambeau.tensor([3.0, nan]), side=side, sorter=order)
    assert got.tolist() == [np.searchsorted(np.sort(messy), 3.0, side), 17]
    assert flambeau.searchsorted(flambeau.tensor([1, 2, 3]), 2.5).item() == 2
    assert flambeau.searchsorted(flambeau.zeros(0), flambeau.tensor([1.0])).tolist() == [0]


def test_isin():
    random = np.random.default_rng(6)
    for count in (0, 3, 40):
        x, tests = random.integers(0, 60, (3, 20)), random.integers(0, 60, count)
        got = flambeau.isin(flambeau.from_numpy(x), flambeau.from_numpy(tests))
        assert np.array_equal(got.numpy(), np.isin(x, tests))
    assert flambeau.isin(flambeau.tensor([1, 2]), 2, invert=True).tolist() == [True, False]
    assert flambeau.isin(2, flambeau.tensor([2, 5])).item() is True
    assert flambeau.isin(flambeau.tensor([nan]), flambeau.tensor([nan])).tolist() == [False]


@pytest.mark.parametrize("high", [1, 1024, 1025])
@pytest.mark.parametrize("minlength", [0, 1500])
def test_counts_of_many(high, minlength):
    x = np.random.default_rng(9).integers(0, high, 70003)
    t = flambeau.from_numpy(x)
    assert np.array_equal(flambeau.bincount(t, minlength=minlength).numpy(), np.bincount(x, minlength=minlength))
    t[69000] = -1
    with pytest.raises(RuntimeError, match="non-negative"):
        flambeau.bincount(t)


def test_counts():
    x = np.random.default_rng(7).integers(0, 12, 200)
    w = np.random.default_rng(8).random(200)
    t = flambeau.from_numpy(x)
    assert np.array_equal(flambeau.bincount(t, minlength=20).numpy(), np.bincount(x, minlength=20))
    np.testing.assert_allclose(flambeau.bincount(t, flambeau.from_numpy(w)).numpy(), np.bincount(x, w))
    assert flambeau.bincount(flambeau.zeros(0, dtype=flambeau.int64), minlength=2).tolist() == [0, 0]
    y = flambeau.from_numpy(w)
    np.testing.assert_array_equal(flambeau.histc(y, 7, 0, 1).numpy(), np.histogram(w, 7, (0, 1))[0])
    assert flambeau.histc(flambeau.tensor([1.0, 1.0]), 4).tolist() == [0, 0, 2, 0]
    half = flambeau.tensor([1.0, nan, float("inf"), 3.0], dtype=flambeau.bfloat16)
    for x in (flambeau.tensor([1.0, nan, float("inf"), 3.0]), half):
        assert flambeau.histc(x, 4, 0, 3).tolist() == [0, 1, 0, 1]
    z = np.random.default_rng(9).random(70_000, np.float32)
    assert np.array_equal(flambeau.histc(flambeau.from_numpy(z), 64, 0, 1).numpy(), np.histogram(z, 64, (0, 1))[0])


@pytest.mark.parametrize("how", ["linear", "lower", "higher", "midpoint", "nearest"])
def test_quantiles(how):
    a = np.random.default_rng(9).standard_normal((5, 8))
    x, q = flambeau.from_numpy(a), [0.0, 0.1, 0.5, 0.83, 1.0]
    levels = flambeau.tensor(q, dtype=flambeau.float64)
    for dim in (None, 0, 1):
        got = flambeau.quantile(x, levels, dim, interpolation=how)
        np.testing.assert_allclose(got.numpy(), np.quantile(a, q, dim, method=how), rtol=1e-12)
    holed = a.copy()
    holed[1, 2:] = nan
    got = flambeau.nanquantile(flambeau.from_numpy(holed), levels, 1, True, interpolation=how)
    np.testing.assert_allclose(got.numpy(), np.nanquantile(holed, q, 1, method=how, keepdims=True), rtol=1e-12)
    assert np.isnan(flambeau.quantile(flambeau.from_numpy(holed), 0.5, 1).numpy()).tolist() == [0, 1, 0, 0, 0]


ERRORS = [
    (lambda t, x: t.sort(x, 5), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 5)"),
    (lambda t, x: t.sort(x.to(t.complex64)), RuntimeError, "Sort does not support complex dtypes on CPU"),
    (lambda t, x: t.topk(x, 5), RuntimeError, "selected index k out of range"),
    (lambda t, x: t.topk(x, -1), RuntimeError, "selected index k out of range"),
    (lambda t, x: t.kthvalue(x, 0), RuntimeError, "kthvalue(): selected number k out of range for dimension 1"),
    (lambda t, x: t.kthvalue(t.zeros(0), 1), IndexError, "kthvalue(): Expected reduction dim 0 to have non-zero size."),
    (lambda t, x: t.median(x > 0), NotImplementedError, "\"median_cpu\" not implemented for 'Bool'"),
    (lambda t, x: t.unique(t.zeros(0, 3), dim=1), RuntimeError, "There are 0 sized dimensions"),
    (
        lambda t, x: t.searchsorted(x[0], x[0], side="foo"),
        RuntimeError,
        "side can only be 'left' or 'right' but got foo",
    ),
    (lambda t, x: t.searchsorted(x, t.zeros(3)), RuntimeError, "the first N-1 dimensions of boundaries tensor"),
    (lambda t, x: t.searchsorted(x[0], x[0], sorter=t.tensor([0, 1, 2, 9])), RuntimeError, "sorter index out of range"),
    (lambda t, x: t.bucketize(x, x), RuntimeError, "boundaries tensor must be 1 dimension, but got dim(2)"),
    (
        lambda t, x: t.bincount(t.tensor([1, -2])),
        RuntimeError,
        "bincount only supports 1-d non-negative integral inputs.",
    ),
    (lambda t, x: t.bincount(t.tensor([1]), minlength=-1), RuntimeError, "minlength should be >= 0"),
    (lambda t, x: t.histc(x, 4, 3, 1), RuntimeError, "torch.histc: max must be larger than min"),
    (lambda t, x: t.isin(x > 0, x > 0), RuntimeError, "Unsupported input type encountered for isin(): Bool"),
    (lambda t, x: t.quantile(x, 1.4), RuntimeError, "quantile() q must be in the range [0, 1] but got 1.4"),
    (lambda t, x: t.quantile(x, 0.4, interpolation="foo"), RuntimeError, "interpolation must be one of linear, lower"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case):
    call, kind, sentence = ERRORS[case]
    with pytest.raises(kind) as caught:
        call(flambeau, flambeau.ones(3, 4))
    assert sentence in str(caught.value)


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 5, 32, 33, 50])
def test_topk_keeps_the_order_of_ties_however_many_are_wanted(k, largest):
    values = np.random.default_rng(k).integers(0, 9, (7, 50)).astype(np.float32)
    values[0, ::3], values[1], values[2, :4] = np.nan, 1.0, [np.inf, -np.inf, -0.0, 0.0]
    key = np.nan_to_num(values, nan=1e9, posinf=1e8, neginf=-1e8)
    order = np.argsort(-key if largest else key, axis=1, kind="stable")[:, :k]
    for x, dim in ((flambeau.from_numpy(values), 1), (flambeau.from_numpy(values.T.copy()), 0)):
        got, where = x.topk(k, dim, largest)
        want = order if dim else order.T
        assert (where.numpy() == want).all()
        np.testing.assert_array_equal(got.numpy(), np.take_along_axis(x.numpy(), want, dim))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8"])
@pytest.mark.parametrize("order", ["mixed", "rising", "falling", "alike"])
def test_few_of_many_in_any_order(order, dtype):
    values = np.random.default_rng(0).standard_normal(5000) * 100
    values = {"mixed": values, "rising": np.sort(values), "falling": -np.sort(-values), "alike": values * 0}[order]
    values = np.abs(values).astype(dtype)
    for k in (33, 70, 100, 600):
        for largest in (True, False):
            wanted = np.argsort(-values.astype("f8") if largest else values, kind="stable")[:k]
            got, where = flambeau.from_numpy(values).topk(k, 0, largest)
            assert np.array_equal(where.numpy(), wanted) and np.array_equal(got.numpy(), values[wanted])


@pytest.mark.parametrize("operator", ["cumsum", "cumprod", "logcumsumexp"])
def test_running_totals_of_many_lines_are_those_of_one(operator):
    x = flambeau.from_numpy(np.random.default_rng(0).uniform(-2, 2, (3, 19, 300)))
    together = getattr(flambeau, operator)(x, 1)
    for j in range(300):
        assert (getattr(flambeau, operator)(x[:, :, j].contiguous(), 1) == together[:, :, j]).all()


@pytest.mark.parametrize("values", [[True], [False], [True, False], [False, True, True] * 50])
def test_distinct_bools(values):
    x = flambeau.tensor(values)
    want, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    assert flambeau.unique(x).tolist() == want.tolist()
    assert [t.tolist() for t in flambeau.unique(x, return_counts=True)] == [want.tolist(), counts.tolist()]
    found = flambeau.unique(x, return_inverse=True, return_counts=True)
    assert [t.tolist() for t in found] == [want.tolist(), places.tolist(), counts.tolist()]


def test_kthvalue_of_short_rows_finds_the_one_of_equal_elements_that_pytorch_finds():
    """Recorded from PyTorch 2.13."""
    x = flambeau.tensor([[2, 3, 1, 1, 2, 3, 1, 2], [1, 1, 2, 2, 3, 3, 3, 0], [2, 3, 0, 1, 0, 2, 2, 3]])
    for dtype in (flambeau.int64, flambeau.float32, flambeau.bfloat16, flambeau.uint8):
        for k, want in ((1, [3, 7, 2]), (3, [2, 0, 3]), (4, [0, 3, 6]), (8, [1, 5, 7])):
            values, at = x.to(dtype).kthvalue(k)
            assert at.tolist() == want and values.tolist() == x.sort()[0][:, k - 1].tolist()


@pytest.mark.parametrize("n", [1, 2, 7, 10, 11, 128, 129, 3000])
@pytest.mark.parametrize("dtype", ["f4", "i8", "u1"])
def test_the_mode_of_rows_of_all_lengths(n, dtype):
    x = np.random.default_rng(n).integers(0, max(2, n // 3), (4, n)).astype(dtype)
    values, at = flambeau.mode(flambeau.from_numpy(x))
    for row, value, place in zip(x, values.tolist(), at.tolist(), strict=True):
        distinct, counts = np.unique(row, return_counts=True)
        assert value == distinct[counts.argmax()] and place == np.flatnonzero(row == value)[-1]
    columns, places = flambeau.mode(flambeau.from_numpy(x.T.copy()), 0, keepdim=True)
    assert columns.tolist() == [values.tolist()] and places.tolist() == [at.tolist()]


@pytest.mark.parametrize("dtype, bound", [("complex64", 2e-6), ("complex128", 1e-14)])
def test_gradients_of_logcumsumexp_of_large_complex_numbers(dtype, bound):
    rng = np.random.default_rng(0)
    x, g = (rng.standard_normal((6, 5)) + 1j * rng.standard_normal((6, 5)) for _ in range(2))
    x[0] += 1e4
    x, g = x.astype(dtype), g.astype(dtype)
    t = flambeau.from_numpy(x).requires_grad_()
    (got,) = flambeau.autograd.grad(flambeau.logcumsumexp(t, 0), t, flambeau.from_numpy(g))
    wide, top = x.astype("c16"), x.real.max(0)
    sums = np.cumsum(np.exp(wide - top), 0)
    want = [(g[i:] * np.conj(np.exp(wide[i] - top) / sums[i:])).sum(0) for i in range(6)]
    np.testing.assert_allclose(got.numpy(), want, rtol=bound, atol=bound)
