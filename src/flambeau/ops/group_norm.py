"""Group norm as a row program over the planes of a group, whose weight and bias vary from plane to plane."""

from ..ir import row as r
from ..ir.fn import rsqrt
from .table import REAL_FLOATS, Row, op


def _normal(x, eps):
    """The normalised row, its mean and its scale."""
    mean = r.row_mean(x)
    centred = x - mean
    scale = rsqrt(r.row_mean(centred * centred) + eps)
    return centred * scale, mean, scale


def _rows(x, weight, bias, eps):
    y, _, _ = _normal(x, eps)
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


def _gradient(g, x, weight, eps):
    y, mean, scale = _normal(x, eps)
    g = g if weight is None else g * weight
    sums = r.row_mean(g), r.row_mean(g * (x - mean)) * scale
    return (g - sums[0] - y * sums[1]) * scale, mean, scale


def _sums(g, x, mean):
    return r.row_sum(g * (x - mean)), r.row_sum(g)


def _grad(o, g, input, weight, bias, dim, eps):
    sizes, groups = input.shape, (*input.shape[:-2], 1, 1)
    to_input, mean, scale = o.group_norm_gradient(g, input, None if weight is None else o.expand(weight, sizes), dim, eps)
    to_weight = to_bias = None
    if o.needs[1] or o.needs[2]:
        product, total = o.group_norm_sums(g, input, o.expand(o.reshape(mean, groups), sizes), [-1])
        if o.needs[1]:
            to_weight = o.sum_to_size(o.unsqueeze(product, -1) * o.reshape(scale, groups), weight.shape)
        if o.needs[2]:
            to_bias = o.sum_to_size(o.unsqueeze(total, -1), bias.shape)
    return to_input, to_weight, to_bias


op(
    "group_norm_rows(Tensor input, Tensor? weight, Tensor? bias, int[] dim, float eps) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(_rows, roles="FFF", out="F", out_dtypes="c"),
    grad=_grad,
    doc="(x - mean) / sqrt(var + eps) * weight + bias; of size (batch, groups, channels, plane), the last two a row.",
)
op(
    "group_norm_gradient(Tensor grad, Tensor input, Tensor? weight, int[] dim, float eps) -> (Tensor, Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(_gradient, roles="FFF", out="FBB", out_dtypes="cmm"),
    doc="Gradient of the input of group_norm_rows, and mean and scale of each row.",
)
op(
    "group_norm_sums(Tensor grad, Tensor input, Tensor mean, int[] dim) -> (Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(_sums, roles="FFF", out="BB", out_dtypes="cc"),
    doc="Sums of grad * (input - mean) and of grad over dimensions.",
)
