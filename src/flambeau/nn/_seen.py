"""Compositions that modes (`autocast`, `overrides.TorchFunctionMode`) see as one call, and not as operators alone."""

import functools
from collections.abc import Callable

from flambeau._core import SeenFunction


def seen(function: Callable) -> Callable:
    """The function, about whose calls modes are asked first."""
    return functools.update_wrapper(SeenFunction(function), function)
