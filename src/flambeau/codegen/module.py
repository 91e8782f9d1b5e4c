"""LLVM IR as text: modules, functions, loops. What every kernel generator writes with.

Mutable values are `alloca`s: the pipeline's one pass (SROA) turns them into registers. `section` keeps a place open, so
that code found to be invariant later can still be put before a loop.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from flambeau.ir import types as t

from .target import Target

_TYPES = {"f32": "float", "f64": "double", "f16": "half", "bf16": "i16", "b1": "i1"}
_TYPES.update(dict.fromkeys(t.FLOATS8, "i8"))
_TYPES.update({f"{sign}{width}": f"i{width}" for sign in "iu" for width in (8, 16, 32, 64)})

NO_UNROLL = ", !llvm.loop !90"
PARALLEL = ", !llvm.loop !93"  # no iteration reads or writes what another writes
_ORDINARY, _SINGLY = "#0", "#1"  # attributes of functions
_METADATA = """
!90 = distinct !{!90, !91, !92}
!91 = !{!"llvm.loop.unroll.disable"}
!92 = !{!"llvm.loop.vectorize.enable", i1 false}
!93 = distinct !{!93, !94}
!94 = !{!"llvm.loop.parallel_accesses", !95}
!95 = distinct !{}
!99 = !{i32 1}
"""


def llvm_type(dtype: str, lanes: int = 1) -> str:
    """LLVM's name of a value of `lanes` elements (bf16 and what has 8 bits: of its bits)."""
    scalar = _TYPES[dtype]
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


def suffix(dtype: str, lanes: int = 1) -> str:
    """What overloaded intrinsics append for a type: `f32`, `v16f32`, `v8i64`."""
    scalar = {"bf16": "i16", "b1": "i1", **dict.fromkeys(t.FLOATS8, "i8")}.get(dtype) or dtype.replace("u", "i")
    return scalar if lanes == 1 else f"v{lanes}{scalar}"


def literal(value, dtype: str) -> str:
    """A constant as LLVM writes it."""
    if dtype in ("f32", "f64"):
        return "0x{:016X}".format(*struct.unpack("<Q", struct.pack("<d", value)))
    if dtype == "b1":
        return "true" if value else "false"
    return str(int(value))


class Module:
    """A translation unit for one target.

    Args:
        target: the machine.
        optimize: whether LLVM's own pipeline runs; kernels with explicit vectors have no use for it.
    """

    def __init__(self, target: Target, optimize: bool = False):
        self.target = target
        self.optimize = optimize
        self._declarations: dict[str, str] = {}
        self._tables: dict[tuple, str] = {}
        self._functions: list[str] = []
        self.loads_singly = False  # in one of its functions

    def declare(self, name: str, result: str, *arguments: str) -> str:
        """Makes an intrinsic known; returns its name with @."""
        self._declarations[name] = f"declare {result} @{name}({', '.join(arguments)})"
        return "@" + name

    def table(self, values: tuple, dtype: str) -> str:
        """A constant array; returns its name with @."""
        key = (dtype, *values)
        if key not in self._tables:
            self._tables[key] = f"@table{len(self._tables)}"
        return self._tables[key]

    def add(self, text: str) -> None:
        self._functions.append(text)

    def text(self) -> str:
        """The whole module."""
        tables = [
            f"{name} = private unnamed_addr constant [{len(values)} x {llvm_type(dtype)}] "
            f"[{', '.join(f'{llvm_type(dtype)} {literal(v, dtype)}' for v in values)}], align 64"
            for (dtype, *values), name in self._tables.items()
        ]
        width = f' "prefer-vector-width"="{self.target.vector_bytes * 8}"' if self.target.is_x86 else ""
        common = f'nounwind "no-builtins"{width}'
        attributes = [f"attributes {_ORDINARY} = {{ {common} }}"]
        if self.loads_singly:
            features = ",".join(filter(None, [self.target.features, "+prefer-no-gather"]))
            attributes.append(f'attributes {_SINGLY} = {{ {common} "target-features"="{features}" }}')
        head = f'target triple = "{self.target.triple}"'
        parts = [head, *tables, *self._declarations.values(), *self._functions, *attributes, _METADATA]
        return "\n".join(parts)


