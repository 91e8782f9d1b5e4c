"""Reductions over any dimensions: row programs whose results vary over the batch only."""

from ..ir import row as r
from ..ir import types as t
from ..ir.fn import abs, cast, conj, const, exp, imag, isnan, log, pow, real, sqrt, where
from .launch import needs_grad
from .table import FLOATING, FLOATS8, NUMERIC, ORDERED, REAL, REAL_FLOATS, Composite, Row, op

_DIMS = "Tensor self, int[1]? dim=None, bool keepdim=False"
_EMPTY = "%s(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument."


def restore(o, g, x, dim, keepdim):
    """The gradient of a reduction, with the reduced dimensions back as 1."""
    if keepdim or x.ndim == 0:
        return g
    dims = range(x.ndim) if dim is None or dim == () or dim == [] else [dim] if isinstance(dim, int) else dim
    for d in sorted(d % x.ndim for d in dims):
        g = o.unsqueeze(g, d)
    return g


def _sum_grad(o, g, self, dim, keepdim, dtype):
    return (o.expand(restore(o, g, self, dim, keepdim), self.shape).to(self.dtype),)


op(
    f"sum({_DIMS}, *, ScalarType? dtype=None) -> Tensor",
    body=Row(r.row_sum, out="B", out_dtypes="s"),
    grad=_sum_grad,
    ref=lambda np, x, dim=None, keepdim=False: np.sum(x, axis=dim, keepdims=keepdim),
    samples="reduce",
    doc="""Sum over dimensions (all by default).

    Integers and bools are summed in int64. Partial sums are combined in a fixed tree: the result does not depend on the
    number of threads.""",
)


def _mean_grad(o, g, self, dim, keepdim, dtype):
    count = o.count_of(self, dim)
    return (o.expand(o.div(restore(o, g, self, dim, keepdim), count), self.shape).to(self.dtype),)


op(
    f"mean({_DIMS}, *, ScalarType? dtype=None) -> Tensor",
    dtypes=FLOATING,
    dtype_error="RuntimeError: mean(): could not infer output dtype. Input dtype must be either a floating point or complex dtype. Got: {got}",
    body=Row(r.row_mean, out="B", out_dtypes="c"),
    ref=lambda np, x, dim=None, keepdim=False: np.mean(x, axis=dim, keepdims=keepdim),
    samples="reduce",
    doc="Mean over dimensions (all by default).",
)

op(
    "prod(Tensor self, int? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    dtypes=NUMERIC,
    body=Row(r.row_prod, out="B", out_dtypes="s"),
    grad=lambda o, g, self, dim, keepdim, dtype: (o.prod_backward(g, self, dim, keepdim),),
    ref=lambda np, x, dim=None, keepdim=False: np.prod(x, axis=dim, keepdims=keepdim),
    samples="reduce",
    doc="Product over one dimension, or over all.",
)

for _name, _reduce, _what in (("amax", r.row_max, "Greatest"), ("amin", r.row_min, "Least")):
    op(
        f"{_name}(Tensor self, int[1]? dim=[], bool keepdim=False) -> Tensor",
        dtypes=ORDERED,
        dtype_error=f"\"{_name[1:]}_values_cpu\" not implemented for '{{got}}'",
        body=Row(_reduce, out="B", out_dtypes="c", empty=_EMPTY),
        ref=(
            lambda f: (
                lambda np, x, dim=(), keepdim=False: getattr(np, f)(
                    x, axis=None if dim == () else dim, keepdims=keepdim
                )
            )
        )(_name),
        samples="reduce",
        doc=f"{_what} element over dimensions. nan wins; the gradient is shared by ties.",
    )
