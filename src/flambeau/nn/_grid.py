"""Sampling of images at any places: grids of places, checks and modes. `nn.functional` gives it out."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn._seen import seen
from flambeau.ops.launch import check_operands
from flambeau.ops.sample import TAPS, together

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
    if theta.size(0) != size[0]:
        raise RuntimeError(
            "Expected size for first two dimensions of batch2 tensor to be: "
            f"[{size[0]}, {theta.size(2)}] but got: [{theta.size(0)}, {theta.size(2)}]."
        )
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


@seen
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
    check_operands("grid_sampler", input=input, grid=grid)
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
    axes = input.dim() - 2
    if input.size(1) <= _GROUPS * together(input.size(1), TAPS[mode] ** axes):
        return o.sample_at(input, grid, mode, padding_mode, align_corners)
    return o.sample(input, *o.sample_taps(grid, input.shape, mode, padding_mode, align_corners, axes, 0))


_GROUPS = 2  # of channels: with more of them, what is known of places is worth a place in memory
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
    _check_sizes(input, grid, mode)
    if not input.is_floating_point():
        kernel = "grid_sampler_2d_cpu_kernel_impl" if input.dim() == 4 else "grid_sampler3d_cpu"
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{input.dtype.title}'")
    if grid.dtype != input.dtype:
        raise RuntimeError(f"expected scalar type {input.dtype.title} but found {grid.dtype.title} [grid_sample: grid]")


def _check_sizes(input: Tensor, grid: Tensor, mode: str) -> None:
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
