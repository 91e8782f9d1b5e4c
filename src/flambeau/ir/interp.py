"""The NumPy interpreter: it defines what programs mean, bit by bit, and runs them where no code can be generated.

Total where machines are not:

- `idiv(a, 0)` is 0, `irem(a, 0)` is a; the smallest integer divided by -1 wraps, with remainder 0;
- a shift by the width or more, or by a negative count, gives 0 (arithmetic right shifts: the sign everywhere);
- float to i8, i16, i32 goes through i32, to u8, u16, u32, i64 through i64: truncated, and the smallest integer for nan
  and for what does not fit; then the low bits. u64 takes 2**63 off values that reach it, and puts it back;
- `max` and `min` give nan where either is nan; `lookup` clamps the position;
- bf16, f16 and what has 8 bits are rounded to nearest even from f32, nan stays nan;
- a `repeat` takes a step where `go` held in every step before, and `limit` steps at most;
- `ldexp(x, n)` is x * 2**(n >> 1) * 2**(n - (n >> 1)), for |n| below twice the exponent's range and nan where x is.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

from . import float8
from . import types as t
from .expr import Expr, walk
from .program import ScalarProgram
from .repeat import Steps

_NUMPY_NAMES = {"f16": "float16", "bf16": "uint16", "f32": "float32", "f64": "float64", "b1": "bool"}
_NUMPY_NAMES.update({"c64": "complex64", "c128": "complex128"})
_NUMPY_NAMES.update(dict.fromkeys(t.FLOATS8, "uint8"))
_NUMPY_NAMES.update({d: f"{'int' if d[0] == 'i' else 'uint'}{d[1:]}" for d in t.INTS})


@cache
def _numpy() -> Any:
    import numpy

    return numpy


def numpy_dtype(dtype: str) -> Any:
    """NumPy's dtype of elements in memory; bf16 and what has 8 bits are held as the unsigned integer of their bits."""
    np = _numpy()
    return np.dtype(_NUMPY_NAMES[dtype])


def run(program: ScalarProgram, inputs: Sequence[Any], params: Sequence[Any] = ()) -> list[Any]:
    """Results of a program.

    Args:
        program: any scalar program.
        inputs: arrays in the storage dtypes, broadcast against each other.
        params: Python numbers.

    Returns:
        Arrays in the storage dtypes.
    """
    np = _numpy()
    shape = np.broadcast_shapes(*(np.shape(a) for a in inputs))
    operands = [widen(np.asarray(a), d) for a, d in zip(inputs, program.inputs, strict=True)]

    def leaf(e: Expr) -> Any:
        number, part = e.attr
        value = operands[number] if e.op == "input" else param_value(params[number], program.params[number])
        if np.iscomplexobj(value):
            return value.imag if part else value.real
        return value

    values = iter(evaluate(program.lowered, leaf))
    results = []
    for dtype in program.outputs:
        if t.is_complex(dtype):
            value = np.empty(shape, numpy_dtype(dtype))
            value.real, value.imag = next(values), next(values)
        else:
            value = narrow(next(values), dtype)
        results.append(np.broadcast_to(value, shape).astype(numpy_dtype(dtype)))
    return results


def param_value(value: Any, dtype: str, part: int = 0) -> Any:
    """A run-time number (or, in a real dtype, a part of it) as programs see it: a double or an int64, then cast."""
    np = _numpy()
    if t.is_complex(dtype):
        return np.asarray(complex(value), numpy_dtype(dtype))
    if part or isinstance(value, complex):
        value = complex(value).imag if part else value.real
    held = "f64" if t.is_float(dtype) else "i64"
    with np.errstate(all="ignore"):
        return cast(np.asarray(value, numpy_dtype(held)), held, dtype)


def evaluate(
    roots: Sequence[Expr], leaf: Callable[[Expr], Any], reductions: dict[str, Callable] | None = None
) -> list[Any]:
    """Values of primitive expressions.

    Args:
        roots: what to evaluate.
        leaf: gives the values of inputs, parameters and positions.
        reductions: `(node, argument) -> value` for operations over rows.
    """
    np = _numpy()
    rules = {**_PRIMITIVES, **reductions} if reductions else _PRIMITIVES
    values: dict[int, Any] = {}
    loops: dict[tuple, list[Any]] = {}
    with np.errstate(all="ignore"):
        for e in walk(roots):
            if e.op == "const":
                values[id(e)] = np.asarray(e.attr, numpy_dtype(e.dtype))
            elif not e.args:
                values[id(e)] = leaf(e)
            elif e.op == "repeat":
                key = (e.attr[0], *map(id, e.args))
                if key not in loops:
                    loops[key] = _repeat(e.attr[0], [values[id(a)] for a in e.args])
                values[id(e)] = loops[key][e.attr[1]]
            else:
                values[id(e)] = rules[e.op](e, *(values[id(a)] for a in e.args))
    return [values[id(r)] for r in roots]


