"""Elementwise operators of two operands: arithmetic, comparison, logic, bits, extremes."""

import math

from flambeau.ir import fn
from flambeau.ir import types as t

from .formula import times
from .table import (
    BOOL,
    COMPLEX,
    FLOATING,
    INTEGERS,
    INTEGRAL,
    ORDERED,
    REAL,
    REAL_FLOATS,
    STORED,
    Composite,
    Scalar,
    op,
)  # fmt: skip

_BOTH = ("self", "other")


def _names(*names: str) -> tuple[str, ...]:
    return tuple(n for name in names for n in (name, f"Tensor.{name}"))


op(
    "add(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    dtype_error="\"add_stub\" not implemented for '{got}'",
    numbers=_BOTH,
    roles={"alpha": "a"},
    fold=("alpha",),
    body=Scalar(lambda x, y, alpha: x + times(y, alpha)),
    inplace=True,
    ref=lambda np, x, y, alpha=1: x + alpha * y,
    samples=("binary", -3, 3),
    doc="self + alpha * other.\n\nExample:\n    >>> flambeau.tensor([1., 2.]) + 1\n    tensor([2., 3.])",
)
_NO_BOOL_SUB = (
    "RuntimeError: Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
    "`logical_xor()` operator instead."
)
_NO_MASK_SUB = {
    "alone": BOOL,
    "mixed_error": "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying to invert a "
    "mask, use the `~` or `logical_not()` operator instead.",
}
op(
    "sub(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    names=_names("sub", "subtract"),
    dtypes=REAL + COMPLEX,
    dtype_error=_NO_BOOL_SUB,
    **_NO_MASK_SUB,
    numbers=_BOTH,
    roles={"alpha": "a"},
    fold=("alpha",),
    body=Scalar(lambda x, y, alpha: x - times(y, alpha)),
    inplace=True,
    ref=lambda np, x, y, alpha=1: x - alpha * y,
    samples=("binary", -3, 3),
    doc="self - alpha * other.",
)
op(
    "rsub(Tensor self, Tensor other, *, Scalar alpha=1) -> Tensor",
    names=("rsub",),
    dtypes=REAL + COMPLEX,
    dtype_error=_NO_BOOL_SUB,
    **_NO_MASK_SUB,
    numbers=("other",),
    roles={"alpha": "a"},
    fold=("alpha",),
    body=Scalar(lambda x, y, alpha: y - times(x, alpha)),
    ref=lambda np, x, y, alpha=1: y - alpha * x,
    samples=("binary", -3, 3),
    doc="other - alpha * self.",
)
op(
    "mul(Tensor self, Tensor other) -> Tensor",
    names=_names("mul", "multiply"),
    numbers=_BOTH,
    body=Scalar(lambda x, y: x * y),
    inplace=True,
    ref=lambda np, x, y: x * y,
    samples=("binary", -3, 3),
    doc="self * other.",
)
op(
    "div(Tensor self, Tensor other) -> Tensor",
    names=_names("div", "divide", "true_divide"),
    numbers=_BOTH,
    result="float",
    body=Scalar(lambda x, y: x / y),
    inplace=True,
    ref=lambda np, x, y: x / y,
    samples=("binary", 0.5, 3),
    doc="self / other; integers give floating-point results.",
)


def _div_mode(o, self, other, *, rounding_mode):
    if rounding_mode is None:
        return o.div(self, other)
    return _rounded_quotient(o, rounding_mode, "")(self, other)


def _div_mode_(o, self, other, *, rounding_mode):
    if rounding_mode is None:
        return o.div_(self, other)
    return _rounded_quotient(o, rounding_mode, "_")(self, other)


def _rounded_quotient(o, rounding_mode: str, suffix: str):
    if rounding_mode not in ("trunc", "floor"):
        raise RuntimeError(
            f"div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '{rounding_mode}'"
        )
    return getattr(o, f"{'floor_divide' if rounding_mode == 'floor' else 'div_trunc'}{suffix}")


