"""Compressed sparse matrices: what they are made of, conversion, arithmetic against dense ones, gradients, errors."""

import copy
import pickle

import pytest

import flambeau as torch
from flambeau.autograd import gradcheck

T = torch.tensor
DENSE = T([[0.0, 0.0, 4.0], [4.0, 0.0, 5.0]])


def test_parts() -> None:
    s = DENSE.to_sparse_csr()
    assert isinstance(s, torch.Tensor) and s.layout is torch.sparse_csr and s.is_sparse_csr and not s.is_sparse
    assert not DENSE.is_sparse_csr
    assert s.crow_indices().tolist() == [0, 1, 3] and s.col_indices().tolist() == [2, 0, 2] and s.values().tolist() == [4, 4, 5]
    assert (s.shape, s._nnz(), s.sparse_dim(), s.dense_dim(), s.dtype) == ((2, 3), 3, 2, 0, torch.float32)
    c = DENSE.to_sparse_csc()
    assert c.layout is torch.sparse_csc and not c.is_sparse_csr
    assert c.ccol_indices().tolist() == [0, 1, 1, 3] and c.row_indices().tolist() == [1, 0, 1] and c.values().tolist() == [4, 4, 5]
    assert repr(s) == (
        "tensor(crow_indices=tensor([0, 1, 3]),\n       col_indices=tensor([2, 0, 2]),\n"
        "       values=tensor([4., 4., 5.]),\n       size=(2, 3), nnz=3, layout=torch.sparse_csr)"
    )
    made = torch.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [4.0, 4.0, 5.0], dtype=torch.float64)
    assert made.shape == (2, 3) and made.dtype is torch.float64 and made.to_dense().equal(DENSE.double())
    by_columns = torch.sparse_csc_tensor(T([0, 1, 1, 3]), T([1, 0, 1]), T([4.0, 4.0, 5.0]))
    assert by_columns.to_dense().equal(DENSE)
    assert torch.zeros(2, 3).to_sparse_csr().crow_indices().tolist() == [0, 0, 0]


def test_conversion_and_copies() -> None:
    for s in (DENSE.to_sparse_csr(), DENSE.to_sparse_csc(), DENSE.to_sparse().to_sparse_csr(), DENSE.to_sparse_csr().to_sparse_csc()):
        assert s.to_dense().equal(DENSE) and s.to_sparse().is_sparse and s.to_sparse().coalesce().to_dense().equal(DENSE)
        for copied in (s.clone(), s.detach(), copy.deepcopy(s), pickle.loads(pickle.dumps(s))):
            assert copied.layout is s.layout and copied.to_dense().equal(DENSE)
        assert s.double().layout is s.layout and s.double().dtype is torch.float64
        turned = s.t()
        assert turned.layout is not s.layout and turned.to_dense().equal(DENSE.t()) and turned.t().layout is s.layout


