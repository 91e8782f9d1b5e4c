"""`compile` and what goes with it. Programs run operator by operator: there is nothing to leave out or to reset."""

from collections.abc import Callable
from typing import Any

from flambeau import _suggest

__all__ = [
    "allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
    "is_dynamo_compiling", "is_exporting", "list_backends", "reset",
]  # fmt: skip


def compile(
    model: Callable[..., Any] | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
    backend: str | Callable[..., Any] = "eager", mode: str | None = None,
    options: dict[str, Any] | None = None, disable: bool = False, **others: Any,
) -> Any:  # fmt: skip
    """Returns the model or function itself: it runs operator by operator, whose kernels are compiled already.

    Args:
        model: what to compile; left out where this is used as a decorator with arguments.
        fullgraph, dynamic, backend, mode, options, disable: taken so that programs run unchanged.
    """
    if mode is not None and options is not None:
        raise RuntimeError("Either mode or options can be specified, but both can't be specified at the same time.")
    if model is not None and not callable(model):
        raise AssertionError(f"A callable function is expected, but {type(model)} is provided.")
    return (lambda function: function) if model is None else model


def disable(fn: Callable[..., Any] | None = None, recursive: bool = True, **reasons: Any) -> Any:
    """Leaves a function out of compiling; returns it."""
    return (lambda function: function) if fn is None else fn


def allow_in_graph(fn: Any) -> Any:
    """Takes a function into compiled programs as it is; returns it."""
    return fn


def assume_constant_result(fn: Any) -> Any:
    """Says that a function always returns the same; returns it."""
    return fn


def cudagraph_mark_step_begin() -> None:
    """Says that a step of training begins."""


def reset() -> None:
    """Forgets what was compiled."""


def list_backends(exclude_tags: tuple[str, ...] = ()) -> list[str]:
    """What `backend=` may be."""
    return ["eager"]


def is_compiling() -> bool:
    """Whether a program is recorded: never."""
    return False


is_dynamo_compiling = is_exporting = is_compiling

__getattr__ = _suggest.suggesting(__name__)
