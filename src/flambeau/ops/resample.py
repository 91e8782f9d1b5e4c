"""Weighted sums of a few elements along one dimension (interpolation) and of rows of a table (bags of embeddings)."""

from math import gcd

from flambeau._core import uint8
from flambeau.ir.fn import cast, const, maximum, minimum, where

from .launch import Launch, dims_of
from .table import REAL_FLOATS, Loop, op
from .writing import ROWS_AHEAD, ask_ahead

# Element i of the output, along the dimension, is the sum of weights[t] * input[places[t]] for starts[i] <= t < starts[i+1].
# Bytes are summed in float32. ints: length of the dimension in the output and in the input, elements of a slice

_FEW = 4  # elements of a slice that are summed side by side
_LINES = 4  # as many lines meet a tap together,
_MANY = 64  # if there are so many: each is for one thread


def _rounded(b, total):
    """A sum as it is stored: for bytes rounded and cut off as PyTorch does it."""
    return cast(minimum(maximum(cast(total + 0.5, "i32"), 0), 255), "u8") if b.dtypes[0] == "u8" else total


def _line_program(b, taps: int, width: int, lines: int):
    """Buffers: output, input, starts, places, weights, for slices of so few elements; of bytes, also the input and the
    output in float32: numbers are converted many at a time, and summed one by one. One iteration: so many lines."""
    with b.parallel() as i:
        size, out_size = b.int(1) * width, b.int(0) * width
        sources, targets = ([(i * lines + k) * n for k in range(lines)] for n in (size, out_size))
        if b.dtypes[0] != "u8":
            return _sum_lines(b, (0, targets), (1, sources), taps, width)
        with b.loop(0, size * lines, independent=True) as j:
            b.store(5, sources[0] + j, cast(b.load(1, sources[0] + j), "f32"))
        _sum_lines(b, (6, targets), (5, sources), taps, width)
        with b.loop(0, out_size * lines, independent=True) as j:
            b.store(0, targets[0] + j, _rounded(b, b.load(6, targets[0] + j)))


def _sum_lines(b, to, source, taps: int, width: int):
    """`to`, `source`: a buffer and where lines begin there."""
    dtype = b.compute_dtype(to[0])
    with b.loop(0, b.int(0), simd=False) as i:

        def terms(t):
            weight, place = cast(b.load(4, t), dtype), b.load(3, t) * width
            return [weight * b.load(source[0], line + place + k) for line in source[1] for k in range(width)]

        if taps:
            totals = terms(i * taps)
            for t in range(1, taps):
                totals = [total + term for total, term in zip(totals, terms(i * taps + t), strict=True)]
        else:
            held = [b.variable(const(0, dtype), dtype) for _ in range(width * len(source[1]))]
            with b.loop(b.load(2, i), b.load(2, i + 1), simd=False) as t:
                for variable, term in zip(held, terms(t), strict=True):
                    variable.value = variable.value + term
            totals = [variable.value for variable in held]
        for at, total in zip([line + i * width + k for line in to[1] for k in range(width)], totals, strict=True):
            b.store(to[0], at, total)


def _slice_program(b, taps: int, most: int):
    """The same for longer slices, whose outputs have up to `most` taps (0: many). One iteration: one slice of the
    output."""
    dtype = "f32" if b.dtypes[0] == "u8" else b.compute_dtype(0)
    with b.parallel() as i:
        width = b.int(2)
        before, row = i // b.int(0), i % b.int(0)
        source, target = before * b.int(1) * width, i * width
        if taps or most:
            first, end = (row * taps, None) if taps else (b.load(2, row), b.load(2, row + 1))
            at = [first + t if taps else minimum(first + t, end - 1) for t in range(taps or most)]
            weights = [cast(b.load(4, t), dtype) for t in at]
            starts = [source + b.load(3, t) * width for t in at]
            with b.loop(0, width, independent=True) as j:
                total = weights[0] * cast(b.load(1, starts[0] + j), dtype)
                for t in range(1, len(at)):
                    term = weights[t] * cast(b.load(1, starts[t] + j), dtype)
                    total = total + term if taps else where(first + t < end, total + term, total)
                b.store(0, target + j, _rounded(b, total))
            return
        with b.loop(0, width, simd=False) as j:
            held = b.variable(const(0, dtype), dtype)
            with b.loop(b.load(2, row), b.load(2, row + 1), simd=False) as t:
                value = cast(b.load(1, source + b.load(3, t) * width + j), dtype)
                held.value = held.value + cast(b.load(4, t), dtype) * value
            b.store(0, target + j, _rounded(b, held.value))


