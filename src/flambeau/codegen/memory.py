"""Loads and stores of vectors of elements, whatever their storage dtype and distance: what kernels touch memory with.

A *class* says how the elements of an operand follow each other along the inner dimension: `c` contiguous, `b` the same
one for all (stride 0), `s` strided; `n`: a contiguous output that is larger than the caches, its rows starting at
multiples of 64 bytes, so that vectors are written past them; `t`: an input whose elements follow each other from row to
row; `r`: one that is read backwards. Complex elements lie interleaved and are loaded as two vectors.
"""

from flambeau.ir import types as t

from .emit import Elements
from .module import Function, llvm_type, suffix
from .target import Target

CONTIGUOUS, BROADCAST, STRIDED, STREAMED, TURNED, REVERSED = "c", "b", "s", "n", "t", "r"


def byte_type(dtype: str) -> str:
    """The dtype whose LLVM type an element has in memory (bools are bytes)."""
    return "u8" if dtype == "b1" else dtype


def tail_mask(function: Function, lanes: int, rest: str) -> str:
    """Lanes 0 .. rest-1 of `lanes`; rest is a positive i64."""
    bits = max(lanes, 8)
    kind = f"i{bits}"
    full = function.value(f"icmp sge i64 {rest}, {lanes}")
    narrow = rest if bits == 64 else function.value(f"trunc i64 {rest} to {kind}")
    count = function.value(f"select i1 {full}, {kind} 0, {kind} {narrow}")
    ones = function.value(f"shl {kind} -1, {count}")
    mask = function.value(f"xor {kind} {ones}, -1")
    mask = function.value(f"select i1 {full}, {kind} -1, {kind} {mask}")
    if bits > lanes:
        mask = function.value(f"trunc {kind} {mask} to i{lanes}")
    return function.value(f"bitcast i{lanes} {mask} to <{lanes} x i1>")


def vectors_of_register(target: Target, lanes: int, dtype: str) -> int:
    """How many vectors of elements fill a register as they lie in memory; 0 where one takes more than that."""
    return target.vector_bytes // (lanes * t.SIZE[dtype])


