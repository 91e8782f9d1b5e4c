"""What a loop operator's plan returns: the program and what it runs on. And what plans have in common."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from flambeau import _core
from flambeau._core import Tensor

product = prod


@dataclass(slots=True)
class Launch:
    """One run of a loop program.

    Attributes:
        results: tensors the operator returns.
        buffers: contiguous tensors the program sees, outputs first.
        ints: run-time integers (`Builder.int`).
        iterations: of the outermost loop.
        work: elements that one iteration handles; decides how many go to a thread at a time.
        program: records the program.
        attrs: static attributes passed to `program`: part of the kernel's key.
        params: run-time numbers (`Builder.param`).
        copied: arguments of which the first results, one each, were copies before.
        indices: arguments whose elements the plan found in [0, size), one of `sizes` each.
        sizes: see above.
    """

    results: tuple
    buffers: tuple
    ints: Sequence[int]
    iterations: int
    work: int
    program: Callable
    attrs: tuple = ()
    params: tuple = ()
    copied: tuple = ()
    indices: tuple = ()
    sizes: tuple = ()


def needs_grad(o, *tensors) -> bool:
    """Whether somebody differentiates by one of the tensors: the tape, or forward mode."""
    return any((t.requires_grad and o.is_grad_enabled()) or getattr(t, "has_tangent", False) for t in tensors)


def expands(sizes: Sequence[int], to: Sequence[int]) -> bool:
    """Whether a tensor of `sizes` broadcasts to the sizes `to`."""
    return len(sizes) <= len(to) and all(s in (1, t) for s, t in zip(reversed(sizes), reversed(to), strict=False))


def dims_of(sizes: Sequence[int], dim: int) -> tuple[int, int, int]:
    """Sizes before, at and after a dimension."""
    return prod(sizes[:dim]), sizes[dim] if sizes else 1, prod(sizes[dim + 1 :])


def check_tensors(values, argument: int = 0) -> None:
    """Raises where a list of tensors that an operator reads itself holds something else."""
    for i, value in enumerate(values):
        if not isinstance(value, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument {argument}, but got {type(value).__name__}")


def check_tensor(function: str, argument: str, value: Any, position: int = 1) -> None:
    """Raises where an argument of an operator that reads its arguments itself is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be Tensor, not {type(value).__name__}"
        )


def check_operands(function: str, **operands: Any) -> None:
    """Raises where one of a function's first arguments, given here in their order, is no tensor."""
    for position, (name, value) in enumerate(operands.items(), 1):
        check_tensor(function, name, value, position)


def values_suffice(x) -> bool:
    """Whether nobody needs to know where values came from: no gradient, no transformation that follows calls."""
    return not (x.requires_grad and _core.is_grad_enabled()) and not _core.has_torch_function((x,))


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the front; IndexError where there is none."""
    span = ndim or 1
    if not -span <= dim < span:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-span}, {span - 1}], but got {dim})")
    return dim % span


def row_strides(sizes: Sequence[int]) -> list[int]:
    """Strides, in elements, of a contiguous tensor."""
    out, step = [], 1
    for s in reversed(sizes):
        out.append(step)
        step *= s
    return out[::-1]


_C_NAMES = {"f32": "float", "f64": "double", "f16": "c10::Half", "bf16": "c10::BFloat16", "b1": "bool", "i32": "int"}
_LARGEST = {"f16": 65504.0, "bf16": float.fromhex("0x1.fep127"), "f32": float.fromhex("0x1.fffffep127")}


def _fits(code: str, value: float) -> bool:
    """Whether a dtype has room for a real number. Negative integers may wrap in unsigned dtypes, as in PyTorch."""
    if code == "b1" or isinstance(value, bool):
        return True
    if code not in _LARGEST and code[0] not in "iu":
        return True
    if not math.isfinite(value):
        return code in _LARGEST
    if code in _LARGEST:
        return abs(value) <= _LARGEST[code]
    span = 1 << int(code[1:])
    if code[0] == "i":
        return -span // 2 <= value < span // 2
    return (-span if isinstance(value, int) else -1) < value < span


def number_as(dtype, value: float | complex) -> float | complex:
    """A number as the parameter that a program with this dtype takes."""
    if dtype.is_complex:
        return complex(value)
    if isinstance(value, complex) or not _fits(dtype.code, value):
        name = _C_NAMES.get(dtype.code, f"{dtype}".rpartition(".")[2] + "_t")
        raise RuntimeError(f"value cannot be converted to type {name} without overflow")
    if dtype.is_floating_point:
        return float(value)
    return int(bool(value)) if dtype.code == "b1" else int(value)


def remembered(launch: Launch, self, indices: Sequence, sizes: Sequence[int]) -> Launch:
    """Says of a launch that changes self, or a copy of it, what indices of the call were found to lie in."""
    launch.indices, launch.sizes = tuple(indices), tuple(sizes)
    launch.copied = () if launch.results[0] is self else (self,)
    return launch


def written(o, self, into: bool, *others):
    """The tensor that a call writes: self itself where it may and lies in order, else a copy.

    Operands that share memory with it are copied.

    Returns:
        The tensor, then the others, contiguous.
    """
    if not (into and self.is_contiguous()):
        return self.clone(memory_format=o.contiguous_format), *(t.contiguous() for t in others)
    memory = self.untyped_storage().data_ptr()
    same = (t.untyped_storage().data_ptr() == memory and memory for t in others)
    return self, *(t.clone() if shared else t.contiguous() for t, shared in zip(others, same, strict=True))
