"""Rows of several operands that go past the caches, asked for as evenly as they are done.

Memory reads and writes at once, but the passes over a row that sum only read, and the last one, over what is in a cache
by then, only writes. Here both ask for half a row each, which the next passes that sum find in the second cache: the
first for the second half of this row, the last for the first half of the next one, in the order of memory and somewhat
ahead of it.
"""

from flambeau.ir import types as t
from flambeau.ir.expr import walk

from .lanes import CACHE_LINE
from .module import Module
from .row import RowKernel
from .rows import AHEAD, Operand, Rows, Stream


class AheadKernel(RowKernel):
    """A fused kernel of such rows, which follow each other in memory."""


def emit(module: Module, kernel: AheadKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    Ahead(module, kernel.program, "fused", classes, name).write()


class Ahead(Rows):
    """Rows that are asked for by halves."""

    def fetch_on(self, streams: list[Stream]) -> None:
        self._fetch(streams, lambda o: self.function.mul(self.shape[4], t.SIZE[o.dtype] // 2))

    def fetch_next(self, streams: list[Stream]) -> None:
        self._fetch(streams, lambda o: o.strides[0])

    def _fetch(self, streams: list[Stream], begin) -> None:
        """Asks for half as many lines as there are in some vectors of each operand that is summed, the first of a pass
        being so many bytes, and some more, after the row."""
        f, (_, i, first, _) = self.function, streams[0].place
        position = f.add(first, i)
        for o in self._summed():
            start = f.add(f.add(begin(o), AHEAD), f.mul(position, t.SIZE[o.dtype] // 2))
            lines = len(streams) * self.lanes * t.SIZE[o.dtype] // (2 * CACHE_LINE)
            for k in range(max(lines, 1)):
                f.fetch(f.offset(o.row, f.add(start, k * CACHE_LINE)))

    def _summed(self) -> list[Operand]:
        leaves = [x for x in walk([e for level in self.program.levels for e in level]) if x.op == "input"]
        return [o for o in self.full_vectors() if any(self.operand(x) is o for x in leaves)]
