"""Losses as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn._distances import pairwise_distance
from flambeau.nn._seen import seen
from flambeau.ops.launch import check_operands, check_tensor

Tensor = o.Tensor

_REDUCTIONS = ("none", "mean", "sum")


def legacy_reduction(size_average: bool | None, reduce: bool | None, warn: bool = True) -> str:
    """The reduction that the two old arguments stand for."""
    size_average = True if size_average is None else size_average
    reduce = True if reduce is None else reduce
    reduction = "none" if not reduce else "mean" if size_average else "sum"
    if warn:
        warnings.warn(
            f"size_average and reduce args will be deprecated, please use reduction='{reduction}' instead.",
            stacklevel=3,
        )
    return reduction


def _reduction(size_average: bool | None, reduce: bool | None, reduction: str) -> str:
    if size_average is not None or reduce is not None:
        return legacy_reduction(size_average, reduce)
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "mean":
        return loss.mean()
    return loss.sum() if reduction == "sum" else loss


def _alike(input: Tensor, target: Tensor) -> bool:
    """Whether a loss of both is one row program: of one size and one of the dtypes that sums are computed in."""
    same = input.dtype == target.dtype and input.shape == target.shape
    return same and input.dtype in (o.float32, o.float64) and input.dim() > 0


def _weighted(loss: Tensor, weight: Tensor | None, reduction: str) -> Tensor:
    """The mean with weights is divided by their sum."""
    if weight is None:
        return _reduced(loss, reduction)
    weight = weight.expand_as(loss) if weight.shape != loss.shape else weight
    loss = loss * weight
    return loss.sum() / weight.sum() if reduction == "mean" else _reduced(loss, reduction)


def _warn_sizes(input: Tensor, target: Tensor) -> None:
    if target.size() != input.size():
        warnings.warn(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}). This will "
            "likely lead to incorrect results due to broadcasting. Please ensure they have the same size.",
            stacklevel=3,
        )


@seen
def l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """|x - y|."""
    _warn_sizes(input, target)
    reduction = _reduction(size_average, reduce, reduction)
    return _weighted((input - target).abs(), weight, reduction)


@seen
def mse_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    weight: Tensor | None = None,
) -> Tensor:
    """(x - y)^2."""
    _warn_sizes(input, target)
    if weight is not None and weight.size() != input.size():
        raise ValueError("Weights and input must have the same size.")
    reduction = _reduction(size_average, reduce, reduction)
    if weight is None and reduction != "none" and _alike(input, target):
        return o.squared_error(input, target, reduction)
    return _weighted((input - target).square(), weight, reduction)


@seen
def smooth_l1_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    beta: float = 1.0,
) -> Tensor:
    """(x - y)^2 / (2 beta) where |x - y| < beta, else |x - y| - beta / 2."""
    _warn_sizes(input, target)
    reduction = _reduction(size_average, reduce, reduction)
    if beta < 0:
        raise RuntimeError("smooth_l1_loss does not support negative values for beta.")
    if beta == 0.0:
        return _reduced((input - target).abs(), reduction)
    return _reduced(o.smooth_l1_elements(input, target, beta), reduction)


@seen
def huber_loss(
    input: Tensor, target: Tensor, reduction: str = "mean", delta: float = 1.0, weight: Tensor | None = None
) -> Tensor:
    """(x - y)^2 / 2 where |x - y| < delta, else delta (|x - y| - delta / 2)."""
    _warn_sizes(input, target)
    reduction = _reduction(None, None, reduction)
    if delta <= 0:
        raise RuntimeError("huber_loss does not support non-positive values for delta.")
    loss = o.huber_elements(input, target, delta)
    return _reduced(loss if weight is None else loss * weight, reduction)


@seen
def nll_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight[y] x[y], for x of log-probabilities over dimension 1 (0 without a batch) and y of classes."""
    reduction = _reduction(size_average, reduce, reduction)
    return _of_rows(o.nll_loss_rows, input, target, weight, ignore_index, reduction)


