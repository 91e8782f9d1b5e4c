"""Values to start training from. Every function changes its tensor and returns it; no gradient is recorded.

The order of random draws is PyTorch's, so the same seed gives the same weights.
"""

import math
import warnings
from collections.abc import Callable
from typing import Any as _Any

from flambeau import functional_ns as _o

__all__ = [
    "calculate_gain",
    "constant",
    "constant_",
    "dirac",
    "dirac_",
    "eye",
    "eye_",
    "kaiming_normal",
    "kaiming_normal_",
    "kaiming_uniform",
    "kaiming_uniform_",
    "normal",
    "normal_",
    "ones_",
    "orthogonal",
    "orthogonal_",
    "sparse",
    "sparse_",
    "trunc_normal_",
    "uniform",
    "uniform_",
    "xavier_normal",
    "xavier_normal_",
    "xavier_uniform",
    "xavier_uniform_",
    "zeros_",
]

Tensor = _o.Tensor

_LINEAR = frozenset(
    ("linear", "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d", "sigmoid")
)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """The factor that keeps a layer's variance through a nonlinearity.

    Args:
        nonlinearity: the name of the function in `nn.functional`.
        param: the negative slope of leaky_relu.
    """
    if nonlinearity in _LINEAR:
        return 1
    if nonlinearity == "tanh":
        return 5.0 / 3
    if nonlinearity == "relu":
        return math.sqrt(2.0)
    if nonlinearity == "leaky_relu":
        slope = 0.01 if param is None else param
        if isinstance(slope, bool) or not isinstance(slope, (int, float)):
            raise ValueError(f"negative_slope {param} not a valid number")
        return math.sqrt(2.0 / (1 + slope**2))
    if nonlinearity == "selu":
        return 3.0 / 4  # found by experiment
    raise ValueError(f"Unsupported nonlinearity {nonlinearity}")


def uniform_(tensor: Tensor, a: float = 0.0, b: float = 1.0, generator: _Any = None) -> Tensor:
    """Fills with values of U(a, b)."""
    with _o.no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor: Tensor, mean: float = 0.0, std: float = 1.0, generator: _Any = None) -> Tensor:
    """Fills with values of N(mean, std^2)."""
    with _o.no_grad():
        return tensor.normal_(mean, std, generator=generator)


def trunc_normal_(
    tensor: Tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator: _Any = None
) -> Tensor:
    """Fills with values of N(mean, std^2) restricted to [a, b]."""
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of values may be "
            "incorrect.",
            stacklevel=2,
        )
    if tensor.is_meta:
        return tensor
    below, above = ((1.0 + math.erf((x - mean) / std / math.sqrt(2.0))) / 2.0 for x in (a, b))
    draw = _truncated_by_normal if above - below > 0.3 else _truncated_by_uniform
    with _o.no_grad():
        return tensor.copy_(draw(tensor, mean, std, a, b, generator))


def _truncated_by_normal(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: _Any) -> Tensor:
    """Draws of the normal distribution, again where they are outside."""
    low, high = (_o.tensor(bound, dtype=tensor.dtype).item() for bound in (a, b))
    values = _o.empty_like(tensor).normal_(mean, std, generator=generator)
    while (outside := (values < low) | (values > high)).any():
        values = _o.where(outside, _o.empty_like(values).normal_(mean, std, generator=generator), values)
    return values


