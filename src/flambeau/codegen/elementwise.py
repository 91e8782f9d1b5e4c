"""Elementwise kernels: a scalar program applied to m rows of n elements, for any strides.

    void k(char** ptr, const int64_t* stride, int64_t n, int64_t m, const Slot* params)

Operands are outputs first, then inputs; `stride[0..nops)` are bytes between elements of a row, `stride[nops..2*nops)`
between rows. The class of each operand (see `memory`) is compiled in. A row is done in unrolled vectors, single
vectors, and a tail under a mask, or element by element where the target has no masks. Loads of a step come before its
stores, so an output may be exactly one of the inputs.

An input of class `t` lies the other way round: its elements follow each other from row to row. Such kernels go through
squares of elements, which are turned on the way (`squares`). One of class `r` is read backwards.
"""

from contextlib import AbstractContextManager
from dataclasses import dataclass

from flambeau.ir import types as t
from flambeau.ir.exact import without_rounding
from flambeau.ir.expr import Expr, walk
from flambeau.ir.program import ScalarProgram

from .emit import Elements, Outside, depends_only_on
from .memory import (
    BROADCAST,
    CONTIGUOUS,
    REVERSED,
    STREAMED,
    STRIDED,
    TURNED,
    Memory,
    load_param,
    tail_mask,
    vectors_of_register,
)  # fmt: skip
from .module import Function, Module
from .squares import Squares
from .target import Target

ARGUMENTS = [("ptr", "ptr"), ("ptr", "stride"), ("i64", "n"), ("i64", "m"), ("ptr", "params")]
_STEPPED = (STRIDED, TURNED, REVERSED)  # with a distance of their own between elements


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
    base: str = ""  # address of the first element
    apart: str = ""  # bytes between rows
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
        self.invariant = depends_only_on(self.roots, self._is_row_constant)
        irregular = any(o.kind == STRIDED or t.is_complex(o.dtype) for o in operands)
        least = 16 if any(o.kind == REVERSED for o in operands) else 8  # a mask is turned as well
        self.masked = module.target.masks and not irregular and self.lanes >= least
        self.unroll = 1 if irregular else max(self._unroll(self.lanes), *self._together().values(), 1)

    def begin(self, module: Module, name: str) -> Function:
        """The function that is being written."""
        return Function(module, name, ARGUMENTS)

    def _lanes(self, target: Target) -> int:
        lanes = min(vector_lanes(target, self.nodes), max(target.vector_bytes // self.result_size(), 1))
        if not self.turned or self._unroll(lanes) == 1:
            return lanes
        # Lines of narrower operands are turned whole, if two vectors of what is computed with hold as much.
        whole = min(target.vector_bytes // t.SIZE[o.dtype] for o in self.turned)
        return min(max(lanes, whole), 2 * lanes)

    def result_size(self) -> int:
        return max((t.SIZE[t.real_of(o.dtype)] for o in self.outputs), default=1)

    def _unroll(self, lanes: int) -> int:
        """Short programs need several vectors in flight; long ones have enough to do, and a look-up is long: the more
        so in a table of several registers."""
        looked_up = [len(e.attr) for e in self.nodes if e.op == "lookup"]
        work = sum(1 for e in self.nodes if e.args) + sum(2 if n <= lanes else 6 for n in looked_up)
        return 4 if work <= 8 else 2 if work <= 24 else 1

    def _together(self) -> dict[_Operand, int]:
        """How many vectors of each result that goes past the caches fill a register as they lie in memory."""
        target = self.function.target
        return {o: vectors_of_register(target, self.lanes, o.dtype) for o in self.outputs if o.kind == STREAMED}

    def _is_row_constant(self, leaf: Expr) -> bool:
        return leaf.op == "param" or (leaf.op == "input" and self.inputs[leaf.attr[0]].kind == BROADCAST)

    def write(self) -> None:
        f = self.function
        for o in self.operands:
            o.base = f.value(f"load ptr, ptr {f.offset('%ptr', o.number, 'ptr')}, align 8")
            o.apart = self._stride(len(self.operands) + o.number)
            if o.kind in _STEPPED:
                o.step = self._stride(o.number)
        if self.turned:
            Squares(self).write()
        else:
            with self.rows() as r:
                self.enter(r)
                self.row()
        if any(o.kind == STREAMED for o in self.outputs):
            f.fence()
        f.finish()

    def rows(self) -> AbstractContextManager[str]:
        """The loop over rows."""
        return self.function.loop(0, "%m")

    def enter(self, r: str) -> None:
        """Goes to a row."""
        f = self.function
        for o in self.operands:
            o.row = f.offset(o.base, f.mul(r, o.apart))
        self.outside = Outside(f, f.section(), self._row_leaf)

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
        together = self._together()
        joined = [o for o, count in together.items() if count > 1 and lanes > 1 and len(streams) % count == 0]
        results = [stream.finish(joined) for stream in streams]
        for o in joined:
            for first in range(0, len(streams), together[o]):
                values = [result[o] for result in results[first : first + together[o]]]
                streams[first].memory.stream_joined(o.dtype, values, streams[first].address(o))


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
                self.loaded[k] = self.memory.load_reversed(o.dtype, self.address(o), self.mask)
            elif k in self.kernel.used and o.kind in _STEPPED:
                self.loaded[k] = self.memory.load_strided(o.dtype, self.address(o), o.step)

    def finish(self, kept: list[_Operand]) -> dict[_Operand, str]:
        """Stores the results, except those that are kept: their values."""
        values, together = iter(self.elements.emit(*self.kernel.roots)), {}
        for o in self.kernel.outputs:
            result = tuple(next(values) for _ in range(2 if t.is_complex(o.dtype) else 1))
            if o in kept:
                together[o] = result[0]
            elif o.kind in (CONTIGUOUS, STREAMED):
                stream = o.kind == STREAMED and self.memory.lanes > 1
                self.memory.store(o.dtype, result, self.address(o), self.mask, stream)
            else:
                self.memory.store_strided(o.dtype, result, self.address(o), o.step or "0")
        return together

    def address(self, o: _Operand) -> str:
        f = self.kernel.function
        distance = o.step if o.kind in _STEPPED else t.SIZE[o.dtype]
        return f.offset(o.row, f.mul(self.position, distance))

    def _leaf(self, e: Expr) -> str:
        if e.op == "index":
            raise TypeError(f"{self.kernel.program.name}: positions are for row programs")
        return self.loaded[e.attr[0]][e.attr[1]]
