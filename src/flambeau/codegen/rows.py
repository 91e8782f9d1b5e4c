"""Row kernels along rows, and what those of columns share with them; see `row`."""

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import cycle

from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, input_, walk
from flambeau.ir.scalar import substitute

from . import elementwise, near, pick, shifted
from .emit import Elements
from .memory import Memory, load_param, tail_mask, vectors_of_register
from .module import Function, Module, llvm_type, suffix
from .row_program import RowProgram
from .states import absorb, component_dtypes, element_state, initial, merge, settle, twin

ARGUMENTS = [("ptr", "ptr"), ("ptr", "stride"), ("ptr", "shape"), ("ptr", "params")]
AHEAD = 16 << 10  # bytes between what is read and what is asked for, in the order of memory
_COSTLY = 12  # nodes of an expression that is worth a store and a load


@dataclass
class Operand:
    role: str
    dtype: str
    kind: str  # class along the vector axis
    number: int
    base: str = ""
    strides: tuple[str, str, str] = ("", "", "")
    row: str = ""  # address at the current batch element
    run: str = ""  # address at the current outer position of the row

    @property
    def dense(self) -> bool:
        """Whether the elements of a vector are neighbours."""
        return self.kind in (elementwise.CONTIGUOUS, elementwise.STREAMED)


