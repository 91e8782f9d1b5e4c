"""Lowering: functions of real expressions become primitives of the dtype they are computed in."""

from collections.abc import Callable, Iterable
from functools import partial

from . import (
    fn,
    math_bessel,
    math_div,
    math_f32,
    math_f64,
    math_igamma,
    math_normal,
    math_orthogonal,
    math_pow,
    math_special,
    math_zeta,
)  # fmt: skip
from . import types as t
from .expr import FUNCTIONS, Expr, const, walk
from .repeat import Steps, results
from .scalar import rebuild

_DIVISION = {"remainder": math_div.remainder, "floordiv": math_div.floordiv, "fmod": math_div.fmod}
_INTEGER = {**_DIVISION, "fmod": math_div.fmod_int, "pow": math_pow.pow_int}
_SPECIAL = {
    name: f
    for m in (math_special, math_bessel, math_zeta, math_igamma, math_normal, math_orthogonal)
    for name, f in m.EXPANSIONS.items()
}
_SPECIAL_F32 = {name: math_f32.by_f64(f) for name, f in _SPECIAL.items()}
_FLOAT = {
    "f32": {**_SPECIAL_F32, **math_f32.EXPANSIONS, **_DIVISION},
    "f64": {**math_f64.EXPANSIONS, **_SPECIAL, **_DIVISION},
}


def _relu(x: Expr) -> Expr:
    return fn.where(x <= 0, const(0, x.dtype), x)


_ANY = {"relu": _relu, "detach": lambda x: x}


def expansion(e: Expr) -> Callable:
    """The formula in simpler operations that stands for a function."""
    found = _ANY.get(e.op) or (_INTEGER if t.is_int(e.dtype) else _FLOAT.get(e.dtype, {})).get(e.op)
    if found is None:
        raise TypeError(f"{e.op} is not defined for expressions of dtype {e.dtype}")
    return found if e.attr is None else partial(found, e.attr)


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
            if e.op == "repeat":
                steps, number = e.attr
                go, *following = expand([steps.go, *steps.next])
                done[id(e)] = results(args, Steps(go, tuple(following), steps.limit))[number]
            elif e.op in FUNCTIONS:
                formula = expansion(e)(*args)
                keep.append(formula)
                done[id(e)] = visit([formula])[0]
            else:
                done[id(e)] = rebuild(e, args)
            keep.append(e)
        return [done[id(r)] for r in roots]

    return visit(roots)
