"""Softmax and its kin, normalisations and cross entropy: row programs."""

import math

from ..ir import fn
from ..ir import row as r
from ..ir.fn import cast, const, exp, log, rsqrt, where
from .launch import product
from .table import REAL_FLOATS, Composite, Row, Scalar, op


def _softmax(x):
    e = exp(x - r.constant(r.row_max(x)))
    return e * (1 / r.row_sum(e))


def _log_softmax(x):
    shifted = x - r.constant(r.row_max(x))
    return shifted - log(r.row_sum(exp(shifted)))


def _softmax_backward(g, out):
    return out * (g - r.row_sum(g * out))


def _log_softmax_backward(g, out):
    return g - exp(out) * r.row_sum(g)


for _name, _body, _backward, _formula in (
    ("softmax", _softmax, _softmax_backward, "exp(x) / sum(exp(x))"),
    ("log_softmax", _log_softmax, _log_softmax_backward, "x - log(sum(exp(x)))"),
):
    op(
        f"{_name}_backward(Tensor grad, Tensor output, int dim) -> Tensor",
        names=(),
        dtypes=REAL_FLOATS,
        body=Row(_backward, roles="FF", out="F", out_dtypes="c"),
        doc=f"Gradient of {_name}, from its output.",
    )
    op(
        f"{_name}.int(Tensor self, int dim, ScalarType? dtype=None) -> Tensor",
        names=(_name, f"Tensor.{_name}", f"special.{_name}"),
        dtypes=REAL_FLOATS,
        dtype_error=f"\"{_name}_lastdim_kernel_impl\" not implemented for '{{got}}'",
        body=Row(_body, out="F", out_dtypes="c"),
        grad=(
            lambda name: lambda o, g, self, dim, dtype: (getattr(o, name)(g, o.saved.output(0), dim).to(self.dtype),)
        )(f"{_name}_backward"),
        saves=("o0",),
        ref=(lambda f: lambda np, x, dim: f(np, x, dim))(
            (lambda np, x, d: np.exp(x) / np.exp(x).sum(d, keepdims=True))
            if _name == "softmax"
            else (lambda np, x, d: x - np.log(np.exp(x).sum(d, keepdims=True)))
        ),
        samples="reduce_dim",
        doc=f"{_formula} over one dimension, without overflow.",
    )


def _layer_norm(x, weight, bias, eps):
    mean = r.row_mean(x)
    centred = x - mean
    scale = rsqrt(r.row_mean(centred * centred) + eps)
    y = centred * scale
    y = y if weight is None else y * weight
    return y if bias is None else y + bias


op(
    "layer_norm_rows(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    dtype_error="\"LayerNormKernelImpl\" not implemented for '{got}'",
    body=Row(_layer_norm, roles="FRR", out="F", out_dtypes="c", dims="last normalized_shape"),
    doc="(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions; checked by layer_norm.",
)


def _rms_norm(x, weight, eps):
    y = x * rsqrt(r.row_mean(x * x) + eps)
    return y if weight is None else y * weight


op(
    "rms_norm_rows(Tensor input, int[] normalized_shape, Tensor? weight=None, float eps=1e-05) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    dtype_error="\"rms_norm\" not implemented for '{got}'",
    body=Row(_rms_norm, roles="FR", out="F", out_dtypes="c", dims="last normalized_shape"),
    doc="x / sqrt(mean(x^2) + eps) * weight over the last dimensions; checked by rms_norm.",
)


def _batch_norm_train(x, weight, bias, eps):
    mean = r.row_mean(x)
    centred = x - mean
    var = r.row_mean(centred * centred)
    y = centred * rsqrt(var + eps)
    y = y if weight is None else y * weight
    return (y if bias is None else y + bias), mean, var


op(
    "batch_norm_train(Tensor input, Tensor? weight, Tensor? bias, float eps) -> (Tensor, Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    dtype_error="\"batch_norm\" not implemented for '{got}'",
    body=Row(_batch_norm_train, roles="FBB", out="FBB", out_dtypes="cmm", dims="except 1"),
    doc="Normalises each channel over all other dimensions; also gives mean and (biased) variance.",
)


