"""Window functions, and the short-time Fourier transform with its inverse."""

import doctest

import numpy as np
import pytest
from scipy import signal

import flambeau as torch
from flambeau.signal import windows

RANDOM = np.random.default_rng(0)
# name: numbers that SciPy takes after the length, arguments of ours
WINDOWS = {
    "bartlett": ("bartlett", {}), "blackman": ("blackman", {}), "cosine": ("cosine", {}), "hann": ("hann", {}),
    "hamming": ("hamming", {}), "nuttall": ("nuttall", {}), "gaussian": (("gaussian", 1.7), {"std": 1.7}),
    "general_hamming": (("general_hamming", 0.7), {"alpha": 0.7}), "kaiser": (("kaiser", 6.0), {"beta": 6.0}),
    "general_cosine": (("general_cosine", [0.4, 0.5, 0.1]), {"a": [0.4, 0.5, 0.1]}),
    "exponential": (("exponential", None, 2.5), {"tau": 2.5}),
}  # fmt: skip


@pytest.mark.parametrize("name", WINDOWS)
def test_windows(name):
    spec, arguments = WINDOWS[name]
    function = getattr(torch.signal.windows, name)
    for length in (1, 2, 3, 8, 33):
        for symmetric in (True, False):
            got = function(length, sym=symmetric, dtype=torch.float64, **arguments)
            want = signal.get_window(spec, length, fftbins=not symmetric)
            assert np.allclose(got.numpy(), want, atol=1e-14), (length, symmetric)
            single = function(length, sym=symmetric, **arguments)
            assert single.dtype == torch.float32 and torch.equal(single, got.float())
    assert function(0, **arguments).shape == (0,)
    assert function(4, requires_grad=True, **arguments).requires_grad
    who = "general_cosine" if name in ("hann", "hamming", "nuttall", "general_hamming") else name
    for call, sentence in (
        ({"M": -1}, f"{who} requires non-negative window length, got M=-1"),
        ({"M": 3, "dtype": torch.int64}, f"{who} expects float32 or float64 dtypes, got: torch.int64"),
        ({"M": 3, "layout": torch.sparse_coo}, f"{who} is implemented for strided tensors only, got: torch.sparse_coo"),
    ):
        with pytest.raises(ValueError, match=sentence):
            function(**call, **arguments)


def test_arguments_of_windows():
    for call, kind, sentence in (
        (lambda: windows.exponential(3, tau=0), ValueError, "Tau must be positive, got: 0 instead."),
        (lambda: windows.exponential(3, center=1), ValueError, "Center must be None for symmetric windows"),
        (lambda: windows.gaussian(3, std=-1.0), ValueError, "Standard deviation must be positive, got: -1.0 instead."),
        (lambda: windows.kaiser(3, beta=-1), ValueError, "beta must be non-negative, got: -1 instead."),
        (lambda: windows.general_cosine(3, a=[]), ValueError, "Coefficients cannot be empty"),
        (lambda: windows.general_cosine(3, a=3), TypeError, "Coefficients must be a list/tuple"),
    ):
        with pytest.raises(kind, match=sentence):
            call()
    assert windows.exponential(3, center=0, sym=False, dtype=torch.float64).tolist() == [1, np.exp(-1), np.exp(-2)]


def test_examples():
    failed, ran = doctest.testmod(windows, extraglobs={"torch": torch})
    assert ran == len(WINDOWS) and not failed


