"""Reading and writing by index along a dimension: gather, scatter, index_select, embedding and their gradients."""

from .launch import Launch, dims_of
from .table import ANY, Composite, Loop, Native, op


def check_index(o, name: str, index, size: int, dim: int) -> None:
    """Raises before anything is written, where an index lies outside [0, size)."""
    bad = o.first_outside(index, size)
    if bad is not None:
        raise RuntimeError(
            f"index {bad} is out of bounds for dimension {dim} with size {size} [in {name}: index={tuple(index.shape)}]. "
            f"Indices must lie in [0, {size})."
        )


def _check_index_dtype(o, name: str, index) -> None:
    if index.dtype is not o.int64 and index.dtype is not o.int32:
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index")


def _wrap(dim: int, ndim: int) -> int:
    span = max(ndim, 1)
    if not -span <= dim < span:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], but got {dim})")
    return dim % span


def _strides(sizes) -> list[int]:
    out, step = [], 1
    for s in reversed(sizes):
        out.append(step)
        step *= s
    return out[::-1]


op(
    "first_outside(Tensor self, int size, bool signed=False) -> Any",
    names=(),
    body=Native("first_outside"),
    differentiable=False,
    doc="The first index outside [0, size) (signed: outside [-size, size)), or None.",
)


# ---- gather and scatter: a line runs along `dim`; lines are independent of each other.
# ints: length of a line, its stride in the index, its stride in the other tensor, then for each other dimension
# its size, its stride in the index and its stride in the other tensor.
def _line_ints(index_sizes, other_sizes, dim: int) -> list[int]:
    si, so = _strides(index_sizes), _strides(other_sizes)
    if not index_sizes:
        return [1, 1, 1]
    ints = [index_sizes[dim], si[dim], so[dim]]
    for d, size in enumerate(index_sizes):
        if d != dim:
            ints += [size, si[d], so[d]]
    return ints


def _line_start(b, line, n_other: int):
    """Offsets at which a line starts in the index and in the other tensor."""
    from ..ir.fn import const

    at_index = at_other = const(0, "i64")
    rest = line
    for d in reversed(range(n_other)):
        size, si, so = (b.int(3 + 3 * d + k) for k in range(3))
        position = rest if d == 0 else rest % size
        at_index, at_other = at_index + position * si, at_other + position * so
        rest = rest if d == 0 else rest // size
    return at_index, at_other


def _gather_program(b, n_other: int):
    """Buffers: output (of the index's shape), input, index."""
    with b.parallel() as line:
        at_index, at_other = _line_start(b, line, n_other)
        with b.loop(0, b.int(0)) as i:
            at = at_index + i * b.int(1)
            b.store(0, at, b.load(1, at_other + b.load(2, at) * b.int(2)))


def _scatter_program(b, n_other: int, reduce: str, scalar: bool):
    """Buffers: the tensor written, index, and source (its strides are ints behind the others) unless scalar."""
    from ..ir.fn import cast, const, maximum, minimum

    dtype = b.compute_dtype(0)
    with b.parallel() as line:
        at_index, at_other = _line_start(b, line, n_other)
        base = 3 + 3 * n_other
        at_source, rest = const(0, "i64"), line
        if not scalar:
            for d in reversed(range(n_other)):
                size = b.int(3 + 3 * d)
                position = rest if d == 0 else rest % size
                at_source = at_source + position * b.int(base + 1 + d)
                rest = rest if d == 0 else rest // size
        with b.loop(0, b.int(0), simd=False) as i:
            at = at_other + b.load(1, at_index + i * b.int(1)) * b.int(2)
            value = b.param(0, dtype) if scalar else cast(b.load(2, at_source + i * b.int(base)), dtype)
            if reduce:
                old = b.load(0, at)
                value = {
                    "add": lambda: old + value, "multiply": lambda: old * value,
                    "amax": lambda: maximum(old, value), "amin": lambda: minimum(old, value),
                }[reduce]()  # fmt: skip
            b.store(0, at, value)


