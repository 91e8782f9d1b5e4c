"""`jit`: what PyTorch compiles as TorchScript runs here as the Python that it is.

Everything behaves as in PyTorch with the environment variable PYTORCH_JIT=0: `script` and `trace` give back what they
were given, which can be stepped through with a debugger. TorchScript archives are neither written nor read.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, Union, get_args, get_origin

from flambeau import _suggest
from flambeau.futures import Future
from flambeau.nn import Module

__all__ = [
    "Attribute", "Final", "Future", "ScriptFunction", "ScriptModule", "annotate", "enable_onednn_fusion", "export",
    "fork", "freeze", "ignore", "interface", "is_scripting", "is_tracing", "isinstance", "load",
    "onednn_fusion_enabled", "optimize_for_inference", "optimized_execution", "run_frozen_optimizations", "save",
    "script", "script_if_tracing", "script_method", "set_fusion_strategy", "strict_fusion", "trace", "trace_module",
    "unused", "wait",
]  # fmt: skip

_is = isinstance


class ScriptModule(Module):
    """A `Module`; the name of what `script` gives in PyTorch."""

    def __init__(self, arg: Any = None) -> None:
        super().__init__()


class ScriptFunction:
    """What `script` gives for a function in PyTorch; here nothing is one."""


class Attribute:
    """A value with the type that it is meant to have: the value itself.

    Args:
        value: of an attribute.
        type: not looked at.
    """

    def __new__(cls, value: Any, type: Any) -> Any:
        return value


def script(
    obj: Any, optimize: Any = None, _frames_up: int = 0, _rcb: Any = None, example_inputs: Any = None
) -> Any:
    """Returns the function, module or class itself.

    Args:
        obj: what PyTorch would compile.
        optimize, example_inputs: taken so that programs run unchanged.

    Example:
        >>> import torch
        >>> @torch.jit.script
        ... def double(x):
        ...     return 2 * x
        >>> double(torch.ones(2))
        tensor([2., 2.])
    """
    return obj


def trace(func: Any, example_inputs: Any = None, *args: Any, **options: Any) -> Any:
    """Returns the function or module itself: nothing is recorded, and what depends on values goes on doing so.

    Args:
        func: what PyTorch would trace.
        example_inputs, options: taken so that programs run unchanged.
    """
    return func


def trace_module(mod: Any, inputs: Any, *args: Any, **options: Any) -> Any:
    """Returns the module itself, as `trace` does."""
    return mod


def script_method(fn: Any) -> Any:
    """Returns the method itself."""
    return fn


def script_if_tracing(fn: Any) -> Any:
    """Returns the function itself."""
    return fn


def export(fn: Any) -> Any:
    """Returns the method itself; PyTorch compiles it besides `forward`."""
    return fn


def interface(obj: Any) -> Any:
    """Returns the class itself."""
    return obj


def unused(fn: Any) -> Any:
    """Returns the method itself, which PyTorch leaves out."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """Returns the function itself, which PyTorch leaves to Python. Used with or without arguments.

    Args:
        drop: the function, or whether it is left out.
    """
    return drop if callable(drop) else lambda fn: fn


def annotate(the_type: Any, the_value: Any) -> Any:
    """Returns the value.

    Args:
        the_type: not looked at.
        the_value: an expression.
    """
    return the_value


def isinstance(obj: Any, target_type: Any) -> bool:
    """Whether a value has a type, which may say what it holds: `List[int]`, `Dict[str, Tensor]`, `Optional[int]`.

    Args:
        obj: the value.
        target_type: a type, or a tuple of them.

    Example:
        >>> import torch
        >>> torch.jit.isinstance([1, 2], list[int]), torch.jit.isinstance([1, "b"], list[int])
        (True, False)
    """
    if _is(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, inside = get_origin(target_type), get_args(target_type)
    if origin in (Union, types.UnionType):
        return any(isinstance(obj, t) for t in inside)
    if origin is None:
        return _is(obj, type(None) if target_type is None else target_type)
    if not _is(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, inside[0]) and isinstance(v, inside[1]) for k, v in obj.items())
    if origin is tuple and inside[-1:] != (...,):
        return len(obj) == len(inside) and all(map(isinstance, obj, inside))
    return all(isinstance(x, inside[0]) for x in obj)


def is_scripting() -> bool:
    """Whether this runs as TorchScript: never."""
    return False


def is_tracing() -> bool:
    """Whether a trace is recorded: never."""
    return False


def fork(func: Callable[..., Any], *args: Any, **kwargs: Any) -> Future:
    """Calls the function, whose operators use all threads as it is; returns a future that has its result.

    Args:
        func: a function, method or module.
        args, kwargs: its arguments.
    """
    future: Future = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Future) -> Any:
    """The result of `fork`."""
    return future.wait()


def freeze(mod: Any, preserved_attrs: Any = None, optimize_numerics: bool = True) -> Any:
    """Returns the module, which has to be in eval mode.

    Raises:
        RuntimeError: the module is in training mode.
    """
    if mod.training:
        raise RuntimeError(
            "Freezing is currently only implemented for modules in eval mode. Please call .eval() on your module "
            "before freezing."
        )
    return mod


def optimize_for_inference(mod: Any, other_methods: Any = None) -> Any:
    """Returns the module."""
    return mod


def run_frozen_optimizations(mod: Any, optimize_numerics: bool = True, preserved_methods: Any = None) -> None:
    """Has nothing to do."""


def set_fusion_strategy(strategy: Any) -> list:
    """Returns the strategy that was set before: none."""
    return []


def enable_onednn_fusion(enabled: bool) -> None:
    """Has nothing to switch."""


def onednn_fusion_enabled() -> bool:
    """Whether TorchScript fuses by oneDNN: no."""
    return False


@contextmanager
def optimized_execution(should_optimize: bool) -> Iterator[None]:
    """Changes nothing inside a `with` block."""
    yield


class strict_fusion:
    """A `with` block in which PyTorch wants everything fused; here it changes nothing."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: Any) -> None:
        pass


def save(m: Any, f: Any, _extra_files: Any = None) -> None:
    """Raises: TorchScript archives hold programs, which no file of ours does.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "TorchScript archives are not written [in jit.save]. Save the weights: torch.save(m.state_dict(), f)."
    )


def load(f: Any, map_location: Any = None, _extra_files: Any = None, _restore_shapes: bool = False) -> Any:
    """Raises: TorchScript archives hold programs, which nothing here runs.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        "TorchScript archives are not read [in jit.load]. Load it in PyTorch and save its state_dict() there."
    )


__getattr__ = _suggest.suggesting(__name__)
