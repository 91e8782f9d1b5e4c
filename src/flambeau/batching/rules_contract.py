"""Matrix products and convolutions on a whole batch."""

from typing import Any

from flambeau._core import Tensor
from flambeau.autograd.wrapped import Operation
from flambeau.ops.names import operators as ops

__all__ = ["RULES"]


def _product(level: Any, a: Tensor, b: Tensor) -> Tensor:
    """matmul of all examples. Vectors become matrices of one row or column for the time of the product."""
    row, column = a.ndim == 1, b.ndim == 1
    ndim = max(a.ndim + row, b.ndim + column)
    left = a.unsqueeze(0) if row else a
    right = b.unsqueeze(1) if column else b
    one_matrix = not level.holds(b) and right.ndim == 2
    if ndim > 2 or not one_matrix:
        left = level.aligned(left, ndim)
        right = level.aligned(right, ndim)
    else:
        left = level.aligned(left, 2)
    result = ops.matmul(left, right)
    if row:
        result = result.squeeze(-2)
    return result.squeeze(-1) if column else result


def _matmul(level: Any, operation: Operation) -> Any:
    a, b = operation.values[:2]
    if a.ndim == 0 or b.ndim == 0 or a.shape[-1] != b.shape[-2 if b.ndim > 1 else 0]:
        return NotImplemented  # one example says what is wrong
    return _product(level, a, b)


def _matmul_add(level: Any, operation: Operation) -> Any:
    added, a, b = operation.values
    return _product(level, a, b) + level.aligned(added, a.ndim)


def _of_ranks(first: int, second: int) -> Any:
    def rule(level: Any, operation: Operation) -> Any:
        a, b = operation.values[:2]
        return _matmul(level, operation) if (a.ndim, b.ndim) == (first, second) else NotImplemented

    return rule


def _linear(level: Any, operation: Operation) -> Any:
    x, weight, bias = operation.values
    if not x.ndim or weight.ndim != 2 or x.shape[-1] != weight.shape[-1]:
        return NotImplemented
    if not level.holds(weight) and not level.holds(bias):
        return operation.run([level.physical(x), weight, bias])
    if level.holds(weight):
        result = _product(level, x, ops.transpose(weight, 0, 1))
    else:
        result = operation.run([level.physical(x), weight, None])
    return result if bias is None else result + level.aligned(bias, x.ndim)


def _convolution(spatial: int) -> Any:
    """Examples join the batch, or, where each has a weight of its own, become groups."""

    def rule(level: Any, operation: Operation) -> Any:
        given = operation.arguments()
        x, weight, bias = given["input"], given["weight"], given["bias"]
        if x.ndim not in (spatial + 1, spatial + 2) or weight.ndim != spatial + 2:
            return NotImplemented
        single = x.ndim == spatial + 1
        given["bias"] = None if level.holds(bias) else bias
        if level.holds(weight):
            result = _grouped(level, operation, given, single)
        else:
            whole = level.physical(x)
            given["input"] = whole if single else whole.flatten(0, 1)
            result = operation.run(list(given.values()))
            result = result if single else result.reshape((level.size, -1, *result.shape[1:]))
        if level.holds(bias):
            result = result + level.physical(bias).reshape((level.size, *(1,) * (not single), -1, *(1,) * spatial))
        return result

    def _grouped(level: Any, operation: Operation, given: dict[str, Any], single: bool) -> Tensor:
        x, size = level.physical(given["input"]), level.size
        x = x.unsqueeze(1) if single else x
        n = x.shape[1]
        given["input"] = x.transpose(0, 1).reshape((n, -1, *x.shape[3:]))
        given["weight"] = level.physical(given["weight"]).flatten(0, 1)
        given["groups"] = given["groups"] * size
        if given["bias"] is not None:
            given["bias"] = given["bias"].repeat(size)
        result = operation.run(list(given.values()))
        result = result.reshape((n, size, -1, *result.shape[2:])).transpose(0, 1)
        return result.squeeze(1) if single else result

    return rule


RULES: dict[str, Any] = {
    "matmul": _matmul, "mm": _of_ranks(2, 2), "bmm": _of_ranks(3, 3), "mv": _of_ranks(2, 1), "dot": _of_ranks(1, 1),
    "linear": _linear, "matmul_add": _matmul_add,
}  # fmt: skip
for _n in (1, 2, 3):
    RULES[f"conv{_n}d"] = _convolution(_n)
    RULES[f"conv_transpose{_n}d"] = _convolution(_n)
