"""Results that are yet to come: `Future`, `collect_all`, `wait_all`."""

from __future__ import annotations

import concurrent.futures
import traceback
import warnings
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from flambeau import _core

__all__ = ["Future", "collect_all", "wait_all"]

T = TypeVar("T")
S = TypeVar("S")


def _failed(error: Exception) -> str:
    said = "".join(traceback.format_exception_only(error)).strip()
    return f"Got the following error when running the callback: {said}"


class Future(Generic[T]):
    """A value that another thread, or a later call, sets.

    Args:
        devices: of the value's tensors; on a machine without GPUs the list is empty.

    Example:
        >>> from torch.futures import Future
        >>> future = Future()
        >>> doubled = future.then(lambda done: 2 * done.value())
        >>> future.set_result(21)
        >>> doubled.wait()
        42
    """

    def __init__(self, *, devices: list[Any] | None = None) -> None:
        for device in map(_core.device, devices or ()):
            if device.index is None:
                raise ValueError(f"Expected devices to have indices, got {device}")
            raise RuntimeError(f"PyTorch is not linked with support for {device.type} devices")
        self._held: concurrent.futures.Future = concurrent.futures.Future()

    def done(self) -> bool:
        """Whether there is a value or an error."""
        return self._held.done()

    def wait(self) -> T:
        """The value, once it is there; its error is raised."""
        return self._held.result()

    def value(self) -> T:
        """The value that is there; its error is raised."""
        if not self._held.done():
            raise RuntimeError("the future has no value yet. Use wait().")
        return self._held.result()

    def then(self, callback: Callable[[Future[T]], S]) -> Future[S]:
        """A future of what a function makes of this one, called as soon as it is done."""
        if not callable(callback):
            raise TypeError(f"then(): the callback must be callable, not {type(callback).__name__}")
        following: Future[S] = Future()

        def run(_: Any) -> None:
            try:
                result = callback(self)
            except Exception as error:
                problem = RuntimeError(_failed(error))
                problem.__cause__ = error
                following._held.set_exception(problem)
            else:
                following._held.set_result(result)

        self._held.add_done_callback(run)
        return following

    def add_done_callback(self, callback: Callable[[Future[T]], Any]) -> None:
        """Calls a function with this future as soon as it is done; its errors are shown and go no further."""

        def run(_: Any) -> None:
            try:
                callback(self)
            except Exception as error:
                warnings.warn(_failed(error), stacklevel=2)

        self._held.add_done_callback(run)

    def _check_open(self) -> None:
        if self._held.done():
            raise RuntimeError(
                "Attempting to mark a completed Future as complete again. "
                "Note that a Future can only be marked completed once."
            )

    def set_result(self, result: T) -> None:
        """Sets the value, once."""
        self._check_open()
        self._held.set_result(result)

    def set_exception(self, result: Exception) -> None:
        """Sets the error that waiting for the value raises."""
        if not isinstance(result, Exception):
            raise AssertionError(f"{result} is of type {type(result)}, not an Exception.")
        self._check_open()
        self._held.set_exception(result)


def collect_all(futures: list[Future]) -> Future[list[Future]]:
    """A future of the list itself, done when all in it are.

    Args:
        futures: what is waited for.

    Returns:
        A future; its error is the first one among them.

    Example:
        >>> from torch.futures import Future, collect_all
        >>> parts = [Future(), Future()]
        >>> together = collect_all(parts)
        >>> for number, part in enumerate(parts):
        ...     part.set_result(number)
        >>> [part.wait() for part in together.wait()]
        [0, 1]
    """
    for future in futures:
        if not isinstance(future, Future):
            raise TypeError(f"collect_all(): futures must be a list of Future, found {type(future).__name__}")
    together: Future[list[Future]] = Future()

    def finish(_: Any) -> None:
        if all(f.done() for f in futures) and not together.done():
            error = next((e for f in futures if (e := f._held.exception())), None)
            if error is None:
                together._held.set_result(list(futures))
            else:
                together._held.set_exception(error)

    for future in futures:
        future._held.add_done_callback(finish)
    if not futures:
        together._held.set_result([])
    return together


def wait_all(futures: list[Future]) -> list[Any]:
    """The values of all futures, once they are there; an error is raised."""
    return [future.wait() for future in collect_all(futures).wait()]
