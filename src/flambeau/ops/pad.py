"""Padding: a constant, a reflection, the edge, or the other end around the last dimensions."""

from .launch import number_as
from .table import ANY, Composite, op

_ARGUMENT = (4, 6, 8)  # how PyTorch counts the paddings of the last, the second and the third dimension from the end


def _pad(o, input, pad, mode="constant", value=None):
    pad = list(pad)
    if len(pad) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2 [in pad: pad={pad}]")
    if len(pad) // 2 > input.dim():
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got padding length "
            f"{len(pad)} and input of dimension {input.dim()}"
        )
    if mode == "constant":
        return _pad_constant(o, input, pad, 0 if value is None else value)
    if value not in (None, 0):
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    _check_edges(input, pad, mode)
    for i in range(len(pad) // 2):
        input = _pad_edge(o, input, input.dim() - 1 - i, pad[2 * i], pad[2 * i + 1], mode)
    return input


def _check_edges(x, pad, mode) -> None:
    n, shape = len(pad) // 2, list(x.shape)
    context = f"[in pad: input={tuple(shape)}, pad={pad}]"
    if not n or x.dim() not in (n + 1, n + 2):
        raise NotImplementedError(
            f"Padding size {len(pad)} is not supported for {x.dim()}D input tensor. {context}. {mode} pads the last "
            "dimension of 2-d and 3-d tensors, the last two of 3-d and 4-d and the last three of 4-d and 5-d tensors."
        )
    if mode != "circular" and 0 in shape[-n - 1 :]:
        raise RuntimeError(
            f"Expected {n + 1}D or {n + 2}D (batch mode) tensor with possibly 0 batch size and other non-zero "
            f"dimensions for input, but got: {shape} {context}"
        )
    for i in range(n):
        d, (before, after) = x.dim() - 1 - i, pad[2 * i : 2 * i + 2]
        if mode == "circular" and max(before, after) > shape[d]:
            raise RuntimeError(f"Padding value causes wrapping around more than once. {context}")
        if mode == "circular" and shape[d] + min(before, 0) + min(after, 0) < 0:
            raise RuntimeError(f"Negative padding value is resulting in an empty dimension {context}")
        if mode == "reflect" and max(before, after) >= shape[d]:
            raise RuntimeError(
                f"Argument #{_ARGUMENT[i]}: Padding size should be less than the corresponding input dimension, but got: "
                f"padding ({before}, {after}) at dimension {d} of input {shape} {context}"
            )
        if shape[d] + before + after < 1 and mode != "circular":
            raise RuntimeError(
                f"input (size: {shape[d]}) is too small for the padding ({before}, {after}) at dimension {d} {context}"
            )


def _pad_constant(o, input, pad, value):
    shape, inside, narrow = list(input.shape), input, []
    for i in range(len(pad) // 2):
        d, (before, after) = input.dim() - 1 - i, pad[2 * i : 2 * i + 2]
        start, end = max(0, -before), input.shape[d] - max(0, -after)
        if end < start:
            raise RuntimeError(
                f"narrow(): length must be non-negative. [in pad: dimension {d} has {input.shape[d]} elements, of which "
                f"{before} and {after} cut off more]"
            )
        inside = inside.narrow(d, start, end - start)
        shape[d] += before + after
        narrow.append((d, max(0, before), end - start))
    out = o.full(shape, value, dtype=input.dtype, device=input.device)
    if inside.dim() == 4 and inside.is_contiguous(memory_format=o.channels_last) and not inside.is_contiguous():
        out = out.contiguous(memory_format=o.channels_last)
    view = out
    for d, start, length in narrow:
        view = view.narrow(d, start, length)
    view.copy_(inside)
    return out


def _constant_pad_nd(o, self, pad, value=0):
    pad = list(pad)
    if len(pad) % 2:
        raise RuntimeError(f"Length of pad must be even but instead it equals {len(pad)}")
    if len(pad) // 2 > self.dim():
        raise RuntimeError(
            "Length of pad should be no more than twice the number of dimensions of the input. Pad length is "
            f"{len(pad)}while the input has {self.dim()}dimensions."
        )
    return _pad_constant(o, self, pad, number_as(self.dtype, value))


op(
    "constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor",
    names=("constant_pad_nd",),
    dtypes=ANY,
    body=Composite(_constant_pad_nd),
    doc="""A number around the last dimensions; a negative width cuts off.

    Args:
        pad: widths before and after the last dimension, then those of the one in front of it, and so on.

    Example:
        >>> torch.constant_pad_nd(torch.ones(2), [1, 2], 7)
        tensor([7., 1., 1., 7., 7.])""",
)


def _pad_edge(o, x, d, before, after, mode):
    """Elements repeated along one dimension; a negative number of them cuts off."""
    if mode == "circular":  # what is cut off does not come back at the other end
        start = max(0, -before)
        x = x.narrow(d, start, x.shape[d] - start - max(0, -after))
        before, after = max(0, before), max(0, after)
    n = x.shape[d]
    if not n:
        return x.expand([s if k != d else s + before + after for k, s in enumerate(x.shape)])
    at = o.arange(-before, n + after, device=x.device)
    if mode == "replicate":
        at = o.clamp(at, 0, n - 1)
    elif mode == "circular":
        at = o.remainder(at, n)
    else:
        at = (n - 1) - o.abs((n - 1) - o.abs(at))
    return o.index_select(x, d, at)


op(
    "pad(Tensor input, int[] pad, str mode='constant', float? value=None) -> Tensor",
    names=("nn.functional.pad",),
    dtypes=ANY,
    body=Composite(_pad),
    doc="Adds elements around the last dimensions: a constant, a reflection, the edge, or the other end.",
)
