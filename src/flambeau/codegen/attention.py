"""Kernels of attention over a block of scores, beside the micro-kernels of contractions that make the products.

A block lies with keys as rows and queries as lanes: row j holds the scores of key j with `vectors` vectors of queries.
Maximum and sum over the keys then need no step across lanes, and the block, once exponentiated, is a packed panel for
the next product. Sizes and addresses are run-time arguments (`FIELDS`, the C++ struct `ScoreArgs`).

* `softmax_<vectors>`: one step of the online softmax.
* `weigh_<vectors>`: the same and the product before it, tile by tile in registers, where the maximum so far will do.
* `hide_<vectors>`: weights are 0 where a query does not see a key; the others are added to the total.
* `finish_<vectors>`: what the sums come to: the logarithm of the sum, and the factors that normalize.
* `gradient_<vectors>`: weights and gradient of the scores, from the scores and the logarithm of their sum.
* `scale_<vectors>`, `products_<vectors>`: rows times a vector; sums over rows of products.
* `scale_rows`: rows of any length, each times a number of its own.
* `mask_<kind>`: adds a mask, transposed on the way.
* `read_<dtype>`, `write_<dtype>`: rows of 16-bit elements from and to float32.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

from flambeau.ir import fn, math_f32, math_f64, types
from flambeau.ir.expr import Expr, const, input_
from flambeau.ir.math_common import LOG2E
from flambeau.ir.program import lower

from . import target as targets
from .arena import none_if_refused
from .emit import Elements
from .lanes import CACHE_LINE, Lanes, load_fields, repeat
from .memory import Memory
from .micro import MAX_VECTORS, MicroKernel, max_height
from .module import Function, Module, literal
from .resolve import addresses_of
from .target import Target
from .turn import transpose

# The fields of ScoreArgs (csrc/runtime/contract/attention_kernels.h), eight bytes each.
FIELDS = (
    *("scores", "other", "rows", "free", "first", "limits", "maximum", "total", "factors", "lse", "delta", "scale"),
    *("keys", "key_row", "depth", "step", "ahead", "ahead_step", "ahead_last"),
)
# How far the largest exponent may stand above the "maximum" that is subtracted from all.
SLACK = 6.0
_NUMBERS = {"rows", "free", "first", "key_row", "depth", "step", "ahead_step"}
_AHEAD = {"ahead", "ahead_step", "ahead_last"}
_WEIGH = {"scores", "other", "rows", "maximum", "total", "keys", "key_row", "depth", "step"} | _AHEAD
# Lines of memory that a step of `weigh` asks for.
_LINES_AHEAD = 2
KERNELS = ("softmax", "finish", "gradient", "scale", "products", "hide")
# Rows of a result whose lines are asked for ahead of those that are written.
_ROWS_AHEAD = 4
MASKS = ("same", "bool")
NARROW = ("f16", "bf16")


@cache
def _lowered(function: Callable[[Expr], Expr], dtype: str) -> Expr:
    return lower([function(input_(0, dtype))])[0]


def _quick_exp2(target: Target, dtype: str) -> Callable[[Expr], Expr]:
    """2^x, x being finite; what is far below 0 may be a little more than 0."""
    if dtype == "f64":
        return math_f64.exp2
    return math_f32.exp2_scaled if target.scalef else math_f32.exp2_small


class _Kernel:
    """Writes `<name>_<vectors>(ScoreArgs*)`."""

    def __init__(self, module: Module, dtype: str, name: str, vectors: int) -> None:
        self.f = Function(module, f"{name}_{vectors}", [("ptr", "args")])
        self.dtype, self.vectors, self.name = dtype, vectors, name
        self.lanes = Lanes(self.f, dtype)
        self.places = range(0, vectors * self.lanes.bytes, self.lanes.bytes)
        self.integer = f"i{8 * self.lanes.element_bytes}"
        self.integers = f"<{self.lanes.count} x {self.integer}>"
        self.lowest = self.constant(-math.inf)

    def write(self) -> None:
        getattr(self, f"_write_{self.name}")()
        self.f.finish()

    # ---- values

    def constant(self, x: float) -> str:
        return f"splat ({self.lanes.scalar} {literal(x, self.dtype)})"

    def apply(self, function: Callable[[Expr], Expr], x: str) -> str:
        """A function of the expression language, for every lane."""
        return Elements(self.f, self.lanes.count, lambda _: x).emit(_lowered(function, self.dtype))[0]

    def binary(self, op: str, a: str, b: str) -> str:
        return self.f.value(f"{op} {self.lanes.type} {a}, {b}")

    def select(self, condition: str, a: str, b: str) -> str:
        kind = self.lanes.type
        return self.f.value(f"select {self.lanes.mask_type} {condition}, {kind} {a}, {kind} {b}")

    def larger(self, a: str, b: str) -> str:
        """b where it is larger; a nan of b is left out: it shows up in the exponentials."""
        return self.select(self.f.value(f"fcmp ogt {self.lanes.type} {b}, {a}"), b, a)

    def raised(self, old: str, new: str) -> str:
        """`new` where it is larger by more than SLACK: what the sums were scaled by serves on where it is not."""
        limit = self.lanes.add(old, self.constant(SLACK))
        return self.select(self.f.value(f"fcmp ogt {self.lanes.type} {new}, {limit}"), new, old)

    def finite(self, x: str) -> str:
        """0 in place of minus infinity, so that the difference of two of them is not nan."""
        lowest = self.f.value(f"fcmp oeq {self.lanes.type} {x}, {self.lowest}")
        return self.select(lowest, self.constant(0.0), x)

    # ---- memory

    def argument(self, name: str) -> str:
        kind = "i64" if name in _NUMBERS else "ptr"
        return self.f.value(f"load {kind}, ptr {self.f.offset('%args', 8 * FIELDS.index(name))}")

    def load(self, pointer: str) -> list[str]:
        return [self.lanes.load(self.f.offset(pointer, at), aligned=True) for at in self.places]

    def store(self, values: list[str], pointer: str) -> None:
        for x, at in zip(values, self.places, strict=True):
            self.lanes.store(x, self.f.offset(pointer, at), aligned=True)

    def variables(self, values: list[str]) -> list[str]:
        return [self.lanes.variable(x) for x in values]

    def get(self, variables: list[str]) -> list[str]:
        return [self.lanes.get(v) for v in variables]

    def row(self, matrix: str, i: str) -> str:
        return self.f.offset(matrix, self.f.mul(i, self.vectors * self.lanes.bytes))

    def hidden(self, i: str, limits: list[str]) -> list[str]:
        """Which lanes do not see key `first` + i."""
        f = self.f
        key = f.add(self.argument("first"), i)
        if self.integer != "i64":
            key = f.value(f"trunc i64 {key} to {self.integer}")
        one = f.value(f"insertelement {self.integers} poison, {self.integer} {key}, i32 0")
        keys = f.value(f"shufflevector {self.integers} {one}, {self.integers} poison, "
                       f"<{self.lanes.count} x i32> zeroinitializer")  # fmt: skip
        return [f.value(f"icmp sge {self.integers} {keys}, {limit}") for limit in limits]

    def limits(self) -> list[str]:
        pointer = self.argument("limits")
        return [
            self.f.value(f"load {self.integers}, ptr {self.f.offset(pointer, at)}, align {self.lanes.bytes}")
            for at in self.places
        ]

    @contextmanager
    def rows(self) -> Iterator[str]:
        with self.f.loop(0, self.argument("rows")) as i:
            yield i

    def seen_rows(self) -> Iterator[tuple[str, str, list[str]]]:
        """Rows of scores, their number and address: first those that all lanes see, then those that some may not,
        minus infinity standing there."""
        f = self.f
        matrix, free = self.argument("scores"), self.argument("free")
        with f.loop(0, free) as i:
            at = self.row(matrix, i)
            yield i, at, self.load(at)
        limits = self.limits()
        with f.loop(free, self.argument("rows")) as i:
            at = self.row(matrix, i)
            hidden = self.hidden(i, limits)
            yield i, at, [self.select(h, self.lowest, x) for h, x in zip(hidden, self.load(at), strict=True)]

    # ---- kernels

    def _write_softmax(self) -> None:
        """scores = exp(scores - new maximum); maximum and total go on, factors = exp(old maximum - new maximum).

        The new maximum is the old one until a score is SLACK above it: sums are seldom scaled after the first step.
        """
        old = self.load(self.argument("maximum"))
        maximum = self.variables(old)
        for _, at, scores in self.seen_rows():
            self.store(scores, at)
            for m, x in zip(maximum, scores, strict=True):
                self.lanes.set(m, self.larger(self.lanes.get(m), x))
        new = [self.raised(a, b) for a, b in zip(old, self.get(maximum), strict=True)]
        base = [self.finite(m) for m in new]
        self.store(new, self.argument("maximum"))
        factors = [self.apply(fn.exp, self.binary("fsub", a, b)) for a, b in zip(old, base, strict=True)]
        self.store(factors, self.argument("factors"))
        before = self.load(self.argument("total"))
        totals = self.variables([self.binary("fmul", t, x) for t, x in zip(before, factors, strict=True)])
        matrix = self.argument("scores")
        with self.rows() as i:
            at = self.row(matrix, i)
            weights = [self.apply(fn.exp, self.binary("fsub", x, b)) for x, b in zip(self.load(at), base, strict=True)]
            self.store(weights, at)
            for t, w in zip(totals, weights, strict=True):
                self.lanes.set(t, self.lanes.add(self.lanes.get(t), w))
        self.store(self.get(totals), self.argument("total"))

    def _write_finish(self) -> None:
        """lse = maximum + log(total), factors = 1 / total. Where nothing was seen: infinity and 0, so that weights
        computed from either are 0."""
        lse, factors = [], []
        for m, t in zip(self.load(self.argument("maximum")), self.load(self.argument("total")), strict=True):
            empty = self.f.value(f"fcmp oeq {self.lanes.type} {t}, zeroinitializer")
            logarithm = self.lanes.add(self.finite(m), self.apply(fn.log, t))
            lse.append(self.select(empty, self.constant(math.inf), logarithm))
            factors.append(self.select(empty, self.constant(0.0), self.binary("fdiv", self.constant(1.0), t)))
        self.store(lse, self.argument("lse"))
        self.store(factors, self.argument("factors"))

    def _write_gradient(self) -> None:
        """scores = exp(scores - lse), the weights; other = scores * (other - delta) * scale, from their gradient."""
        lse, delta = self.load(self.argument("lse")), self.load(self.argument("delta"))
        scale = self.lanes.broadcast(self.argument("scale"))
        gradients = self.argument("other")
        for i, at, scores in self.seen_rows():
            weights = [self.apply(fn.exp, self.binary("fsub", x, base)) for x, base in zip(scores, lse, strict=True)]
            self.store(weights, at)
            other = self.row(gradients, i)
            result = []
            for w, g, d in zip(weights, self.load(other), delta, strict=True):
                result.append(self.binary("fmul", self.binary("fmul", w, scale), self.binary("fsub", g, d)))
            self.store(result, other)

    def _write_scale(self) -> None:
        """scores = scores * factors."""
        factors, matrix = self.load(self.argument("factors")), self.argument("scores")
        with self.rows() as i:
            at = self.row(matrix, i)
            self.store([self.binary("fmul", x, y) for x, y in zip(self.load(at), factors, strict=True)], at)

    def _write_hide(self) -> None:
        """scores = 0 where a query does not see a key, which is a row of its own from `first` on; total += scores."""
        matrix, limits = self.argument("scores"), self.limits()
        totals = self.variables(self.load(self.argument("total")))
        with self.rows() as i:
            at = self.row(matrix, i)
            seen = [
                self.select(hidden, self.constant(0.0), x)
                for hidden, x in zip(self.hidden(i, limits), self.load(at), strict=True)
            ]
            self.store(seen, at)
            for total, x in zip(totals, seen, strict=True):
                self.lanes.set(total, self.lanes.add(self.lanes.get(total), x))
        self.store(self.get(totals), self.argument("total"))

    def _write_products(self) -> None:
        """delta = the sum over rows of scores * other."""
        left, right = self.argument("scores"), self.argument("other")
        sums = self.variables(["zeroinitializer"] * self.vectors)
        with self.rows() as i:
            for s, a, b in zip(sums, self.load(self.row(left, i)), self.load(self.row(right, i)), strict=True):
                self.lanes.set(s, self.lanes.fma(a, b, self.lanes.get(s)))
        self.store(self.get(sums), self.argument("delta"))


class _Weigh(MicroKernel):
    """Writes `weigh_<vectors>(ScoreArgs*)`: `rows` whole tiles of keys times the panel `other`, which is in units of
    ln2 here, since additions then do what would multiply. Less the maximum, their powers of two are the scores, and are
    added to the total. What is no finite number, or far above the maximum, shows up there. Rows of scores and of the
    panel are `step` bytes apart: a tile may take the last vectors of wider ones."""

    def __init__(self, module: Module, dtype: str, vectors: int) -> None:
        super().__init__(module, dtype, vectors, max_height(module.target, vectors), False, f"weigh_{vectors}")
        self.dtype = dtype

    def write(self) -> None:
        f, lanes = self.f, self.lanes
        fields = load_fields(f, FIELDS, set(FIELDS) - _NUMBERS, set(FIELDS) - _WEIGH)
        places = range(0, self.vectors * lanes.bytes, lanes.bytes)
        ask = self._asker(fields)
        with repeat(f, fields["rows"]) as tile:
            first = f.mul(tile, self.height)
            self.arg = {
                "a": f.offset(fields["keys"], f.mul(first, fields["key_row"])),
                "a_row": fields["key_row"],
                "a_col": str(lanes.element_bytes),
                "c": f.offset(fields["scores"], f.mul(first, fields["step"])),
                "c_row": fields["step"],
                "panel_step": fields["step"],
            }
            base = [self._minus_in_twos(self._aligned(fields["maximum"], at)) for at in places]
            self.accumulators = [[lanes.variable(x) for x in base] for _ in range(self.height)]
            self.totals = [lanes.variable(self._aligned(fields["total"], at)) for at in places]
            self._row_strides()
            self._steps(fields["depth"], f.variable("ptr", fields["other"]), range(self.height), ask)
            self._epilogue(range(self.height))
            for total, at in zip(self.totals, places, strict=True):
                lanes.store(lanes.get(total), f.offset(fields["total"], at), aligned=True)
        f.finish()

    def _asker(self, fields: dict[str, str]) -> Callable[[], None]:
        """Every step asks memory for a piece of a row, from `ahead` to `ahead_last`: the multiply-adds hide it, but not
        where few registers leave tiles low."""
        f, at = self.f, self.f.variable("ptr", fields["ahead"])

        def ask() -> None:
            piece = f.value(f"load ptr, ptr {at}")
            for line in range(_LINES_AHEAD):
                f.fetch(f.offset(piece, line * CACHE_LINE), 2)
            more = f.value(f"icmp ult ptr {piece}, {fields['ahead_last']}")
            following = f.offset(piece, fields["ahead_step"])
            f.do(f"store ptr {f.value(f'select i1 {more}, ptr {following}, ptr {piece}')}, ptr {at}")

        return ask if f.target.registers >= 32 else lambda: None

    def _minus_in_twos(self, x: str) -> str:
        factor = literal(const(-LOG2E, self.dtype).attr, self.dtype)
        return self.f.value(f"fmul {self.lanes.type} {x}, splat ({self.lanes.scalar} {factor})")

    def _epilogue(self, rows: range) -> None:
        f, lanes = self.f, self.lanes
        power = _lowered(_quick_exp2(f.target, self.dtype), self.dtype)
        for i, row in zip(rows, self._output_rows(rows), strict=True):
            for j, (sum_, total) in enumerate(zip(self.accumulators[i], self.totals, strict=True)):
                x = lanes.get(sum_)
                weight = Elements(f, lanes.count, lambda _, x=x: x).emit(power)[0]
                lanes.store(weight, f.offset(row, j * lanes.bytes), aligned=True)
                lanes.set(total, lanes.add(lanes.get(total), weight))

    def _aligned(self, pointer: str, at: int) -> str:
        return self.lanes.load(self.f.offset(pointer, at), aligned=True)


def _write_scale_rows(module: Module, dtype: str) -> None:
    """`scale_rows(ScoreArgs*)`: row i of `other` is row i of scores, `depth` whole vectors, times number i of factors.
    Rows of scores are `step` bytes apart, those of `other` `key_row`."""
    f = Function(module, "scale_rows", [("ptr", "args")])
    lanes = Lanes(f, dtype)
    used = {"scores", "other", "rows", "factors", "key_row", "depth", "step"}
    fields = load_fields(f, FIELDS, set(FIELDS) - _NUMBERS, set(FIELDS) - used)
    ahead = f.mul(fields["key_row"], _ROWS_AHEAD)
    with repeat(f, fields["rows"]) as i:
        source = f.offset(fields["scores"], f.mul(i, fields["step"]))
        to = f.offset(fields["other"], f.mul(i, fields["key_row"]))
        factor = lanes.broadcast(f.offset(fields["factors"], f.mul(i, lanes.element_bytes)))
        with repeat(f, fields["depth"]) as vector:
            at = f.mul(vector, lanes.bytes)
            x = f.value(f"fmul {lanes.type} {lanes.load(f.offset(source, at), aligned=True)}, {factor}")
            lanes.store(x, f.offset(to, at))
            f.fetch(f.offset(to, f.add(at, ahead)), 1)
    f.finish()


def _write_mask(module: Module, dtype: str, kind: str) -> None:
    """`mask_<kind>(groups, source, rows, scores, vectors, step)`: a mask, transposed, is added to a block of scores.

    Operands are those of `pack_columns`: element k of row j of the mask belongs to lane j of row k of the block, whose
    rows are `step` bytes apart. In a mask of bools False stands for minus infinity and True for 0.
    """
    arguments = [("i64", "groups"), ("ptr", "source"), ("ptr", "rows"), ("ptr", "scores")]
    f = Function(module, f"mask_{kind}", [*arguments, ("i64", "vectors"), ("i64", "step")])
    lanes = Lanes(f, dtype)
    n = lanes.count
    size = 1 if kind == "bool" else lanes.element_bytes
    bytes_, lowest = f"<{n} x i8>", f"splat ({lanes.scalar} {literal(-math.inf, dtype)})"

    def load(pointer: str, mask: str) -> str:
        if kind != "bool":
            return lanes.load(pointer, mask)
        name = f"llvm.masked.load.v{n}i8.p0"
        raw = f.call(name, bytes_, f"ptr align 1 {pointer}", f"{lanes.mask_type} {mask}", f"{bytes_} zeroinitializer")
        seen = f.value(f"icmp ne {bytes_} {raw}, zeroinitializer")
        return f.value(f"select {lanes.mask_type} {seen}, {lanes.type} zeroinitializer, {lanes.type} {lowest}")

    with repeat(f, "%vectors") as j:
        table = f.offset("%rows", f.mul(j, 16 * n))
        block = f.offset("%scores", f.mul(j, lanes.bytes))
        with repeat(f, "%groups") as g:
            source = f.offset("%source", f.mul(g, n * size))
            columns = []
            for i in range(n):
                masks = f.value(f"load ptr, ptr {f.offset(table, 16 * i + 8)}")
                read = lanes.mask(f.value(f"load i16, ptr {f.offset(masks, f.mul(g, 2))}"), "i16")
                columns.append(load(f.offset(source, f.value(f"load i64, ptr {f.offset(table, 16 * i)}")), read))
            first = f.mul(g, n)
            for i, x in enumerate(transpose(columns, lanes.element_bytes, lanes.shuffle)):
                at = f.offset(block, f.mul(f.add(first, i), "%step"))
                lanes.store(lanes.add(lanes.load(at, aligned=True), x), at, aligned=True)
    f.finish()


def _write_conversion(module: Module, name: str, source: str, target: str) -> None:
    """`<name>(n, from, to)`: n contiguous elements in another dtype; vectors, then the rest one by one."""
    f = Function(module, name, [("i64", "n"), ("ptr", "from"), ("ptr", "to")])
    lanes = module.target.vector_bytes // types.SIZE["f32"]
    done: int | str = 0
    for count, end in ((lanes, f.value(f"and i64 %n, {-lanes}")), (1, "%n")):
        memory = Memory(f, Elements(f, count, lambda e: ""))
        with f.loop(done, end, count) as i:
            x = memory.load(source, f.offset("%from", f.mul(i, types.SIZE[source])))
            memory.store(target, x, f.offset("%to", f.mul(i, types.SIZE[target])))
        done = end
    f.finish()


def kernel_names(dtype: str) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    narrow = [f"{way}_{kind}" for kind in NARROW for way in ("read", "write")] if dtype == "f32" else []
    return [
        *(f"{name}_{vectors}" for name in (*KERNELS, "weigh") for vectors in range(1, MAX_VECTORS + 1)),
        "scale_rows",
        *(f"mask_{kind}" for kind in MASKS),
        *narrow,
    ]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    for name in KERNELS:
        for vectors in range(1, MAX_VECTORS + 1):
            _Kernel(result, dtype, name, vectors).write()
    for vectors in range(1, MAX_VECTORS + 1):
        _Weigh(result, dtype, vectors).write()
    _write_scale_rows(result, dtype)
    for kind in MASKS:
        _write_mask(result, dtype, kind)
    if dtype == "f32":
        for kind in NARROW:
            _write_conversion(result, f"read_{kind}", kind, dtype)
            _write_conversion(result, f"write_{kind}", dtype, kind)
    return result


@none_if_refused
def provide(dtype: str) -> list[int]:
    """Addresses for C++'s `install_attention_kernels`; None where the system refuses executable memory."""
    return addresses_of("attention|block", dtype, targets.host(), kernel_names(dtype), module)
