"""Bessel, modified Bessel and Airy functions of float64 in primitives.

Near the origin by their power series (J and Y by polynomials that leave the zeros out), beyond by an amplitude and a
phase, or by an exponential times a polynomial in 1/x. Bounds are measured in `tests/test_ir_special.py`. Polynomials
are minimax fits made by `tools/minimax.py` (the fit's name stands beside each).
"""

import math

from . import fn
from .expr import Expr, const
from .math_common import between

# i0_f64, i1_f64: sqrt(x) exp(-x) I(x) in 16/x - 1
_I0 = (
    0.4021765094450081, 0.0033605519836677937, 0.00013621607438969846, 1.114303379734742e-05, 1.483847672688897e-06,
    2.9735968118220067e-07, 8.872020229740753e-08, 3.932809951640594e-08, 2.1567560715916952e-08,
    7.53886500057844e-09, -6.856225422764386e-09, -1.334141997915176e-08, -5.0159394307610005e-09,
    7.3685020205527356e-09, 6.514969525287121e-09, -3.1781032279095894e-09, -4.517088255124925e-09,
    1.140582100724464e-09, 2.15032493916289e-09, -2.9654798691386277e-10, -6.425228589746538e-10,
    3.945684315076136e-11, 8.96612963057874e-11,
)  # fmt: skip
_I1 = (
    0.38939845902587233, -0.009749577193235678, -0.00021923576383157457, -1.5038547206170471e-05,
    -1.8349102435489512e-06, -3.4838541993788635e-07, -1.0001081273847648e-07, -4.313117198507951e-08,
    -2.3393839286153454e-08, -8.413697812241778e-09, 6.847185699269596e-09, 1.3973942772595715e-08,
    5.570630298120198e-09, -7.477200420083446e-09, -6.937395588900665e-09, 3.13076867871576e-09,
    4.750356322695546e-09, -1.0953919937825105e-09, -2.2489310035192965e-09, 2.7983880740680016e-10,
    6.701926351601968e-10, -3.686691157362459e-11, -9.339149657503754e-11,
)  # fmt: skip
# k0_f64, k1_f64: sqrt(x) exp(x) K(x) in 4/x - 1
_K0 = (
    1.2185953385133905, -0.031071461824889478, 0.003032891810275334, -0.00047976905676987575, 9.95605474197585e-05,
    -2.4735204466769965e-05, 7.002245654120164e-06, -2.1911789238402717e-06, 7.427800561817418e-07,
    -2.688990554420914e-07, 1.0295463118870921e-07, -4.13700487433867e-08, 1.70466210453139e-08,
    -7.205799226216985e-09, 3.810114130510622e-09, -2.06905715979559e-09, 4.5511729491564257e-11,
    3.332076030041346e-10, 8.149340244178026e-10, -6.623977343254097e-10, -3.1264530655375163e-10,
    2.646884321940471e-10, 1.093887113618277e-10, -7.663656067742726e-11,
)  # fmt: skip
_K1 = (
    1.363151890371342, 0.10334973775386516, -0.005566729880074552, 0.0007357241549134495, -0.00013959021956417648,
    3.2843865420459955e-05, -8.961207365078443e-06, 2.7300430872247672e-06, -9.067089446069878e-07,
    3.2297016668793904e-07, -1.2203101802195883e-07, 4.8506856991199966e-08, -1.9820035651215833e-08,
    8.291938029457257e-09, -4.327349051696747e-09, 2.377129989867062e-09, -8.88693417362008e-11,
    -4.048715469815659e-10, -8.867577546734287e-10, 7.621845561846423e-10, 3.369514537438736e-10,
    -3.031145413547903e-10, -1.1900284798473344e-10, 8.62356160265259e-11,
)  # fmt: skip
# p0_f64, q0_f64, p1_f64, q1_f64: Hankel's P, and Q * x/5, in 50/x^2 - 1
_P0 = (
    0.9986347659091991, -0.0013274931272004708, 3.491730581076395e-05, -2.459963318113541e-06,
    2.9759010216313823e-07, -5.0864370249130016e-08, 1.1058300640506362e-08, -2.8702473018086524e-09,
    8.562339433896038e-10, -2.8616679081513234e-10, 9.724042999343782e-11, -3.3520196745407277e-11,
    2.483576108805542e-11, -1.5646898639476783e-11, -3.751143785782968e-12, 4.563477214772624e-12,
    3.6162970111436566e-12, -2.5055187482989678e-12,
)  # fmt: skip
_Q0 = (
    -0.024722992705223726, 0.00026284279458215664, -1.2677430885907098e-05, 1.2478226277457604e-06,
    -1.8819747990809237e-07, 3.7740699263708085e-08, -9.27987225094877e-09, 2.658538583864166e-09,
    -8.572667810177212e-10, 3.0871302274783384e-10, -1.226044964361304e-10, 4.012062079998559e-11,
    -1.0750762167384298e-11, 2.0829844088086587e-11, -1.6614741424195497e-11, -6.498264940223726e-12,
    6.934613738907813e-12, 3.7738403742619245e-12, -2.8492210473180616e-12,
)  # fmt: skip
_P1 = (
    1.0022906462560661, 0.0022414632139172654, -4.57828065293837e-05, 2.978621101586279e-06, -3.466719152880233e-07,
    5.7916728197506756e-08, -1.2402700717958332e-08, 3.1846450463187826e-09, -9.42219696439098e-10,
    3.1281568787594525e-10, -1.0594020765626107e-10, 3.6482149154977845e-11, -2.663512723747058e-11,
    1.6672425454648563e-11, 3.9273321567511404e-12, -4.80239975150393e-12, -3.83953455537347e-12,
    2.653604455996235e-12,
)  # fmt: skip
_Q1 = (
    0.07460948663481604, -0.0003729699243683754, 1.5796188356821692e-05, -1.4739855830370845e-06,
    2.159770508282731e-07, -4.253359116115862e-08, 1.0328612719414053e-08, -2.9320269902044326e-09,
    9.38862736227451e-10, -3.360602263030348e-10, 1.32737245805857e-10, -4.3522244600817466e-11,
    1.1806180703928465e-11, -2.2152755256448527e-11, 1.7579635962502845e-11, 6.8320596457456935e-12,
    -7.293277352345501e-12, -3.991361126973782e-12, 3.0069742745647973e-12,
)  # fmt: skip
# j0_f64, j1_f64: J0(x), J1(x)/x without their zeros below 5, in x^2/12.5 - 1
_J0 = (
    0.0031873556303932387, -0.0019210870437164043, 0.0004876827177655839, -7.121705240575853e-05,
    6.854954847201707e-06, -4.70629166457065e-07, 2.4286220370294155e-08, -9.781438946635693e-10,
    3.163725910021837e-11, -8.404184810181077e-13, 1.8671599069450005e-14, -3.5244580802212303e-16,
    5.691135136297366e-18,
)  # fmt: skip
_J1 = (
    -0.01587595431164548, 0.013090777521810029, -0.004240225993395717, 0.0007552540432951286,
    -8.592956232073723e-05, 6.814683895176835e-06, -3.991381169538519e-07, 1.7995159924913336e-08,
    -6.443130954960331e-10, 1.8773810978535212e-11, -4.5400742997823347e-13, 9.268504187118999e-15,
    -1.606158967189285e-16,
)  # fmt: skip
# y0_f64, y1_f64: Y0(x) - 2/pi log(x) J0(x), (Y1(x) - 2/pi (log(x) J1(x) - 1/x)) / x, in x^2/12.5 - 1
_Y0 = (
    0.4837248578102995, -0.4326558222855125, -0.4705763655297288, 0.38851639956570944, -0.11151682184328618,
    0.01763534538933876, -0.0018028096665526024, 0.0001299462909208217, -6.985504367742213e-06,
    2.9142206889637186e-07, -9.720964499154717e-09, 2.6539975248547095e-10, -6.043179776826715e-12,
    1.1666039554968892e-13, -1.930620118152737e-15,
)  # fmt: skip
_Y1 = (
    0.13974939033568806, 0.09108650838448444, -0.16312020358118715, 0.06634695354779108, -0.013433433740818165,
    0.0016688031328635944, -0.00014141835794484212, 8.733098304848236e-06, -4.113778079531266e-07,
    1.528890182663566e-08, -4.6013010745279043e-10, 1.1448943119232274e-11, -2.397782348202544e-13,
    4.278128776453206e-15,
)  # fmt: skip
# airy_decay_f64: 2 sqrt(pi) x^(1/4) exp(zeta) Ai(x) in 4/zeta - 1; airy_middle_f64: Ai(x) / (x - zero), x = 2.6 u -
# 0.5
_AIRY_DECAY = (
    0.9845197059940428, -0.013932243830769736, 0.0012917951264853084, -0.00020059358478811452,
    4.1228650997012115e-05, -1.0182521308457443e-05, 2.8709239227385603e-06, -8.957376601475873e-07,
    3.029581009921139e-07, -1.0947974460655256e-07, 4.185564072365982e-08, -1.6798609723285336e-08,
    6.91545008647894e-09, -2.9198326948290784e-09, 1.541678404464962e-09, -8.383372772392186e-10,
    1.9869732869214043e-11, 1.3593932100747786e-10, 3.282142346990292e-10, -2.6845379151986276e-10,
    -1.2578729853585858e-10, 1.0721170140962185e-10, 4.4053188082881666e-11, -3.097855038700011e-11,
)  # fmt: skip
_AIRY_MIDDLE = (
    0.2588140871982804, -0.6547653106394434, 0.48876868007186874, 0.22940944886864012, -0.6241094898288594,
    0.34280797983906397, 0.08830434396171168, -0.20682943297125547, 0.08848190364331691, 0.018614198452164894,
    -0.034664158513283395, 0.012006730570933745, 0.002373331095920019, -0.003493859770563062, 0.0010069533717125814,
    0.00019794209765577783, -0.00023458622007753064, 5.738605073328002e-05, 1.1505123081696117e-05,
    -1.1229553421895876e-05, 2.3680273260515943e-06, 4.896632442863999e-07, -4.03549653553591e-07,
    7.429569323294387e-08, 1.6724818261495377e-08, -1.1479049475034429e-08, 1.451695157213233e-09,
    5.394661146238917e-10, -1.6048807918495613e-10,
)  # fmt: skip
# airy_p_f64, airy_q_f64: P, and Q * zeta/3.5, of Ai(-x) in 24.5/zeta^2 - 1
_AIRY_P = (
    0.9985658527239885, -0.0013637059408775874, 6.176667378233496e-05, -6.96642587716212e-06,
    1.2605936067806892e-06, -3.0545670796909707e-07, 9.031133653270796e-08, -3.086403003189844e-08,
    1.1755067398754797e-08, -4.848765085317597e-09, 2.279119828317549e-09, -1.2578585494617833e-09,
    2.0855485769183512e-10, 3.632213924801864e-10, 8.112678730209022e-10, -1.2648364740474606e-09,
    -8.959282232248642e-10, 1.44062721263321e-09, 8.537559184209335e-10, -1.1684386249291438e-09,
    -4.257873427729986e-10, 5.29650907223798e-10, 1.0401757166601731e-10, -1.133260618846139e-10,
)  # fmt: skip
_AIRY_Q = (
    0.019441952838982923, -0.00036371931147732904, 2.9597819215661763e-05, -4.5544548056841845e-06,
    1.007955588844367e-06, -2.8232936011909227e-07, 9.330788301430771e-08, -3.48815254323158e-08,
    1.4366614228123913e-08, -6.286728749923722e-09, 2.7946863947459168e-09, -1.8130105439240833e-09,
    1.567536851114517e-09, 5.485073332114084e-10, -1.8016300603008272e-09, -2.0450716161530357e-09,
    3.587493442898431e-09, 2.4377081713192217e-09, -4.0052855161090175e-09, -2.0741423369269088e-09,
    2.992267532734318e-09, 9.825978092043228e-10, -1.284520230741514e-09, -2.19940822727374e-10,
    2.551874197925469e-10,
)  # fmt: skip
_J0_ZEROS = ((2.404825557695773, -1.176691651530894e-16), (5.520078110286311, 8.088597146146722e-17))
_J1_ZERO = (3.8317059702075125, -1.5269184090088067e-16)
_AIRY_ZERO = (-2.338107410459767, -3.912260409818305e-17)