op(
    "div.Tensor_mode(Tensor self, Tensor other, *, str? rounding_mode) -> Tensor",
    names=_names("div", "divide"),
    numbers=_BOTH,
    body=Composite(_div_mode),
    doc="self / other, rounded towards zero ('trunc') or down ('floor').",
)
op(
    "div_.Tensor_mode(Tensor(a!) self, Tensor other, *, str? rounding_mode) -> Tensor(a!)",
    names=("Tensor.div_", "Tensor.divide_"),
    numbers=("other",),
    body=Composite(_div_mode_),
    doc="self / other, rounded, written to self.",
)
op(
    "floor_divide(Tensor self, Tensor other) -> Tensor",
    dtypes=REAL,
    dtype_error="\"div_floor_cpu\" not implemented for '{got}'",
    numbers=_BOTH,
    divisor="other",
    body=Scalar(fn.floor_divide),
    inplace=True,
    ref=lambda np, x, y: np.floor_divide(x, y),
    samples=("binary", 0.5, 3),
    doc="self / other rounded down, as // of Python. An integer by 0 is an error.",
)


def _div_trunc(x, y):
    return fn.idiv(x, y) if t.is_int(x.dtype) else fn.trunc(x / y)


op(
    "div_trunc(Tensor self, Tensor other) -> Tensor",
    names=(),
    dtypes=REAL,
    dtype_error="\"div_trunc_cpu\" not implemented for '{got}'",
    numbers=_BOTH,
    divisor="other",
    body=Scalar(_div_trunc),
    inplace=True,
    ref=lambda np, x, y: np.trunc(x / y),
    samples=("binary", 0.5, 3),
    doc="self / other rounded towards zero. An integer by 0 is an error.",
)
op(
    "remainder(Tensor self, Tensor other) -> Tensor",
    dtypes=REAL,
    numbers=_BOTH,
    divisor="other",
    body=Scalar(fn.remainder),
    inplace=True,
    ref=lambda np, x, y: np.remainder(x, y),
    samples=("binary", 0.5, 3),
    doc="The remainder of self / other rounded down; it has the sign of other, as % of Python. An integer by 0 is an error.",
)
op(
    "fmod(Tensor self, Tensor other) -> Tensor",
    dtypes=REAL,
    numbers=("other",),
    divisor="other",
    body=Scalar(fn.fmod),
    inplace=True,
    ref=lambda np, x, y: np.fmod(x, y),
    samples=("binary", 0.5, 3),
    doc="The remainder of self / other rounded towards zero; it has the sign of self. An integer by 0 is an error.",
)

# ---- powers: common exponents are cheaper than the general formula

op(
    "pow(Tensor self, Tensor exponent) -> Tensor",
    names=_names("pow"),
    dtypes=REAL + COMPLEX,
    dtype_error="\"pow\" not implemented for '{got}'",
    numbers=("self",),
    body=Scalar(fn.pow, work=4),
    inplace=True,
    ref=lambda np, x, y: np.power(x, y),
    samples=("binary", 0.5, 3),
    doc="self to the power exponent.\n\nError: at most 0.51 ulp in float32, 1.0 ulp in float64 (measured).",
)
op(
    "pow_number(Tensor self, Tensor exponent) -> Tensor",
    names=(),
    numbers=("exponent",),
    body=Scalar(fn.pow, work=4),
    inplace=True,
    doc="self to the power of a number; checked by pow.",
)
op(
    "cube(Tensor self) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(lambda x: x * x * x),
    inplace=True,
    doc="x * x * x.",
)
op(
    "inverse_square_backward(Tensor grad, Tensor self) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(lambda g, x: g * (-2 / (x * x) / x)),
    doc="Gradient of inverse_square: infinite at 0.",
)
op(
    "inverse_square(Tensor self) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(lambda x: 1 / (x * x)),
    inplace=True,
    grad=lambda o, g, self: (o.inverse_square_backward(g, self),),
    doc="1 / (x * x).",
)
_SHORT_POWERS = {
    2: "square", 3: "cube", -2: "inverse_square", 0.5: "sqrt", -0.5: "rsqrt", -1: "reciprocal",
}  # fmt: skip


def _short_power(self, exponent) -> str | None:
    short = _SHORT_POWERS.get(exponent)
    if short is None or isinstance(exponent, bool) or not self.dtype.is_floating_point:
        return None
    return short


def _check_exponent(self, exponent) -> None:
    integers = not (self.dtype.is_floating_point or self.dtype.is_complex)
    if integers and isinstance(exponent, int) and exponent < 0:
        raise RuntimeError("Integers to negative integer powers are not allowed.")


