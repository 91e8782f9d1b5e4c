"""Patches of images as columns and back, against windows cut by NumPy."""

import itertools

import numpy as np
import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.func import vmap

F = torch.nn.functional
WINDOWS = list(
    itertools.product(
        [(1, 1), (2, 3), (3, 2)], [(1, 1), (2, 1), (1, 3)], [(0, 0), (1, 2), (3, 0), (5, 5)], [(1, 1), (2, 3), (3, 2)]
    )
)


def cut(x, kernel, dilation, padding, stride):
    """The columns of images, by slices."""
    x = np.pad(x, ((0, 0), (0, 0), (padding[0],) * 2, (padding[1],) * 2))
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    h, w = ((n - r - 1) // s + 1 for n, r, s in zip(x.shape[2:], reach, stride, strict=True))
    taps = [
        x[:, :, i : i + (h - 1) * stride[0] + 1 : stride[0], j : j + (w - 1) * stride[1] + 1 : stride[1]]
        for i in range(0, reach[0] + 1, dilation[0])
        for j in range(0, reach[1] + 1, dilation[1])
    ]
    return np.stack(taps, 2).reshape(*x.shape[:1], -1, h * w)


def test_columns_and_their_gradient():
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((2, 3, 8, 9)), requires_grad=True)
    for window in WINDOWS:
        y = F.unfold(x, *window)
        np.testing.assert_array_equal(y.detach().numpy(), cut(x.detach().numpy(), *window), err_msg=str(window))
        g = torch.tensor(rng.standard_normal(y.shape))
        back = F.fold(g, (8, 9), *window)
        assert torch.equal(torch.autograd.grad(y, x, g)[0], back)
        np.testing.assert_allclose((back * x).sum().item(), (g * y).sum().item(), rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.bool])
def test_dtypes_and_layouts(dtype):
    rng = np.random.default_rng(1)
    x = torch.tensor(rng.integers(0, 2, (2, 4, 6, 3))).to(dtype)
    seen = x.permute(0, 2, 3, 1)
    y = F.unfold(seen, 2, padding=1)
    wide = seen.to(torch.complex128).contiguous()
    assert torch.equal(y.to(torch.complex128), F.unfold(wide, 2, padding=1))
    assert torch.equal(F.unfold(seen[0], 2, padding=1), y[0])
    summed = F.fold(y, (3, 4), 2, padding=1)
    if dtype is torch.bool:
        assert torch.equal(summed, seen)
    else:
        assert torch.equal(summed, seen * 4)
    assert torch.equal(F.fold(y[0], (3, 4), 2, padding=1), summed[0])


def test_gradients_of_both_orders_and_batches():
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.standard_normal((2, 2, 4, 5)), requires_grad=True)
    columns = torch.tensor(rng.standard_normal((1, 8, 9)), requires_grad=True)
    for f, a in (
        (lambda t: F.unfold(t, 2, 2, 1, 2).square(), x),
        (lambda t: F.fold(t, (4, 4), 2).square(), columns),
    ):
        assert gradcheck(f, (a,))
        assert gradgradcheck(f, (a,))
    many = torch.tensor(rng.standard_normal((3, 2, 2, 4, 5)))
    assert torch.equal(vmap(lambda t: F.unfold(t, 2, padding=1))(many)[2], F.unfold(many[2], 2, padding=1))
    lines = torch.tensor(rng.standard_normal((3, 1, 8, 9)))
    assert torch.equal(vmap(lambda t: F.fold(t, (4, 4), 2))(lines)[1], F.fold(lines[1], (4, 4), 2))


IMAGE, COLUMNS = torch.ones(1, 2, 4, 4), torch.ones(1, 8, 25)
ERRORS = [
    (lambda: F.unfold(IMAGE, 0), RuntimeError, "kernel size should be greater than zero, but got kernel_height: 0 kernel_width: 0"),
    (lambda: F.unfold(IMAGE, 2, stride=0), RuntimeError, "stride should be greater than zero, but got stride_height: 0 stride_width: 0"),
    (lambda: F.unfold(IMAGE, 2, padding=-1), RuntimeError, "padding should be non-negative, but got pad_height: -1 pad_width: -1"),
    (lambda: F.fold(COLUMNS, (4, 4), 2, dilation=0), RuntimeError, "dilation should be greater than zero, but got dilation_height: 0 dilation_width: 0"),
    (lambda: F.unfold(IMAGE, (2, 2, 2)), RuntimeError, "It is expected kernel_size equals to 2, but got size 3"),
    (lambda: F.unfold(IMAGE[:, :, :0], 2), RuntimeError, "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: [1, 2, 0, 4]"),
    (lambda: F.fold(COLUMNS[:, :0], (4, 4), 2), RuntimeError, "Expected 2D or 3D (batch mode) tensor for input with possibly 0 batch size and non-zero dimensions for input, but got: [1, 0, 25]"),
    (lambda: F.unfold(IMAGE[0, 0], 2), IndexError, "Dimension out of range (expected to be in range of [-2, 1], but got 2)"),
    (lambda: F.unfold(IMAGE[0, 0, 0], 2), IndexError, "Dimension out of range (expected to be in range of [-1, 0], but got 1)"),
    (lambda: F.unfold(IMAGE, 5), RuntimeError, "Given input with spatial size (4, 4), kernel_size=(5, 5), dilation=(1, 1), padding=(0, 0), calculated shape of the array of sliding blocks as (0, 0), but its components must be at least one."),
    (lambda: F.fold(COLUMNS, (4, 4), 2), RuntimeError, "Given output_size=(4, 4), kernel_size=(2, 2), dilation=(1, 1), padding=(0, 0), stride=(1, 1), expected size of input's dimension 2 to match the calculated number of sliding blocks 3 * 3 = 9, but got input.size(2)=25."),
    (lambda: F.unfold(IMAGE.long(), 2), NotImplementedError, "\"im2col_out_cpu\" not implemented for 'Long'"),
    (lambda: F.fold(COLUMNS.byte(), (4, 4), 2, padding=1), NotImplementedError, "\"col2im_out_cpu\" not implemented for 'Byte'"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "sentence"), ERRORS)
def test_errors(call, kind, sentence):
    with pytest.raises(kind) as error:
        call()
    assert str(error.value).startswith(sentence)


def test_nothing_to_cut():
    assert F.unfold(IMAGE[:0], 2).shape == (0, 8, 9)
    assert F.fold(COLUMNS[:0], (4, 4), 2, padding=1).shape == (0, 2, 4, 4)
