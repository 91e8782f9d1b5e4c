"""The half-Cauchy distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions._half import Half
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.transforms import AbsTransform

__all__ = ["HalfCauchy"]

Tensor = o.Tensor


class HalfCauchy(Half):
    """|x| of Cauchy numbers x around 0.

    Args:
        scale: that of x; the median.

    Example:
        >>> torch.distributions.HalfCauchy(1.0).cdf(torch.tensor(1.0))
        tensor(0.5000)
    """

    def __init__(self, scale: Any, validate_args: bool | None = None) -> None:
        super().__init__(Cauchy(0, scale, validate_args=False), AbsTransform(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """Infinite."""
        return o.full_like(self.scale, math.inf)

    @property
    def variance(self) -> Tensor:
        """Infinite."""
        return self.base_dist.variance

    def log_prob(self, value: Any) -> Tensor:
        self._checked(value)
        value = o.as_tensor(value, dtype=self.scale.dtype, device=self.scale.device)
        inside = math.log(2 / math.pi) - self.scale.log() - (value / self.scale).square().log1p()
        return o.where(value >= 0, inside, -math.inf)
