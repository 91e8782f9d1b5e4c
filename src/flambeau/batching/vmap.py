"""vmap: a function of one example, for a whole batch."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.batching.batch import Batched, BatchLevel
from flambeau.ops.names import operators as ops
from flambeau.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

__all__ = ["active_levels", "vmap"]

_running: list[BatchLevel] = []


def active_levels() -> tuple[BatchLevel, ...]:
    """The vmaps that are running, outermost first."""
    return tuple(_running)


@contextmanager
def _level(size: int, randomness: str) -> Iterator[BatchLevel]:
    level = BatchLevel(size, randomness)
    _running.append(level)
    _core.push_quiet_mode(level.draw)
    try:
        yield level
    finally:
        _core.pop_mode()
        _running.pop()


def _spread(dims: Any, spec: TreeSpec, what: str, function: str) -> list[Any]:
    """One entry of `dims` for each leaf: an entry of an inner node counts for all below it."""
    if spec.is_leaf() or dims is None or isinstance(dims, int):
        if not (dims is None or isinstance(dims, int)):
            raise ValueError(
                f"vmap({function}, {what}={dims!r}): {what} is not compatible with the structure of inputs"
            )
        return [dims] * spec.num_leaves
    items = list(dims.values()) if isinstance(dims, dict) else list(dims) if isinstance(dims, list | tuple) else None
    if items is None or len(items) != len(spec.children_specs):
        raise ValueError(
            f"vmap({function}, {what}={dims!r}, ...)(<inputs>): {what} is not compatible with the structure of the "
            f"inputs: {what} has {'no' if items is None else len(items)} entries where there are "
            f"{len(spec.children_specs)}."
        )
    return [e for d, c in zip(items, spec.children_specs, strict=True) for e in _spread(d, c, what, function)]


def _batch_size(leaves: list[Any], dims: list[Any], function: str) -> int:
    sizes = set()
    for leaf, dim in zip(leaves, dims, strict=True):
        if dim is None:
            continue
        if not isinstance(leaf, Tensor):
            raise ValueError(
                f"vmap({function}, in_dims={dim}, ...)(<inputs>): Got in_dim={dim} for an input but the input is of "
                f"type {type(leaf)}. We cannot vmap over non-Tensor arguments, please use None as the respective in_dim"
            )
        if not -leaf.ndim <= dim < leaf.ndim:
            raise ValueError(
                f"vmap({function}, in_dims={dim}, ...)(<inputs>): Got in_dim={dim} for some input, but that input is a "
                f"Tensor of dimensionality {leaf.ndim} so expected in_dim to satisfy -{leaf.ndim} <= in_dim < "
                f"{leaf.ndim}."
            )
        sizes.add(leaf.shape[dim])
    if not sizes:
        raise ValueError(
            f"vmap({function}, in_dims, ...)(<inputs>): at least one input must be mapped over: all in_dims are None"
        )
    if len(sizes) > 1:
        raise ValueError(
            f"vmap: Expected all tensors to have the same size in the mapped dimension, got sizes {sorted(sizes)} for "
            "the mapped dimension"
        )
    return sizes.pop()


def _front(t: Tensor, dim: int) -> Tensor:
    return t if dim == 0 else ops.movedim(t, dim, 0)


def vmap(
    func: Callable[..., Any],
    in_dims: Any = 0,
    out_dims: Any = 0,
    randomness: str = "error",
    *,
    chunk_size: int | None = None,
) -> Callable[..., Any]:
    """A function of one example, applied to all examples of a batch at once.

    Args:
        func: takes tensors (or structures of them) without the batch dimension and gives such.
        in_dims: where the batch dimension is in the arguments; None for arguments that all examples share. An int for
            all, or a structure like that of the arguments.
        out_dims: where it goes in the results.
        randomness: what functions that draw random numbers do: "error", "same" numbers for all, or "different" ones.
        chunk_size: how many examples run at once; all by default.

    Returns:
        The function of batches.

    Raises:
        ValueError: sizes of the batch differ, or there is no batch.
        RuntimeError: the function looks at the elements of an example (`item`, `if t:`).

    Example:
        >>> x, y = torch.ones(5, 3), torch.arange(15.0).reshape(5, 3)
        >>> torch.vmap(torch.dot)(x, y)
        tensor([ 3., 12., 21., 30., 39.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(
            f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}"
        )
    if chunk_size is not None and chunk_size <= 0:
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")
    name = getattr(func, "__name__", repr(func))

    @functools.wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        leaves, spec = tree_flatten(args)
        dims = _spread(in_dims if not isinstance(in_dims, list) else tuple(in_dims), spec, "in_dims", name)
        named, named_spec = tree_flatten(kwargs)
        named_dims = [0 if isinstance(v, Tensor) else None for v in named]
        size = _batch_size(leaves + named, dims + named_dims, name)
        call = functools.partial(
            _run, func, spec, named_spec, len(leaves), dims + named_dims, randomness, out_dims, name
        )
        if chunk_size is None or size <= chunk_size:
            return call(leaves + named, size)
        return _chunked(call, leaves + named, dims + named_dims, size, chunk_size, out_dims, name)

    return batched


def _run(
    func: Callable[..., Any], spec: TreeSpec, named_spec: TreeSpec, count: int, dims: list[Any], randomness: str,
    out_dims: Any, name: str, leaves: list[Any], size: int,
) -> Any:  # fmt: skip
    with _level(size, randomness) as level:
        examples = [
            leaf if dim is None else Batched.wrap(level, _front(leaf, dim % leaf.ndim))
            for leaf, dim in zip(leaves, dims, strict=True)
        ]
        result = func(*tree_unflatten(examples[:count], spec), **tree_unflatten(examples[count:], named_spec))
        outputs, out_spec = tree_flatten(result)
        places = _out_places(out_dims, out_spec, name)
        return tree_unflatten(
            [_unwrapped(level, y, d, name) for y, d in zip(outputs, places, strict=True)], out_spec
        )  # fmt: skip


def _out_places(out_dims: Any, spec: TreeSpec, name: str) -> list[Any]:
    if isinstance(out_dims, tuple | list) and spec.is_leaf():
        if len(out_dims) != 1:
            raise ValueError(
                f"vmap({name}, ..., out_dims={out_dims!r}): out_dims is not compatible with the structure of `outputs`."
            )
        return list(out_dims)
    return _spread(out_dims, spec, "out_dims", name)


def _unwrapped(level: BatchLevel, y: Any, dim: int | None, name: str) -> Any:
    if not isinstance(y, Tensor):
        raise ValueError(
            f"vmap({name}, ...): `{name}` must only return Tensors, got type {type(y)}. Did you mean to set out_dims= "
            "to None for output?"
        )
    if dim is None:
        if level.holds(y):
            raise ValueError(
                f"vmap({name}, ...): `{name}` can not return a BatchedTensor when out_dim is None"
            )  # fmt: skip
        return y
    whole = level.physical(y)
    return whole if dim == 0 else ops.movedim(whole, 0, dim)


def _chunked(
    call: Callable[..., Any], leaves: list[Any], dims: list[Any], size: int, chunk: int, out_dims: Any, name: str
) -> Any:
    pieces = []
    for start in range(0, size, chunk):
        length = min(chunk, size - start)
        part = [v if d is None else ops.narrow(v, d % v.ndim, start, length) for v, d in zip(leaves, dims, strict=True)]
        pieces.append(tree_flatten(call(part, length)))
    spec = pieces[0][1]
    columns = zip(*(items for items, _ in pieces), strict=True)
    joined = [
        column[0] if dim is None else ops.cat(list(column), dim)
        for column, dim in zip(columns, _out_places(out_dims, spec, name), strict=True)
    ]
    return tree_unflatten(joined, spec)
