"""Reading and writing by an index of the same number of dimensions: gather, scatter and their reductions."""

from flambeau.ir.fn import cast, const, maximum, minimum

from .launch import Launch, number_as, row_strides, wrap_dim, written
from .table import Composite, Loop, Native, op

op(
    "first_outside(Tensor self, int size, bool signed=False) -> Any",
    names=(),
    body=Native("first_outside"),
    differentiable=False,
    doc="The first index outside [0, size) (signed: outside [-size, size)), or None.",
)


def _check_index(o, name: str, index, size: int, dim: int) -> None:
    """Raises before anything is written, where an index lies outside [0, size)."""
    bad = o.first_outside(index, size)
    if bad is not None:
        raise RuntimeError(
            f"index {bad} is out of bounds for dimension {dim} with size {size} "
            f"[in {name}: index={tuple(index.shape)}]. Indices must lie in [0, {size})."
        )


def check_index_dtype(o, name: str, index) -> None:
    """Raises where an index that has elements is of no index dtype."""
    if index.dtype is not o.int64 and index.dtype is not o.int32 and index.numel():
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index [got {index.dtype}]")


# ---- a line runs along `dim`; lines are independent of each other.
# ints: length of a line, its stride in the index, its stride in the other tensor, then for each other dimension
# its size, its stride in the index and its stride in the other tensor.
def _line_ints(index_sizes, other_sizes, dim: int) -> list[int]:
    si, so = row_strides(index_sizes), row_strides(other_sizes)
    if not index_sizes:
        return [1, 1, 1]
    ints = [index_sizes[dim], si[dim], so[dim]]
    for d, size in enumerate(index_sizes):
        if d != dim:
            ints += [size, si[d], so[d]]
    return ints


def _line_start(b, line, n_other: int, *strides: tuple[int, int]):
    """Offsets at which a line starts; for each tensor, which integer is its first stride, and the step to the next."""
    offsets, rest = [const(0, "i64") for _ in strides], line
    for d in reversed(range(n_other)):
        size = b.int(3 + 3 * d)
        position = rest if d == 0 else rest % size
        offsets = [at + position * b.int(s + step * d) for at, (s, step) in zip(offsets, strides, strict=True)]
        rest = rest if d == 0 else rest // size
    return offsets


_REDUCTIONS = {
    "add": lambda old, value: old + value,
    "multiply": lambda old, value: old * value,
    "amax": maximum,
    "amin": minimum,
}


def _scatter_program(b, n_other: int, reduce: str, scalar: bool):
    """Buffers: the tensor written, index, and source (its strides are ints behind the others) unless scalar."""
    dtype = b.compute_dtype(0)
    base = 3 + 3 * n_other
    strides = [(4, 3), (5, 3)] if scalar else [(4, 3), (5, 3), (base + 1, 1)]
    with b.parallel() as line:
        at_index, at_other, *at_source = _line_start(b, line, n_other, *strides)
        with b.loop(0, b.int(0), simd=False) as i:
            at = at_other + b.load(1, at_index + i * b.int(1)) * b.int(2)
            value = b.param(0, dtype) if scalar else cast(b.load(2, at_source[0] + i * b.int(base)), dtype)
            b.store(0, at, _REDUCTIONS[reduce](b.load(0, at), value) if reduce else value)


def _check_lines(name, self, dim, index, source=None):
    nd = max(self.dim(), 1)
    if max(index.dim(), 1) != nd and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if source is not None and max(source.dim(), 1) != nd and index.numel():
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    if not index.numel():
        return
    for d in range(index.dim()):
        to_self = d != dim and index.shape[d] > self.shape[d]
        to_source = source is not None and index.shape[d] > source.shape[d]
        if to_self or to_source:
            behind = "" if source is None else f" and to be no larger size than src {list(source.shape)}"
            raise RuntimeError(
                f"Expected index {list(index.shape)} to be no larger than self {list(self.shape)} apart from dimension "
                f"{dim}{behind} [in {name}]"
            )


op(
    "gather(Tensor self, int dim, Tensor index, *, bool sparse_grad=False) -> Tensor",
    body=Native("gather"),
    grad=lambda o, g, self, dim, index, sparse_grad: (o.scatter_sum(g, dim, index, self.shape), None),
    ref=lambda np, x, dim, index: np.take_along_axis(x, index, dim),
    doc="out[i][j][k] = self[i][index[i][j][k]][k] for dim 1: elements picked along one dimension.",
)
op(
    "gather_signed(Tensor self, int dim, Tensor index) -> Tensor",
    names=(),
    body=Native("gather_signed"),
    grad=lambda o, g, self, dim, index: (
        o.scatter_sum(g, dim, o.remainder(index, self.shape[dim]), self.shape), None,
    ),
    doc="gather for indices that may count from the end.",
)  # fmt: skip


