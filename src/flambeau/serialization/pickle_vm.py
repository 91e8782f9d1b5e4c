"""An interpreter of pickle programs that can only build what its caller hands it.

`pickle.loads` imports and calls whatever a file names. This interpreter knows a closed list of opcodes; every global
goes through `find_global`, every call through `construct`, and neither ever imports anything. It does not recurse, and
no length that a file states is believed before it was compared with the bytes that are there.
"""

import struct
from collections.abc import Callable
from pickle import UnpicklingError
from typing import Any

# A key's hash walks nested tuples, shared ones again and again; beyond this many steps a key is refused.
MAX_KEY_NODES = 1000
MARK = object()


class Machine:
    """Runs one pickle program that starts at `position` of `data`; `position` is behind its end afterwards.

    Args:
        data: bytes, a bytearray, a memoryview of bytes or an mmap.
        find_global: (module, name) -> an object that `construct` and `build` understand.
        construct: (object found, arguments) -> value.
        build: (value, state): puts a state into a value.
        persistent: (persistent id) -> value.
    """

    def __init__(
        self,
        data: Any,
        find_global: Callable[[str, str], Any],
        construct: Callable[[Any, tuple], Any],
        build: Callable[[Any, Any], Any],
        persistent: Callable[[Any], Any],
        position: int = 0,
    ) -> None:
        self.data, self.position = data, position
        self.find_global, self.construct, self.build_value, self.persistent = find_global, construct, build, persistent
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Executes up to STOP and returns the value built."""
        start = self.position
        try:
            return self.steps()
        except (UnpicklingError, EOFError):
            raise
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, struct.error) as error:
            raise UnpicklingError(f"invalid pickle program at byte {self.position - start}: {error}") from error

    def steps(self) -> Any:
        while True:
            code = self.take(1)[0]
            step = STEPS.get(code)
            if step is None:
                if code == ord("."):
                    return self.pop()
                raise UnpicklingError(f"Unsupported operand {code}")
            step(self)

    def take(self, count: int) -> bytes:
        end = self.position + count
        if count < 0 or end > len(self.data):
            raise EOFError("Ran out of input")
        piece = bytes(self.data[self.position : end])
        self.position = end
        return piece

    def line(self) -> str:
        end = self.position
        while end < len(self.data) and self.data[end] != 10:
            end += 1
        text = self.take(end - self.position).decode("utf-8")
        self.take(1)
        return text

    def number(self, layout: str) -> Any:
        return struct.unpack(layout, self.take(struct.calcsize(layout)))[0]

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise UnpicklingError("unexpected MARK found")
        return value

    def pop_to_mark(self) -> list[Any]:
        stack = self.stack
        place = len(stack) - 1
        while place >= 0 and stack[place] is not MARK:
            place -= 1
        if place < 0:
            raise UnpicklingError("could not find MARK")
        items = stack[place + 1 :]
        del stack[place:]
        return items

    def top(self, kind: type | tuple[type, ...]) -> Any:
        value = self.stack[-1]
        if not isinstance(value, kind):
            raise UnpicklingError(f"Can only fill lists, dicts and sets, but got {type(value)}")
        return value

    def append(self) -> None:
        item = self.pop()
        self.top(list).append(item)

    def appends(self) -> None:
        items = self.pop_to_mark()
        self.top(list).extend(items)

    def set_item(self) -> None:
        value, key = self.pop(), self.pop()
        check_key(key)
        self.top(dict)[key] = value

    def set_items(self) -> None:
        items = self.pop_to_mark()
        self.top(dict).update(self.pairs(items))

    def add_items(self) -> None:
        items = self.pop_to_mark()
        self.top(set).update(checked_keys(items))

    @staticmethod
    def pairs(items: list[Any]) -> dict:
        if len(items) % 2:
            raise UnpicklingError("a dict needs as many values as keys")
        return dict(zip(checked_keys(items[::2]), items[1::2], strict=True))

    def last(self, count: int) -> None:
        items = tuple(self.pop() for _ in range(count))
        self.push(items[::-1])

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise UnpicklingError(f"Memo value not found at index {index}")
        self.push(self.memo[index])

    def put(self, index: int) -> None:
        value = self.stack[-1]
        if value is MARK:
            raise UnpicklingError("unexpected MARK found")
        self.memo[index] = value

    def reduce(self) -> None:
        arguments, target = self.pop(), self.pop()
        if type(arguments) is not tuple:
            raise UnpicklingError(f"arguments of a constructor must be a tuple, not {type(arguments)}")
        self.push(self.construct(target, arguments))

    def build(self) -> None:
        state = self.pop()
        self.push(self.build_value(self.pop(), state))

    def stack_global(self) -> None:
        name, module = self.pop(), self.pop()
        if type(name) is not str or type(module) is not str:
            raise UnpicklingError("STACK_GLOBAL requires str")
        self.push(self.find_global(module, name))

    def protocol(self) -> None:
        if (version := self.take(1)[0]) > 5:
            raise UnpicklingError(f"unsupported pickle protocol: {version}")


def check_key(key: Any) -> None:
    """Refuses keys whose hash would take for ever or overflow the stack (deep or shared tuples)."""
    if not isinstance(key, tuple | frozenset):
        return
    waiting, seen = [key], 0
    while waiting:
        value = waiting.pop()
        seen += 1
        if seen > MAX_KEY_NODES:
            raise UnpicklingError(f"a key of more than {MAX_KEY_NODES} parts is not supported")
        if isinstance(value, tuple | frozenset):
            waiting.extend(value)


def checked_keys(keys: list[Any]) -> list[Any]:
    for key in keys:
        check_key(key)
    return keys


def text(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)).decode("utf-8", "surrogatepass"))


def raw(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(m.take(m.number(layout)))


def old_string(layout: str) -> Callable[[Machine], None]:
    """A `str` of Python 2."""
    return lambda m: m.push(m.take(m.number(layout)).decode("utf-8"))


def integer(layout: str) -> Callable[[Machine], None]:
    return lambda m: m.push(int.from_bytes(m.take(m.number(layout)), "little", signed=True))


STEPS: dict[int, Callable[[Machine], Any]] = {
    ord(code): step
    for code, step in {
        "\x80": Machine.protocol,
        "\x95": lambda m: m.take(8),  # FRAME: only a hint for reading ahead
        "c": lambda m: m.push(m.find_global(m.line(), m.line())),
        "\x93": Machine.stack_global,
        "Q": lambda m: m.push(m.persistent(m.pop())),
        "R": Machine.reduce,
        "\x81": Machine.reduce,  # NEWOBJ: cls.__new__(cls, *arguments); what is allowed is decided by `construct`
        "b": Machine.build,
        "(": lambda m: m.push(MARK),
        "0": lambda m: m.stack.pop(),
        "1": Machine.pop_to_mark,
        "2": lambda m: m.push(m.stack[-1]),
        "N": lambda m: m.push(None),
        "\x88": lambda m: m.push(True),
        "\x89": lambda m: m.push(False),
        "J": lambda m: m.push(m.number("<i")),
        "K": lambda m: m.push(m.number("<B")),
        "M": lambda m: m.push(m.number("<H")),
        "\x8a": integer("<B"),
        "\x8b": integer("<i"),
        "G": lambda m: m.push(m.number(">d")),
        "X": text("<I"),
        "\x8c": text("<B"),
        "\x8d": text("<Q"),
        "U": old_string("<B"),
        "T": old_string("<i"),
        "C": raw("<B"),
        "B": raw("<I"),
        "\x8e": raw("<Q"),
        "\x96": lambda m: m.push(bytearray(m.take(m.number("<Q")))),
        ")": lambda m: m.push(()),
        "\x85": lambda m: m.last(1),
        "\x86": lambda m: m.last(2),
        "\x87": lambda m: m.last(3),
        "t": lambda m: m.push(tuple(m.pop_to_mark())),
        "]": lambda m: m.push([]),
        "l": lambda m: m.push(m.pop_to_mark()),
        "a": Machine.append,
        "e": Machine.appends,
        "}": lambda m: m.push({}),
        "d": lambda m: m.push(m.pairs(m.pop_to_mark())),
        "s": Machine.set_item,
        "u": Machine.set_items,
        "\x8f": lambda m: m.push(set()),
        "\x90": Machine.add_items,
        "\x91": lambda m: m.push(frozenset(checked_keys(m.pop_to_mark()))),
        "h": lambda m: m.get(m.number("<B")),
        "j": lambda m: m.get(m.number("<I")),
        "q": lambda m: m.put(m.number("<B")),
        "r": lambda m: m.put(m.number("<I")),
        "\x94": lambda m: m.put(len(m.memo)),
    }.items()
}
