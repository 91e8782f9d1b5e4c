"""Hooks of module calls: those for all modules, and the machinery of backward hooks."""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.utils.hooks import RemovableHandle

# Hooks that run for every module.
forward_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
forward_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
forward_hooks_with_kwargs: OrderedDict[int, bool] = OrderedDict()
forward_hooks_always_called: OrderedDict[int, bool] = OrderedDict()
backward_pre_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
backward_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
# Hooks that see what any module registers: hook(module, name, value) may return another value.
buffer_registration_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
module_registration_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()
parameter_registration_hooks: OrderedDict[int, Callable[..., Any]] = OrderedDict()

_full_backward: bool | None = None  # whether the global backward hooks are full ones; None: there are none


def _add(hooks: OrderedDict[int, Any], hook: Callable[..., Any]) -> RemovableHandle:
    handle = RemovableHandle(hooks)
    hooks[handle.id] = hook
    return handle


def register_module_forward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, args)` before every forward of every module."""
    return _add(forward_pre_hooks, hook)


def register_module_forward_hook(
    hook: Callable[..., Any], *, with_kwargs: bool = False, always_call: bool = False
) -> RemovableHandle:
    """Calls `hook(module, args, output)` after every forward of every module."""
    handle = RemovableHandle(forward_hooks, extra_dict=[forward_hooks_with_kwargs, forward_hooks_always_called])
    forward_hooks[handle.id] = hook
    if with_kwargs:
        forward_hooks_with_kwargs[handle.id] = True
    if always_call:
        forward_hooks_always_called[handle.id] = True
    return handle


def register_module_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, grad_input, grad_output)` with the gradients of the last operator of every module."""
    _set_full_backward(False)
    return _add(backward_hooks, hook)


def register_module_full_backward_pre_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, grad_output)` before the backward of every module."""
    return _add(backward_pre_hooks, hook)


def register_module_full_backward_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, grad_input, grad_output)` after the backward of every module."""
    _set_full_backward(True)
    return _add(backward_hooks, hook)


def register_module_buffer_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, name, buffer)` for every buffer that is registered; it may return another one."""
    return _add(buffer_registration_hooks, hook)


def register_module_module_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, name, child)` for every child that is registered; it may return another one."""
    return _add(module_registration_hooks, hook)


def register_module_parameter_registration_hook(hook: Callable[..., Any]) -> RemovableHandle:
    """Calls `hook(module, name, parameter)` for every parameter that is registered; it may return another one."""
    return _add(parameter_registration_hooks, hook)


def _set_full_backward(full: bool) -> None:
    global _full_backward
    if backward_hooks and _full_backward is not full:
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module hook. Please use only "
            "one of them."
        )
    _full_backward = full


def replaced(hooks: OrderedDict[int, Callable[..., Any]], module: Any, name: str, value: Any) -> Any:
    """What the registration hooks make of a value."""
    for hook in hooks.values():
        other = hook(module, name, value)
        if other is not None:
            value = other
    return value


def full_backward_hooks(module: Any) -> list[Callable[..., Any]]:
    """Hooks that see gradients of all inputs and outputs of a call."""
    hooks = list(backward_hooks.values()) if _full_backward is True else []
    return hooks + (list(module._backward_hooks.values()) if module._is_full_backward_hook is True else [])


def old_backward_hooks(module: Any) -> list[Callable[..., Any]]:
    """Hooks that see gradients of the call's last operator only."""
    hooks = list(backward_hooks.values()) if _full_backward is False else []
    return hooks + (list(module._backward_hooks.values()) if module._is_full_backward_hook is False else [])


def as_tuple(values: Any) -> tuple[Any, ...]:
    return values if isinstance(values, tuple) else (values,)


