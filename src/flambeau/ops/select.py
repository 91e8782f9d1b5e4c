"""Elementwise operators that choose and blend: where, clamp, masked_fill, lerp, addcmul, nan_to_num, isclose."""

import functools
import math
import sys

from flambeau.ir import fn
from flambeau.ir import types as t

from .formula import times
from .table import FLOATING, FLOATS8, NUMERIC, ORDERED, Composite, Scalar, op

op(
    "where(Tensor condition, Tensor self, Tensor other) -> Tensor",
    names=("where",),
    numbers=("self", "other"),
    numbers_fit=True,
    dtypes=NUMERIC + FLOATS8,
    roles={"condition": "m"},
    mask_error="where expected condition to be a boolean tensor, but got a tensor with dtype {got}",
    body=Scalar(fn.where),
    ref=lambda np, c, x, y: np.where(c, x, y),
    samples="mask_binary",
    doc="self where the condition holds, other elsewhere.",
)


def _where_method(o, self, condition, other):
    return o.where(condition, self, other)


op(
    "where.method(Tensor self, Tensor condition, Tensor other) -> Tensor",
    names=("Tensor.where",),
    numbers=("other",),
    body=Composite(_where_method),
    doc="self where the condition holds, other elsewhere.",
)
op(
    "where.positions(Tensor condition) -> Tensor[]",
    names=("where",),
    body=Composite(lambda o, condition: list(o.unbind(o.nonzero(condition), 1))),
    doc="The positions of nonzero elements, one tensor a dimension.",
)
op(
    "masked_fill(Tensor self, Tensor mask, Tensor value) -> Tensor",
    numbers=("value",),
    roles={"mask": "m"},
    mask_error="masked_fill_ only supports boolean masks, but got mask with dtype {name}",
    result="input",
    body=Scalar(lambda x, mask, value: fn.where(mask, value, x)),
    inplace=True,
    ref=lambda np, x, mask, value: np.where(mask, value, x),
    doc="value where the mask holds, self elsewhere.",
)


def _clamp_entry(name: str, aliases: tuple[str, ...], signature: str, numbers: tuple[str, ...], body, ref, doc: str):
    op(
        signature,
        names=tuple(n for a in (name, *aliases) for n in (a, f"Tensor.{a}")),
        dtypes=ORDERED,
        dtype_error="clamp is not supported for complex types",
        numbers=numbers,
        numbers_fit=True,
        body=Scalar(body),
        inplace=tuple(f"{a}_" for a in (name, *aliases)),
        ref=ref,
        doc=doc,
    )


def _clamp(x, low, high):
    bounds = [bound for bound in (low, high) if bound is not None]
    if not bounds:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    kept = fn.clamp(x, low, high)
    if not t.is_float(kept.dtype):
        return kept
    missing = functools.reduce(lambda a, b: a | b, (fn.isnan(bound) for bound in bounds))
    return fn.where(missing, fn.const(math.nan, kept.dtype), kept)


_clamp_entry(
    "clamp",
    ("clip",),
    "clamp(Tensor self, Tensor? min=None, Tensor? max=None) -> Tensor",
    ("min", "max"),
    _clamp,
    lambda np, x, min=None, max=None: np.clip(x, min, max),
    "Elements kept between min and max; nan where one of the three is, and max where min is above it.",
)
_clamp_entry(
    "clamp_min", (), "clamp_min(Tensor self, Tensor min) -> Tensor", ("min",), lambda x, low: _clamp(x, low, None),
    lambda np, x, min: np.maximum(x, min), "Elements that are not below min.",
)  # fmt: skip
_clamp_entry(
    "clamp_max", (), "clamp_max(Tensor self, Tensor max) -> Tensor", ("max",), lambda x, high: _clamp(x, None, high),
    lambda np, x, max: np.minimum(x, max), "Elements that are not above max.",
)  # fmt: skip


def _lerp(x, end, weight):
    near = x + weight * (end - x)
    far = end - (end - x) * (1 - weight)
    return fn.where(fn.abs(weight) < 0.5, near, far)


op(
    "lerp(Tensor self, Tensor end, Tensor weight) -> Tensor",
    dtypes=FLOATING,
    dtype_error="\"lerp_kernel_scalar\" not implemented for '{got}'",
    alone=NUMERIC,
    mixed_error="expected dtype {want} for `{operand}` but got dtype {name}",
    numbers=("weight",),
    body=Scalar(_lerp),
    inplace=True,
    ref=lambda np, x, y, w: x + w * (y - x),
    samples=("ternary", -2, 2),
    doc="self + weight * (end - self), exact at both ends.",
)
op(
    "addcmul(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    fold=("value",),
    roles={"value": "a"},
    body=Scalar(lambda x, a, b, value: x + times(a, value) * b),
    inplace=True,
    ref=lambda np, x, a, b, value=1: x + value * a * b,
    samples=("ternary", -2, 2),
    doc="self + value * tensor1 * tensor2.",
)
op(
    "addcdiv(Tensor self, Tensor tensor1, Tensor tensor2, *, Scalar value=1) -> Tensor",
    dtypes=FLOATING,
    dtype_error="RuntimeError: Integer division with addcdiv is no longer supported, and in a future  release addcdiv "
    "will perform a true division of tensor1 and tensor2. The historic addcdiv behavior can be implemented as (input + "
    "value * torch.trunc(tensor1 / tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / "
    "tensor2) for float inputs. The future addcdiv behavior is just the latter implementation: (input + value * "
    "tensor1 / tensor2), for all dtypes.",
    fold=("value",),
    roles={"value": "a"},
    body=Scalar(lambda x, a, b, value: x + times(a / b, value)),
    inplace=True,
    ref=lambda np, x, a, b, value=1: x + value * a / b,
    samples=("ternary", 0.5, 2),
    doc="self + value * tensor1 / tensor2.",
)


