"""Kernels of depthwise convolutions whose taps are shuffles: rows stand in registers, and nothing is copied.

* `shift_<size>_<parts>_<rows>`: kernels of size x size that keep the size of images no wider than a vector. A row is
  read once, with zeros around it. Where a vector holds two rows or more, it takes `parts`, from different parts of the
  image: vector row i is image rows i, i + n, ..., n being the number of vector rows.
* `halve_<size>_<vectors>`: the same with a stride of 2, for so many vectors of outputs of a row. Pairs of vectors are
  dealt out to even and odd columns.

They compute whole planes, `rows` rows of outputs at a time (or HALVE_ROWS). Only for machines with lane masks.
Arguments are `FIELDS`, the C++ struct `ShiftArgs`.
"""

from itertools import product

from . import target as targets
from .arena import none_if_refused
from .lanes import RELU, ROW_BIAS, Lanes, flagged, load_fields, repeat
from .module import Function, Module
from .resolve import addresses_of
from .target import Target

# The fields of ShiftArgs (csrc/runtime/contract/shift_kernels.h), eight bytes each; distances are in bytes.
FIELDS = (
    *("weights", "weights_plane", "x", "x_plane", "x_row", "y", "y_plane", "y_row", "planes", "rows", "masks"),
    *("edges", "height", "zeros", "bias", "flags"),
)
_POINTERS = {"weights", "x", "y", "masks", "edges", "zeros", "bias"}
SIZES, PARTS, ROWS = (3, 5, 7), (1, 2), (4, 7)
HALVE_SIZES, HALVE_VECTORS, HALVE_ROWS = (3, 5), (1, 2), 4


class _Planes:
    """Writes what all kernels share: the loops over planes and over blocks of rows, bias and activation."""

    stride = 1

    def __init__(self, module: Module, dtype: str, name: str, size: int, rows: int, vectors: int = 1) -> None:
        self.f = Function(module, name, [("ptr", "args")])
        self.lanes, self.arg = Lanes(self.f, dtype), load_fields(self.f, FIELDS, _POINTERS)
        self.size, self.rows, self.half = size, rows, size // 2
        self.sums = [[self.lanes.variable() for _ in range(vectors)] for _ in range(rows)]

    def write(self) -> None:
        f, arg = self.f, self.arg
        steps = {"x": arg["x_plane"], "y": arg["y_plane"], "weights": arg["weights_plane"], "bias": self._element}
        at = {name: f.variable("ptr", arg[name]) for name in steps}
        last = f.value(f"sub i64 {arg['rows']}, {self.rows}")
        blocks = f.value(f"udiv i64 {f.add(arg['rows'], self.rows - 1)}, {self.rows}")
        with repeat(f, arg["planes"]):
            here = {name: f.value(f"load ptr, ptr {at[name]}") for name in steps}
            with repeat(f, blocks) as block:  # the last one overlaps the one before: the same values are written twice
                first = f.smaller(f.mul(block, self.rows), last)
                top = f.add(f.mul(first, self.stride), -self.half)
                self._sum(f.offset(here["x"], f.mul(top, arg["x_row"])), top, first, here["weights"])
                self._finish(here["bias"])
                self._store(f.offset(here["y"], f.mul(first, arg["y_row"])), first)
            for name, step in steps.items():
                f.do(f"store ptr {f.offset(here[name], step)}, ptr {at[name]}")
        f.finish()

    def _sum(self, x: str, top: str, first: str, weights: str) -> None:
        """Sets the sums of the rows of outputs from `first` on, which read x, row `top` of the image, and below."""
        raise NotImplementedError

    def _store(self, y: str, first: str) -> None:
        """Writes the sums to y, row `first` of the result."""
        raise NotImplementedError

    @property
    def _element(self) -> int:
        return self.lanes.element_bytes

    def _times(self, step: str, count: int) -> int | str:
        return self.f.mul(step, count) if count else 0

    def _mask(self, at: str, index: int = 0) -> str:
        return self.lanes.mask(self.f.value(f"load i16, ptr {self.f.offset(at, 2 * index)}"), "i16")

    def _weight(self, weights: str, row: int, column: int) -> str:
        return self.lanes.broadcast(self.f.offset(weights, (row * self.size + column) * self._element))

    def _clear(self) -> None:
        for sum_ in self._all():
            self.lanes.set(sum_, "zeroinitializer")

    def _add(self, sum_: str, x: str, weight: str) -> None:
        self.lanes.set(sum_, self.lanes.fma(x, weight, self.lanes.get(sum_)))

    def _all(self) -> list[str]:
        return [sum_ for row in self.sums for sum_ in row]

    def _finish(self, bias: str) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        with flagged(f, arg["flags"], ROW_BIAS):
            value = lanes.broadcast(bias)
            for sum_ in self._all():
                lanes.set(sum_, lanes.add(lanes.get(sum_), value))
        with flagged(f, arg["flags"], RELU):
            for sum_ in self._all():
                lanes.set(sum_, lanes.relu(lanes.get(sum_)))


