"""Sparse matrices compressed by rows (CSR) or by columns (CSC): where each row begins, columns, and values.

A compressed matrix is a tensor in coordinates that also knows where its rows (columns) begin; arithmetic is that of
`sparse.py`, and sparse results are compressed again.
"""

from typing import Any

from flambeau import _core

from .launch import check_tensor
from .names import operators as o
from .sparse import _FUNCTIONS, SparseTensor, _coalesce, _make, _text, _to_sparse, _transpose
from .table import Composite, op

_Tensor: Any = _core.Tensor
_LAYOUTS = {True: (_core.sparse_csr, "crow_indices", "col_indices"), False: (_core.sparse_csc, "ccol_indices", "row_indices")}
_STAY = ("__getitem__", "coalesce")  # their results are in coordinates


class CompressedTensor(SparseTensor):
    """A matrix of layout torch.sparse_csr or torch.sparse_csc."""

    _begin: Any  # where each row (column) begins among the values, and the end
    _by_rows: bool

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        first = args[0] if args else None
        by_rows = first._by_rows if isinstance(first, CompressedTensor) else True
        if func.__name__ in ("to_sparse", "to_sparse_coo"):
            return _make(first._i, first._v, first.shape, by_rows)
        if func.__name__ in ("t", "transpose"):
            by_rows = not by_rows
        result = super().__torch_function__(func, types, args, kwargs)
        if not isinstance(result, SparseTensor) or isinstance(result, CompressedTensor) or func.__name__ in _STAY:
            return result
        return _compressed(result, by_rows) if result.dim() == 2 else result

    def _numbers(self, name, wanted, what):
        if _LAYOUTS[self._by_rows][1 + what] != name:
            kind = "row" if name in _LAYOUTS[True] else "column"
            got = "SparseCsr" if self._by_rows else "SparseCsc"
            raise RuntimeError(f"{name} expected sparse {kind} compressed tensor layout but got {got}")
        return wanted

    def crow_indices(self):
        return self._numbers("crow_indices", self._begin, 0)

    def ccol_indices(self):
        return self._numbers("ccol_indices", self._begin, 0)

    def col_indices(self):
        return self._numbers("col_indices", self._i[1], 1)

    def row_indices(self):
        return self._numbers("row_indices", self._i[0], 1)

    def values(self):
        return self._v.view(self._v.shape)

    def indices(self):
        got = "SparseCsr" if self._by_rows else "SparseCsc"
        raise RuntimeError(f"indices expected sparse coordinate tensor layout but got {got}")

    layout = property(lambda self: _LAYOUTS[self._by_rows][0])
    is_sparse = property(lambda self: False)
    is_sparse_csr = property(lambda self: self._by_rows)

    @property
    def grad(self):
        g = self._v.grad
        return None if g is None else _of_parts(self._begin, self._i, g, self.shape, self._by_rows)

    @grad.setter
    def grad(self, value):
        self._v.grad = None if value is None else value._values()

    def detach(self):
        return _of_parts(self._begin, self._i, self._v.detach(), self.shape, self._by_rows)

    def __repr__(self, *, tensor_contents=None):
        layout, begin, at = _LAYOUTS[self._by_rows]
        return _text(self, ((begin, self._begin), (at, self._i[1 if self._by_rows else 0])), layout)

    def __deepcopy__(self, memo):
        made = _of_parts(self._begin, self._i, self._v.detach().clone(), self.shape, self._by_rows)
        return made.requires_grad_(self.requires_grad)

    def __reduce_ex__(self, protocol):
        return _rebuild, (self._begin, self._i, self._v.detach(), tuple(self.shape), self._by_rows, self.requires_grad)


def _rebuild(begin, indices, values, size, by_rows, requires_grad):
    return _of_parts(begin, indices, values, size, by_rows).requires_grad_(requires_grad)


def _of_parts(begin, indices, values, size, by_rows) -> CompressedTensor:
    """Values in the order of rows (columns), with the coordinates of each."""
    return _make(indices, values, size, by_rows, CompressedTensor, _begin=begin, _by_rows=by_rows)


def _compressed(s, by_rows: bool) -> CompressedTensor:
    """A matrix in coordinates, compressed."""
    if s.dim() != 2 or s.sparse_dim() != 2:
        raise RuntimeError(f"Only 2-dimensional tensors can be compressed, but got a tensor of {s.dim()} dimensions")
    s = _make(s._i, s._v, s.shape, s._merged)
    merged = _coalesce(s if by_rows else _transpose(s, 0, 1))
    counts = o.bincount(merged._i[0], minlength=merged.shape[0])
    begin = o.cat([o.zeros((1,), dtype=o.int64), o.cumsum(counts, 0)])
    indices = merged._i if by_rows else merged._i.flip(0)
    return _of_parts(begin, indices, merged._v, s.shape, by_rows)


def _to_compressed(x, by_rows: bool, name: str):
    check_tensor(name, "self", x)
    return _compressed(_to_sparse(x), by_rows)


# ---- from parts


def _need(holds, what: str) -> None:
    if not holds:
        raise RuntimeError(f"`{what}` is not satisfied.")


