"""What a checkpoint may contain: the closed list of globals, each with the function that checks its arguments.

Nothing here imports by name. A global that is not in the list ends in an error that names it.
"""

import contextlib
import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Iterator
from pickle import UnpicklingError
from typing import Any

from flambeau.serialization import _tensor
from flambeau.serialization.pickle_vm import check_key, checked_keys

STORAGE_DTYPES: dict[str, str] = {
    "FloatStorage": "float32",
    "DoubleStorage": "float64",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "ByteStorage": "uint8",
    "CharStorage": "int8",
    "ShortStorage": "int16",
    "IntStorage": "int32",
    "LongStorage": "int64",
    "BoolStorage": "bool",
    "UntypedStorage": "uint8",
}
FLOATS8 = ("float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz")
DTYPE_NAMES = (*STORAGE_DTYPES.values(), "uint16", "uint32", "uint64", *FLOATS8)
RENAMED = {
    "__builtin__": "builtins",
    "numpy.core.multiarray": "numpy._core.multiarray",
    "torch.tensor": "torch._tensor",
}
NUMPY_KINDS = "biufc"
# How PyTorch names `torch.relu`: as an attribute of this class.
FUNCTIONS_CLASS = "torch._C._VariableFunctionsClass"
# What stands as an argument of others and is never called.
NAMES = (
    FUNCTIONS_CLASS, "torch.Tensor", "numpy.ndarray", "builtins.list", "builtins.dict", "builtins.int", "builtins.float"
)  # fmt: skip
# Copies that one program may ask for, beyond a multiple of its own length.
FREE_COPIES = 1 << 26

_safe_globals: dict[str, Any] = {}


def global_name(value: Any) -> str:
    return f"{value.__module__}.{value.__qualname__}"


def add_safe_globals(safe_globals: list[Any]) -> None:
    """Lets `load` use these classes and functions, which you trust; they are looked up by name and never imported."""
    _safe_globals.update({global_name(value): value for value in safe_globals})


def get_safe_globals() -> list[Any]:
    """Returns what `add_safe_globals` was given."""
    return list(_safe_globals.values())


def clear_safe_globals() -> None:
    """Forgets what `add_safe_globals` was given."""
    _safe_globals.clear()


@contextlib.contextmanager
def safe_globals(safe_globals: list[Any]) -> Iterator[None]:
    """`add_safe_globals` for the length of a `with` block."""
    before = dict(_safe_globals)
    add_safe_globals(safe_globals)
    try:
        yield
    finally:
        _safe_globals.clear()
        _safe_globals.update(before)


class ForbiddenGlobal(UnpicklingError):
    """The file names a class or function that is not in the list."""


class StorageKind:
    """Stands for `torch.FloatStorage` and its kin in a file's records."""

    def __init__(self, dtype: Any) -> None:
        self.dtype, self.itemsize = dtype, _tensor.itemsize(dtype)


class TypedStorage:
    """A storage with the dtype that the file gave it."""

    def __init__(self, storage: Any, kind: StorageKind) -> None:
        self.storage, self.kind = storage, kind


class NumpyArray:
    """An array whose contents come with its state."""

    value: Any = None


