"""Sorting and what is read off a sorted order: topk, kthvalue, median, mode, quantile.

Positions are found first; values are gathered by them, so gradients are those of `gather`. The order is always stable
(but kthvalue finds, among equal elements of short rows, the one that PyTorch finds), nan is the greatest value, and
zeros of both signs are equal.
"""

from flambeau.ir.fn import minimum

from .launch import Launch, needs_grad, values_suffice, wrap_dim
from .table import ANY, ORDERED, Composite, Loop, Native, op

_ROWS = (
    ("order_rows(Tensor self, int dim, bool descending, int most)", "Where the first elements of sorted rows stand."),
    ("ranked_rows(Tensor self, int dim, int rank)", "Where the element of a rank, counted from 0, stands in each row."),
    ("median_rows(Tensor self, int dim, bool skip_nan)", "Where the median of each row stands."),
    ("mode_rows(Tensor self, int dim)", "Where the most frequent element of each row stands last."),
)
for _signature, _doc in _ROWS:
    op(
        f"{_signature} -> Tensor",
        names=(),
        dtypes=ANY,
        body=Native(_signature.split("(")[0]),
        differentiable=False,
        doc=f"{_doc} Rows lie along `dim`.",
    )


def ordering(o, x, dim: int, descending: bool = False, most: int | None = None):
    """Positions (int64) along a dimension that sort x stably; the first `most` of them where that is given."""
    if most is None:
        most = x.size(dim) if x.dim() else 1
    return o.order_rows(x, dim, descending, most)


def _no_complex(x, sentence: str) -> None:
    if x.dtype.is_complex:
        raise RuntimeError(sentence)


def check_implemented(x, kernel: str, but: tuple[str, ...] = ("c64", "c128")) -> None:
    """Raises what PyTorch raises for dtypes that a kernel does not take."""
    if x.dtype.code in but:
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{x.dtype.title}'")


def _sort(o, self, dim=-1, descending=False):
    dim = wrap_dim(dim, self.dim())
    _no_complex(self, " Sort does not support complex dtypes on CPU")
    indices = ordering(o, self, dim, descending)
    return o.gather(self, dim, indices), indices


_SORTED = "(Tensor values, Tensor indices)"
op(
    f"sort(Tensor self, int dim=-1, bool descending=False) -> {_SORTED}",
    body=Composite(_sort),
    dtypes=ORDERED,
    ref=lambda np, x, dim=-1: np.sort(x, axis=dim),
    samples="scan",
    doc="Elements in order along a dimension, and where they stood; nan is the greatest, and ties keep their order.",
)
op(
    f"sort.stable(Tensor self, *, bool? stable, int dim=-1, bool descending=False) -> {_SORTED}",
    body=Composite(lambda o, self, *, stable, dim=-1, descending=False: _sort(o, self, dim, descending)),
    doc="sort, which is always stable here.",
)


def _argsort(o, self, dim=-1, descending=False):
    dim = wrap_dim(dim, self.dim())
    _no_complex(self, " Sort does not support complex dtypes on CPU")
    return ordering(o, self, dim, descending)


op(
    "argsort(Tensor self, int dim=-1, bool descending=False) -> Tensor",
    body=Composite(_argsort),
    differentiable=False,
    dtypes=ORDERED,
    ref=lambda np, x, dim=-1: np.argsort(x, axis=dim, kind="stable"),
    samples="scan",
    doc="Positions that sort a dimension; equal elements keep their order.",
)
op(
    "argsort.stable(Tensor self, *, bool stable, int dim=-1, bool descending=False) -> Tensor",
    body=Composite(lambda o, self, *, stable, dim=-1, descending=False: _argsort(o, self, dim, descending)),
    differentiable=False,
    doc="argsort, which is always stable here.",
)
op(
    "msort(Tensor self) -> Tensor",
    body=Composite(lambda o, self: _sort(o, self, 0)[0]),
    ref=lambda np, x: np.sort(x, axis=0),
    doc="Elements in order along the first dimension.",
)


_FEW = 32  # elements that are selected one by one instead of by partition


def _few_program(b, largest: bool):
    """Buffers: values, positions, input. ints: length of a row, how many. One iteration: one row.

    The best so far stand in order; an element that beats the last of them moves up as far as it beats others.
    """

    def beats(x, y):
        return ((x > y) | ((x != x) & (y == y))) if largest else ((x < y) | ((y != y) & (x == x)))

    with b.parallel() as row:
        n, k = b.int(0), b.int(1)
        base, out = row * n, row * k
        with b.loop(0, n, simd=False) as i:
            x = b.load(2, base + i)
            with b.when((i < k) | beats(x, b.load(0, out + minimum(i, k - 1)))):
                last = minimum(i, k - 1)
                slot = b.variable(last, "i64")
                with b.loop(0, last, simd=False) as j:
                    y, position = b.load(0, out + last - 1 - j), b.load(1, out + last - 1 - j)
                    with b.when(beats(x, y)):
                        b.store(0, out + last - j, y)
                        b.store(1, out + last - j, position)
                        slot.value = last - 1 - j
                b.store(0, out + slot.value, x)
                b.store(1, out + slot.value, i)


