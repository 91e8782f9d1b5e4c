"""Sampling of images at any places, as a composition of operators. `nn.functional` gives it out."""

from __future__ import annotations

import itertools
import warnings
from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor

_DEFAULT_CHANGED = (
    "Default {} behavior has changed to align_corners=False since 1.3.0. Please specify align_corners=True if the old "
    "behavior is desired. See the documentation of grid_sample for details."
)


def affine_grid(theta: Tensor, size: Any, align_corners: bool | None = None) -> Tensor:
    """The places that an affine map of the output's coordinates gives, for `grid_sample`.

    Args:
        theta: (N, 2, 3), or (N, 3, 4) for volumes.
        size: the output's size (N, C, H, W) or (N, C, D, H, W).
        align_corners: -1 and 1 are the centres of the corner elements; otherwise outer edges.
    """
    if align_corners is None:
        warnings.warn(_DEFAULT_CHANGED.format("grid_sample and affine_grid"), stacklevel=2)
        align_corners = False
    if not theta.is_floating_point():
        raise ValueError(f"Expected theta to have floating point type, but got {theta.dtype}")
    spatial = list(size)[2:]
    if len(spatial) not in (2, 3):
        raise NotImplementedError(
            "affine_grid only supports 4D and 5D sizes, for 2D and 3D affine transforms, respectively. Got size "
            f"{size}."
        )
    if theta.dim() != 3 or tuple(theta.shape[-2:]) != (len(spatial), len(spatial) + 1):
        raise ValueError(
            f"Expected a batch of {len(spatial)}D affine matrices of shape Nx{len(spatial)}x{len(spatial) + 1} for "
            f"size {size}. Got {theta.shape}."
        )
    if min(size) <= 0:
        raise ValueError(f"Expected non-zero, positive output size. Got {size}")
    axes = []
    for d, n in enumerate(spatial):
        line = o.linspace(-1, 1, n, dtype=theta.dtype, device=theta.device) if n > 1 else theta.new_zeros(1)
        line = line if align_corners else line * ((n - 1) / n)
        shape = [1] * len(spatial)
        shape[d] = n
        axes.append(line.view(shape).expand(spatial))
    base = o.stack([*reversed(axes), o.ones_like(axes[0])], -1).reshape(1, -1, len(spatial) + 1)
    grid = o.matmul(base, theta.transpose(1, 2))
    return grid.reshape(theta.size(0), *spatial, len(spatial))


def grid_sample(
    input: Tensor,
    grid: Tensor,
    mode: str = "bilinear",
    padding_mode: str = "zeros",
    align_corners: bool | None = None,
) -> Tensor:
    """The values of images at given places.

    Args:
        input: (N, C, H, W) or (N, C, D, H, W).
        grid: (N, ..., 2) or (N, ..., 3): places (x, y) or (x, y, z), from -1 to 1.
        mode: "bilinear", "nearest" or "bicubic" (images only).
        padding_mode: what is outside: "zeros", "border" or "reflection".
        align_corners: -1 and 1 are the centres of the corner elements; otherwise outer edges.
    """
    if mode not in ("bilinear", "nearest", "bicubic"):
        raise ValueError(
            f"nn.functional.grid_sample(): expected mode to be 'bilinear', 'nearest' or 'bicubic', but got: '{mode}'"
        )
    if padding_mode not in ("zeros", "border", "reflection"):
        raise ValueError(
            "nn.functional.grid_sample(): expected padding_mode to be 'zeros', 'border', or 'reflection', but got: "
            f"'{padding_mode}'"
        )
    if align_corners is None:
        warnings.warn(_DEFAULT_CHANGED.format("grid_sample and affine_grid"), stacklevel=2)
        align_corners = False
    _check(input, grid, mode)
    sizes = list(reversed(input.shape[2:]))  # of x, y, z
    places = [_pixels(grid[..., d], n, align_corners) for d, n in enumerate(sizes)]
    if mode == "bicubic":
        return _bicubic(input, places, sizes, padding_mode, align_corners)
    places = [_inside(p, n, padding_mode, align_corners) for p, n in zip(places, sizes, strict=True)]
    if mode == "nearest":
        return _gathered(input, [p.round() for p in places], sizes)
    lows = [p.floor() for p in places]
    result = None
    for corner in itertools.product((0, 1), repeat=len(sizes)):
        weight = None
        for p, low, high in zip(places, lows, corner, strict=True):
            share = p - low if high else low + 1 - p
            weight = share if weight is None else weight * share
        part = _gathered(input, [low + high for low, high in zip(lows, corner, strict=True)], sizes)
        part = part * weight.unsqueeze(1)
        result = part if result is None else result + part
    return result


