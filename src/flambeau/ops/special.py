"""Special functions: the normal distribution, Bessel and Airy functions, gamma and zeta functions, polynomials.

Each is computed in float64, float32 rounded once from that; `doc` states the largest error that was measured in float64.
"""

import math

from flambeau.ir import fn

from .table import ANY, COMPLEX, REAL_FLOATS, Composite, Scalar, op

_REALS = tuple(d for d in ANY if d not in COMPLEX)
_NO_GRADIENT = " No gradient is defined, as in PyTorch."


def _docs(text: str, error: str, example: str = "") -> str:
    return f"{text}\n\nError: 0.5 ulp in float32, {error} in float64 (largest measured).{example}"


def _reference(name: str):
    return lambda np, *args: getattr(np.special, name)(*args)


# name, body, formula, domain of samples, error in float64, SciPy's name
_OF_ONE = (
    ("erfcx", fn.erfcx, "exp(x^2) erfc(x), of each element: erfc without its decay.", (-3, 5), "4 ulp", "erfcx"),
    ("ndtr", fn.ndtr, "The standard normal distribution: the probability below each element.", (-3, 3), "2 ulp", "ndtr"),
    ("log_ndtr", fn.log_ndtr, "log(ndtr(x)) of each element, also where ndtr underflows.", (-8, 3), "4 ulp", "log_ndtr"),
    ("ndtri", fn.ndtri, "The inverse of ndtr: where the probability below is each element.", (0.02, 0.98), "3 ulp", "ndtri"),
    ("i0e", fn.i0e, "exp(-|x|) i0(x), of each element.", (-12, 12), "3 ulp", "i0e"),
    ("i1", fn.i1, "Modified Bessel function of the first kind of order 1, of each element.", (-9, 9), "4 ulp", "i1"),
    ("i1e", fn.i1e, "exp(-|x|) i1(x), of each element.", (-12, 12), "3 ulp", "i1e"),
)  # fmt: skip

for _name, _body, _text, _domain, _error, _scipy in _OF_ONE:
    op(
        f"special_{_name}(Tensor self) -> Tensor",
        names=(f"special.{_name}",),
        dtypes=_REALS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        result="float",
        body=Scalar(_body, work=16),
        ref=_reference(_scipy),
        samples=("unary", *_domain),
        doc=_docs(_text, _error),
    )

op(
    "i0(Tensor self) -> Tensor",
    names=("i0", "Tensor.i0", "special.i0"),
    dtypes=_REALS,
    dtype_error="\"i0_vml_cpu\" not implemented for '{got}'",
    result="float",
    body=Scalar(fn.i0, work=16),
    inplace=True,
    ref=_reference("i0"),
    samples=("unary", -9, 9),
    doc=_docs("Modified Bessel function of the first kind of order 0, of each element.", "4 ulp"),
)


def _entr(x):
    inside = fn.where(x > 0, x, fn.const(1, x.dtype))
    value = fn.where(x > 0, -x * fn.log(inside), fn.where(x == 0, fn.const(0, x.dtype), -math.inf))
    return fn.where(fn.isnan(x), x, value)


op(
    "special_entr(Tensor self) -> Tensor",
    names=("special.entr",),
    dtypes=_REALS,
    dtype_error="\"entr_cpu\" not implemented for '{got}'",
    result="float",
    body=Scalar(_entr),
    grad=lambda o, g, self: (o.mul(g, o.sub(o.neg(o.log(self)), 1)),),
    ref=_reference("entr"),
    samples=("unary", 0.1, 5),
    doc="-x log(x) of each element; 0 at 0, -inf below.",
)

# name, body, formula, domain of samples, error in float64, reference
_BESSEL = (
    ("bessel_j0", fn.j0, "Bessel function of the first kind of order 0", (-12, 12), "4e-16 of its envelope", "j0"),
    ("bessel_j1", fn.j1, "Bessel function of the first kind of order 1", (-12, 12), "4e-16 of its envelope", "j1"),
    ("bessel_y0", fn.y0, "Bessel function of the second kind of order 0", (0.2, 12), "4e-16 of its envelope", "y0"),
    ("bessel_y1", fn.y1, "Bessel function of the second kind of order 1", (0.2, 12), "4e-16 of its envelope", "y1"),
    ("modified_bessel_i0", fn.i0, "Modified Bessel function of the first kind of order 0", (-9, 9), "4 ulp", "i0"),
    ("modified_bessel_i1", fn.i1, "Modified Bessel function of the first kind of order 1", (-9, 9), "4 ulp", "i1"),
    ("modified_bessel_k0", fn.k0, "Modified Bessel function of the second kind of order 0", (0.2, 9), "7 ulp", "k0"),
    ("modified_bessel_k1", fn.k1, "Modified Bessel function of the second kind of order 1", (0.2, 9), "5 ulp", "k1"),
    ("scaled_modified_bessel_k0", fn.k0e, "exp(x) times modified_bessel_k0", (0.2, 9), "8 ulp", "k0e"),
    ("scaled_modified_bessel_k1", fn.k1e, "exp(x) times modified_bessel_k1", (0.2, 9), "3 ulp", "k1e"),
    ("spherical_bessel_j0", fn.spherical_j0, "sin(x) / x, 1 at 0", (-9, 9), "2 ulp", None),
    ("airy_ai", fn.airy_ai, "Airy's function Ai", (-8, 4), "4e-16 of its envelope", None),
)  # fmt: skip
_BESSEL_REFERENCES = {
    "spherical_bessel_j0": lambda np, x: np.where(np.isinf(x), 0, np.special.spherical_jn(0, np.abs(x))),
    "airy_ai": lambda np, x: np.where(x == np.inf, 0, np.special.airy(x)[0]),
}

