"""safetensors files: a JSON header that names each tensor's place, then the bytes. Read with every bound checked."""

import itertools
import json
import mmap
import os
import sys
from collections.abc import Iterator
from typing import Any, BinaryIO

from flambeau.serialization import _tensor
from flambeau.serialization.archive import fill
from flambeau.serialization.atomic import replacing

# In the library's order: narrow elements first.
DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "F8_E5M2": "float8_e5m2", "F8_E4M3": "float8_e4m3fn",
    "I16": "int16", "U16": "uint16", "F16": "float16", "BF16": "bfloat16",
    "I32": "int32", "U32": "uint32", "F32": "float32", "C64": "complex64", "F64": "float64", "I64": "int64",
    "U64": "uint64",
}  # fmt: skip
CODES = {name: code for code, name in DTYPES.items()}
RANKS = {name: rank for rank, name in enumerate(CODES)}
MAX_HEADER = 100_000_000
METADATA = "__metadata__"


class SafetensorError(Exception):
    """The file is not a safetensors file, or is damaged."""


class Entry:
    """One tensor of the header."""

    def __init__(self, name: str, stated: Any) -> None:
        if not isinstance(stated, dict) or set(stated) != {"dtype", "shape", "data_offsets"}:
            raise SafetensorError(f"tensor {name!r}: its entry must have dtype, shape and data_offsets")
        if stated["dtype"] not in DTYPES:
            raise SafetensorError(f"tensor {name!r}: dtype {stated['dtype']!r} is not supported")
        self.name, self.code, self.shape = name, stated["dtype"], whole_numbers(name, stated["shape"])
        offsets = whole_numbers(name, stated["data_offsets"])
        if len(offsets) != 2 or offsets[0] > offsets[1]:
            raise SafetensorError(f"tensor {name!r}: data_offsets {offsets} are not a range")
        self.begin, self.end = offsets
        self.dtype = _tensor.dtype(DTYPES[self.code])
        size = _tensor.itemsize(self.dtype)
        for n in self.shape:
            size *= n
        if size != self.end - self.begin:
            raise SafetensorError(
                f"tensor {name!r}: {self.end - self.begin} bytes where shape {self.shape} of {self.code} needs {size}"
            )

    def stride(self) -> tuple[int, ...]:
        strides, step = [], 1
        for n in reversed(self.shape):
            strides.append(step)
            step *= max(n, 1)
        return tuple(reversed(strides))


def whole_numbers(name: str, values: Any) -> list[int]:
    if not isinstance(values, list) or any(type(v) is not int or not 0 <= v < 1 << 63 for v in values):
        raise SafetensorError(f"tensor {name!r}: {values!r} must be a list of whole numbers")
    return values


def no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise SafetensorError("a name stands twice in the header")
    return found


class Header:
    """The checked header: entries by name, metadata, and where the data begin."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        try:
            self.read(file)
        except (SafetensorError, ValueError, RecursionError) as error:
            raise SafetensorError(
                f"Error while deserializing header: {error} [in load_file: {name}]. The file is truncated or not a "
                "safetensors file."
            ) from error

    def read(self, file: BinaryIO) -> None:
        length = file.seek(0, 2)
        file.seek(0)
        size = int.from_bytes(file.read(8), "little")
        self.start = 8 + size
        if length < 8 or size > MAX_HEADER or self.start > length:
            raise SafetensorError(f"a header of {size:,} bytes in a file of {length:,}")
        header = json.loads(file.read(size), object_pairs_hook=no_duplicates)
        if not isinstance(header, dict):
            raise SafetensorError("the header must be a JSON object")
        self.metadata = header.pop(METADATA, None)
        if self.metadata is not None and not (
            isinstance(self.metadata, dict) and all(isinstance(v, str) for v in self.metadata.values())
        ):
            raise SafetensorError("the metadata must be text")
        self.entries = {name: Entry(name, stated) for name, stated in header.items()}
        end = 0
        for entry in sorted(self.entries.values(), key=lambda e: (e.begin, e.end)):
            if entry.begin != end:
                raise SafetensorError(f"tensor {entry.name!r}: bytes overlap or are missing before it")
            end = entry.end
        if self.start + end != length:
            raise SafetensorError(f"{length - self.start:,} bytes of data where the header states {end:,}")


class Slice:
    """A tensor of an open file, read as far as it is indexed."""

    def __init__(self, file: "safe_open", entry: Entry) -> None:
        self.file, self.entry = file, entry

    def get_shape(self) -> list[int]:
        """The tensor's shape."""
        return list(self.entry.shape)

    def get_dtype(self) -> str:
        """The tensor's dtype, in the file's words (`F32`)."""
        return self.entry.code

    def __getitem__(self, index: Any) -> Any:
        return self.file.place(self.file.mapped(self.entry)[index].clone())