for _name, _reduce, _position, _what in (
    ("max", r.row_max, r.row_argmax, "Greatest"),
    ("min", r.row_min, r.row_argmin, "Least"),
):
    op(
        f"{_name}(Tensor self) -> Tensor",
        dtypes=ORDERED,
        dtype_error=f"\"{_name}_all\" not implemented for '{{got}}'",
        body=Row(_reduce, out="B", out_dtypes="c", dims="all", empty=_EMPTY),
        ref=(lambda f: lambda np, x: getattr(np, f)(x))(_name),
        samples=lambda s: [(s.x(3, 5),), (s.x(),), (s.x(2, 3, 4),)],
        doc=f"{_what} element of all. nan wins; the gradient is shared by ties.",
    )
    op(
        f"{_name}.other(Tensor self, Tensor other) -> Tensor",
        names=(_name, f"Tensor.{_name}"),
        body=Composite((lambda f: lambda o, self, other: getattr(o, f)(self, other))(f"{_name}imum")),
        doc=f"{_what} of two elements; nan wins.",
    )
    op(
        f"{_name}.dim(Tensor self, int dim, bool keepdim=False) -> (Tensor values, Tensor indices)",
        dtypes=ORDERED,
        dtype_error=f"RuntimeError: {_name}(): does not support complex input",
        body=Row((lambda f, p: lambda x: (f(x), p(x)))(_reduce, _position), out="BB", out_dtypes="ci", empty=_EMPTY),
        grad=lambda o, g, self, dim, keepdim: (
            o.value_selecting_reduction_backward(g[0], dim, o.saved.output(1), self.shape, keepdim),
        ),
        saves=("o1",),
        ref=(lambda f: lambda np, x, dim, keepdim=False: getattr(np, f)(x, axis=dim, keepdims=keepdim))(_name),
        samples="reduce_dim",
        doc=f"{_what} element over one dimension, and its position (of the first, where several are equal).",
    )
    op(
        f"arg{_name}(Tensor self, int? dim=None, bool keepdim=False) -> Tensor",
        dtypes=REAL,
        dtype_error="|".join(f"RuntimeError: arg{_name}(): does not support {kind} input" for kind in ("complex", "bool")),
        body=Row(_position, out="B", out_dtypes="i", empty=_EMPTY),
        differentiable=False,
        ref=(lambda f: lambda np, x, dim=None, keepdim=False: getattr(np, f)(x, axis=dim, keepdims=keepdim))(
            f"arg{_name}"
        ),
        samples="reduce",
        doc=f"Position of the {_what.lower()} element, of the first where several are equal.",
    )

for _name, _reduce in (("all", r.row_all), ("any", r.row_any)):
    op(
        f"{_name}({_DIMS}) -> Tensor",
        dtypes=NUMERIC + FLOATS8,
        body=Row(_reduce, out="B", out_dtypes="b", dims="dim or none"),
        differentiable=False,
        ref=(lambda f: lambda np, x, dim=None, keepdim=False: getattr(np, f)(x, axis=dim, keepdims=keepdim))(_name),
        samples="reduce",
        doc=f"Whether {_name} elements are not zero; a bool, of uint8 1 or 0 in uint8. An empty dim is no dimension.",
    )

op(
    "is_all_true(Tensor self) -> Any",
    names=(),
    body=Composite(lambda o, self: self.is_meta or bool(o.all(self))),
    differentiable=False,
    doc="Whether every element is true, in every example of a batch: for checks of values.",
)
op(
    "logsumexp(Tensor self, int[1] dim, bool keepdim=False) -> Tensor",
    names=("logsumexp", "Tensor.logsumexp", "special.logsumexp"),
    result="float",
    body=Row(lambda x: _logsumexp(x), out="B", out_dtypes="c"),
    ref=lambda np, x, dim, keepdim=False: np.log(np.sum(np.exp(x), axis=dim, keepdims=keepdim)),
    samples="reduce_dim",
    doc="log(sum(exp(x))) over dimensions, without overflow.",
)


def _logsumexp(x):
    top = r.constant(finite_max(real(x)))
    return log(r.row_sum(exp(x - top))) + top


def finite_max(x):
    """The maximum of the row, 0 where it is infinite: what can be subtracted without making nan of inf - inf."""
    top = r.row_max(real(x))
    return where(abs(top) < float("inf"), top, const(0, top.dtype))


def _squared_size(x):
    return real(x) * real(x) + imag(x) * imag(x) if t.is_complex(x.dtype) else x * x


def _variance(x, correction):
    mean = r.row_mean(x)
    count = r.row_count(t.real_of(x.dtype))
    below = count - real(correction)
    spread = r.row_sum(_squared_size(x - mean))
    return spread / where((below > 0) & (count > 0), below, const(0, below.dtype)), mean


