"""The Wishart distribution."""

from __future__ import annotations

import math
import warnings
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.chi2 import Chi2
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.multivariate_normal import OfCovariance, half_log_det, lower_of, the_one_given
from flambeau.distributions.utils import vec_to_tril_matrix
from flambeau.types import finfo

__all__ = ["Wishart"]

Tensor, Size = o.Tensor, o.Size


def _mvdigamma(x: Tensor, p: int) -> Tensor:
    """The derivative of mvlgamma."""
    return o.digamma(x.unsqueeze(-1) - o.arange(p, dtype=x.dtype, device=x.device) / 2).sum(-1)


class Wishart(OfCovariance, ExponentialFamily):
    """Sums of df outer products of normal vectors of covariance C: random positive definite matrices.

    Drawn by Bartlett's decomposition: a triangular matrix of normal numbers, with roots of chi-squared ones on its
    diagonal.

    Args:
        df: degrees of freedom, more than n - 1.
        covariance_matrix: C, n x n.
        precision_matrix: C^-1, instead.
        scale_tril: a lower triangular L with L L^T = C, instead.

    Example:
        >>> torch.distributions.Wishart(torch.tensor(3.0), torch.eye(2)).mean
        tensor([[3., 0.],
                [0., 3.]])
    """

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    @property
    def arg_constraints(self) -> dict[str, Any]:  # type: ignore[override]
        """The set each parameter lies in, by name."""
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self._event_shape[-1] - 1),
        }

    def __init__(
        self,
        df: Any,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        name, matrix = the_one_given(AssertionError, covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            raise ValueError(f"{name} must be at least two-dimensional, with optional leading batch dimensions")
        df = df if isinstance(df, Tensor) else o.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch = o.broadcast_shapes(matrix.shape[:-2], df.shape)
        event = matrix.shape[-2:]
        if df.le(event[-1] - 1).any():
            raise ValueError(f"Value of df={df} expected to be greater than ndim - 1 = {event[-1] - 1}.")
        self.df = df.expand(batch)
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        self._event_shape = event
        super().__init__(batch, event, validate_args=validate_args)
        if self.df.lt(event[-1]).any():
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        self._unbroadcasted_scale_tril = lower_of(name, matrix)

    @property
    def mean(self) -> Tensor:
        return self.df[..., None, None] * self.covariance_matrix

    @property
    def mode(self) -> Tensor:
        """nan where df is n + 1 or less."""
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        return factor.masked_fill(factor <= 0, math.nan)[..., None, None] * self.covariance_matrix

    @property
    def variance(self) -> Tensor:
        """Of each element."""
        c = self.covariance_matrix
        diagonal = c.diagonal(0, -2, -1)
        return self.df[..., None, None] * (c.pow(2) + diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2))

    def _half_dfs(self) -> Tensor:
        """Degrees of freedom of the rows."""
        n = self._event_shape[-1]
        return self.df.unsqueeze(-1) - o.arange(n, dtype=self.df.dtype, device=self.df.device)

    def rsample(self, sample_shape: Any = (), max_try_correction: Any = None) -> Tensor:
        shape = self._extended_shape(sample_shape)
        diagonal = Chi2(self._half_dfs(), validate_args=False).rsample(sample_shape).sqrt()
        noise = diagonal.clamp(min=finfo(diagonal.dtype).tiny).diag_embed()
        n = self._event_shape[-1]
        drawn = o.randn((*shape[:-2], n * (n - 1) // 2), dtype=noise.dtype, device=noise.device)
        noise = noise + vec_to_tril_matrix(drawn, -1)
        root = self._unbroadcasted_scale_tril @ noise
        return root @ root.mT

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        nu, n, lower = self.df, self._event_shape[-1], self._unbroadcasted_scale_tril
        trace = o.cholesky_solve(value, lower).diagonal(0, -2, -1).sum(-1)
        log_det = o.linalg.slogdet(value)[1]
        powers = 0.5 * (nu - n - 1) * log_det - 0.5 * trace
        return powers - nu * (half_log_det(lower) + n * math.log(2.0) / 2) - o.mvlgamma(nu / 2, n)

    def entropy(self) -> Tensor:
        nu, n = self.df, self._event_shape[-1]
        spread = (n + 1) * (half_log_det(self._unbroadcasted_scale_tril) + 0.5 * n * math.log(2.0))
        return spread + o.mvlgamma(nu / 2, n) - 0.5 * (nu - n - 1) * _mvdigamma(nu / 2, n) + nu * n / 2

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        return -self.precision_matrix / 2, (self.df - self._event_shape[-1] - 1) / 2

    def _log_normalizer(self, x: Any, y: Any) -> Tensor:
        n = self._event_shape[-1]
        half = y + (n + 1) / 2
        return half * (n * math.log(2) - o.linalg.slogdet(-2 * x)[1]) + o.mvlgamma(half, n)
