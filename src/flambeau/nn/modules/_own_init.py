"""Constructors that classes share, as their own: errors about arguments name the class, and not the shared base."""

from __future__ import annotations

from types import FunctionType
from typing import Any


def own_init(*classes: Any) -> None:
    """Gives each class a constructor of its own name that does what the inherited one does."""
    for cls in classes:
        shared = cls.__init__
        own = FunctionType(shared.__code__, shared.__globals__, "__init__", shared.__defaults__, shared.__closure__)
        own.__kwdefaults__, own.__annotations__ = shared.__kwdefaults__, shared.__annotations__
        own.__doc__, own.__module__ = shared.__doc__, cls.__module__
        own.__qualname__ = f"{cls.__qualname__}.__init__"
        cls.__init__ = own
