"""Sums of products that vary over a row, each product added in one operation, which rounds once.

Only what an operator is written in is looked at: what functions are made of has its roundings where it wants them.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .expr import Expr, rewrite, walk
from .scalar import make, rebuild


@dataclass(frozen=True)
class _Term:
    """What is added or taken away; factors of a product that is nobody else's."""

    value: Expr
    minus: bool
    old: Expr  # as it was written
    factors: tuple[Expr, Expr] | None


def fused(roots: Sequence[Expr], varies: Callable[[Expr], bool]) -> list[Expr]:
    """The roots with such sums. `varies`: whether a node varies over the row."""
    uses = Counter(a for e in walk(roots) for a in e.args)
    sums: dict[Expr, list[_Term]] = {}

    def terms(old: Expr, new: Expr, minus: bool) -> list[_Term]:
        if uses[old] == 1 and old in sums:
            return [replace(x, minus=x.minus is not minus) for x in sums[old]]
        alone = old.op == "mul" and uses[old] == 1
        return [_Term(new, minus, old, new.args if alone and new.op == "mul" else None)]

    def rule(e: Expr, args: tuple[Expr, ...]) -> Expr:
        if e.op not in ("add", "sub") or e.dtype not in ("f32", "f64") or not varies(e):
            return rebuild(e, args)
        sums[e] = terms(e.args[0], args[0], False) + terms(e.args[1], args[1], e.op == "sub")
        together = _doubled(sums[e], uses, varies)
        products = [x for x in together if x.factors]
        plain = [x for x in together if not x.factors] or [products.pop(0)]
        return _total(plain, products) if products else rebuild(e, args)

    return rewrite(roots, rule)


def _doubled(terms: list[_Term], uses: Counter, varies: Callable[[Expr], bool]) -> list[_Term]:
    """The terms, a product with a factor that the row has in common taken twice at once, where it is added twice and
    nowhere else: derivatives of squares are like that."""
    found: list[_Term] = []
    for x in terms:
        same = next((k for k, y in enumerate(found) if y.old is x.old and y.minus is x.minus and not y.factors), None)
        if same is None or x.value.op != "mul" or uses[x.old] != 2 or all(varies(a) for a in x.old.args):
            found.append(x)
            continue
        scale, other = x.value.args if varies(x.old.args[1]) else x.value.args[::-1]
        found[same] = replace(x, factors=(scale + scale, other))
    return found


def _total(plain: list[_Term], products: list[_Term]) -> Expr:
    """What is no product first."""
    total = -plain[0].value if plain[0].minus else plain[0].value
    for x in plain[1:]:
        total = total - x.value if x.minus else total + x.value
    for x in products:
        first, second = x.factors
        total = make("fma", total.dtype, (-first if x.minus else first, second, total))
    return total