def _check_lines(name, self, dim, index, source=None):
    nd = max(self.dim(), 1)
    if max(index.dim(), 1) != nd and index.numel():
        raise RuntimeError(
            f"Index tensor must have the same number of dimensions as {'input' if source is None else 'self'} tensor"
        )
    if source is not None and max(source.dim(), 1) != nd and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    for d in range(index.dim()):
        if d != dim and index.shape[d] > self.shape[d]:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index.shape)} to be no larger than self "
                f"{list(self.shape)} apart from dimension {dim} [in {name}]"
            )
        if source is not None and index.shape[d] > source.shape[d]:
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(self.shape)} apart from dimension "
                f"{dim} and to be no larger size than src {list(source.shape)} [in {name}]"
            )


def _gather_plan(o, self, dim, index, sparse_grad=False):
    dim = _wrap(dim, self.dim())
    if index.dtype is not o.int64 and index.dtype is not o.int32:
        raise RuntimeError("gather(): Expected dtype int32/int64 for index")
    _check_lines("gather", self, dim, index)
    check_index(o, "gather", index, self.shape[dim] if self.dim() else 1, dim)
    self, index = self.contiguous(), index.contiguous()
    out = o.empty(tuple(index.shape), dtype=self.dtype, device=self.device)
    ints = _line_ints(tuple(index.shape), tuple(self.shape), dim)
    n_other = max(index.dim() - 1, 0)
    lines = index.numel() // max(ints[0], 1)
    return Launch((out,), (out, self, index), ints, lines, ints[0], _gather_program, (n_other,))


op(
    "gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
    body=Loop(_gather_plan),
    grad=lambda o, g, self, dim, index, sparse_grad: (
        o.scatter_add(o.zeros(self.shape, dtype=g.dtype), dim, index, g),
        None,
    ),
    ref=lambda np, x, dim, index: np.take_along_axis(x, index, dim),
    doc="out[i][j][k] = self[i][index[i][j][k]][k] for dim 1: elements picked along one dimension.",
)


def _scatter_plan(name, reduce):
    def plan(o, self, dim, index, src, *rest):
        kind = reduce if reduce is not None else (rest[0] if rest and rest[0] else "")
        return scatter_into(o, name, self, dim, index, src, _REDUCE_NAMES.get(kind, kind))

    return plan


_REDUCE_NAMES = {"sum": "add", "prod": "multiply"}


