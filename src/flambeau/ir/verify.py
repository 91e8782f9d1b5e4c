"""The verifier: every node has the arity, dtypes and leaves that its operation demands."""

from collections.abc import Iterable, Sequence

from . import types as t
from .expr import COMPARISONS, FUNCTIONS, PARTS, PRIMITIVES, REDUCTIONS, Expr, walk

ARITY = {**PRIMITIVES, **FUNCTIONS, **PARTS, **REDUCTIONS}

_INT_ONLY = ("idiv", "irem", "shl", "shr")
_BITS = ("and", "or", "xor", "not")
_FLOAT_ONLY = ("fma", "floor", "ceil", "trunc", "rint", "copysign", "ldexp")


def verify(roots: Iterable[Expr], inputs: Sequence[str], params: Sequence[str]) -> None:
    """Raises ValueError naming the first node that is wrong.

    Args:
        roots: the outputs.
        inputs: storage dtypes of the operands.
        params: dtypes of the parameters.
    """
    for e in walk(roots):
        fault = _fault(e, inputs, params)
        if fault:
            raise ValueError(f"invalid program: {fault} in {e.op}({', '.join(a.dtype for a in e.args)}) -> {e.dtype}")


def _fault(e: Expr, inputs: Sequence[str], params: Sequence[str]) -> str | None:
    if e.op not in ARITY:
        return "unknown operation"
    if e.op == "repeat":
        return _repeat_fault(e)
    if len(e.args) != ARITY[e.op]:
        return f"{len(e.args)} arguments instead of {ARITY[e.op]}"
    if e.dtype not in t.DTYPES or e.dtype in t.NARROW:
        return "not a compute dtype"
    if e.op in ("input", "param"):
        return _leaf_fault(e, inputs if e.op == "input" else params)
    return _dtype_fault(e)


def _repeat_fault(e: Expr) -> str | None:
    """A loop's steps must be closed, keep the dtypes of their state, and be right themselves."""
    steps, number = e.attr
    dtypes = [a.dtype for a in e.args]
    following = [n.dtype for n in steps.next]
    if steps.go.dtype != "b1" or following != dtypes[: len(following)] or e.dtype != following[number]:
        return "dtypes"
    for inner in walk([steps.go, *steps.next]):
        if inner.op in ("input", "param", "index"):
            return "steps that are not closed"
        if inner.op == "carry":
            if not 0 <= inner.attr < len(dtypes) or inner.dtype != dtypes[inner.attr]:
                return f"carry {inner.attr}"
        elif fault := _fault(inner, (), ()):
            return fault
    return None


def _leaf_fault(e: Expr, declared: Sequence[str]) -> str | None:
    number, part = e.attr
    if not 0 <= number < len(declared):
        return f"{e.op} {number} does not exist"
    if part not in (0, 1):
        return f"part {part}"
    want = t.compute_dtype(declared[number])
    if e.dtype not in (want, t.real_of(want)) or (part and e.dtype == want):
        return f"{e.op} {number} is {want}"
    return None


def _dtype_fault(e: Expr) -> str | None:
    dtypes = [a.dtype for a in e.args]
    if e.op in COMPARISONS:
        return None if dtypes[0] == dtypes[1] and e.dtype == "b1" and not t.is_complex(dtypes[0]) else "dtypes"
    if e.op in ("select", "unlikely"):
        return None if dtypes == ["b1", e.dtype, e.dtype] else "dtypes"
    if e.op == "abs" and t.is_complex(dtypes[0]):
        return None if e.dtype == t.real_of(dtypes[0]) else "dtypes"
    if e.op == "complex":
        return None if dtypes == [t.real_of(e.dtype)] * 2 and t.is_complex(e.dtype) else "dtypes"
    if e.op in ("real", "imag"):
        return None if t.is_complex(dtypes[0]) and e.dtype == t.real_of(dtypes[0]) else "dtypes"
    if e.op in ("cast", "lookup", "const", "index"):
        return None
    if e.op == "bitcast":
        return None if t.SIZE[dtypes[0]] == t.SIZE[e.dtype] else "widths"
    if e.op == "round_to":
        return None if dtypes == ["f32"] and e.dtype == "f32" and e.attr in t.NARROW else "dtypes"
    if any(d != e.dtype for d in dtypes):
        return "dtypes"
    return _kind_fault(e)


def _kind_fault(e: Expr) -> str | None:
    if e.op in _INT_ONLY and not t.is_int(e.dtype):
        return "needs integers"
    if e.op in _BITS and not (t.is_int(e.dtype) or e.dtype == "b1"):
        return "needs integers or bools"
    if e.op in _FLOAT_ONLY and not t.is_float(e.dtype):
        return "needs floats"
    if e.op in ("add", "sub", "mul", "div", "neg") and e.dtype == "b1":
        return "no arithmetic on bools"
    if e.op == "div" and t.is_int(e.dtype):
        return "needs floats"
    return None
