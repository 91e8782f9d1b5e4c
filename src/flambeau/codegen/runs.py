"""Rows made of runs, most of which lie apart in memory, of more than the caches keep.

At the beginning of a run the machine sees no direction yet, and what it asks for by itself ends with the run. So passes
that sum read some runs side by side, which it follows all at once, and ask for the next ones. The last pass reads what
is near, a run at a time, and asks for the next row.
"""

from collections.abc import Iterator

from flambeau.ir import types as t

from .memory import tail_mask
from .module import Module
from .row import RowKernel
from .rows import Operand, Rows

_TOGETHER = 8  # runs of all operands: lines at one distance from a page's beginning that the first cache keeps
_AHEAD = 1 << 18  # bytes that are asked for early at most


class RunsKernel(RowKernel):
    """A fused kernel of such rows."""


def emit(module: Module, kernel: RunsKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    Runs(module, kernel.program, "fused", classes, name).write()


class Runs(Rows):
    """Rows whose runs are summed side by side."""

    in_runs = reads_once = True

    def sum_pass(self, step) -> None:
        f, runs, begin = self.function, self.shape[1], "0"
        self.scope.open()
        for count in self.together():
            end = f.value(f"and i64 {runs}, {-count}")
            with f.loop(begin, end, count) as i1:
                self._side_by_side(step, i1, count)
            begin = end

    def together(self) -> list[int]:
        """How many runs are read side by side; of those that are left, how many then."""
        count = max(_TOGETHER // max(len(self.full_vectors()), 1), 1)
        return sorted({count, max(count // 4, 1), 1}, reverse=True)

    def _side_by_side(self, step, i1: str, count: int) -> None:
        f, length = self.function, self.shape[2]
        ways = self._ways(i1, count) if count > 1 else []
        runs = [self._run(f.add(i1, k)) for k in range(count)]
        whole = f.value(f"and i64 {length}, {-self.lanes}")
        for low, high in self.spans(whole, count):
            with f.loop(low, high, self.lanes) as i:
                streams = [
                    self.stream_of(self.scope, lambda o, at=at: at[o.number], i, first, None) for at, first in runs
                ]
                for o, way in ways:
                    for stream in streams:
                        f.fetch(f.offset(stream.address(o), way))
                step(streams)
        if self.lanes > 1:
            self.rest = f.value(f"sub i64 {length}, {whole}")
            with f.when(f.value(f"icmp sgt i64 {self.rest}, 0")), f.loop(i1, f.add(i1, count)) as k:
                _, first = self._run(k)
                step([self.stream(whole, first, tail_mask(f, self.lanes, self.rest))])

    def spans(self, whole: str, count: int) -> Iterator[tuple[str, str]]:
        """Where the whole vectors of runs that go together are read in the same way."""
        yield "0", whole

    def _run(self, i1: str) -> tuple[dict[int, str], str]:
        """Where a run begins in each operand, and the position of its first element in the row."""
        self.enter_run(i1)
        return {o.number: o.run for o in self.operands}, self.first_of(i1)

    def first_of(self, i1: str) -> str:
        """The position of a run's first element in the row."""
        f = self.function
        return f.add(f.mul(i1, self.shape[2]), self.shape[3])

    def _ways(self, i1: str, count: int) -> list[tuple[Operand, str]]:
        """Operands, and how far the next runs lie from these, if those are not too long; else 0."""
        f, operands = self.function, self.full_vectors()
        together = f.mul(self.shape[2], count * sum(t.SIZE[o.dtype] for o in operands))
        near = f.value(f"icmp sle i64 {together}, {_AHEAD}")
        more = f.value(f"icmp sle i64 {f.add(i1, 2 * count)}, {self.shape[1]}")
        ways = [(o, f.choose(more, f.mul(o.strides[1], count), self.way_on(o, i1))) for o in operands]
        return [(o, f.choose(near, way, 0)) for o, way in ways]

    def way_on(self, o: Operand, i1: str) -> str:
        """From the last runs that go together to what is read after them; 0 where another pass asks for that."""
        return "0"
