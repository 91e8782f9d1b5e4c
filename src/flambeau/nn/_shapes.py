"""Rearrangements of elements as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.ops.launch import check_operands
from flambeau.ops.layout import channels_lie_inside
from flambeau.ops.patches import places

Tensor = o.Tensor


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) -> (*, C, H r, W r)."""
    check_operands("pixel_shuffle", input=input)
    if input.dim() < 3:
        raise RuntimeError(
            f"pixel_shuffle expects input to have at least 3 dimensions, but got input with {input.dim()} dimension(s)"
        )
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    if c % (r * r) != 0:
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of upscale_factor, "
            f"but input.size(-3)={c} is not divisible by {r * r}"
        )
    n = len(lead)
    order = [*range(n), n, n + 3, n + 1, n + 4, n + 2]
    parts = input.reshape(*lead, c // (r * r), r, r, h, w).permute(order)
    return parts.reshape(*lead, c // (r * r), h * r, w * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(*, C, H r, W r) -> (*, C r^2, H, W)."""
    check_operands("pixel_unshuffle", input=input)
    if input.dim() < 3:
        raise RuntimeError(
            "pixel_unshuffle expects input to have at least 3 dimensions, but got input with "
            f"{input.dim()} dimension(s)"
        )
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, c, h, w = input.shape
    for name, size in (("height", h), ("width", w)):
        if size % r != 0:
            raise RuntimeError(
                f"pixel_unshuffle expects {name} to be divisible by downscale_factor, but input.size("
                f"{-2 if name == 'height' else -1})={size} is not divisible by {r}"
            )
    n = len(lead)
    order = [*range(n), n, n + 2, n + 4, n + 1, n + 3]
    parts = input.reshape(*lead, c, h // r, r, w // r, r).permute(order)
    return parts.reshape(*lead, c * r * r, h // r, w // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Takes one channel of every group in turn."""
    check_operands("channel_shuffle", input=input)
    if input.dim() < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes " + str(list(input.shape))
        )
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *rest = input.shape
    if c % groups != 0:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    if channels_lie_inside(o, input):
        inside = input.movedim(1, -1)
        shuffled = inside.reshape(n, *rest, groups, c // groups).transpose(-1, -2).reshape(inside.shape)
        return shuffled.movedim(-1, 1)
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)


def _pair(name: str, value: Any) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    pair = pair * 2 if len(pair) == 1 else pair
    if len(pair) != 2:
        raise RuntimeError(f"It is expected {name} equals to 2, but got size {len(pair)}")
    return pair


_LEAST = {
    "kernel_size": ("kernel size", "greater than zero", "kernel"),
    "dilation": ("dilation", "greater than zero", "dilation"),
    "padding": ("padding", "non-negative", "pad"),
    "stride": ("stride", "greater than zero", "stride"),
}


def _window(kernel_size: Any, dilation: Any, padding: Any, stride: Any) -> list[tuple[int, int]]:
    """Kernel, dilation, padding and stride as pairs that make sense."""
    pairs = []
    given = {"kernel_size": kernel_size, "dilation": dilation, "padding": padding, "stride": stride}
    for name, value in given.items():
        pair, (what, wanted, short) = _pair(name, value), _LEAST[name]
        if min(pair) < (0 if name == "padding" else 1):
            raise RuntimeError(f"{what} should be {wanted}, but got {short}_height: {pair[0]} {short}_width: {pair[1]}")
        pairs.append(pair)
    return pairs


def _check_rank(input: Tensor, ranks: str, least: int, zero: str) -> None:
    """All sizes but that of a batch are at least 1."""
    batched = input.dim() == least + 1
    if input.dim() not in (least, least + 1) or 0 in input.shape[batched:]:
        raise RuntimeError(
            f"Expected {ranks} (batch mode) tensor{zero} with possibly 0 batch size and "
            f"{'other ' if least == 3 else ''}non-zero dimensions for input, but got: {list(input.shape)}"
        )


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The patches of images as columns: (N, C, H, W) -> (N, C kh kw, L)."""
    check_operands("im2col", input=input)
    window = kernel, dilation, padding, _ = _window(kernel_size, dilation, padding, stride)
    if input.size(1):
        input.size(2)  # says that there are too few dimensions
    _check_rank(input, "3D or 4D", 3, "")
    size = tuple(input.shape[-2:])
    count = places(size, *window)
    if min(count) < 1:
        raise RuntimeError(
            f"Given input with spatial size {size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"calculated shape of the array of sliding blocks as ({count[0]}, {count[1]}), but its components must be "
            "at least one."
        )
    return o.im2col(input, *window) if input.dim() == 4 else o.im2col(input.unsqueeze(0), *window).squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Adds up patches where they overlap: (N, C kh kw, L) -> (N, C, H, W). The opposite of `unfold`."""
    check_operands("col2im", input=input)
    size = _pair("output_size", output_size)
    window = kernel, dilation, padding, stride = _window(kernel_size, dilation, padding, stride)
    _check_rank(input, "2D or 3D", 2, " for input")
    lines, columns = input.shape[-2:]
    elements = kernel[0] * kernel[1]
    if lines % elements != 0:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={lines} and kernel_size={kernel}."
        )
    h, w = places(size, *window)
    if columns != h * w or min(h, w) < 1:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{h} * {w} = {h * w}, but got input.size(2)={columns}."
        )
    if input.dim() == 3:
        return o.col2im(input, size, *window)
    return o.col2im(input.unsqueeze(0), size, *window).squeeze(0)