def _repeat(steps: Steps, state: list[Any]) -> list[Any]:
    """The state of a loop after its steps: each element stops for itself."""
    np = _numpy()
    going = np.ones(np.broadcast_shapes(*map(np.shape, state)), bool)
    for _ in range(steps.limit):
        going = going & evaluate([steps.go], lambda e: state[e.attr])[0]
        if not going.any():
            break
        following = evaluate(steps.next, lambda e: state[e.attr])
        state[: len(following)] = [np.where(going, n, s) for n, s in zip(following, state, strict=False)]
    return state


def widen(a: Any, storage: str) -> Any:
    """Compute values of elements in memory."""
    np = _numpy()
    if storage == "bf16":
        return (a.astype(np.uint32) << np.uint32(16)).view(np.float32)
    if storage in t.FLOATS8:
        return evaluate([float8.widened(storage)], lambda e: a)[0]
    return a.astype(np.float32) if storage == "f16" else a


def narrow(a: Any, storage: str) -> Any:
    """Elements in memory of compute values."""
    np = _numpy()
    if storage == "f16":
        with np.errstate(all="ignore"):
            return a.astype(np.float16)
    if storage in t.FLOATS8:
        return evaluate([float8.narrowed(storage)], lambda e: np.asarray(a, np.float32))[0]
    if storage != "bf16":
        return a
    bits = np.ascontiguousarray(a, np.float32).view(np.uint32).reshape(np.shape(a))
    rounded = (bits.astype(np.uint64) + 0x7FFF + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint64(16)
    return np.where(np.isnan(a), (bits >> np.uint32(16)) | np.uint32(0x40), rounded).astype(np.uint16)


def cast(a: Any, source: str, target: str) -> Any:
    """Values in another compute dtype."""
    np = _numpy()
    if target == "b1":
        return a != 0
    if not (t.is_float(source) and t.is_int(target)):
        return a.astype(numpy_dtype(target))
    if target == "u64":
        large = a >= 2.0**63
        high = _to_int(np.where(large, a - a.dtype.type(2.0**63), 0), "i64").view(np.uint64) ^ np.uint64(2**63)
        return np.where(large, high, _to_int(a, "i64").view(np.uint64))
    return _to_int(a, "i32" if target in ("i8", "i16", "i32") else "i64").astype(numpy_dtype(target))


def _to_int(a: Any, target: str) -> Any:
    np = _numpy()
    limit = 2.0 ** (t.bits(target) - 1)
    whole = np.trunc(a)
    inside = (whole >= -limit) & (whole < limit)
    integer = numpy_dtype(target)
    return np.where(inside, np.where(inside, whole, 0).astype(integer), np.iinfo(integer).min)


def fma(a: Any, b: Any, c: Any) -> Any:
    """a*b + c rounded once: the sum is first rounded to odd in a wider (or doubled) format."""
    np = _numpy()
    if a.dtype == np.float32 and b.dtype == np.float32:
        exact = np.float64(a) * np.float64(b)
        return _add_rounded_to_odd(exact, np.asarray(c, np.float64)).astype(np.float32)
    return _fma_f64(*np.broadcast_arrays(a, b, c))


def _add_rounded_to_odd(a: Any, b: Any) -> Any:
    """a + b in float64; an inexact sum gets an odd last bit, so that rounding it again is right."""
    np = _numpy()
    total = np.atleast_1d(a + b)
    part = total - a
    lost = (a - (total - part)) + (b - part)
    bits = total.view(np.int64)
    adjust = np.isfinite(total) & (lost != 0) & ((bits & 1) == 0)
    step = np.where((lost > 0) == (total > 0), 1, -1)
    return np.where(adjust, bits + step, bits).view(np.float64).reshape(np.shape(a + b))


def _fma_f64(a: Any, b: Any, c: Any) -> Any:
    """By exact rational arithmetic where doubled float64 could leave its range, else by doubled float64."""
    np = _numpy()
    product = a * b
    size = np.maximum(np.abs(product), np.abs(c))
    tame = (size < 1e290) & (size > 1e-250) & (np.abs(a) < 1e140) & (np.abs(b) < 1e140) & (np.abs(product) > 1e-250)
    plain = ~np.isfinite(product + c) & ~(np.isfinite(a) & np.isfinite(b) & np.isfinite(c)) | (a == 0) | (b == 0)
    result = np.where(plain, product + c, _fma_doubled(a, b, c))
    hard = np.atleast_1d(~(tame | plain))
    if hard.any():
        flat = [np.atleast_1d(v)[hard] for v in np.broadcast_arrays(a, b, c)]
        result = np.atleast_1d(result).copy()
        result[hard] = [_fma_exact(*map(float, v)) for v in zip(*flat, strict=True)]
        result = result.reshape(np.shape(product))
    return result


def _fma_doubled(a: Any, b: Any, c: Any) -> Any:
    high, low = _two_product(a, b)
    t_high, t_low = _two_sum(c, low)
    v_high, v_low = _two_sum(high, t_high)
    return v_high + _add_rounded_to_odd(t_low, v_low)


def _two_sum(a: Any, b: Any) -> tuple[Any, Any]:
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


def _two_product(a: Any, b: Any) -> tuple[Any, Any]:
    product = a * b
    (ah, al), (bh, bl) = _halves(a), _halves(b)
    return product, ((ah * bh - product) + ah * bl + al * bh) + al * bl


def _halves(a: Any) -> tuple[Any, Any]:
    scaled = a * 134217729.0
    high = scaled - (scaled - a)
    return high, a - high


def _fma_exact(a: float, b: float, c: float) -> float:
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c
    try:
        return float(exact)
    except OverflowError:
        return float("inf") if exact > 0 else float("-inf")


def _divide(e: Expr, a: Any, b: Any) -> tuple[Any, Any]:
    """Quotient rounded towards zero and remainder."""
    np = _numpy()
    kind = numpy_dtype(e.dtype).type
    zero, minus = b == 0, (b == -1) if t.is_signed(e.dtype) else np.zeros(np.shape(b), bool)
    safe = np.where(zero | minus, kind(1), b)
    rest = np.fmod(a, safe)
    quotient = (a - rest) // safe
    return (
        np.where(zero, kind(0), np.where(minus, np.negative(a), quotient)),
        np.where(zero, a, np.where(minus, kind(0), rest)),
    )


def _shift(e: Expr, a: Any, b: Any, left: bool) -> Any:
    np = _numpy()
    kind, width = numpy_dtype(e.dtype).type, t.bits(e.dtype)
    inside = (b >= 0) & (b < width)
    count = np.where(inside, b, kind(0))
    if left:
        return np.where(inside, np.left_shift(a, count), kind(0))
    out = np.right_shift(a, kind(width - 1)) if t.is_signed(e.dtype) else kind(0)
    return np.where(inside, np.right_shift(a, count), out)


def _extreme(a: Any, b: Any, chosen: Any) -> Any:
    np = _numpy()
    return np.where(a != a, a, np.where(chosen, a, b))


def _ldexp(e: Expr, x: Any, n: Any) -> Any:
    np = _numpy()
    whole = np.where(np.isnan(n), 0, n).astype(np.int64)
    first = whole >> 1
    kind = numpy_dtype(e.dtype).type
    return x * np.ldexp(kind(1), first) * np.ldexp(kind(1), whole - first)


def _lookup(e: Expr, position: Any) -> Any:
    np = _numpy()
    table = np.asarray(e.attr, numpy_dtype(e.dtype))
    return table[np.clip(position, 0, len(e.attr) - 1)]


def _where(e: Expr, condition: Any, a: Any, b: Any) -> Any:
    return _numpy().where(condition, a, b)


_PRIMITIVES: dict[str, Callable] = {
    "add": lambda e, a, b: a + b,
    "sub": lambda e, a, b: a - b,
    "mul": lambda e, a, b: a * b,
    "div": lambda e, a, b: a / b,
    "neg": lambda e, a: _numpy().negative(a),
    "fma": lambda e, a, b, c: fma(a, b, c),
    "abs": lambda e, a: _numpy().abs(a),
    "sqrt": lambda e, a: _numpy().sqrt(a),
    "floor": lambda e, a: _numpy().floor(a),
    "ceil": lambda e, a: _numpy().ceil(a),
    "trunc": lambda e, a: _numpy().trunc(a),
    "rint": lambda e, a: _numpy().rint(a),
    "copysign": lambda e, a, b: _numpy().copysign(a, b),
    "ldexp": _ldexp,
    "max": lambda e, a, b: _extreme(a, b, a > b),
    "min": lambda e, a, b: _extreme(a, b, a < b),
    "idiv": lambda e, a, b: _divide(e, a, b)[0],
    "irem": lambda e, a, b: _divide(e, a, b)[1],
    "and": lambda e, a, b: a & b,
    "or": lambda e, a, b: a | b,
    "xor": lambda e, a, b: a ^ b,
    "not": lambda e, a: ~a,
    "shl": lambda e, a, b: _shift(e, a, b, left=True),
    "shr": lambda e, a, b: _shift(e, a, b, left=False),
    "eq": lambda e, a, b: a == b,
    "ne": lambda e, a, b: a != b,
    "lt": lambda e, a, b: a < b,
    "le": lambda e, a, b: a <= b,
    "gt": lambda e, a, b: a > b,
    "ge": lambda e, a, b: a >= b,
    "select": _where,
    "unlikely": _where,
    "cast": lambda e, a: cast(a, e.args[0].dtype, e.dtype),
    "bitcast": lambda e, a: _numpy().asarray(a).view(numpy_dtype(e.dtype)),
    "round_to": lambda e, a: widen(narrow(a, e.attr), e.attr),
    "lookup": _lookup,
}
