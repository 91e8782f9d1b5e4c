"""One namespace of what modules, optimizers and datasets build on: the Tensor type, operators, dtypes, grad modes.

Names are looked up in the core when they are first used, and kept.
"""

from __future__ import annotations

from typing import Any

from flambeau import _core


def functional() -> dict[str, Any]:
    """The operators that the table places under `nn.functional`."""
    return dict(_core.functional_names())


def __getattr__(name: str) -> Any:
    value = getattr(_core, name)
    globals()[name] = value
    return value