_VAR = f"{_DIMS[: -len(', bool keepdim=False')]}, *, Scalar? correction=1, bool keepdim=False"
_FLOATS_ONLY = "RuntimeError: {} only support floating point and complex dtypes"
op(
    f"var.correction({_VAR}) -> Tensor",
    names=("var", "Tensor.var"),
    dtypes=FLOATING,
    dtype_error=_FLOATS_ONLY.format("std and var"),
    body=Row(lambda x, correction: _variance(x, correction)[0], out="B", out_dtypes="r"),
    ref=lambda np, x, dim=None, correction=1, keepdim=False: np.var(x, axis=dim, ddof=correction, keepdims=keepdim),
    samples="reduce",
    doc="Variance over dimensions: sum((x - mean)^2) / (n - correction), as exact as in two passes.",
)
op(
    f"std.correction({_VAR}) -> Tensor",
    names=("std", "Tensor.std"),
    dtypes=FLOATING,
    dtype_error=_FLOATS_ONLY.format("std and var"),
    body=Row(lambda x, correction: sqrt(_variance(x, correction)[0]), out="B", out_dtypes="r"),
    grad=lambda o, g, self, dim, correction, keepdim: (
        o.std_backward(g, self, o.saved.output(0), dim, correction=correction, keepdim=keepdim),
    ),
    saves=("o0",),
    ref=lambda np, x, dim=None, correction=1, keepdim=False: np.std(x, axis=dim, ddof=correction, keepdims=keepdim),
    samples="reduce",
    doc="Standard deviation over dimensions; the gradient is 0 where it is 0.",
)


def _deviation_slope(g, x, std, correction):
    """0 where the deviation is 0: one of the subgradients."""
    g, std = real(g), real(std)
    none = std == 0
    below = r.row_count(std.dtype) - real(correction)
    slope = g / (where(none, const(1, std.dtype), std) * below)
    return where(none, const(0, slope.dtype), slope) * (x - r.row_mean(x))


op(
    f"std_backward(Tensor grad, Tensor self, Tensor std, {_VAR.removeprefix('Tensor self, ')}) -> Tensor",
    names=(),
    dtypes=FLOATING,
    body=Row(_deviation_slope, roles="BFB", out="F", out_dtypes="c"),
    doc="Gradient of std, from its output.",
)
op(
    f"var_mean.correction({_VAR}) -> (Tensor, Tensor)",
    names=("var_mean",),
    dtypes=FLOATING,
    dtype_error=_FLOATS_ONLY.format("var_mean"),
    body=Row(_variance, out="BB", out_dtypes="rc"),
    doc="Variance and mean over dimensions.",
)


def _norm(x, p):
    size = abs(x)
    if p == 2:
        return sqrt(r.row_sum(_squared_size(x)))
    if p == 1:
        return r.row_sum(size)
    if p == 0:
        return r.row_sum(cast(size != 0, size.dtype))
    if p == float("inf"):
        return r.row_max(size)
    if p == float("-inf"):
        return r.row_min(size)
    return pow(r.row_sum(pow(size, p)), 1 / p)


def _norm_grad(o, g, x, p, dim, keepdim, dtype):
    """0 where the norm is 0: one of the subgradients."""
    norm = o.saved.output(0)
    dims = tuple(range(x.ndim)) if dim is None or not len(dim) else tuple(sorted(d % max(x.ndim, 1) for d in dim))
    if not keepdim and x.ndim:
        for d in dims:
            g, norm = o.unsqueeze(g, d), o.unsqueeze(norm, d)
    if p == 0:
        return o.zeros_like(x)
    if p == 1:
        return g * o.sgn(x)
    if p in (float("inf"), float("-inf")):
        greatest = (o.abs(x) == norm).to(g.dtype) if x.ndim else o.ones_like(g)
        return o.sgn(x) * greatest * (g / o.sum(greatest, dims, True))
    if p == 2:
        return x * o.masked_fill(g / norm, norm == 0, 0)
    scale = o.masked_fill(g * o.pow(norm, 1 - p), norm == 0, 0)
    power = o.sgn(x) * o.pow(o.abs(x), p - 1)
    return scale * (o.masked_fill(power, x == 0, 0) if p < 1 else power)


