"""Linear algebra: the functions that the table of operators places under `linalg`, and `LinAlgError`."""

from typing import Any

from flambeau._suggest import missing
from flambeau.ops.linalg.check import _LinAlgError as LinAlgError
from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("linalg")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted({*namespace("linalg"), "LinAlgError"})


__all__ = ["LinAlgError"]
