"""Connectionist temporal classification: the checks around its operator. `nn.functional` gives it out."""

from __future__ import annotations

import itertools
import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn._seen import seen

Tensor = o.Tensor


@seen
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
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
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
    if log_probs.dtype not in (o.float32, o.float64):
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{log_probs.dtype.title}'")
    labels = _padded_targets(targets, out_lengths, blank, log_probs.device)
    if (bad := o.first_outside(labels, classes)) is not None:
        raise RuntimeError(f"a label of targets is {bad}; labels must lie in [0, {classes}) [in ctc_loss]")
    lengths = [o.tensor(values, dtype=o.int64, device=log_probs.device) for values in (in_lengths, out_lengths)]
    loss, _ = o.ctc(log_probs, labels, *lengths, blank, zero_infinity)
    if zero_infinity:
        loss = o.where(loss == math.inf, 0.0, loss)
    if reduction == "mean":
        return (loss / lengths[1].clamp(min=1)).mean()
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
    """Targets as (N, longest or 1), the blank behind their ends."""
    longest = max(lengths, default=0)
    if targets.dim() == 2 and len(lengths) == targets.size(0):
        if longest > targets.size(1):
            raise RuntimeError(
                f"Expected tensor to have size at least {longest} at dimension 1, but got size "
                f"{targets.size(1)} for argument #2 'targets' (while checking arguments for ctc_loss_cpu)"
            )
        if longest == min(lengths, default=0) > 0:
            return targets[:, :longest].to(device, o.int64).contiguous()
        rows = [row[:length] for row, length in zip(targets.tolist(), lengths, strict=True)]
    else:
        flat = targets.reshape(-1).tolist()
        if sum(lengths) != len(flat):
            raise RuntimeError(
                f"Expected tensor to have size {sum(lengths)} at dimension 0, but got size {len(flat)} for argument #2 "
                "'targets' (while checking arguments for ctc_loss_cpu)"
            )
        ends = list(itertools.accumulate(lengths))
        rows = [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]
    padded = [[*row, *[blank] * (max(longest, 1) - len(row))] for row in rows]
    return o.tensor(padded, dtype=o.int64, device=device).view(len(lengths), max(longest, 1))
