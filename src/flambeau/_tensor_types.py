"""The old names of tensors by dtype and place: `torch.FloatTensor(2, 3)`, `isinstance(x, torch.LongTensor)`."""

from typing import Any

from flambeau import _core
from flambeau._core import Size, Tensor

SHORT_NAMES = {
    "float32": "Float", "float64": "Double", "float16": "Half", "bfloat16": "BFloat16", "uint8": "Byte",
    "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long", "bool": "Bool",
}  # fmt: skip


class TensorType(type):
    """The class of the old types. Calling one makes a plain Tensor; every tensor of its dtype and place is an instance.

    Attributes:
        dtype: the dtype of its tensors.
        is_cuda: whether they live on a GPU.
    """

    dtype: _core.dtype
    is_cuda: bool

    def __call__(cls, *args: Any, device: Any = None) -> Tensor:
        if cls.is_cuda:
            reason = _core.cuda_driver()["problem"]
            raise TypeError(f"type {cls.__qualname__} not available. Torch not compiled with CUDA enabled. [{reason}]")
        if device is not None and _core.device(device).type != "cpu":
            raise RuntimeError(f"legacy constructor expects device type: cpu but device type: {device} was passed")
        if len(args) == 1 and isinstance(args[0], Tensor):
            return _alias(args[0], cls.dtype)
        if len(args) == 1 and not isinstance(args[0], Size | int):
            return _from_data(args[0], cls.dtype)
        return Tensor(*args).to(cls.dtype)

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Tensor) and instance.dtype == cls.dtype and instance.is_cuda == cls.is_cuda

    def __repr__(cls) -> str:
        return f"<class '{cls.__qualname__}'>"


def _alias(tensor: Tensor, dtype: _core.dtype) -> Tensor:
    if tensor.dtype != dtype:
        raise TypeError(
            f"expected a tensor of {dtype}, got one of {tensor.dtype}. Use tensor.to({dtype}), which converts"
        )
    return tensor.detach()


def _from_data(data: Any, dtype: _core.dtype) -> Tensor:
    if isinstance(data, str):
        raise TypeError("new(): invalid data type 'str'")
    if not hasattr(data, "__len__") and not hasattr(data, "__array__"):
        raise TypeError(f"new(): data must be a sequence (got {type(data).__name__})")
    return _core.tensor(data, dtype=dtype)


def make_types(cuda: bool) -> dict[str, TensorType]:
    """The types of one place, by name."""
    place, module = ("torch.cuda", "flambeau.cuda") if cuda else ("torch", "flambeau")
    types = {}
    for dtype, short in SHORT_NAMES.items():
        name = f"{short}Tensor"
        own = {"dtype": getattr(_core, dtype), "is_cuda": cuda, "__module__": module, "__qualname__": f"{place}.{name}"}
        types[name] = TensorType(name, (), own)
    return types


globals().update(make_types(cuda=False))
__all__ = [f"{short}Tensor" for short in SHORT_NAMES.values()]
