"""Kernels of products of 16-bit floating point, summed in float32.

bfloat16 has instructions that multiply pairs and add to float32 (AVX512-BF16). Where the machine has them, the
micro-kernels of micro.py count the depth in pairs: a pair of A is broadcast from where it lies, a pair of rows of B
is interleaved on its way into the panel, and a tile is rounded as it is stored. Such code treats subnormal numbers as
0, as the instructions do. Convolutions have more of the kind (`paired`).

Everywhere else rows are widened to float32 (`widen`), multiplied by the kernels of float32, and rounded (`narrow`).
"""

from dataclasses import replace

from . import target as targets
from .arena import none_if_refused
from .emit import Elements
from .lanes import Lanes
from .memory import Memory
from .micro import DOT_ROWS, MicroKernel, max_heights, tile_names, write_columns, write_dot, write_tiles
from .module import Function, Module, llvm_type
from .resolve import addresses_of
from .target import Target

_NARROW = 16  # the flag kNarrow: store 16-bit elements
FEATURE = "+avx512bf16"


class WideningLanes(Lanes):
    """16-bit elements in memory, float32 in registers."""

    def __init__(self, f: Function, dtype: str) -> None:
        super().__init__(f, "f32")
        self.storage = dtype
        self.elements = Elements(f, self.count, lambda leaf: "")
        self.memory = Memory(f, self.elements)
        self.stored_type = self.elements.type("i16")

    @property
    def source_bytes(self) -> int:
        return self.bytes // 2

    def load_source(self, pointer: str, mask: str | None = None) -> str:
        bits = self.load_bits(pointer, mask)
        if self.storage == "f16":
            bits = self.f.value(f"bitcast {self.stored_type} {bits} to {self.elements.type('f16')}")
        return self.elements.widen(bits, self.storage)

    def load_bits(self, pointer: str, mask: str | None = None) -> str:
        return self.memory.raw("i16", pointer, mask)

    def narrowed(self, x: str) -> str:
        """The bits of 16-bit elements."""
        x = self.elements.narrow(x, self.storage)
        if self.storage == "f16":
            return self.f.value(f"bitcast {self.elements.type('f16')} {x} to {self.stored_type}")
        return x

    def store_narrow(self, x: str, pointer: str, mask: str | None = None) -> None:
        self.memory.store("i16", (self.narrowed(x),), pointer, mask)


class PairLanes(WideningLanes):
    """Sums in float32; factors are pairs of bfloat16, 32 bits each."""

    @property
    def source_bytes(self) -> int:
        return self.bytes

    def load_source(self, pointer: str, mask: str | None = None) -> str:
        pairs = f"<{2 * self.count} x i16>"
        if mask is None:
            bits = self.f.value(f"load {pairs}, ptr {pointer}, align 2")
        else:
            address, lanes = f"ptr align 2 {pointer}", f"<{2 * self.count} x i1> {mask}"
            name = f"llvm.masked.load.v{2 * self.count}i16.p0"
            bits = self.f.call(name, pairs, address, lanes, f"{pairs} zeroinitializer")
        return self.f.value(f"bitcast {pairs} {bits} to {self.type}")

    def source_mask(self, bits: str) -> str:
        short = self.f.value(f"trunc i64 {bits} to i{2 * self.count}")
        return self.f.value(f"bitcast i{2 * self.count} {short} to <{2 * self.count} x i1>")

    def fma(self, a: str, b: str, c: str) -> str:
        """c + a pair's two products."""
        pairs = f"<{2 * self.count} x bfloat>"
        a, b = (self.f.value(f"bitcast {self.type} {x} to {pairs}") for x in (a, b))
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        return self.f.call(name, self.type, f"{self.type} {c}", f"{pairs} {a}", f"{pairs} {b}")

    def interleave(self, even: str, odd: str) -> str:
        """Pairs of the bits of two rows."""
        wide = self.elements.type("i32")
        low, high = (self.f.value(f"zext {self.stored_type} {x} to {wide}") for x in (even, odd))
        high = self.f.value(f"shl {wide} {high}, {self.elements.constant(16, 'i32')}")
        return self.f.value(f"bitcast {wide} {self.f.value(f'or {wide} {low}, {high}')} to {self.type}")

    def narrowed(self, x: str) -> str:
        kind = f"<{self.count} x bfloat>"
        rounded = self.f.call("llvm.x86.avx512bf16.cvtneps2bf16.512", kind, f"{self.type} {x}")
        return self.f.value(f"bitcast {kind} {rounded} to {self.stored_type}")


