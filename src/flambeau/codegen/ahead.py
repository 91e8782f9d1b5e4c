"""Rows of several operands that go past the caches, asked for and written as evenly as they are done.

Memory reads and writes at once, but the passes over a row that sum only read, and the last one, over what is in a cache
by then, only writes. Here both ask for half a row each, which the next passes that sum find in the second cache: the
first for the second half of this row, the last for the first half of the next one, in the order of memory and somewhat
ahead of it. And both write: the last quarter of what the last pass makes waits in a near place until the next row is
summed.
"""

from flambeau.ir import types as t
from flambeau.ir.expr import walk

from . import elementwise
from .lanes import CACHE_LINE
from .memory import tail_mask, vectors_of_register
from .module import Module
from .row import RowKernel
from .rows import AHEAD, Operand, Rows, Stream


class AheadKernel(RowKernel):
    """A fused kernel of such rows, which follow each other in memory."""


def emit(module: Module, kernel: AheadKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    Ahead(module, kernel.program, "fused", classes, name).write()


class Ahead(Rows):
    """Rows that are asked for by halves, and written by parts."""

    together = 1  # rows that are done at once

    def batch_loop(self) -> None:
        f = self.function
        self.result = self._result()
        if self.result is None:
            return super().batch_loop()
        most = f.value(f"lshr i64 {f.mul(self.shape[2], 3)}, 2")
        self.at_once = f.value(f"and i64 {most}, {-self.accumulators * self.lanes}")
        # Vectors of what waits that are written by a step: a quarter of what it reads, but a whole register.
        self.count = max(self.accumulators // 4, vectors_of_register(self.target, self.lanes, self.result.dtype))
        self.waits = f.variable("i1", "false")
        with f.loop(0, self.shape[0]) as b:
            self.do_row(b)
            f.do(f"store i1 true, ptr {self.waits}")
        self.enter_row(self.shape[0])
        self._write_waiting(self.at_once)

    def _result(self) -> Operand | None:
        """What is written by parts: the one result that goes past the caches, if there is a place to wait in."""
        streamed = [o for o in self.outputs if o.kind == elementwise.STREAMED]
        alone = len(streamed) == 1 and self.parked is None and self.parking is not self.outputs[0]
        return streamed[0] if alone else None

    def fetch_on(self, streams: list[Stream]) -> None:
        self._fetch(streams, lambda o: self.function.mul(self.shape[4], self.together * t.SIZE[o.dtype] // 2))

    def fetch_next(self, streams: list[Stream]) -> None:
        self._fetch(streams, lambda o: self.function.mul(o.strides[0], self.together))

    def _fetch(self, streams: list[Stream], begin) -> None:
        """Asks for half as many lines as there are in some vectors of each operand that is summed, the first of a pass
        being so many bytes, and some more, after the row."""
        f, (_, i, first, _) = self.function, streams[0].place
        position = f.add(first, i)
        for o in self._summed():
            start = f.add(f.add(begin(o), AHEAD), f.mul(position, self.together * t.SIZE[o.dtype] // 2))
            lines = len(streams) * self.together * self.lanes * t.SIZE[o.dtype] // (2 * CACHE_LINE)
            for k in range(max(lines, 1)):
                f.fetch(f.offset(o.row, f.add(start, k * CACHE_LINE)))

    def _summed(self) -> list[Operand]:
        leaves = [x for x in walk([e for level in self.program.levels for e in level]) if x.op == "input"]
        return [o for o in self.full_vectors() if any(self.operand(x) is o for x in leaves)]

    def put(self, o: Operand, streams: list[Stream], values: list[list[str]]) -> None:
        """Stores elements of an output; those that wait in the place where they do."""
        if o is not self.result:
            return super().put(o, streams, values)
        if len(streams) < self.accumulators:  # at the end of the row
            return super().put(self.parking, streams, values)
        f = self.function
        now = f.value(f"icmp slt i64 {streams[0].place[1]}, {self.at_once}")
        with f.when(now):
            super().put(o, streams, values)
        with f.when(f.value(f"xor i1 {now}, true")):
            super().put(self.parking, streams, values)

    def meanwhile(self, streams: list[Stream]) -> None:
        """Writes some of what waits."""
        if self.result is None or len(streams) < self.accumulators:
            return
        f, count = self.function, self.count
        start = f.add(self.at_once, self._written(streams[0].place[1]))
        inside = f.value(f"icmp sle i64 {f.add(start, count * self.lanes)}, {self.shape[2]}")
        with f.when(f.value(f"and i1 {f.value(f'load i1, ptr {self.waits}')}, {inside}")):
            self._write([f.add(start, k * self.lanes) for k in range(count)])

    def went_over(self) -> None:
        """Writes what is left of what waits."""
        if self.result is None:
            return
        f, part = self.function, self.count * self.lanes
        steps = f.value(f"and i64 {self._written(self.shape[2])}, {-part}")
        waiting = f.value(f"sub i64 {self.shape[2]}, {self.at_once}")
        with f.when(f.value(f"load i1, ptr {self.waits}")):
            self._write_waiting(f.add(self.at_once, f.smaller(steps, f.value(f"and i64 {waiting}, {-part}"))))
        f.do(f"store i1 false, ptr {self.waits}")

    def _written(self, i: str) -> str:
        """How many elements of what waits are written by then, if there are as many."""
        return self.function.value(f"lshr i64 {i}, {(self.accumulators // self.count).bit_length() - 1}")

    def _write_waiting(self, start: str) -> None:
        """Writes what waits from an element of the row before on."""
        f, lanes = self.function, self.lanes
        whole = f.value(f"and i64 {self.shape[2]}, {-lanes}")
        with f.loop(start, whole, lanes) as i:
            self._write([i])
        if lanes > 1:
            self.rest = f.value(f"sub i64 {self.shape[2]}, {whole}")
            with f.when(f.value(f"icmp sgt i64 {self.rest}, 0")):
                self._write([whole], tail_mask(f, lanes, self.rest))

    def _write(self, places: list[str], mask: str | None = None) -> None:
        """Writes vectors of the row before."""
        f, o = self.function, self.result
        before = f.offset(o.row, f.value(f"sub i64 0, {o.strides[0]}"))
        streams = [self.stream_of(self.scope, lambda x: before if x is o else x.row, i, "0", mask) for i in places]
        super().put(o, streams, [list(s.load(self.parking)) for s in streams])