def _scatter_into(o, name, out, self, dim, index, src, reduce):
    """The launch that scatters into `out`, a copy of self or self; all checked, index and src contiguous."""
    if not index.numel():
        return Launch((out,), (out,), (), 0, 1, _scatter_program)
    ints = _line_ints(tuple(index.shape), tuple(self.shape), dim)
    scalar = not isinstance(src, o.Tensor)
    lines = index.numel() // ints[0]
    attrs = (max(index.dim() - 1, 0), reduce, scalar)
    if scalar:
        return Launch((out,), (out, index), ints, lines, ints[0], _scatter_program, attrs, (src,))
    strides = row_strides(tuple(src.shape)) or [1]
    ints += [strides[dim], *(s for d, s in enumerate(strides) if d != dim)]
    return Launch((out,), (out, index, src), ints, lines, ints[0], _scatter_program, attrs)


def _scatter_plan(name, reduce=""):
    def plan(o, self, dim, index, src, kind="", into=False):
        dim = wrap_dim(dim, self.dim())
        check_index_dtype(o, "scatter", index)
        how = reduce or kind
        if how not in ("", *_REDUCTIONS):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if isinstance(src, o.Tensor):
            _check_lines(name, self, dim, index, src)
            if src.dtype is not self.dtype:
                raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        else:
            _check_lines(name, self, dim, index)
            src = number_as(self.dtype, src)
        if index.numel():
            _check_index(o, name, index, self.shape[dim] if self.dim() else 1, dim)
        if isinstance(src, o.Tensor):
            out, index, src = written(o, self, into, index, src)
        else:
            out, index = written(o, self, into, index)
        return _scatter_into(o, name, out, self, dim, index, src, how)

    return plan


_SCATTER = {
    "names": ("scatter", "Tensor.scatter"),
    "body": Loop(_scatter_plan("scatter"), in_place=True),
    "inplace": True,
}
op(
    "scatter.src(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    grad=lambda o, g, self, dim, index, src: (o.scatter(g, dim, index, 0), None, o.gather(g, dim, index)),
    doc="A copy of self with self[index[i]] = src[i] along one dimension.",
    **_SCATTER,
)
op(
    "scatter.value(Tensor self, int dim, Tensor index, Scalar value) -> Tensor",
    grad=lambda o, g, self, dim, index, value: (o.scatter(g, dim, index, 0), None),
    doc="A copy of self with self[index[i]] = value along one dimension.",
    **_SCATTER,
)


def _no_gradient(name: str):
    def grad(o, g, *arguments):
        raise NotImplementedError(f"the derivative for '{name}' is not implemented. Use scatter_reduce.")

    return grad


op(
    "scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
    grad=_no_gradient("aten::scatter.reduce"),
    doc="A copy of self with src[i] added to (or multiplied into) self[index[i]].",
    **_SCATTER,
)
op(
    "scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
    grad=_no_gradient("aten::scatter.value_reduce"),
    doc="A copy of self with value added to (or multiplied into) self[index[i]].",
    **_SCATTER,
)
op(
    "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    body=Loop(_scatter_plan("scatter_add", "add"), in_place=True),
    inplace=True,
    grad=lambda o, g, self, dim, index, src: (g, None, o.gather(g, dim, index)),
    doc="self[index[i]] += src[i] along one dimension, in the order of i: the same bits on any number of threads.",
)


def _sum_plan(o, src, dim, index, size):
    out = o.zeros(size, dtype=src.dtype, device=src.device)
    dim = wrap_dim(dim, len(size))
    return _scatter_into(o, "scatter_sum", out, out, dim, index.contiguous(), src.contiguous(), "add")


op(
    "scatter_sum(Tensor src, int dim, Tensor index, int[] size) -> Tensor",
    names=(),
    body=Loop(_sum_plan),
    grad=lambda o, g, src, dim, index, size: (o.gather(g, dim, index), None),
    doc="Zeros with src[i] added at index[i]: the gradient of gather, whose index was checked.",
)


# ---- scatter_reduce and index_reduce


def _reduce_grad(o, g, self, dim, index, src, reduce):
    if reduce == "add":
        return g, None, o.gather(g, dim, index)
    result = o.saved.output(0)
    if reduce == "multiply":
        return _product_grad(o, g, self, dim, index, src, result)
    mine, theirs = (self == result).to(g.dtype), (src == o.gather(result, dim, index)).to(g.dtype)
    share = g / o.scatter_add(mine, dim, index, theirs)
    return mine * share, None, theirs * o.gather(share, dim, index)


def _product_grad(o, g, self, dim, index, src, result):
    """Where one factor is zero, its gradient is the product of the others."""
    others = o.masked_fill(self, self == 0, 1)
    to_self = g * o.scatter_reduction(others, dim, index, src, "multiply") / others
    zero = src == 0
    count = o.gather(o.scatter_add(o.zeros_like(g), dim, index, zero.to(g.dtype)), dim, index)
    alone = o.logical_and(zero, count == 1)
    without = o.scatter_reduction(self, dim, index, o.masked_fill(src, alone, 1), "multiply")
    usual = o.gather(g * result, dim, index) / o.masked_fill(src, zero, 1)
    return to_self, None, o.where(alone, o.gather(g * without, dim, index), usual)


