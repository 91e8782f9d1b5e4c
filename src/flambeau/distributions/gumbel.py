"""The Gumbel distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, ExpTransform
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import broadcast_all, euler_constant
from flambeau.types import finfo

__all__ = ["Gumbel"]

Tensor = o.Tensor


class Gumbel(TransformedDistribution):
    """loc - scale log(-log(u)) of uniform numbers u: what the largest of many numbers tends to.

    Args:
        loc: the likeliest value.
        scale: spread.

    Example:
        >>> torch.distributions.Gumbel(0.0, 1.0).mean
        tensor(0.5772)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real

    def __init__(self, loc: Any, scale: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale = broadcast_all(loc, scale)
        numbers = finfo(self.loc.dtype)
        low, high = o.full_like(self.loc, numbers.tiny), o.full_like(self.loc, 1 - numbers.eps)
        super().__init__(Uniform(low, high, validate_args=False), self._parts(), validate_args=validate_args)

    def _parts(self) -> list[Any]:
        return [
            ExpTransform().inv,
            AffineTransform(0, -o.ones_like(self.scale)),
            ExpTransform().inv,
            AffineTransform(self.loc, -self.scale),
        ]

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new.loc, new.scale = self.loc.expand(batch_shape), self.scale.expand(batch_shape)
        new.transforms = new._parts()

    @property
    def mean(self) -> Tensor:
        return self.loc + self.scale * euler_constant

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def stddev(self) -> Tensor:
        return math.pi / math.sqrt(6) * self.scale

    @property
    def variance(self) -> Tensor:
        return self.stddev.pow(2)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        y = (self.loc - value) / self.scale
        return (y - y.exp()) - self.scale.log()

    def entropy(self) -> Tensor:
        return self.scale.log() + (1 + euler_constant)
