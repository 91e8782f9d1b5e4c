"""Launches that write slices through a vector of positions: what index_add, index_copy, index_put and gradients share.

The tensor written is seen as [before, rows, width], the source as [before, positions, width]. The order in which slices
meet a row is that of the positions, on any number of threads: iterations own either whole rows or some columns.
"""

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


# ints: rows, elements of a slice, number of positions, columns of an iteration
def _fill_program(b):
    """Buffers: written, positions, source of one element. One iteration: one slice."""
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        target = (i // n * rows + b.load(1, i % n)) * width
        value = b.load(2, 0)
        with b.loop(0, width) as j:
            b.store(0, target + j, value)


def _column_program(b, reduce: str, scaled: bool, one: bool):
    """Buffers: written, positions, source. One iteration: some columns, through all positions in their order."""
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        blocks = (width + (b.int(3) - 1)) // b.int(3)
        before, first = i // blocks, i % blocks * b.int(3)
        last = minimum(width, first + b.int(3))
        same = b.load(2, 0) if one else None
        with b.loop(0, n) as k:
            target, source = (before * rows + b.load(1, k)) * width, (before * n + k) * width
            ask_ahead(b, 0, (before * rows + b.load(1, minimum(k + ROWS_AHEAD, n - 1))) * width, first, last)
            with b.loop(first, last) as j:
                value = same if one else b.load(2, source + j)
                if scaled:
                    value = value * b.param(0, b.compute_dtype(0))
                b.store(0, target + j, REDUCTIONS[reduce](b.load(0, target + j), value) if reduce else value)


def _single_program(b, reduce: str, scaled: bool, one: bool):
    """The same for slices of one element. One iteration: one of `before`."""
    with b.parallel() as i:
        rows, n = b.int(0), b.int(2)
        same = b.load(2, 0) if one else None
        with b.loop(0, n, simd=False) as k:
            target = i * rows + b.load(1, k)
            value = same if one else b.load(2, i * n + k)
            if scaled:
                value = value * b.param(0, b.compute_dtype(0))
            b.store(0, target, REDUCTIONS[reduce](b.load(0, target), value) if reduce else value)


def _row_program(b, reduce: str, scaled: bool, one: bool, fresh: bool):
    """Buffers: written, starts, order, source. One iteration: all that is written to one row.

    `fresh`: the row held nothing; where nothing is written it becomes zero.
    """
    with b.parallel() as i:
        rows, width, n = b.int(0), b.int(1), b.int(2)
        before, row = i // rows, i % rows
        first, end = b.load(1, row), b.load(1, row + 1)
        target = i * width
        same = b.load(3, 0) if one else None

        def write(k, keep):
            source = (before * n + b.load(2, k)) * width
            with b.loop(0, width) as j:
                value = same if one else b.load(3, source + j)
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


def write_slices(o, out, dim, index, source, reduce="", alpha=1, fresh=False) -> Launch:
    """Writes slices to `out`, or adds them, or reduces otherwise.

    Args:
        out: contiguous.
        dim: the dimension that positions are in.
        index: a vector of int64, checked.
        source: contiguous, or of one element that is written everywhere.
        reduce: one of `REDUCTIONS`, or nothing.
        alpha: what slices are multiplied with.
        fresh: `out` holds nothing yet, and stands for zeros.
    """
    before, rows, width = dims_of(tuple(out.shape), dim)
    n, scaled, one = index.numel(), alpha != 1, source.numel() == 1
    params = (number_as(out.dtype, alpha),) if scaled else ()
    by_rows = width >= _LEAST_WIDTH and (rows <= 4 * n or fresh)
    if fresh and not by_rows:
        out.zero_()
    if not n and not (fresh and by_rows):
        return Launch((out,), (out,), (), 0, 1, _column_program)
    if one and not reduce and (width > 1 or before < _MANY_LINES):
        return Launch((out,), (out, index, source), [rows, width, n], before * n if width else 0, width, _fill_program)
    attrs = (reduce, scaled, one)
    if by_rows:
        order, starts = o.group_positions(index, rows)
        work = width * max(n // max(rows, 1), 1)
        buffers = (out, starts, order, source)
        return Launch((out,), buffers, [rows, width, n], before * rows, work, _row_program, (*attrs, fresh), params)
    if width == 1:
        return Launch((out,), (out, index, source), [rows, width, n], before, n, _single_program, attrs, params)
    columns = min(width, _COLUMNS)
    tasks, ints = before * -(-width // columns) if width else 0, [rows, width, n, columns]
    return Launch((out,), (out, index, source), ints, tasks, columns * n, _column_program, attrs, params)


def plain_source(source):
    """The source as `write_slices` takes it: one element where all are that one."""
    if source.numel() > 1 and not any(source.stride()):
        return source[(0,) * source.dim()].reshape(1)
    return source.contiguous()
