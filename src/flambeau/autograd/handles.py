"""Handles that take a hook away again."""

from __future__ import annotations

import itertools
import weakref
from collections import OrderedDict
from collections.abc import MutableMapping
from typing import Any

__all__ = ["RemovableHandle"]


class RemovableHandle:
    """What registering a hook returns; `remove()` takes the hook away, and a `with` block does so at its end.

    Args:
        hooks: the dictionary that holds the hooks, keyed by the handle's `id`.
        extra_dict: one dictionary, or a list of them, that hold facts about the hook under the same key.
    """

    _ids = itertools.count()

    def __init__(self, hooks: MutableMapping[int, Any], *, extra_dict: Any = None) -> None:
        self.id = next(RemovableHandle._ids)
        self.hooks_dict_ref = weakref.ref(hooks)
        extra = extra_dict if isinstance(extra_dict, list) else [extra_dict] if extra_dict is not None else []
        self.extra_dict_ref = tuple(weakref.ref(d) for d in extra)

    def remove(self) -> None:
        """Takes the hook away; a second call does nothing."""
        for ref in (self.hooks_dict_ref, *self.extra_dict_ref):
            hooks = ref()
            if hooks is not None:
                hooks.pop(self.id, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()

    def __getstate__(self) -> tuple[Any, int, tuple[Any, ...]]:
        return self.hooks_dict_ref(), self.id, tuple(ref() for ref in self.extra_dict_ref)

    def __setstate__(self, state: tuple[Any, int, tuple[Any, ...]]) -> None:
        hooks, self.id, extra = state
        # A copied handle whose hooks are gone refers to nothing.
        self.hooks_dict_ref = weakref.ref(hooks if hooks is not None else OrderedDict())
        self.extra_dict_ref = tuple(weakref.ref(d if d is not None else OrderedDict()) for d in extra)
