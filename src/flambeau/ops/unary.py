"""Elementwise operators of one operand: rounding, exponentials, trigonometry, signs and tests."""

import math

from flambeau.ir import fn
from flambeau.ir import types as t

from .table import (
    ANY,
    BOOL,
    COMPLEX,
    FLOATS8,
    INTEGRAL,
    NUMERIC,
    ORDERED,
    REAL,
    REAL_FLOATS,
    STORED,
    Composite,
    Scalar,
    op,
)  # fmt: skip

_INVERSES = {
    "acos": "arccos",
    "acosh": "arccosh",
    "asin": "arcsin",
    "asinh": "arcsinh",
    "atan": "arctan",
    "atanh": "arctanh",
}


_NOT_COMPLEX = tuple(d for d in ANY if d not in COMPLEX)
_ROUNDED = tuple(d for d in _NOT_COMPLEX if d not in BOOL)


def _names(*names: str) -> tuple[str, ...]:
    return tuple(n for name in names for n in (name, f"Tensor.{name}"))


# name, formula for people, numpy's name, domain of samples, dtypes, other names
_FLOAT_FUNCTIONS = (
    ("exp", "e^x", "exp", (-5, 5), NUMERIC, ()),
    ("exp2", "2^x", "exp2", (-5, 5), NUMERIC, ("special.exp2",)),
    ("expm1", "e^x - 1 without cancellation", "expm1", (-3, 3), NUMERIC, ("special.expm1",)),
    ("log", "natural logarithm", "log", (0.1, 10), NUMERIC, ()),
    ("log2", "logarithm to base 2", "log2", (0.1, 10), NUMERIC, ()),
    ("log10", "logarithm to base 10", "log10", (0.1, 10), NUMERIC, ()),
    ("log1p", "log(1 + x) without cancellation", "log1p", (-0.9, 10), NUMERIC, ("special.log1p",)),
    ("sin", "sine", "sin", (-7, 7), NUMERIC, ()),
    ("cos", "cosine", "cos", (-7, 7), NUMERIC, ()),
    ("tan", "tangent", "tan", (-1.4, 1.4), NUMERIC, ()),
    ("asin", "inverse sine", "arcsin", (-0.95, 0.95), NUMERIC, ()),
    ("acos", "inverse cosine", "arccos", (-0.95, 0.95), NUMERIC, ()),
    ("atan", "inverse tangent", "arctan", (-5, 5), NUMERIC, ()),
    ("sinh", "hyperbolic sine", "sinh", (-3, 3), NUMERIC, ()),
    ("cosh", "hyperbolic cosine", "cosh", (-3, 3), NUMERIC, ()),
    ("tanh", "hyperbolic tangent", "tanh", (-3, 3), NUMERIC, ("nn.functional.tanh",)),
    ("asinh", "inverse hyperbolic sine", "arcsinh", (-5, 5), NUMERIC, ()),
    ("acosh", "inverse hyperbolic cosine", "arccosh", (1.1, 10), NUMERIC, ()),
    ("atanh", "inverse hyperbolic tangent", "arctanh", (-0.95, 0.95), NUMERIC, ()),
    ("sqrt", "square root", "sqrt", (0.1, 10), NUMERIC, ()),
    ("erf", "2/sqrt(pi) * integral of exp(-t^2) from 0 to x", "special.erf", (-3, 3), ORDERED, ("special.erf",)),
    ("erfc", "1 - erf(x) without cancellation", "special.erfc", (-3, 3), ORDERED, ("special.erfc",)),
    ("erfinv", "inverse of erf", "special.erfinv", (-0.95, 0.95), ORDERED, ("special.erfinv",)),
    ("lgamma", "log |gamma(x)|", "special.gammaln", (0.2, 8), ORDERED, ("special.gammaln",)),
    ("digamma", "derivative of lgamma", "special.digamma", (0.2, 8), ORDERED, ("special.digamma", "special.psi")),
)  # fmt: skip

# The largest errors measured, in units in the last place: float32 (all inputs: docs/numerics.md), float64 (samples)
_ERRORS = {
    "exp": (1.05, 1.0), "exp2": (0.9, 0.9), "expm1": (1.5, 1.8), "log": (0.9, 0.9), "log2": (1.1, 1.2),
    "log10": (1.2, 1.0), "log1p": (1.0, 0.9), "sin": (1.6, 0.8), "cos": (1.6, 0.8), "tan": (1.3, 2.1),
    "asin": (0.5, 1.7), "acos": (0.5, 1.1), "atan": (1.3, 2.3), "sinh": (0.5, 2.4), "cosh": (0.5, 1.5),
    "tanh": (1.4, 2.6), "asinh": (0.5, 1.8), "acosh": (0.5, 2.0), "atanh": (0.5, 2.0), "sqrt": (0.5, 0.5),
    "erf": (1.3, 1.0), "erfc": (0.51, 0.8), "erfinv": (1.0, 0.9), "lgamma": (0.51, 0.9), "rsqrt": (1.5, 1.5),
    "reciprocal": (0.5, 0.5), "sigmoid": (2.0, 2.3),
}  # fmt: skip


