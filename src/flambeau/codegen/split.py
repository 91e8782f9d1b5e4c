"""Rows dealt out to even and odd elements, and put together again: what strides of 2 need.

* `split_2(rows, whole, from, from_row, evens, odds, to_row, masks)`: a row is `whole` pairs of vectors and a last pair
  of which `masks` (16 bits each) tells the lanes: of both vectors, and of what they give to evens and odds.
* `merge_2(rows, whole, evens, odds, from_row, to, to_row, masks)`: the inverse. Whole vectors of evens and odds are
  read; `masks` tells the lanes of the last two vectors that are written, if any.
"""

from .lanes import Lanes
from .module import Function

_POINTERS = {"from", "evens", "odds", "to"}


def _arguments(*names: str) -> list[tuple[str, str]]:
    return [("ptr" if name in _POINTERS else "i64", name) for name in names]


ARGUMENTS = {
    "split_2": _arguments("rows", "whole", "from", "from_row", "evens", "odds", "to_row", "masks"),
    "merge_2": _arguments("rows", "whole", "evens", "odds", "from_row", "to", "to_row", "masks"),
}


def write_split(f: Function, lanes: Lanes) -> None:
    """Writes split_2."""
    masks = [lanes.mask(f.value(f"lshr i64 %masks, {16 * i}"), "i64") for i in range(4)]

    def move(source: str, at: int | str, to: list[str], read: list, written: list) -> None:
        from_ = f.offset(source, f.mul(at, 2))
        a, b = lanes.load(from_, read[0]), lanes.load(f.offset(from_, lanes.bytes), read[1])
        for parity, (out, mask) in enumerate(zip(to, written, strict=True)):
            x = lanes.shuffle(a, b, list(range(parity, 2 * lanes.count, 2)))
            lanes.store(x, f.offset(out, at), mask)

    end = f.mul("%whole", lanes.bytes)
    with f.loop(0, "%rows") as row:
        source, shift = f.offset("%from", f.mul(row, "%from_row")), f.mul(row, "%to_row")
        to = [f.offset(out, shift) for out in ("%evens", "%odds")]
        with f.loop(0, end, lanes.bytes) as at:
            move(source, at, to, [None, None], [None, None])
        with f.when(f.value("icmp ne i64 %masks, 0")):
            move(source, end, to, masks[:2], masks[2:])
    f.finish()


def write_merge(f: Function, lanes: Lanes) -> None:
    """Writes merge_2."""
    masks = [lanes.mask(f.value(f"lshr i64 %masks, {16 * i}"), "i64") for i in range(2)]
    half = lanes.count // 2
    orders = [[x for i in range(half) for x in (i + h, i + h + lanes.count)] for h in (0, half)]

    def move(sources: list[str], at: int | str, out: str, written: list) -> None:
        a, b = (lanes.load(f.offset(source, at)) for source in sources)
        for i, (order, mask) in enumerate(zip(orders, written, strict=True)):
            lanes.store(lanes.shuffle(a, b, order), f.offset(out, f.add(f.mul(at, 2), i * lanes.bytes)), mask)

    end = f.mul("%whole", lanes.bytes)
    with f.loop(0, "%rows") as row:
        shift, out = f.mul(row, "%from_row"), f.offset("%to", f.mul(row, "%to_row"))
        sources = [f.offset(source, shift) for source in ("%evens", "%odds")]
        with f.loop(0, end, lanes.bytes) as at:
            move(sources, at, out, [None, None])
        with f.when(f.value("icmp ne i64 %masks, 0")):
            move(sources, end, out, masks)
    f.finish()


WRITERS = {"split_2": write_split, "merge_2": write_merge}
