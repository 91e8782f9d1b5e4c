"""Scans of a user's function against a loop."""

import pytest

import flambeau as torch
from flambeau._higher_order_ops import associative_scan
from flambeau.autograd import gradcheck


def by_loop(combine, xs):
    """Over the first dimension of a tuple of tensors."""
    rows = [tuple(x[i] for x in xs) for i in range(len(xs[0]))]
    found = rows[:1]
    for row in rows[1:]:
        found.append(combine(found[-1], row))
    return tuple(torch.stack(parts) for parts in zip(*found, strict=True))


def recurrence(a, b):
    """h -> w h + u: what state space models scan."""
    return a[0] * b[0], b[0] * a[1] + b[1]


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 8, 33])
@pytest.mark.parametrize("mode", ["pointwise", "generic"])
def test_a_recurrence(n, mode):
    torch.manual_seed(n)
    xs = torch.rand(n, 3, dtype=torch.float64), torch.randn(n, 3, dtype=torch.float64)
    expected = by_loop(recurrence, xs)
    found = associative_scan(recurrence, xs, 0, combine_mode=mode)
    assert all(map(torch.allclose, found, expected))
    across = associative_scan(recurrence, tuple(x.t() for x in xs), 1, combine_mode=mode)
    assert all(map(torch.allclose, across, (y.t() for y in expected)))
    backward = associative_scan(recurrence, tuple(x.flip(0) for x in xs), 0, reverse=True, combine_mode=mode)
    assert all(map(torch.allclose, backward, (y.flip(0) for y in expected)))


def test_what_is_no_elementwise_function():
    torch.manual_seed(0)
    matrices = torch.randn(6, 2, 2, dtype=torch.float64)
    (expected,) = by_loop(lambda a, b: (a[0] @ b[0],), (matrices,))
    assert torch.allclose(associative_scan(torch.matmul, matrices, 0, combine_mode="generic"), expected)
    tree = associative_scan(lambda a, b: {"s": a["s"] + b["s"]}, {"s": torch.ones(5)}, 0)
    assert tree["s"].tolist() == [1, 2, 3, 4, 5]


def test_gradients():
    xs = [torch.rand(5, 2, dtype=torch.float64, requires_grad=True) for _ in range(2)]
    assert gradcheck(lambda *xs: associative_scan(recurrence, xs, 0), xs)


def test_wrong_arguments():
    with pytest.raises(ValueError, match="Combine_mode must either 'pointwise' or 'generic', but got other"):
        associative_scan(torch.add, torch.ones(2), 0, combine_mode="other")
    with pytest.raises(ValueError, match="Expected at least 1 xs leaf"):
        associative_scan(torch.add, (), 0)
    with pytest.raises(RuntimeError, match="must have the same size in dim 0 .in associative_scan: .2, 3."):
        associative_scan(recurrence, (torch.ones(2), torch.ones(3)), 0)
