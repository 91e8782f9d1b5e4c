"""The normalisations with what they computed on the way: mean and 1 / standard deviation."""

from ..ir import row as r
from ..ir.fn import rsqrt
from .normalize import batch_normalised, check_normalized_shape
from .table import REAL_FLOATS, Composite, Row, op


def _statistics(x, eps):
    mean = r.row_mean(x)
    centred = x - mean
    return mean, rsqrt(r.row_mean(centred * centred) + eps)


op(
    "norm_statistics(Tensor input, int[] dim, float eps) -> (Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(_statistics, out="BB", out_dtypes="cc"),
    doc="mean and 1 / sqrt(var + eps) over dimensions, which stay as 1.",
)


def _native_layer_norm(o, input, normalized_shape, weight, bias, eps):
    check_normalized_shape("native_layer_norm", input, normalized_shape, weight, bias)
    dims = list(range(input.dim() - len(normalized_shape), input.dim()))
    out = o.layer_norm_rows(input, normalized_shape, weight, bias, eps)
    sizes = [1 if d in dims else n for d, n in enumerate(input.shape)]
    mean, scale = o.norm_statistics(input.detach(), dims, eps)  # gradients go through the result
    return out, mean.reshape(sizes), scale.reshape(sizes)


op(
    "native_layer_norm(Tensor input, int[] normalized_shape, Tensor? weight, Tensor? bias, float eps)"
    " -> (Tensor, Tensor, Tensor)",
    names=("native_layer_norm",),
    body=Composite(_native_layer_norm),
    doc="layer_norm with the mean and 1 / standard deviation of each row.",
)


def _native_group_norm(o, input, weight, bias, N, C, HxW, group, eps):
    if group <= 0 or C % group:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(input.shape)} and num_groups={group}"
        )
    if input.numel() != N * C * HxW:
        raise RuntimeError(
            f"Expected X.numel() == N * C * HxW to be true, but got false. [in native_group_norm: {input.numel()} "
            f"elements, {N} * {C} * {HxW} wanted]"
        )
    out = o.group_norm(input, group, weight, bias, eps)
    mean, scale = o.norm_statistics(input.reshape(N, group, (C // group) * HxW), [2], eps)
    return out, mean.reshape(N, group), scale.reshape(N, group)


op(
    "native_group_norm(Tensor input, Tensor? weight, Tensor? bias, int N, int C, int HxW, int group, float eps)"
    " -> (Tensor, Tensor, Tensor)",
    names=("native_group_norm",),
    body=Composite(_native_group_norm),
    doc="group_norm with the mean and 1 / standard deviation of each group.",
)


def _native_batch_norm(o, input, weight, bias, running_mean, running_var, training, momentum, eps):
    out = batch_normalised(o, input, running_mean, running_var, weight, bias, training, momentum, eps, True)
    if not training:
        none = o.empty((0,), dtype=input.dtype, device=input.device)
        return out, none, none.clone()
    channels = input.shape[1]
    dims = [d for d in range(input.dim()) if d != 1]
    mean, scale = o.norm_statistics(input.detach(), dims, eps)
    return out, mean.reshape(channels), scale.reshape(channels)


op(
    "native_batch_norm(Tensor input, Tensor? weight, Tensor? bias, Tensor? running_mean, Tensor? running_var, "
    "bool training, float momentum, float eps) -> (Tensor, Tensor, Tensor)",
    names=("native_batch_norm",),
    body=Composite(_native_batch_norm),
    doc="batch_norm with the mean and 1 / standard deviation of each channel; both are empty outside of training.",
)
