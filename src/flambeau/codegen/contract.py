"""Micro-kernels of contractions (GEMM and convolution): one family for every shape.

A micro-kernel multiplies a tile of `height` rows of A by a panel of `vectors` SIMD vectors of B over the depth K and adds
it to a tile of C kept in registers. Depth, strides, lane masks, epilogue and addresses are run-time arguments (`FIELDS`,
the C++ struct `MicroArgs`), so nothing is compiled per shape. There are two modes:

* `use`:  B is a packed panel, K rows of `vectors` aligned vectors.
* `make`: B is read where it lies, through a table of taps (offset, lane masks), and stored to the panel for the tiles
  that follow: one tap for a matrix; one a kernel position for a convolution, which hides im2col behind the arithmetic.
  Height 0 only packs.

The C++ drivers in csrc/runtime/contract cut a problem into such tiles.
"""

from __future__ import annotations

from dataclasses import dataclass

from .contract_emit import Function

# The fields of MicroArgs (csrc/runtime/contract/kernels.h), eight bytes each; strides are in bytes.
FIELDS = (
    "k a a_row a_col b c c_row mask flags column_bias row_bias panel panel_step taps taps_end channel_step prefetch"
).split()
POINTERS = {"a", "b", "c", "column_bias", "row_bias", "panel", "taps", "taps_end"}
ACCUMULATE, COLUMN_BIAS, ROW_BIAS, RELU = 1, 2, 4, 8
TAP_BYTES = 16  # int64 offset, four uint16 lane masks
MAX_VECTORS = 3
MAX_HEIGHT = 14


@dataclass(frozen=True)
class Machine:
    """What the generator must know of a target."""

    level: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int
    masked: bool  # masked loads cost no more than plain ones
    l2_bytes: int


X86_64_V4 = Machine("x86-64-v4", "x86_64-unknown-linux-gnu", "x86-64-v4", "", 64, 32, True, 1 << 20)
X86_64_V3 = Machine("x86-64-v3", "x86_64-unknown-linux-gnu", "x86-64-v3", "", 32, 16, False, 1 << 19)
AARCH64 = Machine("aarch64", "aarch64-unknown-linux-gnu", "generic", "+neon", 16, 32, False, 1 << 19)


@dataclass(frozen=True)
class Element:
    """A type of element that micro-kernels compute in."""

    code: str
    llvm: str
    bytes: int
    suffix: str


ELEMENTS = {"f32": Element("f32", "float", 4, "f32"), "f64": Element("f64", "double", 8, "f64")}


