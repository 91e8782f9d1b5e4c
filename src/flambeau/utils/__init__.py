"""Helpers: data loading, checkpointing, exchange of tensors, hooks. Each is imported when it is first asked for."""

import importlib
import weakref
from typing import Any

from flambeau import _core
from flambeau._core import Tensor
from flambeau._suggest import missing

_SUBMODULES = ("_pytree", "checkpoint", "data", "dlpack", "hooks")


def swap_tensors(t1: Tensor, t2: Tensor) -> None:
    """Exchanges two tensors: what held the one holds the other, with its class, attributes, gradient and history.

    Args:
        t1, t2: tensors that nothing refers to weakly.

    Raises:
        RuntimeError: there is a weak reference to one of them.

    Example:
        >>> a, b = torch.zeros(1), torch.nn.Parameter(torch.ones(2))
        >>> torch.utils.swap_tensors(a, b)
        >>> a
        Parameter containing:
        tensor([1., 1.], requires_grad=True)
    """
    for name, t in (("t1", t1), ("t2", t2)):
        if weakref.getweakrefs(t):
            raise RuntimeError(f"Cannot swap {name} because it has weakref associated with it")
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
    _core.swap_tensors(t1, t2)


def __getattr__(name: str) -> Any:
    if name not in _SUBMODULES:
        raise missing(__name__, name)
    value = globals()[name] = importlib.import_module(f"{__name__}.{name}")
    return value
