"""Sparse tensors in coordinates (COO): indices of elements, one column each, and their values.

A sparse tensor is a subclass whose own elements have no memory; it holds `indices` and `values`, which are ordinary
tensors, and everything it can do is written over these. So gradients are those of its values.
"""

import re
from math import prod
from typing import Any

from flambeau import _core

from .launch import check_tensor, row_strides, wrap_dim
from .names import operators as o
from .table import Composite, op

_Tensor: Any = _core.Tensor


class SparseTensor(_Tensor):
    """A tensor of layout torch.sparse_coo. Made by `torch.sparse_coo_tensor` and `Tensor.to_sparse`."""

    _asks_nobody = True
    _i: Any
    _v: Any
    _merged: bool

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        known = _FUNCTIONS.get(func.__name__)
        if known is None:
            raise NotImplementedError(
                f"Could not run 'aten::{func.__name__}' with arguments from the 'SparseCPU' backend. "
                "Tensor.to_dense() gives a tensor that every operator takes."
            )
        return known(*args, **(kwargs or {}))

    # ---- what it is made of

    def _indices(self):
        return self._i

    def _values(self):
        return self._v

    def _nnz(self):
        return self._i.shape[1]

    def sparse_dim(self):
        return self._i.shape[0]

    def dense_dim(self):
        return self.dim() - self._i.shape[0]

    def is_coalesced(self):
        return self._merged

    def indices(self):
        return self._of_merged("indices", self._i)

    def values(self):
        return self._of_merged("values", self._v)

    def _of_merged(self, what, t):
        if not self._merged:
            raise RuntimeError(f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first")
        return t.view(t.shape)

    # ---- what would be asked of memory

    layout = property(lambda self: _core.sparse_coo)
    device = property(lambda self: self._v.device)
    is_sparse = property(lambda self: True)
    is_meta = property(lambda self: self._v.is_meta)
    grad_fn = property(lambda self: self._v.grad_fn)
    is_leaf = property(lambda self: self._v.is_leaf)

    @property
    def requires_grad(self):
        return self._v.requires_grad

    @requires_grad.setter
    def requires_grad(self, value):
        self._v.requires_grad = value

    @property
    def grad(self):
        g = self._v.grad
        return None if g is None else _make(self._i, g, self.shape, self._merged)

    @grad.setter
    def grad(self, value):
        self._v.grad = None if value is None else value._values()

    def requires_grad_(self, requires_grad=True):
        self._v.requires_grad_(requires_grad)
        return self

    def detach(self):
        return _make(self._i, self._v.detach(), self.shape, self._merged)

    def is_contiguous(self, memory_format=None):
        return False

    def stride(self, dim=None):
        return (0,) * self.dim() if dim is None else 0

    def numpy(self, *, force=False):
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def tolist(self):
        raise RuntimeError("tolist() needs memory, which a sparse tensor has not. Use Tensor.to_dense() first.")

    def __array__(self, dtype=None, copy=None):
        return self.numpy()

    def __repr__(self, *, tensor_contents=None):
        return _text(self, (("indices", self._i),), _core.sparse_coo)

    def __deepcopy__(self, memo):
        return _make(self._i.clone(), self._v.detach().clone(), self.shape, self._merged).requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol):
        return _rebuild, (self._i, self._v.detach(), tuple(self.shape), self._merged, self.requires_grad)


def _make(indices, values, size, merged, cls=SparseTensor, **more) -> Any:
    own = o.empty(tuple(size), dtype=values.dtype, device="meta")
    made = _Tensor._make_subclass(cls, own)._mark_sparse()
    made.__dict__.update(_i=indices, _v=values, _merged=merged, **more)
    return made


def _rebuild(indices, values, size, merged, requires_grad):
    return _make(indices, values, size, merged).requires_grad_(requires_grad)


def _text(s, places, layout) -> str:
    def part(name, t):
        shown = re.sub(r",\s+(dtype|requires_grad|grad_fn)=[^()]*?(?=[,)])", "", repr(t.detach()))
        return f"{name}={shown}".replace("\n", "\n" + " " * (len("tensor(") + len(name) + 1))

    tail = [f"size={tuple(s.shape)}, nnz={s._nnz()}"]
    if s.dtype not in (_core.get_default_dtype(), _core.int64, _core.bool):
        tail.append(f"dtype={s.dtype}")
    tail.append(f"layout={layout}")
    parts = [part(name, t) for name, t in (*places, ("values", s._v))]
    text = "tensor(" + ",\n       ".join([*parts, ", ".join(tail)])
    if s.grad_fn is not None:
        return f"{text},\n       grad_fn=<{s.grad_fn.name()}>)"
    return f"{text}, requires_grad=True)" if s.requires_grad else f"{text})"


