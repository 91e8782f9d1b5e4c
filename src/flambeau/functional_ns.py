"""One namespace of what modules, optimizers and datasets build on: the Tensor type, operators, dtypes, grad modes."""

from __future__ import annotations

from typing import Any

from flambeau import _core
from flambeau.autograd import Function, grad_mode
from flambeau.ops.names import namespace, operators

_PLACES = (namespace(), {"Function": Function}, vars(grad_mode), vars(_core))


def functional() -> dict[str, Any]:
    """The operators that the table places under `nn.functional`."""
    return dict(namespace("nn.functional"))


def __getattr__(name: str) -> Any:
    for place in _PLACES:
        if name in place:
            value = globals()[name] = place[name]
            return value
    return getattr(operators, name)
