"""Products and distances beside the matrix product: vdot, inner, kron, tensordot, trace, dist, renorm."""

from flambeau import _core

from .launch import product, wrap_dim
from .table import COMPLEX, FLOATING, FLOATS8, REAL, Composite, op

_NUMBERS = REAL + COMPLEX


def _vdot(o, self, other):
    if self.dim() != 1 or other.dim() != 1:
        raise RuntimeError(f"1D tensors expected, but got {self.dim()}D and {other.dim()}D tensors [in vdot]")
    if self.dtype is not other.dtype:
        raise RuntimeError(
            f"dot : expected both vectors to have same dtype, but found {self.dtype.title} and {other.dtype.title}"
        )
    return o.dot(o.conj(self), other)


op(
    "vdot(Tensor self, Tensor other) -> Tensor",
    dtypes=_NUMBERS,
    body=Composite(_vdot),
    ref=lambda np, a, b: np.vdot(a, b),
    samples="dot",
    doc="Sum of products of two vectors, the first conjugated.",
)


def _trace(o, self):
    if self.dim() != 2:
        raise RuntimeError(f"trace: expected a matrix, but got tensor with dim {self.dim()}")
    if self.dtype is o.bool:
        raise NotImplementedError("\"trace\" not implemented for 'Bool'")
    return o.sum(o.diagonal(self))


op(
    "trace(Tensor self) -> Tensor",
    dtypes=_NUMBERS,
    body=Composite(_trace),
    ref=lambda np, x: np.trace(x),
    samples=lambda s: [(s.x(3, 3),), (s.x(2, 4),)],
    doc="Sum of the diagonal of a matrix.",
)


def _inner(o, self, other):
    if not self.dim() or not other.dim():
        return o.mul(self, other)
    if self.shape[-1] != other.shape[-1]:
        raise RuntimeError(
            "inner() the last dimension must match on both input tensors but got shapes "
            f"{list(self.shape)} and {list(other.shape)}"
        )
    return o.tensordot(self, other, [[-1], [-1]])


op(
    "inner(Tensor self, Tensor other) -> Tensor",
    dtypes=_NUMBERS,
    body=Composite(_inner),
    ref=lambda np, a, b: np.inner(a, b),
    samples=lambda s: [(s.x(4), s.x(4)), (s.x(2, 4), s.x(3, 4)), (s.x(2, 3), s.x())],
    doc="Sums of products over the last dimensions.",
)


def _kron(o, self, other):
    n = max(self.dim(), other.dim())
    a, b = ([1] * (n - x.dim()) + list(x.shape) for x in (self, other))
    left = self.reshape([v for s in a for v in (s, 1)])
    right = other.reshape([v for s in b for v in (1, s)])
    return o.mul(left, right).reshape([x * y for x, y in zip(a, b, strict=True)])


op(
    "kron(Tensor self, Tensor other) -> Tensor",
    body=Composite(_kron),
    ref=lambda np, a, b: np.kron(a, b),
    samples=lambda s: [(s.x(2, 3), s.x(3, 2)), (s.x(2), s.x(2, 2))],
    doc="Kronecker product: blocks self[i, j] * other.",
)


def _tensordot_dims(a, b, dims) -> tuple[list[int], list[int]]:
    if not isinstance(dims, int | list | tuple | _core.Tensor):
        raise RuntimeError(
            "tensordot expects dims to be int or tuple[list[int], list[int]] or list[list[int]] containing two lists, "
            f"but got dims={dims}"
        )
    if isinstance(dims, _core.Tensor):
        dims = dims.tolist() if dims.dim() else int(dims)
    if isinstance(dims, list | tuple) and len(dims) == 1 and isinstance(dims[0], int):
        dims = dims[0]
    if isinstance(dims, list | tuple):
        first, second = ([d] if isinstance(d, int) else list(d) for d in dims)
        return first, second
    if dims < 0:
        raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
    if dims > min(a.dim(), b.dim()):
        raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
    return list(range(-dims, 0)), list(range(dims))


def _tensordot(o, a, b, dims=2):
    first, second = _tensordot_dims(a, b, dims)
    if len(first) != len(second):
        raise RuntimeError("both dimension lists should have same length")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"both inputs should have same dtype [got {a.dtype} and {b.dtype}]")
    mine, theirs = ([wrap_dim(d, x.dim()) for d in dims] for dims, x in ((first, a), (second, b)))
    for i, j, d, e in zip(mine, theirs, first, second, strict=True):
        n, m = a.shape[i], b.shape[j]
        if n != m and 1 not in (n, m):
            raise RuntimeError(
                f"contracted dimensions need to match, but first has size {n} in dim {d} and second has size {m} in "
                f"dim {e}"
            )
        if n != m:  # a dimension of size 1 stands for any
            a = a.sum(i, True) if m == 1 else a
            b = b.sum(j, True) if n == 1 else b
    keep = [d for d in range(a.dim()) if d not in mine]
    also = [d for d in range(b.dim()) if d not in theirs]
    sizes = [a.shape[d] for d in keep] + [b.shape[d] for d in also]
    inner = product(a.shape[d] for d in mine)
    x = a.permute(keep + mine).reshape(product(a.shape[d] for d in keep), inner)
    y = b.permute(theirs + also).reshape(inner, product(b.shape[d] for d in also))
    return o.mm(x, y).reshape(sizes)


