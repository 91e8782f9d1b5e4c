"""The little that checkpoints need of tensors: storages as bytes, and tensors over storages."""

from collections import ChainMap
from collections.abc import Mapping
from types import FunctionType
from typing import Any

from flambeau import _core
from flambeau import functional_ns as o
from flambeau.nn import functional, modules
from flambeau.nn.modules.lazy import LazyModuleMixin
from flambeau.nn.parameter import Parameter
from flambeau.ops.names import namespace

Tensor, Size, DType, Device, Storage = o.Tensor, o.Size, o.dtype, o.device, o.UntypedStorage
device = Device
# What the tape keeps in a tensor's attributes belongs to this process.
PRIVATE = ("_backward_hooks", "_is_param", "_is_buffer")


def dtype(name: str) -> Any:
    """`float32` -> flambeau.float32."""
    return getattr(o, name)


def dtype_name(kind: Any) -> str:
    """flambeau.float32 -> `float32`."""
    return str(kind).rpartition(".")[2]


def itemsize(kind: Any) -> int:
    return kind.itemsize


def layout(name: str) -> Any:
    """`torch.strided` -> flambeau.strided."""
    if name != "torch.strided":
        raise ValueError(f"layout {name} is not supported")
    return o.strided


def parameter(data: Any, requires_grad: bool = True) -> Any:
    return Parameter(data, requires_grad)


def module_class(path: str) -> Any:
    """`torch.nn.modules.linear.Linear` -> the class of ours with this name; None where there is none."""
    package, _, rest = path.partition(".nn.modules.")
    file, _, name = rest.rpartition(".")
    places = (vars(modules), vars(vars(modules).get(file, modules))) if package in ("torch", "flambeau") else ()
    found = next((place[name] for place in places if name in place), None)
    return found if isinstance(found, type) and issubclass(found, modules.Module) else None


def module_path(kind: Any) -> str | None:
    """PyTorch's name of a module class of ours; None for other classes."""
    if not isinstance(kind, type) or not issubclass(kind, modules.Module):
        return None
    # PyTorch keeps lazy classes beside those that they become.
    beside = kind.cls_to_become if issubclass(kind, LazyModuleMixin) and kind.cls_to_become else kind
    path = f"{beside.__module__}.{kind.__qualname__}"
    return path.replace("flambeau", "torch", 1) if module_class(path) is kind else None


_FUNCTION = _core.OpFunction | _core.SeenFunction | FunctionType
# Where PyTorch keeps functions that a module may hold. The first place of each is the one that is written.
_FUNCTIONS: dict[str, Mapping[str, Any]] = {
    "torch.nn.functional": vars(functional),
    "torch": namespace(),
    "torch._C._nn": vars(functional),
    "torch._C._VariableFunctionsClass": ChainMap(namespace(), vars(functional)),
}


def function(path: str) -> Any:
    """`torch.nn.functional.relu` -> the function of ours with this name; None where there is none."""
    place, _, name = path.rpartition(".")
    found = _FUNCTIONS.get(place, {}).get(name)
    return found if isinstance(found, _FUNCTION) else None


def function_path(value: Any) -> str | None:
    """PyTorch's name of a function of ours that a module may hold; None for anything else."""
    if not isinstance(value, _FUNCTION):
        return None
    paths = (f"{place}.{value.__name__}" for place in _FUNCTIONS)
    return next((path for path in paths if function(path) is value), None)


def allocate(size: int) -> Any:
    """A storage of `size` uninitialised bytes."""
    return Storage(size)


def bytes_of(storage: Any) -> memoryview:
    """A storage's bytes, to read and to write."""
    return memoryview(storage).cast("B")


def wrap(data: memoryview) -> Any:
    """A storage whose bytes are `data`, which it keeps alive."""
    return storage_of(o.frombuffer(data, dtype=o.uint8)) if len(data) else allocate(0)


def storage_of(tensor: Any) -> Any:
    """The bytes that a tensor looks at, which other tensors may share."""
    return tensor.untyped_storage()


def nbytes(storage: Any) -> int:
    return storage.nbytes()


def identity(storage: Any) -> Any:
    """Equal for two handles of one storage."""
    return storage._cdata


def device_of(storage: Any) -> Any:
    return storage.device


def move(storage: Any, target: str) -> Any:
    """The storage itself where it is on `target`, else a copy there."""
    place = Device(target)
    if storage.device.type == place.type and place.index in (None, storage.device.index):
        return storage
    if place.type == "meta":
        return Storage(storage.nbytes(), device="meta")
    if place.type == "cuda" and not o.cuda_is_available():
        raise RuntimeError(
            "Attempting to deserialize object on a CUDA device but torch.cuda.is_available() is False. If you are "
            "running on a CPU-only machine, please use torch.load with map_location=torch.device('cpu') to map your "
            f"storages to the CPU. [in load: {target}]"
        )
    return storage_of(view(storage, o.uint8, 0, (storage.nbytes(),), (1,)).to(place))


def view(storage: Any, kind: Any, offset: int, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    return _core.tensor_over(storage, kind, offset, size, stride)


def meta(kind: Any, size: tuple[int, ...], stride: tuple[int, ...]) -> Any:
    return o.empty_strided(size, stride, dtype=kind, device="meta")


def attributes(tensor: Any) -> dict[str, Any]:
    """What a user has put on a tensor."""
    own = getattr(tensor, "__dict__", None) or {}
    return {name: value for name, value in own.items() if name not in PRIVATE}
