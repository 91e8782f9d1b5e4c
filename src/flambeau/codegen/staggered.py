"""Rows that go past the caches, each while the next one is read.

Memory reads and writes at once, but a pass that reduces a row only reads, and the last one, over what is in a cache,
only writes: one after the other they take half as long again as a copy does. Here the first pass over a row writes the
row before it, vector by vector; the last row is written after all others.

What is read is asked for into the second cache, far ahead, in the order of memory: the machine alone stops at the end
of each page, and with what is written it does not run far enough ahead. Runs that lie apart are read side by side (see
`runs`), but written one after the other: as many lines at one distance from a page's beginning are more than the first
cache keeps.
"""

from collections.abc import Iterator

from flambeau.ir import types as t
from flambeau.ir.expr import Expr

from .lanes import CACHE_LINE
from .module import Module, literal, llvm_type
from .row import RowKernel
from .rows import AHEAD, Operand, Rows, Scope, Stream
from .runs import Runs


class StaggeredKernel(RowKernel):
    """A fused kernel of such rows."""


class StaggeredRunsKernel(StaggeredKernel):
    """The same for rows made of runs that lie apart."""


def emit(module: Module, kernel: StaggeredKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    writer = StaggeredRuns if isinstance(kernel, StaggeredRunsKernel) else Staggered
    writer(module, kernel.program, "fused", classes, name).write()


class Staggered(Rows):
    """Rows of which the first pass writes the one before: what was parked is taken from where the next is put."""

    reads_once = True

    def batch_loop(self) -> None:
        f = self.function
        self.kept = {e: f.variable(llvm_type(e.dtype), literal(0, e.dtype)) for e in self._asked_for()}
        self.further = {o.number: self._way_ahead(o) for o in self.full_vectors()}
        with f.loop(0, self.shape[0]) as b:
            self._enter(b)
            self.before, self.writes = self._row_before(), True
            self.reduce_row(b)
            self.scope.open()
            for e, place in self.kept.items():
                f.do(f"store {llvm_type(e.dtype)} {self.scope.scalar(e)}, ptr {place}")
            self.write_once()
        self._enter(f.value(f"sub i64 {self.shape[0]}, 1"))
        self.scope, self.next_rows = self._row_before(), {}
        self.write_rows()

    def _asked_for(self) -> list[Expr]:
        """What a whole row has in common and is asked for where it is written."""
        roots = [e for _, r in self.over_row() for e in r]
        return self.outermost(roots, lambda e: not self.varies(e) and e.op not in ("const", "param"))

    def _enter(self, b: str) -> None:
        """Goes to a row; whether there is one before it, and how far from its operands those of that one are."""
        f = self.function
        self.follows = f.value(f"icmp sgt i64 {b}, 0")
        self.enter_row(b)
        self.back = {o.number: f.value(f"sub i64 0, {o.strides[0]}") for o in self.operands}

    def _row_before(self) -> Scope:
        """What is known of the row that was read last."""
        scope = Scope(self, 1, True, self._load_scalar)
        for e, place in self.kept.items():
            scope.define(e, self.function.value(f"load {llvm_type(e.dtype)}, ptr {place}"))
        scope.open()
        return scope

    def _way_ahead(self, o: Operand) -> str:
        """Bytes to what is asked for from what is read: on in memory, or to the next row where rows lie apart."""
        f = self.function
        dense = f.value(f"icmp eq i64 {o.strides[0]}, {f.mul(self.shape[4], t.SIZE[o.dtype])}")
        return f.choose(dense, AHEAD, o.strides[0])

    def fetch_on(self, streams: list[Stream]) -> None:
        for number, way in self.further.items() if self.writes else ():
            o = self.operands[number]
            for stream in streams[:: max(1, CACHE_LINE // (self.lanes * t.SIZE[o.dtype]))]:
                self.function.fetch(self.function.offset(stream.address(o), way))

    def meanwhile(self, streams: list[Stream]) -> None:
        if self.writes:
            with self.function.when(self.follows):
                self.write_vectors([self._stream_before(s) for s in streams])

    def _stream_before(self, stream: Stream) -> Stream:
        """The same elements of the row before."""
        run, *place = stream.place
        return self.stream_of(self.before, lambda o: self.function.offset(run(o), self.back[o.number]), *place)

    def went_over(self) -> None:
        self.writes = False

    def is_long(self, steps: int) -> str:
        return "true"

    def fetch_next(self, streams: list[Stream]) -> None:
        """The pass that writes asks for what comes later."""


class StaggeredRuns(Staggered, Runs):
    """Runs that are summed side by side, while those of the row before are written one after the other."""

    in_blocks = False

    def reduce_row(self, b: str) -> None:
        f = self.function
        self.later = f.value(f"icmp slt i64 {f.add(b, 1)}, {self.shape[0]}")
        self.cursor = f.variable("i64", "0"), f.variable("i64", "0")  # a run of the row before, and an element of it
        super().reduce_row(b)

    def fetch_on(self, streams: list[Stream]) -> None:
        """What lies side by side is asked for by those who read it."""

    def way_on(self, o: Operand, i1: str) -> str:
        """After the last runs, the first ones of the next row."""
        f = self.function
        back = f.value(f"sub i64 {o.strides[0]}, {f.mul(o.strides[1], i1)}")
        return f.choose(self.later, back, 0)

    def together(self) -> list[int]:
        """Rows that are read again, as a guess was bad, are few: a run at a time."""
        return super().together() if self.writes else [1]

    def spans(self, whole: str, count: int) -> Iterator[tuple[str, str]]:
        """Of many runs, what is as much as whole blocks of as many neighbours comes first: those are written."""
        if not self.writes or count <= 2:
            yield from super().spans(whole, count)
            return
        self.blocks = self.function.value(f"and i64 {whole}, {-count * self.lanes}")
        self.in_blocks = True
        yield "0", self.blocks
        self.in_blocks = False
        yield self.blocks, whole

    def meanwhile(self, streams: list[Stream]) -> None:
        if not self.in_blocks:
            return super().meanwhile(streams)
        with self.function.when(self.follows):
            self.write_vectors(self._next_before(len(streams)))

    def _next_before(self, count: int) -> list[Stream]:
        """The next block of the row before."""
        f = self.function
        run, at = (f.value(f"load i64, ptr {c}") for c in self.cursor)
        runs = {o.number: f.offset(o.row, f.add(self.back[o.number], f.mul(run, o.strides[1]))) for o in self.operands}
        first = self.first_of(run)
        streams = [
            self.stream_of(self.before, lambda o: runs[o.number], f.add(at, k * self.lanes), first, None)
            for k in range(count)
        ]
        further = f.add(at, count * self.lanes)
        ends = f.value(f"icmp sge i64 {further}, {self.blocks}")
        f.do(f"store i64 {f.choose(ends, f.add(run, 1), run)}, ptr {self.cursor[0]}")
        f.do(f"store i64 {f.choose(ends, 0, further)}, ptr {self.cursor[1]}")
        return streams
