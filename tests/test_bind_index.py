"""x[...] and x[...] = value against NumPy, their errors, and their gradients."""

import numpy as np
import pytest

import flambeau as torch

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
M = np.array([[True, False, True], [False, True, True]])

KEYS = [
    0, -1, (1, 2), (1, -1, 3), slice(None), slice(1), slice(0, 100), slice(None, None, 2), slice(1, 0),
    slice(-5, None),
    (slice(None), 1), (Ellipsis, 0), (0, Ellipsis), (0, Ellipsis, 1), None, (None, None, 0, slice(None), None),
    Ellipsis, (), (slice(None), slice(1, 3), slice(None, None, 3)), np.int64(1), True, False, (0, True), (True, 0),
    [0, 1], [1, 1, 0], ([0, 1], [1, 2]), (slice(None), [0, 2]), (slice(None), [0, 2], slice(1, 3)),
    (0, [1, 2], Ellipsis), ([0, 1], slice(None), [1, 2]), (slice(None), [0, 1], [1, 2]), ([[0], [1]], [[0, 2]]),
    (None, [0, 1]), ([0, 1], None, [1, 2]), M, (M, 1), (M, slice(1, 3)), (slice(None), M[0]), (0, M[0]), (M, None),
    np.zeros((2, 3), bool), np.array([], np.int64), [True, False], (Ellipsis, np.array([True, False, True, True])),
    (np.array([1, 0]), Ellipsis, np.array([3, 2])),
]  # fmt: skip


def tensors(key):
    """The key with arrays as tensors."""
    if isinstance(key, tuple):
        return tuple(tensors(k) for k in key)
    return torch.from_numpy(key) if isinstance(key, np.ndarray) else key


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_read(key):
    x = torch.from_numpy(A.copy())
    want = A[key]
    for k in (key, tensors(key)):
        got = x[k]
        assert got.shape == want.shape
        assert np.array_equal(got.numpy(), want)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_write(key):
    for value in (5.0, np.float32(2.5)):
        x, a = torch.from_numpy(A.copy()), A.copy()
        x[tensors(key)] = value
        a[key] = value
        assert np.array_equal(x.numpy(), a)
    value = np.random.default_rng(0).random(A[key].shape, np.float32)
    if np.unique(np.arange(24).reshape(A.shape)[key]).size == value.size:  # repeated positions: any of the values
        x, a = torch.from_numpy(A.copy()), A.copy()
        x[key] = torch.from_numpy(value)
        a[key] = value
        assert np.array_equal(x.numpy(), a)


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_gradient(key):
    x = torch.from_numpy(A.copy()).requires_grad_()
    x[tensors(key)].sum().backward()
    want = np.zeros_like(A)
    np.add.at(want, key, 1)
    assert np.array_equal(x.grad.numpy(), want)


def test_basic_indexing_makes_views():
    x = torch.zeros(3, 4)
    x[1, 2:].fill_(1)
    x[None, 0][0, 0] = 2
    assert x.tolist() == [[2, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0]]
    assert x[...] is not x
    assert x[:, 1].data_ptr() == x.data_ptr() + 4
    assert x[1, 2]._base is x
    before = x._version
    x[0] = 1
    assert x._version == before + 1


def test_writing_through_history():
    w = torch.ones(2, requires_grad=True)
    x = torch.zeros(3)
    x[1:] = w * 2
    x.sum().backward()
    assert w.grad.tolist() == [2.0, 2.0]
    y = torch.ones(3, requires_grad=True) * 1
    y[0] = 7
    assert y.grad_fn is not None
    leaf = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="a view of a leaf Variable that requires grad is being used in an in-place"):
        leaf[0] = 1
    with pytest.raises(RuntimeError, match="a leaf Variable that requires grad is being used in an in-place operation"):
        leaf[:] = 1
    with torch.no_grad():
        leaf[0] = 5
    assert leaf.tolist() == [5, 1, 1]


