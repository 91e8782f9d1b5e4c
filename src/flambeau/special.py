"""The functions that the table of operators places under `special`."""

from typing import Any

from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("special")[name]
    except KeyError:
        raise AttributeError(f"module 'flambeau.special' has no attribute '{name}'") from None


def __dir__() -> list[str]:
    return sorted(namespace("special"))
