"""The micro-kernels of contractions (GEMM and convolution): one family for every shape.

They multiply a tile by a panel (`micro`); what some convolutions need beside them is in `conv`. The C++ drivers in
csrc/runtime/contract cut a problem into such tiles.
"""

from . import split
from . import target as targets
from .arena import none_if_refused
from .lanes import ELEMENT_BYTES, Lanes
from .micro import DOT_ROWS, MAX_VECTORS, MicroKernel, kernel_name, max_height, write_columns, write_dot
from .module import Function, Module
from .planes import plane_sums
from .resolve import addresses_of
from .target import Target


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["pack_columns", "scatter_columns", "split_2", "merge_2", *(f"dot_{rows}" for rows in DOT_ROWS)]
    for vectors in range(1, MAX_VECTORS + 1):
        heights = range(max_height(target, vectors) + 1)
        names += [kernel_name(vectors, h, True) for h in heights]
        names += [kernel_name(vectors, h, False) for h in heights[1:]]
    return names


def layout(target: Target, dtype: str) -> list[int]:
    """The numbers that C++ needs beside the addresses."""
    heights = [max_height(target, v) for v in range(1, MAX_VECTORS + 1)]
    return [target.vector_bytes // ELEMENT_BYTES[dtype], *heights, int(target.masks), target.l2, plane_sums(target)]


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
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(max_height(target, vectors) + 1):
            MicroKernel(result, dtype, vectors, height, True).write()
            if height:
                MicroKernel(result, dtype, vectors, height, False).write()
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
