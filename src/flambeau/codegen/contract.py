"""The micro-kernels of contractions (GEMM and convolution): one family for every shape.

They multiply a tile by a panel (`micro`); what some convolutions need beside them is in `conv`. The C++ drivers in
csrc/runtime/contract cut a problem into such tiles.
"""

from . import split
from . import target as targets
from .arena import none_if_refused
from .lanes import ELEMENT_BYTES, Lanes
from .micro import DOT_ROWS, MicroKernel, max_heights, tile_names, write_columns, write_dot, write_tiles
from .module import Function, Module
from .planes import plane_sums
from .resolve import addresses_of
from .target import Target


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["pack_columns", "scatter_columns", "split_2", "merge_2", *(f"dot_{rows}" for rows in DOT_ROWS)]
    return names + tile_names(max_heights(target))


def layout(target: Target, dtype: str) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    lanes, numbers = target.vector_bytes // ELEMENT_BYTES[dtype], (int(target.masks), target.l2, plane_sums(target))
    return [lanes, *max_heights(target), *numbers]


def module(target: Target, dtype: str) -> Module:
    """Every kernel of one element type."""
    result = Module(target)
    write_columns(result, dtype, "pack_columns", masked=False)
    write_columns(result, dtype, "scatter_columns", masked=True)
    for name, order in split.ARGUMENTS.items():
        f = Function(result, name, order)
        split.WRITERS[name](f, Lanes(f, dtype))
    for rows in DOT_ROWS:
        write_dot(result, dtype, rows)
    write_tiles(result, dtype, max_heights(target), MicroKernel)
    return result


def micro_kernels(dtype: str, target: Target | None = None) -> tuple[list[int], list[int]]:
    """Layout and addresses for C++'s `install_micro_kernels`.

    Args:
        dtype: "f32" or "f64".
        target: the host's own by default.
    """
    chosen = target or targets.host()
    return layout(chosen, dtype), addresses_of("contract|micro", dtype, chosen, kernel_names(chosen), module)


# What C++ installs for a type.
provide = none_if_refused(micro_kernels)
