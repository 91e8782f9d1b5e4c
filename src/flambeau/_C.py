"""What libraries reach for in PyTorch's compiled core, where ours is `_core`."""

from types import SimpleNamespace
from typing import Any

from flambeau._core import Generator, Size, Tensor, device, dtype, layout, memory_format
from flambeau.ops.names import namespace as _namespace

__all__ = ["Generator", "Size", "Tensor", "TensorBase", "device", "dtype", "layout", "memory_format"]

TensorBase = _TensorBase = Tensor
_nn = SimpleNamespace(**_namespace("nn.functional"))
_VariableFunctions = SimpleNamespace(**_namespace())


def _log_api_usage_once(event: str) -> None:
    """Counts nothing: Flambeau tells nobody what is used."""


def _get_tracing_state() -> Any:
    """The trace that is being recorded: none ever is."""
    return None
