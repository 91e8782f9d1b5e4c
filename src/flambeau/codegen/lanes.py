"""Vector instructions of one element type, and how functions that take a struct of arguments begin and loop."""

from collections.abc import Iterable, Iterator, Set
from contextlib import contextmanager

from .module import Function, llvm_type, suffix

ELEMENT_BYTES = {"f32": 4, "f64": 8}
CACHE_LINE = 64
# Flags that kernels take (csrc/runtime/contract/kernels.h).
ACCUMULATE, COLUMN_BIAS, ROW_BIAS, RELU, STREAM, NEAR = 1, 2, 4, 8, 32, 64


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


class Lanes:
    """Vector instructions of one element type, written to one function."""

    def __init__(self, f: Function, dtype: str) -> None:
        self.f = f
        self.element_bytes = self.align = ELEMENT_BYTES[dtype]
        self.bytes = f.target.vector_bytes
        self.count = self.bytes // self.element_bytes
        self.scalar = llvm_type(dtype)
        self.type = llvm_type(dtype, self.count)
        self.mask_type = f"<{self.count} x i1>"
        self.suffix = suffix(dtype, self.count)

    def load(self, pointer: str, mask: str | None = None, aligned: bool = False) -> str:
        align = self.bytes if aligned else self.align
        if mask is None:
            return self.f.value(f"load {self.type}, ptr {pointer}, align {align}")
        return self._masked_load(pointer, align, mask, "zeroinitializer")

    def load_into(self, vector: str, pointer: str, mask: str) -> str:
        """A vector whose lanes in the mask are read."""
        return self._masked_load(pointer, self.align, mask, vector)

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
        align = self.bytes if aligned or stream else self.align
        if mask is None:
            past = ", !nontemporal !99" if stream else ""
            self.f.do(f"store {self.type} {x}, ptr {pointer}, align {align}{past}")
            return
        name = self.f.module.declare(f"llvm.masked.store.{self.suffix}.p0", "void", self.type, "ptr", self.mask_type)
        self.f.do(f"call void {name}({self.type} {x}, ptr align {align} {pointer}, {self.mask_type} {mask})")

    def store_first(self, places: list[tuple[str, str]], count: str) -> None:
        """Stores the first lanes, less than all, of variables to addresses, by halves of what is left: where masks have
        no registers, a store with one takes many cycles."""
        f, piece = self.f, self.count // 2
        done = f.variable("i64", "0")
        while piece:
            rest = [(i + piece) % self.count for i in range(self.count)]
            with f.when(f.value(f"icmp ne i64 {f.value(f'and i64 {count}, {piece}')}, 0")):
                at = f.value(f"load i64, ptr {done}")
                for variable, pointer in places:
                    x = self.get(variable)
                    part, to = self.shuffle(x, "poison", list(range(piece))), f.offset(pointer, at)
                    f.do(f"store {self.first(piece)} {part}, ptr {to}, align {self.align}")
                    self.set(variable, self.shuffle(x, "poison", rest))
                f.do(f"store i64 {f.add(at, piece * self.element_bytes)}, ptr {done}")
            piece //= 2

    def first(self, count: int) -> str:
        """The type of so many lanes."""
        return f"<{count} x {self.scalar}>"

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
