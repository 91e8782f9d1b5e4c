"""Joining, repeating and combining tensors: composites over views and copies, with the gradient of cat by hand."""

import itertools

from .launch import check_tensors, needs_grad, values_suffice, wrap_dim
from .table import ANY, Composite, Native, op


def _promoted(o, tensors):
    dtype = tensors[0].dtype
    for t in tensors[1:]:
        if t.dtype is not dtype:
            dtype = o.result_type(o.empty((1,), dtype=dtype), o.empty((1,), dtype=t.dtype))
    return dtype


def _cat_grad(o, g, tensors, dim):
    joined = [t for t in tensors if t.ndim == g.ndim]  # others have no elements, and are passed over
    parts = iter(_cut(o.split_with_sizes(g, [t.shape[dim] for t in joined], dim), joined, g))
    return ([next(parts) if t.ndim == g.ndim else o.zeros((0,), dtype=t.dtype) for t in tensors],)


def _stack_grad(o, g, tensors, dim):
    return (_cut(o.unbind(g, dim), tensors, g),)


def _cut(parts, tensors, g):
    """What each tensor gets of a gradient: one operator has cut it, as there may be thousands of them."""
    return [parts[i] if t.dtype is g.dtype else parts[i].to(t.dtype) for i, t in enumerate(tensors)]


op(
    "cat(Tensor[] tensors, int dim=0) -> Tensor",
    names=("cat", "concat", "concatenate"),
    dtypes=ANY,
    body=Native("cat"),
    grad=_cat_grad,
    ref=lambda np, xs, dim=0: np.concatenate(xs, axis=dim),
    doc="Tensors one after the other along a dimension.",
)
op(
    "stack(Tensor[] tensors, int dim=0) -> Tensor",
    names=("stack",),
    dtypes=ANY,
    body=Native("stack"),
    grad=_stack_grad,
    ref=lambda np, xs, dim=0: np.stack(xs, axis=dim),
    doc="Tensors of one shape along a new dimension.",
)


def _stack_along(name, dim, lift):
    def body(o, tensors):
        tensors = [lift(o, t) for t in tensors]
        if not tensors:
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        return o.cat(tensors, dim if tensors[0].dim() > 1 or name != "hstack" else 0)

    return body


for _name, _dim, _lift in (
    ("hstack", 1, lambda o, t: o.atleast_1d(t)),
    ("vstack", 0, lambda o, t: o.atleast_2d(t)),
    ("dstack", 2, lambda o, t: o.atleast_3d(t)),
):
    op(
        f"{_name}(Tensor[] tensors) -> Tensor",
        names=(_name, "row_stack") if _name == "vstack" else (_name,),
        body=Composite(_stack_along(_name, _dim, _lift)),
        doc=f"Tensors joined along dimension {_dim}, as numpy.{_name} does.",
    )


def _atleast(n):
    def body(o, self):
        if self.dim() >= n:
            return self
        if self.dim() == 0:
            return self.reshape((1,) * n)
        if n == 2:
            return self.unsqueeze(0)
        return self.unsqueeze(0).unsqueeze(-1) if self.dim() == 1 else self.unsqueeze(-1)

    return body


for _n in (1, 2, 3):
    op(
        f"atleast_{_n}d(Tensor self) -> Tensor",
        names=(f"atleast_{_n}d",),
        body=Composite(_atleast(_n)),
        doc=f"self with at least {_n} dimensions.",
    )


    op(
        f"atleast_{_n}d.Sequence(Tensor[] tensors) -> Tensor[]",
        names=(f"atleast_{_n}d",),
        body=Composite((lambda lift: lambda o, tensors: [lift(o, t) for t in tensors])(_atleast(_n))),
        doc=f"Each of several tensors with at least {_n} dimensions.",
    )


def _repeat(o, self, repeats):
    repeats = tuple(repeats)
    if len(repeats) < self.dim():
        raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
    if any(r < 0 for r in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(repeats)}: {list(repeats)}")
    sizes = (1,) * (len(repeats) - self.dim()) + tuple(self.shape)
    x, shape = self.reshape(sizes), []
    for d in reversed(range(len(sizes))):
        x = x.unsqueeze(d)
    for r, s in zip(repeats, sizes, strict=True):
        shape += [r, s]
    return (
        x.expand(shape)
        .clone(memory_format=o.contiguous_format)
        .view([r * s for r, s in zip(repeats, sizes, strict=True)])
    )


op(
    "repeat(Tensor self, int[] repeats) -> Tensor",
    names=("Tensor.repeat",),
    body=Composite(_repeat),
    doc="Copies of self side by side, repeats[d] of them along each dimension.",
)


def _tile(o, self, dims):
    dims = tuple(dims)
    return _repeat(o, self, (1,) * (self.dim() - len(dims)) + dims)


