"""Joining, padding, repeating, scans and differences against NumPy; gradients by finite differences."""

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F
from flambeau.ops.names import operators

RANDOM = np.random.default_rng(0)


def pair(*shape):
    """The same random elements as an array and as a tensor."""
    a = RANDOM.standard_normal(shape)
    return a, flambeau.from_numpy(a.copy())


def check(ours, theirs, *shapes) -> None:
    """Values of both on the same operands, and the gradient of the first."""
    arrays, tensors = zip(*(pair(*s) for s in shapes), strict=True)
    np.testing.assert_allclose(ours(*tensors).numpy(), theirs(*arrays), rtol=1e-12)
    assert gradcheck(ours, tuple(t.clone().requires_grad_() for t in tensors))


def test_joining():
    check(lambda a, b, c: flambeau.cat([a, b, c], 1), lambda *x: np.concatenate(x, 1), (2, 3), (2, 0), (2, 2))
    check(lambda a, b: flambeau.stack([a, b], -1), lambda *x: np.stack(x, -1), (2, 3), (2, 3))
    check(lambda a, b: flambeau.hstack([a, b]), lambda *x: np.hstack(x), (2, 3), (2, 1))
    check(lambda a, b: flambeau.column_stack([a, b]), lambda *x: np.column_stack(x), (3,), (3, 2))
    mixed = flambeau.cat([flambeau.ones(2, dtype=flambeau.int64), flambeau.zeros(1)])
    assert mixed.dtype == flambeau.float32 and mixed.tolist() == [1, 1, 0]
    x = flambeau.ones(2, 3, 4, 5).contiguous(memory_format=flambeau.channels_last)
    assert flambeau.cat([x, x], 1).is_contiguous(memory_format=flambeau.channels_last)
    blocks = flambeau.block_diag(flambeau.ones(1, 2), flambeau.ones(2, 1) * 2, flambeau.tensor(3.0))
    assert blocks.tolist() == [[1, 1, 0, 0], [0, 0, 2, 0], [0, 0, 2, 0], [0, 0, 0, 3]]


@pytest.mark.parametrize("call", [flambeau.cat, flambeau.stack])
def test_gradients_of_thousands_of_operands(call):
    """As many as a recurrent network has steps, and more than a gradient may nest sums of sizes."""
    operands = [flambeau.tensor([[float(i % 7)]], requires_grad=True) for i in range(3000)]
    joined = call(operands, 1)
    weights = flambeau.arange(3000.0).view(joined.shape)
    gradients = flambeau.autograd.grad((joined.square() * weights).sum(), operands, create_graph=True)
    assert [g.item() for g in gradients] == [2.0 * i * (i % 7) for i in range(3000)]
    second = flambeau.autograd.grad(sum(g.sum() for g in gradients[2000:]), operands, allow_unused=True)
    assert [g.item() for g in second] == [2.0 * i * (i >= 2000) for i in range(3000)]


def test_gradients_of_what_is_joined_with_others():
    """Operands of another dtype, without elements, and without a gradient."""
    x, wide, nothing = flambeau.ones(2, 2), flambeau.ones(1, 2, dtype=flambeau.float64), flambeau.ones(0)
    empty, still = flambeau.ones(0, 2), flambeau.ones(1, 2)
    operands = [t.requires_grad_() for t in (nothing, x, wide, empty)]
    joined = flambeau.cat([nothing, x, still, wide, empty, x], -2)
    gradients = flambeau.autograd.grad((joined * flambeau.arange(12.0).view(6, 2)).sum(), operands)
    assert [g.dtype for g in gradients] == [t.dtype for t in operands]
    assert [g.tolist() for g in gradients] == [[], [[8.0, 10.0], [12.0, 14.0]], [[6.0, 7.0]], []]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_padding_of_edges(mode):
    of = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}[mode]
    check(lambda x: F.pad(x, (2, 1, 0, 3), mode), lambda a: np.pad(a, ((0, 0), (0, 3), (2, 1)), of), (2, 4, 5))
    check(lambda x: F.pad(x, (-1, 2), mode), lambda a: np.pad(a[..., 1:], ((0, 0), (0, 2)), of), (2, 6))
    around = ((0, 0), (1, 0), (1, 2), (2, 3))
    check(lambda x: F.pad(x, (2, 3, 1, 2, 1, 0), mode), lambda a: np.pad(a, around, of), (2, 3, 4, 5))
    turned = (lambda x: F.pad(x.mT, (1, 2), mode), lambda a: np.pad(a.swapaxes(1, 2), ((0, 0), (0, 0), (1, 2)), of))
    check(*turned, (2, 3, 4))
    assert F.pad(flambeau.zeros(0, 3, 4), (1, 1), mode).shape == (0, 3, 6)
    for dtype in (flambeau.bool, flambeau.int16, flambeau.bfloat16, flambeau.complex128):
        x = flambeau.arange(12).reshape(3, 4).to(dtype)
        wide = F.pad(x, (3, 2), mode)
        assert wide.dtype is dtype and flambeau.equal(
            wide.to(flambeau.complex64), F.pad(x.to(flambeau.complex64), (3, 2), mode)
        )


