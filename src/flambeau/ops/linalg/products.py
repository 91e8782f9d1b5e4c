"""Products: chains of matrices, of vectors, and matrices made of vectors."""

import itertools
import warnings

from ..launch import check_tensors, wrap_dim
from ..table import COMPLEX, REAL, Composite, Scalar, op
from ..views import broadcast_shape
from . import check


def _order(sizes) -> dict:
    """Where to cut each stretch of a chain of matrices so that it costs least; sizes[i], sizes[i + 1] are of matrix i."""
    n = len(sizes) - 1
    cost = {(i, i): 0 for i in range(n)}
    cut = {}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            options = [
                (cost[i, k] + cost[k + 1, j] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j)
            ]
            cost[i, j], cut[i, j] = min(options)
    return cut


def _chain(o, matrices):
    if len(matrices) == 3:  # by far the commonest: no table of costs
        a, b, c = matrices
        (n, k), (m, p) = a.shape, c.shape
        left = n * m * (k + p) <= k * p * (n + m)  # (ab)c costs n k m + n m p, a(bc) costs k m p + n k p
        return o.mm(o.mm(a, b), c) if left else o.mm(a, o.mm(b, c))
    cut = _order([matrices[0].shape[0], *(m.shape[1] for m in matrices)])

    def product(i, j):
        if i == j:
            return matrices[i]
        k = cut[i, j]
        return o.mm(product(i, k), product(k + 1, j))

    return product(0, len(matrices) - 1)


def _multi_dot(o, tensors):
    n = len(tensors)
    if n < 2:
        raise RuntimeError(f"multi_dot(): expected at least 2 tensors but got {n}")
    first, last = tensors[0], tensors[-1]
    for x, what in ((first, "first"), (last, "last")):
        if x.dim() not in (1, 2):
            raise RuntimeError(f"multi_dot(): the {what} tensor must be 1D or 2D but got {x.dim()}D")
    for i, x in enumerate(tensors[1:-1], 1):
        if x.dim() != 2:
            raise RuntimeError(f"multi_dot(): tensor {i} must be 2D but got {x.dim()}D")
    for i, x in enumerate(tensors):
        if x.dtype is not first.dtype:
            names = [t.dtype.title.lower() for t in (first, x)]
            raise RuntimeError(
                f"multi_dot(): all tensors must have be the same dtype but tensor 0 is {names[0]} and tensor {i} {names[1]}"
            )
    matrices = list(tensors)
    if first.dim() == 1:
        matrices[0] = first.unsqueeze(0)
    if last.dim() == 1:
        matrices[-1] = last.unsqueeze(-1)
    for i, (a, b) in enumerate(itertools.pairwise(matrices)):
        if a.shape[1] != b.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(a.shape)} and {list(b.shape)} cannot be multiplied"
            )
    result = _chain(o, matrices)
    return result.reshape([*first.shape[: first.dim() - 1], *(last.shape[1:] if last.dim() == 2 else ())])


op(
    "linalg_multi_dot(Tensor[] tensors) -> Tensor",
    names=("linalg.multi_dot",),
    body=Composite(_multi_dot),
    doc="The product of a chain of matrices in the order that costs least; vectors may stand at its ends.",
)


def _chain_matmul(o, *matrices, out=None):
    warnings.warn(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use torch.linalg.multi_dot "
        "instead, which accepts a list of two or more tensors rather than multiple parameters.",
        stacklevel=2,
    )
    check_tensors(matrices)
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for x in matrices:
        if x.dim() != 2:
            raise RuntimeError(f"Tensor dimension is {x.dim()}, expected 2 instead.")
    result = matrices[0] if len(matrices) == 1 else _multi_dot(o, list(matrices))
    return result if out is None else o.clone(result, out=out)


op(
    "chain_matmul(Any matrices) -> Tensor",
    names=("chain_matmul",),
    body=Composite(_chain_matmul, raw=True),
    doc="The product of matrices; see linalg.multi_dot.",
)


def _cross_grad(o, g, *parts):
    a, b = ([x.conj() for x in half] for half in (parts[:3], parts[3:]))
    return (*o.cross_parts(*b, *g), *o.cross_parts(*g, *a))


op(
    "cross_parts(Tensor a0, Tensor a1, Tensor a2, Tensor b0, Tensor b1, Tensor b2) -> (Tensor, Tensor, Tensor)",
    names=(),
    dtypes=REAL + COMPLEX,
    dtype_error="\"cross\" not implemented for '{got}'",
    body=Scalar(lambda a, b, c, x, y, z: (b * z - c * y, c * x - a * z, a * y - b * x)),
    grad=_cross_grad,
    doc="The components of vector products.",
)


