"""Sparse gradients: of embeddings and bags, added up by the tape, taken by SGD, Adagrad and SparseAdam."""

import pytest

import flambeau as torch
from flambeau import nn

AT = torch.tensor([[1, 3], [3, 0]])


def tables(rows=6, **options):
    """A table with sparse gradients and its twin with dense ones."""
    torch.manual_seed(0)
    sparse = nn.Embedding(rows, 3, sparse=True, **options)
    dense = nn.Embedding(rows, 3, _weight=sparse.weight.detach().clone(), **options)
    return sparse, dense


def test_gradient_of_an_embedding() -> None:
    sparse, dense = tables()
    factors = torch.randn(2, 2, 3)
    for table in (sparse, dense):
        (table(AT) * factors).sum().backward()
    grad = sparse.weight.grad
    assert grad.is_sparse and grad.shape == (6, 3) and grad._nnz() == 4
    assert grad.to_dense().equal(dense.weight.grad)
    (direct,) = torch.autograd.grad((sparse(AT) * factors).sum(), sparse.weight)
    assert direct.is_sparse and direct.to_dense().equal(dense.weight.grad)


def test_gradients_add_up() -> None:
    """Of two uses in one backward, of two backwards, and beside a dense one."""
    sparse, dense = tables()
    for table in (sparse, dense):
        (table(AT).sum() + 2 * table(AT[0]).sum()).backward()
        table(AT[1]).sum().backward()
    assert sparse.weight.grad.is_sparse and sparse.weight.grad.to_dense().equal(dense.weight.grad)
    for table in (sparse, dense):
        (table(AT).sum() + table.weight.square().sum()).backward()
    assert not sparse.weight.grad.is_sparse
    torch_close(sparse.weight.grad, dense.weight.grad)
    sparse.weight.grad = None
    sparse.weight.square().sum().backward()
    sparse(AT).sum().backward()
    assert not sparse.weight.grad.is_sparse


def torch_close(a, b) -> None:
    assert torch.allclose(a, b, rtol=1e-6, atol=1e-7)


def test_padding_hooks_and_tables_with_a_history() -> None:
    sparse, dense = tables(padding_idx=3)
    for table in (sparse, dense):
        table(AT).sum().backward()
    assert sparse.weight.grad._nnz() == 2 and sparse.weight.grad.to_dense().equal(dense.weight.grad)
    seen = []
    sparse.weight.register_hook(lambda g: seen.append(g.is_sparse))
    sparse(AT).sum().backward()
    assert seen == [True]
    leaf = torch.randn(6, 3, requires_grad=True)
    nn.functional.embedding(AT, leaf * 2, sparse=True).sum().backward()
    assert not leaf.grad.is_sparse and leaf.grad[3].tolist() == [4, 4, 4]
    assert not nn.functional.embedding(AT, torch.randn(6, 3), sparse=True).requires_grad
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse gradients"):
        nn.functional.embedding(AT, leaf, scale_grad_by_freq=True, sparse=True)


@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_gradient_of_bags(mode: str) -> None:
    torch.manual_seed(0)
    sparse = nn.EmbeddingBag(6, 3, mode=mode, sparse=True)
    dense = nn.EmbeddingBag(6, 3, mode=mode, _weight=sparse.weight.detach().clone())
    for bag in (sparse, dense):
        bag(AT).square().sum().backward()
    assert sparse.weight.grad.is_sparse
    torch_close(sparse.weight.grad.to_dense(), dense.weight.grad)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: torch.optim.SGD(p, lr=0.1),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.SGD(p, lr=0.1, maximize=True),
        lambda p: torch.optim.Adagrad(p, lr=0.1),
    ],
)
def test_steps_are_those_of_dense_gradients(make) -> None:
    sparse, dense = tables()
    both = [(table, make(table.parameters())) for table in (sparse, dense)]
    for k in range(3):
        for table, optimizer in both:
            optimizer.zero_grad()
            table(AT + k).square().sum().backward()
            optimizer.step()
    torch_close(sparse.weight, dense.weight)


def test_sparse_adam_moves_what_is_named() -> None:
    """Each row that is looked up takes Adam's step for its own gradient; the others stay."""
    sparse, dense = tables()
    start = sparse.weight.detach().clone()
    ours, reference = torch.optim.SparseAdam(sparse.parameters(), lr=0.1), torch.optim.Adam(dense.parameters(), lr=0.1)
    for _ in range(3):
        for table, optimizer in ((sparse, ours), (dense, reference)):
            optimizer.zero_grad()
            table(AT).square().sum().backward()
            optimizer.step()
    named = [0, 1, 3]
    torch_close(sparse.weight[named], dense.weight[named])
    assert sparse.weight[[2, 4, 5]].equal(start[[2, 4, 5]])
    saved = ours.state_dict()
    again = torch.optim.SparseAdam(sparse.parameters(), lr=0.1)
    again.load_state_dict(saved)
    assert again.state[sparse.weight]["step"] == 3
    closure_ran = ours.step(lambda: sparse(AT).sum())
    assert closure_ran.dim() == 0
    climbing = torch.optim.SparseAdam(sparse.parameters(), lr=0.1, maximize=True)
    climbing.zero_grad()
    before = sparse(AT).sum()
    before.backward()
    climbing.step()
    assert sparse(AT).sum() > before


def test_errors() -> None:
    sparse, dense = tables()
    sparse(AT).sum().backward()
    dense(AT).sum().backward()
    with pytest.raises(RuntimeError, match="Adam does not support sparse gradients, please consider SparseAdam instead"):
        torch.optim.Adam(sparse.parameters()).step()
    with pytest.raises(RuntimeError, match="RMSprop does not support sparse gradients"):
        torch.optim.RMSprop(sparse.parameters()).step()
    with pytest.raises(RuntimeError, match="SparseAdam does not support dense gradients, please consider Adam instead"):
        torch.optim.SparseAdam(dense.parameters()).step()
    with pytest.raises(RuntimeError, match=r"add\(sparse, dense\) is not supported"):
        torch.optim.SGD(sparse.parameters(), lr=0.1, weight_decay=0.1).step()
    with pytest.raises(RuntimeError, match="weight_decay option is not compatible with sparse gradients"):
        torch.optim.Adagrad(sparse.parameters(), lr=0.1, weight_decay=0.1).step()
    with pytest.raises(ValueError, match="Invalid learning rate: 0"):
        torch.optim.SparseAdam(sparse.parameters(), lr=0)
    with pytest.raises(ValueError, match=r"Sparse params at indices \[\[0, 0\]\]: SparseAdam requires dense parameter tensors"):
        torch.optim.SparseAdam([torch.eye(2).to_sparse().requires_grad_()])