def test_padding_with_a_constant():
    check(
        lambda x: F.pad(x, (1, 2, 0, 1), value=3.0), lambda a: np.pad(a, ((0, 1), (1, 2)), constant_values=3.0), (2, 3)
    )
    check(lambda x: F.pad(x, (-1, 1)), lambda a: np.pad(a[:, 1:], ((0, 0), (0, 1))), (2, 3))


def test_repeating_and_rolling():
    check(lambda x: x.repeat(2, 3, 1), lambda a: np.tile(a, (2, 3, 1)), (2, 3))
    for shifts, dims in (((1, -2), (0, 1)), ((1, 1, 7), (0, -2, 1)), ((4,), (1,)), ((3, 8), (0, 1)), ((-5,), None)):
        check(lambda x, s=shifts, d=dims: flambeau.roll(x, s, d), lambda a, s=shifts, d=dims: np.roll(a, s, d), (3, 4))
    counts = np.array([2, 0, 3])
    t = flambeau.from_numpy(counts)
    check(lambda x: flambeau.repeat_interleave(x, t, 0), lambda a: np.repeat(a, counts, 0), (3, 2))
    assert flambeau.repeat_interleave(t).tolist() == [0, 0, 2, 2, 2]
    check(lambda x: flambeau.flip(x, (0, 2)), lambda a: np.flip(a, (0, 2)), (2, 3, 4))


