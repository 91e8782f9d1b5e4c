"""The short-time Fourier transform and its inverse."""

import warnings
from functools import partial

from .table import Composite, op


def _context(name: str, x, window, numbers: dict) -> str:
    """The call as PyTorch's messages show it."""
    kind = "Complex" if x.is_complex() else ""
    if name == "stft":
        shown = f"torch.{x.dtype.title}Tensor{list(x.shape)}"
    else:
        shown = f"CPU{kind}{x.dtype.title.removeprefix(kind)}Type{list(x.shape)}"
    values = {"window": "None" if window is None else f"torch.{window.dtype.title}Tensor{{{list(window.shape)}}}"}
    for key, value in numbers.items():
        values[key] = "None" if value is None else str(int(value))
    first = ("n_fft", "hop_length", "win_length", "window")
    order = [*first, *(k for k in values if k not in first)]
    return f"{name}({shown}, " + ", ".join(f"{k}={values[k]}" for k in order) + ")"


def _whole_window(o, window, win_length: int, n_fft: int, x):
    """The window in the middle of n_fft places; None where it is 1 everywhere."""
    left = (n_fft - win_length) // 2
    if window is None and win_length == n_fft:
        return None
    if window is None:
        window = o.ones([win_length], dtype=x.real.dtype if x.is_complex() else x.dtype, device=x.device)
    return o.pad(window, [left, n_fft - win_length - left])


def _centred(o, x, half: int, mode: str):
    """x continued at both ends, as a signal of one channel."""
    extended = o.reshape(x, [1] * (3 - x.dim()) + list(x.shape)) if x.dim() < 3 else x
    padded = o.pad(extended, [half, half], mode)
    return o.reshape(padded, list(padded.shape)[padded.dim() - x.dim() :]) if x.dim() else o.reshape(padded, [-1])


