"""What dtypes can hold: `finfo`, `iinfo`, questions about dtypes, and names for type hints."""

import os
from typing import IO, Any, TypeAlias

from flambeau import _core
from flambeau._core import Size, UntypedStorage, device, dtype

__all__ = ["Device", "FileLike", "Number", "Storage", "finfo", "iinfo"]

# For annotations.
Number: TypeAlias = int | float | bool
Device: TypeAlias = device | str | int | None
FileLike: TypeAlias = str | os.PathLike[str] | IO[bytes]
Storage = UntypedStorage
_int, _float, _bool, _dtype, _device, _size = int, float, bool, dtype, device, Size | list[int] | tuple[int, ...]

# eps, largest, smallest normal, decimal resolution, bits
_FLOATS = {
    "float8_e4m3fn": (2.0**-3, 448.0, 2.0**-6, 1.0, 8),
    "float8_e5m2": (2.0**-2, 57344.0, 2.0**-14, 1.0, 8),
    "float8_e4m3fnuz": (2.0**-3, 240.0, 2.0**-7, 1.0, 8),
    "float8_e5m2fnuz": (2.0**-3, 57344.0, 2.0**-15, 1.0, 8),
    "float16": (2.0**-10, 65504.0, 2.0**-14, 1e-3, 16),
    "bfloat16": (2.0**-7, (2 - 2.0**-7) * 2.0**127, 2.0**-126, 1e-2, 16),
    "float32": (2.0**-23, (2 - 2.0**-23) * 2.0**127, 2.0**-126, 1e-6, 32),
    "float64": (2.0**-52, (2 - 2.0**-52) * 2.0**1023, 2.0**-1022, 1e-15, 64),
}
_INTEGERS = {f"{sign}int{bits}": (sign, bits) for bits in (8, 16, 32, 64) for sign in ("", "u")}


def _name(kind: Any) -> str:
    return str(kind).rpartition(".")[2]


def _argument(function: str, kind: Any) -> dtype:
    if not isinstance(kind, dtype):
        got = type(kind).__name__
        raise TypeError(f"{function}(): argument 'type' (position 1) must be torch.dtype, not {got}")
    return kind


class finfo:
    """Limits of a floating-point dtype.

    Args:
        type: the dtype; the default dtype if left out. Complex dtypes stand for their parts.

    Example:
        >>> flambeau.finfo(flambeau.float16).max
        65504.0
    """

    bits: int
    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float
    dtype: str

    def __init__(self, type: dtype | None = None) -> None:
        kind = _core.get_default_dtype() if type is None else _argument("finfo", type)
        self.dtype = _name(kind.to_real() if kind.is_complex else kind)
        if self.dtype not in _FLOATS:
            raise TypeError(
                "torch.finfo() requires a floating point input type. Use torch.iinfo to handle 'torch.finfo' "
                f"[in finfo: {kind}]"
            )
        self.eps, self.max, self.tiny, self.resolution, self.bits = _FLOATS[self.dtype]
        self.min, self.smallest_normal = -self.max, self.tiny

    def __repr__(self) -> str:
        shown = ("resolution", "min", "max", "eps", "smallest_normal", "tiny")
        numbers = ", ".join(f"{name}={getattr(self, name):g}" for name in shown)
        return f"finfo({numbers}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, finfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)


class iinfo:
    """Limits of an integer dtype.

    Args:
        type: the dtype.

    Example:
        >>> flambeau.iinfo(flambeau.int8).max
        127
    """

    bits: int
    max: int
    min: int
    dtype: str

    def __init__(self, type: dtype) -> None:
        self.dtype = _name(_argument("iinfo", type))
        if self.dtype not in _INTEGERS:
            raise TypeError(
                "torch.iinfo() requires an integer input type. Use torch.finfo to handle 'torch.iinfo' "
                f"[in iinfo: {type}]"
            )
        sign, self.bits = _INTEGERS[self.dtype]
        self.max = 2**self.bits - 1 if sign else 2 ** (self.bits - 1) - 1
        self.min = 0 if sign else -self.max - 1

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, iinfo) and self.dtype == other.dtype

    def __hash__(self) -> int:
        return hash(self.dtype)
