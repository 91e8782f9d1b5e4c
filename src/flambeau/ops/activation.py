"""Activations of neural networks."""

import math

from flambeau.ir import fn

from .formula import is_one, times
from .table import FLOATING, REAL, REAL_FLOATS, Composite, Scalar, op


def _functional(name: str, parameters: str = "", check=None) -> None:
    """`nn.functional.<name>(input, ..., inplace=False)` over the operators `<name>` and `<name>_`."""

    def run(o, input, *args):
        *args, inplace = args
        if check is not None:
            check(input, *args)
        return getattr(o, f"{name}_" if inplace else name)(input, *args)

    flag = ", bool inplace=False"
    op(
        f"{name}.functional(Tensor input{parameters}{flag}) -> Tensor",
        names=(f"nn.functional.{name}",),
        body=Composite(run),
        doc=f"As `{name}`; inplace=True writes the result to the input.",
    )


def _activation(
    name: str,
    formula,
    ref,
    doc: str,
    *,
    parameters: str = "",
    fold: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    dtypes=REAL_FLOATS,
    error: str = "",
    check=None,
) -> None:
    op(
        f"{name}(Tensor self{parameters}) -> Tensor",
        names=names,
        dtypes=dtypes,
        dtype_error=error if " " in error else error and f"\"{error}\" not implemented for '{{got}}'",
        fold=fold,
        roles=dict.fromkeys(fold, "f"),
        body=Scalar(formula),
        inplace=(f"nn.functional.{name}_",),
        ref=ref,
        samples=("unary", -4, 4),
        doc=doc,
    )
    _functional(name, parameters, check)


op(
    "relu(Tensor self) -> Tensor",
    dtypes=REAL,
    dtype_error="clamp is not supported for complex types|RuntimeError: Boolean inputs not supported for relu",
    body=Scalar(fn.relu),
    inplace=("nn.functional.relu_",),
    ref=lambda np, x: np.maximum(x, 0),
    samples=("unary", -3, 3),
    doc="max(x, 0), of each element; the gradient at 0 is 0.\n\nExample:\n"
    "    >>> flambeau.relu(flambeau.tensor([-1., 2.]))",
)
_functional("relu")


def _between(x, low, high):
    """x kept between two numbers; the gradient at and beyond them is 0."""
    low, high = fn.cast(low, x.dtype), fn.cast(high, x.dtype)
    return fn.where(x <= low, low, fn.where(x >= high, high, x))


def _bounded(x, low: float, high: float):
    return _between(x, fn.const(low, x.dtype), fn.const(high, x.dtype))


def _hardtanh(x, low, high):
    low = low if hasattr(low, "dtype") else fn.const(max(low, 0) if x.dtype == "u8" else low, x.dtype)
    high = high if hasattr(high, "dtype") else fn.const(high, x.dtype)
    return _between(x, low, high)


def _check_bounds(input, low, high) -> None:
    if low > high:
        raise ValueError("min_val cannot be greater than max_val")
    if input.dtype.code == "u8" and low < 0:
        raise RuntimeError("cannot do hardtanh on an unsigned type with negative limits")


_NO_HARDTANH = "clamp is not supported for complex types|RuntimeError: Bool inputs not supported for hardtanh"
_activation(
    "hardtanh",
    _hardtanh,
    lambda np, x, low=-1, high=1: np.clip(x, low, high),
    "x kept between min_val and max_val; the gradient is 0 at and beyond them.",
    parameters=", Scalar min_val=-1, Scalar max_val=1",
    fold=("min_val", "max_val"),
    dtypes=REAL,
    error=_NO_HARDTANH,
    check=_check_bounds,
)
_activation(
    "relu6",
    lambda x: _bounded(x, 0, 6),
    lambda np, x: np.clip(x, 0, 6),
    "min(max(x, 0), 6).",
    dtypes=REAL,
    error=_NO_HARDTANH,
)
_activation(
    "hardsigmoid",
    lambda x: fn.where(x <= -3, fn.const(0, x.dtype), fn.where(x >= 3, fn.const(1, x.dtype), x / 6 + 0.5)),
    lambda np, x: np.clip(x / 6 + 0.5, 0, 1),
    "0 below -3, 1 above 3, x / 6 + 1/2 between.",
    error="hardsigmoid_cpu",
)
_activation(
    "hardswish",
    lambda x: fn.where(x <= -3, x * 0, fn.where(x >= 3, x, x * (x + 3) / 6)),  # nan at -inf, as in PyTorch
    lambda np, x: x * np.clip(x + 3, 0, 6) / 6,
    "x * relu6(x + 3) / 6.",
    error="hardswish_cpu",
)


