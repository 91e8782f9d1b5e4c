"""No kernel is compiled for a shape: calls of other sizes find the kernels that are there, gradients included."""

import pytest

import flambeau as torch
from flambeau.codegen import resolve
from flambeau.nn import functional as F


def found() -> int:
    """Kernels that this process has looked up so far."""
    counts = resolve.stats()
    return counts["pack_hits"] + counts["cache_hits"] + counts["generated"]


def leaf(*shape: int) -> torch.Tensor:
    return torch.rand(shape).requires_grad_()


CASES = {
    "add": lambda n: leaf(2, n) + leaf(n),
    "gelu": lambda n: F.gelu(leaf(n)),
    "sum": lambda n: leaf(3, n, 2).sum(1),
    "mean": lambda n: leaf(3, n, 2).mean((0, 2)),
    "var": lambda n: leaf(3, n).var(1),
    "softmax": lambda n: leaf(3, n).softmax(-1),
    "logsumexp": lambda n: leaf(n, 3).logsumexp(0),
    "cross_entropy": lambda n: F.cross_entropy(leaf(4, n), torch.tensor([0, 2, 1, 0])),
    "layer_norm": lambda n: F.layer_norm(leaf(3, n), (n,), leaf(n), leaf(n)),
    "layer_norm of two": lambda n: F.layer_norm(leaf(3, 2, n), (2, n), leaf(2, n), leaf(2, n)),
    "rms_norm": lambda n: F.rms_norm(leaf(3, n), (n,), leaf(n)),
    "batch_norm": lambda n: F.batch_norm(leaf(4, n), None, None, leaf(n), leaf(n), True),
    "group_norm": lambda n: F.group_norm(leaf(2, 2 * n, 3), 2, leaf(2 * n), leaf(2 * n)),
    "linear": lambda n: F.linear(leaf(5, n), leaf(4, n), leaf(4)),
    "conv2d": lambda n: F.conv2d(leaf(2, 3, n, n), leaf(4, 3, 3, 3), leaf(4), padding=1),
    "max_pool2d": lambda n: F.max_pool2d(leaf(2, 3, n, n), 2),
    "avg_pool1d": lambda n: F.avg_pool1d(leaf(2, 3, n), 2),
    "attention": lambda n: F.scaled_dot_product_attention(leaf(1, 2, n, 8), leaf(1, 2, n, 8), leaf(1, 2, n, 8)),
    "embedding": lambda n: F.embedding(torch.tensor([1, 0]), leaf(3, n)),
    "cumsum": lambda n: leaf(3, n).cumsum(1),
    "cat": lambda n: torch.cat([leaf(3, n), leaf(2, n)]),
    "gather": lambda n: leaf(3, n).gather(1, torch.tensor([[0], [1], [2]])),
    "pad": lambda n: F.pad(leaf(2, n), (1, 2), mode="reflect"),
    "interpolate": lambda n: F.interpolate(leaf(1, 2, n, n), scale_factor=2.0, mode="bilinear"),
    "norm": lambda n: leaf(3, n).norm(dim=1),
    "prod": lambda n: leaf(3, n).prod(1),
    "var_mean": lambda n: torch.var_mean(leaf(3, n), 1)[0],
}


@pytest.mark.parametrize("name", CASES)
def test_another_size_needs_no_other_kernel(name):
    for n in (18, 34, 66):  # tails of vectors either way, and rows of windows that are short or long
        CASES[name](n).sum().backward()
    before = found()
    for n in (22, 50):
        CASES[name](n).sum().backward()
    assert found() == before


def test_the_count_moves():
    before = found()
    torch.ones(3, dtype=torch.int16).bitwise_left_shift(torch.ones(3, dtype=torch.int16))
    assert found() > before
