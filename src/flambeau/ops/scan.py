"""Running sums, products and extremes along a dimension."""

import operator

from flambeau.ir.fn import atan2, const, cos, exp, hypot, isinf, log, log1p, maximum, minimum, order_key, sin, where

from .launch import Launch, dims_of, wrap_dim
from .table import FLOATING, ORDERED, Composite, Loop, Native, op

# ints: length of the scanned dimension, elements behind it. One iteration: one line, or some neighbouring lines.

_COLUMNS = 256  # neighbouring lines that one iteration handles


def _line(b, line):
    """Elements of an iteration's line, their distance, and where the first one lies."""
    n, width = b.int(0), b.int(1)
    return n, width, line // width * n * width + line % width


def _along(b, start, step):
    """Each element of buffer 0 becomes step(the one before, its place), `start` standing before the first."""
    with b.parallel() as line:
        n, width, base = _line(b, line)
        total = b.variable(start, start.dtype)
        with b.loop(0, n, simd=False) as i:
            at = base + i * width
            total.value = step(total.value, at)
            b.store(0, at, total.value)


def _by_columns(b, first, step):
    """Neighbouring lines in lanes: first(place) for each element of the first row, step(i, place, place of the one
    before) for those of row i."""
    with b.parallel() as chunk:
        n, width = b.int(0), b.int(1)
        chunks = (width + (_COLUMNS - 1)) // _COLUMNS
        base, left = chunk // chunks * n * width, chunk % chunks * _COLUMNS
        right = minimum(left + _COLUMNS, width)
        with b.loop(left, right) as j:
            first(base + j)
        with b.loop(1, n, simd=False) as i:
            row = base + i * width
            with b.loop(left, right) as j:
                step(i, row + j, row - width + j)


