"""`distributed`: what programs ask that can run in several processes, answered for the one that there is.

`is_available()` says no, as in a PyTorch that was built without it, and everything that needs a group of processes
says that there is none.
"""

from enum import Enum
from typing import Any

from flambeau import _suggest
from flambeau.distributed import nn
from flambeau.distributed._group import needs_a_group as _needs_a_group

_NEED_A_GROUP = (
    "all_gather", "all_gather_into_tensor", "all_gather_object", "all_reduce", "all_to_all", "all_to_all_single",
    "barrier", "batch_isend_irecv", "broadcast", "broadcast_object_list", "gather", "gather_object", "get_backend",
    "get_global_rank", "get_group_rank", "get_process_group_ranks", "get_rank", "get_world_size", "irecv", "isend",
    "monitored_barrier", "new_group", "recv", "reduce", "reduce_scatter", "reduce_scatter_tensor", "scatter",
    "scatter_object_list", "send",
)  # fmt: skip

__all__ = [
    "ProcessGroup", "ReduceOp", "destroy_process_group", "init_process_group", "is_available", "is_gloo_available",
    "is_initialized", "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "nn", *_NEED_A_GROUP,
]  # fmt: skip


class ReduceOp(Enum):
    """How a collective combines what the processes have."""

    SUM, AVG, PRODUCT, MIN, MAX, BAND, BOR, BXOR = range(8)


class ProcessGroup:
    """A group of processes: the type that annotations name."""


def is_available() -> bool:
    """Whether there can be several processes: no."""
    return False


def is_initialized() -> bool:
    """Whether there is a group of processes: no."""
    return False


def is_torchelastic_launched() -> bool:
    """Whether PyTorch's launcher started this process: it could not."""
    return False


is_gloo_available = is_mpi_available = is_nccl_available = is_available


def init_process_group(backend: str | None = None, *args: Any, **options: Any) -> None:
    """Raises: there are no groups of processes so far.

    Raises:
        RuntimeError: always.
    """
    raise RuntimeError(
        f"Flambeau runs in one process so far [in init_process_group: backend={backend}]. Start the program without "
        "a launcher; programs that ask distributed.is_available() do so by themselves."
    )


def destroy_process_group(group: Any = None) -> None:
    """Raises: there is no group of processes.

    Raises:
        AssertionError: always.
    """
    raise AssertionError("Process group cannot be None")


globals().update({_name: _needs_a_group(_name) for _name in _NEED_A_GROUP})

__getattr__ = _suggest.suggesting(__name__)
