"""The functions that the table of operators places under `fft`."""

from typing import Any

from flambeau._suggest import missing
from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("fft")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted(namespace("fft"))
