"""What programs take out of PyTorch's own helpers: lists of dense tensors as one vector, and back."""

from __future__ import annotations

from collections.abc import Sequence

from flambeau._core import Tensor
from flambeau.ops.names import operators as o

__all__ = ["_flatten_dense_tensors", "_unflatten_dense_tensors"]


def _flatten_dense_tensors(tensors: Sequence[Tensor]) -> Tensor:
    """The elements of several tensors of one dtype, one after the other."""
    return o.cat([t.reshape(-1) for t in tensors])


def _unflatten_dense_tensors(flat: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Views of a vector in the sizes of several tensors."""
    views, start = [], 0
    for t in tensors:
        views.append(flat.narrow(0, start, t.numel()).view(t.shape))
        start += t.numel()
    return tuple(views)
