"""Which way of computing attention is taken. There is one here, so that the choice is accepted and changes nothing."""

from __future__ import annotations

import enum
import importlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from flambeau._suggest import missing

__all__ = ["SDPBackend", "sdpa_kernel"]


def __getattr__(name: str) -> Any:
    if name != "flex_attention":
        raise missing(__name__, name)
    value = globals()[name] = importlib.import_module(f"{__name__}.{name}")
    return value


class SDPBackend(enum.Enum):
    """Ways of computing scaled_dot_product_attention."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(backends: SDPBackend | Sequence[SDPBackend], set_priority: bool = False) -> Iterator[None]:
    """Names the ways that attention may be computed in, for a `with` block.

    Args:
        backends: one of SDPBackend or a list of them.
        set_priority: whether their order is that in which they are tried.

    Example:
        >>> with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        ...     y = torch.nn.functional.scaled_dot_product_attention(*torch.ones(3, 1, 2, 4))
    """
    named = [backends] if isinstance(backends, SDPBackend) else backends
    if not isinstance(named, list | tuple) or not all(isinstance(b, SDPBackend) for b in named):
        raise AssertionError("Backend must be an instance of SDPBackend or a list of SDPBackend instances")
    yield
