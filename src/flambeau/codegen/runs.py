"""Rows made of runs that lie apart in memory, of more than the caches keep: what is read later is asked for.

At the beginning of a run the machine sees no direction yet. The passes that sum ask for what they read some steps later
themselves: past the end of a run in the next one, or, where runs are short, in one further on. The last pass asks for
the next row.
"""

from flambeau.ir import types as t

from .module import Module
from .row import RowKernel
from .rows import Operand, Rows, Stream

_AHEAD = 2048  # elements between those that are read and those that are asked for


class RunsKernel(RowKernel):
    """A fused kernel of such rows."""


def emit(module: Module, kernel: RunsKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    Runs(module, kernel.program, "fused", classes, name).write()


class Runs(Rows):
    """Rows whose passes ask ahead."""

    in_runs = True

    def enter_run(self, i1: str) -> None:
        super().enter_run(i1)
        f, (_, runs, length, *_) = self.function, self.shape
        steps = f.smaller(length, _AHEAD)
        further = f.value(f"udiv i64 {_AHEAD}, {steps}")
        last = f.value(f"icmp sge i64 {f.add(i1, further)}, {runs}")
        # of each operand: how far on to ask, up to where, and how far from there on
        self.ahead: list[tuple[Operand, str, str, str]] = []
        for o in self.full_vectors():
            distance, whole = f.mul(steps, t.SIZE[o.dtype]), f.mul(length, t.SIZE[o.dtype])
            rest = f.value(f"sub i64 {whole}, {distance}")
            beyond = f.value(f"sub i64 {f.mul(o.strides[1], further)}, {rest}")
            self.ahead.append((o, distance, f.offset(o.run, rest), f.choose(last, 0, beyond)))

    def fetch_on(self, streams: list[Stream]) -> None:
        f = self.function
        for o, distance, end, beyond in self.ahead:
            inside = f.value(f"icmp ult ptr {streams[0].address(o)}, {end}")
            way = f.choose(inside, distance, beyond)
            for stream in streams:
                f.fetch(f.offset(stream.address(o), way))