_EULER = 0.5772156649015329
_HARMONIC = [math.fsum(1 / j for j in range(1, k + 1)) for k in range(26)]
# Power series in z = x^2/4: I0 = sum z^k / k!^2, I1 = x/2 sum z^k / (k! (k + 1)!)
_I0_SERIES = [1 / math.factorial(k) ** 2 for k in range(25)]
_I1_SERIES = [1 / (math.factorial(k) * math.factorial(k + 1)) for k in range(25)]
# K0 + log(x/2) I0, and (1 - x K1 + x log(x/2) I1) / z
_K0_SERIES = [(_HARMONIC[k] - _EULER) / math.factorial(k) ** 2 for k in range(13)]
_K1_SERIES = [
    (_HARMONIC[k] + _HARMONIC[k + 1] - 2 * _EULER) / (math.factorial(k) * math.factorial(k + 1)) for k in range(13)
]

Pair = tuple[Expr, Expr]


# ---- modified Bessel functions


def _i0_near(x: Expr) -> Expr:
    return fn.polynomial(x * x * 0.25, _I0_SERIES)


def _i1_near(x: Expr) -> Expr:
    return x * 0.5 * fn.polynomial(x * x * 0.25, _I1_SERIES)


def _i_far(size: Expr, coefficients: tuple) -> Expr:
    """exp(-x) I(x) for x > 8."""
    x = fn.maximum(size, 8.0)
    return fn.polynomial(16.0 / x - 1.0, coefficients) / fn.sqrt(x)


