"""Sparse tensors in coordinates: construction, conversion, arithmetic against dense ones, gradients, errors."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck, gradgradcheck

AT = torch.tensor([[0, 1, 1, 0], [2, 0, 2, 2]])
V = torch.tensor([3.0, 4.0, 5.0, 1.0])
DENSE = [[0.0, 0.0, 4.0], [4.0, 0.0, 5.0]]


def example(**options):
    return torch.sparse_coo_tensor(AT, V, (2, 3), **options)


def test_what_it_is():
    s = example()
    assert isinstance(s, torch.Tensor) and s.is_sparse and s.layout is torch.sparse_coo and not torch.ones(2).is_sparse
    assert (s.shape, s.dtype, s.device.type, s.dim(), s.numel(), s._nnz()) == ((2, 3), torch.float32, "cpu", 2, 6, 4)
    assert (s.sparse_dim(), s.dense_dim(), s.is_coalesced()) == (2, 0, False)
    assert torch.sparse_coo_tensor(AT, V).shape == (2, 3) and torch.sparse_coo_tensor((2, 3))._nnz() == 0
    assert torch.sparse.FloatTensor(AT, V, torch.Size([2, 3])).to_dense().tolist() == DENSE
    hybrid = torch.sparse_coo_tensor(AT, torch.ones(4, 2), (2, 3, 2))
    assert (hybrid.sparse_dim(), hybrid.dense_dim()) == (2, 1) and hybrid.to_dense()[0, 2].tolist() == [2, 2]
    assert hybrid[0].to_dense().tolist() == [[0, 0], [0, 0], [2, 2]]


def test_merging_and_conversion():
    c = example().coalesce()
    assert c.is_coalesced() and c.indices().tolist() == [[0, 1, 1], [2, 0, 2]] and c.values().tolist() == [4, 4, 5]
    assert c.coalesce() is c
    d = torch.tensor(DENSE)
    assert example().to_dense().equal(d) and d.to_sparse().to_dense().equal(d) and d.to_dense() is d
    assert d.to_sparse().values().tolist() == [4, 4, 5] and d.to_sparse(1)._nnz() == 2
    assert d.to_sparse(1).to_dense().equal(d)
    assert d.sparse_mask(example()).to_dense().tolist() == [[0, 0, 8], [4, 0, 5]]
    for copied in (copy.deepcopy(c), pickle.loads(pickle.dumps(c)), c.clone(), c.detach()):
        assert copied.is_sparse and copied.to_dense().equal(d)
    assert c.double().dtype is torch.float64 and c.to(torch.int32).values().dtype is torch.int32


def test_printing():
    assert repr(example().coalesce()) == (
        "tensor(indices=tensor([[0, 1, 1],\n                       [2, 0, 2]]),\n"
        "       values=tensor([4., 4., 5.]),\n       size=(2, 3), nnz=3, layout=torch.sparse_coo)"
    )
    assert "dtype=torch.float64, layout=torch.sparse_coo, requires_grad=True)" in repr(
        example(dtype=torch.float64, requires_grad=True)
    )


def test_arithmetic():
    s, d = example(), torch.tensor(DENSE)
    other = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for got, want in (
        (s + s, d + d), (s - s, d - d), (s * 2, d * 2), (s / 2, d / 2), (-s, -d), (s * s, d * d), (s * other, d * other),
        (other * s, d * other), (other + s, d + other), (s.t(), d.t()), (s.transpose(0, 1), d.t()), (s.abs(), d), (s.pow(2), d**2),
        (s.sum(), d.sum()), (s.sum(0), d.sum(0)), (torch.sparse.sum(s, 1), d.sum(1)), (s[1], d[1]), (s @ other.t(), d @ other.t()),
        (torch.sparse.mm(s, s.t()), d @ d.t()), (torch.mm(s, other.t()), d @ other.t()), (other.t() @ s, other.t() @ d),
        (s @ torch.ones(3), d @ torch.ones(3)), (torch.zeros_like(s), d * 0),
        (torch.sparse.addmm(torch.ones(2, 2), s, other.t(), beta=2, alpha=3), 2 + 3 * (d @ other.t())),
    ):  # fmt: skip
        assert got.to_dense().equal(want)
    assert (s * s).is_sparse and torch.sparse.mm(s, s.t()).is_sparse and not (s @ other.t()).is_sparse
    changed = example()
    assert changed.mul_(2) is changed and changed.to_dense().equal(d * 2) and changed.zero_()._nnz() == 0
    assert torch.ones(2, 3).add_(s).equal(d + 1)


def test_gradients_of_values_and_dense_operands():
    v, d = V.double().requires_grad_(), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    for function in (
        lambda v, d: torch.sparse.mm(torch.sparse_coo_tensor(AT, v, (2, 3)), d),
        lambda v, d: torch.sparse_coo_tensor(AT, v, (2, 3)).coalesce().values() * d.sum(),
        lambda v, d: (torch.sparse_coo_tensor(AT, v * v, (2, 3)) * d.t()).to_dense(),
        lambda v, d: torch.sparse.mm(torch.sparse_coo_tensor(AT, v, (2, 3)), d.to_sparse()).to_dense(),
    ):
        assert gradcheck(function, (v, d)) and gradgradcheck(function, (v, d))


def test_sparse_leaves_have_sparse_gradients():
    s = example(requires_grad=True)
    assert s.is_leaf and s.requires_grad and s.grad is None
    torch.sparse.mm(s, torch.ones(3, 2)).sum().backward()
    assert s.grad.is_sparse and s.grad._values().tolist() == [2, 2, 2, 2]
    x = torch.eye(2, requires_grad=True)
    assert not x.to_sparse().is_leaf
    x.to_sparse().to_dense().sum().backward()
    assert x.grad.tolist() == [[1, 0], [0, 1]]
    assert not torch.sparse_coo_tensor(AT, V.clone().requires_grad_(), (2, 3)).is_leaf


@pytest.mark.parametrize(
    ("call", "kind", "sentence"),
    [
        (lambda: example().indices(), RuntimeError, "Cannot get indices on an uncoalesced tensor, please call .coalesce() first"),
        (lambda: torch.sparse_coo_tensor(AT, V, (1, 1)), RuntimeError, "for dim 0, size is 1 but found index 1"),
        (lambda: torch.sparse_coo_tensor([[-1], [0]], [1.0], (2, 2)), RuntimeError, "found negative index -1 for dim 0"),
        (lambda: torch.sparse_coo_tensor(AT, V[:2], (2, 3)), RuntimeError, "nnz from indices: 4, nnz from values: 2"),
        (lambda: torch.sparse_coo_tensor(AT[0], V), RuntimeError, "indices must be sparse_dim x nnz, but got: [4]"),
        (lambda: torch.sparse_coo_tensor(AT, V, (2, 3, 4)), RuntimeError, "len(size) = 3, sparse_dim = 2, dense_dim = 0"),
        (lambda: torch.ones(2).coalesce(), RuntimeError, "coalesce expected sparse coordinate tensor layout but got Strided"),
        (lambda: torch.ones(2).to_sparse(5), RuntimeError, "sparse_dim argument must be in [0,1] range, but 5 is given"),
        (lambda: example() + torch.ones(2, 3), RuntimeError, "add(sparse, dense) is not supported. Use add(dense, sparse) instead."),
        (lambda: torch.sparse.mm(example(), torch.ones(2, 2)), RuntimeError, "Expected dim 0 size 3, got 2"),
        (lambda: torch.sparse.mm(1.5, example()), TypeError, "argument 'self' (position 1) must be Tensor, not float"),
        (lambda: torch.sparse.mm(example(), None), TypeError, "argument 'mat2' (position 2) must be Tensor, not NoneType"),
        (lambda: example().matmul("x"), TypeError, "argument 'other' (position 2) must be Tensor, not str"),
        (lambda: torch.sparse.addmm("x", example(), example()), TypeError, "argument 'self' (position 1) must be Tensor, not str"),
        (lambda: example().exp(), NotImplementedError, "Could not run 'aten::exp' with arguments from the 'SparseCPU' backend."),
        (lambda: example().numpy(), TypeError, "can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first."),
        (lambda: example()[2], IndexError, "index 2 out of range"),
    ],
)  # fmt: skip
def test_errors(call, kind, sentence):
    with pytest.raises(kind) as caught:
        call()
    assert sentence in str(caught.value)
