"""Micro-kernels of complex products: operands are read, and results written, as they lie.

A row of a tile has two sums, as B's vectors hold real and imaginary parts side by side: of B times the real parts of A,
and of B times the imaginary ones. What they stand for is put together once, when the tile is stored.
"""

from . import target as targets
from .arena import none_if_refused
from .lanes import Lanes
from .micro import MicroKernel, Strides, max_heights, tile_names, write_columns, write_tiles
from .module import Function, Module, literal
from .resolve import addresses_of
from .target import Target

PARTS = {"c64": "f32", "c128": "f64"}


class ComplexLanes(Lanes):
    """Lanes are complex numbers; multiply-adds are those of their parts."""

    def __init__(self, f: Function, dtype: str) -> None:
        super().__init__(f, PARTS[dtype])
        self.element_bytes *= 2
        self.count //= 2

    def shuffle(self, a: str, b: str, order: list[int]) -> str:
        return super().shuffle(a, b, _parts(order))

    def mask(self, bits: str, kind: str) -> str:
        lanes = f"<{self.count} x i1>"
        if int(kind[1:]) > self.count:
            bits = self.f.value(f"trunc {kind} {bits} to i{self.count}")
        mask = self.f.value(f"bitcast i{self.count} {bits} to {lanes}")
        return self.f.shuffle(lanes, mask, "poison", [lane // 2 for lane in range(2 * self.count)])

    def first(self, count: int) -> str:
        return super().first(2 * count)

    def broadcast(self, pointer: str) -> str:
        one = self.f.value(f"load {self.first(1)}, ptr {pointer}, align {self.align}")
        return self.f.shuffle(self.first(1), one, "poison", _parts([0] * self.count))

    def broadcast_part(self, pointer: str) -> str:
        """A real or imaginary part in all places."""
        x = self.f.value(f"load {self.scalar}, ptr {pointer}, align {self.align}")
        first = self.f.value(f"insertelement {self.type} poison, {self.scalar} {x}, i32 0")
        return self.f.shuffle(self.type, first, "poison", [0] * (2 * self.count))

    def turned(self, x: str) -> str:
        """The parts of each number in the other's place."""
        return self.f.shuffle(self.type, x, "poison", [part ^ 1 for part in range(2 * self.count)])

    def signs(self) -> str:
        """-1 in the place of each real part, 1 in that of an imaginary one."""
        part = {4: "f32", 8: "f64"}[self.align]
        values = ", ".join(f"{self.scalar} {literal(sign, part)}" for sign in (-1.0, 1.0) * self.count)
        return f"<{values}>"


def _parts(order: list[int]) -> list[int]:
    """The places of both parts of some numbers."""
    return [2 * lane + part for lane in order for part in (0, 1)]


class ComplexKernel(MicroKernel):
    """A micro-kernel whose rows are complex. What needs masks is packed first: each is to be spread over the parts."""

    def __init__(self, module: Module, dtype: str, vectors: int, height: int, make: bool) -> None:
        super().__init__(module, dtype, vectors, height, make)
        self.masked = make and height == 0

    def _lanes(self, dtype: str) -> ComplexLanes:
        self.numbers = ComplexLanes(self.f, dtype)
        return self.numbers

    def _sums(self) -> list[list[str]]:
        self.imaginary = super()._sums()
        return super()._sums()

    def _multiply(self, bases: list[str], b: list[str], rows: range, strides: Strides | None = None) -> None:
        lanes = self.numbers
        for i in rows:
            at = self._row_address(bases, i, strides or self.strides)
            for place, sums in ((at, self.accumulators[i]), (self.f.offset(at, lanes.align), self.imaginary[i])):
                x = lanes.broadcast_part(place)
                for sum_, vector in zip(sums, b, strict=True):
                    lanes.set(sum_, lanes.fma(x, vector, lanes.get(sum_)))

    def _epilogue(self, rows: range) -> None:
        """(x + iy) b = x b + y (ib): ib has the parts of b turned, and -1 times what is real then."""
        lanes = self.numbers
        for i in rows:
            for sum_, other in zip(self.accumulators[i], self.imaginary[i], strict=True):
                lanes.set(sum_, lanes.fma(lanes.turned(lanes.get(other)), lanes.signs(), lanes.get(sum_)))
        super()._epilogue(rows)


def _heights(target: Target) -> list[int]:
    return max_heights(target, sums=2)


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    return ["pack_columns", "scatter_columns", *tile_names(_heights(target))]


def layout(target: Target, dtype: str) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    return [target.vector_bytes // {"c64": 8, "c128": 16}[dtype], *_heights(target), target.l2]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one complex type."""
    result = Module(target)
    write_columns(result, dtype, "pack_columns", False, ComplexLanes)
    write_columns(result, dtype, "scatter_columns", True, ComplexLanes)
    write_tiles(result, dtype, _heights(target), ComplexKernel)
    return result


def complex_kernels(dtype: str, target: Target | None = None) -> tuple[list[int], list[int]]:
    """Layout and addresses for C++'s `install_micro_kernels`.

    Args:
        dtype: "c64" or "c128".
        target: the host's own by default.
    """
    chosen = target or targets.host()
    return layout(chosen, dtype), addresses_of("contract|complex", dtype, chosen, kernel_names(chosen), module)


# What C++ installs for a type.
provide = none_if_refused(complex_kernels)