# ---- made, merged, spread out


def _check(indices, values, size) -> None:
    if indices.dim() != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(indices.shape)}")
    if not values.dim() or indices.shape[1] != values.shape[0]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {indices.shape[1]}, nnz from values: "
            f"{values.shape[0] if values.dim() else 0}"
        )
    dense = values.dim() - 1
    if len(size) != indices.shape[0] + dense:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, sparse_dim = "
            f"{indices.shape[0]}, dense_dim = {dense}"
        )
    if tuple(values.shape[1:]) != tuple(size[indices.shape[0] :]):
        raise RuntimeError(
            f"values has incorrect size, expected {[values.shape[0], *size[indices.shape[0]:]]}, got {list(values.shape)}"
        )
    if not indices.numel():
        return
    least, most = o.amin(indices, 1).tolist(), o.amax(indices, 1).tolist()
    for d, (low, high) in enumerate(zip(least, most, strict=True)):
        if low < 0:
            raise RuntimeError(f"found negative index {low} for dim {d}")
        if high >= size[d]:
            raise RuntimeError(f"size is inconsistent with indices: for dim {d}, size is {size[d]} but found index {high}")


def _sparse_coo_tensor(o, indices, values=None, size=None, *, dtype=None, device=None, pin_memory=False,
                       requires_grad=False, check_invariants=None, is_coalesced=None):  # fmt: skip
    if values is None or (size is None and not isinstance(indices, o.Tensor) and isinstance(values, int)):
        size = indices if values is None else (indices, values)
        indices = o.empty((len(size), 0), dtype=o.int64)
        values = o.empty((0,), dtype=dtype or _core.get_default_dtype())
    given = isinstance(values, o.Tensor)
    indices = _core.as_tensor(indices).detach().to(o.int64)
    values = values if given else _core.as_tensor(values)
    values = values if dtype is None else values.to(dtype)
    if device is not None:
        indices, values = indices.to(device), values.to(device)
    if size is None and indices.dim() == 2:
        if not indices.shape[1]:
            size = (*[0] * indices.shape[0], *values.shape[1:])
        else:
            size = (*(n + 1 for n in o.amax(indices, 1).tolist()), *values.shape[1:])
    _check(indices, values, tuple(size or ()))
    if requires_grad:
        values = values.detach().clone().requires_grad_()
    elif values.requires_grad:
        values = values.view(values.shape)  # the sparse tensor is made of values, it is not them
    return _make(indices, values, size, bool(is_coalesced) or indices.shape[1] < 2)


def _linear(s):
    """The place of each element among those of the sparse dimensions."""
    strides = _core.tensor(row_strides(s.shape[: s.sparse_dim()]), dtype=_core.int64).unsqueeze(1)
    return o.sum(s._i * strides, 0)


def _coalesce(s):
    """Elements in order, those of one place added."""
    if s._merged:
        return s
    places, at = o.unique(_linear(s), return_inverse=True)
    values = o.zeros((places.shape[0], *s._v.shape[1:]), dtype=s.dtype).index_add(0, at, s._v)
    rest, rows = places, []
    for n in reversed(s.shape[: s.sparse_dim()]):
        rows.append(rest % n)
        rest = o.div(rest, n, rounding_mode="floor")
    return _make(o.stack(rows[::-1]) if rows else s._i[:, : places.shape[0]], values, s.shape, True)


def _to_dense(s, dtype=None, *, masked_grad=None):
    sizes = s.shape[: s.sparse_dim()]
    values = s._v if dtype is None else s._v.to(dtype)
    whole = o.zeros((prod(sizes), *values.shape[1:]), dtype=values.dtype)
    return whole.index_add(0, _linear(s), values).reshape(tuple(s.shape))


def _to_sparse(x, sparse_dim=None):
    check_tensor("to_sparse", "self", x)
    n = x.dim() if sparse_dim is None else sparse_dim
    if not 0 <= n <= x.dim():
        raise RuntimeError(f"dense_to_sparse: sparse_dim argument must be in [0,{x.dim()}] range, but {n} is given")
    marked = x.detach() != 0
    if n < x.dim():
        marked = o.any(marked.reshape((*x.shape[:n], -1)), -1)
    indices = o.nonzero(marked).t().contiguous()
    return _make(indices, x[tuple(indices)] if n else x.unsqueeze(0), x.shape, True)


