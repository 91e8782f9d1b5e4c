"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.utils import ProbsOrLogits, binary_log_prob, broadcast_all, clamp_probs

__all__ = ["ContinuousBernoulli"]

Tensor = o.Tensor


class ContinuousBernoulli(ProbsOrLogits, ExponentialFamily):
    """Density c p^x (1 - p)^(1 - x) on [0, 1]; c is what makes its integral 1.

    Closed forms divide by 1 - 2p, so that series in p - 1/2 stand for them near 1/2.

    Args:
        probs: p.
        logits: log(p / (1 - p)), instead of probs.
        lims: where the series are used.

    Example:
        >>> torch.distributions.ContinuousBernoulli(0.5).mean
        tensor(0.5000)
    """

    arg_constraints = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    has_rsample = True
    _mean_carrier_measure = 0

    def __init__(
        self,
        probs: Any = None,
        logits: Any = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._take(probs, logits)
        if probs is not None:
            if validate_args is not None and not self.arg_constraints["probs"].check(self.probs).all():
                raise ValueError("The parameter probs has invalid values")
            self.probs = clamp_probs(self.probs)
        self._lims = lims
        super().__init__(self._param.size(), validate_args=validate_args)

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new._lims = self._lims

    def _regular(self) -> tuple[Tensor, Tensor]:
        """Where the closed forms hold, and p there; a value that does no harm elsewhere."""
        regular = (self.probs <= self._lims[0]) | (self.probs > self._lims[1])
        return regular, o.where(regular, self.probs, self._lims[0])

    def _log_norm(self) -> Tensor:
        """log c = log(2 atanh(1 - 2p) / (1 - 2p))."""
        regular, p = self._regular()
        closed = o.log(o.abs(o.log1p(-p) - o.log(p))) - o.log(o.abs(1 - 2 * p))
        x = (self.probs - 0.5).square()
        return o.where(regular, closed, math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x) * x)

    @property
    def mean(self) -> Tensor:
        regular, p = self._regular()
        closed = p / (2.0 * p - 1.0) + 1.0 / (o.log1p(-p) - o.log(p))
        x = self.probs - 0.5
        return o.where(regular, closed, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x.square()) * x)

    @property
    def variance(self) -> Tensor:
        regular, p = self._regular()
        closed = p * (p - 1.0) / (1.0 - 2.0 * p).square() + 1.0 / (o.log1p(-p) - o.log(p)).square()
        x = (self.probs - 0.5).square()
        return o.where(regular, closed, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        return self.icdf(o.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        logits, value = broadcast_all(self.logits, value)
        return binary_log_prob(logits, value) + self._log_norm()

    def cdf(self, value: Tensor) -> Tensor:
        self._checked(value)
        regular, p = self._regular()
        inside = (p.pow(value) * (1.0 - p).pow(1.0 - value) + p - 1.0) / (2.0 * p - 1.0)
        inside = o.where(regular, inside, value)
        return o.where(value <= 0.0, 0.0, o.where(value >= 1.0, 1.0, inside))

    def icdf(self, value: Tensor) -> Tensor:
        regular, p = self._regular()
        rest = o.log1p(-p)
        return o.where(regular, (o.log1p(-p + value * (2.0 * p - 1.0)) - rest) / (o.log(p) - rest), value)

    def entropy(self) -> Tensor:
        p, rest = o.log(self.probs), o.log1p(-self.probs)
        return self.mean * (rest - p) - self._log_norm() - rest

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return (self.logits,)

    def _log_normalizer(self, x: Any) -> Tensor:
        """log((exp(x) - 1) / x), by its series near 0."""
        regular = (x <= self._lims[0] - 0.5) | (x > self._lims[1] - 0.5)
        away = o.where(regular, x, self._lims[0] - 0.5)
        closed = o.log(o.abs(o.special_expm1(away))) - o.log(o.abs(away))
        return o.where(regular, closed, 0.5 * x + x.square() / 24.0 - x.pow(4) / 2880.0)
