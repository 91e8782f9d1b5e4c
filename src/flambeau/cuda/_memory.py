"""Memory of GPUs: none is in use."""

from collections import OrderedDict
from typing import Any

from ._device import Device, init


def empty_cache() -> None:
    """Gives unused memory of GPUs back to the driver."""


def memory_allocated(device: Device = None) -> int:
    """Bytes that tensors on a GPU hold."""
    return 0


def max_memory_allocated(device: Device = None) -> int:
    """The most bytes that tensors on a GPU held."""
    return 0


def memory_reserved(device: Device = None) -> int:
    """Bytes that were taken from the driver of a GPU."""
    return 0


def max_memory_reserved(device: Device = None) -> int:
    """The most bytes that were taken from the driver of a GPU."""
    return 0


memory_cached, max_memory_cached = memory_reserved, max_memory_reserved


def memory_stats(device: Device = None) -> "OrderedDict[str, Any]":
    """Counters of the allocator of a GPU."""
    return OrderedDict()


def memory_snapshot() -> list[dict[str, Any]]:
    """The blocks of the allocators of GPUs."""
    return []


def reset_peak_memory_stats(device: Device = None) -> None:
    """Peaks start from what is in use now."""


def reset_accumulated_memory_stats(device: Device = None) -> None:
    """Counts start from 0."""


reset_max_memory_allocated = reset_max_memory_cached = reset_peak_memory_stats


def memory_summary(device: Device = None, abbreviated: bool = False) -> str:
    """The counters of the allocator of a GPU as a table."""
    init()


def mem_get_info(device: Device = None) -> tuple[int, int]:
    """Free and total bytes of a GPU."""
    init()


def set_per_process_memory_fraction(fraction: float, device: Device = None) -> None:
    """Limits what this process may take of a GPU's memory."""
    init()


def caching_allocator_alloc(size: int, device: Device = None, stream: Any = None) -> int:
    """Memory of a GPU, as an address."""
    init()


def caching_allocator_delete(mem_ptr: int) -> None:
    """Gives back what caching_allocator_alloc gave."""
    init()
