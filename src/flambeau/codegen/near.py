"""Sums of exponentials in one pass over a row, from a first guess at its maximum.

Softmax and its kin subtract the maximum m so that no exponential overflows; the results are the same without it. Here
k, from the greatest of some elements, is taken off where a power of two and the rest come together,

    e^x / 2^k = 2^(n - k) e^r,        x = n ln2 + r,

which rounds nothing: the sum is as exact whether m lies near the guess or far above it. Where m is asked for, it comes
from the same pass, and

    sum(e^(x - m)) = sum(e^x / 2^k) / (e^m / 2^k),

which is 1 where all but one of the terms vanish. Rows in which something overflows or is not finite are read again, as
the program is written.
"""

import math
from dataclasses import dataclass
from typing import Any

from flambeau.ir import fn, math_f32, math_f64
from flambeau.ir import row as ir
from flambeau.ir.expr import Expr, input_, node, walk
from flambeau.ir.math_common import LOG2E
from flambeau.ir.program import lower
from flambeau.ir.scalar import binary, substitute

from . import guess, pick
from .states import NUMBERS

GUESS = ir.TEMP - 2  # operand number that stands for k
_FARTHEST = 2.0**11  # of k from 0
_BELOW = 32.0  # of k from the guess: terms that vanish beside m, or as parts of the sum, may be anything as small
_LOWEST, _HIGHEST = 18.0, 80.0  # of m over k ln2
_LARGEST = 2.0**120  # of the sum, which is no nan either
_LEAST = 1  # steps of a pass that is worth a guess; twice as many where the maximum is wanted


@dataclass(frozen=True)
class Near:
    """Parts of a program, and what it is made of here, in primitives.

    Attributes:
        top, total: the maximum, and the sum of exponentials.
        guess, k: the leaf that stands for k, and k from `top`.
        scaled: e^x / 2^k.
        sums: its sum, and m.
        quick: how the sum is made where nobody asks for its terms.
        by_sums: `total` from them.
        bad: whether they are of no use.
        alone: whether results are made of exponentials and their sum alone, so that both may be scaled.
        picks: other sums of the second level, of one element each.
    """

    top: Expr
    total: Expr
    guess: Expr
    k: Expr
    scaled: Expr
    sums: tuple[Expr, Expr]
    quick: Expr
    by_sums: Expr
    bad: Expr
    alone: bool
    picks: tuple[Expr, ...]


def find(step: ir.Step) -> Near | None:
    """What a step of two levels comes to, where it is of this kind."""
    if len(step.levels) != 2 or [e.op for e in step.levels[0]] != ["row_max"]:
        return None
    (top,), second = step.levels
    picks, sums = (tuple(e for e in second if pick.is_pick(e) is wanted) for wanted in (True, False))
    if [e.op for e in sums] != ["row_sum"]:
        return None
    (total,) = sums
    x, e = top.args[0], total.args[0]
    if e.op != "exp" or e.args[0].op != "sub" or e.args[0].args[0] is not x or x.dtype not in ("f32", "f64"):
        return None
    if e.args[0].args[1].op != "detach":
        return None
    k = input_(GUESS, x.dtype)
    alone = not any(n is top for n in walk(substitute(step.roots, {e: k, total: k})))
    exp_over = (math_f32 if x.dtype == "f32" else math_f64).exp_over
    scaled = exp_over(x, k)
    sum_, m = sums = ir.row_sum(scaled), node("row_max", x.dtype, (x,), NUMBERS)
    over = fn.fma(k, -1 / LOG2E, m)
    good = (fn.abs(k) <= _FARTHEST) & (over >= _LOWEST) & (over <= _HIGHEST) & (sum_ <= _LARGEST)
    quick, of_top = sum_, exp_over(m, k)
    if x.dtype == "f32":
        term, of_top = (binary("mul", *math_f32.exp_over_factors(y, k)) for y in (x, m))
        quick = ir.row_sum(term)
    from_top = fn.round(fn.where(top == -math.inf, 0.0, top) * LOG2E) - _BELOW
    head = lower([top, total, k, from_top, scaled])
    return Near(*head, lower(sums), *lower([quick, sum_ / of_top, ~good]), alone, tuple(lower(picks)))


def reduce(kernel: Any) -> int:
    """Writes both levels of a kernel where it can, and says what their reductions come to. How many levels are done
    then."""
    found, parks = kernel.near, kernel.parked is not None
    if found is None or (parks and not found.alone) or (found.picks and not kernel.in_lanes):
        return 0
    sum_, m = found.sums
    pass_ = (sum_ if parks else found.quick, m)
    results = {found.total: sum_} if parks else {found.top: m, found.total: found.by_sums}

    def once() -> tuple[guess.Values, str]:
        scopes, values, bad = kernel.scopes(), [], []
        for scope, state in zip(scopes, kernel.some(m), strict=True):
            scope.open()
            with scope.elements.scope():
                scope.define(found.top, state[-1])
                k = scope.scalar(found.k)
            scope.define(found.guess, k)
        for scope, states in zip(scopes, kernel.pass_over(pass_, found.scaled if parks else None), strict=True):
            scope.open()
            for e, state in zip(found.sums, states.values(), strict=True):
                scope.define(e, state[-1])
            values.append({e: scope.scalar(by) for e, by in results.items()})
            bad.append(scope.scalar(found.bad))
        return values, kernel.function.value(f"xor i1 {_any(kernel, bad)}, true")

    guess.either(kernel, list(results), kernel.is_long(_LEAST if parks else 2 * _LEAST), once)
    for e, state in pick.emit(kernel, found.picks).items():
        kernel.scope.define(e, state[-1])
    return 2


def _any(kernel: Any, conditions: list[str]) -> str:
    """Whether one of the conditions, one of each scope, holds in some lane."""
    elements, together = kernel.scopes()[0].elements, conditions[0]
    for other in conditions[1:]:
        together = kernel.function.value(f"or {elements.type('b1')} {together}, {other}")
    return elements.any_lane(together)
