"""Moments, histograms, numerical derivatives, products of tensors, normalisations with their statistics."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional as NN

RNG = np.random.default_rng(11)


def tensor(*shape: int, complex_: bool = False, grad: bool = False):
    x = RNG.standard_normal(shape)
    return torch.tensor(x + 1j * RNG.standard_normal(shape) if complex_ else x, requires_grad=grad)


def checked(f, *inputs) -> bool:
    return torch.autograd.gradcheck(f, inputs) and torch.autograd.gradgradcheck(f, inputs)


# ---- var and std


@pytest.mark.parametrize("complex_", [False, True])
def test_unbiased_says_what_is_divided_by(complex_: bool) -> None:
    x = tensor(3, 4, complex_=complex_)
    n = x.numpy()
    for unbiased in (True, False):
        want = n.var(1, ddof=int(unbiased))
        np.testing.assert_allclose(torch.var(x, 1, unbiased), want)
        np.testing.assert_allclose(x.var(dim=1, unbiased=unbiased), want)
        np.testing.assert_allclose(x.std((1,), unbiased=unbiased, keepdim=True)[:, 0], np.sqrt(want))
        np.testing.assert_allclose(torch.var(x, unbiased), n.var(ddof=int(unbiased)))
        var, mean = torch.var_mean(x, 0, unbiased)
        std, same = torch.std_mean(x, unbiased=unbiased, dim=0)
        np.testing.assert_allclose(var, n.var(0, ddof=int(unbiased)))
        np.testing.assert_allclose(std**2, var)
        np.testing.assert_allclose(mean, n.mean(0))
        np.testing.assert_allclose(same, mean)
        np.testing.assert_allclose(torch.std_mean(x, unbiased)[0], n.std(ddof=int(unbiased)))


def test_no_correction_is_one() -> None:
    x = tensor(3, 4)
    assert torch.equal(torch.var(x, correction=None), torch.var(x))
    assert torch.equal(torch.var_mean(x, dim=None, correction=None)[0], torch.var(x))
    assert torch.equal(torch.std(x, 1, correction=None, keepdim=True), torch.std(x, 1, keepdim=True))


@pytest.mark.parametrize("name", ["var", "std", "var_mean", "std_mean"])
def test_gradients_of_moments(name: str) -> None:
    for complex_ in (False, True):
        f = getattr(torch, name)
        assert checked(lambda x: f(x, 1), tensor(3, 4, complex_=complex_, grad=True))  # noqa: B023
    with pytest.raises(RuntimeError, match="only support floating point and complex dtypes"):
        f(torch.arange(3))


# ---- complex reductions


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3000), (3000, 2), (70_000,)])
def test_complex_products(shape) -> None:
    size = RNG.uniform(0.999, 1.001, shape) * np.exp(1j * RNG.uniform(-1, 1, shape))
    for dim in (None, 0, len(shape) - 1):
        got = torch.prod(torch.tensor(size), dim) if dim is not None else torch.prod(torch.tensor(size))
        np.testing.assert_allclose(got, np.prod(size, dim), rtol=1e-10)
    low = torch.prod(torch.tensor(size.astype(np.complex64)), 0)
    np.testing.assert_allclose(low, np.prod(size, 0), rtol=2e-2)


def test_gradients_of_complex_reductions() -> None:
    x = tensor(3, 4, complex_=True, grad=True)
    for f in (
        lambda x: torch.prod(x, 1),
        torch.prod,
        lambda x: torch.logsumexp(x, 0),
        lambda x: torch.linalg.vector_norm(x, 2, 1),
        lambda x: torch.linalg.vector_norm(x, 3.5, 1),
        lambda x: torch.linalg.vector_norm(x, float("inf"), 0),
    ):
        assert checked(f, x)
    zero = x.detach().clone()
    zero[0, 1] = 0
    assert checked(lambda x: torch.prod(x, 1), zero.requires_grad_())


def test_complex_norms_and_logsumexp() -> None:
    x = tensor(3, 4, complex_=True)
    n = x.numpy()
    np.testing.assert_allclose(torch.linalg.vector_norm(x), np.linalg.norm(n))
    np.testing.assert_allclose(torch.linalg.vector_norm(x, 1, 1), np.abs(n).sum(1))
    np.testing.assert_allclose(torch.logsumexp(x + 800, 1), np.log(np.exp(n).sum(1)) + 800)


# ---- means, extremes, covariance


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_gradient_of_a_deviation_of_zero_is_zero(dtype) -> None:
    x = torch.tensor([[2.0, 2, 2], [1, 2, 4]], dtype=dtype, requires_grad=True)
    for options in ({"dim": 1}, {"dim": 1, "keepdim": True}, {"dim": (1,), "correction": 0}):
        (g,) = torch.autograd.grad(x.std(**options).sum(), x)
        assert g[0].tolist() == [0, 0, 0] and bool((g[1] != 0).all())
    (g,) = torch.autograd.grad(torch.std_mean(x[:1])[0], x)
    assert not g.any()
    y = torch.randn(3, 4, dtype=dtype, requires_grad=True)
    for options in ({}, {"dim": 0}, {"dim": (0, 1), "correction": 0}, {"dim": -1, "keepdim": True}, {"dim": None, "correction": 2}):
        assert torch.autograd.gradcheck(lambda v: v.std(**options), y)  # noqa: B023
        assert torch.autograd.gradgradcheck(lambda v: v.std(**options), y)  # noqa: B023


def test_nanmean_skips_nan() -> None:
    x = torch.tensor([[1.0, float("nan"), 3.0], [float("nan")] * 3])
    assert torch.nanmean(x, 1)[0].item() == 2.0
    assert torch.nanmean(x, 1)[1].isnan()
    assert x.nanmean(dtype=torch.float64).dtype is torch.float64
    with pytest.raises(
        RuntimeError, match=r"nanmean\(\): expected input to have floating point or complex dtype but got Long"
    ):
        torch.nanmean(torch.arange(3))


def test_aminmax() -> None:
    x = torch.tensor([[1.0, 4.0, 4.0], [2.0, 0.0, 9.0]], dtype=torch.float64, requires_grad=True)
    result = torch.aminmax(x, dim=1)
    assert (result.min.tolist(), result.max.tolist()) == ([1, 0], [4, 9])
    assert type(result).__name__ == "aminmax"
    assert x.aminmax(keepdim=True)[1].shape == (1, 1)
    (result.max.sum() + 2 * result.min.sum()).backward()
    assert x.grad.tolist() == [[2, 0.5, 0.5], [0, 2, 1]]
    for dtype in (torch.bool, torch.uint8, torch.int64, torch.bfloat16):
        low, high = torch.aminmax(torch.tensor([1, 0, 1]).to(dtype))
        assert (low.item(), high.item()) == (0, 1)
    with pytest.raises(RuntimeError, match="cannot compute aminmax over an empty dimension as the operation has no id"):
        torch.aminmax(torch.ones(0))
    with pytest.raises(IndexError, match="Expected reduction dim 1 to have non-zero size"):
        torch.aminmax(torch.ones(2, 0), dim=1)
    with pytest.raises(NotImplementedError, match=r'"aminmax_cpu" not implemented for \'ComplexFloat\''):
        torch.aminmax(torch.ones(2, dtype=torch.complex64))


def test_cov_with_weights() -> None:
    x, often, weight = tensor(3, 6), torch.tensor([1, 2, 0, 1, 3, 1]), torch.tensor(RNG.random(6))
    n, f, a = x.numpy(), often.numpy(), weight.numpy()
    for correction in (0, 1):
        np.testing.assert_allclose(
            torch.cov(x, correction=correction, fweights=often), np.cov(n, ddof=correction, fweights=f)
        )
        got = torch.cov(x, correction=correction, fweights=often, aweights=weight)
        np.testing.assert_allclose(got, np.cov(n, ddof=correction, fweights=f, aweights=a))
        np.testing.assert_allclose(
            torch.cov(x[0], aweights=weight, correction=correction), np.cov(n[0], ddof=correction, aweights=a)
        )
    assert checked(lambda x: torch.cov(x, aweights=weight), tensor(2, 6, grad=True))
    with pytest.warns(UserWarning, match="degrees of freedom is <= 0"):
        torch.cov(x, correction=6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"fweights": torch.ones(2, 2, dtype=torch.int64)}, "expected fweights to have one or fewer dimensions"),
        ({"fweights": torch.ones(3)}, "expected fweights to have integral dtype but got fweights with Float dtype"),
        ({"aweights": torch.ones(3, dtype=torch.int64)}, "expected aweights to have floating point dtype"),
        ({"aweights": torch.ones(2)}, "the same numel as there are observations in the input but got 2 != 3"),
        ({"aweights": -torch.ones(3)}, "aweights cannot be negative"),
    ],
)
def test_cov_refuses_weights(options, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence):
        torch.cov(torch.ones(2, 3), **options)
    with pytest.raises(RuntimeError, match="two or fewer dimensions but got an input with 3"):
        torch.corrcoef(torch.ones(2, 2, 2))


# ---- histograms


def test_histogram_counts_between_edges() -> None:
    x = torch.tensor(RNG.standard_normal((5, 7)))
    weight = torch.tensor(RNG.random((5, 7)))
    n, w = x.numpy().ravel(), weight.numpy().ravel()
    for bins, limits in ((4, None), (6, (-1.0, 0.5))):
        for density in (False, True):
            got = torch.histogram(x, bins, range=limits, weight=weight, density=density)
            want, edges = np.histogram(n, bins, limits, density, w)
            np.testing.assert_allclose(got.hist, want)
            np.testing.assert_allclose(got.bin_edges, edges)
    edges = torch.tensor([-2.0, -0.5, 0.1, 3.0], dtype=torch.float64)
    np.testing.assert_allclose(torch.histogram(x, edges)[0], np.histogram(n, edges.numpy())[0])
    counts = torch.histogram(torch.tensor([0.0, 1.0, 2.0, float("nan"), 5.0]), 2, range=(0.0, 2.0))
    assert counts.hist.tolist() == [1, 2]  # the last edge belongs to its bin, nan to none
    assert torch.histogram(torch.ones(0), 3).bin_edges.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-3.3, 7.7), (100.0, 100.5)])
def test_histogram_puts_what_lies_at_an_edge_where_the_edges_say(limits) -> None:
    edges = torch.linspace(*limits, 38)
    e = edges.numpy()
    near = np.concatenate([e, np.nextafter(e, np.float32(np.inf)), np.nextafter(e, np.float32(-np.inf)), [np.nan, np.inf]])
    x = torch.tensor(near.astype(np.float32))
    want = np.histogram(near[np.isfinite(near)], e)[0]
    for bins in (37, edges):
        options = {"range": limits} if isinstance(bins, int) else {}
        np.testing.assert_array_equal(torch.histogram(x, bins, **options).hist, want)
    points = torch.stack([x, x.flip(0)], 1)
    want = np.histogramdd(np.nan_to_num(points.numpy(), nan=1e30, posinf=1e30), [e, e])[0]
    np.testing.assert_array_equal(torch.histogramdd(points, [37, 37], range=[*limits, *limits]).hist, want)


def test_histogramdd_counts_points() -> None:
    x = torch.tensor(RNG.standard_normal((40, 2)))
    got = torch.histogramdd(x, [3, 4])
    want, edges = np.histogramdd(x.numpy(), [3, 4])
    np.testing.assert_allclose(got.hist, want)
    for mine, theirs in zip(got.bin_edges, edges, strict=True):
        np.testing.assert_allclose(mine, theirs)
    own = [torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64), torch.tensor([-3.0, 0.2, 1.0], dtype=torch.float64)]
    weight = torch.tensor(RNG.random(40))
    got = torch.histogramdd(x, own, weight=weight, density=True)
    want = np.histogramdd(x.numpy(), [e.numpy() for e in own], weights=weight.numpy(), density=True)[0]
    np.testing.assert_allclose(got[0], want)
    assert torch.histogramdd(x, 2, range=[0.0, 1.0, 0.0, 1.0]).hist.shape == (2, 2)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: torch.histogram(x.long()), NotImplementedError, "not implemented for 'Long'"),
        (lambda x: torch.histogram(x, 0), RuntimeError, r"bins must be > 0, but got 0 for dimension 0"),
        (
            lambda x: torch.histogram(x, 2, range=(3.0, 0.0)),
            RuntimeError,
            "min should not exceed max, but got min 3 max 0",
        ),
        (lambda x: torch.histogram(x, x), RuntimeError, "bins tensor should have one dimension, but got 2"),
        (lambda x: torch.histogram(x, x[0].double()), RuntimeError, "the same dtype, but got input with dtype float"),
        (lambda x: torch.histogram(x, 2, weight=x[0]), RuntimeError, "if weight tensor is provided it should have"),
        (lambda x: torch.histogram(x, 2, weight=x.double()), RuntimeError, r"got input\(float\), and weight\(double\)"),
        (lambda x: torch.histogram(x / 0, 2), RuntimeError, "is not finite"),
        (lambda x: torch.histogramdd(x, [2, 2]), RuntimeError, "must be equal to the innermost dimension"),
        (lambda x: torch.histogramdd(x[0], [2]), RuntimeError, "should have at least 2 dimensions"),
        (lambda x: torch.histogramdd(x, 2, range=[0.0, 1.0]), RuntimeError, "should have 6 elements, but got 2"),
    ],
)
def test_histograms_refuse(call, error, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call(torch.arange(6.0).view(2, 3))


# ---- numerical derivatives


@pytest.mark.parametrize("edge_order", [1, 2])
def test_gradient_agrees_with_numpy(edge_order: int) -> None:
    x = tensor(5, 4)
    n = x.numpy()
    for got, want in zip(torch.gradient(x, edge_order=edge_order), np.gradient(n, edge_order=edge_order), strict=True):
        np.testing.assert_allclose(got, want)
    np.testing.assert_allclose(
        torch.gradient(x, spacing=0.5, dim=1, edge_order=edge_order)[0],
        np.gradient(n, 0.5, axis=1, edge_order=edge_order),
    )
    places = [np.cumsum(RNG.random(k)) for k in (5, 4)]
    got = torch.gradient(x, spacing=[torch.tensor(p) for p in places], edge_order=edge_order)
    for mine, want in zip(got, np.gradient(n, *places, edge_order=edge_order), strict=True):
        np.testing.assert_allclose(mine, want)
    two = torch.gradient(x, spacing=[2.0, 0.25], dim=(1, 0), edge_order=edge_order)
    np.testing.assert_allclose(two[1], np.gradient(n, 0.25, axis=0, edge_order=edge_order))
    spacing = [torch.tensor(places[0])]
    assert checked(
        lambda x: torch.gradient(x, spacing=spacing, dim=0, edge_order=edge_order)[0], tensor(5, 2, grad=True)
    )


def test_gradient_refuses() -> None:
    x = torch.arange(6.0).view(2, 3)
    for options, error, sentence in (
        (
            {"spacing": [2.0], "dim": (0, 1)},
            RuntimeError,
            "a spacing argument of length 1 and a dim argument of length 2",
        ),
        ({"dim": (0, -2)}, RuntimeError, "dim 0 appears multiple times in the list of dims"),
        ({"dim": 3}, IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\], but got 3\)"),
        ({"edge_order": 3}, RuntimeError, "only supports edge_order=1 and edge_order=2"),
        ({"edge_order": 2}, RuntimeError, r"each dimension size to be at least edge_order\+1"),
        ({"spacing": [x, x]}, RuntimeError, "each element of spacing to have one dimension"),
    ):
        with pytest.raises(error, match=sentence):
            torch.gradient(x, **options)
    with pytest.raises(RuntimeError, match="Subtraction"):
        torch.gradient(x > 0)
    assert torch.gradient(torch.tensor(3.0)) == ()


# ---- products


def test_cross_without_a_dimension_warns() -> None:
    a, b = tensor(3, 2), tensor(3, 2)
    with pytest.warns(UserWarning, match=r"Using torch.cross without specifying the dim arg is deprecated"):
        np.testing.assert_allclose(torch.cross(a, b), np.cross(a.numpy(), b.numpy(), axis=0))
    assert torch.cross(tensor(1, 3), tensor(4, 3), dim=1).shape == (4, 3)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda x: torch.vdot(x, x), RuntimeError, "1D tensors expected, but got 2D and 2D tensors"),
        (lambda x: torch.vdot(x[0], x[0].double()), RuntimeError, "same dtype, but found Float and Double"),
        (lambda x: torch.trace(x[0]), RuntimeError, "expected a matrix, but got tensor with dim 1"),
        (lambda x: torch.trace(x > 0), NotImplementedError, "\"trace\" not implemented for 'Bool'"),
        (lambda x: torch.inner(x, x[:, :2]), RuntimeError, r"got shapes \[2, 3\] and \[2, 2\]"),
        (lambda x: torch.tensordot(x, x, -1), RuntimeError, "tensordot expects dims >= 0, but got dims=-1"),
        (lambda x: torch.tensordot(x, x, np.arange(3)), RuntimeError, "containing two lists, but got dims="),
        (lambda x: torch.tensordot(x, x, 3), RuntimeError, "expects dims < ndim_a or ndim_b, but got dims=3"),
        (lambda x: torch.tensordot(x, x, 1), RuntimeError, "first has size 3 in dim -1 and second has size 2 in dim 0"),
        (lambda x: torch.tensordot(x, x, ([0], [0, 1])), RuntimeError, "both dimension lists should have same length"),
        (lambda x: torch.tensordot(x, x.double()), RuntimeError, "both inputs should have same dtype"),
        (lambda x: torch.cross(x, x[0], dim=0), RuntimeError, "inputs must have the same number of dimensions"),
        (lambda x: torch.cross(x, x, dim=0), RuntimeError, "inputs dimension 0 must have length 3. Got 2 and 2"),
        (
            lambda x: torch.dist(x.long(), x.long()),
            RuntimeError,
            "should be either floating point or complex. Got Long",
        ),
        (lambda x: torch.renorm(x, 0, 0, 1), RuntimeError, "renorm: non-positive-norm not supported"),
        (lambda x: torch.renorm(x, 2, 0, -1), RuntimeError, "expected maxnorm to be >= 0 but got -1"),
        (lambda x: torch.renorm(x[0], 2, 0, 1), RuntimeError, "needs at least 2 dimensions, got 1 dimensions"),
        (lambda x: torch.vander(x), RuntimeError, "x must be a one-dimensional tensor"),
        (lambda x: torch.vander(x[0], -1), RuntimeError, "N must be non-negative"),
        (lambda x: torch.gcd(x, x), NotImplementedError, "\"gcd_cpu\" not implemented for 'Float'"),
        (lambda x: torch.lcm(x > 0, x > 0), NotImplementedError, "\"lcm_cpu\" not implemented for 'Bool'"),
        (
            lambda x: torch.gcd(x.long(), 2),
            TypeError,
            r"gcd\(\): argument 'other' \(position 2\) must be Tensor, not int",
        ),
    ],
)
def test_products_refuse(call, error, sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        call(torch.arange(6.0).view(2, 3))


def test_renorm_shortens_long_slices_only() -> None:
    x = tensor(3, 2, 4, grad=True)
    n = x.detach().numpy()
    for dim, p in ((0, 2), (1, 1), (-1, 3)):
        rest = tuple(d for d in range(3) if d != dim % 3)
        length = (np.abs(n) ** p).sum(rest, keepdims=True) ** (1 / p)
        want = np.where(length > 2, n * 2 / (length + 1e-7), n)
        np.testing.assert_allclose(torch.renorm(x, p, dim, 2).detach(), want)
        assert checked(lambda x: torch.renorm(x, p, dim, 2), x)  # noqa: B023
    y = x.detach().clone()
    assert y.renorm_(2, 0, 1e-3) is y
    assert torch.linalg.vector_norm(y[0]).item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("zeros", [0, 1, 2])
@pytest.mark.parametrize("dim", [None, 0, -1])
def test_slopes_of_products_by_division_and_by_what_stands_on_both_sides(dim, zeros: int) -> None:
    x = tensor(6, 40, complex_=zeros == 2)
    x[2, :zeros] = 0
    x[:zeros, 5] = 0
    x.requires_grad_()
    y = torch.prod(x) if dim is None else torch.prod(x, dim)
    weights = tensor(*y.shape).to(y.dtype)
    quick = torch.autograd.grad(y, x, weights, retain_graph=True)[0]
    kept = torch.autograd.grad(y, x, weights, create_graph=True)[0]
    assert kept.requires_grad and not quick.requires_grad
    np.testing.assert_allclose(quick, kept.detach(), rtol=1e-12)


def test_gcd_and_lcm_of_extreme_numbers() -> None:
    low = -(2**63)
    a = torch.tensor([low, low, 2**62, 0, -4, 832040])
    b = torch.tensor([0, -1, 3 * 2**40, 0, 6, 1346269])
    assert torch.gcd(a, b).tolist() == [low, 1, 2**40, 0, 2, 1]
    assert torch.lcm(a[3:], b[3:]).tolist() == [0, 12, 832040 * 1346269]
    assert torch.gcd(torch.tensor([100, 27], dtype=torch.int8), torch.tensor(75)).dtype is torch.int8
    x = torch.tensor([[12], [18]])
    assert x.expand(2, 3).gcd(torch.tensor([8, 9, 5])).tolist() == [[4, 3, 1], [2, 9, 1]]
    assert torch.gcd_(x, torch.tensor(8)) is x and x.tolist() == [[4], [2]]


# ---- parts of tensors


def test_as_strided_scatter() -> None:
    x, src = tensor(3, 4, grad=True), tensor(2, 2, grad=True)
    want = x.detach().numpy().ravel().copy()
    want[[[1, 3], [6, 8]]] = src.detach().numpy()
    np.testing.assert_allclose(torch.as_strided_scatter(x, src, (2, 2), (5, 2), 1).detach(), want.reshape(3, 4))
    assert checked(lambda x, src: torch.as_strided_scatter(x, src, (2, 2), (5, 2), 1), x, src)
    with pytest.raises(
        RuntimeError, match=r"requiring a storage size of 3216 are out of bounds for storage of size 96"
    ):
        torch.as_strided_scatter(x, src, (2, 2), (200, 200), 1)
    with pytest.raises(RuntimeError, match=r"src size = \[2, 2\], slice size = \[1, 1\]"):
        torch.as_strided_scatter(x, src, (1, 1), (1, 1))


def test_fill_diagonal() -> None:
    for shape, wrap in (
        ((3, 3), False),
        ((7, 3), False),
        ((7, 3), True),
        ((8, 3), True),
        ((2, 5), True),
        ((2, 2, 2), False),
    ):
        x, want = torch.zeros(shape), np.zeros(shape)
        assert x.fill_diagonal_(5, wrap=wrap) is x
        np.fill_diagonal(want, 5, wrap=wrap)
        assert np.array_equal(x.numpy(), want), (shape, wrap)
    turned = torch.zeros(3, 5).t()
    assert turned.fill_diagonal_(2).diagonal().tolist() == [2, 2, 2] and turned.sum() == 6
    with pytest.raises(RuntimeError, match="dimensions must larger than 1"):
        torch.zeros(3).fill_diagonal_(1)
    with pytest.raises(RuntimeError, match="all dimensions of input must be of equal length"):
        torch.zeros(2, 3, 4).fill_diagonal_(1)


def test_unravel_index() -> None:
    at = torch.arange(24).view(4, 6)
    for mine, want in zip(torch.unravel_index(at, (2, 3, 4)), np.unravel_index(at.numpy(), (2, 3, 4)), strict=True):
        assert np.array_equal(mine.numpy(), want)
    assert torch.unravel_index(torch.tensor(7), 9) == (torch.tensor(7),)
    for bad, error, sentence in (
        ((torch.ones(2), (2,)), TypeError, r"expected 'indices' to be integer dtype, but got torch.float32"),
        ((at, 7.0), TypeError, "expected 'shape' to be int or sequence of ints"),
        ((at, (2.0,)), TypeError, "expected 'shape' sequence to only contain ints"),
        ((at, (2, -3)), ValueError, r"'shape' cannot have negative values, but got \(2, -3\)"),
    ):
        with pytest.raises(error, match=sentence):
            torch.unravel_index(*bad)


# ---- normalisations with their statistics


def test_native_normalisations_give_their_statistics() -> None:
    x, weight, bias = tensor(4, 6, 5), tensor(6), tensor(6)
    n = x.numpy()
    out, mean, scale = torch.native_layer_norm(x, (6, 5), None, None, 1e-5)
    assert mean.shape == scale.shape == (4, 1, 1)
    np.testing.assert_allclose(mean, n.mean((1, 2), keepdims=True))
    np.testing.assert_allclose(scale, 1 / np.sqrt(n.var((1, 2), keepdims=True) + 1e-5))
    np.testing.assert_allclose(out, (n - mean.numpy()) * scale.numpy(), atol=1e-12)
    out, mean, scale = torch.native_group_norm(x, weight, bias, 4, 6, 5, 3, 1e-5)
    groups = n.reshape(4, 3, 10)
    np.testing.assert_allclose(mean, groups.mean(2))
    np.testing.assert_allclose(scale, 1 / np.sqrt(groups.var(2) + 1e-5))
    np.testing.assert_allclose(out, torch.nn.functional.group_norm(x, 3, weight, bias))
    running = torch.zeros(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    out, mean, scale = torch.native_batch_norm(x, weight, bias, *running, True, 0.1, 1e-5)
    np.testing.assert_allclose(mean, n.mean((0, 2)))
    np.testing.assert_allclose(scale, 1 / np.sqrt(n.var((0, 2)) + 1e-5))
    np.testing.assert_allclose(running[0], 0.1 * n.mean((0, 2)))
    out, mean, scale = torch.native_batch_norm(x, weight, bias, *running, False, 0.1, 1e-5)
    assert mean.shape == scale.shape == (0,)
    assert torch.native_group_norm(torch.ones(0, 6, 5), None, None, 0, 6, 5, 3, 1e-5)[1].shape == (0, 3)


def test_gradients_of_native_normalisations() -> None:
    x, weight, bias = tensor(3, 4, 2, grad=True), tensor(4, grad=True), tensor(4, grad=True)
    assert checked(lambda x, w, b: torch.native_group_norm(x, w, b, 3, 4, 2, 2, 1e-5), x, weight, bias)
    assert checked(lambda x, w, b: torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0], x, weight, bias)
    assert checked(lambda x, w: torch.native_layer_norm(x.transpose(1, 2), (4,), w, None, 1e-5)[0], x, weight)


def test_products_agree_in_every_dtype() -> None:
    a, b = torch.arange(6).view(2, 3), torch.arange(6).view(3, 2) - 2
    for dtype, f in itertools.product(
        (torch.int8, torch.int64, torch.float16, torch.complex64), (torch.kron, torch.tensordot)
    ):
        x, y = a.to(dtype), b.to(dtype)
        got = f(x, y) if f is torch.kron else f(x, y, 1)
        want = np.kron(a.numpy(), b.numpy()) if f is torch.kron else a.numpy() @ b.numpy()
        assert got.dtype is dtype
        assert np.array_equal(got.to(torch.complex64).numpy(), want)


def test_results_that_are_copies() -> None:
    x = tensor(2, 3)
    assert torch.diff(x, n=0).data_ptr() != x.data_ptr()
    values, places = torch.kthvalue(tensor(4, 6), 2)
    assert values.is_contiguous() and places.is_contiguous()


def test_fractional_pooling_of_no_images() -> None:
    out = torch.nn.functional.fractional_max_pool3d(torch.ones(0, 1, 4, 4, 4), 2, output_size=2)
    assert out.shape == (0, 1, 2, 2, 2)


def test_complex_logcumsumexp() -> None:
    x = tensor(3, 4, complex_=True, grad=True)
    for dim in (0, 1):
        want = np.log(np.cumsum(np.exp(x.detach().numpy()), dim))
        got = torch.logcumsumexp(x, dim).detach().numpy()
        np.testing.assert_allclose(np.exp(got), np.exp(want))
        np.testing.assert_allclose(got.real, want.real, atol=1e-12)
        assert checked(lambda x: torch.logcumsumexp(x, dim), x)  # noqa: B023
    far = torch.tensor([-2000.0 + 1j, 3000.0 - 2j, 0.5j])
    assert torch.logcumsumexp(far, 0).tolist() == [-2000 + 1j, 3000 - 2j, 3000 - 2j]
    assert torch.logcumsumexp(torch.tensor([complex(-np.inf, 0), 1 + 1j]), 0)[1].item() == 1 + 1j


@pytest.mark.parametrize("correction", [-1, 0, 1])
def test_what_has_no_elements_has_no_variance(correction) -> None:
    for got in (
        torch.var(torch.zeros(0), correction=correction),
        torch.std(torch.zeros(2, 0), 1, correction=correction),
        torch.var_mean(torch.zeros(0), correction=correction)[0],
    ):
        assert got.isnan().all()


def test_all_and_any_of_bytes_are_bytes() -> None:
    x = torch.tensor([[1, 0], [3, 4]], dtype=torch.uint8)
    for got, want in ((x.all(), 0), (x.any(), 1), (x.all(1), [0, 1]), (x.any(0, keepdim=True), [[1, 1]])):
        assert got.dtype == torch.uint8 and got.tolist() == want
    assert x.int().all().dtype == torch.bool


@pytest.mark.parametrize("dim", [(), []])
def test_all_and_any_over_no_dimension(dim) -> None:
    x = torch.tensor([[1, 0, 2], [0, 0, 3]])
    for f in (torch.all, torch.any):
        assert torch.equal(f(x, dim=dim), x != 0) and torch.equal(f(x, dim=dim, keepdim=True), x != 0)
        assert f(x.to(torch.uint8), dim=dim).tolist() == [[1, 0, 1], [0, 0, 1]]
        assert f(torch.ones(0, 2), dim=dim).shape == (0, 2) and f(torch.tensor(3.0), dim=dim).item() is True
        assert f(x.T[::2], dim=dim).tolist() == [[True, False], [True, True]]
        for batch in (x, x[0]):
            assert torch.equal(torch.vmap(lambda v, f=f: f(v, dim=dim))(batch), batch != 0)
    assert torch.all(x, dim=None).item() is False and torch.any(x, dim=(0, 1)).item() is True


def test_sums_of_products_of_integers_keep_their_dtype() -> None:
    for dtype in (torch.int32, torch.uint8):
        got = torch.addbmm(torch.ones(2, 2, dtype=dtype), torch.ones(3, 2, 4, dtype=dtype), torch.ones(3, 4, 2, dtype=dtype))
        assert got.dtype == dtype and got.tolist() == [[13, 13], [13, 13]]
        ones = [torch.ones(*sizes, dtype=dtype) for sizes in ((2, 3), (2, 4), (5, 3, 4))]
        assert NN.bilinear(*ones).dtype == dtype and NN.bilinear(*ones).eq(12).all()


def test_losses_of_nan_have_gradients_of_nan() -> None:
    for loss in (NN.smooth_l1_loss, NN.huber_loss):
        x = torch.tensor([float("nan"), 0.5, -3.0], requires_grad=True)
        loss(x, torch.zeros(3), reduction="sum").backward()
        assert x.grad.isnan().tolist() == [True, False, False] and x.grad[1:].tolist() == [0.5, -1]


def test_cross_entropy_with_no_classes() -> None:
    assert NN.cross_entropy(torch.zeros(2, 0), torch.zeros(2, 0)).isnan()