def _elu(x, alpha, scale, input_scale):
    negative = fn.expm1(x * input_scale) * alpha
    return fn.where(x <= 0, times(negative, scale), times(x, scale))


_activation(
    "elu",
    lambda x, alpha: _elu(x, alpha, 1, 1),
    lambda np, x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x)),
    "x where it is positive, else alpha * (exp(x) - 1).",
    parameters=", Scalar alpha=1",
    fold=("alpha",),
    error="elu_cpu",
)
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946
_activation(
    "selu",
    lambda x: _elu(x, _SELU_ALPHA, _SELU_SCALE, 1),
    lambda np, x: _SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(x)),
    "scale * (x where it is positive, else alpha * (exp(x) - 1)), with the constants that keep mean and variance.",
    names=("selu",),
    error="elu_cpu",
)
op(
    "celu_elements(Tensor self, Scalar alpha=1.0) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    dtype_error="\"elu_cpu\" not implemented for '{got}'",
    fold=("alpha",),
    roles={"alpha": "f"},
    body=Scalar(lambda x, alpha: _elu(x, alpha, 1, 1 / alpha)),
    inplace=True,
    ref=lambda np, x, alpha=1.0: np.where(x > 0, x, alpha * np.expm1(x / alpha)),
    samples=("unary", -4, 4),
    doc="celu, of an alpha that is not 0.",
)


def _celu(form: str):
    def run(o, self, alpha):
        if alpha == 0:
            raise RuntimeError("ZeroDivisionError: alpha cannot be 0 for CELU")
        return getattr(o, form)(self, alpha)

    return run


op(
    "celu(Tensor self, Scalar alpha=1.0) -> Tensor",
    names=("celu",),
    body=Composite(_celu("celu_elements")),
    doc="x where it is positive, else alpha * (exp(x / alpha) - 1).",
)
op(
    "celu_(Tensor(a!) self, Scalar alpha=1.0) -> Tensor(a!)",
    names=("celu_", "nn.functional.celu_"),
    body=Composite(_celu("celu_elements_")),
    doc="celu, written to self.",
)
_functional("celu", ", Scalar alpha=1.0")
_activation(
    "leaky_relu",
    lambda x, slope: fn.where(x > 0, x, x * slope),
    lambda np, x, slope=0.01: np.where(x > 0, x, slope * x),
    "x where it is positive, else negative_slope * x.",
    parameters=", Scalar negative_slope=0.01",
    fold=("negative_slope",),
    error="leaky_relu_cpu",
)
_activation(
    "silu",
    lambda x: x * fn.sigmoid(x),
    lambda np, x: x / (1 + np.exp(-x)),
    "x * sigmoid(x).",
    dtypes=FLOATING,
    error="silu_cpu",
)
_activation(
    "mish",
    lambda x: x * fn.tanh(fn.softplus(x)),
    lambda np, x: x * np.tanh(np.log1p(np.exp(x))),
    "x * tanh(log(1 + exp(x))).",
    error="mish_cpu",
)


def _threshold(x, threshold, value):
    return fn.where(x <= fn.cast(threshold, x.dtype), fn.cast(value, x.dtype), x)


op(
    "threshold(Tensor self, Scalar threshold, Scalar value) -> Tensor",
    names=("threshold",),
    dtypes=REAL,
    roles={"threshold": "f", "value": "f"},
    body=Scalar(_threshold),
    inplace=("threshold_", "nn.functional.threshold_"),
    ref=lambda np, x, threshold, value: np.where(x <= threshold, value, x),
    doc="x where it is above the threshold, else value.",
)
_functional("threshold", ", Scalar threshold, Scalar value")


