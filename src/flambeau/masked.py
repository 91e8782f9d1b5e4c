"""The functions that the table of operators places under `masked`: they leave out what a mask calls False.

`masked_tensor` makes a tensor that carries its mask along.

Example:
    >>> x = torch.tensor([[1., 2., 3.], [4., 5., 6.]])
    >>> torch.masked.mean(x, 1, mask=x > 2)
    tensor([3., 5.])
"""

import importlib
from typing import Any

from flambeau._suggest import missing
from flambeau.ops.names import namespace

_CLASS = ("MaskedTensor", "as_masked_tensor", "is_masked_tensor", "masked_tensor")


def __getattr__(name: str) -> Any:
    if name in _CLASS:
        return getattr(importlib.import_module("flambeau._masked_tensor"), name)
    try:
        return namespace("masked")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted({*namespace("masked"), *_CLASS})
