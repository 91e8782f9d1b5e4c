"""Interpolation and bags of embeddings: values by other means, gradients of both orders, dtypes, errors."""

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F


def drawn(seed, *shape):
    return flambeau.from_numpy(np.random.default_rng(seed).standard_normal(shape))


CASES = [
    ("linear", (2, 3, 7), {"size": 12}), ("bilinear", (2, 2, 5, 6), {"scale_factor": 2}),
    ("bilinear", (1, 2, 6, 5), {"size": (4, 9), "align_corners": True}), ("bicubic", (1, 2, 5, 7), {"size": (8, 4)}),
    ("bilinear", (1, 1, 9, 8), {"size": (4, 3), "antialias": True}), ("trilinear", (1, 2, 3, 4, 3), {"scale_factor": 2}),
    ("nearest", (2, 2, 3, 4), {"size": (5, 8)}),
]  # fmt: skip


@pytest.mark.parametrize("mode, shape, how", CASES)
def test_gradients_of_interpolation(mode, shape, how):
    x = drawn(0, *shape).requires_grad_()
    assert gradcheck(lambda x: F.interpolate(x, mode=mode, **how), (x,))
    assert gradgradcheck(lambda x: F.interpolate(x * x, mode=mode, **how), (x,))


def test_linear_interpolation_is_numpys():
    a = np.random.default_rng(1).standard_normal((3, 2, 11))
    for size in (5, 11, 12, 40):
        at = np.clip((np.arange(size) + 0.5) * 11 / size - 0.5, 0, 10)
        expected = np.array([[np.interp(at, np.arange(11), row) for row in image] for image in a])
        ours = F.interpolate(flambeau.from_numpy(a), size=size, mode="linear").numpy()
        np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)
        planes = flambeau.from_numpy(a).unsqueeze(-1).expand(3, 2, 11, 4)
        both = F.interpolate(planes, size=(size, 4), mode="bilinear").numpy()
        np.testing.assert_allclose(both, np.repeat(expected[..., None], 4, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [flambeau.bfloat16, flambeau.float16, flambeau.float32])
def test_interpolation_of_shorter_dtypes_rounds_few_times(dtype):
    x = drawn(2, 1, 2, 9, 9).to(dtype)
    exact = F.interpolate(x.double(), scale_factor=2, mode="bilinear")
    ours = F.interpolate(x, scale_factor=2, mode="bilinear")
    assert ours.dtype == dtype
    assert (ours.double() - exact).abs().max() <= 2 * flambeau.finfo(dtype).eps * exact.abs().max()


def test_infinities_do_not_leave_their_neighbourhood():
    x = flambeau.zeros(1, 1, 6, 6)
    x[0, 0, 2, 2] = float("inf")
    y = F.interpolate(x, size=(3, 3), mode="bilinear", antialias=True)
    assert y.isnan().sum() == 0 and y.isinf().any() and not y[0, 0, 2].isinf().any()


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_bags_against_a_loop(mode):
    table = drawn(3, 20, 5)
    entries = flambeau.tensor([3, 3, 19, 0, 7, 7, 7, 1])
    offsets = flambeau.tensor([0, 2, 2, 7])
    bags = [entries[0:2], entries[2:2], entries[2:7], entries[7:8]]
    reduce = {"sum": lambda v: v.sum(0), "mean": lambda v: v.mean(0), "max": lambda v: v.max(0)[0]}[mode]
    expected = flambeau.stack([reduce(table[b]) if b.numel() else flambeau.zeros(5).double() for b in bags])
    ours = F.embedding_bag(entries, table, offsets, mode=mode)
    assert flambeau.allclose(ours, expected, rtol=1e-13)
    assert flambeau.equal(F.embedding_bag(entries.to(flambeau.int32).view(2, 4), table, mode=mode)[0],
                          F.embedding_bag(entries[:4].view(1, 4), table, mode=mode)[0])  # fmt: skip
    x = table.clone().requires_grad_()
    assert gradcheck(lambda x: F.embedding_bag(entries, x, offsets, mode=mode), (x,))
    padded = F.embedding_bag(entries, table, offsets, mode=mode, padding_idx=7)
    assert flambeau.allclose(padded[2], reduce(table[flambeau.tensor([19, 0])]), rtol=1e-13)


def test_bags_with_weights_of_entries():
    table, weights = drawn(4, 9, 4).requires_grad_(), drawn(5, 2, 3).requires_grad_()
    entries = flambeau.tensor([[0, 8, 8], [2, 0, 1]])

    def call(table, weights):
        return F.embedding_bag(entries, table, per_sample_weights=weights, mode="sum")

    expected = (table[entries] * weights.unsqueeze(-1)).sum(1)
    assert flambeau.allclose(call(table, weights), expected, rtol=1e-13)
    assert gradcheck(call, (table, weights)) and gradgradcheck(call, (table, weights))


def test_errors_of_bags():
    table = flambeau.zeros(4, 2)
    for entries, offsets, error, text in [
        ([0, 4], [0], RuntimeError, "Index 1 of input takes value 4 which is not in the valid range [0, 4)"),
        ([0, 1], [1], RuntimeError, "offsets[0] has to be 0"),
        ([0, 1], [0, 3], RuntimeError, "can not be greater than input's length"),
        ([0, 1], [0, 2, 1], RuntimeError, "must not decrease"),
        ([0.0, 1.0], [0], RuntimeError, "one of the following scalar types: Long, Int"),
    ]:
        with pytest.raises(error) as caught:
            F.embedding_bag(flambeau.tensor(entries), table, flambeau.tensor(offsets))
        assert text in str(caught.value)


@pytest.mark.parametrize("width", [1, 16, 100])
@pytest.mark.parametrize("weighted", [False, True])
def test_bags_of_all_lengths(width, weighted):
    rng = np.random.default_rng(5)
    lengths = np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1])
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    table, entries = rng.standard_normal((50, width)), rng.integers(0, 50, lengths.sum())
    weights = rng.standard_normal(lengths.sum()) if weighted else np.ones(lengths.sum())
    rows = table[entries] * weights[:, None]
    want = np.stack([rows[a : a + n].sum(0) for a, n in zip(starts, lengths, strict=True)])
    got = F.embedding_bag(
        *map(flambeau.from_numpy, (entries, table, starts)), mode="sum",
        per_sample_weights=flambeau.from_numpy(weights) if weighted else None,
    )  # fmt: skip
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("channels", [3, 32])
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
def test_channels_that_lie_inside_stay_there(mode, channels):
    x = drawn(1, 2, channels, 4, 5)
    inside = x.contiguous(memory_format=flambeau.channels_last).requires_grad_()
    for size in ((7, 3), (4, 9), (4, 5)):
        got, want = (F.interpolate(t, size=size, mode=mode) for t in (inside, x))
        assert got.is_contiguous(memory_format=flambeau.channels_last) and want.is_contiguous()
        np.testing.assert_array_equal(got.detach().numpy(), want.numpy())
    assert gradcheck(lambda t: F.interpolate(t, size=(7, 3), mode=mode), (inside[:, :2],))
    volume = drawn(2, 1, channels, 2, 3, 2).contiguous(memory_format=flambeau.channels_last_3d)
    assert F.interpolate(volume, scale_factor=2).is_contiguous(memory_format=flambeau.channels_last_3d)


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
def test_resampling_to_the_same_size_is_a_copy(mode):
    x = drawn(3, 1, 1, 2, 3)
    F.interpolate(x, size=(2, 3), mode=mode).zero_()
    assert x.abs().min() > 0


