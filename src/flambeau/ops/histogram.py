"""Histograms over given or evenly spaced edges, of one or several dimensions."""

from ..ir.fn import cast, maximum, minimum, where
from .launch import Launch, product
from .sort import check_implemented
from .table import Composite, Loop, Scalar, op

_FLOATS_ONLY = ("b1", "u8", "i8", "i16", "i32", "i64", "u16", "u32", "u64", "f16", "bf16", "c64", "c128")


def _check(o, x, bins, weight) -> None:
    """x: (observations, dimensions); bins: a number or edges for each dimension."""
    check_implemented(x, "histogramdd", _FLOATS_ONLY)
    for d, b in enumerate(bins):
        if isinstance(b, o.Tensor):
            if b.dim() != 1:
                raise RuntimeError(
                    f"torch.histogramdd: bins tensor should have one dimension, but got {b.dim()} dimensions in the "
                    f"bins tensor for dimension {d}"
                )
            if b.dtype is not x.dtype:
                raise RuntimeError(
                    "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with "
                    f"dtype {_name(x)} and bins for dimension {d} with dtype {_name(b)}"
                )
        count = b.numel() - 1 if isinstance(b, o.Tensor) else b
        if count <= 0:
            raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {max(count, 0)} for dimension {d}")
    if weight is None:
        return
    if weight.dtype is not x.dtype:
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same "
            f"dtype, but got input({_name(x)}), and weight({_name(weight)})"
        )


def _check_weight_shape(x, shape, weight) -> None:
    if weight is not None and tuple(weight.shape) != tuple(shape[:-1]):
        raise RuntimeError(
            "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor "
            f"excluding its innermost dimension, but got input with shape {list(shape)} and weight with shape "
            f"{list(weight.shape)}"
        )


def _name(x) -> str:
    return {"f32": "float", "f64": "double"}.get(x.dtype.code, x.dtype.title)


def _limits(o, x, range) -> list[tuple[float, float]]:
    """The outer edges of each dimension: given, or those of the data."""
    n = x.shape[1]
    if range is not None:
        if len(range) != 2 * n:
            raise RuntimeError(
                f"torch.histogramdd: for a {n}-dimensional histogram range should have {2 * n} elements, but got "
                f"{len(range)}"
            )
        limits = [(float(range[2 * d]), float(range[2 * d + 1])) for d in _count(n)]
    elif x.shape[0]:
        low, high = o.aminmax_row(x, 0, False)
        limits = list(zip(low.tolist(), high.tolist(), strict=True))
    else:
        limits = [(0.0, 1.0)] * n
    for d, (low, high) in enumerate(limits):
        if not (abs(low) < float("inf") and abs(high) < float("inf")):
            raise RuntimeError(f"torch.histogramdd: dimension {d}'s range [{low:g}, {high:g}] is not finite")
        if low > high:
            raise RuntimeError(
                f"torch.histogramdd: min should not exceed max, but got min {low:g} max {high:g} for dimension {d}"
            )
    return [(low - 0.5, high + 0.5) if low == high else (low, high) for low, high in limits]


_count = range  # the parameter of this name stands for something else


def _edges(o, x, bins, range):
    """The edges of each dimension."""
    if all(isinstance(b, o.Tensor) for b in bins):
        return [b.detach() for b in bins]
    limits = _limits(o, x, range)
    return [
        o.linspace(low, high, b + 1, dtype=x.dtype, device=x.device)
        for b, (low, high) in zip(bins, limits, strict=True)
    ]


# int: how many bins
def _bin_program(b):
    """Buffers: bins, values, edges. One iteration: one value, whose bin is guessed; the edges say which it is."""
    with b.parallel() as i:
        n, x = b.int(0), b.load(1, i)
        low, high = b.load(2, 0), b.load(2, n)
        guess = cast((x - low) * cast(n, x.dtype) / (high - low), "i64")
        at = maximum(minimum(guess, n - 1), 0)
        at = at + cast(x >= b.load(2, at + 1), "i64")
        at = at - cast((at > 0) & (x < b.load(2, at)), "i64")
        b.store(0, i, where((x >= low) & (x <= high), minimum(at, n - 1), n))


def _bin_plan(o, self, edges):
    x, edges = self.contiguous(), edges.contiguous()
    out = o.empty(tuple(x.shape), dtype=o.int64, device=x.device)
    return Launch((out,), (out, x, edges), [edges.numel() - 1], x.numel(), 2, _bin_program)


