"""Parametrisations that come with the package."""

from __future__ import annotations

from typing import Any

from flambeau import functional_ns as o
from flambeau.nn import functional as F
from flambeau.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from flambeau.nn.modules.module import Module
from flambeau.nn.utils.parametrize import register_parametrization
from flambeau.nn.utils.weight_norm import norm_except_dim, normalized

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]

Tensor = o.Tensor


class _WeightNorm(Module):
    """(length, direction) -> weight."""

    def __init__(self, dim: int | None = 0) -> None:
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g: Tensor, weight_v: Tensor) -> Tensor:
        return normalized(weight_v, weight_g, self.dim)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        return norm_except_dim(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0) -> Module:
    """w = g v / |v|; `parametrizations.<name>.original0` is the length g and `original1` the direction v."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)
    return module


class _SpectralNorm(Module):
    """Divides a weight by its largest singular value, which power iteration follows in training."""

    def __init__(self, weight: Tensor, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12) -> None:
        super().__init__()
        ndim = weight.ndim
        if dim >= ndim or dim < -ndim:
            raise IndexError(f"Dimension out of range (expected to be in range of [-{ndim}, {ndim - 1}] but got {dim})")
        if n_power_iterations <= 0:
            raise ValueError(
                f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._reshape_weight_to_matrix(weight)
            rows, columns = matrix.size()
            u = matrix.new_empty(rows).normal_(0, 1)
            v = matrix.new_empty(columns).normal_(0, 1)
            self.register_buffer("_u", F.normalize(u, dim=0, eps=eps))
            self.register_buffer("_v", F.normalize(v, dim=0, eps=eps))
            self._power_method(matrix, 15)

    def _reshape_weight_to_matrix(self, weight: Tensor) -> Tensor:
        if self.dim != 0:
            weight = weight.permute(self.dim, *(d for d in range(weight.dim()) if d != self.dim))
        return weight.flatten(1)

    def _power_method(self, matrix: Tensor, iterations: int) -> None:
        with o.no_grad():
            for _ in range(iterations):
                self._u.copy_(F.normalize(o.mv(matrix, self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(o.mv(matrix.t(), self._u), dim=0, eps=self.eps))

    def forward(self, weight: Tensor) -> Tensor:
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._reshape_weight_to_matrix(weight)
        if self.training:
            self._power_method(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()
        return weight / o.dot(u, o.mv(matrix, v))

    def right_inverse(self, value: Tensor) -> Tensor:
        return value


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """w / (largest singular value of w).

    Args:
        n_power_iterations: iterations that follow the singular value at every call in training.
        dim: the output dimension; found by the kind of module where it is left out.
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    register_parametrization(module, name, _SpectralNorm(weight, n_power_iterations, dim, eps))
    return module


_ORTHOGONAL_MAPS = ("matrix_exp", "cayley", "householder")


def _orthogonal_columns(matrix: Tensor) -> Tensor:
    """Q of matrix = Q R with a positive diagonal of R."""
    reflections, tau = o.geqrf(matrix)
    return o.linalg.householder_product(reflections, tau) * reflections.diagonal(0, -2, -1).sgn().unsqueeze(-2)


def _is_orthogonal(matrix: Tensor) -> bool:
    n = matrix.size(-1)
    unit = o.eye(n, dtype=matrix.dtype, device=matrix.device)
    return bool(o.allclose(matrix.mH @ matrix, unit, atol=10 * n * o.epsilon(matrix.dtype)))


