"""Streams, events and graphs: each needs a GPU."""

from types import TracebackType
from typing import Any

from ._device import Device, init


class _OnGpu:
    """What exists on a GPU only: making one raises and says why."""

    def __new__(cls, *args: Any, **options: Any) -> "_OnGpu":
        init()


class Stream(_OnGpu):
    """Work of a GPU that runs in order."""


class ExternalStream(Stream):
    """A stream that other code made."""


class Event(_OnGpu):
    """A mark in a stream."""


class CUDAGraph(_OnGpu):
    """Recorded work of a GPU."""


class graph(_OnGpu):
    """`with torch.cuda.graph(g):` records the work of a GPU."""


class StreamContext:
    """`with torch.cuda.stream(s):` sends work to a stream; None changes nothing."""

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream

    def __enter__(self) -> None:
        """Nothing changes: there is no stream but None."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing was changed."""


def stream(stream: Stream | None) -> StreamContext:
    """Sends the work of a block to a stream; None changes nothing."""
    return StreamContext(stream)


def set_stream(stream: Stream | None) -> None:
    """Sends work to a stream from now on; None changes nothing."""


def current_stream(device: Device = None) -> Stream:
    """The stream that work goes to."""
    init()


def default_stream(device: Device = None) -> Stream:
    """The stream that work goes to at first."""
    init()


def is_current_stream_capturing() -> bool:
    """Whether work is recorded to a graph."""
    return False


def make_graphed_callables(callables: Any, sample_args: Any, **options: Any) -> Any:
    """Functions whose work on a GPU is recorded once and repeated."""
    init()
