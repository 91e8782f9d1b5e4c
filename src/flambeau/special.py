"""The functions that the table of operators places under `special`."""

from typing import Any

from flambeau._suggest import missing
from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("special")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted(namespace("special"))
