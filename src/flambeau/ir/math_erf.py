"""The error function, its complement and its inverse in float64: 1 unit in the last place or better.

What a last rounding would spoil is kept in two parts. Polynomials are minimax fits made by `tools/minimax.py` (the
fit's name stands beside each).
"""

import math

from . import fn
from .expr import Expr, const
from .math_common import F64, between, odd
from .math_parts import exp_parts, log_parts, two_product, two_sum

# erf_f64: erf(x) / x - 1 in x^2, |x| <= 1
_ERF = (
    0.12837916709551256, -0.3761263890318352, 0.11283791670944185, -0.026866170643111465, 0.005223977606118456,
    -0.0008548325929313763, 0.00012055293576881474, -1.4924712301680741e-05, 1.6447131567601305e-06,
    -1.620631373271459e-07, 1.3710980295035062e-08, -7.779468309962341e-10,
)  # fmt: skip
# erf_tail_f64: exp(x^2) erfc(x) in t = (x - 3) / (x + 3), 1 <= x <= 5.95
_ERF_TAIL = (
    0.17900115118138862, -0.3262335600429792, 0.2456038017129896, -0.15011593650926405, 0.07166583713569669,
    -0.024392499003445752, 0.004269138682583169, 0.0007077428511612312, -0.0005971025450255636, 4.5242744071029784e-05,
    6.436859026434367e-05, -1.2401138301667138e-05, -8.706147738961926e-06, -1.781414063377914e-08,
)  # fmt: skip
# erfc_f64: (x + 5/8) exp(x^2) erfc(x) in t = (x - 4) / (x + 4), 1/2 <= x <= 27.5; what the first coefficient lost
_ERFC = (
    0.6336224915159089, -0.1021940645153027, 0.0350297859160926, 0.013516300040181442, -0.03689913584326177,
    0.03897794054426059, -0.029252800842021323, 0.01697826451378194, -0.007591334065414353, 0.0024160941488173674,
    -0.00038160694516670233, -8.975552893420161e-05, 7.249177008735065e-05, -1.2437152040456696e-05,
    -5.2443780181597545e-06, 2.802705968654887e-06, 1.144156262811736e-07, -3.9856518332117515e-07,
    3.651629126803786e-08, 5.043992969061674e-08, -6.303632221261535e-09, -4.870679999315317e-09,
)  # fmt: skip
_ERFC_LOST = 4.8416062807254173e-17
# erfcx_f64: (1 + 2x) exp(x^2) erfc(x) in t = (x - 4) / (x + 4), x >= 0
_ERFCX = (
    1.2329951186255526, -0.1396211168405625, 0.015379652102619629, 0.06809705425468948, -0.10103906603630168,
    0.09373283499846592, -0.06633036581216704, 0.037167515535536724, -0.016197734059982257, 0.005031969995786265,
    -0.0007577732603800266, -0.00019925679106178891, 0.00015062148658908788, -2.439889548014451e-05,
    -1.1221279229109095e-05, 5.709100273927849e-06, 2.919615114780715e-07, -8.247653681160587e-07,
    7.748181665405483e-08, 1.0994663075066432e-07, -2.0568241579694308e-08, -1.4615413949670495e-08,
    3.1723775972893356e-09, 1.7563147581867302e-09, -2.6640897797666945e-10, -1.320550640109091e-10,
)  # fmt: skip
# erfinv_f64: erfinv(y) / y - 1 in y^2, |y| <= 0.522
_ERFINV = (
    -0.11377307454724199, 0.2320136665346529, 0.1275561753060233, 0.08655212919625772, 0.06495962026627958,
    0.051731197684458205, 0.04283855476731151, 0.03643868335261165, 0.031973324574736076, 0.025867743785106367,
    0.036206991605632954, -0.018934275146042828, 0.12488754140779058, -0.14417521668219885, 0.1470512213827175,
)  # fmt: skip
# erfinv_tail_f64: erfinv(1 - exp(-w^2)) - w in t = (w - 9/4) / (w + 9/4), 0.83 <= w <= 6.08
_ERFINV_TAIL = (
    -0.3194616376869465, 0.22019883268786192, 0.16131399469130803, -0.20716963237473338, 0.200748092818437,
    -0.10580072416148321, 0.018641602607653178, 0.05693525291776376, -0.0814848599010707, 0.07192823702435144,
    -0.030183577740237538, -0.012312192703579897, 0.044489924316164955, -0.04933127462832125, 0.033994886267262193,
    -0.0039090828610568625, -0.022249207131605823, 0.03469839105223446, -0.028269681947646008, 0.019707957853406,
    -0.001315161681464436, -0.04186247039938819, 0.05157775386389834, 0.01238754677372901, -0.03318577852078897,
)  # fmt: skip
# erfinv_whole_tail_f64: the same in t = (w - 9/2) / (w + 9/2), 0.83 <= w <= 27.4
_ERFINV_WHOLE_TAIL = (
    -0.23372590300310825, 0.2512769231592075, -0.04029463337050621, -0.022679323421776705, 0.0815454746868318,
    -0.10320177656984636, 0.11641603309195873, -0.1092620583274794, 0.09640197978758618, -0.07325282333076605,
    0.04948502938844987, -0.02304979202032766, 0.0005568837256186925, 0.019363250989032132, -0.0325527566774741,
    0.04175839210669651, -0.044003394509455555, 0.03471795074055725, -0.022157977650736748, 0.04769762110568694,
    -0.05171871069641902, -0.1168876972587075, 0.17067282216872154, 0.33794873078956306, -0.41057954342307584,
    -0.8587468101456996, 0.9367642188540712, 1.3710102114877878, -1.4020068243688717, -1.5833630782666779,
    1.5319080115738712, 1.11270584736051, -1.0755129638754266, -0.32753201658906195, 0.3297961373058638,
)  # fmt: skip


