"""Kernels of depthwise convolutions of narrow images: rows in registers, shifted for the taps.

A row that is no wider than a vector is read once, with zeros around it, and serves every tap of its kernel row by
shuffles: neither copies nor loads at odd addresses. Where a vector holds `parts` rows or more, it takes as many, from
different parts of the image: vector row i is image rows i, i + n, ..., n being the number of vector rows.

`shift_<size>_<parts>_<rows>` computes whole planes of a size x size kernel that keeps the image's size, so many vector
rows at a time. Only for machines with lane masks. Arguments are `FIELDS`, the C++ struct `ShiftArgs`.
"""

from itertools import product

from . import target as targets
from .arena import ExecutableMemoryError
from .contract import RELU, ROW_BIAS, Lanes, flagged, load_fields, repeat
from .jit import compile_code
from .link import Code
from .module import Function, Module
from .resolve import resolve_family
from .target import Target

# The fields of ShiftArgs (csrc/runtime/contract/shift_kernels.h), eight bytes each; distances are in bytes.
FIELDS = (
    *("weights", "weights_plane", "x", "x_plane", "y", "y_plane", "row", "planes", "rows", "masks", "edges"),
    *("bias", "flags"),
)
_POINTERS = {"weights", "x", "y", "masks", "edges", "bias"}
SIZES, PARTS, ROWS = (3, 5, 7), (1, 2), (4, 7)


