"""States: what a reduction over a row carries along, and how two of them become one."""

from collections.abc import Callable

from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, const, input_
from flambeau.ir.fn import where
from flambeau.ir.scalar import binary, make

from .emit import Elements
from .module import Function

NUMBERS = "numbers"  # attribute of a maximum that leaves out nan: one instruction an element instead of three


def component_dtypes(e: Expr) -> list[str]:
    """Dtypes of a reduction's state, its result last: positions carry the value they stand for, a part of a complex
    product the other part, a spread the sum, the mean (a number near it, and the distance from there) and how many
    elements there are."""
    if e.op == "row_spread":
        return [e.dtype] * 5
    if e.op in ir.COMPLEX_PRODUCTS:
        return [e.dtype, e.dtype]
    return [e.args[0].dtype, "i64"] if e.op in ("row_argmax", "row_argmin") else [e.dtype]


def _result_last(e: Expr, re: Expr, im: Expr) -> list[Expr]:
    """The state of a complex product's part from both parts."""
    return [im, re] if e.op == "row_prod_re" else [re, im]


def identity(e: Expr) -> list[Expr]:
    """The state of no elements."""
    dtype = e.args[0].dtype
    if e.op in ("row_sum", "row_prod"):
        return [const(0 if e.op == "row_sum" else 1, e.dtype)]
    if e.op in ir.COMPLEX_PRODUCTS:
        return _result_last(e, const(1, dtype), const(0, dtype))
    start = const(t.limit(dtype, e.op in ("row_max", "row_argmax")), dtype)
    return [start] if e.op in ("row_max", "row_min") else [start, const(t.limit("i64", False), "i64")]


def initial(function: Function, lanes: int, e: Expr) -> list[tuple[str, str]]:
    """The same in code: LLVM type and value of each component."""
    elements = Elements(function, lanes, lambda e: "")
    return [(elements.type(x.dtype), elements.emit(x)[0]) for x in identity(e)]


def combine(e: Expr, a: list[Expr], b: list[Expr]) -> list[Expr]:
    """The state of the elements of both."""
    plain = {"row_sum": "add", "row_prod": "mul", "row_max": "max", "row_min": "min"}
    if e.attr == NUMBERS:
        return [where(b[0] > a[0], b[0], a[0])]
    if e.op in plain:
        return [binary(plain[e.op], a[0], b[0])]
    if e.op == "row_spread":
        count, apart = a[3] + b[3], (b[1] - a[1]) + (b[2] - a[2])
        part = b[3] / count
        return [a[0] + b[0], a[1], a[2] + apart * part, count, a[4] + b[4] + apart * apart * (a[3] * part)]
    if e.op in ir.COMPLEX_PRODUCTS:
        (ar, ai), (br, bi) = (reversed(v) if e.op == "row_prod_re" else v for v in (a, b))
        return _result_last(e, ar * br - ai * bi, ar * bi + ai * br)
    (va, ia), (vb, ib) = a, b
    if va.dtype == "b1":
        va, vb = (make("cast", "u8", (v,)) for v in (va, vb))
    first = ib < ia
    better = vb > va if e.op == "row_argmax" else vb < va
    same = va == vb
    if t.is_float(va.dtype):
        nan_a, nan_b = va != va, vb != vb
        better = (better & ~nan_a) | (nan_b & ~nan_a)
        same = same | (nan_a & nan_b)
    take = better | (same & first)
    return [make("select", x.dtype, (take, y, x)) for x, y in zip(a, b, strict=True)]


def absorb(e: Expr, a: list[Expr], b: list[Expr]) -> list[Expr]:
    """The state with one more element, which comes later in the row. A position stays that of no elements as long as
    they are the least there are; see `settle`."""
    if e.op not in ir.POSITIONS:
        return combine(e, a, b)
    va, vb = (make("cast", "u8", (v,)) if v.dtype == "b1" else v for v in (a[0], b[0]))
    take = vb > va if e.op == "row_argmax" else vb < va
    if t.is_float(va.dtype):  # nan beats all but nan
        take = ~(vb <= va if e.op == "row_argmax" else vb >= va) & make("eq", "b1", (va, va))
    return [make("select", x.dtype, (take, y, x)) for x, y in zip(a, b, strict=True)]


def twin(e: Expr, reductions: tuple[Expr, ...]) -> Expr | None:
    """The reduction whose state begins with what `e` comes to: the extreme comes with its position, a sum with the
    spread."""
    kind = {"row_max": "row_argmax", "row_min": "row_argmin", "row_sum": "row_spread"}.get(e.op)
    return next((x for x in reductions if x.op == kind and x.args[0] is e.args[0]), None)


def element_state(e: Expr) -> list[Expr]:
    """The state of one element."""
    if e.op in ir.COMPLEX_PRODUCTS:
        return _result_last(e, *e.args)
    return [e.args[0], ir.row_index()] if len(component_dtypes(e)) == 2 else [e.args[0]]


def merge(function: Function, lanes: int, e: Expr, a: list[str], b: list[str], how: Callable = combine) -> list[str]:
    """Combines two states held in values of `lanes` lanes."""
    dtypes = component_dtypes(e)
    names = dict(enumerate([*a, *b]))
    elements = Elements(function, lanes, lambda leaf: names[leaf.attr[0]])
    left = [input_(k, d) for k, d in enumerate(dtypes)]
    right = [input_(len(dtypes) + k, d) for k, d in enumerate(dtypes)]
    return elements.emit(*how(e, left, right))


def settle(function: Function, lanes: int, e: Expr, state: list[str], first: str) -> list[str]:
    """The state of elements that were absorbed, of which the first is at this position (an i64)."""
    if e.op not in ir.POSITIONS:
        return state
    elements = Elements(function, lanes, lambda leaf: state[1])
    position = input_(0, "i64")
    (none,) = elements.emit(make("eq", "b1", (position, const(t.limit("i64", False), "i64"))))
    kinds = elements.type("b1"), elements.type("i64")
    chosen = f"{kinds[1]} {elements.spread(first, 'i64')}, {kinds[1]} {state[1]}"
    return [state[0], function.value(f"select {kinds[0]} {none}, {chosen}")]