def erf(x: Expr) -> Expr:
    size = fn.abs(x)
    small = fn.fma(x, fn.polynomial(x * x, _ERF), x)
    a = between(size, 1.0, 5.95)
    high, low = two_product(a, a)
    n, one, rest = exp_parts(-high, -low)
    tail = fn.ldexp(one + rest, n)
    large = fn.fma(-tail, fn.polynomial((a - 3.0) / (a + 3.0), _ERF_TAIL), 1.0)
    return fn.where(size < 1.0, small, odd(x, large))


def _erfc_tail(x: Expr) -> Expr:
    """erfc(x) for x >= 1/2: exp(-x*x) times a polynomial over x + 5/8, each factor in two parts."""
    x = between(x, 0.5, 27.5)
    high, low = two_product(x, x)
    n, one, rest = exp_parts(-high, -low)
    t = (x - 4.0) / (x + 4.0)
    value, value_low = two_sum(const(_ERFC[0], "f64"), t * fn.polynomial(t, _ERFC[1:]))
    divisor, divisor_low = two_sum(x, const(0.625, "f64"))
    inverse = 1.0 / divisor
    lost = fn.fma(-inverse, divisor, 1.0) - inverse * divisor_low
    product, product_low = two_product(one, value)
    product_low = fn.fma(one, value_low + _ERFC_LOST, product_low)
    product_low = fn.fma(product, lost, fn.fma(rest, value, product_low))
    return fn.ldexp(fn.fma(product, inverse, product_low * inverse), n)


def erfc(x: Expr) -> Expr:
    """Below 1/2 the rounding of 1 - x is put back."""
    size = fn.abs(x)
    head, lost = two_sum(const(1.0, "f64"), -x)
    near = head + fn.fma(-x, fn.polynomial(x * x, _ERF), lost)
    tail = _erfc_tail(size)
    return fn.where(size < 0.5, near, fn.where(x < 0.0, 2.0 - tail, tail))


def _erfcx_tail(x: Expr) -> Expr:
    """exp(x*x) * erfc(x) for x >= 0."""
    near = between(x, 0.0, 1e17)
    return fn.polynomial((near - 4.0) / (near + 4.0), _ERFCX) / fn.fma(x, 2.0, 1.0)


def erfcx(x: Expr) -> Expr:
    """Below 0: 2 exp(x*x) - erfcx(-x), the square in two parts."""
    tail = _erfcx_tail(fn.abs(x))
    below = between(x, -26.64, 0.0)  # further, the value leaves the range
    high, low = two_product(below, below)
    e = fn.exp(high)
    return fn.where(x < 0.0, fn.fma(e, low, e) * 2.0 - tail, tail)


def _root_of_log(x: Expr) -> tuple[Expr, Expr]:
    """sqrt(-log(x)) in two parts, for x <= 1/2."""
    e, f, tail = log_parts(x)
    high, low = F64.ln2
    tail = fn.fma(e, low, tail)
    small, small_low = two_sum(f, tail)
    log = fn.fma(e, high, small)
    lost = fn.fma(e, high, -log) + small + small_low
    root = fn.sqrt(-log)
    return root, (fn.fma(-root, root, -log) - lost) / (root * 2.0)


def erfinv_near(y: Expr) -> Expr:
    """erfinv(y) for |y| <= 0.522."""
    return fn.fma(y, fn.polynomial(y * y, _ERFINV), y)


def _erfinv_of_rest(z: Expr, middle: float, coefficients: tuple[float, ...]) -> Expr:
    """erfinv(1 - z) for z <= 1/2, by w = sqrt(-log(z)), which is kept in two parts, as it is subtracted from."""
    w, rest = _root_of_log(z)
    shift = -0.3125  # w + shift is exact
    bend = fn.polynomial((w - middle) / (w + middle), (coefficients[0] - shift, *coefficients[1:]))
    return (w + shift) + (bend + rest)


def erfinv_of_rest(z: Expr) -> Expr:
    """erfinv(1 - z) for 0 < z <= 1/2."""
    return _erfinv_of_rest(z, 4.5, _ERFINV_WHOLE_TAIL)


def erfinv(y: Expr) -> Expr:
    size = fn.abs(y)
    far = _erfinv_of_rest(between(1.0 - size, 2.0**-53, 0.5), 2.25, _ERFINV_TAIL)
    outside = fn.where(size == 1.0, const(math.inf, "f64"), math.nan)
    return odd(y, fn.where(size <= 0.522, erfinv_near(size), fn.where(size < 1.0, far, outside)))
