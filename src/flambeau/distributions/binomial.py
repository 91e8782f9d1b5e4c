"""The binomial distribution."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import ProbsOrLogits

__all__ = ["Binomial"]

Tensor = o.Tensor


class Binomial(ProbsOrLogits, Distribution):
    """How often something of probability p happens in total_count trials.

    Args:
        total_count: how many trials.
        probs: p.
        logits: log(p / (1 - p)), instead of probs.

    Example:
        >>> torch.distributions.Binomial(10, torch.tensor(0.5)).mean
        tensor(5.)
    """

    arg_constraints = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(
        self, total_count: Any = 1, probs: Any = None, logits: Any = None, validate_args: bool | None = None
    ) -> None:
        (self.total_count,) = self._take(probs, logits, total_count)
        self._types()
        super().__init__(self._param.size(), validate_args=validate_args)

    def _types(self) -> None:
        """Counts beside floating-point parameters are of their dtype."""
        name = "probs" if "probs" in self.__dict__ else "logits"
        given = self.__dict__[name]
        if not given.dtype.is_floating_point:
            self.__dict__[name] = given = given.to(o.get_default_dtype())
        self.total_count = self.total_count.to(given.dtype)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self) -> Any:
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self) -> Tensor:
        return self.total_count * self.probs

    @property
    def mode(self) -> Tensor:
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self) -> Tensor:
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        with o.no_grad():
            return o.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """n log(1 - p) + k log(p / (1 - p)) + log(n over k)."""
        self._checked(value)
        choices = o.lgamma(self.total_count + 1) - o.lgamma(value + 1) - o.lgamma(self.total_count - value + 1)
        return choices + value * self.logits + self.total_count * o.logsigmoid(-self.logits)

    def _same_count(self, what: str) -> int:
        count = int(self.total_count.max())
        if not self.total_count.min() == count:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{what}`.")
        return count

    def entropy(self) -> Tensor:
        self._same_count("entropy")
        log_prob = self.log_prob(self.enumerate_support(False))
        return -(o.exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        count = self._same_count("enumerate_support")
        return self._enumerated(o.arange(1 + count, dtype=self._param.dtype, device=self._param.device), expand)