def _check_range(target: Tensor, classes: int, ignore_index: int) -> bool:
    """Raises where a target is no class. Returns whether all targets are classes, and none is ignored."""
    bad = o.first_outside(target, classes)
    if bad is not None:
        if bad == ignore_index:
            bad = o.first_outside(o.where(target == ignore_index, 0, target), classes)
        if bad is not None:
            raise IndexError(f"Target {bad} is out of bounds.")
        return False
    return not 0 <= ignore_index < classes


def _of_rows(
    rows: Callable[[Tensor, Tensor, int], Tensor],
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
) -> Tensor:
    """The loss out of an operator that gives it for every row of classes, zero where the target is ignored."""
    all_count = _check_range(target, o.class_count(input, target, weight), ignore_index)
    losses = rows(input, target, ignore_index)
    counts = None if all_count else target != ignore_index
    if weight is not None:
        classes = target if counts is None else o.where(counts, target, 0)
        factor = weight[classes] if counts is None else o.where(counts, weight[classes], 0)
        losses = losses * factor.reshape(losses.shape)
        return losses.sum() / factor.sum() if reduction == "mean" else _reduced(losses, reduction)
    if reduction != "mean" or counts is None:
        return _reduced(losses, reduction)
    return losses.sum() / counts.sum()


@seen
def cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    ignore_index: int = -100,
    reduce: bool | None = None,
    reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Tensor:
    """-log softmax(x)[y], for x of logits over dimension 1 (0 without a batch), y of classes or probabilities."""
    reduction = _reduction(size_average, reduce, reduction)
    if not 0.0 <= label_smoothing <= 1.0:
        raise RuntimeError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing:g}")
    check_tensor("cross_entropy_loss", "input", input)
    check_tensor("cross_entropy_loss", "target", target, 2)
    dim = 0 if input.dim() == 1 else 1
    if target.shape == input.shape:
        return _cross_entropy_of_probabilities(input, target, weight, ignore_index, reduction, label_smoothing, dim)
    if label_smoothing == 0.0:
        return _of_rows(lambda *a: o.cross_entropy_rows(*a)[0], input, target, weight, ignore_index, reduction)
    log_probs = o.log_softmax(input, dim)
    loss = nll_loss(log_probs, target, weight, None, ignore_index, None, reduction)
    scaled = log_probs if weight is None else log_probs * _over_classes(weight, input.dim(), dim)
    counts = target != ignore_index
    smooth = o.where(counts, -scaled.sum(dim), 0)
    if reduction == "mean":
        total = counts.sum() if weight is None else o.where(counts, weight[o.where(counts, target, 0)], 0).sum()
        smooth = smooth.sum() / total
    else:
        smooth = _reduced(smooth, reduction)
    return (1 - label_smoothing) * loss + smooth * (label_smoothing / input.size(dim))


def _over_classes(weight: Tensor, ndim: int, dim: int) -> Tensor:
    shape = [1] * ndim
    shape[dim] = -1
    return weight.view(shape)


def _cross_entropy_of_probabilities(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None,
    ignore_index: int,
    reduction: str,
    label_smoothing: float,
    dim: int,
) -> Tensor:
    if not target.is_floating_point():
        raise RuntimeError(
            f"Expected floating point type for target with class probabilities, got {_scalar_type(target)}"
        )
    if ignore_index >= 0:
        raise RuntimeError("ignore_index is not supported for floating point target")
    classes = input.size(dim)
    if weight is not None and (weight.dim() != 1 or weight.numel() != classes):
        raise RuntimeError(
            "cross_entropy: weight tensor should be defined either for all classes or no classes but got weight tensor "
            f"of shape: {list(weight.shape)}"
        )
    if label_smoothing > 0.0:
        target = target * (1 - label_smoothing) + label_smoothing / classes
    terms = o.log_softmax(input, dim) * target
    if weight is not None:
        terms = terms * _over_classes(weight, input.dim(), dim)
    if reduction == "none":
        return -terms.sum(dim)
    loss = -terms.sum()
    return loss / (input.numel() / classes if classes else 0) if reduction == "mean" else loss


def _scalar_type(tensor: Tensor) -> str:
    names = {o.int64: "Long", o.int32: "Int", o.int16: "Short", o.int8: "Char", o.uint8: "Byte", o.bool: "Bool"}
    return names.get(tensor.dtype, str(tensor.dtype))


