"""Columns that several passes go over: a band of them is copied to where it is dense while the first pass reads it.

Rows of a large matrix lie whole pages apart, so that a band of its columns would meet in few lines of a cache and be
gone before the next pass. The copies stay near, so memory is read once. Operands beyond those of a fused kernel: a copy
of each operand of role F that lies in the direction of the lanes; the kernel says how its elements lie.

Memory is read and written at once: a row of a band's results is written, and then that row of the next band is read
into the place that is free now; some rows at a time where registers are too few for what both need. What is read is
asked for some rows before, into the second cache: in the first one, lines that lie whole pages apart push each other
out. So are copies, which are too large for it. Lines of a row are asked for and read out of their order, because in
order the machine would guess that those after the band are wanted as well. docs/architecture.md says what each of these
is worth.

A column's sums are taken over some rows at a time, and some of those at a time: as exact as where a column is cut.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flambeau.ir import types as t
from flambeau.ir.expr import Expr

from .columns import Columns
from .lanes import CACHE_LINE
from .memory import CONTIGUOUS, STREAMED
from .module import Module, llvm_type
from .row import RowKernel
from .row_program import RowProgram
from .states import initial

_COLUMNS = 4  # vectors of them in a band
_ORDER = (2, 0, 3, 1)  # in which they are read where each is a line of the cache
_MANY_REGISTERS = 32  # enough to write and to read a row in one loop
_BYTES_AT_ONCE = 4 << 10  # of a result that are written before as many rows are read, where there are fewer
_ROWS_AHEAD = 32  # at most that are fetched before they are read
_BYTES_AHEAD = 512 << 10  # so far at most, where rows lie a power of two apart: they meet in few places of a cache
_LEAST_AHEAD = 8
_COPIES_AHEAD = 16  # rows of copies that are fetched before they are read
_ROWS_TOGETHER = 32  # of a partial sum
_SUMS_TOGETHER = 32  # that are added up before they are added to the whole


class BandKernel(RowKernel):
    """A fused kernel of columns for some bands of them."""


def emit(module: Module, kernel: BandKernel, classes: str, name: str) -> None:
    """Writes the kernel of bands."""
    Bands(module, kernel.program, "fused", classes, name).write()


class Bands(Columns):
    """Columns, of which later passes read copies."""

    def __init__(self, module: Module, program: RowProgram, mode: str, classes: str, name: str):
        super().__init__(module, program, mode, classes, name)
        read = [o for o in self.inputs if o.role == "F" and o.kind == "c"]
        extra = self.operands[len(self.operands) - len(read) :]
        self.copies = {o.number: copy for o, copy in zip(read, extra, strict=True)}
        if self.parked is not None and self.parked.dtype != t.compute_dtype(read[0].dtype):
            self.parked = None
        for o, copy in zip(read, extra, strict=True):
            parks = self.parked is not None and copy is self.parking
            copy.dtype = t.compute_dtype(o.dtype) if parks else o.dtype
        piece = max(_COLUMNS * self.lanes * t.SIZE[o.dtype] for o in (*read, *self.outputs) if o.role == "F")
        self.by_row = self.target.registers >= _MANY_REGISTERS
        self.rows_at_once = 1 if self.by_row else min(_BYTES_AT_ONCE // piece, _ROWS_TOGETHER)
        self.earlier: list[Any] = []  # columns that wait to be written
        self.waiting = ""  # whether they do
        self.kept: list[dict[Expr, tuple[str, str]]] = []  # what their reductions came to

    def batch_loop(self) -> None:
        f, lanes = self.function, self.lanes
        wide = _COLUMNS * lanes
        for copy in self.copies.values():
            item = t.SIZE[copy.dtype]
            copy.strides = (item, f.mul(self.shape[2], wide * item), wide * item)
        self.read = [o for o in self.inputs if o.number in self.copies]
        self.mended = [o for o in self.outputs if o.role == "F" and o.kind == CONTIGUOUS]
        self.rows_ahead = {o.number: self._rows_ahead(o) for o in (*self.read, *self.mended)}
        end = f.value(f"and i64 {self.shape[0]}, {-wide}")
        self.kept = [self._variables() for _ in range(_COLUMNS)]
        with f.loop(0, end, wide) as b:
            self.waiting = f.value(f"icmp sgt i64 {b}, 0")
            self.earlier = self._kept_columns(f.choose(self.waiting, f.add(b, -wide), 0))
            self.reduce_columns([f.add(b, k * lanes) for k in range(_COLUMNS)])
            self._keep()
            self.write_once(self.columns)
        with f.when(f.value(f"icmp sgt i64 {end}, 0")):
            self.columns = self._kept_columns(f.add(end, -wide))
            self.finish_rows()
        self.blocks(1, end)

    def _joins(self) -> bool:
        """Whether results are stored in several vectors at once."""
        return any(o.kind == STREAMED and t.SIZE[o.dtype] == 2 for o in self.outputs)

    def _variables(self) -> dict[Expr, tuple[str, str]]:
        """What results that vary over the row are made of: the reductions of a vector of columns."""
        f, reductions = self.function, {e for level in self.program.levels for e in level}
        kinds = {e: llvm_type(e.dtype, self.lanes) for e in self.outermost(self.program.roots, reductions.__contains__)}
        return {e: (kind, f.variable(kind, "zeroinitializer")) for e, kind in kinds.items()}

    def _keep(self) -> None:
        for c, places in zip(self.columns, self.kept, strict=True):
            c.scope.open()
            for e, (kind, address) in places.items():
                self.function.do(f"store {kind} {c.scope.scalar(e)}, ptr {address}")

    def _kept_columns(self, start: str) -> list[Any]:
        """The columns of a band whose reductions are known."""
        f = self.function
        columns = [self.column(f.add(start, k * self.lanes), number=k) for k in range(_COLUMNS)]
        for c, places in zip(columns, self.kept, strict=True):
            for e, (kind, address) in places.items():
                c.scope.define(e, f.value(f"load {kind}, ptr {address}"))
        return columns

    def start_of(self, column: Any, o: Any) -> int | str:
        return column.number * self.lanes if o in self.copies.values() else column.start

    def operand(self, e: Any) -> Any:
        o = super().operand(e)
        return self.copies.get(o.number, o) if self.copied else o

    def fetch_ahead(self, stream: Any, rows: int) -> None:
        """Nothing: copies are near, and the first pass asks for what it reads itself."""

    def is_long(self, steps: int) -> str:
        return "true"

    def reduce_columns(self, starts: list[str], mask: str | None = None) -> None:
        self.copied = False
        super().reduce_columns(starts, mask)

    def reduce(self, level: int) -> None:
        self.copied = self.copied and level > 0  # a first guess may have been bad
        super().reduce(level)

    def pass_over(self, reductions: Any, parks: Any) -> list[dict[Any, list[str]]]:
        f, earlier = self.function, self.earlier
        self.earlier = []
        totals, sums, partial = ([{e: self._accumulators(e) for e in reductions} for _ in self.columns] for _ in "123")
        for c, variables in zip(self.columns, partial, strict=True):
            c.accumulators = variables
        for c in (*self.columns, *earlier):
            c.scope.open()
        with (
            f.loop(0, self.shape[1]) as i1,
            self._added_up(0, self.shape[2], _SUMS_TOGETHER, sums, totals) as (low, high),
            self._added_up(low, high, 1, partial, sums) as (first, end),
            f.loop(first, end, self.rows_at_once) as group,
        ):
            if earlier:
                with f.when(self.waiting):
                    self._write_rows(earlier, i1, group, end)
            ahead = self._ahead([] if self.copied else self.read, i1, group)
            with self._rows(group, end) as i0:
                self._take_row(i1, i0, ahead, reductions, parks)
        self.copied = True
        return [{e: self._read(e, variables) for e, variables in column.items()} for column in totals]

    @contextmanager
    def _added_up(self, low: Any, high: Any, count: int, parts: list, wholes: list) -> Iterator[tuple[str, str]]:
        """A loop over some times the rows of a partial sum, each of which is added to a greater one; yields the first
        row and the end."""
        f, step = self.function, count * _ROWS_TOGETHER
        with f.loop(low, high, step) as first:
            for column in parts:
                for e, variables in column.items():
                    self._put(variables, [x for _, x in initial(f, self.lanes, e)])
            yield first, f.smaller(f.add(first, step), high)
            for whole, part in zip(wholes, parts, strict=True):
                for e, variables in whole.items():
                    self._put(variables, self.merge(e, self._read(e, variables), self._read(e, part[e])))

    @contextmanager
    def _rows(self, first: str, end: str) -> Iterator[str]:
        """Those from the first one on that are written or read at once."""
        f = self.function
        if self.by_row:
            yield first
        else:
            with f.loop(first, f.smaller(f.add(first, self.rows_at_once), end)) as i0:
                yield i0

    def _write_rows(self, columns: list[Any], i1: str, first: str, end: str) -> None:
        """Writes some rows of what is made of copies."""
        self.copied, before = True, self.copied
        ahead = self._ahead(self.mended, i1, first)
        if self.by_row:
            ahead |= {o.number: self.function.mul(o.strides[2], _COPIES_AHEAD) for o in self.copies.values()}
        with self._rows(first, end) as i0:
            offsets, position = self.row_at(i1, i0)
            together = len(columns) if self._joins() else 1
            for some in (columns[k : k + together] for k in range(0, len(columns), together)):
                streams = [c.stream(offsets, position) for c in some]
                for c, stream in zip(some, streams, strict=True):
                    self._fetch(stream, ahead, c.number)
                self.write_vectors(streams)
        self.copied = before

    def _ahead(self, operands: list[Any], i1: str, row: str) -> dict[int, str]:
        """How far what is asked for lies from each operand's elements in this row and those that follow: some rows
        down, at the end of a run in the next one, and after the last in the next band."""
        f = self.function
        inner = f.value(f"icmp slt i64 {f.add(i1, 1)}, {self.shape[1]}")
        distances = {}
        for o in operands:
            rows = self.rows_ahead[o.number]
            inside = f.value(f"icmp slt i64 {f.add(row, rows)}, {self.shape[2]}")
            band = _COLUMNS * self.lanes * t.SIZE[o.dtype]
            back = f.mul(f.value(f"sub i64 0, {i1}"), o.strides[1])
            run = f.choose(inner, o.strides[1], f.add(back, band))
            wrapped = f.mul(f.value(f"sub i64 {rows}, {self.shape[2]}"), o.strides[2])
            distances[o.number] = f.choose(inside, f.mul(o.strides[2], rows), f.add(wrapped, run))
        return distances

    def _fetch(self, stream: Any, distances: dict[int, str], number: int) -> None:
        """Asks for what lies so far from the elements of a vector, the first of a band or a later one; rows need not
        begin with a line."""
        f = self.function
        for o in (self.operands[n] for n in distances):
            address, size = f.offset(stream.address(o), distances[o.number]), self.lanes * t.SIZE[o.dtype]
            if number == 0:
                f.fetch(address)
            if (number + 1) * size % CACHE_LINE == 0:
                f.fetch(f.offset(address, size - 1))

    def _rows_ahead(self, o: Any) -> str:
        """How many rows further on an operand is asked for."""
        f = self.function
        zeros = f.call("llvm.cttz.i64", "i64", f"i64 {o.strides[2]}", "i1 false")
        rows = f.smaller(f.value(f"lshr i64 {_BYTES_AHEAD}, {zeros}"), _ROWS_AHEAD)
        return f.call("llvm.smax.i64", "i64", f"i64 {rows}", f"i64 {_LEAST_AHEAD}")

    def _take_row(self, i1: str, i0: str, ahead: dict[int, str], reductions: Any, parks: Any) -> None:
        """Takes an element of each column into the partial states, and asks for one that is so far ahead."""
        offsets, position = self.row_at(i1, i0)
        for column in self._order():
            stream = column.stream(offsets, position)
            self._fetch(stream, ahead, column.number)
            if not self.copied and parks is None:
                self._copy(stream)
            for e in reductions:
                self.accumulate(stream, e, column.accumulators[e])
            if parks is not None:
                self.park(stream, parks)

    def _order(self) -> list[Any]:
        """Columns in the order in which they are read."""
        lines = all(self.lanes * t.SIZE[self.operands[n].dtype] == CACHE_LINE for n in self.copies)
        return [self.columns[k] for k in _ORDER] if lines and len(self.columns) == _COLUMNS else self.columns

    def _copy(self, stream: Any) -> None:
        for o in self.read:
            copy = self.copies[o.number]
            if copy.dtype != o.dtype or stream.mask is not None:
                stream.loaded[o.number] = stream.load(o)
                stream.store(copy, stream.loaded[o.number])
                continue
            raw = stream.memory.raw(o.dtype, stream.address(o))
            kind, place = llvm_type(o.dtype, self.lanes), stream.address(copy)
            self.function.do(f"store {kind} {raw}, ptr {place}, align {t.SIZE[o.dtype]}")
            stream.loaded[o.number] = (stream.elements.widen(raw, o.dtype),)

    def _put(self, variables: Any, values: list[str]) -> None:
        for (kind, address), value in zip(variables, values, strict=True):
            self.function.do(f"store {kind} {value}, ptr {address}")
