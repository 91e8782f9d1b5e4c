"""The normal distribution: its cumulative function, the logarithm and the inverse of that, and gelu.

The tail keeps its relative accuracy: exp(-x*x/2) with the square in two parts, times a function that changes slowly. In
float32 that is a quotient of polynomials, by Lawson's method in `tools/minimax.py` (the fit's name stands beside it).
Bounds are measured in `tests/test_ir_special.py`.
"""

import math

from . import fn, math_pieces
from .expr import Expr, const
from .math_common import F32, LOG2E, between
from .math_erf import erfinv_near, erfinv_of_rest
from .math_parts import exp_parts, two_product

_ROOT_HALF = math.sqrt(0.5)
_DENSITY = 1 / math.sqrt(2 * math.pi)
_FAR = 5.375  # where the pieces end

# exp_half_f32: (exp(-y/2) - 1) / y
_EXP_HALF = (
    -0.500000018538803, 0.12500000340028605, -0.020833021371212013, 0.00260413267389174, -0.00026171991468312464,
    2.1804020147276493e-05,
)  # fmt: skip
# normal_tail_f64: (x + 1) exp(x^2/2) times the probability beyond x in t = (x - 5.5) / (x + 5.5), 0 <= x <= 39
_TAIL_F64 = (
    0.45722751116333127, -0.08833898904448793, 0.036186526029245124, 0.002215025124790156, -0.021413634567699215,
    0.024305078466299358, -0.01822996631949051, 0.010221481362628081, -0.0042524009268014775, 0.0011587134581883855,
    -8.147081987017553e-05, -9.055957519407324e-05, 3.885871757403782e-05, -4.848570773129002e-07,
    -4.693806875015123e-06, 1.059576351058201e-06, 4.48575755176073e-07, -2.1475494525041982e-07,
    -4.281661435370079e-08, 3.4366989787211344e-08, 6.048100493940919e-09, -3.936546280454546e-09,
    -1.089659375543038e-09,
)  # fmt: skip
# normal_tail_f32: exp(x^2/2) times the probability beyond x, 0 <= x <= 14.5; the divisor's last coefficient is 1
_TAIL_F32 = (48.455025665175236, 42.47629158730079, 17.758117474837377, 3.9380256935378672, 0.3989469057329287)
_TAIL_DIVISOR = (96.91005133035047, 162.2756575154628, 116.53798766710086, 45.49850092461806, 9.871790899538079)
_TWO_LN2 = (2 * F32.ln2[0], 2 * F32.ln2[1])


def _gauss_parts(x: Expr) -> tuple[Expr, Expr, Expr]:
    """n, a and b with exp(-x*x/2) = 2^n * (a + b), a near 1; x is bounded, so that n is."""
    if x.dtype == "f64":
        high, low = two_product(x, x)
        return exp_parts(high * -0.5, low * -0.5)
    square = x * x
    n = fn.round(square * (-LOG2E / 2))
    rest = fn.fma(n, _TWO_LN2[1], fn.fma(x, x, -square))
    y = fn.fma(n, _TWO_LN2[0], square) + rest
    return n, const(1.0, "f32"), y * fn.polynomial(y, _EXP_HALF)


def _magnitude(x: Expr) -> Expr:
    """|x|, bounded where the tail is 0."""
    size, bound = fn.abs(x), 39.0 if x.dtype == "f64" else 14.5
    return fn.where(size > bound, bound, size)


def gauss(x: Expr) -> Expr:
    n, one, rest = _gauss_parts(_magnitude(x))
    return fn.ldexp(one + rest, n)


def _tail(x: Expr) -> Expr:
    """The probability beyond |x|."""
    x = _magnitude(x)
    n, one, rest = _gauss_parts(x)
    if x.dtype == "f64":
        slow = fn.polynomial((x - 5.5) / (x + 5.5), _TAIL_F64) / (x + 1.0)
        return fn.ldexp(fn.fma(one, slow, rest * slow), n)
    divisor = x + _TAIL_DIVISOR[-1]
    for c in _TAIL_DIVISOR[-2::-1]:
        divisor = fn.fma(divisor, x, c)
    slow = fn.polynomial(x, _TAIL_F32) / divisor
    return fn.ldexp(fn.fma(rest, slow, slow), n)


def ndtr(x: Expr) -> Expr:
    tail = _tail(x)
    return fn.where(x < 0.0, tail, 1.0 - tail)


def gelu(x: Expr) -> Expr:
    """x - |x| * tail, rounded once; below 0 it is x * tail: -0 in the end, and nan of -infinity, as in PyTorch."""
    tail = _tail(x)
    return fn.where(x < 0.0, x * tail, fn.fma(-_magnitude(x), tail, x))


def gelu_slope(x: Expr) -> Expr:
    return fn.fma(x, gauss(x) * _DENSITY, ndtr(x))


def _by_pieces(table: math_pieces.Table, size: Expr) -> Expr:
    """A function of |x|; each piece is as long as (0.595 |x| + 0.85)**2 takes to grow by 1."""
    root = fn.fma(size, 0.595, 0.85)
    return math_pieces.at(table, size, fn.bitcast(fn.fma(root, root, 1.5 * 2.0**23), "i32"))


def gelu_f32(x: Expr) -> Expr:
    """The tail by pieces. Where they end it matters below 0 alone."""
    size = fn.abs(x)
    size = fn.where(size > _FAR, _FAR, size)
    near = fn.fma(-size, _by_pieces(math_pieces.GELU_TAIL, size), fn.where(x < 0.0, 0.0, x))
    return fn.unlikely(x < -_FAR, gelu(x), near)


def gelu_slope_f32(x: Expr) -> Expr:
    size = fn.abs(x)
    below = _by_pieces(math_pieces.GELU_SLOPE, size)
    return fn.unlikely(size > _FAR, gelu_slope(x), fn.where(x < 0.0, below, 1.0 - below))


def log_ndtr(x: Expr) -> Expr:
    left = fn.log(fn.erfcx(x * -_ROOT_HALF) * 0.5) - x * x * 0.5
    return fn.where(x < -1.0, left, fn.log1p(-ndtr(-x)))


def ndtri(p: Expr) -> Expr:
    """sqrt(2) erfinv(2p - 1), in the tails from p or 1 - p alone."""
    upper = p > 0.5
    q = fn.where(upper, 1.0 - p, p)
    tail = erfinv_of_rest(between(q * 2.0, 5e-324, 0.5))
    tail = fn.where(q == 0.0, const(math.inf, "f64"), tail)
    value = fn.where(q < 0.25, fn.where(upper, tail, -tail), erfinv_near(p * 2.0 - 1.0)) * math.sqrt(2.0)
    return fn.where((p >= 0.0) & (p <= 1.0), value, math.nan)


EXPANSIONS_F32 = {"gauss": gauss, "gelu": gelu_f32, "gelu_slope": gelu_slope_f32}
EXPANSIONS = {
    "gauss": gauss, "gelu": gelu, "gelu_slope": gelu_slope, "ndtr": ndtr, "log_ndtr": log_ndtr, "ndtri": ndtri,
}  # fmt: skip
