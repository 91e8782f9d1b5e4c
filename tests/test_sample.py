"""Sampling of images at any places, against a walk over single elements."""

import itertools
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau.nn import functional

MODES = [(mode, padding, align) for mode in ("bilinear", "nearest", "bicubic")
         for padding in ("zeros", "border", "reflection") for align in (False, True)]  # fmt: skip
VOLUMES = [m for m in MODES if m[0] != "bicubic"]


def inside(p: float, n: int, padding: str, align: bool) -> float:
    if padding == "zeros":
        return p
    if padding == "reflection":
        low, span = (0.0, n - 1.0) if align else (-0.5, float(n))
        if span == 0:
            return 0.0
        away = abs(p - low) % (2 * span)
        p = low + (away if away <= span else 2 * span - away)
    return min(max(p, 0.0), n - 1.0)


def cubic(distance: float) -> float:
    a, s = -0.75, abs(distance)
    if s <= 1:
        return (a + 2) * s**3 - (a + 3) * s**2 + 1
    return a * (s**3 - 5 * s**2 + 8 * s - 4) if s < 2 else 0.0


def taps(x: float, n: int, mode: str, padding: str, align: bool) -> list[tuple[int, float]]:
    """Elements along one axis with their weights; those outside are left out."""
    p = (x + 1) / 2 * (n - 1) if align else ((x + 1) * n - 1) / 2
    if mode == "bicubic":
        found = [(inside(math.floor(p) + k, n, padding, align), cubic(p - math.floor(p) - k)) for k in (-1, 0, 1, 2)]
    else:
        p = inside(p, n, padding, align)
        low = math.floor(p)
        found = [(np.rint(p), 1.0)] if mode == "nearest" else [(low, low + 1 - p), (low + 1, p - low)]
    return [(int(i), w) for i, w in found if 0 <= i < n]


def walked(x: np.ndarray, grid: np.ndarray, mode: str, padding: str, align: bool) -> np.ndarray:
    sizes, places = x.shape[2:], grid.shape[1:-1]
    out = np.zeros((*x.shape[:2], *places))
    for n, at in itertools.product(range(x.shape[0]), np.ndindex(*places)):
        lines = [taps(v, size, mode, padding, align) for v, size in zip(grid[(n, *at)][::-1], sizes, strict=True)]
        for combination in itertools.product(*lines):
            index, weights = zip(*combination, strict=True)
            out[(n, slice(None), *at)] += math.prod(weights) * x[(n, slice(None), *index)]
    return out


@pytest.mark.parametrize(("mode", "padding", "align"), MODES)
def test_images_match_a_walk(mode, padding, align):
    rng = np.random.default_rng(0)
    x, grid = rng.standard_normal((2, 3, 5, 4)), rng.uniform(-1.9, 1.9, (2, 7, 6, 2))
    got = functional.grid_sample(torch.tensor(x), torch.tensor(grid), mode, padding, align)
    np.testing.assert_allclose(got.numpy(), walked(x, grid, mode, padding, align), rtol=1e-12, atol=1e-13)
    single = functional.grid_sample(torch.tensor(x).float(), torch.tensor(grid).float(), mode, padding, align)
    if mode != "nearest":
        np.testing.assert_allclose(single.numpy(), got.numpy(), atol=2e-5)


