"""Sparse tensors: products and sums of tensors of layout torch.sparse_coo, and the older constructors by dtype."""

from collections.abc import Callable
from typing import Any

from flambeau import _core
from flambeau._suggest import missing
from flambeau.ops.names import namespace, operators


def _constructor(name: str, dtype: Any) -> Callable[..., Any]:
    def make(*args: Any) -> Any:
        return operators.sparse_coo_tensor(*args, dtype=dtype)

    make.__name__ = make.__qualname__ = name
    make.__doc__ = f"sparse_coo_tensor(indices, values, size) in {dtype}."
    return make


FloatTensor = _constructor("FloatTensor", _core.float32)
DoubleTensor = _constructor("DoubleTensor", _core.float64)
HalfTensor = _constructor("HalfTensor", _core.float16)
LongTensor = _constructor("LongTensor", _core.int64)
IntTensor = _constructor("IntTensor", _core.int32)


def __getattr__(name: str) -> Any:
    try:
        return namespace("sparse")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted({*namespace("sparse"), *__all__})


__all__ = ["DoubleTensor", "FloatTensor", "HalfTensor", "IntTensor", "LongTensor"]
