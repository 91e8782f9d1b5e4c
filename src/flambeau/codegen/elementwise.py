"""Elementwise kernels: a scalar program applied to m rows of n elements, for any strides.

    void k(char** ptr, const int64_t* stride, int64_t n, int64_t m, const Slot* params)

Operands are outputs first, then inputs; `stride[0..nops)` are bytes between elements of a row, `stride[nops..2*nops)`
between rows. The class of each operand (see `memory`) is compiled in. A row is done in unrolled vectors, single
vectors, and a tail under a mask, or element by element where the target has no masks. Loads of a step come before its
stores, so an output may be exactly one of the inputs.

An input of class `t` lies the other way round: its elements follow each other from row to row. Such kernels go through
squares of elements, which are turned on the way. One of class `r` is read backwards.

Where nothing but turned operands is read and results go past the caches, rows are written while the squares of the
next ones are turned: stores past the caches wait for memory, and what is turned beside them costs no time.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

from flambeau.ir import types as t
from flambeau.ir.exact import without_rounding
from flambeau.ir.expr import Expr, walk
from flambeau.ir.program import ScalarProgram

from .emit import Elements, Outside, depends_only_on
from .lanes import CACHE_LINE
from .memory import Memory, byte_type, load_param, tail_mask
from .module import Function, Module, llvm_type
from .target import Target
from .turn import PIECE, gather_pieces, transpose, turn_pieces

ARGUMENTS = [("ptr", "ptr"), ("ptr", "stride"), ("i64", "n"), ("i64", "m"), ("ptr", "params")]
CONTIGUOUS, BROADCAST, STRIDED, STREAMED, TURNED, REVERSED = "c", "b", "s", "n", "t", "r"
_STEPPED = (STRIDED, TURNED, REVERSED)  # with a distance of their own between elements
_BESIDE = 256  # bytes of a result's row that are written at a time, of squares beside each other
_COLUMNS = 32  # elements of a row at least, where half as much is written
_FAR = 24 << 20  # bytes of an operand from which it is in no cache
_UNEVEN = 128  # elements, the same of rows that begin anywhere in a cache line: of each block some are turned twice
_AHEAD = 32  # rows between those that are turned and those whose lines are asked for
_LARGE = 16384  # elements: with fewer there is no more to come
_MOST_ROWS = 16  # of a square that is turned in registers
_AT_ONCE = 32  # rows of larger ones; in longer runs of code asking for lines would drift away from reading others


def emit(module: Module, program: ScalarProgram, classes: str, name: str) -> None:
    """Writes the kernel of a program for operands of these classes."""
    Kernel(module, program, classes, name).write()


def usual_nodes(roots: tuple[Expr, ...]) -> list[Expr]:
    """The nodes that are always computed: all but those behind `unlikely`."""
    seen: dict[int, Expr] = {}
    stack = list(roots)
    while stack:
        e = stack.pop()
        if id(e) not in seen:
            seen[id(e)] = e
            stack.extend((e.args[0], e.args[2]) if e.op == "unlikely" else e.args)
    return list(seen.values())


def vector_lanes(target: Target, nodes: list[Expr]) -> int:
    """Elements a vector holds so that the widest value fills a register."""
    width = max((t.SIZE[e.dtype] for e in nodes if e.dtype != "b1" and e.op != "const"), default=1)
    return max(target.vector_bytes // width, 1)


@dataclass(eq=False)
class _Operand:
    dtype: str
    kind: str
    number: int  # position in ptr and stride
    step: str = ""  # bytes between elements (strided and turned operands)
    row: str = ""  # address of the row's first element
    square: str = ""  # address of the turned square's elements of the row


class Kernel:
    """Writes the kernel of a program; `codegen.ptx` changes how rows and elements are gone through."""

    def __init__(self, module: Module, program: ScalarProgram, classes: str, name: str):
        self.roots, outputs, inputs = without_rounding(program.lowered, program.outputs, program.inputs)
        dtypes = [*outputs, *inputs]
        if len(classes) != len(dtypes):
            raise ValueError(f"{len(classes)} classes for {len(dtypes)} operands of {program.name}")
        self.program = program
        self.function = self.begin(module, name)
        operands = [_Operand(d, c, k) for k, (d, c) in enumerate(zip(dtypes, classes, strict=True))]
        self.outputs = operands[: len(program.outputs)]
        self.inputs = operands[len(program.outputs) :]
        self.operands = operands
        self.nodes = usual_nodes(self.roots)
        self.used = {e.attr[0] for e in walk(self.roots) if e.op == "input"}
        self.turned = [o for o in self.inputs if o.kind == TURNED]
        self.lanes = self._lanes(module.target)
        self.by_lines = bool(self.turned) and len(self.outputs) == 1 and self.outputs[0].kind == STREAMED
        self.together = self.by_lines and not any(o.kind == CONTIGUOUS for o in self.inputs)
        self.block = max(_BESIDE // self._result_size(), self.lanes)
        self.room = max(_UNEVEN, self.block) + CACHE_LINE if self.by_lines else self.block
        self.invariant = depends_only_on(self.roots, self._is_row_constant)
        irregular = any(o.kind == STRIDED or t.is_complex(o.dtype) for o in operands)
        backwards = any(o.kind == REVERSED for o in operands)
        self.masked = module.target.masks and not (irregular or backwards) and self.lanes >= 8
        self.unroll = 1 if irregular else self._unroll(self.lanes)

    def begin(self, module: Module, name: str) -> Function:
        """The function that is being written."""
        return Function(module, name, ARGUMENTS)

    def _lanes(self, target: Target) -> int:
        lanes = min(vector_lanes(target, self.nodes), max(target.vector_bytes // self._result_size(), 1))
        if not self.turned or self._unroll(lanes) == 1:
            return lanes
        # Lines of narrower operands are turned whole, if two vectors of what is computed with hold as much.
        whole = min(target.vector_bytes // t.SIZE[o.dtype] for o in self.turned)
        return min(max(lanes, whole), 2 * lanes)

    def _result_size(self) -> int:
        return max((t.SIZE[t.real_of(o.dtype)] for o in self.outputs), default=1)

    def _unroll(self, lanes: int) -> int:
        """Short programs need several vectors in flight; long ones have enough to do, and a look-up is long: the more
        so in a table of several registers."""
        looked_up = [len(e.attr) for e in self.nodes if e.op == "lookup"]
        work = sum(1 for e in self.nodes if e.args) + sum(2 if n <= lanes else 6 for n in looked_up)
        return 4 if work <= 8 else 2 if work <= 24 else 1

    def _is_row_constant(self, leaf: Expr) -> bool:
        return leaf.op == "param" or (leaf.op == "input" and self.inputs[leaf.attr[0]].kind == BROADCAST)

    def write(self) -> None:
        f = self.function
        bases = [f.value(f"load ptr, ptr {f.offset('%ptr', o.number, 'ptr')}, align 8") for o in self.operands]
        rows = [self._stride(len(self.operands) + o.number) for o in self.operands]
        for o in self.operands:
            if o.kind in _STEPPED:
                o.step = self._stride(o.number)
        if self.turned:
            self.squares(bases, rows)
        else:
            with self.rows() as r:
                self._enter(r, bases, rows)
                self.row()
        if any(o.kind == STREAMED for o in self.outputs):
            f.fence()
        f.finish()

    def rows(self) -> AbstractContextManager[str]:
        """The loop over rows."""
        return self.function.loop(0, "%m")

    def _enter(self, r: str, bases: list[str], rows: list[str]) -> None:
        f = self.function
        for o, base, row in zip(self.operands, bases, rows, strict=True):
            o.row = f.offset(base, f.mul(r, row))
        self.outside = Outside(f, f.section(), self._row_leaf)

    def squares(self, bases: list[str], rows: list[str]) -> None:
        """All elements, square by square: several beside each other, so that results are written in longer runs; those
        at the edges under a mask, or one by one."""
        f, lanes = self.function, self.lanes
        self.elements = lanes * self.room + lanes
        places = 2 if self.together else 1
        buffers = {o: f.variable(f"[{places * self.elements * t.SIZE[o.dtype]} x i8], align 64") for o in self.turned}
        widest = max(t.SIZE[o.dtype] for o in self.turned)
        self.between = f.variable(f"[{lanes * lanes * widest} x i8], align 64")
        self.large = f.value(f"icmp sge i64 {f.mul('%n', '%m')}, {_LARGE}")
        lowest = f.choose(self.large, "%m", 0)
        squares = f.value(f"and i64 %n, {-lanes}")
        self.width, beyond = self._blocks(bases, rows)
        with f.loop(0, "%n", self.width) as block:
            following = f.add(block, self.width)
            end, whole = f.smaller(following, "%n"), f.smaller(following, squares)
            turned = f.smaller(f.add(following, beyond), squares)
            last = f.value(f"icmp sge i64 {following}, %n")
            behind = f.choose(last, lowest, 0), f.choose(last, 0, following)
            with f.loop(-lanes if self.together else 0, "%m", lanes) as r:
                rest = f.value(f"sub i64 %m, {r}")
                high = f.value(f"icmp sge i64 {rest}, {lanes}")
                free, first = buffers, f.choose(high, whole, block)
                if self.together:
                    inside = f.value(f"icmp sge i64 {r}, 0")
                    here = f.value(f"and i1 {inside}, {high}")
                    free = self._pass(bases, rows, buffers, r, here, block, turned, behind)
                    first = f.choose(inside, first, end)
                else:
                    with f.when(high):
                        self._whole(bases, rows, buffers, r, block, turned, self._ahead(bases, rows, r, block, behind))
                with f.loop(first, end, lanes) as i:
                    self._edge(bases, rows, free, r, i, f.smaller(rest, lanes))

    def _blocks(self, bases: list[str], rows: list[str]) -> tuple[int | str, int | str]:
        """Elements of a row that are written at a time, and how many of the next ones are turned along: results past
        the caches go in whole lines, which may begin later in a row than the block."""
        if not self.by_lines:
            return self.block, 0
        f, number = self.function, self.outputs[0].number
        start = f.value(f"ptrtoint ptr {bases[number]} to i64")
        begins = f.value(f"and i64 {f.value(f'or i64 {start}, {rows[number]}')}, {CACHE_LINE - 1}")
        self.even = f.value(f"icmp eq i64 {begins}, 0")
        beyond, block = CACHE_LINE // self._result_size(), self.block
        if not self.together:  # lines of other operands are asked for too: of twice as many, some would be gone again
            far = f.value(f"icmp sge i64 {f.mul('%n', self.turned[0].step)}, {_FAR}")
            block = f.choose(far, max(block // 2, 2 * self.lanes, _COLUMNS), block)
        return f.choose(self.even, block, max(_UNEVEN, self.block)), f.choose(self.even, 0, beyond)

    def _ahead(self, bases: list[str], rows: list[str], r: str, block: str, behind: tuple[str, str]) -> tuple[str, str]:
        """Row and block of the squares whose turn comes some steps later: further down, or at the top of what is
        `behind`: the next block, or after the last one the first one below all rows. There, asks for the lines that
        squares begin in; further down they are the ones that the squares above end in."""
        f = self.function
        height = f.value(f"and i64 %m, {-self.lanes}")
        row = f.add(r, max(self.lanes, _AHEAD))
        inside = f.value(f"icmp slt i64 {row}, {height}")
        top = f.smaller(f.value(f"sub i64 {row}, {height}"), f.value(f"sub i64 {height}, {self.lanes}"))
        ahead = f.choose(inside, row, f.add(behind[0], top)), f.choose(inside, block, behind[1])
        first = f.value(f"and i1 {self.large}, {f.value(f'icmp eq i64 {top}, 0')}")
        with f.when(first), f.loop(0, f.smaller(self.width, "%n")) as i:
            for o, start in self._starts(bases, rows, *ahead):
                f.fetch(f.offset(start, f.mul(i, o.step)))
        return ahead

    def _whole(
        self, bases: list[str], rows: list[str], buffers: dict, r: str, block: str, end: str, ahead: tuple[str, str]
    ) -> None:
        """`lanes` rows of a block from r, of whole squares from `block` to `end`; the lines of those `ahead` are asked
        for."""
        turn = self._turner(bases, rows, r, block, ahead)
        with self.function.loop(0, self.function.value(f"sub i64 {end}, {block}"), self.lanes) as i:
            turn(i, buffers)
        self._results(bases, rows, buffers, r, (0, self.lanes), block, end, ahead)

    def _pass(
        self, bases: list[str], rows: list[str], buffers: dict, r: str, here: str, block: str, end: str, behind: tuple
    ) -> dict:
        """The same where rows from r were turned before and are written now, if they are `here`: some beside each
        square of the rows below that is turned. Returns the buffers that are free then."""
        f, lanes = self.function, self.lanes
        below = f.add(r, lanes)
        more = f.value(f"icmp sle i64 {f.add(below, lanes)}, %m")
        odd = f.value(f"and i64 {f.value(f'udiv i64 {below}, {lanes}')}, 1")
        filled, written = (
            {o: f.offset(at, f.mul(half, self.elements * t.SIZE[o.dtype])) for o, at in buffers.items()}
            for half in (odd, f.value(f"xor i64 {odd}, 1"))
        )
        ahead = self._ahead(bases, rows, below, block, behind)
        turn = self._turner(bases, rows, below, block, ahead)
        done, each = f.variable("i64", f.choose(here, 0, lanes)), max(1, lanes * lanes // self.block)
        with f.loop(0, f.value(f"sub i64 {end}, {block}"), lanes) as i:
            with f.when(more):
                turn(i, filled)
            first = f.value(f"load i64, ptr {done}")
            last = f.smaller(f.add(first, each), lanes)
            f.do(f"store i64 {last}, ptr {done}")
            self._results(bases, rows, written, r, (first, last), block, end, ahead)
        self._results(bases, rows, written, r, (f.value(f"load i64, ptr {done}"), lanes), block, end, ahead)
        return written

    def _turner(
        self, bases: list[str], rows: list[str], r: str, block: str, ahead: tuple[str, str]
    ) -> Callable[[str, dict], None]:
        """What turns the square that stands i elements behind the beginning of a block, of the rows from r."""
        f = self.function
        starts = zip(self._starts(bases, rows, r, block), self._starts(bases, rows, *ahead), strict=True)
        found = [(o, start, later) for (o, start), (_, later) in starts]

        def turn(i: str, buffers: dict) -> None:
            for o, start, later in found:
                across = f.mul(i, o.step)
                to = f.offset(buffers[o], f.mul(i, t.SIZE[o.dtype]))
                self._turn(o, f.offset(start, across), to, later=f.offset(later, across))

        return turn

    def _results(
        self, bases: list[str], rows: list[str], buffers: dict, r: str, some: tuple, block: str, end: str, ahead: tuple
    ) -> None:
        """Some of the rows from r, which were turned."""
        f, lanes = self.function, self.lanes
        with f.loop(*some) as k:
            self._enter(f.add(r, k), bases, rows)
            self._place(buffers, k, block)
            self._fetch_row(bases, rows, f.add(ahead[0], k), ahead[1])
            with f.when(self.even) if self.by_lines else nullcontext(), f.loop(block, end, lanes) as i:
                self.step(i, [0], lanes)
            if self.by_lines:
                with f.when(f.value(f"xor i1 {self.even}, true")):
                    self._lines(block, end)

    def _lines(self, block: str, end: str) -> None:
        """Elements of a row from the first line that begins in a block, or from the beginning of the row, to the first
        line beyond, or to `end`: whole lines past the caches."""
        f, lanes, o = self.function, self.lanes, self.outputs[0]
        address = f.value(f"ptrtoint ptr {o.row} to i64")
        before = f.value(f"and i64 {f.value(f'sub i64 0, {address}')}, {CACHE_LINE - 1}")
        shift = f.value(f"udiv i64 {before}, {t.SIZE[o.dtype]}")
        first = f.smaller(f.add(block, shift), end)
        last = f.smaller(f.add(f.add(block, self.width), shift), end)
        whole = f.add(first, f.value(f"and i64 {f.value(f'sub i64 {last}, {first}')}, {-lanes}"))
        self._part(f.choose(f.value(f"icmp eq i64 {block}, 0"), 0, first), first)
        with f.loop(first, whole, lanes) as i:
            self.step(i, [0], lanes)
        self._part(whole, last)

    def _part(self, start: str, end: str) -> None:
        """Elements of a line."""
        f, lanes = self.function, self.lanes
        with f.loop(start, end, lanes if self.masked else 1) as i:
            if self.masked:
                self.step(i, [0], lanes, tail_mask(f, lanes, f.value(f"sub i64 {end}, {i}")))
            else:
                self.step(i, [0], 1)

    def _fetch_row(self, bases: list[str], rows: list[str], r: str, block: str) -> None:
        """Asks for the lines of a block of row r of what lies as the results do."""
        f = self.function
        for o in self.operands:
            size = t.SIZE[o.dtype]
            if o.kind == CONTIGUOUS:
                start = f.offset(f.offset(bases[o.number], f.mul(r, rows[o.number])), f.mul(block, size))
                with f.loop(CACHE_LINE - 1, f.mul(self.width, size), CACHE_LINE) as byte:
                    f.fetch(f.offset(start, byte))

    def _edge(self, bases: list[str], rows: list[str], buffers: dict, r: str, i: str, height: str) -> None:
        """`height` rows from r of no more than `lanes` elements from i."""
        f, lanes = self.function, self.lanes
        rest = f.value(f"sub i64 %n, {i}")
        if self.masked:
            for o, start in self._starts(bases, rows, r, i):
                self._turn(o, start, buffers[o], tail_mask(f, lanes, height), rest)
            along = tail_mask(f, lanes, rest)
        with f.loop(0, height) as k:
            self._enter(f.add(r, k), bases, rows)
            if self.masked:
                self._place(buffers, k, i)
                self.step(i, [0], lanes, along)
            else:
                with f.loop(i, f.add(i, f.smaller(rest, lanes))) as at:
                    self.step(at, [0], 1)

    def _starts(self, bases: list[str], rows: list[str], r: str, i: str) -> list[tuple[_Operand, str]]:
        """The turned operands that are read, and where their element i of row r lies."""
        f, first = self.function, len(self.outputs)
        read = [o for o in self.turned if o.number - first in self.used]
        return [(o, f.offset(f.offset(bases[o.number], f.mul(r, rows[o.number])), f.mul(i, o.step))) for o in read]

    def _place(self, buffers: dict, k: str, first: str) -> None:
        """Says where row k of what was turned lies; it begins at element `first`."""
        f = self.function
        for o in self.turned:
            size = t.SIZE[o.dtype]
            start = f.offset(buffers[o], f.mul(k, self.room * size))
            o.square = f.offset(start, f.mul(f.value(f"sub i64 0, {first}"), size))

    def _turn(
        self, o: _Operand, start: str, to: str, across: str | None = None, rest: str | None = None, later: str = ""
    ) -> None:
        """Puts a square of an operand into a buffer, row by row as the results lie; with `rest`, so many columns. Asks
        for the lines of the square that begins at `later`: two a column, unless columns begin at multiples of them."""
        f, lanes, memory = self.function, self.lanes, byte_type(o.dtype)
        kind, size = llvm_type(memory, lanes), t.SIZE[o.dtype]
        read = Memory(f, Elements(f, lanes, lambda e: ""))

        def vector(k: int | str) -> str:
            column = k if rest is None else f.smaller(f.value(f"sub i64 {rest}, 1"), k)
            if later:
                f.fetch(f.offset(f.offset(later, f.mul(column, o.step)), lanes * size - 1))
            return read.raw(memory, f.offset(start, f.mul(column, o.step)), across)

        def put(vector: str, place: str) -> None:
            f.do(f"store {kind} {vector}, ptr {place}, align {align}")

        def shuffle(a: str, b: str, order: list[int]) -> str:
            return f.shuffle(kind, a, b, order)

        piece, align, row = PIECE // size, min(lanes * size, 64), self.room * size
        if lanes <= _MOST_ROWS or piece >= lanes:
            for k, turned in enumerate(transpose([vector(k) for k in range(lanes)], size, shuffle)):
                put(turned, f.offset(to, k * row))
            return
        count = min(lanes, _AT_ONCE)
        with self._steps(lanes, count) as begin:
            for first in (f.add(begin, k) for k in range(0, count, piece)):
                columns = [vector(f.add(first, k)) for k in range(piece)]
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

    def _stride(self, position: int) -> str:
        f = self.function
        return f.value(f"load i64, ptr {f.offset('%stride', position, 'i64')}, align 8")

    def row(self) -> None:
        """Vectors of falling width, each loop going on where the one before stopped."""
        f = self.function
        done: str | int = 0
        apart = self.unroll > 1 or any(o.kind == STREAMED for o in self.outputs)  # no mask goes past the caches
        for vectors in ([self.unroll] if apart else []) + ([] if self.masked else [1]):
            done = self._vectors(vectors, done)
        if self.masked:
            self._masked(done)
        elif self.lanes > 1:
            with f.loop(done, "%n") as i:
                self.step(i, [0], 1)

    def _masked(self, done: str | int) -> None:
        """Whole vectors, then what is left: two loops with a mask each, written as one, for there is one body."""
        f, lanes = self.function, self.lanes
        whole = f.value(f"and i64 %n, {-lanes}")
        with f.loop(0, 2) as turn:
            last = f.value(f"icmp eq i64 {turn}, 1")
            start = f.value(f"select i1 {last}, i64 {whole}, i64 {done}")
            end = f.value(f"select i1 {last}, i64 %n, i64 {whole}")
            mask = tail_mask(f, lanes, f.value(f"sub i64 %n, {start}"))
            with f.loop(start, end, lanes) as i:
                self.step(i, [0], lanes, mask)

    def _vectors(self, vectors: int, start: str | int) -> str:
        """Whole steps of some vectors from `start`; returns where they end."""
        f = self.function
        step = vectors * self.lanes
        end = "%n" if step == 1 else f.value(f"and i64 %n, {-step}")
        with f.loop(start, end, step) as i:
            self.step(i, [k * self.lanes for k in range(vectors)], self.lanes)
        return end

    def _row_leaf(self, e: Expr) -> str:
        number, part = e.attr
        if e.op == "param":
            return load_param(self.function, "%params", number, part, e.dtype)
        o = self.inputs[number]
        return Memory(self.function, Elements(self.function, 1, self._row_leaf)).load(o.dtype, o.row)[part]

    def step(self, i: str, offsets: list[int], lanes: int, mask: str | None = None) -> None:
        """Elements i + offset .. i + offset + lanes for each offset: all loads, then results and stores. Vectors of
        narrow results go past the caches together, a register at a time."""
        f = self.function
        streams = [_Stream(self, f.add(i, offset), lanes, mask) for offset in offsets]
        for stream in streams:
            stream.load()
        together = {o: f.target.vector_bytes // (lanes * t.SIZE[o.dtype]) for o in self.outputs if o.kind == STREAMED}
        joined = [o for o, count in together.items() if count > 1 and lanes > 1 and len(streams) % count == 0]
        raw = [stream.finish(joined) for stream in streams]
        for o in joined:
            for first in range(0, len(streams), together[o]):
                parts = [values[o] for values in raw[first : first + together[o]]]
                streams[first].memory.stream_joined(o.dtype, parts, streams[first].address(o))


class _Stream:
    """One vector of elements on its way through the program."""

    def __init__(self, kernel: Kernel, position: str, lanes: int, mask: str | None):
        self.kernel = kernel
        self.position = position
        self.mask = mask
        self.loaded: dict[int, tuple[str, ...]] = {}
        self.elements = Elements(kernel.function, lanes, self._leaf, kernel.invariant, kernel.outside)
        self.memory = Memory(kernel.function, self.elements)

    def load(self) -> None:
        f = self.kernel.function
        for k, o in enumerate(self.kernel.inputs):
            if k in self.kernel.used and o.kind == CONTIGUOUS:
                self.loaded[k] = self.memory.load(o.dtype, self.address(o), self.mask)
            elif k in self.kernel.used and o.kind == TURNED and self.memory.lanes > 1:
                at = f.offset(o.square, f.mul(self.position, t.SIZE[o.dtype]))
                self.loaded[k] = self.memory.load(o.dtype, at)
            elif k in self.kernel.used and o.kind == REVERSED and self.memory.lanes > 1:
                self.loaded[k] = self.memory.load_reversed(o.dtype, self.address(o))
            elif k in self.kernel.used and o.kind in _STEPPED:
                self.loaded[k] = self.memory.load_strided(o.dtype, self.address(o), o.step)

    def finish(self, kept: list[_Operand]) -> dict[_Operand, str]:
        """Stores the results, except those that are kept: their elements as they lie in memory."""
        values, raw = iter(self.elements.emit(*self.kernel.roots)), {}
        for o in self.kernel.outputs:
            result = tuple(next(values) for _ in range(2 if t.is_complex(o.dtype) else 1))
            if o in kept:
                raw[o] = self.elements.narrow(result[0], o.dtype)
            elif o.kind in (CONTIGUOUS, STREAMED):
                stream = o.kind == STREAMED and self.memory.lanes > 1
                self.memory.store(o.dtype, result, self.address(o), self.mask, stream)
            else:
                self.memory.store_strided(o.dtype, result, self.address(o), o.step or "0")
        return raw

    def address(self, o: _Operand) -> str:
        f = self.kernel.function
        distance = o.step if o.kind in _STEPPED else t.SIZE[o.dtype]
        return f.offset(o.row, f.mul(self.position, distance))

    def _leaf(self, e: Expr) -> str:
        if e.op == "index":
            raise TypeError(f"{self.kernel.program.name}: positions are for row programs")
        return self.loaded[e.attr[0]][e.attr[1]]
