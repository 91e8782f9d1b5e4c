"""LLVM functions written as text, instruction by instruction: what the contraction kernels need and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

Value = str | int


class Function:
    """One function under construction. Mutable variables are stack slots; SROA turns them into registers."""

    def __init__(self, name: str, arguments: str) -> None:
        self.name, self.arguments = name, arguments
        self._count = 0
        self._slots: list[str] = []
        self._lines: list[str] = []

    def value(self, text: str) -> str:
        """Add an instruction that has a result; return its name."""
        self._count += 1
        self._lines.append(f"  %v{self._count} = {text}")
        return f"%v{self._count}"

    def do(self, text: str) -> None:
        """Add an instruction without a result."""
        self._lines.append("  " + text)

    def slot(self, kind: str, initial: Value) -> str:
        """A mutable variable."""
        self._count += 1
        name = f"%s{self._count}"
        self._slots.append(f"  {name} = alloca {kind}")
        self.do(f"store {kind} {initial}, ptr {name}")
        return name

    def get(self, kind: str, slot: str) -> str:
        return self.value(f"load {kind}, ptr {slot}")

    def set(self, kind: str, slot: str, value: Value) -> None:
        self.do(f"store {kind} {value}, ptr {slot}")

    def offset(self, pointer: str, byte_offset: Value) -> str:
        """`pointer` moved by bytes."""
        if byte_offset == 0:
            return pointer
        return self.value(f"getelementptr i8, ptr {pointer}, i64 {byte_offset}")

    def add(self, a: Value, b: Value) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return self.value(f"add i64 {a}, {b}")

    def multiply(self, a: Value, b: Value) -> Value:
        if isinstance(a, int) and isinstance(b, int):
            return a * b
        if b == 0:
            return 0
        if b == 1:
            return a
        if isinstance(b, int) and b & (b - 1) == 0:
            return self.value(f"shl i64 {a}, {b.bit_length() - 1}")
        return self.value(f"mul i64 {a}, {b}")

    def hidden(self, pointer: str) -> str:
        """The same pointer, opaque to loop strength reduction, which would replace our addresses by many pointers."""
        return self.value(f"freeze ptr {pointer}")

    def _label(self) -> str:
        self._count += 1
        return f"L{self._count}"

    @contextmanager
    def repeat(self, count: Value, step: int = 1) -> Iterator[str]:
        """A loop over 0, step, ... below `count`, which is at least 1 (the test stands at the bottom)."""
        index = self.slot("i64", 0)
        top, end = self._label(), self._label()
        self.do(f"br label %{top}")
        self._lines.append(f"{top}:")
        i = self.get("i64", index)
        yield i
        following = self.add(i, step)
        self.set("i64", index, following)
        again = self.value(f"icmp ult i64 {following}, {count}")
        self.do(f"br i1 {again}, label %{top}, label %{end}")
        self._lines.append(f"{end}:")

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        then, end = self._label(), self._label()
        self.do(f"br i1 {condition}, label %{then}, label %{end}")
        self._lines.append(f"{then}:")
        yield
        self.do(f"br label %{end}")
        self._lines.append(f"{end}:")

    def text(self) -> str:
        body = "\n".join(self._slots + self._lines)
        return f"define void @{self.name}({self.arguments}) #0 {{\nentry:\n{body}\n  ret void\n}}\n"
