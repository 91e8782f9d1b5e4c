"""Columns that several passes go over: a band of them is copied to where it is dense while the first pass reads it.

Rows of a large matrix lie whole pages apart, so that a band of its columns would meet in few lines of a cache and be
gone before the next pass. The copies stay near, so memory is read once. Operands beyond those of a fused kernel: a copy
of each operand of role F that lies in the direction of the lanes, in what is computed in.

To walk over 256 bytes of each row is slower than to go in the order of memory; docs/architecture.md says how much, and
which other widths and orders were tried. Rows are asked for into the second cache: in the first one, lines that lie
whole pages apart push each other out.

A column's sums are taken over some rows at a time: as exact as where a column is cut.
"""

from typing import Any

from flambeau.ir import types as t

from .columns import Columns
from .module import Module
from .row import RowKernel
from .row_program import RowProgram
from .states import initial

_COLUMNS = 4  # vectors of them in a band
_ROWS_AHEAD = 24  # that are fetched before they are read
_ROWS_TOGETHER = 64  # of a partial sum


class BandKernel(RowKernel):
    """A fused kernel of columns for one band of them."""


def emit(module: Module, kernel: BandKernel, classes: str, name: str) -> None:
    """Writes the kernel of a band."""
    Bands(module, kernel.program, "fused", classes, name).write()


class Bands(Columns):
    """Columns, of which later passes read copies."""

    def __init__(self, module: Module, program: RowProgram, mode: str, classes: str, name: str):
        super().__init__(module, program, mode, classes, name)
        read = [o for o in self.inputs if o.role == "F" and o.kind == "c"]
        extra = self.operands[len(self.operands) - len(read) :]
        self.copies = {o.number: copy for o, copy in zip(read, extra, strict=True)}
        for o, copy in zip(read, extra, strict=True):
            copy.dtype = t.compute_dtype(o.dtype)
        if self.parked is not None and self.parked.dtype != self.parking.dtype:
            self.parked = None

    def batch_loop(self) -> None:
        self._blocks(_COLUMNS)

    def block(self, starts: list[str], mask: str | None = None) -> None:
        self.copied = False
        super().block(starts, mask)

    def operand(self, e: Any) -> Any:
        o = super().operand(e)
        return self.copies.get(o.number, o) if self.copied else o

    def fetch_ahead(self, stream: Any, rows: int) -> None:
        """Asks for what some rows further on is read, where it is not copied yet."""
        f = self.function
        if self.copied:
            if len(self.levels) == 1 or self.near is not None:  # one pass that reduces
                self._fetch_next(stream)
            return
        for o in self.copied_from():
            f.fetch(f.offset(stream.address(o), f.mul(o.strides[2], _ROWS_AHEAD)))

    def copied_from(self) -> list[Any]:
        """Operands of which there are copies."""
        return [o for o in self.inputs if o.number in self.copies]

    def _fetch_next(self, stream: Any) -> None:
        """Asks for what the first pass over the next band reads where this stands: the last pass that reduces has time
        for it, or else the one that writes."""
        for o in self.copied_from():
            self.function.fetch(self.function.offset(stream.address(o), _COLUMNS * self.lanes * t.SIZE[o.dtype]))

    def _copy(self, stream: Any) -> None:
        for o in self.copied_from():
            stream.loaded[o.number] = stream.load(o)
            stream.store(self.copies[o.number], stream.loaded[o.number])

    def reduce(self, level: int) -> None:
        self.copied = self.copied and level > 0  # a first guess may have been bad
        self.last = level == self.levels[-1]
        super().reduce(level)

    def pass_over(self, reductions: Any, parks: Any) -> list[dict[Any, list[str]]]:
        f = self.function
        for c in self.columns:
            c.totals = {e: self._accumulators(e) for e in reductions}
            c.accumulators = {e: self._accumulators(e) for e in reductions}
            c.scope.open()
        with f.loop(0, self.shape[1]) as i1, f.loop(0, self.shape[2], _ROWS_TOGETHER) as first:
            for c in self.columns:
                for e in reductions:
                    self._put(c.accumulators[e], [x for _, x in initial(f, self.lanes, e)])
            with f.loop(first, f.smaller(f.add(first, _ROWS_TOGETHER), self.shape[2])) as i0:
                offsets, position = self.row_at(i1, i0)
                for c in self.columns:
                    self._take(c, c.stream(offsets, position), reductions, parks)
            for c in self.columns:
                for e in reductions:
                    total = self.merge(e, self._read(e, c.totals[e]), self._read(e, c.accumulators[e]))
                    self._put(c.totals[e], total)
        self.copied = True
        return [{e: self._read(e, c.totals[e]) for e in reductions} for c in self.columns]

    def _take(self, column: Any, stream: Any, reductions: Any, parks: Any) -> None:
        """Takes an element of each column into the partial states."""
        if not self.copied:
            self.fetch_ahead(stream, _ROWS_AHEAD)
            if parks is None:
                self._copy(stream)
        elif self.last:
            self._fetch_next(stream)
        for e in reductions:
            self.accumulate(stream, e, column.accumulators[e])
        if parks is not None:
            self.park(stream, parks)

    def _put(self, variables: Any, values: list[str]) -> None:
        for (kind, address), value in zip(variables, values, strict=True):
            self.function.do(f"store {kind} {value}, ptr {address}")
