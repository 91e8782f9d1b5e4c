"""Mathematical functions of float32 in primitives: 2 units in the last place or better, exact at the specials.

Polynomials are minimax fits made by `tools/minimax.py` (the fit's name stands beside each). Functions that are seldom
the bottleneck are computed by their float64 forms and rounded once.
"""

import math
import struct
from collections.abc import Callable

from . import fn, math_f64, math_narrow, math_pieces
from .expr import Expr, const
from .math_common import (
    F32,
    LOG2E,
    between,
    exponent_and_mantissa,
    log_specials,
    odd,
    power_of_two_and_rest,
)
from .math_normal import EXPANSIONS_F32 as NORMAL
from .math_pow import pow_f32


def _bits(x: float) -> int:
    return struct.unpack("<i", struct.pack("<f", x))[0]


def _float(bits: int) -> float:
    return struct.unpack("<f", struct.pack("<i", bits))[0]


# exp_f32: (exp(r) - 1 - r) / r^2
_EXP = (0.5000000095095835, 0.16666518838299363, 0.04166620597869941, 0.008368889482922347, 0.001395048265234186)
# exp_near_f32: the same, |r| <= ln2/32
_EXP_NEAR = (0.5000097769495964, 0.16667057742902644)
_ROOTS = tuple(2.0 ** (k / 16) for k in range(16))
_ROOTS_LESS = tuple(_float(_bits(x) - (k << 19)) for k, x in enumerate(_ROOTS))
_SIXTEENTHS = 1.5 * 2.0**19  # a sixteenth is the last bit of numbers near by
# exp_eighths_f32: the same, |r| <= ln2/16
_EXP_EIGHTHS = (0.500064723900774, 0.16668231024047891)
_EIGHTHS_LESS = tuple(_float(_bits(2.0 ** (k / 8)) - (k << 20)) for k in range(8))
_EIGHTHS = 1.5 * 2.0**20
# exp2_f32: (2^r - 1) / r
_EXP2 = (
    0.6931471805416357, 0.24022651075850324, 0.05550410962612345, 0.009618036911145754, 0.0013333430761353865,
    0.00015467110272904228, 1.5314951836439442e-05,
)  # fmt: skip
# exp2_part_f32: the same, 0 <= r < 1
_EXP2_PART = (
    0.6931513116622804, 0.24016445148387394, 0.05579990964647751, 0.009017033420472333, 0.001867129262693329,
)  # fmt: skip
# exp2_near_f32: the same, |r| <= 1/32
_EXP2_NEAR = (0.6931471803051631, 0.24023429069645597, 0.055505671681669165)
# expm1_f32: (exp(r) - 1 - r) / r^2, relative to expm1
_EXPM1 = (
    0.5000000046415448, 0.16666666817098047, 0.04166635465969574, 0.008333273045802852, 0.0013941008530648316,
    0.00019914172077970882,
)  # fmt: skip
# log_f32: (log(1 + f) - f + f^2/2) / f^3
_LOG = (
    0.3333331158272861, -0.24999986760115273, 0.20002169094040856, -0.1666921460759258, 0.142195729684687,
    -0.12385304839443288, 0.1186809211953577, -0.11783386546078141, 0.06917886991237641,
)  # fmt: skip
# sin_f32: (sin(r) - r) / r^3 in r^2; cos_f32: (cos(r) - 1 + r^2/2) / r^4 in r^2
_SIN = (-0.16666654936468148, 0.008332177677144881, -0.00019517233715173537)
_COS = (0.04166665058971624, -0.00138875190986435, 2.445341977417249e-05)
# tan_f32: (tan(r) - r) / r^3 in r^2
_TAN = (
    0.3333334587531542, 0.1333274392174578, 0.05405380358745506, 0.021304635386046454, 0.01079280157427277,
    0.00013089007171430015, 0.004360537471413838,
)  # fmt: skip
# atan_f32: (atan(x) - x) / x^3 in x^2, |x| <= 1
_ATAN = (
    -0.3333331938530865, 0.19999087987431502, -0.14269511273625216, 0.10978035797734664, -0.08475229780814764,
    0.05913650098731013, -0.032312573531816643, 0.011506158018585394, -0.0019225583204108745,
)  # fmt: skip
# erfinv_f32: erfinv(y) / y in y^2, |y| <= 3/4
_ERFINV = (
    0.8862269264782733, 0.23201324360159842, 0.12758490921532162, 0.08579471494817531, 0.07512061948676216,
    -0.02690788012178844, 0.41600280154827135, -1.071574067915693, 2.053956909402706, -2.07416160532142,
    1.0107226867170631,
)  # fmt: skip
# erfinv_tail_f32: erfinv(1 - exp(-w^2)) - w in w - 2.5, 1.17 <= w <= 4.09
_ERFINV_TAIL = (
    -0.30745408240228916, 0.046983591171642566, -0.00464880050489896, -0.0014554971335833417, 0.0013737234861784973,
    -0.000721399113424925, 0.0003144901092977467, -0.00011992828843408163, 4.209688588944741e-05,
    -1.625312419385185e-05, 5.8310895784109e-06, -1.0367368820832815e-06,
)  # fmt: skip

