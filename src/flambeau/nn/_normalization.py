"""Normalisations and products as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor


def instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Normalises every channel of every sample by itself."""
    if not use_input_stats:
        return o.batch_norm(input, running_mean, running_var, weight, bias, False, momentum, eps)
    n, c = input.shape[:2]
    if math.prod(input.shape[2:]) == 1:
        raise ValueError(f"Expected more than 1 spatial element when training, got input size {input.size()}")
    # Channels of all samples as channels of one: batch normalisation then sees a sample's channel at a time.
    running = [None if t is None else t.repeat(n) for t in (running_mean, running_var)]
    wide = input.reshape(1, n * c, *input.shape[2:])
    factors = [None if t is None else t.repeat(n) for t in (weight, bias)]
    out = o.batch_norm(wide, running[0], running[1], factors[0], factors[1], True, momentum, eps)
    with o.no_grad():
        for kept, seen in ((running_mean, running[0]), (running_var, running[1])):
            if kept is not None:
                kept.copy_(seen.view(n, c).mean(0))
    return out.reshape(input.shape)


def group_norm(
    input: Tensor, num_groups: int, weight: Tensor | None = None, bias: Tensor | None = None, eps: float = 1e-5
) -> Tensor:
    """Normalises groups of channels of every sample by themselves."""
    if input.dim() < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    n, c = input.shape[:2]
    if c % num_groups != 0:
        raise RuntimeError(
            "Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={num_groups}"
        )
    if n * (input.numel() // max(n * num_groups, 1)) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.size()}")
    return o.group_norm(input, num_groups, weight, bias, eps)


def rms_norm(input: Tensor, normalized_shape: Any, weight: Tensor | None = None, eps: float | None = None) -> Tensor:
    """x / sqrt(mean(x^2) + eps) over the last dimensions; eps is the dtype's own where it is left out."""
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    if tuple(input.shape[-len(shape) :]) != shape:
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*{str(list(shape))[1:-1]}], but got "
            f"input of size{list(input.shape)}"
        )
    low = input.dtype in (o.float16, o.bfloat16)
    x = input.float() if low else input
    eps = o.epsilon(x.dtype) if eps is None else eps
    dims = tuple(range(-len(shape), 0))
    out = x * o.rsqrt(x.square().mean(dims, keepdim=True) + eps)
    out = out if weight is None else out * weight
    return out.to(input.dtype) if low else out


def local_response_norm(input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Tensor:
    """x / (k + alpha mean of x^2 over `size` neighbouring channels)^beta."""
    if input.dim() < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.dim()} dimensions)"
        )
    if input.numel() == 0:
        return input
    sides = [0] * (2 * (input.dim() - 2)) + [size // 2, (size - 1) // 2]
    squares = o.constant_pad_nd(input.square(), sides)
    channels = input.size(1)
    total = squares.narrow(1, 0, channels)
    for shift in range(1, size):
        total = total + squares.narrow(1, shift, channels)
    return input / (total / size * alpha + k).pow(beta)


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1^T A x2 + b for every output."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape[:-1])} and "
            f"{list(input2.shape[:-1])}"
        )
    outs, n1, n2 = weight.shape
    if input1.size(-1) != n1:
        raise RuntimeError(
            f"bilinear(): input1 size does not match weight size: got {input1.size(-1)} but expected {n1}"
        )
    if input2.size(-1) != n2:
        raise RuntimeError(
            f"bilinear(): input2 size does not match weight size: got {input2.size(-1)} but expected {n2}"
        )
    first = o.matmul(input1, weight.permute(1, 0, 2).reshape(n1, outs * n2))
    out = (first.unflatten(-1, (outs, n2)) * input2.unsqueeze(-2)).sum(-1)
    return out if bias is None else out + bias


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), for the halves a and b of a dimension."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    if input.size(dim) % 2 != 0:
        at = dim % input.dim()
        raise RuntimeError(f"Halving dimension must be even, but dimension {at} is size {input.size(dim)}")
    first, second = input.chunk(2, dim)
    return first * o.sigmoid(second)