@pytest.mark.parametrize(("mode", "padding", "align"), VOLUMES)
def test_volumes_match_a_walk(mode, padding, align):
    rng = np.random.default_rng(1)
    x, grid = rng.standard_normal((1, 2, 3, 1, 4)), rng.uniform(-1.9, 1.9, (1, 3, 2, 4, 3))
    got = functional.grid_sample(torch.tensor(x), torch.tensor(grid), mode, padding, align)
    np.testing.assert_allclose(got.numpy(), walked(x, grid, mode, padding, align), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("channels", [1, 3, 40])
def test_float32_of_any_width(padding, channels):
    """Neighbours are read in pairs, which begin a place to the left at the right edge; infinity outside of the taps
    does not matter. Gradients are those of float64."""
    rng = np.random.default_rng(6)
    for *size, width in ((4, 1), (1, 2), (4, 3), (1, 33), (2, 2, 2), (3, 1, 5)):
        x = rng.standard_normal((2, channels, *size, width)).astype(np.float32)
        grid = rng.uniform(-1.6, 1.6, (2, *[9] * len(size), 5, len(size) + 1)).astype(np.float32)
        want = walked(x, grid, "bilinear", padding, True)
        got = functional.grid_sample(torch.tensor(x), torch.tensor(grid), "bilinear", padding, True)
        np.testing.assert_allclose(got.numpy(), want, atol=3e-5)
        slopes = []
        for dtype in (torch.float32, torch.float64):
            places = torch.tensor(grid).to(dtype).requires_grad_()
            functional.grid_sample(torch.tensor(x).to(dtype), places, "bilinear", padding, False).sum().backward()
            slopes.append(places.grad.double().numpy())
        near = np.abs(slopes[0] - slopes[1]) <= 1e-3 * np.abs(slopes[1]).max()
        assert near.mean() > 0.98  # but where rounding moves a place to another element


def test_infinity_in_a_pair_whose_other_element_is_wanted():
    for at, row in ((-1.25, [1.0, math.inf]), (1.25, [math.inf, 1.0])):
        y = functional.grid_sample(torch.tensor([[[row]]]), torch.tensor([[[[at, 0.0]]]]), align_corners=False)
        assert y.item() == 0.25


def test_the_walk_sees_a_wrong_place():
    rng = np.random.default_rng(0)
    x, grid = rng.standard_normal((1, 1, 4, 4)), rng.uniform(-0.9, 0.9, (1, 3, 3, 2))
    got = functional.grid_sample(torch.tensor(x), torch.tensor(grid), align_corners=True)
    assert abs(got.numpy() - walked(x, grid + 1e-3, "bilinear", "zeros", True)).max() > 1e-5


@pytest.mark.parametrize(("mode", "padding", "align"), MODES)
def test_gradients_by_finite_differences(mode, padding, align):
    rng = np.random.default_rng(2)
    x = torch.tensor(rng.standard_normal((2, 2, 3, 4)), requires_grad=True)
    grid = torch.tensor(rng.uniform(-1.4, 1.4, (2, 2, 2, 2)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: functional.grid_sample(a, b, mode, padding, align), (x, grid))
    assert torch.autograd.gradgradcheck(lambda a, b: functional.grid_sample(a, b, mode, padding, align), (x, grid))


@pytest.mark.parametrize("mode", ["bilinear", "nearest"])
def test_gradients_of_volumes(mode):
    rng = np.random.default_rng(3)
    x = torch.tensor(rng.standard_normal((1, 2, 2, 3, 2)), requires_grad=True)
    grid = torch.tensor(rng.uniform(-1.4, 1.4, (1, 2, 2, 1, 3)), requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: functional.grid_sample(a, b, mode, align_corners=False), (x, grid))
    assert torch.autograd.gradgradcheck(lambda a, b: functional.grid_sample(a, b, mode, align_corners=False), (x, grid))


def test_many_places_in_blocks_and_any_layout():
    rng = np.random.default_rng(4)
    x, grid = rng.standard_normal((2, 2, 6, 5)), rng.uniform(-1.1, 1.1, (2, 2, 33, 41))
    got = functional.grid_sample(
        torch.tensor(x).transpose(2, 3).contiguous().transpose(2, 3), torch.tensor(grid).permute(0, 2, 3, 1),
        align_corners=False,
    )  # fmt: skip
    want = walked(x, grid.transpose(0, 2, 3, 1), "bilinear", "zeros", False)
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
@pytest.mark.parametrize("channels", [5, 16, 40])
def test_channels_in_groups_of_any_size(mode, channels):
    """Few groups find the taps of places on the way, many read them; both give what single channels give."""
    rng = np.random.default_rng(5)
    x = torch.tensor(rng.standard_normal((2, channels, 5, 4)), requires_grad=True)
    grid = torch.tensor(rng.uniform(-1.3, 1.3, (2, 6, 3, 2)), requires_grad=True)
    got = functional.grid_sample(x, grid, mode, "reflection", False)
    single = [functional.grid_sample(c, grid, mode, "reflection", False) for c in x.split(1, 1)]
    assert torch.equal(got, torch.cat(single, 1))
    for ours, other in zip(
        torch.autograd.grad((got * got).sum(), (x, grid)),
        torch.autograd.grad(sum((y * y).sum() for y in single), (x, grid)), strict=True,
    ):  # fmt: skip
        np.testing.assert_allclose(ours.numpy(), other.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_nothing_to_sample(mode):
    for n, c, places in ((0, 2, 3), (2, 0, 3), (2, 2, 0)):
        x = torch.ones(n, c, 4, 4, requires_grad=True)
        grid = torch.zeros(n, places, 2, 2, requires_grad=True)
        y = functional.grid_sample(x, grid, mode, align_corners=False)
        assert y.shape == (n, c, places, 2)
        y.sum().backward()
        assert not x.grad.any()
        assert not grid.grad.any()


def test_what_nan_and_infinity_give():
    """Recorded from PyTorch: nan is a place at the first element where the padding brings places inside."""
    x = torch.tensor([[[[1.0, 2.0, 3.0]] * 3]])
    grid = torch.tensor([[[[math.nan, 0.0], [math.inf, 0.0]]]])
    for mode, padding, want in (
        ("bilinear", "zeros", [math.nan, math.nan]), ("nearest", "zeros", [0.0, 0.0]),
        ("bilinear", "border", [1.0, 3.0]), ("nearest", "border", [1.0, 3.0]), ("bicubic", "border", [math.nan, math.nan]),
        ("bilinear", "reflection", [1.0, 1.0]), ("nearest", "reflection", [1.0, 1.0]),
    ):  # fmt: skip
        got = functional.grid_sample(x, grid, mode, padding, False)
        np.testing.assert_array_equal(got.flatten().numpy(), np.array(want, np.float32), err_msg=f"{mode} {padding}")


def test_an_infinite_element_outside_of_the_taps_is_not_seen():
    x = torch.zeros(1, 1, 3, 3)
    x[0, 0, 0, 0] = math.inf
    assert functional.grid_sample(x, torch.full((1, 1, 1, 2), 2.5), align_corners=False).item() == 0


def test_dtypes_that_are_refused():
    x, grid = torch.zeros(1, 1, 3, 3), torch.zeros(1, 2, 2, 2)
    with pytest.raises(RuntimeError, match="^expected scalar type Float but found Double"):
        functional.grid_sample(x, grid.double(), align_corners=False)
    with pytest.raises(NotImplementedError, match="\"grid_sampler_2d_cpu_kernel_impl\" not implemented for 'Long'"):
        functional.grid_sample(x.long(), grid, align_corners=False)
    with pytest.raises(NotImplementedError, match="\"grid_sampler3d_cpu\" not implemented for 'Long'"):
        functional.grid_sample(x[None].long(), torch.zeros(1, 2, 2, 2, 3), align_corners=False)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halves_are_summed_in_float32(dtype):
    torch.manual_seed(0)
    x, grid = torch.rand(1, 300, 4, 4).to(dtype), (torch.rand(1, 3, 3, 2) * 2 - 1).to(dtype).requires_grad_()
    functional.grid_sample(x, grid, align_corners=False).sum().backward()
    wide = grid.detach().double().requires_grad_()
    functional.grid_sample(x.double(), wide, align_corners=False).sum().backward()
    epsilon = torch.finfo(dtype).eps
    assert (grid.grad.double() - wide.grad).abs().max() <= 4 * epsilon * wide.grad.abs().max()
