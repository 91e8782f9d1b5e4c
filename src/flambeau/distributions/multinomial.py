"""The multinomial distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical, OfCategories
from flambeau.distributions.utils import broadcast_all

__all__ = ["Multinomial"]

Tensor = o.Tensor


class Multinomial(OfCategories):
    """How often each category comes up in total_count draws.

    Args:
        total_count: how many draws: one int.
        probs: weights of the categories, along the last dimension.
        logits: logarithms of weights, instead of probs.

    Example:
        >>> torch.distributions.Multinomial(4, torch.tensor([1., 1.])).mean
        tensor([2., 2.])
    """

    def __init__(
        self, total_count: int = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        shape = self._categorical.param_shape
        super().__init__(self._categorical.batch_shape, shape[-1:], validate_args=validate_args)

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        super()._expand_rest(new, batch_shape)
        new.total_count = self.total_count

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self) -> Any:
        return constraints.multinomial(self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.probs * self.total_count

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = o.Size(sample_shape)
        drawn = self._categorical.sample(o.Size((self.total_count, *sample_shape))).movedim(0, -1)
        counts = o.zeros(self._extended_shape(sample_shape), dtype=self.probs.dtype, device=self.probs.device)
        return counts.scatter_add_(-1, drawn, o.ones_like(drawn, dtype=counts.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        """log(n! / prod(x_k!)) + sum(x_k log p_k); a category of probability 0 that did not come up counts 0."""
        self._checked(value)
        logits, value = broadcast_all(self.logits, value)
        choices = o.lgamma(value.sum(-1) + 1) - o.lgamma(value + 1).sum(-1)
        logits = logits.masked_fill((value == 0) & (logits == -math.inf), 0)
        return choices + (logits * value).sum(-1)

    def entropy(self) -> Tensor:
        """n H(p) - log n! + sum over categories and counts of P(count) log count!"""
        one = Binomial(self.total_count, probs=self.probs)
        counts = one.enumerate_support(False)[1:]
        rest = (o.exp(one.log_prob(counts)) * o.lgamma(counts + 1)).sum((0, -1))
        return self.total_count * self._categorical.entropy() - math.lgamma(self.total_count + 1) + rest
