"""Indexing with tensors: x[i, :, j], x[mask], and writing through them."""

from .launch import product, remembered, written
from .table import Composite, Loop, Native, op
from .writing import plain_source, write_slices


def _expand_masks(o, x, indices) -> list:
    """Indices with each bool mask replaced by the positions where it holds, one index a dimension of the mask."""
    out = []
    for index in indices:
        if index is None or index.dtype not in (o.bool, o.uint8):
            out.append(index)
            continue
        at = len(out)
        for k in range(index.dim()):
            if at + k >= x.dim() or index.shape[k] != x.shape[at + k]:
                raise IndexError(
                    f"The shape of the mask {list(index.shape)} at index {k} does not match the shape of the indexed "
                    f"tensor {list(x.shape)} at index {at + k}"
                )
        out.extend(o.unbind(o.nonzero(index), 1))
    return out


op(
    "flat_positions(Tensor?[] tensors, int[] sizes, bool check) -> Tensor",
    names=(),
    body=Native("flat_positions"),
    differentiable=False,
    doc="Positions in dimensions of these sizes as one int64 position in all of them, in the tensors' common shape.",
)


def _plain(o, tensors, sizes) -> bool:
    """Whether indices are positions as they lie in memory: of one shape, none counted from the end."""
    return bool(tensors) and all(
        t.dtype is o.int64 and t.is_contiguous() and t.shape == tensors[0].shape and o.first_outside(t, size) is None
        for t, size in zip(tensors, sizes, strict=True)
    )


class _Indexed:
    """x[indices], checked: x seen as [front, indexed dimensions, back].

    Attributes:
        order: how x's dimensions are permuted for that.
        positions: int64 positions in each of the indexed dimensions, or in all of them, seen as one.
        plain: whether these are the indices as they were given.
        front, sizes, back: sizes of the three groups of dimensions.
    """

    def __init__(self, o, x, indices):
        indices = _expand_masks(o, x, indices)
        if len(indices) > x.dim():
            raise IndexError(f"too many indices for tensor of dimension {x.dim()} (got {len(indices)})")
        used = [d for d, i in enumerate(indices) if i is not None]
        adjacent = used == list(range(used[0], used[-1] + 1)) if used else True
        lead = list(range(used[0])) if used and adjacent else []
        rest = [d for d in range(x.dim()) if d not in used and d not in lead]
        self.order = [*lead, *used, *rest]
        self.front, self.sizes, self.back = ([x.shape[d] for d in part] for part in (lead, used, rest))
        tensors, check = [indices[d] for d in used], bool(product([*self.front, *self.back]))
        self.plain = check and _plain(o, tensors, self.sizes)
        self.positions = tensors if self.plain else [o.flat_positions(tensors, self.sizes, check)]

    @property
    def straight(self) -> bool:
        """Whether x's dimensions need not be permuted."""
        return self.order == sorted(self.order)

    def restored(self, target):
        """What has its dimensions in this order, with those of x again."""
        return target.permute(sorted(range(len(self.order)), key=self.order.__getitem__))

    @property
    def result(self) -> list[int]:
        return [*self.front, *self.positions[0].shape, *self.back]


op(
    "index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
    names=("index", "Tensor.index"),
    body=Native("index"),
    grad=lambda o, g, self, indices: (o.index_sum_at(g, self.shape, indices), None),
    doc="self[indices] for a list of integer or bool tensors, None for a dimension taken whole. A copy.",
)


def _is_slice(values, at) -> bool:
    """Whether every position takes the same slice, which values are."""
    back = len(at.back)
    alike = not at.front and all(n == 1 for n in values.shape[: max(values.dim() - back, 0)])
    return alike and values.numel() == product(at.back)


def _put_launch(o, at, target, values, accumulate, result, fresh=False):
    """Writes values to target, whose dimensions are in the order of `at`."""
    if values.numel() != 1 and (accumulate or not _is_slice(values, at)):
        values = values.expand(at.result)
    seen = target.view(product(at.front), product(at.sizes), product(at.back))
    axes = [t.reshape(-1) for t in at.positions]
    index, sizes = (axes, at.sizes) if len(axes) > 1 else (axes[0], ())
    reduce = "add" if accumulate else ""
    launch = write_slices(o, seen, 1, index, plain_source(values), reduce, fresh=fresh, sizes=sizes)
    launch.results = (result,)
    return launch


def _put_plan(o, self, indices, values, accumulate=False, into=False):
    if values.dtype is not self.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{self.dtype.title} for the destination and {values.dtype.title} for the source."
        )
    at = _Indexed(o, self, indices)
    try:
        values.expand(at.result)
    except RuntimeError as error:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of "
            f"shape {at.result}"
        ) from error
    seen = self if at.straight else self.permute(at.order)
    target, values, *at.positions = written(o, seen, into and at.straight, values, *at.positions)
    launch = _put_launch(o, at, target, values, accumulate, target if at.straight else at.restored(target))
    return remembered(launch, self, at.positions, at.sizes) if at.plain else launch


op(
    "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    body=Loop(_put_plan, in_place=True, pure=True),
    inplace=True,
    grad=lambda o, g, self, indices, values, accumulate: (
        g if accumulate else o.index_put(g, indices, o.zeros((), dtype=g.dtype)),
        None,
        o.sum_to_size(o.index(g, indices), values.shape),
    ),
    doc="A copy of self with self[indices] = values (or += where accumulate), in the order of the positions.",
)


def _sum_plan(o, grad, size, indices):
    out = o.empty(size, dtype=grad.dtype, device=grad.device)
    at = _Indexed(o, out, indices)
    if at.straight:
        return _put_launch(o, at, out, grad, True, out, fresh=True)
    target = o.empty([size[d] for d in at.order], dtype=grad.dtype, device=grad.device)
    return _put_launch(o, at, target, grad, True, at.restored(target), fresh=True)


