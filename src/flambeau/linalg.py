"""The functions that the table of operators places under `linalg`."""

from typing import Any

from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("linalg")[name]
    except KeyError:
        raise AttributeError(f"module 'flambeau.linalg' has no attribute '{name}'") from None


def __dir__() -> list[str]:
    return sorted(namespace("linalg"))
