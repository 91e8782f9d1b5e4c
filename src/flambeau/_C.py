"""What libraries reach for in PyTorch's compiled core, where ours is `_core`."""

from types import SimpleNamespace
from typing import Any

from flambeau import functional_ns as _o
from flambeau._core import Generator, Size, Tensor, device, dtype, layout, memory_format

__all__ = ["Generator", "Size", "Tensor", "TensorBase", "device", "dtype", "layout", "memory_format"]

TensorBase = _TensorBase = Tensor
_nn = SimpleNamespace(**_o.functional())
_VariableFunctions = SimpleNamespace(**_o.functions())


def _log_api_usage_once(event: str) -> None:
    """Counts nothing: Flambeau tells nobody what is used."""


def _get_tracing_state() -> Any:
    """The trace that is being recorded: none ever is."""
    return None
