"""Functions of `torch` that are methods or other functions by another name: copies of views, old names, `asarray`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau.ops.names import operators as o

_VIEWS = (
    "as_strided", "detach", "diagonal", "expand", "narrow", "permute", "select", "split", "split_with_sizes", "squeeze",
    "t", "transpose", "unbind", "unfold", "unsqueeze", "view", "view_as_complex", "view_as_real",
)  # fmt: skip
__all__ = [
    "alias_copy", "asarray", "dequantize", "detach", "detach_", "frobenius_norm", "get_device", "index_put_",
    "nuclear_norm", "slice_copy", *(f"{name}_copy" for name in _VIEWS),
]  # fmt: skip


def _copied(view: Any) -> Any:
    """A copy of a view, or of each of several."""
    if isinstance(view, Tensor):
        return view.clone(memory_format=_core.contiguous_format)
    return type(view)(map(_copied, view))


def _copy_of(name: str) -> Callable:
    def copy(input: Tensor, *args: Any, **kwargs: Any) -> Any:
        view = getattr(input, name, None)
        return _copied(view(*args, **kwargs) if view else getattr(o, name)(input, *args, **kwargs))

    copy.__name__ = copy.__qualname__ = f"{name}_copy"
    copy.__doc__ = f"What Tensor.{name} shows, in memory of its own."
    return copy


for _name in _VIEWS:
    globals()[f"{_name}_copy"] = _copy_of(_name)


def alias_copy(input: Tensor) -> Tensor:
    """A copy in memory of its own."""
    return _copied(input)


def slice_copy(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    """A slice along one dimension, in memory of its own."""
    return _copied(input[(slice(None),) * (dim % input.dim()) + (slice(start, end, step),)])


def detach(input: Tensor) -> Tensor:
    """The same elements without history."""
    return input.detach()


def detach_(input: Tensor) -> Tensor:
    """Forgets a tensor's history."""
    return input.detach_()


def get_device(input: Tensor) -> int:
    """The number of the GPU that a tensor is on; -1 on the CPU."""
    return input.get_device()


def index_put_(input: Tensor, indices: Sequence[Any], values: Tensor, accumulate: bool = False) -> Tensor:
    """Writes values where indices say."""
    return input.index_put_(tuple(indices), values, accumulate)


def dequantize(tensors: Any) -> Any:
    """Numbers that no quantised tensor holds, in float32; of one tensor or of several."""
    return tensors.float() if isinstance(tensors, Tensor) else [t.float() for t in tensors]


def frobenius_norm(input: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    """The square root of the sum of squares, over all dimensions or some."""
    dims = [dim] if isinstance(dim, int) else list(dim)
    return o.norm(input, "fro", dims, keepdim) if dims else o.norm(input, "fro", None, keepdim)


def nuclear_norm(input: Tensor, dim: Any = None, keepdim: bool = False) -> Tensor:
    """The sum of the singular values of a matrix, or of matrices in two dimensions."""
    if isinstance(dim, bool):
        dim, keepdim = None, dim
    return o.norm(input, "nuc", (0, 1) if dim is None else tuple(dim), keepdim)


def asarray(
    obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None, requires_grad: bool = False
) -> Tensor:
    """Anything like an array as a tensor, which shares its memory where it can.

    Args:
        obj: a tensor, an array, an object with a buffer, DLPack's interface, a number or a sequence.
        dtype: of the elements.
        device: of the tensor.
        copy: True: always copied; False: an error where it had to be; None: where it must be.
        requires_grad: whether gradients are recorded for it.

    Returns:
        A tensor.

    Raises:
        ValueError: a copy would be needed with copy=False.

    Example:
        >>> x = torch.arange(2)
        >>> torch.asarray(x).data_ptr() == x.data_ptr(), torch.asarray([1, 2.5])
        (True, tensor([1.0000, 2.5000]))
    """
    shared = _shared(obj, dtype)
    if shared is None:
        if copy is False:
            raise ValueError("can't alias arbitrary sequence into a tensor.")
        made = _core.tensor(obj, dtype=dtype, device=device)
    else:
        wrong = shared.dtype is not (dtype or shared.dtype) or shared.device != _core.device(device or shared.device)
        if wrong and copy is False:
            raise ValueError("can't alias tensor with different dtype or device without a copy")
        made = shared
        if wrong or copy:
            made = shared.to(device or shared.device, dtype or shared.dtype, copy=bool(copy))
    if isinstance(obj, Tensor) and made.requires_grad and not requires_grad:
        made = made.detach()
    return made.requires_grad_() if requires_grad and not made.requires_grad else made


def _shared(obj: Any, dtype: Any) -> Tensor | None:
    """A tensor over an object's own memory; None where it has none."""
    if isinstance(obj, Tensor):
        return obj
    if type(obj).__module__ == "numpy":
        return _core.from_numpy(obj) if type(obj).__name__ == "ndarray" else None
    if hasattr(obj, "__dlpack__"):
        return _core.from_dlpack(obj)
    try:
        view = memoryview(obj)
    except TypeError:
        return None
    return _core.frombuffer(view, dtype=dtype or _core.get_default_dtype())
