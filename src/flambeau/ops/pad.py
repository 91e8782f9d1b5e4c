"""Padding: a constant, a reflection, the edge, or the other end around the last dimensions."""

from flambeau.ir.fn import maximum, minimum, where

from .launch import Launch, product
from .layout import in_layout_of
from .table import ANY, Composite, Loop, Native, op

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
        return o.constant_pad_nd(input, pad, 0 if value is None else value)
    if value not in (None, 0):
        raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    if mode not in ("reflect", "replicate", "circular"):
        raise NotImplementedError(f"Unrecognised padding mode {mode}")
    _check_edges(input, pad, mode)
    if mode == "circular":  # what is cut off does not come back at the other end
        for i in range(len(pad) // 2):
            d, start, end = input.dim() - 1 - i, max(0, -pad[2 * i]), max(0, -pad[2 * i + 1])
            input = input.narrow(d, start, input.shape[d] - start - end)
        pad = [max(0, width) for width in pad]
    if mode == "circular" or len(pad) != 4:
        return o.pad_edge(input, pad, mode)
    return in_layout_of(o, input, lambda x, places: o.pad_edge(x, pad if x is input else [0, 0, *pad], mode))


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


op(
    "constant_pad_nd(Tensor self, int[] pad, Scalar value=0) -> Tensor",
    names=("constant_pad_nd",),
    dtypes=ANY,
    body=Native("constant_pad_nd"),
    grad=lambda o, g, self, pad, value: (o.constant_pad_nd(g, [-width for width in pad], 0),),
    doc="""A number around the last dimensions; a negative width cuts off.

    Args:
        pad: widths before and after the last dimension, then those of the one in front of it, and so on.

    Example:
        >>> torch.constant_pad_nd(torch.ones(2), [1, 2], 7)
        tensor([7., 1., 1., 7., 7.])""",
)


# ---- elements of the tensor itself, and their gradient: rows run along the last dimension; ints for the three padded
# dimensions, outermost first: size inside, size outside, width before. A reflection counts from the end that is nearer.


def _inside(b, d: int, q, mode: str):
    """The position that is seen at q, which may lie outside of dimension d by as much as the mode allows."""
    n = b.int(3 * d)
    if mode == "replicate":
        return minimum(maximum(q, 0), n - 1)
    if mode == "circular":
        return where(q < 0, q + n, where(q >= n, q - n, q))
    back = where(q < 0, -q, q)
    return where(back >= n, (n - 1) * 2 - back, back)


def _each_column(b, body, mode: str):
    """Calls body(column outside, column inside) for a row: the middle, which lies in order, and both ends."""
    n, width, before = b.int(6), b.int(7), b.int(8)
    first, end = maximum(before, 0), minimum(width, before + n)
    with b.loop(0, first, simd=False) as j:
        body(j, _inside(b, 2, j - before, mode))
    with b.loop(first, end, independent=True) as j:
        body(j, j - before)
    with b.loop(maximum(end, first), width, simd=False) as j:
        body(j, _inside(b, 2, j - before, mode))


def _fold_program(b, mode: str):
    """Buffers: output, of the sizes inside, and input, of those outside. One iteration: what belongs to one volume."""
    with b.parallel() as volume:
        inner = b.int(0) * b.int(3) * b.int(6)
        with b.loop(0, inner) as k:
            b.store(0, volume * inner + k, 0)
        with b.loop(0, b.int(1), simd=False) as z, b.loop(0, b.int(4), simd=False) as y:
            row = (volume * b.int(0) + _inside(b, 0, z - b.int(2), mode)) * b.int(3) + _inside(b, 1, y - b.int(5), mode)
            to, source = row * b.int(6), ((volume * b.int(1) + z) * b.int(4) + y) * b.int(7)

            def add(j, i, to=to, source=source):
                b.store(0, to + i, b.load(0, to + i) + b.load(1, source + j))

            _each_column(b, add, mode)


def _edge_ints(inside, widths) -> list[int]:
    """The integers of a launch; `widths` as `pad` takes them, of up to three dimensions."""
    ints = []
    for k in (2, 1, 0):
        before, after = widths[2 * k : 2 * k + 2] if 2 * k < len(widths) else (0, 0)
        n = inside[-1 - k] if k < len(inside) and 2 * k < len(widths) else 1
        ints += [n, n + before + after, before]
    return ints


def _fold_plan(o, self, pad, mode, inside):
    out = o.empty(inside, dtype=self.dtype, device=self.device)
    volume = product(inside[len(inside) - len(pad) // 2 :])
    volumes = out.numel() // volume if volume else 0
    return Launch((out,), (out, self.contiguous()), _edge_ints(inside, pad), volumes, volume, _fold_program, (mode,))


op(
    "pad_edge(Tensor self, int[] pad, str mode) -> Tensor",
    names=(),
    dtypes=ANY,
    body=Native("pad_edge"),
    grad=lambda o, g, self, pad, mode: (o.pad_edge_sum(g, pad, mode, self.shape),),
    doc="Elements of the tensor itself around up to three last dimensions.",
)
op(
    "pad_edge_sum(Tensor self, int[] pad, str mode, int[] inside) -> Tensor",
    names=(),
    body=Loop(_fold_plan, pure=True),
    grad=lambda o, g, self, pad, mode, inside: (o.pad_edge(g, pad, mode),),
    doc="The gradient of pad_edge: what lies outside is added to the element that it showed.",
)


op(
    "pad(Tensor input, int[] pad, str mode='constant', float? value=None) -> Tensor",
    names=("nn.functional.pad",),
    dtypes=ANY,
    body=Composite(_pad),
    doc="Adds elements around the last dimensions: a constant, a reflection, the edge, or the other end.",
)
