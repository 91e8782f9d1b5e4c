"""Simplifications that are exact for every value, nan, infinities and signed zeros included.

`x * 1`, `x + -0.0` and `x - 0.0` are x; `x + 0.0` and `x * 0.0` are not, and stay. One function a kind of node; each
gets the would-be node's fields and answers with an existing or smaller expression, or None.
"""

import math
from collections.abc import Callable

from . import types as t
from .expr import COMPARISONS, Expr, as_constant, const, node

Args = tuple[Expr, ...]
Rule = Callable[[str, Args, object], Expr | None]


def simplify(op: str, dtype: str, args: Args, attr) -> Expr | None:
    """An expression equal to the node with these fields and simpler than it, or None."""
    rule = _RULES.get(op)
    return rule(dtype, args, attr) if rule else None


def is_const(e: Expr, value=None) -> bool:
    """Is this a constant (of this value, the sign of zero included)?"""
    if e.op != "const":
        return False
    if value is None:
        return True
    if isinstance(e.attr, complex):
        return _same(e.attr.real, value) and _same(e.attr.imag, 0.0)
    return _same(e.attr, value)


def _same(a, b) -> bool:
    return a == b and (not isinstance(a, float) or math.copysign(1.0, a) == math.copysign(1.0, b))


def _constants(args: Args) -> bool:
    return all(a.op == "const" for a in args)


def _fold(function: Callable) -> Rule:
    """Folds a node of real constants; f32 results of + - * / are right, as f64 is more than twice as wide."""

    def rule(dtype: str, args: Args, attr) -> Expr | None:
        if not _constants(args) or t.is_complex(dtype):
            return None
        try:
            return const(function(*(a.attr for a in args)), dtype)
        except (OverflowError, ZeroDivisionError, ValueError):
            return None

    return rule


def _first(*rules: Rule) -> Rule:
    def rule(dtype: str, args: Args, attr) -> Expr | None:
        for r in rules:
            found = r(dtype, args, attr)
            if found is not None:
                return found
        return None

    return rule


def _neg_of(e: Expr) -> Expr:
    found = _neg(e.dtype, (e,), None)
    return node("neg", e.dtype, (e,)) if found is None else found


