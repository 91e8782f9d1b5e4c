"""Cross entropy of classes as a row program: what the gradient takes from the forward, and rows of any length."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops import rowderive

F = torch.nn.functional


def test_the_gradient_takes_statistics_from_the_forward():
    _, saved, _ = rowderive.backward_plan("cross_entropy_rows", "", False, 1)
    assert {(True, 1), (True, 2)} <= set(saved)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-6), ("bfloat16", 1e-2)])
@pytest.mark.parametrize("rows, classes", [(3, 1), (5, 16), (4, 63), (2, 1000), (600, 130)])
def test_every_class_of_a_row(rows, classes, dtype, tolerance):
    rng = np.random.default_rng(classes)
    x = torch.tensor(3 * rng.standard_normal((rows, classes)) + 50).to(getattr(torch, dtype)).requires_grad_()
    target = np.arange(rows) * 7 % classes
    exact = x.detach().double().numpy()
    share = np.exp(exact - exact.max(1, keepdims=True))
    share /= share.sum(1, keepdims=True)
    losses = F.cross_entropy(x, torch.tensor(target), reduction="none")
    g = rng.standard_normal(rows)
    (slope,) = torch.autograd.grad(losses, x, torch.tensor(g).to(losses.dtype))
    np.testing.assert_allclose(
        losses.detach().double().numpy(), -np.log(share[range(rows), target]), rtol=20 * tolerance, atol=20 * tolerance
    )
    share[range(rows), target] -= 1
    np.testing.assert_allclose(slope.double().numpy(), share * g[:, None], rtol=0, atol=4 * tolerance)


def test_both_orders_and_ignored_rows():
    x = torch.tensor(np.random.default_rng(0).standard_normal((4, 5, 3)), requires_grad=True)
    target = torch.tensor([[0, 4, 2], [1, 1, -100], [3, -100, 0], [4, 0, 1]])
    for reduction in ("none", "mean", "sum"):
        call = lambda x, r=reduction: F.cross_entropy(x, target, reduction=r)  # noqa: E731
        assert gradcheck(call, (x,)) and gradgradcheck(call, (x,))
    (slope,) = torch.autograd.grad(F.cross_entropy(x, target), x)
    assert not slope[1, :, 2].any() and not slope[2, :, 1].any()


def test_logits_of_no_chance_and_nan():
    inf = float("inf")
    x = torch.tensor([[-inf, 0.0, 0.0], [float("nan"), 0.0, 0.0], [1e30, 0.0, -1e30]], requires_grad=True)
    losses = F.cross_entropy(x, torch.tensor([1, 1, 0]), reduction="none")
    (slope,) = torch.autograd.grad(losses.sum(), x)
    np.testing.assert_allclose(losses.detach().numpy(), [np.log(2), np.nan, 0], rtol=1e-6)
    np.testing.assert_allclose(slope.numpy(), [[0, -0.5, 0.5], [np.nan] * 3, [0, 0, 0]], rtol=1e-6)


@pytest.mark.parametrize("ignored", [-100, 2, 7])
def test_the_chosen_class_in_any_layout(ignored):
    """Rows along and across the lanes, in steps, and of two runs."""
    x = torch.tensor(np.random.default_rng(1).standard_normal((6, 5, 40, 3)), requires_grad=True)
    target = torch.tensor(np.random.default_rng(2).integers(0, 5, (6, 40, 3)))
    if ignored not in range(5):
        target[0, 0, 0] = ignored
    for y in (
        x,
        x.transpose(0, 1).contiguous().transpose(0, 1),
        x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    ):
        losses = F.nll_loss(y, target, ignore_index=ignored, reduction="none")
        wanted = -np.take_along_axis(x.detach().numpy(), np.maximum(target.numpy()[:, None] % 5, 0), 1)[:, 0]
        np.testing.assert_array_equal(losses.detach().numpy(), np.where(target.numpy() == ignored, 0, wanted))
        (slope,) = torch.autograd.grad(losses.sum(), x)
        assert (slope.sum() + (target != ignored).sum()).item() == 0


def test_a_chosen_zero_is_positive_as_that_of_a_sum():
    x = torch.tensor([[-0.0, 1.0], [1.0, 0.0]])
    assert not torch.signbit(-F.nll_loss(x, torch.tensor([0, 1]), reduction="none")).any()


@pytest.mark.parametrize(
    ("sizes", "target", "weight", "error", "sentence"),
    [
        ((), (1,), None, ValueError, r"Expected 1 or more dimensions \(got 0\)"),
        ((3, 4), (), None, ValueError, r"Expected input batch_size \(3\) to match target batch_size \(0\)\."),
        ((3, 4), (2,), None, ValueError, r"Expected input batch_size \(3\) to match target batch_size \(2\)\."),
        ((3, 4, 5), (3, 4), None, RuntimeError, r"Expected target size \[3, 5\], got \[3, 4\]"),
        ((3, 4, 5), (3,), None, RuntimeError, r"Expected target size \[3, 5\], got \[3\]"),
        ((3, 4), (3, 1), None, RuntimeError, "0D or 1D target tensor expected, multi-target not supported"),
        ((4,), (2,), None, ValueError, "For 1D input, 1D target must have size 1, but got target size: 2"),
        ((4,), (1, 1), None, RuntimeError, "0D or 1D target tensor expected, multi-target not supported"),
        ((3, 4), (3,), (3,), RuntimeError, r"for all 4 classes or no classes but got weight tensor of shape: \[3\]"),
        ((3, 4), (3,), (4, 1), RuntimeError, r"no classes but got weight tensor of shape: \[4, 1\]"),
    ],
)
def test_operands_that_do_not_fit(sizes, target, weight, error, sentence):
    target, weight = torch.zeros(target, dtype=torch.int64), None if weight is None else torch.ones(weight)
    with pytest.raises(error, match=sentence):
        torch.nn.functional.nll_loss(torch.zeros(sizes), target, weight)


def test_what_is_no_target():
    x = torch.zeros(3, 4)
    with pytest.raises(RuntimeError, match="expected target dtype to be Long or Byte, but got Int"):
        torch.nn.functional.cross_entropy(x, torch.zeros(3, dtype=torch.int32))
    with pytest.raises(TypeError, match=r"nll_loss_nd\(\): argument 'target' \(position 2\) must be Tensor, not list"):
        torch.nn.functional.nll_loss(x, [0, 1, 2])
    with pytest.raises(TypeError, match=r"cross_entropy_loss\(\): argument 'input' \(position 1\) must be Tensor, not int"):
        torch.nn.functional.cross_entropy(3, [0, 1, 2])
    assert torch.nn.functional.nll_loss(x, torch.zeros(3, dtype=torch.uint8)).item() == 0
