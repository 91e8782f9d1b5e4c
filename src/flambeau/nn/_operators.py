"""Functions whose arguments are not those of the operator behind them. `nn.functional` gives them out."""

from __future__ import annotations

import warnings
from typing import Any

from flambeau import functional_ns as o
from flambeau.ops.launch import check_tensor

Tensor = o.Tensor


def _softmax_dim(name: str, ndim: int) -> int:
    """The dimension that programs of long ago meant where they named none."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an argument.",
        stacklevel=3,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """exp(x_i) / sum_j exp(x_j) along a dimension."""
    if dim is None:
        dim = _softmax_dim("softmax", input.dim())
    return o.softmax(input, dim) if dtype is None else o.softmax(input.to(dtype), dim)


def log_softmax(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """log(softmax(x)) along a dimension."""
    if dim is None:
        dim = _softmax_dim("log_softmax", input.dim())
    return o.log_softmax(input, dim) if dtype is None else o.log_softmax(input.to(dtype), dim)


def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """softmax(-x) along a dimension."""
    if dim is None:
        dim = _softmax_dim("softmin", input.dim())
    return softmax(-input, dim, dtype=dtype)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table at given indices.

    Args:
        padding_idx: an entry that gets no gradient.
        max_norm: longer rows that are looked up are shortened to this norm, in the table itself.
        norm_type: the order of that norm.
        scale_grad_by_freq: divide gradients by how often an entry occurs.
        sparse: the gradient of a table that is a leaf is a sparse tensor of the rows that were looked up.
    """
    check_tensor("embedding", "weight", weight)
    rows = weight.size(0)
    if padding_idx is None:
        padding_idx = -1
    elif not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    else:
        padding_idx %= rows
    if max_norm is not None:
        _shorten_rows(weight, input, max_norm, norm_type)
    if sparse and weight.is_leaf and weight.requires_grad and o.is_grad_enabled():
        return _SparseEmbedding.apply(weight, input, padding_idx, scale_grad_by_freq)
    return o.embedding(weight, input, padding_idx, scale_grad_by_freq, False)


class _SparseEmbedding(o.Function):
    """Rows of a table; its gradient holds the rows of the result where they were taken from."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, input: Tensor, padding_idx: int, scale_grad_by_freq: bool) -> Tensor:
        if scale_grad_by_freq:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        ctx.save_for_backward(input)
        ctx.size, ctx.padding_idx = tuple(weight.shape), padding_idx
        return o.embedding(weight, input, padding_idx, False, False)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        (input,) = ctx.saved_tensors
        places, rows = input.reshape(-1), grad.reshape(-1, ctx.size[1])
        if ctx.padding_idx >= 0:
            kept = o.nonzero(places != ctx.padding_idx).reshape(-1)
            places, rows = places.index_select(0, kept), rows.index_select(0, kept)
        return o.sparse_coo_tensor(places.unsqueeze(0), rows, ctx.size), None, None, None


def _shorten_rows(weight: Tensor, index: Tensor, max_norm: float, norm_type: float) -> None:
    with o.no_grad():
        chosen = o.unique(index.reshape(-1))
        rows = weight.index_select(0, chosen)
        norms = o.linalg.vector_norm(rows, norm_type, 1, True)
        weight.index_copy_(0, chosen, o.where(norms > max_norm, rows * (max_norm / (norms + 1e-7)), rows))


def conv_tbc(input: Tensor, weight: Tensor, bias: Tensor, pad: int = 0) -> Tensor:
    """conv1d of time, batch, channels; the weight is width, channels in, channels out."""
    return o.conv1d(input.permute(1, 2, 0), weight.permute(2, 1, 0), bias, 1, pad).permute(2, 0, 1)