def _i_grown(size: Expr, coefficients: tuple) -> Expr:
    """I(x) for x > 8, infinite only where it is: by two factors exp(x/2)."""
    x = between(size, 8.0, 1000.0)
    half = fn.exp(x * 0.5)
    return _i_far(x, coefficients) * half * half


def i0(x: Expr) -> Expr:
    size = fn.abs(x)
    return fn.where(size <= 8.0, _i0_near(between(x, -8.0, 8.0)), _i_grown(size, _I0))


def i0e(x: Expr) -> Expr:
    size = fn.abs(x)
    near = _i0_near(between(x, -8.0, 8.0)) * fn.exp(-size)
    return fn.where(size <= 8.0, near, _i_far(size, _I0))


def i1(x: Expr) -> Expr:
    size = fn.abs(x)
    far = fn.copysign(_i_grown(size, _I1), x)
    return fn.where(size <= 8.0, _i1_near(between(x, -8.0, 8.0)), far)


def i1e(x: Expr) -> Expr:
    size = fn.abs(x)
    near = _i1_near(between(x, -8.0, 8.0)) * fn.exp(-size)
    return fn.where(size <= 8.0, near, fn.copysign(_i_far(size, _I1), x))


def _k_specials(x: Expr, near: Expr, far: Expr) -> Expr:
    value = fn.where(x <= 2.0, near, far)
    return fn.where(x > 0.0, value, fn.where(x == 0.0, const(math.inf, x.dtype), math.nan))