def test_bytes_are_rounded_as_in_pytorch():
    """Recorded from PyTorch 2.13: halves go up, and what the cubic kernel overshoots is cut off."""
    x = flambeau.tensor([[0, 255, 255, 0], [255, 0, 1, 254]], dtype=flambeau.uint8).reshape(1, 1, 2, 4)
    assert F.interpolate(x, size=(3, 4), mode="bilinear", align_corners=True)[0, 0, 1].tolist() == [128, 128, 128, 127]
    assert F.interpolate(x, size=(2, 8), mode="bicubic")[0, 0].tolist() == [
        [0, 58, 197, 255, 255, 197, 58, 0],
        [255, 197, 58, 0, 0, 58, 197, 255],
    ]


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("mode, antialias", [("bilinear", False), ("bicubic", False), ("bilinear", True), ("bicubic", True)])
def test_bytes_are_summed_in_float32_and_rounded_after_each_dimension(mode, antialias, channels):
    x = flambeau.from_numpy(np.random.default_rng(6).integers(0, 256, (2, channels, 21, 17), dtype=np.uint8))
    for size in ((21, 34), (10, 17), (21, 2), (5, 17)):  # one dimension each; up to 18 and 35 taps
        exact = F.interpolate(x.float(), size=size, mode=mode, antialias=antialias)
        want = (exact + 0.5).floor().clamp(0, 255).to(flambeau.uint8)
        for t in (x, x.contiguous(memory_format=flambeau.channels_last)):
            np.testing.assert_array_equal(F.interpolate(t, size=size, mode=mode, antialias=antialias), want)


@pytest.mark.parametrize("lines", [1, 4, 64, 65, 66])
@pytest.mark.parametrize("dtype", [flambeau.uint8, flambeau.bfloat16, flambeau.float32])
def test_any_number_of_lines_is_resampled_alike(dtype, lines):
    row = flambeau.from_numpy(np.random.default_rng(7).integers(0, 256, (1, 1, 23))).to(dtype)
    for size in (9, 50):
        one = F.interpolate(row.view(1, 1, 1, 23), size=(1, size), mode="bicubic")
        many = F.interpolate(row.expand(1, lines, 23).contiguous().view(1, lines, 1, 23), size=(1, size), mode="bicubic")
        np.testing.assert_array_equal(many.float(), one.float().expand(1, lines, 1, size))


def test_nothing_comes_from_behind_the_taps():
    """Outputs with fewer taps than others do not meet the infinity that those see."""
    x = flambeau.zeros(1, 8, 13, 1).contiguous(memory_format=flambeau.channels_last)
    x[0, :, 6] = float("inf")
    y = F.interpolate(x, size=(4, 1), mode="bilinear", antialias=True)
    assert not y.isnan().any() and y[0, 7, :, 0].isfinite().tolist() == [True, False, False, True]


@pytest.mark.parametrize("antialias", [False, True])
def test_a_size_that_stays_is_not_resampled_by_a_scale(antialias):
    x = flambeau.arange(9.0).reshape(1, 1, 3, 3) ** 2
    same = F.interpolate(x, scale_factor=1.3, mode="bilinear", antialias=antialias)
    assert same.equal(x)
    wider = F.interpolate(x, scale_factor=(1.3, 2), mode="bilinear", antialias=antialias)
    assert wider.equal(F.interpolate(x, size=(3, 6), mode="bilinear", antialias=antialias))
    assert F.interpolate(x, scale_factor=1.3).equal(x) and not F.interpolate(x, scale_factor=1.3, mode="nearest-exact").equal(x)
    assert F.interpolate(x, scale_factor=1.3, mode="bicubic", antialias=antialias).equal(x) is antialias