class _Watch(o.Function):
    """The identity; `seen(gradients)` may replace the gradients on their way back."""

    @staticmethod
    def forward(ctx: Any, seen: Callable[[tuple[Any, ...]], Any], *tensors: Any) -> tuple[Any, ...]:
        ctx.seen = seen
        ctx.mark_non_differentiable(*[t for t in tensors if not t.requires_grad])
        return tuple(t.view_as(t) for t in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple[Any, ...]:
        return (None, *ctx.seen(grads))


_NO_INPUTS = (
    "Full backward hook is firing when gradients are computed with respect to module outputs since no inputs require "
    "gradients. See https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module."
    "register_full_backward_hook for more details."
)


class BackwardWatch:
    """Runs the full backward hooks of one call of a module."""

    def __init__(self, module: Any, hooks: list[Callable[..., Any]], pre_hooks: list[Callable[..., Any]]) -> None:
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs: tuple[Any, ...] | None = None
        self.watches_inputs = False
        self.n_inputs = 0

    def inputs(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments, watched."""
        self.n_inputs = len(args)
        args, self.watches_inputs = self._watched(args, self._inputs_done)
        return args

    def outputs(self, result: Any) -> Any:
        """The result, watched."""
        if not isinstance(result, (o.Tensor, tuple)):
            warnings.warn(
                "For backward hooks to be called, module output should be a Tensor or a tuple of Tensors but received "
                f"{type(result)}",
                stacklevel=2,
            )
            return result
        watched, _ = self._watched(as_tuple(result), self._outputs_done)
        return watched if isinstance(result, tuple) else watched[0]

    def _watched(self, values: tuple[Any, ...], done: Callable[..., Any]) -> tuple[tuple[Any, ...], bool]:
        places = [i for i, v in enumerate(values) if isinstance(v, o.Tensor)]
        if not o.is_grad_enabled() or not any(values[i].requires_grad for i in places):
            return values, False

        def seen(grads: tuple[Any, ...]) -> tuple[Any, ...]:
            whole: list[Any] = [None] * len(values)
            for i, g in zip(places, grads, strict=True):
                whole[i] = g
            whole = done(tuple(whole))
            return tuple(whole[i] for i in places)

        result = list(values)
        for i, tensor in zip(places, as_tuple(_Watch.apply(seen, *[values[i] for i in places])), strict=True):
            result[i] = tensor
        return tuple(result), True

    def _outputs_done(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        for hook in self.pre_hooks:
            grads = _changed(hook(self.module, grads), grads, "Backward pre hook", "grad_output")
        self.grad_outputs = grads
        if not self.watches_inputs:  # no gradient will come to the inputs: this is the end of the call
            if self.hooks:
                warnings.warn(_NO_INPUTS, stacklevel=2)
            for hook in self.hooks:
                if hook(self.module, (None,) * self.n_inputs, grads) is not None:
                    raise RuntimeError(
                        "Backward hook for Modules where no input requires gradient should always return None or None "
                        "for all gradients."
                    )
        return grads

    def _inputs_done(self, grads: tuple[Any, ...]) -> tuple[Any, ...]:
        if self.grad_outputs is None:
            raise RuntimeError(f"Module backward hook for {type(self.module).__name__} saw no gradient of its output.")
        for hook in self.hooks:
            grads = _changed(hook(self.module, grads, self.grad_outputs), grads, "Backward hook", "grad_input")
        self.grad_outputs = None
        return grads


def _changed(answer: Any, grads: tuple[Any, ...], what: str, which: str) -> tuple[Any, ...]:
    if answer is None:
        return grads
    answer = as_tuple(answer)
    if len(answer) != len(grads):
        raise RuntimeError(
            f"{what} returned an invalid number of {which}, got {len(answer)}, but expected {len(grads)}"
        )
    return answer


def run_old_backward_hooks(hooks: list[Callable[..., Any]], module: Any, result: Any) -> None:
    """Hangs hooks of the old kind on the operator that made the result."""
    tensor = result
    while not isinstance(tensor, o.Tensor):
        tensor = next(v for v in tensor.values() if isinstance(v, o.Tensor)) if isinstance(tensor, dict) else tensor[0]
    if tensor.grad_fn is None:
        return
    for hook in hooks:
        tensor.grad_fn.register_hook(lambda gi, go, hook=hook: hook(module, gi, go))