@pytest.mark.parametrize(
    ("key", "kind", "message"),
    [
        (5, IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (-3, IndexError, "index -3 is out of bounds for dimension 0 with size 2"),
        ((slice(None), 5), IndexError, "index 5 is out of bounds for dimension 1 with size 3"),
        ((0, 0, 0, 0), IndexError, "too many indices for tensor of dimension 3"),
        (1.5, IndexError,
         "integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got float)"),
        ({}, IndexError, "are valid indices (got dict)"),
        ("a", TypeError, "new(): invalid data type 'str'"),
        (slice(None, None, -1), ValueError, "step must be greater than zero"),
        (slice("a"), TypeError, "slice indices must be integers or None or have an __index__ method"),
        ([5], IndexError, "index 5 is out of bounds for dimension 0 with size 2"),
        (([0, 1], [0, 1, 2]), IndexError,
         "shape mismatch: indexing tensors could not be broadcast together with shapes [2], [3]"),
        (np.array([1.0]), IndexError, "tensors used as indices must be long, int, byte or bool tensors"),
        (np.array([[True, False, True]]), IndexError,
         "The shape of the mask [1, 3] at index 0 does not match the shape of the indexed tensor [2, 3, 4] at index 0"),
    ],
)  # fmt: skip
def test_errors(key, kind, message):
    x = torch.from_numpy(A.copy())
    for act in (lambda: x[tensors(key)], lambda: x.__setitem__(tensors(key), 1)):
        with pytest.raises(kind) as caught:
            act()
        assert message in str(caught.value)
    assert np.array_equal(x.numpy(), A)


def test_errors_of_values():
    x = torch.zeros(2, 3)
    with pytest.raises(IndexError, match="invalid index of a 0-dim tensor"):
        torch.tensor(1)[0]
    with pytest.raises(TypeError, match=r"can't assign a list to a torch.FloatTensor"):
        x[0] = [1, 2, 3]
    with pytest.raises(RuntimeError, match=r"The expanded size of the tensor \(3\) must match the existing size \(4\)"):
        x[0] = torch.ones(4)
    with pytest.raises(RuntimeError, match=r"expand\(torch.FloatTensor\{\[2\]\}, size=\[\]\)"):
        x[0, 0] = torch.ones(2)
    with pytest.raises(RuntimeError, match="shape mismatch: value tensor of shape"):
        x[[0, 1]] = torch.ones(5)
    with pytest.raises(TypeError, match="does not support deleting items"):
        del x[0]
    assert x.tolist() == [[0, 0, 0], [0, 0, 0]]


def test_iteration_and_membership():
    x = torch.tensor([[1, 2], [3, 4]])
    assert [row.tolist() for row in x] == [[1, 2], [3, 4]]
    assert len(x) == 2
    _, b = x
    assert b.tolist() == [3, 4]
    assert 3 in x
    assert 7 not in x
    assert [v.item() for v in reversed(torch.tensor([1, 2, 3]))] == [3, 2, 1]
    with pytest.raises(TypeError, match="iteration over a 0-d tensor"):
        iter(torch.tensor(1))
    with pytest.raises(TypeError, match=r"len\(\) of a 0-d tensor"):
        len(torch.tensor(1))
    with pytest.raises(RuntimeError, match=r"Tensor\.__contains__ only supports Tensor or scalar"):
        "a" in x  # noqa: B015


def test_leading_ones_of_what_is_assigned():
    mask, at = torch.tensor([True, False, True, False]), torch.tensor([0, 1])
    for key, shape, total in ((mask, (1, 1, 3), 6), (at, (1, 2, 3), 6), ((mask, 0), (1, 1, 1), 2), (0, (1, 1, 3), 3),
                              ((slice(None), at), (1, 1, 4, 2), 8), (torch.tensor([[0, 1]]), (1, 1, 1, 2, 3), 6)):  # fmt: skip
        x, value = torch.zeros(4, 3), torch.ones(shape, requires_grad=True)
        x[key] = value
        assert x.sum().item() == total
        x.sum().backward()
        assert value.grad.shape == value.shape and value.grad.sum().item() == total
    with pytest.raises(RuntimeError, match="shape mismatch: value tensor of shape .0. cannot be broadcast"):
        torch.zeros(4, 3)[at] = torch.ones(1, 1, 0)