def _gelu(x, approximate):
    if approximate == "none":
        return fn.gelu(x)
    if approximate == "tanh":
        twice_inner = 2 * math.sqrt(2 / math.pi) * (x + 0.044715 * (x * x * x))
        return x * fn.sigmoid(twice_inner)  # (1 + tanh(inner)) / 2
    raise RuntimeError("approximate argument must be either none or tanh.")


def _gelu_ref(np, x, approximate="none"):
    if approximate == "none":
        return x * 0.5 * (1 + np.special.erf(x / np.sqrt(2)))
    return x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


op(
    "gelu(Tensor self, *, str approximate='none') -> Tensor",
    names=("nn.functional.gelu",),
    dtypes=REAL_FLOATS,
    dtype_error="\"GeluKernelImpl\" not implemented for '{got}'",
    body=Scalar(_gelu, work=3),
    inplace=(),
    ref=_gelu_ref,
    samples=("unary", -4, 4),
    doc="x * Phi(x), Phi being the normal distribution function; approximate='tanh' takes a formula of tanh for it.\n\n"
    "Error (of 'none', largest measured): in float32 0.7 ulp above 1, 2 elsewhere above -5, and 6.1 below, down to -12, "
    "where PyTorch's values have cancelled to nothing; 2.2 ulp in float64. 0 at -inf.",
)
op(
    "log_sigmoid(Tensor self) -> Tensor",
    names=("nn.functional.logsigmoid",),
    dtypes=REAL_FLOATS,
    dtype_error="\"log_sigmoid_cpu\" not implemented for '{got}'",
    body=Scalar(fn.log_sigmoid, work=3),
    ref=lambda np, x: -np.log1p(np.exp(-x)),
    samples=("unary", -4, 4),
    doc="log(sigmoid(x)) without overflow.",
)


def _softplus(x, beta, threshold):
    scaled = times(x, beta)
    smooth = fn.softplus(scaled)
    return fn.where(scaled > threshold, x, smooth if is_one(beta) else smooth / beta)


op(
    "softplus(Tensor self, Scalar beta=1, Scalar threshold=20) -> Tensor",
    names=("nn.functional.softplus",),
    dtypes=REAL_FLOATS,
    fold=("beta", "threshold"),
    roles={"beta": "k", "threshold": "k"},
    body=Scalar(_softplus, work=3),
    ref=lambda np, x, beta=1, threshold=20: np.log1p(np.exp(beta * x)) / beta,
    samples=("unary", -4, 4),
    doc="log(1 + exp(beta * x)) / beta, and x where beta * x is above the threshold.",
)


def _hardshrink(x, lambd):
    return fn.where((x >= -lambd) & (x <= lambd), fn.const(0, x.dtype), x)


def _softshrink(x, lambd):
    inside = fn.where(fn.isnan(x), x, fn.const(0, x.dtype))
    return fn.where(x > lambd, x - lambd, fn.where(x < -lambd, x + lambd, inside))


op(
    "hardshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
    names=("hardshrink", "Tensor.hardshrink", "nn.functional.hardshrink"),
    dtypes=REAL_FLOATS,
    fold=("lambd",),
    roles={"lambd": "f"},
    body=Scalar(_hardshrink),
    ref=lambda np, x, lambd=0.5: np.where(np.abs(x) <= lambd, 0, x),
    samples=("unary", -2, 2),
    doc="x, and 0 between -lambd and lambd.",
)
op(
    "softshrink(Tensor self, Scalar lambd=0.5) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    dtype_error="\"softshrink_check\" not implemented for '{got}'",
    fold=("lambd",),
    roles={"lambd": "k"},
    body=Scalar(_softshrink),
    ref=lambda np, x, lambd=0.5: np.sign(x) * np.maximum(np.abs(x) - lambd, 0),
    samples=("unary", -2, 2),
    doc="x moved towards 0 by lambd.",
)