def _check(begin, at, values, size, by_rows: bool) -> None:
    """Everything is checked always: what is not so would be read outside of memory later."""
    _, pointer, plain = _LAYOUTS[by_rows]
    if begin.dtype != at.dtype:
        raise RuntimeError(
            f"{pointer} and {plain} must have the same dtype, bot got {begin.dtype.title} and {at.dtype.title}, respectively"
        )
    if begin.dtype not in (o.int32, o.int64):
        raise RuntimeError(f"{pointer} and {plain} must be an int32 or int64 type, but got: {begin.dtype.title}")
    if len(size) != 2:
        raise RuntimeError(
            "tensor dimensionality must be sum of batch, base, and dense dimensionalities (=0 + 2 + 0) but got "
            f"{len(size)}"
        )
    if begin.dim() != 1 or at.dim() != 1 or values.dim() != 1:
        raise RuntimeError(f"{pointer}, {plain} and values must be 1-dimensional [batches and blocks are not supported]")
    rows, columns = size if by_rows else size[::-1]
    across = "row" if by_rows else "column"
    if begin.shape[0] != rows + 1:
        raise RuntimeError(
            f"{pointer}.shape[-1] must be equal to the number of {across}s + 1 (={rows + 1}), but got {begin.shape[0]}"
        )
    nnz = values.shape[0]
    if at.shape[0] != nnz:
        raise RuntimeError(
            f"{plain}.shape[-1] must be equal to nnz (={nnz}) as defined by values.shape[0], but got {at.shape[0]}"
        )
    limit = "ncols" if by_rows else "nrows"
    _need(begin[0] == 0, f"{pointer}[..., 0] == 0")
    _need(begin[-1] == nnz, f"{pointer}[..., -1] == nnz")
    steps = begin[1:] - begin[:-1]
    _need(bool(((steps >= 0) & (steps <= columns)).all()), f"0 <= {pointer}[..., 1:] - {pointer}[..., :-1] <= {limit}")
    _need(bool(((at >= 0) & (at < columns)).all()), f"0 <= {plain} < {limit}")


def _from_parts(by_rows: bool):
    def make(o, begin, at, values, size=None, *, dtype=None, layout=None, device=None, pin_memory=False,
             requires_grad=False, check_invariants=None):  # fmt: skip
        given = isinstance(values, o.Tensor)
        begin, at = _core.as_tensor(begin).detach(), _core.as_tensor(at).detach()
        values = values if given else _core.as_tensor(values)
        values = values if dtype is None else values.to(dtype)
        if size is None:
            other = int(o.amax(at)) + 1 if at.numel() else 0
            size = (begin.shape[0] - 1, other) if by_rows else (other, begin.shape[0] - 1)
        _check(begin, at, values, tuple(size), by_rows)
        steps = begin[1:] - begin[:-1]
        major = o.repeat_interleave(o.arange(steps.shape[0]), steps.to(o.int64))
        at, begin = at.to(o.int64), begin.to(o.int64)
        _need(
            bool((((major[1:] > major[:-1]) | (at[1:] > at[:-1]))).all()),
            "{1}[..., {0}[..., i - 1]:{0}[..., i]] for all i = 1, ..., {2} are sorted and distinct along the last "
            "dimension values".format(*_LAYOUTS[by_rows][1:], "nrows" if by_rows else "ncols"),
        )
        if requires_grad:
            values = values.detach().clone().requires_grad_()
        elif values.requires_grad:
            values = values.view(values.shape)
        indices = o.stack([major, at] if by_rows else [at, major])
        return _of_parts(begin, indices, values, tuple(size), by_rows)

    def by_name(o, *parts, **options):
        """The places may be given by the names that they have in this layout."""
        named = [options.pop(n) for n in _LAYOUTS[by_rows][1 + len(parts) :] if n in options]
        return make(o, *parts, *named, **options)

    return by_name


for _by_rows, (_, _pointer, _plain) in _LAYOUTS.items():
    _name = "csr" if _by_rows else "csc"
    _kind = "row" if _by_rows else "column"
    op(
        f"sparse_{_name}_tensor(Any {_pointer}, Any {_plain}, Any values, Any size=None) -> Any",
        names=(f"sparse_{_name}_tensor",),
        body=Composite(_from_parts(_by_rows), raw=True),
        doc=f"""A sparse matrix compressed by {_kind}s: {_kind} i has values[begin[i]:begin[i + 1]], at the places in {_plain}.

        Everything is checked: numbers that fit to no matrix are refused.""",
    )
    op(
        f"to_sparse_{_name}(Any self, Any dense_dim=None) -> Any",
        names=(f"Tensor.to_sparse_{_name}",),
        body=Composite(
            (lambda rows, n: lambda o, self, dense_dim=None: _to_compressed(self, rows, n))(_by_rows, f"to_sparse_{_name}"),
            raw=True,
        ),
        doc=f"The elements of a matrix that are not 0, compressed by {_kind}s.",
    )


_FUNCTIONS["to_sparse_csr"] = lambda s, dense_dim=None: _compressed(s, True)
_FUNCTIONS["to_sparse_csc"] = lambda s, dense_dim=None: _compressed(s, False)


def _of_strided(name, kind):
    def refuse(o, x):
        check_tensor(name, "self", x)
        raise RuntimeError(f"{name} expected sparse {kind} compressed tensor layout but got Strided")

    return refuse


for _name, _kind in (("crow_indices", "row"), ("col_indices", "row"), ("ccol_indices", "column"), ("row_indices", "column")):
    op(
        f"{_name}(Any self) -> Any",
        names=(f"Tensor.{_name}",),
        body=Composite(_of_strided(_name, _kind), raw=True),
        doc="Of compressed sparse matrices only.",
    )
for _name in ("spmm", "dsmm", "hsmm"):
    op(
        f"{_name}(Any mat1, Any mat2) -> Any",
        names=(_name,),
        body=Composite(lambda o, mat1, mat2: o.mm(mat1, mat2), raw=True),
        doc="The older name of sparse.mm.",
    )