def _stft(
    o, input, n_fft, hop_length=None, win_length=None, window=None, center=True, pad_mode="reflect",
    normalized=False, onesided=None, return_complex=None, align_to_window=None,
):  # fmt: skip
    x = _centred(o, input, n_fft // 2, pad_mode) if center else input
    hop = n_fft // 4 if hop_length is None else hop_length
    length = n_fft if win_length is None else win_length
    complex_input = x.is_complex() or (window is not None and window.is_complex())
    if center and align_to_window:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if return_complex is None:
        if not complex_input:
            raise RuntimeError(
                "stft requires the return_complex parameter be given for real inputs, and will further require that "
                "return_complex=True in a future PyTorch release."
            )
        return_complex = True
    numbers = {
        "n_fft": n_fft, "hop_length": hop, "win_length": length, "normalized": normalized, "onesided": onesided,
        "return_complex": return_complex, "align_to_window": align_to_window,
    }  # fmt: skip
    context = partial(_context, "stft", x, window, numbers)
    if not (x.dtype.is_floating_point or x.is_complex()):
        raise RuntimeError(f"{context()} : expected a tensor of floating point or complex values")
    if x.dim() not in (1, 2):
        raise RuntimeError(f"{context()} : expected a 1D or 2D tensor")
    samples = x.shape[-1]
    if not 0 < n_fft <= samples:
        raise RuntimeError(f"{context()} : expected 0 < n_fft < {samples}, but got n_fft={n_fft}")
    if hop <= 0:
        raise RuntimeError(f"{context()} : expected hop_length > 0, but got hop_length={hop}")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{context()} : expected 0 < win_length <= n_fft, but got win_length={length}")
    if window is not None and list(window.shape) != [length]:
        raise RuntimeError(
            f"{context()} : expected a 1D window tensor of size equal to win_length={length}, but got window with size "
            f"{list(window.shape)}"
        )
    if onesided and complex_input:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    onesided = not complex_input if onesided is None else onesided
    if align_to_window and length < n_fft:
        side = (n_fft - length) // 2
        x = o.pad(x, [side, side])
    frames = o.unfold(x, -1, n_fft, hop)
    whole = _whole_window(o, window, length, n_fft, x)
    frames = frames if whole is None else o.mul(frames, whole)
    if frames.dtype in (o.float16, o.bfloat16):
        raise RuntimeError(f"MKL FFT doesn't support tensors of type: {frames.dtype.title} [in stft]")
    scaling = "root" if normalized else "none"
    dim = [frames.dim() - 1]
    if frames.is_complex():
        spectrum = o.fft_c2c(frames, dim, scaling, True)
    else:
        spectrum = o.fft_r2c(frames, dim, scaling, onesided)
    spectrum = o.transpose(spectrum, -1, -2)
    return spectrum if return_complex else o.view_as_real(spectrum)


op(
    "stft(Tensor input, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, str pad_mode='reflect', bool normalized=False, bool? onesided=None, bool? return_complex=None, bool? align_to_window=None) -> Tensor",
    names=("stft", "Tensor.stft"),
    body=Composite(_stft),
    doc="Short-time Fourier transform: the spectra of windows of n_fft samples that begin hop_length samples apart.\n\n"
    "Args:\n    hop_length: n_fft // 4 where it is left out.\n    window: of win_length numbers, in the middle of the n_fft; "
    "ones where it is left out.\n    center: windows are centred at multiples of hop_length; the signal is continued at "
    "both ends (`pad_mode`).\n    normalized: divided by sqrt(n_fft).\n    onesided: only the frequencies from 0 to half "
    "(of real signals, the default).\n\nReturns:\n    (batch, frequencies, windows); return_complex=False: parts as a last "
    "dimension.",
)


def _check_istft(x, window, n_fft, hop, length, onesided, context) -> None:
    if not x.numel():
        raise RuntimeError(f"{context()} : input tensor cannot be empty.")
    if x.dim() not in (2, 3):
        raise RuntimeError(f"{context()} : expected a tensor with 3 or 4 dimensions, but got {x.dim() + 1}")
    if onesided and n_fft // 2 + 1 != x.shape[-2]:
        raise RuntimeError(
            f"{context()} : expected the frequency dimension (3rd to the last) of the input tensor to match n_fft / 2 + 1 "
            f"when onesided=True, but got {x.shape[-2]}"
        )
    if not onesided and n_fft != x.shape[-2]:
        raise RuntimeError(
            f"{context()} : expected the frequency dimension (3rd to the last) of the input tensor to match n_fft when "
            f"onesided=False, but got {x.shape[-2]}"
        )
    if not 0 < hop <= length:
        raise RuntimeError(f"{context()} : expected 0 < hop_length <= win_length")
    if not 0 < length <= n_fft:
        raise RuntimeError(f"{context()} : expected 0 < win_length <= n_fft")
    if window is not None and list(window.shape) != [length]:
        raise RuntimeError(f"{context()} : Invalid window shape. window has to be 1D and length of `win_length`")


def _frames(o, x, n_fft, scaling, onesided, return_complex):
    """Windows of the signal: (batch, windows, n_fft)."""
    spectra = o.transpose(x, 1, 2)
    if return_complex:
        if onesided:
            raise RuntimeError("Cannot have onesided output if window or input is complex")
        return o.fft_c2c(spectra, [2], scaling, False)
    half = spectra if onesided else o.narrow(spectra, 2, 0, n_fft // 2 + 1)
    return o.fft_c2r(half, 2, scaling, n_fft)


def _istft(
    o, self, n_fft, hop_length=None, win_length=None, window=None, center=True, normalized=False, onesided=None,
    length=None, return_complex=False,
):  # fmt: skip
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if window is not None and window.is_complex() and not return_complex:
        raise RuntimeError("Complex windows are incompatible with return_complex=False")
    if not self.is_complex():
        raise RuntimeError(
            "istft requires a complex-valued input tensor matching the output from stft with return_complex=True."
        )
    if self.dim() < 2:
        low = -self.dim() - 1
        raise IndexError(f"Dimension out of range (expected to be in range of [{low}, {-low - 1}], but got -3)")
    numbers = {
        "n_fft": n_fft, "hop_length": hop, "win_length": width, "center": center, "normalized": normalized,
        "onesided": onesided, "length": length, "return_complex": return_complex,
    }  # fmt: skip
    context = partial(_context, "istft", self, window, numbers)
    onesided = self.shape[-2] != n_fft if onesided is None else onesided
    _check_istft(self, window, n_fft, hop, width, onesided, context)
    x = self if self.dim() == 3 else o.unsqueeze(self, 0)
    frames = _frames(o, x, n_fft, "root" if normalized else "n", onesided, return_complex)
    whole = _whole_window(o, window, width, n_fft, x)
    if whole is None:
        whole = o.ones([n_fft], dtype=x.real.dtype, device=x.device)
    count = frames.shape[1]
    samples = n_fft + hop * (count - 1)
    signal = o.unfold_backward(o.mul(frames, whole), [x.shape[0], samples], 1, n_fft, hop)
    squares = o.expand(o.mul(whole, whole), [1, count, n_fft])
    envelope = o.unfold_backward(squares, [1, samples], 1, n_fft, hop)
    start = n_fft // 2 if center else 0
    end = start + length if length is not None else samples - n_fft // 2 if center else samples
    kept = max(min(end, samples) - start, 0)
    signal, envelope = o.narrow(signal, 1, start, kept), o.narrow(envelope, 1, start, kept)
    if kept and not envelope.is_meta and not o.min(o.abs(envelope)).item() > 1e-11:
        raise RuntimeError(f"{context()} window overlap add min: 1. A sample lies in no window, or where windows are 0.")
    signal = o.div(signal, envelope)
    if end > samples:
        warnings.warn(
            "The length of signal is shorter than the length parameter. Result is being padded with zeros in the tail. "
            "Please check your center and hop_length settings.",
            stacklevel=2,
        )
        signal = o.pad(signal, [0, end - samples])
    return o.squeeze(signal, 0) if self.dim() == 2 else signal


op(
    "istft(Tensor self, int n_fft, int? hop_length=None, int? win_length=None, Tensor? window=None, bool center=True, bool normalized=False, bool? onesided=None, int? length=None, bool return_complex=False) -> Tensor",
    names=("istft", "Tensor.istft"),
    body=Composite(_istft),
    doc="Inverse of stft, with the same arguments: windows are added where they overlap, and divided by the sum of squares "
    "of the window there, which must not vanish.\n\nArgs:\n    length: of the signal, where it is known: what was continued "
    "at the end is cut, or zeros are added.",
)
