"""Linear algebra through LAPACK: what `torch.linalg` holds, and its relatives under `torch` and `Tensor`."""

from . import (
    determinant,
    eigen,
    householder,
    library,
    lowrank,
    lstsq,
    matrices,
    products,
    solve,
    svd,
    symmetric,
    triangular,
)

__all__ = [
    "determinant", "eigen", "householder", "library", "lowrank", "lstsq", "matrices", "products", "solve", "svd", "symmetric",
    "triangular",
]  # fmt: skip
