"""Triangles of matrices, and the indices of their elements."""

from flambeau.ir.fn import const, maximum, minimum

from .creation import OPTIONS
from .launch import Launch
from .table import ANY, Composite, Loop, op


def _shift(diagonal: int, rows: int, columns: int, lower: bool) -> int:
    """By how much the triangle's edge stands off the diagonal; beyond these bounds nothing changes."""
    return min(max(diagonal if lower else diagonal - 1, -rows), columns)


def _sides(row, columns, shift, lower: bool):
    """Of a row, the columns (from, to) inside of the triangle and those outside."""
    zero, edge = const(0, "i64"), minimum(maximum(row + shift + 1, 0), columns)
    left, right = (zero, edge), (edge, columns)
    return (left, right) if lower else (right, left)


def _triangle_program(b, lower: bool, copied: bool):
    """Buffers: output and, where what stays is copied, input. ints: rows, columns, shift of the edge.

    One iteration: one row.
    """
    with b.parallel() as line:
        rows, columns, shift = b.int(0), b.int(1), b.int(2)
        base = line * columns
        inside, outside = _sides(line % rows, columns, shift, lower)
        if copied:
            with b.loop(*inside) as j:
                b.store(0, base + j, b.load(1, base + j))
        with b.loop(*outside) as j:
            b.store(0, base + j, 0)


def _triangle_plan(lower: bool):
    def plan(o, self, diagonal=0, into=False):
        if self.dim() < 2:
            raise RuntimeError(f"{'tril' if lower else 'triu'}: input tensor must have at least 2 dimensions")
        rows, columns = self.shape[-2:]
        shift = _shift(diagonal, rows, columns, lower)
        if into and self.is_contiguous():
            out, buffers = self, (self,)
        else:
            out = o.empty(tuple(self.shape), dtype=self.dtype, device=self.device)
            buffers = (out, self.contiguous())
        lines = self.numel() // columns if columns else 0
        ints = [rows, columns, shift]
        return Launch((out,), buffers, ints, lines, columns, _triangle_program, (lower, len(buffers) == 2))

    return plan


for _name, _lower in (("triu", False), ("tril", True)):
    op(
        f"{_name}(Tensor self, int diagonal=0) -> Tensor",
        dtypes=ANY,
        body=Loop(_triangle_plan(_lower), in_place=True, pure=True),
        inplace=True,
        grad=(lambda name: lambda o, g, self, diagonal: (getattr(o, name)(g, diagonal),))(_name),
        ref=(lambda f: lambda np, x, diagonal=0: getattr(np, f)(x, diagonal))(_name),
        doc=f"The {'lower' if _lower else 'upper'} triangle of matrices, the rest zero.",
    )


def _elements_before(k, columns, shift, lower, lesser=min, greater=max):
    """Elements of a triangle in the first k rows that hold any. No product exceeds twice the triangle."""
    if lower:
        shortest = lesser(greater(shift, 0) + 1, columns)
        growing = lesser(k, columns - shortest)
        return growing * shortest + growing * (growing - 1) // 2 + (k - growing) * columns
    whole = lesser(k, greater(-shift - 1, 0))
    shrinking, longest = k - whole, columns - greater(shift + 1, 0)
    return whole * columns + shrinking * longest - shrinking * (shrinking - 1) // 2


def _indices_program(b, lower: bool):
    """Buffers: rows, then columns. ints: columns, shift of the edge, number of indices. One iteration: one row."""
    with b.parallel() as k:
        columns, shift, total = b.int(0), b.int(1), b.int(2)
        before = _elements_before(k, columns, shift, lower, minimum, maximum)
        row = k + maximum(-shift, 0) if lower else k
        first, end = _sides(row, columns, shift, lower)[0]
        with b.loop(first, end) as column:
            at = before + column - first
            b.store(0, at, row)
            b.store(0, total + at, column)


def _indices_plan(o, row, col, offset, lower, device):
    shift = _shift(offset, row, col, lower)
    rows = row - min(max(-shift, 0), row) if lower else min(row, max(col - shift - 1, 0))  # that hold any
    total = _elements_before(rows, col, shift, lower)
    if total >= 2**62:
        raise RuntimeError(f"Storage size calculation overflowed with sizes=[2, {total}]")
    out = o.empty((2, total), dtype=o.int64, device=device)
    work = total // rows if total else 0
    return Launch((out,), (out,), [col, shift, total], rows if total else 0, work, _indices_program, (lower,))


op(
    "triangle_indices(int row, int col, int offset, bool lower, Device? device) -> Tensor",
    names=(),
    body=Loop(_indices_plan),
    differentiable=False,
    doc="Rows and columns of a lower or upper triangle, row by row.",
)


def _triangle_indices(name: str):
    def run(o, row, col, offset, dtype, layout, device, pin_memory, requires_grad):
        for what, size in (("row", row), ("col", col)):
            if size < 0:
                raise RuntimeError(f"{what} must be non-negative, got{size}")
        return o.triangle_indices(row, col, offset, name == "tril", device).to(dtype or o.int64)

    return run


for _name in ("tril", "triu"):
    op(
        f"{_name}_indices(int row, int col, int offset=0, *, {OPTIONS}) -> Tensor",
        names=(f"{_name}_indices",),
        body=Composite(_triangle_indices(_name)),
        differentiable=False,
        doc=f"Rows and columns of the {'lower' if _name == 'tril' else 'upper'} triangle of a matrix.",
    )
