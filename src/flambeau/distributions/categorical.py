"""The categorical distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import ProbsOrLogits, either
from flambeau.types import finfo

__all__ = ["Categorical"]

Tensor = o.Tensor


class Categorical(ProbsOrLogits, Distribution):
    """k with probability probs[k], k along the last dimension.

    Args:
        probs: weights not below 0; divided by their sum.
        logits: logarithms of weights, instead of probs.

    Example:
        >>> torch.distributions.Categorical(torch.tensor([1., 1., 2.])).probs
        tensor([0.2500, 0.2500, 0.5000])
    """

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True
    _binary = False

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        either(probs, logits)
        if probs is not None:
            if probs.dim() < 1:
                raise ValueError("`probs` parameter must be at least one-dimensional.")
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            if logits.dim() < 1:
                raise ValueError("`logits` parameter must be at least one-dimensional.")
            self.logits = logits - logits.logsumexp(-1, keepdim=True)
        self._num_events = self._param.size()[-1]
        super().__init__(self._param.size()[:-1], validate_args=validate_args)

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new._num_events = self._num_events

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self._num_events - 1)

    @property
    def mean(self) -> Tensor:
        """nan: places are no numbers."""
        return o.full(self._extended_shape(), math.nan, dtype=self.probs.dtype, device=self.probs.device)

    @property
    def mode(self) -> Tensor:
        return self.probs.argmax(-1)

    @property
    def variance(self) -> Tensor:
        """nan: places are no numbers."""
        return self.mean

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        count = math.prod(shape[: len(shape) - len(self._batch_shape)])
        rows = self.probs.detach().reshape(-1, self._num_events)
        return o.multinomial(rows, count, True).T.reshape(shape)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        at, logits = o.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return logits.gather(-1, at[..., :1]).squeeze(-1)

    def entropy(self) -> Tensor:
        return -(self.logits.clamp(min=finfo(self.logits.dtype).min) * self.probs).sum(-1)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        return self._enumerated(o.arange(self._num_events, dtype=o.int64, device=self._param.device), expand)


class OfCategories(Distribution):
    """A family over vectors with a place for each category; `_categorical` has the probabilities."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    _categorical: Categorical

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new._categorical = self._categorical.expand(batch_shape)

    @property
    def probs(self) -> Tensor:
        """The probability of each category."""
        return self._categorical.probs

    @property
    def logits(self) -> Tensor:
        """The logarithm of each."""
        return self._categorical.logits

    @property
    def param_shape(self) -> Any:
        """The shape of probs and of logits."""
        return self._categorical.param_shape
