"""What distributions share: broadcasting of parameters, lazily computed ones, probabilities and logits."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from typing import Any

from flambeau import functional_ns as o
from flambeau.types import finfo

__all__ = [
    "broadcast_all", "clamp_probs", "lazy_property", "logits_to_probs", "probs_to_logits", "tril_matrix_to_vec",
    "vec_to_tril_matrix",
]  # fmt: skip

Tensor = o.Tensor
euler_constant = 0.57721566490153286060


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(type(value), "__torch_function__")


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the dtype of the first tensor, or the default one."""
    if not all(_is_tensor(v) or isinstance(v, int | float) for v in values):
        raise ValueError(
            "Input arguments must all be instances of Number, torch.Tensor or objects implementing __torch_function__."
        )
    first = next((v for v in values if _is_tensor(v)), None)
    dtype = o.get_default_dtype() if first is None else first.dtype
    device = None if first is None else first.device
    return tuple(
        o.broadcast_tensors(*(v if _is_tensor(v) else o.tensor(v, dtype=dtype, device=device) for v in values))
    )


def standard_normal(shape: Any, dtype: Any, device: Any) -> Tensor:
    """Normal numbers of mean 0 and variance 1."""
    return o.randn(shape, dtype=dtype, device=device)


_standard_normal = standard_normal


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over so many dimensions at the end."""
    return value if dims == 0 else value.reshape((*value.shape[: value.dim() - dims], -1)).sum(-1)


_sum_rightmost = sum_rightmost


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Probabilities from log odds (binary), or from unnormalised logarithms along the last dimension."""
    return o.sigmoid(logits) if is_binary else o.softmax(logits, -1)


def clamp_probs(probs: Tensor) -> Tensor:
    """Probabilities moved away from 0 and 1 by the dtype's epsilon."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """The inverse of `logits_to_probs`."""
    kept = clamp_probs(probs)
    return o.log(kept) - o.log1p(-kept) if is_binary else o.log(kept)


class lazy_property:
    """A property that is computed when it is first read, with gradients recorded, and then kept by the object."""

    def __init__(self, wrapped: Callable[[Any], Any]) -> None:
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        if instance is None:
            return self
        with o.enable_grad():
            value = self.wrapped(instance)
        setattr(instance, self.wrapped.__name__, value)
        return value


def binary_log_prob(logits: Tensor, value: Tensor) -> Tensor:
    """value log p + (1 - value) log(1 - p)."""
    return value * logits + o.logsigmoid(-logits)


def either(probs: Any, logits: Any) -> None:
    """Checks that one of two ways to name a parameter was taken."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")


class ProbsOrLogits:
    """A family over two outcomes whose parameter is given as a probability or as log odds; the other is lazy."""

    _binary = True

    def _take(self, probs: Any, logits: Any, *others: Any) -> list[Tensor]:
        """Sets the one that is given; gives other parameters, broadcast with it."""
        either(probs, logits)
        *rest, given = broadcast_all(*others, logits if probs is None else probs)
        setattr(self, "logits" if probs is None else "probs", given)
        return rest

    @lazy_property
    def logits(self) -> Tensor:
        """log(p / (1 - p)); over more outcomes log(p)."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability of an outcome."""
        return logits_to_probs(self.logits, is_binary=self._binary)

    @property
    def _param(self) -> Tensor:
        given = self.__dict__.get("probs")
        return self.__dict__["logits"] if given is None else given

    @property
    def param_shape(self) -> Any:
        """The shape of probs and of logits."""
        return self._param.size()


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The lower triangle of matrices as vectors, row by row."""
    n = mat.shape[-1]
    if diag < -n or diag >= n:
        raise ValueError(f"diag ({diag}) provided is outside [{-n}, {n - 1}].")
    rows, columns = o.tril_indices(n, n, diag).unbind(0)
    return mat[..., rows, columns]


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """Vectors as the lower triangle of matrices; the inverse of `tril_matrix_to_vec`."""
    n = (-(1 + 2 * diag) + ((1 + 2 * diag) ** 2 + 8 * vec.shape[-1] + 4 * abs(diag) * (diag + 1)) ** 0.5) / 2
    if abs(round(n) - n) > finfo(vec.dtype).eps:
        raise ValueError(
            f"The size of last dimension is {vec.shape[-1]} which cannot be expressed as the lower triangular part "
            "of a square D x D matrix."
        )
    n = round(n)
    rows, columns = o.tril_indices(n, n, diag).unbind(0)
    flat = o.zeros((*vec.shape[:-1], n * n), dtype=vec.dtype, device=vec.device)
    return flat.index_copy(-1, rows * n + columns, vec).reshape((*vec.shape[:-1], n, n))
