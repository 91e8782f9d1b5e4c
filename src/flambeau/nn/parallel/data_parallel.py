"""One model over the parts of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flambeau import functional_ns as o
from flambeau.nn.modules.module import Module
from flambeau.nn.parallel.scatter_gather import gather, parallel_apply, replicate, scatter

__all__ = ["DataParallel", "data_parallel"]


class DataParallel(Module):
    """Runs a module on several GPUs, each with a part of the batch; without GPUs it calls the module.

    The module is at `.module`, and so are its names in the state_dict.

    Args:
        module: the module.
        device_ids: the GPUs; all of them by default.
        output_device: where results are put together; the first of the GPUs by default.
        dim: the dimension of the batch.

    Example:
        >>> model = torch.nn.DataParallel(torch.nn.Linear(2, 3))
        >>> model(torch.ones(4, 2)).shape, list(model.state_dict())
        (torch.Size([4, 3]), ['module.weight', 'module.bias'])
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        self.module, self.dim = module, dim
        self.device_ids = list(device_ids or []) if o.has_gpu() else []
        self.output_device = output_device if output_device is not None or not self.device_ids else self.device_ids[0]

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        """The module's results on all parts, joined."""
        return data_parallel(self.module, inputs, self.device_ids, self.output_device, self.dim, kwargs)


def data_parallel(
    module: Module,
    inputs: Any,
    device_ids: Sequence[Any] | None = None,
    output_device: Any = None,
    dim: int = 0,
    module_kwargs: dict[str, Any] | None = None,
) -> Any:
    """What DataParallel does, as a function."""
    args = inputs if isinstance(inputs, tuple) else (inputs,)
    kwargs = module_kwargs or {}
    if not device_ids:
        return module(*args, **kwargs)
    parts, options = scatter(args, device_ids, dim), scatter(kwargs, device_ids, dim)
    if len(parts) == 1:
        return module(*parts[0], **options[0])
    used = device_ids[: len(parts)]
    outputs = parallel_apply(replicate(module, used), parts, options[: len(parts)], used)
    return gather(outputs, used[0] if output_device is None else output_device, dim)
