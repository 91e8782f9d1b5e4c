"""Norms of vectors and matrices, over `linalg.vector_norm`."""

from .launch import check_tensor, wrap_dim
from .table import Composite, op


def _check_dtype(o, x, dtype, name):
    """The dtype that a norm computes in; None where it is that of x."""
    if not (x.dtype.is_floating_point or x.dtype.is_complex):
        raise RuntimeError(f"{name}: Expected a floating point or complex tensor as input. Got {x.dtype.title}")
    if dtype is None:
        return None
    if not isinstance(dtype, type(x.dtype)):
        raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(dtype).__name__}")
    if not (dtype.is_floating_point or dtype.is_complex):
        raise RuntimeError(f"{name}: dtype should be floating point or complex, but got {dtype.title}")
    if dtype.is_complex != x.dtype.is_complex:
        kind = "complex" if x.dtype.is_complex else "real"
        raise RuntimeError(f"{name}: dtype should be {kind} for {kind} inputs, but got {dtype.title}")
    if o.promote_types(x.dtype, dtype) is not dtype:
        raise RuntimeError(
            f"{name}: the dtype of the input ({x.dtype.title}) should be convertible without narrowing to the specified "
            f"dtype ({dtype.title})"
        )
    return dtype


def _check_identity(x, p, dim):
    """Norms without a value for no elements."""
    if x.numel() or (p >= 0 and p != float("inf")):
        return
    order = f"{p:g}"
    dims = () if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if not dims:
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {order} norm on an empty tensor because the operation does not have "
            "an identity"
        )
    for d in dims:
        if not x.shape[wrap_dim(d, x.dim())]:
            raise RuntimeError(
                f"linalg.vector_norm cannot compute the {order} norm on the dimension {d}because this dimension is empty "
                "and the operation does not have an identity"
            )


def _vector_norm(o, x, p=2, dim=None, keepdim=False, dtype=None):
    dtype = _check_dtype(o, x, dtype, "linalg.vector_norm")
    _check_identity(x, p, dim)
    if x.dtype.is_complex:
        x = x.abs() if dtype is None else x.to(dtype).abs()
        dtype = None
    return o.vector_norm_rows(x, p, dim, keepdim, dtype=dtype)


op(
    "linalg_vector_norm(Tensor self, Scalar ord=2, int[1]? dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("linalg.vector_norm",),
    body=Composite(
        lambda o, x, ord=2, dim=None, keepdim=False, *, dtype=None: _vector_norm(o, x, ord, dim, keepdim, dtype)
    ),
    doc="(sum |x|^p)^(1/p) over dimensions, or over all elements; p may be 0, inf or -inf.",
)


def _norm(o, input, p="fro", dim=None, keepdim=False, fifth=None, *, dtype=None, out=None):
    # Here the function has out=, the method dtype=.
    dtype, out = (dtype, fifth) if isinstance(fifth, o.Tensor) else (fifth if dtype is None else dtype, out)
    check_tensor("norm", "input", input)
    if p == "nuc" or (isinstance(p, str) and p != "fro"):
        pair = tuple(range(input.dim())) if dim is None and input.dim() <= 2 else dim
        made = _matrix_norm(o, input, p, (-2, -1) if pair is None else pair, keepdim, dtype=dtype)
    elif p == "fro" and isinstance(dim, list | tuple) and len(dim) > 2:
        raise RuntimeError(f"linalg.matrix_norm: dim must be a 2-tuple. Got {' '.join(map(str, dim))}")
    else:
        made = _vector_norm(o, input, 2 if p in (None, "fro") else p, dim, keepdim, dtype)
    return made if out is None else o.clone(made, out=out)


op(
    "norm(Tensor self, Any p='fro', Any dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("norm", "Tensor.norm"),
    body=Composite(_norm, raw=True),
    doc="(sum |x|^p)^(1/p) over dimensions, or over all elements; 'fro' is p = 2.",
)


_INDUCED = (1, -1, 2, -2, float("inf"), float("-inf"))


