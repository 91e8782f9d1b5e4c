"""Exponential families."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.autograd import grad
from flambeau.distributions.distribution import Distribution

__all__ = ["ExponentialFamily"]

Tensor = o.Tensor


class ExponentialFamily(Distribution):
    """Densities exp(<t(x), theta> - F(theta) + k(x)).

    A family of your own that gives `_natural_params`, `_log_normalizer` and `_mean_carrier_measure` gets its entropy
    and divergences from them.
    """

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        """theta."""
        raise NotImplementedError

    def _log_normalizer(self, *natural_params: Any) -> Tensor:
        """F(theta)."""
        raise NotImplementedError

    @property
    def _mean_carrier_measure(self) -> Any:
        """The expectation of k(x)."""
        raise NotImplementedError

    def _normalizer_and_slopes(self) -> tuple[list[Tensor], Tensor, tuple[Tensor, ...]]:
        """theta, F(theta) and dF/dtheta."""
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        with o.enable_grad():
            normalizer = self._log_normalizer(*natural)
            return natural, normalizer, grad(normalizer.sum(), natural, create_graph=True)

    def entropy(self) -> Tensor:
        """F(theta) - <theta, dF/dtheta> - E[k(x)]."""
        natural, normalizer, slopes = self._normalizer_and_slopes()
        result = normalizer - self._mean_carrier_measure
        for parameter, slope in zip(natural, slopes, strict=True):
            result = result - (parameter * slope).reshape((*self._batch_shape, -1)).sum(-1)
        return result
