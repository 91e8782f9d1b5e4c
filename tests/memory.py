"""What calls need of memory."""

from collections.abc import Callable
from typing import Any

import flambeau as torch
from flambeau import _core


def peak_of(call: Callable[[], Any]) -> tuple[int, Any]:
    """Bytes that a call holds at its peak, its result among them, over those held before; and the result.

    On one thread: with more, it depends on their timing how many hold scratch memory of their own at once.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        _core.reset_peak_memory()
        before = _core.memory_stats()["live_bytes"]
        result = call()
        return _core.memory_stats()["peak_bytes"] - before, result
    finally:
        torch.set_num_threads(threads)
