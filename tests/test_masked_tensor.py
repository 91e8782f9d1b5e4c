"""Masked tensors: what they are, operators with masks, reductions, gradients, errors."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau.masked import as_masked_tensor, is_masked_tensor, masked_tensor

DATA = torch.arange(6.0).reshape(2, 3)
MASK = DATA % 2 == 0


def example(**options):
    return masked_tensor(DATA, MASK, **options)


def values(x, fill=-1.0):
    assert is_masked_tensor(x)
    return x.to_tensor(fill).tolist()


def test_what_it_is() -> None:
    x = example()
    assert isinstance(x, torch.masked.MaskedTensor) and isinstance(x, torch.Tensor) and not is_masked_tensor(DATA)
    assert (x.shape, x.dtype, x.device.type, x.dim(), len(x), x.numel()) == ((2, 3), torch.float32, "cpu", 2, 2, 6)
    assert x.get_data().equal(DATA) and x.get_mask().equal(MASK) and x.get_data() is not DATA
    assert as_masked_tensor(DATA, MASK).get_data() is DATA
    assert values(x) == [[0, -1, 2], [-1, 4, -1]]
    assert repr(x) == "MaskedTensor(\n  [\n    [  0.0000,       --,   2.0000],\n    [      --,   4.0000,       --]\n  ]\n)"
    assert repr(x.sum()) == "MaskedTensor(  6.0000, True)"
    assert repr(masked_tensor(torch.arange(3), torch.tensor([True, False, True]))) == "MaskedTensor(\n  [0,       --, 2]\n)"
    for again in (pickle.loads(pickle.dumps(x)), copy.deepcopy(x), x.clone(), x.detach(), x.contiguous()):
        assert values(again) == values(x)


@pytest.mark.parametrize(
    ("operator", "want"),
    [
        (lambda x: x + 1, [[1, -1, 3], [-1, 5, -1]]),
        (lambda x: 1 + x, [[1, -1, 3], [-1, 5, -1]]),
        (lambda x: x + x, [[0, -1, 4], [-1, 8, -1]]),
        (lambda x: x * torch.ones(2, 3), [[0, -1, 2], [-1, 4, -1]]),
        (lambda x: torch.ones(2, 3) - x, [[1, -1, -1], [-1, -3, -1]]),
        (lambda x: x == x, [[True, -1, True], [-1, True, -1]]),
        (lambda x: torch.square(x).double(), [[0, -1, 4], [-1, 16, -1]]),
        (lambda x: x.clone().add_(1), [[1, -1, 3], [-1, 5, -1]]),
        (lambda x: x.t(), [[0, -1], [-1, 4], [2, -1]]),
        (lambda x: x.reshape(3, 2), [[0, -1], [2, -1], [4, -1]]),
        (lambda x: x[0], [0, -1, 2]),
        (lambda x: x.unbind(1)[1], [-1, 4]),
        (lambda x: x.expand(2, 2, 3)[1], [[0, -1, 2], [-1, 4, -1]]),
        (lambda x: torch.cat([x[0], x[1]]), [0, -1, 2, -1, 4, -1]),
        (lambda x: torch.stack([x[0], x[1]]), [[0, -1, 2], [-1, 4, -1]]),
        (lambda x: torch.where(MASK, x, x), [[0, -1, 2], [-1, 4, -1]]),
        (lambda x: x.sum(0), [0, 4, 2]),
        (lambda x: x.mean(1, keepdim=True), [[1], [4]]),
        (lambda x: torch.amax(x, 1), [2, 4]),
        (lambda x: x.amin(0), [0, 4, 2]),
        (lambda x: x.argmax(1), [2, 1]),
        (lambda x: x.prod(1), [0, 4]),
        (lambda x: x[:, 1].sum(), 4),
        (lambda x: x.sum(()), 6),
        (lambda x: x.all(), False),
        (lambda x: masked_tensor(DATA, torch.zeros(2, 3, dtype=torch.bool)).sum(0), [-1, -1, -1]),
        (lambda x: x.cumsum(1), [[0, -1, 2], [-1, 4, -1]]),
    ],
)  # fmt: skip
def test_operators(operator, want) -> None:
    got = operator(example())
    fill = -1 if got.dtype is not torch.bool else True
    if got.dtype is torch.bool:
        want = [[True if v == -1 else v for v in row] for row in want] if isinstance(want, list) else want
    assert values(got, fill) == want


def test_the_mask_is_of_the_size_of_what_was_broadcast() -> None:
    row = masked_tensor(DATA[0], MASK[0])
    for got in (row + DATA, torch.where(MASK[0], DATA, row)):
        assert got.get_mask().shape == got.shape == (2, 3)
    assert values(torch.where(MASK[0], DATA, row)) == [[0, -1, 2], [3, -1, 5]]
    assert values(torch.where(MASK[0], DATA, row).sum(0)) == [3, -1, 7]


def test_normalisation_and_norms() -> None:
    x = example()
    assert torch.allclose(x.softmax(1).to_tensor(0.0), torch.tensor([[0.1192, 0.0, 0.8808], [0.0, 1.0, 0.0]]), atol=1e-4)
    assert torch.softmax(x, 1).sum(1).to_tensor(0.0).tolist() == pytest.approx([1, 1])
    assert x.std().item() == 2 and x.var().item() == 4 and x.norm().item() == pytest.approx(20**0.5)


def test_gradients() -> None:
    x = example(requires_grad=True)
    assert x.requires_grad and x.is_leaf and x.grad is None
    (x * x).sum().backward()
    assert values(x.grad) == [[0, -1, 4], [-1, 8, -1]]
    x.grad = None
    assert x.grad is None
    data = DATA.clone().requires_grad_()
    y = as_masked_tensor(data, MASK)
    assert y.grad_fn is None and (y * 2).grad_fn is not None
    (y.exp().mean() * 3).backward()
    assert torch.allclose(data.grad, torch.where(MASK, DATA.exp(), 0.0))
    z = example(requires_grad=True)
    (z * 2).backward(as_masked_tensor(DATA, MASK))
    assert values(z.grad) == [[0, -1, 4], [-1, 8, -1]]


def test_errors() -> None:
    x = example()
    with pytest.raises(ValueError, match="Input masks must match. If you need support for this"):
        x + masked_tensor(DATA, ~MASK)
    with pytest.raises(ValueError, match=r"data.dim\(\) must equal mask.dim\(\)"):
        masked_tensor(DATA, MASK[0])
    with pytest.raises(ValueError, match=r"data.size\(\) must equal mask.size\(\)"):
        masked_tensor(DATA, MASK[:, :2])
    with pytest.raises(TypeError, match="mask must have dtype bool."):
        masked_tensor(DATA, MASK.float())
    with pytest.raises(TypeError, match="data must be a Tensor"):
        masked_tensor([1.0], MASK)
    with pytest.raises(TypeError, match="no implementation of 'matmul' for MaskedTensor"):
        x @ x.t()
    with pytest.raises(TypeError, match="cannot be written to a tensor without a mask"):
        torch.ones(2, 3).add_(x)
    with pytest.raises(RuntimeError, match="is not supported for tensor subclasses"):
        x.numpy()
    with pytest.raises(RuntimeError, match="is not supported for tensor subclasses"):
        x.tolist()