def scatter_into(o, name, self, dim, index, src, reduce, inplace=False):
    """The launch of a scatter; into a copy of self, or into self itself."""
    dim = _wrap(dim, self.dim())
    _check_index_dtype(o, name, index)
    if reduce not in ("", "add", "multiply", "amax", "amin"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    scalar = not isinstance(src, o.Tensor)
    _check_lines(name, self, dim, index, None if scalar else src)
    if not scalar and src.dtype is not self.dtype:
        raise RuntimeError(f"{name}(): Expected self.dtype to be equal to src.dtype")
    check_index(o, name, index, self.shape[dim] if self.dim() else 1, dim)
    out = self if inplace and self.is_contiguous() else self.clone(memory_format=o.contiguous_format)
    index = index.contiguous()
    ints = _line_ints(tuple(index.shape), tuple(self.shape), dim)
    n_other = max(index.dim() - 1, 0)
    buffers = (out, index)
    if not scalar:
        src = src.contiguous()
        strides = _strides(tuple(src.shape)) or [1]
        ints += [strides[dim], *(s for d, s in enumerate(strides) if d != dim)]
        buffers = (out, index, src)
    lines = index.numel() // max(ints[0], 1)
    params = (src,) if scalar else ()
    return Launch((out,), buffers, ints, lines, ints[0], _scatter_program, (n_other, reduce, scalar), params)


op(
    "scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    names=("scatter", "Tensor.scatter"),
    body=Loop(_scatter_plan("scatter", "")),
    inplace=True,
    grad=lambda o, g, self, dim, index, src: (o.scatter(g, dim, index, 0), None, o.gather(g, dim, index)),
    doc="A copy of self with self[index[i]] = src[i] along one dimension.",
)
op(
    "scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
    names=("scatter", "Tensor.scatter"),
    body=Loop(_scatter_plan("scatter", "")),
    inplace=True,
    grad=lambda o, g, self, dim, index, value: (o.scatter(g, dim, index, 0), None),
    doc="A copy of self with self[index[i]] = value along one dimension.",
)
op(
    "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    body=Loop(_scatter_plan("scatter_add", "add")),
    inplace=True,
    grad=lambda o, g, self, dim, index, src: (g, None, o.gather(g, dim, index)),
    doc="self[index[i]] += src[i] along one dimension, in the order of i: the same bits on any number of threads.",
)


# ---- whole slices along a dimension: index_select, index_add, index_copy, embedding
# ints: slices before, length of the dimension, elements of a slice, number of indices
def _select_program(b):
    """Buffers: output, input, index. One iteration: one slice."""
    with b.parallel() as i:
        n = b.int(3)
        before, k = i // n, i % n
        source = (before * b.int(1) + b.load(2, k)) * b.int(2)
        with b.loop(0, b.int(2)) as j:
            b.store(0, i * b.int(2) + j, b.load(1, source + j))


def _slice_add_program(b, reduce: str):
    """Buffers: written, index, source. One iteration: 16 columns of one block, through all indices in their order."""
    from ..ir.fn import minimum

    with b.parallel() as i:
        width, n = b.int(2), b.int(3)
        blocks = (width + 15) // 16
        before, first = i // blocks, i % blocks * 16
        last = minimum(width, first + 16)
        with b.loop(0, n) as k:
            target = (before * b.int(1) + b.load(1, k)) * width
            source = (before * n + k) * width
            with b.loop(first, last) as j:
                value = b.load(2, source + j)
                b.store(0, target + j, b.load(0, target + j) + value if reduce == "add" else value)


def _select_plan(o, self, dim, index):
    dim = _wrap(dim, self.dim())
    _check_index_dtype(o, "index_select", index)
    if index.dim() > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    size = self.shape[dim] if self.dim() else 1
    bad = o.first_outside(index, size)
    if bad is not None:
        raise IndexError(f"index out of range in self [in index_select: index {bad}, dimension {dim} of size {size}]")
    self, index = self.contiguous(), index.contiguous()
    before, _, width = dims_of(tuple(self.shape), dim)
    shape = list(self.shape)
    if shape:
        shape[dim] = index.numel()
    out = o.empty(shape, dtype=self.dtype, device=self.device)
    ints = [before, size, width, index.numel()]
    return Launch((out,), (out, self, index), ints, before * index.numel(), width, _select_program)


op(
    "index_select(Tensor self, int dim, Tensor index) -> Tensor",
    body=Loop(_select_plan),
    grad=lambda o, g, self, dim, index: (o.index_add(o.zeros(self.shape, dtype=g.dtype), dim, index, g), None),
    ref=lambda np, x, dim, index: np.take(x, index, axis=dim),
    doc="Slices of self at the positions of index, along one dimension.",
)


def _slice_plan(name, reduce):
    def plan(o, self, dim, index, source, alpha=1):
        dim = _wrap(dim, self.dim())
        if index.dim() > 1:
            raise IndexError(
                f"{name}(): Index is supposed to be a vector, but got dim: {index.dim()} with type: Long and size: {list(index.shape)}"
            )
        _check_index_dtype(o, name, index)
        if self.dtype is not source.dtype:
            raise RuntimeError(
                f"{name}(): self ({self.dtype}) and source ({source.dtype}) must have the same scalar type"
            )
        want = list(self.shape)
        if want:
            want[dim] = index.numel()
        if list(source.shape) != want and source.dim():
            raise RuntimeError(
                f"{name}(): Number of indices ({index.numel()}) should be equal to source.size(dim) and other sizes to self's: "
                f"source {list(source.shape)}, wanted {want}"
            )
        size = self.shape[dim] if self.dim() else 1
        bad = o.first_outside(index, size)
        if bad is not None:
            raise IndexError(f"index {bad} is out of bounds for dimension {dim} with size {size} [in {name}]")
        source = source if alpha == 1 else source * alpha
        out, index, source = self.clone(memory_format=o.contiguous_format), index.contiguous(), source.contiguous()
        before, _, width = dims_of(tuple(self.shape), dim)
        ints = [before, size, width, index.numel()]
        blocks = (width + 15) // 16
        return Launch(
            (out,), (out, index, source), ints, before * blocks, 16 * index.numel(), _slice_add_program, (reduce,)
        )

    return plan


op(
    "index_add(Tensor self, int dim, Tensor index, Tensor source, *, Scalar alpha=1) -> Tensor",
    body=Loop(_slice_plan("index_add", "add")),
    inplace=True,
    grad=lambda o, g, self, dim, index, source, alpha: (g, None, o.index_select(g, dim, index) * alpha),
    doc="self[index[i]] += alpha * source[i] for slices along one dimension, in the order of i.",
)
op(
    "index_copy(Tensor self, int dim, Tensor index, Tensor source) -> Tensor",
    body=Loop(_slice_plan("index_copy", "")),
    inplace=True,
    grad=lambda o, g, self, dim, index, source: (
        o.index_fill(g, dim, index, 0), None, o.index_select(g, dim, index),
    ),
    doc="self[index[i]] = source[i] for slices along one dimension.",
)  # fmt: skip


def _index_fill(o, self, dim, index, value):
    dim = _wrap(dim, self.dim())
    shape = list(self.shape)
    if shape:
        shape[dim] = index.numel()
    fill = value if isinstance(value, o.Tensor) else o.full((), value, dtype=self.dtype)
    if fill.dim():
        raise RuntimeError(
            f"index_fill_ only supports a 0-dimensional value tensor, but got tensor with {fill.dim()} dimension(s)."
        )
    return o.index_copy(self, dim, index, fill.to(self.dtype).expand(shape))


op(
    ["index_fill.Scalar(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
     "index_fill.Tensor(Tensor self, int dim, Tensor index, Tensor value) -> Tensor"],
    names=("index_fill", "Tensor.index_fill"),
    body=Composite(_index_fill),
    inplace=True,
    doc="self[index[i]] = value for slices along one dimension.",
)  # fmt: skip


def _embedding_plan(o, weight, indices, padding_idx=-1, scale_grad_by_freq=False, sparse=False):
    if weight.dim() != 2:
        raise RuntimeError("'weight' must be 2-D")
    _check_embedding_index(o, indices)
    bad = o.first_outside(indices, weight.shape[0])
    if bad is not None:
        raise IndexError(
            f"index out of range in self [in embedding: index {bad}, weight={tuple(weight.shape)}]. "
            f"Indices must lie in [0, {weight.shape[0]})."
        )
    weight, indices = weight.contiguous(), indices.contiguous()
    width = weight.shape[1]
    out = o.empty((*indices.shape, width), dtype=weight.dtype, device=weight.device)
    ints = [1, weight.shape[0], width, indices.numel()]
    return Launch((out,), (out, weight, indices), ints, indices.numel(), width, _select_program)


def _check_embedding_index(o, indices):
    if indices.dtype is not o.int64 and indices.dtype is not o.int32:
        name = str(indices.dtype).rpartition(".")[2]
        kinds = {"float32": "FloatTensor", "float64": "DoubleTensor", "bool": "BoolTensor", "uint8": "ByteTensor"}
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; but got "
            f"torch.{kinds.get(name, name)} instead (while checking arguments for embedding)"
        )


