"""Squares of elements turned in registers: rows in, columns out, by shuffles that every vector machine has."""

from collections.abc import Callable

PIECE = 16  # bytes within which elements change places cheaply

Shuffle = Callable[[str, str, list[int]], str]  # elements of two vectors, by number


def transpose(rows: list[str], size: int, shuffle: Shuffle) -> list[str]:
    """The columns of a square whose rows are vectors, of elements of `size` bytes: first inside pieces, then of the
    pieces as a matrix."""
    lanes = len(rows)
    piece = min(lanes, PIECE // size)
    groups = [turn_pieces(rows[g : g + piece], lanes, shuffle) for g in range(0, lanes, piece)]
    columns = [gather_pieces([group[c] for group in groups], lanes, piece, shuffle) for c in range(piece)]
    return [columns[c][p] for p in range(lanes // piece) for c in range(piece)]


def turn_pieces(rows: list[str], lanes: int, shuffle: Shuffle) -> list[str]:
    """Each piece of the vectors turned on its own: interleaving low, then high halves, again and again."""
    piece, half = len(rows), len(rows) // 2

    def interleave(a: str, b: str, first: int) -> str:
        left = [base + first + x for base in range(0, lanes, piece) for x in range(half)]
        return shuffle(a, b, [lane for x in left for lane in (x, lanes + x)])

    for _ in range(piece.bit_length() - 1):
        rows = [interleave(rows[i], rows[i + half], first) for i in range(half) for first in (0, half)]
    return rows


def gather_pieces(rows: list[str], lanes: int, piece: int, shuffle: Shuffle) -> list[str]:
    """Result p is piece p of every row, in order: pairs of rows are split into even and odd pieces, again and again."""
    if len(rows) == 1:
        return rows

    def pick(parity: int) -> list[str]:
        chosen = [x for p in range(parity, 2 * lanes // piece, 2) for x in range(p * piece, (p + 1) * piece)]
        return [shuffle(rows[i], rows[i + 1], chosen) for i in range(0, len(rows), 2)]

    even, odd = (gather_pieces(pick(parity), lanes, piece, shuffle) for parity in (0, 1))
    return [row for pair in zip(even, odd, strict=True) for row in pair]
