"""The user's kernel cache: one file a kernel (or a family compiled together), found by a hash of its key.

    <root>/kernels/<digest of the sources>/<hash of the key>.bin

The folder belongs to the user alone (0700, checked); files are written under another name and renamed; a checksum and
the full key stand in each. Whatever is wrong with a file or the folder (damaged, foreign, read-only, full disk), the
cache answers "not here" and kernels are generated: it never raises.
"""

import hashlib
import os
import stat
import struct
from collections.abc import Iterable
from pathlib import Path

from .link import Code

_MAGIC = b"flambeau kernel 1\n"
_KEPT_STATES = 24  # states of the sources whose kernels are kept


def encode(key: str, code: Code) -> bytes:
    """The file of a kernel: magic, checksum of the rest, key, symbols, code."""
    symbols = "\n".join(f"{name} {offset}" for name, offset in code.symbols.items())
    parts = [key.encode(), symbols.encode(), code.blob]
    body = b"".join(struct.pack("<I", len(p)) + p for p in parts)
    return _MAGIC + hashlib.blake2b(body, digest_size=16).digest() + body


def decode(data: bytes, key: str) -> Code | None:
    """The code in a file; None if the file is damaged or another key's."""
    found = decode_any(data)
    return found[1] if found is not None and found[0] == key else None


def decode_any(data: bytes) -> tuple[str, Code] | None:
    """Key and code in a file; None if the file is damaged."""
    head = len(_MAGIC) + 16
    body = data[head:]
    if data[: len(_MAGIC)] != _MAGIC or hashlib.blake2b(body, digest_size=16).digest() != data[len(_MAGIC) : head]:
        return None
    parts, at = [], 0
    for _ in range(3):
        (size,) = struct.unpack_from("<I", body, at)
        parts.append(body[at + 4 : at + 4 + size])
        at += 4 + size
    lines = (line.rsplit(" ", 1) for line in parts[1].decode().splitlines())
    return parts[0].decode(), Code(parts[2], {name: int(offset) for name, offset in lines})


def root() -> Path:
    """Where caches stand: FLAMBEAU_CACHE, else flambeau in XDG_CACHE_HOME or ~/.cache."""
    own = os.environ.get("FLAMBEAU_CACHE")
    if own:
        return Path(own)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "flambeau"


class Cache:
    """Kernels of one state of the sources.

    Attributes:
        folder: where the files are; None where no safe folder can be had.
        problem: why there is no folder, or why the last write failed.
    """

    def __init__(self, digest: str):
        self.problem: str | None = None
        self.folder: Path | None = None
        try:
            kernels = root() / "kernels"
            kernels.mkdir(mode=0o700, parents=True, exist_ok=True)
            _check_private(kernels)
            folder = kernels / digest
            fresh = not folder.exists()
            folder.mkdir(mode=0o700, exist_ok=True)
            _check_private(folder)
            self.folder = folder
            if fresh:
                forget_oldest(p for p in kernels.iterdir() if p != folder and not p.name.startswith("."))
        except (OSError, RuntimeError) as error:
            self.problem = str(error)

    def _path(self, key: str) -> Path | None:
        name = hashlib.blake2b(key.encode(), digest_size=16).hexdigest()
        return self.folder / f"{name}.bin" if self.folder else None

    def load(self, key: str) -> Code | None:
        """The code of a key, None if it is not here in good order."""
        path = self._path(key)
        try:
            return decode(path.read_bytes(), key) if path else None
        except (OSError, ValueError, struct.error):
            return None

    def store(self, key: str, code: Code) -> bool:
        """Keeps the code of a key; False if that could not be done."""
        path = self._path(key)
        if path is None:
            return False
        try:
            _write_atomically(path, encode(key, code))
        except OSError as error:
            self.problem = str(error)
            return False
        return True


def _check_private(folder: Path) -> None:
    """Raises unless the folder is a real one, the user's own and nobody else's to write."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise RuntimeError(f"{folder} is not a folder")
    if info.st_uid != os.geteuid():
        raise RuntimeError(f"{folder} belongs to another user")
    if info.st_mode & 0o077:
        folder.chmod(0o700)


def _write_atomically(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".new-{os.urandom(8).hex()}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def forget_oldest(entries: Iterable[Path]) -> None:
    """Removes all but the latest of some files, or folders of files."""
    for old in sorted(entries, key=lambda p: p.lstat().st_mtime, reverse=True)[_KEPT_STATES - 1 :]:
        if old.is_dir() and not old.is_symlink():
            for file in old.iterdir():
                file.unlink(missing_ok=True)
            old.rmdir()
        else:
            old.unlink(missing_ok=True)
