"""What a loop operator's plan returns: the program and what it runs on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

product = prod


@dataclass(slots=True)
class Launch:
    """One run of a loop program.

    Attributes:
        results: tensors the operator returns.
        buffers: contiguous tensors the program sees, outputs first.
        ints: run-time integers (`Builder.int`).
        iterations: of the outermost loop.
        work: elements that one iteration handles; decides how many go to a thread at a time.
        program: records the program.
        attrs: static attributes passed to `program`: part of the kernel's key.
        params: run-time numbers (`Builder.param`).
    """

    results: tuple
    buffers: tuple
    ints: Sequence[int]
    iterations: int
    work: int
    program: Callable
    attrs: tuple = ()
    params: tuple = ()


def dims_of(sizes: Sequence[int], dim: int) -> tuple[int, int, int]:
    """Sizes before, at and after a dimension."""
    return prod(sizes[:dim]), sizes[dim] if sizes else 1, prod(sizes[dim + 1 :])
