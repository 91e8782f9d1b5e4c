"""Kernels of depthwise convolutions on channels-last operands: lanes are channels.

Neighbouring channels lie side by side, so that a tap is a distance in memory and nothing is copied or rearranged. Work
is cut into rectangles of pixels that the same taps reach. Sizes, distances and lane masks are run-time arguments
(`FIELDS`, the C++ struct `ChannelArgs`).

* `taps_<pixels>`: every pixel is the sum over the taps of weight times input; so many pixels of a row at a time.
* `sums_<taps>`: gradients of so many taps' weights, summed over a rectangle.

Weights, and sums, lie vector of channels by vector of channels, [vector][tap][lane], and are whole vectors.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from . import target as targets
from .arena import none_if_refused
from .lanes import RELU, ROW_BIAS, STREAM, Lanes, flagged, load_fields, repeat
from .module import Function, Module
from .planes import plane_sums
from .resolve import addresses_of
from .target import Target

# The fields of ChannelArgs (csrc/runtime/contract/channel_kernels.h), eight bytes each; distances are in bytes.
FIELDS = (
    *("taps", "count", "weights", "weights_vector", "x", "x_pixel", "x_row", "y", "y_pixel", "y_row"),
    *("pixels", "rows", "vectors", "mask", "bias", "flags", "ahead"),
)
_POINTERS = {"taps", "weights", "x", "y", "bias"}
_TAP_BYTES = 16  # distance in x, place among the weights of a vector
PIXELS = (1, 2, 4, 8)

# Pixel p lies p * distance behind the first: as an address base + multiple * scale of few multiples.
_PIXEL_ADDRESS = {1: (1, 1), 2: (1, 2), 3: (3, 1), 4: (1, 4), 5: (5, 1), 6: (3, 2), 7: (7, 1)}


class _Kernel:
    """What the kernels share: arguments, and the loops over rows, pixels and vectors of channels."""

    def __init__(self, module: Module, dtype: str, name: str) -> None:
        self.f = Function(module, name, [("ptr", "args")])
        self.lanes = Lanes(self.f, dtype)
        self.arg = load_fields(self.f, FIELDS, _POINTERS)

    @contextmanager
    def walk(self, count: str, x_step: str, y_step: str, x: str, y: str) -> Iterator[tuple[str, str]]:
        """`count` places, steps apart in x and y."""
        x_at, y_at = self.f.variable("ptr", x), self.f.variable("ptr", y)
        with repeat(self.f, count):
            x, y = self.f.value(f"load ptr, ptr {x_at}"), self.f.value(f"load ptr, ptr {y_at}")
            yield x, y
            self.f.do(f"store ptr {self.f.offset(x, x_step)}, ptr {x_at}")
            self.f.do(f"store ptr {self.f.offset(y, y_step)}, ptr {y_at}")

    def for_vectors(self, run: Callable[[str, str, str | None], None]) -> None:
        """run(distance of the vector, its weights, mask): whole vectors, then the last one with its lanes."""
        f = self.f
        whole = f.value(f"sub i64 {self.arg['vectors']}, 1")

        def one(v: str, mask: str | None) -> None:
            run(f.mul(v, self.lanes.bytes), f.offset(self.arg["weights"], f.mul(v, self.arg["weights_vector"])), mask)

        with f.loop(0, whole) as v:
            one(v, None)
        one(whole, self.lanes.mask(self.arg["mask"], "i64"))


def _write_taps(module: Module, dtype: str, pixels: int) -> None:
    """`taps_<pixels>(ChannelArgs*)`: `rows` rows of `pixels` blocks of so many pixels.

    A sum is a chain of fused multiply-adds in the order of the taps, whatever the number of pixels. With the flag
    kStream results go past the caches: pixels are then whole aligned vectors.
    """
    kernel = _Kernel(module, dtype, f"taps_{pixels}")
    f, lanes, arg = kernel.f, kernel.lanes, kernel.arg
    sums = [lanes.variable() for _ in range(pixels)]
    multiples = {k: f.mul(arg["x_pixel"], k) for k in sorted({_PIXEL_ADDRESS[p][0] for p in range(1, pixels)})}
    places: list[int | str] = [0, *(f.mul(multiples[k], s) for k, s in (_PIXEL_ADDRESS[p] for p in range(1, pixels)))]
    end = f.mul(arg["count"], _TAP_BYTES)
    to_prefetch = f.mul(arg["ahead"], arg["x_row"])

    def vector(x: str, y: str, distance: str, weights: str, mask: str | None) -> None:
        for sum_ in sums:
            lanes.set(sum_, "zeroinitializer")
        start = f.offset(x, distance)
        with f.loop(0, end, _TAP_BYTES) as t:
            tap = f.offset(arg["taps"], t)
            source = f.offset(start, f.value(f"load i64, ptr {tap}"))
            weight = lanes.load(f.offset(weights, f.value(f"load i64, ptr {f.offset(tap, 8)}")), aligned=True)
            for sum_, place in zip(sums, places, strict=True):
                lanes.set(sum_, lanes.fma(lanes.load(f.offset(source, place), mask), weight, lanes.get(sum_)))
        with flagged(f, arg["flags"], ROW_BIAS):
            bias = lanes.load(f.offset(arg["bias"], distance), mask)
            for sum_ in sums:
                lanes.set(sum_, lanes.add(lanes.get(sum_), bias))
        with flagged(f, arg["flags"], RELU):
            for sum_ in sums:
                lanes.set(sum_, lanes.relu(lanes.get(sum_)))
        ahead = f.offset(start, to_prefetch)
        for place in places:
            f.fetch(f.offset(ahead, place))
        out = [f.offset(y, distance)]
        for _ in sums[1:]:
            out.append(f.offset(out[-1], arg["y_pixel"]))
        with flagged(f, arg["flags"], STREAM, on=False):
            for sum_, place in zip(sums, out, strict=True):
                lanes.store(lanes.get(sum_), place, mask)
        with flagged(f, arg["flags"], STREAM):
            for sum_, place in zip(sums, out, strict=True):
                lanes.store(lanes.get(sum_), place, stream=True)

    x_block, y_block = f.mul(arg["x_pixel"], pixels), f.mul(arg["y_pixel"], pixels)
    with (
        kernel.walk(arg["rows"], arg["x_row"], arg["y_row"], arg["x"], arg["y"]) as (x_row, y_row),
        kernel.walk(arg["pixels"], x_block, y_block, x_row, y_row) as (x, y),
    ):
        kernel.for_vectors(lambda distance, weights, mask: vector(x, y, distance, weights, mask))
    f.finish()


def _write_sums(module: Module, dtype: str, taps: int) -> None:
    """`sums_<taps>(ChannelArgs*)`: to the vectors at `weights` is added the sum of y[pixel] * x[pixel + tap] over
    `rows` rows of `pixels` pixels."""
    kernel = _Kernel(module, dtype, f"sums_{taps}")
    f, lanes, arg = kernel.f, kernel.lanes, kernel.arg
    sums = [lanes.variable() for _ in range(taps)]
    entries = [f.offset(arg["taps"], _TAP_BYTES * t) for t in range(taps)]
    distances = [f.value(f"load i64, ptr {entry}") for entry in entries]

    x_ahead, y_ahead = (f.mul(arg["ahead"], arg[step]) for step in ("x_row", "y_row"))

    def vector(distance: str, weights: str, mask: str | None) -> None:
        for sum_ in sums:
            lanes.set(sum_, "zeroinitializer")
        start, gradient = f.offset(arg["x"], distance), f.offset(arg["y"], distance)
        with (
            kernel.walk(arg["rows"], arg["x_row"], arg["y_row"], start, gradient) as (x_row, y_row),
            kernel.walk(arg["pixels"], arg["x_pixel"], arg["y_pixel"], x_row, y_row) as (x, y),
        ):
            f.fetch(f.offset(x, x_ahead))
            f.fetch(f.offset(y, y_ahead))
            dy = lanes.load(y, mask)
            for sum_, tap in zip(sums, distances, strict=True):
                lanes.set(sum_, lanes.fma(lanes.load(f.offset(x, tap), mask), dy, lanes.get(sum_)))
        for sum_, entry in zip(sums, entries, strict=True):
            at = f.offset(weights, f.value(f"load i64, ptr {f.offset(entry, 8)}"))
            lanes.store(lanes.add(lanes.load(at, aligned=True), lanes.get(sum_)), at, aligned=True)

    kernel.for_vectors(vector)
    f.finish()


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    return [*(f"taps_{n}" for n in PIXELS), *(f"sums_{n}" for n in range(1, plane_sums(target) + 1))]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    for pixels in PIXELS:
        _write_taps(result, dtype, pixels)
    for taps in range(1, plane_sums(target) + 1):
        _write_sums(result, dtype, taps)
    return result


@none_if_refused
def provide(dtype: str) -> list[int]:
    """Addresses for C++'s `install_channel_kernels`; None where the system refuses executable memory."""
    chosen = targets.host()
    return addresses_of("contract|channels", dtype, chosen, kernel_names(chosen), module)