def _sparse_mask(x, mask):
    check_tensor("sparse_mask", "self", x)
    check_tensor("sparse_mask", "mask", mask, 2)
    if tuple(x.shape) != tuple(mask.shape):
        raise RuntimeError(
            f"sparse_mask(): operands have incompatible sizes; self has size {list(x.shape)} but mask has size "
            f"{list(mask.shape)}"
        )
    x = _to_dense(x) if isinstance(x, SparseTensor) else x
    return _make(mask._i, x[tuple(mask._i)], mask.shape, mask._merged)


# ---- arithmetic


def _same(a, b, what):
    if tuple(a.shape) != tuple(b.shape):
        raise RuntimeError(f"{what}: expected sizes of the operands to match, but {list(a.shape)} != {list(b.shape)}")


def _add(a, b, *, alpha=1):
    if not isinstance(a, SparseTensor):
        return a + (_to_dense(b) if alpha == 1 else _to_dense(b) * alpha)
    if not isinstance(b, SparseTensor):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    _same(a, b, "add")
    dtype = _core.promote_types(a.dtype, b.dtype)
    values = o.cat([a._v.to(dtype), (b._v if alpha == 1 else b._v * alpha).to(dtype)])
    return _coalesce(_make(o.cat([a._i, b._i], 1), values, a.shape, False))


def _mul(a, b):
    if not isinstance(a, SparseTensor):
        a, b = b, a
    if not isinstance(b, _Tensor) or not b.dim():
        return _make(a._i, a._v * b, a.shape, a._merged)
    if isinstance(b, SparseTensor):
        _same(a, b, "mul")
        a = _coalesce(a)
        b = _to_dense(b)
        kept = o.nonzero(b[tuple(a._i)].detach().reshape((a._nnz(), -1)).ne(0).any(-1)).reshape(-1)
        a = _make(a._i.index_select(1, kept), a._v.index_select(0, kept), a.shape, True)
    return _make(a._i, a._v * b.expand(tuple(a.shape))[tuple(a._i)], a.shape, a._merged)


def _div(a, b, *, rounding_mode=None):
    if not isinstance(a, SparseTensor) or isinstance(b, SparseTensor) or (isinstance(b, _Tensor) and b.dim()):
        raise RuntimeError("Sparse division requires a scalar or zero-dim dense tensor divisor")
    merged = _coalesce(a)
    return _make(merged._i, o.div(merged._v, b, rounding_mode=rounding_mode), a.shape, True)


def _on_values(name):
    """An operator that gives 0 for 0, applied to each element."""
    return lambda s, *args, **kw: (lambda m: _make(m._i, getattr(o, name)(m._v, *args, **kw), m.shape, True))(_coalesce(s))


def _pairs(a, b):
    """Positions in a and b (merged) of every product a[i, k] b[k, j] that is not 0."""
    counts = o.bincount(b._i[0], minlength=b.shape[0])
    firsts = o.cumsum(counts, 0) - counts
    each = counts.index_select(0, a._i[1])
    left = o.repeat_interleave(o.arange(a._nnz()), each)
    begin = o.cumsum(each, 0) - each
    within = o.arange(left.shape[0]) - begin.index_select(0, left)
    return left, firsts.index_select(0, a._i[1].index_select(0, left)) + within


def _mm(a, b):
    """A product of two matrices of which at least one is sparse; sparse only if both are."""
    check_tensor("mm", "self", a)
    check_tensor("mm", "mat2", b, 2)
    for x, what in ((a, "mat1"), (b, "mat2")):
        if x.dim() != 2:
            raise RuntimeError(f"{what} must be a matrix, got {x.dim()}-D tensor")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"addmm: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}")
    if not isinstance(a, SparseTensor):
        return _mm(_transpose(b, 0, 1), a.t()).t()
    size = (a.shape[0], b.shape[1])
    if isinstance(b, SparseTensor):
        a, b = _coalesce(a), _coalesce(b)
        left, right = _pairs(a, b)
        indices = o.stack([a._i[0].index_select(0, left), b._i[1].index_select(0, right)])
        return _coalesce(_make(indices, a._v.index_select(0, left) * b._v.index_select(0, right), size, False))
    products = a._v.unsqueeze(1) * b.index_select(0, a._i[1])
    return o.zeros(size, dtype=products.dtype).index_add(0, a._i[0], products)


def _matmul(a, b):
    check_tensor("matmul", "other", b, 2)
    if b.dim() == 1:
        return _mm(a, b.unsqueeze(1)).squeeze(1)
    return _mm(a, b)


