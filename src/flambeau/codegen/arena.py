"""Executable memory: code is copied into fresh pages, which are then made executable and never written again.

Pages of one chunk lie together, so the system joins their mappings: ten thousand kernels take a few mappings. The
memory is private to the process, so a forked child goes on with its own copy.
"""

import ctypes
import mmap
import platform
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

_T = TypeVar("T")

_CHUNK = 4 << 20
_PAGE = max(mmap.PAGESIZE, 4096)
_NONE, _READ_WRITE, _READ_EXECUTE = 0, mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ | mmap.PROT_EXEC


class ExecutableMemoryError(RuntimeError):
    """The system refuses executable memory."""


def none_if_refused(provide: Callable[[str], _T]) -> Callable[[str], _T | None]:
    """A function that gives None where the system refuses executable memory, so that loops serve."""

    @wraps(provide)
    def given(dtype: str) -> _T | None:
        try:
            return provide(dtype)
        except ExecutableMemoryError:
            return None

    return given


class Arena:
    """Loads flat code. Not thread-safe: the caller holds the compile lock."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.mmap.restype = ctypes.c_void_p
        self._libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        self._libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        self._next = self._end = 0
        self._clear_cache = _clear_cache()

    def load(self, blob: bytes) -> int:
        """The address at which a copy of the code can be called."""
        size = -(-len(blob) // _PAGE) * _PAGE
        if self._next + size > self._end:
            self._reserve(max(size, _CHUNK))
        address = self._next
        self._protect(address, size, _READ_WRITE)
        ctypes.memmove(address, blob, len(blob))
        self._protect(address, size, _READ_EXECUTE)
        if self._clear_cache:
            self._clear_cache(ctypes.c_void_p(address), ctypes.c_void_p(address + len(blob)))
        self._next += size
        return address

    def _reserve(self, size: int) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        address = self._libc.mmap(None, size, _NONE, flags, -1, 0)
        if address in (None, ctypes.c_void_p(-1).value):
            raise MemoryError("no address space for generated code")
        self._next, self._end = address, address + size

    def _protect(self, address: int, size: int, protection: int) -> None:
        if self._libc.mprotect(address, size, protection):
            raise ExecutableMemoryError(
                f"the system refuses executable memory for generated kernels (mprotect: errno {ctypes.get_errno()})"
            )


def _clear_cache():
    """What makes written code visible to instruction fetch; x86 needs nothing."""
    if platform.machine().lower() not in ("aarch64", "arm64"):
        return None
    return getattr(ctypes.CDLL("libgcc_s.so.1"), "__clear_cache")