class _Kernel:
    """Writes one kernel.

    `masks` holds the lanes of every part of vector rows -size / 2 .. rows + size / 2, `edges` those whose neighbour at
    a distance of -size / 2 .. size / 2 lies in the same part; all of them are uint16.
    """

    def __init__(self, module: Module, dtype: str, size: int, parts: int, rows: int) -> None:
        self.f = Function(module, kernel_name(size, parts, rows), [("ptr", "args")])
        self.lanes, self.arg = Lanes(self.f, dtype), load_fields(self.f, FIELDS, _POINTERS)
        self.size, self.parts, self.rows = size, parts, rows
        # From a part's row to where a vector that holds it in its own lanes begins.
        part_rows = self.f.mul(self.arg["row"], self.arg["rows"])
        self.step = self.f.value(f"sub i64 {part_rows}, {self.lanes.bytes // parts}")
        self.sums = [self.lanes.variable() for _ in range(rows)]
        self.edges = [self._mask(self.f.offset(self.arg["edges"], 2 * column)) for column in range(size)]
        # Of the first parts of rows that every image has.
        self.inside = self._mask(self.f.offset(self.arg["masks"], 2 * (size // 2) * parts))

    def write(self) -> None:
        f, arg = self.f, self.arg
        steps = {"x": arg["x_plane"], "y": arg["y_plane"], "weights": arg["weights_plane"], "bias": self._element}
        at = {name: f.variable("ptr", arg[name]) for name in steps}
        above = f.mul(arg["row"], -(self.size // 2))
        last = f.value(f"sub i64 {arg['rows']}, {self.rows}")
        blocks = f.value(f"udiv i64 {f.add(arg['rows'], self.rows - 1)}, {self.rows}")
        with repeat(f, arg["planes"]):
            here = {name: f.value(f"load ptr, ptr {at[name]}") for name in steps}
            with repeat(f, blocks) as block:  # the last one overlaps the one before: the same values are written twice
                first = f.smaller(f.mul(block, self.rows), last)
                row, masks = f.mul(first, arg["row"]), f.offset(arg["masks"], f.mul(first, 2 * self.parts))
                self._sum(f.offset(f.offset(here["x"], row), above), masks, here["weights"])
                self._finish(here["bias"])
                self._store(f.offset(here["y"], row), masks)
            for name, step in steps.items():
                f.do(f"store ptr {f.offset(here[name], step)}, ptr {at[name]}")
        f.finish()

    @property
    def _element(self) -> int:
        return self.lanes.element_bytes

    def _sum(self, x: str, masks: str, weights: str) -> None:
        f, lanes = self.f, self.lanes
        rows = []
        for i in range(self.rows + self.size - 1):
            rows.append(self._load(f.offset(x, f.mul(self.arg["row"], i) if i else 0), masks, i))
        for sum_ in self.sums:
            lanes.set(sum_, "zeroinitializer")
        for column in range(self.size):
            at = [(k * self.size + column) * self._element for k in range(self.size)]
            taps = [lanes.broadcast(f.offset(weights, place)) for place in at]
            for i, row in enumerate(rows):
                shifted = self._shift(row, column)
                for k, weight in enumerate(taps):
                    if 0 <= i - k < self.rows:
                        sum_ = self.sums[i - k]
                        lanes.set(sum_, lanes.fma(shifted, weight, lanes.get(sum_)))

    def _mask(self, at: str) -> str:
        return self.lanes.mask(self.f.value(f"load i16, ptr {at}"), "i16")

    def _mask_of(self, masks: str, row: int, part: int) -> str:
        """Lanes of a part of a row, counted from the first that is read."""
        half = self.size // 2
        if part == 0 and half <= row < half + self.rows:
            return self.inside
        return self._mask(self.f.offset(masks, 2 * (row * self.parts + part)))

    def _load(self, x: str, masks: str, row: int) -> str:
        """Every part's row into its own lanes."""
        vector = "zeroinitializer"
        for part in range(self.parts):
            at = self.f.offset(x, self.f.mul(self.step, part) if part else 0)
            vector = self.lanes.load_into(vector, at, self._mask_of(masks, row, part))
        return vector

    def _shift(self, row: str, column: int) -> str:
        """Lane i is what the tap of a column reads for it: a lane some way behind it in its part, or 0."""
        lanes, distance = self.lanes.count, column - self.size // 2
        if distance == 0:
            return row
        turned = self.lanes.shuffle(row, "poison", [(i + distance) % lanes for i in range(lanes)])
        return self.lanes.keep(turned, self.edges[column])

    def _finish(self, bias: str) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        with flagged(f, arg["flags"], ROW_BIAS):
            value = lanes.broadcast(bias)
            for sum_ in self.sums:
                lanes.set(sum_, lanes.add(lanes.get(sum_), value))
        with flagged(f, arg["flags"], RELU):
            for sum_ in self.sums:
                lanes.set(sum_, lanes.relu(lanes.get(sum_)))

    def _store(self, y: str, masks: str) -> None:
        f = self.f
        for i, sum_ in enumerate(self.sums):
            row = f.offset(y, f.mul(self.arg["row"], i) if i else 0)
            for part in range(self.parts):
                at = f.offset(row, f.mul(self.step, part) if part else 0)
                self.lanes.store(self.lanes.get(sum_), at, self._mask_of(masks, i + self.size // 2, part))


def kernel_name(size: int, parts: int, rows: int) -> str:
    return f"shift_{size}_{parts}_{rows}"


def kernel_names() -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    return [kernel_name(*kind) for kind in product(SIZES, PARTS, ROWS)]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    for kind in product(SIZES, PARTS, ROWS):
        _Kernel(result, dtype, *kind).write()
    return result


def compile_family(target: Target, dtype: str) -> Code:
    """The kernels of one element type as flat code."""
    return compile_code(module(target, dtype))


def provide(dtype: str) -> list[int] | None:
    """Addresses for C++'s `install_shift_kernels`; None where vectors have no lane masks, or the system refuses
    executable memory."""
    chosen = targets.host()
    if not chosen.masks:
        return None
    key = f"contract|shifts||{dtype}|c|{chosen.level}"
    try:
        addresses = resolve_family(key, lambda: compile_family(chosen, dtype))
    except ExecutableMemoryError:
        return None
    return [addresses[name] for name in kernel_names()]
