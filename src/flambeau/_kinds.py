"""Questions about objects: is it a tensor, a storage, what is it called?"""

import importlib
from typing import Any

from flambeau._core import Tensor, UntypedStorage, int64, tensor
from flambeau.storage import TypedStorage

__all__ = [
    "_assert", "_check", "_shape_as_tensor", "get_device_module",
    "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed",
    "is_storage", "is_tensor", "numel", "typename",
]  # fmt: skip


def is_tensor(obj: Any, /) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any, /) -> bool:
    """Whether an object is the memory of tensors."""
    return isinstance(obj, UntypedStorage | TypedStorage)


def _tensor(function: str, value: Any, name: str = "input", position: int = 1) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(
            f"{function}(): argument '{name}' (position {position}) must be Tensor, not {type(value).__name__}"
        )
    return value


def is_floating_point(input: Tensor) -> bool:
    """Whether the elements are of a floating-point dtype."""
    return _tensor("is_floating_point", input).dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """Whether the elements are complex."""
    return _tensor("is_complex", input).dtype.is_complex


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative values."""
    return _tensor("is_signed", input).dtype.is_signed


def is_conj(input: Tensor) -> bool:
    """Whether the tensor is a lazy conjugate: never, `conj` computes."""
    return isinstance(_tensor("is_conj", input), Tensor) and False


def is_neg(input: Tensor) -> bool:
    """Whether the tensor is lazily negated: never, `neg` computes."""
    return isinstance(_tensor("is_neg", input), Tensor) and False


def is_inference(input: Tensor) -> bool:
    """Whether the tensor was made in inference mode."""
    return _tensor("is_inference", input).is_inference()


def is_same_size(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same sizes."""
    return _tensor("is_same_size", input).shape == _tensor("is_same_size", other, "other", 2).shape


def is_nonzero(input: Tensor) -> bool:
    """Whether the only element is not zero.

    Raises:
        RuntimeError: there are none or several.
    """
    return bool(_tensor("is_nonzero", input))


def numel(input: Tensor) -> int:
    """How many elements there are."""
    return _tensor("numel", input).numel()


def typename(obj: Any, /) -> str:
    """The name of an object's type, with its module; of a tensor, the name by dtype.

    Example:
        >>> torch.typename(torch.ones(1))
        'torch.FloatTensor'
    """
    if isinstance(obj, Tensor):
        return obj.type()
    kind = obj if isinstance(obj, type) else type(obj)
    if "." in kind.__qualname__ and kind.__qualname__.startswith("torch."):
        return kind.__qualname__
    module = kind.__module__
    return kind.__qualname__ if module in ("", "builtins", None) else f"{module}.{kind.__qualname__}"


def _assert(condition: Any, message: str) -> None:
    """`assert` as a function."""
    assert condition, message


def _check(cond: bool, message: Any = None) -> None:
    """Raises RuntimeError where a condition does not hold; `message` is a function that makes the text."""
    if not isinstance(cond, bool):
        raise TypeError(f"cond must be a bool, but got {type(cond)}")
    if not cond:
        raise RuntimeError("Expected cond to be True, but got False." if message is None else str(message()))


def _shape_as_tensor(input: Tensor) -> Tensor:
    """The sizes of a tensor as a tensor."""
    return tensor(list(_tensor("_shape_as_tensor", input).shape), dtype=int64)


def get_device_module(device: Any = None) -> Any:
    """The module of a device: `flambeau.cpu`, `flambeau.cuda`, ...; of the accelerator where none is named."""
    kind = "cpu" if device is None else device.type if hasattr(device, "type") else str(device).split(":")[0]
    try:
        return importlib.import_module(f"flambeau.{kind}")
    except ImportError:
        raise RuntimeError(
            f"Invalid device '{kind}', must be 'cpu', 'cuda', 'mps' or 'xpu' [in get_device_module]"
        ) from None
