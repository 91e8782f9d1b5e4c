"""Names that do not exist are answered with the closest that does."""

import sys
from collections.abc import Callable
from typing import Any, NoReturn

__all__ = ["missing", "suggesting"]


class _Missing(AttributeError):
    """Looks for the closest name when it is read: `hasattr` and `getattr` with a default never do."""

    def __init__(self, module: str, name: str):
        super().__init__(f"module '{module}' has no attribute '{name}'")
        self._asked = module, name

    def __str__(self) -> str:
        from difflib import get_close_matches

        module, name = self._asked
        close = get_close_matches(name, [known for known in dir(sys.modules[module]) if known != name], 1, 0.6)
        return f"{self.args[0]}. Did you mean: '{close[0]}'?" if close else str(self.args[0])

    def __reduce__(self) -> tuple[type[AttributeError], tuple[str]]:
        return AttributeError, (str(self),)


_Missing.__name__ = _Missing.__qualname__ = "AttributeError"
_Missing.__module__ = "builtins"  # what tracebacks show


def missing(module: str, name: str) -> AttributeError:
    """The error for a name that a module does not have."""
    if name.startswith("__") and name.endswith("__"):
        return AttributeError(f"module '{module}' has no attribute '{name}'")  # asked by machinery, not by people
    return _Missing(module, name)


def suggesting(module: str) -> Callable[[str], Any]:
    """A `__getattr__` for a module that has nothing more than its names."""

    def __getattr__(name: str) -> NoReturn:
        raise missing(module, name)

    return __getattr__
