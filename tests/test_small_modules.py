"""Modules of a few names: testing, utils.dlpack, nn.attention, nn.parallel, random.fork_rng, names of types."""

import copy
import math

import numpy as np
import pytest

import flambeau as torch
from flambeau import nn
from flambeau.testing import assert_close, make_tensor

# ---- testing


def problem(actual, expected, **options) -> str:
    with pytest.raises(AssertionError) as caught:
        assert_close(actual, expected, **options)
    return str(caught.value)


def test_close_things_pass() -> None:
    one = torch.ones(3)
    for actual, expected in (
        (one, one + 1e-7), (one.double(), one.double() + 1e-8), ([one, 1.0, {"a": 2}], [one, 1.0 + 1e-9, {"a": 2}]),
        (torch.arange(3), torch.arange(3)), (True, True), (None, None), (np.ones(2), torch.ones(2, dtype=torch.float64)),
        (torch.eye(2).to_sparse(), torch.eye(2).to_sparse()), (torch.empty(0), torch.empty(0)), (math.inf, math.inf),
    ):  # fmt: skip
        assert_close(actual, expected)
    assert_close(torch.tensor(math.nan), torch.tensor(math.nan), equal_nan=True)
    assert_close(one, one.to(torch.int64), check_dtype=False)
    assert_close(one, one + 0.1, rtol=0, atol=0.2)


def test_what_is_said_of_others() -> None:
    assert problem(torch.tensor([1.0, 2, 3]), torch.tensor([1.0, 2.5, 3])) == (
        "Tensor-likes are not close!\n\nMismatched elements: 1 / 3 (33.3%)\n"
        "Greatest absolute difference: 0.5 at index (1,) (up to 1e-05 allowed)\n"
        "Greatest relative difference: 0.20000000298023224 at index (1,) (up to 1.3e-06 allowed)"
    )
    assert problem(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 4])) == (
        "Tensor-likes are not equal!\n\nMismatched elements: 1 / 3 (33.3%)\n"
        "Greatest absolute difference: 1 at index (2,)\nGreatest relative difference: 0.25 at index (2,)"
    )
    assert problem([torch.ones(1), 1.0], [torch.ones(1), 2.0]) == (
        "Scalars are not close!\n\nExpected 2.0 but got 1.0.\nAbsolute difference: 1.0 (up to 1e-07 allowed)\n"
        "Relative difference: 0.5 (up to 1e-07 allowed)\n\nThe failure occurred for item [1]"
    )
    assert problem(torch.ones(3), torch.ones(2)) == (
        "The values for attribute 'shape' do not match: torch.Size([3]) != torch.Size([2])."
    )
    assert "attribute 'dtype' do not match: torch.float32 != torch.int64." in problem(torch.ones(1), torch.ones(1).long())
    assert "attribute 'stride()'" in problem(torch.ones(2, 3), torch.ones(3, 2).t(), check_stride=True)
    assert problem({"a": 1}, {"b": 1}).startswith("The keys of the mappings do not match:\nMissing keys in the actual")
    assert problem([1], [1, 2]) == "The length of the sequences mismatch: 1 != 2"
    assert problem(True, False) == "Booleans mismatch: True is not False"
    assert problem(None, 1) == "None mismatch: None is not 1"
    assert "Scalars are not close!" in problem(torch.tensor(1.0), torch.tensor(2.0))
    assert problem(1, 2, msg="mine") == "mine" and problem(1, 2, msg=lambda m: "see: " + m).startswith("see: Scalars")
    assert "Mismatched elements: 1 / 1" in problem(torch.tensor([math.nan]), torch.tensor([math.nan]))
    with pytest.raises(TypeError, match="No comparison pair was able to handle inputs of type"):
        assert_close("a", "a")
    with pytest.raises(ValueError, match="must be either specified or omitted, but got no atol"):
        assert_close(1, 1, rtol=0.1)
    with pytest.warns(FutureWarning, match="is deprecated"):
        torch.testing.assert_allclose(torch.ones(2), [1, 1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, torch.int8, torch.uint8, torch.bool, torch.bfloat16])
def test_tensors_for_tests(dtype) -> None:
    made = make_tensor((3, 4), dtype=dtype)
    assert made.shape == (3, 4) and made.dtype is dtype
    assert not make_tensor(3, 4, dtype=dtype, noncontiguous=True).is_contiguous()
    if dtype is not torch.bool:
        assert (make_tensor(50, dtype=dtype, low=0, high=2, exclude_zero=True) != 0).all()