_PI_2 = (1.5707963705062866, -4.371138828673793e-08, -1.7151245100058819e-15)
_FAST_TRIGONOMETRY = 60000.0  # below: three-part reduction; above: all digits of 2/pi


def exp(x: Expr) -> Expr:
    """2^n with n in sixteenths times exp(r), |r| <= ln2/32; they are the last bits of x*log2(e) + 1.5*2^19."""
    x = between(x, -104.5, 89.0)
    moved = fn.fma(x, LOG2E, _SIXTEENTHS)
    n = moved - _SIXTEENTHS
    high, low = F32.ln2
    return fn.ldexp(_below_two(moved, fn.fma(-n, low, fn.fma(-n, high, x))), fn.floor(n))


def exp_over(x: Expr, k: Expr) -> Expr:
    """exp(x) / 2^k for a whole k and x < (k + 127) ln2, ln2 being rounded: right beside others with the same k. Next to
    nothing where that is 2^-125 or less."""
    power, r = _power_and_rest(x, k)
    return fn.fma(fn.fma(r * r, fn.polynomial(r, _EXP_EIGHTHS), r), power, power)


def exp_over_factors(x: Expr, k: Expr) -> tuple[Expr, Expr]:
    """Two factors of `exp_over`: one instruction adds their product up."""
    power, r = _power_and_rest(x, k)
    return power, fn.polynomial(r, (1.0, 1.0, *_EXP_EIGHTHS))


def _power_and_rest(x: Expr, k: Expr) -> tuple[Expr, Expr]:
    """exp(x) / 2^k as a power of two, in eighths, and the exponent of the rest. As in `exp2_small`, bits are added to
    those of a root; k is taken off on the way there. The table is as long as the widest register, and half of it serves
    those half as wide."""
    high, _ = F32.ln2
    x = fn.clamp(x, (k - 125.0) * high)
    zero = _EIGHTHS - k
    moved = fn.fma(x, LOG2E, zero)
    n = fn.bitcast(moved, "i32")
    root = fn.bitcast(fn.lookup(_EIGHTHS_LESS * 2, n & 15, "f32"), "i32")
    return fn.bitcast(root + (n << 20), "f32"), fn.fma(zero - moved, high, x)


def exp2_small(x: Expr) -> Expr:
    """2^x for a finite x, -126 <= x < 128; next to nothing below, of a size of 2^127 or more above; nan at infinities.

    n, in sixteenths, is shifted to where the exponent stands, and added to the bits of a root less its own sixteenths:
    few instructions, and few of them multiply."""
    moved = x + _SIXTEENTHS
    r = x - (moved - _SIXTEENTHS)
    n = fn.clamp(fn.bitcast(moved, "i32"), _bits(_SIXTEENTHS - 126.0), _bits(_SIXTEENTHS + 127.0))
    root = fn.bitcast(fn.lookup(_ROOTS_LESS, n & 15, "f32"), "i32")
    power = fn.bitcast(root + (n << 19), "f32")
    return fn.fma(fn.polynomial(r, _EXP2_NEAR) * r, power, power)


def exp2_scaled(x: Expr) -> Expr:
    """2^x within two roundings, nan at infinities: fewest instructions where one of them scales by a power of two."""
    n = fn.floor(x)
    r = x - n
    return fn.ldexp(fn.fma(r, fn.polynomial(r, _EXP2_PART), 1.0), n)


def _below_two(moved: Expr, r: Expr) -> Expr:
    root = fn.lookup(_ROOTS, fn.bitcast(moved, "i32") & 15, "f32")
    p = fn.fma(r * r, fn.polynomial(r, _EXP_NEAR), r)
    return fn.fma(root, p, root)


