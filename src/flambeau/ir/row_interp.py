"""Row programs over NumPy arrays: what their reductions mean, and what generated kernels are compared with.

An array of role F has a row for each element of the batch; what varies over less has length 1 there. A reduction sees
the whole row even where its argument does not vary over it: `row_sum(1)` is the row's length. A row without elements
has the sum 0, the product 1, the least value of its dtype as maximum, and 0 as the position of it.
The order in which a kernel adds is its own, so sums agree within rounding; everything else agrees bit by bit.
"""

from collections.abc import Callable, Sequence
from typing import Any

from . import types as t
from .expr import Expr
from .interp import evaluate, narrow, numpy_dtype, param_value, widen
from .program import lower
from .row import is_count

_SHAPE = {"F": (True, True), "B": (True, False), "R": (False, True), "S": (False, False)}


def run(
    roots: Sequence[Expr],
    outputs: Sequence[tuple[str, str]],
    inputs: Sequence[tuple[str, str, Any]],
    shape: tuple[int, int],
    params: Sequence[Any] = (),
) -> list[Any]:
    """Results of a row program.

    Args:
        roots: one expression an output.
        outputs: role and storage dtype of each result.
        inputs: role, storage dtype and elements of each operand, in the order of the `input` nodes' numbers.
        shape: elements of the batch, elements of a row.
        params: run-time numbers.

    Returns:
        Arrays in the storage dtypes: (batch, row), (batch,), (row,) or () by role.
    """
    import numpy as np

    operands = [widen(np.asarray(a), d).reshape(_extent(role, shape)) for role, d, a in inputs]

    def leaf(e: Expr) -> Any:
        if e.op == "index":
            return np.arange(shape[1], dtype=np.int64).reshape(1, -1)
        if is_count(e):
            return np.asarray(shape[1], np.int64)
        number, part = e.attr
        if e.op == "param":
            return param_value(params[number], e.dtype, part)
        value = operands[number]
        if np.iscomplexobj(value):
            return value.imag if part else value.real
        return value

    rules = {op: _over_row(rule, shape[1]) for op, rule in _ROW.items()}
    values = iter(evaluate(lower(roots), leaf, {**rules, "batch_sum": _over_batch(shape[0])}))
    return [_result(role, dtype, values, shape) for role, dtype in outputs]


def _extent(role: str, shape: tuple[int, int]) -> tuple[int, int]:
    return tuple(n if varies else 1 for n, varies in zip(shape, _SHAPE[role], strict=True))


def _result(role: str, dtype: str, values: Any, shape: tuple[int, int]) -> Any:
    import numpy as np

    extent = _extent(role, shape)
    if t.is_complex(dtype):
        result = np.empty(extent, numpy_dtype(dtype))
        result.real, result.imag = next(values), next(values)
    else:
        result = np.broadcast_to(narrow(next(values), dtype), extent).astype(numpy_dtype(dtype))
    return result.reshape([n for n, varies in zip(extent, _SHAPE[role], strict=True) if varies])


def _over_row(rule: Callable, length: int) -> Callable:
    """A reduction of rows of this length, applied to an argument that may not vary over them."""

    def reduce(e: Expr, *arguments: Any) -> Any:
        import numpy as np

        rows = [np.atleast_2d(a) for a in arguments]
        return rule(np, *(np.broadcast_to(a, (a.shape[0], length)) for a in rows))

    return reduce


def _over_batch(length: int) -> Callable:
    def reduce(e: Expr, a: Any) -> Any:
        import numpy as np

        a = np.atleast_2d(a)
        return np.sum(np.broadcast_to(a, (length, a.shape[1])), axis=0, keepdims=True, dtype=a.dtype)

    return reduce


def _limit(np: Any, dtype: Any, lowest: bool) -> Any:
    """The least or the greatest value of a dtype."""
    if dtype.kind == "b":
        return not lowest
    if dtype.kind == "f":
        return -np.inf if lowest else np.inf
    return np.iinfo(dtype).min if lowest else np.iinfo(dtype).max


def _position(np: Any, a: Any, find: Callable) -> Any:
    if not a.shape[1]:
        return np.zeros((a.shape[0], 1), np.int64)
    return find(a, axis=1)[:, None]


_ROW: dict[str, Callable] = {
    "row_sum": lambda np, a: np.sum(a, axis=1, keepdims=True, dtype=a.dtype),
    "row_prod": lambda np, a: np.prod(a, axis=1, keepdims=True, dtype=a.dtype),
    "row_prod_re": lambda np, re, im: np.prod(re + 1j * im, axis=1, keepdims=True).real.astype(re.dtype),
    "row_prod_im": lambda np, re, im: np.prod(re + 1j * im, axis=1, keepdims=True).imag.astype(re.dtype),
    "row_max": lambda np, a: np.max(a, axis=1, keepdims=True, initial=_limit(np, a.dtype, True)),
    "row_min": lambda np, a: np.min(a, axis=1, keepdims=True, initial=_limit(np, a.dtype, False)),
    "row_spread": lambda np, a: np.var(a, axis=1, keepdims=True) * a.shape[1],
    "row_argmax": lambda np, a: _position(np, a, np.argmax),
    "row_argmin": lambda np, a: _position(np, a, np.argmin),
}
