"""Memory with a dtype, as older programs name it: `TypedStorage` and `FloatStorage`, `LongStorage`, ...

A tensor's memory is an `UntypedStorage`; these are views of one, which PyTorch keeps for programs of before 2.0.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor, UntypedStorage
from flambeau.ops.names import operators as ops

__all__ = ["TypedStorage", "UntypedStorage"]

_DTYPES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "complex64": "ComplexFloat",
    "complex128": "ComplexDouble", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
    "bool": "Bool",
}  # fmt: skip
_warned = False


def warn_deprecated(stacklevel: int = 2) -> None:
    """PyTorch's warning, once."""
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "TypedStorage is deprecated. It will be removed in the future and UntypedStorage will be the only storage "
            "class. This should only matter to you if you are using storages directly.  To access UntypedStorage "
            "directly, use tensor.untyped_storage() instead of tensor.storage()",
            UserWarning,
            stacklevel=stacklevel + 1,
        )


class _Kind(type):
    """The class of storages: one of a dtype is an instance of that dtype's class."""

    def __instancecheck__(cls, instance: Any) -> bool:
        if cls is TypedStorage or not isinstance(cls.dtype, _core.dtype):
            return super().__instancecheck__(instance)
        return super().__instancecheck__(instance) or (
            type(instance) is TypedStorage and instance.dtype is cls.dtype and instance.device.type == "cpu"
        )

    def __repr__(cls) -> str:
        return f"<class 'torch.{'storage.' * (cls is TypedStorage)}{cls.__name__}'>"


