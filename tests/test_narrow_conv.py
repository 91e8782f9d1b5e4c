"""Convolutions of 16-bit floating point and their gradients against the same in float64: sums are float32, rounded
once."""

import pytest

import flambeau as torch

KINDS = [torch.bfloat16, torch.float16]

# input, output channels, kernel, options
CASES = {
    "usual": ((4, 8, 9, 9), 16, (3, 3), {"padding": 1}),
    "odd channels and images": ((3, 3, 11, 10), 7, (3, 3), {"padding": 1}),
    "one image": ((1, 6, 12, 12), 8, (3, 3), {}),
    "strides": ((2, 16, 13, 15), 32, (3, 3), {"stride": 2, "padding": 1}),
    "dilation": ((2, 5, 14, 14), 6, (3, 3), {"dilation": 2, "padding": 2}),
    "groups": ((4, 12, 8, 8), 24, (3, 3), {"groups": 3, "padding": 1}),
    "odd groups": ((2, 9, 8, 8), 6, (3, 3), {"groups": 3}),
    "depthwise": ((2, 16, 10, 10), 16, (3, 3), {"groups": 16, "padding": 1}),
    "points": ((3, 9, 7, 5), 11, (1, 1), {}),
    "points with strides": ((2, 8, 9, 9), 8, (1, 1), {"stride": 2}),
    "patches": ((2, 3, 32, 24), 10, (8, 8), {"stride": 8}),
    "odd patches": ((2, 3, 27, 18), 10, (9, 9), {"stride": 9}),
    "whole images": ((5, 6, 7, 5), 9, (7, 5), {}),
    "few patches": ((2, 4, 40, 40), 6, (7, 7), {"stride": 5, "padding": 1}),
    "few large patches": ((2, 4, 30, 30), 6, (25, 25), {"stride": 4}),
    "images as lanes": ((34, 16, 7, 7), 24, (3, 3), {"padding": 1}),
    "pixels": ((4, 64, 28, 28), 64, (3, 3), {"padding": 1}),
    "line": ((3, 6, 40), 8, (5,), {"padding": 2}),
    "volume": ((2, 4, 6, 7, 8), 6, (3, 3, 3), {"padding": 1}),
}


def close(got, wanted, dtype, terms):
    """One rounding of the result beside what float32 sums lose."""
    epsilon = {torch.bfloat16: 2.0**-8, torch.float16: 2.0**-11}[dtype]
    assert got.dtype is dtype
    error = (got.double() - wanted).abs()
    assert (error <= epsilon * wanted.abs() + 1e-6 * terms + 1e-6).all(), float(error.max())


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_convolutions(case, last, dtype):
    size, outputs, kernel, options = CASES[case]
    if last and len(size) != 4:
        pytest.skip("channels_last is for four dimensions")
    torch.manual_seed(0)
    conv = getattr(torch.nn.functional, f"conv{len(kernel)}d")
    channels = size[1] // options.get("groups", 1)
    x, w, b = (torch.randn(s).to(dtype) for s in (size, (outputs, channels, *kernel), (outputs,)))
    if last:
        x = x.contiguous(memory_format=torch.channels_last)
    operands = [t.requires_grad_() for t in (x, w, b)]
    exact = [t.detach().double().requires_grad_() for t in operands]
    got, wanted = conv(*operands, **options), conv(*exact, **options)
    terms = channels * w[0, 0].numel()
    close(got, wanted.detach(), dtype, terms)
    g = torch.randn(got.shape).to(dtype)
    got.backward(g)
    wanted.backward(g.double())
    pixels = size[0] * got[0, 0].numel()
    for t, e, n in zip(operands, exact, (terms * outputs // channels, pixels, pixels), strict=True):
        close(t.grad, e.grad, dtype, n)


@pytest.mark.parametrize("dtype", KINDS)
@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1, "output_padding": 1}, {"groups": 2, "padding": 1}])
def test_transposed(options, dtype):
    torch.manual_seed(0)
    x, w = torch.randn(3, 8, 6, 7).to(dtype), torch.randn(8, 5, 3, 3).to(dtype)
    b = torch.randn(5 * options.get("groups", 1)).to(dtype)
    got = torch.conv_transpose2d(x, w, b, **options)
    close(got, torch.conv_transpose2d(x.double(), w.double(), b.double(), **options), dtype, 72)


def test_operands_without_elements():
    for size in ((0, 4, 5, 5), (2, 0, 5, 5)):
        x = torch.ones(size, dtype=torch.bfloat16, requires_grad=True)
        w = torch.ones(6, size[1], 3, 3, dtype=torch.bfloat16, requires_grad=True)
        out = torch.conv2d(x, w)
        assert out.shape == (size[0], 6, 3, 3) and not out.any()
        out.sum().backward()
        assert x.grad.shape == size and not w.grad.any()


def test_any_number_of_threads():
    torch.manual_seed(0)
    x, w = torch.randn(6, 33, 20, 20).bfloat16().requires_grad_(), torch.randn(48, 33, 3, 3).bfloat16().requires_grad_()
    before, runs = torch.get_num_threads(), []
    for threads in (1, 2, 5):
        torch.set_num_threads(threads)
        out = torch.conv2d(x, w, padding=1)
        parts = [out, *torch.autograd.grad(out.float().square().sum(), (x, w))]
        runs.append([t.detach().view(torch.int16).numpy().tobytes() for t in parts])
    torch.set_num_threads(before)
    assert runs[0] == runs[1] == runs[2]
