"""Running sums, products and extremes along a dimension."""

import operator

from flambeau.ir.fn import (
    atan2,
    cast,
    complex_,
    const,
    cos,
    exp,
    hypot,
    isinf,
    log,
    log1p,
    maximum,
    minimum,
    order_key,
    sin,
    where,
)
from flambeau.ir.scalar import imag, real
from flambeau.ir.types import is_float, limit

from .launch import Launch, dims_of, wrap_dim
from .table import FLOATING, ORDERED, Composite, Loop, Native, op

# ints: length of the scanned dimension, elements behind it; lines of a block, of which an iteration takes some.

_COLUMNS = 256, 1024  # neighbouring lines that one iteration handles: at least, and where there are many
_LINES = 16  # lines one after the other, the same
_STREAM_BYTES = 16 << 20  # of a result that is written past the caches


def _scan(b, buffers, start, step, how: str, stream: bool):
    """Lines from `start` on: see `Builder.scan`. `how` says which go together."""
    if how == "alone":
        return _alone(b, buffers, start, step)
    with b.parallel() as chunk:
        n, width, block, most = (b.int(k) for k in range(4))
        chunks = (block + (most - 1)) // most
        number = chunk // chunks
        left = (chunk - number * chunks) * most
        turned = how == "turned"
        base = left * n if turned else number * (n * width) + left
        b.scan(buffers, (base, minimum(most, block - left)), (n, width), start, step, turned, stream)
    return None


def _alone(b, buffers, start, step):
    """One line an iteration, its elements neighbours."""
    outputs, inputs = buffers
    with b.parallel() as line:
        base = line * b.int(0)
        states = [b.variable(e, e.dtype) for e in start]
        with b.loop(0, b.int(0), simd=False) as i:
            read = [b.load(outputs + k, base + i) for k in range(inputs)]
            for state, value in zip(states, step([s.value for s in states], read, i), strict=True):
                state.value = value
            for k in range(outputs):
                b.store(k, base + i, states[k].value)