class Kernel:
    """What both directions share: operands, levels, what a reduction's result is."""

    def __init__(self, module: Module, program: RowProgram, mode: str, classes: str, name: str):
        self.program = program
        self.mode = mode
        self.target = module.target
        level = int(mode[len("level") :]) if mode.startswith("level") else None
        outputs = [("B", d) for d in program.states(level)] if level is not None else list(program.outputs)
        finished = range(level if level is not None else 0 if mode == "fused" else len(program.levels))
        states = [("B", d) for k in finished for d in program.states(k)]
        described = [*outputs, *program.inputs, *states]
        described += [("F", t.compute_dtype(outputs[0][1]))] * (len(classes) - len(described))
        operands = [Operand(r, d, c, k) for k, ((r, d), c) in enumerate(zip(described, classes, strict=True))]
        self.outputs = operands[: len(outputs)]
        self.inputs = operands[len(outputs) : len(outputs) + len(program.inputs)]
        after = len(outputs) + len(program.inputs) + len(states)
        self.states = operands[len(outputs) + len(program.inputs) : after]
        self.parking = (operands[after:] or operands)[0]
        self.operands = operands
        self.function = self.begin(module, name)
        self.level = level
        self.levels = {None: range(len(program.levels)) if mode == "fused" else ()}.get(level, (level,))
        self.lanes = self._lanes()
        self.uses = Counter(a for e in walk(program.roots) for a in e.args)
        self.state_of = self._number_states(finished)
        self.parked = self._parked() if mode == "fused" else None
        self.near = program.near if mode == "fused" and not self.target.is_gpu else None

    def _parked(self) -> Expr | None:
        """A costly value that the last level computes and the output is made of (softmax's exp): kept in the output's
        memory (or what stands in for it) between the two, where nothing else that varies over both is read again."""
        full = [(o, r) for o, r in zip(self.outputs, self.program.roots, strict=False) if o.role == "F"]
        if len(full) != 1 or len(self.outputs) != 1 or not self.program.levels or len(self.program.roots) != 1:
            return None
        (_, root), dtype = full[0], self.parking.dtype
        if dtype not in ("f32", "f64"):
            return None
        inside = {id(e) for e in walk([r.args[0] for r in self.program.levels[-1]])}
        shared = [e for e in walk([root]) if id(e) in inside and e.args and e.dtype == dtype and self.varies(e)]
        for e in reversed(shared):  # the largest first
            if len(walk([e])) < _COSTLY:
                return None
            (rest,) = substitute([root], {e: input_(ir.TEMP, e.dtype)})
            leaves = [x for x in walk([rest]) if x.op == "input"]
            if all(x.attr[0] == ir.TEMP or not self.varies(x) for x in leaves):
                return e
        return None

    def begin(self, module: Module, name: str) -> Function:
        """The function that is being written."""
        return Function(module, name, ARGUMENTS)

    def _lanes(self) -> int:
        full = [t.compute_dtype(o.dtype) for o in (*self.inputs, *self.outputs) if o.role == "F"]
        width = max((t.SIZE[t.real_of(d)] for d in full), default=4)
        return max(self.target.vector_bytes // max(width, 4), 1)

    def _number_states(self, finished) -> dict[Expr, list[int]]:
        numbers, at = {}, 0
        for k in finished:
            for e in self.program.levels[k]:
                parts = len(component_dtypes(e))
                numbers[e] = list(range(at, at + parts))
                at += parts
        return numbers

    def write(self) -> None:
        f = self.function
        self.shape = [f.value(f"load i64, ptr {f.offset('%shape', k, 'i64')}") for k in range(6)]
        for o in self.operands:
            o.base = f.value(f"load ptr, ptr {f.offset('%ptr', o.number, 'ptr')}")
            o.strides = tuple(
                f.value(f"load i64, ptr {f.offset('%stride', 3 * o.number + k, 'i64')}") for k in range(3)
            )
        self.start = f.section()
        self.batch_loop()
        if any(o.kind == elementwise.STREAMED for o in self.outputs):
            f.fence()
        f.finish()

    def param(self, e: Expr) -> str:
        """A run-time number, or the length of the row."""
        number, part = e.attr
        if part == ir.COUNT:
            return self.shape[4]
        return load_param(self.function, "%params", number, part, e.dtype)

    def operand(self, e: Expr) -> Operand:
        return self.inputs[self.program.leaves[e.attr[0]]]

    def varies(self, e: Expr) -> bool:
        """Over the row."""
        return bool(self.program.space[e] & ir.ROW) if e in self.program.space else True

    def outermost(self, roots: Iterable[Expr], wanted: Callable[[Expr], bool]) -> list[Expr]:
        """The first nodes that are wanted on each way down from the roots. What is parked hides those below it."""
        found, seen, stack = [], {self.parked}, list(roots)
        while stack:
            e = stack.pop()
            if e in seen:
                continue
            seen.add(e)
            if wanted(e):
                found.append(e)
            else:
                stack.extend(e.args)
        return found

    def parks(self, level: int) -> Expr | None:
        """What the pass of a level puts into memory."""
        return self.parked if level == self.levels[-1] else None

    def park(self, stream: "Stream", value: Expr) -> None:
        """Puts what is parked into memory."""
        stream.store(self.parking, tuple(stream.emit([value])))

    def unpark(self, stream: "Stream") -> None:
        """Takes the parked value from memory."""
        stream.elements.define(self.parked, stream.load(self.parking)[0])

    def outer_loop(self):
        """The outer dimension of the row; sets the run address of every operand."""
        return self.function.loop(0, self.shape[1])

    def enter_run(self, i1: str) -> None:
        f = self.function
        for o in self.operands:
            o.run = f.offset(o.row, f.mul(i1, o.strides[1])) if o.role in "FRAP" else o.row


class Stream:
    """The elements of one vector: `lanes` neighbours along the vector axis."""

    def __init__(self, kernel: "Kernel", scope: "Scope", lanes: int, addresses, mask: str | None, position):
        self.kernel = kernel
        self.scope = scope
        self.mask = mask
        self.address = addresses  # operand -> address of the first element
        self.position = position  # () -> value of `index`
        self.elements = Elements(kernel.function, lanes, self._leaf, lambda e: not kernel.varies(e), scope)
        self.memory = Memory(kernel.function, self.elements)
        self.loaded: dict[int, tuple[str, ...]] = {}
        self.place: tuple = ()  # what `stream_of` was told

    def emit(self, exprs: list[Expr]) -> list[str]:
        return self.elements.emit(*exprs)

    def _leaf(self, e: Expr) -> str:
        kernel = self.kernel
        if e.op == "param":
            return self.scope.value(e, self.elements)
        if e.op == "index":
            return self.position()
        o = kernel.operand(e)
        if not kernel.varies(e):
            return self.scope.value(e, self.elements)
        if o.number not in self.loaded:
            self.loaded[o.number] = self.load(o)
        return self.loaded[o.number][e.attr[1]]

    def load(self, o: Operand) -> tuple[str, ...]:
        f, address = self.kernel.function, self.address(o)
        if o.kind == "b":
            scalar = Memory(f, Elements(f, 1, self._leaf)).load(o.dtype, address)
            return tuple(self.elements.spread(v, t.real_of(t.compute_dtype(o.dtype))) for v in scalar)
        stride = self.kernel.vector_stride(o)
        if self.mask is None:
            if o.kind == "c":
                return self.memory.load(o.dtype, address)
            return self.memory.load_strided(o.dtype, address, stride)
        if o.kind == "c" and self.kernel.target.masks and not t.is_complex(o.dtype):
            return self.memory.load(o.dtype, address, self.mask)
        return self.memory.load(o.dtype, self._copy_tail(o, address, stride, True))

    def _copy_tail(self, o: Operand, address: str, stride: str, inward: bool) -> str:
        """Moves the elements of a tail to (or from) a full vector on the stack."""
        f, lanes, size = self.kernel.function, self.elements.lanes, t.SIZE[o.dtype]
        kind = f"[{lanes * size} x i8]"
        buffer = self.kernel.buffer(o.number, kind, lanes * size)
        unit = {1: "i8", 2: "i16", 4: "i32", 8: "i64", 16: "i128"}[size]
        if inward:
            f.do(f"store {kind} zeroinitializer, ptr {buffer}, align 64")
        with f.loop(0, self.kernel.rest) as i:
            here, there = f.offset(buffer, f.mul(i, size)), f.offset(address, f.mul(i, stride))
            source, to = (there, here) if inward else (here, there)
            align = min(size, 8)
            f.do(f"store {unit} {f.value(f'load {unit}, ptr {source}, align {align}')}, ptr {to}, align {align}")
        return buffer

    def store(self, o: Operand, values: tuple[str, ...]) -> None:
        address, stride = self.address(o), self.kernel.vector_stride(o)
        if self.mask is None:
            if o.dense:
                self.memory.store(o.dtype, values, address, stream=o.kind == elementwise.STREAMED)
            else:
                self.memory.store_strided(o.dtype, values, address, stride)
        elif o.dense and self.kernel.target.masks and not t.is_complex(o.dtype):
            self.memory.store(o.dtype, values, address, self.mask)
        else:
            self.memory.store(o.dtype, values, self.kernel.buffer(o.number, None, 0))
            self._copy_tail(o, address, stride, False)


class Scope:
    """Values that do not vary over the row: computed once, before the loop that asks for them."""

    def __init__(self, kernel: "Kernel", lanes: int, spread: bool, load):
        self.kernel = kernel
        self.elements = Elements(kernel.function, lanes, self._leaf)
        self._spread = spread
        self._load = load
        self._known: dict[tuple[int, Expr], str] = {}
        self.place: list = []

    def open(self) -> None:
        """What is asked for from now on is computed here."""
        self.place = self.kernel.function.section()
        self._known.clear()

    def value(self, e: Expr, inside: Elements) -> str:
        if not self._spread:
            return self.scalar(e)
        key = (inside.lanes, e)
        if key not in self._known:
            scalar = self.scalar(e)
            with self.kernel.function.at(self.place):
                self._known[key] = inside.spread(scalar, e.dtype)
        return self._known[key]

    def scalar(self, e: Expr) -> str:
        """The value in this scope's own lanes."""
        with self.kernel.function.at(self.place):
            (value,) = self.elements.emit(e)
        return value

    def define(self, e: Expr, value: str) -> None:
        """Says what a reduction came to."""
        self.elements.define(e, value)

    def _leaf(self, e: Expr) -> str:
        if e.op == "param":
            value = self.kernel.param(e)
            return self.elements.spread(value, e.dtype)
        return self._load(self.kernel.operand(e), e.attr[1])


class Rows(Kernel):
    """Vectors along the inner dimension of the row."""

    accumulators = 4
    in_lanes = True  # elements of one row
    in_runs = False  # that are read side by side
    reads_once = False  # rows that are long enough for a first guess, whatever they are made of

    def vector_stride(self, o: Operand) -> str:
        return o.strides[2]

    def buffer(self, number: int, kind: str | None, size: int) -> str:
        if not hasattr(self, "_buffers"):
            self._buffers: dict[int, str] = {}
        if number not in self._buffers:
            o = self.operands[number]
            self._buffers[number] = self.function.variable(f"[{self.lanes * t.SIZE[o.dtype]} x i8], align 64")
        return self._buffers[number]

    def batch_loop(self) -> None:
        with self.batch() as b:
            self.do_row(b)

    def do_row(self, b: str) -> None:
        """A row from start to end, or a level of it."""
        self.enter_row(b)
        self.reduce_row(b)
        if self.level is None:
            self._finish()

    def enter_row(self, b: str) -> None:
        """Sets the row address of every operand."""
        f = self.function
        for o in self.operands:
            o.row = f.offset(o.base, f.mul(b, o.strides[0]))

    def reduce_row(self, b: str) -> None:
        """All levels of a row."""
        self.scope = Scope(self, 1, True, self._load_scalar)
        self.scope.open()
        for e, numbers in self.state_of.items():
            o = self.states[numbers[-1]]
            self.scope.define(e, self._scalar_memory().load(o.dtype, o.row)[0])
        self._find_next(b)
        self.tests = [(e, p) for e in walk(self.program.roots) if (p := self.is_at(e)) is not None]
        for level in self.levels[shifted.reduce(self) or near.reduce(self) :]:
            self.reduce(level)

    def _find_next(self, b: str) -> None:
        """How far the next row is, where a pass over a row asks for it; 0 in the last row of all.

        That pass is the last one, or the one that takes exponentials, or computes what is parked: the last one then
        does nothing but write. A row that is read once is followed by the machine itself.
        """
        f, self.next_rows = self.function, {}
        self.fetches_early = self.parked is not None or self.near is not None
        full = any(o.role in "FRAP" for o in self.outputs)
        passes = len(self.levels) + full - (self.near is not None)
        if self.mode != "fused" or self.target.is_gpu or passes < 2:
            return
        if not (self.fetches_early or self.in_runs):
            return
        inner = f.value(f"icmp slt i64 {f.add(b, 1)}, {f.add(self.shape[0], self.shape[5])}")
        self.next_rows = {o.number: f.choose(inner, o.strides[0], 0) for o in self.full_vectors()}

    def full_vectors(self) -> list[Operand]:
        """What is read in vectors that are new at every step."""
        return [o for o in self.inputs if o.role == "F" and o.kind == elementwise.CONTIGUOUS]

    def fetch_next(self, streams: list["Stream"]) -> None:
        """Asks for what stands in the next row where some vectors stand in this one."""
        for stream in streams:
            for number, distance in self.next_rows.items():
                self.function.fetch(self.function.offset(stream.address(self.operands[number]), distance))

    def fetch_on(self, streams: list["Stream"]) -> None:
        """Asks for what the pass that sums reads later."""

    def batch(self) -> AbstractContextManager[str]:
        """The loop over rows."""
        return self.function.loop(0, self.shape[0])

    def _scalar_memory(self) -> Memory:
        return Memory(self.function, self.scope.elements)

    def _load_scalar(self, o: Operand, part: int) -> str:
        return self._scalar_memory().load(o.dtype, o.row)[part]

    def passes(self, step, begin=lambda: None, end=lambda: None) -> None:
        """Runs `step(streams)` over the elements of a row, `begin` and `end` around each run of them."""
        f = self.function
        for scope in self.scopes():
            scope.open()
        with self.outer_loop() as i1:
            self.enter_run(i1)
            begin()
            self.pass_run(step, f.add(f.mul(i1, self.shape[2]), self.shape[3]))
            end()

    def sum_pass(self, step) -> None:
        """Runs `step` for sums, which may take the elements of a row in another order than the passes that write."""
        self.passes(step)

    def pass_run(self, step, first: str) -> None:
        """Runs `step` over the elements of a run, the first of which is at this position."""
        f, lanes = self.function, self.lanes
        wide = self.accumulators * lanes
        end = f.value(f"and i64 {self.shape[2]}, {-wide}")
        with f.loop(0, end, wide) as i:
            step([self.stream(f.add(i, k * lanes), first) for k in range(self.accumulators)])
        whole = f.value(f"and i64 {self.shape[2]}, {-lanes}")
        with f.loop(end, whole, lanes) as i:
            step([self.stream(i, first)])
        if lanes > 1:
            self.rest = f.value(f"sub i64 {self.shape[2]}, {whole}")
            with f.when(f.value(f"icmp sgt i64 {self.rest}, 0")):
                step([self.stream(whole, first, tail_mask(f, lanes, self.rest))])

    def is_at(self, e: Expr) -> Expr | None:
        """What a node asks of the position in the row: whether it is this one, which all elements have in common."""
        pairs = (e.args, e.args[::-1]) if e.op == "eq" and self.lanes > 1 else ()
        return next((a for index, a in pairs if index.op == "index" and not self.varies(a)), None)

    def stream(self, i: str, first: str, mask: str | None = None) -> Stream:
        return self.stream_of(self.scope, lambda o: o.run, i, first, mask)

    def stream_of(self, scope: Scope, run: Callable[[Operand], str], i: str, first: str, mask: str | None) -> Stream:
        """A vector of the row that a scope is of, the runs of its operands being there."""
        f = self.function

        def lanes_at(wanted: Expr) -> str:
            """The lane of this position, if it is here, in 32 bits: a vector holds as many lanes of those."""
            distance = f.value(f"sub i64 {scope.scalar(wanted)}, {f.add(first, i)}")
            inside = f.value(f"icmp ult i64 {distance}, {self.lanes}")
            lane = f.value(f"trunc i64 {f.value(f'select i1 {inside}, i64 {distance}, i64 -1')} to i32")
            steps = ", ".join(f"i32 {k}" for k in range(self.lanes))
            return f.value(f"icmp eq <{self.lanes} x i32> {stream.elements.spread(lane, 'i32')}, <{steps}>")

        def address(o: Operand) -> str:
            return f.offset(run(o), f.mul(i, t.SIZE[o.dtype] if o.dense else o.strides[2]))

        def position() -> str:
            spread = stream.elements.spread(f.add(first, i), "i64")
            if self.lanes == 1:
                return spread
            steps = ", ".join(f"i64 {k}" for k in range(self.lanes))
            return f.value(f"add <{self.lanes} x i64> {spread}, <{steps}>")

        stream = Stream(self, scope, self.lanes, address, mask, position)
        stream.place = run, i, first, mask
        for e, wanted in self.tests:
            stream.elements.define(e, lanes_at(wanted))
        return stream

    def reduce(self, level: int) -> None:
        """Writes a level, and says what its reductions come to."""
        reductions = self.program.levels[level]
        done = shifted.spread(self, reductions) or pick.emit(self, reductions)
        rest = tuple(e for e in reductions if e not in done)
        found = self.totals(rest, (), self.parks(level), level == self.levels[-1]) if rest else [{}]
        for scope, totals in zip(self.scopes(), found, strict=True):
            totals |= done
            for k, e in enumerate(reductions):
                scope.define(e, totals[e][-1])
                if self.level is not None:
                    at = sum(len(component_dtypes(x)) for x in reductions[:k])
                    for value, o in zip(totals[e], self.outputs[at:], strict=False):
                        self._scalar_memory().store(o.dtype, (value,), o.row)

    def scopes(self) -> "list[Scope]":
        """Of the rows that are done together."""
        return [self.scope]

    def beside(self, stream: Stream) -> list[Stream]:
        """The same elements of each of them."""
        return [stream]

    def pass_over(self, reductions: tuple[Expr, ...], parks: Expr | None) -> list[dict[Expr, list[str]]]:
        """States in each scope, from one pass, which parks a value and is the last to reduce."""
        return self.totals(reductions, (), parks, True)

    def is_long(self, steps: int) -> str:
        """Whether a pass over a row takes so many steps, `some` of its elements being one."""
        return self.function.value(f"icmp sge i64 {self.shape[2]}, {steps * self.accumulators * self.lanes}")

    def some(self, e: Expr) -> list[list[str]]:
        """In each scope, the state of the first vectors of a row, or of some of its runs: memory gives best what is
        read in its order."""
        f, count = self.function, self.accumulators
        self.scope.open()
        vectors: list[list[list[str]]] = [[] for _ in self.scopes()]
        for k in range(count):
            run = f.value(f"lshr i64 {f.mul(self.shape[1], k)}, {count.bit_length() - 1}")
            self.enter_run(run)
            stream = self.stream(str(k * self.lanes), f.add(f.mul(run, self.shape[2]), self.shape[3]))
            for found, s in zip(vectors, self.beside(stream), strict=True):
                found.append(s.emit([e.args[0]]))
        return [self.total(e, found) for found in vectors]

    def totals(
        self, reductions, known: Iterable[dict[Expr, str]] = (), parks: Expr | None = None, last: bool = False
    ) -> list[dict[Expr, list[str]]]:
        """States of whole rows, or pieces of them, from one pass, which parks a value; `last` that reduces. `known`:
        values of leaves that all elements of a row share."""
        count, spread = self.accumulators, Elements(self.function, self.lanes, lambda leaf: "").spread
        rows = [[[self._accumulators(e) for e in reductions] for _ in range(count)] for _ in self.scopes()]
        shared = [{e: spread(v, e.dtype) for e, v in values.items()} for values in known] or [{} for _ in rows]

        def step(streams: list[Stream]) -> None:
            self.fetch_on(streams)
            self.meanwhile(streams)
            for stream, k in zip(streams, cycle(range(count)), strict=False):
                for s, accumulators, values in zip(self.beside(stream), rows, shared, strict=True):
                    self._take(s, reductions, accumulators[k], values)
                    if parks is not None:
                        self.park(s, parks)
            if last and self.fetches_early:
                self.fetch_next(streams)

        self.sum_pass(step)
        self.went_over()
        return [self._totals_of(reductions, accumulators) for accumulators in rows]

    def _take(self, stream: Stream, reductions, accumulators, known: dict[Expr, str]) -> None:
        for e, value in known.items():
            stream.elements.define(e, value)
        for e, variables in zip(reductions, accumulators, strict=True):
            if twin(e, reductions) is None:
                self.accumulate(stream, e, variables)

    def _totals_of(self, reductions, accumulators) -> dict[Expr, list[str]]:
        totals: dict[Expr, list[str]] = {}
        for k, e in sorted(enumerate(reductions), key=lambda item: twin(item[1], reductions) is not None):
            if (whole := twin(e, reductions)) is not None:
                totals[e] = totals[whole][:1]
            else:
                totals[e] = self.total(e, [self._read(e, mine[k]) for mine in accumulators])
        return totals

    def meanwhile(self, streams: list[Stream]) -> None:
        """What else is done while a pass that reduces is at some vectors."""

    def went_over(self) -> None:
        """Such a pass has ended."""

    def total(self, e: Expr, parts: list[list[str]]) -> list[str]:
        """The state of the whole row, or piece of it, from those of the accumulators."""
        while len(parts) > 1:
            parts = [self.merge(e, a, b) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        return settle(self.function, 1, e, self.across_lanes(e, parts[0]), self.shape[3])

    def _accumulators(self, e: Expr) -> list[tuple[str, str]]:
        return [(kind, self.function.variable(kind, x)) for kind, x in initial(self.function, self.lanes, e)]

    def _read(self, e: Expr, variables) -> list[str]:
        return [self.function.value(f"load {kind}, ptr {address}") for kind, address in variables]

    def merge(self, e: Expr, a: list[str], b: list[str]) -> list[str]:
        return merge(self.function, self.lanes, e, a, b)

    def factors(self, e: Expr) -> list[Expr] | None:
        """Those of a product that is made for one sum alone: it is added in one operation."""
        alone = e.op == "mul" and e.dtype in ("f32", "f64") and self.uses.get(e, 1) == 1
        return list(e.args) if alone else None

    def fma(self, dtype: str, *values: str) -> str:
        """a * b + c, rounded once."""
        kind = llvm_type(dtype, self.lanes)
        return self.function.call(f"llvm.fma.{suffix(dtype, self.lanes)}", kind, *(f"{kind} {v}" for v in values))

    def accumulate(self, stream: Stream, e: Expr, variables) -> None:
        """Takes the elements of a vector into the state that lies in variables."""
        f = self.function
        if (factors := self.factors(e.args[0])) is not None and e.op == "row_sum":
            ((kind, address),) = variables
            (now,) = self._read(e, variables)
            total = self.fma(e.dtype, *stream.emit(factors), now)
            if stream.mask is not None and self.in_lanes:
                total = f.value(f"select <{self.lanes} x i1> {stream.mask}, {kind} {total}, {kind} {now}")
            f.do(f"store {kind} {total}, ptr {address}")
            return
        values = stream.emit(element_state(e))
        if stream.mask is not None and self.in_lanes:
            values = [
                f.value(f"select <{self.lanes} x i1> {stream.mask}, {k} {v}, {k} {none}")
                for (k, none), v in zip(initial(f, self.lanes, e), values, strict=True)
            ]
        merged = merge(f, self.lanes, e, self._read(e, variables), values, absorb)
        for (kind, address), value in zip(variables, merged, strict=True):
            f.do(f"store {kind} {value}, ptr {address}")

    def across_lanes(self, e: Expr, parts: list[str]) -> list[str]:
        """Folds upper lanes onto lower ones; lane 0 of the result.

        Lanes that no one reads are left undefined: with their old values, LLVM 22 loses the last fold of integers.
        """
        f, width = self.function, self.lanes
        kinds = [llvm_type(d, self.lanes) for d in component_dtypes(e)]
        while width > 1:
            width //= 2
            order = [k + width if k < width else "poison" for k in range(self.lanes)]
            moved = [f.shuffle(k, v, "poison", order) for k, v in zip(kinds, parts, strict=True)]
            parts = self.merge(e, parts, moved)
        if self.lanes == 1:
            return parts
        return [f.value(f"extractelement {k} {v}, i32 0") for k, v in zip(kinds, parts, strict=True)]

    def added(self, stream: Stream, o: Operand, parts: list[str]) -> str:
        """The sum of what is there and a value, or the product of two."""
        (there,) = stream.load(o)
        if len(parts) == 2:
            return self.fma(o.dtype, *parts, there)
        return self.function.value(f"fadd {llvm_type(o.dtype, self.lanes)} {there}, {parts[0]}")

    def first(self) -> str:
        """Whether outputs that do not vary over the row are written by this launch."""
        return self.function.value(f"icmp eq i64 {self.shape[3]}, 0")

    def _finish(self) -> None:
        """Outputs: those over the row element by element, the others once."""
        self.write_rows()
        self.write_once()

    def write_rows(self) -> None:
        """Outputs over the row, and sums of its runs."""
        sums = run_sums(with_roots(self))
        if self.over_row() or sums:
            states: list[list] = []

            def begin() -> None:
                states[:] = [[self._accumulators(e) for _, e in sums] for _ in range(self.accumulators)]

            def end() -> None:
                for k, (o, e) in enumerate(sums):
                    total = self.total(e, [self._read(e, mine[k]) for mine in states])
                    self._scalar_memory().store(o.dtype, tuple(total), o.run)

            def step(streams: list[Stream]) -> None:
                if not self.fetches_early:
                    self.fetch_next(streams)
                self.write_vectors(streams)
                for s, mine in zip(streams, states, strict=False):
                    for (_, e), variables in zip(sums, mine, strict=True):
                        self.accumulate(s, e, variables)

            self.passes(step, begin, end)

    def over_row(self) -> list[tuple[Operand, list[Expr]]]:
        """Outputs that vary over the row, with their roots."""
        return [(o, r) for o, r in with_roots(self) if o.role in "FRA"]

    def write_vectors(self, streams: list[Stream]) -> None:
        """Stores their elements of outputs."""
        if self.parked is not None:
            for s in streams:
                self.unpark(s)
        outputs = [(o, (o.role == "A" and self.factors(r[0])) or r) for o, r in self.over_row()]
        results = [iter(s.emit([e for _, parts in outputs for e in parts])) for s in streams]
        for o, parts in outputs:  # one output after the other: lines that go past the caches stay together
            found = [[next(values) for _ in parts] for values in results]
            if o.role == "A":
                for s, values in zip(streams, found, strict=True):
                    s.store(o, (self.added(s, o, values),))
            else:
                self.put(o, streams, found)

    def put(self, o: Operand, streams: list[Stream], values: list[list[str]]) -> None:
        """Stores elements of an output; narrow ones go past the caches a register together."""
        count = vectors_of_register(self.target, self.lanes, o.dtype) if o.kind == elementwise.STREAMED else 1
        if count < 2 or len(streams) % count or not self.are_neighbours(streams):
            for s, found in zip(streams, values, strict=True):
                s.store(o, tuple(found))
            return
        for first in range(0, len(streams), count):
            some = [found[0] for found in values[first : first + count]]
            streams[first].memory.stream_joined(o.dtype, some, streams[first].address(o))

    def are_neighbours(self, streams: list[Stream]) -> bool:
        """Whether vectors follow each other in memory: those of one run do."""
        return len({s.place[2] for s in streams}) == 1

    def write_once(self) -> None:
        """Outputs that do not vary over the row."""
        once = [(o, r) for o, r in with_roots(self) if o.role in "BS"]
        if once:
            self.scope.open()
            with self.function.when(self.first()):
                self.scope.open()
                for o, r in once:
                    values = tuple(self.scope.elements.emit(*r))
                    self._scalar_memory().store(o.dtype, values, o.row)


def with_roots(kernel: Kernel) -> list[tuple[Operand, list[Expr]]]:
    """Each output with its roots (two where it is complex)."""
    roots = iter(kernel.program.roots)
    return [(o, [next(roots) for _ in range(2 if t.is_complex(o.dtype) else 1)]) for o in kernel.outputs]


def run_sums(outputs: list[tuple[Operand, list[Expr]]]) -> list[tuple[Operand, Expr]]:
    """Outputs that are sums over the inner dimension of the row, as reductions."""
    return [(o, ir.row_sum(r[0])) for o, r in outputs if o.role == "P"]
