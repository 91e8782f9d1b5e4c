"""The operators of Flambeau. Importing this fills the table; no body is evaluated and no kernel made."""

from flambeau import _core

from . import (
    activation,
    arrange,
    attention,
    binary,
    contract,
    convert,
    creation,
    ctc,
    distance,
    dtypes,
    einsum,
    fft,
    gather,
    gcd,
    gradient,
    group_norm,
    histogram,
    index,
    join,
    linalg,
    margin,
    masked,
    native_norms,
    normalize,
    norms,
    old,
    pad,
    pool,
    products,
    random,
    random_families,
    recurrent,
    reduce,
    resample,
    sample,
    scan,
    search,
    segments,
    select,
    slices,
    sort,
    sparse,
    sparse_csr,
    special,
    statistics,
    stft,
    triangle,
    unary,
    unique,
    views,
    windows,
)
from .table import Composite, Loop, Native, Row, Scalar
from .table import op as _op


def op(signature, **options):
    """Adds an operator of your own; see `flambeau.ops.table.op` for the arguments and docs/adding-an-operator.md.

    Example:
        >>> from flambeau.ir import fn
        >>> entry = torch.op("swish2(Tensor self) -> Tensor", body=torch.ops.Scalar(lambda x: x * fn.sigmoid(2 * x)))
        >>> torch.swish2(torch.zeros(2))
        tensor([0., 0.])
    """
    return _op(signature, user=True, **options)


def _tell(function, what):
    """Makes the page or the signature of an operator, when it is asked for."""
    from . import pages

    return pages.page(function.__name__, function) if what == "page" else pages.signature_of(function)


_core.set_page_maker(_tell)

__all__ = [
    "Composite", "Loop", "Native", "Row", "Scalar", "activation", "arrange", "binary", "contract", "convert", "creation", "ctc",
    "distance", "dtypes", "einsum", "fft", "gather", "gcd", "gradient", "group_norm", "histogram", "index", "join", "linalg", "margin", "masked", "native_norms", "normalize",
    "norms", "op", "pad", "patches", "pool", "products", "random", "recurrent", "reduce", "resample", "sample", "scan", "search", "select",
    "slices", "sort", "sparse", "special", "statistics", "stft", "triangle", "unary", "unique", "views", "windows",
]  # fmt: skip