for _name, _body, _text, _domain, _error, _scipy in _BESSEL:
    op(
        f"special_{_name}(Tensor self) -> Tensor",
        names=(f"special.{_name}",),
        dtypes=_REALS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        result="float",
        body=Scalar(_body, work=16),
        differentiable=False,
        ref=_BESSEL_REFERENCES.get(_name) or _reference(_scipy),
        samples=("unary", *_domain),
        doc=_docs(f"{_text}, of each element.{_NO_GRADIENT}", _error),
    )


def _missing(o, like, name):
    raise NotImplementedError(f"the derivative for '{name}' is not implemented.")


op(
    "missing_derivative(Tensor like, str name) -> Tensor",
    names=(),
    body=Composite(_missing),
    doc="Raises, when a backward pass comes to a derivative that does not exist.",
)


def _zeta_gradient(o, g, self, other):
    """d/dq zeta(s, q) = -s zeta(s + 1, q)."""
    slope = o.mul(o.special_zeta(self + 1, other), -self) if o.needs[1] else None
    return (
        o.missing_derivative(g, "zeta") if o.needs[0] else None,
        o.sum_to_size(o.mul(g, slope), other.shape) if o.needs[1] else None,
    )


op(
    "special_zeta(Tensor self, Tensor other) -> Tensor",
    names=("special.zeta",),
    dtypes=_REALS,
    dtype_error="\"zeta_cpu\" not implemented for '{got}'",
    result="float",
    numbers=("self", "other"),
    body=Scalar(fn.zeta, work=16),
    grad=_zeta_gradient,
    ref=_reference("zeta"),
    doc=_docs(
        "Hurwitz's zeta function: the sum of (other + k)^-self over k = 0, 1, ..., for self > 1.\n\n"
        "Below 0 it is defined for integral self. The gradient of self is not defined, as in PyTorch.", "6 ulp",
        "\n\nExample:\n    >>> flambeau.special.zeta(flambeau.tensor([2.0, 3.0]), 1)",
    ),
)  # fmt: skip


def _incomplete_gamma_gradient(name: str, sign: float):
    def grad(o, g, self, other):
        density = None
        if o.needs[1]:
            exponent = o.sub(o.sub(o.mul(o.sub(self, 1), o.log(other)), other), o.lgamma(self))
            density = o.sum_to_size(o.mul(o.mul(g, o.exp(exponent)), sign), other.shape)
        return o.missing_derivative(g, f"{name}: input") if o.needs[0] else None, density

    return grad


for _name, _body, _more, _sign, _text in (
    ("igamma", fn.igamma, "gammainc", 1.0, "P(a, x): the integral of t^(a - 1) exp(-t) from 0 to x, over gamma(a)"),
    ("igammac", fn.igammac, "gammaincc", -1.0, "Q(a, x): the integral of t^(a - 1) exp(-t) from x on, over gamma(a)"),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        names=(_name, f"Tensor.{_name}", f"special.{_more}"),
        dtypes=REAL_FLOATS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        body=Scalar(_body, work=16),
        inplace=True,
        grad=_incomplete_gamma_gradient(_name, _sign),
        ref=_reference(_more),
        doc=_docs(
            f"{_text}, with a = self, x = other.\n\nThe gradient of self is not defined, as in PyTorch.",
            "2e-15 absolutely",
        ),
    )


op(
    "derivative_of_digamma(int n, Tensor self) -> Tensor",
    names=(),
    dtypes=_REALS,
    dtype_error="\"polygamma\" not implemented for '{got}'",
    result="float",
    static=("n",),
    body=Scalar(lambda n, x: fn.polygamma(n, x), work=16),
    ref=lambda np, n, x: np.special.polygamma(n, x),
    doc="polygamma of an n that is not negative.",
)


def _polygamma(o, n, self):
    if n < 0:
        raise RuntimeError("polygamma(n, x) does not support negative n.")
    return o.derivative_of_digamma(n, self)


