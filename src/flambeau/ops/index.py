"""Indexing with tensors: x[i, :, j], x[mask], and writing through them."""

from .formula import title_of
from .launch import Launch, product
from .table import Composite, Loop, op


def expand_masks(o, x, indices) -> list:
    """Indices with each bool mask replaced by the positions where it holds, one index a dimension of the mask."""
    out = []
    for index in indices:
        if index is None or index.dtype not in (o.bool, o.uint8):
            out.append(index)
            continue
        at = len(out)
        for k in range(index.dim()):
            if at + k >= x.dim() or index.shape[k] != x.shape[at + k]:
                have = x.shape[at + k] if at + k < x.dim() else "none"
                raise IndexError(
                    f"The shape of the mask {list(index.shape)} at index {k} does not match the shape of the indexed "
                    f"tensor {list(x.shape)} at index {at + k} [mask has {index.shape[k]}, tensor has {have}]"
                )
        if index.dim() == 0:
            raise IndexError("a mask of no dimensions stands with unsqueezed self; see index_with_scalars")
        out.extend(o.unbind(o.nonzero(index), 1))
    return out


def _prepare(o, x, indices):
    """Checks; gives x with the indexed dimensions in front, broadcast indices, and where their dimensions go."""
    indices = expand_masks(o, x, indices)
    if len(indices) > x.dim():
        raise IndexError(f"too many indices for tensor of dimension {x.dim()} (got {len(indices)})")
    used = [d for d, i in enumerate(indices) if i is not None]
    for d in used:
        if indices[d].dtype not in (o.int64, o.int32, o.int16, o.int8):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    try:
        tensors = o.broadcast_tensors([indices[d] for d in used])
    except RuntimeError as error:
        shapes = ", ".join(str(list(indices[d].shape)) for d in used)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from error
    tensors = [t.to(o.int64) for t in tensors]
    for d, t in zip(used, tensors, strict=True):
        low = o.first_outside(t, x.shape[d], True)
        if low is not None:
            raise IndexError(f"index {low} is out of bounds for dimension {d} with size {x.shape[d]}")
    adjacent = used == list(range(used[0], used[-1] + 1))
    front = used[0] if adjacent else 0
    rest = [d for d in range(x.dim()) if d not in used]
    return used, rest, tensors, front


# ints: number of indexed positions is the loop; elements of a slice, then size and stride of each indexed dimension.
def _offset(b, first: int, i, n: int):
    """Where in the tensor the i-th position points."""
    from ..ir.fn import const, where

    at = const(0, "i64")
    for k in range(n):
        size, stride = b.int(1 + 2 * k), b.int(2 + 2 * k)
        position = b.load(first + k, i)
        at = at + where(position < 0, position + size, position) * stride
    return at


def _index_program(b, n: int):
    """Buffers: output [positions, slice], input with the indexed dimensions in front, then n indices."""
    with b.parallel() as i:
        source = _offset(b, 2, i, n)
        with b.loop(0, b.int(0)) as j:
            b.store(0, i * b.int(0) + j, b.load(1, source + j))


def _put_program(b, n: int, accumulate: bool):
    """Buffers: the tensor written, values [positions, slice], n indices. One iteration: 16 columns, all positions."""
    from ..ir.fn import minimum

    with b.parallel() as block:
        first = block * 16
        last = minimum(b.int(0), first + 16)
        with b.loop(0, b.int(1 + 2 * n)) as i:
            target = _offset(b, 2, i, n)
            with b.loop(first, last, simd=False) as j:
                value = b.load(1, i * b.int(0) + j)
                b.store(0, target + j, b.load(0, target + j) + value if accumulate else value)


def _sizes(x, used, rest) -> tuple[list[int], int]:
    """Sizes and strides of the indexed dimensions once they stand in front, and the elements of a slice."""
    width = product(x.shape[d] for d in rest)
    ints, step = [], width
    for d in reversed(used):
        ints = [x.shape[d], step, *ints]
        step *= x.shape[d]
    return ints, width


def _index_plan(o, self, indices):
    used, rest, tensors, front = _prepare(o, self, indices)
    x = self.permute(*used, *rest).contiguous()
    ints, width = _sizes(self, used, rest)
    shape = tuple(tensors[0].shape)
    out = o.empty(shape + tuple(self.shape[d] for d in rest), dtype=self.dtype, device=self.device)
    index = [t.contiguous() for t in tensors]
    result = out
    if front:  # the positions' dimensions go where the first index stood
        n = len(shape)
        order = [*range(n, n + front), *range(n), *range(n + front, out.dim())]
        result = out.permute(*order)
    return Launch((result,), (out, x, *index), [width, *ints], product(shape), width, _index_program, (len(used),))


op(
    "index.Tensor(Tensor self, Tensor?[] indices) -> Tensor",
    names=("index", "Tensor.index"),
    body=Loop(_index_plan),
    grad=lambda o, g, self, indices: (o.index_put_grad(g, self.shape, indices), None),
    doc="self[indices] for a list of integer or bool tensors, None for a dimension taken whole. A copy.",
)