def exp2(x: Expr) -> Expr:
    x = between(x, -151.0, 129.0)
    n = fn.round(x)
    r = x - n
    return fn.ldexp(fn.fma(r, fn.polynomial(r, _EXP2), 1.0), n)


def expm1(x: Expr) -> Expr:
    """2^n * (1 + t) - 1 with t = expm1(r); halved while it is summed, so that 2^128 is not met."""
    n, r = power_of_two_and_rest(between(x, -30.0, 89.0), F32)
    small = fn.fma(r * r, fn.polynomial(r, _EXPM1), r)
    half_power = fn.ldexp(const(0.5, "f32"), n)
    value = fn.fma(half_power, small, half_power - 0.5) * 2.0
    return fn.where(x == 0.0, x, value)


def _log_parts(x: Expr, correction: Expr | None = None) -> tuple[Expr, Expr, Expr]:
    """e, f and t with log(x) = e*ln2 + f + t; `correction` is a small c in log(x + c)."""
    e, m = exponent_and_mantissa(x, F32)
    f = m - 1.0
    z = f * f
    tail = fn.fma(z * f, fn.polynomial(f, _LOG), z * -0.5)
    return e, f, tail if correction is None else tail + correction


def _log_sum(e: Expr, f: Expr, tail: Expr) -> Expr:
    high, low = F32.ln2
    return fn.fma(e, high, f + fn.fma(e, low, tail))


def log(x: Expr) -> Expr:
    return log_specials(x, _log_sum(*_log_parts(x)))


def log1p(x: Expr) -> Expr:
    """log(u) with u = 1 + x rounded, and what the rounding lost put back divided by u."""
    u = x + 1.0
    lost = fn.where(x > 1.0, 1.0 - (u - x), x - (u - 1.0)) / u
    value = _log_sum(*_log_parts(u, lost))
    return fn.where(fn.abs(x) < 1e-5, fn.fma(x * -0.5, x, x), log_specials(x, value, at=-1.0))


def _log_base(x: Expr, inverse: tuple[float, float], power: tuple[float, float]) -> Expr:
    """e*power + log(m)*inverse, both constants given as a high part of few bits and a rest."""
    e, f, tail = _log_parts(x)
    head = f * inverse[0]
    rest = fn.fma(f, inverse[0], -head) + fn.fma(f, inverse[1], tail * (inverse[0] + inverse[1]))
    scaled = e * power[0]
    total = scaled + head
    lost = fn.where(e == 0.0, 0.0, head - (total - scaled))
    return log_specials(x, total + (lost + fn.fma(e, power[1], rest)))


def log2(x: Expr) -> Expr:
    return _log_base(x, (1.4375, LOG2E - 1.4375), (1.0, 0.0))


def log10(x: Expr) -> Expr:
    return _log_base(x, (0.4342944920063019, -1.0103049952192578e-08), (0.301025390625, 4.605038981195214e-06))


def _exp_below(x: Expr) -> Expr:
    """exp(x) for x <= 0, keeping what the reduction rounds off: 0.6 ulp."""
    x = between(x, -104.5, 0.0)
    n = fn.round(x * LOG2E)
    high, low = F32.ln2
    first = fn.fma(-n, high, x)
    r = fn.fma(-n, low, first)
    lost = fn.fma(-n, low, first - r)
    return fn.ldexp((r + fn.fma(r * r, fn.polynomial(r, _EXP), lost)) + 1.0, n)


def _far_sigmoid(x: Expr) -> Expr:
    e = _exp_below(-fn.abs(x))
    divisor = e + 1.0
    lost = e - (divisor - 1.0)
    value = fn.where(x < 0.0, e, 1.0) / divisor
    return fn.fma(-value, lost, value)


def sigmoid(x: Expr) -> Expr:
    """By pieces around 0, 1, ..., 15."""
    size = fn.abs(x)
    below = math_pieces.at(math_pieces.SIGMOID, size, fn.bitcast(size + 1.5 * 2.0**23, "i32"))
    return fn.unlikely(size >= 15.5, _far_sigmoid(x), fn.where(x < 0.0, below, 1.0 - below))


def softplus(x: Expr) -> Expr:
    return fn.maximum(x, 0.0) + log1p(_exp_below(-fn.abs(x)))


def log_sigmoid(x: Expr) -> Expr:
    return fn.minimum(x, 0.0) - log1p(_exp_below(-fn.abs(x)))


