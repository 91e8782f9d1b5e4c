"""Flambeau: a deep-learning framework with PyTorch's interface and its own code generator."""

import importlib
from typing import Any

from flambeau import _core, _fork, autograd, ops
from flambeau import tensor as _tensor
from flambeau.ops.names import namespace
from flambeau.version import __version__

globals().update({n: getattr(_core, n) for n in dir(_core) if not n.startswith("_")})
globals().update(namespace())

_SUBMODULES = ("backends", "cuda", "linalg", "nn", "optim", "overrides", "random", "serialization", "special", "types", "utils", "version")
_ELSEWHERE = {
    "save": "serialization", "load": "serialization", "op": "ops",
    "finfo": "types", "iinfo": "types", "set_printoptions": "_printing",
    "manual_seed": "random", "initial_seed": "random", "seed": "random", "get_rng_state": "random",
    "set_rng_state": "random",
    "no_grad": "autograd.grad_mode", "enable_grad": "autograd.grad_mode", "inference_mode": "autograd.grad_mode",
    "set_grad_enabled": "autograd.grad_mode", "is_grad_enabled": "autograd.grad_mode",
    "is_inference_mode_enabled": "autograd.grad_mode",
}  # fmt: skip

__all__ = ["__version__", "autograd", "ops"]


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for."""
    if name in _ELSEWHERE:
        value = getattr(importlib.import_module(f"flambeau.{_ELSEWHERE[name]}"), name)
    elif name in _SUBMODULES:
        value = importlib.import_module(f"flambeau.{name}")
    elif name in namespace():  # an operator that was added later
        value = namespace()[name]
    else:
        raise AttributeError(f"module 'flambeau' has no attribute '{name}'")
    globals()[name] = value
    return value
