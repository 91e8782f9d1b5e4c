"""Micro-kernels of contractions (GEMM and convolution).

A micro-kernel multiplies a tile of `height` rows of A by a panel of `vectors` SIMD vectors of B over the depth K; the
tile of C stays in registers. Depth, strides, lane masks, epilogue and addresses are run-time arguments (`FIELDS`, the
C++ struct `MicroArgs`), so nothing is compiled per shape. There are three modes:

* `use`:  B is K rows of `vectors` vectors, `panel_step` bytes apart: a packed panel, or part of a matrix.
* `make`: B is read where it lies, through a table of taps (offset, lane masks), and stored to the panel for the tiles
  that follow: one tap for a matrix; one a kernel position for a convolution, which hides im2col behind the arithmetic.
  Height 0 only packs.
* `taps`: B is a packed panel with a row for each channel and tap of a convolution, A its input where it lies: a table
  of taps says where, and which rows of the panel take part.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext

from .lanes import (
    ACCUMULATE,
    CACHE_LINE,
    COLUMN_BIAS,
    NEAR,
    RELU,
    ROW_BIAS,
    STREAM,
    Lanes,
    flagged,
    load_fields,
    repeat,
)
from .module import Function, Module
from .target import Target
from .turn import transpose

# The fields of MicroArgs (csrc/runtime/contract/kernels.h), eight bytes each; strides are in bytes.
FIELDS = (
    *("k", "a", "a_row", "a_col", "b", "c", "c_row", "mask", "flags", "column_bias", "row_bias"),
    *("panel", "panel_step", "taps", "taps_end", "channel_step", "prefetch", "pair_step", "tiles"),
)
_POINTERS = {"a", "b", "c", "column_bias", "row_bias", "panel", "taps", "taps_end"}
_MAKE_ONLY = {"panel", "panel_step", "taps", "taps_end", "channel_step", "prefetch", "pair_step"}
_USE_NEVER = _MAKE_ONLY - {"panel_step"}
_TAPS_NEAR = {"taps", "taps_end", "channel_step", "panel_step", "prefetch"}
_PACK_NEVER = {"a", "a_row", "a_col", "c", "c_row", "mask", "flags", "column_bias", "row_bias"}
_TAP_BYTES = 16  # int64 offset, four uint16 lane masks or (mode taps) an int64 offset in the panel

MAX_VECTORS = 3
MAX_HEIGHT = 14
TAPS_VECTORS = 2
DOT_ROWS = (1, 4)
# More bytes of stores at once stop a Zen 4, whose queue has 64 places of 32 bytes: nothing behind them starts before
# the tile's last multiply-adds are done. Half of the rows of such a tile do their last steps ahead of the others.
_BURST = 20 * 64
_LAST_STEPS = 4
# Steps in a turn of the loop where few registers leave tiles low. A step of six rows has eight instructions beside its
# twelve multiply-adds, and nine more that step on: those can be saved. A neighbour on the same core, whom a virtual
# machine does not see, takes every second place of an instruction, but leaves the multiply-adds theirs.
_TOGETHER = 8
# Of these, steps that addresses reach from one base: index * {1, 2}, and another index for three.
_REACH = 4


Strides = Mapping[int, int | str]


def max_height(target: Target, vectors: int, sums: int = 1) -> int:
    """Rows of a tile: accumulators (`sums` of each row and vector), the vectors of B and one broadcast of A fit the
    registers."""
    return min(MAX_HEIGHT, (target.registers - vectors - 1) // (sums * vectors))


def max_heights(target: Target, sums: int = 1) -> list[int]:
    """The same for panels of one vector, of two, and so on."""
    return [max_height(target, vectors, sums) for vectors in range(1, MAX_VECTORS + 1)]


def kernel_name(vectors: int, height: int, make: bool) -> str:
    return f"mk_{vectors}_{height}_{'make' if make else 'use'}"


def tile_names(tallest: list[int]) -> list[str]:
    """Kernels of tiles in the order in which C++ receives the addresses."""
    names = []
    for vectors, most in enumerate(tallest, 1):
        names += [kernel_name(vectors, h, True) for h in range(most + 1)]
        names += [kernel_name(vectors, h, False) for h in range(1, most + 1)]
    return names


def write_tiles(module: Module, dtype: str, tallest: list[int], kind: "type[MicroKernel]") -> None:
    """Writes them."""
    for vectors, most in enumerate(tallest, 1):
        for height in range(most + 1):
            kind(module, dtype, vectors, height, True).write()
            if height:
                kind(module, dtype, vectors, height, False).write()


def taps_kernel_name(height: int) -> str:
    return f"mk_{TAPS_VECTORS}_{height}_taps"


def taps_heights(target: Target) -> range:
    """Only where tiles are tall: the steps from tap to tap take longer than the multiply-adds of a low one."""
    tallest = max_height(target, TAPS_VECTORS)
    return range(1, tallest + 1 if tallest == MAX_HEIGHT else 1)


# Row i of a tile lies at A + i * a_row. Addresses base + index * {1, 2, 4, 8} reach every row from two bases (A and
# A + 5 rows) and three index registers (1, 3 and 5 rows): row -> (base, index, scale).
_ROW_ADDRESS = {
    0: (0, 0, 1), 1: (0, 1, 1), 2: (0, 1, 2), 3: (0, 3, 1), 4: (0, 1, 4), 5: (0, 5, 1), 6: (0, 3, 2),
    7: (1, 1, 2), 8: (0, 1, 8), 9: (1, 1, 4), 10: (0, 5, 2), 11: (1, 3, 2), 12: (0, 3, 4), 13: (1, 1, 8),
}  # fmt: skip


def _advance(f: Function, variable: str, pointer: str, step: int | str) -> None:
    """variable = pointer + step. `freeze` hides the recurrence from loop strength reduction, which would replace the
    addresses we chose by a chain of additions."""
    f.do(f"store ptr {f.value(f'freeze ptr {f.offset(pointer, step)}')}, ptr {variable}")


class MicroKernel:
    """Writes `mk_<vectors>_<height>_<use|make>(MicroArgs*)`."""

    def __init__(self, module: Module, dtype: str, vectors: int, height: int, make: bool, name: str = "") -> None:
        self.f = Function(module, name or kernel_name(vectors, height, make), [("ptr", "args")])
        self.lanes = self._lanes(dtype)
        self.vectors, self.height, self.make = vectors, height, make
        self.low = vectors == 2 and height >= 4 and module.target.registers < 32
        # Packing alone is not hidden behind arithmetic, but it reads what needs masks on every machine.
        self.masked = make and (module.target.masks or height == 0)

    def _lanes(self, dtype: str) -> Lanes:
        return Lanes(self.f, dtype)

    def write(self) -> None:
        self._load_arguments()
        with self._tiles():
            self.accumulators = self._sums()
            self.bases: list[str] = []
            if self.height:
                self._row_strides()
            self._tile()
        self.f.finish()

    def _sums(self) -> list[list[str]]:
        """Zeros for every row of the tile."""
        return [[self.lanes.variable() for _ in range(self.vectors)] for _ in range(self.height)]

    @contextmanager
    def _tiles(self) -> Iterator[None]:
        """In mode `use`, tiles below each other."""
        f, first = self.f, dict(self.arg)
        if "tiles" not in first:
            yield
            return
        with repeat(f, first["tiles"]) as tile:
            row = f.mul(tile, self.height)
            for name, step in (("a", first["a_row"]), ("c", first["c_row"]), ("row_bias", self.lanes.element_bytes)):
                self.arg[name] = f.offset(first[name], f.mul(row, step))
            yield

    def _tile(self) -> None:
        if self.make:
            self._make_tile()
        else:
            self._use_tile()

    def _load_arguments(self) -> None:
        self.arg = load_fields(self.f, FIELDS, _POINTERS, self._unused())

    def _unused(self) -> set[str]:
        return ({"tiles"} if self.make else _USE_NEVER) | (set() if self.height else _PACK_NEVER)

    def _output_rows(self, rows: range) -> list[str]:
        """Where these rows of the result lie."""
        first = self.arg["c"]
        if rows.start:
            first = self.f.offset(first, self.f.mul(self.arg["c_row"], rows.start))
        places = [first]
        for _ in rows[1:]:
            places.append(self.f.offset(places[-1], self.arg["c_row"]))
        return places

    def _fetch_output(self) -> None:
        f = self.f
        with flagged(f, self.arg["flags"], STREAM | NEAR, on=False):
            for row in self._output_rows(range(self.height)):
                self._fetch_lines(row, 1)

    def _fetch_lines(self, at: str, level: int) -> None:
        """Asks for a row of a tile."""
        for byte in range(0, self.vectors * self.lanes.bytes, CACHE_LINE):
            self.f.fetch(self.f.offset(at, byte), level)

    def _row_strides(self) -> None:
        f, one = self.f, self.arg["a_row"]
        self.strides: Strides = {1: one}
        if self.height > 3:
            self.strides[3] = f.mul(one, 3)
        if self.height > 5:
            self.strides[5] = f.mul(one, 5)
        self.bases = [f.variable("ptr", base) for base in self._row_bases(self.arg["a"])]

    def _row_bases(self, a: str) -> list[str]:
        return [a, self.f.offset(a, self.strides[5])] if self.height > 7 else [a]

    def _make_tile(self) -> None:
        f, rows = self.f, range(self.height)
        if self.height:
            self._fetch_output()
        at = [f.variable("ptr", self.arg[name]) for name in ("b", "panel", "taps")]
        regular = self._regular() if self.low else ""
        self._turns(self.arg["k"], rows, lambda: self._make_row(*at), lambda: self._make_rows(*at[:2]), regular)
        if self.height:
            self._epilogue(rows)

    def _use_tile(self) -> None:
        f, k, rows = self.f, self.arg["k"], range(self.height)
        b_at = f.variable("ptr", self.arg["b"])
        if self.vectors * self.height * self.lanes.bytes <= _BURST:
            self._steps(k, b_at, rows, self._output_fetcher())
            self._epilogue(rows)
            return
        last = f.smaller(k, _LAST_STEPS)
        most = f.value(f"sub i64 {k}, {last}")
        with f.when(f.value(f"icmp ne i64 {most}, 0")):
            self._steps(most, b_at, rows, self._output_fetcher())
        places = [b_at, *self.bases]
        begin = [f.value(f"load ptr, ptr {place}") for place in places]
        for part in (rows[: self.height // 2], rows[self.height // 2 :]):
            for place, pointer in zip(places, begin, strict=True):
                f.do(f"store ptr {pointer}, ptr {place}")
            self._steps(last, b_at, part)
            self._epilogue(part)

    def _steps(self, count: str, b_at: str, rows: range, beside: Callable[[], None] = lambda: None) -> None:
        """Steps of the depth for some rows, and what each turn of the loop does beside."""
        kept = self._panel_is_whole() if self.low else ""
        self._turns(count, rows, lambda: self._use_row(b_at), lambda: self._use_rows(b_at), kept, beside)

    def _turns(
        self,
        count: str,
        rows: range,
        next_row: Callable[[], list[str]],
        next_rows: Callable[[], Iterator[list[str]]],
        regular: str,
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        """Steps by the next row of B; of low tiles `_TOGETHER` a turn, by the next rows, if B is `regular` and columns
        or rows of A are neighbours."""
        f, arg, element, rest = self.f, self.arg, self.lanes.element_bytes, nullcontext()
        if self.low:
            turns = f.choose(regular, f.value(f"udiv i64 {count}, {_TOGETHER}"), "0")
            done = f.variable("i64", "0")
            for side, row, column in (("a_col", arg["a_row"], element), ("a_row", element, arg["a_col"])):
                here = f.value(f"icmp eq i64 {arg[side]}, {element}")
                left = f.value(f"sub i64 {turns}, {f.value(f'load i64, ptr {done}')}")
                now = f.choose(here, left, "0")
                with f.when(f.value(f"icmp ne i64 {now}, 0")):
                    with repeat(f, now):
                        for _ in range(_TOGETHER // _REACH):
                            self._near_steps(rows, next_rows(), row, column)
                        beside()
                    f.do(f"store i64 {now}, ptr {done}")
            count = f.value(f"sub i64 {count}, {f.mul(f.value(f'load i64, ptr {done}'), _TOGETHER)}")
            rest = f.when(f.value(f"icmp ne i64 {count}, 0"))
        with rest, repeat(f, count):
            bases = [f.value(f"load ptr, ptr {base}") for base in self.bases]
            self._multiply(bases, next_row(), rows)
            self._next_column(bases)
            beside()

    def _near_steps(self, rows: range, next_rows: Iterator[list[str]], row: int | str, column: int | str) -> None:
        """Steps by rows of B, rows and columns of A being so many bytes apart."""
        f, (base,) = self.f, self.bases
        at = f.value(f"load ptr, ptr {base}")
        strides = self.strides if isinstance(row, str) else {n: n * row for n in self.strides}
        for step, b in enumerate(next_rows):
            self._multiply([self._after(at, column, step)], b, rows, strides)
        _advance(f, base, at, f.mul(column, _REACH))

    def _output_fetcher(self) -> Callable[[], None]:
        """Every step asks for a row of the result until all are on their way: all at once stop the multiply-adds.
        A result that is not to be fetched is replaced by the panel."""
        f, arg = self.f, self.arg
        bits = f.value(f"and i64 {arg['flags']}, {STREAM | NEAR}")
        wanted = f.value(f"icmp eq i64 {bits}, 0")
        first = f.value(f"select i1 {wanted}, ptr {arg['c']}, ptr {arg['b']}")
        size = f.mul(arg["c_row"], self.height - 1)
        last = f.offset(first, f.value(f"select i1 {wanted}, i64 {size}, i64 0"))
        at = f.variable("ptr", first)

        def fetch() -> None:
            row = f.value(f"load ptr, ptr {at}")
            self._fetch_lines(row, 1)
            more = f.value(f"icmp ult ptr {row}, {last}")
            following = f.offset(row, arg["c_row"])
            f.do(f"store ptr {f.value(f'select i1 {more}, ptr {following}, ptr {row}')}, ptr {at}")

        return fetch

    def _next_column(self, bases: list[str]) -> None:
        for variable, base in zip(self.bases, bases, strict=True):
            _advance(self.f, variable, base, self.arg["a_col"])

    def _multiply(self, bases: list[str], b: list[str], rows: range, strides: Strides | None = None) -> None:
        """One step of the depth: a row of B times a column of these rows of A."""
        for i in rows:
            x = self.lanes.broadcast(self._row_address(bases, i, strides or self.strides))
            for sum_, vector in zip(self.accumulators[i], b, strict=True):
                self.lanes.set(sum_, self.lanes.fma(x, vector, self.lanes.get(sum_)))

    def _row_address(self, bases: list[str], row: int, strides: Strides) -> str:
        which, stride, scale = _ROW_ADDRESS[row]
        if stride == 0:
            return bases[which]
        return self.f.offset(bases[which], self.f.mul(strides[stride], scale))

    def _use_row(self, b_at: str) -> list[str]:
        b = self.f.value(f"load ptr, ptr {b_at}")
        row = self._panel_row(b)
        _advance(self.f, b_at, b, self.arg["panel_step"])
        return row

    def _use_rows(self, b_at: str) -> Iterator[list[str]]:
        b, width = self.f.value(f"load ptr, ptr {b_at}"), self.vectors * self.lanes.bytes
        for i in range(_REACH):
            yield self._panel_row(self.f.offset(b, i * width))
        _advance(self.f, b_at, b, _REACH * width)

    def _panel_is_whole(self) -> str:
        """Whether rows of the panel follow each other."""
        return self.f.value(f"icmp eq i64 {self.arg['panel_step']}, {self.vectors * self.lanes.bytes}")

    def _after(self, first: str, step: int | str, i: int) -> str:
        return self.f.offset(first, self.f.mul(step, i)) if i else first

    def _panel_row(self, b: str) -> list[str]:
        return [self.lanes.load(self.f.offset(b, j * self.lanes.bytes)) for j in range(self.vectors)]

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
        self._fetch_lines(f.offset(source, arg["prefetch"]), 2)
        self._next_tap(tap_at, tap, arg, {b_at: (b, "channel_step")})
        _advance(f, panel_at, panel, arg["panel_step"])
        return row

    def _regular(self) -> str:
        """Whether there is one tap, at 0, and the panel is kept."""
        f, arg = self.f, self.arg
        one = f.value(f"icmp eq ptr {f.offset(arg['taps'], _TAP_BYTES)}, {arg['taps_end']}")
        offset = f.value(f"load i64, ptr {arg['taps']}")
        here = f.value(f"icmp eq i64 {offset}, 0")
        return f.value(f"and i1 {f.value(f'and i1 {one}, {here}')}, {self._panel_is_whole()}")

    def _make_rows(self, b_at: str, panel_at: str) -> Iterator[list[str]]:
        """Rows of B where it is `_regular`."""
        f, lanes, arg = self.f, self.lanes, self.arg
        b, panel = f.value(f"load ptr, ptr {b_at}"), f.value(f"load ptr, ptr {panel_at}")
        ahead, width = f.offset(b, arg["prefetch"]), self.vectors * lanes.bytes
        for i in range(_REACH):
            row = self._panel_row(self._after(b, arg["channel_step"], i))
            yield row
            for j, x in enumerate(row):
                lanes.store(x, f.offset(panel, i * width + j * lanes.bytes), aligned=True)
            self._fetch_lines(self._after(ahead, arg["channel_step"], i), 2)
        _advance(f, b_at, b, f.mul(arg["channel_step"], _REACH))
        _advance(f, panel_at, panel, _REACH * width)

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

    def _epilogue(self, rows: range) -> None:
        f, lanes, arg = self.f, self.lanes, self.arg
        masks = [None] * (self.vectors - 1) + [lanes.mask(arg["mask"], "i64")]
        places, tile = self._output_rows(rows), self.accumulators[rows.start : rows.stop]

        def add_to(sum_: str, x: str) -> None:
            lanes.set(sum_, lanes.add(x, lanes.get(sum_)))

        with flagged(f, arg["flags"], ACCUMULATE):
            for place, sums in zip(places, tile, strict=True):
                for j, (sum_, mask) in enumerate(zip(sums, masks, strict=True)):
                    add_to(sum_, lanes.load(f.offset(place, j * lanes.bytes), mask))
        with flagged(f, arg["flags"], COLUMN_BIAS):
            for j, mask in enumerate(masks):
                bias = lanes.load(f.offset(arg["column_bias"], j * lanes.bytes), mask)
                for sums in tile:
                    add_to(sums[j], bias)
        with flagged(f, arg["flags"], ROW_BIAS):
            for i, sums in zip(rows, tile, strict=True):
                bias = lanes.broadcast(f.offset(arg["row_bias"], i * lanes.element_bytes))
                for sum_ in sums:
                    add_to(sum_, bias)
        with flagged(f, arg["flags"], RELU):
            for sums in tile:
                for sum_ in sums:
                    lanes.set(sum_, lanes.relu(lanes.get(sum_)))
        self._store(tile, places, masks)

    def _store(self, tile: list[list[str]], rows: list[str], masks: list) -> None:
        """Tiles may go past the caches where a vector is a line. Where masks have no registers, whole vectors do
        without, others are stored in pieces: AVX2's masked store takes 13 cycles of a Zen 4, and nothing else proceeds.
        """
        f, lanes = self.f, self.lanes
        places = [
            (sum_, f.offset(row, j * lanes.bytes), mask)
            for row, sums in zip(rows, tile, strict=True)
            for j, (sum_, mask) in enumerate(zip(sums, masks, strict=True))
        ]
        stream = lanes.bytes == CACHE_LINE
        if stream:
            bits = f.value(f"and i64 {self.arg['flags']}, {STREAM}")
            chosen = f.value(f"icmp ne i64 {bits}, 0")
        else:
            chosen = f.value(f"icmp eq i64 {self.arg['mask']}, {(1 << lanes.count) - 1}")
        whole, partly, end = f.label("whole"), f.label("partly"), f.label("end")
        f.do(f"br i1 {chosen}, label %{whole}, label %{partly}")
        f.begin(whole)
        for sum_, at, _ in places:
            lanes.store(lanes.get(sum_), at, stream=stream)
        f.do(f"br label %{end}")
        f.begin(partly)
        for sum_, at, mask in places:
            if mask is None or f.target.masks:
                lanes.store(lanes.get(sum_), at, mask)
        if not f.target.masks:
            count = f.call("llvm.ctpop.i64", "i64", f"i64 {self.arg['mask']}")
            lanes.store_first([(sum_, at) for sum_, at, mask in places if mask], count)
        f.do(f"br label %{end}")
        f.begin(end)


class TapsKernel(MicroKernel):
    """Writes `mk_<vectors>_<height>_taps(MicroArgs*)`: a tap's offset counts from A, which moves by `channel_step`
    behind the last tap, and its offset in the panel from B, which moves by `panel_step`.

    What the next channel takes of the panel is fetched ahead, and what lies `prefetch` bytes from the pixels."""

    def __init__(self, module: Module, dtype: str, height: int) -> None:
        super().__init__(module, dtype, TAPS_VECTORS, height, False, taps_kernel_name(height))

    def _unused(self) -> set[str]:
        return (_MAKE_ONLY | {"a_col", "tiles"}) - {"taps"}

    def _tile(self) -> None:
        f, arg, rows = self.f, self.arg, range(self.height)
        self._fetch_output()
        a_at, b_at, tap_at = (f.variable("ptr", arg[name]) for name in ("a", "b", "taps"))
        with repeat(f, arg["k"]):
            a, b, tap = (f.value(f"load ptr, ptr {at}") for at in (a_at, b_at, tap_at))
            pixel = f.offset(a, f.value(f"load i64, ptr {tap}"))
            panel = f.offset(b, f.value(f"load i64, ptr {f.offset(tap, 8)}"))
            self._multiply(self._row_bases(pixel), self._panel_row(panel), rows)
            # Behind the multiply-adds, as nothing that reads memory changes places with fetches. Addresses leave few
            # registers: what comes here is read from memory again.
            near = load_fields(f, FIELDS, _POINTERS, set(FIELDS) - _TAPS_NEAR)
            self._fetch_lines(f.offset(panel, near["panel_step"]), 1)
            self._fetch_lines(f.offset(pixel, near["prefetch"]), 2)
            self._next_tap(tap_at, tap, near, {a_at: (a, "channel_step"), b_at: (b, "panel_step")})
        self._epilogue(rows)


def write_columns(module: Module, dtype: str, name: str, masked: bool, kind: type[Lanes] = Lanes) -> None:
    """`pack_columns(groups, source, rows, out, vectors, step, mask)`: a matrix transposed on its way into a panel.

    Lane j of row k of the panel is element k of row j of the source: `rows` holds (byte offset, pointer to uint16 lane
    masks) for each lane, masks indexed by group; where the first pointer is null, all lanes are read. Each of `groups`
    steps takes one vector of every row. Rows of the panel are `step` bytes apart. `scatter_columns` writes only the
    lanes in `mask` of every vector.
    """
    arguments = [("i64", "groups"), ("ptr", "source"), ("ptr", "rows"), ("ptr", "out")]
    f = Function(module, name, [*arguments, ("i64", "vectors"), ("i64", "step"), ("i64", "mask")])
    lanes = kind(f, dtype)
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
