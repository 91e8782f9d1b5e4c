"""A file appears whole or not at all: written beside its place, synced, then renamed."""

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def replacing(path: str | os.PathLike, size: int, doing: str) -> Iterator[BinaryIO]:
    """Yields a file that takes the place of `path` when the block ends well, and vanishes when it does not.

    Args:
        path: where the file shall stand; links are followed, devices and pipes are written directly.
        size: about how many bytes will be written; the disk is asked first.
        doing: the call that errors name.
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise RuntimeError(f"Parent directory {target.parent} does not exist. [in {doing}: {path}]. Make it first.")
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, f"Is a directory [in {doing}]. Name a file in it", str(path))
    if target.exists() and not stat.S_ISREG(target.stat().st_mode):
        with open(target, "wb") as file:
            yield file
        return
    require_space(target.parent, size, doing, path)
    draft = target.with_name(f".{target.name[:200]}.{os.urandom(6).hex()}.tmp")
    try:
        with open(draft, "xb") as file:
            if target.exists():
                os.chmod(draft, stat.S_IMODE(target.stat().st_mode))
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise full(target.parent, size, doing, path) from error
        raise
    finally:
        # After the rename there is nothing left to remove.
        draft.unlink(missing_ok=True)
    sync_folder(target.parent)


def require_space(folder: Path, size: int, doing: str, path: str | os.PathLike) -> None:
    if shutil.disk_usage(folder).free < size:
        raise full(folder, size, doing, path)


def full(folder: Path, size: int, doing: str, path: str | os.PathLike) -> OSError:
    free = shutil.disk_usage(folder).free
    return OSError(
        errno.ENOSPC,
        f"No space left on device [in {doing}: {size:,} bytes needed, {free:,} free in {folder}; an earlier file of "
        "this name is untouched]. Free some space or name another folder",
        str(path),
    )


def sync_folder(folder: Path) -> None:
    """Makes the rename itself survive a power cut, where the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
