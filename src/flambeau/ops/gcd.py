"""Greatest common divisor and least common multiple of integers."""

from flambeau.ir.fn import abs, const
from flambeau.ir.scalar import make

from .launch import Launch
from .sort import check_implemented
from .table import INTEGERS, Composite, Loop, op
from .views import broadcast_shape


def _program(b, steps: int):
    """Buffers: output, two inputs. Euclid's algorithm; `steps` are enough for any two numbers of the dtype."""
    dtype = b.compute_dtype(0)
    zero = const(0, dtype)
    with b.parallel() as i:
        x, y = (b.variable(abs(b.load(k, i)), dtype) for k in (1, 2))
        with b.loop(0, steps, simd=False):
            first, second = x.value, y.value
            with b.when(first != zero):
                x.value = make("irem", dtype, (second, first))
                y.value = first
        b.store(0, i, y.value)


def _plan(o, self, other):
    out = o.empty(tuple(self.shape), dtype=self.dtype, device=self.device)
    steps = 12 * self.itemsize  # golden ratio: at most 1.44 a bit
    return Launch((out,), (out, self.contiguous(), other.contiguous()), [], self.numel(), steps, _program, (steps,))


op(
    "gcd_same(Tensor self, Tensor other) -> Tensor",
    names=(),
    body=Loop(_plan, pure=True),
    differentiable=False,
    doc="Greatest common divisors of two integer tensors of one size and dtype.",
)


def _prepared(o, name: str, self, other):
    dtype = o.result_type(self, other)
    shape = broadcast_shape([self.shape, other.shape])
    a, b = self.to(dtype).expand(shape), other.to(dtype).expand(shape)
    check_implemented(a, f"{name}_cpu", ("b1", "f16", "bf16", "f32", "f64", "c64", "c128", "u16", "u32", "u64"))
    return a, b


def _gcd(o, self, other):
    return o.gcd_same(*_prepared(o, "gcd", self, other))


def _lcm(o, self, other):
    a, b = _prepared(o, "lcm", self, other)
    divisor = o.gcd_same(a, b)
    none = divisor == 0
    return o.masked_fill(o.abs(o.div(a, o.masked_fill(divisor, none, 1), rounding_mode="trunc") * b), none, 0)


for _name, _body, _what in (
    ("gcd", _gcd, "Greatest common divisor; gcd(0, 0) is 0."),
    ("lcm", _lcm, "Least common multiple; 0 where one of the two is 0."),
):
    op(
        f"{_name}(Tensor self, Tensor other) -> Tensor",
        dtypes=INTEGERS,
        body=Composite(_body),
        inplace=(f"{_name}_",),
        differentiable=False,
        ref=(lambda f: lambda np, a, b: getattr(np, f)(a, b))(_name),
        samples="integers",
        doc=f"{_what}\n\nExample:\n    >>> torch.{_name}(torch.tensor([12, 7]), torch.tensor([18, 5]))\n"
        f"    {'tensor([6, 1])' if _name == 'gcd' else 'tensor([36, 35])'}",
    )