def _error(name: str) -> str:
    single, double = _ERRORS[name]
    return f"\n\nError: at most {single} ulp in float32, {double} ulp in float64 (measured)."


_DIGAMMA_ERROR = "\n\nError: 0.5 ulp in float32, 2e-15 (1 + |digamma|) in float64 (measured)."


def _reference(path: str):
    def ref(np, x):
        for part in path.split("."):
            np = getattr(np, part)
        return np(x)

    return ref


for _name, _formula, _numpy, _domain, _dtypes, _more in _FLOAT_FUNCTIONS:
    op(
        f"{_name}(Tensor self) -> Tensor",
        names=_names(_name, *((_INVERSES[_name],) if _name in _INVERSES else ())) + _more,
        dtypes=_dtypes,
        dtype_error=f"\"{_name}_vml_cpu\" not implemented for '{{got}}'" if _dtypes is ORDERED else "",
        result="float",
        body=Scalar(getattr(fn, _name), work=2),
        inplace=True,
        ref=_reference(_numpy),
        samples=("unary", *_domain),
        doc=f"{_formula[0].upper()}{_formula[1:]}, of each element."
        + (_DIGAMMA_ERROR if _name == "digamma" else _error(_name))
        + "\n\nExample:\n"
        f"    >>> flambeau.{_name}(flambeau.tensor([0.5]))",
    )

op(
    "rsqrt(Tensor self) -> Tensor",
    result="float",
    body=Scalar(fn.rsqrt),
    inplace=True,
    ref=lambda np, x: 1 / np.sqrt(x),
    samples=("unary", 0.1, 10),
    doc="1 / sqrt(x), of each element." + _error("rsqrt"),
)
op(
    "reciprocal(Tensor self) -> Tensor",
    result="float",
    body=Scalar(fn.reciprocal),
    inplace=True,
    ref=lambda np, x: 1 / x,
    samples=("unary", 0.2, 5),
    doc="1 / x, of each element." + _error("reciprocal"),
)
op(
    "sigmoid(Tensor self) -> Tensor",
    names=(*_names("sigmoid"), "special.expit", "nn.functional.sigmoid"),
    result="float",
    body=Scalar(fn.sigmoid, work=2),
    inplace=True,
    ref=lambda np, x: 1 / (1 + np.exp(-x)),
    samples=("unary", -5, 5),
    doc="1 / (1 + exp(-x)), of each element." + _error("sigmoid"),
)


op(
    "square(Tensor self) -> Tensor",
    result="number",
    body=Scalar(lambda x: fn.cast(x, "i64") * fn.cast(x, "i64") if x.dtype == "b1" else x * x),
    inplace=True,
    ref=lambda np, x: x * x,
    samples=("unary", -3, 3),
    doc="x * x, of each element.",
)

op(
    "neg(Tensor self) -> Tensor",
    names=_names("neg", "negative"),
    dtypes=REAL + COMPLEX,
    dtype_error="RuntimeError: Negation, the `-` operator, on a bool tensor is not supported. If you are trying to "
    "invert a mask, use the `~` or `logical_not()` operator instead.",
    body=Scalar(lambda x: -x),
    inplace=True,
    ref=lambda np, x: -x,
    samples=("unary", -3, 3),
    doc="-x, of each element.",
)


def _positive(o, self):
    if self.dtype == o.bool:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return self


op("positive(Tensor self) -> Tensor", body=Composite(_positive), doc="self as it is; bools have no sign.")
op(
    "abs(Tensor self) -> Tensor",
    names=_names("abs", "absolute"),
    dtypes=REAL + COMPLEX + FLOATS8,
    result="real",
    body=Scalar(fn.abs),
    inplace=True,
    ref=lambda np, x: np.abs(x),
    samples=("unary", -3, 3),
    doc="|x| of each element; the gradient at 0 is 0. Of complex numbers: the distance from 0.",
)
op(
    "sign(Tensor self) -> Tensor",
    dtypes=ORDERED,
    dtype_error="Unlike NumPy, torch.sign is not intended to support complex numbers. Please use torch.sgn instead.",
    body=Scalar(fn.sign),
    inplace=True,
    ref=lambda np, x: x if x.dtype == bool else np.sign(x),
    samples=("unary", -3, 3),
    doc="-1, 0 or 1 by the sign of each element; 0 of nan.",
)
op(
    "sgn(Tensor self) -> Tensor",
    body=Scalar(fn.sign),
    inplace=True,
    ref=lambda np, x: x if x.dtype == bool else np.sign(x),
    samples=("unary", -3, 3),
    doc="sign(x); of complex numbers z / |z|, and 0 of 0.",
)


