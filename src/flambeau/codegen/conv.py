"""Kernels that only some convolutions take, apart from those that every product takes: a program without them does not
wait for their compilation.

Tiles whose pixels are read where they lie (`micro`), and sums over taps for groups with few channels (`planes`).
"""

from . import target as targets
from .arena import none_if_refused
from .micro import MAX_VECTORS, TapsKernel, taps_heights, taps_kernel_name
from .module import Module
from .planes import (
    COLUMN_HEIGHTS,
    COLUMN_VECTORS,
    FLAT_PLANES,
    PLANE_ROWS,
    FlatKernel,
    PlaneKernel,
    plane_sums,
    write_flat_sums,
    write_plane_sums,
)
from .resolve import addresses_of
from .target import Target


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = [taps_kernel_name(h) for h in taps_heights(target)]
    names += [f"plane_{vectors}_{rows}" for vectors in range(1, MAX_VECTORS + 1) for rows in PLANE_ROWS]
    names += [f"plane_column_{vectors}_{height}" for vectors in COLUMN_VECTORS for height in COLUMN_HEIGHTS]
    names += [f"plane_sums_{taps}" for taps in range(1, plane_sums(target) + 1)]
    if target.masks:
        names += [f"flat_sums_{taps}" for taps in range(1, plane_sums(target) + 1)]
        names += [f"plane_flat_{planes}" for planes in FLAT_PLANES]
    return names


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    for height in taps_heights(target):
        TapsKernel(result, dtype, height).write()
    for vectors in range(1, MAX_VECTORS + 1):
        for rows in PLANE_ROWS:
            PlaneKernel(result, dtype, vectors, rows).write()
    for vectors in COLUMN_VECTORS:
        for height in COLUMN_HEIGHTS:
            PlaneKernel(result, dtype, vectors, PLANE_ROWS[-1], height).write()
    for taps in range(1, plane_sums(target) + 1):
        write_plane_sums(result, dtype, taps)
        if target.masks:
            write_flat_sums(result, dtype, taps)
    for planes in FLAT_PLANES if target.masks else ():
        FlatKernel(result, dtype, planes).write()
    return result


@none_if_refused
def provide(dtype: str) -> list[int]:
    """Addresses for C++'s `install_conv_kernels`; None where the system refuses executable memory."""
    chosen = targets.host()
    return addresses_of("contract|conv", dtype, chosen, kernel_names(chosen), module)
