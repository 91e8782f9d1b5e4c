"""Bernoulli numbers relaxed to the interval between 0 and 1."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.transforms import SigmoidTransform
from flambeau.distributions.utils import ProbsOrLogits, broadcast_all, clamp_probs

__all__ = ["LogitRelaxedBernoulli", "RelaxedBernoulli"]

Tensor = o.Tensor


class LogitRelaxedBernoulli(ProbsOrLogits, Distribution):
    """The log odds of RelaxedBernoulli: logistic numbers around the logits, over the temperature.

    Args:
        temperature: the lower, the nearer to Bernoulli numbers.
        probs: the probability of 1.
        logits: log(p / (1 - p)), instead of probs.
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.real
    has_rsample = True

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        self.temperature = temperature
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new.temperature = self.temperature

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        probs = clamp_probs(self.probs.expand(shape))
        u = clamp_probs(o.rand(shape, dtype=probs.dtype, device=probs.device))
        return (u.log() - (-u).log1p() + probs.log() - (-probs).log1p()) / self.temperature

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        logits, value = broadcast_all(self.logits, value)
        gap = logits - value * self.temperature
        return o.log(o.as_tensor(self.temperature, dtype=gap.dtype)) + gap + 2 * o.logsigmoid(-gap)


class Relaxed(TransformedDistribution):
    """A discrete family made continuous: the base has the temperature and the probabilities."""

    has_rsample = True

    @property
    def temperature(self) -> Any:
        """The lower, the nearer to discrete values."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """Log odds, or logarithms of the probabilities."""
        return self.base_dist.logits

    @property
    def probs(self) -> Tensor:
        """The probability of 1, or of each category."""
        return self.base_dist.probs


class RelaxedBernoulli(Relaxed):
    """Numbers between 0 and 1 that tend to Bernoulli numbers as the temperature goes to 0 (Maddison et al., 2016).

    Args:
        temperature: the lower, the nearer to Bernoulli numbers.
        probs: the probability of 1.
        logits: log(p / (1 - p)), instead of probs.

    Example:
        >>> d = torch.distributions.RelaxedBernoulli(torch.tensor(2.2), torch.tensor([0.1, 0.5]))
        >>> d.sample().shape
        torch.Size([2])
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval

    def __init__(
        self, temperature: Any, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        base = LogitRelaxedBernoulli(temperature, probs, logits)
        super().__init__(base, SigmoidTransform(), validate_args=validate_args)
