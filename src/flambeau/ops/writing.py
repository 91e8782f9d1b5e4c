"""Launches that write slices through a vector of positions: what index_add, index_copy, index_put and gradients share.

The tensor written is seen as [before, rows, width], the source as [before, positions, width]. The order in which slices
meet a row is that of the positions, on any number of threads: iterations own either whole rows or some columns.
"""

from flambeau._core import Tensor
from flambeau.ir.fn import maximum, minimum
from flambeau.ir.types import SIZE

from .launch import Launch, dims_of, number_as
from .table import Native, op

op(
    "group_positions(Tensor index, int rows) -> (Tensor, Tensor)",
    names=(),
    body=Native("group_positions"),
    differentiable=False,
    doc="Places of checked int64 positions in the order of the rows they name, and where each row's begin.",
)


#: What an element that is written makes with the one before; without a reduction it takes its place.
REDUCTIONS = {
    "add": lambda old, value: old + value,
    "multiply": lambda old, value: old * value,
    "amax": maximum,
    "amin": minimum,
}

ROWS_AHEAD = 8  # rows that memory is asked for before their turn comes: which they are, nobody can guess


def ask_ahead(b, buffer: int, row, first, last) -> None:
    """Asks for elements first .. last - 1 of a row. Memory comes by pairs of cache lines."""
    with b.loop(first, last, step=128 // SIZE[b.dtypes[buffer]], simd=False) as j:
        b.prefetch(buffer, row + j)


def _same(b, buffer: int, source: str):
    """What is written everywhere; nothing where the source has an element for each."""
    if source == "number":
        return b.param(0, b.compute_dtype(0))
    return b.load(buffer, 0) if source == "one" else None


def _position(b, k, axes: int):
    """Position k of `axes` buffers, each but the first with a size of its own: the row that is written."""
    place = b.load(1, k)
    for d in range(1, axes):
        place = place * b.int(3 + d) + b.load(1 + d, k)
    return place


# `source`: each, one slice for all, one element for all, or a number for all. Ints: rows, elements of a slice, number of
# positions, columns of an iteration, and sizes of axes from the second on.
def _fill_program(b, source: str, axes: int):
    """Buffers: written, positions, source of one slice or element. One iteration: one slice."""
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        target = (i // n * rows + _position(b, i % n, axes)) * width
        same = _same(b, 1 + axes, source)
        with b.loop(0, width, independent=source == "slice") as j:
            b.store(0, target + j, b.load(1 + axes, j) if same is None else same)


def _column_program(b, reduce: str, scaled: bool, source: str, axes: int):
    """Buffers: written, positions, source. One iteration: some columns, through all positions in their order."""
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        blocks = (width + (b.int(3) - 1)) // b.int(3)
        before, first = i // blocks, i % blocks * b.int(3)
        last = minimum(width, first + b.int(3))
        same = _same(b, 1 + axes, source)
        with b.loop(0, n) as k:
            target, place = (before * rows + _position(b, k, axes)) * width, (before * n + k) * width
            ahead = _position(b, minimum(k + ROWS_AHEAD, n - 1), axes)
            ask_ahead(b, 0, (before * rows + ahead) * width, first, last)
            with b.loop(first, last) as j:
                value = b.load(1 + axes, place + j) if same is None else same
                if scaled:
                    value = value * b.param(0, b.compute_dtype(0))
                b.store(0, target + j, REDUCTIONS[reduce](b.load(0, target + j), value) if reduce else value)


def _single_program(b, reduce: str, scaled: bool, source: str, axes: int):
    """The same for slices of one element. One iteration: one of `before`."""
    with b.parallel() as i:
        rows, n = b.int(0), b.int(2)
        same = _same(b, 1 + axes, source)
        with b.loop(0, n, simd=False) as k:
            target = i * rows + _position(b, k, axes)
            value = b.load(1 + axes, i * n + k) if same is None else same
            if scaled:
                value = value * b.param(0, b.compute_dtype(0))
            b.store(0, target, REDUCTIONS[reduce](b.load(0, target), value) if reduce else value)


def _row_program(b, reduce: str, scaled: bool, source: str, fresh: bool):
    """Buffers: written, starts, order, source. One iteration: all that is written to one row.

    `fresh`: the row held nothing; where nothing is written it becomes zero.
    """
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        before, row = i // rows, i % rows
        first, end = b.load(1, row), b.load(1, row + 1)
        target = i * width
        same = _same(b, 3, source)

        def write(k, keep):
            place = (before * n + b.load(2, k)) * width
            with b.loop(0, width) as j:
                value = b.load(3, place + j) if same is None else same
                if scaled:
                    value = value * b.param(0, b.compute_dtype(0))
                b.store(0, target + j, REDUCTIONS[reduce](b.load(0, target + j), value) if keep else value)

        if not reduce:
            with b.when(first < end):
                write(end - 1, False)
            return
        if fresh:
            with b.when(first < end):
                write(first, False)
            with b.otherwise(), b.loop(0, width) as j:
                b.store(0, target + j, 0)
            first = first + 1
        with b.loop(first, end) as k:
            write(k, True)


_LEAST_WIDTH = 16  # of slices that are worth an iteration of their own
_COLUMNS = 64
_MANY_LINES = 16  # enough for all threads
_FEW = 1 << 15  # elements that one thread writes before positions would be in order


def write_slices(o, out, dim, index, source, reduce="", alpha=1, fresh=False, sizes=()) -> Launch:
    """Writes slices to `out`, or adds them, or reduces otherwise.

    Args:
        out: contiguous.
        dim: the dimension that positions are in.
        index: a vector of int64, checked; or some of them, each for an axis, where the dimension is of several.
        source: contiguous, or of one element that is written everywhere, or a number that is, or a slice (both not with
            `reduce`).
        reduce: one of `REDUCTIONS`, or nothing.
        alpha: what slices are multiplied with.
        fresh: `out` holds nothing yet, and stands for zeros.
        sizes: of the axes, where they are several.
    """
    axes = index if sizes else (index,)
    before, rows, width = dims_of(tuple(out.shape), dim)
    n, scaled, number = axes[0].numel(), alpha != 1, not isinstance(source, Tensor)
    kind = "number" if number else _kind(source, before * n, width)
    params = (source,) if number else (number_as(out.dtype, alpha),) if scaled else ()
    by_rows = width >= _LEAST_WIDTH and (fresh or (rows <= 4 * n and before * n * width > _FEW))
    buffers = (out, *axes) if number else (out, *axes, source)
    columns = min(width, _COLUMNS)
    ints = [rows, width, n, columns, *sizes[1:]]
    if fresh and not by_rows:
        out.zero_()
    if not n and not (fresh and by_rows):
        return Launch((out,), (out,), (), 0, 1, _column_program)
    if kind != "each" and not reduce and (width > 1 or before < _MANY_LINES):
        slices = before * n if width else 0
        return Launch((out,), buffers, ints, slices, width, _fill_program, (kind, len(axes)), params)
    attrs = (reduce, scaled, kind)
    if by_rows:
        order, starts = o.group_positions(o.flat_positions(axes, sizes, True) if sizes else index, rows)
        work = width * max(n // max(rows, 1), 1)
        buffers = (out, starts, order, source)
        return Launch((out,), buffers, [rows, width, n], before * rows, work, _row_program, (*attrs, fresh), params)
    if width == 1:
        return Launch((out,), buffers, ints, before, n, _single_program, (*attrs, len(axes)), params)
    tasks = before * -(-width // columns) if width else 0
    return Launch((out,), buffers, ints, tasks, columns * n, _column_program, (*attrs, len(axes)), params)


def _kind(source, slices: int, width: int) -> str:
    if source.numel() == 1:
        return "one"
    return "slice" if source.numel() == width and slices > 1 else "each"


def plain_source(source):
    """The source as `write_slices` takes it: one element where all are that one."""
    if source.numel() > 1 and not any(source.stride()):
        return source[(0,) * source.dim()].reshape(1)
    return source.contiguous()
