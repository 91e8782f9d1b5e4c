"""Reductions of rows in one pass, from a first guess; where that was bad, in as many as the program is written in."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flambeau.ir.expr import Expr

Values = list[dict[Expr, str]]  # of each scope


def either(kernel: Any, wanted: list[Expr], fits: str, once: Callable[[], tuple[Values, str]]) -> None:
    """Says what the first two levels come to, as far as it is wanted: by `once`, which gives values and whether they
    are good, where that fits, or else level by level."""
    f, scopes = kernel.function, kernel.scopes()
    places = [{e: f.variable(scope.elements.type(e.dtype)) for e in wanted} for scope in scopes]
    done = f.variable("i1", "false")

    def keep(values: Values) -> None:
        for scope, known, place in zip(scopes, values, places, strict=True):
            for e, address in place.items():
                f.do(f"store {scope.elements.type(e.dtype)} {known[e]}, ptr {address}")

    with f.when(fits), _forgotten(scopes):
        values, good = once()
        keep(values)
        f.do(f"store i1 {good}, ptr {done}")
    with f.when(f.value(f"xor i1 {f.value(f'load i1, ptr {done}')}, true")), _forgotten(scopes):
        for level in (0, 1):
            kernel.reduce(level)
        for scope in scopes:
            scope.open()
        keep([{e: scope.scalar(e) for e in wanted} for scope in scopes])
    for scope, place in zip(scopes, places, strict=True):
        scope.open()
        for e, address in place.items():
            scope.define(e, f.value(f"load {scope.elements.type(e.dtype)}, ptr {address}"))


@contextmanager
def _forgotten(scopes: list) -> Iterator[None]:
    """What scopes know of within is forgotten afterwards."""
    with ExitStack() as stack:
        for scope in scopes:
            stack.enter_context(scope.elements.scope())
        yield
