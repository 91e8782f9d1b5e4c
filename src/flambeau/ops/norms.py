"""Norms of vectors and matrices, and distances between rows, over `linalg.vector_norm`."""

from .table import Composite, op


def _vector_norm(o, x, p, dim, keepdim, dtype):
    if x.dtype.is_complex:
        x = x.abs()
    return o.linalg_vector_norm(x, p, dim, keepdim, dtype=dtype)


def _no_singular_values(what: str):
    return NotImplementedError(f"{what} needs singular values, which are not here yet. Norms 'fro', 1, -1, inf and -inf are.")


def _norm(o, input, p="fro", dim=None, keepdim=False, *, dtype=None):
    if p == "nuc":
        raise _no_singular_values("norm(p='nuc')")
    if isinstance(p, str) and p != "fro":
        raise RuntimeError(f"only valid string values are 'fro' and 'nuc', found {p}")
    return _vector_norm(o, input, 2 if p in (None, "fro") else p, dim, keepdim, dtype)


op(
    "norm(Tensor self, Any p='fro', Any dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("norm", "Tensor.norm"),
    body=Composite(_norm, raw=True),
    doc="(sum |x|^p)^(1/p) over dimensions, or over all elements; 'fro' is p = 2.",
)


def _matrix_norm(o, A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    if A.dim() < 2:
        raise RuntimeError(
            f"linalg.matrix_norm: The input tensor A must have at least 2 dimensions. [A has {A.dim()} dimensions]"
        )
    rows, columns = (d % A.dim() for d in dim)
    if rows == columns:
        raise RuntimeError(f"linalg.matrix_norm: dims must be different. Got ({dim[0]}, {dim[1]})")
    if ord == "fro":
        return _vector_norm(o, A, 2, (rows, columns), keepdim, dtype)
    if ord not in (1, -1, float("inf"), float("-inf")):
        raise _no_singular_values(f"linalg.matrix_norm(ord={ord!r})")
    summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
    sums = _vector_norm(o, A, 1, summed, True, dtype)
    best = (o.amax if ord > 0 else o.amin)(sums, chosen, True)
    if keepdim:
        return best
    return best.squeeze(max(rows, columns)).squeeze(min(rows, columns))


op(
    "linalg_matrix_norm(Tensor self, Any ord='fro', Any dim=(-2, -1), bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("linalg.matrix_norm",),
    body=Composite(_matrix_norm, raw=True),
    doc="Frobenius norm of matrices, or the greatest (least) sum of absolute values of a column (1) or row (inf).",
)


def _linalg_norm(o, A, ord=None, dim=None, keepdim=False, *, dtype=None):
    if ord is None:
        return _vector_norm(o, A, 2, dim, keepdim, dtype)
    if dim is None and A.dim() not in (1, 2):
        raise RuntimeError(
            f"linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got {A.dim()}D."
        )
    pair = (-2, -1) if dim is None and A.dim() == 2 else dim
    if isinstance(pair, list | tuple) and len(pair) == 2:
        return _matrix_norm(o, A, ord, tuple(pair), keepdim, dtype=dtype)
    if isinstance(ord, str):
        raise RuntimeError(f"linalg.norm: Order {ord} not supported for vectors")
    return _vector_norm(o, A, ord, dim, keepdim, dtype)


op(
    "linalg_norm(Tensor self, Any ord=None, Any dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("linalg.norm",),
    body=Composite(_linalg_norm, raw=True),
    doc="Norm of a vector, or of a matrix where two dimensions are given; without ord the 2-norm of all elements.",
)


def _cdist(o, x1, x2, p=2.0, compute_mode=None):
    for name, x in (("X1", x1), ("X2", x2)):
        if x.dim() < 2:
            raise RuntimeError(f"cdist only supports at least 2D tensors, {name} got: {x.dim()}D")
    if x1.shape[-1] != x2.shape[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {x1.shape[-1]} X2: {x2.shape[-1]} [in cdist]"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    return _vector_norm(o, x1.unsqueeze(-2) - x2.unsqueeze(-3), p, -1, False, None)


op(
    "cdist(Tensor x1, Tensor x2, float p=2.0, str? compute_mode=None) -> Tensor",
    names=("cdist",),
    body=Composite(_cdist),
    doc="Distances (p-norm of the difference) of each row of x1 from each row of x2; differences are made, then summed.",
)
