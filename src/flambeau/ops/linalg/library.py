"""The routines of LAPACK as operators: batches of matrices in, batches in columns out. Checks stand in their callers.

Those without `grad` are not differentiable; an entry with the body `GIVEN` gives a result that was computed elsewhere
the history of its operands.
"""

import os

from ..launch import needs_grad
from ..table import Native, op

_LAPACK = {"names": (), "differentiable": False}
GIVEN = Native("lapack_given")


def library_path() -> str:
    """Where the library of scipy-openblas32 lies. It starts no threads of its own when it is opened after this."""
    from importlib.util import find_spec

    spec = find_spec("scipy_openblas32")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("linear algebra needs the package scipy-openblas32. pip install scipy-openblas32")
    folder = os.path.join(spec.submodule_search_locations[0], "lib")
    names = os.listdir(folder) if os.path.isdir(folder) else []
    found = sorted(name for name in names if name.startswith("libscipy_openblas"))
    if not found:
        raise ImportError("the package scipy-openblas32 holds no library. pip install --force-reinstall scipy-openblas32")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    return os.path.join(folder, found[0])


op("lapack_potri(Tensor L, bool upper) -> (Tensor inverse, Tensor info)", body=Native("lapack_potri"), **_LAPACK,
   doc="Inverse of the matrix whose Cholesky factor is given.")  # fmt: skip
op("lapack_getrf(Tensor A) -> (Tensor LU, Tensor pivots, Tensor info)", body=Native("lapack_getrf"), **_LAPACK,
   doc="LU factorisation; the i-th pivot says with which row (from 1) row i was exchanged.")  # fmt: skip
op("lapack_det(Tensor LU, Tensor pivots) -> Tensor", body=Native("lapack_det"), **_LAPACK,
   doc="The determinant, from LU.")  # fmt: skip
op("lapack_slogdet(Tensor LU, Tensor pivots) -> (Tensor sign, Tensor logabsdet)", body=Native("lapack_slogdet"),
   **_LAPACK, doc="Sign and logarithm of the determinant, from LU.")  # fmt: skip
op("lapack_permutation(Tensor pivots, int n) -> Tensor", body=Native("lapack_permutation"), **_LAPACK,
   doc="Exchanges of rows as an order of rows: row i of L U is row order[i] of A.")  # fmt: skip
op("lapack_geqrf(Tensor A) -> (Tensor a, Tensor tau)", body=Native("lapack_geqrf"), **_LAPACK,
   doc="R on and above the diagonal, reflections below it.")  # fmt: skip
op("lapack_orgqr(Tensor A, Tensor tau) -> Tensor", body=Native("lapack_orgqr"), **_LAPACK,
   doc="The first columns of a product of reflections.")  # fmt: skip
op("lapack_ormqr(Tensor A, Tensor tau, Tensor C, bool left, bool transpose) -> Tensor", body=Native("lapack_ormqr"),
   **_LAPACK, doc="A matrix times a product of reflections.")  # fmt: skip
op("lapack_sytrf(Tensor A, bool hermitian) -> (Tensor LD, Tensor pivots, Tensor info)", body=Native("lapack_sytrf"),
   **_LAPACK, doc="LDL factorisation of the lower triangle.")  # fmt: skip
op("lapack_sytrs(Tensor LD, Tensor pivots, Tensor B, bool hermitian) -> Tensor", body=Native("lapack_sytrs"), **_LAPACK,
   doc="Solves a system with an LDL factorisation.")  # fmt: skip
op("lapack_gels(Tensor A, Tensor B, float rcond, int driver) -> (Tensor X, Tensor rank, Tensor values, Tensor info)",
   body=Native("lapack_gels"), static=("driver",), **_LAPACK,
   doc="Least squares by gels, gelsy, gelsd or gelss; B has as many rows as A has rows or columns.")  # fmt: skip
op("lapack_syevd(Tensor A, bool upper, bool vectors) -> (Tensor values, Tensor vectors, Tensor info)",
   body=Native("lapack_syevd"), **_LAPACK, doc="Eigenvalues and eigenvectors of Hermitian matrices.")  # fmt: skip
op("lapack_geev(Tensor A, bool vectors) -> (Tensor values, Tensor vectors, Tensor info)", body=Native("lapack_geev"),
   **_LAPACK, doc="Eigenvalues and eigenvectors of square matrices, complex.")  # fmt: skip
op("lapack_gesdd(Tensor A, bool full, bool vectors) -> (Tensor U, Tensor S, Tensor Vh, Tensor info)",
   body=Native("lapack_gesdd"), **_LAPACK, doc="Singular value decomposition.")  # fmt: skip


def without_gradient(o, results, operands, why):
    """Results of a routine that has no derivative: who asks for one is told so."""
    followed = [t for t in operands if needs_grad(o, t)]
    if not followed:
        return results
    return tuple(
        o.underivable(followed[0], [t], why) if t.is_floating_point() or t.is_complex() else t for t in results
    )


def _underivable(o, g, A, results, why):
    whole = why.startswith("derivative")  # a sentence, not a name
    return (o.refuse_gradient(A, why) if whole else o.missing_derivative(A, why)), [None]


op("underivable(Tensor A, Tensor[] results, str why) -> Tensor", names=(), body=GIVEN, grad=_underivable,
   doc="A result of A that has no derivative, given.")  # fmt: skip


def _potrf_grad(o, g, A, upper):
    L, gL = (o.saved.output(0), g[0])
    if upper:
        L, gL = L.mH, gL.mH
    phi = o.tril(o.matmul(L.mH, gL))
    phi = (phi + o.tril(phi, -1).mH) * 0.5
    phi = o.lapack_trsm(L.mH, phi, True, True, False)
    return o.lapack_trsm(L, phi, False, False, False)


op(
    "lapack_potrf(Tensor A, bool upper) -> (Tensor L, Tensor info)",
    names=(),
    body=Native("lapack_potrf"),
    grad=_potrf_grad,
    saves=("o0",),
    doc="Cholesky factor; info is the order of the first minor that is not positive, or 0.",
)


def _trsm_grad(o, g, A, B, upper, left, unitriangular):
    gB = o.lapack_trsm(A.mH, g, not upper, left, unitriangular)
    if not o.needs[0]:
        return None, gB
    Xh = o.saved.output(0).mH
    gA = -(o.matmul(gB, Xh) if left else o.matmul(Xh, gB))
    return (o.triu(gA, int(unitriangular)) if upper else o.tril(gA, -int(unitriangular))), gB


op(
    "lapack_trsm(Tensor A, Tensor B, bool upper, bool left, bool unitriangular) -> Tensor",
    names=(),
    body=Native("lapack_trsm"),
    grad=_trsm_grad,
    saves=("o0",),
    doc="Solves A X = B or X A = B with a triangular A.",
)


def _getrs_grad(o, g, A, LU, pivots, B, adjoint):
    gB = o.lapack_getrs(A, LU, pivots, g, not adjoint)
    gA = None
    if o.needs[0]:
        X = o.saved.output(0)
        gA = -(o.matmul(X, gB.mH) if adjoint else o.matmul(gB, X.mH))
    return gA, None, None, gB


op(
    "lapack_getrs(Tensor A, Tensor LU, Tensor pivots, Tensor B, bool adjoint) -> Tensor",
    names=(),
    body=Native("lapack_getrs"),
    grad=_getrs_grad,
    saves=("o0",),
    doc="Solves A X = B, or A^H X = B, with the LU factorisation of A. Gradients go to A and B.",
)