class _Shift(_Planes):
    """Writes `shift_<size>_<parts>_<rows>`.

    `masks` holds the lanes of every part of vector rows -size / 2 .. rows + size / 2, `edges` those whose neighbour at
    a distance of -size / 2 .. size / 2 lies in the same part; all of them are uint16.
    """

    def __init__(self, module: Module, dtype: str, size: int, parts: int, rows: int) -> None:
        super().__init__(module, dtype, f"shift_{size}_{parts}_{rows}", size, rows)
        self.parts = parts
        # From a part's row to where a vector that holds it in its own lanes begins.
        part_rows = self.f.mul(self.arg["x_row"], self.arg["rows"])
        self.step = self.f.value(f"sub i64 {part_rows}, {self.lanes.bytes // parts}")
        self.edges = [self._mask(self.arg["edges"], column) for column in range(size)]
        self.inside = self._mask(
            self.arg["masks"], self.half * parts
        )  # of the first parts of rows that every image has

    def _sum(self, x: str, top: str, first: str, weights: str) -> None:
        masks = self._masks_of(first)
        rows = []
        for i in range(self.rows + self.size - 1):
            rows.append(self._load(self.f.offset(x, self._times(self.arg["x_row"], i)), masks, i))
        self._clear()
        for column in range(self.size):
            taps = [self._weight(weights, k, column) for k in range(self.size)]
            for i, row in enumerate(rows):
                shifted = self._shift(row, column)
                for k, weight in enumerate(taps):
                    if 0 <= i - k < self.rows:
                        self._add(self.sums[i - k][0], shifted, weight)

    def _masks_of(self, first: str) -> str:
        """Where masks stand of what the rows from `first` on read."""
        return self.f.offset(self.arg["masks"], self.f.mul(first, 2 * self.parts))

    def _mask_of(self, masks: str, row: int, part: int) -> str:
        """Lanes of a part of a row, counted from the first that is read."""
        if part == 0 and self.half <= row < self.half + self.rows:
            return self.inside
        return self._mask(masks, row * self.parts + part)

    def _load(self, x: str, masks: str, row: int) -> str:
        """Every part's row into its own lanes."""
        vector = "zeroinitializer"
        for part in range(self.parts):
            at = self.f.offset(x, self._times(self.step, part))
            vector = self.lanes.load_into(vector, at, self._mask_of(masks, row, part))
        return vector

    def _shift(self, row: str, column: int) -> str:
        """Lane i is what the tap of a column reads for it: a lane some way behind it in its part, or 0."""
        lanes, distance = self.lanes.count, column - self.half
        if distance == 0:
            return row
        turned = self.lanes.shuffle(row, "poison", [(i + distance) % lanes for i in range(lanes)])
        return self.lanes.keep(turned, self.edges[column])

    def _store(self, y: str, first: str) -> None:
        masks = self._masks_of(first)
        for i, (sum_,) in enumerate(self.sums):
            row = self.f.offset(y, self._times(self.arg["y_row"], i))
            for part in range(self.parts):
                at = self.f.offset(row, self._times(self.step, part))
                self.lanes.store(self.lanes.get(sum_), at, self._mask_of(masks, i + self.half, part))


