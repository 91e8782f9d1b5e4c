"""Rearrangements of elements as compositions of operators. `nn.functional` gives them out."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.nn._padding import pad

Tensor = o.Tensor


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(*, C r^2, H, W) -> (*, C, H r, W r)."""
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
    if input.dim() < 3:
        raise RuntimeError(
            "channel_shuffle expects input with > 2 dims, but got input with sizes " + str(list(input.shape))
        )
    if groups <= 0:
        raise RuntimeError(f"Number of groups to divide channels in must be positive. Value of groups:{groups}")
    n, c, *rest = input.shape
    if c % groups != 0:
        raise RuntimeError(f"Number of channels must be divisible by groups. Got {c} channels and {groups} groups.")
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(input.shape)


def one_hot(tensor: Tensor, num_classes: int = -1) -> Tensor:
    """Ones at the classes given, zeros elsewhere, along a new last dimension."""
    if tensor.dtype != o.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if tensor.numel() == 0:
        if num_classes <= 0:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        return o.empty((*tensor.shape, num_classes), dtype=o.int64, device=tensor.device)
    if tensor.min().item() < 0:
        raise RuntimeError("Class values must be non-negative.")
    largest = int(tensor.max().item())
    if num_classes == -1:
        num_classes = largest + 1
    elif num_classes < 1:
        raise RuntimeError("num_classes should be positive")
    elif largest >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    zeros = o.zeros((*tensor.shape, num_classes), dtype=o.int64, device=tensor.device)
    return zeros.scatter_(-1, tensor.unsqueeze(-1), 1)


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)  # type: ignore[return-value]


def _windows(size: tuple[int, int], kernel: Any, dilation: Any, padding: Any, stride: Any) -> list[int]:
    """How many places a kernel has along every dimension."""
    sizes = zip(size, kernel, dilation, padding, stride, strict=True)
    return [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, d, p, s in sizes]


def unfold(input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Tensor:
    """The patches of images as columns: (N, C, H, W) -> (N, C kh kw, L)."""
    if input.dim() not in (3, 4):
        raise RuntimeError(
            "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    kernel, dilation, padding, stride = (_pair(v) for v in (kernel_size, dilation, padding, stride))
    images = input if input.dim() == 4 else input.unsqueeze(0)
    rows, columns = _windows((images.size(2), images.size(3)), kernel, dilation, padding, stride)
    if rows < 1 or columns < 1:
        raise RuntimeError(
            f"Given input with spatial size ({images.size(2)}, {images.size(3)}), kernel_size={kernel}, "
            f"dilation={dilation}, padding={padding}, stride={stride}, calculated shape of the array of sliding blocks "
            f"as ({rows}, {columns}), but its components must be at least one."
        )
    padded = pad(images, (padding[1], padding[1], padding[0], padding[0])) if any(padding) else images
    n, c = images.shape[:2]
    if kernel == stride and set(dilation) == {1}:  # patches lie side by side
        whole = padded[:, :, : rows * kernel[0], : columns * kernel[1]]
        split = whole.reshape(n, c, rows, kernel[0], columns, kernel[1]).permute(0, 1, 3, 5, 2, 4)
        result = split.reshape(n, c * kernel[0] * kernel[1], rows * columns)
        return result if input.dim() == 4 else result.squeeze(0)
    patches = [
        padded[
            :,
            :,
            i * dilation[0] : i * dilation[0] + (rows - 1) * stride[0] + 1 : stride[0],
            j * dilation[1] : j * dilation[1] + (columns - 1) * stride[1] + 1 : stride[1],
        ]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    result = o.stack(patches, 2).reshape(n, c * kernel[0] * kernel[1], rows * columns)
    return result if input.dim() == 4 else result.squeeze(0)


def fold(
    input: Tensor, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """Adds up patches where they overlap: (N, C kh kw, L) -> (N, C, H, W). The opposite of `unfold`."""
    if input.dim() not in (2, 3):
        raise RuntimeError(
            "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for "
            f"input, but got: {list(input.shape)}"
        )
    size, kernel, dilation, padding, stride = (_pair(v) for v in (output_size, kernel_size, dilation, padding, stride))
    columns = input if input.dim() == 3 else input.unsqueeze(0)
    elements = kernel[0] * kernel[1]
    if columns.size(1) % elements != 0:
        raise RuntimeError(
            "Expected size of input's dimension 1 to be divisible by the product of kernel_size, but got "
            f"input.size(1)={columns.size(1)} and kernel_size={kernel}."
        )
    h, w = _windows(size, kernel, dilation, padding, stride)
    if columns.size(2) != h * w:
        raise RuntimeError(
            f"Given output_size={size}, kernel_size={kernel}, dilation={dilation}, padding={padding}, "
            f"stride={stride}, expected size of input's dimension 2 to match the calculated number of sliding blocks "
            f"{h} * {w} = {h * w}, but got input.size(2)={columns.size(2)}."
        )
    n, c = columns.size(0), columns.size(1) // elements
    patches = columns.reshape(n, c, elements, h, w)
    shape = (n, c, size[0] + 2 * padding[0], size[1] + 2 * padding[1])
    if kernel == stride and set(dilation) == {1}:  # patches lie side by side
        split = patches.unflatten(2, kernel).permute(0, 1, 4, 2, 5, 3)
        whole = split.reshape(n, c, h * kernel[0], w * kernel[1])
        out = pad(whole, (0, shape[3] - whole.size(3), 0, shape[2] - whole.size(2)))
    else:
        out = input.new_zeros(shape)
        for k, patch in enumerate(patches.unbind(2)):  # whose gradient is one stack
            top, left = k // kernel[1] * dilation[0], k % kernel[1] * dilation[1]
            place = out[
                :,
                :,
                top : top + (h - 1) * stride[0] + 1 : stride[0],
                left : left + (w - 1) * stride[1] + 1 : stride[1],
            ]
            place += patch
    out = out[:, :, padding[0] : padding[0] + size[0], padding[1] : padding[1] + size[1]]
    return out if input.dim() == 3 else out.squeeze(0)