def _pow_number(o, self, exponent):
    if isinstance(exponent, bool) and self.dtype.code == "b1":
        return self.clone() if exponent else o.ones_like(self)
    _check_exponent(self, exponent)
    short = _short_power(self, exponent)
    return getattr(o, short)(self) if short else o.pow_number(self, exponent)


def _pow_number_(o, self, exponent):
    if isinstance(exponent, bool) and self.dtype.code == "b1":
        return self if exponent else self.fill_(True)
    _check_exponent(self, exponent)
    short = _short_power(self, exponent)
    return getattr(o, f"{short}_")(self) if short else o.pow_number_(self, exponent)


op(
    "pow.Tensor_Scalar(Tensor self, Scalar exponent) -> Tensor",
    names=_names("pow"),
    body=Composite(_pow_number),
    doc="self to the power exponent.",
)
op(
    "pow_.Scalar(Tensor(a!) self, Scalar exponent) -> Tensor(a!)",
    names=("Tensor.pow_",),
    body=Composite(_pow_number_),
    doc="self to the power exponent, written to self.",
)


def _as_float_power(o, x):
    if not isinstance(x, o.Tensor):
        return x
    return x.to(o.complex128 if x.dtype.is_complex else o.float64)


def _float_power(o, self, exponent):
    return o.pow(_as_float_power(o, self), _as_float_power(o, exponent))


def _float_power_(o, self, exponent):
    wide = o.complex128 if o.result_type(self, exponent).is_complex else o.float64
    if self.dtype is not wide:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {self.dtype.title} but the operation's result requires dtype "
            f"{wide.title}"
        )
    return o.pow_(self, _as_float_power(o, exponent))


op(
    "float_power_(Tensor(a!) self, Tensor exponent) -> Tensor(a!)",
    names=("Tensor.float_power_",),
    numbers=("exponent",),
    body=Composite(_float_power_),
    doc="float_power, written to self, which is float64 (or complex128).",
)
op(
    "float_power(Tensor self, Tensor exponent) -> Tensor",
    numbers=("exponent",),
    body=Composite(_float_power),
    ref=lambda np, x, y: np.power(x.astype(np.float64), y.astype(np.float64)),
    doc="self to the power exponent, in float64 (complex numbers in complex128).",
)
op(
    "float_power.Scalar(Scalar self, Tensor exponent) -> Tensor",
    names=("float_power",),
    body=Composite(_float_power),
    doc="A number to the power exponent.",
)

# ---- comparison

for _name, _body, _numpy, _aliases in (
    ("eq", fn.eq, "equal", ()),
    ("ne", fn.ne, "not_equal", ("not_equal",)),
    ("lt", fn.lt, "less", ("less",)),
    ("le", fn.le, "less_equal", ("less_equal",)),
    ("gt", fn.gt, "greater", ("greater",)),
    ("ge", fn.ge, "greater_equal", ("greater_equal",)),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        names=_names(_name, *_aliases),
        dtypes=STORED if _name in ("eq", "ne") else ORDERED,
        result="bool",
        numbers=("other",),
        body=Scalar(_body),
        inplace=True,
        differentiable=False,
        ref=(lambda f: lambda np, x, y: getattr(np, f)(x, y))(_numpy),
        samples=("compare", -2, 2),
        doc=f"Whether elements of self and other are {_numpy.replace('_', ' or ')}.",
    )

for _name, _body in (("logical_and", fn.logical_and), ("logical_or", fn.logical_or), ("logical_xor", fn.logical_xor)):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        result="bool",
        body=Scalar(_body),
        inplace=True,
        differentiable=False,
        ref=(lambda f: lambda np, x, y: getattr(np, f)(x, y))(_name),
        samples=("compare", -1, 1),
        doc=f"{_name.split('_')[1]} of elements being nonzero.",
    )

# ---- bits

for _name, _body in (
    ("bitwise_and", lambda x, y: x & y),
    ("bitwise_or", lambda x, y: x | y),
    ("bitwise_xor", lambda x, y: x ^ y),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=INTEGRAL,
        numbers=_BOTH,
        body=Scalar(_body),
        inplace=True,
        ref=(lambda f: lambda np, x, y: getattr(np, f)(x, y))(_name),
        samples="integers",
        doc=f"Bitwise {_name.split('_')[1]}; of bools the logical one.",
    )