def _embedding_grad(o, g, weight, indices, padding_idx, scale_grad_by_freq, sparse):
    return (o.embedding_backward(g, indices, weight.shape[0], padding_idx, scale_grad_by_freq), None)


op(
    "embedding(Tensor weight, Tensor indices, int padding_idx=-1, bool scale_grad_by_freq=False, bool sparse=False) -> Tensor",
    names=("embedding",),
    body=Loop(_embedding_plan),
    grad=_embedding_grad,
    doc="Rows of weight at the positions of indices. Raises IndexError for an index outside the table.",
)


def _embedding_backward(o, grad, indices, num_weights, padding_idx, scale_grad_by_freq):
    width = grad.shape[-1]
    flat, rows = indices.reshape(-1), grad.reshape(-1, width)
    if scale_grad_by_freq:
        counts = o.zeros((num_weights,), dtype=grad.dtype).index_add(0, flat, o.ones((flat.numel(),), dtype=grad.dtype))
        rows = rows / counts.index_select(0, flat).unsqueeze(-1)
    if padding_idx >= 0:
        rows = rows * (flat != padding_idx).to(rows.dtype).unsqueeze(-1)
    return o.zeros((num_weights, width), dtype=grad.dtype).index_add(0, flat, rows)


op(
    "embedding_backward(Tensor grad, Tensor indices, int num_weights, int padding_idx, bool scale_grad_by_freq) -> Tensor",
    names=(),
    body=Composite(_embedding_backward),
    doc="Gradient of embedding: rows are summed in the order of the indices.",
)
