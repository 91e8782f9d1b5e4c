"""Pooling as compositions of operators. `nn.functional` gives it out."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn._operators import embedding
from flambeau.nn._seen import seen
from flambeau.ops.layout import channels_lie_inside

Tensor = o.Tensor


def _sizes(value: Any, n: int) -> tuple[Any, ...]:
    return (value,) * n if value is None or isinstance(value, int) else tuple(value)


def _lp_pool(input: Tensor, norm_type: float, kernel_size: Any, stride: Any, ceil_mode: bool, n: int) -> Tensor:
    """(sum of x^p over every window)^(1/p), as an average pool of powers."""
    kernel = _sizes(kernel_size, n)
    average = getattr(o, f"avg_pool{n}d")
    steps = kernel if stride is None else _sizes(stride, n)
    mean = average(input.pow(norm_type), kernel, steps, 0, ceil_mode)
    return (mean.sign() * o.relu(mean.abs())).mul(math.prod(kernel)).pow(1.0 / norm_type)


def lp_pool1d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window of the last dimension."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 1)


def lp_pool2d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window of the last two dimensions."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 2)


def lp_pool3d(input: Tensor, norm_type: float, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Tensor:
    """The p-norm of every window of the last three dimensions."""
    return _lp_pool(input, norm_type, kernel_size, stride, ceil_mode, 3)


def _unpooled_size(
    input: Tensor, kernel: tuple[int, ...], stride: tuple[int, ...], padding: tuple[int, ...], output_size: Any, n: int
) -> list[int]:
    sizes = input.shape[-n:]
    plain = [(s - 1) * step - 2 * p + k for s, step, p, k in zip(sizes, stride, padding, kernel, strict=True)]
    if output_size is None:
        return plain
    wanted = list(output_size)
    if len(wanted) == n + 2:
        wanted = wanted[2:]
    if len(wanted) != n:
        raise ValueError(
            f"output_size should be a sequence containing {n} or {n + 2} elements, but it has a length of "
            f"'{len(wanted)}'"
        )
    for i, (size, default, step) in enumerate(zip(wanted, plain, stride, strict=True)):
        if not default - step < size < default + step:
            raise ValueError(
                f'invalid output_size "{wanted}" (dim {i} must be between {default - step} and {default + step})'
            )
    return wanted


def _max_unpool(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any, padding: Any, output_size: Any, n: int
) -> Tensor:
    kernel = _sizes(kernel_size, n)
    steps = kernel if stride is None else _sizes(stride, n)
    size = _unpooled_size(input, kernel, steps, _sizes(padding, n), output_size, n)
    if indices.dtype != o.int64:
        raise RuntimeError(f"elements in indices should be type int64 but got: {indices.dtype.title}")
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but got indices "
            f"tensor with shape: {list(indices.shape)}"
        )
    total = math.prod(size)
    lead = input.shape[:-n]
    bad = o.first_outside(indices, total)
    if bad is not None:
        shown = [*size, 1] if n == 1 else size
        raise RuntimeError(
            f"Found an invalid max index: {bad} (output volumes are of size {'x'.join(map(str, shown))})"
        )
    flat = o.zeros((*lead, total), dtype=input.dtype, device=input.device)
    each = math.prod(input.shape[-n:])
    flat = flat.scatter(-1, indices.reshape(*lead, each), input.reshape(*lead, each))
    result = flat.reshape(*lead, *size)
    return result.contiguous(memory_format=o.channels_last) if n == 2 and channels_lie_inside(o, input) else result


@seen
def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts elements back where `max_pool1d` found them; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 1)


@seen
def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts elements back where `max_pool2d` found them; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 2)


@seen
def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Any, stride: Any = None, padding: Any = 0, output_size: Any = None
) -> Tensor:
    """Puts elements back where `max_pool3d` found them; zeros elsewhere."""
    return _max_unpool(input, indices, kernel_size, stride, padding, output_size, 3)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sums, means or maxima of bags of embeddings.

    Args:
        input: (N, L): N bags of L; or all bags one after the other, with `offsets` where each begins.
        per_sample_weights: factors of the embeddings, with mode "sum" only.
        padding_idx: an entry that does not count.
    """
    if weight.dtype == o.int64 and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage `embedding_bag(weight, input, ...)` is "
            "deprecated, and should now be `embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        weight, input = input, weight
    if per_sample_weights is not None and input.size() != per_sample_weights.size():
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({per_sample_weights.shape}) is not None, then it must have "
            f"the same shape as the input ({input.shape})"
        )
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if per_sample_weights is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for mode='sum' (got "
            f"mode='{mode}'). Please open a feature request on GitHub."
        )
    if mode == "max" and (scale_grad_by_freq or sparse):
        what = "scaling the gradient by the frequency" if scale_grad_by_freq else "sparse weights"
        raise ValueError(f"max mode does not support {what}")
    entries, starts = _bags(input, offsets, include_last_offset)
    _check_table(entries, weight, per_sample_weights, padding_idx)
    if mode == "max":
        _check_entries(entries, weight.size(0))
    padding = None if padding_idx is None else padding_idx % weight.size(0)
    if mode == "max":
        vectors = embedding(entries, weight, padding_idx, max_norm, norm_type)
        return _bag_maxima(vectors, starts, None if padding is None else entries != padding)
    if max_norm is not None:
        embedding(entries, weight, None, max_norm, norm_type)  # shortens rows of the table
    kept = None if padding is None else (entries != padding).to(weight.dtype)
    factors = per_sample_weights.reshape(-1) if per_sample_weights is not None else None
    if scale_grad_by_freq or sparse:
        vectors = embedding(entries, weight, padding_idx, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)
        weight, entries = vectors, o.arange(entries.numel(), device=entries.device)
    factors = kept if factors is None else factors if kept is None else factors * kept
    total = o.bag_sum(weight, entries.to(o.int64), starts, factors)
    if mode == "sum":
        return total
    sizes = starts[1:] - starts[:-1]
    if kept is not None:
        sizes = o.bag_sum(kept.unsqueeze(1), o.arange(kept.numel(), device=kept.device), starts).squeeze(1)
    return total / sizes.clamp(min=1).to(total.dtype).unsqueeze(1)