def _few_plan(o, self, k, largest):
    sizes = (*self.shape[:-1], k)
    x = self.contiguous()
    values = o.empty(sizes, dtype=x.dtype, device=x.device)
    positions = o.empty(sizes, dtype=o.int64, device=x.device)
    n = x.shape[-1]
    return Launch((values, positions), (values, positions, x), [n, k], x.numel() // n, n, _few_program, (largest,))


op(
    "topk_few(Tensor self, int k, bool largest) -> (Tensor, Tensor)",
    names=(),
    body=Loop(_few_plan, pure=True),
    dtypes=ORDERED,
    differentiable=False,
    doc="The few greatest (or least) elements of each row in order, and where they stand; ties keep their order.",
)


def _is_few(k: int, size: int) -> bool:
    """Whether elements are selected one by one: in long rows, hardly one is better than those before."""
    return 0 < k <= (_FEW if size < 64 * k else 4 * _FEW)


def _topk(o, self, k, dim=-1, largest=True, sorted=True):
    dim = wrap_dim(dim, self.dim())
    size = self.size(dim) if self.dim() else 1
    if not 0 <= k <= size:
        raise RuntimeError(f"selected index k out of range [in topk: k={k}, dimension {dim} of size {size}]")
    _no_complex(self, " topk does not support complex dtypes on CPU")
    if self.dtype is o.bool:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    if _is_few(k, size) and self.numel() and dim == self.dim() - 1:
        values, indices = o.topk_few(self, k, largest)
        if values_suffice(self):
            return values, indices
    elif not self.dim():
        indices = o.zeros((), dtype=o.int64, device=self.device)
    elif _is_few(k, size) and self.numel():
        indices = o.topk_few(self.transpose(dim, -1), k, largest)[1].transpose(dim, -1).contiguous()
    else:
        indices = ordering(o, self, dim, largest, k)
    return o.gather(self, dim, indices), indices


op(
    f"topk(Tensor self, int k, int dim=-1, bool largest=True, bool sorted=True) -> {_SORTED}",
    body=Composite(_topk),
    doc="The k greatest (or least) elements along a dimension in order, and where they stood; nan is the greatest.",
)


def _check_row(name: str, self, dim: int) -> int:
    """The length of a dimension that one element is chosen from."""
    size = self.size(dim) if self.dim() else 1
    if not size:
        raise IndexError(f"{name}(): Expected reduction dim {dim} to have non-zero size.")
    return size


def _picked(o, self, dim: int, indices, keepdim: bool):
    """Elements at one position of each row, and the positions."""
    values = o.gather(self, dim, indices)
    return (values, indices) if keepdim or not self.dim() else (values.squeeze(dim), indices.squeeze(dim))


def _kthvalue(o, self, k, dim=-1, keepdim=False):
    dim = wrap_dim(dim, self.dim())
    size = _check_row("kthvalue", self, dim)
    if not 1 <= k <= size:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {dim} [k={k}, size {size}]")
    check_implemented(self, "kthvalue_cpu", ("b1", "c64", "c128"))
    return _picked(o, self, dim, o.ranked_rows(self, dim, k - 1), keepdim)


op(
    f"kthvalue(Tensor self, int k, int dim=-1, bool keepdim=False) -> {_SORTED}",
    body=Composite(_kthvalue),
    doc="The k-th least element of each row along a dimension (counted from 1), and where it stood.",
)


def _median_dim(name: str, skip_nan: bool):
    def body(o, self, dim, keepdim=False):
        dim = wrap_dim(dim, self.dim())
        _check_row(name, self, dim)
        check_implemented(self, "median_out", ("b1", "c64", "c128"))
        indices = o.median_rows(self, dim, skip_nan)
        return _picked(o, self, dim, indices, keepdim)

    return body


def _median_all(skip_nan: bool):
    def body(o, self):
        check_implemented(self, "median_cpu", ("b1", "c64", "c128"))
        if not self.numel():
            return o.full((), float("nan"), device=self.device).to(self.dtype)
        flat = self.reshape(-1)
        plain = flat.detach()
        value = o.gather(plain, 0, o.median_rows(plain, 0, skip_nan)).reshape(())
        if not needs_grad(o, self):
            return value
        same = o.isnan(flat) if o.isnan(value).item() else flat == value
        return o.amax(o.masked_select(flat, same.detach()))  # ties share the gradient

    return body


for _name, _skip in (("median", False), ("nanmedian", True)):
    _by_dim = _median_dim(_name, _skip)
    _doc = "ignoring nan" if _skip else "nan where there is one"
    op(
        f"{_name}(Tensor self) -> Tensor",
        body=Composite(_median_all(_skip)),
        doc=f"The median of all elements (the lower of two), {_doc}.",
    )
    op(
        f"{_name}.dim(Tensor self, int dim, bool keepdim=False) -> {_SORTED}",
        body=Composite(_by_dim),
        doc=f"The median along a dimension (the lower of two), {_doc}, and where it stood.",
    )


def _mode(o, self, dim=-1, keepdim=False):
    dim = wrap_dim(dim, self.dim())
    _check_row("mode", self, dim)
    check_implemented(self, "mode_cpu")
    return _picked(o, self, dim, o.mode_rows(self, dim), keepdim)


op(
    f"mode(Tensor self, int dim=-1, bool keepdim=False) -> {_SORTED}",
    body=Composite(_mode),
    doc="The most frequent element of each row (the least of several), and where it stands last.",
)


def _value_selecting_reduction_backward(o, grad, dim, indices, sizes, keepdim):
    if not sizes:
        return grad
    if not keepdim:
        grad, indices = grad.unsqueeze(dim), indices.unsqueeze(dim)
    return o.scatter(o.zeros(sizes, dtype=grad.dtype, device=grad.device), dim, indices, grad)


op(
    "value_selecting_reduction_backward(Tensor grad, int dim, Tensor indices, int[] sizes, bool keepdim) -> Tensor",
    names=(),
    body=Composite(_value_selecting_reduction_backward),
    doc="Gradient of a reduction that chooses one element of each row: it goes where the element stood.",
)

_INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")
_MOST = 16_000_000


def _check_quantile(o, name, x, q, interpolation):
    if x.dtype not in (o.float32, o.float64):
        raise RuntimeError(f"{name}() input tensor must be either float or double dtype [got {x.dtype}]")
    if not x.numel():
        raise RuntimeError(f"{name}() input tensor must be non-empty [got shape {tuple(x.shape)}]")
    if q.dim() > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor [got shape {tuple(q.shape)}]")
    if q.dtype is not x.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor [got {q.dtype} and {x.dtype}]")
    if interpolation not in _INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, but got {interpolation}"
        )
    if x.numel() > _MOST:
        raise RuntimeError(f"{name}() input tensor is too large [{x.numel()} elements; at most {_MOST}]")


