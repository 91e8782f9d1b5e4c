"""What libraries say to PyTorch's recorder of programs: nothing is recorded here, so there is nothing to heed."""

from types import SimpleNamespace as _SimpleNamespace
from typing import Any

from flambeau.compiler import (
    allow_in_graph,
    assume_constant_result,
    disable,
    is_compiling,
    list_backends,
    reset,
)

__all__ = [
    "allow_in_graph", "assume_constant_result", "config", "disable", "graph_break", "is_compiling", "list_backends",
    "mark_dynamic", "mark_static", "mark_static_address", "maybe_mark_dynamic", "reset",
]  # fmt: skip

config = _SimpleNamespace()  # takes any setting


def graph_break(msg: str = "") -> None:
    """Says where a recorded program may end."""


def mark_dynamic(t: Any, index: Any, **bounds: Any) -> None:
    """Says that a size will change."""


def mark_static(t: Any, index: Any = None) -> None:
    """Says that a size will not change."""


def mark_static_address(t: Any, guard: bool = True) -> None:
    """Says that a tensor will stay where it is."""


maybe_mark_dynamic = mark_dynamic