_TABLE_DTYPES = (o.float16, o.bfloat16, o.float32, o.float64)


def _check_table(entries: Tensor, weight: Tensor, factors: Tensor | None, padding_idx: int | None) -> None:
    if weight.dim() != 2:
        raise ValueError(f"weight has to be a 2D Tensor, but got Tensor of dimension {weight.dim()}")
    if entries.dtype not in (o.int64, o.int32):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"{entries.type()} instead (while checking arguments for embedding_bag)"
        )
    if weight.dtype not in _TABLE_DTYPES:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: Half, BFloat16, "
            f"Float, Double; but got {weight.type()} instead (while checking arguments for embedding_bag)"
        )
    if factors is not None and factors.dtype != weight.dtype:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument #1 "
            f"'per_sample_weights'; but type {weight.type()} does not equal {factors.type()} (while checking arguments "
            "for embedding_bag)"
        )
    rows = weight.size(0)
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, {-rows} through {rows - 1}, but got {padding_idx}"
        )


def _check_entries(entries: Tensor, rows: int) -> None:
    """Raises where a maximum would be over a row that the table does not have."""
    bad = o.first_outside(entries, rows)
    if bad is not None:
        raise RuntimeError(f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {bad}")


def _bags(input: Tensor, offsets: Tensor | None, include_last_offset: bool) -> tuple[Tensor, Tensor]:
    """All entries, and where each bag begins; the end of the last stands behind."""
    if input.dim() == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        rows, length = input.shape
        starts = o.arange(rows + 1, device=input.device) * length
        return input.reshape(-1), starts
    if input.dim() != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {input.dim()}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets.dim() != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    input = input.to(o.promote_types(input.dtype, offsets.dtype))
    if include_last_offset and not offsets.numel():
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    begins = offsets.to(o.int64)
    if begins.numel() and begins[0].item() != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, "
            f"got {begins[0].item()}"
        )
    if begins.numel() and begins[-1].item() > input.numel():
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {input.numel()} but got offsets[-1] of "
            f"{begins[-1].item()}"
        )
    if bool((begins[1:] < begins[:-1]).any()):
        raise RuntimeError("embedding_bag: offsets must not decrease")
    if include_last_offset:
        begins = begins[:-1]
    return input, o.cat([begins, o.tensor([input.numel()], dtype=o.int64, device=input.device)])


def _bag_maxima(vectors: Tensor, starts: Tensor, counts: Tensor | None) -> Tensor:
    parts, bounds = [], starts.tolist()
    lengths = {end - first for first, end in pairwise(bounds)}
    if counts is None and len(lengths) == 1 and 0 not in lengths:
        return vectors.reshape(-1, *lengths, vectors.size(1)).max(1)[0]
    for first, end in pairwise(bounds):
        members = vectors[first:end]
        if counts is not None:
            members = members[counts[first:end]]
        empty = o.zeros((vectors.size(1),), dtype=vectors.dtype, device=vectors.device)
        parts.append(members.max(0)[0] if members.size(0) else empty)
    return o.stack(parts) if parts else vectors[:0]
