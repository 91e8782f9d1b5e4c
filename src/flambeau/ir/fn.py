"""The functions that bodies are written in.

Floating-point functions take float (most of them also complex) expressions; Python numbers may stand beside an
expression. `maximum` and `minimum` propagate nan, `round` rounds halves to even, comparisons with nan are false except
`ne`. Every function is total: a defined result for every input (see `ir.interp`).
"""

import math
from collections.abc import Sequence

from . import types as t
from .expr import Expr, const
from .scalar import Operand, binary, cast, imag, make, real, together, unary

abs = abs  # the operator of Expr


def _float_function(op: str, doc: str):
    def function(x: Expr) -> Expr:
        if not (t.is_float(x.dtype) or t.is_complex(x.dtype)):
            raise TypeError(f"{op} of an expression of dtype {x.dtype}: cast it to a float first")
        return make(op, x.dtype, (x,))

    function.__name__, function.__doc__ = op, doc
    return function


exp = _float_function("exp", "e to the power x.")
exp2 = _float_function("exp2", "2 to the power x.")
expm1 = _float_function("expm1", "exp(x) - 1 without cancellation.")
log = _float_function("log", "Natural logarithm.")
log2 = _float_function("log2", "Logarithm to base 2.")
log10 = _float_function("log10", "Logarithm to base 10.")
log1p = _float_function("log1p", "log(1 + x) without cancellation.")
sin = _float_function("sin", "Sine of radians.")
cos = _float_function("cos", "Cosine of radians.")
tan = _float_function("tan", "Tangent of radians.")
asin = _float_function("asin", "Inverse sine.")
acos = _float_function("acos", "Inverse cosine.")
atan = _float_function("atan", "Inverse tangent.")
sinh = _float_function("sinh", "Hyperbolic sine.")
cosh = _float_function("cosh", "Hyperbolic cosine.")
tanh = _float_function("tanh", "Hyperbolic tangent.")
asinh = _float_function("asinh", "Inverse hyperbolic sine.")
acosh = _float_function("acosh", "Inverse hyperbolic cosine.")
atanh = _float_function("atanh", "Inverse hyperbolic tangent.")
erf = _float_function("erf", "Error function.")
erfc = _float_function("erfc", "1 - erf(x) without cancellation.")
erfinv = _float_function("erfinv", "Inverse of erf.")
lgamma = _float_function("lgamma", "log(|gamma(x)|).")
erfcx = _float_function("erfcx", "exp(x*x) * erfc(x), without overflow.")
gauss = _float_function("gauss", "exp(-x*x/2).")
gelu = _float_function("gelu", "x * ndtr(x).")
gelu_slope = _float_function("gelu_slope", "The derivative of gelu.")
ndtr = _float_function("ndtr", "The standard normal distribution's probability below x.")
log_ndtr = _float_function("log_ndtr", "log(ndtr(x)), without underflow.")
ndtri = _float_function("ndtri", "Inverse of ndtr.")
i0 = _float_function("i0", "Modified Bessel function of the first kind, order 0.")
i0e = _float_function("i0e", "exp(-|x|) * i0(x).")
i1 = _float_function("i1", "Modified Bessel function of the first kind, order 1.")
i1e = _float_function("i1e", "exp(-|x|) * i1(x).")
k0 = _float_function("k0", "Modified Bessel function of the second kind, order 0.")
k0e = _float_function("k0e", "exp(x) * k0(x).")
k1 = _float_function("k1", "Modified Bessel function of the second kind, order 1.")
k1e = _float_function("k1e", "exp(x) * k1(x).")
j0 = _float_function("j0", "Bessel function of the first kind, order 0.")
j1 = _float_function("j1", "Bessel function of the first kind, order 1.")
y0 = _float_function("y0", "Bessel function of the second kind, order 0.")
y1 = _float_function("y1", "Bessel function of the second kind, order 1.")
spherical_j0 = _float_function("spherical_j0", "Spherical Bessel function of the first kind, order 0.")
airy_ai = _float_function("airy_ai", "Airy's function Ai.")
sqrt = _float_function("sqrt", "Square root, correctly rounded.")
rsqrt = _float_function("rsqrt", "1 / sqrt(x).")
sigmoid = _float_function("sigmoid", "1 / (1 + exp(-x)), without overflow.")
softplus = _float_function("softplus", "log(1 + exp(x)), without overflow.")
log_sigmoid = _float_function("log_sigmoid", "log(sigmoid(x)), without overflow.")


def _rounding(op: str, doc: str):
    def function(x: Expr) -> Expr:
        return make(op, x.dtype, (x,)) if t.is_float(x.dtype) else x

    function.__name__, function.__doc__ = op, doc
    return function