# ---- nn.parallel, nn.attention, SyncBatchNorm


def test_data_parallel_calls_the_module() -> None:
    torch.manual_seed(0)
    inner = nn.Linear(3, 2)
    model = nn.DataParallel(inner)
    x = torch.randn(4, 3)
    assert model(x).equal(inner(x)) and list(model.state_dict()) == ["module.weight", "module.bias"]
    assert nn.parallel.data_parallel(inner, x).equal(inner(x)) and nn.parallel.DataParallel is nn.DataParallel


def test_parts_of_a_batch() -> None:
    x = torch.arange(6.0).reshape(3, 2)
    parts = nn.parallel.scatter((x, {"a": x, "b": 1}), ["cpu", "cpu"])
    assert [p[0].shape[0] for p in parts] == [2, 1] and parts[1][1]["a"].equal(x[2:]) and parts[0][1]["b"] == 1
    back = nn.parallel.gather([p[0] for p in parts], "cpu")
    assert back.equal(x) and nn.parallel.gather([torch.tensor(1.0), torch.tensor(2.0)], "cpu").tolist() == [1, 2]
    both = nn.parallel.gather([{"a": x, "b": (x,)}] * 2, "cpu")
    assert both["a"].shape == (6, 2) and both["b"][0].shape == (6, 2)
    inner = nn.Linear(2, 2)
    replicas = nn.parallel.replicate(inner, ["cpu", "cpu"])
    results = nn.parallel.parallel_apply(replicas, [p[0] for p in parts])
    nn.parallel.gather(results, "cpu").sum().backward()
    twin = copy.deepcopy(inner)
    twin.zero_grad()
    twin(x).sum().backward()
    assert_close(inner.weight.grad, twin.weight.grad)


def test_sync_batch_norm_of_one_process() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3), nn.Sequential(nn.BatchNorm1d(3)))
    twin = copy.deepcopy(model)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert isinstance(converted[1], nn.SyncBatchNorm) and isinstance(converted[2][0], nn.SyncBatchNorm)
    x = torch.randn(4, 2, 5, 5)
    assert_close(converted[:2](x), twin[:2](x))
    assert_close(converted[1].running_mean, twin[1].running_mean)
    with pytest.raises(ValueError, match=r"expected at least 2D input \(got 1D input\)"):
        nn.SyncBatchNorm(3)(torch.ones(3))


def test_ways_of_attention() -> None:
    backend = nn.attention.SDPBackend
    q = torch.randn(1, 2, 3, 4)
    want = nn.functional.scaled_dot_product_attention(q, q, q)
    for named in (backend.MATH, [backend.FLASH_ATTENTION, backend.EFFICIENT_ATTENTION]):
        with nn.attention.sdpa_kernel(named):
            assert nn.functional.scaled_dot_product_attention(q, q, q).equal(want)
    with pytest.raises(AssertionError, match="Backend must be an instance of SDPBackend"), nn.attention.sdpa_kernel("math"):
        pass


# ---- utils.dlpack, random, types


def test_dlpack_capsules() -> None:
    x = torch.arange(4.0)
    y = torch.utils.dlpack.from_dlpack(torch.utils.dlpack.to_dlpack(x))
    y[0] = 9
    assert x[0] == 9 and np.from_dlpack(x)[1] == 1
    assert torch.utils.dlpack.DLDeviceType.kDLCPU == x.__dlpack_device__()[0]


def test_forked_generator() -> None:
    torch.manual_seed(3)
    want = torch.rand(2)
    torch.manual_seed(3)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        torch.rand(5)
    assert torch.rand(2).equal(want)
    with torch.random.fork_rng(enabled=False):
        torch.manual_seed(3)
    assert torch.rand(2).equal(want)
    with pytest.raises(KeyError), torch.random.fork_rng():
        raise KeyError


def test_names_of_types() -> None:
    assert isinstance(1.5, torch.types.Number) and torch.types.Storage is torch.UntypedStorage
    assert isinstance("cpu", torch.types.Device)


def test_binary_cross_entropy_of_certain_probabilities() -> None:
    x = torch.tensor([0.0, 1.0, 0.0, 1.0, 0.25], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)
    loss = nn.functional.binary_cross_entropy(x, y, reduction="none")
    assert loss.tolist() == [100, 100, 0, 0, -math.log(0.25)]
    loss.sum().backward()
    assert x.grad.tolist() == pytest.approx([-1e12, 1e12, 0, 0, -4])
    p, q = (torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in ([0.3, 0.6, 0.9], [0.2, 0.7, 0.5]))
    weighted = lambda p, q: nn.functional.binary_cross_entropy(p, q, weight=y[:3] + 2)  # noqa: E731
    for f in (weighted, nn.functional.binary_cross_entropy):
        assert torch.autograd.gradcheck(f, (p, q))
        assert torch.autograd.gradgradcheck(f, (p, q))


