#!/usr/bin/env python3
"""Tables of polynomials by pieces: where those of `ir/math_pieces.py` come from.

    tools/minimax_pieces.py                every table, as it stands there, and the error of each piece in bits
    tools/minimax_pieces.py erf tanh       only these

A piece is a fit of `tools/minimax.py` around a centre, which is then moved a little to where the polynomial's first
coefficients are nearly numbers of float32: their rounding would be an error of the whole piece.
"""

import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from minimax import SQRT2, Fit, mp, mpf, remez

STEP = mpf(2) ** -14  # centres are multiples of it, so that the distance from them is exact
TRIES = 120  # centres tried to either side
PIECES = 16


@dataclass(frozen=True)
class Table:
    """Pieces of a function on [0, edges[-1]] with a small relative error.

    Attributes:
        first: place of the first piece; the others follow, from the last place on to place 0.
        weight: 1 / function, or what keeps that finite at a zero.
        odd: the first piece's centre is 0.
        added: what of the linear coefficient of the first piece is computed apart.
    """

    function: Callable
    edges: list
    degree: int
    first: int
    weight: Callable
    odd: bool = False
    added: int = 0


def single(x) -> mpf:
    """The nearest number of float32."""
    return mpf(struct.unpack("f", struct.pack("f", float(x)))[0])


def moved(coefficients: list, by) -> list:
    """The coefficients of p(z + by)."""
    n = len(coefficients)
    return [sum(coefficients[k] * mp.binomial(k, j) * by ** (k - j) for k in range(j, n)) for j in range(n)]


def around(table: Table, low, high) -> tuple[mpf, list, mpf]:
    """Centre, coefficients and error of a piece."""
    f, weight, half = table.function, table.weight, (high - low) / 2
    middle = mp.nint((low + high) / 2 / STEP) * STEP
    fit = Fit(lambda z: f(middle + z), low - middle, high - middle, table.degree, lambda z: weight(middle + z))
    found, worst = remez(fit)
    unit = mpf(2) ** (mp.floor(mp.log(abs(found[0]), 2)) - 23)
    slow = abs(found[1]) * TRIES * STEP < unit  # a saturated function: its values differ little from centre to centre
    span = half * mpf("0.6") if slow else TRIES * STEP
    best = (mp.inf, middle, found)
    for k in range(-TRIES, TRIES + 1):
        by = mp.nint(span * k / TRIES / STEP) * STEP
        c = moved(found, by)
        lost = abs(c[0] - single(c[0])) + abs(c[1] - single(c[1])) * half
        if lost / unit < best[0]:
            best = (lost / unit, middle + by, c)
    return best[1], best[2], worst


def from_zero(table: Table, high) -> tuple[mpf, list, mpf]:
    """The same of the first piece of an odd function, around 0: relative to the function even there."""
    f, slope = table.function, mp.diff(table.function, 0)
    fit = Fit(
        lambda z: f(z) / z if z else slope,
        mpf(0),
        high,
        table.degree - 1,
        lambda z: z * table.weight(z) if z else 1 / slope,
    )
    found, worst = remez(fit)
    return mpf(0), [mpf(0), found[0] - table.added, *found[1:]], worst


def rows(table: Table) -> tuple[list[list], list[float]]:
    """Centres and coefficients by place, and the error of each piece in bits."""
    columns: list[list] = [[]] * PIECES
    bits = []
    for k, (low, high) in enumerate(pairwise(table.edges)):
        centre, coefficients, worst = from_zero(table, high) if table.odd and not k else around(table, low, high)
        columns[(table.first + k) % PIECES] = [centre, *coefficients]
        bits.append(round(float(-mp.log(worst, 2)), 1))
    return [list(row) for row in zip(*columns, strict=True)], bits


def shortest(x) -> str:
    """As few digits as tell a number of float32."""
    value = float(single(x))
    return next(t for d in range(1, 10) if float(single(t := repr(float(f"{value:.{d}g}")))) == value)


def text(name: str, table: list[list]) -> str:
    lines = [f"# {name}", f"{name.upper()}: Table = ("]
    for row in table:
        words = [shortest(x) for x in row]
        line = "    ("
        for word in words:
            if len(line) + len(word) > 116:
                lines.append(line.rstrip())
                line = "     "
            line += word + ", "
        lines.append(line.rstrip(", ") + "),")
    return "\n".join([*lines, ")  # fmt: skip"])


def normal_tail(x):
    """The normal distribution's probability beyond x."""
    return mp.erfc(x / SQRT2) / 2


def density(x):
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def gelu_slope(x):
    """The derivative of gelu at -x."""
    return normal_tail(x) - x * density(x)


def sigmoid(x):
    """1 / (1 + exp(x))."""
    return 1 / (1 + mp.exp(x))


def relative(function: Callable, edges: list, degree: int, first: int, odd: bool = False, added: int = 0) -> Table:
    return Table(function, edges, degree, first, lambda x: 1 / function(x), odd, added)


GELU_EDGES = [mpf(0), *((mp.sqrt(k + mpf("0.5")) - mpf("0.85")) / mpf("0.595") for k in range(1, PIECES + 1))]
TABLES = {
    "gelu_tail": relative(normal_tail, GELU_EDGES, 6, 1),
    "gelu_slope": Table(gelu_slope, GELU_EDGES, 7, 1, lambda x: 1 / max(abs(gelu_slope(x)), density(x) / 10)),
    "sigmoid": relative(sigmoid, [mpf(0), *(k + mpf("0.5") for k in range(PIECES))], 6, 0),
    "tanh": relative(
        mp.tanh, [mpf(2) ** (k // 4) * (1 + mpf(k % 4) / 4) - 1 for k in range(PIECES + 1)], 6, 12, odd=True
    ),
    "erf": relative(mp.erf, [mpf(k) / 4 for k in range(PIECES + 1)], 6, 0, odd=True, added=1),
}


def main(names: list[str]) -> None:
    for name in names or TABLES:
        table, bits = rows(TABLES[name])
        print(text(name, table))
        print(f"{name}: 2^-{min(bits)}, by piece {bits}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