def _k0_near(x: Expr) -> Expr:
    x = between(x, 0.0, 2.0)
    return fn.polynomial(x * x * 0.25, _K0_SERIES) - fn.log(x * 0.5) * _i0_near(x)


def _k1_near(x: Expr) -> Expr:
    x = between(x, 0.0, 2.0)
    z = x * x * 0.25
    return (1.0 - z * fn.polynomial(z, _K1_SERIES)) / x + fn.log(x * 0.5) * _i1_near(x)


def _k_far(x: Expr, coefficients: tuple) -> Expr:
    """exp(x) K(x) for x > 2."""
    x = fn.maximum(x, 2.0)
    return fn.polynomial(4.0 / x - 1.0, coefficients) / fn.sqrt(x)


def k0(x: Expr) -> Expr:
    return _k_specials(x, _k0_near(x), _k_far(x, _K0) * fn.exp(-x))


def k0e(x: Expr) -> Expr:
    return _k_specials(x, _k0_near(x) * fn.exp(x), _k_far(x, _K0))


def k1(x: Expr) -> Expr:
    return _k_specials(x, _k1_near(x), _k_far(x, _K1) * fn.exp(-x))


def k1e(x: Expr) -> Expr:
    return _k_specials(x, _k1_near(x) * fn.exp(x), _k_far(x, _K1))


# ---- Bessel functions


def _centred(x: Expr) -> Expr:
    return x * x * (1 / 12.5) - 1.0


def _without_zero(x: Expr, zero: tuple[float, float]) -> Expr:
    """x^2 - zero^2, the zero given in two parts."""
    return ((x - zero[0]) - zero[1]) * (x + zero[0])


def _j0_near(x: Expr) -> Expr:
    zeros = _without_zero(x, _J0_ZEROS[0]) * _without_zero(x, _J0_ZEROS[1])
    return zeros * fn.polynomial(_centred(x), _J0)


def _j1_near(x: Expr) -> Expr:
    return x * _without_zero(x, _J1_ZERO) * fn.polynomial(_centred(x), _J1)


def _waves(x: Expr, p: tuple, q: tuple) -> tuple[Pair, Pair, Expr]:
    """Hankel's P and Q, cosine and sine of x - pi/4 (times sqrt 2), and sqrt(1 / (pi x)), for x > 5."""
    x = fn.maximum(x, 5.0)
    ratio = 5.0 / x
    w = fn.fma(ratio * 2.0, ratio, -1.0)
    sine, cosine = fn.sin(x), fn.cos(x)
    amplitude = (fn.polynomial(w, p), ratio * fn.polynomial(w, q))
    return amplitude, (cosine + sine, sine - cosine), math.sqrt(1 / math.pi) / fn.sqrt(x)


def j0(x: Expr) -> Expr:
    size = fn.abs(x)
    (p, q), (cosine, sine), scale = _waves(size, _P0, _Q0)
    return fn.where(size <= 5.0, _j0_near(between(size, 0.0, 5.0)), (p * cosine - q * sine) * scale)