op(
    "tile(Tensor self, int[] dims) -> Tensor",
    body=Composite(_tile),
    ref=lambda np, x, dims: np.tile(x, dims),
    doc="repeat, with missing repeats taken as 1.",
)


def _counted(o, repeats, n: int, dim: int):
    """Positions 0 .. n-1, each as often as `repeats` says."""
    if repeats.dtype not in (o.int64, o.int32):
        raise NotImplementedError(f"\"repeat_interleave_cpu\" not implemented for '{repeats.dtype.title}'")
    if repeats.dim() > 1 or repeats.numel() not in (1, n):
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{repeats.numel()} and input.size({dim}) = {n}"
        )
    repeats = repeats.detach().reshape(-1).expand(n)
    if n and int(o.min(repeats)) < 0:
        raise RuntimeError("repeats can not be negative")
    ends = o.cumsum(repeats, 0)
    at = o.arange(int(ends[-1]) if n else 0, device=repeats.device)
    return o.searchsorted(ends, at, right=True)


def _check_output_size(index, output_size: int | None) -> None:
    if output_size is not None and output_size != index.numel():
        raise RuntimeError(f"repeat_interleave: Invalid output_size, expected {index.numel()} but got {output_size}")


def _positions_repeated(o, repeats, *, output_size=None):
    if repeats.dim() != 1:
        raise RuntimeError(f"repeat_interleave only accept 1D vector as repeat [got {repeats.dim()}D]")
    index = _counted(o, repeats, repeats.numel(), 0)
    _check_output_size(index, output_size)
    return index


def _repeat_interleave(o, self, repeats, dim=None, *, output_size=None):
    if dim is None:
        self, dim = self.reshape(-1), 0
    dim = wrap_dim(dim, self.dim())
    n = self.shape[dim] if self.dim() else 1
    if isinstance(repeats, int):
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        index = o.arange(n, device=self.device).unsqueeze(1).expand(n, repeats).reshape(-1)
    else:
        index = _counted(o, repeats, n, dim)
    _check_output_size(index, output_size)
    return o.index_select(self if self.dim() else self.reshape(1), dim, index)


op(
    ["repeat_interleave.self_int(Tensor self, int repeats, int? dim=None, *, int? output_size=None) -> Tensor",
     "repeat_interleave.self_Tensor(Tensor self, Tensor repeats, int? dim=None, *, int? output_size=None) -> Tensor"],
    names=("repeat_interleave", "Tensor.repeat_interleave"),
    body=Composite(_repeat_interleave),
    ref=lambda np, x, repeats, dim=None: np.repeat(x, repeats, axis=dim),
    doc="Each element (or slice) of self repeated.",
)  # fmt: skip
op(
    "repeat_interleave.Tensor(Tensor repeats, *, int? output_size=None) -> Tensor",
    names=("repeat_interleave",),
    body=Composite(_positions_repeated),
    differentiable=False,
    doc="Positions 0, 1, ..., each as often as repeats says.",
)


def _roll(o, self, shifts, dims=None):
    shifts, dims = list(shifts), list(dims or ())
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims:
        if len(shifts) != 1:
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:0")
        return _roll(o, self.reshape(-1), shifts, [0]).view(self.shape)
    if len(shifts) != len(dims):
        raise RuntimeError(f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}")
    if not self.dim():
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    return o.rolled(self, shifts, dims)


op(
    "rolled(Tensor self, int[] shifts, int[] dims) -> Tensor",
    names=(),
    dtypes=ANY,
    body=Native("rolled"),
    grad=lambda o, g, self, shifts, dims: (o.rolled(g, [-shift for shift in shifts], dims),),
    doc="roll along dimensions that are named.",
)
op(
    "roll(Tensor self, int[1] shifts, int[1]? dims=None) -> Tensor",
    body=Composite(_roll),
    ref=lambda np, x, shifts, dims=None: np.roll(x, shifts, dims),
    doc="Elements moved along dimensions; what leaves at the end comes back at the start.",
)


def _one_hot(o, self, num_classes=-1):
    if self.dtype is not o.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if self.numel() == 0 and num_classes <= 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    low, high = (int(self.min()), int(self.max())) if self.numel() else (0, -1)
    if low < 0:
        raise RuntimeError("Class values must be non-negative.")
    if num_classes == -1:
        num_classes = high + 1
    elif high >= num_classes:
        raise RuntimeError("Class values must be smaller than num_classes.")
    return (self.unsqueeze(-1) == o.arange(num_classes)).to(o.int64)


op(
    "one_hot(Tensor self, int num_classes=-1) -> Tensor",
    names=("nn.functional.one_hot",),
    body=Composite(_one_hot),
    doc="For each class number a row with 1 at its place and 0 elsewhere.",
)