def _plan(o, self, dim, taps, starts, places, weights, back_taps, back_starts, back_places, back_weights):
    sizes = list(self.shape)
    before, size, width = dims_of(sizes, dim)
    out_size = starts.numel() - 1
    out = o.empty([*sizes[:dim], out_size, *sizes[dim + 1 :]], dtype=self.dtype, device=self.device)
    buffers = [out, self.contiguous(), starts, places, weights]
    ints = [out_size, size, width]
    if width > _FEW:
        attrs = (max(taps, 0), max(-taps, 0))
        return Launch((out,), buffers, ints, out.numel() and before * out_size, width, _slice_program, attrs)
    if self.dtype == uint8:
        buffers += [o.empty(t.shape, dtype=o.float32, device=t.device) for t in (self, out)]
    lines = gcd(before, _LINES) if before >= _MANY else 1
    attrs = (max(taps, 0), width, lines)
    return Launch((out,), buffers, ints, out.numel() and before // lines, out_size * width * lines, _line_program, attrs)


op(
    "resample(Tensor self, int dim, int taps, Tensor starts, Tensor places, Tensor weights, int back_taps, "
    "Tensor back_starts, Tensor back_places, Tensor back_weights) -> Tensor",
    names=(),
    dtypes=(*REAL_FLOATS, uint8),
    body=Loop(_plan, pure=True),
    grad=lambda o, g, self, dim, *taps: (o.resample(g, dim, *taps[4:], *taps[:4]), *[None] * 6),
    doc="One dimension resampled by taps (`taps`: how many all outputs have, or, negative, up to how many, 0: many or "
    "none); those of the gradient, the other way round, come along.",
)


# ---- bags of rows


_TOGETHER = 4


# ints: elements of a row, number of entries
def _bag_program(b, weighted: bool):
    """Buffers: output, table, entries, starts, weights of entries. One iteration: one bag."""
    dtype = b.compute_dtype(0)
    with b.parallel() as i:
        width = b.int(0)
        target, first, end = i * width, b.load(3, i), b.load(3, i + 1)

        last = b.int(1) - 1

        def add(t, count, keep):
            """Adds `count` rows from entry t on, one after the other."""
            for k in range(count):
                ask_ahead(b, 1, b.load(2, minimum(t + (k + ROWS_AHEAD), last)) * width, 0, width)
            sources = [b.load(2, t + k) * width for k in range(count)]
            weights = [cast(b.load(4, t + k), dtype) for k in range(count)] if weighted else []
            with b.loop(0, width, independent=True) as j:
                total = b.load(0, target + j) if keep else None
                for k, source in enumerate(sources):
                    value = b.load(1, source + j)
                    value = value * weights[k] if weighted else value
                    total = value if total is None else total + value
                b.store(0, target + j, total)

        count = end - first
        whole = end - count % _TOGETHER
        with b.when(count >= _TOGETHER):
            add(first, _TOGETHER, False)
            with b.loop(first + _TOGETHER, whole, step=_TOGETHER, simd=False) as t:
                add(t, _TOGETHER, True)
        with b.otherwise():
            with b.when(count >= 2):
                add(first, 2, False)
            with b.otherwise():
                with b.when(count > 0):
                    add(first, 1, False)
                with b.otherwise(), b.loop(0, width) as j:
                    b.store(0, target + j, 0)
        done = where(count >= _TOGETHER, whole, first + minimum(count, 2))
        with b.when(end - done >= 2):
            add(done, 2, True)
        with b.when((end - done) % 2 > 0):
            add(end - 1, 1, True)


def _bag_plan(o, table, entries, starts, weights=None):
    rows, width = table.shape
    bad = o.first_outside(entries, rows)
    if bad is not None:
        at = entries.flatten().tolist().index(bad)
        raise RuntimeError(f"Index {at} of input takes value {bad} which is not in the valid range [0, {rows})")
    bags = starts.numel() - 1
    out = o.empty((bags, width), dtype=table.dtype, device=table.device)
    buffers = (
        out,
        table.contiguous(),
        entries.contiguous(),
        starts,
        *([weights.contiguous()] if weights is not None else []),
    )
    work = width * max(entries.numel() // max(bags, 1), 1)
    return Launch((out,), buffers, [width, entries.numel()], bags if width else 0, work, _bag_program, (weights is not None,))


def _bag_grad(o, g, table, entries, starts, weights=None):
    spread = o.index_select(g, 0, o.bag_of(starts, entries))
    to_weights = None
    if weights is not None and o.needs[3]:
        to_weights = o.sum(spread * o.index_select(table, 0, entries), 1)
    if weights is not None:
        spread = spread * o.unsqueeze(weights, 1)
    return o.index_sum(spread, 0, entries, table.shape) if o.needs[0] else None, None, None, to_weights


op(
    "bag_sum(Tensor table, Tensor entries, Tensor starts, Tensor? weights=None) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_bag_plan),
    grad=_bag_grad,
    doc="Sums of rows of a table: bag i has entries[starts[i] : starts[i + 1]], each times its weight.",
)


def _bag_of_program(b):
    """Buffers: bag of each entry, starts."""
    with b.parallel() as i, b.loop(b.load(1, i), b.load(1, i + 1)) as t:
        b.store(0, t, i)


def _bag_of_plan(o, starts, entries):
    out = o.empty((entries.numel(),), dtype=o.int64, device=entries.device)
    bags = starts.numel() - 1
    work = max(entries.numel() // max(bags, 1), 1)
    return Launch((out,), (out, starts), (), bags if entries.numel() else 0, work, _bag_of_program)


op(
    "bag_of(Tensor starts, Tensor entries) -> Tensor",
    names=(),
    body=Loop(_bag_of_plan, pure=True),
    differentiable=False,
    doc="Which bag each entry is in.",
)