op(
    "vector_norm_rows(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    static=("ord",),
    body=Row(_norm, out="B", out_dtypes="r"),
    grad=_norm_grad,
    saves=("o0",),
    ref=lambda np, x, ord=2, dim=None, keepdim=False: np.sum(np.abs(x) ** ord, axis=dim, keepdims=keepdim) ** (1 / ord),
    samples=lambda s: [(s.x(3, 4),), (s.x(3, 4), 1, 1), (s.x(2, 3, 4), 3, 0, {"keepdim": True}), (s.x(2, 70), 2, -1)],
    doc="(sum |x|^p)^(1/p) over dimensions of real numbers; p may be 0, inf or -inf.",
)

op(
    "dot_rows(Tensor self, Tensor other, int[1] dim) -> Tensor",
    names=(),
    body=Row(lambda x, y: r.row_sum(x * y), roles="FF", out="B", out_dtypes="c"),
    ref=lambda np, x, y, dim: np.sum(x * y, axis=tuple(dim)),
    samples=lambda s: [(s.x(3, 4), s.x(3, 4), [1]), (s.x(2, 3, 70), s.x(2, 3, 70), [0, -1]), (s.x(4), s.x(4), [0])],
    doc="Sum of products over dimensions, of tensors of the same sizes: no product is kept.",
)

op(
    f"nansum({_DIMS}, *, ScalarType? dtype=None) -> Tensor",
    dtypes=ORDERED,
    dtype_error="RuntimeError: nansum on CPU does not support complex inputs",
    body=Row(
        lambda x: r.row_sum(where(isnan(x), const(0, x.dtype), x) if x.dtype.startswith("f") else x),
        out="B",
        out_dtypes="s",
    ),
    ref=lambda np, x, dim=None, keepdim=False: np.nansum(x, axis=dim, keepdims=keepdim),
    samples="reduce",
    doc="Sum over dimensions, nan counted as zero.",
)
op(
    ("count_nonzero(Tensor self, int[1]? dim=None) -> Tensor", "count_nonzero(Tensor self, int[] dim) -> Tensor"),
    body=Row(lambda x: r.row_sum(cast(cast(x, "b1"), "i64")), out="B", out_dtypes="i"),
    differentiable=False,
    ref=lambda np, x, dim=None: np.count_nonzero(x, axis=dim),
    samples="reduce",
    doc="How many elements are not zero.",
)


def _other_factors(g, x):
    """g times the product of all other elements of a row: that of all, but for zeros, divided by the element."""
    zero = x == 0
    product = r.row_prod(where(zero, const(1, x.dtype), x))
    zeros = r.row_sum(cast(zero, "i64"))
    alone = where(zero & (zeros == 1), product, const(0, x.dtype))
    return g * conj(where(zeros == 0, product / x, alone))


op(
    "prod_slope(Tensor grad, Tensor self, int? dim=None) -> Tensor",
    names=(),
    dtypes=FLOATING,
    body=Row(_other_factors, roles="BF", out="F"),
    differentiable=False,
    doc="Gradient of prod, which has the reduced dimension as 1.",
)


def _prod_backward(o, grad, self, dim, keepdim):
    """The product of all other elements: of those before times those behind, where that is differentiated."""
    if self.dim() == 0:
        return grad
    if dim is None:
        return _prod_backward(o, grad.reshape(1), self.reshape(-1), 0, True).view(self.shape)
    grad = grad if keepdim else grad.unsqueeze(dim)
    if not needs_grad(o, grad, self) and grad.dtype is self.dtype:
        return o.prod_slope(grad, self, dim)
    n = self.shape[dim]
    one = o.ones_like(self.narrow(dim, 0, min(n, 1)))
    before = o.cumprod(o.cat([one, self.narrow(dim, 0, max(n - 1, 0))], dim), dim)
    turned = o.flip(self, (dim,))
    behind = o.flip(o.cumprod(o.cat([one, turned.narrow(dim, 0, max(n - 1, 0))], dim), dim), (dim,))
    return grad * o.conj(before * behind)


op(
    "prod_backward(Tensor grad, Tensor self, int? dim, bool keepdim) -> Tensor",
    names=(),
    body=Composite(_prod_backward),
    doc="Gradient of prod.",
)
