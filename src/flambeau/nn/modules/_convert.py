"""Moving a module to another dtype, device or memory format."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Self

from flambeau import functional_ns as o
from flambeau.nn.parameter import Parameter, is_lazy


def parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool, Any]:
    """Device, dtype, non_blocking and memory format out of the arguments of `to`, in any of its forms."""
    rest = list(args)
    device = kwargs.pop("device", None)
    dtype = kwargs.pop("dtype", None)
    memory_format = kwargs.pop("memory_format", None)
    other = kwargs.pop("tensor", None)
    if rest and isinstance(rest[0], o.Tensor):
        other = rest.pop(0)
    elif rest and isinstance(rest[0], (str, int, o.device)) and not isinstance(rest[0], bool):
        device = rest.pop(0)
    elif len(rest) > 1 and rest[0] is None:
        rest.pop(0)
    if rest and isinstance(rest[0], o.dtype):
        dtype = rest.pop(0)
    if other is not None:
        device, dtype = other.device, other.dtype
    non_blocking = kwargs.pop("non_blocking", rest.pop(0) if rest else False)
    kwargs.pop("copy", None)
    if len(rest) > 1 or kwargs or not isinstance(non_blocking, (bool, int)):
        received = [type(a).__name__ for a in args] + [f"{k}={type(v).__name__}" for k, v in kwargs.items()]
        raise TypeError(
            f"to() received an invalid combination of arguments - got ({', '.join(received)}), but expected one of: "
            "(torch.device device, torch.dtype dtype, bool non_blocking), (torch.dtype dtype, bool non_blocking), "
            "(Tensor tensor, bool non_blocking)"
        )
    return o.device(device) if device is not None else None, dtype, bool(non_blocking), memory_format


class Conversion:
    """`to` and its relatives; each changes the module itself and returns it."""

    def _apply(self, fn: Callable[[Any], Any], recurse: bool = True) -> Self:
        """Replaces every parameter, gradient and buffer by what `fn` makes of it."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        for name, parameter in self._parameters.items():
            if parameter is not None:
                self._parameters[name] = _converted(parameter, fn)
        for name, buffer in self._buffers.items():
            if buffer is not None:
                self._buffers[name] = fn(buffer)
        return self

    def apply(self, fn: Callable[[Any], None]) -> Self:
        """Calls `fn` with every child, then with the module itself. Used to initialise weights."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Moves and casts parameters and buffers, in place. Only floating point and complex ones are cast.

        Forms: `to(device=None, dtype=None, non_blocking=False)`, `to(dtype, non_blocking=False)`,
        `to(tensor, non_blocking=False)`, `to(memory_format=...)`.
        """
        device, dtype, non_blocking, memory_format = parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )
        if dtype is not None and dtype.is_complex:
            warnings.warn(
                "Complex modules are a new feature under active development whose design may change, and some modules "
                "might not work as expected when using complex tensors as parameters or buffers.",
                stacklevel=2,
            )

        def convert(t: Any) -> Any:
            target = dtype if t.is_floating_point() or t.is_complex() else None
            if memory_format is not None and not is_lazy(t) and t.dim() in (4, 5):
                return t.to(device, target, non_blocking, memory_format=memory_format)
            if t.is_meta and device is not None and device.type != "meta":
                raise NotImplementedError(
                    "Cannot copy out of meta tensor; no data! Please use torch.nn.Module.to_empty() instead of "
                    "torch.nn.Module.to() when moving module from meta to a different device."
                )
            return t.to(device, target, non_blocking)

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Self:
        """Moves parameters and buffers to a device without copying their values."""
        return self._apply(lambda t: o.empty_like(t, device=device), recurse=recurse)

    def cpu(self) -> Self:
        """Moves parameters and buffers to the CPU."""
        return self._apply(lambda t: t.cpu())

    def cuda(self, device: Any = None) -> Self:
        """Moves parameters and buffers to a GPU."""
        return self._apply(lambda t: t.cuda(device))

    def type(self, dst_type: Any) -> Self:
        """Casts all parameters and buffers to a dtype."""
        return self._apply(lambda t: t.type(dst_type))

    def float(self) -> Self:
        """Casts floating point parameters and buffers to float32."""
        return self._apply(lambda t: t.float() if t.is_floating_point() else t)

    def double(self) -> Self:
        """Casts floating point parameters and buffers to float64."""
        return self._apply(lambda t: t.double() if t.is_floating_point() else t)

    def half(self) -> Self:
        """Casts floating point parameters and buffers to float16."""
        return self._apply(lambda t: t.half() if t.is_floating_point() else t)

    def bfloat16(self) -> Self:
        """Casts floating point parameters and buffers to bfloat16."""
        return self._apply(lambda t: t.bfloat16() if t.is_floating_point() else t)

    def share_memory(self) -> Self:
        """Moves parameters and buffers into memory that other processes can map."""
        return self._apply(lambda t: t.share_memory_())


def _converted(parameter: Any, fn: Callable[[Any], Any]) -> Any:
    """The parameter with other data; the same object unless it leaves or enters the meta device."""
    with o.no_grad():
        data = fn(parameter)
    grad = parameter.grad
    if is_lazy(parameter) or parameter.is_meta == data.is_meta:
        parameter.data = data
        result = parameter
    else:
        result = Parameter(data, parameter.requires_grad)
    if grad is not None:
        with o.no_grad():
            result.grad = fn(grad).requires_grad_(grad.requires_grad)
    return result