def _addmm(added, a, b, *, beta=1, alpha=1):
    for position, (name, x) in enumerate((("self", added), ("mat1", a), ("mat2", b)), 1):
        check_tensor("addmm", name, x, position)
    product = _matmul(a, b)
    product = _to_dense(product) if isinstance(product, SparseTensor) else product
    return added * beta + product * alpha


def _sum(s, dim=None, keepdim=False, *, dtype=None):
    values = s._v if dtype is None else s._v.to(dtype)
    dims = list(range(s.dim())) if dim is None else [wrap_dim(d, s.dim()) for d in ([dim] if isinstance(dim, int) else dim)]
    if len(set(dims)) == s.dim():
        return o.sum(values)
    n = s.sparse_dim()
    dense = tuple(d - n + 1 for d in dims if d >= n)
    values = o.sum(values, dense) if dense else values
    kept = [d for d in range(n) if d not in dims]
    size = [s.shape[d] for d in range(s.dim()) if d not in dims]
    if not kept:
        return o.sum(values, 0)
    return _coalesce(_make(s._i[kept], values, size, False))


def _transpose(s, dim0, dim1):
    a, b = wrap_dim(dim0, s.dim()), wrap_dim(dim1, s.dim())
    n = s.sparse_dim()
    if (a < n) != (b < n):
        raise RuntimeError("sparse transpose: transposed dimensions must both be sparse or both be dense")
    size = list(s.shape)
    size[a], size[b] = size[b], size[a]
    if a >= n:
        return _make(s._i, s._v.transpose(a - n + 1, b - n + 1), size, s._merged)
    order = list(range(n))
    order[a], order[b] = order[b], order[a]
    return _make(s._i[order], s._v, size, a == b and s._merged)


def _item(s, at):
    """s[i] with an int: the elements there."""
    if not isinstance(at, int):
        raise NotImplementedError("indexing of sparse tensors takes an int. Tensor.to_dense() gives one that takes all.")
    if not -s.shape[0] <= at < s.shape[0]:
        raise IndexError(f"select(): index {at} out of range for tensor of size {list(s.shape)} at dimension 0")
    found = o.nonzero(s._i[0] == at % s.shape[0]).reshape(-1)
    values = s._v.index_select(0, found)
    if s.sparse_dim() == 1:
        return o.sum(values, 0)
    return _make(s._i[1:].index_select(1, found), values, s.shape[1:], s._merged)


def _changed(s, other):
    """The in-place form: s takes over what was made."""
    s._i, s._v, s._merged = other._i, other._v, other._merged
    return s


def _add_in_place(a, b, alpha):
    """Of a dense tensor only the rows that b names are touched."""
    if isinstance(a, SparseTensor):
        return _changed(a, _add(a, b, alpha=alpha))
    _same(a, b, "add")
    rows = prod(b.shape[: b.sparse_dim()])
    if not a.is_contiguous() or a.dtype != b.dtype:
        return a.add_(_to_dense(b), alpha=alpha)
    a.view((rows, *b._v.shape[1:])).index_add_(0, _linear(b), b._v, alpha=alpha)
    return a


def _zeros(s, **kw):
    return _make(s._i[:, :0], s._v.detach()[:0], s.shape, True)


_LIKE_VALUES = (
    "abs", "sqrt", "sin", "tan", "asin", "atan", "sinh", "tanh", "asinh", "atanh", "expm1", "log1p", "sgn", "sign", "neg",
    "relu", "floor", "ceil", "trunc", "round", "erf", "pow", "square", "deg2rad", "rad2deg",
)  # fmt: skip
_CASTS = ("to", "float", "double", "half", "bfloat16", "int", "long", "short", "bool", "type_as")
_FUNCTIONS: dict[str, Any] = {
    **{name: _on_values(name) for name in _LIKE_VALUES},
    **{name: (lambda n: lambda s, *a, **kw: _make(s._i, getattr(s._v, n)(*a, **kw), s.shape, s._merged))(name) for name in _CASTS},
    "add": _add, "sub": lambda a, b, *, alpha=1: _add(a, b * -1, alpha=alpha), "mul": _mul, "div": _div,
    "mm": _mm, "sparse_mm": _mm, "spmm": _mm, "dsmm": _mm, "hsmm": _mm, "matmul": _matmul, "mv": _matmul, "addmm": _addmm, "sparse_addmm": _addmm,
    "sum": _sum, "sparse_sum": _sum, "t": lambda s: _transpose(s, 0, s.dim() - 1), "transpose": _transpose,
    "norm": lambda s, p=2, *a, **kw: o.norm(_coalesce(s)._v, p), "__getitem__": _item, "__len__": lambda s: s.shape[0],
    "clone": lambda s, **kw: _make(s._i.clone(), s._v.clone(), s.shape, s._merged), "zeros_like": _zeros,
    "coalesce": _coalesce, "to_dense": _to_dense, "to_sparse": lambda s, *a, **kw: s, "to_sparse_coo": lambda s: s,
    "sparse_mask": _sparse_mask, "mul_": lambda a, b: _changed(a, _mul(a, b)), "zero_": lambda s: _changed(s, _zeros(s)),
    "add_": lambda a, b, *, alpha=1: _add_in_place(a, b, alpha),
    "cpu": lambda s, *a, **kw: s, "contiguous": lambda s, **kw: s,
    "is_nonzero": lambda s: bool(_to_dense(s)),
}  # fmt: skip


