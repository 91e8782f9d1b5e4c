"""Questions about objects: is it a tensor, a storage, what is it called?"""

from typing import Any

from flambeau._core import Tensor, UntypedStorage

__all__ = [
    "is_complex", "is_conj", "is_floating_point", "is_inference", "is_neg", "is_nonzero", "is_same_size", "is_signed",
    "is_storage", "is_tensor", "numel", "typename",
]  # fmt: skip


def is_tensor(obj: Any, /) -> bool:
    """Whether an object is a tensor."""
    return isinstance(obj, Tensor)


def is_storage(obj: Any, /) -> bool:
    """Whether an object is the memory of tensors."""
    return isinstance(obj, UntypedStorage)


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