floor = _rounding("floor", "Largest integer not above x.")
ceil = _rounding("ceil", "Smallest integer not below x.")
trunc = _rounding("trunc", "x without its fraction.")
round = _rounding("rint", "Nearest integer, halves to even.")


def _binary_function(op: str, doc: str):
    def function(a: Operand, b: Operand) -> Expr:
        return binary(op, a, b)

    function.__name__, function.__doc__ = op, doc
    return function


eq = _binary_function("eq", "a == b.")
ne = _binary_function("ne", "a != b, true where either is nan.")
lt = _binary_function("lt", "a < b.")
le = _binary_function("le", "a <= b.")
gt = _binary_function("gt", "a > b.")
ge = _binary_function("ge", "a >= b.")
maximum = _binary_function("max", "The larger; nan where either is nan.")
minimum = _binary_function("min", "The smaller; nan where either is nan.")
copysign = _binary_function("copysign", "|a| with the sign of b.")
atan2 = _binary_function("atan2", "Angle of the point (b, a).")
hypot = _binary_function("hypot", "sqrt(a*a + b*b) without overflow.")
pow = _binary_function("pow", "a to the power b.")
zeta = _binary_function("zeta", "Hurwitz's zeta function: the sum of (b + k)**-a over k = 0, 1, ...")
igamma = _binary_function("igamma", "Regularised lower incomplete gamma function of a at b.")
igammac = _binary_function("igammac", "Regularised upper incomplete gamma function of a at b.")
fmod = _binary_function("fmod", "Remainder of division rounded towards zero (sign of a).")
remainder = _binary_function("remainder", "Remainder of division rounded down (sign of b), as % of Python.")
floor_divide = _binary_function("floordiv", "Quotient rounded down, as // of Python.")
idiv = _binary_function("idiv", "Integer quotient rounded towards zero; 0 where b is 0.")
irem = _binary_function("irem", "a - idiv(a, b) * b; a where b is 0.")


def ldexp(x: Expr, n: Expr) -> Expr:
    """x * 2**n, rounded once; n is an integral float of x's dtype."""
    return make("ldexp", x.dtype, (x, n))


def fma(a: Operand, b: Operand, c: Operand) -> Expr:
    """a * b + c, rounded once (integers: wrapping)."""
    a, b, c = together(a, b, c)
    return make("fma", a.dtype, (a, b, c)) if t.is_float(a.dtype) else a * b + c


def where(condition: Expr, a: Operand, b: Operand) -> Expr:
    """a where the condition holds, else b."""
    if not isinstance(a, Expr) and not isinstance(b, Expr):
        raise TypeError("where(condition, a, b) needs an expression as a or b; use const(value, dtype)")
    return make("select", together(a, b)[0].dtype, (cast(condition, "b1"), *together(a, b)))


def unlikely(condition: Expr, rare: Operand, usual: Operand) -> Expr:
    """`where` whose first value is seldom wanted: generated code computes it only if some lane needs it."""
    rare, usual = together(rare, usual)
    return make("unlikely", rare.dtype, (condition, rare, usual))


def bitcast(x: Expr, dtype: str) -> Expr:
    """The bits of x read as another dtype of the same width."""
    if t.SIZE[x.dtype] != t.SIZE[dtype] or "b1" in (x.dtype, dtype) or t.is_complex(x.dtype) or t.is_complex(dtype):
        raise TypeError(f"bitcast from {x.dtype} to {dtype}")
    return make("bitcast", dtype, (x,))


def order_key(x: Expr, nan_greatest: bool = True) -> Expr:
    """An integer with the order of x's values: 0 and -0 alike, nan beyond all; integers are their own key.

    Where one step waits for the one before, comparing keys takes a third of the time that comparing floats takes.
    """
    if not t.is_float(x.dtype):
        return x
    kind = t.int_of(x.dtype)
    bits, shift = bitcast(x + 0.0, kind), 8 * t.SIZE[kind] - 1
    key = bits ^ ((bits >> shift) & ((1 << shift) - 1))
    return where(x != x, const((1 << shift) - 1 if nan_greatest else -(1 << shift), kind), key)


def lookup(table: Sequence[float | int], position: Expr, dtype: str) -> Expr:
    """table[position], the position (an i32 or i64) clamped to the table."""
    return make("lookup", dtype, (position,), tuple(const(x, dtype).attr for x in table))