class Constructors:
    """Finds globals and builds values for one pickle program of `length` bytes."""

    def __init__(self, length: int) -> None:
        self.copies_left = FREE_COPIES + 4 * length
        self.calls: dict[str, Callable[..., Any]] = {
            "builtins.set": lambda items=(): set(checked_keys(self.copied(items, list))),
            "builtins.frozenset": lambda items=(): frozenset(checked_keys(self.copied(items, list))),
            "builtins.bytearray": self.bytearray,
            "builtins.complex": lambda real, imag: complex(number(real), number(imag)),
            "builtins.slice": lambda *arguments: slice(*(bound(a) for a in arguments)),
            "builtins.range": lambda *arguments: range(*(integer(a) for a in arguments)),
            "builtins.getattr": function_of_class,
            "_codecs.encode": self.encode,
            "collections.OrderedDict": lambda items=(): OrderedDict(self.pairs(items)),
            "collections.Counter": lambda items=(): Counter(self.copied(items, dict)),
            "collections.defaultdict": self.defaultdict,
            "torch.Size": lambda items=(): _tensor.Size(integer(n) for n in self.copied(items, tuple)),
            "torch.device": _tensor.device,
            "torch.nn.parameter.Parameter": _tensor.parameter,
            "torch.serialization._get_layout": _tensor.layout,
            "torch._utils._rebuild_tensor": rebuild_tensor,
            "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2,
            "torch._utils._rebuild_tensor_v3": rebuild_tensor_v3,
            "torch._utils._rebuild_parameter": rebuild_parameter,
            "torch._utils._rebuild_parameter_with_state": rebuild_parameter_with_state,
            "torch._utils._rebuild_meta_tensor_no_storage": rebuild_meta,
            "torch._tensor._rebuild_from_type_v2": self.rebuild_from_type,
            "numpy.dtype": numpy_dtype,
            "numpy._core.multiarray.scalar": self.numpy_scalar,
            "numpy._core.multiarray._reconstruct": lambda *_: NumpyArray(),
        }

    def find(self, module: str, name: str) -> Any:
        """The object a file means by `module.name`."""
        module = RENAMED.get(module, module)
        full = f"{module}.{name}"
        if full in self.calls or full in NAMES:
            return Global(full)
        if full in _safe_globals:
            return UserGlobal(_safe_globals[full])
        if kind := _tensor.module_class(full):
            return ModuleClass(kind)
        if function := _tensor.function(full):  # which a module holds; `construct` does not call it
            return function
        if module in ("torch", "torch.storage") and name in STORAGE_DTYPES:
            return StorageKind(_tensor.dtype(STORAGE_DTYPES[name]))
        if module == "torch" and name in DTYPE_NAMES:
            return _tensor.dtype(name)
        raise ForbiddenGlobal(
            f"Unsupported global: GLOBAL {full} was not an allowed global by default. Please use "
            f"`torch.serialization.add_safe_globals([{name}])` or the `torch.serialization.safe_globals([{name}])` "
            "context manager to allowlist this global if you trust this class/function."
        )

    def construct(self, target: Any, arguments: tuple) -> Any:
        """What REDUCE and NEWOBJ do."""
        if isinstance(target, Global) and target.name in self.calls:
            return self.calls[target.name](*arguments)
        if isinstance(target, ModuleClass) and not arguments:
            return self.blank(target.kind)
        if isinstance(target, UserGlobal):
            if isinstance(target.value, type) and not arguments:
                return self.blank(target.value)
            return target.value(*arguments)
        raise UnpicklingError(f"Trying to call reduce for unrecognized function {getattr(target, 'name', target)}")

    def build(self, value: Any, state: Any) -> Any:
        """What BUILD does."""
        if isinstance(value, NumpyArray):
            value.value = self.numpy_array(state)
            return value.value
        if (numpy := sys.modules.get("numpy")) and isinstance(value, numpy.dtype):
            return value.newbyteorder(state[1]) if state[1] in ("<", ">") else value
        if isinstance(value, OrderedDict | _tensor.Tensor):
            return set_attributes(value, state)
        if _tensor.module_path(type(value)):
            value.__setstate__(checked_attributes(value, state))
            return value
        if type(value) in _safe_globals.values():
            if hasattr(value, "__setstate__"):
                value.__setstate__(state)
            else:
                value.__dict__.update(state)
            return value
        raise UnpicklingError(
            f"Can only build Tensor, Parameter, OrderedDict or types allowlisted via `add_safe_globals`, "
            f"but got {type(value)}"
        )

    @staticmethod
    def blank(kind: Any) -> Any:
        return kind.__new__(kind)

    def charge(self, size: int) -> None:
        self.copies_left -= size
        if self.copies_left < 0:
            raise UnpicklingError("the file asks for many more bytes than it holds")

    def copied(self, items: Any, kind: type) -> Any:
        accepted: tuple[type, ...] = (kind, tuple)
        if not isinstance(items, accepted):
            raise UnpicklingError(f"expected a {kind.__name__}, not {type(items)}")
        values: Any = items
        self.charge(8 * len(values))
        return values

    def pairs(self, items: Any) -> Any:
        items = self.copied(items, list)
        for pair in items:
            key, _ = pair
            check_key(key)
        return items

    def bytearray(self, value: Any = b"", encoding: str = "latin-1") -> bytearray:
        if isinstance(value, str):
            value = self.encode(value, encoding)
        if not isinstance(value, bytes | bytearray):
            raise UnpicklingError(f"expected bytes, not {type(value)}")
        self.charge(len(value))
        return bytearray(value)

    def encode(self, value: str, encoding: str = "utf-8") -> bytes:
        if type(value) is not str or encoding not in ("latin1", "latin-1", "utf-8", "utf8", "ascii"):
            raise UnpicklingError(f"encoding {encoding!r} is not supported")
        self.charge(len(value))
        return value.encode(encoding)

    def defaultdict(self, factory: Any = None) -> defaultdict:
        kinds: dict[str, Callable[[], Any]] = {
            "builtins.list": list, "builtins.dict": dict, "builtins.int": int, "builtins.float": float,
            "builtins.set": set,
        }  # fmt: skip
        if factory is not None and getattr(factory, "name", None) not in kinds:
            raise UnpicklingError("the factory of a defaultdict must be list, dict, set, int or float")
        return defaultdict(kinds[factory.name] if factory is not None else None)

    def rebuild_from_type(self, function: Any, kind: Any, arguments: tuple, state: Any) -> Any:
        if getattr(kind, "name", "") not in ("torch.Tensor", "torch.nn.parameter.Parameter"):
            raise UnpicklingError(f"a tensor of type {kind} is not supported")
        return set_attributes(self.construct(function, arguments), state)

    def numpy_scalar(self, dtype: Any, data: bytes) -> Any:
        import numpy

        return numpy.frombuffer(latin(data), numeric(dtype), 1)[0]

    def numpy_array(self, state: Any) -> Any:
        import numpy

        _, shape, dtype, fortran, data = state
        data = latin(data)
        self.charge(len(data))
        flat = numpy.frombuffer(data, numeric(dtype)).copy()
        return flat.reshape(shape, order="F" if fortran else "C")


