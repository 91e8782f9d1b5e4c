"""Lowering: functions of real expressions become primitives of the dtype they are computed in."""

from collections.abc import Callable, Iterable

from . import math_div, math_f32, math_f64, math_pow
from . import types as t
from .expr import FUNCTIONS, Expr, walk
from .scalar import rebuild

_DIVISION = {"remainder": math_div.remainder, "floordiv": math_div.floordiv, "fmod": math_div.fmod}
_INTEGER = {**_DIVISION, "fmod": math_div.fmod_int, "pow": math_pow.pow_int}
_FLOAT = {"f32": {**math_f32.EXPANSIONS, **_DIVISION}, "f64": {**math_f64.EXPANSIONS, **_DIVISION}}


def expansion(op: str, dtype: str) -> Callable:
    """The formula in simpler operations that stands for a function."""
    found = (_INTEGER if t.is_int(dtype) else _FLOAT.get(dtype, {})).get(op)
    if found is None:
        raise TypeError(f"{op} is not defined for expressions of dtype {dtype}")
    return found


def expand(roots: Iterable[Expr]) -> list[Expr]:
    """Roots made of primitives only."""
    roots = list(roots)
    done: dict[int, Expr] = {}
    keep = []  # expansions must live as long as their ids stand in `done`

    def visit(roots: list[Expr]) -> list[Expr]:
        for e in walk(roots):
            if id(e) in done:
                continue
            args = tuple(done[id(a)] for a in e.args)
            if e.op in FUNCTIONS:
                formula = expansion(e.op, e.dtype)(*args)
                keep.append(formula)
                done[id(e)] = visit([formula])[0]
            else:
                done[id(e)] = rebuild(e, args)
            keep.append(e)
        return [done[id(r)] for r in roots]

    return visit(roots)