op(
    "scatter_reduction(Tensor self, int dim, Tensor index, Tensor src, str reduce) -> Tensor",
    names=(),
    body=Loop(_scatter_plan("scatter")),
    grad=_reduce_grad,
    saves=("o0",),
    doc="scatter with one of add, multiply, amax, amin.",
)
_KINDS = {"sum": "add", "prod": "multiply", "mean": "add", "amax": "amax", "amin": "amin"}


def neutral(o, dtype, reduce: str):
    """What a reduction starts from where self takes no part."""
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    if dtype.is_floating_point:
        return float("-inf" if reduce == "amax" else "inf")
    if dtype is o.bool:
        return reduce == "amin"
    bits = 8 * dtype.itemsize
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if dtype.is_signed else (0, (1 << bits) - 1)
    return low if reduce == "amax" else high


def _scatter_reduce(o, self, dim, index, src, reduce, *, include_self=True):
    if reduce not in _KINDS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    base = self if include_self else o.scatter(self, dim, index, neutral(o, self.dtype, reduce))
    result = o.scatter_reduction(base, dim, index, src, _KINDS[reduce])
    if reduce != "mean":
        return result
    count = o.ones_like(self.detach()) if include_self else o.zeros_like(self.detach())
    count = o.scatter_add(count, dim, index, o.ones_like(src.detach()))
    count = o.masked_fill(count, count == 0, 1)
    return result / count if self.dtype.is_floating_point else o.div(result, count, rounding_mode="floor")


op(
    "scatter_reduce.two(Tensor self, int dim, Tensor index, Tensor src, str reduce, *, bool include_self=True)"
    " -> Tensor",
    names=("scatter_reduce", "Tensor.scatter_reduce"),
    body=Composite(_scatter_reduce),
    inplace=True,
    doc="self[index[i]] and all src[i] that go there become their sum, prod, mean, amax or amin.",
)


def _index_reduce(o, self, dim, index, source, reduce, *, include_self=True):
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    if index.dim() > 1:
        raise IndexError(
            f"index_reduce(): Index is supposed to be a vector, but got dim: {index.dim()} with type: "
            f"{index.dtype.title} and size: {list(index.shape)}"
        )
    dim = wrap_dim(dim, self.dim())
    if index.numel() != (source.shape[dim] if source.dim() else 1):
        raise RuntimeError(
            f"index_reduce(): Number of indices ({index.numel()}) should be equal to source.size(dim): "
            f"({source.shape[dim] if source.dim() else 1}), for dim: {dim}"
        )
    index = index.reshape([-1 if d == dim else 1 for d in range(source.dim())]).expand(source.shape)
    return _scatter_reduce(o, self, dim, index, source, reduce, include_self=include_self)


op(
    "index_reduce(Tensor self, int dim, Tensor index, Tensor source, str reduce, *, bool include_self=True) -> Tensor",
    body=Composite(_index_reduce),
    inplace=True,
    doc="Slices self[index[i]] and all source[i] that go there become their prod, mean, amax or amin.",
)


def _take_along_dim(o, self, indices, dim=None):
    if indices.dtype is not o.int64:
        raise RuntimeError(
            f"torch.take_along_dim(): dtype of indices should be Long but got {indices.dtype.title} [in take_along_dim]"
        )
    if dim is None:
        return o.gather(self.reshape(-1), 0, indices.reshape(-1))
    if self.dim() != indices.dim():
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, but got "
            f"{self.dim()} dimensions for input, and {indices.dim()} dimensions for indices"
        )
    dim = wrap_dim(dim, self.dim())
    if not self.dim():
        return o.gather(self, 0, o.zeros_like(indices))
    one = self.narrow(dim, 0, 1) if self.shape[dim] else self
    other = indices.narrow(dim, 0, 1) if indices.shape[dim] else indices
    shape = list(o.broadcast_tensors(one.detach(), other)[0].shape)
    mine, theirs = list(shape), list(shape)
    mine[dim], theirs[dim] = self.shape[dim], indices.shape[dim]
    indices = indices.expand(theirs)
    if not indices.is_meta and o.first_outside(indices, self.shape[dim], True) is not None:
        indices = o.remainder(indices, max(self.shape[dim], 1))  # PyTorch takes any index modulo the size
    return o.gather_signed(self.expand(mine), dim, indices)


op(
    "take_along_dim(Tensor self, Tensor indices, int? dim=None) -> Tensor",
    body=Composite(_take_along_dim),
    ref=lambda np, x, indices, dim=None: np.take_along_axis(x, indices, dim),
    doc="gather with indices that broadcast against self and may count from the end.",
)