class Global:
    """A name of the closed list."""

    def __init__(self, name: str) -> None:
        self.name = name


class ModuleClass:
    """A class of `nn.modules`: built without its constructor, then given its attributes."""

    def __init__(self, kind: Any) -> None:
        self.kind, self.name = kind, global_name(kind)


class UserGlobal:
    """A class or function that the user allowed."""

    def __init__(self, value: Any) -> None:
        self.value, self.name = value, global_name(value)


def function_of_class(place: Any, name: str) -> Any:
    function = _tensor.function(f"{FUNCTIONS_CLASS}.{name}") if getattr(place, "name", "") == FUNCTIONS_CLASS else None
    if function is None:
        raise UnpicklingError(f"attribute {name!r} of {getattr(place, 'name', place)} is not a function of tensors")
    return function


def integer(value: Any) -> int:
    if type(value) is not int:
        raise UnpicklingError(f"expected an int, not {type(value)}")
    return value


def bound(value: Any) -> int | None:
    return None if value is None else integer(value)


def number(value: Any) -> float:
    if type(value) not in (int, float):
        raise UnpicklingError(f"expected a number, not {type(value)}")
    return value


def latin(data: Any) -> bytes:
    """Bytes, or the text that Python 2 wrote for them."""
    return data.encode("latin-1") if isinstance(data, str) else data


def numeric(dtype: Any) -> Any:
    if dtype.kind not in NUMPY_KINDS:
        raise UnpicklingError(f"NumPy data of dtype {dtype} is not supported; numbers and bools are")
    return dtype


def numpy_dtype(code: str, *_: Any) -> Any:
    import numpy

    if type(code) is not str or code[:1] not in NUMPY_KINDS or not code[1:].isdecimal() or len(code) > 3:
        raise UnpicklingError(f"NumPy dtype {code!r} is not supported; numbers and bools are")
    return numpy.dtype(code)


def set_attributes(value: Any, state: Any) -> Any:
    """Gives an object its own attributes."""
    if isinstance(state, tuple) and len(state) == 2:
        state = {**(state[0] or {}), **(state[1] or {})}
    for name, attribute in checked_attributes(value, state or {}).items():
        setattr(value, name, attribute)
    return value


def checked_attributes(value: Any, state: dict[str, Any]) -> dict[str, Any]:
    """Refuses to replace what the class defines to be called or computed."""
    for name in state:
        defined = getattr(type(value), name, None) if type(name) is str else type
        if callable(defined) or hasattr(type(defined), "__get__"):
            raise UnpicklingError(f"a file cannot set {name!r} of a {type(value).__name__}")
    return state


def rebuild(storage: Any, dtype: Any, offset: Any, size: Any, stride: Any) -> Any:
    if not isinstance(storage, TypedStorage):
        raise UnpicklingError(f"a tensor needs a storage, not {type(storage)}")
    # The core compares all of it with the bytes that are there.
    return _tensor.view(storage.storage, dtype, offset, size, stride)


def rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any) -> Any:
    return rebuild(storage, getattr(storage, "kind", storage).dtype, offset, size, stride)


def rebuild_tensor_v2(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, metadata: Any = None
) -> Any:
    return finish(rebuild_tensor(storage, offset, size, stride), requires_grad, metadata)


def rebuild_tensor_v3(
    storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, hooks: Any, dtype: Any, metadata: Any = None
) -> Any:
    return finish(rebuild(storage, dtype, offset, size, stride), requires_grad, metadata)


def finish(tensor: Any, requires_grad: Any, metadata: Any) -> Any:
    if metadata:
        tensor = tensor.conj() if metadata.get("conj") else tensor
        tensor = -tensor if metadata.get("neg") else tensor
    return tensor.requires_grad_() if requires_grad else tensor


def rebuild_parameter(data: Any, requires_grad: Any, hooks: Any) -> Any:
    return _tensor.parameter(data, bool(requires_grad))


def rebuild_parameter_with_state(data: Any, requires_grad: Any, hooks: Any, state: Any) -> Any:
    return set_attributes(rebuild_parameter(data, requires_grad, hooks), state)


def rebuild_meta(dtype: Any, size: Any, stride: Any, requires_grad: Any) -> Any:
    return finish(_tensor.meta(dtype, size, stride), requires_grad, None)
