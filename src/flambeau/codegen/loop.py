"""Loop programs as LLVM: `void k(char** ptr, const int64_t* ints, int64_t begin, int64_t end, const Slot* params)`."""

from collections.abc import Iterable
from contextlib import AbstractContextManager

from flambeau.ir import loop as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr
from flambeau.ir.program import lower

from . import scan
from .emit import Elements
from .memory import Memory, load_param
from .module import NO_UNROLL, PARALLEL, Function, Module, llvm_type

ARGUMENTS = [("ptr", "ptr"), ("ptr", "ints"), ("i64", "begin"), ("i64", "end"), ("ptr", "params")]


def emit(module: Module, program: ir.LoopProgram, classes: str, name: str) -> None:
    """Writes the kernel of a loop program. Its buffers are contiguous: there are no classes."""
    Writer(module, program, name).write()


class Writer:
    """Writes the kernel of a program; `codegen.ptx` gives every thread iterations of its own."""

    def __init__(self, module: Module, program: ir.LoopProgram, name: str):
        self.program = program
        self.function = self.begin(module, name)
        self.values: dict[Expr, str] = {}
        self.variables: dict[int, tuple[str, list[str]]] = {}
        self.elements = Elements(self.function, 1, self.leaf)
        self.memory = Memory(self.function, self.elements)

    def begin(self, module: Module, name: str) -> Function:
        """The function that is being written."""
        return Function(module, name, ARGUMENTS, singly=self.program.singly)

    def iterations(self) -> AbstractContextManager[str]:
        """The outermost loop."""
        return self.function.loop("%begin", "%end")

    def write(self) -> None:
        f = self.function
        self.buffers = [f.value(f"load ptr, ptr {f.offset('%ptr', i, 'ptr')}") for i in range(len(self.program.dtypes))]
        self.entry = f.section()
        with self.iterations() as index:
            self.values[self.program.index] = index
            self._block(self.program.body)
        if any(isinstance(s, ir.Scan) and s.stream for s in self.program.body):
            f.fence()
        f.finish()

    def leaf(self, e: Expr) -> str:
        """The value of a leaf, in one lane."""
        if e not in self.values:  # an integer or a parameter of the launch
            number, part = e.attr
            with self.function.at(self.entry):
                if part == ir.INT:
                    address = self.function.offset("%ints", number, "i64")
                    self.values[e] = self.function.value(f"load i64, ptr {address}")
                else:
                    self.values[e] = load_param(self.function, "%params", number, part, e.dtype)
        return self.values[e]

    def value(self, e: Expr) -> str:
        """The value of a real expression, in one lane."""
        (value,) = self._parts(e)
        return value

    def _parts(self, e: Expr) -> tuple[str, ...]:
        """The value of an expression: two where it is complex."""
        return tuple(self.elements.emit(*lower([e])))

    def _define(self, target: Expr, values: Iterable[str]) -> None:
        leaves = ir.parts(target) if t.is_complex(target.dtype) else (target,)
        self.values.update(zip(leaves, values, strict=True))

    def _scan(self, s: ir.Scan) -> None:
        scan.Scan(self, s).write()

    def _block(self, statements) -> None:
        with self.elements.scope():
            for s in statements:
                getattr(self, "_" + type(s).__name__.lower())(s)

    def _address(self, buffer: int, offset: Expr) -> str:
        size = t.SIZE[self.program.dtypes[buffer]]
        return self.function.offset(self.buffers[buffer], self.value(offset), f"[{size} x i8]")

    def _load(self, s: ir.Load) -> None:
        self._define(s.target, self.memory.load(self.program.dtypes[s.buffer], self._address(s.buffer, s.offset)))

    def _loadpair(self, s: ir.LoadPair) -> None:
        """Of float32 as 64 bits, so that lanes which lie apart are read together."""
        f, dtype, address = self.function, self.program.dtypes[s.buffer], self._address(s.buffer, s.offset)
        if dtype != "f32" or not f.target.is_x86:
            for target, place in zip(s.targets, (address, f.offset(address, t.SIZE[dtype])), strict=True):
                self._define(target, self.memory.load(dtype, place))
            return
        both = f.value(f"load i64, ptr {address}, align 4")
        for target, bits in zip(s.targets, (both, f.value(f"lshr i64 {both}, 32")), strict=True):
            self._define(target, [f.value(f"bitcast i32 {f.value(f'trunc i64 {bits} to i32')} to float")])

    def _store(self, s: ir.Store) -> None:
        values = self._parts(s.value)
        self.memory.store(self.program.dtypes[s.buffer], values, self._address(s.buffer, s.offset))

    def _prefetch(self, s: ir.Prefetch) -> None:
        self.function.fetch(self._address(s.buffer, s.offset), 1)

    def _declare(self, s: ir.Declare) -> None:
        kind = llvm_type(t.real_of(s.dtype))
        count = 2 if t.is_complex(s.dtype) else 1
        self.variables[s.variable] = (kind, [self.function.variable(kind) for _ in range(count)])
        self._assign(ir.Assign(s.variable, s.init))

    def _read(self, s: ir.Read) -> None:
        kind, addresses = self.variables[s.variable]
        self._define(s.target, [self.function.value(f"load {kind}, ptr {a}") for a in addresses])

    def _assign(self, s: ir.Assign) -> None:
        kind, addresses = self.variables[s.variable]
        for value, address in zip(self._parts(s.value), addresses, strict=True):
            self.function.do(f"store {kind} {value}, ptr {address}")

    def _for(self, s: ir.For) -> None:
        low, high = self.value(s.low), self.value(s.high)
        how = PARALLEL if s.independent else "" if s.simd else NO_UNROLL
        with self.function.loop(low, high, s.step, how) as i:
            self.values[s.index] = i
            self._block(s.body)

    def _if(self, s: ir.If) -> None:
        f, condition = self.function, self.value(s.condition)
        with f.when(condition):
            self._block(s.body)
        if s.otherwise:
            with f.when(f.value(f"xor i1 {condition}, true")):
                self._block(s.otherwise)