op(
    "bin_among_even(Tensor self, Tensor edges) -> Tensor",
    names=(),
    body=Loop(_bin_plan, pure=True),
    differentiable=False,
    doc="The bin of each element between edges that are about evenly spaced; the number of bins where it lies in none.",
)


def _ranked(rank, x, last, bins):
    outside = (rank <= 0) | (rank > bins)
    return where(x == last, bins - 1, where(outside, bins, rank - 1))


op(
    "bin_of_rank(Tensor rank, Tensor self, Tensor last, int bins) -> Tensor",
    names=(),
    roles={"self": "k", "last": "k"},
    body=Scalar(_ranked),
    result="int64",
    differentiable=False,
    doc="The bin of elements that stand behind `rank` edges, of which `last` belongs to its bin.",
)


def _bins(o, column, edges, even: bool):
    """The bin of each element, their number where it lies in none."""
    if even:
        return o.bin_among_even(column, edges)
    rank = o.search_positions(edges, column, None, True, False)
    return o.bin_of_rank(rank, column, edges[-1], edges.numel() - 1)


def _counted(o, x, edges, weight, density: bool, even: bool):
    """How many rows of x (or the sum of whose weights) lie between edges, the last of which belongs to its bin.

    `even`: edges are about evenly spaced.
    """
    sizes = [e.numel() - 1 for e in edges]
    total, place = product(sizes), None
    for d, e in enumerate(edges):
        at = _bins(o, x.select(1, d).contiguous(), e.contiguous(), even)
        if place is None:
            place = at
        else:
            outside = o.logical_or(place >= product(sizes[:d]), at >= sizes[d])
            place = o.masked_fill(place * sizes[d] + at, outside, total)
    if weight is None:
        hist = o.count_positions(place, total + 1).to(x.dtype)
    else:
        hist = o.zeros((total + 1,), dtype=x.dtype, device=x.device)
        hist = o.index_add(hist, 0, place, weight.detach().reshape(-1))
    hist = hist.narrow(0, 0, total).reshape(sizes)
    if density:
        hist = hist / o.sum(hist)
        for d, e in enumerate(edges):
            hist = hist / o.diff(e).reshape([-1 if k == d else 1 for k in _count(len(edges))])
    return hist


def _histogram(o, self, bins, *, range=None, weight=None, density=False):
    x = self.detach().reshape(-1, 1)
    _check(o, x, [bins], weight)
    if weight is not None:
        _check_weight_shape(x, x.shape, weight if weight.shape != self.shape else weight.reshape(-1))
    edges = _edges(o, x, [bins], range)
    return _counted(o, x, edges, weight, density, not isinstance(bins, o.Tensor)), edges[0]


_RESULT = "(Tensor hist, Tensor bin_edges)"
for _overload, _options in (
    (".bins_tensor", "Tensor bins, *, Tensor? weight=None, bool density=False"),
    (".bin_ct", "int bins=100, *, float[]? range=None, Tensor? weight=None, bool density=False"),
):
    op(
        f"histogram{_overload}(Tensor self, {_options}) -> {_RESULT}",
        names=("histogram", "Tensor.histogram"),
        body=Composite(_histogram),
        differentiable=False,
        doc="""How many elements lie between edges, and the edges.

        Args:
            bins: edges, or how many bins of one width.
            range: the outermost edges; by default those of the data.
            weight: what each element counts.
            density: the area under the histogram is 1.

        Example:
            >>> torch.histogram(torch.tensor([1., 2., 1.]), 2, range=(0., 4.)).hist
            tensor([2., 1.])""",
    )


def _histogramdd(o, self, bins, *, range=None, weight=None, density=False):
    if self.dim() < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    n = self.shape[-1]
    bins = [bins] * n if isinstance(bins, int) else list(bins)
    if len(bins) != n:
        raise RuntimeError("histogramdd: The size of bins must be equal to the innermost dimension of the input.")
    x = self.detach().reshape(-1, n)
    _check(o, x, bins, weight)
    _check_weight_shape(x, self.shape, weight)
    edges = _edges(o, x, bins, range)
    even = not isinstance(bins[0], o.Tensor)
    return _counted(o, x, edges, weight, density, even), tuple(edges)


for _overload, _kind in ((".int_bins", "int"), ("", "int[]"), (".TensorList_bins", "Tensor[]")):
    op(
        f"histogramdd{_overload}(Tensor self, {_kind} bins, *, float[]? range=None, Tensor? weight=None, "
        "bool density=False) -> (Tensor hist, Any bin_edges)",
        names=("histogramdd",),
        body=Composite(_histogramdd),
        differentiable=False,
        doc="A histogram of points: how many lie in each cell, and the edges of each dimension.",
    )
