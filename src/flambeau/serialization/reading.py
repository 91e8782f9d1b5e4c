"""`load`: checkpoints in PyTorch's zip format and in the one before it, without running anything a file says."""

import mmap as memory_map
import os
import struct
import sys
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any, BinaryIO

from flambeau.serialization import _tensor
from flambeau.serialization.archive import Reader
from flambeau.serialization.constructors import Constructors, ForbiddenGlobal, StorageKind, TypedStorage, integer
from flambeau.serialization.pickle_vm import Machine

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
ONLY_DATA = (
    "Flambeau builds tensors and containers and never runs what a file says; save model.state_dict() rather than the "
    "model, or allow what you trust with flambeau.serialization.add_safe_globals."
)
MapLocation = Any


def load(
    f: Any,
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = None,
    mmap: bool | None = None,
    **pickle_load_args: Any,
) -> Any:
    """Reads what `save` wrote, here or in PyTorch, without running code: builds tensors and containers only.

    Args:
        f: a path, or an object with `read`, `seek` and `tell`.
        map_location: None (each tensor goes where it was), a device, a dict of devices, or a function of a storage and
            its location that returns a storage, or None for the storage's own place.
        pickle_module: accepted for compatibility; no pickle module is used.
        weights_only: accepted for compatibility; loading is always as strict as True.
        mmap: let the file's pages be the storages, copied when written to; needs a path.

    Raises:
        pickle.UnpicklingError: the file holds something else than tensors and containers, or is damaged.
        RuntimeError: the archive is truncated, or a tensor does not fit its storage.

    Example:
        >>> model.load_state_dict(flambeau.load("model.pt", map_location="cpu"))
    """
    if isinstance(f, str | os.PathLike):
        with open(f, "rb") as file:
            return load_file(file, os.fspath(f), map_location, bool(mmap))
    if mmap:
        raise ValueError("f must be a file path in order to use the mmap argument [in load]. Pass the path instead.")
    for method in ("seek", "tell", "read"):
        if not hasattr(f, method):
            raise AttributeError(
                f"'{type(f).__name__}' object has no attribute '{method}'. You can only torch.load from a file that is "
                "seekable. Please pre-load the data into a buffer like io.BytesIO and try to load from it instead."
            )
    return load_file(f, str(getattr(f, "name", type(f).__name__)), map_location, False)


def load_file(file: BinaryIO, name: str, map_location: MapLocation, mmap: bool) -> Any:
    start = file.tell()
    magic = file.read(4)
    file.seek(start)
    if not magic:
        raise EOFError(f"Ran out of input [in load: {name} is empty]. Save it again, or load another file.")
    locate = Locator(map_location)
    try:
        if magic == b"PK\3\4":
            return load_zip(Reader(file, name), locate, memory_map_of(file) if mmap else None)
        if mmap:
            raise RuntimeError(
                "mmap can only be used with files saved with `torch.save(_use_new_zipfile_serialization=True), please "
                f"torch.save your checkpoint with this option in order to use mmap. [in load: {name}]. Load it without."
            )
        return load_legacy(file, name, locate)
    except UnpicklingError as error:
        raise UnpicklingError(
            f"Weights only load failed. WeightsUnpickler error: {error} [in load: {name}]. "
            + (ONLY_DATA if isinstance(error, ForbiddenGlobal) else "The file is damaged or not a checkpoint.")
        ) from None
    except EOFError as error:
        raise EOFError(f"{error} [in load: {name}]. The file is truncated; copy or save it again.") from None


def memory_map_of(file: BinaryIO) -> memoryview:
    return memoryview(memory_map.mmap(file.fileno(), 0, access=memory_map.ACCESS_COPY))


class Locator:
    """Puts each storage where `map_location` wants it."""

    def __init__(self, map_location: MapLocation) -> None:
        if not (map_location is None or callable(map_location) or isinstance(map_location, dict)):
            map_location = str(_tensor.device(map_location))
        self.map_location = map_location

    def target(self, location: str) -> str:
        """The device for a location, where no function decides."""
        if isinstance(self.map_location, str):
            return self.map_location
        if isinstance(self.map_location, dict):
            return str(self.map_location.get(location, location))
        return location

    def __call__(self, storage: Any, location: str) -> Any:
        if callable(self.map_location):
            placed = self.map_location(storage, location)
            if placed is not None:
                return placed
        return _tensor.move(storage, self.target(location))


def stated(pid: Any, length: int) -> tuple[StorageKind, str, str, int]:
    """The checked parts of a persistent id: what kind of storage, its key, its location, its elements."""
    if type(pid) is not tuple or len(pid) < length or pid[0] != "storage":
        raise UnpicklingError("Only persistent_load of storage is allowed")
    kind, key, location, count = pid[1:5]
    if not isinstance(kind, StorageKind) or type(key) is not str or type(location) is not str or integer(count) < 0:
        raise UnpicklingError(f"a storage with the id {pid[1:5]} is not possible")
    return kind, key, location, count


