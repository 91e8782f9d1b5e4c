"""Random correlation matrices."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.beta import Beta
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import broadcast_all
from flambeau.types import finfo

__all__ = ["LKJCholesky"]

Tensor, Size = o.Tensor, o.Size


class LKJCholesky(Distribution):
    """Cholesky factors of correlation matrices M of density proportional to det(M)^(concentration - 1).

    Lewandowski, Kurowicka and Joe (2009): 1 gives all matrices alike, more of it those near the identity. Samples are
    made row by row (the onion method): a direction, and a length whose square is a beta number.

    Args:
        dim: the size of the matrices.
        concentration: positive.

    Example:
        >>> torch.distributions.LKJCholesky(3, 1.0).sample().shape
        torch.Size([3, 3])
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky

    def __init__(self, dim: int, concentration: Any = 1.0, validate_args: bool | None = None) -> None:
        if dim < 2:
            raise ValueError(f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}.")
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        super().__init__(self.concentration.size(), Size((dim, dim)), validate_args=validate_args)

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new.dim = self.dim

    def _lengths(self) -> Beta:
        """The squared lengths of the rows below the diagonal; that of the first is not used."""
        rows = o.arange(self.dim - 1, dtype=self.concentration.dtype, device=self.concentration.device)
        before = o.cat([rows.new_zeros(1), rows])
        half = self.concentration.unsqueeze(-1) + 0.5 * (self.dim - 2)
        return Beta(0.5 * before + 0.5, half - 0.5 * before, validate_args=False)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        with o.no_grad():
            squares = self._lengths().sample(sample_shape).unsqueeze(-1)
            kind = {"dtype": squares.dtype, "device": squares.device}
            directions = o.randn(self._extended_shape(sample_shape), **kind).tril(-1)
            lengths = directions.norm(dim=-1, keepdim=True)
            lengths[..., 0, :] = 1.0
            rows = squares.sqrt() * directions / lengths
            rows[..., 0, :] = 0.0
            rest = (1 - rows.pow(2).sum(-1)).clamp(min=finfo(rows.dtype).tiny).sqrt()
            return rows + rest.diag_embed()

    def log_prob(self, value: Tensor) -> Tensor:
        """The density over the factors: what the change from M to its factor multiplies is part of it."""
        self._checked(value)
        n, eta = self.dim, self.concentration
        diagonal = value.diagonal(0, -2, -1)[..., 1:]
        order = o.arange(2, n + 1, device=eta.device)
        order = 2 * (eta - 1).unsqueeze(-1) + n - order
        unnormalised = (order * diagonal.log()).sum(-1)
        alpha = eta + 0.5 * (n - 1)
        constant = o.mvlgamma(alpha - 0.5, n - 1) - o.lgamma(alpha) * (n - 1) + 0.5 * (n - 1) * math.log(math.pi)
        return unnormalised - constant
