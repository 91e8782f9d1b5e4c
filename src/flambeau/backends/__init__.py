"""What computes. Each submodule says whether a library or device is used (`is_available()`), and keeps its settings."""

import importlib
from typing import Any

from flambeau._suggest import missing

_SUBMODULES = ("cpu", "cuda", "cudnn", "cusparselt", "mha", "mkl", "mkldnn", "mps", "openmp", "opt_einsum")

__all__ = list(_SUBMODULES)


def __getattr__(name: str) -> Any:
    if name not in _SUBMODULES:
        raise missing(__name__, name)
    value = globals()[name] = importlib.import_module(f"{__name__}.{name}")
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES})
