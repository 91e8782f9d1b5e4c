"""Squares of elements turned in registers: rows in, columns out, by shuffles that every vector machine has."""

from .module import Function, llvm_type

_PART = 16  # bytes within which elements change places cheaply


def transpose(function: Function, rows: list[str], dtype: str, size: int) -> list[str]:
    """Columns of a square whose rows are vectors of as many elements, each of `size` bytes."""
    lanes = len(rows)
    inside = min(lanes, _PART // size)  # elements of a part
    turned = []  # of each group of `inside` rows: the vectors whose parts are columns of these rows
    for first in range(0, lanes, inside):
        turned.append(_turn_parts(function, rows[first : first + inside], dtype, lanes))
    columns = [""] * lanes
    for k in range(inside):
        for part, vector in enumerate(_turn_groups(function, [group[k] for group in turned], dtype, lanes)):
            columns[part * inside + k] = vector
    return columns


def _turn_parts(function: Function, rows: list[str], dtype: str, lanes: int) -> list[str]:
    """Each part of the vectors turned on its own: interleaving halves again and again turns a square."""
    inside, half = len(rows), len(rows) // 2
    parts = range(0, lanes, inside)
    low = [p + k // 2 + (lanes if k % 2 else 0) for p in parts for k in range(inside)]
    high = [p + half for p in low]
    for _ in range(inside.bit_length() - 1):
        pairs = zip(rows[:half], rows[half:], strict=True)
        rows = [_shuffle(function, dtype, lanes, a, b, order) for a, b in pairs for order in (low, high)]
    return rows


def _turn_groups(function: Function, rows: list[str], dtype: str, lanes: int) -> list[str]:
    """Whole parts turned: part i of vector j becomes part j of vector i."""
    count = len(rows)
    if count == 1:
        return rows

    def pick(a: str, b: str, parts: list[int]) -> str:
        width = lanes // count
        return _shuffle(function, dtype, lanes, a, b, [p * width + k for p in parts for k in range(width)])

    if count == 2:
        return [pick(*rows, [0, 2]), pick(*rows, [1, 3])]
    if count != 4:
        raise ValueError(f"vectors of {count} parts")
    halves = [pick(rows[k], rows[k + 1], parts) for parts in ([0, 1, 4, 5], [2, 3, 6, 7]) for k in (0, 2)]
    pairs = (halves[:2], halves[2:])
    return [pick(*pair, parts) for pair in pairs for parts in ([0, 2, 4, 6], [1, 3, 5, 7])]


def _shuffle(function: Function, dtype: str, lanes: int, a: str, b: str, order: list[int]) -> str:
    kind = llvm_type(dtype, lanes)
    positions = ", ".join(f"i32 {k}" for k in order)
    return function.value(f"shufflevector {kind} {a}, {kind} {b}, <{lanes} x i32> <{positions}>")
