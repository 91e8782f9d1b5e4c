"""The negative binomial distribution."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.utils import ProbsOrLogits

__all__ = ["NegativeBinomial"]

Tensor = o.Tensor


class NegativeBinomial(ProbsOrLogits, Distribution):
    """How many successes of probability p come before total_count failures.

    Args:
        total_count: how many failures; any number not below 0.
        probs: p, below 1.
        logits: log(p / (1 - p)), instead of probs.

    Example:
        >>> torch.distributions.NegativeBinomial(3.0, torch.tensor(0.5)).mean
        tensor(3.)
    """

    arg_constraints = {
        "total_count": constraints.greater_than_eq(0),
        "probs": constraints.half_open_interval(0.0, 1.0),
        "logits": constraints.real,
    }
    support = constraints.nonnegative_integer

    def __init__(
        self, total_count: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (self.total_count,) = self._take(probs, logits, total_count)
        self.total_count = self.total_count.to(self._param.dtype)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.total_count * o.exp(self.logits)

    @property
    def mode(self) -> Tensor:
        return ((self.total_count - 1) * self.logits.exp()).floor().clamp(min=0.0)

    @property
    def variance(self) -> Tensor:
        return self.mean / o.sigmoid(-self.logits)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Poisson numbers whose rates are gamma numbers."""
        with o.no_grad():
            rates = Gamma(self.total_count, o.exp(-self.logits), validate_args=False).sample(sample_shape)
            return o.poisson(rates)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        n = self.total_count
        powers = n * o.logsigmoid(-self.logits) + value * o.logsigmoid(self.logits)
        choices = o.lgamma(n + value) - o.lgamma(1 + value) - o.lgamma(n)
        return powers + choices.masked_fill(n + value == 0, 0)
