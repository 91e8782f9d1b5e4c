"""What is said where there is no group of processes."""

from collections.abc import Callable
from typing import Any

_NO_GROUP = (
    "Default process group has not been initialized, please make sure to call init_process_group. "
    "[Flambeau runs in one process so far: distributed.is_available() is False]"
)


def no_group() -> ValueError:
    """The error of whatever needs a group."""
    return ValueError(_NO_GROUP)


def needs_a_group(name: str) -> Callable[..., Any]:
    """A function of this name that raises ValueError: there is no group of processes."""

    def call(*args: Any, **kwargs: Any) -> Any:
        raise no_group()

    call.__name__ = call.__qualname__ = name
    call.__doc__ = "Raises ValueError: there is no group of processes."
    return call
