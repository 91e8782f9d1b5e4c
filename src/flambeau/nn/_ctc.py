"""Connectionist temporal classification as a composition of operators. `nn.functional` gives it out."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor

_IMPOSSIBLE = -1e30  # stands for log(0): a finite number keeps gradients finite


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Any,
    target_lengths: Any,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """-log of the probability of the targets, summed over all alignments by dynamic programming.

    Args:
        log_probs: (T, N, C) or (T, C), the result of log_softmax; the gradient is that of the logits before it.
        targets: (N, S), or all targets one after the other.
        input_lengths: how many of the T steps belong to every sample.
        target_lengths: how long every target is.
        blank: the class that stands for no label.
        zero_infinity: give zero, and no gradient, where no alignment exists.
    """
    single = log_probs.dim() == 2
    if single:
        log_probs = log_probs.unsqueeze(1)
    steps, n, classes = log_probs.shape
    if steps == 0:
        raise RuntimeError("log_probs tensor must not be empty")
    if not 0 <= blank < classes:
        raise RuntimeError("blank must be in label range")
    in_lengths, out_lengths = _lengths(input_lengths), _lengths(target_lengths)
    _check_lengths(in_lengths, out_lengths, steps, n)
    labels = _padded_targets(targets, out_lengths, blank, log_probs.device)
    loss = _alignment_loss(log_probs, labels, in_lengths, out_lengths, blank)
    infinite = loss > -_IMPOSSIBLE / 2
    loss = o.where(infinite, 0.0 if zero_infinity else math.inf, loss)
    valid = o.arange(steps, device=log_probs.device).unsqueeze(1) < o.tensor(in_lengths, device=log_probs.device)
    if zero_infinity:
        valid = valid & ~infinite
    # The gradient of the normaliser: zero in value, as what is loaded into log_probs adds up to one.
    total = o.where(valid, log_probs.exp().sum(2), 0.0).sum(0)
    loss = loss + (total - total.detach())
    if reduction == "mean":
        sizes = o.tensor(out_lengths, device=loss.device).clamp(min=1).to(loss.dtype)
        return (loss / sizes).mean()
    if reduction == "sum":
        return loss.sum()
    return loss.squeeze(0) if single else loss


def _lengths(values: Any) -> list[int]:
    if isinstance(values, o.Tensor):
        if values.is_floating_point():
            raise RuntimeError("input_lengths and target_lengths must be integral")
        return values.reshape(-1).tolist()
    return [int(v) for v in values]


def _check_lengths(in_lengths: list[int], out_lengths: list[int], steps: int, n: int) -> None:
    if len(in_lengths) != n:
        raise RuntimeError("input_lengths must be of size batch_size")
    if len(out_lengths) != n:
        raise RuntimeError("target_lengths must be of size batch_size")
    for i, length in enumerate(in_lengths):
        if length > steps or length < 0:
            raise RuntimeError(
                f"Expected input_lengths to have value at most {steps}, but got value {length} (while checking "
                "arguments for ctc_loss_cpu)"
                if length > steps
                else f"Expected input_lengths[{i}] to be non-negative, but got {length}"
            )
    if any(length < 0 for length in out_lengths):
        raise RuntimeError("Expected target_lengths to have value at least 0")


def _padded_targets(targets: Tensor, lengths: list[int], blank: int, device: Any) -> Tensor:
    """Targets as (N, longest); what lies behind a target's end is never used."""
    longest = max(lengths, default=0)
    if targets.dim() == 2 and len(lengths) == targets.size(0):
        if longest > targets.size(1):
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                f"{targets.size(1)} for argument #2 'targets' (while checking arguments for ctc_loss_cpu)"
            )
        return targets[:, :longest].to(o.int64)
    flat = targets.reshape(-1).tolist()
    if sum(lengths) != len(flat):
        raise RuntimeError(
            f"Expected tensor to have size {sum(lengths)} at dimension 0, but got size {len(flat)} for argument #2 "
            "'targets' (while checking arguments for ctc_loss_cpu)"
        )
    rows, begin = [], 0
    for length in lengths:
        rows.append(flat[begin : begin + length] + [blank] * (longest - length))
        begin += length
    return o.tensor(rows, dtype=o.int64, device=device).view(len(lengths), longest)


def _shifted(alpha: Tensor, by: int) -> Tensor:
    wall = o.full((alpha.size(0), by), _IMPOSSIBLE, dtype=alpha.dtype, device=alpha.device)
    return o.cat([wall, alpha], 1)[:, : alpha.size(1)]


def _alignment_loss(
    log_probs: Tensor, labels: Tensor, in_lengths: list[int], out_lengths: list[int], blank: int
) -> Tensor:
    """The forward recursion over states blank, label 1, blank, label 2, ..., blank, for all samples at a time."""
    n, longest = labels.shape
    states = o.full((n, 2 * longest + 1), blank, dtype=o.int64, device=labels.device)
    states[:, 1::2] = labels
    # A label may follow another directly only where the two differ.
    skips = o.zeros(states.shape, dtype=o.bool, device=labels.device)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    scores = log_probs.clamp(min=_IMPOSSIBLE).gather(2, states.unsqueeze(0).expand(log_probs.size(0), -1, -1))
    start = o.arange(states.size(1), device=labels.device) < 2
    alpha = o.where(start, scores[0], _IMPOSSIBLE)
    lengths = o.tensor(in_lengths, device=labels.device).unsqueeze(1)
    for t in range(1, max(in_lengths, default=0)):
        skipped = o.where(skips, _shifted(alpha, 2), _IMPOSSIBLE)
        reached = o.stack([alpha, _shifted(alpha, 1), skipped]).logsumexp(0) + scores[t]
        alpha = o.where(lengths > t, reached.clamp(min=_IMPOSSIBLE), alpha)
    ends = o.tensor([[2 * s, max(2 * s - 1, 0)] for s in out_lengths], device=labels.device)
    last = alpha.gather(1, ends)
    no_label = o.tensor([[False, s == 0] for s in out_lengths], device=labels.device)
    loss = -o.where(no_label, _IMPOSSIBLE, last).logsumexp(1)
    if 0 in in_lengths:  # such a sample was never looked at: only an empty target fits
        unseen = o.tensor([length == 0 for length in in_lengths], device=labels.device)
        only_empty = o.tensor([0.0 if s == 0 else -_IMPOSSIBLE for s in out_lengths], dtype=loss.dtype)
        loss = o.where(unseen, only_empty.to(labels.device), loss)
    return loss
