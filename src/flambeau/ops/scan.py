"""Running sums, products and extremes along a dimension."""

from .launch import Launch, dims_of, wrap_dim
from .table import ORDERED, Composite, Loop, op

# ints: length of the scanned dimension, elements behind it. One iteration: one line, or 16 neighbouring lines.


def _lines(b):
    from ..ir.fn import minimum

    n, width = b.int(0), b.int(1)
    return n, width, minimum


def _scan_program(b, kind: str):
    """Buffers: output, input."""
    from ..ir.fn import const

    dtype = b.compute_dtype(0)
    start = const(1 if kind == "mul" else 0, dtype)
    with b.parallel() as line:
        n, width, _ = _lines(b)
        base = line // width * n * width + line % width
        total = b.variable(start, dtype)
        with b.loop(0, n, simd=False) as i:
            at = base + i * width
            value = total.value
            x = b.load(1, at)
            value = value + x if kind == "add" else value * x
            total.value = value
            b.store(0, at, value)


def _extreme_program(b, greatest: bool):
    """Buffers: values, positions, input."""
    from ..ir.fn import const, where

    dtype = b.compute_dtype(2)
    with b.parallel() as line:
        n, width, _ = _lines(b)
        base = line // width * n * width + line % width
        best = b.variable(b.load(2, base), dtype)
        position = b.variable(const(0, "i64"), "i64")
        with b.loop(0, n, simd=False) as i:
            at = base + i * width
            x, old = b.load(2, at), best.value
            better = (x >= old if greatest else x <= old) | (x != x)
            best.value = where(better, x, old)
            position.value = where(better, i, position.value)
            b.store(0, at, best.value)
            b.store(1, at, position.value)


def _scan_plan(kind):
    def plan(o, self, dim, dtype=None):
        dim = wrap_dim(dim, self.dim())
        if dtype is None and not (self.dtype.is_floating_point or self.dtype.is_complex):
            dtype = o.int64
        x = (self if dtype is None else self.to(dtype)).contiguous()
        out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
        before, n, width = dims_of(tuple(x.shape), dim)
        return Launch((out,), (out, x), [n, width], before * width if x.numel() else 0, n, _scan_program, (kind,))

    return plan


op(
    "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    body=Loop(_scan_plan("add")),
    inplace=True,
    grad=lambda o, g, self, dim, dtype: (
        o.flip(o.cumsum(o.flip(g, (dim,)), dim), (dim,)).to(self.dtype) if self.ndim else g.to(self.dtype),
    ),
    ref=lambda np, x, dim: np.cumsum(x, axis=dim),
    samples="scan",
    doc="Running sum along a dimension; integers and bools in int64.",
)
op(
    "cumprod(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    body=Loop(_scan_plan("mul")),
    inplace=True,
    grad=lambda o, g, self, dim, dtype: (o.cumprod_backward(g, self, dim).to(self.dtype),),
    ref=lambda np, x, dim: np.cumprod(x, axis=dim),
    samples="scan",
    doc="Running product along a dimension; integers and bools in int64.",
)


def _cumprod_backward(o, g, self, dim):
    """sum over k >= i of g[k] * prod of all x[j], j <= k, j != i; exact where elements are zero."""
    if self.dim() == 0:
        return g
    n = self.shape[dim]
    parts = []
    for i in range(n):
        ones = o.ones_like(self.narrow(dim, 0, 1))
        before = o.cumprod(self.narrow(dim, 0, i), dim).narrow(dim, i - 1, 1) if i else ones
        after = o.cumprod(o.cat([ones, self.narrow(dim, i + 1, n - i - 1)], dim), dim)
        parts.append(o.sum(g.narrow(dim, i, n - i) * o.conj(before * after), dim, True))
    return o.cat(parts, dim) if parts else o.zeros_like(self)


op(
    "cumprod_backward(Tensor grad, Tensor self, int dim) -> Tensor",
    names=(),
    body=Composite(_cumprod_backward),
    doc="Gradient of cumprod.",
)


def _extreme_plan(greatest):
    def plan(o, self, dim):
        dim = wrap_dim(dim, self.dim())
        x = self.contiguous()
        values = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
        where_ = o.empty(tuple(x.shape), dtype=o.int64, device=x.device)
        before, n, width = dims_of(tuple(x.shape), dim)
        lines = before * width if x.numel() else 0
        return Launch((values, where_), (values, where_, x), [n, width], lines, n, _extreme_program, (greatest,))

    return plan


for _name, _greatest in (("cummax", True), ("cummin", False)):
    op(
        f"{_name}(Tensor self, int dim) -> (Tensor values, Tensor indices)",
        dtypes=ORDERED,
        body=Loop(_extreme_plan(_greatest)),
        grad=lambda o, g, self, dim: (
            o.scatter_add(o.zeros(self.shape, dtype=g[0].dtype), dim, o.saved.output(1), g[0]),
        ),
        saves=("o1",),
        ref=(lambda f: lambda np, x, dim: getattr(np, f).accumulate(x, axis=dim))(
            "maximum" if _greatest else "minimum"
        ),
        samples="scan",
        doc=f"Running {'maximum' if _greatest else 'minimum'} along a dimension, and where it was met last.",
    )


def _flip_program(b, flags: tuple):
    """Buffers: output, input. ints: sizes. One iteration: one row of the last dimension."""
    from ..ir.fn import const

    nd = len(flags)
    with b.parallel() as row:
        rest, source, step = row, const(0, "i64"), b.int(nd - 1)
        for d in reversed(range(nd - 1)):
            size = b.int(d)
            position = rest % size
            source = source + (size - 1 - position if flags[d] else position) * step
            rest, step = rest // size, step * size
        n = b.int(nd - 1)
        with b.loop(0, n) as i:
            b.store(0, row * n + i, b.load(1, source + (n - 1 - i if flags[-1] else i)))


def _flip_plan(o, self, dims):
    nd = self.dim()
    wrapped = [wrap_dim(d, nd) for d in dims]
    if len(set(wrapped)) < len(wrapped):
        raise RuntimeError(
            f"dim {next(d for d in wrapped if wrapped.count(d) > 1)} appears multiple times in the list of dims"
        )
    x = self.contiguous()
    out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
    sizes = list(x.shape) or [1]
    flags = tuple(d in wrapped for d in range(nd)) or (False,)
    rows = x.numel() // sizes[-1] if x.numel() else 0
    return Launch((out,), (out, x), sizes, rows, sizes[-1], _flip_program, (flags,))


op(
    "flip(Tensor self, int[] dims) -> Tensor",
    body=Loop(_flip_plan),
    grad=lambda o, g, self, dims: (o.flip(g, dims),),
    ref=lambda np, x, dims: np.flip(x, dims),
    doc="The order of elements reversed along dimensions. A copy.",
)