for _name, _body, _kernel, _numpy in (
    ("bitwise_left_shift", lambda x, y: x << y, "lshift_cpu", "left_shift"),
    ("bitwise_right_shift", lambda x, y: x >> y, "rshift_cpu", "right_shift"),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=INTEGERS,
        dtype_error=f"\"{_kernel}\" not implemented for '{{got}}'",
        numbers=_BOTH,
        body=Scalar(_body),
        inplace=True,
        ref=(lambda f: lambda np, x, y: getattr(np, f)(x, y))(_numpy),
        samples="shifts",
        doc="self * 2^other, in bits." if "left" in _name else "self / 2^other rounded down, in bits.",
    )

# ---- extremes

for _name, _body, _numpy, _doc in (
    ("maximum", fn.maximum, "maximum", "The larger of two elements; nan wins, ties share the gradient."),
    ("minimum", fn.minimum, "minimum", "The smaller of two elements; nan wins, ties share the gradient."),
    ("fmax", fn.fmax, "fmax", "The larger of two elements; a number wins over nan."),
    ("fmin", fn.fmin, "fmin", "The smaller of two elements; a number wins over nan."),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=ORDERED,
        dtype_error=f"RuntimeError: {_name} not implemented for complex tensors.",
        body=Scalar(_body),
        ref=(lambda f: lambda np, x, y: getattr(np, f)(x, y))(_numpy),
        samples=("binary", -3, 3),
        doc=_doc,
    )

# ---- functions of two floats

op(
    "atan2(Tensor self, Tensor other) -> Tensor",
    names=_names("atan2", "arctan2"),
    dtypes=ORDERED,
    result="float",
    body=Scalar(fn.atan2, work=3),
    inplace=True,
    ref=lambda np, x, y: np.arctan2(x, y),
    samples=("binary", 0.5, 3),
    doc="The angle of the point (other, self).\n\nError: at most 1.5 ulp in float32, 0.8 ulp in float64 (measured).",
)
op(
    "hypot(Tensor self, Tensor other) -> Tensor",
    dtypes=REAL_FLOATS,
    body=Scalar(fn.hypot),
    inplace=True,
    ref=lambda np, x, y: np.hypot(x, y),
    samples=("binary", 0.5, 3),
    doc="sqrt(self^2 + other^2) without overflow.\n\nError: at most 0.5 ulp in float32, 1.2 ulp in float64 (measured).",
)
op(
    "copysign(Tensor self, Tensor other) -> Tensor",
    dtypes=ORDERED,
    result="float",
    numbers=("other",),
    body=Scalar(fn.copysign),
    inplace=True,
    ref=lambda np, x, y: np.copysign(x, y),
    samples=("binary", 0.5, 3),
    doc="|self| with the sign of other.",
)


def _next_after(x, y):
    ints = t.int_of(x.dtype)
    bits = fn.bitcast(x, ints)
    up = fn.eq(fn.gt(y, x), fn.gt(x, 0))
    step = fn.where(up, bits + 1, bits - 1)
    smallest = fn.where(fn.gt(y, 0), fn.const(1, ints), fn.const(1, ints) | fn.const(-(1 << (t.bits(ints) - 1)), ints))
    moved = fn.bitcast(fn.where(fn.eq(x, 0), smallest, step), x.dtype)
    return fn.where(fn.isnan(x) | fn.isnan(y), x + y, fn.where(fn.eq(x, y), y, moved))


def _next_after_short(o, self, other):
    """The same of 16-bit numbers, as integers of their bits: these are ordered as the numbers are."""
    a, b = (t.to(o.result_type(self, other)) for t in o.broadcast_tensors(self.detach(), other.detach()))
    bits = a.contiguous().view(o.int16)
    step = o.where((b > a) == (a > 0), bits + 1, bits - 1)
    moved = o.where(a == 0, o.where(b > 0, 1, -0x7FFF).to(o.int16), step).view(a.dtype)
    return o.where(o.isnan(a) | o.isnan(b), a + b, o.where(a == b, b, moved))


def _next_after_any(o, self, other):
    short = o.result_type(self, other) in (o.float16, o.bfloat16)
    return _next_after_short(o, self, other) if short else o.nextafter_wide(self, other)


