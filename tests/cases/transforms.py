"""Fourier transforms, windows of signals, sums along a dimension."""

from cases.make import Case, Maker, case


def _any(s: Maker) -> list[Case]:
    return [case(s.x(4)), case(s.x(2, 3), 5), case(s.x(3, 2), 2, 0, "ortho"), case(s.x(2, 3), None, -1, "forward")]


def _real(s: Maker) -> list[Case]:
    return _any(s) if s.real else []


def _half(s: Maker) -> list[Case]:
    """Transforms that read half of a spectrum."""
    return [case(s.x(4)), case(s.x(2, 3), 5), case(s.x(3, 2), 4, 0, "ortho"), case(s.x(2, 3), None, -1, "forward")]


def _two(s: Maker) -> list[Case]:
    return [case(s.x(2, 3)), case(s.x(3, 2), (2, 3)), case(s.x(2, 3, 2), None, (0, 1), "ortho")]


def _many(s: Maker) -> list[Case]:
    return [case(s.x(2, 3)), case(s.x(2, 2, 3), (3,), (1,)), case(s.x(2, 3), norm="forward")]


def _when_real(cases):
    return lambda s: cases(s) if s.real else []


CASES = {
    **{f"fft_{n}": _any for n in ("fft", "ifft")},
    **{f"fft_{n}": _real for n in ("rfft", "ihfft")},
    **{f"fft_{n}": _half for n in ("irfft", "hfft")},
    **{f"fft_{n}": _two for n in ("fft2", "ifft2", "irfft2", "hfft2")},
    **{f"fft_{n}": _when_real(_two) for n in ("rfft2", "ihfft2")},
    **{f"fft_{n}": _many for n in ("fftn", "ifftn", "irfftn", "hfftn")},
    **{f"fft_{n}": _when_real(_many) for n in ("rfftn", "ihfftn")},
    **{f"fft_{n}": lambda s: [case(s.x(4)), case(s.x(2, 3), 1), case(s.x(2, 3), (0, 1))] for n in ("fftshift", "ifftshift")},
    "stft": lambda s: [
        case(s.x(12), 4, return_complex=True, window=s.within(0.5, 1, 4)),
        case(s.x(2, 10), 4, 2, center=False, normalized=True, return_complex=True),
    ],
    "istft": lambda s: [case(s.x(3, 5), 4, window=s.within(0.5, 1, 4)), case(s.x(2, 3, 4), 4, 2, normalized=True)] if not s.real else [],
    "logcumsumexp": lambda s: [case(s.x(5), 0), case(s.x(2, 3), 1), case(s.x(), 0)] if s.real else [],
    "cumsum": lambda s: [case(s.x(5), 0), case(s.x(2, 3), 1), case(s.x(), 0), case(s.x(0, 2), 0)],
    "cumprod": lambda s: [case(s.away(5), 0), case(s.away(2, 3), 1), case(s.x(), 0)],
    "cummax": lambda s: [case(s.distinct(5), 0), case(s.distinct(2, 3), 1)] if s.real else [],
    "cummin": lambda s: [case(s.distinct(5), 0), case(s.distinct(2, 3), 1)] if s.real else [],
    "diff": lambda s: [
        case(s.x(5)), case(s.x(2, 4), 2), case(s.x(2, 3), 1, 0, s.x(1, 3), s.x(2, 3)), case(s.x(2, 3), 1, 1, s.x(2, 1)),
    ],
    "trapezoid.x": lambda s: [case(s.x(4), s.x(4)), case(s.x(2, 3), s.x(3))],
    "trapezoid.dx": lambda s: [case(s.x(4)), case(s.x(2, 3), dx=0.5, dim=0)],
    "cumulative_trapezoid.x": lambda s: [case(s.x(4), s.x(4)), case(s.x(2, 3), s.x(3))],
    "cumulative_trapezoid.dx": lambda s: [case(s.x(4)), case(s.x(2, 3), dx=0.5, dim=0)],
    "trapz.x": lambda s: [case(s.x(4), s.x(4))],
    "trapz.dx": lambda s: [case(s.x(4), dx=0.5)],
}  # fmt: skip