def max_height(machine: Machine, vectors: int) -> int:
    """Rows of a tile: accumulators, the vectors of B and one broadcast of A fit the registers."""
    return min(MAX_HEIGHT, (machine.registers - vectors - 1) // vectors)


# Row i of a tile lies at A + i * a_row. Addresses base + index * {1, 2, 4, 8} reach every row from two bases (A and
# A + 5 rows) and three index registers (1, 3 and 5 rows): row -> (base, index, scale).
_ROW_ADDRESS = {
    0: (0, 0, 1), 1: (0, 1, 1), 2: (0, 1, 2), 3: (0, 3, 1), 4: (0, 1, 4), 5: (0, 5, 1), 6: (0, 3, 2),
    7: (1, 1, 2), 8: (0, 1, 8), 9: (1, 1, 4), 10: (0, 5, 2), 11: (1, 3, 2), 12: (0, 3, 4), 13: (1, 1, 8),
}  # fmt: skip


class Lanes:
    """Vector instructions of one element type on one machine."""

    def __init__(self, machine: Machine, element: Element) -> None:
        self.machine, self.element = machine, element
        self.count = machine.vector_bytes // element.bytes
        self.bytes = machine.vector_bytes
        self.type = f"<{self.count} x {element.llvm}>"
        self.mask_type = f"<{self.count} x i1>"
        self.suffix = f"v{self.count}{element.suffix}"

    def declarations(self) -> str:
        v, m, s = self.type, self.mask_type, self.suffix
        return (
            f"declare {v} @llvm.fma.{s}({v}, {v}, {v})\n"
            f"declare {v} @llvm.masked.load.{s}.p0(ptr, {m}, {v})\n"
            f"declare void @llvm.masked.store.{s}.p0({v}, ptr, {m})\n"
            "declare void @llvm.prefetch.p0(ptr, i32, i32, i32)\n"
        )

    def load(self, f: Function, pointer: str, mask: str | None = None, align: int | None = None) -> str:
        align = align or self.element.bytes
        if mask is None:
            return f.value(f"load {self.type}, ptr {pointer}, align {align}")
        return f.value(
            f"call {self.type} @llvm.masked.load.{self.suffix}.p0(ptr align {align} {pointer}, {self.mask_type} {mask}, "
            f"{self.type} zeroinitializer)"
        )

    def store(self, f: Function, x: str, pointer: str, mask: str | None = None, align: int | None = None) -> None:
        align = align or self.element.bytes
        if mask is None:
            f.do(f"store {self.type} {x}, ptr {pointer}, align {align}")
        else:
            f.do(
                f"call void @llvm.masked.store.{self.suffix}.p0({self.type} {x}, ptr align {align} {pointer}, "
                f"{self.mask_type} {mask})"
            )

    def broadcast(self, f: Function, pointer: str) -> str:
        scalar = f.value(f"load {self.element.llvm}, ptr {pointer}, align {self.element.bytes}")
        first = f.value(f"insertelement {self.type} poison, {self.element.llvm} {scalar}, i32 0")
        return f.value(f"shufflevector {self.type} {first}, {self.type} poison, <{self.count} x i32> zeroinitializer")

    def fma(self, f: Function, a: str, b: str, c: str) -> str:
        return f.value(f"call {self.type} @llvm.fma.{self.suffix}({self.type} {a}, {self.type} {b}, {self.type} {c})")

    def add(self, f: Function, a: str, b: str) -> str:
        return f.value(f"fadd {self.type} {a}, {b}")

    def relu(self, f: Function, x: str) -> str:
        """max(x, 0) that keeps nan."""
        keep = f.value(f"fcmp ugt {self.type} {x}, zeroinitializer")
        return f.value(f"select {self.mask_type} {keep}, {self.type} {x}, {self.type} zeroinitializer")

    def mask(self, f: Function, bits: str, kind: str) -> str:
        """Lane mask from the low bits of an integer."""
        n = self.count
        if int(kind[1:]) > n:
            bits = f.value(f"trunc {kind} {bits} to i{n}")
        return f.value(f"bitcast i{n} {bits} to {self.mask_type}")

    def shuffle(self, f: Function, a: str, b: str, lanes: list[int]) -> str:
        order = ", ".join(f"i32 {x}" for x in lanes)
        return f.value(f"shufflevector {self.type} {a}, {self.type} {b}, <{self.count} x i32> <{order}>")


def prefetch(f: Function, pointer: str, locality: int) -> None:
    f.do(f"call void @llvm.prefetch.p0(ptr {pointer}, i32 0, i32 {locality}, i32 1)")


class MicroKernel:
    """Writes `mk_<vectors>_<height>_<use|make>(MicroArgs*)`."""

    def __init__(self, lanes: Lanes, vectors: int, height: int, make: bool) -> None:
        self.lanes, self.vectors, self.height, self.make = lanes, vectors, height, make
        self.name = kernel_name(vectors, height, make)
        self.f = Function(self.name, "ptr %args")
        # Packing alone is not hidden behind arithmetic, but reads rows of a convolution that need masks on any machine.
        self.masked = make and (lanes.machine.masked or height == 0)

    def write(self) -> str:
        self._load_arguments()
        v = self.lanes.type
        self.acc = [[self.f.slot(v, "zeroinitializer") for _ in range(self.vectors)] for _ in range(self.height)]
        if self.height:
            self._prefetch_output()
            self._row_strides()
        self._depth_loop()
        if self.height:
            self._epilogue()
        return self.f.text()

    def _load_arguments(self) -> None:
        f = self.f
        unused = set() if self.make else {"panel", "panel_step", "taps", "taps_end", "channel_step", "prefetch"}
        if not self.height:
            unused |= {"a", "a_row", "a_col", "c", "c_row", "mask", "flags", "column_bias", "row_bias"}
        self.arg = {}
        for i, name in enumerate(FIELDS):
            if name not in unused:
                kind = "ptr" if name in POINTERS else "i64"
                self.arg[name] = f.value(f"load {kind}, ptr {f.offset('%args', 8 * i)}")

    def _prefetch_output(self) -> None:
        row = self.arg["c"]
        for i in range(self.height):
            for j in range(self.vectors):
                prefetch(self.f, self.f.offset(row, j * self.lanes.bytes), 3)
            if i + 1 < self.height:
                row = self.f.offset(row, self.arg["c_row"])

    def _row_strides(self) -> None:
        f, one = self.f, self.arg["a_row"]
        self.strides = {1: one}
        if self.height > 3:
            self.strides[3] = f.multiply(one, 3)
        if self.height > 5:
            self.strides[5] = f.multiply(one, 5)
        bases = [self.arg["a"]]
        if self.height > 7:
            bases.append(f.offset(self.arg["a"], self.strides[5]))
        self.bases = [f.slot("ptr", b) for b in bases]

    def _depth_loop(self) -> None:
        f = self.f
        b_slot = f.slot("ptr", self.arg["b"])
        if self.make:
            panel_slot, tap_slot = f.slot("ptr", self.arg["panel"]), f.slot("ptr", self.arg["taps"])
        with f.repeat(self.arg["k"]):
            bases = [f.get("ptr", s) for s in self.bases] if self.height else []
            if self.make:
                b = self._make_row(b_slot, panel_slot, tap_slot)
            else:
                b = self._use_row(b_slot)
            for i in range(self.height):
                x = self.lanes.broadcast(f, self._row_address(bases, i))
                for j, slot in enumerate(self.acc[i]):
                    f.set(self.lanes.type, slot, self.lanes.fma(f, x, b[j], f.get(self.lanes.type, slot)))
            for slot, base in zip(self.bases if self.height else [], bases, strict=True):
                f.set("ptr", slot, f.hidden(f.offset(base, self.arg["a_col"])))

    def _row_address(self, bases: list[str], row: int) -> str:
        which, stride, scale = _ROW_ADDRESS[row]
        if stride == 0:
            return bases[which]
        return self.f.offset(bases[which], self.f.multiply(self.strides[stride], scale))

    def _use_row(self, b_slot: str) -> list[str]:
        f, lanes = self.f, self.lanes
        b = f.get("ptr", b_slot)
        row = [lanes.load(f, f.offset(b, j * lanes.bytes), align=lanes.bytes) for j in range(self.vectors)]
        f.set("ptr", b_slot, f.hidden(f.offset(b, self.vectors * lanes.bytes)))
        return row

    def _make_row(self, b_slot: str, panel_slot: str, tap_slot: str) -> list[str]:
        """Read one row of B through the current tap, store it to the panel, step to the next tap (or channel)."""
        f, lanes, arg = self.f, self.lanes, self.arg
        b, panel, tap = f.get("ptr", b_slot), f.get("ptr", panel_slot), f.get("ptr", tap_slot)
        source = f.offset(b, f.value(f"load i64, ptr {tap}"))
        row = []
        for j in range(self.vectors):
            mask = None
            if self.masked:
                bits = f.value(f"load i16, ptr {f.offset(tap, 8 + 2 * j)}")
                mask = lanes.mask(f, bits, "i16")
            row.append(lanes.load(f, f.offset(source, j * lanes.bytes), mask))
        for j, x in enumerate(row):
            lanes.store(f, x, f.offset(panel, j * lanes.bytes), align=lanes.bytes)
        ahead = f.offset(source, arg["prefetch"])
        for byte in range(0, self.vectors * lanes.bytes, 64):
            prefetch(f, f.offset(ahead, byte), 2)
        following = f.offset(tap, TAP_BYTES)
        last = f.value(f"icmp eq ptr {following}, {arg['taps_end']}")
        f.set("ptr", tap_slot, f.value(f"select i1 {last}, ptr {arg['taps']}, ptr {following}"))
        f.set("ptr", b_slot, f.offset(b, f.value(f"select i1 {last}, i64 {arg['channel_step']}, i64 0")))
        f.set("ptr", panel_slot, f.hidden(f.offset(panel, arg["panel_step"])))
        return row

    def _epilogue(self) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        tail = lanes.mask(f, arg["mask"], "i64")
        masks = [None] * (self.vectors - 1) + [tail]

        def flag(bit: int) -> str:
            bits = f.value(f"and i64 {arg['flags']}, {bit}")
            return f.value(f"icmp ne i64 {bits}, 0")

        def update(slot: str, other: str) -> None:
            f.set(lanes.type, slot, lanes.add(f, other, f.get(lanes.type, slot)))

        rows = [arg["c"]]
        for _ in range(1, self.height):
            rows.append(f.offset(rows[-1], arg["c_row"]))
        with f.when(flag(ACCUMULATE)):
            for i, row in enumerate(rows):
                for j, m in enumerate(masks):
                    update(self.acc[i][j], lanes.load(f, f.offset(row, j * lanes.bytes), m))
        with f.when(flag(COLUMN_BIAS)):
            for j, m in enumerate(masks):
                bias = lanes.load(f, f.offset(arg["column_bias"], j * lanes.bytes), m)
                for row in self.acc:
                    update(row[j], bias)
        with f.when(flag(ROW_BIAS)):
            for i, row in enumerate(self.acc):
                bias = lanes.broadcast(f, f.offset(arg["row_bias"], i * lanes.element.bytes))
                for slot in row:
                    update(slot, bias)
        with f.when(flag(RELU)):
            for row in self.acc:
                for slot in row:
                    f.set(lanes.type, slot, lanes.relu(f, f.get(lanes.type, slot)))
        for i, row in enumerate(rows):
            for j, m in enumerate(masks):
                lanes.store(f, f.get(lanes.type, self.acc[i][j]), f.offset(row, j * lanes.bytes), m)


def transpose(f: Function, lanes: Lanes, rows: list[str]) -> list[str]:
    """The transpose of a square of lanes: first inside 128-bit pieces, then of the pieces as a matrix."""
    piece = 16 // lanes.element.bytes
    groups = [_transpose_pieces(f, lanes, rows[g : g + piece], piece) for g in range(0, lanes.count, piece)]
    columns = [_gather_pieces(f, lanes, [group[c] for group in groups], piece) for c in range(piece)]
    return [columns[c][p] for p in range(lanes.count // piece) for c in range(piece)]


def _transpose_pieces(f: Function, lanes: Lanes, rows: list[str], piece: int) -> list[str]:
    """`piece` rows: transpose each 128-bit piece by perfect shuffles (interleave low halves, interleave high halves)."""
    half = piece // 2

    def interleave(a: str, b: str, first: int) -> str:
        pairs = [(base + first + x, lanes.count + base + first + x) for base in range(0, lanes.count, piece) for x in range(half)]
        return lanes.shuffle(f, a, b, [lane for pair in pairs for lane in pair])

    for _ in range(piece.bit_length() - 1):
        rows = [interleave(rows[i], rows[i + half], first) for i in range(half) for first in (0, half)]
    return rows


def _gather_pieces(f: Function, lanes: Lanes, rows: list[str], piece: int) -> list[str]:
    """Result p is piece p of every row, in order: pairs of rows are split into even and odd pieces, again and again."""
    if len(rows) == 1:
        return rows

    def pick(parity: int) -> list[str]:
        chosen = [x for p in range(parity, 2 * lanes.count // piece, 2) for x in range(p * piece, (p + 1) * piece)]
        return [lanes.shuffle(f, rows[i], rows[i + 1], chosen) for i in range(0, len(rows), 2)]

    even, odd = _gather_pieces(f, lanes, pick(0), piece), _gather_pieces(f, lanes, pick(1), piece)
    return [row for pair in zip(even, odd, strict=True) for row in pair]


def pack_columns(lanes: Lanes) -> str:
    """`pack_columns(groups, source, rows, panel, vectors)`: a panel from a source whose *columns* are the panel's rows.

    Lane j of the panel is row j of the source: `rows` holds (byte offset, pointer to uint16 lane masks) for each lane;
    masks are indexed by group. Each of `groups` steps takes one vector of consecutive elements of every row.
    """
    f = Function("pack_columns", "i64 %groups, ptr %source, ptr %rows, ptr %panel, i64 %vectors")
    n, width = lanes.count, lanes.bytes
    panel_step = f.multiply("%vectors", width)
    group_step = f.multiply(panel_step, n)
    with f.repeat("%vectors") as j:
        table = f.offset("%rows", f.multiply(j, 16 * n))
        out = f.slot("ptr", f.offset("%panel", f.multiply(j, width)))
        with f.repeat("%groups") as g:
            source = f.offset("%source", f.multiply(g, width))
            mask_offset = f.multiply(g, 2)
            rows = []
            for i in range(n):
                masks = f.value(f"load ptr, ptr {f.offset(table, 16 * i + 8)}")
                bits = f.value(f"load i16, ptr {f.offset(masks, mask_offset)}")
                row = f.value(f"load i64, ptr {f.offset(table, 16 * i)}")
                rows.append(lanes.load(f, f.offset(source, row), lanes.mask(f, bits, "i16")))
            to = f.get("ptr", out)
            for i, x in enumerate(transpose(f, lanes, rows)):
                lanes.store(f, x, f.offset(to, f.multiply(panel_step, i)), align=width)
            f.set("ptr", out, f.offset(to, group_step))
    return f.text()


def kernel_name(vectors: int, height: int, make: bool) -> str:
    return f"mk_{vectors}_{height}_{'make' if make else 'use'}"


def kernel_names(machine: Machine) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["pack_columns"]
    for vectors in range(1, MAX_VECTORS + 1):
        heights = range(max_height(machine, vectors) + 1)
        names += [kernel_name(vectors, h, True) for h in heights]
        names += [kernel_name(vectors, h, False) for h in heights[1:]]
    return names


def layout(machine: Machine, element: Element) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    heights = [max_height(machine, v) for v in range(1, MAX_VECTORS + 1)]
    return [machine.vector_bytes // element.bytes, *heights, int(machine.masked), machine.l2_bytes]


def module(machine: Machine, element: Element) -> str:
    """LLVM IR of every kernel of one element type."""
    lanes = Lanes(machine, element)
    parts = [f'target triple = "{machine.triple}"\n', lanes.declarations(), pack_columns(lanes)]
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(max_height(machine, vectors) + 1):
            parts.append(MicroKernel(lanes, vectors, height, True).write())
            if height:
                parts.append(MicroKernel(lanes, vectors, height, False).write())
    width = f'"prefer-vector-width"="{8 * machine.vector_bytes}"'
    parts.append(f'attributes #0 = {{ nounwind {width} "target-cpu"="{machine.cpu}" "no-builtins" }}\n')
    return "".join(parts)
