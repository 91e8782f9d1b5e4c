"""Micro-kernels of contractions (GEMM and convolution): one family for every shape.

A micro-kernel multiplies a tile of `height` rows of A by a panel of `vectors` SIMD vectors of B over the depth K; the
tile of C stays in registers. Depth, strides, lane masks, epilogue and addresses are run-time arguments (`FIELDS`, the
C++ struct `MicroArgs`), so nothing is compiled per shape. There are three modes:

* `use`:  B is a packed panel, K rows of `vectors` aligned vectors.
* `make`: B is read where it lies, through a table of taps (offset, lane masks), and stored to the panel for the tiles
  that follow: one tap for a matrix; one a kernel position for a convolution, which hides im2col behind the arithmetic.
  Height 0 only packs.
* `taps`: B is a packed panel with a row for each channel and tap of a convolution, A its input where it lies: a table
  of taps says where, and which rows of the panel take part.

Convolutions of groups with few channels sum over taps without a panel (`plane_*`).

The C++ drivers in csrc/runtime/contract cut a problem into such tiles.
"""

import importlib
import itertools
from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager

from . import split
from . import target as targets
from .arena import ExecutableMemoryError
from .jit import compile_code
from .link import Code
from .module import Function, Module, llvm_type, suffix
from .resolve import resolve_family
from .target import Target
from .turn import transpose

# The fields of MicroArgs (csrc/runtime/contract/kernels.h), eight bytes each; strides are in bytes.
FIELDS = (
    *("k", "a", "a_row", "a_col", "b", "c", "c_row", "mask", "flags", "column_bias", "row_bias"),
    *("panel", "panel_step", "taps", "taps_end", "channel_step", "prefetch", "pair_step"),
)
_POINTERS = {"a", "b", "c", "column_bias", "row_bias", "panel", "taps", "taps_end"}
_MAKE_ONLY = {"panel", "panel_step", "taps", "taps_end", "channel_step", "prefetch", "pair_step"}
_TAPS_NEAR = {"taps", "taps_end", "channel_step", "panel_step", "prefetch"}
_PACK_NEVER = {"a", "a_row", "a_col", "c", "c_row", "mask", "flags", "column_bias", "row_bias"}
# The fields of PlaneArgs (the same header).
PLANE_FIELDS = (
    *("taps", "count", "weights", "x", "x_row", "y", "y_row", "blocks", "vectors", "mask", "bias", "flags"),
    *("weights_row", "masks", "masks_row", "ahead"),
)
_PLANE_POINTERS = {"taps", "weights", "x", "y", "bias", "masks", "ahead"}
ACCUMULATE, COLUMN_BIAS, ROW_BIAS, RELU, STREAM, NEAR = 1, 2, 4, 8, 32, 64
_TAP_BYTES = 16  # int64 offset, four uint16 lane masks or (mode taps) an int64 offset in the panel
_CACHE_LINE = 64

ELEMENT_BYTES = {"f32": 4, "f64": 8}
MAX_VECTORS = 3
MAX_HEIGHT = 14
TAPS_VECTORS = 2
DOT_ROWS = (1, 4)
PLANE_ROWS = (1, 4)
FLAT_PLANES = (1, 4)
COLUMN_VECTORS = (1, 2)
COLUMN_HEIGHTS = (3, 5, 7)


