"""The zip container of checkpoints: stored records, each storage on a boundary of 64 bytes.

Reading believes nothing: a record must lie inside the file, records together may not be larger than the file, and what
was read must have the checksum that the directory states.
"""

import struct
import zipfile
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

ALIGNMENT = 64
PADDING_ID = 0x4246  # "FB", the extra field that PyTorch pads with
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
OLDEST_VERSION, NEWEST_VERSION = 1, 10


class Reader:
    """The records of one archive; `record(name)` is `data.pkl`, `data/0`, ..."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self.file, self.name = file, name
        self.length = file.seek(0, 2)
        try:
            self.entries = self.directory()
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OverflowError, struct.error) as error:
            raise RuntimeError(
                f"PytorchStreamReader failed reading zip archive: failed finding central directory [in load: {name}: "
                f"{error}]. The file is truncated or not a checkpoint; copy or save it again."
            ) from error
        self.check_version()

    def directory(self) -> dict[str, zipfile.ZipInfo]:
        with zipfile.ZipFile(self.file) as archive:
            infos = archive.infolist()
        if sum(info.file_size for info in infos) > self.length:
            raise ValueError("its records are larger than the file")
        folders = [folder for folder, _, name in (i.filename.partition("/") for i in infos) if name == "data.pkl"]
        prefix = f"{folders[0]}/" if folders else ""
        entries = {info.filename.removeprefix(prefix): info for info in infos}
        if len(entries) != len(infos):
            raise ValueError("two records have one name")
        return entries

    def check_version(self) -> None:
        name = "version" if "version" in self.entries else ".data/version"
        if name not in self.entries:
            return
        text = self.read(name).strip()
        version = int(text) if text.isdigit() and len(text) < 10 else -1
        if not OLDEST_VERSION <= version <= NEWEST_VERSION:
            raise RuntimeError(
                f"Attempted to read a PyTorch file with version {version}, but the maximum supported version for "
                f"reading is {NEWEST_VERSION} [in load: {self.name}]. Save it again with a current version."
            )

    def info(self, name: str) -> zipfile.ZipInfo:
        if name not in self.entries:
            raise RuntimeError(
                f"PytorchStreamReader failed locating file {name}: file not found [in load: {self.name}]. "
                "The archive is not a checkpoint, or is damaged."
            )
        info = self.entries[name]
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1:
            raise RuntimeError(
                f"PytorchStreamReader failed reading file {name}: compressed or encrypted [in load: {self.name}]. "
                "Pack the archive without compression (zip -0)."
            )
        return info

    def place(self, name: str) -> tuple[int, int]:
        """Where a record's bytes start in the file, and how many there are."""
        info = self.info(name)
        self.file.seek(info.header_offset)
        header = self.file.read(LOCAL_HEADER.size)
        if len(header) < LOCAL_HEADER.size or header[:4] != b"PK\3\4":
            raise self.damaged(name, "no header")
        *_, name_length, extra_length = LOCAL_HEADER.unpack(header)
        start = info.header_offset + LOCAL_HEADER.size + name_length + extra_length
        if start + info.file_size > self.length:
            raise self.damaged(name, "it ends behind the file")
        return start, info.file_size

    def read(self, name: str) -> bytearray:
        data = bytearray(self.info(name).file_size)
        self.read_into(name, memoryview(data))
        return data

    def read_into(self, name: str, target: memoryview) -> None:
        """Fills `target` with the record, whose size it has."""
        start, size = self.place(name)
        if len(target) != size:
            raise self.damaged(name, f"{size} bytes where {len(target)} were stated")
        self.file.seek(start)
        fill(self.file, target)
        if zlib.crc32(target) != self.entries[name].CRC:
            raise self.damaged(name, "its checksum is wrong")

    def damaged(self, name: str, why: str) -> RuntimeError:
        return RuntimeError(
            f"PytorchStreamReader failed reading file {name}: file read failed [in load: {self.name}: {why}]. "
            "The file is damaged; copy or save it again."
        )


def fill(file: BinaryIO, target: memoryview) -> None:
    """Reads exactly as many bytes as `target` holds."""
    done = 0
    read_into: Callable[[Any], int | None] | None = getattr(file, "readinto", None)
    while done < len(target):
        if read_into is not None:
            count = read_into(target[done:]) or 0
        else:
            piece = file.read(len(target) - done)
            count = len(piece)
            target[done : done + count] = piece
        if count == 0:
            raise EOFError("Ran out of input")
        done += count


class Stream:
    """What `zipfile` writes through: counts, never seeks, so that any object with `write` serves."""

    def __init__(self, write: Callable[[Any], Any]) -> None:
        self.write_bytes, self.position = write, 0

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        size, done = len(view), 0
        while done < size:
            written = self.write_bytes(view[done:])
            done += size - done if written is None else written
        self.position += size
        return size

    def tell(self) -> int:
        return self.position

    def flush(self) -> None:
        pass


class Writer:
    """Writes records one behind the other; the end of the `with` block finishes the archive."""

    def __init__(self, write: Callable[[Any], Any], folder: str) -> None:
        self.folder = folder
        self.stream = Stream(write)
        self.archive = zipfile.ZipFile(self.stream, "w", zipfile.ZIP_STORED, allowZip64=True)  # type: ignore[call-overload]

    def add(self, name: str, data: Any) -> None:
        """Writes a record whose bytes begin on a boundary."""
        view = memoryview(data).cast("B")
        info = zipfile.ZipInfo(f"{self.folder}/{name}")
        info.file_size = len(view)
        large = len(view) * 1.05 > zipfile.ZIP64_LIMIT
        info.flag_bits |= 0x08
        unpadded = self.stream.position + len(info.FileHeader(large)) + 4
        padding = -unpadded % ALIGNMENT
        info.extra = struct.pack("<HH", PADDING_ID, padding) + b"\0" * padding
        with self.archive.open(info, "w", force_zip64=large) as record:
            for start in range(0, len(view), 1 << 24):
                record.write(view[start : start + (1 << 24)])

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            # zipfile writes its directory whatever happened; here it goes nowhere.
            self.stream.write_bytes = len
        self.archive.close()
