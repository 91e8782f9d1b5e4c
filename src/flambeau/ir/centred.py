"""Sums over a row without the factors that are the same for the whole row, and without what sums to nothing.

A factor that is made of another sum over the row would have to wait for that one; taken out of the sum, both are made
in one pass. The gradient of a normalisation reaches the mean through everything that was centred: there a term is a
multiple of the row less its mean, which sums to 0. Other sums of several terms stay as they are, since the terms may
cancel.
"""

from collections.abc import Callable

from . import row as r
from .expr import Expr, const

Varies = Callable[[Expr], bool]
Term = tuple[Expr | None, Expr]  # a factor that does not vary over the row, and what it multiplies


def row_sum(x: Expr, varies: Varies) -> Expr:
    """The sum of x over the row. `varies`: whether a node varies over the row."""
    terms = _terms(x, varies)
    left = [(factor, e) for factor, e in terms if not _is_centred(e)]
    if len(left) == len(terms) and not (len(left) == 1 and left[0][0] is not None):
        return r.row_sum(x)
    total: Expr | None = None
    for factor, e in left:
        part = r.row_sum(e) if factor is None else factor * r.row_sum(e)
        total = part if total is None else total + part
    return const(0.0, x.dtype) if total is None else total


def _is_centred(e: Expr) -> bool:
    return e.op == "sub" and e.args[1] is r.row_mean(e.args[0])


def _terms(e: Expr, varies: Varies) -> list[Term]:
    """x as a sum of products."""
    if _is_centred(e) or e.op not in ("neg", "add", "sub", "mul", "div"):
        return [(None, e)]
    if e.op == "neg":
        return [_negative(term) for term in _terms(e.args[0], varies)]
    a, b = e.args
    if e.op in ("add", "sub"):
        if not (varies(a) and varies(b)):
            return [(None, e)]
        others = _terms(b, varies)
        return _terms(a, varies) + ([_negative(term) for term in others] if e.op == "sub" else others)
    if not varies(b):
        return [(_scaled(e.op, factor, b), x) for factor, x in _terms(a, varies)]
    if e.op == "mul" and not varies(a):
        return [(_scaled("mul", factor, a), x) for factor, x in _terms(b, varies)]
    if e.op == "mul":
        (first, x), (second, y) = _single(a, varies), _single(b, varies)
        factor = second if first is None else first if second is None else first * second
        return [(factor, x * y)]
    return [(None, e)]


def _single(e: Expr, varies: Varies) -> Term:
    """e as one product."""
    terms = _terms(e, varies)
    return terms[0] if len(terms) == 1 else (None, e)


def _negative(term: Term) -> Term:
    factor, e = term
    return (const(-1.0, e.dtype) if factor is None else -factor), e


def _scaled(op: str, factor: Expr | None, by: Expr) -> Expr:
    if op == "mul":
        return by if factor is None else factor * by
    return (const(1.0, by.dtype) if factor is None else factor) / by
