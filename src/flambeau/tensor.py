"""What users see on Tensor beyond operators: Python's operators, copies, pickling, conversion, `__torch_function__`."""

import functools
import math
import types
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import flambeau.ops  # noqa: F401  fills the table
from flambeau import _core, storage
from flambeau._core import Size, Tensor, UntypedStorage, device, dtype
from flambeau._printing import tensor_repr
from flambeau._subclasses import let_subclasses_see
from flambeau.ops.names import function, namespace
from flambeau.storage import TypedStorage, warn_deprecated

__all__ = ["Tensor", "functions"]

# Attributes that belong to this process and are neither copied nor pickled.
_PRIVATE = ("_backward_hooks", "_post_accumulate_grad_hooks")


# ---- copies and pickling


def _plainly(method: Any) -> Any:
    """A method that reads subclasses as tensors."""

    @functools.wraps(method)
    def call(self: Tensor, *args: Any) -> Any:
        _core.switch_subclasses(1)
        try:
            return method(self, *args)
        finally:
            _core.switch_subclasses(-1)

    return call


def _state(tensor: Tensor) -> dict[str, Any]:
    own = getattr(tensor, "__dict__", None) or {}
    return {name: value for name, value in own.items() if name not in _PRIVATE}


def _rebuild(
    cls: type, storage: UntypedStorage, kind: dtype, offset: int, size: tuple, stride: tuple, requires_grad: bool,
    state: dict[str, Any],
) -> Tensor:  # fmt: skip
    """Makes the tensor that was pickled."""
    tensor = _core.tensor([], dtype=kind).set_(storage, offset, size, stride)
    if cls is not Tensor:
        tensor = Tensor._make_subclass(cls, tensor)
    tensor.__dict__.update(state)
    return tensor.requires_grad_(requires_grad)


def _rebuild_meta(cls: type, kind: dtype, size: tuple, stride: tuple, requires_grad: bool) -> Tensor:
    tensor = function("empty_strided")(size, stride, dtype=kind, device="meta")
    return Tensor._make_subclass(cls, tensor, requires_grad)


@_plainly
def _reduce_ex(self: Tensor, protocol: int) -> tuple:
    if self.is_meta:
        return _rebuild_meta, (type(self), self.dtype, tuple(self.shape), self.stride(), self.requires_grad)
    data = self.detach()
    place = (data.untyped_storage(), self.dtype, data.storage_offset(), tuple(data.shape), data.stride())
    return _rebuild, (type(self), *place, self.requires_grad, _state(self))


@_plainly
def _deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy protocol at the moment.  "
            "If you were attempting to deepcopy a module, this may be because of a torch.nn.utils.weight_norm usage, "
            "see https://github.com/pytorch/pytorch/pull/103001"
        )
    if id(self) in memo:
        return memo[id(self)]
    data = self.detach()
    if self.is_meta:
        result = function("empty_strided")(data.size(), data.stride(), dtype=data.dtype, device="meta")
    else:
        result = _core.tensor([], dtype=self.dtype).set_(
            _copied_storage(data.untyped_storage(), memo), data.storage_offset(), data.shape, data.stride()
        )
    if type(self) is not Tensor:
        result = Tensor._make_subclass(type(self), result)
    memo[id(self)] = result
    result.requires_grad_(self.requires_grad)
    if self.grad is not None:
        result.grad = _deepcopy(self.grad, memo)
    for name, value in _state(self).items():
        result.__dict__[name] = deepcopy(value, memo)
    return result


def _copied_storage(storage: UntypedStorage, memo: dict[int, Any]) -> UntypedStorage:
    """Tensors that shared memory share it in the copy too."""
    key = ("storage", storage._cdata)
    if key not in memo:
        memo[key] = storage.clone()  # type: ignore[index]
    return memo[key]  # type: ignore[index]


def _reduce_storage(self: UntypedStorage, protocol: int) -> tuple:
    return UntypedStorage, (bytes(memoryview(self)),)


# ---- conversion


def _type_name(kind: dtype, place: device) -> str:
    return f"torch{'.cuda' * (place.type == 'cuda')}.{kind.title}Tensor"


def _type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The type's name, or the tensor in another dtype (a dtype or such a name)."""
    if dtype is None:
        return _type_name(self.dtype, self.device)
    if isinstance(dtype, str):
        kinds = {_type_name(kind, self.device): kind for kind in _DTYPES}
        if dtype not in kinds:
            raise ValueError(f"invalid type: '{dtype}'")
        dtype = kinds[dtype]
    elif hasattr(dtype, "dtype") and not isinstance(dtype, _core.dtype):
        dtype = dtype.dtype
    return self.to(dtype)


