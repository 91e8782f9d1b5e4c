"""Gradients: `backward`, `grad`, modes, functions with gradients of their own, checks by finite differences."""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd import anomaly_mode, function, functional, grad_mode, graph
from flambeau.autograd.anomaly_mode import detect_anomaly, set_detect_anomaly
from flambeau.autograd.differentiate import backward, grad
from flambeau.autograd.function import Function
from flambeau.autograd.grad_mode import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
    set_multithreading_enabled,
)
from flambeau.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from flambeau.autograd.handles import RemovableHandle
from flambeau.ops.names import operators as ops

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "anomaly_mode",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "grad_mode",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_detect_anomaly",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class _VariableMeta(type):
    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """What tensors with gradients once were. `Variable(tensor)` gives a tensor over the same elements."""

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = False, volatile: bool = False) -> Tensor:
        tensor = ops.empty(0) if data is None else data.detach()
        return tensor.requires_grad_(requires_grad and not volatile)


def _register_hook(self: Tensor, hook: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Calls `hook(grad)` each time the gradient of this tensor is computed; what it returns replaces the gradient.

    Returns:
        A handle whose `remove()` takes the hook away.
    """
    return graph.add_hook(_core.tensor_hook_dict(self), hook)


def _register_post_accumulate_grad_hook(self: Tensor, hook: Callable[[Tensor], None]) -> RemovableHandle:
    """Calls `hook(tensor)` each time a gradient has been added to the `.grad` of this leaf."""
    return graph.add_hook(_core.accumulated_hook_dict(self), hook)


_register_hook.__qualname__ = "Tensor.register_hook"
Tensor.register_hook = _register_hook
Tensor.register_post_accumulate_grad_hook = _register_post_accumulate_grad_hook