def test_grids_and_choices():
    x, y = flambeau.arange(2), flambeau.arange(3)
    for order in ("ij", "xy"):
        for got, want in zip(
            flambeau.meshgrid(x, y, indexing=order), np.meshgrid(range(2), range(3), indexing=order), strict=True
        ):
            assert np.array_equal(got.numpy(), want)
    assert flambeau.cartesian_prod(x, y).tolist() == [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    assert flambeau.combinations(y).tolist() == [[0, 1], [0, 2], [1, 2]]
    assert flambeau.combinations(x, 3, True).tolist() == [[0, 0, 0], [0, 0, 1], [0, 1, 1], [1, 1, 1]]
    assert F.one_hot(flambeau.tensor([2, 0]), 4).tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_scans(dim):
    check(lambda x: flambeau.cumsum(x, dim), lambda a: np.cumsum(a, dim), (3, 4, 5))
    check(lambda x: flambeau.cumprod(x, dim), lambda a: np.cumprod(a, dim), (2, 3, 4))
    check(lambda x: flambeau.logcumsumexp(x, dim), lambda a: np.logaddexp.accumulate(a, dim), (3, 4, 5))
    check(lambda x: flambeau.cummax(x, dim)[0], lambda a: np.maximum.accumulate(a, dim), (3, 4, 5))
    check(lambda x: flambeau.diff(x, 2, dim), lambda a: np.diff(a, 2, dim), (3, 4, 5))
    check(lambda x: flambeau.trapezoid(x, dx=0.5, dim=dim), lambda a: np.trapezoid(a, dx=0.5, axis=dim), (3, 4, 5))


def test_scans_at_the_edges():
    inf, nan = float("inf"), float("nan")
    x = flambeau.tensor([-inf, 1.0, inf, 2.0])
    assert flambeau.logcumsumexp(x, 0).tolist() == [-inf, 1.0, inf, inf]
    assert flambeau.logcumsumexp(flambeau.tensor([1e4, 1e4]), 0)[1].item() == pytest.approx(1e4 + np.log(2))
    values, at = flambeau.cummax(flambeau.tensor([1.0, 3.0, 3.0, nan, 2.0]), 0)
    assert at.tolist() == [0, 1, 2, 3, 3] and np.array_equal(values.numpy(), [1, 3, 3, nan, nan], equal_nan=True)
    assert flambeau.cumsum(flambeau.tensor([True, True]), 0).tolist() == [1, 2]
    x = flambeau.tensor([[2.0, 0.0, 3.0]], requires_grad=True)
    flambeau.cumprod(x, 1).sum().backward()
    assert x.grad.tolist() == [[1.0, 8.0, 0.0]]


@pytest.mark.parametrize(
    ("shape", "dim"), [((6,), 0), ((2, 5), -1), ((5, 2), 0), ((4, 20), 0), ((0, 3), 0), ((3, 0), 0)]
)
@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.complex128])
def test_gradients_of_running_products_with_zeros(shape, dim, dtype):
    flambeau.manual_seed(0)
    x = flambeau.randn(*shape, dtype=dtype)
    x[..., :1] = 0
    x.requires_grad_()
    f = lambda v: flambeau.cumprod(v, dim)  # noqa: E731
    assert gradcheck(f, x)
    assert gradgradcheck(f, x)
    g = flambeau.randn(*shape, dtype=dtype)
    (got,) = flambeau.autograd.grad(f(x), x, g)
    a, want = x.detach().numpy(), np.zeros(shape, x.detach().numpy().dtype)
    lines, into, seeds = (np.moveaxis(v, dim, -1) for v in (a, want, g.numpy()))
    for i in range(lines.shape[-1]):
        others = np.concatenate([lines[..., :i], np.ones_like(lines[..., i : i + 1]), lines[..., i + 1 :]], -1)
        into[..., i] = np.sum((seeds * np.cumprod(others, -1).conj())[..., i:], -1)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [flambeau.float64, flambeau.complex128])
def test_linear_recurrences_of_some_lines_and_of_many(dtype):
    flambeau.manual_seed(0)
    run = lambda t, f: operators.linear_recurrence(t, f, 0)  # noqa: E731
    for width in (3, 20):
        t, f = (flambeau.randn(5, width, dtype=dtype, requires_grad=True) for _ in range(2))
        want = [t[0]]
        for i in range(1, 5):
            want.append(t[i] + f[i] * want[-1])
        assert flambeau.allclose(run(t, f), flambeau.stack(want), rtol=1e-13)
        assert gradcheck(run, (t, f))
        assert gradgradcheck(run, (t, f))


@pytest.mark.parametrize("dtype", ["f4", "f8", "f2", "i1", "i8", "u1", "?"])
@pytest.mark.parametrize("shape", [(2, 50, 1), (3, 7, 5), (2, 9, 300)])
def test_running_extremes(dtype, shape):
    """Of lines one by one and of neighbouring lines together: the last of equals, the last nan, zeros with their sign."""
    edges = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 1.0, -1.0], np.float64)
    floating = np.dtype(dtype).kind == "f"
    a = (RANDOM.choice(edges, shape) if floating else RANDOM.integers(0, 2 if dtype == "?" else 5, shape)).astype(dtype)
    for name, better in (("cummax", np.greater_equal), ("cummin", np.less_equal)):
        values, at = getattr(flambeau, name)(flambeau.from_numpy(a), 1)
        best, place = a[:, 0], np.zeros((shape[0], shape[2]), np.int64)
        for i in range(shape[1]):
            take = better(a[:, i], best) | (a[:, i] != a[:, i])
            best, place = np.where(take, a[:, i], best), np.where(take, i, place)
            assert np.array_equal(at[:, i].numpy(), place)
            assert np.array_equal(values[:, i].numpy(), best, equal_nan=floating)
            assert np.array_equal(np.signbit(values[:, i].float().numpy()), np.signbit(best.astype("f4")))


