"""Convolutions of groups with few channels, and their gradients: sums over taps of planes, without panels."""

import itertools

from .lanes import CACHE_LINE, RELU, ROW_BIAS, Lanes, flagged, load_fields, repeat
from .module import Function, Module
from .target import Target

# The fields of PlaneArgs (the same header).
PLANE_FIELDS = (
    *("taps", "count", "weights", "x", "x_row", "y", "y_row", "blocks", "vectors", "mask", "bias", "flags"),
    *("weights_row", "masks", "masks_row", "ahead"),
)
_PLANE_POINTERS = {"taps", "weights", "x", "y", "bias", "masks", "ahead"}

PLANE_ROWS = (1, 4)
FLAT_PLANES = (1, 4)
COLUMN_VECTORS = (1, 2)
COLUMN_HEIGHTS = (3, 5, 7)


def plane_sums(target: Target) -> int:
    """Taps whose gradients are summed together: chains enough to hide the latency, where registers allow."""
    return min(9, target.registers - 9)


def _plane_arguments(f: Function) -> dict[str, str]:
    return load_fields(f, PLANE_FIELDS, _PLANE_POINTERS)


class PlaneKernel:
    """Writes `plane_<vectors>_<rows>(PlaneArgs*)`: `blocks` times `rows` rows of outputs, `vectors` vectors of columns.

    An output is the sum over `count` taps of weights[t] * x[output + taps[t]], in their order; whole vectors of x are
    read. Where groups have few channels, that is less work than making panels.

    Every block prefetches as many lines from `ahead` as it writes vectors.

    With `height` it is `plane_column_<vectors>_<height>`: a tap is the top of a column of so many, a row of x apart,
    their weights `weights_row` apart. A vector of x is read once for all the rows of outputs that it adds to.
    """

    def __init__(self, module: Module, dtype: str, vectors: int, rows: int, height: int = 0) -> None:
        name = f"plane_column_{vectors}_{height}" if height else f"plane_{vectors}_{rows}"
        self.f = Function(module, name, [("ptr", "args")])
        self.lanes, self.arg = Lanes(self.f, dtype), _plane_arguments(self.f)
        self.rows, self.height = rows, max(height, 1)
        self.sums = [[self.lanes.variable() for _ in range(vectors)] for _ in range(rows)]

    def write(self) -> None:
        f, arg = self.f, self.arg
        x_at, y_at, ahead_at = (f.variable("ptr", arg[name]) for name in ("x", "y", "ahead"))
        x_rows = [f.mul(arg["x_row"], i) if i else 0 for i in range(self.rows + self.height - 1)]
        with repeat(f, arg["blocks"]):
            x, y = f.value(f"load ptr, ptr {x_at}"), f.value(f"load ptr, ptr {y_at}")
            for sum_ in itertools.chain(*self.sums):
                self.lanes.set(sum_, "zeroinitializer")
            ahead = f.value(f"load ptr, ptr {ahead_at}")
            lines = range(0, self.rows * len(self.sums[0]) * CACHE_LINE, CACHE_LINE)
            for line in lines:
                f.fetch(f.offset(ahead, line))
            f.do(f"store ptr {f.offset(ahead, lines.stop)}, ptr {ahead_at}")
            with repeat(f, arg["count"]) as t:
                source = f.offset(x, f.value(f"load i64, ptr {f.offset(arg['taps'], f.mul(t, 8))}"))
                self._add_taps(source, x_rows, f.offset(arg["weights"], f.mul(t, self.lanes.element_bytes)))
            f.do(f"store ptr {self._finish_rows(y)}, ptr {y_at}")
            f.do(f"store ptr {f.offset(x, f.mul(arg['x_row'], self.rows))}, ptr {x_at}")
        f.finish()

    def _add_taps(self, source: str, x_rows: list[int | str], weights: str) -> None:
        f, lanes = self.f, self.lanes
        column = []
        for k in range(self.height):
            column.append(lanes.broadcast(f.offset(weights, f.mul(self.arg["weights_row"], k) if k else 0)))
        for i, start in enumerate(x_rows):
            at = f.offset(source, start)
            for j in range(len(self.sums[0])):
                x = lanes.load(f.offset(at, j * lanes.bytes))
                for k, weight in enumerate(column):
                    if 0 <= i - k < self.rows:
                        sum_ = self.sums[i - k][j]
                        lanes.set(sum_, lanes.fma(x, weight, lanes.get(sum_)))

    def _finish_rows(self, y: str) -> str:
        f, lanes, arg = self.f, self.lanes, self.arg
        with flagged(f, arg["flags"], ROW_BIAS):
            bias = lanes.broadcast(arg["bias"])
            for sum_ in itertools.chain(*self.sums):
                lanes.set(sum_, lanes.add(lanes.get(sum_), bias))
        with flagged(f, arg["flags"], RELU):
            for sum_ in itertools.chain(*self.sums):
                lanes.set(sum_, lanes.relu(lanes.get(sum_)))
        masks = [None] * (len(self.sums[0]) - 1) + [lanes.mask(arg["mask"], "i64")]
        for row in self.sums:
            for j, (sum_, mask) in enumerate(zip(row, masks, strict=True)):
                lanes.store(lanes.get(sum_), f.offset(y, j * lanes.bytes), mask)
            y = f.offset(y, arg["y_row"])
        return y