def _check_matrix_norm(A, ord, dim):
    """The two dimensions, counted from the front."""
    name = "linalg.matrix_norm"
    if A.dim() < 2:
        raise RuntimeError(f"{name}: The input tensor A must have at least 2 dimensions. [A has {A.dim()} dimensions]")
    if ord is None:
        raise TypeError("linalg_matrix_norm(): argument 'ord' must be Number or str, not NoneType")
    if isinstance(ord, str):
        if ord not in ("fro", "nuc"):
            raise RuntimeError(f"{name}: Order {ord} not supported.")
    elif ord not in _INDUCED:
        raise RuntimeError(f"{name}: Order {ord} not supported.")
    dims = (dim,) if isinstance(dim, int) else tuple(dim or ())
    if len(dims) != 2:
        raise RuntimeError(f"{name}: dim must be a 2-tuple. Got {' '.join(map(str, dims))}")
    rows, columns = (wrap_dim(d, A.dim()) for d in dims)
    if rows == columns:
        raise RuntimeError(f"{name}: dims must be different. Got ({dims[0]}, {dims[1]})")
    return rows, columns


def _of_singular_values(o, A, ord, rows, columns, keepdim):
    last = [d for d in range(A.dim()) if d not in (rows, columns)] + [rows, columns]
    S = o.linalg_svdvals(A.permute(last))
    if ord == "nuc":
        found = o.sum(S, -1)
    elif not S.shape[-1]:
        found = o.zeros(S.shape[:-1], dtype=S.dtype, device=S.device)
    else:
        found = (o.amax if ord > 0 else o.amin)(S, -1)
    if not keepdim:
        return found
    for d in sorted((rows, columns)):
        found = found.unsqueeze(d)
    return found


def _matrix_norm(o, A, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None, out=None):
    check_tensor("linalg_matrix_norm", "input", A)
    rows, columns = _check_matrix_norm(A, ord, dim)
    dtype = _check_dtype(o, A, dtype, "linalg.matrix_norm")
    A = A if dtype is None else A.to(dtype)
    if ord in ("nuc", 2, -2) and A.dtype.code in ("f16", "bf16"):
        raise RuntimeError(f"linalg.matrix_norm: Low precision dtypes not supported. Got {A.dtype.title}")
    if ord == "fro":
        made = _vector_norm(o, A, 2, (rows, columns), keepdim, None)
    elif ord in ("nuc", 2, -2):
        made = _of_singular_values(o, A, ord, rows, columns, keepdim)
    else:
        summed, chosen = (rows, columns) if abs(ord) == 1 else (columns, rows)
        sums = _vector_norm(o, A, 1, summed, True, None)
        if sums.shape[chosen]:
            made = (o.amax if ord > 0 else o.amin)(sums, chosen, True)
        else:
            made = o.sum(sums, chosen, True)
        if not keepdim:
            made = made.squeeze(max(rows, columns)).squeeze(min(rows, columns))
    return made if out is None else o.clone(made, out=out)


op(
    "linalg_matrix_norm(Tensor self, Any ord='fro', Any dim=(-2, -1), bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("linalg.matrix_norm",),
    body=Composite(_matrix_norm, raw=True),
    doc="""Norms of matrices.

    'fro' is the square root of the sum of squares, 'nuc' the sum of singular values; 1 (-1) is the greatest (least) sum
    of absolute values of a column, inf (-inf) of a row, 2 (-2) the greatest (least) singular value.""",
)


def _linalg_norm(o, A, ord=None, dim=None, keepdim=False, *, dtype=None, out=None):
    check_tensor("linalg_norm", "input", A)
    made = _any_norm(o, A, ord, dim, keepdim, dtype)
    return made if out is None else o.clone(made, out=out)


def _any_norm(o, A, ord, dim, keepdim, dtype):
    if dim is not None and not isinstance(dim, int) and len(dim) not in (1, 2) and ord is not None:
        raise RuntimeError(f"linalg.norm: If dim is specified, it must be of length 1 or 2. Got {list(dim)}")
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
        return _matrix_norm(o, A, ord, (-2, -1) if pair is None else pair, keepdim, dtype=dtype)
    return _vector_norm(o, A, ord, dim, keepdim, dtype)


op(
    "linalg_norm(Tensor self, Any ord=None, Any dim=None, bool keepdim=False, *, ScalarType? dtype=None) -> Tensor",
    names=("linalg.norm",),
    body=Composite(_linalg_norm, raw=True),
    doc="Norm of a vector, or of a matrix where two dimensions are given; without ord the 2-norm of all elements.",
)
