"""Statistics of a row in one pass: its mean, and sums of what is made of the differences from the mean.

With d = x - s, s being near the mean m and e = m - s the mean of d,

    sum((x - m)^2) = sum(d^2) - e sum(d),        sum(h (x - m)) = sum(h d) - e sum(h).

s is the mean of some elements. The first difference loses next to nothing as long as e^2 is small beside the variance;
rows that are not like that, too short for it, or not finite are read once more, as the program is written.

Where rows or columns are cut, each chunk has a mean of its own (`row_spread`): what a chunk comes to is combined with
others by the distance of their means, s and e being kept apart so that large means lose nothing. A chunk whose guess
was bad is read again with s = m while it is near.
"""

from dataclasses import dataclass
from functools import reduce as reduce_by
from typing import Any

from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, const, input_, walk
from flambeau.ir.fn import where
from flambeau.ir.program import lower
from flambeau.ir.scalar import substitute

from . import guess
from .emit import Elements
from .module import Function, llvm_type
from .states import component_dtypes, twin

SHIFT = ir.TEMP - 1  # operand number that stands for s
_FARTHEST = 4  # times the variance: the square of a chunk's e


@dataclass(frozen=True)
class Statistics:
    """The first two levels of a program: the mean of `x` and other sums, then sums of differences from it."""

    x: Expr
    total: Expr
    mean: Expr
    squares: tuple[Expr, ...]
    products: dict[Expr, Expr]  # sum of h (x - mean) -> sum of h


def find(program: Any) -> Statistics | None:
    """What the first two levels come to, where they are of this kind."""
    if len(program.levels) < 2:
        return None
    nodes = walk(program.roots)
    for total in program.levels[0]:
        if total.op != "row_sum" or not t.is_float(total.dtype):
            continue
        for mean in (e for e in nodes if e.op == "div" and e.args[0] is total and _counts(e.args[1])):
            found = _differences(program.levels, total, mean)
            if found is not None:
                return found
    return None


def _counts(e: Expr) -> bool:
    return ir.is_count(e.args[0] if e.op == "cast" else e)


def _differences(levels: tuple[tuple[Expr, ...], ...], total: Expr, mean: Expr) -> Statistics | None:
    (x,) = total.args
    sums = {id(e.args[0]): e for e in levels[0] if e.op == "row_sum"}
    squares, products = [], {}
    for e in levels[1]:
        if e.op != "row_sum" or e.args[0].op != "mul":
            return None
        factors = sorted(e.args[0].args, key=lambda a: a.op == "sub" and a.args[0] is x and a.args[1] is mean)
        h, difference = factors
        if difference.op != "sub" or difference.args[0] is not x or difference.args[1] is not mean:
            return None
        if h is difference:
            squares.append(e)
        elif id(h) in sums:
            products[e] = sums[id(h)]
        else:
            return None
    return Statistics(x, total, mean, tuple(squares), products) if squares else None


def of_chunks(program: Any) -> tuple[Expr, ...] | None:
    """The roots of a program whose two levels are a mean and one spread, by statistics that chunks have as well."""
    found = find(program)
    if found is None or found.products or len(found.squares) > 1:
        return None
    return tuple(substitute(program.roots, {found.squares[0]: ir.row_spread(found.x)}))


def spread(kernel: Any, reductions: tuple[Expr, ...]) -> dict[Expr, list[str]]:
    """States of the reductions of a chunk if a spread is among them."""
    whole = next((e for e in reductions if e.op == "row_spread"), None)
    if whole is None:
        return {}
    f, (x,), dtype = kernel.function, whole.args, whole.dtype
    kind, shift = llvm_type(dtype), input_(SHIFT, dtype)
    others = [e for e in reductions if e is not whole and twin(e, reductions) is not whole]
    d = x - shift
    first, square = ir.row_sum(d), ir.row_sum(d * d)
    count = f.value(f"sitofp i64 {f.mul(kernel.shape[1], kernel.shape[2])} to {kind}")
    kept = {e: [(k, f.variable(k)) for k in map(llvm_type, component_dtypes(e))] for e in (whole, *others)}
    near, again = f.variable(kind, "0.0"), f.variable("i1", "true")
    with f.when(kernel.is_long(1)):
        f.do(f"store {kind} {_guesses(kernel, x)[0]}, ptr {near}")
    with f.loop(0, 2), f.when(f.value(f"load i1, ptr {again}")):
        s = f.value(f"load {kind}, ptr {near}")
        (states,) = kernel.totals([first, square, *others], [{shift: s}])
        states[whole], better, bad = spread_of(f, 1, dtype, (s, states[first][0], states[square][0], count))
        for e, places in kept.items():
            for value, (k, place) in zip(states[e], places, strict=True):
                f.do(f"store {k} {value}, ptr {place}")
        f.do(f"store {kind} {better}, ptr {near}")
        f.do(f"store i1 {bad}, ptr {again}")
    totals = {e: [f.value(f"load {k}, ptr {place}") for k, place in places] for e, places in kept.items()}
    return {e: totals[whole][:1] if twin(e, reductions) is whole else totals[e] for e in reductions}


