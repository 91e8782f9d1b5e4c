"""The accelerator of this machine, whatever its kind: there is none that Flambeau computes on."""

from typing import Any, NoReturn

from flambeau import _core, _suggest

__all__ = [
    "current_accelerator", "current_device_idx", "current_device_index", "current_stream", "device_count",
    "empty_cache", "is_available", "max_memory_allocated", "memory_allocated", "set_device_idx", "set_device_index",
    "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether there is an accelerator to compute on."""
    return False


def device_count() -> int:
    """How many accelerators can be used."""
    return 0


def current_accelerator(check_available: bool = False) -> _core.device | None:
    """The kind of accelerator, None where there is none."""
    return None


def _none() -> NoReturn:
    reason = _core.cuda_driver()["problem"]
    raise RuntimeError(f"Cannot access accelerator device when none is available. [{reason}]. Use device='cpu'")


def current_device_index() -> int:
    """The number of the current accelerator."""
    _none()


def set_device_index(device: Any, /) -> None:
    """Makes an accelerator the current one."""
    _none()


current_device_idx, set_device_idx = current_device_index, set_device_index


def current_stream(device: Any = None, /) -> Any:
    """The stream that work goes to."""
    _none()


def synchronize(device: Any = None, /) -> None:
    """Waits for all work on an accelerator."""
    _none()


def empty_cache() -> None:
    """Gives unused memory of accelerators back."""


def memory_allocated(device_index: Any = None, /) -> int:
    """Bytes that tensors on an accelerator hold."""
    return 0


def max_memory_allocated(device_index: Any = None, /) -> int:
    """The most bytes that tensors on an accelerator held."""
    return 0


__getattr__ = _suggest.suggesting(__name__)
