"""Results of 16 bits that need no rounding, and those that are made of the signs of elements only."""

import struct
from collections.abc import Sequence
from typing import NamedTuple

from . import fn
from .expr import Expr, input_, walk

_HALVES = ("bf16", "f16")
_SIGN, _SIZE = -0x8000, 0x7FFF  # bits of a half
# op -> which arguments must be exact; all others may be anything
_KEEPING = {
    "neg": (0,), "abs": (0,), "copysign": (0,), "floor": (0,), "ceil": (0,), "trunc": (0,), "rint": (0,),
    "max": (0, 1), "min": (0, 1), "select": (1, 2), "unlikely": (1, 2),
}  # fmt: skip
_SHORT = ("b1", "i8", "u8")  # integers that bfloat16 holds


class Kernel(NamedTuple):
    """Expressions, and the dtypes in which operands are read and written."""

    roots: Sequence[Expr]
    outputs: Sequence[str]
    inputs: Sequence[str]


def without_rounding(roots: Sequence[Expr], outputs: Sequence[str], inputs: Sequence[str]) -> Kernel:
    """A program over the bits of halves where it changes signs only; else one whose results that are exact in bfloat16
    (chosen among bfloat16 values, or made by signs and whole parts of them) are the upper halves of float32's bits.

    Args:
        roots: expressions of primitives.
        outputs: storage dtypes.
        inputs: storage dtypes of the operands.
    """
    if not set(_HALVES).intersection(outputs) or len(roots) != len(outputs):  # a complex output has two roots
        return Kernel(roots, outputs, inputs)
    if len({*outputs, *inputs}) == 1:
        signs = [_signs(r) for r in roots]
        if all(s is not None for s in signs):
            return Kernel(signs, ["i16"] * len(outputs), ["i16"] * len(inputs))
    exact = [o == "bf16" and _is_exact(r, inputs) for r, o in zip(roots, outputs, strict=True)]
    roots = [fn.cast(fn.bitcast(r, "i32") >> 16, "i16") if e else r for r, e in zip(roots, exact, strict=True)]
    return Kernel(roots, ["i16" if e else o for o, e in zip(outputs, exact, strict=True)], inputs)


def _signs(e: Expr) -> Expr | None:
    """The bits of an element with some other sign; None if it is made otherwise."""
    if e.op == "input":
        return input_(e.attr[0], "i16")
    if e.op not in ("neg", "abs", "copysign"):
        return None
    parts = [_signs(a) for a in e.args]
    if any(p is None for p in parts):
        return None
    if e.op == "copysign":
        return (parts[0] & _SIZE) | (parts[1] & _SIGN)
    return parts[0] & _SIZE if e.op == "abs" else parts[0] ^ _SIGN


def _is_exact(root: Expr, inputs: Sequence[str]) -> bool:
    exact: set[int] = set()
    for e in walk([root]):
        kept = _KEEPING.get(e.op)
        if kept is not None:
            holds = e.dtype == "f32" and all(id(e.args[k]) in exact for k in kept)
        else:
            holds = (
                (e.op == "input" and inputs[e.attr[0]] == "bf16")
                or (e.op == "const" and e.dtype == "f32" and _fits(e.attr))
                or (e.op == "cast" and e.args[0].dtype in _SHORT)
                or (e.op == "round_to" and e.attr == "bf16")
            )
        if holds:
            exact.add(id(e))
    return id(root) in exact


def _fits(value: float) -> bool:
    return struct.unpack("<I", struct.pack("<f", value))[0] & 0xFFFF == 0
