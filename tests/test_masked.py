"""`masked`: against the same operation on the elements that count, one row at a time."""

import math

import numpy as np
import pytest

import flambeau as torch

RNG = np.random.default_rng(5)
X = RNG.standard_normal((4, 5))
MASK = RNG.random((4, 5)) > 0.4
MASK[2] = False  # a row without elements
MASK[1] = True


def by_row(f, empty):
    return np.array([f(row[keep]) if keep.any() else empty for row, keep in zip(X, MASK, strict=True)])


def logsumexp(x):
    return np.log(np.exp(x).sum())


REDUCTIONS = {
    "sum": (np.sum, 0), "prod": (np.prod, 1), "amax": (np.max, -np.inf), "amin": (np.min, np.inf),
    "mean": (np.mean, np.nan), "logsumexp": (logsumexp, -np.inf), "norm": (np.linalg.norm, 0),
    "median": (lambda x: np.sort(x)[(len(x) - 1) // 2], np.nan),
    "var": (lambda x: np.var(x, ddof=1) if len(x) > 1 else np.nan, np.nan),
    "std": (lambda x: np.std(x, ddof=1) if len(x) > 1 else np.nan, np.nan),
}  # fmt: skip


def call(name: str, x, *args, **options):
    extra = (2,) if name == "norm" else ()
    return getattr(torch.masked, name)(x, *extra, *args, **options)


@pytest.mark.parametrize("name", REDUCTIONS)
def test_reductions_see_only_what_counts(name: str) -> None:
    f, empty = REDUCTIONS[name]
    got = call(name, torch.tensor(X), 1, mask=torch.tensor(MASK))
    np.testing.assert_allclose(got.numpy(), by_row(f, empty), rtol=1e-12)
    kept = call(name, torch.tensor(X), 1, keepdim=True, mask=torch.tensor(MASK))
    assert kept.shape == (4, 1)
    np.testing.assert_allclose(call(name, torch.tensor(X), 1).numpy(), [f(row) for row in X], rtol=1e-12)


@pytest.mark.parametrize("name", sorted(set(REDUCTIONS) - {"median"}))
def test_reductions_take_several_dimensions_and_all(name: str) -> None:
    f, _ = REDUCTIONS[name]
    x, mask = torch.tensor(X).view(2, 2, 5), torch.tensor(MASK).view(2, 2, 5)
    want = [f(X[:2][MASK[:2]]), f(X[2:][MASK[2:]])]
    np.testing.assert_allclose(call(name, x, (1, -1), mask=mask).numpy(), want, rtol=1e-12)
    for dims in (None, ()):
        got = call(name, x, dims, mask=mask)
        np.testing.assert_allclose(got.numpy(), f(X[MASK]), rtol=1e-12)


@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_positions_are_in_the_dtype_of_the_input(name: str) -> None:
    got = getattr(torch.masked, name)(torch.tensor(X), 1, mask=torch.tensor(MASK))
    fill = -np.inf if name == "argmax" else np.inf
    assert got.dtype is torch.float64
    assert got.tolist() == getattr(np, name)(np.where(MASK, X, fill), axis=1).tolist()


def test_running_totals_and_softmaxes() -> None:
    x, mask = torch.tensor(X), torch.tensor(MASK)
    np.testing.assert_allclose(torch.masked.cumsum(x, 1, mask=mask), np.cumsum(np.where(MASK, X, 0), 1), rtol=1e-12)
    np.testing.assert_allclose(torch.masked.cumprod(x, 0, mask=mask), np.cumprod(np.where(MASK, X, 1), 0), rtol=1e-12)
    with np.errstate(invalid="ignore"):
        powers = np.where(MASK, np.exp(X), 0)
        share = powers / powers.sum(1, keepdims=True)
        inverse = np.where(MASK, np.exp(-X), 0)
        least = inverse / inverse.sum(1, keepdims=True)
    np.testing.assert_allclose(torch.masked.softmax(x, 1, mask=mask), share, rtol=1e-12)
    np.testing.assert_allclose(torch.masked.softmin(x, 1, mask=mask), least, rtol=1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        np.testing.assert_allclose(torch.masked.log_softmax(x, 1, mask=mask), np.log(share), rtol=1e-11)


def test_normalize_and_logaddexp() -> None:
    x, mask = torch.tensor(X), torch.tensor(MASK)
    kept = np.where(MASK, X, 0)
    length = np.maximum(np.abs(kept).sum(1, keepdims=True), 1e-12)
    np.testing.assert_allclose(torch.masked.normalize(x, 1, 1, mask=mask), kept / length, rtol=1e-12)
    both = torch.masked.logaddexp(x, 2 * x, input_mask=mask, other_mask=~mask)
    np.testing.assert_allclose(both, np.where(MASK, X, 2 * X), rtol=1e-12)


@pytest.mark.parametrize("name", [*sorted(set(REDUCTIONS) - {"median"}), "softmax", "cumprod", "normalize"])
def test_gradients(name: str) -> None:
    mask = torch.tensor(MASK[[0, 1, 3]])
    x = torch.tensor(X[[0, 1, 3]], requires_grad=True)

    def f(x):
        args = (2, 1) if name == "normalize" else (1,)
        return call(name, x, *args, mask=mask)

    assert torch.autograd.gradcheck(f, (x,))
    assert torch.autograd.gradgradcheck(f, (x,))


def test_a_row_without_elements_gets_no_gradient() -> None:
    x = torch.tensor(X, requires_grad=True)
    torch.masked.sum(x, 1, mask=torch.tensor(MASK)).sum().backward()
    assert np.array_equal(x.grad.numpy(), MASK.astype(float))


def test_dtypes_follow_the_input() -> None:
    i, mask = torch.arange(6).view(2, 3), torch.tensor([[True, False, True], [False, False, False]])
    assert torch.masked.sum(i.int(), 1, mask=mask).dtype is torch.int64
    assert torch.masked.sum(i.int(), 1, mask=mask, dtype=torch.int32).tolist() == [2, 0]
    assert torch.masked.amax(i, 1, mask=mask).tolist() == [2, -(2**63)]
    assert torch.masked.amin(i.to(torch.uint8), 1, mask=mask).tolist() == [0, 255]
    assert torch.masked.cumsum(i.int(), 1, mask=mask).dtype is torch.int32
    assert torch.masked.var(i, mask=mask).dtype is torch.float32
    assert torch.masked.mean(i, 1, mask=mask[0], dtype=torch.float64).tolist() == [1.0, 4.0]
    c = torch.complex(i.float(), -i.float())
    assert torch.masked.prod(c, 1, mask=mask).tolist() == [0, 1]
    assert torch.masked.std(c, mask=mask).real.item() == pytest.approx(2.0)
    assert torch.masked.mean(i.bfloat16(), 1, mask=mask[0]).dtype is torch.bfloat16


def test_masks_broadcast_and_other_masks_are_refused() -> None:
    x = torch.tensor(X)
    assert torch.masked.sum(x, 1, mask=torch.tensor([True, False, True, False, False])).shape == (4,)
    with pytest.raises(IndexError, match=r"expected broadcastable mask \(got mask dimensionality higher"):
        torch.masked.sum(x, mask=torch.ones(1, 4, 5))
    with pytest.raises(RuntimeError, match=r"expanded size of the tensor \(5\) must match the existing size \(2\)"):
        torch.masked.sum(x, mask=torch.ones(4, 2))
    with pytest.raises(RuntimeError, match="dim=0 appears multiple times in the list of dims"):
        torch.masked.sum(x, (0, 0))
    with pytest.raises(IndexError, match="Dimension out of range"):
        torch.masked.mean(x, 2)


def test_errors() -> None:
    i, empty = torch.arange(3), torch.zeros(3, dtype=torch.bool)
    with pytest.raises(ValueError, match="mean.*Could not infer output dtype"):
        torch.masked.mean(i)
    with pytest.raises(ValueError, match="no fully masked out rows"):
        torch.masked.median(i, 0, mask=empty)
    with pytest.raises(NotImplementedError, match="identity of amax on torch.bool input"):
        torch.masked.amax(empty, 0, mask=empty)
    with pytest.raises(NotImplementedError, match=r"cumsum_out_cpu.*Bool"):
        torch.masked.cumsum(empty, 0)
    with pytest.raises(NotImplementedError, match=r"softmax_lastdim_kernel_impl.*Long"):
        torch.masked.softmax(i, 0)
    with pytest.raises(AssertionError, match="Only one of unbiased and correction"):
        torch.masked.var(i, 0, True, correction=1)
    with pytest.raises(AssertionError, match=r"input must be floating point, got torch\.int64"):
        torch.masked.norm(i, -math.inf, 0, mask=~empty)
    with pytest.raises(RuntimeError, match="Subtraction, the `-` operator"):
        torch.masked.std(empty)
    with pytest.raises(AttributeError, match="Did you mean: 'softmax'"):
        torch.masked.sofmax  # noqa: B018


def test_functions_are_listed() -> None:
    assert {"sum", "softmax", "normalize"} <= set(dir(torch.masked))