op(
    "polygamma(int n, Tensor self) -> Tensor",
    names=("polygamma", "special.polygamma"),
    body=Composite(_polygamma),
    ref=lambda np, n, x: np.special.polygamma(n, x),
    doc=_docs("The n-th derivative of digamma, of each element.", "9 ulp away from its zeros"),
)
op(
    "polygamma.method(Tensor self, int n) -> Tensor",
    names=("Tensor.polygamma",),
    body=Composite(lambda o, self, n: o.polygamma(n, self)),
    doc="The n-th derivative of digamma, of each element.",
)
def _polygamma_in_place(o, self, n):
    if not self.dtype.is_floating_point:
        wanted = o.get_default_dtype().title
        raise RuntimeError(f"result type {wanted} can't be cast to the desired output type {self.dtype.title}")
    return self.copy_(o.polygamma(n, self.clone()))


op(
    "polygamma_(Tensor(a!) self, int n) -> Tensor(a!)",
    names=("Tensor.polygamma_",),
    body=Composite(_polygamma_in_place),
    doc="The n-th derivative of digamma, written to self.",
)


def _mvlgamma(o, self, p):
    if self.dtype == o.bool:
        raise RuntimeError("The input tensor may not be a boolean tensor.")
    if self.dtype.is_complex:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{self.dtype.title}'")
    if p < 1:
        raise RuntimeError("p has to be greater than or equal to 1")
    x = self if self.dtype.is_floating_point else self.to(o.get_default_dtype())
    shifts = o.arange(p, dtype=x.dtype, device=x.device)
    terms = o.lgamma(o.sub(o.unsqueeze(x, -1), o.mul(shifts, 0.5)))
    return o.add(o.sum(terms, [-1]), p * (p - 1) / 4 * math.log(math.pi))


op(
    "mvlgamma(Tensor self, int p) -> Tensor",
    names=("mvlgamma", "Tensor.mvlgamma", "special.multigammaln"),
    body=Composite(_mvlgamma),
    ref=lambda np, x, p: sum(np.special.gammaln(x - j / 2) for j in range(p)) + p * (p - 1) / 4 * np.log(np.pi),
    doc="The logarithm of the multivariate gamma function of dimension p, of each element.\n\n"
    "It is the sum of lgamma(x - j/2) over j = 0 ... p - 1, and p (p - 1) / 4 log(pi).",
)


def _mvlgamma_in_place(o, self, p):
    result = o.mvlgamma(self.clone(), p)
    if not self.dtype.is_floating_point:
        wanted = result.dtype.title
        raise RuntimeError(f"mvlgamma: result type {self.dtype.title} can't be cast to the desired output type {wanted}")
    return self.copy_(result)


op(
    "mvlgamma_(Tensor(a!) self, int p) -> Tensor(a!)",
    names=("Tensor.mvlgamma_",),
    body=Composite(_mvlgamma_in_place),
    doc="mvlgamma, written to self.",
)

# name, kind in the IR, SciPy's name, mathematicians' name
_POLYNOMIALS = (
    ("chebyshev_polynomial_t", "chebyshev_t", "chebyt", "Chebyshev polynomial of the first kind T"),
    ("chebyshev_polynomial_u", "chebyshev_u", "chebyu", "Chebyshev polynomial of the second kind U"),
    ("chebyshev_polynomial_v", "chebyshev_v", None, "Chebyshev polynomial of the third kind V"),
    ("chebyshev_polynomial_w", "chebyshev_w", None, "Chebyshev polynomial of the fourth kind W"),
    ("shifted_chebyshev_polynomial_t", "shifted_chebyshev_t", "sh_chebyt", "Chebyshev polynomial T at 2x - 1"),
    ("shifted_chebyshev_polynomial_u", "shifted_chebyshev_u", "sh_chebyu", "Chebyshev polynomial U at 2x - 1"),
    ("shifted_chebyshev_polynomial_v", "shifted_chebyshev_v", None, "Chebyshev polynomial V at 2x - 1"),
    ("shifted_chebyshev_polynomial_w", "shifted_chebyshev_w", None, "Chebyshev polynomial W at 2x - 1"),
    ("hermite_polynomial_h", "hermite_h", "hermite", "Hermite polynomial H of physicists"),
    ("hermite_polynomial_he", "hermite_he", "hermitenorm", "Hermite polynomial He of probabilists"),
    ("laguerre_polynomial_l", "laguerre", "laguerre", "Laguerre polynomial L"),
    ("legendre_polynomial_p", "legendre", "legendre", "Legendre polynomial P"),
)


def _polynomial(kind: str):
    return lambda x, n: fn.orthogonal(kind, x, n)


for _name, _kind, _scipy, _text in _POLYNOMIALS:
    op(
        f"special_{_name}(Tensor x, Tensor n) -> Tensor",
        names=(f"special.{_name}",),
        dtypes=_REALS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        result="float",
        numbers=("x", "n"),
        body=Scalar(_polynomial(_kind), work=16),
        differentiable=False,
        ref=None if _scipy is None else _reference(f"eval_{_scipy}"),
        doc=f"{_text} of degree n (rounded towards zero; 0 where n is negative), at each element of x.{_NO_GRADIENT}\n\n"
        "By its recurrence in float64; Chebyshev polynomials of degrees above 64 by cosines. Hermite polynomials of "
        "degrees above 512, Laguerre and Legendre polynomials of degrees above 2^20 are nan.",
    )