_DTYPES = [kind for kind in vars(_core).values() if isinstance(kind, dtype)]


def _cuda(self: Tensor, device: Any = None, non_blocking: bool = False, **_: Any) -> Tensor:
    """The tensor on a GPU."""
    return self.to("cuda" if device is None else device)


def _format(self: Tensor, spec: str) -> str:
    if self.dim() == 0 and not self.is_meta and type(self) is Tensor:
        return self.item().__format__(spec)
    return object.__format__(self, spec)


def _array_wrap(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
    """What NumPy's functions return for tensors."""
    return _core.as_tensor(array)


# ---- properties


def _transposed(self: Tensor) -> Tensor:
    return self.permute(tuple(range(self.dim() - 1, -1, -1))) if self.dim() != 2 else self.transpose(0, 1)


def _matrix_transposed(self: Tensor) -> Tensor:
    if self.dim() < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {self.dim()}-D tensor."
        )
    return self.transpose(-2, -1)


def _conjugate_transposed(self: Tensor) -> Tensor:
    if self.dim() not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.dim()}-D tensor."
            + " For batches of matrices, consider using tensor.mH" * (self.dim() > 2)
        )
    return self.mH if self.dim() else self.conj()


def _matrix_conjugate_transposed(self: Tensor) -> Tensor:
    if self.dim() < 2:
        raise RuntimeError(
            f"tensor.mH is only supported on matrices or batches of matrices. Got {self.dim()}-D tensor."
        )
    turned = self.transpose(-2, -1)
    return turned.conj() if self.is_complex() else turned


def _real(self: Tensor) -> Tensor:
    return function("real")(self) if self.is_complex() else self


def _imag(self: Tensor) -> Tensor:
    if not self.is_complex():
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return function("imag")(self)


def _set_real(self: Tensor, value: Any) -> None:
    self.real.copy_(value)


def _set_imag(self: Tensor, value: Any) -> None:
    self.imag.copy_(value)


# ---- the rest


def _new(self: Tensor, *args: Any, device: Any = None) -> Tensor:
    """Legacy constructor: `x.new(2, 3)`, `x.new([1, 2])`, in the dtype of x."""
    if len(args) == 1 and not isinstance(args[0], int | Size):
        return _core.tensor(args[0], dtype=self.dtype, device=device or self.device)
    return function("empty")(*(args or (0,)), dtype=self.dtype, device=device or self.device)


def _dim_order(self: Tensor) -> tuple[int, ...]:
    """Dimensions from the outermost in memory to the innermost."""
    return tuple(sorted(range(self.dim()), key=lambda d: (-self.stride(d), d)))


def _apply(self: Tensor, callable: Any) -> Tensor:
    """Replaces each element by callable(element)."""
    values = [callable(v) for v in self.detach().reshape(-1).tolist()]
    return self.copy_(_core.tensor(values, dtype=self.dtype).reshape(self.shape))


def _map(self: Tensor, tensor: Tensor, callable: Any) -> Tensor:
    """Replaces each element by callable(element, element of tensor)."""
    pairs = zip(self.detach().reshape(-1).tolist(), tensor.expand_as(self).reshape(-1).tolist(), strict=True)
    return self.copy_(_core.tensor([callable(a, b) for a, b in pairs], dtype=self.dtype).reshape(self.shape))


def _torch_function(cls: type, func: Any, types: tuple, args: tuple = (), kwargs: dict | None = None) -> Any:
    """Runs a function on subclasses of Tensor; results become objects of the class."""
    if not all(issubclass(cls, t) for t in types):
        return NotImplemented
    _core.switch_subclasses(1)
    try:
        result = func(*args, **(kwargs or {}))
    finally:
        _core.switch_subclasses(-1)
    return result if func in _KEPT else _as_class(result, cls)


# Answers that stay what they are on a subclass.
_KEPT = (Tensor.grad.__get__, Tensor._base.__get__)


def _init_subclass(cls: type, **kwargs: Any) -> None:
    super(Tensor, cls).__init_subclass__(**kwargs)
    let_subclasses_see(cls)


def _as_class(result: Any, cls: type) -> Any:
    if cls is Tensor:
        return result
    if isinstance(result, Tensor) and not isinstance(result, cls):
        return result.as_subclass(cls)
    if isinstance(result, tuple | list) and not isinstance(result, Size):
        items = (_as_class(item, cls) for item in result)
        if hasattr(result, "_fields"):
            return type(result)(tuple(items))
        return type(result)(items)
    return result


def _reversed(self: Tensor) -> Tensor:
    return self if self.dim() == 0 else self.flip(0)