_MODES = ("bilinear", "nearest", "bicubic")
_PADDINGS = ("zeros", "border", "reflection")


def grid_sampler(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`nn.functional.grid_sample` with the modes by number: 0 bilinear, 1 nearest, 2 bicubic; 0 zeros, 1 border, 2
    reflection."""
    return grid_sample(input, grid, _MODES[interpolation_mode], _PADDINGS[padding_mode], align_corners)


def grid_sampler_2d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sampler` of images (N, C, H, W)."""
    if input.dim() != 4:
        raise RuntimeError(
            "grid_sampler_2d(): expected 4D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def grid_sampler_3d(
    input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """`grid_sampler` of volumes (N, C, D, H, W)."""
    if input.dim() != 5:
        raise RuntimeError(
            "grid_sampler_3d(): expected 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    return grid_sampler(input, grid, interpolation_mode, padding_mode, align_corners)


def _check(input: Tensor, grid: Tensor, mode: str) -> None:
    if input.dim() not in (4, 5) or input.dim() != grid.dim():
        raise RuntimeError(
            "grid_sampler(): expected 4D or 5D input and grid with same number of dimensions, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if input.size(0) != grid.size(0):
        raise RuntimeError(
            "grid_sampler(): expected grid and input to have same batch size, but got input with sizes "
            f"{list(input.shape)} and grid with sizes {list(grid.shape)}"
        )
    if grid.size(-1) != input.dim() - 2:
        raise RuntimeError(
            f"grid_sampler(): expected grid to have size {input.dim() - 2} in last dimension, but got grid with sizes "
            f"{list(grid.shape)}"
        )
    if mode == "bicubic" and input.dim() != 4:
        raise RuntimeError("grid_sampler(): bicubic interpolation only supports 4D input")
    for dim in range(2, input.dim()):
        if input.size(dim) == 0:
            raise RuntimeError(
                "grid_sampler(): expected input to have non-empty spatial dimensions, but input has sizes "
                f"{list(input.shape)} with dimension {dim} being empty"
            )


def _pixels(x: Tensor, n: int, align_corners: bool) -> Tensor:
    """From -1 ... 1 to numbers of elements."""
    return (x + 1) * ((n - 1) / 2) if align_corners else ((x + 1) * n - 1) / 2


def _inside(x: Tensor, n: int, padding_mode: str, align_corners: bool) -> Tensor:
    """Places outside brought inside, where the mode says so."""
    if padding_mode == "zeros":
        return x
    if padding_mode == "reflection":
        low, high = (0.0, n - 1.0) if align_corners else (-0.5, n - 0.5)
        x = _reflected(x, low, high - low)
    return x.clamp(0, n - 1)


def _reflected(x: Tensor, low: float, span: float) -> Tensor:
    if span == 0:
        return x * 0
    x = (x - low).abs()
    flips, extra = (x / span).floor(), x.fmod(span)
    return o.where(flips % 2 == 0, extra + low, span - extra + low)


def _gathered(input: Tensor, places: list[Tensor], sizes: list[int]) -> Tensor:
    """The elements at whole places (x, y, z); zero outside."""
    valid, flat, step = None, None, 1
    for place, n in zip(places, sizes, strict=True):
        ok = (place >= 0) & (place <= n - 1)
        index = o.where(ok, place, 0).to(o.int64) * step
        valid = ok if valid is None else valid & ok
        flat = index if flat is None else flat + index
        step *= n
    n, c = input.shape[:2]
    index = flat.reshape(n, 1, -1).expand(n, c, -1)
    values = input.reshape(n, c, -1).gather(2, index).reshape(n, c, *flat.shape[1:])
    return o.where(valid.unsqueeze(1), values, 0.0)


def _cubic_weights(t: Tensor) -> list[Tensor]:
    a = -0.75
    outer = [((a * x - 5 * a) * x + 8 * a) * x - 4 * a for x in (t + 1, 2 - t)]
    inner = [((a + 2) * x - (a + 3)) * x * x + 1 for x in (t, 1 - t)]
    return [outer[0], *inner, outer[1]]


def _bicubic(input: Tensor, places: list[Tensor], sizes: list[int], padding_mode: str, align_corners: bool) -> Tensor:
    lows = [p.floor() for p in places]
    weights = [_cubic_weights(p - low) for p, low in zip(places, lows, strict=True)]
    result = None
    for i, j in itertools.product(range(4), repeat=2):
        taps = [
            _inside(low + k - 1, n, padding_mode, align_corners) for low, k, n in zip(lows, (i, j), sizes, strict=True)
        ]
        part = _gathered(input, taps, sizes) * (weights[0][i] * weights[1][j]).unsqueeze(1)
        result = part if result is None else result + part
    return result
