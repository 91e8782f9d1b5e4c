"""Categorical distributions over one-hot vectors."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.categorical import Categorical, OfCategories

__all__ = ["OneHotCategorical", "OneHotCategoricalStraightThrough"]

Tensor = o.Tensor


class OneHotCategorical(OfCategories):
    """The vector with a 1 at k and zeros elsewhere, with probability probs[k].

    Args:
        probs: weights not below 0; divided by their sum.
        logits: logarithms of weights, instead of probs.

    Example:
        >>> torch.distributions.OneHotCategorical(torch.tensor([1., 0.])).sample()
        tensor([1., 0.])
    """

    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs: Any = None, logits: Any = None, validate_args: bool | None = None) -> None:
        self._categorical = Categorical(probs, logits)
        shape = self._categorical.param_shape
        super().__init__(self._categorical.batch_shape, shape[-1:], validate_args=validate_args)

    @property
    def _param(self) -> Tensor:
        return self._categorical._param

    @property
    def mean(self) -> Tensor:
        return self.probs

    @property
    def mode(self) -> Tensor:
        return self._vectors(self._categorical.mode)

    @property
    def variance(self) -> Tensor:
        return self.probs * (1 - self.probs)

    def _vectors(self, places: Tensor) -> Tensor:
        return o.one_hot(places, self._event_shape[0]).to(self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._vectors(self._categorical.sample(o.Size(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self) -> Tensor:
        return self._categorical.entropy()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        n = self._event_shape[0]
        values = o.eye(n, dtype=self._param.dtype, device=self._param.device)
        values = values.reshape((n, *[1] * len(self._batch_shape), n))
        return values.expand((n, *self._batch_shape, n)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """One-hot vectors whose gradients go to the probabilities as if these had been drawn.

    Args:
        probs: weights not below 0; divided by their sum.
        logits: logarithms of weights, instead of probs.
    """

    has_rsample = True

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.sample(sample_shape) + (self.probs - self.probs.detach())