def load_zip(reader: Reader, locate: Locator, pages: memoryview | None) -> Any:
    if "constants.pkl" in reader.entries:
        raise RuntimeError(
            f"{reader.name} is a TorchScript archive [in load]. Load it in PyTorch and save its state_dict() there."
        )
    swap = "byteorder" in reader.entries and reader.read("byteorder") != sys.byteorder.encode()
    program = bytes(reader.read("data.pkl"))
    storages: dict[str, Any] = {}

    def persistent(pid: Any) -> TypedStorage:
        kind, key, location, count = stated(pid, 5)
        if key not in storages:
            storages[key] = locate(read_storage(reader, f"data/{key}", kind, count, swap, pages), location)
        return TypedStorage(storages[key], kind)

    return run(program, 0, persistent)[0]


def read_storage(
    reader: Reader, name: str, kind: StorageKind, count: int, swap: bool, pages: memoryview | None
) -> Any:
    start, size = reader.place(name)
    if size != count * kind.itemsize:
        raise reader.damaged(name, f"{size} bytes where {count} elements of {kind.itemsize} bytes were stated")
    if pages is not None and not swap:
        return _tensor.wrap(pages[start : start + size])
    storage = _tensor.allocate(size)
    reader.read_into(name, _tensor.bytes_of(storage))
    if swap:
        swap_bytes(_tensor.bytes_of(storage), kind)
    return storage


def swap_bytes(data: memoryview, kind: StorageKind) -> None:
    import numpy

    width = kind.itemsize // (2 if str(kind.dtype).endswith(("complex64", "complex128")) else 1)
    numpy.frombuffer(data, f"u{width}").byteswap(inplace=True)


def run(data: Any, position: int, persistent: Callable[[Any], Any]) -> tuple[Any, int]:
    """Executes one pickle program; returns its value and where it ended."""
    constructors = Constructors(len(data) - position)
    machine = Machine(data, constructors.find, constructors.construct, constructors.build, persistent, position)
    return machine.run(), machine.position


def no_storage(pid: Any) -> Any:
    raise UnpicklingError("Only persistent_load of storage is allowed")


def load_legacy(file: BinaryIO, name: str, locate: Locator) -> Any:
    """Five pickle programs one behind the other, then the storages' bytes."""
    data = file.read()
    magic, position = run(data, 0, no_storage)
    if magic != LEGACY_MAGIC:
        raise RuntimeError(
            f"Invalid magic number; corrupt file? [in load: {name}]. It is no checkpoint that torch.save wrote."
        )
    protocol, position = run(data, position, no_storage)
    if protocol != LEGACY_PROTOCOL:
        raise RuntimeError(f"Invalid protocol version: {protocol} [in load: {name}]. Save it again in PyTorch.")
    system, position = run(data, position, no_storage)
    swap = isinstance(system, dict) and system.get("little_endian", True) != (sys.byteorder == "little")
    legacy = LegacyStorages(len(data), locate)
    value, position = run(data, position, legacy.persistent)
    keys, position = run(data, position, no_storage)
    legacy.fill(memoryview(data), position, keys, swap)
    return value


class LegacyStorages:
    """Storages that are made while the program runs and filled from what follows it."""

    def __init__(self, available: int, locate: Locator) -> None:
        self.available, self.locate = available, locate
        self.made: dict[str, tuple[Any, StorageKind]] = {}

    def persistent(self, pid: Any) -> TypedStorage:
        kind, key, location, count = stated(pid, 6)
        if pid[5] is not None:
            raise UnpicklingError("views of storages, as PyTorch before 0.4 wrote them, are not supported")
        if key not in self.made:
            size = count * kind.itemsize
            self.available -= size
            if self.available < 0:
                raise EOFError("Ran out of input")
            storage = _tensor.allocate(size)
            if self.locate(storage, location) is not storage:
                raise RuntimeError(
                    "a checkpoint in the format before PyTorch 1.6 can be loaded to the CPU only [in load]. "
                    "Pass map_location='cpu' and move what it holds."
                )
            self.made[key] = storage, kind
        return TypedStorage(self.made[key][0], kind)

    def fill(self, data: memoryview, position: int, keys: Any, swap: bool) -> None:
        if not isinstance(keys, list) or sorted(keys) != sorted(self.made):
            raise UnpicklingError("the list of storages does not match the tensors")
        for key in keys:
            storage, kind = self.made[key]
            target = _tensor.bytes_of(storage)
            if position + 8 + len(target) > len(data):
                raise EOFError("Ran out of input")
            (count,) = struct.unpack_from("<q", data, position)
            if count * kind.itemsize != len(target):
                raise UnpicklingError(f"a storage of {count} elements where {len(target) // kind.itemsize} were stated")
            target[:] = data[position + 8 : position + 8 + len(target)]
            position += 8 + len(target)
            if swap:
                swap_bytes(target, kind)
