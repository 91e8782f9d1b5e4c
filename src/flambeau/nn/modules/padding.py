"""Padding modules."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.nn import functional as F
from flambeau.nn.modules._own_init import own_init
from flambeau.nn.modules.module import Module
from flambeau.nn.modules.utils import _pair, _quadruple, ntuple

__all__ = [
    "CircularPad1d",
    "CircularPad2d",
    "CircularPad3d",
    "ConstantPad1d",
    "ConstantPad2d",
    "ConstantPad3d",
    "ReflectionPad1d",
    "ReflectionPad2d",
    "ReflectionPad3d",
    "ReplicationPad1d",
    "ReplicationPad2d",
    "ReplicationPad3d",
    "ZeroPad1d",
    "ZeroPad2d",
    "ZeroPad3d",
]

Tensor = o.Tensor
_SIDES = {1: _pair, 2: _quadruple, 3: ntuple(6, "_sextuple")}


class _Pad(Module):
    """Padding of the last `_dims` dimensions; one number stands for all sides."""

    _dims: int
    _mode: str

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _SIDES[self._dims](padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _CircularPadNd(_Pad):
    _mode = "circular"

    def forward(self, input: Tensor) -> Tensor:
        low = self._dims + 1
        if input.dim() not in (low, low + 1):
            raise ValueError(f"expected {low}D or {low + 1}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPadNd):
    """Goes on with the other end of the last dimension."""

    _dims = 1


class CircularPad2d(_CircularPadNd):
    """Goes on with the other end of the last two dimensions."""

    _dims = 2


class CircularPad3d(_CircularPadNd):
    """Goes on with the other end of the last three dimensions."""

    _dims = 3


class _ConstantPadNd(_Pad):
    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """Adds a constant to the sides of the last dimension."""

    _dims = 1


class ConstantPad2d(_ConstantPadNd):
    """Adds a constant to the sides of the last two dimensions."""

    _dims = 2


class ConstantPad3d(_ConstantPadNd):
    """Adds a constant to the sides of the last three dimensions."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Goes on with the mirror image of the last dimension; the border is not repeated."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Goes on with the mirror image of the last two dimensions."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Goes on with the mirror image of the last three dimensions."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Repeats the border of the last dimension."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Repeats the border of the last two dimensions."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Repeats the border of the last three dimensions."""

    _dims = 3
    _mode = "replicate"


class ZeroPad1d(ConstantPad1d):
    """Adds zeros to the sides of the last dimension."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Adds zeros to the sides of the last two dimensions."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Adds zeros to the sides of the last three dimensions."""

    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


own_init(
    CircularPad1d, CircularPad2d, CircularPad3d, ConstantPad1d, ConstantPad2d, ConstantPad3d, ReflectionPad1d,
    ReflectionPad2d, ReflectionPad3d, ReplicationPad1d, ReplicationPad2d, ReplicationPad3d,
)  # fmt: skip
