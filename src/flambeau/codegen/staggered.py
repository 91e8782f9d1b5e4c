"""Rows that go past the caches, each while the next one is read.

Memory reads and writes at once, but a pass that reduces a row only reads, and the last one, over what is in a cache,
only writes: one after the other they take half as long again as a copy does. Here the first pass over a row writes the
row before it, vector by vector; the last row is written after all others.

What is read is asked for into the second cache, far ahead, in the order of memory: the machine alone stops at the end
of each page, and with what is written it does not run far enough ahead.
"""

from flambeau.ir.expr import Expr

from .module import Module, literal, llvm_type
from .row import RowKernel
from .rows import Rows, Scope, Stream


class StaggeredKernel(RowKernel):
    """A fused kernel of such rows."""


def emit(module: Module, kernel: StaggeredKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    Staggered(module, kernel.program, "fused", classes, name).write()


class Staggered(Rows):
    """Rows of which the first pass writes the one before: what was parked is taken from where the next is put."""

    lines_apart = 1
    reads_once = True

    def batch_loop(self) -> None:
        f = self.function
        self.kept = {e: f.variable(llvm_type(e.dtype), literal(0, e.dtype)) for e in self._asked_for()}
        self.further = {o.number: self.way_ahead(o) for o in self.full_vectors()}
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
        self.back: dict[int, str] = {}
        for o in self.operands:
            o.row = f.offset(o.base, f.mul(b, o.strides[0]))
            self.back[o.number] = f.value(f"sub i64 0, {o.strides[0]}")

    def _row_before(self) -> Scope:
        """What is known of the row that was read last."""
        scope = Scope(self, 1, True, self._load_scalar)
        for e, place in self.kept.items():
            scope.define(e, self.function.value(f"load {llvm_type(e.dtype)}, ptr {place}"))
        scope.open()
        return scope

    def fetch_on(self, streams: list[Stream]) -> None:
        if self.writes:
            super().fetch_on(streams)

    def meanwhile(self, streams: list[Stream]) -> None:
        if self.writes:
            with self.function.when(self.follows):
                self.write_vectors([self._stream_before(s) for s in streams])

    def _stream_before(self, stream: Stream) -> Stream:
        """The same elements of the row before."""
        return self.stream_of(self.before, lambda o: self.function.offset(o.run, self.back[o.number]), *stream.place)

    def went_over(self) -> None:
        self.writes = False

    def is_long(self, steps: int) -> str:
        return "true"

    def fetch_next(self, stream: Stream) -> None:
        """The pass that writes asks for what comes later."""