def _itself() -> Callable[..., Tensor]:
    """A method, each with a name of its own, that has nothing to do."""

    def method(self: Tensor, *_: Any, **__: Any) -> Tensor:
        return self

    return method


def _never() -> Callable[[Tensor], bool]:
    """A method that says no."""

    def method(self: Tensor) -> bool:
        return False

    return method


def _new_tensor(
    self: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """Data as a new tensor, by default with the dtype and device of self."""
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
            "sourceTensor.detach().clone().requires_grad_(True), rather than tensor.new_tensor(sourceTensor).",
            stacklevel=2,
        )
        data = data.detach().clone().to(self.dtype if dtype is None else dtype)
    kind, place = self.dtype if dtype is None else dtype, self.device if device is None else device
    return _core.tensor(data, dtype=kind, device=place, requires_grad=requires_grad)


def _resized(self: Tensor, *sizes: Any) -> Tensor:
    """self in another size of as many elements."""
    warnings.warn("non-inplace resize is deprecated", stacklevel=2)
    size = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
    if self.numel() != math.prod(size):
        raise RuntimeError(
            f"requested resize to {'x'.join(map(str, size))} ({math.prod(size)} elements in total), but the given "
            f"tensor has a size of {'x'.join(map(str, self.shape))} ({self.numel()} elements). autograd's resize can "
            "only change the shape of a given tensor, while preserving the number of elements. "
        )
    return self.contiguous().view(tuple(size))


def _resized_as(self: Tensor, other: Tensor) -> Tensor:
    """self in the size of another tensor of as many elements."""
    return _resized(self, *other.shape)


def _storage(self: Tensor) -> TypedStorage:
    """The memory that a tensor looks at, as numbers of its dtype."""
    warn_deprecated()
    return TypedStorage(wrap_storage=self.untyped_storage(), dtype=self.dtype)


def _storage_type(self: Tensor) -> type:
    """The class of its storage."""
    warn_deprecated()
    return getattr(storage, TypedStorage(wrap_storage=UntypedStorage(0), dtype=self.dtype).pickle_storage_type())


def _dequantized(self: Tensor) -> Tensor:
    """The elements, which no quantised tensor holds, in float32."""
    return self.float()


def _nothing(self: Tensor) -> None:
    return None


def _record_stream(self: Tensor, stream: Any) -> None:
    """Memory of the processor belongs to no stream."""
    if self.device.type == "cpu":
        raise NotImplementedError("Could not run 'aten::record_stream' with arguments from the 'CPU' backend.")


_METHODS = {
    "__deepcopy__": _deepcopy, "__reduce_ex__": _reduce_ex, "__format__": _format, "__array_wrap__": _array_wrap,
    "__reversed__": _reversed, "type": _type, "cuda": _cuda, "new": _new, "dim_order": _dim_order, "apply_": _apply,
    "map_": _map, "share_memory_": _itself(), "is_shared": _never(), "is_pinned": _never(), "pin_memory": _itself(),
    "is_nonzero": Tensor.__bool__, "resolve_conj": _itself(), "resolve_neg": _itself(), "is_coalesced": _never(),
    "new_tensor": _new_tensor, "resize": _resized, "resize_as": _resized_as, "record_stream": _record_stream,
    "storage": _storage, "storage_type": _storage_type, "dequantize": _dequantized,
}  # fmt: skip
_PROPERTIES = {
    "T": (_transposed, None), "mT": (_matrix_transposed, None), "H": (_conjugate_transposed, None),
    "mH": (_matrix_conjugate_transposed, None), "real": (_real, _set_real), "imag": (_imag, _set_imag),
    "name": (_nothing, None),
}  # fmt: skip


def functions(prefix: str = "") -> dict[str, Any]:
    """The operators that are functions under a prefix (`""`, `nn.functional`, `special`, ...), by name."""
    return namespace(prefix)


def _attach() -> None:
    for name, method in _METHODS.items():
        if isinstance(method, types.FunctionType):
            method.__name__ = name  # what handlers of `__torch_function__` read
            method.__qualname__ = f"Tensor.{name}"
        setattr(Tensor, name, method)
    for name, (get, put) in _PROPERTIES.items():
        setattr(Tensor, name, property(get, put))
    Tensor.__torch_function__ = classmethod(_torch_function)  # type: ignore[attr-defined]
    UntypedStorage.__reduce_ex__ = _reduce_storage  # type: ignore[method-assign]
    Tensor.__init_subclass__ = classmethod(_init_subclass)  # type: ignore[assignment]
    namespace()  # operators become methods
    _core.set_slot("contains", function("any"))
    _core.set_repr(tensor_repr)


_attach()
