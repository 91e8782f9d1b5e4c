"""Comparing results in tests.

Example:
    >>> torch.testing.assert_close(torch.ones(2) / 3 * 3, torch.ones(2))
"""

from __future__ import annotations

import cmath
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.types import finfo

__all__ = ["assert_allclose", "assert_close", "make_tensor"]

Tensor = o.Tensor

# Relative and absolute tolerance by dtype; everything else is compared exactly.
_TOLERANCES = {
    o.float16: (1e-3, 1e-5), o.bfloat16: (1.6e-2, 1e-5), o.float32: (1.3e-6, 1e-5), o.float64: (1e-7, 1e-7),
    o.complex64: (1.3e-6, 1e-5), o.complex128: (1e-7, 1e-7),
}  # fmt: skip


class _Options:
    """What a comparison allows."""

    def __init__(self, rtol: Any, atol: Any, equal_nan: bool, checks: dict[str, bool]) -> None:
        if (rtol is None) != (atol is None):
            missing = "rtol" if rtol is None else "atol"
            raise ValueError(f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {missing}.")
        self.rtol, self.atol, self.equal_nan, self.checks = rtol, atol, equal_nan, checks

    def tolerances(self, *dtypes: Any) -> tuple[float, float]:
        if self.rtol is not None:
            return self.rtol, self.atol
        pairs = [_TOLERANCES.get(d, (0.0, 0.0)) for d in dtypes]
        return max(p[0] for p in pairs), max(p[1] for p in pairs)


def assert_close(
    actual: Any,
    expected: Any,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: str | Callable[[str], str] | None = None,
) -> None:
    """Raises AssertionError unless |actual - expected| <= atol + rtol |expected|, element by element.

    Args:
        actual: a tensor, a number, or sequences and mappings of them.
        expected: the same kind.
        allow_subclasses: whether objects of different subclasses of a type may be compared.
        rtol: relative tolerance; by the dtype where it is left out: 1.3e-6 for float32, 1e-7 for float64, ...
        atol: absolute tolerance; 1e-5 for float32, 1e-7 for float64, 0 for integers.
        equal_nan: whether nan equals nan.
        check_device, check_dtype, check_layout, check_stride: whether these must be the same.
        msg: the message instead of the own one, or a function of the own one.
    """
    checks = {"device": check_device, "dtype": check_dtype, "layout": check_layout, "stride": check_stride}
    options = _Options(rtol, atol, equal_nan, checks)
    problem = _compare(actual, expected, options, allow_subclasses, "")
    if problem is not None:
        raise AssertionError(problem if msg is None else msg(problem) if callable(msg) else msg)


def _compare(actual: Any, expected: Any, options: _Options, subclasses: bool, where: str) -> str | None:
    """What is wrong, or None."""
    kinds = (actual, expected)
    if all(isinstance(v, Tensor) or hasattr(v, "__array__") for v in kinds):
        a, e = (v if isinstance(v, Tensor) else o.as_tensor(v) for v in kinds)
        return _tail(_tensors(a, e, options), where)
    if all(isinstance(v, Mapping) for v in kinds):
        return _mappings(actual, expected, options, subclasses, where)
    if all(isinstance(v, Sequence) and not isinstance(v, str | bytes) for v in kinds):
        if len(actual) != len(expected):
            return _tail(f"The length of the sequences mismatch: {len(actual)} != {len(expected)}", where)
        pairs = enumerate(zip(actual, expected, strict=True))
        return next(filter(None, (_compare(a, e, options, subclasses, f"{where}[{i}]") for i, (a, e) in pairs)), None)
    if all(isinstance(v, bool) for v in kinds):
        return None if actual is expected else _tail(f"Booleans mismatch: {actual} is not {expected}", where)
    if all(isinstance(v, int | float | complex) and not isinstance(v, bool) for v in kinds):
        return _tail(_numbers(actual, expected, options), where)
    if actual is None and expected is None:
        return None
    if None in kinds:
        return _tail(f"None mismatch: {actual} is not {expected}", where)
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
        + (f"\n\nThe failure occurred for item {where}" if where else "")
    )


def _tail(problem: str | None, where: str) -> str | None:
    return f"{problem}\n\nThe failure occurred for item {where}" if problem and where else problem


def _mappings(actual: Any, expected: Any, options: _Options, subclasses: bool, where: str) -> str | None:
    missing, more = set(expected) - set(actual), set(actual) - set(expected)
    if missing or more:
        return _tail(
            "The keys of the mappings do not match:\n"
            f"Missing keys in the actual mapping: {sorted(missing, key=str)}\n"
            f"Additional keys in the actual mapping: {sorted(more, key=str)}",
            where,
        )
    found = (_compare(actual[k], expected[k], options, subclasses, f"{where}[{k!r}]") for k in expected)
    return next(filter(None, found), None)