class PairKernel(MicroKernel):
    """A micro-kernel over pairs: `k` counts them, rows of a pair of B are `pair_step` bytes apart."""

    def _lanes(self, dtype: str) -> PairLanes:
        self.pairs = PairLanes(self.f, dtype)
        return self.pairs

    def _load_b(self, source: str, j: int, mask: str | None) -> str:
        at = self.f.offset(source, j * self.pairs.bytes // 2)
        even = self.pairs.load_bits(at, mask)
        return self.pairs.interleave(even, self.pairs.load_bits(self.f.offset(at, self.arg["pair_step"]), mask))

    def _store(self, tile: list[list[str]], rows: list[str], masks: list) -> None:
        f, lanes = self.f, self.pairs
        narrow, wide, end = f.label("narrow"), f.label("wide"), f.label("end")
        bits = f.value(f"and i64 {self.arg['flags']}, {_NARROW}")
        f.do(f"br i1 {f.value(f'icmp ne i64 {bits}, 0')}, label %{narrow}, label %{wide}")
        f.begin(narrow)
        for row, sums in zip(rows, tile, strict=True):
            for j, (sum_, mask) in enumerate(zip(sums, masks, strict=True)):
                lanes.store_narrow(lanes.get(sum_), f.offset(row, j * lanes.bytes // 2), mask)
        f.do(f"br label %{end}")
        f.begin(wide)
        super()._store(tile, rows, masks)
        f.do(f"br label %{end}")
        f.begin(end)


def _write_rows(module: Module, name: str, kind: type[WideningLanes], dtype: str) -> None:
    """`widen(rows, count, source, source_row, out, out_row)`: rows of 16-bit elements as float32. `narrow`: back."""
    arguments = [("i64", "rows"), ("i64", "count"), ("ptr", "source"), ("i64", "source_row"), ("ptr", "out")]
    f = Function(module, name, [*arguments, ("i64", "out_row")])
    lanes = kind(f, dtype)
    single = Elements(f, 1, lambda leaf: "")
    one = f.value(f"and i64 %count, {lanes.count - 1}")
    whole = f.value(f"sub i64 %count, {one}")
    read, written = (2, 4) if name == "widen" else (4, 2)

    def element(source: str, out: str) -> None:
        if name == "widen":
            bits = f.value(f"load {llvm_type(dtype)}, ptr {source}, align 2")
            f.do(f"store float {single.widen(bits, dtype)}, ptr {out}, align 4")
        else:
            bits = single.narrow(f.value(f"load float, ptr {source}, align 4"), dtype)
            f.do(f"store {llvm_type(dtype)} {bits}, ptr {out}, align 2")

    def vector(source: str, out: str, mask: str | None = None) -> None:
        if name == "widen":
            lanes.store(WideningLanes.load_source(lanes, source, mask), out, mask)
        else:
            lanes.store_narrow(lanes.load(source, mask), out, mask)

    with f.loop(0, "%rows") as i:
        source = f.offset("%source", f.mul(i, "%source_row"))
        out = f.offset("%out", f.mul(i, "%out_row"))
        with f.loop(0, whole, lanes.count) as j:
            vector(f.offset(source, f.mul(j, read)), f.offset(out, f.mul(j, written)))
        if module.target.masks:
            with f.when(f.value(f"icmp ne i64 {one}, 0")):
                bits = f.value(f"sub i64 {f.value(f'shl i64 1, {one}')}, 1")
                mask = lanes.mask(bits, "i64")
                vector(f.offset(source, f.mul(whole, read)), f.offset(out, f.mul(whole, written)), mask)
        else:
            with f.loop(whole, "%count") as j:
                element(f.offset(source, f.mul(j, read)), f.offset(out, f.mul(j, written)))
    f.finish()


def has_pairs(target: Target, dtype: str) -> bool:
    return target.bfloat16 and dtype == "bf16"


def kernel_names(target: Target, dtype: str) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["widen", "narrow", *(f"dot_{rows}" for rows in DOT_ROWS)]
    if not has_pairs(target, dtype):
        return names
    return [*names, "pack_columns", *tile_names(max_heights(target))]


def layout(target: Target, dtype: str) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    pairs = has_pairs(target, dtype)
    elements = target.vector_bytes // (2 if pairs else 4)
    return [elements, int(pairs), target.vector_bytes // 4, *max_heights(target), target.l2]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one 16-bit type."""
    pairs = has_pairs(target, dtype)
    if pairs:
        target = replace(target, features=FEATURE)
    result, kind = Module(target), PairLanes if pairs else WideningLanes
    for name in ("widen", "narrow"):
        _write_rows(result, name, kind, dtype)
    for rows in DOT_ROWS:
        write_dot(result, dtype, rows, kind)
    if pairs:
        write_columns(result, "f32", "pack_columns", masked=False)
        write_tiles(result, dtype, max_heights(target), PairKernel)
    return result


def narrow_kernels(dtype: str, target: Target | None = None) -> tuple[list[int], list[int]]:
    """Layout and addresses for C++'s `install_micro_kernels`.

    Args:
        dtype: "f16" or "bf16".
        target: the host's own by default.
    """
    chosen = target or targets.host()
    family = f"contract|{'pairs' if has_pairs(chosen, dtype) else 'micro'}"
    return layout(chosen, dtype), addresses_of(family, dtype, chosen, kernel_names(chosen, dtype), module)


# What C++ installs for a type.
provide = none_if_refused(narrow_kernels)
