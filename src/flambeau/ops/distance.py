"""Distances between rows: cdist, pdist. Differences are made and summed in one pass, and none is kept."""

from ..ir import row as r
from ..ir.fn import abs, cast, const, maximum, pow, sign, sqrt, where
from .launch import Launch
from .table import REAL_FLOATS, Composite, Loop, Row, Scalar, op

_INF = float("inf")
_VECTOR = 16  # elements of a vector, about


def _taken(size, p):
    """What a difference of this size adds to a sum (the greatest counts where p is inf)."""
    if p == 0:
        return cast(size != 0, size.dtype)
    return size if p in (1, _INF) else size * size if p == 2 else pow(size, p)


def _distance_of(total, p):
    """The distance that a sum stands for."""
    return total if p in (0, 1, _INF) else sqrt(total) if p == 2 else pow(total, 1 / p)


def _distance(x, y, p):
    reduce = r.row_max if p == _INF else r.row_sum
    return _distance_of(reduce(_taken(abs(x - y), p)), p)


def _weights(o, g, distance, p):
    """What `_slope` is multiplied by. 0 where a distance is 0: one of the subgradients."""
    return g if p in (1, _INF) else o.masked_fill(g * o.pow(distance, 1 - p), distance == 0, 0)


def _distance_grad(o, g, x, y, ord, dim):
    """Of the greatest difference, all that are as great count."""
    if ord == 0:
        return o.zeros_like(x), o.zeros_like(y)
    distance = o.unsqueeze(o.saved.output(0), -2)
    weight = _weights(o, o.unsqueeze(g, -2), distance, ord)
    return (
        o.distance_slopes(x, y, weight, distance, ord, -3) if o.needs[0] else None,
        o.neg(o.distance_slopes(x, y, weight, distance, ord, -1)) if o.needs[1] else None,
    )


op(
    "distance_rows(Tensor x, Tensor y, Scalar ord, int dim) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    static=("ord",),
    body=Row(_distance, roles="FF", out="B"),
    grad=_distance_grad,
    saves=("o0",),
    doc="Norms along dimension -2 of the differences of x (..., 1, width, m) and y (..., n, width, 1).",
)


def _slope(x, y, weight, distance, p):
    gap = x - y
    if p == 1:
        slope = sign(gap)
    elif p == 2:
        slope = gap
    elif p == _INF:
        slope = where(abs(gap) == distance, sign(gap), const(0, x.dtype))
    else:
        size = abs(gap)
        slope = where(size == 0, const(0, x.dtype), sign(gap) * pow(size, p - 1))
    return r.row_sum(weight * slope)


op(
    "distance_slope_rows(Tensor x, Tensor y, Tensor weight, Tensor distance, Scalar ord, int dim, bool keepdim) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    static=("ord",),
    body=Row(_slope, roles="FFFF", out="B"),
    doc="Weighted sums along a dimension of how distances change with x.",
)
op(
    "distance_slopes(Tensor x, Tensor y, Tensor weight, Tensor distance, Scalar ord, int dim) -> Tensor",
    names=(),
    body=Composite(
        lambda o, x, y, weight, distance, ord, dim: o.distance_slope_rows(
            *o.broadcast_tensors(x, y, weight, distance), ord, dim, True
        )
    ),
    doc="distance_slope_rows of operands that broadcast.",
)


def _distances(o, x1, x2, p):
    """Vectors run along the rows of x2; where these are few, along those of x1."""
    if x2.shape[-2] < _VECTOR <= x1.shape[-2]:
        return _distances(o, x2, x1, p).mT.contiguous()
    if x1.shape[:-2] != x2.shape[:-2]:
        lead = o.broadcast_shapes(x1.shape[:-2], x2.shape[:-2])
        x1, x2 = (x.expand(*lead, *x.shape[-2:]) for x in (x1, x2))
    return o.distance_rows(x2.mT.contiguous().unsqueeze(-3), x1.unsqueeze(-1), p, -2)


_WITHOUT_PRODUCT = "donot_use_mm_for_euclid_dist"
_MODES = (None, "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist", _WITHOUT_PRODUCT)
_FEW = 25  # rows up to which differences are made where the mode leaves it open


def _root_of_positive(x):
    none = x <= 0
    return where(none, const(0, x.dtype), sqrt(where(none, const(1, x.dtype), x)))


op(
    "root_of_positive(Tensor self) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Scalar(_root_of_positive),
    doc="Square roots; 0, and no gradient, of what is not greater than 0.",
)


def _euclidean(o, x1, x2):
    """Distances by a product of matrices: |a - b|^2 = |a|^2 - 2 a b + |b|^2. Their gradient is 0 where they are."""
    first, second = (o.sum(x * x, -1, True) for x in (x1, x2))
    a = o.cat([x1 * -2, first, o.ones_like(first)], -1)
    b = o.cat([x2, o.ones_like(second), second], -1)
    return o.root_of_positive(o.matmul(a, b.mT))


def _cdist(o, x1, x2, p=2.0, compute_mode=None):
    if compute_mode not in _MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]} [in cdist]"
        )
    for name, x in (("X1", x1), ("X2", x2)):
        if not x.dtype.is_floating_point:
            raise RuntimeError(f"cdist only supports floating-point dtypes, {name} got: {x.dtype.title}")
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    many = max(x1.shape[-2], x2.shape[-2]) > _FEW or compute_mode == "use_mm_for_euclid_dist"
    if p == 2 and many and compute_mode != _WITHOUT_PRODUCT:
        return _euclidean(o, x1, x2)
    return _distances(o, x1, x2, p)