def check_same_dtype(input, *others):
    """Weights have the input's dtype, or float32 beside a narrow one."""
    narrow = input.dtype.code in ("f16", "bf16")
    for t in others:
        if t is not None and t.dtype is not input.dtype and not (narrow and t.dtype.code == "f32"):
            raise RuntimeError(
                "mixed dtype (CPU): all inputs must share same datatype. "
                f"[input={input.dtype}, weight or bias={t.dtype}]. Convert one with .to(dtype)."
            )


def check_normalized_shape(name, input, normalized_shape, weight, bias):
    shape = tuple(normalized_shape)
    if not shape:
        raise RuntimeError(
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one element, but got "
            "normalized_shape = []"
        )
    for what, t in (("weight", weight), ("bias", bias)):
        if t is not None and tuple(t.shape) != shape:
            raise RuntimeError(
                f"Expected {what} to be of same shape as normalized_shape, but got {what} of shape {list(t.shape)} and "
                f"normalized_shape = {list(shape)} [in {name}: input={tuple(input.shape)}]."
            )
    if name == "rms_norm" and input.dim() < len(shape):
        raise ValueError(f"Input tensor must have at least {len(shape)} dimensions, but got {input.dim()} [in {name}]")
    if tuple(input.shape[-len(shape) :]) != shape or input.dim() < len(shape):
        comma = "" if name == "rms_norm" else ", "  # as PyTorch has it
        raise RuntimeError(
            f"Given normalized_shape={list(shape)}, expected input with shape [*{comma}{str(list(shape))[1:]}, but "
            f"got input of size{list(input.shape)} [in {name}]. The last dimensions of input must be normalized_shape."
        )


def _layer_norm_public(o, input, normalized_shape, weight=None, bias=None, eps=1e-5):
    check_normalized_shape("layer_norm", input, normalized_shape, weight, bias)
    check_same_dtype(input, weight, bias)
    return o.layer_norm_rows(input, normalized_shape, weight, bias, eps)


op(
    "layer_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
    names=("layer_norm", "nn.functional.layer_norm"),
    body=Composite(_layer_norm_public),
    doc="(x - mean) / sqrt(var + eps) * weight + bias over the last dimensions.",
)


def _rms_norm_public(o, input, normalized_shape, weight=None, eps=None):
    check_normalized_shape("rms_norm", input, normalized_shape, weight, None)
    if eps is None:  # the distance of 1 to the next number, in the dtype that is computed in
        eps = 2.0**-52 if input.dtype in (o.float64, o.complex128) else 2.0**-23
    if input.dtype.is_complex:
        dims = tuple(range(-len(normalized_shape), 0))
        out = input * o.rsqrt(o.mean(input * input, dims, True) + eps)
        return out if weight is None else out * weight
    return o.rms_norm_rows(input, normalized_shape, weight, eps)


op(
    "rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor",
    names=("rms_norm", "nn.functional.rms_norm"),
    body=Composite(_rms_norm_public),
    doc="x / sqrt(mean(x^2) + eps) * weight over the last dimensions.",
)


def batch_norm_checks(input, tensors, training, one_is_enough=False):
    channels = input.shape[1] if input.dim() > 1 else 0
    dtype = input.dtype
    plain = dtype in REAL_FLOATS
    for what, t in tensors:
        if t is not None:
            if t.numel() != channels:
                raise RuntimeError(f"{what} should contain {channels} elements not {t.numel()}")
            if t.dtype is not dtype:
                plain = False
    if not training and (tensors[0][1] is None or tensors[1][1] is None):
        missing = tensors[0][0] if tensors[0][1] is None else tensors[1][0]
        raise RuntimeError(f"{missing} must be defined in evaluation mode")
    if (tensors[0][1] is None) != (tensors[1][1] is None):
        raise ValueError("running_mean and running_var must either both be None or neither be None")
    if training and input.dim() < 2:
        raise IndexError("Dimension out of range (expected to be in range of [-1, 0], but got 1)")
    if training and not one_is_enough and input.numel() // max(channels, 1) == 1:
        raise ValueError(f"Expected more than 1 value per channel when training, got input size {input.shape}")
    if not plain:
        _check_batch_norm_dtypes(dtype, [t.dtype for _, t in (*tensors[2:], *tensors[:2]) if t is not None])


