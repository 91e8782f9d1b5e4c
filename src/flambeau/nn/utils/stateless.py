"""Calls of a module with other parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn.modules.module import Module

__all__ = ["functional_call"]

Tensor = o.Tensor


def _places(module: Module) -> dict[str, tuple[Module, dict[str, Any], str]]:
    """Owner, dictionary and name of every parameter and buffer."""
    found = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        for values in (owner._parameters, owner._buffers):
            for name in values:
                found[f"{path}.{name}" if path else name] = (owner, values, name)
    return found


def _with_tied(module: Module, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The values, also under other names of the same parameter."""
    groups: dict[int, list[str]] = {}
    members = [
        *module.named_parameters(remove_duplicate=False),
        *module.named_buffers(remove_duplicate=False),
    ]
    for name, tensor in members:
        groups.setdefault(id(tensor), []).append(name)
    full = dict(given)
    for names in groups.values():
        values = [given[name] for name in names if name in given]
        if any(value is not values[0] for value in values):
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(names)}, which are tied. "
                "Consider using tie_weights=False"
            )
        if values:
            full.update(dict.fromkeys(names, values[0]))
    return full


@contextmanager
def replaced(
    module: Module, given: Mapping[str, Tensor], tie_weights: bool = True, strict: bool = False
) -> Iterator[None]:
    """Puts other values in the place of parameters and buffers for the duration of a block."""
    places = _places(module)
    values = _with_tied(module, given) if tie_weights else dict(given)
    unexpected = [name for name in values if name not in places]
    missing = [name for name in places if name not in values]
    if strict and (unexpected or missing):
        parts = []
        if unexpected:
            parts.append(f"Unexpected key(s): {', '.join(map(repr, unexpected))}.")
        if missing:
            parts.append(f"Missing key(s): {', '.join(map(repr, missing))}.")
        raise RuntimeError(f"Error(s) in reparametrizing for {module._get_name()}:\n\t" + "\n\t".join(parts))
    old = [(places[name][1], places[name][2]) for name in values if name in places]
    saved = [(members, name, members[name]) for members, name in old]
    try:
        for (members, name), value in zip(old, (v for k, v in values.items() if k in places), strict=True):
            members[name] = value
        yield
    finally:
        for members, name, value in saved:
            members[name] = value


def functional_call(
    module: Module,
    parameters_and_buffers: Any,
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """Calls a module with given tensors in place of its parameters and buffers.

    Args:
        parameters_and_buffers: by dotted name; or a tuple of such dictionaries.
        args: the arguments of the call; a single one need not be a tuple.
        tie_weights: a value for one name of a shared parameter counts for all of them.
        strict: raise where names are missing or unknown.
    """
    if isinstance(parameters_and_buffers, (list, tuple)):
        given: dict[str, Tensor] = {}
        for part in parameters_and_buffers:
            given.update(part)
    else:
        given = dict(parameters_and_buffers)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, given, tie_weights, strict):
        return module(*arguments, **(kwargs or {}))