def max_height(target: Target, vectors: int) -> int:
    """Rows of a tile: accumulators, the vectors of B and one broadcast of A fit the registers."""
    return min(MAX_HEIGHT, (target.registers - vectors - 1) // vectors)


def plane_sums(target: Target) -> int:
    """Taps whose gradients are summed together: chains enough to hide the latency, where registers allow."""
    return min(9, target.registers - 9)


# Row i of a tile lies at A + i * a_row. Addresses base + index * {1, 2, 4, 8} reach every row from two bases (A and
# A + 5 rows) and three index registers (1, 3 and 5 rows): row -> (base, index, scale).
_ROW_ADDRESS = {
    0: (0, 0, 1), 1: (0, 1, 1), 2: (0, 1, 2), 3: (0, 3, 1), 4: (0, 1, 4), 5: (0, 5, 1), 6: (0, 3, 2),
    7: (1, 1, 2), 8: (0, 1, 8), 9: (1, 1, 4), 10: (0, 5, 2), 11: (1, 3, 2), 12: (0, 3, 4), 13: (1, 1, 8),
}  # fmt: skip


@contextmanager
def repeat(f: Function, count: str) -> Iterator[str]:
    """A loop over 0 .. count - 1, count being at least 1: the test stands at the bottom."""
    index = f.variable("i64", "0")
    top, end = f.label("top"), f.label("end")
    f.do(f"br label %{top}")
    f.begin(top)
    i = f.value(f"load i64, ptr {index}")
    yield i
    following = f.add(i, 1)
    f.do(f"store i64 {following}, ptr {index}")
    f.do(f"br i1 {f.value(f'icmp ult i64 {following}, {count}')}, label %{top}, label %{end}")
    f.begin(end)


@contextmanager
def flagged(f: Function, flags: str, bit: int, on: bool = True) -> Iterator[None]:
    """What happens only where a bit of the flags is set; not `on`: where none of them is."""
    bits = f.value(f"and i64 {flags}, {bit}")
    with f.when(f.value(f"icmp {'ne' if on else 'eq'} i64 {bits}, 0")):
        yield


def load_fields(
    f: Function, fields: Iterable[str], pointers: Set[str], unused: Set[str] = frozenset()
) -> dict[str, str]:
    """The fields of the struct at `%args`, eight bytes each, by name."""
    return {
        name: f.value(f"load {'ptr' if name in pointers else 'i64'}, ptr {f.offset('%args', 8 * i)}")
        for i, name in enumerate(fields)
        if name not in unused
    }


def _advance(f: Function, variable: str, pointer: str, step: int | str) -> None:
    """variable = pointer + step. `freeze` hides the recurrence from loop strength reduction, which would replace the
    addresses we chose by a chain of additions."""
    f.do(f"store ptr {f.value(f'freeze ptr {f.offset(pointer, step)}')}, ptr {variable}")


class Lanes:
    """Vector instructions of one element type, written to one function."""

    def __init__(self, f: Function, dtype: str) -> None:
        self.f = f
        self.element_bytes = ELEMENT_BYTES[dtype]
        self.bytes = f.target.vector_bytes
        self.count = self.bytes // self.element_bytes
        self.scalar = llvm_type(dtype)
        self.type = llvm_type(dtype, self.count)
        self.mask_type = f"<{self.count} x i1>"
        self.suffix = suffix(dtype, self.count)

    def load(self, pointer: str, mask: str | None = None, aligned: bool = False) -> str:
        align = self.bytes if aligned else self.element_bytes
        if mask is None:
            return self.f.value(f"load {self.type}, ptr {pointer}, align {align}")
        return self._masked_load(pointer, align, mask, "zeroinitializer")

    def load_into(self, vector: str, pointer: str, mask: str) -> str:
        """A vector whose lanes in the mask are read."""
        return self._masked_load(pointer, self.element_bytes, mask, vector)

    def _masked_load(self, pointer: str, align: int, mask: str, others: str) -> str:
        address, lanes = f"ptr align {align} {pointer}", f"{self.mask_type} {mask}"
        return self.f.call(f"llvm.masked.load.{self.suffix}.p0", self.type, address, lanes, f"{self.type} {others}")

    @property
    def source_bytes(self) -> int:
        """Bytes of what `load_source` reads."""
        return self.bytes

    def load_source(self, pointer: str, mask: str | None = None) -> str:
        """Neighbouring elements as they lie in an operand."""
        return self.load(pointer, mask)

    def source_mask(self, bits: str) -> str:
        """The mask that `load_source` takes, from the low bits of an i64."""
        return self.mask(bits, "i64")

    def store(self, x: str, pointer: str, mask: str | None = None, aligned: bool = False, stream: bool = False) -> None:
        """`stream` goes past the caches, to an aligned address."""
        align = self.bytes if aligned or stream else self.element_bytes
        if mask is None:
            past = ", !nontemporal !99" if stream else ""
            self.f.do(f"store {self.type} {x}, ptr {pointer}, align {align}{past}")
            return
        name = self.f.module.declare(f"llvm.masked.store.{self.suffix}.p0", "void", self.type, "ptr", self.mask_type)
        self.f.do(f"call void {name}({self.type} {x}, ptr align {align} {pointer}, {self.mask_type} {mask})")

    def broadcast(self, pointer: str) -> str:
        scalar = self.f.value(f"load {self.scalar}, ptr {pointer}, align {self.element_bytes}")
        first = self.f.value(f"insertelement {self.type} poison, {self.scalar} {scalar}, i32 0")
        return self.shuffle(first, "poison", [0] * self.count)

    def shuffle(self, a: str, b: str, order: list[int]) -> str:
        return self.f.shuffle(self.type, a, b, order)

    def fma(self, a: str, b: str, c: str) -> str:
        v = self.type
        return self.f.call(f"llvm.fma.{self.suffix}", v, f"{v} {a}", f"{v} {b}", f"{v} {c}")

    def add(self, a: str, b: str) -> str:
        return self.f.value(f"fadd {self.type} {a}, {b}")

    def keep(self, x: str, mask: str) -> str:
        """Lanes in the mask; 0 elsewhere."""
        return self.f.value(f"select {self.mask_type} {mask}, {self.type} {x}, {self.type} zeroinitializer")

    def relu(self, x: str) -> str:
        """max(x, 0) that keeps nan."""
        return self.keep(x, self.f.value(f"fcmp ugt {self.type} {x}, zeroinitializer"))

    def mask(self, bits: str, kind: str) -> str:
        """Lane mask from the low bits of an integer."""
        if int(kind[1:]) > self.count:
            bits = self.f.value(f"trunc {kind} {bits} to i{self.count}")
        return self.f.value(f"bitcast i{self.count} {bits} to {self.mask_type}")

    def variable(self, initial: str = "zeroinitializer") -> str:
        return self.f.variable(self.type, initial)

    def get(self, variable: str) -> str:
        return self.f.value(f"load {self.type}, ptr {variable}")

    def set(self, variable: str, x: str) -> None:
        self.f.do(f"store {self.type} {x}, ptr {variable}")


class MicroKernel:
    """Writes `mk_<vectors>_<height>_<use|make>(MicroArgs*)`."""

    def __init__(self, module: Module, dtype: str, vectors: int, height: int, make: bool, name: str = "") -> None:
        self.f = Function(module, name or kernel_name(vectors, height, make), [("ptr", "args")])
        self.lanes = self._lanes(dtype)
        self.vectors, self.height, self.make = vectors, height, make
        # Packing alone is not hidden behind arithmetic, but it reads what needs masks on every machine.
        self.masked = make and (module.target.masks or height == 0)

    def _lanes(self, dtype: str) -> Lanes:
        return Lanes(self.f, dtype)

    def write(self) -> None:
        self._load_arguments()
        self.accumulators = [[self.lanes.variable() for _ in range(self.vectors)] for _ in range(self.height)]
        self.bases: list[str] = []
        if self.height:
            self._prefetch_output()
            self._row_strides()
        self._depth_loop()
        if self.height:
            self._epilogue()
        self.f.finish()

    def _load_arguments(self) -> None:
        self.arg = load_fields(self.f, FIELDS, _POINTERS, self._unused())

    def _unused(self) -> set[str]:
        return (set() if self.make else _MAKE_ONLY) | (set() if self.height else _PACK_NEVER)

    def _output_rows(self) -> list[str]:
        rows = [self.arg["c"]]
        for _ in range(1, self.height):
            rows.append(self.f.offset(rows[-1], self.arg["c_row"]))
        return rows

    def _prefetch_output(self) -> None:
        f = self.f
        with flagged(f, self.arg["flags"], STREAM | NEAR, on=False):
            for row in self._output_rows():
                for j in range(self.vectors):
                    f.fetch(f.offset(row, j * self.lanes.bytes), 1)

    def _row_strides(self) -> None:
        f, one = self.f, self.arg["a_row"]
        self.strides = {1: one}
        if self.height > 3:
            self.strides[3] = f.mul(one, 3)
        if self.height > 5:
            self.strides[5] = f.mul(one, 5)
        self.bases = [f.variable("ptr", base) for base in self._row_bases(self.arg["a"])]

    def _row_bases(self, a: str) -> list[str]:
        return [a, self.f.offset(a, self.strides[5])] if self.height > 7 else [a]

    def _depth_loop(self) -> None:
        f = self.f
        b_at = f.variable("ptr", self.arg["b"])
        if self.make:
            panel_at, tap_at = f.variable("ptr", self.arg["panel"]), f.variable("ptr", self.arg["taps"])
        with repeat(f, self.arg["k"]):
            bases = [f.value(f"load ptr, ptr {base}") for base in self.bases]
            self._multiply(bases, self._make_row(b_at, panel_at, tap_at) if self.make else self._use_row(b_at))
            for variable, base in zip(self.bases, bases, strict=True):
                _advance(f, variable, base, self.arg["a_col"])

    def _multiply(self, bases: list[str], b: list[str]) -> None:
        """One step of the depth: a row of B times a column of A."""
        for i, row in enumerate(self.accumulators):
            x = self.lanes.broadcast(self._row_address(bases, i))
            for sum_, vector in zip(row, b, strict=True):
                self.lanes.set(sum_, self.lanes.fma(x, vector, self.lanes.get(sum_)))

    def _row_address(self, bases: list[str], row: int) -> str:
        which, stride, scale = _ROW_ADDRESS[row]
        if stride == 0:
            return bases[which]
        return self.f.offset(bases[which], self.f.mul(self.strides[stride], scale))

    def _use_row(self, b_at: str) -> list[str]:
        b = self.f.value(f"load ptr, ptr {b_at}")
        row = self._panel_row(b)
        _advance(self.f, b_at, b, self.vectors * self.lanes.bytes)
        return row

    def _panel_row(self, b: str) -> list[str]:
        return [self.lanes.load(self.f.offset(b, j * self.lanes.bytes), aligned=True) for j in range(self.vectors)]

    def _make_row(self, b_at: str, panel_at: str, tap_at: str) -> list[str]:
        """Read one row of B through the current tap, store it to the panel, step to the next tap (or channel)."""
        f, lanes, arg = self.f, self.lanes, self.arg
        b, panel, tap = (f.value(f"load ptr, ptr {at}") for at in (b_at, panel_at, tap_at))
        source = f.offset(b, f.value(f"load i64, ptr {tap}"))
        row = []
        for j in range(self.vectors):
            mask = None
            if self.masked:
                mask = lanes.mask(f.value(f"load i16, ptr {f.offset(tap, 8 + 2 * j)}"), "i16")
            row.append(self._load_b(source, j, mask))
            # Stored at once: what is loaded next stays behind the store, so that few registers are wanted at a time.
            lanes.store(row[j], f.offset(panel, j * lanes.bytes), aligned=True)
        ahead = f.offset(source, arg["prefetch"])
        for byte in range(0, self.vectors * lanes.bytes, _CACHE_LINE):
            f.fetch(f.offset(ahead, byte))
        self._next_tap(tap_at, tap, arg, {b_at: (b, "channel_step")})
        _advance(f, panel_at, panel, arg["panel_step"])
        return row

    def _next_tap(self, tap_at: str, tap: str, arg: dict[str, str], by_channel: dict[str, tuple[str, str]]) -> None:
        """Behind the last tap comes the first one of the next channel: variable = pointer + step, for each of them."""
        f = self.f
        following = f.offset(tap, _TAP_BYTES)
        last = f.value(f"icmp eq ptr {following}, {arg['taps_end']}")
        wrapped = f.value(f"select i1 {last}, ptr {arg['taps']}, ptr {following}")
        f.do(f"store ptr {wrapped}, ptr {tap_at}")
        for variable, (pointer, step) in by_channel.items():
            moved = f.offset(pointer, f.value(f"select i1 {last}, i64 {arg[step]}, i64 0"))
            f.do(f"store ptr {moved}, ptr {variable}")

    def _load_b(self, source: str, j: int, mask: str | None) -> str:
        """Vector j of a row of B as it stands in the panel."""
        return self.lanes.load(self.f.offset(source, j * self.lanes.bytes), mask)

    def _epilogue(self) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        masks = [None] * (self.vectors - 1) + [lanes.mask(arg["mask"], "i64")]
        rows = self._output_rows()

        def add_to(sum_: str, x: str) -> None:
            lanes.set(sum_, lanes.add(x, lanes.get(sum_)))

        with flagged(f, arg["flags"], ACCUMULATE):
            for i, row in enumerate(rows):
                for j, mask in enumerate(masks):
                    add_to(self.accumulators[i][j], lanes.load(f.offset(row, j * lanes.bytes), mask))
        with flagged(f, arg["flags"], COLUMN_BIAS):
            for j, mask in enumerate(masks):
                bias = lanes.load(f.offset(arg["column_bias"], j * lanes.bytes), mask)
                for sums in self.accumulators:
                    add_to(sums[j], bias)
        with flagged(f, arg["flags"], ROW_BIAS):
            for i, sums in enumerate(self.accumulators):
                bias = lanes.broadcast(f.offset(arg["row_bias"], i * lanes.element_bytes))
                for sum_ in sums:
                    add_to(sum_, bias)
        with flagged(f, arg["flags"], RELU):
            for sums in self.accumulators:
                for sum_ in sums:
                    lanes.set(sum_, lanes.relu(lanes.get(sum_)))
        self._store(rows, masks)

    def _store(self, rows: list[str], masks: list) -> None:
        """Where a vector is a line of the cache, whole tiles may go past the caches."""
        f, lanes = self.f, self.lanes
        places = [
            (sum_, f.offset(row, j * lanes.bytes), mask)
            for row, sums in zip(rows, self.accumulators, strict=True)
            for j, (sum_, mask) in enumerate(zip(sums, masks, strict=True))
        ]
        if lanes.bytes != _CACHE_LINE:
            for sum_, at, mask in places:
                lanes.store(lanes.get(sum_), at, mask)
            return
        streamed, usual, end = f.label("streamed"), f.label("usual"), f.label("end")
        bits = f.value(f"and i64 {self.arg['flags']}, {STREAM}")
        f.do(f"br i1 {f.value(f'icmp ne i64 {bits}, 0')}, label %{streamed}, label %{usual}")
        f.begin(streamed)
        for sum_, at, _ in places:
            lanes.store(lanes.get(sum_), at, stream=True)
        f.do(f"br label %{end}")
        f.begin(usual)
        for sum_, at, mask in places:
            lanes.store(lanes.get(sum_), at, mask)
        f.do(f"br label %{end}")
        f.begin(end)


class TapsKernel(MicroKernel):
    """Writes `mk_<vectors>_<height>_taps(MicroArgs*)`: a tap's offset counts from A, which moves by `channel_step`
    behind the last tap, and its offset in the panel from B, which moves by `panel_step`.

    What the next channel takes of the panel is fetched ahead, and what lies `prefetch` bytes from the pixels."""

    def __init__(self, module: Module, dtype: str, height: int) -> None:
        super().__init__(module, dtype, TAPS_VECTORS, height, False, taps_kernel_name(height))

    def _unused(self) -> set[str]:
        return (_MAKE_ONLY | {"a_col"}) - {"taps"}

    def _depth_loop(self) -> None:
        f, arg = self.f, self.arg
        a_at, b_at, tap_at = (f.variable("ptr", arg[name]) for name in ("a", "b", "taps"))
        with repeat(f, arg["k"]):
            a, b, tap = (f.value(f"load ptr, ptr {at}") for at in (a_at, b_at, tap_at))
            pixel = f.offset(a, f.value(f"load i64, ptr {tap}"))
            panel = f.offset(b, f.value(f"load i64, ptr {f.offset(tap, 8)}"))
            self._multiply(self._row_bases(pixel), self._panel_row(panel))
            # Behind the multiply-adds, as nothing that reads memory changes places with fetches. Addresses leave few
            # registers: what comes here is read from memory again.
            near = load_fields(f, FIELDS, _POINTERS, set(FIELDS) - _TAPS_NEAR)
            self._fetch_lines(f.offset(panel, near["panel_step"]), 1)
            self._fetch_lines(f.offset(pixel, near["prefetch"]), 2)
            self._next_tap(tap_at, tap, near, {a_at: (a, "channel_step"), b_at: (b, "panel_step")})

    def _fetch_lines(self, at: str, level: int) -> None:
        for byte in range(0, TAPS_VECTORS * self.lanes.bytes, _CACHE_LINE):
            self.f.fetch(self.f.offset(at, byte), level)


def write_columns(module: Module, dtype: str, name: str, masked: bool) -> None:
    """`pack_columns(groups, source, rows, out, vectors, step, mask)`: a matrix transposed on its way into a panel.

    Lane j of row k of the panel is element k of row j of the source: `rows` holds (byte offset, pointer to uint16 lane
    masks) for each lane, masks indexed by group; where the first pointer is null, all lanes are read. Each of `groups`
    steps takes one vector of every row. Rows of the panel are `step` bytes apart. `scatter_columns` writes only the
    lanes in `mask` of every vector.
    """
    arguments = [("i64", "groups"), ("ptr", "source"), ("ptr", "rows"), ("ptr", "out")]
    f = Function(module, name, [*arguments, ("i64", "vectors"), ("i64", "step"), ("i64", "mask")])
    lanes = Lanes(f, dtype)
    n, width = lanes.count, lanes.bytes
    group_step = f.mul("%step", n)
    written = lanes.mask("%mask", "i64") if masked else None

    def groups(table: str, first_out: str, reads_masks: bool) -> None:
        out_at = f.variable("ptr", first_out)
        with repeat(f, "%groups") as g:
            source = f.offset("%source", f.mul(g, width))
            columns = []
            for i in range(n):
                read = None
                if reads_masks:
                    masks = f.offset(f.value(f"load ptr, ptr {f.offset(table, 16 * i + 8)}"), f.mul(g, 2))
                    read = lanes.mask(f.value(f"load i16, ptr {masks}"), "i16")
                columns.append(lanes.load(f.offset(source, f.value(f"load i64, ptr {f.offset(table, 16 * i)}")), read))
            out = f.value(f"load ptr, ptr {out_at}")
            for i, x in enumerate(transpose(columns, lanes.element_bytes, lanes.shuffle)):
                lanes.store(x, f.offset(out, f.mul("%step", i) if i else 0), written)
            f.do(f"store ptr {f.offset(out, group_step)}, ptr {out_at}")

    with repeat(f, "%vectors") as j:
        table, first_out = f.offset("%rows", f.mul(j, 16 * n)), f.offset("%out", f.mul(j, width))
        masks = f.value(f"load ptr, ptr {f.offset(table, 8)}")
        for reads_masks, test in ((False, "eq"), (True, "ne")):
            with f.when(f.value(f"icmp {test} ptr {masks}, null")):
                groups(table, first_out, reads_masks)
    f.finish()


def write_dot(module: Module, dtype: str, rows: int, kind: type[Lanes] = Lanes) -> None:
    """`dot_<rows>(pairs, x, b, row, masks, out)`: products of the vector x with rows of b, `row` bytes apart.

    The depth is `pairs` pairs of vectors and a last pair of which `masks` (two times 32 bits) tells the lanes. Whatever
    the number of rows, a sum is made in the same order: even and odd vectors apart, then halves upon halves.
    """
    arguments = [("i64", "pairs"), ("ptr", "x"), ("ptr", "b"), ("i64", "row"), ("i64", "masks"), ("ptr", "out")]
    f = Function(module, f"dot_{rows}", arguments)
    lanes = kind(f, dtype)
    sums = [[lanes.variable(), lanes.variable()] for _ in range(rows)]
    starts = ["%b"]
    for _ in range(1, rows):
        starts.append(f.offset(starts[-1], "%row"))

    def add_pair(at: str, masks: list[str] | list[None]) -> None:
        for half, mask in enumerate(masks):
            here = f.add(at, half * lanes.source_bytes)
            x = lanes.load_source(f.offset("%x", here), mask)
            for start, row_sums in zip(starts, sums, strict=True):
                b = lanes.load_source(f.offset(start, here), mask)
                lanes.set(row_sums[half], lanes.fma(x, b, lanes.get(row_sums[half])))

    end = f.mul("%pairs", 2 * lanes.source_bytes)
    with f.loop(0, end, 2 * lanes.source_bytes) as at:
        add_pair(at, [None, None])
    add_pair(end, [lanes.source_mask("%masks"), lanes.source_mask(f.value("lshr i64 %masks, 32"))])
    for i, (even, odd) in enumerate(sums):
        total = lanes.add(lanes.get(even), lanes.get(odd))
        half = lanes.count // 2
        while half:
            total = lanes.add(
                total, lanes.shuffle(total, "poison", [(x + half) % lanes.count for x in range(lanes.count)])
            )
            half //= 2
        first = f.value(f"extractelement {lanes.type} {total}, i32 0")
        out = f.offset("%out", i * lanes.element_bytes)
        f.do(f"store {lanes.scalar} {first}, ptr {out}, align {lanes.element_bytes}")
    f.finish()


def _plane_arguments(f: Function) -> dict[str, str]:
    return load_fields(f, PLANE_FIELDS, _PLANE_POINTERS)


class _PlaneKernel:
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
            lines = range(0, self.rows * len(self.sums[0]) * _CACHE_LINE, _CACHE_LINE)
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


def _write_plane_sums(module: Module, dtype: str, taps: int) -> None:
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


class _FlatKernel:
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


def _write_flat_sums(module: Module, dtype: str, taps: int) -> None:
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


def kernel_name(vectors: int, height: int, make: bool) -> str:
    return f"mk_{vectors}_{height}_{'make' if make else 'use'}"


def taps_kernel_name(height: int) -> str:
    return f"mk_{TAPS_VECTORS}_{height}_taps"


def taps_heights(target: Target) -> range:
    """Only where tiles are tall: the steps from tap to tap take longer than the multiply-adds of a low one."""
    tallest = max_height(target, TAPS_VECTORS)
    return range(1, tallest + 1 if tallest == MAX_HEIGHT else 1)


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["pack_columns", "scatter_columns", "split_2", "merge_2", *(f"dot_{rows}" for rows in DOT_ROWS)]
    for vectors in range(1, MAX_VECTORS + 1):
        heights = range(max_height(target, vectors) + 1)
        names += [kernel_name(vectors, h, True) for h in heights]
        names += [kernel_name(vectors, h, False) for h in heights[1:]]
        names += [f"plane_{vectors}_{rows}" for rows in PLANE_ROWS]
    names += [taps_kernel_name(h) for h in taps_heights(target)]
    names += [f"plane_column_{vectors}_{height}" for vectors in COLUMN_VECTORS for height in COLUMN_HEIGHTS]
    names += [f"plane_sums_{taps}" for taps in range(1, plane_sums(target) + 1)]
    if target.masks:
        names += [f"flat_sums_{taps}" for taps in range(1, plane_sums(target) + 1)]
        names += [f"plane_flat_{planes}" for planes in FLAT_PLANES]
    return names


def layout(target: Target, dtype: str) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    heights = [max_height(target, v) for v in range(1, MAX_VECTORS + 1)]
    return [target.vector_bytes // ELEMENT_BYTES[dtype], *heights, int(target.masks), target.l2, plane_sums(target)]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    write_columns(result, dtype, "pack_columns", masked=False)
    write_columns(result, dtype, "scatter_columns", masked=True)
    for name, order in split.ARGUMENTS.items():
        f = Function(result, name, order)
        split.WRITERS[name](f, Lanes(f, dtype))
    for rows in DOT_ROWS:
        write_dot(result, dtype, rows)
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(max_height(target, vectors) + 1):
            MicroKernel(result, dtype, vectors, height, True).write()
            if height:
                MicroKernel(result, dtype, vectors, height, False).write()
        for rows in PLANE_ROWS:
            _PlaneKernel(result, dtype, vectors, rows).write()
    for height in taps_heights(target):
        TapsKernel(result, dtype, height).write()
    for vectors in COLUMN_VECTORS:
        for height in COLUMN_HEIGHTS:
            _PlaneKernel(result, dtype, vectors, PLANE_ROWS[-1], height).write()
    for taps in range(1, plane_sums(target) + 1):
        _write_plane_sums(result, dtype, taps)
        if target.masks:
            _write_flat_sums(result, dtype, taps)
    for planes in FLAT_PLANES if target.masks else ():
        _FlatKernel(result, dtype, planes).write()
    return result


def compile_family(target: Target, dtype: str) -> Code:
    """The kernels of one element type as flat code."""
    return compile_code(module(target, dtype))


def micro_kernels(dtype: str, target: Target | None = None) -> tuple[list[int], list[int]]:
    """Layout and addresses for C++'s `install_micro_kernels`.

    Args:
        dtype: "f32" or "f64".
        target: the host's own by default.
    """
    chosen = target or targets.host()
    key = f"contract|micro||{dtype}|c|{chosen.level}"
    addresses = resolve_family(key, lambda: compile_family(chosen, dtype))
    return layout(chosen, dtype), [addresses[name] for name in kernel_names(chosen)]


def provide(dtype: str) -> tuple[list[int], list[int]] | None:
    """What C++ installs for a type; None where the system refuses executable memory, so that loops serve."""
    try:
        if dtype in ("f16", "bf16"):
            return importlib.import_module("flambeau.codegen.narrow").narrow_kernels(dtype)
        return micro_kernels(dtype)
    except ExecutableMemoryError:
        return None