@pytest.mark.parametrize("rows, columns", [(5, 3), (3, 7), (4, 4), (0, 3), (3, 0)])
def test_indices_of_triangles(rows, columns):
    for offset in (-9, -4, -3, -1, 0, 2, 3, 5, 9):
        for ours, theirs in ((flambeau.tril_indices, np.tril_indices), (flambeau.triu_indices, np.triu_indices)):
            want = np.array(theirs(rows, offset, columns))
            assert np.array_equal(ours(rows, columns, offset).numpy(), want)
            assert np.array_equal(ours(rows, columns, offset, dtype=flambeau.int32).numpy(), want.astype(np.int32))


def test_triangles_far_from_the_diagonal():
    for offset in (2**63 - 1, -(2**63)):
        for ours, is_whole in ((flambeau.tril_indices, offset > 0), (flambeau.triu_indices, offset < 0)):
            want = np.indices((3, 4)).reshape(2, -1) if is_whole else np.empty((2, 0))
            assert np.array_equal(ours(3, 4, offset).numpy(), want)
    assert flambeau.tril_indices(2**40, 0).shape == (2, 0)


def test_corners_of_huge_triangles():
    n = 2**62
    assert flambeau.tril_indices(n, 2, 2 - n).tolist() == [[n - 2, n - 1, n - 1], [0, 0, 1]]
    assert flambeau.triu_indices(2, n, n - 2).tolist() == [[0, 0, 1], [n - 2, n - 1, n - 1]]
    assert flambeau.triu_indices(2**63 - 1, 2).tolist() == flambeau.triu_indices(2, 2).tolist()
    assert flambeau.tril_indices(2, 2**63 - 1).tolist() == flambeau.tril_indices(2, 2).tolist()
    with pytest.raises(RuntimeError, match="Storage size calculation overflowed"):
        flambeau.triu_indices(n, n)


@pytest.mark.parametrize("name, lower", [("tril", True), ("triu", False)])
def test_triangles_of_matrices(name, lower):
    reference = getattr(np, name)
    whole = flambeau.arange(70, dtype=flambeau.float32).reshape(2, 5, 7) + 1
    for x in (whole, whole.mT, whole[:, :, ::2], whole.to(flambeau.complex64), whole > 20, whole.half()):
        for diagonal in (-(2**63), -3, 0, 1, 6, 2**63 - 1):
            want = reference(x.numpy(), min(max(diagonal, -99), 99))
            result = getattr(flambeau, name)(x, diagonal)
            assert result.is_contiguous() and np.array_equal(result.numpy(), want)
            changed = x.clone(memory_format=flambeau.preserve_format)
            assert getattr(changed, name + "_")(diagonal) is changed
            assert changed.stride() == x.clone().stride() and np.array_equal(changed.numpy(), want)
    assert getattr(flambeau, name)(flambeau.zeros(0, 3)).shape == (0, 3)
    with pytest.raises(RuntimeError, match=f"{name}: input tensor must have at least 2 dimensions"):
        getattr(flambeau, name)(flambeau.zeros(3))


def test_triangles_on_a_device():
    assert flambeau.tril_indices(3, 3).device.type == "cpu"
    assert flambeau.tril_indices(3, 3, device="meta").device.type == "meta"
    with flambeau.device("meta"):
        assert flambeau.triu_indices(3, 4).device.type == flambeau.tril_indices(3, 3).device.type == "meta"
    assert flambeau.tril_indices(3, 3).tolist() == [[0, 1, 1, 2, 2, 2], [0, 0, 1, 0, 1, 2]]


