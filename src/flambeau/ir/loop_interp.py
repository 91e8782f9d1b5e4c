"""Loop programs over NumPy arrays: what they mean, and what generated kernels are compared with.

The iterations of the outermost loop, which must not depend on each other, run side by side: every value is an array
with one element an iteration, and a mask says which iterations take part in a statement. A load or a store outside of
its buffer raises IndexError, where a generated kernel would overrun it.
"""

from collections.abc import Sequence
from typing import Any

from . import loop as ir
from . import types as t
from .expr import Expr
from .interp import evaluate, narrow, numpy_dtype, param_value, widen
from .program import lower


def run(
    program: ir.LoopProgram,
    buffers: Sequence[Any],
    ints: Sequence[int],
    begin: int,
    end: int,
    params: Sequence[Any] = (),
) -> None:
    """Runs iterations [begin, end) of a program.

    Args:
        program: what to run.
        buffers: flat arrays in the storage dtypes; those that the program stores to are changed.
        ints: run-time integers.
        begin, end: iterations of the outermost loop.
        params: run-time numbers.
    """
    if begin < end:
        _Run(program, buffers, ints, begin, end, params).block(program.body, None)


class _Run:
    def __init__(self, program, buffers, ints, begin, end, params):
        import numpy as np

        self.np = np
        self.program = program
        self.buffers = buffers
        self.ints = ints
        self.params = params
        self.count = end - begin
        self.values: dict[Expr, Any] = {program.index: np.arange(begin, end)}
        self.variables: dict[int, Any] = {}
        self.lowered: dict[Expr, tuple[Expr, ...]] = {}

    def block(self, statements, mask) -> None:
        """Runs statements for the iterations of a mask (None: all)."""
        for s in statements:
            getattr(self, "_" + type(s).__name__.lower())(s, mask)

    def _leaf(self, e: Expr) -> Any:
        number, part = e.attr
        if e.op == "input":
            return self.values[e]
        if part == ir.INT:
            return self.np.asarray(self.ints[number], self.np.int64)
        return param_value(self.params[number], e.dtype, part)

    def _value(self, e: Expr) -> Any:
        """The value of an expression in every iteration."""
        np = self.np
        if e not in self.lowered:
            self.lowered[e] = lower([e])
        parts = [np.broadcast_to(v, (self.count,)) for v in evaluate(self.lowered[e], self._leaf)]
        if len(parts) == 1:
            return parts[0]
        pair = np.empty(self.count, numpy_dtype(e.dtype))
        pair.real, pair.imag = parts
        return pair

    def _define(self, target: Expr, value: Any) -> None:
        if t.is_complex(target.dtype):
            for leaf, part in zip(ir.parts(target), (value.real, value.imag), strict=True):
                self.values[leaf] = part
        else:
            self.values[target] = value

    def _places(self, s: ir.Load | ir.Store, mask: Any) -> tuple[Any, Any]:
        """The iterations that take part, and the elements that they touch."""
        np = self.np
        active = np.arange(self.count) if mask is None else np.nonzero(mask)[0]
        places = self._value(s.offset)[active]
        size = len(self.buffers[s.buffer])
        bad = places[(places < 0) | (places >= size)]
        if len(bad):
            raise IndexError(f"element {bad[0]} of buffer {s.buffer}, which has {size}")
        return active, places

    def _load(self, s: ir.Load, mask: Any) -> None:
        active, places = self._places(s, mask)
        elements = widen(self.buffers[s.buffer][places], self.program.dtypes[s.buffer])
        value = self.np.zeros(self.count, elements.dtype)
        value[active] = elements
        self._define(s.target, value)

    def _loadpair(self, s: ir.LoadPair, mask: Any) -> None:
        for k, target in enumerate(s.targets):
            self._load(ir.Load(target, s.buffer, s.offset + k), mask)

    def _store(self, s: ir.Store, mask: Any) -> None:
        active, places = self._places(s, mask)
        self.buffers[s.buffer][places] = narrow(self._value(s.value)[active], self.program.dtypes[s.buffer])

    def _prefetch(self, s: ir.Prefetch, mask: Any) -> None:
        """Changes nothing."""

    def _declare(self, s: ir.Declare, mask: Any) -> None:
        self.variables[s.variable] = self._value(s.init)

    def _read(self, s: ir.Read, mask: Any) -> None:
        self._define(s.target, self.variables[s.variable])

    def _assign(self, s: ir.Assign, mask: Any) -> None:
        value = self._value(s.value)
        if mask is not None:
            value = self.np.where(mask, value, self.variables[s.variable])
        self.variables[s.variable] = value

    def _for(self, s: ir.For, mask: Any) -> None:
        position, high = self._value(s.low), self._value(s.high)
        while True:
            active = position < high if mask is None else mask & (position < high)
            if not active.any():
                return
            self.values[s.index] = position
            self.block(s.body, active)
            position = position + s.step

    def _if(self, s: ir.If, mask: Any) -> None:
        condition = self._value(s.condition)
        for body, wanted in ((s.body, condition), (s.otherwise, ~condition)):
            active = wanted if mask is None else mask & wanted
            if body and active.any():
                self.block(body, active)

    def _scan(self, s: ir.Scan, mask: Any) -> None:
        np = self.np
        base, count, size, width = (self._value(e) for e in (s.base, s.count, s.size, s.width))
        for line in range(count.max(initial=0)):
            active = line < count if mask is None else mask & (line < count)
            first = base + (size if s.turned else 1) * line
            for leaf, start in zip(s.states, s.start, strict=True):
                self._define(leaf, self._value(start))
            for i in range(size.max(initial=0)):
                self.values[s.index] = np.full(self.count, i)
                self.values[s.place] = first + i * width
                for buffer, leaf in zip(s.inputs, s.elements, strict=True):
                    self._load(ir.Load(leaf, buffer, s.place), active)
                after = [self._value(e) for e in s.next]
                for buffer, value in zip(s.outputs, s.next, strict=False):
                    self._store(ir.Store(buffer, s.place, value), active)
                for leaf, value in zip(s.states, after, strict=True):
                    self._define(leaf, value)