def _replace_nan(x, nan, high, low):
    if not t.is_float(x.dtype):
        return x
    nan, high, low = (fn.cast(v, x.dtype) for v in (nan, high, low))
    return fn.where(fn.isnan(x), nan, fn.where(fn.eq(x, math.inf), high, fn.where(fn.eq(x, -math.inf), low, x)))


op(
    "nan_to_num_parts(Tensor self, float nan, float high, float low) -> Tensor",
    names=(),
    body=Scalar(_replace_nan),
    inplace=True,
    doc="self with nan, infinity and minus infinity replaced; checked by nan_to_num.",
)


_LARGEST = {
    "float16": 65504.0,
    "bfloat16": float.fromhex("0x1.fep127"),
    "float32": float.fromhex("0x1.fffffep127"),
    "float64": sys.float_info.max,
}


def _limits(o, self, nan, posinf, neginf) -> tuple[float, float, float]:
    dtype = self.dtype.to_real()
    largest = _LARGEST.get(str(dtype).rpartition(".")[2], 0.0)
    return nan or 0.0, largest if posinf is None else posinf, -largest if neginf is None else neginf


def _nan_to_num(o, self, nan, posinf, neginf):
    if self.dtype.is_complex:
        return o.view_as_complex(_nan_to_num(o, o.view_as_real(self), nan, posinf, neginf))
    return o.nan_to_num_parts(self, *_limits(o, self, nan, posinf, neginf))


def _nan_to_num_(o, self, nan, posinf, neginf):
    if self.dtype.is_complex:
        _nan_to_num_(o, o.view_as_real(self), nan, posinf, neginf)
        return self
    return o.nan_to_num_parts_(self, *_limits(o, self, nan, posinf, neginf))


_NAN_PARAMETERS = "float? nan=None, float? posinf=None, float? neginf=None"
op(
    f"nan_to_num(Tensor self, {_NAN_PARAMETERS}) -> Tensor",
    body=Composite(_nan_to_num),
    ref=lambda np, x, nan=0.0, posinf=None, neginf=None: np.nan_to_num(x, nan=nan, posinf=posinf, neginf=neginf),
    samples=("unary", -3, 3),
    doc="self with nan replaced by a number, and infinities by numbers or the greatest and least of the dtype.",
)
op(
    f"nan_to_num_(Tensor(a!) self, {_NAN_PARAMETERS}) -> Tensor(a!)",
    names=("nan_to_num_", "Tensor.nan_to_num_"),
    body=Composite(_nan_to_num_),
    doc="nan_to_num, written to self.",
)


def _is_close(x, y, rtol, atol, equal_nan):
    if x.dtype == "b1":
        x, y = fn.cast(x, "i64"), fn.cast(y, "i64")
    rtol, atol = fn.cast(rtol, "f64"), fn.cast(atol, "f64")
    gap, size = fn.cast(fn.abs(x - y), "f64"), fn.cast(fn.abs(y), "f64")
    close = fn.eq(x, y) | (fn.isfinite(x) & fn.isfinite(y) & (gap <= atol + rtol * size))
    return close | (fn.isnan(x) & fn.isnan(y)) if equal_nan else close


op(
    "isclose_same(Tensor self, Tensor other, float rtol, float atol, bool equal_nan) -> Tensor",
    names=(),
    result="bool",
    body=Scalar(_is_close),
    differentiable=False,
    doc="isclose of one dtype, checked.",
)


def _checked_is_close(o, self, other, rtol, atol, equal_nan):
    if self.dtype is not other.dtype:
        raise RuntimeError(f"{self.dtype.title} did not match {other.dtype.title} [in isclose]")
    for name, value in (("rtol", rtol), ("atol", atol)):
        if not value >= 0:
            raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value:g}")
    return o.isclose_same(self, other, rtol, atol, equal_nan)


op(
    "isclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Tensor",
    body=Composite(_checked_is_close),
    differentiable=False,
    ref=lambda np, x, y, rtol=1e-5, atol=1e-8, equal_nan=False: np.isclose(x, y, rtol, atol, equal_nan),
    samples=("compare", -2, 2),
    doc="Whether |self - other| <= atol + rtol * |other|.",
)


def _allclose(o, self, other, rtol, atol, equal_nan):
    return bool(o.all(o.isclose(self, other, rtol, atol, equal_nan)))


op(
    "allclose(Tensor self, Tensor other, float rtol=1e-05, float atol=1e-08, bool equal_nan=False) -> Any",
    body=Composite(_allclose),
    doc="Whether all elements are close.",
)


def _equal(o, self, other):
    return self.shape == other.shape and bool(o.all(o.eq(self, other)))


op(
    "equal(Tensor self, Tensor other) -> Any",
    body=Composite(_equal),
    doc="Whether both have the same size and elements.",
)
