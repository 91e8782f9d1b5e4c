"""The gamma distribution and those that follow from it."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import broadcast_all
from flambeau.types import finfo

__all__ = ["Gamma"]

Tensor = o.Tensor


class Gamma(ExponentialFamily):
    """Density rate^a x^(a - 1) exp(-rate x) / gamma(a), a being the concentration.

    Samples are differentiated implicitly, to about the dtype's precision: see `_standard_gamma_grad`.

    Args:
        concentration: a.
        rate: the inverse of the scale.

    Example:
        >>> torch.distributions.Gamma(2.0, 4.0).mean
        tensor(0.5000)
    """

    arg_constraints = {"concentration": constraints.positive, "rate": constraints.positive}
    support = constraints.nonnegative
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(self, concentration: Any, rate: Any, validate_args: bool | None = None) -> None:
        self.concentration, self.rate = broadcast_all(concentration, rate)
        super().__init__(self.concentration.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.rate

    @property
    def mode(self) -> Tensor:
        return ((self.concentration - 1) / self.rate).clamp(min=0)

    @property
    def variance(self) -> Tensor:
        return self.concentration / self.rate.pow(2)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        value = o._standard_gamma(self.concentration.expand(shape)) / self.rate.expand(shape)
        value.data.clamp_(min=finfo(value.dtype).tiny)  # no part of the gradient
        return value

    def log_prob(self, value: Tensor) -> Tensor:
        value = o.as_tensor(value, dtype=self.rate.dtype, device=self.rate.device)
        self._checked(value)
        a, rate = self.concentration, self.rate
        return o.xlogy(a, rate) + o.xlogy(a - 1, value) - rate * value - o.lgamma(a)

    def cdf(self, value: Tensor) -> Tensor:
        self._checked(value)
        return o.igamma(self.concentration, self.rate * value)

    def entropy(self) -> Tensor:
        a = self.concentration
        return a - o.log(self.rate) + o.lgamma(a) + (1.0 - a) * o.digamma(a)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return self.concentration - 1, -self.rate

    def _log_normalizer(self, x: Any, y: Any) -> Tensor:
        return o.lgamma(x + 1) + (x + 1) * o.log(-y.reciprocal())
