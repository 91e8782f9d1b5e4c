"""Whole slices along a dimension by a vector of positions: index_select, index_add, index_copy, embedding."""

from .launch import number_as, remembered, wrap_dim, written
from .table import Composite, Loop, Native, op
from .writing import plain_source, write_slices


def _length(self, dim: int) -> int:
    return self.shape[dim] if self.dim() else 1


op(
    "index_select(Tensor self, int dim, Tensor index) -> Tensor",
    body=Native("index_select"),
    grad=lambda o, g, self, dim, index: (o.index_sum(g, dim, index, self.shape), None),
    ref=lambda np, x, dim, index: np.take(x, index, axis=dim),
    doc="Slices of self at the positions of index, along one dimension.",
)


def _vector(o, index):
    return index.reshape(-1).to(o.int64).contiguous()


def _sum_plan(o, source, dim, index, size):
    out = o.empty(size, dtype=source.dtype, device=source.device)
    dim = wrap_dim(dim, len(size))
    return write_slices(o, out, dim, _vector(o, index), plain_source(source), "add", fresh=True)


op(
    "index_sum(Tensor source, int dim, Tensor index, int[] size) -> Tensor",
    names=(),
    body=Loop(_sum_plan),
    grad=lambda o, g, source, dim, index, size: (o.index_select(g, dim, index), None),
    doc="Zeros with slices of source added at index: the gradient of index_select, whose index was checked.",
)


def check_slices(o, name, self, dim, index, source) -> None:
    """Raises, in the order of PyTorch's checks, where slices of source along dim do not go to those of self at index."""
    if index.dim() > 1:
        raise IndexError(
            f"{name}: Index is supposed to be a vector, but got dim: {index.dim()} with type: "
            f"{index.dtype.title} and size: {list(index.shape)}"
        )
    if index.dtype not in (o.int64, o.int32):
        raise RuntimeError(f"{name}: Expected dtype int32/int64 for index but got: {index.dtype.title}")
    if self.dtype is not source.dtype:
        raise RuntimeError(
            f"{name}: self ({self.dtype.title}) and source ({source.dtype.title}) must have the same scalar type"
        )
    if dim and dim >= source.dim():
        raise RuntimeError(
            f"{name}: Indexing dim {dim} is out of bounds of the source tensor with dim {source.dim()}"
        )
    if index.numel() != _length(source, dim):
        if not source.dim():
            raise IndexError("Dimension specified as 0 but tensor has no dimensions")
        raise RuntimeError(
            f"{name}: Number of indices ({index.numel()}) should be equal to source.size(dim): "
            f"({_length(source, dim)}), for dim: {dim}"
        )
    if source.dim() != self.dim() or _others(source, dim) != _others(self, dim):
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. Got self.shape = "
            f"{list(self.shape)} source.shape = {list(source.shape)}"
        )


def _others(tensor, dim) -> list[int]:
    return [s for d, s in enumerate(tensor.shape) if d != dim]


def _add_plan(o, self, dim, index, source, alpha=1, into=False):
    dim = wrap_dim(dim, self.dim())
    check_slices(o, "index_add_()", self, dim, index, source)
    if self.dim() == 2 and index.dtype is o.int64 and alpha == 1:  # where PyTorch adds by scatter_add
        kind, sentence = RuntimeError, "index {bad} is out of bounds for dimension {dim} with size {size}"
    else:
        kind, sentence = IndexError, "index out of range in self"
    check_positions(o, "index_add", index, self, dim, sentence, kind)
    out, at, source = written(o, self, into, index, plain_source(source))
    launch = write_slices(o, out, dim, _vector(o, at), source, "add", alpha)
    return remembered(launch, self, [index], [_length(self, dim)])


def check_positions(o, name, index, self, dim, sentence="index out of range in self", kind=IndexError) -> None:
    """Raises where an index is no position in a dimension of self."""
    size = _length(self, dim)
    bad = o.first_outside(index, size)
    if bad is not None:
        text = sentence.format(bad=bad, dim=dim, size=size)
        raise kind(
            f"{text} [in {name}: self={tuple(self.shape)}, dim={dim}, index {bad}]. Indices must lie in [0, {size})."
        )


op(
    "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
    body=Loop(_add_plan, in_place=True, pure=True),
    inplace=True,
    grad=lambda o, g, self, dim, index, source, alpha: (g, None, o.index_select(g, dim, index) * alpha),
    doc="self[index[i]] += alpha * source[i] for slices along one dimension, in the order of i.",
)