op(
    "tensordot(Tensor a, Tensor b, Any dims=2) -> Tensor",
    names=("tensordot",),
    dtypes=_NUMBERS,
    body=Composite(_tensordot),
    ref=lambda np, a, b, dims=2: np.tensordot(a, b, dims),
    samples=lambda s: [(s.x(2, 3, 4), s.x(3, 4, 2)), (s.x(3, 4), s.x(5, 4), ([1], [1])), (s.x(3), s.x(2), 0)],
    doc="""Sums of products over several dimensions.

    Args:
        dims: how many last dimensions of a meet the first of b, or a list of dimensions for each.

    Example:
        >>> torch.tensordot(torch.ones(2, 3), torch.ones(3, 4), dims=1).shape
        torch.Size([2, 4])""",
)


def _dist(o, self, other, p=2):
    gap = self - other
    if not (gap.dtype.is_floating_point or gap.dtype.is_complex):
        raise RuntimeError(
            f"norm(): input dtype should be either floating point or complex. Got {gap.dtype.title} instead."
        )
    return o.linalg_vector_norm(gap, p)


op(
    "dist(Tensor self, Tensor other, Scalar p=2) -> Tensor",
    dtypes=FLOATING,
    body=Composite(_dist),
    ref=lambda np, a, b, p=2: np.sum(np.abs(a - b) ** p) ** (1 / p),
    samples=lambda s: [(s.x(3, 4), s.x(3, 4)), (s.x(3, 1), s.x(4), 3)],
    doc="The p-norm of the difference of two tensors, of all elements together.",
)


def _renorm(o, self, p, dim, maxnorm):
    if isinstance(p, complex) or p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if isinstance(maxnorm, complex) or maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if self.dim() < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {self.dim()} dimensions")
    dim = wrap_dim(dim, self.dim())
    rest = [d for d in range(self.dim()) if d != dim]
    low = self.dtype in (o.float16, o.bfloat16)
    norm = o.linalg_vector_norm(self.float() if low else self, p, rest, True)
    factor = o.where(norm > maxnorm, maxnorm / (norm + 1e-7), o.ones_like(norm.detach()))
    return o.mul(self, factor.to(self.dtype) if low else factor)


op(
    "renorm(Tensor self, Scalar p, int dim, Scalar maxnorm) -> Tensor",
    body=Composite(_renorm),
    inplace=True,
    doc="Slices along a dimension, those of a p-norm above maxnorm scaled down to it.",
)


def _scaled_mm(o, self, mat2, scale_a, scale_b, bias, scale_result, out_dtype, use_fast_accum):
    for number, operand in enumerate((self, mat2), 1):
        if operand.dim() != 2:
            raise RuntimeError(f"mat{number} must be a matrix")
    (m, k), (k2, n) = self.shape, mat2.shape
    if k != k2:
        raise RuntimeError(f"mat_a and mat_b shapes cannot be multiplied ({m}x{k} and {k2}x{n})")
    whole = scale_a.numel() == scale_b.numel() == 1
    by_rows = scale_a.shape == (m, 1) and scale_b.shape == (1, n)
    narrow = self.dtype in FLOATS8 and mat2.dtype in FLOATS8
    if not (narrow and scale_a.dtype is scale_b.dtype is o.float32 and (whole or by_rows)):
        raise ValueError(
            f"Invalid scaling configuration. [in _scaled_mm: {self.dtype} and {mat2.dtype} with scales {scale_a.shape} "
            f"and {scale_b.shape}]. Operands have 8 bits, scales float32 and one element or one a row and a column."
        )
    out = o.mm(self.float(), mat2.float()) * (scale_a * scale_b)
    return (out if bias is None else out + bias.float()).to(self.dtype if out_dtype is None else out_dtype)


op(
    "_scaled_mm(Tensor self, Tensor mat2, Tensor scale_a, Tensor scale_b, Tensor? bias=None, Tensor? scale_result=None, "
    "ScalarType? out_dtype=None, bool use_fast_accum=False) -> Tensor",
    names=("_scaled_mm",),
    body=Composite(_scaled_mm),
    differentiable=False,
    doc="scale_a * scale_b * (self @ mat2) + bias of matrices of 8 bits, summed in float32; scale_result and "
    "use_fast_accum change nothing on a CPU.",
)