op(
    "nextafter_wide(Tensor self, Tensor other) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS[2:],
    dtype_error="\"nextafter_cpu\" not implemented for '{got}'",
    body=Scalar(_next_after),
    grad=lambda o, g, self, other: (o.sum_to_size(g, self.shape), o.zeros_like(other)),
    doc="nextafter of float32 and float64.",
)
op(
    "nextafter(Tensor self, Tensor other) -> Tensor",
    dtypes=REAL_FLOATS[2:],
    body=Composite(_next_after_any),
    inplace=True,
    ref=lambda np, x, y: np.nextafter(x, y),
    samples=("binary", -3, 3),
    doc="The next number after self towards other.",
)


def _heaviside(x, values):
    one, zero = fn.const(1, x.dtype), fn.const(0, x.dtype)
    return fn.where(fn.eq(x, 0), values, fn.where(x > 0, one, zero))


op(
    "heaviside(Tensor self, Tensor values) -> Tensor",
    dtypes=ORDERED,
    dtype_error="RuntimeError: heaviside is not yet implemented for complex tensors.",
    alone=ORDERED,
    mixed_error="heaviside is not yet implemented for tensors with different dtypes.",
    body=Scalar(lambda x, v: _heaviside(x, v) if x.dtype != "b1" else x | v),
    inplace=True,
    differentiable=False,
    ref=lambda np, x, y: np.where(np.isnan(x), 0, np.heaviside(x, y)),
    samples=("compare", -2, 2),
    doc="1 where self is positive, `values` where it is 0, else (also of nan) 0.",
)


def _x_log(log, start: float):
    """x log(y), and 0 where x is 0 and the logarithm of y no finite number; `start` is where logarithms begin."""

    def body(x, y):
        none = fn.eq(x, 0) & ((y <= start) | fn.eq(y, math.inf))
        product = x * log(fn.where(none, fn.const(start + 1, y.dtype), y))
        return product + 0.0  # 0, not -0

    return body


for _name, _log, _start, _more in (("xlogy", fn.log, 0.0, _names("xlogy")), ("xlog1py", fn.log1p, -1.0, ())):
    op(
        f"{'special_' if _name == 'xlog1py' else ''}{_name}(Tensor self, Tensor other) -> Tensor",
        names=(*_more, f"special.{_name}"),
        dtypes=ORDERED,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        result="float",
        numbers=_BOTH,
        body=Scalar(_x_log(_log, _start)),
        inplace=_name == "xlogy",
        ref=(lambda f: lambda np, x, y: getattr(np.special, f)(x, y))(_name),
        samples=("binary", 0.5, 3),
        doc=f"self * {'log(other)' if _name == 'xlogy' else 'log(1 + other)'}, and 0 where self is 0.",
    )


def _log_add_exp_complex(x, y):
    """By the real parts: the larger one is taken out."""
    first = fn.real(x) >= fn.real(y)
    top, rest = fn.where(first, x, y), fn.where(first, y, x)
    infinite = fn.isinf(fn.real(top)) & fn.eq(fn.real(x), fn.real(y))
    sum_ = fn.where(fn.real(top) > 0, fn.log(fn.exp(top) + fn.exp(rest)), rest)
    return fn.where(infinite, sum_, top + fn.log1p(fn.exp(rest - top)))


def _log_add_exp(exp_log1p):
    def body(x, y):
        if t.is_complex(x.dtype):
            return _log_add_exp_complex(x, y)
        top = fn.maximum(x, y)
        infinite = fn.isinf(x) & fn.eq(x, y)
        gap = fn.where(infinite, fn.const(0, x.dtype), fn.abs(x - y))
        return fn.where(infinite, x, top + exp_log1p(gap))

    return body


for _name, _tail, _base in (
    ("logaddexp", lambda gap: fn.log1p(fn.exp(-gap)), math.e),
    ("logaddexp2", lambda gap: fn.log1p(fn.exp2(-gap)) * (1 / math.log(2)), 2.0),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=FLOATING if _name == "logaddexp" else REAL_FLOATS,
        body=Scalar(_log_add_exp(_tail)),
        ref=(lambda b: lambda np, x, y: np.log(b**x + b**y) / np.log(b))(_base),
        samples=("binary", -3, 3),
        doc="log(exp(self) + exp(other)) without overflow." if _name == "logaddexp" else "As logaddexp, to base 2.",
    )


