"""What `__torch_function__` of a subclass sees beyond operators: properties, `item`, `detach`, `len`, and the like.

The Tensor type stays as it is, so that plain tensors pay nothing: a subclass whose `__torch_function__` is asked gets
descriptors of its own that ask it.
"""

import functools
import types
from typing import Any

from flambeau import _core
from flambeau._core import Tensor

__all__ = ["let_subclasses_see"]

_SPECIAL = (
    "__len__", "__bool__", "__float__", "__int__", "__index__", "__contains__", "__array__", "__format__", "__repr__",
    "_base", "_version",
)  # fmt: skip
_NEVER = ("as_subclass",)
_METHODS = (types.MethodDescriptorType, types.WrapperDescriptorType, types.FunctionType)


class _Attribute:
    """A property of tensors that `__torch_function__` sees as `Tensor.<name>.__get__` and `__set__`."""

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self.__doc__ = raw.__doc__

    def __get__(self, tensor: Any, owner: Any = None) -> Any:
        if tensor is None:
            return self.raw
        if not _core.has_torch_function((tensor,)):
            return self.raw.__get__(tensor, owner)
        return _core.handle_torch_function(self.raw.__get__, (tensor,), tensor)

    def __set__(self, tensor: Any, value: Any) -> None:
        if not _core.has_torch_function((tensor,)):
            return self.raw.__set__(tensor, value)
        return _core.handle_torch_function(self.raw.__set__, (tensor,), tensor, value)


def _method(raw: Any) -> Any:
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not _core.has_torch_function((self,)):
            return raw(self, *args, **kwargs)
        return _core.handle_torch_function(raw, (self,), self, *args, **kwargs)

    return functools.wraps(raw)(call)


@functools.cache
def _seen() -> dict[str, Any]:
    """What a subclass is given, by name; operators ask `__torch_function__` themselves."""
    found = {}
    for name, raw in vars(Tensor).items():
        if (name.startswith("_") and name not in _SPECIAL) or name in _NEVER:
            continue
        if isinstance(raw, types.GetSetDescriptorType | property):
            found[name] = _Attribute(raw)
        elif isinstance(raw, _METHODS):
            found[name] = _method(raw)
    return found


def let_subclasses_see(cls: type) -> None:
    """Gives a new subclass what asks its `__torch_function__`, except where it, or a base, has something of its own.

    A class with `_asks_nobody = True` reads itself as tensors do.
    """
    function = getattr(cls.__torch_function__, "__func__", cls.__torch_function__)  # type: ignore[attr-defined]
    if getattr(cls, "_asks_nobody", False) or function is _core._disabled_torch_function_impl:
        return
    above = [c for c in cls.__mro__ if c is not Tensor and c is not object]
    for name, descriptor in _seen().items():
        if not any(name in vars(c) for c in above):
            setattr(cls, name, descriptor)
