"""Diagonals, copies with a part replaced, rotations: composites of views and copies."""

from .launch import wrap_dim
from .table import Composite, op


def _composite(signature: str, body, doc: str, ref=None, samples=None) -> None:
    op(signature, body=Composite(body), ref=ref, samples=samples, doc=doc)


def _diag_embed(o, self, offset, dim1, dim2):
    n = self.dim() + 1
    first, second = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if first == second:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    size = self.shape[-1] + abs(offset)
    shape = list(self.shape[:-1])
    for d in sorted((first, second)):
        shape.insert(d, size)
    return o.diagonal_backward(self, shape, offset, first, second)


_composite(
    "diag_embed(Tensor self, int offset=0, int dim1=-2, int dim2=-1) -> Tensor",
    _diag_embed,
    "Matrices with the last dimension of self on a diagonal, zero elsewhere.",
    lambda np, x: x[..., None] * np.eye(x.shape[-1]).astype(x.dtype),
    lambda s: [(s.x(3),), (s.x(2, 4),)],
)


def _diag(o, self, diagonal):
    if self.dim() not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {self.dim()}D")
    if self.dim() == 1:
        return _diag_embed(o, self, diagonal, 0, 1)
    return o.clone(o.diagonal(self, diagonal, 0, 1))


_composite(
    "diag(Tensor self, int diagonal=0) -> Tensor",
    _diag,
    "The diagonal of a matrix, or a matrix with a vector on its diagonal.",
    lambda np, x, diagonal=0: np.diag(x, diagonal),
    lambda s: [(s.x(3),), (s.x(3, 4), 1), (s.x(4), -2)],
)
_composite(
    "diagflat(Tensor self, int offset=0) -> Tensor",
    lambda o, self, offset: _diag_embed(o, self.reshape(-1), offset, 0, 1),
    "A matrix with all elements of self on its diagonal.",
    lambda np, x, offset=0: np.diagflat(x, offset),
    lambda s: [(s.x(2, 2),), (s.x(3), 1)],
)


def _with_part(o, self, src, part, name):
    out = o.clone(self)
    view = part(out)
    if view.shape != src.shape:
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = {list(src.shape)}, slice size = "
            f"{list(view.shape)} [in {name}]"
        )
    view.copy_(src)
    return out


_composite(
    "diagonal_scatter(Tensor self, Tensor src, int offset=0, int dim1=0, int dim2=1) -> Tensor",
    lambda o, self, src, offset, dim1, dim2: _with_part(
        o, self, src, lambda t: o.diagonal(t, offset, dim1, dim2), "diagonal_scatter"
    ),
    "A copy of self with src on a diagonal.",
)
_composite(
    "select_scatter(Tensor self, Tensor src, int dim, int index) -> Tensor",
    lambda o, self, src, dim, index: _with_part(o, self, src, lambda t: o.select(t, dim, index), "select_scatter"),
    "A copy of self with src at one position of a dimension.",
)
_composite(
    "slice_scatter(Tensor self, Tensor src, int dim=0, int? start=None, int? end=None, int step=1) -> Tensor",
    lambda o, self, src, dim, start, end, step: _with_part(
        o, self, src, lambda t: o.slice(t, dim, start, end, step), "slice_scatter"
    ),
    "A copy of self with src at positions start, start + step, ... of a dimension.",
)


def _as_strided_scatter(o, self, src, size, stride, storage_offset):
    start = self.storage_offset() if storage_offset is None else storage_offset
    reach = start + 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=False))
    held = self.untyped_storage().nbytes()
    if 0 not in size and reach * self.itemsize > held and not self.is_meta:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {start}, and itemsize "
            f"{self.itemsize} requiring a storage size of {reach * self.itemsize} are out of bounds for storage of "
            f"size {held}"
        )
    return _with_part(o, self, src, lambda t: o.as_strided(t, size, stride, storage_offset), "as_strided_scatter")


_composite(
    "as_strided_scatter(Tensor self, Tensor src, int[] size, int[] stride, int? storage_offset=None) -> Tensor",
    _as_strided_scatter,
    "A copy of self with src at the elements that as_strided would view.",
)


def _fill_diagonal(o, self, fill_value, wrap):
    if self.dim() < 2:
        raise RuntimeError(f"dimensions must larger than 1 [in fill_diagonal_: self={tuple(self.shape)}]")
    if self.dim() > 2 and len(set(self.shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    n = min(self.shape)
    step = sum(self.stride())
    o.as_strided(self, (n,), (step,), self.storage_offset()).fill_(fill_value)
    if wrap and self.dim() == 2 and self.shape[0] > self.shape[1] + 1:
        for first in range(self.shape[1] + 1, self.shape[0], self.shape[1] + 1):
            self.narrow(0, first, min(n, self.shape[0] - first)).diagonal().fill_(fill_value)
    return self


op(
    "fill_diagonal_(Tensor(a!) self, Scalar fill_value, bool wrap=False) -> Tensor(a!)",
    names=("Tensor.fill_diagonal_",),
    body=Composite(_fill_diagonal),
    doc="A number on the main diagonal, in place; wrap starts it anew below a tall matrix's end.",
)


def _unravel_index(o, indices, shape):
    if indices.dtype.is_floating_point or indices.dtype.is_complex or indices.dtype is o.bool:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    if not isinstance(shape, int | tuple | list):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if any(not isinstance(n, int) for n in sizes):
        kind = next(type(n) for n in sizes if not isinstance(n, int))
        raise TypeError(f"expected 'shape' sequence to only contain ints, but got {kind}")
    if any(n < 0 for n in sizes):
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    places, step, indices = [], 1, indices.to(o.int64)
    for n in reversed(sizes):
        places.insert(0, o.remainder(o.div(indices, step, rounding_mode="floor"), n))
        step *= n
    return tuple(places)


op(
    "unravel_index(Tensor indices, Any shape) -> Any",
    names=("unravel_index",),
    body=Composite(_unravel_index),
    differentiable=False,
    doc="""Positions in a flattened tensor as one index for each dimension.

    Example:
        >>> torch.unravel_index(torch.tensor([1, 5]), (2, 3))
        (tensor([0, 1]), tensor([1, 2]))""",
)


def _rot90(o, self, k, dims):
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if self.dim() < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {self.dim()}")
    a, b = (wrap_dim(d, self.dim()) for d in dims)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    turns = k % 4
    if turns == 1:
        return o.transpose(o.flip(self, (b,)), a, b)
    if turns == 2:
        return o.flip(self, (a, b))
    return o.transpose(o.flip(self, (a,)), a, b) if turns == 3 else o.clone(self)


_composite(
    "rot90(Tensor self, int k=1, int[] dims=[0,1]) -> Tensor",
    _rot90,
    "self turned by 90 degrees k times, from the first of two dimensions towards the second.",
    lambda np, x, k=1, dims=(0, 1): np.rot90(x, k, dims),
    lambda s: [(s.x(2, 3),), (s.x(2, 3), 2), (s.x(2, 3, 2), -1, (1, 2))],
)
