"""Short rows beside operands that are the same for all of them."""

import numpy as np
import pytest

import flambeau as torch

# rows, columns: around the numbers of rows that are joined, with and without a rest
SIZES = [(4096, 1), (4096, 3), (5003, 3), (2049, 2), (340, 13), (129, 33), (70, 63), (80, 64), (1000, 10), (31, 200)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "uint8", "complex64"])
def test_a_row_for_all(size, dtype):
    rng = np.random.default_rng(0)
    x, row = (rng.integers(0, 100, s).astype(dtype) for s in (size, size[1:]))
    t, other = torch.from_numpy(x), torch.from_numpy(row)
    np.testing.assert_array_equal((t + other).numpy(), x + row)
    np.testing.assert_array_equal((other - t).numpy(), row - x)
    np.testing.assert_array_equal(torch.where(t == other, other, t).numpy(), np.where(x == row, row, x))
    every_second = torch.from_numpy(np.repeat(row, 2))[::2]
    np.testing.assert_array_equal(t.clone().mul_(every_second).numpy(), x * row)
    assert other.expand(size).contiguous().numpy().tobytes() == np.broadcast_to(row, size).tobytes()


def test_pieces_of_rows_and_rows_of_pieces():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 700, 5, 7), dtype="f4")
    t = torch.from_numpy(x)
    for row in ((7,), (5, 7), (3, 1, 1, 7), (700, 1, 1), (5, 1), (700, 5, 1), (3, 1, 5, 1)):
        other = rng.standard_normal(row, dtype="f4")
        np.testing.assert_array_equal((t * torch.from_numpy(other)).numpy(), x * other)
        np.testing.assert_array_equal((t[:, ::2] * torch.from_numpy(other[:1])).numpy(), x[:, ::2] * other[:1])


def test_channels_last():
    rng = np.random.default_rng(2)
    x, mean = rng.standard_normal((2, 3, 50, 41), dtype="f4"), rng.standard_normal((3, 1, 1), dtype="f4")
    t = torch.from_numpy(x).contiguous(memory_format=torch.channels_last)
    y = t - torch.from_numpy(mean)
    assert y.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(y.numpy(), x - mean)
    t -= torch.from_numpy(mean)
    np.testing.assert_array_equal(t.numpy(), x - mean)


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32", "float64", "complex128"])
@pytest.mark.parametrize("size", [(2, 3, 50, 41), (1, 7, 1, 2050), (3, 2, 3, 3), (2, 1, 40, 30)])
def test_copies_of_few_channels(size, dtype):
    x = (np.random.default_rng(3).standard_normal(size) * 50).astype(dtype)
    t = torch.from_numpy(x)
    last = t.contiguous(memory_format=torch.channels_last)
    for y in (last, last.contiguous(), t[..., ::2].contiguous(), last[..., ::2].contiguous()):
        wanted = x if y.shape == t.shape else x[..., ::2]
        np.testing.assert_array_equal(y.numpy(), wanted)


def test_large_copies_of_few_channels():
    """Past the caches, from where elements begin in the middle of a line as well."""
    x = torch.rand(11, 3, 499, 401)
    wanted = x.numpy()
    last = x.contiguous(memory_format=torch.channels_last)
    np.testing.assert_array_equal(last.numpy(), wanted)
    np.testing.assert_array_equal(last.contiguous().numpy(), wanted)
