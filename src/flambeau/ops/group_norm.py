"""Group norm: statistics of each group, then one pass that scales and shifts by channel, and the same backwards."""

from ..ir import row as r
from .launch import Launch, product
from .table import REAL_FLOATS, Loop, Row, Scalar, op


# ints: elements of a plane, channels of a group, channels
def _scale_program(b, weighted: bool, biased: bool):
    """Buffers: output, input, mean and scale of each group, weight and bias of each channel. One iteration: a plane."""
    with b.parallel() as i:
        group, channel = i // b.int(1), i % b.int(2)
        mean, factor = b.load(2, group), b.load(3, group)
        factor = factor * b.load(4, channel) if weighted else factor
        bias = b.load(4 + weighted, channel) if biased else None
        start = i * b.int(0)
        with b.loop(start, start + b.int(0)) as j:
            value = (b.load(1, j) - mean) * factor
            b.store(0, j, value + bias if biased else value)


def _plan(o, input, groups, weight, bias, eps):
    n, c = input.shape[:2]
    x = input.contiguous()
    mean, scale = o.norm_statistics(x.view(n, groups, product(x.shape[1:]) // groups), [2], eps)
    out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
    plane = product(x.shape[2:])
    buffers = (out, x, mean.contiguous(), scale.contiguous(), *(t.contiguous() for t in (weight, bias) if t is not None))
    attrs = (weight is not None, bias is not None)
    return Launch((out,), buffers, [plane, c // groups, c], n * c if plane else 0, plane, _scale_program, attrs)


def _grad(o, g, input, groups, weight, bias, eps):
    n, c = input.shape[0], input.shape[1]
    planes = (n, groups, c // groups, -1)
    g, x = o.reshape(g, planes), o.reshape(input, planes)
    mean, scale = o.norm_statistics(o.reshape(x, (n, groups, -1)), [2], eps)
    mean, scale = o.reshape(mean, (n, groups, 1)), o.reshape(scale, (n, groups, 1))
    dot, total, mean_dot, mean_total = o.group_norm_sums(g, x, [3])  # of each plane
    to_weight = to_bias = None
    if weight is not None and o.needs[1]:
        to_weight = o.reshape(o.sum((dot - mean * total) * scale, [0]), (c,))
    if bias is not None and o.needs[2]:
        to_bias = o.reshape(o.sum(total, [0]), (c,))
    if not o.needs[0]:
        return None, to_weight, to_bias
    factor = scale
    if weight is not None:
        weight = o.reshape(weight, (1, groups, c // groups))
        factor, mean_dot, mean_total = scale * weight, mean_dot * weight, mean_total * weight
    mean_dot, mean_total = o.mean(mean_dot, [2], True), o.mean(mean_total, [2], True)
    of_x = (mean_total * mean - mean_dot) * scale * scale * scale
    rest = -(of_x * mean) - mean_total * scale
    to_input = o.group_norm_input(g, x, *(o.unsqueeze(t, 3) for t in (factor, of_x, rest)))
    return o.reshape(to_input, input.shape), to_weight, to_bias


op(
    "group_norm_affine(Tensor input, int groups, Tensor? weight, Tensor? bias, float eps) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_plan),
    grad=_grad,
    doc="Normalises groups of channels; checked by group_norm.",
)
op(
    "group_norm_sums(Tensor grad, Tensor input, int[] dim) -> (Tensor, Tensor, Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(
        lambda g, x: (r.row_sum(g * x), r.row_sum(g), r.row_mean(g * x), r.row_mean(g)),
        roles="FF",
        out="BBBB",
        out_dtypes="cccc",
    ),
    doc="Sums and means of grad * input and of grad over dimensions.",
)
op(
    "group_norm_input(Tensor grad, Tensor input, Tensor factor, Tensor of_input, Tensor rest) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(lambda g, x, factor, of_input, rest: g * factor + x * of_input + rest),
    doc="grad * factor + input * of_input + rest: the gradient of a normalisation, from its parts.",
)