class _Orthogonal(Module):
    """Any matrix -> one with orthonormal columns (rows, where there are more columns than rows).

    With a base, the map moves away from it: the parameter starts where the map gives the unit matrix.
    """

    def __init__(self, weight: Tensor, orthogonal_map: str, use_trivialization: bool) -> None:
        super().__init__()
        if weight.is_complex() and orthogonal_map == "householder":
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, X: Tensor) -> Tensor:
        wide = X.size(-2) < X.size(-1)
        X = X.mT if wide else X
        Q = self._reflected(X) if self.orthogonal_map == "householder" else self._rotated(X)
        if hasattr(self, "base"):
            Q = self.base @ Q
        return Q.mT if wide else Q

    def _rotated(self, X: Tensor) -> Tensor:
        """The first columns of the rotation that the part below the diagonal generates."""
        n, k = X.size(-2), X.size(-1)
        X = X.tril()
        if n != k:
            X = o.cat([X, X.new_zeros((*X.shape[:-2], n, n - k))], -1)
        A = X - X.mH
        if self.orthogonal_map == "matrix_exp":
            Q = o.matrix_exp(A)
        else:
            unit = o.eye(n, dtype=A.dtype, device=A.device)
            Q = o.linalg.solve(o.add(unit, A, alpha=-0.5), o.add(unit, A, alpha=0.5))
        return Q[..., :k]

    def _reflected(self, X: Tensor) -> Tensor:
        """A product of reflections; the diagonal holds signs."""
        A = X.tril(-1)
        tau = 2.0 / (1.0 + (A * A).sum(-2))
        return o.linalg.householder_product(A, tau) * X.diagonal(0, -2, -1).int().unsqueeze(-2)

    def right_inverse(self, Q: Tensor) -> Tensor:
        with o.no_grad():
            if Q.shape != self.shape:
                raise ValueError(
                    f"Expected a matrix or batch of matrices of shape {self.shape}. Got a tensor of shape {Q.shape}."
                )
            wide = Q.size(-2) < Q.size(-1)
            tall = Q.mT if wide else Q
            if not hasattr(self, "base"):
                found = self._reflections(tall)
                return found.mT if wide else found
            self.base = self._square(tall)
            start = o.zeros_like(Q)
            start.diagonal(0, -2, -1).fill_(-1.0)  # of which the householder map keeps the sign
            return start

    def _reflections(self, Q: Tensor) -> Tensor:
        if self.orthogonal_map != "householder":
            raise NotImplementedError(
                "It is not possible to assign to the matrix exponential or the Cayley parametrizations when "
                "use_trivialization=False."
            )
        A, tau = o.geqrf(Q)
        signs = A.diagonal(0, -2, -1)
        signs.sign_()
        signs[tau == 0.0] *= -1
        return A

    def _square(self, Q: Tensor) -> Tensor:
        """A square orthogonal matrix that begins with the columns of Q."""
        n, k = Q.size(-2), Q.size(-1)
        if n == k:
            return Q.clone() if _is_orthogonal(Q) else _orthogonal_columns(Q)
        rest = o.randn((*Q.shape[:-2], n, n - k), dtype=Q.dtype, device=Q.device)
        return _orthogonal_columns(o.cat([Q, rest], -1))


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *, use_trivialization: bool = True
) -> Module:
    """Keeps a matrix orthogonal (unitary, where it is complex); tall matrices have orthonormal columns, wide ones rows.

    Args:
        orthogonal_map: "matrix_exp", "cayley" or "householder"; by default the first for square and complex matrices,
            the last for others.
        use_trivialization: move away from a base point, the value of the parameter now, and let any orthogonal matrix
            be assigned.

    Example:
        >>> layer = torch.nn.utils.parametrizations.orthogonal(torch.nn.Linear(20, 40))
        >>> torch.dist(layer.weight.T @ layer.weight, torch.eye(20)) < 1e-4
        tensor(True)
    """
    weight: Any = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    if weight.ndim < 2:
        raise ValueError(f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions.")
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    if orthogonal_map not in _ORTHOGONAL_MAPS:
        names = ", ".join(f'"{known}"' for known in _ORTHOGONAL_MAPS)
        raise ValueError(f"orthogonal_map has to be one of {names}. Got: {orthogonal_map}")
    register_parametrization(module, name, _Orthogonal(weight, orthogonal_map, use_trivialization), unsafe=True)
    return module
