"""Division with a remainder: `fmod`, `remainder` and `floordiv` of floats and integers."""

from . import fn
from . import types as t
from .expr import Expr
from .math_common import odd


def fmod(a: Expr, b: Expr) -> Expr:
    """Exact: one fused step where the quotient is short, else a long division."""
    size, divisor = fn.abs(a), fn.abs(b)
    limit = 2.0**22 if a.dtype == "f32" else 2.0**51
    value = fn.unlikely(size >= divisor * limit, _long_division(size, divisor), _step(size, divisor))
    invalid = fn.isnan(a) | fn.isnan(b) | (divisor == 0.0) | fn.isinf(a)
    return fn.where(invalid, float("nan"), fn.where(divisor > size, a, odd(a, value)))


def _step(rest: Expr, divisor: Expr) -> Expr:
    """rest - floor(rest / divisor) * divisor, exactly; a quotient that was rounded up is taken back."""
    value = fn.fma(-fn.trunc(rest / divisor), divisor, rest)
    return fn.where(value < 0.0, value + divisor, value)


def _long_division(size: Expr, divisor: Expr) -> Expr:
    """Subtracts divisor * 2^k * quotient, k going down so that every quotient is short."""
    digits, steps = (22, 13) if size.dtype == "f32" else (51, 42)
    rest = size
    for k in range(steps, -1, -1):
        shift = min(k * digits, 2 * (127 if size.dtype == "f32" else 1023))
        scaled = divisor * 2.0 ** (shift // 2) * 2.0 ** (shift - shift // 2)
        rest = fn.where(scaled <= rest, _step(rest, scaled), rest)
    return rest


def floordiv(a: Expr, b: Expr) -> Expr:
    """The quotient rounded down. Of floats: consistent with `remainder`, a / b where b is 0."""
    if not t.is_float(a.dtype):
        quotient = fn.idiv(a, b)
        rest = fn.irem(a, b)
        return fn.where((rest != 0) & (fn.lt(rest, 0) ^ fn.lt(b, 0)), quotient - 1, quotient)
    rest = fmod(a, b)
    quotient = (a - rest) / b
    quotient = fn.where((rest != 0.0) & ((b < 0.0) ^ (rest < 0.0)), quotient - 1.0, quotient)
    down = fn.floor(quotient)
    down = fn.where(quotient - down > 0.5, down + 1.0, down)
    exact = a / b
    return fn.where(b == 0.0, exact, fn.where(quotient == 0.0, fn.copysign(quotient * 0.0, exact), down))


def remainder(a: Expr, b: Expr) -> Expr:
    """The remainder with the sign of b."""
    rest = fmod(a, b) if t.is_float(a.dtype) else fn.irem(a, b)
    return fn.where((rest != 0) & (fn.lt(rest, 0) ^ fn.lt(b, 0)), rest + b, rest)


def fmod_int(a: Expr, b: Expr) -> Expr:
    return fn.irem(a, b)
