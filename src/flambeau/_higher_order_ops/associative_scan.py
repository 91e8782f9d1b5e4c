"""What a function makes of all elements up to each one, in as many steps as the number of elements has digits.

Pairs of neighbours are combined, the scan of these is found in the same way, and gives every second result; the others
take one combination more (Blelloch 1990, "Prefix sums and their applications").
"""

from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as _o
from flambeau.batching.vmap import vmap as _vmap
from flambeau.utils import _pytree

__all__ = ["associative_scan"]

Leaves = list[Any]


def associative_scan(
    combine_fn: Callable[[Any, Any], Any], xs: Any, dim: int, reverse: bool = False, combine_mode: str = "pointwise"
) -> Any:
    """y_0 = x_0, y_i = combine_fn(y_{i-1}, x_i) for a function that is associative.

    Args:
        combine_fn: takes two trees like `xs`, without its dimension `dim` in mode "generic", and gives another one.
        xs: a tensor, or a tree of tensors that have the same size in `dim`.
        dim: what is scanned.
        reverse: from the last element to the first.
        combine_mode: "pointwise", where `combine_fn` does the same for each element, or "generic".

    Returns:
        A tree like `xs`.

    Raises:
        ValueError: there are no tensors, or the mode is another one.
        RuntimeError: sizes in `dim` differ.

    Example:
        >>> import torch
        >>> from torch._higher_order_ops import associative_scan
        >>> associative_scan(lambda a, b: a * b, torch.tensor([1.0, 2.0, 3.0, 4.0]), 0)
        tensor([ 1.,  2.,  6., 24.])
    """
    leaves, spec = _pytree.tree_flatten(xs)
    if combine_mode not in ("pointwise", "generic"):
        raise ValueError(f"Combine_mode must either 'pointwise' or 'generic', but got {combine_mode}")
    if not leaves:
        raise ValueError("Expected at least 1 xs leaf")
    moved = [_o.movedim(x, dim, 0) for x in leaves]
    if len({len(x) for x in moved}) > 1:
        raise RuntimeError(
            f"the tensors of xs must have the same size in dim {dim} [in associative_scan: {[len(x) for x in moved]}]"
        )
    function = combine_fn if combine_mode == "pointwise" else _vmap(combine_fn)

    def combine(a: Leaves, b: Leaves) -> Leaves:
        made = function(_pytree.tree_unflatten(a, spec), _pytree.tree_unflatten(b, spec))
        return _pytree.tree_leaves(made)

    moved = [x.flip(0) for x in moved] if reverse else moved
    found = _scan(combine, moved)
    found = [x.flip(0) for x in found] if reverse else found
    return _pytree.tree_unflatten([_o.movedim(x, 0, dim) for x in found], spec)


def _scan(combine: Callable[[Leaves, Leaves], Leaves], xs: Leaves) -> Leaves:
    """The scan over the first dimension of each tensor."""
    n = len(xs[0])
    if n < 2:
        return xs
    odd = _scan(combine, combine([x[: n - n % 2 : 2] for x in xs], [x[1::2] for x in xs]))
    first = [x[:1] for x in xs]
    if n == 2:
        return [_o.cat([f, y]) for f, y in zip(first, odd, strict=True)]
    later = combine([y[: (n - 1) // 2] for y in odd], [x[2::2] for x in xs])
    even = [_o.cat([f, y]) for f, y in zip(first, later, strict=True)]
    return [_woven(a, b) for a, b in zip(even, odd, strict=True)]


def _woven(even: Any, odd: Any) -> Any:
    """One of each in turn."""
    pairs = _o.stack([even[: len(odd)], odd], 1).flatten(0, 1)
    return _o.cat([pairs, even[len(odd) :]]) if len(even) > len(odd) else pairs