def _together(x, dim) -> tuple[str, int]:
    """How the lines of a tensor go through an iteration, and how many of them."""
    before, _, width = dims_of(tuple(x.shape), dim)
    if width == 1:
        return ("alone", 1) if before < _LINES or x.dtype.is_complex else ("turned", _LINES)
    least, many = _COLUMNS
    return "neighbours", max(least, min(many, before * width // 4 // 64 * 64))


def _launch(results, buffers, dim, program, attrs=()):
    """A launch over all lines of the results along a dimension."""
    before, n, width = dims_of(tuple(results[0].shape), dim)
    how, most = _together(results[0], dim)
    block, run = (before, n) if width == 1 else (width, width)
    chunks = before * width // block * -(-block // most) if results[0].numel() else 0
    aligned = all(run * r.itemsize % 64 == 0 for r in results)
    stream = how != "alone" and aligned and results[0].numel() * results[0].itemsize >= _STREAM_BYTES
    ints = [n, width, block, most]
    return Launch(results, buffers, ints, chunks, n * min(block, most), program, (*attrs, how, stream))


_INTEGERS = ("b1", "u8", "i8", "i16", "i32")  # that are summed in int64
_KINDS = {"add": (operator.add, 0), "mul": (operator.mul, 1)}


def _scan_program(b, kind: str, how: str, stream: bool):
    """Buffers: output, input."""
    (combine, start), dtype = _KINDS[kind], b.compute_dtype(0)

    def step(total, x, i):
        return [combine(total[0], cast(x[0], dtype))]

    _scan(b, (1, 1), [const(start, dtype)], step, how, stream)


def _extreme_program(b, greatest: bool, how: str, stream: bool):
    """Buffers: values, positions, input. Keys are compared where a line goes alone: what waits for the step before is
    two instructions long then."""
    dtype = b.compute_dtype(2)
    none = const(limit(dtype, greatest), dtype)
    keyed = how == "alone" and is_float(dtype)
    compared = (lambda x: order_key(x, greatest)) if keyed else lambda x: x

    def step(states, elements, i):
        (best, position, *top), (x,) = states, elements
        old, new = top[0] if top else best, compared(x)
        better = new >= old if greatest else new <= old
        if is_float(dtype) and not keyed:
            better = better | (x != x)
        return where(better, x, best), where(better, i, position), *(where(better, new, old) for _ in top)

    _scan(b, (2, 1), [none, const(0, "i64"), *([compared(none)] if keyed else [])], step, how, stream)


def _scan_plan(kind):
    def plan(o, self, dim, dtype=None):
        dim = wrap_dim(dim, self.dim())
        if dtype is None:
            dtype = self.dtype if self.dtype.is_floating_point or self.dtype.is_complex else o.int64
        direct = dtype is self.dtype or (self.dtype.code in _INTEGERS and dtype is o.int64)
        x = (self if direct else self.to(dtype)).contiguous()
        out = o.empty(tuple(x.shape), dtype=dtype, device=x.device)
        return _launch((out,), (out, x), dim, _scan_program, (kind,))

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
        return _launch((values, where_), (values, where_, x), dim, _extreme_program, (greatest,))

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


def _complex_log_sum(old, new):
    """The same of complex numbers. The larger of two is the one with the larger real part."""
    (a, old_re), (b, old_im) = ((f(new), f(old)) for f in (real, imag))
    later = (a >= old_re) | (a != a)
    hr, lr = where(later, a, old_re), where(later, old_re, a)
    hi, li = where(later, b, old_im), where(later, old_im, b)
    size, turn = exp(lr - hr), li - hi
    x, y = 1 + size * cos(turn), size * sin(turn)
    empty = lr == const(float("-inf"), lr.dtype)
    return complex_(where(empty, hr, hr + log(hypot(x, y))), where(empty, hi, hi + atan2(y, x)))


def _log_program(b, how: str, stream: bool):
    """Buffers: output, input."""
    dtype = b.compute_dtype(0)
    add = _complex_log_sum if dtype in ("c64", "c128") else _log_sum
    _scan(b, (1, 1), [const(float("-inf"), dtype)], lambda old, x, i: [add(old[0], x[0])], how, stream)


def _log_plan(o, self, dim):
    dim = wrap_dim(dim, self.dim())
    if not (self.dtype.is_floating_point or self.dtype.is_complex):
        raise NotImplementedError(f"\"logcumsumexp_out_cpu\" not implemented for '{self.dtype.title}'")
    x = self.contiguous()
    out = o.empty(tuple(x.shape), dtype=x.dtype, device=x.device)
    return _launch((out,), (out, x), dim, _log_program)


def _recurrence_program(b, how: str, stream: bool):
    """Buffers: output, terms, factors."""
    _scan(b, (1, 2), [const(0, b.compute_dtype(0))], lambda y, x, i: [x[0] + x[1] * y[0]], how, stream)


def _recurrence_plan(o, terms, factors, dim):
    dim = wrap_dim(dim, terms.dim())
    terms, factors = terms.contiguous(), factors.contiguous()
    out = o.empty(tuple(terms.shape), dtype=terms.dtype, device=terms.device)
    return _launch((out,), (out, terms, factors), dim, _recurrence_program)


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
    complex_ = self.dtype.is_complex
    share = _complex_ratio(o, self, result) if complex_ else _ratio(o, self, result)
    if not self.ndim:
        return (g * share,)
    back = o.flip(result, (dim,))
    if complex_:
        steps = _shifted(o, _complex_ratio(o, o.roll(back, -1, dim), back), dim)
    else:
        steps = _ratio(o, back, o.roll(back, 1, dim))  # at most 1 but for the first, which has nothing to multiply
    return (o.flip(o.linear_recurrence(o.flip(g, (dim,)), steps, dim), (dim,)) * share,)


def _ratio(o, a, b):
    """exp(a - b), at most 1; 1 where both are the same infinity."""
    return o.exp(o.clamp(_gap(o, a, b), max=0.0))


def _complex_ratio(o, a, b):
    """The conjugate of exp(a - b), of any size."""
    return o.conj(o.exp(_gap(o, a, b)))


def _gap(o, a, b):
    same = a == b
    return o.where(same, 0.0, a) - o.where(same, 0.0, b)


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
    if x is None and y.dtype is not o.bool:
        ends = y.select(dim, 0) + y.select(dim, -1)
        return (o.sum(y, (dim,)) - ends * 0.5) * dx
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
