"""Reductions of columns, some rows at a time over a panel of neighbouring columns whose states lie in the cache.

Memory is read row by row, in long runs. Each column takes its elements in the order of the rows, as where its state
stays in a register.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau.ir import types as t
from flambeau.ir.expr import Expr, walk

from .memory import tail_mask
from .states import initial, twin

_VECTORS = 128  # of a panel
_FEW = 12  # nodes of a program that takes many rows at a time


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


class Panels:
    """Writes the loops of a kernel of columns."""

    def __init__(self, kernel: Any) -> None:
        self.kernel = kernel
        self.f, self.lanes = kernel.function, kernel.lanes
        self.reductions = kernel.program.levels[kernel.levels[0]]
        self.live = [e for e in self.reductions if twin(e, self.reductions) is None]
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
            self._each(lambda column, at: self._keep(at, {e: [x for _, x in v] for e, v in start.items()}))
            with f.loop(0, shape[1]) as i1:
                many = f.value(f"and i64 {shape[2]}, {-self.together}")
                with f.loop(0, many, self.together) as i0:
                    self._rows(i1, i0, self.together)
                with f.loop(many, shape[2]) as i0:
                    self._rows(i1, i0, 1)
            self._each(self._finish)

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
                for e in self.live:
                    kernel.accumulate(stream, e, variables[e])
            self._keep(at, {e: [f.value(f"load {k}, ptr {p}") for k, p in v] for e, v in variables.items()})

        self._each(visit)

    def _finish(self, column: Any, at: str) -> None:
        self.kernel.close(column, self.reductions, {e: [v for _, v in kept] for e, kept in self._kept(at).items()})
        if self.kernel.level is None:
            self.kernel.write_once([column])