def write_plane_sums(module: Module, dtype: str, taps: int) -> None:
    """`plane_sums_<taps>(PlaneArgs*)`: to vector t at `weights` is added the sum of y[i] * x[i + taps[t]].

    y has `blocks` rows of `vectors` vectors, the last one of the lanes in `mask`. What x holds behind the end of a row
    of y counts for nothing: it might be an infinity.
    """
    f = Function(module, f"plane_sums_{taps}", [("ptr", "args")])
    lanes, arg = Lanes(f, dtype), _plane_arguments(f)
    offsets = [f.value(f"load i64, ptr {f.offset(arg['taps'], 8 * t)}") for t in range(taps)]
    sums = [lanes.variable() for _ in range(taps)]
    x_row, y_row = f.variable("ptr", arg["x"]), f.variable("ptr", arg["y"])
    whole = f.mul(f.value(f"sub i64 {arg['vectors']}, 1"), lanes.bytes)
    with repeat(f, arg["blocks"]):
        x_start, y_start = f.value(f"load ptr, ptr {x_row}"), f.value(f"load ptr, ptr {y_row}")
        with f.loop(0, whole, lanes.bytes) as at:
            y, x = lanes.load(f.offset(y_start, at)), f.offset(x_start, at)
            for offset, sum_ in zip(offsets, sums, strict=True):
                lanes.set(sum_, lanes.fma(lanes.load(f.offset(x, offset)), y, lanes.get(sum_)))
        mask = lanes.mask(arg["mask"], "i64")
        y, x = lanes.load(f.offset(y_start, whole), mask), f.offset(x_start, whole)
        for offset, sum_ in zip(offsets, sums, strict=True):
            lanes.set(sum_, lanes.fma(lanes.keep(lanes.load(f.offset(x, offset)), mask), y, lanes.get(sum_)))
        f.do(f"store ptr {f.offset(x_start, arg['x_row'])}, ptr {x_row}")
        f.do(f"store ptr {f.offset(y_start, arg['y_row'])}, ptr {y_row}")
    for t, sum_ in enumerate(sums):
        at = f.offset(arg["weights"], t * lanes.bytes)
        lanes.store(lanes.add(lanes.load(at), lanes.get(sum_)), at)
    f.finish()