def _guesses(kernel: Any, x: Expr) -> list[str]:
    """The mean of some elements of each row that is done."""
    f, part = kernel.function, 1 / (kernel.accumulators * kernel.lanes)
    return [f.value(f"fmul {llvm_type(x.dtype)} {some}, {part!r}") for *_, some in kernel.some(ir.row_sum(x))]


def spread_of(f: Function, lanes: int, dtype: str, values: tuple[str, str, str, str]) -> tuple[list[str], str, str]:
    """The state of a spread from a guess, the sums of differences from it and of their squares, and how many there are;
    then a better guess, and whether it is needed: the first was bad, or something is not finite."""
    guess, total, squares, count = (input_(k, dtype) for k in range(4))
    gap = total / count
    lost = total * gap
    rest = squares - lost
    state = [total + guess * count, guess, gap, count, where(rest < 0, const(0, dtype), rest)]
    good = (lost <= rest * _FARTHEST) & (squares < float("inf"))
    elements = Elements(f, lanes, lambda leaf: values[leaf.attr[0]])
    *found, better, bad = elements.emit(*lower([*state, guess + gap, ~good]))
    return found, better, bad


def reduce(kernel: Any) -> int:
    """Writes both levels of a kernel along rows where it can, and says what their reductions come to. How many levels
    are done then."""
    found = find(kernel.program) if kernel.mode == "fused" and not kernel.target.is_gpu else None
    if found is None or kernel.parked is not None:
        return 0
    levels = kernel.program.levels
    others = [e for e in levels[0] if e is not found.total]

    def once() -> tuple[guess.Values, str]:
        values, good = zip(*_once(kernel, found, others), strict=True)
        return list(values), reduce_by(lambda a, b: kernel.function.value(f"and i1 {a}, {b}"), good)

    guess.either(kernel, [found.mean, *others, *levels[1]], _fits(kernel, found.x.dtype), once)
    return 2


def _fits(kernel: Any, dtype: str) -> str:
    """Whether a row has enough elements for a first guess, and not so many that writing it is all that takes time: in
    contiguous rows that leave the second cache, memory writes on while a pass more is made over what was read."""
    f = kernel.function
    enough = kernel.is_long(1)
    if kernel.reads_once or not any(o.role == "F" for o in kernel.outputs):
        return enough
    few = f.value(f"icmp sle i64 {kernel.shape[4]}, {kernel.target.l2 // 2 // t.SIZE[dtype]}")
    return f.value(f"and i1 {enough}, {few}")


def _once(kernel: Any, found: Statistics, others: list[Expr]) -> list[tuple[dict[Expr, str], str]]:
    """Results from one pass for each row that is done, and whether they are good."""
    shift = input_(SHIFT, found.x.dtype)
    d = found.x - shift
    first, square = ir.row_sum(d), ir.row_sum(d * d)
    by = {e: ir.row_sum(h.args[0] * d) for e, h in found.products.items()}
    guesses = _guesses(kernel, found.x)
    rows = kernel.totals([first, square, *others, *by.values()], [{shift: near} for near in guesses])
    results = []
    for scope, near, states in zip(kernel.scopes(), guesses, rows, strict=True):
        totals = {e: state[-1] for e, state in states.items()}
        scope.open()
        count = scope.scalar(found.mean.args[1])
        values, good = _of_row(kernel.function, found.x.dtype, (near, totals[first], totals[square], count))
        mean, gap, rest = values
        known = {found.mean: mean} | {e: totals[e] for e in others} | dict.fromkeys(found.squares, rest)
        for e, h in found.products.items():
            known[e] = _difference(kernel.function, e.dtype, totals[by[e]], gap, totals[h])
        results.append((known, good))
    return results


def _difference(f: Function, dtype: str, a: str, b: str, c: str) -> str:
    """a - b c"""
    kind = llvm_type(dtype)
    return f.value(f"fsub {kind} {a}, {f.value(f'fmul {kind} {b}, {c}')}")


def _of_row(f: Function, dtype: str, values: tuple[str, str, str, str]) -> tuple[tuple[str, str, str], str]:
    """From a guess, the sums of differences from it and of their squares, and how many there are: the mean, how far it
    is from the guess, the sum of squared differences from it, and whether they are good."""
    kind = llvm_type(dtype)
    near, total, square, count = values
    gap = f.value(f"fdiv {kind} {total}, {count}")
    lost = f.value(f"fmul {kind} {total}, {gap}")
    rest = f.value(f"fsub {kind} {square}, {lost}")
    near_enough = f.value(f"fcmp ole {kind} {f.value(f'fmul {kind} {lost}, 4.0')}, {rest}")
    finite = f.value(f"fcmp olt {kind} {square}, 0x7FF0000000000000")
    return (f.value(f"fadd {kind} {near}, {gap}"), gap, rest), f.value(f"and i1 {near_enough}, {finite}")
