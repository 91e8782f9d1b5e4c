"""GPUs of Intel, as names: Flambeau does not compute on them."""

from typing import Any, NoReturn

from flambeau import _suggest

__all__ = [
    "current_device", "device_count", "empty_cache", "get_device_name", "get_device_properties", "is_available",
    "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "memory_allocated", "memory_reserved", "set_device", "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """False."""
    return False


def is_initialized() -> bool:
    """False."""
    return False


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """False."""
    return False


def device_count() -> int:
    """0."""
    return 0


def manual_seed(seed: int) -> None:
    """There is no generator to seed; nothing happens."""
    int(seed)


manual_seed_all = manual_seed


def empty_cache() -> None:
    """There is no memory to give back; nothing happens."""


def memory_allocated(device: Any = None) -> int:
    """0."""
    return 0


max_memory_allocated = memory_reserved = memory_allocated


def _none() -> NoReturn:
    raise AssertionError("Torch not compiled with XPU enabled [Flambeau computes on the CPU]. Use device='cpu'")


def current_device() -> int:
    """The number of the current GPU."""
    _none()


def set_device(device: Any) -> None:
    """Makes a GPU the current one."""
    _none()


def get_device_name(device: Any = None) -> str:
    """The name of a GPU."""
    _none()


def get_device_properties(device: Any = None) -> Any:
    """Name and memory of a GPU."""
    _none()


def synchronize(device: Any = None) -> None:
    """Waits for all work on a GPU."""
    _none()


__getattr__ = _suggest.suggesting(__name__)
