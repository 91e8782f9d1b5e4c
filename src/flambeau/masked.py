"""The functions that the table of operators places under `masked`: they leave out what a mask calls False.

Example:
    >>> x = torch.tensor([[1., 2., 3.], [4., 5., 6.]])
    >>> torch.masked.mean(x, 1, mask=x > 2)
    tensor([3., 5.])
"""

from typing import Any

from flambeau._suggest import missing
from flambeau.ops.names import namespace


def __getattr__(name: str) -> Any:
    try:
        return namespace("masked")[name]
    except KeyError:
        raise missing(__name__, name) from None


def __dir__() -> list[str]:
    return sorted(namespace("masked"))
