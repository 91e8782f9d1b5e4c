"""Names that do not exist are answered with the closest that does."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["missing", "suggesting"]


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have."""
    text = f"module '{module}' has no attribute '{name}'"
    if name.startswith("__") and name.endswith("__"):
        return AttributeError(text)  # asked by machinery, not by people
    from difflib import get_close_matches

    close = get_close_matches(name, [known for known in dir(sys.modules[module]) if known != name], 1, 0.6)
    return AttributeError(f"{text}. Did you mean: '{close[0]}'?" if close else text)


def suggesting(module: str) -> Callable[[str], Any]:
    """A `__getattr__` for a module that has nothing more than its names."""

    def __getattr__(name: str) -> NoReturn:
        raise missing(module, name)

    return __getattr__
