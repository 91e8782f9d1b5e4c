"""Small helpers of the modules."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import repeat
from typing import Any


def ntuple(n: int, name: str) -> Any:
    """A function that makes a tuple of `n` out of one value, and leaves a sequence as it is."""

    def parse(value: Any) -> tuple[Any, ...]:
        return tuple(value) if isinstance(value, Iterable) else tuple(repeat(value, n))

    parse.__name__ = name
    return parse


_single = ntuple(1, "_single")
_pair = ntuple(2, "_pair")
_triple = ntuple(3, "_triple")
_quadruple = ntuple(4, "_quadruple")


def reversed_padding(values: Iterable[int]) -> list[int]:
    """Padding of (first, ..., last) dimension, once a side, in the order that `pad` takes: last dimension first."""
    return [value for value in reversed(tuple(values)) for _ in range(2)]