# ---- entries


def _of_strided(name):
    def refuse(o, x):
        kind = "sparse" if name == "values" else "sparse coordinate"
        raise RuntimeError(f"{name} expected {kind} tensor layout but got Strided")

    return refuse


def _strided(name, f):
    """A method of strided tensors that sparse ones answer otherwise."""

    def method(o, self, *args, **kwargs):
        check_tensor(name, "self", self)
        return f(self, *args, **kwargs)

    return Composite(method, raw=True)


op(
    "sparse_coo_tensor(Any indices, Any values=None, Any size=None) -> Any",
    names=("sparse_coo_tensor",),
    body=Composite(_sparse_coo_tensor, raw=True),
    doc="""A sparse tensor: values[k] stands at the place that column k of indices names.

    Values of one place are added. An index outside of size is refused.""",
)
for _name in ("to_sparse", "to_sparse_coo"):
    op(
        f"{_name}(Any self, Any sparse_dim=None) -> Any",
        names=(f"Tensor.{_name}",),
        body=Composite(lambda o, self, sparse_dim=None, *, layout=None: _to_sparse(self, sparse_dim), raw=True),
        doc="The elements that are not 0 as a sparse tensor; trailing dimensions beyond sparse_dim stay dense.",
    )
op(
    "to_dense(Any self, Any dtype=None) -> Any",
    names=("Tensor.to_dense",),
    body=_strided("to_dense", lambda x, dtype=None, *, masked_grad=None: x if dtype is None else x.to(dtype)),
    doc="A strided tensor with the same elements.",
)
op(
    "sparse_mask(Any self, Any mask) -> Any",
    names=("Tensor.sparse_mask",),
    body=Composite(lambda o, self, mask: _sparse_mask(self, mask), raw=True),
    doc="The elements of self where a sparse tensor has elements.",
)
for _name in ("coalesce", "is_coalesced", "indices", "values"):
    op(
        f"{_name}(Any self) -> Any",
        names=(f"Tensor.{_name}",),
        body=Composite(_of_strided(_name), raw=True),
        doc="Of sparse tensors only.",
    )
op("sparse_dim(Any self) -> Any", names=("Tensor.sparse_dim",), body=_strided("sparse_dim", lambda x: 0),
   doc="How many dimensions are sparse: 0 of a strided tensor.")  # fmt: skip
op("dense_dim(Any self) -> Any", names=("Tensor.dense_dim",), body=_strided("dense_dim", lambda x: x.dim()),
   doc="How many dimensions are dense: all of a strided tensor.")  # fmt: skip
op(
    "sparse_mm(Any sparse, Any dense) -> Any",
    names=("sparse.mm",),
    body=Composite(lambda o, a, b: o.mm(a, b), raw=True),
    doc="The product of a sparse and a dense matrix (dense), or of two sparse ones (sparse), with gradients.",
)
op(
    "sparse_addmm(Any mat, Any mat1, Any mat2) -> Any",
    names=("sparse.addmm",),
    body=Composite(lambda o, mat, a, b, *, beta=1.0, alpha=1.0: o.addmm(mat, a, b, beta=beta, alpha=alpha), raw=True),
    doc="beta mat + alpha (mat1 @ mat2), mat1 being sparse.",
)
op(
    "sparse_sum(Any input, Any dim=None, Any dtype=None) -> Any",
    names=("sparse.sum",),
    body=Composite(lambda o, input, dim=None, dtype=None: o.sum(input, dim, dtype=dtype), raw=True),
    doc="The sum of a sparse tensor, or sums over dimensions: sparse where a sparse dimension is left.",
)