op(
    "index_sum_at(Tensor grad, int[] size, Tensor?[] indices) -> Tensor",
    names=(),
    body=Loop(_sum_plan),
    grad=lambda o, g, grad, size, indices: (o.index(g, indices), None),
    doc="Gradient of indexing: zeros, with each gradient added where its element came from.",
)


# ---- masks


def _masked_select(o, self, mask):
    if mask.dtype is not o.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    mask, self = o.broadcast_tensors(mask, self)
    return o.index(self, [mask]) if self.dim() else o.index(self.reshape(1), [mask.reshape(1)])


op(
    "masked_select(Tensor self, Tensor mask) -> Tensor",
    body=Composite(_masked_select),
    doc="The elements where the mask holds, in a new 1-d tensor.",
)


def _masked_scatter(o, self, mask, source):
    if self.dtype is not source.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got{self.dtype.title} and "
            f"{source.dtype.title}"
        )
    if mask.dtype is not o.bool:
        raise RuntimeError(f"masked_scatter_ only supports boolean masks, but got mask with dtype {mask.dtype.title}")
    shape = o.broadcast_tensors(self.detach(), mask)[0].shape
    places = o.nonzero(mask.expand(shape).reshape(-1)).squeeze(1)
    count = places.numel()
    if source.numel() < count:
        raise RuntimeError("Number of elements of source < number of ones in mask")
    values = source.reshape(-1).narrow(0, 0, count)
    return o.index_put(self.expand(shape).reshape(-1), [places], values).reshape(shape)


op(
    "masked_scatter(Tensor self, Tensor mask, Tensor source) -> Tensor",
    body=Composite(_masked_scatter),
    inplace=True,
    doc="The elements where the mask holds are replaced by those of source, in order.",
)


op(
    "nonzero_mask(Tensor mask) -> Tensor",
    names=(),
    body=Native("nonzero_mask"),
    differentiable=False,
    doc="Positions of the true elements of a bool tensor, a row each.",
)


def _nonzero(o, self):
    return o.nonzero_mask(self if self.dtype is o.bool else self != 0)


def _nonzero_public(o, self, *, as_tuple=False, out=None):
    with o.no_grad():
        if out is not None:
            if out.dtype is not o.int64:
                got = out.dtype.title
                raise RuntimeError(f"nonzero: Expected out tensor to have scalar type Long but got scalar type{got}")
            return o.bitwise_or(_nonzero(o, self), 0, out=out)
        if not as_tuple:
            return _nonzero(o, self)
        if self.dim() == 0:
            self = self.unsqueeze(0)
        return tuple(o.unbind(_nonzero(o, self), 1))


op(
    "nonzero(Tensor self, *, bool as_tuple=False, Tensor? out=None) -> Any",
    body=Composite(_nonzero_public),
    differentiable=False,
    ref=lambda np, x: np.argwhere(x),
    doc="Positions of the elements that are not zero, a row each; with as_tuple one tensor a dimension.",
)
op(
    "argwhere(Tensor self) -> Tensor",
    body=Composite(lambda o, self: o.nonzero(self)),
    differentiable=False,
    ref=lambda np, x: np.argwhere(x),
    doc="Positions of the elements that are not zero, a row each.",
)


def _nonzero_static(o, self, *, size, fill_value=-1):
    if size < 0:
        raise RuntimeError(f"nonzero_static: 'size' must be an non-negative integer [got {size}]")
    found = o.nonzero(self)
    out = o.full((size, self.dim()), fill_value, dtype=o.int64, device=self.device)
    kept = min(size, found.shape[0])
    out.narrow(0, 0, kept).copy_(found.narrow(0, 0, kept))
    return out


op(
    "nonzero_static(Tensor self, *, int size, int fill_value=-1) -> Tensor",
    body=Composite(_nonzero_static),
    differentiable=False,
    doc="The first `size` rows of nonzero, filled up where there are fewer.",
)


# ---- positions in the flattened tensor


def _check_flat(o, name: str, self, index) -> None:
    if index.dtype is not o.int64:
        raise RuntimeError(f"{name}(): Expected a long tensor for index, but got {index.dtype.title}")
    if index.numel() and not self.numel():
        raise IndexError(f"{name}(): tried to put elements into an empty tensor")
    bad = o.first_outside(index, self.numel(), True)
    if bad is not None:
        raise IndexError(f"out of range: tried to access index {bad} on a tensor of {self.numel()} elements.")


def _take_grad(o, g, self, index):
    into = o.zeros(self.shape, dtype=g.dtype, device=g.device)
    return (o.put(into, index, g, True), None)


op(
    "take(Tensor self, Tensor index) -> Tensor",
    body=Native("take"),
    grad=_take_grad,
    ref=lambda np, x, index: np.take(x, index),
    doc="Elements of self, seen as 1-d, at the positions of index.",
)


def _put(o, self, index, source, accumulate=False):
    _check_flat(o, "put_", self, index)
    if source.numel() != index.numel():
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got source.numel() = "
            f"{source.numel()}, index.numel() = {index.numel()}"
        )
    if self.dtype is not source.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{self.dtype.title} and source.dtype = {source.dtype.title}"
        )
    flat = o.index_put(self.reshape(-1), [index.reshape(-1)], source.reshape(-1), accumulate)
    return flat.reshape(self.shape)


op(
    "put(Tensor self, Tensor index, Tensor source, bool accumulate=False) -> Tensor",
    names=("put", "Tensor.put"),
    body=Composite(_put),
    inplace=True,
    doc="A copy of self with elements of source at the positions of index, self being seen as 1-d.",
)