class Function:
    """One function being written, instruction by instruction.

    Args:
        module: where it goes when `finish` is called.
        name: its symbol.
        arguments: (LLVM type, name) of each argument; the name is used with %.
        linkage: what stands before the type, as kernels of GPUs are marked.
        singly: lanes that lie apart are loaded one by one, not by an instruction that gathers them.
    """

    def __init__(
        self, module: Module, name: str, arguments: list[tuple[str, str]], linkage: str = "", singly: bool = False
    ):
        self.module = module
        self.target = module.target
        singly = singly and self.target.is_x86
        module.loads_singly |= singly
        attributes = _SINGLY if singly else _ORDINARY
        self._head = f"define {linkage} void @{name}({', '.join(f'{t} %{n}' for t, n in arguments)}) {attributes} {{"
        self._count = 0
        self._allocas: list = []
        self._body: list = []
        self._at = self._body
        self._accesses = ""

    def value(self, instruction: str) -> str:
        """Appends an instruction; returns the name of its result."""
        self._count += 1
        self._at.append(f"  %v{self._count} = {instruction}{self._accesses if instruction.startswith('load') else ''}")
        return f"%v{self._count}"

    def do(self, instruction: str) -> None:
        """Appends an instruction without a result."""
        self._at.append(f"  {instruction}{self._accesses if instruction.startswith('store') else ''}")

    def call(self, intrinsic: str, result: str, *arguments: str) -> str:
        """Calls an intrinsic; arguments are `type value`."""
        types = [_type_of(a) for a in arguments]
        return self.value(f"call {result} {self.module.declare(intrinsic, result, *types)}({', '.join(arguments)})")

    def label(self, hint: str = "b") -> str:
        """A new label name."""
        self._count += 1
        return f"{hint}{self._count}"

    def begin(self, label: str) -> None:
        """Starts the block of a label."""
        self._at.append(label + ":")

    def variable(self, llvm: str, initial: str | None = None) -> str:
        """A mutable value; returns its address."""
        self._count += 1
        name = f"%v{self._count}"
        self._allocas.append(f"  {name} = alloca {llvm}")
        if initial is not None:
            self.do(f"store {llvm} {initial}, ptr {name}")
        return name

    def section(self) -> list:
        """A place that stays open at this point; see `at`."""
        place: list = []
        self._at.append(place)
        return place

    @contextmanager
    def at(self, place: list) -> Iterator[None]:
        """Appends to an open place instead of the end."""
        before, self._at = self._at, place
        try:
            yield
        finally:
            self._at = before

    def add(self, a: int | str, b: int | str) -> int | str:
        """a + b of i64, folded where both are known."""
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        if a in (0, "0"):
            return b
        return a if b in (0, "0") else self.value(f"add nsw i64 {a}, {b}")

    def mul(self, a: int | str, b: int | str) -> int | str:
        """a * b of i64, folded where both are known."""
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if a == 1:
            return b
        return a if b == 1 else self.value(f"mul nsw i64 {a}, {b}")

    def offset(self, pointer: str, count: int | str, llvm: str = "i8") -> str:
        """pointer + count elements."""
        return pointer if count in (0, "0") else self.value(f"getelementptr {llvm}, ptr {pointer}, i64 {count}")

    @contextmanager
    def loop(self, low: int | str, high: int | str, step: int | str = 1, metadata: str = NO_UNROLL) -> Iterator[str]:
        """for i in range(low, high, step); yields i. Accesses in a loop that is PARALLEL are marked as its own."""
        i = self.variable("i64", str(low))
        head, body, end = self.label("head"), self.label("body"), self.label("end")
        self.do(f"br label %{head}")
        self.begin(head)
        now = self.value(f"load i64, ptr {i}")
        self.do(f"br i1 {self.value(f'icmp slt i64 {now}, {high}')}, label %{body}, label %{end}")
        self.begin(body)
        before = self._accesses
        if metadata == PARALLEL:
            self._accesses = ", !llvm.access.group !95"
        yield now
        self._accesses = before
        self.do(f"store i64 {self.add(now, step)}, ptr {i}")
        self.do(f"br label %{head}{metadata}")
        self.begin(end)

    @contextmanager
    def repeat(self, limit: int) -> Iterator[Callable[[str], None]]:
        """At most `limit` times; yields a function that leaves the loop unless an i1 holds."""
        i = self.variable("i64", "0")
        head, body, end = self.label("head"), self.label("body"), self.label("end")
        self.do(f"br label %{head}")
        self.begin(head)
        now = self.value(f"load i64, ptr {i}")
        self.do(f"br i1 {self.value(f'icmp slt i64 {now}, {limit}')}, label %{body}, label %{end}")
        self.begin(body)

        def go_on_if(condition: str) -> None:
            following = self.label("next")
            self.do(f"br i1 {condition}, label %{following}, label %{end}")
            self.begin(following)

        yield go_on_if
        self.do(f"store i64 {self.add(now, 1)}, ptr {i}")
        self.do(f"br label %{head}{NO_UNROLL}")
        self.begin(end)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """if (condition), an i1."""
        body, end = self.label("then"), self.label("end")
        self.do(f"br i1 {condition}, label %{body}, label %{end}")
        self.begin(body)
        yield
        self.do(f"br label %{end}")
        self.begin(end)

    def shuffle(self, vector: str, a: str, b: str, order: Iterable[int | str]) -> str:
        """Elements of two vectors of a type, by number: those of b come after those of a."""
        lanes = [f"i32 {k}" for k in order]
        return self.value(f"shufflevector {vector} {a}, {vector} {b}, <{len(lanes)} x i32> <{', '.join(lanes)}>")

    def smaller(self, a: int | str, b: int | str) -> str:
        """The smaller of two i64."""
        return self.call("llvm.smin.i64", "i64", f"i64 {a}", f"i64 {b}")

    def choose(self, condition: str, a: int | str, b: int | str) -> str:
        """One of two i64."""
        return self.value(f"select i1 {condition}, i64 {a}, i64 {b}")

    def fetch(self, pointer: str, level: int = 2) -> None:
        """Asks for the cache line of an address, which need not exist, into the cache of a level."""
        name = self.module.declare("llvm.prefetch.p0", "void", "ptr", "i32", "i32", "i32")
        self.do(f"call void {name}(ptr {pointer}, i32 0, i32 {4 - level}, i32 1)")

    def fence(self) -> None:
        """Orders streaming stores before whatever tells other threads that they are done."""
        if self.target.is_x86:
            self.do(f"call void {self.module.declare('llvm.x86.sse.sfence', 'void')}()")
        else:
            self.do("fence release")

    def finish(self) -> None:
        """Ends the function and gives it to the module."""
        self.do("ret void")
        lines = [self._head, "entry:", *self._allocas, *_flat(self._body), "}"]
        self.module.add("\n".join(lines))


def _flat(lines: list) -> Iterator[str]:
    for line in lines:
        if isinstance(line, list):
            yield from _flat(line)
        else:
            yield line


def _type_of(argument: str) -> str:
    """The type of `type value`, attributes left out; vector types contain spaces."""
    if argument.startswith("<"):
        return argument[: argument.index(">") + 1]
    return argument.split(" ", 1)[0]