class LinearCrossEntropyOptions:
    """How `linear_cross_entropy` may save memory. Here the logits of a batch are always made as a whole.

    Args:
        allow_retain_graph: whether backward may run more than once; it always may.
        batch_chunk_size: rows to work on at a time.
        chunking_method: how to choose that number where it is not given.
        acc_policy: how sums over chunks are accumulated.
        acc_dtype: the dtype of those sums.
    """

    def __init__(
        self,
        allow_retain_graph: bool = False,
        batch_chunk_size: int | None = None,
        chunking_method: str | None = "auto",
        acc_policy: str = "auto",
        acc_dtype: Any = None,
    ) -> None:
        self.allow_retain_graph = allow_retain_graph
        self.batch_chunk_size = batch_chunk_size
        self.chunking_method = chunking_method
        self.acc_policy = acc_policy
        self.acc_dtype = acc_dtype


@seen
def linear_cross_entropy(
    input: Tensor,
    linear_weight: Tensor,
    target: Tensor,
    *,
    linear_bias: Tensor | None = None,
    weight: Tensor | None = None,
    reduction: str = "mean",
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    options: LinearCrossEntropyOptions | None = None,
) -> Tensor:
    """cross_entropy(linear(x, weight, bias), y), for a weight of shape (C, *out_features, in_features)."""
    classes, inner = linear_weight.shape[0], linear_weight.shape[1:-1]
    bias = None if linear_bias is None else linear_bias.reshape(-1)
    logits = o.linear(input, linear_weight.reshape(-1, linear_weight.shape[-1]), bias)
    if inner:
        logits = logits.unflatten(-1, (classes, *inner))
    return cross_entropy(
        logits,
        target,
        weight,
        ignore_index=-100 if ignore_index is None else ignore_index,
        reduction=reduction,
        label_smoothing=label_smoothing,
    )


