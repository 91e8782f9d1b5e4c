"""Greatest common divisor and least common multiple of integers."""

from flambeau.ir import fn
from flambeau.ir.fn import cast, where
from flambeau.ir.repeat import repeat
from flambeau.ir.types import SIZE

from .table import INTEGERS, Scalar, op

_EXACT = 53  # bits of the integers whose quotients, rounded to float64, have the right whole part
_STEPS = 96  # golden ratio: at most 1.44 a bit


def _gcd(x, y):
    """Euclid's algorithm, all in floating point but for what is too large there: processors divide vectors of floats."""
    dtype = x.dtype
    if SIZE[dtype] < 8:
        narrow = ("f32", "i32") if SIZE[dtype] < 4 else ("f64", "i64")
        return cast(cast(_divided(*(fn.abs(cast(v, narrow[0])) for v in (x, y))), narrow[1]), dtype)

    def step(x, y):
        return (x != 0) & (((x | y) & -(1 << _EXACT)) != 0), fn.irem(y, x), x

    x, y = repeat(step, fn.abs(x), fn.abs(y), limit=_STEPS)
    return where(x == 0, y, cast(_divided(cast(x, "f64"), cast(y, "f64")), dtype))


def _divided(x, y):
    """Euclid's algorithm for numbers whose quotients are as good as exact."""
    return repeat(lambda x, y: (x != 0, fn.fma(-fn.trunc(y / x), x, y), x), x, y, limit=_STEPS)[1]


for _name, _body, _what in (
    ("gcd", _gcd, "Greatest common divisor; gcd(0, 0) is 0."),
    (
        "lcm",
        lambda a, b: fn.abs(fn.idiv(a, _gcd(a, b)) * b),
        "Least common multiple; 0 where one of the two is 0.",
    ),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=INTEGERS,
        dtype_error=f"\"{_name}_cpu\" not implemented for '{{got}}'",
        body=Scalar(_body, work=16),
        inplace=(f"{_name}_",),
        differentiable=False,
        ref=(lambda f: lambda np, a, b: getattr(np, f)(a, b))(_name),
        samples="integers",
        doc=f"{_what}\n\nExample:\n    >>> torch.{_name}(torch.tensor([12, 7]), torch.tensor([18, 5]))\n"
        f"    {'tensor([6, 1])' if _name == 'gcd' else 'tensor([36, 35])'}",
    )