def _softshrink_functional(o, input, lambd):
    if not lambd >= 0:
        raise RuntimeError(
            f"lambda must be in range [0, 3.40282e+38] for input dtype {input.dtype.title}, but found {lambd:g}"
        )
    return o.softshrink(input, lambd)


op(
    "softshrink.functional(Tensor input, float lambd=0.5) -> Tensor",
    names=("nn.functional.softshrink",),
    body=Composite(_softshrink_functional),
    doc="x moved towards 0 by lambd.",
)
op(
    "tanhshrink(Tensor self) -> Tensor",
    names=("nn.functional.tanhshrink",),
    result="float",
    body=Scalar(lambda x: x - fn.tanh(x)),
    ref=lambda np, x: x - np.tanh(x),
    samples=("unary", -3, 3),
    doc="x - tanh(x).",
)
op(
    "softsign(Tensor self) -> Tensor",
    names=("nn.functional.softsign",),
    result="float",
    body=Scalar(lambda x: x / (fn.abs(x) + 1)),
    ref=lambda np, x: x / (1 + np.abs(x)),
    samples=("unary", -3, 3),
    doc="x / (1 + |x|).",
)
op(
    "prelu_elements(Tensor self, Tensor weight) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(lambda x, w: fn.where(x > 0, x, w * x)),
    ref=lambda np, x, w: np.where(x > 0, x, w * x),
    samples=("binary", -3, 3),
    doc="x where it is positive, else weight * x.",
)


def _prelu(o, self, weight):
    if weight.numel() != 1:
        channels = self.shape[1] if self.dim() > 1 else 1
        if self.dim() == 0:
            raise RuntimeError("Not allow zero-dim input tensor.")
        if weight.numel() != channels:
            raise RuntimeError(
                f"Mismatch of parameter numbers and input channel size. Found parameter numbers = {weight.numel()} and "
                f"channel size = {channels}."
            )
        if weight.dim() != 1:
            raise RuntimeError(
                f"prelu: Expected `weight` to be a scalar or 1D tensor, but got: ndim = {weight.dim()} [in prelu]"
            )
        weight = weight.reshape([-1 if d == 1 else 1 for d in range(self.dim())])
    elif weight.dim() > 0:
        weight = weight.reshape([1] * self.dim())
    if self.dtype != weight.dtype:
        raise RuntimeError(
            f"prelu: Type promoting not supported. Got {self.dtype.title} and {weight.dtype.title}"
        )
    return o.prelu_elements(self, weight)


op(
    "prelu(Tensor self, Tensor weight) -> Tensor",
    names=("prelu", "Tensor.prelu", "nn.functional.prelu"),
    body=Composite(_prelu),
    doc="x where it is positive, else weight * x; one weight, or one a channel (dimension 1).",
)


def _rrelu(o, self, lower, upper, training, generator=None):
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return o.leaky_relu(self, (lower + upper) / 2)
    if not self.dtype.is_floating_point:
        raise NotImplementedError(f"\"rrelu_with_noise_out_cpu\" not implemented for '{self.dtype.title}'")
    noise = o.uniform_(o.empty_like(self), lower, upper, generator=generator)
    return o.prelu_elements(self, noise.detach())


op(
    "rrelu(Tensor self, Scalar lower=0.125, Scalar upper=0.3333333333333333, bool training=False, "
    "Generator? generator=None) -> Tensor",
    names=("rrelu",),
    body=Composite(_rrelu),
    doc="leaky_relu with a random slope for each element in training, with the mean slope otherwise.",
)


def _rrelu_functional(o, self, lower, upper, training, inplace):
    result = o.rrelu(self, lower, upper, training)
    return self.copy_(result) if inplace else result


op(
    "rrelu.functional(Tensor input, float lower=0.125, float upper=0.3333333333333333, bool training=False, "
    "bool inplace=False) -> Tensor",
    names=("nn.functional.rrelu",),
    body=Composite(_rrelu_functional),
    doc="As `rrelu`; inplace=True writes the result to the input.",
)
