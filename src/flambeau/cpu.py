"""The CPU, where programs ask every kind of device the same questions."""

from typing import Any

from flambeau import _core, _suggest

__all__ = [
    "current_device", "device_count", "empty_cache", "is_available", "is_initialized", "memory_stats", "set_device",
    "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """True."""
    return True


def is_initialized() -> bool:
    """True."""
    return True


def device_count() -> int:
    """1."""
    return 1


def current_device() -> str:
    """`cpu`."""
    return "cpu"


def set_device(device: Any) -> None:
    """There is one CPU; nothing happens."""


def synchronize(device: Any = None) -> None:
    """Operators are done when they return; nothing happens."""


def empty_cache() -> None:
    """Gives memory that no tensor uses back to the system."""
    _core.empty_cache()


def memory_stats() -> dict[str, int]:
    """Live, peak and cached bytes of tensors, and blocks asked of the system."""
    return _core.memory_stats()


__getattr__ = _suggest.suggesting(__name__)
