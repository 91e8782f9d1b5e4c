"""Modes: whether operations are recorded for gradients. Context managers, and decorators of functions."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from flambeau import _core
from flambeau._core import is_grad_enabled, is_inference_mode_enabled

__all__ = [
    "enable_grad",
    "inference_mode",
    "is_grad_enabled",
    "is_inference_mode_enabled",
    "no_grad",
    "set_grad_enabled",
    "set_multithreading_enabled",
]


class _Mode:
    """A context manager that can also be put in front of a function: each call runs inside a fresh one."""

    def clone(self) -> "_Mode":
        return type(self)()

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isclass(function):
            raise TypeError(f"cannot decorate the class {function.__name__}; decorate its methods")
        return decorated(function, self.clone)

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError


def decorated(function: Callable[..., Any], make: Callable[[], Any]) -> Callable[..., Any]:
    """`function` run inside `make()`. Of a generator function, every step of the generator."""
    if inspect.isgeneratorfunction(function):
        return _decorated_generator(function, make)

    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        with make():
            return function(*args, **kwargs)

    return inside


def _decorated_generator(function: Callable[..., Any], make: Callable[[], Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def inside(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)

        def step(advance: Callable[..., Any], *value: Any) -> Any:
            with make():
                return advance(*value)

        try:
            got = step(generator.send, None)
            while True:
                try:
                    request = yield got
                except GeneratorExit:
                    step(generator.close)
                    raise
                except BaseException as error:
                    got = step(generator.throw, error)
                else:
                    got = step(generator.send, request)
        except StopIteration as stop:
            return stop.value

    return inside


class _GradMode(_Mode):
    enabled: bool

    def __init__(self) -> None:
        self._before: list[bool] = []

    def __enter__(self) -> None:
        self._before.append(_core.set_grad_mode(self.enabled))

    def __exit__(self, *exc: object) -> None:
        _core.set_grad_mode(self._before.pop())


def _or_decorate(cls: type, function: Any) -> Any:
    """Both `@no_grad` and `@no_grad()`."""
    mode = object.__new__(cls)
    if function is None:
        return mode
    mode.__init__()
    return mode(function)


class no_grad(_GradMode):
    """Operations inside are not recorded; their results have `requires_grad=False`.

    Example:
        >>> x = torch.tensor([1.0], requires_grad=True)
        >>> with torch.no_grad():
        ...     y = x * 2
        >>> y.requires_grad
        False
    """

    enabled = False

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        return _or_decorate(cls, orig_func)


class enable_grad(_GradMode):
    """Operations inside are recorded, also where a surrounding `no_grad` says otherwise."""

    enabled = True

    def __new__(cls, orig_func: Callable[..., Any] | None = None) -> Any:
        return _or_decorate(cls, orig_func)


class set_grad_enabled(_Mode):
    """Sets whether operations are recorded: at once when called, and until the end of the block in a `with` statement.

    Args:
        mode: True to record.
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode
        self.prev = _core.set_grad_mode(mode)

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        _core.set_grad_mode(self.prev)
        return super().__call__(function)

    def __enter__(self) -> None:
        _core.set_grad_mode(self.mode)

    def __exit__(self, *exc: object) -> None:
        _core.set_grad_mode(self.prev)

    def clone(self) -> "set_grad_enabled":
        return type(self)(self.mode)

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"


class inference_mode(_Mode):
    """As `no_grad`, and results are inference tensors, which can never take part in gradients.

    Args:
        mode: False switches it off inside.
    """

    def __new__(cls, mode: Any = True) -> Any:
        self = object.__new__(cls)
        if isinstance(mode, bool):
            return self
        self.__init__(True)
        return self(mode)

    def __init__(self, mode: bool = True) -> None:
        self.mode = mode
        self._before: list[tuple[bool, bool]] = []

    def __enter__(self) -> None:
        self._before.append((_core.set_inference_mode(self.mode), _core.set_grad_mode(not self.mode)))

    def __exit__(self, *exc: object) -> None:
        inference, grad = self._before.pop()
        _core.set_inference_mode(inference)
        _core.set_grad_mode(grad)

    def clone(self) -> "inference_mode":
        return type(self)(self.mode)


class set_multithreading_enabled(_Mode):
    """Accepted for programs that ask for it: backward runs in the thread that calls it, and kernels use the pool."""

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        return None

    def clone(self) -> "set_multithreading_enabled":
        return type(self)(self.mode)


# Operators written in Python and modules find the modes where they find operators.
for _mode in (enable_grad, inference_mode, no_grad, set_grad_enabled):
    setattr(_core, _mode.__name__, _mode)