def _ldexp(o, self, other):
    return o.mul(self, o.pow(2.0, other))


op(
    "ldexp(Tensor self, Tensor other) -> Tensor",
    body=Composite(_ldexp),
    ref=lambda np, x, y: x * 2.0**y,
    samples=("binary", -2, 2),
    doc="self * 2^other.",
)
op(
    "ldexp_(Tensor(a!) self, Tensor other) -> Tensor(a!)",
    names=("ldexp_", "Tensor.ldexp_"),
    body=Composite(lambda o, self, other: o.mul_(self, o.pow(2.0, other))),
    doc="self * 2^other, written to self.",
)


def _frexp(x):
    """Exponents by the bits; subnormal numbers are scaled into the normal range first."""
    bits, mantissa, bias = (32, 23, 126) if x.dtype == "f32" else (64, 52, 1022)
    ints = f"i{bits}"
    tiny = fn.abs(x) < 2.0 ** (1 - bias)
    scaled = fn.where(tiny, x * 2.0 ** (mantissa + 1), x)
    raw = fn.bitcast(scaled, ints)
    mask = ((1 << (bits - 1 - mantissa)) - 1) << mantissa
    exponent = ((raw & mask) >> mantissa) - bias - fn.where(tiny, fn.const(mantissa + 1, ints), fn.const(0, ints))
    fraction = fn.bitcast((raw & ~mask) | (bias << mantissa), x.dtype)
    plain = fn.isfinite(x) & fn.ne(x, 0)
    return fn.where(plain, fraction, x), fn.cast(fn.where(plain, exponent, fn.const(0, ints)), "i32")


op(
    "frexp(Tensor self) -> (Tensor mantissa, Tensor exponent)",
    dtypes=REAL_FLOATS,
    dtype_error="RuntimeError: torch.frexp() only supports floating-point dtypes",
    result=("promote", "int32"),
    body=Scalar(_frexp),
    grad=lambda o, g, self: (o.div(g[0], o.pow(2.0, o.saved.output(1))),),
    saves=("o1",),
    ref=lambda np, x: np.frexp(x),
    samples=("unary", -3, 3),
    doc="mantissa in [0.5, 1) and exponent with self = mantissa * 2^exponent.",
)


def _of_two_parts(name: str):
    def body(o, first, second):
        if not all(t.dtype in (o.float16, o.float32, o.float64) for t in (first, second)):
            raise RuntimeError(
                f"Expected both inputs to be Half, Float or Double tensors but got {first.dtype.title} and "
                f"{second.dtype.title} [in {name}]"
            )
        if first.dtype is not second.dtype:
            raise RuntimeError(
                f"Expected object of scalar type {first.dtype.title} but got scalar type {second.dtype.title} for "
                f"second argument [in {name}]"
            )
        return getattr(o, f"{name}_parts")(first, second)

    return body


for _name, _parameters, _body, _ref, _samples, _doc in (
    (
        "complex", "Tensor real, Tensor imag", lambda re, im: fn.complex_(re, im),
        lambda np, x, y: x + 1j * y, ("binary", -2, 2), "real + i * imag.",
    ),
    (
        "polar", "Tensor abs, Tensor angle", lambda size, angle: fn.complex_(size * fn.cos(angle), size * fn.sin(angle)),
        lambda np, x, y: x * np.exp(1j * y), ("binary", 0.5, 2), "The complex number of a size and an angle.",
    ),
):  # fmt: skip
    op(
        f"{_name}_parts({_parameters}) -> Tensor",
        names=(),
        dtypes=REAL_FLOATS[2:],
        dtype_error="\"complex_cpu\" not implemented for '{got}'",
        result="complex",
        body=Scalar(_body),
        doc=f"{_name} of checked operands.",
    )
    op(
        f"{_name}({_parameters}) -> Tensor",
        names=(_name,),
        dtypes=REAL_FLOATS[2:],
        out_error="Expected object of scalar type {want} but got scalar type {got} for argument 'out'",
        body=Composite(_of_two_parts(_name)),
        ref=_ref,
        samples=_samples,
        doc=_doc,
    )
