"""A module that shuffles channels."""

from __future__ import annotations

from flambeau import functional_ns as o
from flambeau.nn import functional as F
from flambeau.nn.modules.module import Module

__all__ = ["ChannelShuffle"]

Tensor = o.Tensor


class ChannelShuffle(Module):
    """Takes one channel of every group in turn."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.groups = groups

    def forward(self, input: Tensor) -> Tensor:
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