def _add(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    zero = 0 if t.is_int(dtype) else -0.0
    if is_const(b, zero) and not t.is_complex(dtype):
        return a
    if is_const(a, zero) and not t.is_complex(dtype):
        return b
    if b.op == "neg":
        return node("sub", dtype, (a, b.args[0]))
    if a.op == "neg":
        return node("sub", dtype, (b, a.args[0]))
    return None


def _sub(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if is_const(b, 0 if t.is_int(dtype) else 0.0) and not t.is_complex(dtype):
        return a
    if b.op == "neg":
        return node("add", dtype, (a, b.args[0]))
    return None


def _mul(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if a.op == "const":
        a, b = b, a
    if is_const(b, 1):
        return a
    if is_const(b, -1) and not t.is_complex(dtype):
        return _neg_of(a)
    if t.is_int(dtype) and is_const(b, 0):
        return b
    if a.op == "neg" and b.op == "neg":
        return node("mul", dtype, (a.args[0], b.args[0]))
    if a.op == "neg" and b.op == "const" and not t.is_complex(dtype):
        return node("mul", dtype, (a.args[0], const(-b.attr, dtype)))
    return None


def _div(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if is_const(b, 1):
        return a
    if is_const(b, -1) and not t.is_complex(dtype):
        return _neg_of(a)
    if b.op == "const" and t.is_float(dtype) and b.attr != 0 and math.isfinite(b.attr):
        mantissa, exponent = math.frexp(b.attr)
        if abs(mantissa) == 0.5 and abs(exponent) < 100:  # the reciprocal of a power of two is exact
            return node("mul", dtype, (a, const(1 / b.attr, dtype)))
    return None


def _neg(dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    if a.op == "neg":
        return a.args[0]
    if a.op == "mul" and a.args[1].op == "const" and not t.is_complex(dtype):
        return node("mul", dtype, (a.args[0], const(-a.args[1].attr, dtype)))
    return None


def _abs(_dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    if a.op == "abs":
        return a
    return node("abs", a.dtype, a.args) if a.op == "neg" and t.is_float(a.dtype) else None


def _select(_dtype: str, args: Args, _attr) -> Expr | None:
    condition, a, b = args
    if a is b:
        return a
    if condition.op == "const":
        return a if condition.attr else b
    if condition.op == "not":
        return node("select", a.dtype, (condition.args[0], b, a))
    return None


def _and(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if a is b:
        return a
    for x, y in ((a, b), (b, a)):
        if is_const(x, as_constant(0, dtype)):
            return x
        if is_const(x, as_constant(-1, dtype)):
            return y
    return None


def _or(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if a is b:
        return a
    for x, y in ((a, b), (b, a)):
        if is_const(x, as_constant(0, dtype)):
            return y
        if is_const(x, as_constant(-1, dtype)):
            return x
    return None


_OPPOSITE_OF_ORDERED = {"eq": "ne", "ne": "eq"}  # not(a < b) is not a >= b where there is a nan


def _not(_dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    if a.op == "not":
        return a.args[0]
    if a.op in _OPPOSITE_OF_ORDERED:
        return node(_OPPOSITE_OF_ORDERED[a.op], a.dtype, a.args)
    return None


def _cast(dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    if a.dtype == dtype:
        return a
    if a.op == "const" and not (t.is_float(a.dtype) and t.is_int(dtype)):
        twice_rounded = dtype == "f32" and t.is_int(a.dtype) and abs(a.attr) > 2**53
        return None if twice_rounded else const(a.attr, dtype)
    if a.op == "const" and math.isfinite(a.attr) and abs(a.attr) < 2**31:
        return const(math.trunc(a.attr), dtype)
    if a.op == "cast" and _widens(a.args[0].dtype, a.dtype) and _widens(a.dtype, dtype):
        inner = a.args[0]
        return inner if inner.dtype == dtype else node("cast", dtype, (inner,))
    return None


def _widens(a: str, b: str) -> bool:
    """Does a cast from a to b keep every value?"""
    if a == b or a == "b1":
        return True
    if t.is_int(a) and t.is_int(b):
        return t.promote(a, b) == b
    if t.is_int(a):
        return t.SIZE[a] < t.SIZE[t.real_of(b)]
    return not t.is_int(b) and t.promote(a, b) == b


def _conj(_dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    return a.args[0] if a.op == "conj" else None


def _part(position: int) -> Rule:
    def rule(dtype: str, args: Args, _attr) -> Expr | None:
        (a,) = args
        if a.op == "complex":
            return a.args[position]
        if a.op == "const":
            return const(a.attr.imag if position else a.attr.real, dtype)
        return None

    return rule


def _bitcast(dtype: str, args: Args, _attr) -> Expr | None:
    (a,) = args
    if a.dtype == dtype:
        return a
    return node("bitcast", dtype, a.args) if a.op == "bitcast" and a.args[0].dtype != dtype else None


def _round_to(_dtype: str, args: Args, attr) -> Expr | None:
    (a,) = args
    return a if a.op == "round_to" and a.attr == attr else None


def _compare(function: Callable) -> Rule:
    def rule(_dtype: str, args: Args, _attr) -> Expr | None:
        return const(function(args[0].attr, args[1].attr), "b1") if _constants(args) else None

    return rule


def _shift(dtype: str, args: Args, _attr) -> Expr | None:
    return args[0] if is_const(args[1], 0) else None


def _pow(dtype: str, args: Args, _attr) -> Expr | None:
    a, b = args
    if is_const(b, 0):
        return const(1, dtype)
    return a if is_const(b, 1) else None


_COMPARE = {
    "eq": lambda a, b: a == b,
    "ne": lambda a, b: a != b,
    "lt": lambda a, b: a < b,
    "le": lambda a, b: a <= b,
    "gt": lambda a, b: a > b,
    "ge": lambda a, b: a >= b,
}

_RULES: dict[str, Rule] = {
    "add": _first(_fold(lambda a, b: a + b), _add),
    "sub": _first(_fold(lambda a, b: a - b), _sub),
    "mul": _first(_fold(lambda a, b: a * b), _mul),
    "div": _first(_fold(lambda a, b: a / b), _div),
    "neg": _first(_fold(lambda a: -a), _neg),
    "abs": _first(_fold(abs), _abs),
    "select": _select,
    "pow": _pow,
    "and": _first(_fold(lambda a, b: a & b), _and),
    "or": _first(_fold(lambda a, b: a | b), _or),
    "xor": _fold(lambda a, b: a ^ b),
    "not": _first(lambda dtype, args, _: _fold(lambda a: not a if dtype == "b1" else ~a)(dtype, args, None), _not),
    "shl": _shift,
    "shr": _shift,
    "cast": _cast,
    "bitcast": _bitcast,
    "round_to": _round_to,
    "conj": _conj,
    "real": _part(0),
    "imag": _part(1),
    **{op: _compare(_COMPARE[op]) for op in COMPARISONS},
}
