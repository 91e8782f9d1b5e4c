"""GPUs of Apple, as names: Flambeau does not compute on them."""

from typing import NoReturn

from flambeau import _suggest

__all__ = [
    "current_allocated_memory", "device_count", "driver_allocated_memory", "empty_cache", "is_available",
    "manual_seed", "recommended_max_memory", "seed", "set_per_process_memory_fraction", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """There is no generator to seed; nothing happens."""
    int(seed)


def seed() -> None:
    """There is no generator to seed; nothing happens."""


def _none(what: str) -> NoReturn:
    raise RuntimeError(f"Cannot execute {what}() without MPS backend. [Flambeau computes on the CPU]. Use device='cpu'")


def synchronize() -> None:
    """Waits for all work on the GPU."""
    _none("deviceSynchronize")


def empty_cache() -> None:
    """Gives unused memory back."""
    _none("emptyCache")


def current_allocated_memory() -> int:
    """Bytes that tensors hold."""
    _none("getCurrentAllocatedMemory")


def driver_allocated_memory() -> int:
    """Bytes taken from the driver."""
    _none("getDriverAllocatedMemory")


def recommended_max_memory() -> int:
    """Bytes that programs should keep below."""
    _none("recommendedMaxMemory")


def set_per_process_memory_fraction(fraction: float) -> None:
    """Limits what this process may take."""
    _none("setMemoryFraction")


__getattr__ = _suggest.suggesting(__name__)