def _quantile(name: str, skip_nan: bool):
    def body(o, self, q, dim=None, keepdim=False, *, interpolation="linear"):
        if not isinstance(q, o.Tensor):
            if not 0 <= q <= 1:
                raise RuntimeError(f"{name}() q must be in the range [0, 1] but got {q:g}")
            q = o.full((), q, dtype=self.dtype, device=self.device)
        _check_quantile(o, name, self, q, interpolation)
        if not o.all((q >= 0) & (q <= 1)).item():
            raise RuntimeError(f"{name}() q values must be in the range [0, 1]")
        rank = self.dim()
        if dim is None:
            x, at = self.reshape(-1), None
        else:
            at = wrap_dim(dim, rank)
            x = self.movedim(at, -1) if rank else self.reshape(1)
        result = _read_quantiles(o, o.sort(x, -1)[0], q.reshape(-1), skip_nan, interpolation)
        if keepdim and rank:
            result = result.reshape([-1] + [1] * rank) if at is None else result.unsqueeze(-1).movedim(-1, at + 1)
        return result if q.dim() else result.squeeze(0)

    return body


def _read_quantiles(o, ranked, q, skip_nan: bool, interpolation: str):
    """Quantiles of sorted rows: one leading dimension for q."""
    n = ranked.shape[-1]
    valid = o.sum(~o.isnan(ranked.detach()), -1, True)
    if skip_nan:
        rank = q * o.clamp(valid - 1, 0).to(q.dtype)
    else:
        rank = o.where(valid == n, q * (n - 1), float(n - 1))  # nan stands last
    if interpolation in ("lower", "higher", "nearest"):
        rank = {"lower": o.floor, "higher": o.ceil, "nearest": o.round}[interpolation](rank)
    below = o.gather(ranked, -1, rank.to(o.int64))
    if interpolation in ("linear", "midpoint"):
        weight = rank - o.floor(rank) if interpolation == "linear" else o.full_like(rank, 0.5)
        above = o.gather(ranked, -1, o.ceil(rank).to(o.int64))
        below = o.lerp(below, above, weight)
    return below.movedim(-1, 0)


for _name, _skip in (("quantile", False), ("nanquantile", True)):
    for _overload, _q in (("", "Tensor q"), (".scalar", "float q")):
        op(
            f"{_name}{_overload}(Tensor self, {_q}, int? dim=None, bool keepdim=False, *, str interpolation='linear')"
            " -> Tensor",
            body=Composite(_quantile(_name, _skip)),
            doc=f"Quantiles of rows along a dimension (of all elements by default){', ignoring nan' if _skip else ''}.",
        )