class safe_open:
    """Opens a safetensors file and reads tensors one by one.

    Args:
        filename: the file.
        framework: accepted for compatibility (`pt`).
        device: where tensors go.

    Example:
        >>> with safe_open("model.safetensors") as f:
        ...     weight = f.get_tensor("fc.weight")
    """

    def __init__(self, filename: str | os.PathLike, framework: str = "pt", device: Any = "cpu") -> None:
        self.device = device
        with open(filename, "rb") as file:
            self.header = Header(file, os.fspath(filename))
            self.pages = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))

    def __enter__(self) -> "safe_open":
        return self

    def __exit__(self, *exception: object) -> None:
        # The pages live as long as a tensor uses them.
        self.pages = memoryview(b"")

    def keys(self) -> list[str]:
        """The tensors' names."""
        return sorted(self.header.entries)

    def metadata(self) -> dict[str, str] | None:
        """The text that was saved with the tensors."""
        return self.header.metadata

    def get_tensor(self, name: str) -> Any:
        """Reads one tensor."""
        return self.place(self.mapped(self.entry(name)).clone())

    def get_slice(self, name: str) -> Slice:
        """A tensor to be read in part: `f.get_slice("weight")[:, 10:20]`."""
        return Slice(self, self.entry(name))

    def entry(self, name: str) -> Entry:
        if name not in self.header.entries:
            raise SafetensorError(f"File does not contain tensor {name}")
        return self.header.entries[name]

    def mapped(self, entry: Entry) -> Any:
        start = self.header.start
        data = host_order(self.pages[start + entry.begin : start + entry.end], entry)
        return _tensor.view(_tensor.wrap(data), entry.dtype, 0, tuple(entry.shape), entry.stride())

    def place(self, tensor: Any) -> Any:
        return tensor if str(self.device) == "cpu" else tensor.to(self.device)


def host_order(data: memoryview, entry: Entry) -> memoryview:
    """Files are little-endian."""
    if sys.byteorder == "little":
        return data
    import numpy

    width = min(_tensor.itemsize(entry.dtype), 4 if entry.code == "C64" else 8)
    return memoryview(numpy.frombuffer(data, f"u{width}").byteswap().data).cast("B")


def load_file(filename: str | os.PathLike, device: Any = "cpu") -> dict[str, Any]:
    """Reads all tensors of a file.

    Raises:
        SafetensorError: the file is truncated, damaged or something else.
    """
    with open(filename, "rb") as file:
        header = Header(file, os.fspath(filename))
        return {name: read_tensor(file, header, entry, device) for name, entry in header.entries.items()}


def read_tensor(file: BinaryIO, header: Header, entry: Entry, device: Any) -> Any:
    storage = _tensor.allocate(entry.end - entry.begin)
    target = _tensor.bytes_of(storage)
    file.seek(header.start + entry.begin)
    fill(file, target)
    target[:] = host_order(target, entry)
    tensor = _tensor.view(storage, entry.dtype, 0, tuple(entry.shape), entry.stride())
    return tensor if str(device) == "cpu" else tensor.to(device)


def save_file(tensors: dict[str, Any], filename: str | os.PathLike, metadata: dict[str, str] | None = None) -> None:
    """Writes tensors under their names, atomically.

    Args:
        tensors: contiguous or not; none may share memory with another.
        filename: the file.
        metadata: text to keep with them.
    """
    check_savable(tensors, metadata)
    # Wide elements first, as the library does: each tensor is then aligned to its element.
    order = sorted(tensors, key=lambda name: (-RANKS[_tensor.dtype_name(tensors[name].dtype)], name))
    header: dict[str, Any] = {METADATA: metadata} if metadata else {}
    position = 0
    for name in order:
        tensor = tensors[name]
        size = tensor.numel() * _tensor.itemsize(tensor.dtype)
        code = CODES[_tensor.dtype_name(tensor.dtype)]
        header[name] = {"dtype": code, "shape": list(tensor.size()), "data_offsets": [position, position + size]}
        position += size
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    with replacing(filename, 8 + len(text) + position, "save_file") as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            file.write(tensor_bytes(tensors[name]))


def tensor_bytes(tensor: Any) -> memoryview:
    tensor = tensor.detach().to("cpu").contiguous()
    itemsize = _tensor.itemsize(tensor.dtype)
    start = tensor.storage_offset() * itemsize
    data = _tensor.bytes_of(_tensor.storage_of(tensor))[start : start + tensor.numel() * itemsize]
    if sys.byteorder == "little":
        return data
    return host_order(data, Entry("", {"dtype": CODES[_tensor.dtype_name(tensor.dtype)], "shape": [tensor.numel()],
                                       "data_offsets": [0, len(data)]}))  # fmt: skip


def check_savable(tensors: dict[str, Any], metadata: dict[str, str] | None) -> None:
    if not isinstance(tensors, dict):
        raise ValueError(f"Expected a dict of [str, torch.Tensor] but received {type(tensors)}")
    for name, tensor in tensors.items():
        if not isinstance(name, str) or not isinstance(tensor, _tensor.Tensor):
            raise ValueError(f"Key `{name}` is invalid, expected torch.Tensor but received {type(tensor)}")
        if _tensor.dtype_name(tensor.dtype) not in CODES:
            raise ValueError(f"Key `{name}`: dtype {tensor.dtype} has no place in safetensors files")
    if metadata and not all(isinstance(k, str) and isinstance(v, str) for k, v in metadata.items()):
        raise ValueError("metadata must be a dict of text to text")
    for first, second in overlapping(tensors):
        raise RuntimeError(
            f"Some tensors share memory, this will lead to duplicate memory on disk and potential differences when "
            f"loading them again: [{{{first!r}, {second!r}}}] [in save_file]. Leave one of them out, or save a clone()."
        )


def overlapping(tensors: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Pairs of names whose bytes overlap in one storage."""
    spans = []
    for name, tensor in tensors.items():
        if tensor.numel() and tensor.device.type != "meta":
            itemsize = _tensor.itemsize(tensor.dtype)
            first = tensor.storage_offset() * itemsize
            last = first + sum((n - 1) * s for n, s in zip(tensor.size(), tensor.stride(), strict=True)) * itemsize
            spans.append((_tensor.identity(_tensor.storage_of(tensor)), first, last, name))
    spans.sort()
    for before, after in itertools.pairwise(spans):
        if before[0] == after[0] and after[1] <= before[2]:
            yield before[3], after[3]
