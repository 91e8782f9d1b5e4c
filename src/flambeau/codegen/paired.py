"""Kernels of convolutions of bfloat16 whose operands consist of pairs in memory.

Panels are read by the kernels of `narrow`; here is what reads such an operand where it lies, or moves its pairs.
"""

from dataclasses import replace

from . import split
from . import target as targets
from .arena import none_if_refused
from .lanes import Lanes
from .micro import MAX_VECTORS, MicroKernel, TapsKernel, max_height, taps_heights, taps_kernel_name, write_columns
from .module import Function, Module
from .narrow import FEATURE, PairLanes, has_pairs
from .resolve import addresses_of
from .target import Target


class PairedKernel(MicroKernel):
    """A micro-kernel over pairs in mode `make`."""

    def __init__(self, module: Module, dtype: str, vectors: int, height: int) -> None:
        super().__init__(module, dtype, vectors, height, True, paired_name(vectors, height))

    def _lanes(self, dtype: str) -> PairLanes:
        return PairLanes(self.f, dtype)


class PairedTaps(TapsKernel):
    """A kernel over taps and pairs of channels."""

    def _lanes(self, dtype: str) -> PairLanes:
        return PairLanes(self.f, dtype)


def paired_name(vectors: int, height: int) -> str:
    return f"mk_{vectors}_{height}_paired"


def kernel_names(target: Target) -> list[str]:
    """Names in the order in which C++ receives the addresses."""
    names = ["scatter_columns", *split.ARGUMENTS]
    for vectors in range(1, MAX_VECTORS + 1):
        names += [paired_name(vectors, h) for h in range(max_height(target, vectors) + 1)]
    return names + [taps_kernel_name(h) for h in taps_heights(target)]


def module(target: Target, dtype: str) -> Module:
    """Every kernel."""
    target = replace(target, features=FEATURE)
    result = Module(target)
    write_columns(result, "f32", "scatter_columns", masked=True)
    for name, order in split.ARGUMENTS.items():
        f = Function(result, name, order)
        split.WRITERS[name](f, Lanes(f, "f32"))
    for vectors in range(1, MAX_VECTORS + 1):
        for height in range(max_height(target, vectors) + 1):
            PairedKernel(result, dtype, vectors, height).write()
    for height in taps_heights(target):
        PairedTaps(result, dtype, height).write()
    return result


def paired_kernels(dtype: str, target: Target | None = None) -> list[int] | None:
    """Addresses for C++'s `install_paired_kernels`; None where the machine multiplies no pairs of this type.

    Args:
        dtype: "f16" or "bf16".
        target: the host's own by default.
    """
    chosen = target or targets.host()
    if not has_pairs(chosen, dtype):
        return None
    return addresses_of("contract|paired", dtype, chosen, kernel_names(chosen), module)


# What C++ installs for a type.
provide = none_if_refused(paired_kernels)