def _launch(results, buffers, dim, program, attrs=(), columns=None):
    """A launch over all lines of the results along a dimension; `columns` is the program of neighbouring lines."""
    before, n, width = dims_of(tuple(results[0].shape), dim)
    lines = before * width if results[0].numel() else 0
    if columns is None or width < 16:
        return Launch(results, buffers, [n, width], lines, n, program, attrs)
    chunks = before * -(-width // _COLUMNS) if lines else 0
    return Launch(results, buffers, [n, width], chunks, n * _COLUMNS, columns, attrs)


_KINDS = {"add": (operator.add, 0), "mul": (operator.mul, 1)}


def _scan_program(b, kind: str):
    """Buffers: output, input."""
    combine, start = _KINDS[kind]
    _along(b, const(start, b.compute_dtype(0)), lambda total, at: combine(total, b.load(1, at)))


def _scan_columns(b, kind: str):
    """Buffers: output, input. The same sums in the same order as `_scan_program`."""
    combine, start = _KINDS[kind]
    _by_columns(
        b,
        lambda at: b.store(0, at, combine(const(start, b.compute_dtype(0)), b.load(1, at))),
        lambda i, at, before: b.store(0, at, combine(b.load(0, before), b.load(1, at))),
    )


def _extreme_program(b, greatest: bool):
    """Buffers: values, positions, input. Keys are compared: what waits for the step before is two instructions long."""
    dtype = b.compute_dtype(2)
    with b.parallel() as line:
        n, width, base = _line(b, line)
        first = b.load(2, base)
        best, position = b.variable(first, dtype), b.variable(const(0, "i64"), "i64")
        start = order_key(first, greatest)
        top = b.variable(start, start.dtype)
        with b.loop(0, n, simd=False) as i:
            at = base + i * width
            x, old = b.load(2, at), top.value
            key = order_key(x, greatest)
            better = key >= old if greatest else key <= old
            top.value = where(better, key, old)
            best.value = where(better, x, best.value)
            position.value = where(better, i, position.value)
            b.store(0, at, best.value)
            b.store(1, at, position.value)


def _extreme_columns(b, greatest: bool):
    """Buffers as those of `_extreme_program`. Each row is compared with the one before."""

    def first(at):
        b.store(0, at, b.load(2, at))
        b.store(1, at, 0)

    def step(i, at, before):
        x, old = b.load(2, at), b.load(0, before)
        better = (x >= old if greatest else x <= old) | (x != x)
        b.store(0, at, where(better, x, old))
        b.store(1, at, where(better, i, b.load(1, before)))

    _by_columns(b, first, step)


def _columns_of(x, columns):
    """The program of neighbouring lines for totals of x's dtype; those of 16 bits are kept in float32 along a line."""
    return columns if x.dtype.itemsize >= 4 else None


def _scan_plan(kind):
    def plan(o, self, dim, dtype=None):
        dim = wrap_dim(dim, self.dim())
        if dtype is None and not (self.dtype.is_floating_point or self.dtype.is_complex):
            dtype = o.int64
        x = (self if dtype is None else self.to(dtype)).contiguous()
        out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
        return _launch((out,), (out, x), dim, _scan_program, (kind,), _columns_of(x, _scan_columns))

    return plan


op(
    "cumsum(Tensor self, int dim, *, ScalarType? dtype=None) -> Tensor",
    body=Loop(_scan_plan("add"), pure=True),
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
    body=Loop(_scan_plan("mul"), pure=True),
    inplace=True,
    grad=lambda o, g, self, dim, dtype: (o.cumprod_backward(g, self, dim).to(self.dtype),),
    ref=lambda np, x, dim: np.cumprod(x, axis=dim),
    samples="scan",
    doc="Running product along a dimension; integers and bools in int64.",
)


def _cumprod_backward(o, g, self, dim):
    """sum over k >= i of g[k] * prod of all x[j], j <= k, j != i: what stands before i, times a recurrence from the end.
    Exact where elements are zero."""
    if not self.dim() or not self.numel():
        return g
    x = o.conj(self)
    return o.cumprod(_shifted(o, x, dim, 1), dim) * _from_the_end(o, g, x, dim)


op(
    "cumprod_backward(Tensor grad, Tensor self, int dim) -> Tensor",
    names=(),
    body=Composite(_cumprod_backward),
    doc="Gradient of cumprod.",
)


def _extreme_plan(greatest):
    def plan(o, self, dim):
        dim = wrap_dim(dim, self.dim())
        if self.dtype.is_complex:
            name = "cummax_cpu" if greatest else "cummin_cpu"
            raise NotImplementedError(f"\"{name}\" not implemented for '{self.dtype.title}'")
        x = self.contiguous()
        values = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
        where_ = o.empty(tuple(x.shape), dtype=o.int64, device=x.device)
        return _launch((values, where_), (values, where_, x), dim, _extreme_program, (greatest,), _extreme_columns)

    return plan


for _name, _greatest in (("cummax", True), ("cummin", False)):
    op(
        f"{_name}(Tensor self, int dim) -> (Tensor values, Tensor indices)",
        dtypes=ORDERED,
        body=Loop(_extreme_plan(_greatest), pure=True),
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


op(
    "flip(Tensor self, int[] dims) -> Tensor",
    body=Native("flip"),
    grad=lambda o, g, self, dims: (o.flip(g, dims),),
    ref=lambda np, x, dims: np.flip(x, dims),
    doc="The order of elements reversed along dimensions. A copy.",
)


def _flip_checked(name: str, least: int, dim: int):
    def body(o, self):
        if self.dim() < least:
            raise RuntimeError(f"Input must be >= {least}-d. [in {name}: input={tuple(self.shape)}]")
        return o.flip(self, (dim,))

    return body


for _name, _least, _dim in (("fliplr", 2, 1), ("flipud", 1, 0)):
    op(
        f"{_name}(Tensor self) -> Tensor",
        body=Composite(_flip_checked(_name, _least, _dim)),
        ref=(lambda f: lambda np, x: getattr(np, f)(x))(_name),
        doc=f"flip along dimension {_dim}.",
    )


# ---- logarithms of running sums of exponentials


def _log_sum(old, x):
    """Two logarithms are added without leaving their scale."""
    high, low = maximum(x, old), minimum(x, old)
    infinite = (high == low) & isinf(high)
    return where(infinite, high, high + log1p(exp(low - high)))


def _log_program(b):
    """Buffers: output, input."""
    _along(b, const(float("-inf"), b.compute_dtype(0)), lambda old, at: _log_sum(old, b.load(1, at)))


def _log_columns(b):
    """Buffers: output, input. The same sums in the same order as `_log_program`."""
    start = const(float("-inf"), b.compute_dtype(0))
    _by_columns(
        b,
        lambda at: b.store(0, at, _log_sum(start, b.load(1, at))),
        lambda i, at, before: b.store(0, at, _log_sum(b.load(0, before), b.load(1, at))),
    )


def _complex_log_program(b):
    """Buffers: output, input, both as pairs. The larger of two numbers is the one with the larger real part."""
    dtype = b.compute_dtype(0)
    none = const(float("-inf"), dtype)
    with b.parallel() as line:
        n, width, base = _line(b, line)
        re, im = b.variable(none, dtype), b.variable(const(0, dtype), dtype)
        with b.loop(0, n, simd=False) as i:
            at = (base + i * width) * 2
            a, old = (b.load(1, at), b.load(1, at + 1)), (re.value, im.value)
            later = (a[0] >= old[0]) | (a[0] != a[0])
            hr, hi = (where(later, x, y) for x, y in zip(a, old, strict=True))
            lr, li = (where(later, y, x) for x, y in zip(a, old, strict=True))
            size, turn = exp(lr - hr), li - hi
            x, y = 1 + size * cos(turn), size * sin(turn)
            empty = lr == none
            re.value = where(empty, hr, hr + log(hypot(x, y)))
            im.value = where(empty, hi, hi + atan2(y, x))
            b.store(0, at, re.value)
            b.store(0, at + 1, im.value)


def _log_plan(o, self, dim):
    dim = wrap_dim(dim, self.dim())
    if not (self.dtype.is_floating_point or self.dtype.is_complex):
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{self.dtype.title}'")
    x = self.contiguous()
    out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
    if x.dtype.is_complex:
        return _launch((out,), (o.view_as_real(out), o.view_as_real(x)), dim, _complex_log_program)
    return _launch((out,), (out, x), dim, _log_program, columns=_columns_of(x, _log_columns))


def _recurrence_program(b):
    """Buffers: output, terms, factors."""
    _along(b, const(0, b.compute_dtype(0)), lambda before, at: b.load(1, at) + b.load(2, at) * before)


def _recurrence_columns(b):
    """Buffers as those of `_recurrence_program`."""
    start = const(0, b.compute_dtype(0))
    _by_columns(
        b,
        lambda at: b.store(0, at, b.load(1, at) + b.load(2, at) * start),
        lambda i, at, before: b.store(0, at, b.load(1, at) + b.load(2, at) * b.load(0, before)),
    )


def _recurrence_plan(o, terms, factors, dim):
    dim = wrap_dim(dim, terms.dim())
    terms, factors = terms.contiguous(), factors.contiguous()
    out = o.empty(tuple(terms.shape), dtype=terms.dtype, device=terms.device)
    columns = _columns_of(terms, _recurrence_columns)
    return _launch((out,), (out, terms, factors), dim, _recurrence_program, columns=columns)


def _shifted(o, x, dim, first=0):
    """x one place further on, with a number in the first place."""
    return o.constant_pad_nd(x, [0, 0] * (x.ndim - 1 - dim % x.ndim) + [1, -1], first)


def _from_the_end(o, terms, factors, dim):
    """y[i] = terms[i] + factors[i + 1] y[i + 1] along a dimension, y being 0 behind the end."""
    factors = _shifted(o, o.flip(factors, (dim,)), dim)
    return o.flip(o.linear_recurrence(o.flip(terms, (dim,)), factors, dim), (dim,))


def _recurrence_grad(o, g, terms, factors, dim):
    back = _from_the_end(o, g, o.conj(factors), dim)
    return back, back * o.conj(_shifted(o, o.saved.output(0), dim))


def _recurrence_reference(np, terms, factors, dim):
    y = np.array(np.moveaxis(terms, dim, 0))
    for i in range(1, len(y)):
        y[i] += np.moveaxis(factors, dim, 0)[i] * y[i - 1]
    return np.moveaxis(y, 0, dim)


op(
    "linear_recurrence(Tensor terms, Tensor factors, int dim) -> Tensor",
    names=(),
    dtypes=FLOATING,
    body=Loop(_recurrence_plan, pure=True),
    grad=_recurrence_grad,
    saves=("o0",),
    ref=_recurrence_reference,
    samples=lambda s: [(s.x(5), s.x(5), 0), (s.x(2, 3), s.x(2, 3), 1), (s.x(4, 3, 2), s.x(4, 3, 2), 0)],
    doc="y[i] = terms[i] + factors[i] y[i - 1] along a dimension, y[-1] being 0.",
)  # fmt: skip


def _log_grad(o, g, self, dim):
    """sum over j >= i of g[j] exp(self[i] - result[j]), as a recurrence from the end whose factors are at most 1."""
    result = o.saved.output(0)
    if self.dtype.is_complex:
        part = o.log(g) - o.conj(result)
        part = o.flip(o.logcumsumexp(o.flip(part, (dim,)), dim), (dim,)) if self.ndim else part
        return (o.exp(part + o.conj(self)),)
    share = _ratio(o, self, result)
    if not self.ndim:
        return (g * share,)
    back = o.flip(result, (dim,))
    steps = _ratio(o, back, o.roll(back, 1, dim))  # at most 1 but for the first, which has nothing to multiply
    return (o.flip(o.linear_recurrence(o.flip(g, (dim,)), steps, dim), (dim,)) * share,)


def _ratio(o, a, b):
    """exp(a - b), at most 1; 1 where both are the same infinity."""
    same = a == b
    return o.exp(o.clamp(o.where(same, 0.0, a) - o.where(same, 0.0, b), max=0.0))


op(
    "logcumsumexp(Tensor self, int dim) -> Tensor",
    body=Loop(_log_plan, pure=True),
    grad=_log_grad,
    saves=("o0",),
    ref=lambda np, x, dim: np.logaddexp.accumulate(x, axis=dim),
    doc="log(cumsum(exp(x))) along a dimension, without overflow.",
)


# ---- differences and areas


def _diff(o, self, n=1, dim=-1, prepend=None, append=None):
    if not self.dim():
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    dim = wrap_dim(dim, self.dim())
    if n and (prepend is not None or append is not None):
        ends = [t for t in (prepend, self, append) if t is not None]
        for t in ends:
            if t.dim() != self.dim():
                raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        self = o.cat(ends, dim)
    if not n:
        return self.clone()
    for _ in range(min(n, self.shape[dim])):
        size = self.shape[dim]
        a, b = self.narrow(dim, 1, max(size - 1, 0)) if size else self, self.narrow(dim, 0, max(size - 1, 0))
        self = o.logical_xor(a, b) if self.dtype is o.bool else a - b
    return self


op(
    "diff(Tensor self, int n=1, int dim=-1, Tensor? prepend=None, Tensor? append=None) -> Tensor",
    body=Composite(_diff),
    ref=lambda np, x, n=1, dim=-1: np.diff(x, n, dim),
    doc="Differences of neighbours along a dimension, n times over.",
)


def _slabs(o, name, y, x, dx, dim):
    """Areas between neighbouring samples, twice over."""
    dim = wrap_dim(dim, y.dim())
    size = y.shape[dim]
    if y.dtype is o.bool:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if x is not None:
        if x.dtype is o.bool:
            raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
        if x.dim() == 1 and x.shape[0] != size:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        if x.dim() == 1:
            x = x.reshape([-1 if d == dim else 1 for d in range(y.dim())])
        dx = _diff(o, x, 1, dim - y.dim())
    pair = y.narrow(dim, 1, max(size - 1, 0)) + y.narrow(dim, 0, max(size - 1, 0)) if size else y
    return pair * dx


def _trapezoid(o, y, x=None, *, dx=1, dim=-1):
    if not y.dim():
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    if not y.shape[wrap_dim(dim, y.dim())]:
        dim = wrap_dim(dim, y.dim())
        sizes = [s for d, s in enumerate(y.shape) if d != dim]
        return o.zeros(sizes, dtype=y.dtype if y.dtype.is_floating_point or y.dtype.is_complex else None)
    return o.sum(_slabs(o, "trapezoid", y, x, dx, dim), (dim,)) / 2


def _cumulative_trapezoid(o, y, x=None, *, dx=1, dim=-1):
    if not y.dim():
        raise IndexError("slice() cannot be applied to a 0-dim tensor.")
    return o.cumsum(_slabs(o, "cumulative_trapezoid", y, x, dx, dim), dim) / 2


for _name, _body, _what in (
    ("trapezoid", _trapezoid, "The area under samples"),
    ("trapz", _trapezoid, "The area under samples"),
    ("cumulative_trapezoid", _cumulative_trapezoid, "The areas under samples up to each of them"),
):
    for _overload, _spacing, _star in ((".x", "Tensor x", ""), (".dx", "", "*, Scalar dx=1, ")):
        _middle = ", ".join(part for part in (_spacing, f"{_star}int dim=-1" if _star else "*, int dim=-1") if part)
        op(
            f"{_name}{_overload}(Tensor y, {_middle}) -> Tensor",
            names=(_name,),
            body=Composite(_body),
            doc=f"{_what} along a dimension by the trapezoidal rule.",
        )
