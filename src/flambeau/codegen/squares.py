"""Kernels of operands that lie the other way round: their elements are turned in squares on the way.

Squares stand beside each other, so that results are written in longer runs. Where nothing but turned operands is read
and results go past the caches, a block of them is written while the next one is turned, a few registers after so many
columns that were read: stores past the caches wait for memory, and many of them at once hold up what comes behind.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from flambeau.ir import types as t

from .emit import Elements
from .lanes import CACHE_LINE
from .memory import CONTIGUOUS, STREAMED, TURNED, Memory, byte_type, tail_mask
from .module import llvm_type
from .turn import PIECE, gather_pieces, transpose, turn_pieces

_BESIDE = 256  # bytes of a result's row that are written at a time, of squares beside each other
_WIDE = 64  # elements of a row at least, where memory is far
_TOGETHER = 4  # registers of results that are written in one go
_COLUMNS = 32  # elements of a row at least, where half as much is written
_FAR = 24 << 20  # bytes of an operand from which it is in no cache
_UNEVEN = 128  # elements, the same of rows that begin anywhere in a cache line: of each block some are turned twice
_AHEAD = 32  # rows between those that are turned and those whose lines are asked for
_LARGE = 16384  # elements: with fewer there is no more to come
_MOST_ROWS = 16  # of a square that is turned in registers
_AT_ONCE = 32  # rows of larger ones; in longer runs of code asking for lines would drift away from reading others

_Place = tuple[str, str]  # row and first element of a block


class Squares:
    """Writes how an elementwise kernel goes through turned operands.

    Args:
        kernel: an `elementwise.Kernel`, which writes what is done with vectors of elements.
    """

    def __init__(self, kernel: Any):
        self.kernel, self.function, self.lanes = kernel, kernel.function, kernel.lanes
        self.outputs, self.operands = kernel.outputs, kernel.operands
        self.turned = [o for o in kernel.inputs if o.kind == TURNED]
        self.read = [o for o in self.turned if o.number - len(self.outputs) in kernel.used]
        self.past = len(self.outputs) == 1 and self.outputs[0].kind == STREAMED
        self.alone = self.past and not any(o.kind == CONTIGUOUS for o in kernel.inputs)
        self.result_size = kernel.result_size()
        self.block = max(_BESIDE // self.result_size, self.lanes, _WIDE if self.alone else 0)
        register = max(kernel.function.target.vector_bytes // self.result_size, self.lanes)
        self.group = min(_TOGETHER * register, self.block)  # elements of a row that are written in one go
        self.room = max(_UNEVEN, self.block) + CACHE_LINE if self.past else self.block

    def write(self) -> None:
        """All elements: block by block of columns, and in each from the top to the bottom; those at the edges under a
        mask, or one by one. Where results go past the caches, each block is written while the next one is turned,
        which the last of them have to themselves."""
        f, lanes = self.function, self.lanes
        self.elements = lanes * self.room + lanes
        places = 2 if self.alone else 1
        buffers = {o: f.variable(f"[{places * self.elements * t.SIZE[o.dtype]} x i8], align 64") for o in self.turned}
        widest = max(t.SIZE[o.dtype] for o in self.turned)
        self.between = f.variable(f"[{lanes * lanes * widest} x i8], align 64")
        self.large = f.value(f"icmp sge i64 {f.mul('%n', '%m')}, {_LARGE}")
        lowest = f.choose(self.large, "%m", 0)
        self.whole = f.value(f"and i64 %n, {-lanes}")
        self.width, self.beyond = self._blocks()
        self.ragged = self._is_ragged()
        self.waiting = [f.variable("i64", "0") for _ in range(3)]  # rows turned, the first and its element
        blocks = f.add("%n", self.width) if self.alone else "%n"
        with f.loop(0, blocks, self.width) as block:
            inside = f.value(f"icmp slt i64 {block}, %n")
            following = f.add(block, self.width)
            end, whole = f.smaller(following, "%n"), f.smaller(following, self.whole)
            turned = f.smaller(f.add(following, self.beyond), self.whole)
            last = f.value(f"icmp sge i64 {following}, %n")
            behind = f.choose(last, lowest, 0), f.choose(last, 0, following)
            with f.loop(0, f.choose(inside, "%m", 1), lanes) as r:
                count = f.smaller(f.value(f"sub i64 %m, {r}"), lanes)
                high = f.value(f"and i1 {inside}, {f.value(f'icmp eq i64 {count}, {lanes}')}")
                width = f.choose(high, f.value(f"sub i64 {turned}, {block}"), 0)
                free = buffers
                if self.alone:
                    free = self._pass(buffers, (r, block), width, behind)
                else:
                    self._turn_and_write(buffers, (r, block), width, behind)
                with f.loop(f.choose(high, whole, block), end, lanes) as i:
                    self._edge(free, r, i, count)

    def _blocks(self) -> tuple[int | str, int | str]:
        """Elements of a row that are written at a time, and how many of the next ones are turned along: results past
        the caches go in whole lines, which may begin later in a row than the block."""
        if not self.past:
            return self.block, 0
        f, o = self.function, self.outputs[0]
        start = f.value(f"ptrtoint ptr {o.base} to i64")
        begins = f.value(f"and i64 {f.value(f'or i64 {start}, {o.apart}')}, {CACHE_LINE - 1}")
        self.even = f.value(f"icmp eq i64 {begins}, 0")
        block: int | str = self.block
        if not self.alone:  # lines of other operands are asked for too: of twice as many, some would be gone again
            far = f.value(f"icmp sge i64 {f.mul('%n', self.turned[0].step)}, {_FAR}")
            block = f.choose(far, max(self.block // 2, 2 * self.lanes, _COLUMNS), self.block)
        width = f.choose(self.even, block, max(_UNEVEN, self.block))
        return width, f.choose(self.even, 0, CACHE_LINE // self.result_size)

    def _is_ragged(self) -> str:
        """Whether columns begin elsewhere than with lines."""
        f, bits = self.function, "0"
        for o in self.read:
            both = f.value(f"or i64 {f.value(f'ptrtoint ptr {o.base} to i64')}, {o.step}")
            bits = f.value(f"or i64 {bits}, {both}")
        return f.value(f"icmp ne i64 {f.value(f'and i64 {bits}, {CACHE_LINE - 1}')}, 0")

    def _ahead(self, place: _Place, behind: _Place) -> _Place:
        """Where the squares stand whose turn comes some steps after those of a block: further down, or at the top of
        what is `behind`: the next block, or after the last one the first one below all rows. There, asks for the lines
        that squares begin in; further down they are the ones that the squares above end in."""
        f, lanes = self.function, self.lanes
        bottom = f.value(f"and i64 %m, {-lanes}")
        row = f.add(place[0], max(lanes, _AHEAD))
        inside = f.value(f"icmp slt i64 {row}, {bottom}")
        down = f.smaller(f.value(f"sub i64 {row}, {bottom}"), f.value(f"sub i64 {bottom}, {lanes}"))
        ahead = f.choose(inside, row, f.add(behind[0], down)), f.choose(inside, place[1], behind[1])
        top = f.value(f"and i1 {self.large}, {f.value(f'icmp eq i64 {down}, 0')}")
        with f.when(f.value(f"and i1 {self.ragged}, {top}")), f.loop(0, f.smaller(self.width, "%n")) as i:
            for o in self.read:
                f.fetch(f.offset(self._start(o, ahead), f.mul(i, o.step)))
        return ahead

    def _turn_and_write(self, buffers: dict, place: _Place, width: str, behind: _Place) -> None:
        """Turns the squares of a block and writes them."""
        f, lanes = self.function, self.lanes
        with f.when(f.value(f"icmp sgt i64 {width}, 0")):
            ahead = self._ahead(place, behind)
            with f.loop(0, width, lanes) as i:
                self._turn_all(i, buffers, place, ahead)
            with f.loop(0, lanes) as k:
                self._enter(buffers, place, k)
                self._fetch_beside(ahead, k)
                if self.past:
                    self._write_row(place[1])
                else:
                    with f.loop(place[1], f.add(place[1], width), lanes) as i:
                        self.kernel.step(i, [0], lanes)

    def _pass(self, buffers: dict, place: _Place, width: str, behind: _Place) -> dict:
        """Turns the squares of a block and writes those that were turned before. Returns the buffers that are free."""
        f, lanes = self.function, self.lanes
        count, row, element = (f.value(f"load i64, ptr {at}") for at in self.waiting)
        half, block = f.value(f"and i64 {element}, 1"), f.value(f"and i64 {element}, -2")  # blocks are even
        filled, written = (
            {o: f.offset(at, f.mul(which, self.elements * t.SIZE[o.dtype])) for o, at in buffers.items()}
            for which in (half, f.value(f"xor i64 {half}, 1"))
        )
        ahead, before = self._ahead(place, behind), (row, block)
        inside = f.value(f"icmp sle i64 {f.add(f.add(block, self.width), self.beyond)}, {self.whole}")
        begun = f.value(f"or i1 {self.even}, {f.value(f'icmp sgt i64 {block}, 0')}")
        regular = f.value(f"and i1 {inside}, {begun}")  # a row of it is whole groups
        a_row = f.value(f"udiv i64 {self.width}, {self.group}")
        total, done = f.choose(regular, f.mul(count, a_row), 0), f.variable("i64", "0")

        def beside() -> None:
            g = f.value(f"load i64, ptr {done}")
            with f.when(f.value(f"icmp slt i64 {g}, {total}")):
                self._write_group(written, before, g, a_row)
                f.do(f"store i64 {f.add(g, 1)}, ptr {done}")

        with f.loop(0, width, lanes) as i:
            self._turn_all(i, filled, place, ahead, beside)
        with f.loop(f.value(f"load i64, ptr {done}"), total) as g:
            self._write_group(written, before, g, a_row)
        with f.loop(0, f.choose(regular, 0, count)) as k:
            self._enter(written, before, k)
            self._write_row(block)
        turned = f.choose(f.value(f"icmp sgt i64 {width}, 0"), lanes, 0)
        other = f.value(f"xor i64 {f.add(place[1], half)}, 1")
        for value, at in zip((turned, place[0], other), self.waiting, strict=True):
            f.do(f"store i64 {value}, ptr {at}")
        return written

    def _turn_all(
        self, i: str, buffers: dict, place: _Place, ahead: _Place, beside: Callable[[], None] | None = None
    ) -> None:
        """Turns the squares that stand i elements behind the beginning of a block."""
        f = self.function
        for number, o in enumerate(self.read):
            across = f.mul(i, o.step)
            start, later = (f.offset(self._start(o, at), across) for at in (place, ahead))
            to = f.offset(buffers[o], f.mul(i, t.SIZE[o.dtype]))
            self._turn(o, start, to, later=later, beside=beside if number == 0 else None)

    def _write_group(self, buffers: dict, place: _Place, g: str, a_row: str) -> None:
        """Writes the g-th group of results of a block whose rows have `a_row` of them."""
        f = self.function
        shift = f.call("llvm.cttz.i64", "i64", f"i64 {a_row}", "i1 false")
        k = f.value(f"lshr i64 {g}, {shift}")
        first = f.mul(f.value(f"and i64 {g}, {f.add(a_row, -1)}"), self.group)
        self._enter(buffers, place, k)
        start = f.add(f.add(place[1], self._lead()), first)
        self.kernel.step(start, list(range(0, self.group, self.lanes)), self.lanes)

    def _lead(self) -> str:
        """Elements between where a row begins and the first line that begins in it."""
        f, o = self.function, self.outputs[0]
        address = f.value(f"ptrtoint ptr {o.row} to i64")
        before = f.value(f"and i64 {f.value(f'sub i64 0, {address}')}, {CACHE_LINE - 1}")
        return f.value(f"udiv i64 {before}, {t.SIZE[o.dtype]}")

    def _write_row(self, block: str) -> None:
        """Elements of a row from the first line that begins in a block, or from the beginning of the row, to the first
        line beyond, or to the last whole square: whole lines past the caches."""
        f, lanes, lead = self.function, self.lanes, self._lead()
        last = f.smaller(f.add(f.add(block, self.width), lead), self.whole)
        first = f.smaller(f.add(block, lead), last)
        whole = f.add(first, f.value(f"and i64 {f.value(f'sub i64 {last}, {first}')}, {-lanes}"))
        self._part(f.choose(f.value(f"icmp eq i64 {block}, 0"), 0, first), first)
        with f.loop(first, whole, lanes) as i:
            self.kernel.step(i, [0], lanes)
        self._part(whole, last)

    def _part(self, start: str, end: str) -> None:
        """Elements of a line."""
        f, lanes = self.function, self.lanes
        with f.loop(start, end, lanes if self.kernel.masked else 1) as i:
            if self.kernel.masked:
                self.kernel.step(i, [0], lanes, tail_mask(f, lanes, f.value(f"sub i64 {end}, {i}")))
            else:
                self.kernel.step(i, [0], 1)

    def _fetch_beside(self, place: _Place, k: str) -> None:
        """Asks for row k of a block of what lies as the results do."""
        f = self.function
        for o in self.operands:
            if o.kind == CONTIGUOUS:
                size = t.SIZE[o.dtype]
                row = f.offset(o.base, f.mul(f.add(place[0], k), o.apart))
                start = f.offset(row, f.mul(place[1], size))
                with f.loop(CACHE_LINE - 1, f.mul(self.width, size), CACHE_LINE) as byte:
                    f.fetch(f.offset(start, byte))

    def _edge(self, buffers: dict, r: str, i: str, height: str) -> None:
        """`height` rows from r of no more than `lanes` elements from i."""
        f, lanes = self.function, self.lanes
        rest = f.value(f"sub i64 %n, {i}")
        if self.kernel.masked:
            for o in self.read:
                self._turn(o, self._start(o, (r, i)), buffers[o], tail_mask(f, lanes, height), rest)
            along = tail_mask(f, lanes, rest)
        with f.loop(0, height) as k:
            self._enter(buffers, (r, i), k)
            if self.kernel.masked:
                self.kernel.step(i, [0], lanes, along)
            else:
                with f.loop(i, f.add(i, f.smaller(rest, lanes))) as at:
                    self.kernel.step(at, [0], 1)

    def _start(self, o: Any, place: _Place) -> str:
        """Where a block of a turned operand begins."""
        f = self.function
        return f.offset(f.offset(o.base, f.mul(place[0], o.apart)), f.mul(place[1], o.step))

    def _enter(self, buffers: dict, place: _Place, k: str) -> None:
        """Goes to row k of a block, and says where what was turned for it lies."""
        f = self.function
        self.kernel.enter(f.add(place[0], k))
        for o in self.turned:
            size = t.SIZE[o.dtype]
            start = f.offset(buffers[o], f.mul(k, self.room * size))
            o.square = f.offset(start, f.mul(f.value(f"sub i64 0, {place[1]}"), size))

    def _turn(
        self,
        o: Any,
        start: str,
        to: str,
        across: str | None = None,
        rest: str | None = None,
        later: str = "",
        beside: Callable[[], None] | None = None,
    ) -> None:
        """Puts a square of an operand into a buffer, row by row as the results lie; with `rest`, so many columns.

        Asks for the lines of the square that begins at `later`: two a column, unless columns begin at multiples of
        them. `beside` is written between columns: once for each group of results.
        """
        f, lanes, memory = self.function, self.lanes, byte_type(o.dtype)
        kind, size = llvm_type(memory, lanes), t.SIZE[o.dtype]
        read = Memory(f, Elements(f, lanes, lambda e: ""))

        def vector(first: int | str, k: int) -> str:
            column = f.add(first, k)
            if rest is not None:
                column = f.smaller(f.value(f"sub i64 {rest}, 1"), column)
            if later:
                f.fetch(f.offset(f.offset(later, f.mul(column, o.step)), lanes * size - 1))
            found = read.raw(memory, f.offset(start, f.mul(column, o.step)), across)
            if beside and k % (self.group // lanes) == 0:
                beside()
            return found

        def put(vector: str, place: str) -> None:
            f.do(f"store {kind} {vector}, ptr {place}, align {align}")

        def shuffle(a: str, b: str, order: list[int]) -> str:
            return f.shuffle(kind, a, b, order)

        piece, align, row = PIECE // size, min(lanes * size, 64), self.room * size
        if lanes <= _MOST_ROWS or piece >= lanes:
            for k, turned in enumerate(transpose([vector(0, k) for k in range(lanes)], size, shuffle)):
                put(turned, f.offset(to, k * row))
            return
        count = min(lanes, _AT_ONCE)
        with self._steps(lanes, count) as begin:
            for first in (f.add(begin, k) for k in range(0, count, piece)):
                columns = [vector(first, k) for k in range(piece)]
                for c, part in enumerate(turn_pieces(columns, lanes, shuffle)):
                    put(part, f.offset(self.between, f.mul(f.add(first, c), lanes * size)))
        count = count * piece // lanes
        with self._steps(piece, count) as begin:
            for c in (f.add(begin, k) for k in range(count)):
                places = [f.offset(self.between, f.mul(f.add(c, k), lanes * size)) for k in range(0, lanes, piece)]
                parts = [f.value(f"load {kind}, ptr {place}, align {align}") for place in places]
                for p, turned in enumerate(gather_pieces(parts, lanes, piece, shuffle)):
                    put(turned, f.offset(to, f.mul(f.add(c, p * piece), row)))

    def _steps(self, end: int, step: int) -> AbstractContextManager[int | str]:
        """range(0, end, step): a loop, unless it is one step."""
        return self.function.loop(0, end, step) if step < end else nullcontext(0)