def tanh(x: Expr) -> Expr:
    """Four pieces in each of [1, 2), ..., [8, 16) of |x| + 1."""
    size = fn.abs(x)
    size = fn.where(size > 9.5, 9.5, size)
    piece = fn.bitcast(size + 1.0, "i32") >> 21
    return odd(x, math_pieces.at(math_pieces.TANH, size, piece))


def erf(x: Expr) -> Expr:
    """Pieces of 1/4; from the middle of the last one, 1."""
    size = fn.abs(x)
    size = fn.where(size > 3.9999, 3.9999, size)
    moved = size + 4.0
    return odd(x, math_pieces.at(math_pieces.ERF, size, fn.bitcast(moved, "i32") >> 19, moved < 4.25))


def erfinv(y: Expr) -> Expr:
    """Beyond 3/4 from w = sqrt(-log(1 - |y|)), which is kept in two parts, as it is subtracted from: 0.9 ulp."""
    size = fn.abs(y)
    z = y * y
    near = fn.fma(size, fn.polynomial(z, (_ERFINV[0] - 1.0, *_ERFINV[1:])), size)
    e, f, tail = _log_parts(between(1.0 - size, 2.0**-25, 0.26))
    high, low = F32.ln2
    small = f + fn.fma(e, low, tail)
    log = fn.fma(e, high, small)
    lost = fn.fma(e, high, -log) + small
    w = fn.sqrt(-log)
    rest = (fn.fma(-w, w, -log) - lost) / (w + w)
    shift = round(_ERFINV_TAIL[0] * 2.0**22) / 2.0**22  # w + shift is exact
    bend = fn.polynomial(w - 2.5, (_ERFINV_TAIL[0] - shift, *_ERFINV_TAIL[1:]))
    far = (w + shift) + (bend + rest)
    outside = fn.where(size == 1.0, const(math.inf, "f32"), math.nan)
    return odd(y, fn.where(size <= 0.75, near, fn.where(size < 1.0, far, outside)))


def _quadrant_and_rest(x: Expr) -> tuple[Expr, Expr]:
    """q (an i32) and r with x = q*pi/2 + r, |r| <= pi/4."""
    n = fn.round(x * 0.6366197723675814)
    r = x
    for part in _PI_2:
        r = fn.fma(-n, part, r)
    size = fn.abs(x)
    usual = size < _FAST_TRIGONOMETRY
    rare = ~usual
    far_quadrant, far_rest = _far_reduction(x)
    return (
        fn.unlikely(rare, far_quadrant, fn.cast(fn.where(usual, n, 0.0), "i32")),
        fn.unlikely(rare, fn.cast(far_rest, "f32"), r),
    )


_TWO_OVER_PI = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041, 0xFE5163AB)


def _far_reduction(x: Expr) -> tuple[Expr, Expr]:
    """Payne and Hanek's reduction: m * 2^e * 2/pi modulo 4 from the 96 bits of 2/pi that matter, in integers."""
    bits = fn.bitcast(x, "u32")
    biased = (bits >> 23) & 0xFF
    mantissa = fn.cast((bits & 0x7FFFFF) | 0x800000, "u64")
    position = fn.cast(biased, "i32") - (127 + 23 + 2 - 32)
    word, shift = position >> 5, fn.cast(position & 31, "u64")
    words = [fn.cast(fn.lookup(_TWO_OVER_PI, word + k, "u32"), "u64") for k in range(4)]
    window = [(((words[k] << 32) | words[k + 1]) << shift) >> 32 for k in range(3)]
    low = mantissa * window[2]
    middle = mantissa * window[1] + (low >> 32)
    high = mantissa * window[0] + (middle >> 32)
    turns = (high << 32) | (middle & 0xFFFFFFFF)
    quadrant = fn.cast((turns + (1 << 61)) >> 62, "i32")
    fraction = fn.cast(fn.cast(turns << 2, "i64"), "f64") * (math.pi / 2 * 2.0**-64)
    negative = fn.signbit(x)
    rest = fn.where(negative, -fraction, fraction)
    return fn.where(negative, -quadrant, quadrant), fn.where(fn.isfinite(x), rest, math.nan)


def _sin_and_cos(r: Expr) -> tuple[Expr, Expr]:
    z = r * r
    sine = fn.fma(r * z, fn.polynomial(z, _SIN), r)
    cosine = fn.fma(z * z, fn.polynomial(z, _COS), fn.fma(z, -0.5, 1.0))
    return sine, cosine


