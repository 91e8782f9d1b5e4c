"""Random numbers whose distribution each element chooses. With the default generator they are PyTorch's own for a seed.

The gradient of a sample with regard to a shape parameter is implicit: that of the inverse of the distribution function
at the sample. `ir/math_implicit.py` computes it.
"""

from flambeau import _core
from flambeau.ir import fn, math_implicit

from .table import REAL_FLOATS, Composite, Native, Scalar, op

_GENERATOR = "Generator? generator=None"
_SINGLE_DOUBLE = (_core.float32, _core.float64)


def _in_double(f):
    """A body computed in float64 and rounded once; f is told whether float32 is asked for."""
    return Scalar(lambda *x: fn.cast(f(*(fn.cast(v, "f64") for v in x), x[0].dtype == "f32"), x[0].dtype))


def _dirichlet_slope(x, alpha, total, single):
    return math_implicit.beta_slope(x, alpha, total - alpha, single) / (1.0 - x)


op(
    "_standard_gamma_grad(Tensor self, Tensor output) -> Tensor",
    names=("_standard_gamma_grad",),
    dtypes=_SINGLE_DOUBLE,
    body=_in_double(math_implicit.gamma_slope),
    differentiable=False,
    doc="""How a gamma number moves with its shape: -(dP/da) / (dP/dx) of P = gammainc(a, x).

Error: 1e-8 relative in float64, 2e-6 in float32 (largest measured).""",
)
op(
    "_dirichlet_grad(Tensor x, Tensor alpha, Tensor total) -> Tensor",
    names=("_dirichlet_grad",),
    dtypes=_SINGLE_DOUBLE,
    body=_in_double(_dirichlet_slope),
    differentiable=False,
    doc="""How a beta number x of parameters alpha and total - alpha moves with alpha, over 1 - x.

Error: 1e-8 relative in float64, 2e-6 in float32 (largest measured).""",
)
op(
    f"_standard_gamma(Tensor self, {_GENERATOR}) -> Tensor",
    names=("_standard_gamma",),
    dtypes=_SINGLE_DOUBLE,
    body=Native("standard_gamma"),
    saves=("o0",),
    grad=lambda o, g, self, generator: (o.mul(g, o._standard_gamma_grad(self, o.saved.output(0))),),
    doc="Gamma numbers of rate 1 whose shapes are the elements.",
)


def _dirichlet_gradient(o, g, self, generator):
    """Where one part grows, the others shrink in proportion."""
    x = o.saved.output(0)
    slopes = o._dirichlet_grad(x, self, o.expand_as(o.sum(self, -1, True), self))
    return (o.mul(slopes, o.sub(g, o.sum(o.mul(x, g), -1, True))),)


op(
    f"_sample_dirichlet(Tensor self, {_GENERATOR}) -> Tensor",
    names=("_sample_dirichlet",),
    dtypes=_SINGLE_DOUBLE,
    body=Native("sample_dirichlet"),
    saves=("o0",),
    grad=_dirichlet_gradient,
    doc="Points of the simplex whose concentrations stand along the last dimension.",
)
op(
    f"poisson(Tensor self, {_GENERATOR}) -> Tensor",
    names=("poisson",),
    dtypes=REAL_FLOATS,
    body=Native("poisson"),
    grad=lambda o, g, self, generator: (o.zeros_like(g),),
    doc="""Poisson numbers whose rates are the elements.

Example:
    >>> torch.poisson(torch.zeros(3))
    tensor([0., 0., 0.])""",
)
op(
    f"binomial_each(Tensor count, Tensor prob, {_GENERATOR}) -> Tensor",
    names=(),
    dtypes=_SINGLE_DOUBLE,
    body=Native("binomial_each"),
    grad=lambda o, g, count, prob, generator: (o.zeros_like(g), o.zeros_like(g)),
    doc="Binomial numbers; sizes and dtypes are checked by binomial.",
)


def _binomial(o, count, prob, generator):
    for name, t in (("count", count), ("prob", prob)):
        if not t.dtype.is_floating_point:
            raise ValueError(f"binomial only supports floating-point dtypes for {name}, got: {t.dtype.title}")
    if count.dtype != prob.dtype:
        raise RuntimeError(
            f"Found dtype {prob.dtype.title} but expected {count.dtype.title} [binomial: count is {count.dtype}, "
            f"prob is {prob.dtype}]"
        )
    return o.binomial_each(*o.broadcast_tensors(count, prob), generator=generator)


op(
    f"binomial(Tensor count, Tensor prob, {_GENERATOR}) -> Tensor",
    names=("binomial",),
    body=Composite(_binomial),
    doc="""How often something of probability prob happens in count trials, element by element.

Example:
    >>> torch.binomial(torch.tensor([3., 4.]), torch.tensor([1., 0.]))
    tensor([3., 0.])""",
)
