"""Discrete Fourier transforms against NumPy's, their gradients, layouts and errors."""

import itertools
from functools import partial

import numpy as np
import pytest

import flambeau as torch

RANDOM = np.random.default_rng(0)
NORMS = (None, "backward", "forward", "ortho")
ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
REAL = ("rfft", "ihfft")


def numbers(*shape, real=False):
    x = RANDOM.normal(size=shape)
    return x if real else x + 1j * RANDOM.normal(size=shape)


def operand(name: str, *shape):
    return torch.from_numpy(numbers(*shape, real=name.rstrip("2n") in REAL))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ONE)
def test_one_dimension(name, norm):
    ours, theirs = getattr(torch.fft, name), getattr(np.fft, name)
    for dim, n in itertools.product((0, 1, -1), (None, 1, 2, 5, 8)):
        x = operand(name, 4, 3, 6)
        want = theirs(x.numpy(), n, dim, norm)
        assert np.allclose(ours(x, n, dim, norm).numpy(), want, atol=1e-12), (dim, n)
        single = x.to(torch.complex64 if x.is_complex() else torch.float32)
        got = ours(single, n=n, dim=dim, norm=norm)
        assert got.numpy().itemsize * 2 == want.itemsize
        assert np.allclose(got.numpy(), want, atol=1e-5)
        if name in ("fft", "ifft"):
            assert np.allclose(ours(x.real, n, dim, norm).numpy(), theirs(x.real.numpy(), n, dim, norm), atol=1e-12)


def reference(name: str, x, s, dims, norm):
    """NumPy's, where it has one; the other real transforms by those of one dimension."""
    if name in ("hfftn", "ihfftn"):
        sizes = [x.shape[d] for d in dims] if s is None else s
        last, rest = (sizes[-1], dims[-1]), list(zip(sizes[:-1], dims[:-1], strict=True))
        if name == "ihfftn":
            x = np.fft.ihfft(x, last[0], last[1], norm)
            for n, d in rest:
                x = np.fft.ifft(x, n, d, norm)
            return x
        for n, d in rest:
            x = np.fft.fft(x, n, d, norm)
        return np.fft.hfft(x, None if s is None else last[0], last[1], norm)
    return getattr(np.fft, name)(x, s, dims, norm)


@pytest.mark.parametrize("name", [f"{n}n" for n in ONE])
def test_several_dimensions(name):
    ours, two = getattr(torch.fft, name), getattr(torch.fft, name[:-1] + "2")
    for dims, s in (((0, 1, 2), None), ((2, 0), (3, 7)), ((1,), None), ((-1, -2), (4, 6)), ((0, 2), (5, 2))):
        for norm in NORMS:
            x = operand(name, 3, 4, 5)
            want = reference(name, x.numpy(), s, dims, norm)
            assert np.allclose(ours(x, s, dims, norm).numpy(), want, atol=1e-11), (dims, s, norm)
            if len(dims) == 2:
                assert np.allclose(two(x, s, dims, norm).numpy(), want, atol=1e-11)
    x = operand(name, 3, 4, 5)
    assert np.allclose(ours(x).numpy(), reference(name, x.numpy(), None, (0, 1, 2), None), atol=1e-11)
    assert np.allclose(ours(x, s=(4, 4)).numpy(), reference(name, x.numpy(), (4, 4), (1, 2), None), atol=1e-11)
    assert np.allclose(two(x).numpy(), reference(name, x.numpy(), None, (1, 2), None), atol=1e-11)
    kept = ours(x, s=(-1, 4), dim=(0, 1))
    assert np.allclose(kept.numpy(), reference(name, x.numpy(), (3, 4), (0, 1), None), atol=1e-11)


