"""The Weibull distribution."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import AffineTransform, PowerTransform
from flambeau.distributions.utils import broadcast_all, euler_constant

__all__ = ["Weibull"]

Tensor = o.Tensor


class Weibull(TransformedDistribution):
    """scale x^(1 / concentration) of exponential numbers x.

    Args:
        scale: spread.
        concentration: 1 gives exponential numbers; more of it gathers them.

    Example:
        >>> torch.distributions.Weibull(2.0, 1.0).mean
        tensor(2.)
    """

    arg_constraints = {"scale": constraints.positive, "concentration": constraints.positive}
    support = constraints.positive

    def __init__(self, scale: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.scale, self.concentration = broadcast_all(scale, concentration)
        base = Exponential(o.ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, self._parts(), validate_args=validate_args)

    def _parts(self) -> list[Any]:
        return [PowerTransform(self.concentration.reciprocal()), AffineTransform(0, self.scale)]

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new.scale, new.concentration = self.scale.expand(batch_shape), self.concentration.expand(batch_shape)
        new.transforms = new._parts()

    @property
    def concentration_reciprocal(self) -> Tensor:
        """1 / concentration."""
        return self.concentration.reciprocal()

    @property
    def mean(self) -> Tensor:
        return self.scale * o.exp(o.lgamma(1 + self.concentration_reciprocal))

    @property
    def mode(self) -> Tensor:
        """nan where the density is largest at 0, the concentration being below 1."""
        return self.scale * ((self.concentration - 1) / self.concentration) ** self.concentration_reciprocal

    @property
    def variance(self) -> Tensor:
        inverse = self.concentration_reciprocal
        return self.scale.pow(2) * (o.exp(o.lgamma(1 + 2 * inverse)) - o.exp(2 * o.lgamma(1 + inverse)))

    def entropy(self) -> Tensor:
        inverse = self.concentration_reciprocal
        return euler_constant * (1 - inverse) + o.log(self.scale * inverse) + 1
