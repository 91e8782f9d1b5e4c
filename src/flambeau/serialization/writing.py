"""`save`: PyTorch's zip format, written so that a file is whole or not there."""

import os
import pickle
import sys
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

from flambeau.serialization import _tensor
from flambeau.serialization.archive import Writer
from flambeau.serialization.atomic import replacing
from flambeau.serialization.constructors import STORAGE_DTYPES

STORAGE_NAMES: dict[str, str] = {dtype: name for name, dtype in STORAGE_DTYPES.items() if name != "UntypedStorage"}
DEFAULT_PROTOCOL = 2
RECORD_OVERHEAD = 512


def save(
    obj: Any,
    f: Any,
    pickle_module: Any = None,
    pickle_protocol: int = DEFAULT_PROTOCOL,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Writes tensors, and containers of them, so that `load` here and in PyTorch reads them.

    A path gets its new contents in one step, after they reached the disk: an interrupted save leaves the earlier file.

    Args:
        obj: what to save; tensors that share a storage still share it after loading.
        f: a path, or an object with `write`.
        pickle_module: accepted for compatibility.
        pickle_protocol: the version of pickle's language; 2 is what PyTorch writes.

    Raises:
        RuntimeError: the folder does not exist.
        OSError: the disk is full or may not be written.

    Example:
        >>> flambeau.save(model.state_dict(), "model.pt")
    """
    if not _use_new_zipfile_serialization:
        raise RuntimeError(
            "the format before PyTorch 1.6 is read but not written [in save]. Leave _use_new_zipfile_serialization out."
        )
    if not isinstance(f, str | os.PathLike) and not hasattr(f, "write"):
        raise AttributeError(
            f"expected 'f' to be string, path, or a file-like object with a 'write' attribute [in save: "
            f"f={type(f).__name__}]. Pass a path."
        )
    buffer = BytesIO()
    pickler = Pickler(buffer, pickle_protocol)
    pickler.dump(obj)
    if isinstance(f, str | os.PathLike):
        size = buffer.tell() + sum(_tensor.nbytes(s) + RECORD_OVERHEAD for s in pickler.storages)
        with replacing(f, size + 4 * RECORD_OVERHEAD, "save") as file:
            write_archive(file.write, Path(f).stem or "archive", buffer, pickler.storages)
    else:
        write_archive(f.write, "archive", buffer, pickler.storages)


def write_archive(write: Callable[[Any], Any], folder: str, program: BytesIO, storages: list[Any]) -> None:
    with Writer(write, folder) as writer:
        writer.add("data.pkl", program.getbuffer())
        writer.add("byteorder", sys.byteorder.encode())
        for key, storage in enumerate(storages):
            writer.add(f"data/{key}", _tensor.bytes_of(_tensor.move(storage, "cpu")))
        writer.add("version", b"3\n")
        writer.add(".data/serialization_id", b"%040d" % int.from_bytes(os.urandom(16), "little"))


class TorchName:
    """A global of a checkpoint: written by name, never looked up."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class TypedStorage:
    """A storage on its way into the file."""

    def __init__(self, storage: Any, dtype_name: str) -> None:
        self.storage, self.dtype_name = storage, dtype_name


def torch_name(path: str) -> TorchName:
    """The one object for a name, so that pickle's memo finds it again."""
    if path not in _names:
        module, _, name = path.rpartition(".")
        _names[path] = TorchName(module, name)
    return _names[path]


_names: dict[str, TorchName] = {}


# The one in Python, whose steps can be overridden.
PythonPickler: Any = pickle._Pickler  # type: ignore[attr-defined]


class Pickler(PythonPickler):
    """Python's own pickler, with PyTorch's names for what is ours and storages left out."""

    def __init__(self, file: BytesIO, protocol: int) -> None:
        super().__init__(file, protocol)
        self.storages: list[Any] = []
        self.keys: dict[Any, tuple[str, str]] = {}

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        form = None if id(obj) in self.memo else torch_form(obj)
        if form is None:
            return super().save(obj, save_persistent_id)
        if isinstance(form, TorchName):
            self.write(pickle.GLOBAL + f"{form.module}\n{form.name}\n".encode())
        else:
            function, arguments = form
            self.save(function)
            self.save(arguments)
            self.write(pickle.REDUCE)
        self.memoize(obj)

    def persistent_id(self, obj: Any) -> Any:
        if isinstance(obj, _tensor.Storage):
            obj = TypedStorage(obj, "uint8")
        if not isinstance(obj, TypedStorage):
            return None
        identity = _tensor.identity(obj.storage)
        if identity not in self.keys:
            self.keys[identity] = str(len(self.storages)), obj.dtype_name
            self.storages.append(obj.storage)
        key, dtype_name = self.keys[identity]
        if dtype_name != obj.dtype_name:
            raise RuntimeError(
                "Cannot save multiple tensors or storages that view the same data as different types "
                f"[in save: {dtype_name} and {obj.dtype_name}]. Save a clone() of one of them."
            )
        kind = STORAGE_NAMES.get(obj.dtype_name)
        kind_name = torch_name(f"torch.{kind}") if kind else torch_name("torch.storage.UntypedStorage")
        itemsize = _tensor.itemsize(_tensor.dtype(obj.dtype_name)) if kind else 1
        location = str(_tensor.device_of(obj.storage))
        return "storage", kind_name, key, location, _tensor.nbytes(obj.storage) // itemsize


def torch_form(obj: Any) -> Any:
    """How PyTorch says this object: a name, or a name and its arguments; None for what Python says itself."""
    if isinstance(obj, TorchName):
        return obj
    if isinstance(obj, _tensor.Tensor):
        return tensor_form(obj)
    if isinstance(obj, _tensor.DType):
        return torch_name(f"torch.{_tensor.dtype_name(obj)}")
    if isinstance(obj, _tensor.Size):
        return torch_name("torch.Size"), (tuple(obj),)
    if isinstance(obj, _tensor.Device):
        return torch_name("torch.device"), tuple(part for part in (obj.type, obj.index) if part is not None)
    if path := _tensor.module_path(obj) or _tensor.function_path(obj):
        return torch_name(path)
    return None


def tensor_form(tensor: Any) -> tuple[TorchName, tuple]:
    """The function that rebuilds a tensor, and its arguments."""
    state = _tensor.attributes(tensor)
    if isinstance(tensor, _tensor.Parameter):
        arguments: tuple = tensor.detach(), tensor.requires_grad, OrderedDict()
        if state:
            return torch_name("torch._utils._rebuild_parameter_with_state"), (*arguments, state)
        return torch_name("torch._utils._rebuild_parameter"), arguments
    function, arguments = plain_form(tensor)
    if state:
        kind = torch_name("torch.Tensor")
        return torch_name("torch._tensor._rebuild_from_type_v2"), (function, kind, arguments, state)
    return function, arguments


def plain_form(tensor: Any) -> tuple[TorchName, tuple]:
    dtype_name = _tensor.dtype_name(tensor.dtype)
    size, stride = tuple(tensor.size()), tuple(tensor.stride())
    if tensor.device.type == "meta":
        return torch_name("torch._utils._rebuild_meta_tensor_no_storage"), (
            tensor.dtype,
            size,
            stride,
            tensor.requires_grad,
        )
    storage = TypedStorage(_tensor.storage_of(tensor), dtype_name)
    arguments: tuple = (storage, tensor.storage_offset(), size, stride, tensor.requires_grad, OrderedDict())
    if dtype_name in STORAGE_NAMES:
        return torch_name("torch._utils._rebuild_tensor_v2"), arguments
    return torch_name("torch._utils._rebuild_tensor_v3"), (*arguments, tensor.dtype)
