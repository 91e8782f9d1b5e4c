"""Numbers of 8 bits as formulas: their value in float32, and the bits of a float32 rounded to one.

What a format is: the bits of its significand, the exponent's bias, the bits of +nan, and those of what
numbers beyond the largest become: infinity, the largest, or nan. A format whose only nan is 0x80 has no -0.
"""

from functools import cache
from typing import NamedTuple

from . import fn
from .expr import Expr, const, input_
from .scalar import cast


class Format(NamedTuple):
    significand: int
    bias: int
    nan: int
    above: int


FORMATS = {
    "e4m3": Format(3, 7, 0x7F, 0x7E),
    "e5m2": Format(2, 15, 0x7F, 0x7C),
    "e4m3z": Format(3, 8, 0x80, 0x80),
    "e5m2z": Format(2, 16, 0x80, 0x80),
}


def _u32(value: int) -> Expr:
    return const(value, "u32")


@cache
def widened(dtype: str) -> Expr:
    """The float32 of the bits in input 0, a u8."""
    f = FORMATS[dtype]
    shift, bits = 23 - f.significand, cast(input_(0, "u8"), "u32")
    magnitude, sign = bits & _u32(0x7F), (bits & _u32(0x80)) << _u32(24)
    unit = const(2.0 ** (1 - f.bias - f.significand), "f32")
    small = fn.bitcast(cast(magnitude, "f32") * unit, "u32")
    normal = (magnitude << _u32(shift)) + _u32((127 - f.bias) << 23)
    value = fn.where(magnitude < _u32(1 << f.significand), small, normal)
    if f.above == 0x7C:
        value = fn.where(fn.eq(magnitude, _u32(f.above)), _u32(0x7F800000), value)
    is_nan = fn.eq(bits, _u32(f.nan)) if f.nan == 0x80 else magnitude > _u32(f.above)
    return fn.bitcast(fn.where(is_nan, _u32(0x7FC00000), value) | sign, "f32")


@cache
def narrowed(dtype: str) -> Expr:
    """The bits, a u8, of the float32 in input 0: rounded to nearest, ties to even.

    The codes of numbers follow each other, so what is rounded past the last is `above`. Below the normal numbers the
    addition of a number whose last place is one unit of the format rounds into place.
    """
    f = FORMATS[dtype]
    shift, bits = 23 - f.significand, fn.bitcast(input_(0, "f32"), "u32")
    magnitude = bits & _u32(0x7FFFFFFF)
    anchor = const(2.0 ** (24 - f.bias - f.significand), "f32")
    small = fn.bitcast(fn.bitcast(magnitude, "f32") + anchor, "u32") - fn.bitcast(anchor, "u32")
    odd = (magnitude >> _u32(shift)) & _u32(1)
    rounded = (magnitude + _u32((1 << (shift - 1)) - 1) + odd - _u32((127 - f.bias) << 23)) >> _u32(shift)
    code = fn.where(magnitude < _u32((128 - f.bias) << 23), small, rounded)
    code = fn.where(code > _u32(min(f.above, 0x7F)), _u32(f.above), code)
    code = fn.where(magnitude > _u32(0x7F800000), _u32(f.nan), code)
    sign = (bits >> _u32(24)) & _u32(0x80)
    if f.nan == 0x80:
        sign = fn.where(fn.eq(code, _u32(0)), _u32(0), sign)
    return cast(code | sign, "u8")
