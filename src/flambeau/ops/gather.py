"""Reading and writing by an index of the same number of dimensions: gather, scatter and their reductions."""

from functools import lru_cache

from flambeau.ir.fn import cast, const, minimum
from flambeau.ir.types import limit

from .launch import Launch, number_as, product, remembered, row_strides, wrap_dim, written
from .slices import check_positions, check_slices
from .table import Composite, Loop, Native, op
from .writing import REDUCTIONS, plain_source, write_slices

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


_TOGETHER = 4  # elements of a line that are written in one go


# A line runs along `dim`; lines are independent of each other. One iteration handles one line, or, where `dim` is not the
# last, the lines of some neighbours in the last dimension side by side.
# ints: length of a line, its stride in the tensors (index, written, source), lines side by side, those of an iteration,
# then for each other dimension its size and its strides.
def _scatter_program(b, n_other: int, wide: bool, reduce: str, scalar: bool):
    """Buffers: the tensor written, index, and source unless scalar."""
    dtype = b.compute_dtype(0)
    with b.parallel() as i:
        blocks = (b.int(4) + (b.int(5) - 1)) // b.int(5)
        rest, first = (i // blocks, i % blocks * b.int(5)) if wide else (i, const(0, "i64"))
        starts = [first, first, first]
        for d in reversed(range(n_other)):
            size = b.int(6 + 4 * d)
            place = rest if d == 0 else rest % size
            starts = [at + place * b.int(7 + 4 * d + k) for k, at in enumerate(starts)]
            rest = rest if d == 0 else rest // size
        at_index, at_other, at_source = starts

        def write(count, place, target, source):
            """Writes `count` neighbours."""
            for i in range(count):
                at = target + (b.load(1, place + i) * b.int(2) if wide else b.load(1, place + i))
                value = b.param(0, dtype) if scalar else cast(b.load(2, source + i), dtype)
                b.store(0, at, REDUCTIONS[reduce](b.load(0, at), value) if reduce else value)

        if not wide:
            whole = b.int(0) - b.int(0) % _TOGETHER
            with b.loop(0, whole, step=_TOGETHER, simd=False) as k:
                write(_TOGETHER, at_index + k, at_other, at_source + k)
            with b.loop(whole, b.int(0), simd=False) as k:
                write(1, at_index + k, at_other, at_source + k)
            return
        with b.loop(0, b.int(0), simd=False) as k:
            place, source = at_index + k * b.int(1), at_source + k * b.int(3)
            with b.loop(0, minimum(b.int(5), b.int(4) - first), simd=False) as j:
                write(1, place + j, at_other + j, source + j)


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


_SIDE_BY_SIDE = 256


def _is_vector(index, self, dim: int) -> bool:
    """Whether the index is a vector along `dim`, expanded over all of self; without elements it has no vector."""
    if not self.dim() or index.dim() != self.dim() or not index.numel():
        return False
    return all(d == dim or (index.stride(d) == 0 and index.shape[d] == self.shape[d]) for d in range(self.dim()))


def _vector_of(o, index, dim: int):
    """What an index that `_is_vector` expands."""
    return index[tuple(slice(None) if d == dim else 0 for d in range(index.dim()))].to(o.int64)


def _scatter_slices(o, out, dim, at, src, reduce, fresh=False):
    """scatter for an index that expands a vector: whole slices are written."""
    if isinstance(src, o.Tensor):
        src = plain_source(src.narrow(dim, 0, at.shape[0]))
    return write_slices(o, out, dim, at.contiguous(), src, reduce, fresh=fresh)


@lru_cache(1024)
def _lines(dim: int, sizes: tuple, *shapes: tuple) -> tuple[tuple[int, ...], int, int, int, bool]:
    """The integers of a launch for an index of `sizes` and tensors of `shapes` (written, then source); iterations, work
    of one, other dimensions, and whether lines run side by side."""
    strides = [row_strides(shape) or [1] for shape in (sizes, *shapes)]
    strides += [[0] * len(strides[0])] * (3 - len(strides))
    sizes, last = sizes or (1,), max(len(sizes) - 1, 0)
    wide = dim != last
    columns = sizes[last] if wide else 1
    block = min(columns, _SIDE_BY_SIDE)
    ints, others = [sizes[dim], *(s[dim] for s in strides), columns, block], 0
    for d, size in enumerate(sizes):
        if d != dim and not (wide and d == last):
            ints += [size, *(s[d] for s in strides)]
            others += 1
    tasks = product(sizes) // (sizes[dim] * columns) * -(-columns // block)
    return tuple(ints), tasks, sizes[dim] * block, others, wide


def _scatter_into(o, out, dim, index, src, reduce):
    """The launch that scatters into `out`, a copy of self or self; all checked, index and src contiguous."""
    if not index.numel():
        return Launch((out,), (out,), (), 0, 1, _scatter_program)
    scalar = not isinstance(src, o.Tensor)
    buffers = (out, index) if scalar else (out, index, src)
    ints, tasks, work, others, wide = _lines(dim, tuple(index.shape), *(tuple(t.shape) for t in (out, *buffers[2:])))
    attrs, params = (others, wide, reduce, scalar), (src,) if scalar else ()
    return Launch((out,), buffers, ints, tasks, work, _scatter_program, attrs, params)


def _scatter_plan(name, reduce=""):
    def plan(o, self, dim, index, src, kind="", into=False):
        dim = wrap_dim(dim, self.dim())
        check_index_dtype(o, "scatter", index)
        how = reduce or kind
        if how not in ("", *REDUCTIONS):
            raise RuntimeError("reduce argument must be either add or multiply.")
        if isinstance(src, o.Tensor):
            _check_lines(name, self, dim, index, src)
            if src.dtype is not self.dtype:
                raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
        else:
            _check_lines(name, self, dim, index)
            src = number_as(self.dtype, src)
        size = self.shape[dim] if self.dim() else 1
        if index.numel():
            _check_index(o, name, index, size, dim)
        tensors = [src] if isinstance(src, o.Tensor) else []
        if (how == "" or tensors) and _is_vector(index, self, dim):
            out, at, *copied = written(o, self, into, _vector_of(o, index, dim), *tensors)
            launch = _scatter_slices(o, out, dim, at, copied[0] if copied else src, how)
        else:
            out, at, *copied = written(o, self, into, index, *tensors)
            launch = _scatter_into(o, out, dim, at, copied[0] if copied else src, how)
        return remembered(launch, self, [index], [size])

    return plan


_SCATTER = {
    "names": ("scatter", "Tensor.scatter"),
    "body": Loop(_scatter_plan("scatter"), in_place=True, pure=True),
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


op(
    "scatter.reduce(Tensor self, int dim, Tensor index, Tensor src, *, str reduce) -> Tensor",
    doc="A copy of self with src[i] added to (or multiplied into) self[index[i]].",
    **_SCATTER,
)
op(
    "scatter.value_reduce(Tensor self, int dim, Tensor index, Scalar value, *, str reduce) -> Tensor",
    doc="A copy of self with value added to (or multiplied into) self[index[i]].",
    **_SCATTER,
)
op(
    "scatter_add(Tensor self, int dim, Tensor index, Tensor src) -> Tensor",
    body=Loop(_scatter_plan("scatter_add", "add"), in_place=True, pure=True),
    inplace=True,
    grad=lambda o, g, self, dim, index, src: (g, None, o.gather(g, dim, index)),
    doc="self[index[i]] += src[i] along one dimension, in the order of i: the same bits on any number of threads.",
)


def _sum_plan(o, src, dim, index, size):
    out = o.empty(size, dtype=src.dtype, device=src.device)
    dim = wrap_dim(dim, len(size))
    if _is_vector(index, out, dim):
        return _scatter_slices(o, out, dim, _vector_of(o, index, dim), src, "add", fresh=True)
    return _scatter_into(o, out.zero_(), dim, index.contiguous(), src.contiguous(), "add")


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
    body=Loop(_scatter_plan("scatter"), pure=True),
    grad=_reduce_grad,
    saves=("o0",),
    doc="scatter with one of add, multiply, amax, amin.",
)
_KINDS = {"sum": "add", "prod": "multiply", "mean": "add", "amax": "amax", "amin": "amin"}


def neutral(dtype, reduce: str):
    """What a reduction starts from where self takes no part."""
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    return limit(dtype.code, reduce == "amax")


def _scatter_reduce(o, self, dim, index, src, reduce, *, include_self=True):
    if reduce not in _KINDS:
        raise RuntimeError(f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}")
    if self.dtype.is_complex and reduce in ("amax", "amin"):
        raise NotImplementedError(f"\"scatter_gather_tensor_cpu_reduce_{reduce}\" not implemented for '{self.dtype.title}'")
    base = self if include_self else o.scatter(self, dim, index, neutral(self.dtype, reduce))
    result = o.scatter_reduction(base, dim, index, src, _KINDS[reduce])
    if reduce != "mean":
        return result
    count = o.ones_like(self.detach()) if include_self else o.zeros_like(self.detach())
    count = o.scatter_add(count, dim, index, o.ones_like(src.detach()))
    count = o.masked_fill(count, count == 0, 1)
    exact = self.dtype.is_floating_point or self.dtype.is_complex
    return result / count if exact else o.div(result, count, rounding_mode="floor")


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
    dim = wrap_dim(dim, self.dim())
    check_slices(o, "index_reduce_()", self, dim, index, source)
    check_positions(o, "index_reduce", index, self, dim)
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
