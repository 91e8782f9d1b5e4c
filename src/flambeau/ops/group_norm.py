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
    by_y = g if weight is None else g * weight
    sums = r.row_mean(by_y), r.row_mean(by_y * (x - mean)) * scale
    return (by_y - sums[0] - y * sums[1]) * scale, g * y, g


def _grad(o, g, input, weight, bias, dim, eps):
    expanded = None if weight is None else o.expand(weight, input.shape)
    to_input, product, total = o.group_norm_gradient(g, input, expanded, dim, eps)
    return (
        to_input,
        o.sum_to_size(product, weight.shape).to(weight.dtype) if o.needs[1] else None,
        o.sum_to_size(total, bias.shape).to(bias.dtype) if o.needs[2] else None,
    )


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
    body=Row(_gradient, roles="FFF", out="FPP", out_dtypes="cmm"),
    doc="Gradient of the input of group_norm_rows; of each plane, the sums of grad times the normal input and of grad.",
)
