"""Arguments cut into one part for each device, and results put together."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn.modules.module import Module

__all__ = ["gather", "parallel_apply", "replicate", "scatter"]

Tensor = o.Tensor


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> Any:
    """Tensors, and those inside of tuples, lists and dicts, cut along a dimension: one result for each device.

    What is no tensor goes to all devices. Where there are fewer rows than devices there are fewer results.
    """
    if isinstance(inputs, Tensor):
        parts = o.chunk(inputs, len(target_gpus), dim)
        return tuple(p.to(d) for p, d in zip(parts, target_gpus, strict=False))
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return [type(inputs)(*parts) for parts in zip(*(scatter(v, target_gpus, dim) for v in inputs), strict=False)]
    if isinstance(inputs, list | tuple) and inputs:
        return [type(inputs)(parts) for parts in zip(*(scatter(v, target_gpus, dim) for v in inputs), strict=False)]
    if isinstance(inputs, Mapping) and inputs:
        columns = ([(key, v) for v in scatter(value, target_gpus, dim)] for key, value in inputs.items())
        return [type(inputs)(items) for items in zip(*columns, strict=False)]  # type: ignore[call-arg]
    return [inputs for _ in target_gpus]


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The reverse of `scatter`: tensors joined along a dimension on one device."""
    first = outputs[0]
    if isinstance(first, Tensor):
        joined = [v.to(target_device) for v in outputs]
        return o.stack(joined) if not first.dim() else o.cat(joined, dim)
    if first is None:
        return None
    if isinstance(first, Mapping):
        if any(len(first) != len(v) for v in outputs):
            raise ValueError("All dicts must have the same number of keys")
        return type(first)((key, gather([v[key] for v in outputs], target_device, dim)) for key in first)  # type: ignore[call-arg]
    parts = [gather(v, target_device, dim) for v in zip(*outputs, strict=True)]
    return type(first)(*parts) if hasattr(first, "_fields") else type(first)(parts)


def replicate(network: Module, devices: Sequence[Any], detach: bool = False) -> list[Module]:
    """The module once for each device, with parameters through which gradients reach those of the first."""
    replicas = []
    for device in devices:
        memo: dict[int, Any] = {}
        for t in [*network.parameters(), *network.buffers()]:
            memo[id(t)] = (t.detach() if detach else t).to(device)
        replicas.append(copy.deepcopy(network, memo))
    return replicas


def parallel_apply(
    modules: Sequence[Module], inputs: Sequence[Any], kwargs_tup: Sequence[dict] | None = None, devices: Any = None
) -> list[Any]:
    """Each module called with its own arguments."""
    if len(modules) != len(inputs):
        raise AssertionError(f"The number of modules {len(modules)} is not equal to the number of inputs {len(inputs)}")
    options = kwargs_tup or [{}] * len(modules)
    return [
        m(*(args if isinstance(args, list | tuple) else (args,)), **kw)
        for m, args, kw in zip(modules, inputs, options, strict=True)
    ]
