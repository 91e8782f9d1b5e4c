"""Building expressions as Python formulas: operands meet in one dtype, operators of `Expr` build nodes.

`x + alpha * y` in a body builds nodes, simplified on the way wherever that is exact. For bools `+` is or and `*` is
and, as in PyTorch. Python numbers take the dtype of the expression they stand beside.
"""

from collections.abc import Iterable

from . import types as t
from .expr import COMPARISONS, Expr, const, node
from .printer import text
from .simplify import simplify

Operand = Expr | float | int | bool | complex


def make(op: str, dtype: str, args: tuple[Expr, ...] = (), attr=None) -> Expr:
    """A node, or the simpler one that has exactly the same value."""
    simpler = simplify(op, dtype, args, attr)
    return node(op, dtype, args, attr) if simpler is None else simpler


def dtype_of_number(value, like: str) -> str:
    """The dtype that a Python number takes beside an expression of dtype `like`."""
    if isinstance(value, bool):
        return like
    if isinstance(value, complex):
        return t.complex_of(like)
    if isinstance(value, float) and not (t.is_float(like) or t.is_complex(like)):
        raise TypeError(f"{value!r} beside an expression of dtype {like}: cast the expression first")
    if isinstance(value, int) and like == "b1":
        raise TypeError(f"{value!r} beside an expression of dtype b1: cast the expression first")
    return like


def lift(value: Operand, like: str) -> Expr:
    """An expression of a number that stands beside an expression of dtype `like`."""
    return value if isinstance(value, Expr) else const(value, dtype_of_number(value, like))


def together(*values: Operand) -> tuple[Expr, ...]:
    """Operands in the one dtype that they promote to."""
    exprs = [v for v in values if isinstance(v, Expr)]
    if not exprs:
        raise TypeError("at least one operand must be an expression")
    dtype = exprs[0].dtype
    for e in exprs[1:]:
        dtype = t.promote(dtype, e.dtype)
    lifted = [lift(v, dtype) for v in values]
    for e in lifted:
        dtype = t.promote(dtype, e.dtype)
    return tuple(cast(e, dtype) for e in lifted)


def cast(x: Expr, dtype: str) -> Expr:
    """x in another dtype. Casting to a narrow one (bf16, f16, ...) rounds, and the value stays f32."""
    if dtype in t.NARROW:
        return make("round_to", "f32", (cast(x, "f32"),), dtype)
    if x.dtype == dtype:
        return x
    if t.is_complex(x.dtype) and not t.is_complex(dtype):
        if dtype == "b1":
            return binary("ne", x, 0)
        return cast(make("real", t.real_of(x.dtype), (x,)), dtype)
    return make("cast", dtype, (x,))


def unary(op: str, x: Expr) -> Expr:
    """op(x) in the dtype of x."""
    if op == "not" and not (x.dtype == "b1" or t.is_int(x.dtype)):
        raise TypeError(f"~ of an expression of dtype {x.dtype}")
    if op == "neg" and x.dtype == "b1":
        raise TypeError("- of an expression of dtype b1")
    if op == "abs":
        if t.is_complex(x.dtype):
            return make("abs", t.real_of(x.dtype), (x,))
        if x.dtype == "b1" or x.dtype in t.UNSIGNED:
            return x
    return make(op, x.dtype, (x,))


_BOOL_OPS = {"add": "or", "mul": "and", "max": "or", "min": "and"}
_BITWISE = ("and", "or", "xor", "shl", "shr")


def binary(op: str, a: Operand, b: Operand) -> Expr:
    """op(a, b) in the dtype that both promote to. For bools + is or, and * is and."""
    a, b = together(a, b)
    dtype = a.dtype
    if op in COMPARISONS:
        return _compare(op, a, b)
    if dtype == "b1":
        op = _BOOL_OPS.get(op, op)
        if op not in ("and", "or", "xor"):
            raise TypeError(f"{op} of expressions of dtype b1: cast them first")
    elif op in _BITWISE and not t.is_int(dtype):
        raise TypeError(f"{op} of expressions of dtype {dtype}")
    elif op == "div" and t.is_int(dtype):
        raise TypeError(f"/ of expressions of dtype {dtype}: cast them first, or use //")
    return make(op, dtype, (a, b))


def _compare(op: str, a: Expr, b: Expr) -> Expr:
    if not t.is_complex(a.dtype):
        return make(op, "b1", (a, b))
    if op == "eq":
        return binary("and", make("eq", "b1", (real(a), real(b))), make("eq", "b1", (imag(a), imag(b))))
    if op == "ne":
        return binary("or", make("ne", "b1", (real(a), real(b))), make("ne", "b1", (imag(a), imag(b))))
    raise TypeError(f"{op} of complex expressions")


def real(x: Expr) -> Expr:
    """Real part."""
    return make("real", t.real_of(x.dtype), (x,)) if t.is_complex(x.dtype) else x


def imag(x: Expr) -> Expr:
    """Imaginary part; 0 of a real expression."""
    return make("imag", t.real_of(x.dtype), (x,)) if t.is_complex(x.dtype) else const(0, x.dtype)


def rebuild(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """The node with other arguments."""
    return e if all(a is b for a, b in zip(e.args, args, strict=True)) else make(e.op, e.dtype, args, e.attr)


def substitute(roots: Iterable[Expr], table: dict[Expr, Expr]) -> list[Expr]:
    """The roots with nodes replaced; what a replacement is made of is left as it is."""
    roots, memo = tuple(roots), dict(table)
    for root in roots:
        stack = [root]
        while stack:
            e = stack[-1]
            todo = [a for a in e.args if a not in memo] if e not in memo else []
            stack.extend(todo)
            if not todo:
                stack.pop()
                if e not in memo:
                    memo[e] = rebuild(e, tuple(memo[a] for a in e.args))
    return [memo[r] for r in roots]


_OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floordiv", "mod": "remainder",
    "pow": "pow", "and": "and", "or": "or", "xor": "xor", "lshift": "shl", "rshift": "shr",
}  # fmt: skip


def _attach_operators() -> None:
    def forward(op: str):
        return lambda self, other: binary(op, self, other)

    def backward(op: str):
        return lambda self, other: binary(op, other, self)

    for python, op in _OPERATORS.items():
        setattr(Expr, f"__{python}__", forward(op))
        setattr(Expr, f"__r{python}__", backward(op))
    for op in COMPARISONS:
        setattr(Expr, f"__{op}__", forward(op))
    Expr.__hash__ = object.__hash__
    Expr.__neg__ = lambda self: unary("neg", self)
    Expr.__pos__ = lambda self: self
    Expr.__abs__ = lambda self: unary("abs", self)
    Expr.__invert__ = lambda self: unary("not", self)
    Expr.__repr__ = lambda self: text(self)


_attach_operators()