def _sine_at(quadrant: Expr, r: Expr) -> Expr:
    sine, cosine = _sin_and_cos(r)
    value = fn.where((quadrant & 1) == 0, sine, cosine)
    return fn.where((quadrant & 2) == 0, value, -value)


def sin(x: Expr) -> Expr:
    quadrant, r = _quadrant_and_rest(x)
    return fn.where(x == 0.0, x, _sine_at(quadrant, r))


def cos(x: Expr) -> Expr:
    quadrant, r = _quadrant_and_rest(x)
    return _sine_at(quadrant + 1, r)


def _lost_by_rest(x: Expr, r: Expr) -> Expr:
    """What the rounding of r took from x - n*pi/2 in `_quadrant_and_rest`."""
    n = fn.round(x * 0.6366197723675814)
    first = fn.fma(-n, _PI_2[0], x)  # exact
    product = n * _PI_2[1]
    high = first - product
    part = high - first
    low = (first - (high - part)) - (product + part)
    low = low - fn.fma(n, _PI_2[2], fn.fma(n, _PI_2[1], -product))
    _, far = _far_reduction(x)
    far_lost = fn.cast(far - fn.cast(fn.cast(far, "f32"), "f64"), "f32")
    return fn.unlikely(~(fn.abs(x) < _FAST_TRIGONOMETRY), far_lost, (high - r) + low)


def tan(x: Expr) -> Expr:
    quadrant, r = _quadrant_and_rest(x)
    z = r * r
    tail = r * z * fn.polynomial(z, _TAN)
    tangent = r + tail
    tail = fn.fma(_lost_by_rest(x, r), fn.fma(tangent, tangent, 1.0), tail)
    value = r + tail
    lost = tail - (value - r)
    cotangent = -1.0 / value
    cotangent = fn.fma(cotangent, fn.fma(cotangent, value, 1.0) + cotangent * lost, cotangent)
    return fn.where(x == 0.0, x, fn.where((quadrant & 1) == 0, value, cotangent))


def atan(x: Expr) -> Expr:
    """pi/2 - atan(1/x) beyond 1."""
    size = fn.abs(x)
    large = size > 1.0
    y = fn.where(large, -1.0 / size, size)
    z = y * y
    tail = fn.fma(y * z, fn.polynomial(z, _ATAN), fn.where(large, const(-4.371138828673793e-08, "f32"), 0.0))
    return odd(x, fn.where(large, const(math.pi / 2, "f32"), 0.0) + (y + tail))


def atan2(y: Expr, x: Expr) -> Expr:
    """atan of the smaller magnitude over the larger, unfolded by octant: 1.5 ulp."""
    height, width = fn.abs(y), fn.abs(x)
    steep, behind = height > width, fn.signbit(x)
    small, large = fn.where(steep, width, height), fn.where(steep, height, width)
    edge = fn.where(small == 0.0, small, 1.0)  # of no quotient: both zero or both infinite
    ratio = fn.where(small == large, edge, small / large)
    z = ratio * ratio
    angle = fn.fma(ratio * z, fn.polynomial(z, _ATAN), ratio)
    high, low, _ = _PI_2
    angle = fn.where(steep, (low - angle) + high, angle)
    angle = fn.where(behind, (2 * low - angle) + 2 * high, angle)
    return fn.where(fn.isnan(x) | fn.isnan(y), x + y, odd(y, angle))


def rsqrt(x: Expr) -> Expr:
    return 1.0 / fn.sqrt(x)


def by_f64(function: Callable) -> Callable:
    """The float64 form, rounded to float32."""

    def expansion(*args: Expr | int) -> Expr:
        return fn.cast(function(*(fn.cast(a, "f64") if isinstance(a, Expr) else a for a in args)), "f32")

    return expansion


EXPANSIONS: dict[str, Callable] = {
    "exp": exp, "exp2": exp2, "expm1": expm1, "log": log, "log1p": log1p, "log2": log2, "log10": log10,
    "sigmoid": sigmoid, "softplus": softplus, "log_sigmoid": log_sigmoid, "tanh": tanh, "erf": erf,
    "erfinv": erfinv,
    "sin": sin, "cos": cos, "tan": tan, "atan": atan, "atan2": atan2, "rsqrt": rsqrt, "pow": pow_f32,
    **NORMAL,
}  # fmt: skip
_WIDE = {**math_f64.EXPANSIONS, **math_narrow.EXPANSIONS}
EXPANSIONS.update({name: by_f64(function) for name, function in _WIDE.items() if name not in EXPANSIONS})
