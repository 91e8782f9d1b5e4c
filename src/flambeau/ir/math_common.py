"""Pieces that the expansions of mathematical functions share, and the constants of each format."""

import math
from dataclasses import dataclass

from . import fn
from . import types as t
from .expr import Expr, const


@dataclass(frozen=True)
class Format:
    """An IEEE format: what bit tricks and range reductions need."""

    dtype: str
    mantissa_bits: int
    bias: int
    sqrt_half_bits: int  # the bits of the float nearest to sqrt(1/2)
    ln2: tuple[float, float]  # high and low part

    @property
    def smallest_normal(self) -> float:
        return 2.0 ** (1 - self.bias)


F32 = Format("f32", 23, 127, 0x3F3504F3, (0.6931471824645996, -1.9046542121259336e-09))
F64 = Format("f64", 52, 1023, 0x3FE6A09E667F3BCD, (0.6931471805599453, 2.3190468138462996e-17))

LOG2E = 1.4426950408889634


def between(x: Expr, low: float, high: float) -> Expr:
    """x kept between two constants; nan stays nan."""
    return fn.clamp(x, low, high)


def power_of_two_and_rest(x: Expr, form: Format) -> tuple[Expr, Expr]:
    """n and r with x = n*ln2 + r and |r| <= ln2/2: the reduction of exp."""
    n = fn.round(x * LOG2E)
    r = fn.fma(-n, form.ln2[0], x)
    return n, fn.fma(-n, form.ln2[1], r)


def exponent_and_mantissa(x: Expr, form: Format) -> tuple[Expr, Expr]:
    """e (a float) and m in [sqrt(1/2), sqrt(2)) with x = m * 2**e, for positive finite x, denormals included."""
    integer = t.int_of(form.dtype)
    tiny = x < form.smallest_normal
    scaled = fn.where(tiny, x * 2.0**form.mantissa_bits, x)
    bits = fn.bitcast(scaled, integer)
    exponent = (bits - form.sqrt_half_bits) >> form.mantissa_bits
    mantissa = fn.bitcast(bits - (exponent << form.mantissa_bits), form.dtype)
    return fn.cast(exponent, form.dtype) + fn.where(tiny, const(-form.mantissa_bits, form.dtype), 0.0), mantissa


def log_specials(x: Expr, value: Expr, at: float = 0.0) -> Expr:
    """`value` for finite x > at; -inf where x == at, nan below, inf at infinity."""
    special = fn.where(x == at, -math.inf, fn.where(x < at, math.nan, x))
    return fn.where((x > at) & (x < math.inf), value, special)


def odd(x: Expr, of_magnitude: Expr) -> Expr:
    """The value for |x| with the sign of x."""
    return fn.copysign(of_magnitude, x)
