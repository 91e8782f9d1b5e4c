"""The normal distribution of vectors."""

from __future__ import annotations

import math
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions import constraints
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.utils import lazy_property, standard_normal

__all__ = ["MultivariateNormal"]

Tensor, Size = o.Tensor, o.Size


def times(matrix: Tensor, vector: Tensor) -> Tensor:
    """Matrices times vectors, batch by batch."""
    return o.matmul(matrix, vector.unsqueeze(-1)).squeeze(-1)


def squared_length(lower: Tensor, x: Tensor) -> Tensor:
    """|L^-1 x|^2: Mahalanobis' distance, squared, for a covariance L L^T. Batches broadcast."""
    n = x.shape[-1]
    batch = o.broadcast_shapes(x.shape[:-1], lower.shape[:-2])
    if lower.dim() == 2:  # one system with many right sides
        columns = x.reshape(-1, n).T
        solved = o.linalg.solve_triangular(lower, columns, upper=False)
        return solved.square().sum(0).reshape(x.shape[:-1])
    lower, x = lower.expand((*batch, n, n)), x.expand((*batch, n))
    return o.linalg.solve_triangular(lower, x.unsqueeze(-1), upper=False).square().sum((-2, -1))


def inverse_of_product(lower: Tensor) -> Tensor:
    """(L L^T)^-1."""
    return o.cholesky_inverse(lower)


def precision_to_scale_tril(precision: Tensor) -> Tensor:
    """The L with L L^T = P^-1: the inverse of P's factor counted from the other end."""
    turned = o.linalg.cholesky(o.flip(precision, (-2, -1)))
    upper = o.flip(turned, (-2, -1)).mT
    eye = o.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return o.linalg.solve_triangular(upper, eye, upper=False)


_batch_mv, _batch_mahalanobis, _precision_to_scale_tril = times, squared_length, precision_to_scale_tril


def the_one_given(error: type[Exception], *matrices: Tensor | None) -> tuple[str, Tensor]:
    """Name and matrix of the one that is not None: of covariance, precision and factor."""
    names = ("covariance_matrix", "precision_matrix", "scale_tril")
    given = [(name, matrix) for name, matrix in zip(names, matrices, strict=True) if matrix is not None]
    if len(given) != 1:
        raise error("Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified.")
    return given[0]


def lower_of(name: str, matrix: Tensor) -> Tensor:
    """L from the matrix that was given."""
    if name == "scale_tril":
        return matrix
    return o.linalg.cholesky(matrix) if name == "covariance_matrix" else precision_to_scale_tril(matrix)


class OfCovariance(Distribution):
    """A family whose covariance C = L L^T is given as C, as C^-1 or as L; the others are lazy."""

    _unbroadcasted_scale_tril: Tensor

    def _expand_rest(self, new: Any, batch_shape: Any) -> None:
        new._unbroadcasted_scale_tril = self._unbroadcasted_scale_tril

    def _full(self, matrix: Tensor) -> Tensor:
        n = self._event_shape[-1]
        return matrix.expand((*self._batch_shape, n, n))

    @lazy_property
    def scale_tril(self) -> Tensor:
        """L."""
        return self._full(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self) -> Tensor:
        """C."""
        lower = self._unbroadcasted_scale_tril
        return self._full(o.matmul(lower, lower.mT))

    @lazy_property
    def precision_matrix(self) -> Tensor:
        """C^-1."""
        return self._full(inverse_of_product(self._unbroadcasted_scale_tril))


class MultivariateNormal(OfCovariance):
    """Density exp(-(x - loc)^T C^-1 (x - loc) / 2) / sqrt((2 pi)^n det C).

    Args:
        loc: the mean, along the last dimension.
        covariance_matrix: C.
        precision_matrix: C^-1, instead.
        scale_tril: a lower triangular L with L L^T = C, instead; the cheapest.

    Example:
        >>> d = torch.distributions.MultivariateNormal(torch.zeros(2), torch.eye(2))
        >>> d.log_prob(torch.zeros(2))
        tensor(-1.8379)
    """

    arg_constraints = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self,
        loc: Tensor,
        covariance_matrix: Tensor | None = None,
        precision_matrix: Tensor | None = None,
        scale_tril: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = the_one_given(ValueError, covariance_matrix, precision_matrix, scale_tril)
        if matrix.dim() < 2:
            what = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(f"{what} must be at least two-dimensional, with optional leading batch dimensions")
        batch = o.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand((*batch, -1, -1)))
        self.loc = loc.expand((*batch, -1))
        super().__init__(batch, self.loc.shape[-1:], validate_args=validate_args)
        self._unbroadcasted_scale_tril = lower_of(name, matrix)

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def mode(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        """Of each component."""
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand((*self._batch_shape, *self._event_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        eps = standard_normal(self._extended_shape(sample_shape), self.loc.dtype, self.loc.device)
        return self.loc + times(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value: Tensor) -> Tensor:
        self._checked(value)
        lower = self._unbroadcasted_scale_tril
        distance = squared_length(lower, value - self.loc)
        return -0.5 * (self._event_shape[0] * math.log(2 * math.pi) + distance) - half_log_det(lower)

    def entropy(self) -> Tensor:
        log_det = half_log_det(self._unbroadcasted_scale_tril)
        return (0.5 * self._event_shape[0] * (1.0 + math.log(2 * math.pi)) + log_det).expand(self._batch_shape)


def half_log_det(lower: Tensor) -> Tensor:
    """log det L."""
    return lower.diagonal(0, -2, -1).log().sum(-1)
