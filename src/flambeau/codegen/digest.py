"""The digest of everything that generated code depends on: sources of `ops`, `ir`, `codegen`, and llvmlite's version.

Hashing the sources costs some milliseconds, so the digest is kept in the cache beside the sizes and times of the files
that it was made of.
"""

import hashlib
import importlib.util
import os
from pathlib import Path

from . import cache

_PACKAGE = Path(__file__).resolve().parent.parent
FOLDERS = ("ops", "ir", "codegen")


def _files() -> list[Path]:
    files = []
    for folder in FOLDERS:
        for directory, _, names in os.walk(_PACKAGE / folder):
            files.extend(Path(directory, name) for name in names if name.endswith(".py"))
    version = llvmlite_version_file()
    return sorted(files) + ([version] if version else [])


def llvmlite_version_file() -> Path | None:
    """The file in which llvmlite states its version; found without importing it."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).with_name("_version.py")
    return path if path.exists() else Path(spec.origin)


def sources_digest() -> str:
    """32 hexadecimal digits."""
    files = _files()
    stamp = hashlib.blake2b(digest_size=16)
    for f in files:
        info = f.stat()
        stamp.update(f"{f}|{info.st_size}|{info.st_mtime_ns}\n".encode())
    remembered = cache.root() / "kernels" / f".digest-{stamp.hexdigest()}"
    try:
        text = remembered.read_text()
        if len(text) == 32 and set(text) <= set("0123456789abcdef"):
            return text
    except (OSError, ValueError):
        pass
    digest = _hash_contents(files)
    _remember(remembered, digest)
    return digest


def _hash_contents(files: list[Path]) -> str:
    contents = hashlib.blake2b(digest_size=16)
    for f in files:
        data = f.read_bytes()
        name = f.relative_to(_PACKAGE) if f.is_relative_to(_PACKAGE) else f.name
        contents.update(f"{name}|{len(data)}\n".encode())
        contents.update(data)
    return contents.hexdigest()


def _remember(path: Path, digest: str) -> None:
    try:
        for old in path.parent.glob(".digest-*"):
            old.unlink(missing_ok=True)
        temporary = path.with_name(f"{path.name}.{os.getpid()}")
        temporary.write_text(digest)
        os.replace(temporary, path)
    except OSError:
        pass  # a read-only cache: the sources are hashed in every process
