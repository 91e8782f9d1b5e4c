"""Constants around tensors: the kernel that writes them in one pass, in the caches and past them."""

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional as F

RNG = np.random.default_rng(0)
DTYPES = ["u1", "f2", "f4", "f8", "c16"]


def expected(x: np.ndarray, pad: list[int], value) -> np.ndarray:
    for i in range(len(pad) // 2):
        d, before, after = x.ndim - 1 - i, *pad[2 * i : 2 * i + 2]
        x = x.take(range(max(0, -before), x.shape[d] - max(0, -after)), axis=d)
        widths = [(0, 0)] * x.ndim
        widths[d] = (max(0, before), max(0, after))
        x = np.pad(x, widths, constant_values=value)
    return x


def drawn(sizes, dtype) -> np.ndarray:
    return RNG.integers(1, 200, sizes).astype(dtype)


LAYOUTS = {
    "in order": lambda t: t,
    "turned": lambda t: t.transpose(0, -1).contiguous().transpose(0, -1),
    "sliced": lambda t: torch.cat([t, t], -1)[..., : t.shape[-1]],
    "stepped": lambda t: torch.stack([t, t], -1)[..., 1],
    "one row": lambda t: t[:1].expand(t.shape),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_any_sizes_and_widths(dtype, layout):
    for _ in range(60):
        sizes = RNG.integers(1, 7, RNG.integers(1, 6)).tolist()
        pad = RNG.integers(-3, 9, 2 * RNG.integers(0, len(sizes) + 1)).tolist()
        for i in range(len(pad) // 2):  # no more is cut off than there is
            if pad[2 * i] < 0 and pad[2 * i + 1] < 0:
                pad[2 * i + 1] = 0
            pad[2 * i : 2 * i + 2] = (max(-sizes[-1 - i], w) for w in pad[2 * i : 2 * i + 2])
        x = LAYOUTS[layout](torch.from_numpy(drawn(sizes, dtype)))
        got = torch.constant_pad_nd(x, pad, 7)
        assert np.array_equal(got.numpy(), expected(x.numpy(), pad, 7))


@pytest.mark.parametrize(
    "dtype,row,pad",
    [
        ("u1", 57, [1, 0, 0, 3]), ("u1", 3, [70, 5]), ("f2", 57, [0, 2, -1, 1, 2, 0]), ("f4", 57, [1, 0, 1, 0]),
        ("f4", 1 << 20, [3, 70, 0, 1]), ("f8", 57, [3, -2]), ("c16", 9, [0, 1, 1, 1]),
    ],
)  # fmt: skip
def test_large_results(dtype, row, pad):
    """From 24 MB on they are written past the caches, in words that rows begin and end within."""
    x = drawn(((13 << 20) // (row * np.dtype(dtype).itemsize), 2, row), dtype)
    got = torch.constant_pad_nd(torch.from_numpy(x), pad, 7).numpy()
    assert got.nbytes >= 24 << 20
    assert np.array_equal(got, expected(x, pad, 7))


def test_channels_stay_last():
    x = torch.from_numpy(drawn((2, 3, 5, 4), "f4"))
    last = x.contiguous(memory_format=torch.channels_last)
    for pad in ([1, 2], [1, 0, 2, 1], [0, 0, 1, 0, 0, 4]):
        got = torch.constant_pad_nd(last, pad, 3)
        assert got.is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(got, torch.constant_pad_nd(x, pad, 3))


def test_nothing_to_put_in_the_middle():
    assert torch.constant_pad_nd(torch.zeros(2, 0), [1, 2], 5).tolist() == [[5.0] * 3] * 2
    assert torch.constant_pad_nd(torch.ones(3, 2), [-2, 1, 1, 1]).tolist() == [[0.0]] * 5
    assert torch.constant_pad_nd(torch.ones(3, 2), [-1, -1]).shape == (3, 0)
    assert torch.constant_pad_nd(torch.tensor(2.0), []).item() == 2
    assert torch.constant_pad_nd(torch.ones(2, 3, device="meta"), [1, 1]).shape == (2, 5)


def test_gradients():
    x = torch.from_numpy(RNG.standard_normal((2, 3, 4))).requires_grad_()
    for pad in ([1, 2], [-1, 2, 0, -1], [2, -1, 1, 1, -1, 0]):
        assert torch.autograd.gradcheck(lambda x, pad=pad: torch.constant_pad_nd(x, pad, 2) ** 2, x)
        assert torch.autograd.gradgradcheck(lambda x, pad=pad: torch.constant_pad_nd(x, pad, 2) ** 3, x)
        _, tangent = torch.func.jvp(lambda x, pad=pad: torch.constant_pad_nd(x, pad, 2), (x,), (x.detach(),))
        assert torch.equal(tangent, torch.constant_pad_nd(x, pad, 0))


def test_widths_that_cut_off_too_much():
    with pytest.raises(RuntimeError, match="length must be non-negative"):
        torch.constant_pad_nd(torch.ones(3), [-2, -2])
    with pytest.raises(RuntimeError, match="cannot be converted to type int64_t without overflow"):
        torch.constant_pad_nd(torch.arange(3), [1, 1], float("inf"))


def test_widths_that_no_size_holds():
    x, most = torch.ones(2, 3), 2**63 - 1
    for pad in ([most, 1], [2**62, 2**62]):
        with pytest.raises(RuntimeError, match="^The input size 3, plus negative padding .* Check dimension 1"):
            torch.constant_pad_nd(x, pad)
    for pad in ([most, most], [-(2**63), 0], [0, -(2**63)], [-(2**63), -(2**63)], [-most, most]):
        with pytest.raises(RuntimeError, match="length must be non-negative|^The input size 3"):
            torch.constant_pad_nd(x, pad)


@pytest.mark.parametrize("size,kernel,padding", [((8, 12), 4, 0), ((9, 13), 4, 0), ((7, 7), (2, 3), 0), ((8, 8), 4, 1)])
def test_patches_that_lie_side_by_side(size, kernel, padding) -> None:
    x = np.random.default_rng(3).standard_normal((2, 3, *size))
    high, wide = (kernel, kernel) if isinstance(kernel, int) else kernel
    framed = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    corners = [
        (i, j)
        for i in range(0, framed.shape[2] - high + 1, high)
        for j in range(0, framed.shape[3] - wide + 1, wide)
    ]
    want = np.stack([framed[:, :, i : i + high, j : j + wide].reshape(2, -1) for i, j in corners], -1)
    patches = F.unfold(torch.tensor(x), kernel, padding=padding, stride=kernel)
    np.testing.assert_array_equal(patches, want)
    back = np.zeros_like(framed)
    for i, j in corners:
        back[:, :, i : i + high, j : j + wide] = framed[:, :, i : i + high, j : j + wide]
    back = back[:, :, padding : padding + size[0], padding : padding + size[1]]
    np.testing.assert_array_equal(F.fold(patches, size, kernel, padding=padding, stride=kernel), back)
    small = patches[:1].detach().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: F.fold(p, size, kernel, padding=padding, stride=kernel), (small,))


@pytest.mark.parametrize("channels", [3, 20])
def test_results_are_laid_out_as_images_are(channels):
    x = torch.tensor(RNG.standard_normal((2, channels, 4, 6)))
    inside = x.contiguous(memory_format=torch.channels_last)
    calls = [lambda t, m=m: F.pad(t, (1, 2, 3, 1), m) for m in ("constant", "reflect", "replicate")]
    calls += [lambda t: F.pad(t, (-1, 1, -2, 0)), lambda t: F.pad(t, (-1, 1, -2, 0), "reflect")]
    calls += [lambda t: F.max_unpool2d(*F.max_pool2d(t, 2, return_indices=True), 2)]
    calls += [lambda t: F.channel_shuffle(t, channels)]
    for call in calls:
        got, want = call(inside), call(x)
        assert got.is_contiguous(memory_format=torch.channels_last) and want.is_contiguous()
        np.testing.assert_array_equal(got.numpy(), want.numpy())
    small = inside[:1, :, :3, :3].clone(memory_format=torch.preserve_format).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: F.pad(t, (1, 2, 1, 1), "reflect"), (small,))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7, 16, 300])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16, torch.float64])
def test_edges_of_images_whose_channels_lie_inside(dtype, channels):
    x = torch.tensor(RNG.integers(0, 256, (2, channels, 5, 4))).to(dtype)
    inside = x.contiguous(memory_format=torch.channels_last)
    for mode in ("reflect", "replicate"):
        for pad in ((1, 2, 3, 1), (0, 0, 2, 1), (3, 0, 0, 0), (-1, 2, 1, -2)):
            got, want = F.pad(inside, pad, mode), F.pad(x, pad, mode)
            assert got.is_contiguous(memory_format=torch.channels_last)
            np.testing.assert_array_equal(got.double().numpy(), want.double().numpy())


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_edges_of_rows_alone(mode):
    x = RNG.standard_normal((2, 3, 5, 4))
    names = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
    want = np.pad(x, ((0, 0), (0, 0), (2, 3), (0, 0)), names[mode])
    np.testing.assert_array_equal(F.pad(torch.tensor(x), (0, 0, 2, 3), mode), want)