ERRORS = [
    (lambda t, x: t.cat([x, t.zeros(2)]), RuntimeError, "Tensors must have same number of dimensions: got 2 and 1"),
    (
        lambda t, x: t.cat([x, t.zeros(2, 3)]),
        RuntimeError,
        "Sizes of tensors must match except in dimension 0. Expected",
    ),
    (lambda t, x: t.cat([]), ValueError, "torch.cat(): expected a non-empty list of Tensors"),
    (
        lambda t, x: t.stack([x, t.zeros(2)]),
        RuntimeError,
        "stack expects each tensor to be equal size, but got [3, 2] at",
    ),
    (lambda t, x: x.repeat(2), RuntimeError, "Number of dimensions of repeat dims can not be smaller than number of"),
    (lambda t, x: t.roll(x, (1, 2), 0), RuntimeError, "shifts and dimensions must align. shifts: 2, dims:1"),
    (lambda t, x: t.flip(x, (0, 0)), RuntimeError, "dim 0 appears multiple times in the list of dims"),
    (
        lambda t, x: t.repeat_interleave(x, t.tensor([1, 2]), 0),
        RuntimeError,
        "repeats must have the same size as input",
    ),
    (lambda t, x: F.pad(x, (1,)), RuntimeError, "Padding length must be divisible by 2"),
    (lambda t, x: F.pad(x, (-3, 0)), RuntimeError, "narrow(): length must be non-negative."),
    (lambda t, x: F.pad(x, (2, 0), "reflect"), RuntimeError, "Argument #4: Padding size should be less than the"),
    (
        lambda t, x: F.pad(x, (1, 1, 1, 1), "reflect"),
        NotImplementedError,
        "Padding size 4 is not supported for 2D input",
    ),
    (lambda t, x: F.pad(x, (3, 0), "circular"), RuntimeError, "Padding value causes wrapping around more than once."),
    (lambda t, x: F.one_hot(t.tensor([5]), 3), RuntimeError, "Class values must be smaller than num_classes."),
    (
        lambda t, x: t.meshgrid(x, x),
        RuntimeError,
        "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got:  2",
    ),
    (lambda t, x: t.diff(x, -1), RuntimeError, "order must be non-negative but got -1"),
    (lambda t, x: t.cumsum(x, 5), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 5)"),
]


@pytest.mark.parametrize("case", range(len(ERRORS)))
def test_errors(case):
    call, kind, sentence = ERRORS[case]
    with pytest.raises(kind) as caught:
        call(flambeau, flambeau.zeros(3, 2))
    assert sentence in str(caught.value)


def test_parts_that_lie_in_runs():
    """Slices and expanded tensors beside whole ones, along every dimension."""
    rng = np.random.default_rng(4)
    wide, one = rng.standard_normal((4, 3, 8, 40)).astype("f4"), rng.standard_normal((1, 8, 40)).astype("f4")
    whole = flambeau.tensor(wide)
    expanded, slices = whole[:, :1].expand(4, 3, 8, 40), whole[..., 2:7, :]
    for dim in range(4):
        want = np.concatenate([np.broadcast_to(wide[:, :1], wide.shape), wide], dim)
        assert np.array_equal(flambeau.cat([expanded, whole], dim).numpy(), want)
    want = np.concatenate([wide[:, :, 2:7], np.broadcast_to(wide[:, :1, :3], (4, 3, 3, 40))], 2)
    assert np.array_equal(flambeau.cat([slices, expanded[:, :, :3]], 2).numpy(), want)
    first = flambeau.tensor(one).expand(4, 8, 40)
    want = np.concatenate([np.broadcast_to(one, (4, 8, 40)), wide[:, 0]], 1)
    assert np.array_equal(flambeau.cat([first, whole[:, 0]], 1).numpy(), want)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8", "c8", "c16", "?"])
def test_reversed_dimensions_of_every_layout(dtype):
    rng = np.random.default_rng(5)
    for shape in ((7,), (3, 1, 5), (4, 33, 17), (300, 500), (0, 3)):
        x = (rng.random(shape) * 100).astype(dtype)
        for mask in range(1 << x.ndim):
            dims = [d for d in range(x.ndim) if mask >> d & 1]
            assert np.array_equal(flambeau.tensor(x).flip(dims).numpy(), np.flip(x, dims))
            assert np.array_equal(flambeau.tensor(x).mT.flip(dims).numpy() if x.ndim > 1 else x,
                                  np.flip(np.swapaxes(x, -1, -2), dims) if x.ndim > 1 else x)  # fmt: skip


@pytest.mark.parametrize(("dtype", "value"), [("f4", 1.5), ("i2", -7), ("?", True), ("c8", 1 - 2j)])
def test_large_tensors_are_filled_whole(dtype, value):
    size = (17 << 20) // np.dtype(dtype).itemsize // 8 * 8
    for count in (size, size + 1):
        x = flambeau.tensor(np.zeros(count + 1, dtype))
        x[:count].fill_(value)
        assert (x[:count].numpy() == np.array(value, dtype)).all() and x[count] == 0