def test_multilabel_margins_follow_the_lists() -> None:
    rng = np.random.default_rng(0)
    n = rng.standard_normal((40, 37))
    n[3, 5] = math.nan
    lists = np.full((40, 37), -1)
    for row, length in zip(lists, rng.integers(0, 38, 40), strict=True):
        row[:length] = rng.integers(0, 37, length)
        row[length + 1 :] = 3  # behind the end
    want = np.zeros(40)
    for k, (x, row) in enumerate(zip(n, lists, strict=True)):
        end = int(np.argmin(row)) if row.min() < 0 else len(row)
        others = np.delete(x, np.unique(row[:end]))
        margins = 1 - x[row[:end], None] + others
        want[k] = margins[margins > 0].sum() / 37
    x, target = torch.from_numpy(n).requires_grad_(), torch.from_numpy(lists)
    loss = nn.functional.multilabel_margin_loss(x, target, reduction="none")
    np.testing.assert_allclose(loss.detach(), want, rtol=1e-12)
    np.testing.assert_allclose(nn.functional.multilabel_margin_loss(x[0].float(), target[0]).detach(), want[0], rtol=1e-5)
    function = lambda x: nn.functional.multilabel_margin_loss(x, target[:2])  # noqa: E731
    assert torch.autograd.gradcheck(function, x[:2].detach().requires_grad_())
    for wrong in (37, -2):
        with pytest.raises(RuntimeError, match="argument #2 'target' is out of range"):
            nn.functional.multilabel_margin_loss(x, torch.full((40, 37), wrong))
    with pytest.raises(NotImplementedError, match="not implemented for 'Half'"):
        nn.functional.multilabel_margin_loss(x.half(), target)


def test_normalisation_over_neighbouring_maps():
    x = make_tensor((2, 5, 3, 3), dtype=torch.float64, device="cpu")
    want = nn.LocalResponseNorm(3, alpha=0.5, beta=0.3, k=2.0)(x)
    m = nn.CrossMapLRN2d(3, alpha=0.5, beta=0.3, k=2.0)
    assert_close(m(x), want)
    assert repr(m) == "CrossMapLRN2d(3, alpha=0.5, beta=0.3, k=2.0)"
    with pytest.raises(ValueError, match="CrossMapLRN2d: Expected input to be 4D, got 3D instead."):
        m(x[0])


def test_convolution_of_time_batch_channels():
    x, w, b = torch.ones(5, 2, 3), torch.ones(2, 3, 4), torch.zeros(4)
    y = nn.functional.conv_tbc(x, w, b, 1)
    assert y.shape == (6, 2, 4) and y[:, 0, 0].tolist() == [3, 6, 6, 6, 6, 3]


def test_merged_masks_of_attention():
    m, x = nn.MultiheadAttention(4, 2), torch.ones(3, 5, 4)
    attention, padding = torch.zeros(5, 5), torch.ones(3, 5)
    assert m.merge_masks(None, None, x) == (None, None) and m.merge_masks(None, padding, x) == (padding, 1)
    merged, kind = m.merge_masks(attention, padding, x)
    assert merged.shape == (3, 2, 5, 5) and kind == 2 and merged.min() == 1


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: nn.Unflatten("a", 3), TypeError, "unflattened_size must be a tuple of ints, but found type int"),
        (lambda: nn.Unflatten("a", (("b", 2),)), TypeError, "found element of type tuple at pos 0"),
        (lambda: nn.RNN(3, 4)(torch.ones(5)), ValueError, "RNN: Expected input to be 2D or 3D, got 1D tensor instead"),
        (lambda: nn.LSTMCell(3, 4)(torch.ones(2, 3), torch.ones(2, 4)), TypeError, "must be tuple of Tensors, not Tensor"),
        (lambda: nn.RMSNorm((4, 5))(torch.ones(5)), ValueError, "Input tensor must have at least 2 dimensions, but got 1"),
        (lambda: nn.GLU()(torch.ones(4, dtype=torch.int64)), NotImplementedError, "\"glu_cpu\" not implemented for 'Long'"),
    ],
)
def test_modules_name_what_is_wrong(call, error, sentence):
    with pytest.raises(error) as raised:
        call()
    assert sentence in str(raised.value)