class TypedStorage(metaclass=_Kind):
    """Memory as a sequence of numbers of one dtype.

    Args:
        args: nothing, a number of elements, or the elements.
        wrap_storage: an UntypedStorage whose memory is taken, in the place of `args`.
        dtype: of the elements; the default dtype where it is left out.
        device: where new memory lies.

    Example:
        >>> x = torch.arange(3.0)
        >>> storage = torch.storage.TypedStorage(wrap_storage=x.untyped_storage(), dtype=x.dtype)
        >>> storage[1] = 5
        >>> storage.tolist(), x
        ([0.0, 5.0, 2.0], tensor([0., 5., 2.]))
    """

    dtype: Any = None
    is_sparse = False

    def __init__(self, *args: Any, wrap_storage: Any = None, dtype: Any = None, device: Any = None) -> None:
        cls = type(self)
        if cls is not TypedStorage and (dtype is not None or (args and isinstance(args[0], UntypedStorage))):
            raise (RuntimeError if dtype is not None else TypeError)(
                f"{cls!r}.__new__ received an invalid combination of arguments. Expected one of:\n"
                " * no arguments\n * (int size)\n * (Sequence data)\n * (*, UntypedStorage wrap_storage)"
            )
        kind = dtype if cls is TypedStorage else cls.dtype
        if wrap_storage is not None:
            if args or not isinstance(wrap_storage, UntypedStorage) or kind is None:
                raise RuntimeError("TypedStorage: wrap_storage is an UntypedStorage beside a dtype and nothing else")
            self._untyped = wrap_storage
        else:
            kind = _core.get_default_dtype() if kind is None else kind
            if not args or isinstance(args[0], int):
                self._untyped = UntypedStorage((args[0] if args else 0) * kind.itemsize, device=device)
            elif isinstance(args[0], Sequence | TypedStorage):
                self._untyped = ops.tensor(list(args[0]), dtype=kind, device=device).untyped_storage()
            else:
                raise TypeError(f"Argument type not recognized: {type(args[0])}")
        self.dtype = kind

    def _tensor(self) -> Tensor:
        """The elements as a tensor over the same memory."""
        return ops.empty(0, dtype=self.dtype, device=self.device).set_(self._untyped)

    def untyped(self) -> UntypedStorage:
        """The memory without a dtype."""
        return self._untyped

    @property
    def _untyped_storage(self) -> UntypedStorage:
        return self._untyped

    @property
    def device(self) -> Any:
        """Where the memory lies."""
        return self._untyped.device

    @property
    def is_cuda(self) -> bool:
        """Whether it lies on a GPU."""
        return self.device.type == "cuda"

    @property
    def filename(self) -> None:
        """The file that the memory maps; there is none."""

    @property
    def _cdata(self) -> int:
        return self._untyped._cdata

    def __len__(self) -> int:
        return self._untyped.nbytes() // self.dtype.itemsize

    size = __len__

    def nbytes(self) -> int:
        """Bytes of the memory."""
        return self._untyped.nbytes()

    def element_size(self) -> int:
        """Bytes of an element."""
        return self.dtype.itemsize

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._untyped.data_ptr()

    def _position(self, index: Any) -> int:
        if isinstance(index, slice) or not hasattr(index, "__index__"):
            raise RuntimeError(
                "slices are only supported in UntypedStorage.__getitem__" if isinstance(index, slice)
                else f"can't index a {TypedStorage!r} with {type(index)}"
            )  # fmt: skip
        at, n = index.__index__(), len(self)
        if not -n <= at < n:
            raise IndexError(f"index {at} out of range for storage of size {n}")
        return at % n

    def __getitem__(self, index: Any) -> Any:
        return self._tensor()[self._position(index)].item()

    def __setitem__(self, index: Any, value: Any) -> None:
        self._tensor()[index if isinstance(index, slice) else self._position(index)] = value

    def __iter__(self) -> Iterator[Any]:
        return iter(self.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TypedStorage) and (self._cdata, self.dtype) == (other._cdata, other.dtype)

    def __hash__(self) -> int:
        return self._cdata

    def __repr__(self) -> str:
        shown = "\n ".join(map(str, self.tolist()))
        return f" {shown}\n[torch.storage.TypedStorage(dtype={self.dtype}, device={self.device}) of size {len(self)}]"

    def tolist(self) -> list[Any]:
        """The elements as Python numbers."""
        return self._tensor().tolist()

    def fill_(self, value: Any) -> TypedStorage:
        """Writes a number everywhere."""
        self._tensor().fill_(value)
        return self

    def copy_(self, source: Any, non_blocking: bool | None = None) -> TypedStorage:
        """Takes the elements of another storage."""
        if len(source) != len(self):
            raise RuntimeError(
                f"size does not match, self was {self.nbytes()} bytes but src was {source.nbytes()} bytes"
            )
        self._tensor().copy_(source._tensor())
        return self

    def resize_(self, size: int) -> TypedStorage:
        """Makes room for `size` elements; those that were there stay."""
        self._untyped.resize_(size * self.dtype.itemsize)
        return self

    def resizable(self) -> bool:
        """Whether `resize_` can make it longer."""
        return self._untyped.resizable()

    def clone(self) -> TypedStorage:
        """A copy."""
        return TypedStorage(wrap_storage=self._untyped.clone(), dtype=self.dtype)

    def __copy__(self) -> TypedStorage:
        return self.clone()

    def __deepcopy__(self, memo: dict) -> TypedStorage:
        held = memo.setdefault(("storage", self._cdata), None) or self._untyped.clone()
        memo["storage", self._cdata] = held
        return TypedStorage(wrap_storage=held, dtype=self.dtype)

    def __reduce__(self) -> tuple:
        return _restored, (bytes(memoryview(self._untyped)), self.dtype)

    def type(self, dtype: Any = None) -> Any:
        """The name of its class, or the elements in the class that is named."""
        if dtype is None:
            short = _DTYPES.get(str(self.dtype).rpartition(".")[2])
            return f"torch{'.cuda' * self.is_cuda}.{short}Storage"
        short = (dtype if isinstance(dtype, str) else dtype.__name__).rpartition(".")[2].removesuffix("Storage")
        return self._to(next(name for name, title in _DTYPES.items() if title == short))

    def pickle_storage_type(self) -> str:
        """The name of its class in files."""
        return self.type().rpartition(".")[2]

    def _to(self, name: str) -> TypedStorage:
        dtype = getattr(_core, name)
        return TypedStorage(wrap_storage=self._tensor().to(dtype, copy=True).untyped_storage(), dtype=dtype)

    def get_device(self) -> int:
        """The number of the GPU that it lies on; -1 on the CPU."""
        return self._tensor().get_device()

    def to(self, *, device: Any, non_blocking: bool = False) -> TypedStorage:
        """The elements on another device."""
        return TypedStorage(wrap_storage=self._tensor().to(device).untyped_storage(), dtype=self.dtype)

    def cpu(self) -> TypedStorage:
        """The elements in the processor's memory."""
        return self.to(device="cpu")

    def cuda(self, device: Any = None, non_blocking: bool = False) -> TypedStorage:
        """The elements on a GPU."""
        return TypedStorage(wrap_storage=self._tensor().cuda(device).untyped_storage(), dtype=self.dtype)

    def is_shared(self) -> bool:
        """Whether other processes see the memory."""
        return self._tensor().is_shared()

    def is_pinned(self, device: Any = None) -> bool:
        """Whether a GPU copies from it directly."""
        return self._tensor().is_pinned()

    def share_memory_(self) -> TypedStorage:
        """Lets other processes see the memory."""
        self._tensor().share_memory_()
        return self

    @classmethod
    def from_buffer(cls, *args: Any, dtype: Any = None, **kwargs: Any) -> TypedStorage:
        """The bytes of an object as elements.

        Args:
            args: the object; then the order of bytes, "native", "little" or "big".
        """
        kind = cls.dtype if dtype is None else dtype
        order = args[1] if len(args) > 1 else kwargs.get("byte_order", "native")
        data = bytes(args[0])
        if order not in ("native", "little", "big"):
            raise ValueError(f"invalid byte_order '{order}' (expected 'big', 'little' or 'native')")
        if len(data) % kind.itemsize:
            raise ValueError(f"buffer size ({len(data)}) must be a multiple of element size ({kind.itemsize})")
        if order == "big":
            width = kind.itemsize
            data = b"".join(data[i : i + width][::-1] for i in range(0, len(data), width))
        return TypedStorage(wrap_storage=UntypedStorage(data), dtype=kind)


def _restored(data: bytes, dtype: Any) -> TypedStorage:
    return TypedStorage(wrap_storage=UntypedStorage(data), dtype=dtype)


def _conversion(dtype: str) -> Any:
    def convert(self: TypedStorage) -> TypedStorage:
        return self._to(dtype)

    convert.__doc__ = f"The elements as {dtype}."
    return convert


for _name, _method in (
    ("float32", "float"), ("float64", "double"), ("float16", "half"), ("bfloat16", "bfloat16"), ("int64", "long"),
    ("int32", "int"), ("int16", "short"), ("int8", "char"), ("uint8", "byte"), ("bool", "bool"),
    ("complex64", "complex_float"), ("complex128", "complex_double"),
):  # fmt: skip
    setattr(TypedStorage, _method, _conversion(_name))
for _name, _title in _DTYPES.items():
    _members = {
        "dtype": getattr(_core, _name), "__doc__": f"Memory as a sequence of {_name}.", "__module__": __name__,
        "__hash__": TypedStorage.__hash__,
    }  # fmt: skip
    globals()[f"{_title}Storage"] = _Kind(f"{_title}Storage", (TypedStorage,), _members)
    __all__.append(f"{_title}Storage")
