"""Tensors that a module owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations as _annotations

from collections import OrderedDict
from typing import Any

from flambeau import functional_ns as _o

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]

_Tensor = _o.Tensor


class _ParameterMeta(type(_Tensor)):  # type: ignore[misc]
    """`isinstance(x, Parameter)` also holds for tensors of other classes that carry `_is_param`."""

    def __instancecheck__(self, instance: Any) -> bool:
        if super().__instancecheck__(instance):
            return True
        return self is Parameter and isinstance(instance, _Tensor) and getattr(instance, "_is_param", False)


class Parameter(_Tensor, metaclass=_ParameterMeta):
    """A tensor that a module registers as its parameter when it is assigned as an attribute.

    Args:
        data: the values; an empty tensor where it is left out.
        requires_grad: whether training changes it.

    Example:
        >>> weight = nn.Parameter(torch.zeros(3, 4))
    """

    __torch_function__ = _o._disabled_torch_function_impl

    def __new__(cls, data: _Tensor | None = None, requires_grad: bool = True) -> Parameter:
        if data is None:
            data = _o.empty(0)
        if type(data) is _Tensor or type(data) is Parameter:
            return _Tensor._make_subclass(cls, data, requires_grad)
        # A subclass of Tensor keeps its class and is marked as a parameter.
        marked = data.detach().requires_grad_(requires_grad)
        if type(marked) is not type(data):
            raise RuntimeError(
                f"Creating a Parameter from an instance of type {type(data).__name__} requires that detach() returns "
                f"an instance of the same type, but return type {type(marked).__name__} was found instead. To use the "
                "type as a Parameter, please correct the detach() semantics defined by its __torch_dispatch__() "
                "implementation."
            )
        marked._is_param = True
        return marked

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        if id(self) in memo:
            return memo[id(self)]
        copied = type(self)(self.data.clone(memory_format=_o.preserve_format), self.requires_grad)
        memo[id(self)] = copied
        return copied

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __reduce_ex__(self, proto: Any) -> tuple[Any, tuple[Any, ...]]:
        return _rebuild_parameter, (self.data, self.requires_grad, OrderedDict())


def _rebuild_parameter(data: _Tensor, requires_grad: bool, backward_hooks: Any) -> Parameter:
    parameter = Parameter(data, requires_grad)
    parameter._backward_hooks = backward_hooks
    return parameter


class _BufferMeta(type(_Tensor)):  # type: ignore[misc]
    """`isinstance(x, Buffer)` holds for tensors that carry `_is_buffer`."""

    def __instancecheck__(self, instance: Any) -> bool:
        if self is Buffer:
            return isinstance(instance, _Tensor) and getattr(instance, "_is_buffer", False)
        return super().__instancecheck__(instance)


class Buffer(_Tensor, metaclass=_BufferMeta):
    """A tensor that a module registers as its buffer when it is assigned as an attribute.

    Args:
        data: the values; an empty tensor where it is left out.
        persistent: whether it is part of the module's `state_dict`.
    """

    def __new__(cls, data: _Tensor | None = None, *, persistent: bool = True) -> _Tensor:
        buffer = (_o.empty(0) if data is None else data).detach()
        buffer.requires_grad_(data is not None and data.requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer

    __torch_function__ = _o._disabled_torch_function_impl


class _Uninitialized:
    """A tensor whose shape is not known yet; only placement and dtype can be asked of it."""

    _ALLOWED = frozenset({
        "__class__", "__deepcopy__", "__dict__", "__hash__", "__reduce_ex__", "__repr__", "__setstate__", "_is_param",
        "_is_buffer", "cls_to_become", "copy_", "cpu", "cuda", "data", "detach", "device", "double", "dtype", "float",
        "grad", "grad_fn", "half", "bfloat16", "int", "is_cuda", "is_leaf", "is_meta", "is_floating_point",
        "is_complex", "long", "materialize", "persistent", "requires_grad", "requires_grad_", "share_memory_", "short",
        "to", "type",
    })  # fmt: skip

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Gives the tensor its shape, and memory for it (not initialised); it becomes an ordinary one."""
        device = self.data.device if device is None else device
        dtype = self.data.dtype if dtype is None else dtype
        self.data = _o.empty(shape, device=device, dtype=dtype)
        self.__class__ = self.cls_to_become

    @property
    def shape(self) -> Any:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in "
            "`load_state_dict` when trying to load an uninitialized parameter into an initialized one. Call `forward` "
            "to initialize the parameters before accessing their attributes."
        )

    def share_memory_(self) -> Any:
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to initialize the parameters "
            "before calling `module.share_memory()`."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def __reduce_ex__(self, proto: Any) -> tuple[Any, tuple[Any, ...]]:
        return type(self), (self.requires_grad,)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        name = getattr(func.__self__, "__name__", "") if name in ("__get__", "__set__") else name
        if name in cls._ALLOWED:
            _o.switch_subclasses(1)
            try:
                return func(*args, **(kwargs or {}))
            finally:
                _o.switch_subclasses(-1)
        raise ValueError(
            f"Attempted to use an uninitialized parameter in {func}. This error happens when you are using a "
            f"`LazyModule` or explicitly manipulating `torch.nn.parameter.{cls.__name__}` objects. When using "
            "LazyModules Call `forward` with a dummy batch to initialize the parameters before calling torch functions"
        )


class UninitializedParameter(_Uninitialized, Parameter):
    """A parameter whose shape the first call of a lazy module decides."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> UninitializedParameter:
        return _Tensor._make_subclass(cls, _o.empty(0, device=device, dtype=dtype), requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        if id(self) not in memo:
            memo[id(self)] = type(self)(self.requires_grad, self.data.device, self.data.dtype)
        return memo[id(self)]


class UninitializedBuffer(_Uninitialized, _Tensor):
    """A buffer whose shape the first call of a lazy module decides."""

    cls_to_become = _Tensor

    def __new__(
        cls, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True
    ) -> UninitializedBuffer:
        buffer = _Tensor._make_subclass(cls, _o.empty(0, device=device, dtype=dtype), requires_grad)
        buffer.persistent = persistent
        buffer._is_buffer = True
        return buffer


def is_lazy(tensor: Any) -> bool:
    """Whether a parameter or buffer waits for its shape."""
    return isinstance(tensor, _Uninitialized)
