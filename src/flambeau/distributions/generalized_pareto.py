"""The generalised Pareto distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all

__all__ = ["GeneralizedPareto"]

Tensor = o.Tensor


class GeneralizedPareto(Distribution):
    """Excesses over a threshold: cdf 1 - (1 + c z)^(-1 / c), z = (x - loc) / scale; 1 - exp(-z) where c is 0.

    Args:
        loc: the least value.
        scale: spread.
        concentration: c; below 0 the values have an upper bound.

    Example:
        >>> torch.distributions.GeneralizedPareto(0.0, 1.0, 0.5).mean
        tensor(2.)
    """

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive, "concentration": constraints.real}
    has_rsample = True

    def __init__(self, loc: Any, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self) -> Any:
        end = self.loc - self.scale / self._powers()[1]
        return constraints.interval(self.loc, o.where(self.concentration < 0, end, math.inf))

    def _powers(self) -> tuple[Tensor, Tensor]:
        """Where c is no 0, and c there; 1 elsewhere."""
        regular = self.concentration.abs() > o.epsilon(self.concentration.dtype)
        return regular, o.where(regular, self.concentration, 1.0)

    def _log_survival(self, value: Tensor) -> Tensor:
        z = (value - self.loc) / self.scale
        regular, c = self._powers()
        return o.where(regular, -o.log1p(c * z) / c, -z)

    @property
    def mean(self) -> Tensor:
        """Infinite where the concentration is 1 or more."""
        c = self.concentration
        return self.loc + self.scale / o.where(c < 1, 1 - c, 0.0)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Infinite where the concentration is 1/2 or more."""
        c = self.concentration
        return o.where(c < 0.5, self.scale.square() / ((1 - c).square() * (1 - 2 * c)), math.inf)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(o.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        return (1 + self.concentration) * self._log_survival(value) - self.scale.log()

    def log_survival_function(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of being larger than value."""
        self._checked(value)
        return self._log_survival(value)

    def log_cdf(self, value: Tensor) -> Tensor:
        """The logarithm of the probability of being at most value."""
        return o.log1p(-self.log_survival_function(value).exp())

    def cdf(self, value: Tensor) -> Tensor:
        self._checked(value)
        return -o.expm1(self._log_survival(value))

    def icdf(self, value: Tensor) -> Tensor:
        rest = o.log1p(-value)
        regular, c = self._powers()
        return self.loc + self.scale * o.where(regular, o.expm1(-c * rest) / c, -rest)

    def entropy(self) -> Tensor:
        return self.scale.log() + self.concentration + 1
