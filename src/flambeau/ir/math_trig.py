"""Sine, cosine and tangent of float64, reduced with all digits of 2/pi that matter.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

import math

from . import fn
from .expr import Expr, const

# sin_f64: (sin(r) - r) / r^3 in r^2; cos_f64: (cos(r) - 1 + r^2/2) / r^4 in r^2
_SIN = (
    -0.16666666666666666, 0.008333333333333325, -0.00019841269841256885, 2.7557319214973525e-06,
    -2.505210508724932e-08, 1.6058386392278472e-10, -7.579579377980073e-13,
)  # fmt: skip
_COS = (
    0.041666666666666664, -0.0013888888888888883, 2.480158730157908e-05, -2.7557319218300317e-07,
    2.0876754964647762e-09, -1.147035558241966e-11, 4.740709310342735e-14,
)  # fmt: skip

_PI_2 = (1.5707963267948966, 6.123233995736766e-17, -1.4973849048591698e-33)
_FAST = 2.0**23  # below: three-part reduction; above: integers

# 2/pi in words of 32 bits, after one word of zeros
_TWO_OVER_PI = (
    0x0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB,
    0xDEBBC561, 0xB7246E3A, 0x424DD2E0, 0x06492EEA, 0x09D1921C, 0xFE1DEB1C, 0xB129A73E, 0xE88235F5,
    0x2EBB4484, 0xE99C7026, 0xB45F7E41, 0x3991D639, 0x835339F4, 0x9C845F8B, 0xBDF9283B, 0x1FF897FF,
    0xDE05980F, 0xEF2F118B, 0x5A0A6D1F, 0x6D367ECF, 0x27CB09B7, 0x4F463F66, 0x9E5FEA2D, 0x7527BAC7,
    0xEBE5F17B, 0x3D0739F7, 0x8A5292EA, 0x6BFB5FB1, 0x1F8D5D08, 0x56033046, 0xFC7B6BAB, 0xF0CFBC20,
    0x9AF4361D,
)  # fmt: skip

Pair = tuple[Expr, Expr]


def _near_reduction(x: Expr) -> tuple[Expr, Pair]:
    """n and x - n*pi/2 in two parts, for |x| < 2^23: n*pi/2 is subtracted part by part, what is lost kept."""
    n = fn.round(x * 0.6366197723675814)
    first = fn.fma(-n, _PI_2[0], x)
    product = n * _PI_2[1]
    product_low = fn.fma(n, _PI_2[1], -product)
    high = first - product
    low = ((first - high) - product) - fn.fma(n, _PI_2[2], product_low)
    return n, (high, low)


def _far_reduction(x: Expr) -> tuple[Expr, Pair]:
    """Payne and Hanek's reduction: m * 2^e * 2/pi modulo 4 from the 192 bits of 2/pi that matter, in integers.

    The mantissa is two limbs of 32 bits, the window of 2/pi six; products are summed limb by limb, modulo 2^192.
    """
    bits = fn.bitcast(x, "u64")
    biased = fn.cast((bits >> 52) & 0x7FF, "i32")
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    m = (mantissa & 0xFFFFFFFF, mantissa >> 32)
    position = biased - (1023 + 52 + 2 - 32)
    word, shift = position >> 5, fn.cast(position & 31, "u64")
    words = [fn.cast(fn.lookup(_TWO_OVER_PI, word + k, "u32"), "u64") for k in range(7)]
    window = [(((words[k] << 32) | words[k + 1]) << shift) >> 32 & 0xFFFFFFFF for k in range(6)]
    limbs = _product_limbs(m, window[::-1])
    top = (limbs[5] << 32) | limbs[4]
    below = (limbs[3] << 32) | limbs[2]
    quadrant = fn.cast((top + (1 << 61)) >> 62, "i32")
    high = fn.cast((top << 2) | (below >> 62), "i64")
    head = fn.cast(high, "f64")
    lost = fn.cast(high - fn.cast(head, "i64"), "f64")
    tail = fn.fma(fn.cast(below << 2, "f64"), 2.0**-64, lost)
    rest = _times_half_pi(head * 2.0**-64, tail * 2.0**-64)
    negative = fn.signbit(x)
    finite = fn.isfinite(x)
    rest = tuple(fn.where(finite, fn.where(negative, -r, r), math.nan) for r in rest)
    return fn.where(negative, -quadrant, quadrant), rest


def _product_limbs(m: Pair, window: list[Expr]) -> list[Expr]:
    """The low 192 bits of (m0 + m1*2^32) * window, limbs of 32 bits, lowest first."""
    limbs = []
    carry = const(0, "u64")
    pending = const(0, "u64")  # high half of the products that belong to the next limb
    for k, w in enumerate(window):
        low_product = m[0] * w
        cross = m[1] * window[k - 1] if k else const(0, "u64")
        total = (low_product & 0xFFFFFFFF) + (cross & 0xFFFFFFFF) + pending + carry
        limbs.append(total & 0xFFFFFFFF)
        carry = total >> 32
        pending = (low_product >> 32) + (cross >> 32)
    return limbs


def _times_half_pi(high: Expr, low: Expr) -> Pair:
    product = high * _PI_2[0]
    rest = fn.fma(high, _PI_2[0], -product)
    return product, rest + fn.fma(high, _PI_2[1], low * _PI_2[0])


def _reduction(x: Expr) -> tuple[Expr, Pair]:
    usual = fn.abs(x) < _FAST
    n, near = _near_reduction(x)
    quadrant, far = _far_reduction(x)
    rare = ~usual
    return (
        fn.unlikely(rare, quadrant, fn.cast(fn.where(usual, n, 0.0), "i32")),
        (fn.unlikely(rare, far[0], near[0]), fn.unlikely(rare, far[1], near[1])),
    )


def _sin_and_cos(r: Pair) -> tuple[Expr, Expr]:
    high, low = r
    z = high * high
    sine = fn.fma(high * z, fn.polynomial(z, _SIN), fn.fma(z * -0.5, low, low)) + high
    half = z * 0.5
    one = 1.0 - half
    lost = (1.0 - one) - half
    cosine = one + (lost + fn.fma(z * z, fn.polynomial(z, _COS), -(high * low)))
    return sine, cosine


def _sine_at(quadrant: Expr, r: Pair) -> Expr:
    sine, cosine = _sin_and_cos(r)
    value = fn.where((quadrant & 1) == 0, sine, cosine)
    return fn.where((quadrant & 2) == 0, value, -value)


def sin(x: Expr) -> Expr:
    quadrant, r = _reduction(x)
    return fn.where(x == 0.0, x, _sine_at(quadrant, r))


def cos(x: Expr) -> Expr:
    quadrant, r = _reduction(x)
    return _sine_at(quadrant + 1, r)


def tan(x: Expr) -> Expr:
    quadrant, r = _reduction(x)
    sine, cosine = _sin_and_cos(r)
    value = fn.where((quadrant & 1) == 0, sine / cosine, -cosine / sine)
    return fn.where(x == 0.0, x, value)
