"""One namespace of what modules, optimizers and datasets build on: the Tensor type, operators, dtypes, grad modes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from flambeau import _core
from flambeau.autograd import Function, grad_mode
from flambeau.ops.names import namespace, operators

_PLACES = (namespace("nn.functional"), namespace(), {"Function": Function}, vars(grad_mode), vars(_core))

linalg = SimpleNamespace(**namespace("linalg"))


def functional() -> dict[str, Any]:
    """The operators that the table places under `nn.functional`; later ones are added to it."""
    return namespace("nn.functional")


def has_gpu() -> bool:
    """Whether there is a GPU to copy to."""
    return False


def epsilon(dtype: Any) -> float:
    """The distance of 1 to the next number of a floating point dtype."""
    digits = {_core.float64: 52, _core.float32: 23, _core.float16: 10, _core.bfloat16: 7}
    return 2.0 ** -digits[dtype]


def __getattr__(name: str) -> Any:
    for place in _PLACES:
        if name in place:
            value = globals()[name] = place[name]
            return value
    value = globals()[name] = getattr(operators, name)
    return value
