"""repr of tensors, against what PyTorch 2.13 prints."""

import pytest

import flambeau as torch
from flambeau._printing import set_printoptions

NAN, INF = float("nan"), float("inf")


@pytest.fixture(autouse=True)
def default_options():
    yield
    set_printoptions(profile="default")


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: torch.tensor(1.5), "tensor(1.5000)"),
        (lambda: torch.tensor([1.0, 2, 3]), "tensor([1., 2., 3.])"),
        (lambda: torch.tensor([1.5, 2e10]), "tensor([1.5000e+00, 2.0000e+10])"),
        (lambda: torch.tensor([1e-5, 1.0]), "tensor([1.0000e-05, 1.0000e+00])"),
        (lambda: torch.tensor([NAN, 1.0, INF]), "tensor([nan, 1., inf])"),
        (lambda: torch.tensor([NAN, 1.5]), "tensor([   nan, 1.5000])"),
        (lambda: torch.tensor([-0.0, 0.0]), "tensor([-0., 0.])"),
        (lambda: torch.tensor([1.0, 1000.0]), "tensor([   1., 1000.])"),
        (lambda: torch.tensor([1.0, 1001.5]), "tensor([1.0000e+00, 1.0015e+03])"),
        (lambda: torch.tensor([True, False]), "tensor([ True, False])"),
        (lambda: torch.tensor([1 + 2j, 3.5 - 1j]), "tensor([1.0000+2.j, 3.5000-1.j])"),
        (lambda: torch.tensor([1.5 + 2.25j, -1e10j]), "tensor([1.5000+2.2500e+00j, -0.0000-1.0000e+10j])"),
        (lambda: torch.tensor([]), "tensor([])"),
        (lambda: torch.empty(0, 3), "tensor([], size=(0, 3))"),
        (lambda: torch.empty(2, 0, dtype=torch.int64), "tensor([], size=(2, 0), dtype=torch.int64)"),
        (lambda: torch.tensor([1, 2], dtype=torch.int32), "tensor([1, 2], dtype=torch.int32)"),
        (lambda: torch.tensor([1.0, 2], dtype=torch.bfloat16), "tensor([1., 2.], dtype=torch.bfloat16)"),
        (lambda: torch.tensor([1.0], requires_grad=True), "tensor([1.], requires_grad=True)"),
        (lambda: torch.tensor([1.0], requires_grad=True) * 2, "tensor([2.], grad_fn=<MulBackward0>)"),
        (lambda: torch.empty(2, 3, device="meta"), "tensor(..., device='meta', size=(2, 3))"),
        (lambda: torch.tensor([[1, -22], [333, 4]]), "tensor([[  1, -22],\n        [333,   4]])"),
        (lambda: torch.zeros(2, 1, 1), "tensor([[[0.]],\n\n        [[0.]]])"),
        (lambda: torch.arange(1001.0) * 0.5,
         "tensor([  0.0000,   0.5000,   1.0000,  ..., 499.0000, 499.5000, 500.0000])"),
        (lambda: torch.arange(10000).reshape(100, 100),
         ("tensor([[   0,    1,    2,  ...,   97,   98,   99],\n"
         "        [ 100,  101,  102,  ...,  197,  198,  199],\n"
         "        [ 200,  201,  202,  ...,  297,  298,  299],\n"
         "        ...,\n"
         "        [9700, 9701, 9702,  ..., 9797, 9798, 9799],\n"
         "        [9800, 9801, 9802,  ..., 9897, 9898, 9899],\n"
         "        [9900, 9901, 9902,  ..., 9997, 9998, 9999]])")),
    ],
)  # fmt: skip
def test_repr(make, text):
    assert repr(make()) == text


def test_options():
    set_printoptions(precision=2)
    assert repr(torch.tensor([1.23456])) == "tensor([1.23])"
    set_printoptions(sci_mode=True)
    assert repr(torch.tensor([1.23456])) == "tensor([1.23e+00])"
    set_printoptions(profile="short")
    assert repr(torch.arange(1100.0)) == "tensor([0.00e+00, 1.00e+00,  ..., 1.10e+03, 1.10e+03])"
    set_printoptions(profile="full", linewidth=20)
    assert repr(torch.ones(4)) == "tensor([1., 1., 1.,\n        1.])"


def test_dtypes_and_sizes():
    assert repr(torch.float32) == "torch.float32"
    assert repr(torch.Size([2, 3])) == "torch.Size([2, 3])"
    assert repr(torch.device("cuda", 1)) == "device(type='cuda', index=1)"
    assert str(torch.device("cuda:0")) == "cuda:0"
    assert repr(torch.finfo(torch.float16)) == (
        "finfo(resolution=0.001, min=-65504, max=65504, eps=0.000976562, smallest_normal=6.10352e-05, "
        "tiny=6.10352e-05, dtype=float16)"
    )
    assert repr(torch.iinfo(torch.int8)) == "iinfo(min=-128, max=127, dtype=int8)"
    with pytest.raises(TypeError, match="requires a floating point input type"):
        torch.finfo(torch.int32)
    with pytest.raises(RuntimeError, match="at start of device string: nope"):
        torch.device("nope")
    assert torch.Size([2]) + (3,) == torch.Size([2, 3])  # noqa: RUF005
    assert type((1,) + torch.Size([2])) is torch.Size  # noqa: RUF005