@pytest.mark.parametrize("name", [*ONE, *(f"{n}n" for n in ONE)])
def test_gradients(name):
    function = getattr(torch.fft, name)
    several = name.endswith("n")
    sizes = ((None, (4, 5), (3, 2)) if several else (None, 1, 4, 5, 8))
    for n, norm in zip(sizes, itertools.cycle(("ortho", None, "forward")), strict=False):
        x = operand(name, 3, 5).requires_grad_()
        call = partial(lambda x, n, dim, norm: function(x, n, dim, norm), n=n, dim=(1, 0) if several else 0, norm=norm)
        assert torch.autograd.gradcheck(call, (x,)), (n, norm)
        assert torch.autograd.gradgradcheck(call, (x,)), (n, norm)
    real = torch.from_numpy(numbers(4, real=True)).requires_grad_()
    if name in ("fft", "ifft", "irfft", "fftn"):
        assert torch.autograd.gradcheck(function, (real,))
        assert torch.autograd.gradgradcheck(function, (real,))


def test_results_lie_in_memory_with_transformed_dimensions_last():
    """Strides recorded from PyTorch."""
    x = torch.randn(2, 3, 4, 5)
    z = x.to(torch.complex64)
    assert torch.fft.fft(z, dim=0).stride() == (1, 40, 10, 2)
    assert torch.fft.rfft(x, dim=1).stride() == (40, 1, 10, 2)
    assert torch.fft.irfft(z, dim=1).stride() == (80, 1, 20, 4)
    assert torch.fft.fftn(z, dim=(1, 0)).stride() == (3, 1, 30, 6)
    assert torch.fft.rfftn(x, dim=(1, 0)).stride() == (1, 2, 30, 6)
    assert torch.fft.irfftn(z, dim=(0, 1)).stride() == (4, 1, 40, 8)
    assert torch.fft.ihfftn(x, dim=(2, 3)).stride() == (36, 12, 1, 4)
    assert torch.fft.ifft(x.transpose(0, 2), dim=0).stride() == (1, 20, 60, 4)
    moved = torch.randn(4, 3, 2).transpose(0, 2)[:, ::2]
    want = np.fft.fft(np.ascontiguousarray(moved.numpy()), axis=1)
    assert np.allclose(torch.fft.fft(moved, dim=1).numpy(), want, atol=1e-5)


def test_threads_share_large_transforms():
    x = torch.from_numpy(numbers(64, 40, 60))
    before = torch.get_num_threads()
    try:
        results = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append((torch.fft.fftn(x), torch.fft.rfft(x.real, dim=0), torch.fft.irfft(x, dim=1)))
    finally:
        torch.set_num_threads(before)
    for one, three in zip(*results, strict=True):
        assert torch.equal(torch.view_as_real(one) if one.is_complex() else one,
                           torch.view_as_real(three) if three.is_complex() else three)  # fmt: skip
    assert np.allclose(results[0][0].numpy(), np.fft.fftn(x.numpy()))
    assert np.allclose(results[0][1].numpy(), np.fft.rfft(x.real.numpy(), axis=0))


def test_meta_and_dtypes():
    x = torch.randn(3, 4, 5)
    for name in ("fft", "rfft", "irfft", "hfftn", "fft2", "ihfftn"):
        real, meta = getattr(torch.fft, name)(x), getattr(torch.fft, name)(x.to("meta"))
        assert meta.is_meta and meta.shape == real.shape and meta.stride() == real.stride() and meta.dtype == real.dtype
    for dtype in (torch.int64, torch.bool, torch.uint8, torch.int16):
        counts = torch.tensor([1, 0, 1]).to(dtype)
        assert torch.fft.fft(counts).dtype == torch.complex64
        assert torch.fft.hfft(counts).dtype == torch.float32
    assert torch.fft.fftn(torch.tensor(2.0)).item() == 2 + 0j
    assert torch.fft.fftn(x, dim=()).shape == x.shape
    assert torch.fft.fft(torch.zeros(0, 3)).shape == (0, 3)
    out = torch.empty(0, dtype=torch.complex64)
    assert torch.fft.fft(x, out=out) is out and out.shape == x.shape
    assert torch.equal(torch.conj(torch.fft.fft(x)).resolve_conj(), torch.fft.fft(x).conj_physical())


