"""Compositions that modes (`autocast`, `overrides.TorchFunctionMode`) see as one call, and not as operators alone."""

import functools
from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o


def seen(function: Callable) -> Callable:
    """The function, about whose calls modes are asked first."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if o.has_torch_function(()):
            return o.handle_torch_function(call, (), *args, **kwargs)
        return function(*args, **kwargs)

    return call