def _meshgrid(o, *tensors, indexing=None):
    if len(tensors) == 1 and isinstance(tensors[0], list | tuple):
        tensors = tensors[0]
    check_tensors(tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for t in tensors:
        if t.dim() > 1:
            raise RuntimeError(f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got:  {t.dim()}")
        if t.dtype is not tensors[0].dtype:
            raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    flat = [t.reshape(-1) for t in tensors]
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}')
    swap = indexing == "xy" and len(flat) >= 2
    if swap:
        flat[0], flat[1] = flat[1], flat[0]
    sizes = [t.numel() for t in flat]
    grids = [t.view([-1 if d == i else 1 for d in range(len(flat))]).expand(sizes) for i, t in enumerate(flat)]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


op(
    "meshgrid(Any tensors, *, str? indexing=None) -> Any",
    names=("meshgrid",),
    body=Composite(_meshgrid, raw=True),
    doc="Coordinates of a grid, one tensor a dimension. Views.",
)


# ---- all pairs, blocks


def _check_vectors(tensors) -> None:
    for t in tensors:
        if t.dim() != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")


def _cartesian_prod(o, *tensors):
    check_tensors(tensors)
    _check_vectors(tensors)
    if len(tensors) == 1:
        return tensors[0]
    return o.stack([g.reshape(-1) for g in _meshgrid(o, *tensors, indexing="ij")], 1)


op(
    "cartesian_prod(Any tensors) -> Tensor",
    names=("cartesian_prod",),
    body=Composite(_cartesian_prod, raw=True),
    doc="All combinations of an element of each vector, a row each.",
)


def _combinations(o, input, r=2, with_replacement=False):
    _check_vectors([input])
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if not r:
        return o.empty((0,), dtype=input.dtype, device=input.device)
    n = input.numel()
    if r > n and (not with_replacement or not n):
        return o.clone(o.expand(o.unsqueeze(o.narrow(input, 0, 0, 0), 1), (0, r)))
    if r > 64:  # as many dimensions as a grid can have
        raise RuntimeError(f"combinations: {r} elements of {n} are too many choices [in combinations: input=({n},)]")
    grids = _meshgrid(o, *[o.arange(n, device=input.device)] * r, indexing="ij")
    keep = o.ones([n] * r, dtype=o.bool, device=input.device)
    for a, b in itertools.pairwise(grids):
        keep = keep & (a <= b if with_replacement else a < b)
    return o.stack([o.index_select(input, 0, o.masked_select(g, keep)) for g in grids], 1)


op(
    "combinations(Tensor input, int r=2, bool with_replacement=False) -> Tensor",
    names=("combinations",),
    body=Composite(_combinations),
    doc="All choices of r elements of a vector in their order, a row each.",
)


def _written_blocks(o, blocks, dtype, width: int):
    """Blocks along a diagonal, written where they stand."""
    out = o.zeros((sum(b.shape[0] for b in blocks), width), dtype=dtype, device=blocks[0].device)
    row = column = 0
    for b in blocks:
        height, width = b.shape
        o.narrow(o.narrow(out, 0, row, height), 1, column, width).copy_(b)
        row, column = row + height, column + width
    return out


def _block_diag(o, *tensors):
    check_tensors(tensors)
    blocks = []
    for i, t in enumerate(tensors):
        if t.dim() > 2:
            raise RuntimeError(
                f"torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {t.dim()} dimensions"
            )
        blocks.append(t if t.dim() == 2 else t.reshape([1] * (2 - t.dim()) + list(t.shape)))
    if not blocks:
        return o.empty((1, 0))
    dtype, width, before = _promoted(o, blocks), sum(b.shape[1] for b in blocks), 0
    if all(values_suffice(b) for b in blocks) and not needs_grad(o, *blocks):
        return _written_blocks(o, blocks, dtype, width)
    rows = []
    for b in blocks:
        after = width - before - b.shape[1]
        rows.append(o.pad(b.to(dtype), [before, after]))
        before += b.shape[1]
    return o.cat(rows, 0)


op(
    "block_diag(Any tensors) -> Tensor",
    names=("block_diag",),
    body=Composite(_block_diag, raw=True),
    doc="A matrix with the given matrices along its diagonal and zeros elsewhere.",
)


def _column_stack(o, tensors):
    if not tensors:
        raise RuntimeError("column_stack expects a non-empty TensorList")
    return o.hstack([t.reshape(t.numel(), 1) if t.dim() <= 1 else t for t in tensors])


op(
    "column_stack(Tensor[] tensors) -> Tensor",
    names=("column_stack",),
    body=Composite(_column_stack),
    doc="Vectors as columns, and matrices, side by side.",
)
