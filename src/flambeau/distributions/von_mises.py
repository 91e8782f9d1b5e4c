"""The von Mises distribution of angles."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all

__all__ = ["VonMises"]

Tensor = o.Tensor


class VonMises(Distribution):
    """Angles of density exp(k cos(x - loc)) / (2 pi i0(k)), k being the concentration.

    Args:
        loc: the likeliest angle.
        concentration: k.

    Example:
        >>> torch.distributions.VonMises(0.0, 1.0).log_prob(torch.tensor(0.0))
        tensor(-1.0738)
    """

    arg_constraints = {"loc": constraints.real, "concentration": constraints.positive}
    support = constraints.real
    has_rsample = False

    def __init__(self, loc: Any, concentration: Any, validate_args: bool | None = None) -> None:
        self.loc, self.concentration = broadcast_all(loc, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    @property
    def mean(self) -> Tensor:
        """The mean direction."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """The circular variance."""
        return 1 - o.special_i1e(self.concentration) / o.special_i0e(self.concentration)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        k = self.concentration
        return k * (o.cos(value - self.loc) - 1) - math.log(2 * math.pi) - o.special_i0e(k).log()

    def sample(self, sample_shape: Any = ()) -> Tensor:
        """By rejection from a wrapped Cauchy distribution (Best and Fisher, 1979), in double precision."""
        shape = self._extended_shape(sample_shape)
        with o.no_grad():
            k = self.concentration.double().expand(shape)
            angles = o.full(shape, math.nan, dtype=o.float64, device=k.device)
            open_ = o.ones(shape, dtype=o.bool, device=k.device)
            r = _wrapped_cauchy(k)
            while open_.any():
                u1, u2, u3 = o.rand((3, *shape), dtype=o.float64, device=k.device).unbind()
                z = o.cos(math.pi * u1)
                f = (1 + r * z) / (r + z)
                c = k * (r - f)
                accepted = (c * (2 - c) - u2 > 0) | ((c / u2).log() + 1 - c >= 0)
                angles = o.where(accepted, (u3 - 0.5).sign() * f.clamp(min=-1, max=1).acos(), angles)
                open_ = open_ & ~accepted
            turned = (angles + math.pi + self.loc.double()) % (2 * math.pi) - math.pi
            return turned.to(self.loc.dtype)


def _wrapped_cauchy(k: Tensor) -> Tensor:
    """The parameter of the hat; by a series where the closed form cancels."""
    tau = 1 + (1 + 4 * k * k).sqrt()
    rho = (tau - (2 * tau).sqrt()) / (2 * k)
    return o.where(k < 1e-5, 1 / k + k, (1 + rho * rho) / (2 * rho))
