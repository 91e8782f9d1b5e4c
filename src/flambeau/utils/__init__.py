"""Helpers: data loading, checkpointing, hooks. Each is imported when it is first asked for."""

import importlib
from typing import Any

_SUBMODULES = ("checkpoint", "data", "hooks")


def __getattr__(name: str) -> Any:
    if name not in _SUBMODULES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    value = globals()[name] = importlib.import_module(f"{__name__}.{name}")
    return value