def _check_batch_norm_dtypes(dtype, given):
    """All have the input's dtype, or are float32 beside a narrow one. `given`: of weight, bias and statistics."""
    if dtype not in REAL_FLOATS:
        raise NotImplementedError(f"\"batch_norm\" not implemented for '{dtype.title}'")
    first = given[0]
    if first is dtype or (first.code == "f32" and dtype.code in ("f16", "bf16")):
        other = next((d for d in given if d is not first), None)
        if other is None:
            return
        text = f"expected scalar type {first.title} but found {other.title}"
    elif all(d.code == "f32" for d in given):
        text = "mixed dtype (CPU): all inputs must share same datatype."
    else:
        text = "mixed dtype (CPU): expect parameter to have scalar type of Float"
    names = ", ".join(f"{d}" for d in given)
    raise RuntimeError(f"{text} [in batch_norm: input={dtype}, parameters={names}]. Convert them with .to(dtype).")


def batch_normalised(o, input, running_mean, running_var, weight, bias, training, momentum, eps, one_is_enough=False):
    """What batch_norm computes. Where one value a channel is enough, it makes a running variance of nan."""
    if not input.numel():
        out = input.clone() if weight is None else input * weight[0]
        return out if bias is None else out + bias[0]
    named = (("running_mean", running_mean), ("running_var", running_var), ("weight", weight), ("bias", bias))
    batch_norm_checks(input, named, training, one_is_enough)
    if training:
        out, mean, var = o.batch_norm_train(input, weight, bias, eps)
        if running_mean is not None and input.numel():
            count = input.numel() // input.shape[1]
            with o.no_grad():
                running_mean.lerp_(mean.to(running_mean.dtype), momentum)
                unbiased = count / (count - 1) if count > 1 else math.nan
                running_var.lerp_((var * unbiased).to(running_var.dtype), momentum)
        return out
    shape = (1, -1) + (1,) * (input.dim() - 2)
    scale = o.rsqrt(running_var + eps)
    scale = scale if weight is None else scale * weight
    shift = -running_mean * scale
    shift = shift if bias is None else shift + bias
    out = o.addcmul(shift.view(shape), input, scale.view(shape))
    return out if out.dtype is input.dtype else out.to(input.dtype)


op(
    "batch_norm(Tensor input, Tensor? running_mean, Tensor? running_var, Tensor? weight=None, Tensor? bias=None, "
    "bool training=False, float momentum=0.1, float eps=1e-05) -> Tensor",
    names=("nn.functional.batch_norm",),
    body=Composite(batch_normalised),
    doc="""Normalises each channel (dimension 1) over all other dimensions.

    In training by the batch's own mean and variance, which also move the running ones (by `momentum`, the variance
    unbiased); else by the running ones.""",
)


_LEAST_PLANE = 16  # elements that share a weight: a vector