def test_shifts_and_frequencies():
    x = torch.from_numpy(RANDOM.normal(size=(4, 5)))
    for dim in (None, 0, -1, (0, 1)):
        assert np.array_equal(torch.fft.fftshift(x, dim).numpy(), np.fft.fftshift(x.numpy(), dim))
        assert np.array_equal(torch.fft.ifftshift(x, dim).numpy(), np.fft.ifftshift(x.numpy(), dim))
    assert torch.autograd.gradcheck(torch.fft.ifftshift, (x.requires_grad_(),))
    for n in (1, 2, 7, 8):
        assert np.allclose(torch.fft.fftfreq(n, 0.3).numpy(), np.fft.fftfreq(n, 0.3))
        assert np.allclose(torch.fft.rfftfreq(n, d=0.3, dtype=torch.float64).numpy(), np.fft.rfftfreq(n, 0.3), rtol=1e-15)
    assert torch.fft.fftfreq(3, requires_grad=True).requires_grad and torch.fft.fftfreq(0).shape == (0,)
    assert torch.fft.fftfreq(4, 0.0)[1].item() == torch.inf


MATRIX = torch.ones(4, 4)
COMPLEX = torch.ones(4, 4, dtype=torch.complex64)
NONE_LEFT = "must transform at least one axis"


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda: torch.fft.fft(MATRIX, 0), RuntimeError, r"Invalid number of data points \(0\) specified"),
        (lambda: torch.fft.irfft(COMPLEX[:, :1]), RuntimeError, r"Invalid number of data points \(0\) specified"),
        (lambda: torch.fft.fftn(MATRIX, s=(-2, 2)), RuntimeError, r"Invalid number of data points \(-2\) specified"),
        (lambda: torch.fft.fft(torch.tensor(1.0)), IndexError, "Dimension specified as -1 but tensor has no dimensions"),
        (lambda: torch.fft.fft(MATRIX, dim=5), IndexError, r"Dimension out of range \(expected to be in range of \[-2, 1\]"),
        (lambda: torch.fft.fft2(MATRIX[0]), IndexError, r"in range of \[-1, 0\], but got -2"),
        (lambda: torch.fft.fft(MATRIX, norm="x"), RuntimeError, 'Invalid normalization mode: "x"'),
        (lambda: torch.fft.fft(MATRIX.half()), RuntimeError, "Unsupported dtype Half"),
        (lambda: torch.fft.rfft(COMPLEX), RuntimeError, "rfft expects a real input tensor, but got ComplexFloat"),
        (lambda: torch.fft.rfft2(COMPLEX), RuntimeError, "rfftn expects a real-valued input tensor, but got ComplexFloat"),
        (lambda: torch.fft.ihfftn(COMPLEX), RuntimeError, "Only supports floating-point dtypes, but found: ComplexFloat"),
        (lambda: torch.fft.rfftn(MATRIX, dim=()), RuntimeError, f"rfftn {NONE_LEFT}"),
        (lambda: torch.fft.hfftn(torch.tensor(1.0)), RuntimeError, f"hfftn {NONE_LEFT}"),
        (lambda: torch.fft.irfftn(COMPLEX, dim=()), RuntimeError, f"irfftn {NONE_LEFT}"),
        (lambda: torch.fft.fftn(MATRIX, dim=(0, -2)), RuntimeError, "FFT dims must be unique"),
        (lambda: torch.fft.fftn(MATRIX, s=(1, 2, 3)), RuntimeError, "Got shape with 3 values but input tensor only has 2"),
        (lambda: torch.fft.fftn(MATRIX, s=(2,), dim=(0, 1)), RuntimeError, "dim and shape arguments must have the same len"),
        (lambda: torch.fft.fft(MATRIX, norm=2), TypeError, r"fft_fft\(\): argument 'norm' must be str, not int"),
        (lambda: torch.fft.fftshift(torch.tensor(1.0)), RuntimeError, "`shifts` required"),
        (lambda: torch.fft.fftfreq(4, dtype=torch.int64), RuntimeError, "fftfreq requires a floating point or complex"),
        (lambda: torch.fft.fftfreq(-1), RuntimeError, r"negative dimension -1: \[-1\]"),
    ],
)  # fmt: skip
def test_errors(call, kind, sentence):
    with pytest.raises(kind, match=sentence):
        call()
