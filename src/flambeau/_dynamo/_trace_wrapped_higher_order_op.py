"""Indexing by what `vmap` maps over."""

from contextlib import AbstractContextManager, nullcontext


def TransformGetItemToIndex() -> AbstractContextManager[None]:
    """A `with` block in which tensors that `vmap` maps over may be indices: everywhere they may."""
    return nullcontext()
