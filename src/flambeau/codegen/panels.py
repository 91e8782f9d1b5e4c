"""Reductions of columns, some rows at a time over a panel of neighbouring columns whose states lie in the cache.

Memory is read row by row, in long runs. Each column takes its elements in the order of the rows, as where its state
stays in a register.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from flambeau.ir import row as ir
from flambeau.ir import types as t
from flambeau.ir.expr import Expr, input_, walk

from .emit import Elements
from .memory import tail_mask
from .module import llvm_type
from .shifted import SHIFT, spread_of
from .states import initial, twin

_VECTORS = 128  # of a panel
_FEW = 12  # nodes of a program that takes many rows at a time
_SOME = 4  # rows whose mean is a first guess


def fits(kernel: Any) -> bool:
    """Whether a kernel of columns reduces once and writes nothing for single elements."""
    outputs = kernel.outputs if kernel.level is None else ()
    return len(kernel.levels) == 1 and not any(o.role in "FRP" for o in outputs)


def is_short(kernel: Any) -> bool:
    """Whether a reduction takes few steps and one register."""
    (level,) = kernel.levels
    reductions, states = kernel.program.levels[level], kernel.program.states(level)
    return len(states) == 1 and t.SIZE[states[0]] <= 4 and _steps(reductions) <= _FEW and kernel.target.registers >= 32


def _steps(reductions: Sequence[Expr]) -> int:
    return sum(1 for e in walk(reductions) if e.args)


def write(kernel: Any) -> None:
    """All columns of a kernel."""
    reductions = kernel.program.levels[kernel.levels[0]]
    live = [e for e in reductions if twin(e, reductions) is None]
    spread = next((e for e in live if e.op == "row_spread"), None)
    (Panels(kernel, live) if spread is None else _Spreads(kernel, live, spread)).write()


class Panels:
    """Writes the loops of a kernel of columns.

    Args:
        kernel: where they go.
        live: reductions whose states are kept.
    """

    def __init__(self, kernel: Any, live: list[Expr]) -> None:
        self.kernel = kernel
        self.f, self.lanes = kernel.function, kernel.lanes
        self.reductions = kernel.program.levels[kernel.levels[0]]
        self.live = live
        self.together = 8 if _steps(self.live) <= _FEW and len(self.live) == 1 else 4

    def write(self) -> None:
        """All panels."""
        f, lanes, shape = self.f, self.lanes, self.kernel.shape
        start = {e: initial(f, lanes, e) for e in self.live}
        self.buffers = {e: [(k, f.variable(f"[{_VECTORS} x {k}]")) for k, _ in v] for e, v in start.items()}
        with f.loop(0, shape[0], _VECTORS * lanes) as self.first:
            count = f.smaller(f.value(f"sub i64 {shape[0]}, {self.first}"), _VECTORS * lanes)
            self.whole = f.add(self.first, f.value(f"and i64 {count}, {-lanes}"))
            self.kernel.rest = f.value(f"sub i64 {f.add(self.first, count)}, {self.whole}")
            with self._turns():
                self._each(lambda column, at: self._keep(at, {e: [x for _, x in v] for e, v in start.items()}))
                with f.loop(0, shape[1]) as i1:
                    many = f.value(f"and i64 {shape[2]}, {-self.together}")
                    with f.loop(0, many, self.together) as i0:
                        self._rows(i1, i0, self.together)
                    with f.loop(many, shape[2]) as i0:
                        self._rows(i1, i0, 1)
            self._each(self._finish)

    def _turns(self) -> AbstractContextManager[object]:
        """Around a pass over the rows of a panel."""
        return nullcontext()

    def _prepare(self, stream: Any, at: str) -> None:
        """Before elements of a vector of the panel are taken."""

    def _each(self, visit: Callable[[Any, str], None]) -> None:
        """Calls visit(column, number of the vector in the panel) in a loop over the panel."""
        f, lanes = self.f, self.lanes
        shift = lanes.bit_length() - 1
        with f.loop(self.first, self.whole, lanes) as c:
            visit(self.kernel.column(c), f.value(f"lshr i64 {f.value(f'sub i64 {c}, {self.first}')}, {shift}"))
        if lanes > 1:
            rest = self.kernel.rest
            with f.when(f.value(f"icmp sgt i64 {rest}, 0")):
                at = f.value(f"lshr i64 {f.value(f'sub i64 {self.whole}, {self.first}')}, {shift}")
                visit(self.kernel.column(self.whole, tail_mask(f, lanes, rest)), at)

    def _keep(self, at: str, states: dict[Expr, list[str]]) -> None:
        for e, values in states.items():
            for (kind, buffer), value in zip(self.buffers[e], values, strict=True):
                self.f.do(f"store {kind} {value}, ptr {self.f.offset(buffer, at, kind)}")

    def _kept(self, at: str) -> dict[Expr, list[tuple[str, str]]]:
        f = self.f
        return {
            e: [(kind, f.value(f"load {kind}, ptr {f.offset(buffer, at, kind)}")) for kind, buffer in places]
            for e, places in self.buffers.items()
        }

    def _rows(self, i1: str, i0: str, count: int) -> None:
        """Takes elements of `count` rows into the states."""
        f, kernel = self.f, self.kernel
        rows = [kernel.row_at(i1, f.add(i0, k)) for k in range(count)]

        def visit(column: Any, at: str) -> None:
            variables = {e: [(k, f.variable(k, v)) for k, v in kept] for e, kept in self._kept(at).items()}
            column.scope.open()
            for offsets, position in rows:
                stream = column.stream(offsets, position)
                kernel.fetch_ahead(stream, count)
                self._prepare(stream, at)
                for e in self.live:
                    kernel.accumulate(stream, e, variables[e])
            self._keep(at, {e: [f.value(f"load {k}, ptr {p}") for k, p in v] for e, v in variables.items()})

        self._each(visit)

    def _states(self, at: str) -> dict[Expr, list[str]]:
        """What the reductions of a vector of the panel came to."""
        return {e: [v for _, v in kept] for e, kept in self._kept(at).items()}

    def _finish(self, column: Any, at: str) -> None:
        self.kernel.close(column, self.reductions, self._states(at))
        if self.kernel.level is None:
            self.kernel.write_once([column])


class _Spreads(Panels):
    """The same with the spread of chunks of columns (see `shifted`), from sums of differences from a first guess; a
    panel in which one was bad is gone over again with the means in their place."""

    def __init__(self, kernel: Any, live: list[Expr], spread: Expr) -> None:
        f, (x,) = kernel.function, spread.args
        self.spread, self.shift = spread, input_(SHIFT, x.dtype)
        d = x - self.shift
        self.sums = [ir.row_sum(d), ir.row_sum(d * d)]
        super().__init__(kernel, [e for e in live if e is not spread] + self.sums)
        self.kind = llvm_type(x.dtype, self.lanes)
        self.guesses, self.again = f.variable(f"[{_VECTORS} x {self.kind}]"), f.variable("i1")

    @contextmanager
    def _turns(self) -> Iterator[None]:
        f, dtype = self.f, self.spread.dtype
        length = f.value(f"sitofp i64 {f.mul(self.kernel.shape[1], self.kernel.shape[2])} to {llvm_type(dtype)}")
        self.count = Elements(f, self.lanes, lambda e: "").spread(length, dtype)
        f.do(f"store i1 true, ptr {self.again}")
        self._each(self._guess)
        with f.loop(0, 2) as turn, f.when(f.value(f"load i1, ptr {self.again}")):
            with f.when(f.value(f"icmp eq i64 {turn}, 1")):
                self._each(lambda column, at: self._put(at, self._spread(at)[1]))
            yield
            f.do(f"store i1 false, ptr {self.again}")
            self._each(self._judge)

    def _put(self, at: str, guess: str) -> None:
        self.f.do(f"store {self.kind} {guess}, ptr {self.f.offset(self.guesses, at, self.kind)}")

    def _guessed(self, at: str) -> str:
        return self.f.value(f"load {self.kind}, ptr {self.f.offset(self.guesses, at, self.kind)}")

    def _guess(self, column: Any, at: str) -> None:
        """The mean of the first rows."""
        f, x = self.f, self.spread.args[0]
        column.scope.open()
        rows = [f.smaller(f.value(f"sub i64 {self.kernel.shape[2]}, 1"), k) for k in range(_SOME)]
        found = [column.stream(*self.kernel.row_at("0", row)).emit([x])[0] for row in rows]
        leaves = [input_(k, x.dtype) for k in range(_SOME)]
        elements = Elements(f, self.lanes, lambda leaf: found[leaf.attr[0]])
        self._put(at, elements.emit(sum(leaves[1:], leaves[0]) * (1 / _SOME))[0])

    def _prepare(self, stream: Any, at: str) -> None:
        stream.elements.define(self.shift, self._guessed(at))

    def _spread(self, at: str) -> tuple[list[str], str, str]:
        kept = super()._states(at)
        total, squares = (kept[e][0] for e in self.sums)
        return spread_of(self.f, self.lanes, self.spread.dtype, (self._guessed(at), total, squares, self.count))

    def _states(self, at: str) -> dict[Expr, list[str]]:
        return super()._states(at) | {self.spread: self._spread(at)[0]}

    def _judge(self, column: Any, at: str) -> None:
        """Has the panel gone over again where a guess was bad."""
        with self.f.when(column.scope.elements.any_lane(self._spread(at)[2])):
            self.f.do(f"store i1 true, ptr {self.again}")