@seen
def poisson_nll_loss(
    input: Tensor,
    target: Tensor,
    log_input: bool = True,
    full: bool = False,
    size_average: bool | None = None,
    eps: float = 1e-8,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """exp(x) - y x, or x - y log(x + eps) with `log_input=False`; `full` adds Stirling's term of log(y!)."""
    check_operands("poisson_nll_loss", input=input, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    loss = o.exp(input) - target * input if log_input else input - target * o.log(input + eps)
    if full:
        large = target > 1
        safe = o.where(large, target, 1)
        stirling = safe * o.log(safe) - safe + 0.5 * o.log(2 * math.pi * safe)
        loss = loss + o.where(large, stirling, 0)
    return _reduced(loss, reduction)


@seen
def gaussian_nll_loss(
    input: Tensor,
    target: Tensor,
    var: Tensor | float,
    full: bool = False,
    eps: float = 1e-6,
    reduction: str = "mean",
) -> Tensor:
    """(log(var) + (x - y)^2 / var) / 2; `full` adds log(2 pi) / 2. The variance is kept above eps."""
    if not isinstance(var, Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        var = var * o.ones_like(input)
    elif not o.is_all_true(~(var < 0)):
        raise ValueError("var has negative entry/entries")
    if var.size() != input.size():
        if input.size()[:-1] == var.size():
            var = var.unsqueeze(-1)
        elif input.dim() != var.dim() or [v for n, v in zip(input.size(), var.size(), strict=True) if n != v] != [1]:
            raise ValueError("var is of incorrect size")
    if reduction not in _REDUCTIONS:
        raise ValueError(f"{reduction} is not valid")
    floor = var.detach().clamp(min=eps)
    var = var + (floor - var.detach())  # clamped, and the gradient still flows below eps
    loss = 0.5 * (o.log(var) + (input - target).square() / var)
    if full:
        loss = loss + 0.5 * math.log(2 * math.pi)
    return _reduced(loss, reduction)


@seen
def kl_div(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    log_target: bool = False,
) -> Tensor:
    """y (log y - x), for x of log-probabilities; with `log_target` y is one too."""
    check_operands("kl_div", input=input, target=target)
    batchmean = reduction == "batchmean"
    if size_average is None and reduce is None and reduction == "mean":
        warnings.warn(
            "reduction: 'mean' divides the total loss by both the batch size and the support size.'batchmean' divides "
            "only by the batch size, and aligns with the KL div math definition.'mean' will be changed to behave the "
            "same as 'batchmean' in the next major release.",
            stacklevel=2,
        )
    for dtype in (input.dtype, target.dtype):
        if not dtype.is_floating_point:
            raise RuntimeError(f"kl_div: {'Complex' if dtype.is_complex else 'Integral'} inputs not supported.")
    reduction = _reduction(size_average, reduce, "sum" if batchmean else reduction)
    loss = target.exp() * (target - input) if log_target else o.xlogy(target, target) - target * input
    loss = _reduced(loss, reduction)
    return loss / input.size(0) if batchmean and input.dim() != 0 else loss


@seen
def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """-weight (y log x + (1 - y) log(1 - x)), for x of probabilities; logarithms are kept above -100."""
    reduction = _reduction(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(
            f"Using a target size ({target.size()}) that is different to the input size ({input.size()}) is "
            "deprecated. Please ensure they have the same size."
        )
    if target.dtype is not input.dtype:
        raise RuntimeError(f"Found dtype {target.dtype.title} but expected {input.dtype.title}")
    if not o.is_all_true((input >= 0) & (input <= 1)):
        raise RuntimeError("all elements of input should be between 0 and 1")
    loss = o.binary_cross_entropy_elements(input, target)
    return _reduced(loss if weight is None else loss * weight, reduction)


@seen
def binary_cross_entropy_with_logits(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
    pos_weight: Tensor | None = None,
) -> Tensor:
    """binary_cross_entropy(sigmoid(x), y), computed without overflow; `pos_weight` multiplies positive targets."""
    reduction = _reduction(size_average, reduce, reduction)
    if target.size() != input.size():
        raise ValueError(f"Target size ({target.size()}) must be the same as input size ({input.size()})")
    log_sigmoid = o.logsigmoid(input)
    if pos_weight is None:
        loss = (1 - target) * input - log_sigmoid
    else:
        loss = (1 - target) * input - ((pos_weight - 1) * target + 1) * log_sigmoid
    return _reduced(loss if weight is None else loss * weight, reduction)


@seen
def hinge_embedding_loss(
    input: Tensor,
    target: Tensor,
    margin: float = 1.0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """x where y = 1, max(0, margin - x) where y = -1."""
    check_operands("hinge_embedding_loss", input=input, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    loss = o.where(target != 1, (margin - input).clamp_min(0), 0) + o.where(target != -1, input, 0)
    return _reduced(loss, reduction)


@seen
def soft_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """log(1 + exp(-y x))."""
    check_operands("soft_margin_loss", input=input, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    return _reduced(o.log1p(o.exp(-target * input)), reduction)


@seen
def multilabel_soft_margin_loss(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """Binary cross entropy with logits, averaged over the last dimension."""
    reduction = _reduction(size_average, reduce, reduction)
    loss = -(target * o.logsigmoid(input) + (1 - target) * o.logsigmoid(-input))
    if weight is not None:
        loss = loss * weight
    return _reduced(loss.sum(dim=input.dim() - 1) / input.size(input.dim() - 1), reduction)


@seen
def multilabel_margin_loss(
    input: Tensor,
    target: Tensor,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over targets y and non-targets i of max(0, 1 - x[y] + x[i]) / C; targets end at the first -1."""
    check_operands("multilabel_margin_loss", input=input, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    if input.dim() > 2 or (input.dim() and not input.size(-1)):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    if target.shape != input.shape and not (input.dim() < 2 and target.dim() < 2 and target.numel() == input.numel()):
        raise RuntimeError(f"inconsistent target size: {list(target.shape)} for input of size: {list(input.shape)}")
    rows = input.reshape(1, -1) if input.dim() < 2 else input
    loss = o.multilabel_margins(rows, target.reshape(rows.shape))
    return _reduced(loss if input.dim() == 2 else loss.squeeze(0), reduction)


@seen
def multi_margin_loss(
    input: Tensor,
    target: Tensor,
    p: int = 1,
    margin: float = 1.0,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """sum over i != y of weight[y] max(0, margin - x[y] + x[i])^p / C."""
    check_operands("multi_margin_loss", input=input, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    if p not in (1, 2):
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    rows = input.reshape(1, -1) if input.dim() < 2 else input
    classes = target.reshape(-1, 1)
    if input.dim() > 2 or (input.dim() and not input.size(-1)):
        raise RuntimeError(
            f"Expected non-empty vector or matrix with optional 0-dim batch size, but got: {list(input.shape)}"
        )
    if target.dtype is not o.int64:
        raise RuntimeError(f"expected scalar type Long but found {target.dtype.title} [in multi_margin_loss: target]")
    if rows.dim() != 2 or classes.size(0) != rows.size(0):
        raise RuntimeError(f"inconsistent target size, expected {rows.size(0)} but got {list(target.shape)}")
    terms = (margin - rows.gather(1, classes) + rows).clamp_min(0)
    terms = terms if p == 1 else terms.square()
    if weight is not None:
        terms = terms * weight[classes]
    others = o.arange(rows.size(1), device=rows.device) != classes
    loss = o.where(others, terms, 0).sum(1) / rows.size(1)
    return _reduced(loss if target.dim() else loss.squeeze(0), reduction)


@seen
def margin_ranking_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, -y (x1 - x2) + margin)."""
    reduction = _reduction(size_average, reduce, reduction)
    if input1.dim() != input2.dim() or input1.dim() != target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: input1: "
            f"{input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    return _reduced((-target * (input1 - input2) + margin).clamp_min(0), reduction)


@seen
def cosine_embedding_loss(
    input1: Tensor,
    input2: Tensor,
    target: Tensor,
    margin: float = 0,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """1 - cos(x1, x2) where y = 1, max(0, cos(x1, x2) - margin) where y = -1."""
    check_operands("cosine_embedding_loss", input1=input1, input2=input2, target=target)
    reduction = _reduction(size_average, reduce, reduction)
    if target.dim() > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if not input1.dim() == input2.dim() == target.dim() + 1:
        raise RuntimeError(
            f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but found inputs with sizes "
            f"{list(input1.shape)} and {list(input2.shape)}."
        )
    eps = 1e-12  # inside the root, as the loss is defined
    dim = target.dim()
    squares = [(x * x).sum(dim) + eps for x in (input1, input2)]
    cosine = (input1 * input2).sum(dim) / o.sqrt(squares[0] * squares[1])
    loss = o.where(target == 1, 1 - cosine, 0) + o.where(target == -1, (cosine - margin).clamp_min(0), 0)
    return _reduced(loss, reduction)


@seen
def triplet_margin_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """max(0, |a - p| - |a - n| + margin)."""
    check_operands("triplet_margin_loss", anchor=anchor, positive=positive, negative=negative)
    reduction = _reduction(size_average, reduce, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    return _triplet(anchor, positive, negative, lambda x, y: pairwise_distance(x, y, p, eps), margin, swap, reduction)


def _check_triplet(anchor: Tensor, positive: Tensor, negative: Tensor) -> None:
    dims = (anchor.ndim, positive.ndim, negative.ndim)
    if len(set(dims)) != 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of dimensions, but got: "
            f"anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D inputs"
        )


@seen
def triplet_margin_with_distance_loss(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    *,
    distance_function: Callable[[Tensor, Tensor], Tensor] | None = None,
    margin: float = 1.0,
    swap: bool = False,
    reduction: str = "mean",
) -> Tensor:
    """`triplet_margin_loss` with a distance of one's own."""
    reduction = _reduction(None, None, reduction)
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    _check_triplet(anchor, positive, negative)
    return _triplet(anchor, positive, negative, distance_function or pairwise_distance, margin, swap, reduction)


def _triplet(
    anchor: Tensor,
    positive: Tensor,
    negative: Tensor,
    distance: Callable[[Tensor, Tensor], Tensor],
    margin: float,
    swap: bool,
    reduction: str,
) -> Tensor:
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = o.minimum(far, distance(positive, negative))
    return _reduced((margin + near - far).clamp_min(0), reduction)
