"""Modules as functions of their parameters."""

from collections.abc import Callable, Sequence
from typing import Any

from flambeau._core import Tensor
from flambeau.nn.modules.module import Module
from flambeau.nn.utils import stateless
from flambeau.ops.names import operators as ops

__all__ = ["functional_call", "functionalize", "stack_module_state"]


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with given tensors in place of its parameters and buffers.

    Args:
        module: stays as it is.
        parameter_and_buffer_dicts: tensors by dotted name; or several such dictionaries, which name different ones.
        args: the arguments of the call; a single one need not be a tuple.
        kwargs: named ones.
        tie_weights: a value for one name of a shared parameter counts for all of them.
        strict: raise where names are missing or unknown.
    """
    given = parameter_and_buffer_dicts
    if isinstance(given, Sequence):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )  # fmt: skip
        names = [name for d in given for name in d]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(
                f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous"
            )  # fmt: skip
        given = {name: value for d in given for name, value in d.items()}
    elif not isinstance(given, dict):
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    return stateless.functional_call(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Parameters and buffers of several modules of one kind, stacked, for `vmap` over `functional_call`.

    Raises:
        RuntimeError: there are no models, or their kinds or modes differ.
    """
    if not models:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return (
        {name: _stacked([p[name] for p in parameters]) for name in parameters[0]},
        {name: _stacked([b[name] for b in buffers]) for name in buffers[0]},
    )


def _stacked(tensors: list[Tensor]) -> Tensor:
    wanted = tensors[0].requires_grad
    if any(t.requires_grad != wanted for t in tensors):
        raise RuntimeError("Expected all tensors to have the same requires_grad")
    return ops.stack([t.detach() for t in tensors]).requires_grad_(wanted)


def functionalize(func: Callable[..., Any], *, remove: str = "mutations") -> Callable[..., Any]:
    """The function itself: changes in place need not be taken out before it is differentiated or batched."""
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            "functionalize(f, remove='mutations'): received invalid argument for the 'remove' parameter, got "
            f"{remove!r}"
        )
    return func
