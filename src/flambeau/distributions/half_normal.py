"""The half-normal distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions._half import Half
from flambeau.distributions.normal import Normal
from flambeau.distributions.transforms import AbsTransform

__all__ = ["HalfNormal"]

Tensor = o.Tensor


class HalfNormal(Half):
    """|x| of normal numbers x of mean 0.

    Args:
        scale: the standard deviation of x.

    Example:
        >>> torch.distributions.HalfNormal(1.0).mean
        tensor(0.7979)
    """

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Normal(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.scale * math.sqrt(2 / math.pi)

    @property
    def variance(self) -> Tensor:
        return self.scale.pow(2) * (1 - 2 / math.pi)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        return o.where(value >= 0, self.base_dist.log_prob(value) + math.log(2), -math.inf)
