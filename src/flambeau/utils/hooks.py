"""Handles that take a hook away again."""

from flambeau.autograd.handles import RemovableHandle

__all__ = ["RemovableHandle"]