def _truncated_by_uniform(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: _Any) -> Tensor:
    """Draws of U(a, b), each kept with a chance in proportion to the density there."""
    peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2
    values = pending = None
    while pending is None or pending.any():
        proposed = _o.empty_like(tensor).uniform_(a, b, generator=generator)
        values = proposed if values is None else _o.where(pending, proposed, values)
        density = (proposed - mean).div_(std).pow_(2).mul_(-0.5).sub_(peak)
        refused = _o.empty_like(tensor).uniform_(generator=generator).log_() > density
        pending = refused if pending is None else pending & refused
    return values


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Fills with one value."""
    with _o.no_grad():
        return tensor.fill_(val)


def ones_(tensor: Tensor) -> Tensor:
    """Fills with ones."""
    return constant_(tensor, 1.0)


def zeros_(tensor: Tensor) -> Tensor:
    """Fills with zeros."""
    with _o.no_grad():
        return tensor.zero_()


def eye_(tensor: Tensor) -> Tensor:
    """Makes a matrix the identity."""
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    with _o.no_grad():
        return tensor.copy_(_o.eye(*tensor.shape, dtype=tensor.dtype, device=tensor.device))


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """Makes the weight of a convolution pass its input channels on unchanged.

    Args:
        groups: the convolution's groups; each passes on its own channels.
    """
    if tensor.ndimension() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    if tensor.size(0) % groups != 0:
        raise ValueError("dim 0 must be divisible by groups")
    out_channels = tensor.size(0) // groups
    middle = tuple(n // 2 for n in tensor.shape[2:])
    with _o.no_grad():
        tensor.zero_()
        for group in range(groups):
            for channel in range(min(out_channels, tensor.size(1))):
                tensor[(group * out_channels + channel, channel, *middle)] = 1
    return tensor


def _calculate_fan_in_and_fan_out(tensor: Tensor) -> tuple[int, int]:
    if tensor.dim() < 2:
        raise ValueError("Fan in and fan out can not be computed for tensor with fewer than 2 dimensions")
    receptive_field = math.prod(tensor.shape[2:])
    return tensor.size(1) * receptive_field, tensor.size(0) * receptive_field


def _calculate_correct_fan(tensor: Tensor, mode: str) -> int:
    mode = mode.lower()
    if mode not in ("fan_in", "fan_out"):
        raise ValueError(f"Mode {mode} not supported, please use one of ['fan_in', 'fan_out']")
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return fan_in if mode == "fan_in" else fan_out


def xavier_uniform_(tensor: Tensor, gain: float = 1.0, generator: _Any = None) -> Tensor:
    """Fills with values of U(-a, a), a = gain * sqrt(6 / (fan_in + fan_out))."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    bound = math.sqrt(3.0) * (gain * math.sqrt(2.0 / float(fan_in + fan_out)))
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor: Tensor, gain: float = 1.0, generator: _Any = None) -> Tensor:
    """Fills with values of N(0, s^2), s = gain * sqrt(2 / (fan_in + fan_out))."""
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return normal_(tensor, 0.0, gain * math.sqrt(2.0 / float(fan_in + fan_out)), generator)


def _kaiming_std(tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float | None:
    """The standard deviation; None where there is nothing to fill."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: _Any = None
) -> Tensor:
    """Fills with values of U(-b, b), b = gain * sqrt(3 / fan).

    Args:
        a: the negative slope of the leaky_relu that follows.
        mode: "fan_in" keeps the variance on the way forward, "fan_out" on the way back.
    """
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor: Tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator: _Any = None
) -> Tensor:
    """Fills with values of N(0, s^2), s = gain / sqrt(fan). Arguments as for `kaiming_uniform_`."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0.0, std, generator)


def orthogonal_(tensor: Tensor, gain: float = 1, generator: _Any = None) -> Tensor:
    """Makes the rows, or the columns, of a matrix orthonormal and multiplies by `gain`."""
    if tensor.ndimension() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0:
        return tensor
    rows = tensor.size(0)
    columns = tensor.numel() // rows
    with _o.no_grad():
        flattened = tensor.new_empty((rows, columns)).normal_(0, 1, generator=generator)
        q, r = _o.linalg.qr(flattened.t() if rows < columns else flattened)
        q = q * r.diagonal().sign()  # makes the result uniformly distributed
        tensor.copy_((q.t() if rows < columns else q).reshape(tensor.shape))
        return tensor.mul_(gain)


def sparse_(tensor: Tensor, sparsity: float, std: float = 0.01, generator: _Any = None) -> Tensor:
    """Fills a matrix with values of N(0, std^2) and sets a fraction of every column to zero."""
    if tensor.ndimension() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    rows, columns = tensor.shape
    zeros = math.ceil(sparsity * rows)
    with _o.no_grad():
        tensor.normal_(0, std, generator=generator)
        for column in range(columns):
            tensor[_o.randperm(rows)[:zeros], column] = 0
    return tensor


def _deprecated(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    new = function.__name__
    old = new[:-1]

    def initializer(*args: _Any, **kwargs: _Any) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    initializer.__name__ = old
    initializer.__doc__ = f"The old name of `nn.init.{new}`."
    return initializer


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
