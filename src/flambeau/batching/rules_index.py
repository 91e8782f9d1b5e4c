"""Indexing and look-ups on a whole batch."""

from collections.abc import Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.autograd.wrapped import Operation
from flambeau.ops.names import operators as ops

__all__ = ["RULES", "getitem", "setitem", "stacked"]


def stacked(results: Sequence[Tensor], what: str) -> Tensor:
    """The results of all examples as one tensor. Where their sizes depend on values, they may differ."""
    for r in results:
        if r.shape != results[0].shape:
            raise RuntimeError(
                f"vmap: We do not support batching operators that can {what} [results of examples have the sizes "
                f"{tuple(results[0].shape)} and {tuple(r.shape)}; they must be the same]"
            )
    return ops.stack(results)


def _items(index: Any) -> tuple[Any, ...]:
    return index if isinstance(index, tuple) else (index,)


def _is_advanced(item: Any) -> bool:
    return isinstance(item, Tensor | list) or hasattr(item, "__array__")


def _full(items: Sequence[Any], ndim: int) -> list[Any]:
    """The items with an ellipsis written out."""
    taken = sum(1 for i in items if i is not None and i is not Ellipsis)
    rest = [slice(None)] * (ndim - taken)
    for at, item in enumerate(items):
        if item is Ellipsis:
            return [*items[:at], *rest, *items[at + 1 :]]
    return [*items, *rest]


def _is_mask(item: Any) -> bool:
    return isinstance(item, bool) or (isinstance(item, Tensor) and item.dtype in (_core.bool, _core.uint8))


def getitem(level: Any, tensor: Tensor, index: Any) -> Tensor:
    """tensor[index] of each example."""
    items = _items(index)
    if any(_is_mask(i) for i in items) or (sum(map(_is_advanced, items)) and not _are_indices(items)):
        return level.wrap(_one_by_one(level, tensor, items))
    if not any(map(_is_advanced, items)):
        return level.wrap(tensor.inner[(slice(None), *items)])
    return level.wrap(_advanced(level, level.physical(tensor), _full(items, tensor.ndim)))


def _are_indices(items: Sequence[Any]) -> bool:
    return all(isinstance(i, Tensor) for i in items if _is_advanced(i))


def _one_by_one(level: Any, tensor: Tensor, items: Sequence[Any]) -> Tensor:
    results = [level.example(tensor, i)[tuple(level.example(x, i) for x in items)] for i in range(level.size)]
    return stacked(results, "support dynamic shape. Attempting to batch over indexing with a boolean mask.")


def _advanced(level: Any, whole: Tensor, items: list[Any]) -> Tensor:
    """Integer tensors as indices: the number of the example is one more of them."""
    basic = [slice(None) if _is_advanced(i) else i for i in items]
    whole = whole[(slice(None), *basic)]  # integers, slices and new dimensions first
    left = [i for i in items if not isinstance(i, int)]
    places = [at for at, i in enumerate(left) if _is_advanced(i)]
    ndim = max(left[at].ndim for at in places)
    examples = ops.arange(level.size).reshape((level.size, *(1,) * ndim))
    indices = {at: level.aligned(left[at], ndim) for at in places}
    picked = whole[(examples, *(indices.get(at, slice(None)) for at in range(len(left))))]
    together = places == list(range(places[0], places[-1] + 1))
    if places[0] == 0 or not together:
        return picked
    source = tuple(range(1, 1 + ndim))
    return ops.movedim(picked, source, tuple(places[0] + s for s in source))


def setitem(level: Any, tensor: Tensor, index: Any, value: Any) -> None:
    """tensor[index] = value for each example."""
    items = _items(index)
    if any(map(_is_advanced, items)) or any(_is_mask(i) for i in items):
        for i in range(level.size):
            tensor.inner[i][tuple(level.example(x, i) for x in items)] = level.example(value, i)
        return
    place = tensor.inner[(slice(None), *items)]
    if isinstance(value, Tensor):
        place.copy_(level.aligned(value, place.ndim - 1))
    else:
        place.fill_(value)


def _index(level: Any, operation: Operation) -> Any:
    x, indices = operation.values
    if any(i is not None and _is_mask(i) for i in indices):
        return NotImplemented
    items = [slice(None) if i is None else i for i in indices]
    return _advanced(level, level.physical(x), _full(items, x.ndim))


def _index_select(level: Any, operation: Operation) -> Any:
    x, dim, index = operation.values
    if level.holds(index) or x.ndim == 0:
        return NotImplemented
    return operation.run([level.physical(x), dim % x.ndim + 1 if -x.ndim <= dim < x.ndim else dim + 1, index])


def _embedding(level: Any, operation: Operation) -> Any:
    weight, indices, padding, *rest = operation.values
    if not level.holds(weight):
        return operation.run([weight, level.physical(indices), padding, *rest])
    if padding >= 0 or any(rest):
        return NotImplemented
    rows = weight.shape[0]
    first = ops.arange(level.size).reshape((level.size, *(1,) * indices.ndim)) * rows
    if ops.first_outside(level.physical(indices), rows) is not None:
        return NotImplemented  # one example says which index is outside
    return operation.run([weight.inner.flatten(0, 1), level.physical(indices) + first, padding, *rest])


RULES: dict[str, Any] = {"index.Tensor": _index, "index_select": _index_select, "embedding": _embedding}