def _rounding(name: str, body, numpy: str, doc: str, names: tuple[str, ...]) -> None:
    op(
        f"{name}(Tensor self) -> Tensor",
        names=names,
        dtypes=_ROUNDED,
        dtype_error=f"{name} is not supported for complex inputs|\"{name}_vml_cpu\" not implemented for '{{got}}'",
        body=Scalar(body),
        inplace=True,
        ref=_reference(numpy),
        samples=("unary", -3, 3),
        doc=doc,
    )


_rounding("floor", fn.floor, "floor", "Largest integer not above each element.", _names("floor"))
_rounding("ceil", fn.ceil, "ceil", "Smallest integer not below each element.", _names("ceil"))
_rounding("trunc", fn.trunc, "trunc", "Each element without its fraction.", _names("trunc", "fix"))


def _round(x, decimals):
    if decimals == 0 or not t.is_float(x.dtype):
        return fn.round(x)
    ten = fn.const(10.0 ** abs(decimals), x.dtype)
    return fn.round(x * ten) / ten if decimals > 0 else fn.round(x / ten) * ten


op(
    "round(Tensor self, *, int decimals=0) -> Tensor",
    names=(*_names("round"), "special.round"),
    dtypes=_ROUNDED,
    dtype_error="\"round_vml_cpu\" not implemented for '{got}'",
    static=("decimals",),
    body=Scalar(_round),
    inplace=("round_",),
    ref=lambda np, x, decimals=0: np.round(x, decimals),
    samples=("unary", -3, 3),
    doc="Nearest integer (or multiple of 10^-decimals) of each element, halves to even.",
)
op(
    "frac(Tensor self) -> Tensor",
    dtypes=REAL_FLOATS,
    body=Scalar(lambda x: x - fn.trunc(x)),
    inplace=True,
    ref=lambda np, x: x - np.trunc(x),
    samples=("unary", -3, 3),
    doc="The fraction of each element, with its sign.",
)


def _degrees(factor: float):
    def body(x):
        return x * factor

    return body


for _name, _factor, _numpy in (("deg2rad", math.pi / 180, "deg2rad"), ("rad2deg", 180 / math.pi, "rad2deg")):
    op(
        f"{_name}(Tensor self) -> Tensor",
        dtypes=ORDERED,
        dtype_error=f"RuntimeError: {_name} is not supported for complex tensors.",
        result="float",
        body=Scalar(_degrees(_factor)),
        inplace=True,
        ref=_reference(_numpy),
        samples=("unary", -180, 180),
        doc="Degrees in radians." if _name == "deg2rad" else "Radians in degrees.",
    )

op(
    "logical_not(Tensor self) -> Tensor",
    result="bool",
    body=Scalar(fn.logical_not),
    inplace=True,
    differentiable=False,
    ref=lambda np, x: np.logical_not(x),
    samples=("unary", -2, 2),
    doc="Whether each element is zero.",
)
op(
    "bitwise_not(Tensor self) -> Tensor",
    dtypes=INTEGRAL,
    body=Scalar(lambda x: ~x),
    inplace=True,
    ref=lambda np, x: np.invert(x),
    samples="integers",
    doc="Every bit of each element inverted; of bools: not.",
)

_SIGNBIT_ERROR = "signbit is not implemented for complex tensors."
for _name, _body, _numpy, _dtypes, _doc in (
    ("isnan", fn.isnan, "isnan", STORED, "Whether each element is not a number."),
    ("isinf", fn.isinf, "isinf", ANY, "Whether each element (or a part of it) is infinite."),
    ("isfinite", fn.isfinite, "isfinite", ANY, "Whether each element is neither infinite nor nan."),
    ("signbit", fn.signbit, "signbit", _NOT_COMPLEX, "Whether each element is negative, -0.0 included."),
):  # fmt: skip
    op(
        f"{_name}(Tensor self) -> Tensor",
        dtypes=_dtypes,
        dtype_error=_SIGNBIT_ERROR if _name == "signbit" else f"\"{_name}\" not implemented for '{{got}}'",
        result="bool",
        body=Scalar(_body),
        differentiable=False,
        ref=_reference(_numpy),
        samples=("unary", -2, 2),
        doc=_doc,
    )