def _numbers(actual: Any, expected: Any, options: _Options) -> str | None:
    kinds = {int: o.int64, float: o.float64, complex: o.complex128}
    dtypes = (next(d for kind, d in kinds.items() if isinstance(v, kind)) for v in (actual, expected))
    rtol, atol = options.tolerances(*dtypes)
    both_nan = actual != actual and expected != expected
    if actual == expected or (both_nan and options.equal_nan):
        return None
    gap = abs(actual - expected)
    if cmath.isfinite(expected) and gap <= atol + rtol * abs(expected):
        return None
    return _scalars_text(actual, expected, gap, rtol, atol)


def _scalars_text(actual: Any, expected: Any, gap: Any, rtol: float, atol: float) -> str:
    exact = rtol == atol == 0
    allowed = ("", "") if exact else (f" (up to {atol} allowed)", f" (up to {rtol} allowed)")
    relative = gap / abs(expected) if expected else float("inf")
    return (
        f"Scalars are not {'equal' if exact else 'close'}!\n\nExpected {expected} but got {actual}.\n"
        f"Absolute difference: {gap}{allowed[0]}\nRelative difference: {relative}{allowed[1]}"
    )


def _tensors(actual: Tensor, expected: Tensor, options: _Options) -> str | None:
    checked = {"shape": True, **options.checks}
    for name, wanted in checked.items():
        a, e = (t.stride() if name == "stride" else getattr(t, name) for t in (actual, expected))
        if wanted and a != e:
            return f"The values for attribute '{name}{'()' * (name == 'stride')}' do not match: {a} != {e}."
    actual, expected = (t.detach().to_dense() for t in (actual, expected))
    rtol, atol = options.tolerances(actual.dtype, expected.dtype)
    common = o.promote_types(actual.dtype, expected.dtype)
    a, e = actual.to(common), expected.to(common)
    close = o.isclose(a, e, rtol=rtol, atol=atol, equal_nan=options.equal_nan)
    if close.all():
        return None
    if not a.dim():
        return _scalars_text(a.item(), e.item(), abs(a.item() - e.item()), rtol, atol)
    return _difference(a, e, ~close, rtol, atol)


def _difference(a: Tensor, e: Tensor, wrong: Tensor, rtol: float, atol: float) -> str:
    exact = rtol == atol == 0
    if not (a.dtype.is_floating_point or a.dtype.is_complex):
        a, e = a.to(o.int64), e.to(o.int64)
    gap = o.where(wrong, (a - e).abs(), 0)
    relative = o.where(wrong, gap / e.abs(), 0)
    total, count = wrong.numel(), int(wrong.sum())
    lines = [f"Tensor-likes are not {'equal' if exact else 'close'}!", "",
             f"Mismatched elements: {count} / {total} ({count / total:.1%})"]  # fmt: skip
    for name, values, tolerance in (("absolute", gap, atol), ("relative", relative, rtol)):
        at = int(o.argmax(values.reshape(-1)))
        place = tuple(int(i) for i in o.unravel_index(o.tensor(at), values.shape))
        allowed = "" if exact else f" (up to {tolerance} allowed)"
        lines.append(f"Greatest {name} difference: {values.reshape(-1)[at].item()} at index {place}{allowed}")
    return "\n".join(lines)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """The older form of `assert_close`: dtypes may differ."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future release. "
        "Please use `torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    actual = actual if isinstance(actual, Tensor) else o.tensor(actual)
    expected = expected if isinstance(expected, Tensor) else o.tensor(expected, dtype=actual.dtype)
    if rtol is None and atol is None:
        rtol, atol = _Options(None, None, equal_nan, {}).tolerances(actual.dtype, expected.dtype)
    assert_close(actual, expected, rtol=rtol, atol=atol, equal_nan=equal_nan, check_dtype=False, msg=msg or None)


def make_tensor(
    *shape: Any,
    dtype: Any,
    device: Any = None,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Any = None,
) -> Tensor:
    """A tensor of random numbers for a test: uniform on [low, high).

    Args:
        shape: sizes.
        dtype: of the tensor.
        low: -9 by default; 0 for unsigned integers and bools.
        high: 9 by default; 10 for integers, 2 for bools.
        noncontiguous: leave gaps in memory.
        exclude_zero: put a small number in the place of zeros.
    """
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else shape
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    drawn = (*sizes, 2) if noncontiguous and sizes else sizes
    if dtype is o.bool:
        made = o.randint(0, 2, drawn, device=device).to(o.bool)
    elif dtype.is_floating_point or dtype.is_complex:
        made = o.empty(drawn, dtype=dtype, device=device)
        parts = o.view_as_real(made) if dtype.is_complex else made
        parts.uniform_(-9 if low is None else low, 9 if high is None else high)
    else:
        first = (0 if not dtype.is_signed else -9) if low is None else int(low)
        made = o.randint(first, 10 if high is None else int(high), drawn, device=device).to(dtype)
    made = made[..., 0] if noncontiguous and sizes else made
    if exclude_zero and dtype is not o.bool:
        small = finfo(dtype).tiny if dtype.is_floating_point or dtype.is_complex else 1
        made = o.where(made == 0, o.full((), small, dtype=dtype), made)
    if memory_format is not None:
        made = made.contiguous(memory_format=memory_format)
    return made.requires_grad_(requires_grad)
