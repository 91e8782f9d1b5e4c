"""Loop programs: loops, loads and stores written out, for what scalar and row programs do not fit.

A program is a tree of statements over flat buffers. It is recorded once by running a Python function with a `Builder`:

    def gather_rows(b):
        row, width = b.int(0), b.int(1)
        with b.parallel() as i:                      # the outermost loop, [begin, end) of one launch
            at = b.load(2, i)                        # buffers: 0 the output, 1 the table, 2 the positions
            with b.loop(0, width) as j:
                b.store(0, i * width + j, b.load(1, at * row + j))

Offsets are in elements. Scalar arithmetic is that of `ir.scalar`. Iterations of the outermost loop must not depend on
each other: they run on several threads.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from . import types as t
from .expr import Expr, node
from .scalar import Operand, cast, const


@dataclass
class Load:
    target: Expr  # leaf that stands for the value
    buffer: int
    offset: Expr


@dataclass
class LoadPair:
    """An element and the next one, which is in the buffer as well: read together where that is cheaper."""

    targets: tuple[Expr, Expr]
    buffer: int
    offset: Expr


@dataclass
class Store:
    buffer: int
    offset: Expr
    value: Expr


@dataclass
class Prefetch:
    buffer: int
    offset: Expr


@dataclass
class Declare:
    variable: int
    dtype: str
    init: Expr


@dataclass
class Read:
    target: Expr
    variable: int


@dataclass
class Assign:
    variable: int
    value: Expr


@dataclass
class For:
    index: Expr
    low: Expr
    high: Expr
    step: int
    body: list = field(default_factory=list)
    simd: bool = True  # iterations may be reordered by the compiler's vectoriser
    independent: bool = False  # none reads or writes what another writes: told to the compiler, which cannot see it


@dataclass
class If:
    condition: Expr
    body: list = field(default_factory=list)
    otherwise: list = field(default_factory=list)


@dataclass
class Scan:
    """Lines of elements, each taken in order: `next` are the states after an element, of which those that come first
    are stored where it lies, one an output. Elements of a line lie `width` apart; lines are neighbours, or (`turned`)
    follow each other, width being 1."""

    outputs: tuple[int, ...]  # buffers
    inputs: tuple[int, ...]
    base: Expr  # offset of the first line
    count: Expr  # of lines
    size: Expr  # elements of a line
    width: Expr
    start: tuple[Expr, ...]
    states: tuple[Expr, ...]  # leaves, as are the next three
    elements: tuple[Expr, ...]
    index: Expr
    place: Expr
    next: tuple[Expr, ...]
    turned: bool
    stream: bool  # the results are larger than the caches, and runs of them begin at multiples of 64 bytes


INT = 2  # the part of a `param` leaf that is an integer of the launch

Statement = Load | LoadPair | Store | Prefetch | Declare | Read | Assign | For | If | Scan


@dataclass(frozen=True)
class LoopProgram:
    """What a launch runs for each iteration [begin, end) of the outermost loop."""

    dtypes: tuple[str, ...]  # storage dtype of each buffer, outputs first
    index: Expr
    body: tuple[Statement, ...]
    singly: bool = False  # whether lanes that lie apart are loaded one by one

    @property
    def is_scalar(self) -> bool:
        """Whether it is for the compiler to find what goes into lanes."""
        return not any(isinstance(s, Scan) for s in self.body)


def parts(leaf: Expr) -> tuple[Expr, Expr]:
    """The real leaves that stand for a complex one in primitive expressions."""
    dtype, (number, _) = t.real_of(leaf.dtype), leaf.attr
    return node("input", dtype, (), (number, 0)), node("input", dtype, (), (number, 1))


def expressions(statements: Iterable[Statement]) -> Iterator[Expr]:
    """What the statements, and those inside of them, compute."""
    for s in statements:
        if isinstance(s, For):
            yield from (s.low, s.high)
            yield from expressions(s.body)
        elif isinstance(s, If):
            yield s.condition
            yield from expressions([*s.body, *s.otherwise])
        elif isinstance(s, Load | LoadPair | Store | Prefetch):
            yield s.offset
        elif isinstance(s, Declare):
            yield s.init
        elif isinstance(s, Scan):
            yield from (s.base, s.count, s.size, s.width, *s.start, *s.next)
        if isinstance(s, Store | Assign):
            yield s.value


class Variable:
    """A value that changes while the program runs."""

    def __init__(self, builder: "Builder", number: int, dtype: str):
        self._builder, self._number, self._dtype = builder, number, dtype

    @property
    def value(self) -> Expr:
        """What it holds at this point."""
        target = self._builder.leaf(self._dtype)
        self._builder.add(Read(target, self._number))
        return target

    @value.setter
    def value(self, new: Operand) -> None:
        new = cast(new, self._dtype) if isinstance(new, Expr) else const(new, self._dtype)
        self._builder.add(Assign(self._number, new))


class Builder:
    """Records a program."""

    def __init__(self, dtypes: tuple[str, ...]):
        self.dtypes = dtypes
        self._numbers = count()
        self._blocks: list[list[Statement]] = [[]]
        self._index: Expr | None = None
        self._singly = False

    def compute_dtype(self, buffer: int) -> str:
        """The dtype in which elements of a buffer are computed."""
        return t.compute_dtype(self.dtypes[buffer])

    def leaf(self, dtype: str) -> Expr:
        """A fresh leaf: the value of a load or of a variable, or a loop's index."""
        return node("input", dtype, (), (next(self._numbers), 0))

    def add(self, statement: Statement) -> None:
        """Appends a statement to the block being recorded."""
        self._blocks[-1].append(statement)

    def int(self, k: int) -> Expr:
        """Run-time integer k: a size or a stride."""
        return node("param", "i64", (), (k, INT))

    def param(self, k: int, dtype: str) -> Expr:
        """Run-time number k."""
        return node("param", dtype, (), (k, 0))

    @contextmanager
    def parallel(self, singly: bool = False) -> Iterator[Expr]:
        """The outermost loop. Stands once, around everything. `singly`: several loads share the places of lanes that
        lie apart, so that loading them one by one is faster than gathering them (0.26 ns, and 0.37, on a Zen 4)."""
        self._singly = singly
        self._index = self.leaf("i64")
        yield self._index

    @contextmanager
    def loop(
        self, low: Operand, high: Operand, step: int = 1, simd: bool = True, independent: bool = False
    ) -> Iterator[Expr]:
        """A loop over [low, high). `independent`: no iteration reads or writes what another writes."""
        low, high = (v if isinstance(v, Expr) else const(v, "i64") for v in (low, high))
        statement = For(self.leaf("i64"), low, high, step, simd=simd, independent=independent)
        self.add(statement)
        self._blocks.append(statement.body)
        yield statement.index
        self._blocks.pop()

    @contextmanager
    def when(self, condition: Expr) -> Iterator[None]:
        """What happens only where the condition holds."""
        statement = If(condition)
        self.add(statement)
        self._blocks.append(statement.body)
        yield
        self._blocks.pop()

    @contextmanager
    def otherwise(self) -> Iterator[None]:
        """Follows `when`: what happens where its condition does not hold."""
        statement = self._blocks[-1][-1]
        if not isinstance(statement, If):
            raise TypeError("otherwise() stands right after a when() block")
        self._blocks.append(statement.otherwise)
        yield
        self._blocks.pop()

    def scan(
        self,
        buffers: tuple[int, int],
        lines: tuple[Operand, Operand],
        shape: tuple[Operand, Operand],
        start: Sequence[Expr],
        step: Callable[[tuple[Expr, ...], tuple[Expr, ...], Expr], Sequence[Expr]],
        turned: bool = False,
        stream: bool = False,
    ) -> None:
        """Takes the elements of lines in order, many lines at a time.

        Args:
            buffers: how many outputs and inputs there are; buffers 0, 1, ... are these.
            lines: offset of the first one, and how many there are.
            shape: elements of a line, and their distance.
            start: the states before the first element.
            step: `(states, elements, index) -> states` after an element; the first ones are stored.
            turned: lines follow each other, their elements being neighbours; else lines are neighbours.
            stream: writes past the caches where runs of results begin at multiples of 64 bytes.
        """
        (outputs, inputs), leaf = buffers, self.leaf
        base, count, size, width = (e if isinstance(e, Expr) else const(e, "i64") for e in (*lines, *shape))
        read = tuple(range(outputs, outputs + inputs))
        states, elements = (tuple(map(leaf, d)) for d in ([e.dtype for e in start], map(self.compute_dtype, read)))
        index = leaf("i64")
        after = zip(step(states, elements, index), states, strict=True)
        self.add(
            Scan(
                tuple(range(outputs)), read, base, count, size, width, tuple(start), states, elements, index,
                leaf("i64"), tuple(cast(e, old.dtype) for e, old in after), turned, stream,
            )
        )  # fmt: skip

    def load(self, buffer: int, offset: Operand) -> Expr:
        """Element of a buffer, in its compute dtype."""
        offset = offset if isinstance(offset, Expr) else const(offset, "i64")
        target = self.leaf(self.compute_dtype(buffer))
        self.add(Load(target, buffer, offset))
        return target

    def load_pair(self, buffer: int, offset: Expr) -> tuple[Expr, Expr]:
        """An element of a buffer and the next one."""
        first, second = (self.leaf(self.compute_dtype(buffer)) for _ in range(2))
        self.add(LoadPair((first, second), buffer, offset))
        return first, second

    def store(self, buffer: int, offset: Operand, value: Operand) -> None:
        """Writes an element, cast to the buffer's dtype (rounded once for bf16 and f16)."""
        offset = offset if isinstance(offset, Expr) else const(offset, "i64")
        dtype = self.compute_dtype(buffer)
        value = cast(value, dtype) if isinstance(value, Expr) else const(value, dtype)
        self.add(Store(buffer, offset, value))

    def prefetch(self, buffer: int, offset: Operand) -> None:
        """Asks for an element before it is used. It may lie outside of the buffer."""
        self.add(Prefetch(buffer, offset if isinstance(offset, Expr) else const(offset, "i64")))

    def variable(self, init: Operand, dtype: str) -> Variable:
        """A mutable value."""
        number = next(self._numbers)
        init = cast(init, dtype) if isinstance(init, Expr) else const(init, dtype)
        self.add(Declare(number, dtype, init))
        return Variable(self, number, dtype)

    def finish(self) -> LoopProgram:
        """The recorded program."""
        if self._index is None:
            raise TypeError("a loop program has one parallel() loop around everything")
        return LoopProgram(self.dtypes, self._index, tuple(self._blocks[0]), self._singly)


def record(body: Callable[[Builder], None], dtypes: tuple[str, ...]) -> LoopProgram:
    """The program that `body` describes, for buffers of these dtypes."""
    builder = Builder(dtypes)
    body(builder)
    return builder.finish()