def _infinite(sign: float):
    def body(x):
        return fn.eq(x, sign * math.inf) if t.is_float(x.dtype) else fn.const(False, "b1")

    return body


for _name, _sign in (("isposinf", 1.0), ("isneginf", -1.0)):
    op(
        f"{_name}(Tensor self) -> Tensor",
        dtypes=ORDERED,
        dtype_error=f"RuntimeError: {_name} does not support complex inputs.",
        result="bool",
        body=Scalar(_infinite(_sign)),
        differentiable=False,
        ref=_reference(_name),
        samples=("unary", -2, 2),
        doc=f"Whether each element is {'' if _sign > 0 else 'minus '}infinity.",
    )
op(
    "isreal(Tensor self) -> Tensor",
    dtypes=ANY,
    result="bool",
    body=Scalar(lambda x: fn.eq(fn.imag(x), 0) if t.is_complex(x.dtype) else fn.const(True, "b1")),
    differentiable=False,
    ref=lambda np, x: np.isreal(x),
    samples=("unary", -2, 2),
    doc="Whether the imaginary part of each element is 0.",
)


def _angle(x):
    if t.is_complex(x.dtype):
        return fn.atan2(fn.imag(x), fn.real(x))
    return fn.where(fn.isnan(x), x, fn.where(x < 0, fn.const(math.pi, x.dtype), fn.const(0, x.dtype)))


op(
    "angle(Tensor self) -> Tensor",
    result="real_float",
    body=Scalar(_angle),
    ref=lambda np, x: np.angle(x),
    samples=("unary", -2, 2),
    doc="The angle of each complex number in radians; of reals 0, or pi where they are negative.",
)
op(
    "conj_physical(Tensor self) -> Tensor",
    body=Scalar(fn.conj),
    inplace=True,
    ref=lambda np, x: np.conj(x),
    samples=("unary", -2, 2),
    doc="The conjugate of each complex number.",
)


def _sinc(x):
    """Near 0 a series, since the derivative of the quotient cancels there."""
    scaled, one = x * math.pi, fn.const(1, x.dtype)
    if t.is_complex(x.dtype):
        scaled = fn.where(fn.eq(x, 0), one, scaled)
        return fn.where(fn.eq(x, 0), one, fn.sin(scaled) / scaled)
    near = fn.abs(scaled) < 0.5
    series = [(-1) ** k / math.factorial(2 * k + 1) for k in range(9 if x.dtype == "f64" else 5)]
    far = fn.where(near, one, scaled)
    return fn.where(near, fn.polynomial(scaled * scaled, series), fn.sin(far) / far)


op(
    "sinc(Tensor self) -> Tensor",
    names=(*_names("sinc"), "special.sinc"),
    result="float",
    body=Scalar(_sinc),
    inplace=True,
    ref=lambda np, x: np.sinc(x),
    samples=("unary", -3, 3),
    doc="sin(pi x) / (pi x), and 1 at 0.",
)


def _logit(x, eps):
    if eps is not None:
        low = fn.cast(eps, x.dtype)
        x = fn.clamp(x, low, 1 - low)
    return fn.log(x / (1 - x))


def _logit_slope(g, x, eps):
    slope, none = g / (x * (1 - x)), fn.const(math.nan, x.dtype)
    if eps is None:
        return fn.where((x < 0) | (x > 1), none, slope)
    low = fn.cast(eps, x.dtype)
    return fn.where((x >= low) & (x <= 1 - low), slope, fn.const(0, x.dtype))


op(
    "logit_backward(Tensor grad, Tensor self, float? eps) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(_logit_slope),
    doc="Gradient of logit: infinite at 0 and 1, 0 outside of the bounds that eps sets.",
)
op(
    "logit(Tensor self, float? eps=None) -> Tensor",
    names=(*_names("logit"), "special.logit"),
    dtypes=ORDERED,
    result="float",
    body=Scalar(_logit),
    grad=lambda o, g, self, eps: (o.logit_backward(g, self, eps),),
    inplace=("logit_",),
    ref=lambda np, x, eps=None: np.special.logit(x if eps is None else np.clip(x, eps, 1 - eps)),
    samples=("unary", 0.1, 0.9),
    doc="log(x / (1 - x)); with eps x is kept in [eps, 1 - eps].",
)
