"""Fractional max pooling as a composition of operators. `nn.functional` gives it out."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor


def _sizes(value: Any, n: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, (tuple, list)) else (value,) * n


def _starts(samples: Tensor, size: int, out: int, kernel: int) -> Tensor:
    """Where the windows of one dimension begin: nearly even steps, shifted at random."""
    if out == 1:
        return o.full((*samples.shape, 1), size - kernel, dtype=o.int64, device=samples.device)
    step = (size - kernel) / (out - 1)
    i = o.arange(out - 1, dtype=samples.dtype, device=samples.device)
    first = ((i + samples.unsqueeze(-1)) * step).to(o.int64) - (samples.unsqueeze(-1) * step).to(o.int64)
    last = o.full((*samples.shape, 1), size - kernel, dtype=o.int64, device=samples.device)
    return o.cat([first, last], -1)


def _pool(
    input: Tensor, kernel_size: Any, output_size: Any, output_ratio: Any, samples: Tensor | None, n: int
) -> tuple[Tensor, Tensor]:
    name = f"fractional_max_pool{n}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{name} requires specifying either an output_size or an output_ratio")
    whole = input.shape[-n:]
    kernel = _sizes(kernel_size, n)
    if output_size is None:
        ratios = _sizes(output_ratio, n)
        outs = tuple(int(size * ratio) for size, ratio in zip(whole, ratios, strict=True))
    else:
        outs = _sizes(output_size, n)
    batched = input.dim() == n + 2
    images = input if batched else input.unsqueeze(0)
    for size, out, k in zip(whole, outs, kernel, strict=True):
        if out + k - 1 > size:
            raise RuntimeError(
                f"{name}(): pool size {kernel} and output size {outs} are too large relative to input of size "
                f"{tuple(whole)}"
            )
    lead = images.shape[:2]
    if samples is None:
        samples = o.rand((*lead, n), dtype=input.dtype, device=input.device)
    flat = o.zeros((*lead, *([1] * (2 * n))), dtype=o.int64, device=input.device)
    for d in range(n):
        which = d if n == 3 else n - 1 - d  # the first sample of an image is for its width
        begins = _starts(samples[..., which], whole[d], outs[d], kernel[d])
        places = begins.unsqueeze(-1) + o.arange(kernel[d], device=input.device)
        shape = [1] * (2 * n)
        shape[d], shape[n + d] = outs[d], kernel[d]
        flat = flat + places.reshape(*lead, *shape) * math.prod(whole[d + 1 :])
    windows = flat.reshape(*lead, math.prod(outs), math.prod(flat.shape[len(lead) + len(outs) :]))
    values = (
        images.reshape(*lead, 1, math.prod(whole)).expand(*lead, windows.size(2), math.prod(whole)).gather(-1, windows)
    )
    best, which_place = values.max(-1)
    indices = windows.gather(-1, which_place.unsqueeze(-1)).squeeze(-1)
    best, indices = best.reshape(*lead, *outs), indices.reshape(*lead, *outs)
    return (best, indices) if batched else (best.squeeze(0), indices.squeeze(0))


def _functions(n: int) -> tuple[Any, Any]:
    def with_indices(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        return _pool(input, kernel_size, output_size, output_ratio, _random_samples, n)

    def pool(
        input: Tensor,
        kernel_size: Any,
        output_size: Any = None,
        output_ratio: Any = None,
        return_indices: bool = False,
        _random_samples: Tensor | None = None,
    ) -> Any:
        values, indices = _pool(input, kernel_size, output_size, output_ratio, _random_samples, n)
        return (values, indices) if return_indices else values

    pool.__name__ = pool.__qualname__ = f"fractional_max_pool{n}d"
    with_indices.__name__ = with_indices.__qualname__ = f"fractional_max_pool{n}d_with_indices"
    pool.__doc__ = with_indices.__doc__ = "Largest elements of windows at random places that cover the input evenly."
    return pool, with_indices


fractional_max_pool2d, fractional_max_pool2d_with_indices = _functions(2)
fractional_max_pool3d, fractional_max_pool3d_with_indices = _functions(3)
