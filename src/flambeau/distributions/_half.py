"""Distributions of sizes of numbers that lie as often on either side of 0."""

from __future__ import annotations

import math

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.transformed_distribution import TransformedDistribution

Tensor = o.Tensor


class Half(TransformedDistribution):
    """|x| of numbers x whose distribution, the base, is symmetric around 0 and has a scale."""

    arg_constraints = {"scale": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True

    @property
    def scale(self) -> Tensor:
        """That of x."""
        return self.base_dist.scale

    @property
    def mode(self) -> Tensor:
        return o.zeros_like(self.scale)

    def cdf(self, value: Tensor) -> Tensor:
        self._checked(value)
        return 2 * self.base_dist.cdf(value) - 1

    def icdf(self, value: Tensor) -> Tensor:
        return self.base_dist.icdf((value + 1) / 2)

    def entropy(self) -> Tensor:
        return self.base_dist.entropy() - math.log(2)
