"""Normalisations and products as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

import math

from flambeau import functional_ns as o

Tensor = o.Tensor


def _beside(input: Tensor, statistics: Tensor) -> Tensor:
    """Statistics in a dtype that batch_norm takes beside the input."""
    if input.dtype in (o.float16, o.bfloat16) and statistics.dtype == o.float32:
        return statistics
    return statistics.to(input.dtype)


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
    running = [None if t is None else _beside(input, t).repeat(n) for t in (running_mean, running_var)]
    wide = input.reshape(1, n * c, *input.shape[2:])
    factors = [None if t is None else t.repeat(n) for t in (weight, bias)]
    out = o.batch_norm(wide, running[0], running[1], factors[0], factors[1], True, momentum, eps)
    with o.no_grad():
        for kept, seen in ((running_mean, running[0]), (running_var, running[1])):
            if kept is not None:
                kept.copy_(seen.view(n, c).mean(0))
    return out.reshape(input.shape)


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


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """a sigmoid(b), for the halves a and b of a dimension."""
    if input.dim() == 0:
        raise RuntimeError("glu does not support scalars because halving size must be even")
    if input.size(dim) % 2 != 0:
        at = dim % input.dim()
        raise RuntimeError(f"Halving dimension must be even, but dimension {at} is size {input.size(dim)}")
    if not input.is_floating_point():
        raise NotImplementedError(f"\"glu_cpu\" not implemented for '{input.dtype.title}'")
    first, second = input.chunk(2, dim)
    return first * o.sigmoid(second)