def _copy_plan(o, self, dim, index, source, into=False):
    dim = wrap_dim(dim, self.dim())
    if index.dim() > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {index.dim()})")
    if not source.dim() and index.numel() != 1:
        raise IndexError(
            f"index_copy_(): When source is scalar, index should have one element (got {index.numel()})"
        )
    if source.dim() and self.dim() and source.dim() != self.dim():
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must match. Source "
            f"dimensionality ({source.dim()}), destination dimensionality ({self.dim()})"
        )
    if index.dtype is not o.int64:
        raise RuntimeError(f"index_copy_(): Expected a long tensor for index, but got {index.dtype.title}")
    if self.dtype is not source.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{self.dtype.title} and (source) {source.dtype.title}"
        )
    mine, theirs = _others(self, dim), _others(source, dim)
    if mine != theirs:
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination slice shape: "
            f"{' '.join(map(str, mine))} at dimension {dim} and source slice shape: {' '.join(map(str, theirs))} at "
            "dimension 0."
        )
    have = _length(source, dim if self.dim() else 0)
    if have != index.numel():
        raise IndexError(
            f"index_copy_(): Number of indices ({index.numel()}) should be equal to source.size(dim) ({have})"
        )
    sentence = "index_copy_(): index {bad} is out of bounds for dimension {dim} with size {size}"
    check_positions(o, "index_copy", index, self, dim, sentence)
    out, at, source = written(o, self, into, index, plain_source(source))
    return remembered(write_slices(o, out, dim, _vector(o, at), source), self, [index], [_length(self, dim)])


op(
    "index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
    body=Loop(_copy_plan, in_place=True, pure=True),
    inplace=True,
    grad=lambda o, g, self, dim, index, source: (
        o.index_fill(g, dim, index, 0), None, o.reshape(o.index_select(g, dim, index), source.shape),
    ),
    doc="self[index[i]] = source[i] for slices along one dimension.",
)  # fmt: skip


def _index_fill_plan(o, self, dim, index, value, into=False):
    dim = wrap_dim(dim, self.dim())
    if index.dtype is not o.int64:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if index.dim() > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    if isinstance(value, complex) and not self.dtype.is_complex:
        raise RuntimeError("index_fill_(): Converting complex Scalar to non-complex type is not supported")
    if isinstance(value, o.Tensor):
        if value.dim():
            raise RuntimeError(
                "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                f"{value.dim()} dimension(s)."
            )
        fill = value.to(self.dtype)  # wraps where the number does not fit: to look would wait for a device
    else:
        fill = number_as(self.dtype, value)
    size = _length(self, dim)
    bad = o.first_outside(index, size, True)
    if bad is not None:
        raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size} [in index_fill]")
    at = index if o.first_outside(index, size) is None else o.where(index < 0, index + size, index)
    out, at, *copied = written(o, self, into, at, *([fill] if isinstance(fill, o.Tensor) else []))
    launch = write_slices(o, out, dim, _vector(o, at), copied[0] if copied else fill)
    return remembered(launch, self, [index], [size])


_INDEX_FILL = {
    "names": ("index_fill", "Tensor.index_fill"),
    "body": Loop(_index_fill_plan, in_place=True, pure=True),
    "inplace": True,
    "doc": "self[index[i]] = value for slices along one dimension.",
}
op(
    "index_fill.Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
    grad=lambda o, g, self, dim, index, value: (o.index_fill(g, dim, index, 0), None),
    **_INDEX_FILL,
)
op(
    "index_fill.Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor",
    grad=lambda o, g, self, dim, index, value: (
        o.index_fill(g, dim, index, 0),
        None,
        o.sum(o.where(o.index_fill(o.zeros_like(g), dim, index, 1) != 0, g, 0)),  # once, however often it is named
    ),
    **_INDEX_FILL,
)


# ---- embedding


def _embedding_grad(o, g, weight, indices, padding_idx, scale_grad_by_freq, sparse):
    return (o.embedding_backward(g, indices, weight.shape[0], padding_idx, scale_grad_by_freq), None)


op(
    "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False)"
    " -> Tensor",
    names=("embedding",),
    body=Native("embedding"),
    grad=_embedding_grad,
    doc="Rows of weight at the positions of indices. Raises IndexError for an index outside the table.",
)


def _embedding_backward(o, grad, indices, num_weights, padding_idx, scale_grad_by_freq):
    width = grad.shape[-1]
    flat = indices.reshape(-1)
    rows = grad.reshape(flat.numel(), width)
    if scale_grad_by_freq:
        ones = o.ones((flat.numel(),), dtype=grad.dtype, device=grad.device)
        rows = rows / o.index_select(o.index_sum(ones, 0, flat, [num_weights]), 0, flat).unsqueeze(-1)
    out = o.index_sum(rows, 0, flat, [num_weights, width])
    if padding_idx >= 0:
        out.narrow(0, padding_idx, 1).zero_()
    return out


op(
    "embedding_backward(Tensor grad, Tensor indices, int num_weights, int padding_idx, bool scale_grad_by_freq)"
    " -> Tensor",
    names=(),
    body=Composite(_embedding_backward),
    doc="Gradient of embedding: rows are summed in the order of the indices.",
)