def _cross_along(o, a, b, dim):
    return o.stack(o.cross_parts(*o.unbind(a, dim), *o.unbind(b, dim)), dim)


def _linalg_cross(o, a, b, *, dim=-1):
    if a.dim() != b.dim():
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"expected scalar type {a.dtype.title} but found {b.dtype.title}")
    at = wrap_dim(dim, a.dim())
    if not a.dim() or a.shape[at] != 3 or b.shape[at] != 3:
        sizes = [x.shape[at] if x.dim() else 1 for x in (a, b)]
        raise RuntimeError(f"linalg.cross: inputs dimension {dim} must have length 3. Got {sizes[0]} and {sizes[1]}")
    sizes = broadcast_shape([a.shape, b.shape])
    return _cross_along(o, a.expand(sizes), b.expand(sizes), at)


op(
    "linalg_cross(Tensor self, Tensor other, *, int dim=-1) -> Tensor",
    names=("linalg.cross",),
    body=Composite(_linalg_cross),
    doc="The vector products of vectors of three elements along a dimension.",
)


def _cross(o, a, b, dim=None):
    if dim is None:
        sizes = broadcast_shape([a.shape, b.shape]) if a.dim() == b.dim() else a.shape
        dim = next((d for d, s in enumerate(sizes) if s == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
        warnings.warn(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass the dim explicitly or "
            "simply use torch.linalg.cross.\nThe default value of dim will change to agree with that of linalg.cross in "
            "a future release.",
            stacklevel=2,
        )
    return _linalg_cross(o, a, b, dim=dim)


op(
    "cross(Tensor self, Tensor other, int? dim=None) -> Tensor",
    body=Composite(_cross),
    doc="The vector products of vectors of three elements; see linalg.cross.",
)


def _vecdot(o, x, y, *, dim=-1):
    check.floating(x, "linalg.vecdot")
    check.same_dtype(x, y, "linalg.vecdot", "x", "y")
    if x.dim() == 1 and y.dim() == 1:
        return o.dot(o.conj(x), y)
    return o.dot_rows(*o.broadcast_tensors(o.conj(x), y), dim)


op(
    "linalg_vecdot(Tensor x, Tensor y, *, int dim=-1) -> Tensor",
    names=("linalg.vecdot",),
    body=Composite(_vecdot),
    doc="sum(conj(x) y) along a dimension.",
)
op(
    "linalg_diagonal(Tensor(a) A, *, int offset=0, int dim1=-2, int dim2=-1) -> Tensor(a)",
    names=("linalg.diagonal",),
    body=Composite(lambda o, A, *, offset=0, dim1=-2, dim2=-1: o.diagonal(A, offset, dim1, dim2)),
    doc="The diagonals of matrices, as a view.",
)


def _powers(o, x, n):
    """1, x, x^2, ... along a new last dimension."""
    columns = x.unsqueeze(-1).expand((*x.shape, n - 1))
    return o.cat([o.ones((*x.shape, 1), dtype=x.dtype, device=x.device), o.cumprod(columns, -1)], -1)


def _linalg_vander(o, x, *, N=None):
    if (not x.dim() and N is None) or (N is not None and N <= 1) or (x.dim() and N is None and x.shape[-1] <= 1):
        raise RuntimeError("N must be greater than 1.")
    if x.dtype.code in ("b1", "f16", "bf16"):
        raise RuntimeError(
            f"linalg.vander supports floating point, complex, and integer tensors, but got {x.dtype.title}"
        )
    return _powers(o, x, x.shape[-1] if N is None else N)


op(
    "linalg_vander(Tensor x, *, int? N=None) -> Tensor",
    names=("linalg.vander",),
    body=Composite(_linalg_vander),
    doc="Matrices whose columns are powers 0, 1, ..., N - 1 of x.",
)


def _vander(o, x, N=None, increasing=False):
    if x.dim() != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.numel() if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    if x.dtype.code in check.INTEGRAL:
        x = x.to(o.int64)
    if n < 2:
        return o.ones((x.numel(), n), dtype=x.dtype, device=x.device)
    powers = _powers(o, x, n)
    return powers if increasing else o.flip(powers, (1,))


op(
    "vander(Tensor x, int? N=None, bool increasing=False) -> Tensor",
    names=("vander",),
    body=Composite(_vander),
    doc="The matrix whose columns are powers of x, from the highest to 0 unless `increasing`.",
)