def test_window_functions():
    for name, spec in (("hann", "hann"), ("hamming", "hamming"), ("blackman", "blackman"), ("bartlett", "bartlett"),
                       ("kaiser", ("kaiser", 12.0))):  # fmt: skip
        function = getattr(torch, f"{name}_window")
        for length in (1, 2, 7, 32):
            want = signal.get_window(spec, length)
            assert np.allclose(function(length, dtype=torch.float64).numpy(), want, atol=1e-14)
            assert np.allclose(function(length, False).numpy(), signal.get_window(spec, length, False), atol=1e-6)
        assert function(5, dtype=torch.bfloat16).dtype == torch.bfloat16 and function(0).shape == (0,)
        with pytest.raises(RuntimeError, match=f"{name}_window requires non-negative window_length, got window_length=-1"):
            function(-1)
        with pytest.raises(RuntimeError, match=f"{name}_window expects floating point dtypes"):
            function(3, dtype=torch.int32)
    want = 0.6 - 0.3 * np.cos(2 * np.pi * np.arange(5) / 5)
    assert np.allclose(torch.hamming_window(5, True, 0.6, 0.3).numpy(), want, atol=1e-6)
    assert np.allclose(torch.hamming_window(5, True, 0.6)[0].item(), 0.14)
    assert np.allclose(torch.kaiser_window(5, False, 3.0).numpy(), np.kaiser(5, 3.0), atol=1e-6)


