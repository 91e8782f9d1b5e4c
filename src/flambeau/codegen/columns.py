"""Row kernels with columns in the lanes; see `row`."""

from flambeau.ir import types as t
from flambeau.ir.expr import Expr

from . import near, panels
from .memory import tail_mask
from .rows import Operand, Rows, Scope, Stream, run_sums, with_roots
from .states import settle, twin

_REGISTERS = 16  # vectors of states of a short program
_ROWS_AHEAD = 8  # that are fetched before they are read
_SOME = 4  # elements of a column that stand for all


class Columns(Rows):
    """Vectors along the innermost batch dimension: every lane has a row of its own."""

    accumulators = 1
    in_lanes = False

    def vector_stride(self, o: Operand) -> str:
        return o.strides[0]

    def batch_loop(self) -> None:
        f = self.function
        if not panels.fits(self):
            return self.blocks(4)
        if not panels.is_short(self):
            return panels.write(self)
        narrow = f.value(f"icmp sle i64 {self.shape[0]}, {_REGISTERS * self.lanes}")
        with f.when(narrow):
            self.blocks(_REGISTERS)
        with f.when(f.value(f"xor i1 {narrow}, true")):
            panels.write(self)

    def blocks(self, count: int, end: int | str = 0) -> None:
        """Columns from the first one on with their states in registers, `count` vectors of them at a time."""
        f, lanes = self.function, self.lanes
        while count:
            start, wide = end, count * lanes
            end = f.value(f"and i64 {self.shape[0]}, {-wide}")
            with f.loop(start, end, wide) as b:
                self.block([f.add(b, k * lanes) for k in range(count)])
            count //= 4
        if lanes > 1:
            self.rest = f.value(f"sub i64 {self.shape[0]}, {end}")
            with f.when(f.value(f"icmp sgt i64 {self.rest}, 0")):
                self.block([end], tail_mask(f, lanes, self.rest))

    def block(self, starts: list[str], mask: str | None = None) -> None:
        self.reduce_columns(starts, mask)
        if self.level is None:
            self.finish_rows()
            self.write_once(self.columns)

    def reduce_columns(self, starts: list[str], mask: str | None = None) -> None:
        """Writes the levels of the columns that begin there."""
        self.columns = [self.column(start, mask, k) for k, start in enumerate(starts)]
        for level in self.levels[near.reduce(self) :]:
            self.reduce(level)

    def column(self, start: str, mask: str | None = None, number: int = 0) -> "_Column":
        """`lanes` neighbouring columns, the first ones or later ones of those that go together."""
        return _Column(self, start, mask, number)

    def start_of(self, column: "_Column", o: Operand) -> int | str:
        """Where columns begin in an operand."""
        return column.start

    def row_at(self, i1: str, i0: str) -> tuple[dict[int, str], str]:
        """Offsets of the operands that vary over the row at an element of it, and its position."""
        f = self.function
        offsets = {
            o.number: f.add(f.mul(i1, o.strides[1]), f.mul(i0, o.strides[2])) for o in self.operands if o.role in "FRP"
        }
        return offsets, f.add(f.add(f.mul(i1, self.shape[2]), i0), self.shape[3])

    def are_neighbours(self, streams: list[Stream]) -> bool:
        """Columns that go together are."""
        return True

    def fetch_ahead(self, stream: Stream, rows: int) -> None:
        """Asks for what some rows further on is read."""
        f = self.function
        for o in self.inputs:
            if o.role == "F" and o.kind == "c":
                f.fetch(f.offset(stream.address(o), f.mul(o.strides[2], rows)))

    def _elements_of_row(self, visit, begin=lambda c: None, end=lambda c, stream: None) -> None:
        """Calls visit(column, stream) for each column at each element of the row; those of rows to come are fetched.
        Around each run of elements, `begin(column)` and `end(column, stream of the first)`."""
        f = self.function
        for c in self.columns:
            c.scope.open()
        with f.loop(0, self.shape[1]) as i1:
            for c in self.columns:
                begin(c)
            with f.loop(0, self.shape[2]) as i0:
                offsets, position = self.row_at(i1, i0)
                for c in self.columns:
                    stream = c.stream(offsets, position)
                    if not self.target.is_gpu:
                        self.fetch_ahead(stream, _ROWS_AHEAD)
                    visit(c, stream)
            offsets, position = self.row_at(i1, "0")
            for c in self.columns:
                end(c, c.stream(offsets, position))

    def reduce(self, level: int) -> None:
        """Writes a level, and says what its reductions come to."""
        reductions = self.program.levels[level]
        live = tuple(e for e in reductions if twin(e, reductions) is None)
        for c, states in zip(self.columns, self.pass_over(live, self.parks(level)), strict=True):
            self.close(c, reductions, states)

    def pass_over(self, reductions: tuple[Expr, ...], parks: Expr | None) -> list[dict[Expr, list[str]]]:
        """States of each column, from one pass, which parks a value."""
        for c in self.columns:
            c.accumulators = {e: self._accumulators(e) for e in reductions}

        def visit(column: "_Column", stream: Stream) -> None:
            for e, variables in column.accumulators.items():
                self.accumulate(stream, e, variables)
            if parks is not None:
                self.park(stream, parks)

        self._elements_of_row(visit)
        return [{e: self._read(e, variables) for e, variables in c.accumulators.items()} for c in self.columns]

    def scopes(self) -> list[Scope]:
        """Of the columns that are done together."""
        return [c.scope for c in self.columns]

    def is_long(self, steps: int) -> str:
        return self.function.value(f"icmp sge i64 {self.shape[4]}, {steps * _SOME}")

    def some(self, e: Expr) -> list[list[str]]:
        """The state of a few elements of each column that lie apart."""
        f, states = self.function, []
        for c in self.columns:
            c.scope.open()
        for k in range(_SOME):
            at = f.value(f"udiv i64 {f.mul(self.shape[4], k)}, {_SOME}")
            offsets, position = self.row_at(*(f.value(f"u{op} i64 {at}, {self.shape[2]}") for op in ("div", "rem")))
            found = [c.stream(offsets, position).emit([e.args[0]]) for c in self.columns]
            states = [self.merge(e, a, b) for a, b in zip(states, found, strict=True)] if states else found
        return states

    def close(self, column: "_Column", reductions: tuple[Expr, ...], states: dict[Expr, list[str]]) -> None:
        """Says what the reductions came to, from their states; writes those where they are the result."""
        at, stream = 0, column.stream({}, "0")
        for e in reductions:
            other = twin(e, reductions)
            whole = e if other is None else other
            total = settle(self.function, self.lanes, whole, states[whole], self.shape[3])
            total = total if other is None else total[:1]
            column.scope.define(e, total[-1])
            if self.level is not None:
                for value, o in zip(total, self.outputs[at:], strict=False):
                    stream.store(o, (value,))
            at += len(total)

    def finish_rows(self) -> None:
        """Writes the pass over the columns that their results need."""
        outputs = with_roots(self)
        sums = run_sums(outputs)
        if sums or any(o.role in "FR" for o, _ in outputs):

            def begin(column: "_Column") -> None:
                column.accumulators = [self._accumulators(e) for _, e in sums]

            def end(column: "_Column", stream: Stream) -> None:
                for (o, e), variables in zip(sums, column.accumulators, strict=True):
                    stream.store(o, tuple(self._read(e, variables)))

            def visit(column: "_Column", stream: Stream) -> None:
                self.write_vectors([stream])
                for (_, e), variables in zip(sums, column.accumulators, strict=True):
                    self.accumulate(stream, e, variables)

            self._elements_of_row(visit, begin, end)

    def write_once(self, columns: "list[_Column]") -> None:
        """Outputs that do not vary over the row."""
        once = [(o, r) for o, r in with_roots(self) if o.role in "BS"]
        if once:
            with self.function.when(self.first()):
                for c in columns:
                    c.scope.open()
                    stream = c.stream({}, "0")
                    for o, r in once:
                        stream.store(o, tuple(c.scope.elements.emit(*r)))


class _Column:
    """`lanes` neighbouring columns."""

    def __init__(self, kernel: Columns, start: str, mask: str | None, number: int):
        self.kernel = kernel
        self.start = start
        self.number = number
        self.mask = mask
        self.accumulators: list = []
        self.scope = Scope(kernel, kernel.lanes, False, self._load_column)
        self.scope.open()
        for e, numbers in kernel.state_of.items():
            self.scope.define(e, self.stream({}, "0").load(kernel.states[numbers[-1]])[0])

    def address(self, o: Operand, offsets: dict) -> str:
        f = self.kernel.function
        base = f.offset(o.base, offsets[o.number]) if o.number in offsets else o.base
        step = t.SIZE[o.dtype] if o.dense else o.strides[0]
        return base if o.kind == "b" else f.offset(base, f.mul(self.kernel.start_of(self, o), step))

    def stream(self, offsets: dict, position: str) -> Stream:
        stream = Stream(
            self.kernel, self.scope, self.kernel.lanes, lambda o: self.address(o, offsets), self.mask,
            lambda: stream.elements.spread(position, "i64"),
        )  # fmt: skip
        return stream

    def _load_column(self, o: Operand, part: int) -> str:
        return self.stream({}, "0").load(o)[part]