class Memory:
    """Loads and stores of `elements.lanes` elements.

    Args:
        function: where instructions go.
        elements: converts between storage and compute values.
    """

    def __init__(self, function: Function, elements: Elements):
        self.function = function
        self.elements = elements
        self.lanes = elements.lanes

    def load(self, dtype: str, pointer: str, mask: str | None = None) -> tuple[str, ...]:
        """Compute values of contiguous elements (complex: real and imaginary); lanes outside the mask are 0."""
        if t.is_complex(dtype):
            return self._load_pairs(t.real_of(dtype), pointer)
        return (self.elements.widen(self.raw(byte_type(dtype), pointer, mask), dtype),)

    def raw(self, memory: str, pointer: str, mask: str | None = None) -> str:
        """Contiguous elements as they lie in memory; lanes outside the mask are 0."""
        if mask is None:
            return self.function.value(f"load {llvm_type(memory, self.lanes)}, ptr {pointer}, align {t.SIZE[memory]}")
        return self._masked_load(memory, pointer, mask)

    def _masked_load(self, memory: str, pointer: str, mask: str) -> str:
        kind = llvm_type(memory, self.lanes)
        name = f"llvm.masked.load.{suffix(memory, self.lanes)}.p0"
        address = f"ptr align {t.SIZE[memory]} {pointer}"
        return self.function.call(name, kind, address, f"<{self.lanes} x i1> {mask}", f"{kind} zeroinitializer")

    def _load_pairs(self, part: str, pointer: str) -> tuple[str, str]:
        f, lanes = self.function, self.lanes
        if lanes == 1:
            kind = llvm_type(part)
            second = f.offset(pointer, 1, kind)
            return tuple(f.value(f"load {kind}, ptr {p}, align {t.SIZE[part]}") for p in (pointer, second))
        kind = llvm_type(part, 2 * lanes)
        both = f.value(f"load {kind}, ptr {pointer}, align {t.SIZE[part]}")
        return tuple(f.shuffle(kind, both, "poison", range(first, 2 * lanes, 2)) for first in (0, 1))

    def load_strided(self, dtype: str, pointer: str, stride: str) -> tuple[str, ...]:
        """Compute values of elements `stride` bytes apart."""
        if t.is_complex(dtype):
            part = t.real_of(dtype)
            second = self.function.offset(pointer, t.SIZE[part])
            return tuple(self._collect(part, p, stride) for p in (pointer, second))
        return (self.elements.widen(self._collect(byte_type(dtype), pointer, stride), dtype),)

    def load_reversed(self, dtype: str, pointer: str, mask: str | None = None) -> tuple[str, ...]:
        """Compute values of elements that lie one before the other."""
        memory, last = byte_type(dtype), self.lanes - 1
        order = range(last, -1, -1)
        if mask is not None:
            mask = self.function.shuffle(f"<{self.lanes} x i1>", mask, "poison", order)
        raw = self.raw(memory, self.function.offset(pointer, -last * t.SIZE[dtype]), mask)
        turned = self.function.shuffle(llvm_type(memory, self.lanes), raw, "poison", order)
        return (self.elements.widen(turned, dtype),)

    def _collect(self, memory: str, pointer: str, stride: str) -> str:
        f, scalar = self.function, llvm_type(memory)
        if self.lanes == 1:
            return f.value(f"load {scalar}, ptr {pointer}, align {t.SIZE[memory]}")
        kind = llvm_type(memory, self.lanes)
        vector = "poison"
        for k in range(self.lanes):
            if k:
                pointer = f.offset(pointer, stride)
            one = f.value(f"load {scalar}, ptr {pointer}, align {t.SIZE[memory]}")
            vector = f.value(f"insertelement {kind} {vector}, {scalar} {one}, i32 {k}")
        return vector

    def store(
        self, dtype: str, values: tuple[str, ...], pointer: str, mask: str | None = None, stream: bool = False
    ) -> None:
        """Stores compute values as contiguous elements; lanes outside the mask are not touched.

        `stream` goes past the caches, to an address that is a multiple of the vector's size.
        """
        if t.is_complex(dtype):
            self._store_pairs(t.real_of(dtype), values, pointer, stream)
            return
        memory = byte_type(dtype)
        kind = llvm_type(memory, self.lanes)
        raw = self.elements.narrow(values[0], dtype)
        if mask is None:
            size = t.SIZE[dtype]
            how = f"align {size * self.lanes}, !nontemporal !99" if stream else f"align {size}"
            self.function.do(f"store {kind} {raw}, ptr {pointer}, {how}")
            return
        name = f"llvm.masked.store.{suffix(memory, self.lanes)}.p0"
        lanes = f"<{self.lanes} x i1>"
        self.function.module.declare(name, "void", kind, "ptr", lanes)
        self.function.do(f"call void @{name}({kind} {raw}, ptr align {t.SIZE[dtype]} {pointer}, {lanes} {mask})")

    def stream_joined(self, dtype: str, values: list[str], pointer: str) -> None:
        """Stores compute values of vectors that follow each other, a register together, past the caches."""
        f, lanes = self.function, self.lanes
        if dtype == "bf16":  # the upper halves of two vectors are one operation, and LLVM stores one through the caches
            lanes *= 2
            ints, kind = self.elements.type("i32"), llvm_type(dtype, lanes)
            words = [f.value(f"bitcast {ints} {self.elements.rounded(v)} to {kind}") for v in values]
            upper = range(1, 2 * lanes, 2)
            parts = [f.shuffle(kind, a, b, upper) for a, b in zip(words[::2], words[1::2], strict=True)]
        else:
            parts = [self.elements.narrow(v, dtype) for v in values]
        while len(parts) > 1:
            kind = llvm_type(byte_type(dtype), lanes)
            lanes *= 2
            parts = [f.shuffle(kind, a, b, range(lanes)) for a, b in zip(parts[::2], parts[1::2], strict=True)]
        how = f"align {lanes * t.SIZE[dtype]}, !nontemporal !99"
        f.do(f"store {llvm_type(byte_type(dtype), lanes)} {parts[0]}, ptr {pointer}, {how}")

    def _store_pairs(self, part: str, values: tuple[str, ...], pointer: str, stream: bool = False) -> None:
        f, lanes, kind = self.function, self.lanes, llvm_type(part, self.lanes)
        if lanes == 1:
            second = f.offset(pointer, 1, kind)
            for v, p in zip(values, (pointer, second), strict=True):
                f.do(f"store {kind} {v}, ptr {p}, align {t.SIZE[part]}")
            return
        order = [k // 2 + (lanes if k % 2 else 0) for k in range(2 * lanes)]
        if stream:
            for first in (0, lanes):
                half, place = (
                    f.shuffle(kind, *values, order[first : first + lanes]),
                    f.offset(pointer, first * t.SIZE[part]),
                )
                f.do(f"store {kind} {half}, ptr {place}, align {lanes * t.SIZE[part]}, !nontemporal !99")
            return
        both = f.shuffle(kind, *values, order)
        f.do(f"store {llvm_type(part, 2 * lanes)} {both}, ptr {pointer}, align {t.SIZE[part]}")

    def store_strided(self, dtype: str, values: tuple[str, ...], pointer: str, stride: str) -> None:
        """Stores compute values as elements `stride` bytes apart."""
        if t.is_complex(dtype):
            part = t.real_of(dtype)
            for v, p in zip(values, (pointer, self.function.offset(pointer, t.SIZE[part])), strict=True):
                self._scatter(part, v, p, stride)
            return
        self._scatter(byte_type(dtype), self.elements.narrow(values[0], dtype), pointer, stride)

    def _scatter(self, memory: str, value: str, pointer: str, stride: str) -> None:
        f, scalar = self.function, llvm_type(memory)
        for k in range(self.lanes):
            one = value
            if self.lanes > 1:
                one = f.value(f"extractelement {llvm_type(memory, self.lanes)} {value}, i32 {k}")
            if k:
                pointer = f.offset(pointer, stride)
            f.do(f"store {scalar} {one}, ptr {pointer}, align {t.SIZE[memory]}")


def load_param(function: Function, params: str, index: int, part: int, dtype: str) -> str:
    """A run-time parameter: slots of 16 bytes hold a double, an int64 or a complex double each."""
    held = "f64" if t.is_float(dtype) or t.is_complex(dtype) else "i64"
    pointer = function.offset(params, 16 * index + 8 * part)
    raw = function.value(f"load {llvm_type(held)}, ptr {pointer}, align 8")
    return Elements(function, 1, lambda e: "").cast(raw, held, dtype)