op(
    "cdist(Tensor x1, Tensor x2, float p=2.0, str? compute_mode=None) -> Tensor",
    names=("cdist",),
    body=Composite(_cdist),
    doc="""Distances (p-norm of the difference) of each row of x1 from each row of x2.

    Args:
        p: 2, or another number from 0 on, or inf.
        compute_mode: whether distances of p = 2 come from one product of matrices, which is fast and exact to the root of
            the dtype's precision: "use_mm_for_euclid_dist_if_necessary" where there are more than 25 rows (default),
            "use_mm_for_euclid_dist" always, "donot_use_mm_for_euclid_dist" never. Else differences are made, then summed.""",
)


_TOGETHER = 4  # elements of a row that are taken into the sums at once


# ints: rows, elements of a row
def _pair_program(b, p):
    """Buffers: distances of pairs, the matrix with rows as columns. An iteration takes a row from above and one from
    below: all have as many pairs."""
    with b.parallel() as k:
        n, width = b.int(0), b.int(1)
        with b.loop(0, where(k * 2 == n - 2, const(1, "i64"), 2)) as below:
            i = where(below == 0, k, n - 2 - k)
            pair = i * (n * 2 - i - 1) // 2 - i - 1
            with b.loop(i + 1, n) as j:
                b.store(0, pair + j, 0)
            whole = width // _TOGETHER * _TOGETHER
            for count, low, high in ((_TOGETHER, 0, whole), (1, whole, width)):
                with b.loop(low, high, count) as at:
                    columns = [(at + c) * n for c in range(count)]
                    x = [b.load(1, column + i) for column in columns]
                    with b.loop(i + 1, n) as j:
                        total = b.load(0, pair + j)
                        for value, column in zip(x, columns, strict=True):
                            term = _taken(abs(value - b.load(1, column + j)), p)
                            total = maximum(total, term) if p == _INF else total + term
                        b.store(0, pair + j, total)
            with b.loop(i + 1, n) as j:
                b.store(0, pair + j, _distance_of(b.load(0, pair + j), p))


def _pair_plan(o, self, p):
    n, width = self.shape
    out = o.empty((n * (n - 1) // 2,), dtype=self.dtype, device=self.device)
    return Launch((out,), (out, self.mT.contiguous()), [n, width], n // 2, n * width, _pair_program, (p,))


def _pair_grad(o, g, self, p):
    if p == 0:
        return (o.zeros_like(self),)
    halves = (o.from_upper_elements(v, self.shape[0]) for v in (g, o.saved.output(0)))
    weight, distance = (o.unsqueeze(half + half.mT, -2) for half in halves)
    x, y, weight = self.mT.contiguous().unsqueeze(-3), self.unsqueeze(-1), _weights(o, weight, distance, p)
    return (o.distance_slopes(x, y, weight, distance, p, -3).squeeze(-3).mT,)


op(
    "pair_distances(Tensor self, Scalar p) -> Tensor",
    names=(),
    dtypes=REAL_FLOATS,
    body=Loop(_pair_plan, pure=True),
    grad=_pair_grad,
    saves=("o0",),
    doc="pdist of a dtype that sums are made in.",
)


# int: rows
def _upper_program(b, back: bool):
    """Buffers: what stands above the diagonal, row by row, and the matrix; `back`: the other way round, zeros below."""
    with b.parallel() as i:
        n = b.int(0)
        row, first = i * n, i * (n * 2 - i - 1) // 2 - i - 1
        if back:
            with b.loop(0, i + 1) as j:
                b.store(0, row + j, 0)
        with b.loop(i + 1, n) as j:
            there, here = row + j, first + j
            b.store(0, *((there, b.load(1, here)) if back else (here, b.load(1, there))))


def _upper_plan(o, self):
    n = self.shape[0]
    out = o.empty((n * (n - 1) // 2,), dtype=self.dtype, device=self.device)
    return Launch((out,), (out, self.contiguous()), [n], n, n, _upper_program, (False,))


def _from_upper_plan(o, self, n):
    out = o.empty((n, n), dtype=self.dtype, device=self.device)
    return Launch((out,), (out, self.contiguous()), [n], n, n, _upper_program, (True,))


op(
    "upper_elements(Tensor self) -> Tensor",
    names=(),
    body=Loop(_upper_plan, pure=True),
    grad=lambda o, g, self: (o.from_upper_elements(g, self.shape[0]),),
    doc="What stands above the diagonal of a square matrix, row by row.",
)
op(
    "from_upper_elements(Tensor self, int n) -> Tensor",
    names=(),
    body=Loop(_from_upper_plan, pure=True),
    grad=lambda o, g, self, n: (o.upper_elements(g),),
    doc="The n x n matrix with these elements above the diagonal, and zeros.",
)


def _pdist(o, self, p=2.0):
    if self.dim() != 2:
        raise RuntimeError(f"pdist only supports 2D tensors, got: {self.dim()}D")
    if not self.dtype.is_floating_point:
        raise RuntimeError("pdist only supports floating-point dtypes")
    if p < 0:
        raise RuntimeError("pdist only supports non-negative p values")
    wide = self.to(self.dtype if self.dtype.itemsize >= 4 else o.float32)
    return o.pair_distances(wide, p).to(self.dtype)


op(
    "pdist(Tensor input, float p=2.0) -> Tensor",
    names=("pdist", "nn.functional.pdist"),
    body=Composite(_pdist),
    doc="Distances of all pairs of rows, in the order (0, 1), (0, 2), ..., (1, 2), ...",
)