class FlatKernel:
    """Writes `plane_flat_<planes>(PlaneArgs*)`: `blocks` times `planes` whole planes of outputs, vector after vector.

    An output is the sum over `count` taps of weights[t] * x[output + taps[t]] over the lanes in masks[vector][t]: there
    are neither rows nor copies, so that planes narrower than a vector fill its lanes. Planes are `x_row` and `y_row`
    apart, their weights `weights_row`; a tap's mask serves all planes of a block. Only for machines with masks.
    """

    def __init__(self, module: Module, dtype: str, planes: int) -> None:
        self.f = Function(module, f"plane_flat_{planes}", [("ptr", "args")])
        self.lanes, self.arg = Lanes(self.f, dtype), _plane_arguments(self.f)
        self.sums = [self.lanes.variable() for _ in range(planes)]

    def write(self) -> None:
        f, arg = self.f, self.arg
        steps = {"x": "x_row", "y": "y_row", "weights": "weights_row"}
        at = {name: f.variable("ptr", arg[name]) for name in (*steps, "bias")}
        whole = f.value(f"sub i64 {arg['vectors']}, 1")
        last = self.lanes.mask(arg["mask"], "i64")
        with repeat(f, arg["blocks"]):
            here = {name: [f.value(f"load ptr, ptr {at[name]}")] for name in at}
            for name, step in steps.items():
                for _ in self.sums:
                    here[name].append(f.offset(here[name][-1], arg[step]))
            for _ in self.sums:
                here["bias"].append(f.offset(here["bias"][-1], self.lanes.element_bytes))
            with f.loop(0, whole, 1) as v:
                self._vector(here, v, None)
            self._vector(here, whole, last)
            for name, places in here.items():
                f.do(f"store ptr {places[len(self.sums)]}, ptr {at[name]}")
        f.finish()

    def _vector(self, here: dict[str, list[str]], v: str, mask: str | None) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        distance = f.mul(v, lanes.bytes)
        masks = f.offset(arg["masks"], f.mul(v, arg["masks_row"]))
        for sum_ in self.sums:
            lanes.set(sum_, "zeroinitializer")
        with repeat(f, arg["count"]) as t:
            offset = f.add(distance, f.value(f"load i64, ptr {f.offset(arg['taps'], f.mul(t, 8))}"))
            read = lanes.mask(f.value(f"load i16, ptr {f.offset(masks, f.mul(t, 2))}"), "i16")
            weight = f.mul(t, lanes.element_bytes)
            for sum_, x, weights in zip(self.sums, here["x"], here["weights"], strict=False):
                row = lanes.load(f.offset(x, offset), read)
                lanes.set(sum_, lanes.fma(row, lanes.broadcast(f.offset(weights, weight)), lanes.get(sum_)))
        with flagged(f, arg["flags"], ROW_BIAS):
            for sum_, bias in zip(self.sums, here["bias"], strict=False):
                lanes.set(sum_, lanes.add(lanes.get(sum_), lanes.broadcast(bias)))
        with flagged(f, arg["flags"], RELU):
            for sum_ in self.sums:
                lanes.set(sum_, lanes.relu(lanes.get(sum_)))
        for sum_, y in zip(self.sums, here["y"], strict=False):
            lanes.store(lanes.get(sum_), f.offset(y, distance), mask)


def write_flat_sums(module: Module, dtype: str, taps: int) -> None:
    """`flat_sums_<taps>(PlaneArgs*)`: to vector t at `weights` is added the sum of y[i] * x[i + taps[t]] over `blocks`
    planes, `x_row` and `y_row` apart, the lanes of x in masks[vector][t]."""
    f = Function(module, f"flat_sums_{taps}", [("ptr", "args")])
    lanes, arg = Lanes(f, dtype), _plane_arguments(f)
    offsets = [f.value(f"load i64, ptr {f.offset(arg['taps'], 8 * t)}") for t in range(taps)]
    sums = [lanes.variable() for _ in range(taps)]
    x_at, y_at = f.variable("ptr", arg["x"]), f.variable("ptr", arg["y"])
    whole = f.value(f"sub i64 {arg['vectors']}, 1")
    last = lanes.mask(arg["mask"], "i64")

    def add(x: str, y: str, v: str, mask: str | None) -> None:
        at, masks = f.mul(v, lanes.bytes), f.offset(arg["masks"], f.mul(v, arg["masks_row"]))
        dy, source = lanes.load(f.offset(y, at), mask), f.offset(x, at)
        for t, (offset, sum_) in enumerate(zip(offsets, sums, strict=True)):
            read = lanes.mask(f.value(f"load i16, ptr {f.offset(masks, 2 * t)}"), "i16")
            lanes.set(sum_, lanes.fma(lanes.load(f.offset(source, offset), read), dy, lanes.get(sum_)))

    with repeat(f, arg["blocks"]):
        x, y = f.value(f"load ptr, ptr {x_at}"), f.value(f"load ptr, ptr {y_at}")
        with f.loop(0, whole, 1) as v:
            add(x, y, v, None)
        add(x, y, whole, last)
        f.do(f"store ptr {f.offset(x, arg['x_row'])}, ptr {x_at}")
        f.do(f"store ptr {f.offset(y, arg['y_row'])}, ptr {y_at}")
    for t, sum_ in enumerate(sums):
        at = f.offset(arg["weights"], t * lanes.bytes)
        lanes.store(lanes.add(lanes.load(at), lanes.get(sum_)), at)
    f.finish()
