"""Scans: lines whose elements are taken one after the other (`ir.loop.Scan`), many lines in lanes.

Lines that are neighbours (elements of a line lie `width` apart) are gone through row by row, their states in the
nearest cache, so that memory is read and written in long runs. Where the elements of a line are neighbours, squares of
lines and elements are turned in registers on their way in and out. Every line takes its elements in order, so it does
not matter which lines stand beside each other.
"""

from typing import Any

from flambeau.ir import loop as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, walk
from flambeau.ir.program import lower

from .emit import Elements
from .memory import Memory, byte_type, tail_mask
from .module import llvm_type
from .turn import transpose

_MOST = 1024  # neighbours whose states are kept at once
_MOST_LINES = 16  # of a square
_ROWS_AHEAD = 8  # that are fetched before they are read
_FEW = 12  # nodes of a step that is written out for some elements
_TOGETHER = 2  # rows of neighbours between a load and a store of their states
_BYTES_AHEAD = 512  # of a line, the same


class Scan:
    """Writes the loops of a scan inside of a loop program.

    Args:
        writer: of the program.
        statement: the scan.
    """

    def __init__(self, writer: Any, statement: ir.Scan) -> None:
        self.writer, self.s = writer, statement
        self.f = writer.function
        self.dtypes = writer.program.dtypes
        self.roots = lower(list(statement.next))
        self.start = lower(list(statement.start))
        self.states = [leaf for e in statement.states for leaf in _real(e)]
        self.stored = [len(_real(e)) for e in statement.states[: len(statement.outputs)]]
        self.base, self.count, self.size, self.width = (
            writer.value(e) for e in (statement.base, statement.count, statement.size, statement.width)
        )
        used = [self.dtypes[b] for b in (*statement.outputs, *statement.inputs)]
        widest = max(t.SIZE[t.real_of(d)] for d in (*map(t.compute_dtype, used), *(e.dtype for e in self.states)))
        self.lanes = max(min(self.f.target.vector_bytes // widest, _MOST_LINES), 1)
        self.turns = self.lanes > 1 and not any(map(t.is_complex, used))
        self.short = sum(1 for e in walk(self.roots) if e.args) <= _FEW
        self.masked = self.turns and self.f.target.masks

    def write(self) -> None:
        """All lines."""
        f = self.f
        sizes = [t.SIZE[e.dtype] for e in self.states]
        self.kept = [f.variable(f"[{_MOST * size} x i8], align 64") for size in sizes]
        self.buffers = {}
        if self.s.turned:
            for b in (*self.s.inputs, *self.s.outputs):
                self.buffers[b] = f.variable(f"[{self.lanes**2 * t.SIZE[self.dtypes[b]]} x i8], align 64")
        most = self.lanes if self.s.turned else _MOST
        with f.loop(0, self.count, most) as line:
            start = f.add(self.base, f.mul(line, self.size) if self.s.turned else line)
            count = f.smaller(f.value(f"sub i64 {self.count}, {line}"), most)
            (self._lines if self.s.turned else self._neighbours)(start, count)

    # ---- neighbours

    def _neighbours(self, base: str, count: str) -> None:
        """`count` lines whose first elements are neighbours, from an offset on."""
        f, lanes, done = self.f, self.lanes, 0
        self._begin(count)
        if lanes > 1:
            done = f.value(f"and i64 {count}, {-lanes}")
            together = _TOGETHER if self.short else 1
            many = f.value(f"and i64 {self.size}, {-together}")
            for first, last, rows in ((0, many, together), (many, self.size, 1))[:together]:
                with f.loop(first, last, rows) as i, f.loop(0, done, lanes) as c:
                    self._beside(f.add(base, c), c, i, rows)
        if self.masked:
            rest = f.value(f"sub i64 {count}, {done}")
            with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
                self._line(lanes, f.add(base, done), done, "0", tail_mask(f, lanes, rest))
        else:
            with f.loop(done, count) as c:
                self._line(1, f.add(base, c), c, "0")

    def _begin(self, count: str) -> None:
        """The states of no elements, of `count` lines and what is left of a vector."""
        f, memory = self.f, self._memory(self.lanes)
        with f.loop(0, count, self.lanes) as c:
            values = memory.elements.emit(*self.start)
            for place, e, value in zip(self._kept(c), self.states, values, strict=True):
                memory.store(e.dtype, (value,), place)

    def _kept(self, c: str) -> list[str]:
        """Where the states of line c are."""
        return [self.f.offset(b, self.f.mul(c, t.SIZE[e.dtype])) for b, e in zip(self.kept, self.states, strict=True)]

    def _beside(self, base: str, c: str, i: str, rows: int) -> None:
        """Elements i to i + rows of a vector of lines from c, whose first elements are at an offset."""
        f, memory = self.f, self._memory(self.lanes)
        states = [memory.load(e.dtype, p)[0] for e, p in zip(self.states, self._kept(c), strict=True)]
        for k in range(rows):
            at = f.add(base, f.mul(f.add(i, k), self.width))
            for b in self.s.inputs:
                ahead = f.mul(self.width, _ROWS_AHEAD * t.SIZE[self.dtypes[b]])
                f.fetch(f.offset(self._address(b, at), ahead))
            states = self._step(self.lanes, states, self._elements(memory, at), f.add(i, k))
            self._store(memory, states, at, stream=self.s.stream)
        for e, place, value in zip(self.states, self._kept(c), states, strict=True):
            memory.store(e.dtype, (value,), place)

    # ---- lines one after the other

    def _lines(self, start: str, count: str) -> None:
        """`count` lines, no more than there are lanes, each of neighbouring elements, from an offset on."""
        f = self.f
        self._begin(count)
        done = f.variable("i64", "0")
        if self.turns:
            with f.when(f.value(f"icmp eq i64 {count}, {self.lanes}")):
                whole = f.value(f"and i64 {self.size}, {-self.lanes}")
                self._turned(start, whole)
                f.do(f"store i64 {whole}, ptr {done}")
        begin = f.value(f"load i64, ptr {done}")
        with f.loop(0, count) as k:
            self._line(1, f.add(start, f.mul(k, self.size)), k, begin)

    def _turned(self, start: str, whole: str) -> None:
        """As many lines as lanes, of which the first starts at an offset: [0, whole) of each, square by square."""
        f, lanes, memory = self.f, self.lanes, self._memory(self.lanes)
        variables = self._variables(lanes, "0")
        taken = self._written_out if self.short else self._in_a_loop
        with f.loop(0, whole, lanes) as i:
            squares = {b: self._turn_in(b, f.add(start, i)) for b in self.s.inputs}
            for b, columns in taken(squares, variables, i).items():
                self._turn_out(b, f.add(start, i), columns)
        for e, place, value in zip(self.states, self._kept("0"), self._now(variables), strict=True):
            memory.store(e.dtype, (value,), place)

    def _written_out(self, squares: dict, variables: list[tuple[str, str]], i: str) -> dict[int, list[str]]:
        """What a square of each output holds, from those of the inputs; one vector an element, as it lies in memory."""
        results: dict[int, list[str]] = {b: [] for b in self.s.outputs}
        for k in range(self.lanes):
            for b, value in self._take({b: square[k] for b, square in squares.items()}, variables, self.f.add(i, k)):
                results[b].append(value)
        return results

    def _in_a_loop(self, squares: dict, variables: list[tuple[str, str]], i: str) -> dict[int, list[str]]:
        """The same, the squares lying in memory: the step stands there once."""
        f = self.f
        kinds = {b: llvm_type(byte_type(self.dtypes[b]), self.lanes) for b in (*squares, *self.s.outputs)}
        for b, square in squares.items():
            for k, vector in enumerate(square):
                f.do(f"store {kinds[b]} {vector}, ptr {f.offset(self.buffers[b], k, kinds[b])}, align 8")
        with f.loop(0, self.lanes) as k:
            places = {b: f.offset(self.buffers[b], k, kind) for b, kind in kinds.items()}
            raw = {b: f.value(f"load {kinds[b]}, ptr {places[b]}, align 8") for b in squares}
            for b, value in self._take(raw, variables, f.add(i, k)):
                f.do(f"store {kinds[b]} {value}, ptr {places[b]}, align 8")
        return {
            b: [
                f.value(f"load {kinds[b]}, ptr {f.offset(self.buffers[b], k, kinds[b])}, align 8")
                for k in range(self.lanes)
            ]
            for b in self.s.outputs
        }

    def _take(self, raw: dict[int, str], variables: list[tuple[str, str]], i: str) -> list[tuple[int, str]]:
        """Takes an element of each line into the states; what each output stores of it. All as it lies in memory."""
        elements = self._memory(self.lanes).elements
        read = [elements.widen(vector, self.dtypes[b]) for b, vector in raw.items()]
        states = self._step(self.lanes, self._now(variables), read, i)
        self._set(variables, states)
        pairs = zip(self.s.outputs, states, strict=False)
        return [(b, elements.narrow(value, self.dtypes[b])) for b, value in pairs]

    def _turn_in(self, b: int, at: str) -> list[str]:
        """Elements of all lines, one vector an element."""
        rows = [self._address(b, self.f.add(at, self.f.mul(self.size, k))) for k in range(self.lanes)]
        for row in rows:
            self.f.fetch(self.f.offset(row, _BYTES_AHEAD), 1)
        return self._transposed(b, [self._memory(self.lanes).raw(byte_type(self.dtypes[b]), row) for row in rows])

    def _turn_out(self, b: int, at: str, columns: list[str]) -> None:
        kind, size = llvm_type(byte_type(self.dtypes[b]), self.lanes), t.SIZE[self.dtypes[b]]
        how = f"align {size * self.lanes}, !nontemporal !99" if self.s.stream else f"align {size}"
        for k, vector in enumerate(self._transposed(b, columns)):
            row = self._address(b, self.f.add(at, self.f.mul(self.size, k)))
            self.f.do(f"store {kind} {vector}, ptr {row}, {how}")

    def _transposed(self, b: int, rows: list[str]) -> list[str]:
        kind = llvm_type(byte_type(self.dtypes[b]), self.lanes)
        return transpose(rows, t.SIZE[self.dtypes[b]], lambda x, y, order: self.f.shuffle(kind, x, y, order))

    # ---- both

    def _line(self, lanes: int, start: str, c: str, begin: str, mask: str | None = None) -> None:
        """`lanes` lines from c, whose first elements are at an offset, from an element on; states are in registers."""
        f, memory = self.f, self._memory(lanes)
        variables = self._variables(lanes, c)
        with f.loop(begin, self.size) as i:
            at = f.add(start, f.mul(i, self.width))
            states = self._step(lanes, self._now(variables), self._elements(memory, at, mask), i)
            self._set(variables, states)
            self._store(memory, states, at, mask)

    def _variables(self, lanes: int, c: str) -> list[tuple[str, str]]:
        """LLVM type and address of variables that hold the states of lines from c."""
        memory, kinds = self._memory(lanes), [llvm_type(e.dtype, lanes) for e in self.states]
        values = [memory.load(e.dtype, place)[0] for e, place in zip(self.states, self._kept(c), strict=True)]
        return [(kind, self.f.variable(kind, value)) for kind, value in zip(kinds, values, strict=True)]

    def _now(self, variables: list[tuple[str, str]]) -> list[str]:
        return [self.f.value(f"load {kind}, ptr {variable}") for kind, variable in variables]

    def _set(self, variables: list[tuple[str, str]], values: list[str]) -> None:
        for (kind, variable), value in zip(variables, values, strict=True):
            self.f.do(f"store {kind} {value}, ptr {variable}")

    def _address(self, b: int, at: str) -> str:
        return self.f.offset(self.writer.buffers[b], at, f"[{t.SIZE[self.dtypes[b]]} x i8]")

    def _memory(self, lanes: int) -> Memory:
        return Memory(self.f, Elements(self.f, lanes, self.writer.leaf))

    def _elements(self, memory: Memory, at: str, mask: str | None = None) -> list[str]:
        """What the inputs hold at an offset."""
        return [v for b in self.s.inputs for v in memory.load(self.dtypes[b], self._address(b, at), mask)]

    def _store(self, memory: Memory, states: list[str], at: str, mask: str | None = None, stream: bool = False) -> None:
        """Stores the first states, one (of complex numbers two) an output."""
        values = iter(states)
        for b, parts in zip(self.s.outputs, self.stored, strict=True):
            result = tuple(next(values) for _ in range(parts))
            memory.store(self.dtypes[b], result, self._address(b, at), mask, stream)

    def _step(self, lanes: int, states: list[str], elements: list[str], i: str) -> list[str]:
        """The states after element i of each line."""
        known = dict(zip(self.states, states, strict=True))
        known.update(zip([leaf for e in self.s.elements for leaf in _real(e)], elements, strict=True))

        def leaf(e: Expr) -> str:
            if e in known:
                return known[e]
            return step.spread(i if e is self.s.index else self.writer.leaf(e), e.dtype)

        step = Elements(self.f, lanes, leaf)
        return step.emit(*self.roots)


def _real(e: Expr) -> tuple[Expr, ...]:
    return ir.parts(e) if t.is_complex(e.dtype) else (e,)
