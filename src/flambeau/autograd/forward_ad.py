"""Forward-mode derivatives: values with tangents, `with dual_level(): ...`.

Example:
    >>> import flambeau.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor(3.0), torch.tensor(1.0))
    ...     fwAD.unpack_dual(x * x).tangent
    tensor(6.)
"""

from types import TracebackType
from typing import NamedTuple

from flambeau._core import Tensor
from flambeau.autograd.dual import Dual, DualLevel
from flambeau.ops.names import operators as ops

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_open: list[DualLevel] = []


class UnpackedDualTensor(NamedTuple):
    """A value, and its tangent or None."""

    primal: Tensor
    tangent: Tensor | None


def _current(level: int | None, function: str) -> DualLevel:
    at = len(_open) - 1 if level is None else level
    if at < 0:
        raise RuntimeError(
            f"Trying to {function} for forward AD but no level exists, make sure to enter_dual_level() first."
        )
    if at >= len(_open):
        raise RuntimeError(f"forward AD has no level {level}: {len(_open)} are open")
    return _open[at]


def enter_dual_level() -> int:
    """Opens a level and returns its number. Levels do not nest."""
    if _open:
        raise RuntimeError("Nested forward mode AD is not supported at the moment. Use func.jvp for that.")
    _open.append(DualLevel())
    return len(_open) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """Closes the level that was opened last."""
    if not _open:
        raise RuntimeError("Trying to exit a forward AD level but no level exists.")
    if level is not None and level != len(_open) - 1:
        raise RuntimeError("Trying to exit a forward AD level that was not the last one that was created.")
    _open.pop().close()


class dual_level:
    """A block in which tensors may carry tangents."""

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        exit_dual_level()


def make_dual(tensor: Tensor, tangent: Tensor, *, level: int | None = None) -> Tensor:
    """A tensor with a tangent.

    Args:
        tensor: the value; floating point or complex.
        tangent: of the same sizes and dtype.

    Raises:
        RuntimeError: outside of a level.
        ValueError: sizes differ, or the value is an integer.
    """
    current = _current(level, "create a dual tensor")
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if not (tangent.is_floating_point() or tangent.is_complex()):
        raise ValueError(f"Expected tangent to be floating point or complex, but got: {tangent.dtype}")
    if tensor.shape != tangent.shape:
        raise RuntimeError(
            "Expected primal and tangent to have the same sizes: got "
            f"{tuple(tensor.shape)} and {tuple(tangent.shape)}."
        )
    return Dual.wrap(current, tensor, ops.clone(tangent) if tangent.is_leaf else tangent)


def unpack_dual(tensor: Tensor, *, level: int | None = None) -> UnpackedDualTensor:
    """The value and the tangent (None where it has none) of a tensor."""
    if level is None and not _open:
        return UnpackedDualTensor(tensor, None)
    current = _current(level, "unpack a dual tensor")
    if isinstance(tensor, Dual) and tensor.level is current:
        return UnpackedDualTensor(tensor.inner, tensor.tangent)
    return UnpackedDualTensor(tensor, None)