def _group_norm(o, input, num_groups, weight=None, bias=None, eps=1e-5):
    sizes = input.shape
    if len(sizes) < 2:
        raise RuntimeError(f"Expected at least 2 dimensions for input tensor but received {input.dim()}")
    n, c = sizes[:2]
    if num_groups <= 0 or c % num_groups:
        raise RuntimeError(
            f"Expected number of channels in input to be divisible by num_groups, but got input of shape "
            f"{list(sizes)} and num_groups={num_groups}"
        )
    plain = True
    for what, t in (("weight", weight), ("bias", bias)):
        if t is None:
            continue
        if t.shape != (c,):
            raise RuntimeError(
                f"Expected {what} to be a vector of size equal to the number of channels in input, but got {what} of "
                f"shape {list(t.shape)} and input of shape {list(sizes)}"
            )
        plain = plain and t.dtype is input.dtype
    if not plain:
        check_same_dtype(input, weight, bias)
    plane = product(sizes[2:])
    if plain and n and plane >= _LEAST_PLANE:
        channels = c // num_groups
        to_weight = None if weight is None else weight.view(1, num_groups, channels, 1)
        to_bias = None if bias is None else bias.view(1, num_groups, channels, 1)
        rows = input.reshape((n, num_groups, channels, plane))
        return o.group_norm_rows(rows, to_weight, to_bias, (2, 3), eps).view(sizes)
    rows = input.reshape(n, num_groups, plane * c // num_groups)
    y = o.layer_norm_rows(rows, (rows.shape[-1],), None, None, eps).view(sizes)
    shape = (1, c) + (1,) * (len(sizes) - 2)
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


op(
    "group_norm(Tensor input, int num_groups, Tensor? weight=None, Tensor? bias=None, float eps=1e-05) -> Tensor",
    names=("group_norm", "nn.functional.group_norm"),
    body=Composite(_group_norm),
    doc="Layer norm over groups of channels, with a weight and a bias a channel.",
)


def _squared_error(x, y, reduction):
    gap = x - y
    return r.row_mean(gap * gap) if reduction == "mean" else r.row_sum(gap * gap)


op(
    "squared_error(Tensor input, Tensor target, str reduction) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Row(_squared_error, roles="FF", out="B", out_dtypes="c", dims="all"),
    doc="Sum or mean of (input - target)^2 over all elements.",
)


def _smooth_l1(x, y, beta):
    gap, beta = fn.abs(x - y), cast(beta, x.dtype)
    return where(gap >= beta, gap - 0.5 * beta, 0.5 * gap * gap / beta)


def _huber(x, y, delta):
    gap, delta = fn.abs(x - y), cast(delta, x.dtype)
    return where(gap >= delta, delta * (gap - 0.5 * delta), 0.5 * gap * gap)


for _name, _body in (("smooth_l1", _smooth_l1), ("huber", _huber)):
    op(
        f"{_name}_elements(Tensor input, Tensor target, float bound) -> Tensor",
        names=(),
        dtypes=REAL_FLOATS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        body=Scalar(_body),
        doc="A square where the difference is below the bound, a line elsewhere; checked by the loss.",
    )


def _cross_entropy_of_two(x, y):
    return (y - 1) * fn.maximum(fn.log1p(-x), -100.0) - y * fn.maximum(log(x), -100.0)


def _cross_entropy_of_two_slope(g, x, y):
    return g * (x - y) / fn.maximum(x * (1 - x), 1e-12)


op(
    "binary_cross_entropy_backward(Tensor grad, Tensor input, Tensor target) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(_cross_entropy_of_two_slope),
    doc="Gradient of binary_cross_entropy_elements by the input; finite at 0 and 1.",
)
op(
    "binary_cross_entropy_elements(Tensor input, Tensor target) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(_cross_entropy_of_two, work=4),
    grad=lambda o, g, input, target: (
        o.binary_cross_entropy_backward(g, input, target) if o.needs[0] else None,
        o.mul(g, o.sub(o.log1p(o.neg(input)), o.log(input))) if o.needs[1] else None,
    ),
    doc="-(y log x + (1 - y) log(1 - x)) with logarithms kept above -100; checked by binary_cross_entropy.",
)


def _nll_row(x, target, ignore_index):
    picked = -r.row_pick(x, target)
    return where(target == cast(ignore_index, "i64"), const(0, x.dtype), picked)


op(
    "nll_loss_rows(Tensor self, Tensor target, int ignore_index) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    roles={"target": "k"},
    dtype_error="\"nll_loss_out_frame\" not implemented for '{got}'",
    body=Row(_nll_row, roles="FB", out="B", out_dtypes="c", dims="class"),
    doc="-x[target] for each row of classes (dimension 1, or the only one); 0 where the target is ignored.",
)


def _cross_entropy_row(x, target, ignore_index):
    top = r.constant(r.row_max(x))
    shifted = x - top
    total = r.row_sum(exp(shifted))
    loss = log(total) - r.row_pick(shifted, target)
    return where(target == cast(ignore_index, "i64"), const(0, x.dtype), loss), top, total


op(
    "cross_entropy_rows(Tensor self, Tensor target, int ignore_index) -> (Tensor, Tensor, Tensor)",
    names=(),
    dtypes=REAL_FLOATS,
    roles={"target": "k"},
    dtype_error="\"log_softmax_lastdim_kernel_impl\" not implemented for '{got}'",
    body=Row(_cross_entropy_row, roles="FB", out="BBB", out_dtypes="cmm", dims="class"),
    doc="""log(sum(exp(x))) - x[target] for each row of classes, 0 where the target is ignored; also gives max(x) and
    sum(exp(x - max(x))).""",
)
