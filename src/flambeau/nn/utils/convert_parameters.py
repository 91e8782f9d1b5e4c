"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from flambeau import functional_ns as o

__all__ = ["parameters_to_vector", "vector_to_parameters"]

Tensor = o.Tensor


def _check_devices(tensors: list[Tensor]) -> None:
    if len({str(t.device) for t in tensors}) > 1:
        raise TypeError("Found two parameters on different devices, this is currently not supported.")


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other."""
    parameters = list(parameters)
    _check_devices(parameters)
    return o.cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Gives parameters the elements of a vector; they share its memory."""
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec).__name__}")
    parameters = list(parameters)
    _check_devices(parameters)
    begin = 0
    for p in parameters:
        end = begin + p.numel()
        p.data = vec[begin:end].view_as(p).data
        begin = end
