"""The Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import ProbsOrLogits, binary_log_prob, broadcast_all

__all__ = ["Bernoulli"]

Tensor = o.Tensor


class Bernoulli(ProbsOrLogits, ExponentialFamily):
    """1 with probability p, else 0.

    Args:
        probs: p.
        logits: log(p / (1 - p)), instead of probs.

    Example:
        >>> torch.distributions.Bernoulli(0.25).entropy()
        tensor(0.5623)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._take(probs, logits)
        super().__init__(self._param.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        """1 or 0; nan where both are as likely."""
        mode = (self.probs >= 0.5).to(self.probs)
        return mode.masked_fill(self.probs == 0.5, math.nan)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with o.no_grad():
            return o.bernoulli(self.probs.expand(self._extended_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        return binary_log_prob(*broadcast_all(self.logits, value))

    def entropy(self) -> Tensor:
        return -binary_log_prob(self.logits, self.probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(o.arange(2, dtype=self._param.dtype, device=self._param.device), expand)

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (o.logit(self.probs),)

    def _log_normalizer(self, x: Any) -> Tensor:
        return o.log1p(o.exp(x))
