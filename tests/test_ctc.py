"""CTC against the sum over every alignment, one by one."""

import itertools
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional


def summed(log_probs: np.ndarray, label: list[int], blank: int) -> float:
    """-log of the probability of all paths that give the label when repeats, then blanks are taken out."""
    total = 0.0
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        merged = [c for c, _ in itertools.groupby(path)]
        if [c for c in merged if c != blank] == label:
            total += math.exp(sum(log_probs[t, c] for t, c in enumerate(path)))
    return -math.log(total) if total else math.inf


def inputs(seed: int, steps: int, n: int, classes: int):
    return torch.tensor(np.random.default_rng(seed).standard_normal((steps, n, classes)))


LABELS = [[1, 2], [2, 2], [1], [], [1, 2, 1]]


@pytest.mark.parametrize("blank", [0, 2])
def test_losses_are_sums_over_all_paths(blank):
    log_probs = inputs(0, 4, 5, 3).log_softmax(2)
    labels = [[c if blank == 0 else c - 1 for c in row] for row in LABELS]
    steps = [4, 3, 4, 2, 4]
    got = functional.ctc_loss(log_probs, torch.tensor([c for row in labels for c in row]), steps, [len(r) for r in labels], blank, "none")
    want = [summed(log_probs[:t, k].numpy(), row, blank) for k, (t, row) in enumerate(zip(steps, labels, strict=True))]
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-13)
    assert abs(summed(log_probs[:3, 0].numpy(), labels[0], blank) - want[0]) > 1e-3  # the walk sees a step that is missing


def test_padded_and_joined_targets_agree():
    log_probs = inputs(1, 6, 3, 4).log_softmax(2)
    padded = torch.tensor([[1, 2, 3], [3, -7, 99], [2, 1, -1]])  # what lies behind an end may be anything
    lengths = [3, 1, 2]
    joined = torch.tensor([1, 2, 3, 3, 2, 1])
    options = {"input_lengths": torch.tensor([6, 5, 6]), "target_lengths": torch.tensor(lengths), "reduction": "sum"}
    assert functional.ctc_loss(log_probs, padded, **options).equal(functional.ctc_loss(log_probs, joined, **options))


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_gradients_by_finite_differences(reduction):
    def loss(x):
        return functional.ctc_loss(x.log_softmax(2), labels, [5, 4, 5], [2, 1, 0], 0, reduction)

    labels = torch.tensor([[1, 1], [2, 0], [0, 0]])
    assert torch.autograd.gradcheck(loss, (inputs(2, 5, 3, 3).requires_grad_(),))


def test_a_long_sequence_in_float32_and_any_number_of_threads():
    torch.manual_seed(0)
    x, labels = torch.randn(300, 7, 20), torch.randint(1, 20, (7, 50))
    exact = x.double().requires_grad_()
    want = functional.ctc_loss(exact.log_softmax(2), labels, [300] * 7, [50] * 7)
    want.backward()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        single = x.clone().requires_grad_()
        loss = functional.ctc_loss(single.log_softmax(2), labels, [300] * 7, [50] * 7)
        loss.backward()
        results.append((loss.detach(), single.grad))
    assert (results[0][0] - want).abs() <= 1e-5 * want
    assert (results[0][1] - exact.grad).abs().max() <= 1e-3 * exact.grad.abs().max()
    assert all(torch.equal(a, b) for other in results[1:] for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("zero_infinity", [False, True])
def test_what_impossible_targets_give(zero_infinity):
    """Recorded from PyTorch: infinity with gradients of nan in the steps looked at, or zeros."""
    x = inputs(3, 3, 3, 4).log_softmax(2).requires_grad_()
    labels = torch.tensor([[1, 1], [3, 2], [1, 2]])
    loss = functional.ctc_loss(x, labels, [2, 3, 0], [2, 2, 1], 0, "none", zero_infinity)
    assert loss.isinf().tolist() == [not zero_infinity, False, not zero_infinity]
    (slope,) = torch.autograd.grad(loss[:2].sum(), x)
    assert slope[:2, 0].isnan().all() if not zero_infinity else not slope[:2, 0].any()
    assert not slope[2, 0].any()
    assert not slope[:, 2].any()
    assert slope[:, 1].isfinite().all()


def test_empty_targets_and_impossible_classes():
    x = inputs(4, 3, 2, 4).log_softmax(2)
    got = functional.ctc_loss(x, torch.zeros(2, 0, dtype=torch.int64), [3, 0], [0, 0], 0, "none")
    np.testing.assert_allclose(got.numpy(), [-x[:, 0, 0].sum().item(), 0.0])
    x[0, 0, 1] = -math.inf
    x.requires_grad_()
    functional.ctc_loss(x, torch.tensor([[1, 2], [3, 2]]), [3, 3], [2, 2]).backward()
    assert x.grad.isfinite().all()


def test_what_is_refused():
    x, labels = inputs(5, 4, 2, 3).log_softmax(2), torch.tensor([[1, 2], [1, 2]])
    for bad in (3, -1):
        wrong = labels.clone()
        wrong[1, 1] = bad
        with pytest.raises(RuntimeError, match=f"a label of targets is {bad}; labels must lie in"):
            functional.ctc_loss(x, wrong, [4, 4], [2, 2])
    with pytest.raises(NotImplementedError, match="\"ctc_loss_cpu\" not implemented for 'Half'"):
        functional.ctc_loss(x.half(), labels, [4, 4], [2, 2])
    x.requires_grad_()
    (slope,) = torch.autograd.grad(functional.ctc_loss(x, labels, [4, 4], [2, 2]), x, create_graph=True)
    with pytest.raises(RuntimeError, match="derivative for '_ctc_loss_backward' is not implemented"):
        slope.sum().backward()