def _put_plan(o, self, indices, values, accumulate=False):
    used, rest, tensors, front = _prepare(o, self, indices)
    if values.dtype is not self.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{title_of(self.dtype)} for the destination and {title_of(values.dtype)} for the source."
        )
    shape = tuple(tensors[0].shape)
    slots = [self.shape[d] for d in rest]
    target_shape = slots[:front] + list(shape) + slots[front:]
    try:
        values = values.expand(target_shape)
    except RuntimeError as error:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to indexing result of "
            f"shape {target_shape}"
        ) from error
    n = len(shape)
    values = values.permute(*range(front, front + n), *range(front), *range(front + n, values.dim())).contiguous()
    x = self.permute(*used, *rest).clone(memory_format=o.contiguous_format)
    back = [0] * self.dim()
    for at, d in enumerate([*used, *rest]):
        back[d] = at
    ints, width = _sizes(self, used, rest)
    index = [t.contiguous() for t in tensors]
    ints = [width, *ints, product(shape)]
    blocks = (width + 15) // 16
    return Launch(
        (x.permute(*back),),
        (x, values, *index),
        ints,
        blocks,
        16 * product(shape),
        _put_program,
        (len(used), bool(accumulate)),
    )


op(
    "index_put(Tensor self, Tensor?[] indices, Tensor values, bool accumulate=False) -> Tensor",
    body=Loop(_put_plan),
    inplace=True,
    grad=lambda o, g, self, indices, values, accumulate: (
        g if accumulate else o.index_put(g, indices, o.zeros((), dtype=g.dtype)),
        None,
        o.sum_to_size(o.index(g, indices), values.shape),
    ),
    doc="A copy of self with self[indices] = values (or += where accumulate), in the order of the positions.",
)
op(
    "index_put_grad(Tensor grad, int[] size, Tensor?[] indices) -> Tensor",
    names=(),
    body=Composite(lambda o, grad, size, indices: o.index_put(o.zeros(size, dtype=grad.dtype), indices, grad, True)),
    doc="Gradient of indexing: each gradient is added where its element came from.",
)


def _masked_select(o, self, mask):
    if mask.dtype is not o.bool:
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    self, mask = o.broadcast_tensors([self, mask])
    return o.index(self, [mask]) if self.dim() else o.index(self.reshape(1), [mask.reshape(1)])


op(
    "masked_select(Tensor self, Tensor mask) -> Tensor",
    body=Composite(_masked_select),
    doc="The elements where the mask holds, in a new 1-d tensor.",
)


def _nonzero_count(b):
    """Buffers: count a block, input (bools). ints: elements of a block, all elements."""
    from ..ir.fn import cast, const, minimum

    with b.parallel() as i:
        first = i * b.int(0)
        total = b.variable(const(0, "i64"), "i64")
        with b.loop(first, minimum(first + b.int(0), b.int(1))) as j:
            total.value = total.value + cast(b.load(1, j), "i64")
        b.store(0, i, total.value)


def _nonzero_write(b, nd: int):
    """Buffers: positions [count, nd], input (bools), where each block starts. ints: block, all, then sizes."""
    from ..ir.fn import minimum

    with b.parallel() as i:
        first = i * b.int(0)
        at = b.variable(b.load(2, i), "i64")
        with b.loop(first, minimum(first + b.int(0), b.int(1)), simd=False) as j, b.when(b.load(1, j)):
            rest, row = j, at.value * nd
            for d in reversed(range(nd)):
                size = b.int(2 + d)
                b.store(0, row + d, rest % size)
                rest = rest // size
            at.value = at.value + 1


_BLOCK = 4096


def _nonzero(o, self):
    holds = (self if self.dtype is o.bool else self != 0).contiguous()
    n, sizes = holds.numel(), tuple(holds.shape)
    blocks = -(-n // _BLOCK)
    counts = o.empty((blocks,), dtype=o.int64)
    o.launch(Launch((), (counts, holds), [_BLOCK, n], blocks, _BLOCK, _nonzero_count))
    ends = o.cumsum(counts, 0)
    total = int(ends[-1]) if blocks else 0
    out = o.empty((total, len(sizes)), dtype=o.int64)
    if sizes:
        o.launch(
            Launch((), (out, holds, ends - counts), [_BLOCK, n, *sizes], blocks, _BLOCK, _nonzero_write, (len(sizes),))
        )
    return out


def _nonzero_public(o, self, *, as_tuple=False):
    with o.no_grad():
        if not as_tuple:
            return _nonzero(o, self)
        if self.dim() == 0:
            self = self.unsqueeze(0)
        return tuple(o.unbind(_nonzero(o, self), 1))


op(
    "nonzero(Tensor self, *, bool as_tuple=False) -> Any",
    body=Composite(_nonzero_public),
    differentiable=False,
    ref=lambda np, x: np.argwhere(x),
    doc="Positions of the elements that are not zero, a row each; with as_tuple one tensor a dimension.",
)


def _take(o, self, index):
    flat = self.reshape(-1)
    check_index_wrapped(o, "take", index, flat.numel())
    return o.index(flat, [index.to(o.int64)])


def check_index_wrapped(o, name, index, size):
    """Like check_index for indices that may count from the end."""
    bad = o.first_outside(index, size, True)
    if bad is not None:
        raise IndexError(f"{name}(): index {bad} is out of range for a tensor of {size} elements")


op(
    "take(Tensor self, Tensor index) -> Tensor",
    body=Composite(_take),
    ref=lambda np, x, index: np.take(x, index),
    doc="Elements of self, seen as 1-d, at the positions of index.",
)


def _take_along_dim(o, self, indices, dim=None):
    if dim is None:
        return o.gather(self.reshape(-1), 0, indices.reshape(-1))
    return o.gather(self, dim, indices)


op(
    "take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
    body=Composite(_take_along_dim),
    doc="gather with indices that broadcast against self.",
)
