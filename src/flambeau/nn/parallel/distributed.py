"""A model in several processes, each with a part of the batch."""

from typing import Any

from flambeau.distributed._group import no_group
from flambeau.nn.modules.module import Module


class DistributedDataParallel(Module):
    """Means gradients over a group of processes; there are none so far.

    Raises:
        ValueError: there is no group of processes.
    """

    def __init__(self, module: Module, *args: Any, **options: Any) -> None:
        raise no_group()
