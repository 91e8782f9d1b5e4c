"""Views and factories: layouts, shared storage, gradients of parts, sentences of errors."""

import numpy as np
import pytest

import flambeau as torch

X = np.arange(24.0).reshape(2, 3, 4)
VIEWS = [
    (lambda t: t.view(6, 4), lambda a: a.reshape(6, 4)), (lambda t: t.transpose(0, 2), lambda a: a.swapaxes(0, 2)),
    (lambda t: t.permute(2, 0, 1), lambda a: a.transpose(2, 0, 1)), (lambda t: t[:, 1], lambda a: a[:, 1]),
    (lambda t: t[..., 1::2], lambda a: a[..., 1::2]), (lambda t: t.narrow(2, 1, 2), lambda a: a[..., 1:3]),
    (lambda t: t.diagonal(0, 1, 2), lambda a: a.diagonal(0, 1, 2)), (lambda t: t.unsqueeze(1), lambda a: a[:, None]),
    (lambda t: t.flatten(1), lambda a: a.reshape(2, 12)), (lambda t: t.movedim(0, -1), lambda a: np.moveaxis(a, 0, -1)),
    (lambda t: t.unfold(2, 2, 1)[..., 1], lambda a: a[..., 1:]),
    (lambda t: t.unfold(2, 4, 2**63 - 1)[..., 1], lambda a: a[..., 1:2]),
    (lambda t: t.expand(5, 2, 3, 4), lambda a: np.broadcast_to(a, (5, 2, 3, 4))),
    (lambda t: t.split(2, 1)[1], lambda a: a[:, 2:]), (lambda t: t.chunk(2, 2)[0], lambda a: a[..., :2]),
    (lambda t: t.unbind(1)[2], lambda a: a[:, 2]),
    (lambda t: t.as_strided((2, 2), (1, 4), 3), lambda a: np.array([[3, 7], [4, 8.0]])),
]  # fmt: skip


@pytest.mark.parametrize("case", VIEWS, ids=[str(i) for i in range(len(VIEWS))])
def test_a_view_shows_the_same_elements(case):
    view, want = case
    t = torch.from_numpy(X.copy())
    v = view(t)
    assert np.array_equal(v.numpy(), want(X))
    assert v.untyped_storage().data_ptr() == t.untyped_storage().data_ptr()
    t.add_(1)
    assert np.array_equal(v.numpy(), want(X) + 1)


@pytest.mark.parametrize("case", VIEWS, ids=[str(i) for i in range(len(VIEWS))])
def test_gradients_of_views(case):
    x = torch.from_numpy(X.copy()).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: case[0](t) * 2, (x,))
    assert torch.autograd.gradgradcheck(lambda t: case[0](t) ** 2, (x,))


ERRORS = [
    (lambda t: t.view(5), RuntimeError, r"shape '\[5\]' is invalid for input of size 24"),
    (lambda t: t.transpose(0, 2).view(24), RuntimeError, "view size is not compatible"),
    (lambda t: t.view(-1, -1), RuntimeError, "only one dimension can be inferred"),
    (lambda t: t.permute(0, 0, 1), RuntimeError, "duplicate dims are not allowed"),
    (lambda t: t.expand(3, 3, 4), RuntimeError, "must match the existing size"),
    (lambda t: t.select(0, 2), IndexError, "index 2 out of range"),
    (lambda t: t.narrow(0, 1, 2), RuntimeError, "exceeds dimension size"),
    (lambda t: t.as_strided((100,), (1,)), RuntimeError, "out of bounds for storage"),
    (lambda t: t.split([1, 3], 1), RuntimeError, "sum exactly to 3"),
    (lambda t: t.split([1 << 62] * 4 + [3], 1), RuntimeError, "sum exactly to 3"),
    (lambda t: t.transpose(0, 5), IndexError, "Dimension out of range"),
    (lambda t: t.squeeze((0, 0)), RuntimeError, "appears multiple times"),
    (lambda t: t[0, 0, 0].unflatten(0, (1, 1)), RuntimeError, "Dimension specified as 0 but tensor has no dimensions"),
]


@pytest.mark.parametrize("case", ERRORS, ids=[str(i) for i in range(len(ERRORS))])
def test_errors(case):
    call, exception, sentence = case
    with pytest.raises(exception, match=sentence):
        call(torch.from_numpy(X.copy()))


def test_parts_longer_than_the_dimension():
    x = torch.from_numpy(X.copy())
    for length in (3, 4, 2**63 - 1):
        (part,) = x.split(length, 1)
        assert part.tolist() == x.tolist() and [p.tolist() for p in x.unsafe_split(length, 1)] == [x.tolist()]


def test_factories():
    assert torch.zeros(2, 3).tolist() == [[0.0] * 3] * 2 and torch.full((2,), 7).dtype == torch.int64
    assert torch.arange(1, 10, 4).tolist() == [1, 5, 9] and torch.arange(3.0).dtype == torch.float32
    assert torch.linspace(0, 1, 5).tolist() == [0, 0.25, 0.5, 0.75, 1] and torch.eye(2).tolist() == [[1, 0], [0, 1]]
    like = torch.zeros_like(torch.ones(2, 3).t())
    assert like.stride() == (1, 3) and torch.ones(2, dtype=torch.bool).new_zeros(3).dtype == torch.bool
    with pytest.raises(RuntimeError):
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match="without overflow"):
        torch.full((2,), 300, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="Only Tensors of floating point"):
        torch.ones(2, dtype=torch.int64, requires_grad=True)


@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 100_003])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16", "int64"])
def test_sequences_of_any_length(dtype, count):
    given = getattr(torch, dtype)
    assert np.array_equal(torch.arange(count, dtype=given).numpy(), np.arange(count).astype(dtype))
    steps = 5.0 - 3.0 * np.arange(count)
    if dtype != "int16":
        assert np.array_equal(torch.arange(5, 5 - 3 * count, -3, dtype=given).numpy(), steps.astype(dtype))
    if dtype.startswith("float"):
        line = torch.linspace(-1, 3, count, dtype=given).numpy()
        assert np.allclose(line, np.linspace(-1, 3, count), rtol=0, atol=4 * np.finfo(dtype).eps)
        assert count < 2 or (line[0] == -1 and line[-1] == 3)


@pytest.mark.parametrize("shift", [1, 3, 15, 16, 17, 1021])
def test_roll_of_long_rows(shift):
    """Targets that stand a little further on in their page than the source are copied in a way of their own."""
    x = np.arange(6 * 3001, dtype=np.float32).reshape(6, 3001)
    for dims in (None, 1):
        assert np.array_equal(torch.roll(torch.from_numpy(x), shift, dims).numpy(), np.roll(x, shift, dims))
