"""Helpers: data loading, checkpointing, exchange of tensors, hooks. Each is imported when it is first asked for."""

import importlib
from typing import Any

from flambeau._suggest import missing

_SUBMODULES = ("checkpoint", "data", "dlpack", "hooks")


def __getattr__(name: str) -> Any:
    if name not in _SUBMODULES:
        raise missing(__name__, name)
    value = globals()[name] = importlib.import_module(f"{__name__}.{name}")
    return value
