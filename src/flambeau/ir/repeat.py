"""Bounded repetition: what series and recurrences of special functions are written with.

A `repeat` node is one result of a loop: its arguments are the first state and, behind it, what the loop reads of its
surroundings; its attribute is `(steps, k)`. Steps are closed: they see nothing but `carry` leaves, one for each
argument. Nodes with the same arguments and steps are results of one loop, which is run once.
"""

from collections.abc import Callable

from .expr import Expr, node, walk
from .scalar import cast, lift, substitute


class Steps:
    """What a loop does: `go` decides over each element whether it takes another step, `next` is its state then.

    Attributes:
        go: a bool over carries.
        next: one expression for each carry that changes.
        limit: how many steps are taken at most.
    """

    __slots__ = ("go", "limit", "next")

    def __init__(self, go: Expr, next_: tuple[Expr, ...], limit: int):
        self.go, self.next, self.limit = go, next_, limit

    def _key(self) -> tuple[int, ...]:
        return (self.limit, id(self.go), *map(id, self.next))

    def __hash__(self) -> int:
        return hash(self._key())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Steps) and self._key() == other._key()


def carry(number: int, dtype: str) -> Expr:
    """What argument `number` of a loop has become."""
    return node("carry", dtype, (), number)


def repeat(step: Callable, *start: Expr, limit: int) -> tuple[Expr, ...]:
    """The state after steps: `go, *next = step(*state)`, from `start`, each element for as long as its `go` holds.

    Args:
        step: gives `go` and as many expressions (or numbers) as there are parts of the state.
        start: the first state.
        limit: the most steps that are taken.
    """
    tokens = [node("carry", s.dtype, (), (step, k)) for k, s in enumerate(start)]
    go, *following = step(*tokens)
    following = [cast(lift(n, s.dtype), s.dtype) for n, s in zip(following, start, strict=True)]
    read = _read_from_outside([go, *following], tokens)
    table = {e: carry(k, e.dtype) for k, e in enumerate([*tokens, *read])}
    go, *following = substitute([go, *following], table)
    return results((*start, *read), Steps(go, tuple(following), limit))


def results(args: tuple[Expr, ...], steps: Steps) -> tuple[Expr, ...]:
    """The nodes of one loop."""
    return tuple(node("repeat", n.dtype, args, (steps, k)) for k, n in enumerate(steps.next))


def _read_from_outside(roots: list[Expr], tokens: list[Expr]) -> list[Expr]:
    """The largest expressions that do not change from step to step."""
    changing = {id(t) for t in tokens}
    for e in walk(roots):
        if any(id(a) in changing for a in e.args):
            changing.add(id(e))
    found: dict[int, Expr] = {}
    for e in walk(roots):
        for a in e.args if id(e) in changing else ():
            if id(a) not in changing and a.op != "const":
                found[id(a)] = a
    for r in roots:
        if id(r) not in changing and r.op != "const":
            found[id(r)] = r
    return list(found.values())
