"""The wheel's pack: the commonest kernels of one level in one file, made when the wheel is built.

    magic, digest of the sources, length of the index, index (lines `offset size key`), records as in `cache`

A pack made from other sources than those installed is not used.
"""

import struct
from collections.abc import Mapping
from pathlib import Path

from .cache import decode, decode_any, encode
from .link import Code

_MAGIC = b"flambeau pack 1\n"


def write(path: Path, digest: str, kernels: Mapping[str, Code]) -> None:
    """Writes the pack of a level.

    Args:
        path: where to; `<level>.pack` in the package's `_pack` folder.
        digest: of the sources the kernels were generated from.
        kernels: code by key.
    """
    lines, records, offset = [], [], 0
    for key, code in sorted(kernels.items()):
        record = encode(key, code)
        lines.append(f"{offset} {len(record)} {key}")
        records.append(record)
        offset += len(record)
    index = "\n".join(lines).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([_MAGIC, digest.encode(), struct.pack("<I", len(index)), index, *records]))


def from_cache(path: Path, digest: str, folder: Path) -> int:
    """Writes the pack of a level from the files of a cache; returns the number of kernels.

    Args:
        path, digest: as for `write`.
        folder: of the cache, filled by programs that ran with it.
    """
    found = (decode_any(file.read_bytes()) for file in sorted(folder.glob("*.bin")))
    kernels = dict(pair for pair in found if pair is not None)
    write(path, digest, kernels)
    return len(kernels)


class Pack:
    """A pack that was read; empty if there is none, or one of other sources."""

    def __init__(self, path: Path, digest: str):
        self._places: dict[str, tuple[int, int]] = {}
        self._data = b""
        try:
            data = path.read_bytes()
        except OSError:
            return  # no pack
        head = len(_MAGIC) + len(digest)
        if data[:head] != _MAGIC + digest.encode() or len(data) < head + 4:
            return
        (size,) = struct.unpack_from("<I", data, head)
        start = head + 4 + size
        for line in data[head + 4 : start].decode().splitlines():
            offset, length, key = line.split(" ", 2)
            self._places[key] = (start + int(offset), int(length))
        self._data = data

    def load(self, key: str) -> Code | None:
        """The code of a key, None if it is not here in good order."""
        place = self._places.get(key)
        if place is None:
            return None
        try:
            return decode(self._data[place[0] : place[0] + place[1]], key)
        except (ValueError, struct.error):
            return None