def spectrum(x, n_fft, hop, window, center, onesided, normalized):
    """By the definition."""
    if center:
        x = np.pad(x, n_fft // 2, mode="reflect")
    frames = np.stack([x[k : k + n_fft] * window for k in range(0, len(x) - n_fft + 1, hop)])
    made = np.fft.fft(frames, axis=1).T / (np.sqrt(n_fft) if normalized else 1)
    return made[: n_fft // 2 + 1] if onesided else made


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize(("n_fft", "hop", "length"), [(8, None, None), (9, 4, 7), (16, 5, 16), (8, 1, 3)])
def test_stft(n_fft, hop, length, center):
    x = RANDOM.normal(size=(2, 40))
    short = RANDOM.uniform(0.5, 1, length or n_fft)
    left = (n_fft - len(short)) // 2
    whole = np.pad(short, (left, n_fft - len(short) - left))
    for complex_, normalized in ((False, False), (False, True), (True, False)):
        given = x + 1j * x[::-1] if complex_ else x
        arguments = {"hop_length": hop, "win_length": length, "center": center, "normalized": normalized}
        window = torch.from_numpy(short)
        got = torch.stft(torch.from_numpy(given), n_fft, window=window, return_complex=True, **arguments)
        want = np.stack([spectrum(r, n_fft, hop or n_fft // 4, whole, center, not complex_, normalized) for r in given])
        assert np.allclose(got.numpy(), want)
        parts = torch.from_numpy(given[0]).stft(n_fft, window=window, return_complex=False, **arguments)
        assert torch.allclose(torch.view_as_complex(parts), got[0])
        if center:
            back = torch.istft(got, n_fft, window=window, length=40, return_complex=complex_, onesided=not complex_, **arguments)
            assert np.allclose(back.numpy(), given)


def test_gradients_of_stft():
    x = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    window = (torch.rand(6, dtype=torch.float64) + 0.5).requires_grad_()

    def forward(x, window):
        return torch.stft(x, 8, 3, 6, window, return_complex=True)

    def back(z, window):
        return torch.istft(z, 8, 3, 6, window)

    assert torch.autograd.gradcheck(forward, (x, window))
    assert torch.autograd.gradgradcheck(forward, (x, window))
    z = forward(x, window).detach().requires_grad_()
    assert torch.autograd.gradcheck(back, (z, window))
    assert torch.autograd.gradgradcheck(back, (z, window))


def test_gradient_of_overlapping_windows():
    x = torch.randn(3, 9, 2, dtype=torch.float64, requires_grad=True)
    for dim, size, step in ((1, 4, 1), (1, 3, 2), (-2, 2, 5), (0, 3, 1)):
        assert torch.autograd.gradcheck(lambda x: x.unfold(dim, size, step), (x,))  # noqa: B023
        assert torch.autograd.gradgradcheck(lambda x: x.unfold(dim, size, step), (x,))  # noqa: B023
    point = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: x.unfold(0, 1, 1), (point,))


SIGNAL = torch.ones(20)
SPECTRUM = torch.ones(5, 11, dtype=torch.complex64)
SHOWN = r"stft\(torch.LongTensor\[28\], n_fft=8, hop_length=2, win_length=8, window=None, normalized=0"
SHOWN_BACK = r"istft\(CPUComplexFloatType\[5, 11\], n_fft=8, hop_length=2, win_length=8, window=None, center=1, normalized=0"


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: torch.stft(SIGNAL, 8), "stft requires the return_complex parameter be given for real inputs"),
        (lambda: torch.stft(SIGNAL.long(), 8, return_complex=True), "expected a tensor of floating point or complex"),
        (lambda: torch.stft(torch.ones(2, 2, 20), 8, return_complex=True), "expected a 1D or 2D tensor"),
        (lambda: torch.stft(SIGNAL, 50, center=False, return_complex=True), "expected 0 < n_fft < 20, but got n_fft=50"),
        (lambda: torch.stft(SIGNAL, 50, return_complex=True), "Padding size should be less than the corresponding input"),
        (lambda: torch.stft(SIGNAL, 8, 0, return_complex=True), "expected hop_length > 0, but got hop_length=0"),
        (lambda: torch.stft(SIGNAL, 8, win_length=9, return_complex=True), "expected 0 < win_length <= n_fft, but got"),
        (lambda: torch.stft(SIGNAL, 8, window=torch.ones(5), return_complex=True), r"but got window with size \[5\]"),
        (lambda: torch.stft(SIGNAL.to(torch.complex64), 8, onesided=True), "Cannot have onesided output if window or"),
        (lambda: torch.stft(SIGNAL, 8, align_to_window=True, return_complex=True), "should only be set when center = false"),
        (lambda: torch.stft(SIGNAL, 8, win_length=0, return_complex=True), r"win_length=0, window=None, normalized=0"),
        (lambda: torch.istft(SPECTRUM.real, 8), "istft requires a complex-valued input tensor matching the output from"),
        (lambda: torch.istft(SPECTRUM, 8, onesided=False), "to match n_fft when onesided=False, but got 5"),
        (lambda: torch.istft(SPECTRUM, 12, onesided=True), "to match n_fft / 2 [+] 1 when onesided=True, but got 5"),
        (lambda: torch.istft(SPECTRUM, 8, 9), "expected 0 < hop_length <= win_length"),
        (lambda: torch.istft(SPECTRUM, 8, win_length=9), "expected 0 < win_length <= n_fft"),
        (lambda: torch.istft(SPECTRUM, 8, window=torch.ones(3)), "Invalid window shape. window has to be 1D and length of"),
        (lambda: torch.istft(SPECTRUM, 8, window=torch.zeros(8)), "window overlap add min: 1"),
        (lambda: torch.istft(SPECTRUM, 8, return_complex=True), "Cannot have onesided output if window or input is complex"),
        (lambda: torch.istft(SPECTRUM[:, :0], 8), "input tensor cannot be empty"),
        (lambda: torch.istft(SPECTRUM, 8, window=torch.ones(8) * 1j), "Complex windows are incompatible with return_complex"),
    ],
)  # fmt: skip
def test_errors(call, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        call()


def test_errors_show_the_call():
    with pytest.raises(RuntimeError, match=SHOWN):
        torch.stft(SIGNAL.long(), 8, return_complex=True)
    with pytest.raises(RuntimeError, match=SHOWN_BACK):
        torch.istft(SPECTRUM, 8, onesided=False)
    with pytest.raises(IndexError, match="Dimension out of range"):
        torch.istft(SPECTRUM[0], 8)


def test_a_signal_that_is_too_short_is_filled_up():
    z = torch.stft(torch.randn(20), 8, return_complex=True)
    with pytest.warns(UserWarning, match="Result is being padded with zeros in the tail"):
        assert torch.istft(z, 8, length=100)[24:].abs().sum() == 0