def test_arithmetic() -> None:
    s, other = DENSE.to_sparse_csr(), T([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    for got, want in (
        (s + s, DENSE * 2), (s * 2, DENSE * 2), (-s, -DENSE), (s.abs(), DENSE), (s.relu(), DENSE), (s / 2, DENSE / 2),
        (s @ s.t(), DENSE @ DENSE.t()), (s.transpose(0, 1), DENSE.t()), (s * other, DENSE * other),
    ):  # fmt: skip
        assert not got.is_sparse and got.layout in (torch.sparse_csr, torch.sparse_csc) and got.to_dense().equal(want)
    for got, want in (
        (s @ torch.ones(3), DENSE @ torch.ones(3)), (s @ other.t(), DENSE @ other.t()), (other.t() @ s, other.t() @ DENSE),
        (torch.mv(s, torch.ones(3)), DENSE.sum(1)), (torch.sparse.mm(s, other.t()), DENSE @ other.t()), (s.sum(), DENSE.sum()),
        (torch.addmm(torch.ones(2, 2), s, other.t()), 1 + DENSE @ other.t()), (other + s, other + DENSE), (s[0].to_dense(), DENSE[0]),
        (torch.spmm(s, other.t()), DENSE @ other.t()),
    ):  # fmt: skip
        assert got.layout is torch.strided and got.equal(want)


def test_gradients() -> None:
    values, dense = T([4.0, 4.0, 5.0]).double().requires_grad_(), torch.randn(3, 2, dtype=torch.float64, requires_grad=True)
    begin, columns = T([0, 1, 3]), T([2, 0, 2])

    def product(v, d):
        return torch.sparse_csr_tensor(begin, columns, v, (2, 3)) @ d

    assert gradcheck(product, [values, dense])
    assert gradcheck(lambda d: d.to_sparse_csr().to_dense() * 2, [dense])
    leaf = torch.sparse_csr_tensor(begin, columns, T([4.0, 4.0, 5.0]), requires_grad=True)
    (leaf @ torch.ones(3)).sum().backward()
    assert leaf.requires_grad and leaf.grad.layout is torch.sparse_csr and leaf.grad.values().tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("begin", "columns", "values", "size", "text"),
    [
        (T([1, 1, 2]), T([0, 1]), T([1.0, 2.0]), (2, 2), r"`crow_indices\[..., 0\] == 0` is not satisfied."),
        (T([0, 1, 3]), T([0, 1]), T([1.0, 2.0]), (2, 2), r"`crow_indices\[..., -1\] == nnz` is not satisfied."),
        (T([0, 3, 2]), T([0, 1]), T([1.0, 2.0]), (2, 2), r"`0 <= crow_indices\[..., 1:\] - crow_indices\[..., :-1\] <= ncols` is not"),
        (T([0, 1, 2]), T([0, 2]), T([1.0, 2.0]), (2, 2), "`0 <= col_indices < ncols` is not satisfied."),
        (T([0, 1, 2]), T([0, -1]), T([1.0, 2.0]), (2, 2), "`0 <= col_indices < ncols` is not satisfied."),
        (T([0, 2, 2]), T([1, 0]), T([1.0, 2.0]), (2, 2), "are sorted and distinct along the last dimension values` is not satisfied."),
        (T([0, 1]), T([0]), T([1.0]), (2, 2), r"crow_indices.shape\[-1\] must be equal to the number of rows \+ 1 \(=3\), but got 2"),
        (T([0, 1, 2]), T([0, 1]), T([1.0, 2.0, 3.0]), (2, 2), r"col_indices.shape\[-1\] must be equal to nnz \(=3\)"),
        (T([0.0, 1, 2]), T([0, 1]), T([1.0, 2.0]), (2, 2), "must have the same dtype, bot got Float and Long, respectively"),
        (T([0, 1, 2]), T([0, 1]), T([1.0, 2.0]), (2,), r"tensor dimensionality must be sum of batch, base, and dense"),
        (T([[0, 1, 2]]), T([[0, 1]]), T([[1.0, 2.0]]), (2, 2), "must be 1-dimensional"),
    ],
)  # fmt: skip
def test_numbers_that_fit_to_no_matrix(begin, columns, values, size, text) -> None:
    with pytest.raises(RuntimeError, match=text):
        torch.sparse_csr_tensor(begin, columns, values, size)


def test_errors() -> None:
    s = DENSE.to_sparse_csr()
    for action, text in (
        (s.indices, "indices expected sparse coordinate tensor layout but got SparseCsr"),
        (s.ccol_indices, "ccol_indices expected sparse column compressed tensor layout but got SparseCsr"),
        (DENSE.crow_indices, "crow_indices expected sparse row compressed tensor layout but got Strided"),
        (torch.ones(3).to_sparse_csr, "Only 2-dimensional tensors can be compressed"),
    ):
        with pytest.raises(RuntimeError, match=text):
            action()
    with pytest.raises(NotImplementedError, match="Could not run 'aten::sort'"):
        s.sort()
    with pytest.raises(TypeError):
        s.numpy()