def test_combinations_of_huge_numbers():
    x = flambeau.ones(3)
    assert flambeau.combinations(x, 4).shape == (0, 4) and flambeau.combinations(x[:0], 2**62, True).shape == (0, 2**62)
    assert flambeau.combinations(x, 2**62).shape == (0, 2**62)
    with pytest.raises(RuntimeError, match="too many choices"):
        flambeau.combinations(x, 2**62, True)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: flambeau.roll(flambeau.tensor(3), 1, 0), IndexError, "Dimension specified as 0 but tensor has no"),
        (lambda: flambeau.repeat_interleave(flambeau.arange(2), 3, output_size=5), RuntimeError, "expected 6 but got 5"),
        (
            lambda: flambeau.repeat_interleave(flambeau.arange(2), flambeau.tensor([1, 2]), output_size=4),
            RuntimeError, "expected 3 but got 4",
        ),
        (lambda: flambeau.repeat_interleave(flambeau.ones(1, 2).long()), RuntimeError, "only accept 1D vector as repeat"),
        (lambda: flambeau.trapezoid(flambeau.tensor(3.0)), IndexError, "Dimension specified as -1 but tensor has no"),
        (lambda: flambeau.cumulative_trapezoid(flambeau.tensor(3.0)), IndexError, "cannot be applied to a 0-dim tensor"),
    ],
)  # fmt: skip
def test_what_joins_and_scans_refuse(call, error, sentence):
    with pytest.raises(error, match=sentence):
        call()


def test_counts_and_medians_of_nothing():
    none = flambeau.zeros(0, dtype=flambeau.int64)
    for counts in (flambeau.bincount(none, flambeau.zeros(0), 2), flambeau.bincount(none, minlength=2)):
        assert counts.dtype == flambeau.int64 and counts.tolist() == [0, 0]
    assert flambeau.median(flambeau.zeros(0)).isnan()
    assert flambeau.median(none).item() == -(2**63)
    assert flambeau.range(0, 3, device="meta").is_meta
    values, positions = flambeau.topk(flambeau.tensor(3.0), 0)
    assert values.item() == 3 and positions.item() == 0


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "i8", "c8", "i2", "c16"])
def test_stacking_two_in_the_last_dimension(dtype):
    bits = RANDOM.integers(0, 256, (2, 37, 23 * np.dtype(dtype).itemsize)).astype("u1").view(dtype)  # any, nan as well
    a, b = (flambeau.from_numpy(x) for x in bits)
    changes = [lambda t: t, lambda t: t.t(), lambda t: t[::2, 1::3], lambda t: t[:, :1].expand(37, 23), lambda t: t[:0]]
    for first in changes[:3]:
        got = flambeau.stack([first(a), first(b)], -1)
        want = np.stack([first(a).contiguous().numpy(), first(b).contiguous().numpy()], -1)
        assert got.is_contiguous() and got.numpy().tobytes() == want.tobytes()
    for change in changes[3:]:
        got, want = flambeau.stack([change(a), change(b)], 2), np.stack([change(a).numpy(), change(b).numpy()], 2)
        assert got.shape == want.shape and got.numpy().tobytes() == want.tobytes()


def test_stacking_two_large_ones():
    a = np.arange(3 << 20, dtype="f4").reshape(1024, -1)
    got = flambeau.stack([flambeau.from_numpy(a), flambeau.from_numpy(-a)], -1)
    assert np.array_equal(got.numpy(), np.stack([a, -a], -1))
    assert np.array_equal(flambeau.complex(got[..., 0], got[..., 1]).numpy(), a - 1j * a)


@pytest.mark.parametrize("shape", [(4, 6, 5), (300, 1000), (3, 1200, 1301)])
@pytest.mark.parametrize("dims", [(0,), (1,), (-1,), (0, 1), (0, -1)])
def test_roll(shape: tuple[int, ...], dims: tuple[int, ...]) -> None:
    """Two parts change places along each dimension, also of results that go past the caches and of turned operands."""
    a = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    for x, want in ((flambeau.tensor(a), a), (flambeau.tensor(a).transpose(0, -1), a.swapaxes(0, -1))):
        for shift in (3, -2):
            got = flambeau.roll(x, (shift,) * len(dims), dims)
            assert got.is_contiguous()
            assert np.array_equal(got.numpy(), np.roll(want, (shift,) * len(dims), dims))