def sign(x: Expr) -> Expr:
    """-1, 0 or 1; 0 of nan; z / |z| of a complex expression."""
    if t.is_complex(x.dtype):
        size = abs(x)
        return where(eq(size, 0), const(0, x.dtype), make("complex", x.dtype, (real(x) / size, imag(x) / size)))
    if x.dtype == "b1":
        return x
    return cast(gt(x, 0), x.dtype) - cast(lt(x, 0), x.dtype)


def signbit(x: Expr) -> Expr:
    """Is the sign negative (that of -0.0 and nan included)?"""
    if t.is_float(x.dtype):
        return lt(bitcast(x, t.int_of(x.dtype)), 0)
    return lt(x, 0) if t.is_signed(x.dtype) else const(False, "b1")


def isnan(x: Expr) -> Expr:
    """Is x not a number?"""
    return ne(x, x) if t.is_float(x.dtype) or t.is_complex(x.dtype) else const(False, "b1")


def isinf(x: Expr) -> Expr:
    """Is x (or a part of it) infinite?"""
    if t.is_complex(x.dtype):
        return isinf(real(x)) | isinf(imag(x))
    return eq(abs(x), math.inf) if t.is_float(x.dtype) else const(False, "b1")


def isfinite(x: Expr) -> Expr:
    """Is x neither infinite nor nan?"""
    if t.is_complex(x.dtype):
        return isfinite(real(x)) & isfinite(imag(x))
    return lt(abs(x), math.inf) if t.is_float(x.dtype) else const(True, "b1")


def logical_not(x: Expr) -> Expr:
    """Is x zero?"""
    return unary("not", cast(x, "b1"))


def logical_and(a: Expr, b: Expr) -> Expr:
    """Are both nonzero?"""
    return cast(a, "b1") & cast(b, "b1")


def logical_or(a: Expr, b: Expr) -> Expr:
    """Is either nonzero?"""
    return cast(a, "b1") | cast(b, "b1")


def logical_xor(a: Expr, b: Expr) -> Expr:
    """Is exactly one nonzero?"""
    return cast(a, "b1") ^ cast(b, "b1")


def complex_(re: Expr, im: Operand) -> Expr:
    """re + i*im."""
    re, im = together(re, im)
    return make("complex", t.complex_of(re.dtype), (re, im))


def conj(x: Expr) -> Expr:
    """Complex conjugate."""
    return make("conj", x.dtype, (x,)) if t.is_complex(x.dtype) else x


def square(x: Expr) -> Expr:
    """x * x."""
    return x * x


def reciprocal(x: Expr) -> Expr:
    """1 / x."""
    return 1 / x


def relu(x: Expr) -> Expr:
    """max(x, 0); nan stays, and the derivative at 0 is 0."""
    return make("relu", x.dtype, (x,)) if x.dtype != "b1" else x


def detach(x: Expr) -> Expr:
    """x with derivative 0."""
    return make("detach", x.dtype, (x,))


def polygamma(n: int, x: Expr) -> Expr:
    """The n-th derivative of digamma (n = 0), the derivative of lgamma."""
    return make("polygamma", x.dtype, (x,), n)


def orthogonal(kind: str, x: Operand, n: Operand) -> Expr:
    """A polynomial of degree n (rounded towards zero): `chebyshev_t`, `laguerre`, ... (see `ir.math_orthogonal`)."""
    x, n = together(x, n)
    return make("orthogonal", x.dtype, (x, n), kind)


def digamma(x: Expr) -> Expr:
    """Derivative of lgamma."""
    return polygamma(0, x)


def clamp(x: Expr, low: Operand | None = None, high: Operand | None = None) -> Expr:
    """x kept between low and high (high wins); nan stays, and the gradient passes at the bounds."""
    if low is not None:
        x, low = together(x, low)
        x = where(lt(x, low), low, x)
    if high is not None:
        x, high = together(x, high)
        x = where(gt(x, high), high, x)
    return x


def fmax(a: Operand, b: Operand) -> Expr:
    """The larger; the other one where one is nan."""
    a, b = together(a, b)
    return where(ge(a, b) | isnan(b), a, b)


def fmin(a: Operand, b: Operand) -> Expr:
    """The smaller; the other one where one is nan."""
    a, b = together(a, b)
    return where(le(a, b) | isnan(b), a, b)


def polynomial(x: Expr, coefficients) -> Expr:
    """Sum of coefficients[k] * x**k by Horner's rule, each step one fma."""
    *rest, value = coefficients
    value = const(value, x.dtype)
    for c in reversed(rest):
        value = fma(value, x, c)
    return value


def row_sum(x: Expr) -> Expr:
    """Sum over the row, in the dtype of x; `ir.row` has the reductions that bodies are written with."""
    return make("row_sum", x.dtype, (x,))
