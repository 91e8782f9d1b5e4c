"""Window functions with the arguments of SciPy's: symmetric by default. Computed in float64."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from flambeau import functional_ns as o

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
    "kaiser", "nuttall",
]  # fmt: skip

Tensor = o.Tensor
_STRIDED = o.strided


def _checked(name: str, M: int, dtype: Any, layout: Any) -> Any:
    """The dtype of a window whose arguments are right."""
    dtype = dtype or o.get_default_dtype()
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not o.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if dtype not in (o.float32, o.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    return dtype


def _steps(M: int, sym: bool) -> int:
    """Distances from the first place to the one that the window ends at."""
    return M - 1 if sym else M


def _line(M: int, device: Any) -> Tensor:
    """0, 1, ..., M - 1."""
    return o.arange(0, M, 1, dtype=o.float64, device=device)


def _finished(values: Tensor, dtype: Any, requires_grad: bool) -> Tensor:
    return values.to(dtype).requires_grad_(requires_grad)


def _ones(M: int, dtype: Any, device: Any, requires_grad: bool) -> Tensor:
    """Windows of no number, and of one."""
    return o.ones([M], dtype=dtype, device=device, requires_grad=requires_grad)


def general_cosine(
    M: int, *, a: Iterable, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """The sum of (-1)^i a[i] cos(2 pi i k / n) over the terms, k = 0 ... M - 1.

    Args:
        M: how many numbers.
        a: the weights of the cosines.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, the dtype or layout is none of these, or `a` is empty.

    Example:
        >>> torch.signal.windows.general_cosine(3, a=[0.5, 0.5])
        tensor([0., 1., 0.])
    """
    dtype = _checked("general_cosine", M, dtype, layout)
    if M == 0:
        return _ones(0, dtype, device, requires_grad)
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    weights = list(a)
    if not weights:
        raise ValueError("Coefficients cannot be empty")
    if M == 1:
        return _ones(1, dtype, device, requires_grad)
    place = _line(M, device) * (2 * math.pi / _steps(M, sym))
    total = o.zeros_like(place)
    for i, weight in enumerate(weights):
        total = total + (-1) ** i * weight * o.cos(place * i)
    return _finished(total, dtype, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """alpha - (1 - alpha) cos(2 pi k / n), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        alpha: the constant part.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.general_hamming(3, alpha=0.75)
        tensor([0.5000, 1.0000, 0.5000])
    """
    return general_cosine(
        M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def hamming(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.54 - 0.46 cos(2 pi k / n), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.hamming(3)
        tensor([0.0800, 1.0000, 0.0800])
    """
    return general_hamming(
        M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def hann(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """(1 - cos(2 pi k / n)) / 2, k = 0 ... M - 1.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.hann(4, sym=False)
        tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return general_hamming(
        M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def blackman(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """0.42 - 0.5 cos(2 pi k / n) + 0.08 cos(4 pi k / n), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.blackman(4, sym=False).sum()
        tensor(1.6800)
    """
    dtype = _checked("blackman", M, dtype, layout)
    return general_cosine(
        M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad
    )


def nuttall(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A sum of four cosines, of weights 0.3635819, 0.4891775, 0.1365995, 0.0106411.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.nuttall(3)
        tensor([3.6280e-04, 1.0000e+00, 3.6280e-04])
    """
    return general_cosine(
        M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout, device=device,
        requires_grad=requires_grad,
    )  # fmt: skip


def bartlett(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """1 - |2 k / n - 1|, k = 0 ... M - 1.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.bartlett(5)
        tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    dtype = _checked("bartlett", M, dtype, layout)
    if M < 2:
        return _ones(M, dtype, device, requires_grad)
    values = 1 - o.abs(_line(M, device) * (2 / _steps(M, sym)) - 1)
    return _finished(values, dtype, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """sin(pi (k + 1/2) / n), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.cosine(3)
        tensor([0.5000, 1.0000, 0.5000])
    """
    dtype = _checked("cosine", M, dtype, layout)
    if M == 0:
        return _ones(0, dtype, device, requires_grad)
    values = o.sin((_line(M, device) + 0.5) * (math.pi / (M if sym or M == 1 else M + 1)))
    return _finished(values, dtype, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
    layout: Any = _STRIDED, device: Any = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-|k - center| / tau), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        center: of windows that are not symmetric; the middle where it is left out.
        tau: after how many steps the window has fallen to 1/e.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, tau is not positive, a symmetric window has a center, or the dtype is none of these.

    Example:
        >>> torch.signal.windows.exponential(3)
        tensor([0.3679, 1.0000, 0.3679])
    """
    dtype = _checked("exponential", M, dtype, layout)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    if M == 0:
        return _ones(0, dtype, device, requires_grad)
    middle = (M if not sym and M > 1 else M - 1) / 2 if center is None else center
    return _finished(o.exp(-o.abs(_line(M, device) - middle) / tau), dtype, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """exp(-((k - middle) / std)^2 / 2), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        std: the standard deviation, in steps.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M is negative, std is not positive, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.gaussian(3)
        tensor([0.6065, 1.0000, 0.6065])
    """
    dtype = _checked("gaussian", M, dtype, layout)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    if M == 0:
        return _ones(0, dtype, device, requires_grad)
    distance = (_line(M, device) - (M if not sym and M > 1 else M - 1) / 2) / std
    return _finished(o.exp(distance * distance * -0.5), dtype, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = _STRIDED, device: Any = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """i0(beta sqrt(1 - (2 k / n - 1)^2)) / i0(beta), k = 0 ... M - 1.

    Args:
        M: how many numbers.
        beta: how narrow the window is.
        sym: symmetric, as filters want it; otherwise periodic, one short of the next turn, as spectra want it.
        dtype, layout, device, requires_grad: of the result; float32 or float64.

    Raises:
        ValueError: M or beta is negative, or the dtype or layout is none of these.

    Example:
        >>> torch.signal.windows.kaiser(3, beta=2.0)
        tensor([0.4387, 1.0000, 0.4387])
    """
    dtype = _checked("kaiser", M, dtype, layout)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    if M < 2:
        return _ones(M, dtype, device, requires_grad)
    height = _line(M, device) * (2 / _steps(M, sym)) - 1
    root = o.sqrt(o.clamp(1 - height * height, 0))
    values = o.i0(root * beta) / o.i0(o.full([], beta, dtype=o.float64, device=device))
    return _finished(values, dtype, requires_grad)
