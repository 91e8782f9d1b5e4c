"""Expressions over elements: immutable, typed, hash-consed nodes.

A node is `(op, dtype, args, attr)`. Two equal nodes are one object, so common subexpressions cost nothing and identity
is equality. Exact local simplifications (see `simplify`) happen while formulas are built (see `scalar`).

Nodes come on three levels, and passes lower the upper ones:

- *functions* (`exp`, `tanh`, `pow`, ... see `FUNCTIONS`): what formulas are written and differentiated in;
- *complex* arithmetic: lowered to pairs of real expressions (`ir.pairs`);
- *primitives* (`PRIMITIVES`): what interpreter and code generators know. Every primitive is total.
"""

import math
import os
import struct
import threading
import weakref
from collections.abc import Callable, Iterable

from . import types as t

# name -> arity of the leaves and operations that interpreter and emitters implement (None: any)
PRIMITIVES = {
    "const": 0, "input": 0, "param": 0, "index": 0,
    "add": 2, "sub": 2, "mul": 2, "div": 2, "neg": 1, "fma": 3,
    "abs": 1, "sqrt": 1, "floor": 1, "ceil": 1, "trunc": 1, "rint": 1, "copysign": 2, "ldexp": 2,
    "max": 2, "min": 2,
    "idiv": 2, "irem": 2, "and": 2, "or": 2, "xor": 2, "not": 1, "shl": 2, "shr": 2,
    "eq": 2, "ne": 2, "lt": 2, "le": 2, "gt": 2, "ge": 2,
    "select": 3, "unlikely": 3, "cast": 1, "bitcast": 1, "round_to": 1, "lookup": 1,
    "carry": 0, "repeat": None,
}  # fmt: skip

# name -> arity of the functions that `ir.expand` turns into primitives
FUNCTIONS = {
    "exp": 1, "exp2": 1, "expm1": 1, "log": 1, "log2": 1, "log10": 1, "log1p": 1,
    "sin": 1, "cos": 1, "tan": 1, "asin": 1, "acos": 1, "atan": 1, "atan2": 2,
    "sinh": 1, "cosh": 1, "tanh": 1, "asinh": 1, "acosh": 1, "atanh": 1,
    "erf": 1, "erfc": 1, "erfinv": 1, "lgamma": 1,
    "rsqrt": 1, "sigmoid": 1, "softplus": 1, "log_sigmoid": 1, "pow": 2, "hypot": 2, "fmod": 2, "remainder": 2,
    "floordiv": 2,
    "relu": 1, "polygamma": 1, "detach": 1,
    "erfcx": 1, "gauss": 1, "gelu": 1, "gelu_slope": 1, "ndtr": 1, "log_ndtr": 1, "ndtri": 1,
    "zeta": 2, "igamma": 2, "igammac": 2, "orthogonal": 2,
    "i0": 1, "i0e": 1, "i1": 1, "i1e": 1, "k0": 1, "k0e": 1, "k1": 1, "k1e": 1,
    "j0": 1, "j1": 1, "y0": 1, "y1": 1, "spherical_j0": 1, "airy_ai": 1,
}  # fmt: skip

# Reductions over the row of a row program; `ir.row` gives them their meaning.
REDUCTIONS = {"row_sum": 1, "row_max": 1, "row_min": 1, "row_prod": 1}

# What only complex values have.
PARTS = {"complex": 2, "real": 1, "imag": 1, "conj": 1}

COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

_lock = threading.Lock()  # replaced in a forked child: another thread may have held it
_nodes: "weakref.WeakValueDictionary[tuple, Expr]" = weakref.WeakValueDictionary()


def _renew_lock() -> None:
    global _lock
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_renew_lock)


class Expr:
    """One node. Operators build further nodes; `==` builds a comparison, so compare nodes with `is`."""

    __slots__ = ("__weakref__", "args", "attr", "dtype", "op")

    op: str
    dtype: str
    args: "tuple[Expr, ...]"
    attr: object

    def __bool__(self) -> bool:
        raise TypeError("The value of an expression is not known while the program is made; use where(condition, a, b)")


def node(op: str, dtype: str, args: Iterable[Expr] = (), attr=None) -> Expr:
    """The one node with these fields, as it stands: no coercion, no simplification."""
    args = tuple(args)
    key = (op, dtype, _bits(dtype, attr) if op == "const" else attr, *map(id, args))
    with _lock:
        found = _nodes.get(key)
        if found is None:
            found = Expr()
            found.op, found.dtype, found.args, found.attr = op, dtype, args, attr
            _nodes[key] = found
        return found


def const(value: float | int | bool | complex, dtype: str) -> Expr:
    """A constant, rounded to (or wrapped into) its dtype."""
    return node("const", dtype, (), as_constant(value, dtype))


def as_constant(value, dtype: str):
    """The Python value that `value` has in `dtype`."""
    if dtype == "b1":
        return bool(value)
    if t.is_int(dtype):
        return wrap_int(int(value), dtype)
    if t.is_complex(dtype):
        value, part = complex(value), t.real_of(dtype)
        return complex(as_constant(value.real, part), as_constant(value.imag, part))
    return round_f32(value) if dtype == "f32" else float(value)


def round_f32(value: float) -> float:
    """The float32 nearest to a Python float."""
    try:
        return struct.unpack("f", struct.pack("f", value))[0]
    except OverflowError:
        return math.copysign(math.inf, value)


def wrap_int(value: int, dtype: str) -> int:
    """The low bits of an integer, read in `dtype`."""
    width = t.bits(dtype)
    value &= (1 << width) - 1
    return value - (1 << width) if t.is_signed(dtype) and value >> (width - 1) else value


def _bits(dtype: str, value):
    """What tells constants apart: the bits of floats, so that 0.0 is not -0.0 and a nan is itself."""
    if t.is_complex(dtype):
        return struct.pack("dd", value.real, value.imag)
    return struct.pack("d", value) if t.is_float(dtype) else value


def input_(index: int, dtype: str, part: int = 0) -> Expr:
    """Element of operand `index`, in its compute dtype (`part` 1: the imaginary part)."""
    return node("input", dtype, (), (index, part))


def param(index: int, dtype: str, part: int = 0) -> Expr:
    """Run-time parameter `index`, the same for all elements."""
    return node("param", dtype, (), (index, part))


def index(axis: int = 0, dtype: str = "i64") -> Expr:
    """Position of the element along an axis of the program."""
    return node("index", dtype, (), axis)


def walk(roots: Iterable[Expr]) -> list[Expr]:
    """Every node that the roots are made of, once each, arguments before what uses them."""
    seen: set[int] = set()
    order: list[Expr] = []
    stack = [(r, False) for r in reversed(tuple(roots))]
    while stack:
        e, done = stack.pop()
        if done:
            order.append(e)
        elif id(e) not in seen:
            seen.add(id(e))
            stack.append((e, True))
            stack.extend((a, False) for a in reversed(e.args) if id(a) not in seen)
    return order


def rewrite(roots: Iterable[Expr], rule: Callable[[Expr, tuple[Expr, ...]], Expr]) -> list[Expr]:
    """The roots rebuilt bottom-up: `rule(old, new_args)` gives what stands for each node."""
    roots = tuple(roots)
    new: dict[int, Expr] = {}
    for e in walk(roots):
        new[id(e)] = rule(e, tuple(new[id(a)] for a in e.args))
    return [new[id(r)] for r in roots]