def j1(x: Expr) -> Expr:
    """The phase is x - 3 pi/4: its cosine and sine are those of x - pi/4, exchanged."""
    size = fn.abs(x)
    (p, q), (cosine, sine), scale = _waves(size, _P1, _Q1)
    value = fn.where(size <= 5.0, _j1_near(between(size, 0.0, 5.0)), (p * sine + q * cosine) * scale)
    return fn.where(x < 0.0, -value, value)


def _y_specials(x: Expr, near: Expr, far: Expr) -> Expr:
    value = fn.where(x <= 5.0, near, far)
    return fn.where(x > 0.0, value, fn.where(x == 0.0, const(-math.inf, x.dtype), math.nan))


def y0(x: Expr) -> Expr:
    (p, q), (cosine, sine), scale = _waves(x, _P0, _Q0)
    inside = between(x, 0.0, 5.0)
    near = fn.polynomial(_centred(inside), _Y0) + fn.log(inside) * _j0_near(inside) * (2 / math.pi)
    return _y_specials(x, near, (p * sine + q * cosine) * scale)


def y1(x: Expr) -> Expr:
    (p, q), (cosine, sine), scale = _waves(x, _P1, _Q1)
    inside = between(x, 0.0, 5.0)
    singular = (fn.log(inside) * _j1_near(inside) - 1.0 / inside) * (2 / math.pi)
    near = fn.fma(inside, fn.polynomial(_centred(inside), _Y1), singular)
    return _y_specials(x, near, (q * sine - p * cosine) * scale)


def spherical_j0(x: Expr) -> Expr:
    """sin(x) / x, by its series near 0; 0 at infinity."""
    z = x * x
    near = fn.polynomial(z, [(-1) ** k / math.factorial(2 * k + 1) for k in range(7)])
    return fn.where(fn.abs(x) < 0.5, near, fn.where(fn.isinf(x), 0.0, fn.sin(x) / x))


# ---- Airy's function


def _zeta(x: Expr) -> Pair:
    """2/3 x^(3/2) in two parts, for x > 0."""
    root = fn.sqrt(x)
    root_low = fn.fma(-root, root, x) / (root * 2.0)
    product = x * root
    product_low = fn.fma(x, root, -product) + x * root_low
    high = product * (2 / 3)
    return high, fn.fma(product, 2 / 3, -high) + fn.fma(product, 3.700743415417188e-17, product_low * (2 / 3))


def airy_ai(x: Expr) -> Expr:
    """Decay above 2.08, waves below -3.03, between them a polynomial without the first zero."""
    above = between(x, 2.08, 120.0)
    zeta, zeta_low = _zeta(above)
    decay = fn.exp(-zeta)
    decay = fn.fma(decay, -zeta_low, decay) * (0.5 / math.sqrt(math.pi)) / fn.sqrt(fn.sqrt(above))
    decay = decay * fn.polynomial(4.0 / zeta - 1.0, _AIRY_DECAY)
    inside = between(x, -3.1, 2.1)
    middle = ((inside - _AIRY_ZERO[0]) - _AIRY_ZERO[1]) * fn.polynomial((inside + 0.5) * (1 / 2.6), _AIRY_MIDDLE)
    return fn.where(x > 2.08, decay, fn.where(x < -3.03, _airy_waves(fn.maximum(-x, 3.02)), middle))


def _airy_waves(x: Expr) -> Expr:
    """Ai(-x) = (P cos(zeta - pi/4) + Q sin(zeta - pi/4)) / (sqrt(pi) x^(1/4))."""
    zeta, low = _zeta(x)
    sine, cosine = fn.sin(zeta), fn.cos(zeta)
    sine, cosine = fn.fma(low, cosine, sine), fn.fma(-low, sine, cosine)
    ratio = 3.5 / zeta
    w = fn.fma(ratio * 2.0, ratio, -1.0)
    waves = fn.polynomial(w, _AIRY_P) * (cosine + sine) + ratio * fn.polynomial(w, _AIRY_Q) * (sine - cosine)
    return waves * math.sqrt(0.5 / math.pi) / fn.sqrt(fn.sqrt(x))


EXPANSIONS = {
    "i0": i0, "i0e": i0e, "i1": i1, "i1e": i1e, "k0": k0, "k0e": k0e, "k1": k1, "k1e": k1e,
    "j0": j0, "j1": j1, "y0": y0, "y1": y1, "spherical_j0": spherical_j0, "airy_ai": airy_ai,
}  # fmt: skip
