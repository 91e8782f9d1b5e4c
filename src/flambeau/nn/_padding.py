"""Padding as a composition of operators. `nn.functional` gives it out."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o

Tensor = o.Tensor


def pad(input: Tensor, pad: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Makes dimensions longer, or shorter with negative sizes.

    Args:
        pad: (before, after) of the last dimension, then of the one before it, and so on.
        mode: "constant", "reflect", "replicate" or "circular".
        value: what the constant is; 0 where it is left out.

    Example:
        >>> F.pad(torch.ones(1, 2), (1, 1))
        tensor([[0., 1., 1., 0.]])
    """
    sides = [int(n) for n in pad]
    if len(sides) % 2 != 0:
        raise RuntimeError("Padding length must be divisible by 2")
    if len(sides) > 2 * input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(sides)} and input of dimension {input.dim()}"
        )
    pairs = list(zip(sides[::2], sides[1::2], strict=True))
    if mode == "constant":
        return _constant(input, pairs, 0.0 if value is None else value)
    if value is not None and value != 0:
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    indices = _INDICES.get(mode)
    if indices is None:
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    _check_rank(input, len(pairs))
    for i, (before, after) in enumerate(pairs):
        dim = input.dim() - 1 - i
        if mode == "circular" and min(before, after) < 0:
            input = _cropped(input, dim, before, after)
            before, after = max(before, 0), max(after, 0)
        if before or after:
            places = indices(input, dim, before, after)
            input = input.index_select(dim, o.tensor(places, dtype=o.int64, device=input.device))
    return input


def _check_rank(input: Tensor, padded: int) -> None:
    if padded not in (1, 2, 3) or input.dim() not in (padded + 1, padded + 2):
        raise NotImplementedError(
            f"Padding size {2 * padded} is not supported for {input.dim()}D input tensor.\n"
            "Supported combinations for non-constant padding:\n"
            "  - 2D or 3D input: padding size = 2 (pads last dimension)\n"
            "  - 3D or 4D input: padding size = 4 (pads last 2 dimensions)\n"
            "  - 4D or 5D input: padding size = 6 (pads last 3 dimensions)"
        )


def _constant(input: Tensor, pairs: list[tuple[int, int]], value: float) -> Tensor:
    for i, (before, after) in enumerate(pairs):
        dim = input.dim() - 1 - i
        input = _cropped(input, dim, before, after)
        blocks = [_block(input, dim, before, value), input, _block(input, dim, after, value)]
        blocks = [block for block in blocks if block is not None]
        if len(blocks) > 1:
            input = o.cat(blocks, dim)
    return input if input.dim() and any(n > 0 for pair in pairs for n in pair) else input.clone()


def _cropped(input: Tensor, dim: int, before: int, after: int) -> Tensor:
    """What negative sizes leave of a dimension."""
    size = input.size(dim)
    kept = size + min(before, 0) + min(after, 0)
    if kept < 0 or size + before + after < 0:
        raise RuntimeError(
            f"The input size {size}, plus negative padding {before} and {after} resulted in a negative output size, "
            f"which is invalid. Check dimension {dim} of your input."
        )
    return input if kept == size else input.narrow(dim, max(-before, 0), kept)


def _block(input: Tensor, dim: int, length: int, value: float) -> Tensor | None:
    if length <= 0:
        return None
    shape = list(input.shape)
    shape[dim] = length
    return o.full(shape, value, dtype=input.dtype, device=input.device)


def _reflected(input: Tensor, dim: int, before: int, after: int) -> list[int]:
    size = input.size(dim)
    if before >= size or after >= size:
        raise RuntimeError(
            "Argument #4: Padding size should be less than the corresponding input dimension, but got: padding "
            f"({before}, {after}) at dimension {dim} of input {list(input.shape)}"
        )
    return [size - 1 - abs(size - 1 - abs(i)) for i in range(-before, size + after)]


def _replicated(input: Tensor, dim: int, before: int, after: int) -> list[int]:
    size = input.size(dim)
    return [min(max(i, 0), size - 1) for i in range(-before, size + after)]


def _wrapped(input: Tensor, dim: int, before: int, after: int) -> list[int]:
    size = input.size(dim)
    if before > size or after > size:
        raise RuntimeError("Padding value causes wrapping around more than once.")
    return [i % size for i in range(-before, size + after)]


_INDICES = {"reflect": _reflected, "replicate": _replicated, "circular": _wrapped}