class _Halve(_Planes):
    """Writes `halve_<size>_<vectors>`.

    `masks` holds the lanes of the vectors of a row that are read, from one in front of the outputs' columns to one
    behind, and then those of the last vector of outputs. Rows outside the image (`height`) are read from `zeros`.
    """

    stride = 2

    def __init__(self, module: Module, dtype: str, size: int, vectors: int) -> None:
        super().__init__(module, dtype, f"halve_{size}_{vectors}", size, HALVE_ROWS, vectors)
        self.vectors = vectors
        self.masks = [self._mask(self.arg["masks"], i) for i in range(2 * vectors + 3)]

    def _sum(self, x: str, top: str, first: str, weights: str) -> None:
        f, arg, count = self.f, self.arg, 2 * (self.rows - 1) + self.size
        self._clear()
        for i in range(count):
            row = f.offset(x, self._times(arg["x_row"], i))
            if not self.half <= i < count - self.half:
                inside = f.value(f"icmp ult i64 {f.add(top, i)}, {arg['height']}")
                row = f.value(f"select i1 {inside}, ptr {row}, ptr {arg['zeros']}")
            # Weights that do not all fit the registers are read again, which the compiler must not know.
            self._add_row(row, i, weights if self.size == 3 else f.value(f'call ptr asm "", "=r,0"(ptr {weights})'))

    def _add_row(self, x: str, i: int, weights: str) -> None:
        lanes, n = self.lanes, self.lanes.count
        raw = {}
        for v in range(-1 if self.half else 0, 2 * self.vectors + (1 if self.half > 1 else 0)):
            at = self.f.offset(x, v * lanes.bytes)
            raw[v] = lanes.load_into("zeroinitializer", at, self.masks[v + 1])
        dealt = [
            [lanes.shuffle(raw[2 * v], raw[2 * v + 1], list(range(parity, 2 * n, 2))) for v in range(self.vectors)]
            for parity in (0, 1)
        ]
        for column in range(self.size):
            for v in range(self.vectors):
                tap = self._tap(raw, dealt, column - self.half, v)
                for k in range(self.size):
                    if (i - k) % 2 == 0 and 0 <= (i - k) // 2 < self.rows:
                        self._add(self.sums[(i - k) // 2][v], tap, self._weight(weights, k, column))

    def _tap(self, raw: dict[int, str], dealt: list[list[str]], distance: int, v: int) -> str:
        """What a tap reads for a vector of outputs: columns of one parity, some of them the neighbours'."""
        n, parity, steps = self.lanes.count, distance % 2, distance // 2
        own, other = dealt[parity][v], None
        lane_of = {}
        if steps < 0:
            other, whole = (dealt[parity][v - 1], True) if v > 0 else (raw[-1], False)
            lane_of = {i: n + i if whole else n + 2 * i + parity for i in range(steps, 0)}
        elif steps > 0:
            after = v + 1 < self.vectors
            other = dealt[parity][v + 1] if after else raw[2 * self.vectors]
            lane_of = {n + i: i if after else 2 * i + parity for i in range(steps)}
        if other is None:
            return own
        order = [i + steps if 0 <= i + steps < n else n + lane_of[i + steps] for i in range(n)]
        return self.lanes.shuffle(own, other, order)

    def _store(self, y: str, first: str) -> None:
        for i, row in enumerate(self.sums):
            at = self.f.offset(y, self._times(self.arg["y_row"], i))
            for v, sum_ in enumerate(row):
                mask = self.masks[-1] if v == self.vectors - 1 else None
                self.lanes.store(self.lanes.get(sum_), self.f.offset(at, v * self.lanes.bytes), mask)


def kernel_name(size: int, parts: int, rows: int) -> str:
    return f"shift_{size}_{parts}_{rows}"


def kernel_names() -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    shifts = [kernel_name(*kind) for kind in product(SIZES, PARTS, ROWS)]
    return shifts + [f"halve_{size}_{vectors}" for size, vectors in product(HALVE_SIZES, HALVE_VECTORS)]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    for kind in product(SIZES, PARTS, ROWS):
        _Shift(result, dtype, *kind).write()
    for size, vectors in product(HALVE_SIZES, HALVE_VECTORS):
        _Halve(result, dtype, size, vectors).write()
    return result


@none_if_refused
def provide(dtype: str) -> list[int] | None:
    """Addresses for C++'s `install_shift_kernels`; None where vectors have no lane masks, or the system refuses
    executable memory."""
    chosen = targets.host()
    if not chosen.masks:
        return None
    return addresses_of("contract|shifts", dtype, chosen, kernel_names(), module)
