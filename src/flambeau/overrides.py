"""Seeing and replacing calls: `__torch_function__` of objects, and modes that see every call of a block."""

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

from flambeau import _core
from flambeau._core import Tensor, has_torch_function
from flambeau.ops.names import namespace

__all__ = [
    "BaseTorchFunctionMode", "DisableTorchFunction", "DisableTorchFunctionSubclass", "TorchFunctionMode",
    "enable_reentrant_dispatch", "get_ignored_functions", "get_overridable_functions", "get_testing_overrides",
    "handle_torch_function", "has_torch_function", "has_torch_function_unary", "has_torch_function_variadic",
    "is_tensor_like", "is_tensor_method_or_property", "resolve_name", "wrap_torch_function",
]  # fmt: skip

# Where operators are reached, and the module that shows them.
_PLACES = {"": "torch", "nn.functional": "torch.nn.functional", "linalg": "torch.linalg", "special": "torch.special"}


# ---- modes


class TorchFunctionMode:
    """Sees every call of its `with` block: define `__torch_function__(self, func, types, args=(), kwargs=None)`.

    While it runs, the mode itself is not asked, so that it may call functions of tensors.

    Example:
        >>> class Log(torch.overrides.TorchFunctionMode):
        ...     def __torch_function__(self, func, types, args=(), kwargs=None):
        ...         print(torch.overrides.resolve_name(func))
        ...         return func(*args, **(kwargs or {}))
        >>> with Log():
        ...     x = torch.ones(2) + 1
        torch.ones
        torch.Tensor.add
    """

    def __torch_function__(self, func: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        raise NotImplementedError

    def __enter__(self) -> "TorchFunctionMode":
        _core.push_mode(self.__torch_function__)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        _core.pop_mode()


class BaseTorchFunctionMode(TorchFunctionMode):
    """A mode that runs every call as it is."""

    def __torch_function__(self, func: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
        return func(*args, **(kwargs or {}))


class _Off:
    """Switches interception off for a `with` block."""

    _switch: Callable[[int], int]

    def __enter__(self) -> None:
        type(self)._switch(1)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        type(self)._switch(-1)


class DisableTorchFunction(_Off):
    """No mode and no `__torch_function__` is asked in the block."""

    _switch = _core.switch_all


class DisableTorchFunctionSubclass(_Off):
    """No `__torch_function__` of subclasses is asked in the block; modes are."""

    _switch = _core.switch_subclasses


@contextmanager
def enable_reentrant_dispatch() -> Iterator[None]:
    """Modes that call functions from `__torch_function__` need no permission here; the block changes nothing."""
    yield


# ---- functions written in Python that can be replaced too


def handle_torch_function(
    public_api: Callable[..., Any], relevant_args: Iterable[Any], *args: Any, **kwargs: Any
) -> Any:
    """Gives a call of a Python function to the modes and to the arguments' `__torch_function__`.

    Args:
        public_api: the function.
        relevant_args: the arguments that may be asked.

    Raises:
        TypeError: all of them return NotImplemented.
    """
    return _core.handle_torch_function(public_api, relevant_args, *args, **kwargs)


def has_torch_function_unary(argument: Any) -> bool:
    """has_torch_function((argument,))"""
    return has_torch_function((argument,))


def has_torch_function_variadic(*arguments: Any) -> bool:
    """has_torch_function(arguments)"""
    return has_torch_function(arguments)


def wrap_torch_function(dispatcher: Callable[..., Iterable[Any]]) -> Callable[..., Any]:
    """Makes a Python function one that modes and `__torch_function__` can replace.

    Args:
        dispatcher: gives, of the same arguments, those that may be asked.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            relevant = tuple(dispatcher(*args, **kwargs))
            if has_torch_function(relevant):
                return handle_torch_function(inside, relevant, *args, **kwargs)
            return function(*args, **kwargs)

        return inside

    return decorate


# ---- what there is


def is_tensor_like(inp: Any) -> bool:
    """Whether an object is a tensor or has `__torch_function__`."""
    return isinstance(inp, Tensor) or hasattr(inp, "__torch_function__")


def is_tensor_method_or_property(func: Any) -> bool:
    """Whether a function that a mode saw belongs to the class Tensor."""
    return func in _names().tensor or getattr(func, "__name__", "") == "__get__"


def get_overridable_functions() -> dict[Any, list[Any]]:
    """The functions that modes and `__torch_function__` see, by where they are reached."""
    found: dict[Any, list[Any]] = {place: list(namespace(prefix).values()) for prefix, place in _PLACES.items()}
    found["torch.Tensor"] = list(_names().tensor)
    return found


def get_ignored_functions() -> set[Any]:
    """Public functions that are not seen: what makes tensors from other objects, modes and settings."""
    return {_core.from_numpy, _core.frombuffer, _core.set_default_dtype, _core.get_default_dtype, _core.get_num_threads}


def get_testing_overrides() -> dict[Any, Callable[..., Any]]:
    """For each function that is seen, one that takes any arguments and returns -1."""

    def answer(*args: Any, **kwargs: Any) -> int:
        return -1

    return {function: answer for group in get_overridable_functions().values() for function in group}


class _Names:
    """The public name of each function."""

    def __init__(self) -> None:
        # Of several names the first one defined counts: `mul_`, not `multiply_`.
        self.tensor = {
            value: f"torch.Tensor.{name}"
            for name, value in reversed(vars(Tensor).items())
            if callable(value) and getattr(value, "__hash__", None)
        }
        self.functions = {
            value: f"{place}.{name}"
            for prefix, place in reversed(_PLACES.items())
            for name, value in namespace(prefix).items()
        }


@functools.cache
def _names() -> _Names:
    return _Names()


def resolve_name(f: Any) -> str | None:
    """The public name of a function that a mode saw, such as `torch.Tensor.add`; None where it has none."""
    names = _names()
    return names.functions.get(f) or names.tensor.get(f)
