"""Long rows of several operands, two at a time, which are added up over the batch as well.

A weight, and the sums over the batch, are as long as a row, and too long to stay in the first cache beside it: both
rows have them loaded and stored once. No pass waits for the sums of one row alone. Sums over the batch come out as if
one row were added after the other.
"""

from .ahead import Ahead
from .memory import Memory
from .module import Module
from .row import RowKernel
from .rows import Operand, Scope, Stream

_MANY_REGISTERS = 32  # enough for the sums of two rows,
_SUMS = 8  # of each of which there are so many vectors at most


class AbreastKernel(RowKernel):
    """A fused kernel of such rows."""


def emit(module: Module, kernel: AbreastKernel, classes: str, name: str) -> None:
    """Writes the kernel."""
    many = module.target.registers >= _MANY_REGISTERS
    in_runs = any(role == "P" for role, _ in kernel.program.outputs)
    (Abreast if many and not in_runs else Ahead)(module, kernel.program, "fused", classes, name).write()


class Abreast(Ahead):
    """Rows in pairs, and the last one alone where their number is odd."""

    def batch_loop(self) -> None:
        f, batch = self.function, self.shape[0]
        self.result = None
        sums = sum(map(len, self.program.levels))
        while self.accumulators > 1 and self.accumulators * sums > _SUMS:
            self.accumulators //= 2
        pairs = f.value(f"and i64 {batch}, -2")
        for self.together, low, high in ((2, 0, pairs), (1, pairs, batch)):
            with f.loop(low, high, self.together) as b:
                self.do_row(b)

    def reduce_row(self, b: str) -> None:
        if self.together > 1:
            self.second = Scope(self, 1, True, self._load_second)
            self.second.open()
        super().reduce_row(b)

    def scopes(self) -> list[Scope]:
        return [self.scope, self.second][: self.together]

    def beside(self, stream: Stream) -> list[Stream]:
        if self.together == 1:
            return [stream]
        run, *place = stream.place
        return [stream, self.stream_of(self.second, lambda o: self._below(o, run(o)), *place)]

    def _below(self, o: Operand, address: str) -> str:
        """An address in the second row; the same where rows share an operand."""
        return address if o.role in "RA" else self.function.offset(address, o.strides[0])

    def _load_second(self, o: Operand, part: int) -> str:
        return Memory(self.function, self.second.elements).load(o.dtype, self._below(o, o.row))[part]

    def write_vectors(self, streams: list[Stream]) -> None:
        if self.together == 1:
            return super().write_vectors(streams)
        for some in (streams[k : k + 2] for k in range(0, len(streams), 2)):
            rows = zip(*map(self.beside, some), strict=True)
            super().write_vectors([stream for row in rows for stream in row])

    def write_once(self) -> None:
        super().write_once()
        if self.together > 1:
            kept = self.scope, [o.row for o in self.operands]
            self.scope = self.second
            for o in self.operands:
                o.row = self._below(o, o.row)
            super().write_once()
            self.scope, places = kept
            for o, place in zip(self.operands, places, strict=True):
                o.row = place
