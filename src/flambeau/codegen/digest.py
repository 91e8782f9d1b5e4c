"""The digest of everything that generated code depends on: sources of `ops`, `ir`, `codegen`, and llvmlite's version.

Hashing the sources costs some milliseconds, so the digest is kept in the cache beside the sizes and times of the files
that it was made of.
"""

import hashlib
import importlib.util
import os
import sys
from pathlib import Path

from . import cache

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ("ops", "ir", "codegen")


def _files(compiler: bool) -> list[tuple[str, int, int]]:
    """Path, size and time of every source, sorted; with `compiler` of what tells llvmlite's version too."""
    found = []
    folders = [os.path.join(_PACKAGE, f) for f in FOLDERS]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            if entry.name.endswith(".py"):
                info = entry.stat()
                found.append((entry.path, info.st_size, info.st_mtime_ns))
            elif entry.name != "__pycache__" and entry.is_dir():
                folders.append(entry.path)
    version = llvmlite_version_file() if compiler else None
    if version is not None:
        info = version.stat()
        found.append((str(version), info.st_size, info.st_mtime_ns))
    return sorted(found)


def llvmlite_version_file() -> Path | None:
    """The file in which llvmlite states its version; found without importing it, and without listing folders."""
    for folder in sys.path:
        path = os.path.join(folder, "llvmlite", "_version.py")
        if os.path.exists(path):
            return Path(path)
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("_version.py")
    return path if path.exists() else Path(spec.origin)


def sources_digest(compiler: bool = True) -> str:
    """32 hexadecimal digits.

    Args:
        compiler: llvmlite's version counts. It does not for a pack: whichever LLVM made its code, the code serves.
    """
    files = _files(compiler)
    stamp = hashlib.blake2b(repr(files).encode(), digest_size=16).hexdigest()
    remembered = cache.root() / "kernels" / f".digest-{stamp}"
    try:
        text = remembered.read_text()
        if len(text) == 32 and set(text) <= set("0123456789abcdef"):
            return text
    except (OSError, ValueError):
        pass  # not remembered, or not readable: made anew
    digest = _hash_contents([path for path, *_ in files])
    _remember(remembered, digest)
    return digest


def _hash_contents(paths: list[str]) -> str:
    contents = hashlib.blake2b(digest_size=16)
    for path in paths:
        data = Path(path).read_bytes()
        name = os.path.relpath(path, _PACKAGE) if path.startswith(_PACKAGE + os.sep) else os.path.basename(path)
        contents.update(f"{name}|{len(data)}\n".encode())
        contents.update(data)
    return contents.hexdigest()


def _remember(path: Path, digest: str) -> None:
    try:
        cache.forget_oldest(path.parent.glob(".digest-*"))
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(digest)
        os.replace(temporary, path)
    except OSError:
        pass  # a read-only cache: the sources are hashed in every process
