"""Student's t distribution."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all, standard_normal

__all__ = ["StudentT"]

Tensor = o.Tensor


class StudentT(Distribution):
    """loc + scale n / sqrt(c / df) of a normal number n and a chi-squared one c.

    Args:
        df: degrees of freedom.
        loc: median.
        scale: spread.

    Example:
        >>> torch.distributions.StudentT(4.0).variance
        tensor(2.)
    """

    arg_constraints = {"df": constraints.positive, "loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, df: Any, loc: Any = 0.0, scale: Any = 1.0, validate_args: bool | None = None) -> None:
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        super().__init__(self.df.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """nan where df is 1 or less."""
        return self.loc.masked_fill(self.df <= 1, math.nan)

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Infinite where df is 2 or less, nan where it is 1 or less."""
        value = self.scale.pow(2) * self.df / (self.df - 2)
        return value.masked_fill(self.df <= 2, math.inf).masked_fill(self.df <= 1, math.nan)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        x = standard_normal(shape, self.df.dtype, self.df.device)
        z = Chi2(self.df, validate_args=False).rsample(sample_shape)
        return self.loc + self.scale * (x * o.rsqrt(z / self.df))

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        df = self.df
        y = (value - self.loc) / self.scale
        log_beta = o.lgamma(0.5 * df) - o.lgamma(0.5 * (df + 1.0))
        norm = self.scale.log() + 0.5 * df.log() + 0.5 * math.log(math.pi) + log_beta
        return -0.5 * (df + 1.0) * o.log1p(y**2.0 / df) - norm

    def entropy(self) -> Tensor:
        df = self.df
        log_beta = o.lgamma(0.5 * df) + math.lgamma(0.5) - o.lgamma(0.5 * (df + 1))
        slope = o.digamma(0.5 * (df + 1)) - o.digamma(0.5 * df)
        return self.scale.log() + 0.5 * (df + 1) * slope + 0.5 * df.log() + log_beta
