"""cdist and pdist against NumPy and SciPy; gradients by finite differences."""

import numpy as np
import pytest
from scipy.spatial import distance

import flambeau as torch

INF = float("inf")
DIRECT = "donot_use_mm_for_euclid_dist"


def norms(gaps: np.ndarray, p: float) -> np.ndarray:
    gaps = np.abs(gaps)
    if p == 0:
        return (gaps != 0).sum(-1).astype(gaps.dtype)
    return gaps.max(-1) if p == INF else (gaps**p).sum(-1) ** (1 / p)


def random(*shape: int) -> torch.Tensor:
    return torch.tensor(np.random.default_rng(list(shape)).standard_normal(shape)).requires_grad_()


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0, 2.0, 3.0, INF])
@pytest.mark.parametrize("n,m,width", [(5, 7, 3), (40, 3, 5), (3, 40, 5), (33, 70, 17), (1, 1, 1), (20, 1, 1), (0, 3, 2)])
def test_every_pair(n: int, m: int, width: int, p: float) -> None:
    x, y = random(n, width), random(m, width)
    found = torch.cdist(x, y, p, compute_mode=DIRECT)
    assert found.shape == (n, m) and found.is_contiguous()
    np.testing.assert_allclose(found.detach(), norms(x.detach().numpy()[:, None] - y.detach().numpy()[None], p), rtol=1e-12)
    mirrored = torch.cdist(x.mT.contiguous().mT, y.flip(1).flip(1), p, compute_mode=DIRECT)
    np.testing.assert_array_equal(mirrored.detach(), found.detach())


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0, INF])
@pytest.mark.parametrize("shapes", [((4, 3), (5, 3)), ((17, 2), (3, 2)), ((2, 1, 3, 2), (4, 2, 2))])
def test_gradients(shapes, p: float) -> None:
    operands = [random(*s) for s in shapes]

    def call(x, y):
        return torch.cdist(x, y, p, compute_mode=DIRECT)

    assert torch.autograd.gradcheck(call, operands)
    if p in (2.0, 3.0):
        assert torch.autograd.gradgradcheck(call, operands)


def test_batches_broadcast_and_must_fit() -> None:
    x, y = random(2, 1, 4, 3), random(5, 6, 3)
    found, gaps = torch.cdist(x, y, 1.0), x.detach().numpy()[..., None, :] - y.detach().numpy()[..., None, :, :]
    np.testing.assert_allclose(found.detach(), np.abs(gaps).sum(-1))
    with pytest.raises(RuntimeError, match="Shape mismatch|must match"):
        torch.cdist(random(2, 4, 3), random(3, 4, 3), 1.0)


def test_where_rows_are_equal() -> None:
    """The gradient is 0 there, and nan stays nan."""
    x = torch.tensor([[1.0, 2.0], [1.0, 2.0], [float("nan"), 0.0]], requires_grad=True)
    for p in (1.0, 1.5, 2.0, INF):
        for mode in (DIRECT, "use_mm_for_euclid_dist"):
            found = torch.cdist(x, x.detach(), p, compute_mode=mode)
            assert found[:2, :2].tolist() == [[0.0, 0.0]] * 2 and found[2].isnan().all()
            same = x[:2]
            (slope,) = torch.autograd.grad(torch.cdist(same, x.detach()[:2], p, compute_mode=mode).sum(), same)
            assert not slope.any()


@pytest.mark.parametrize("n", [0, 1, 2, 5, 257, 300])
def test_pairs_of_rows(n: int) -> None:
    x = random(n, 3)
    for p, name in ((1.0, "cityblock"), (2.0, "euclidean"), (INF, "chebyshev")):
        want = distance.pdist(x.detach().numpy(), name) if n > 1 else np.zeros(0)
        np.testing.assert_allclose(torch.pdist(x, p).detach(), want, rtol=1e-12)
        if n == 5:
            assert torch.autograd.gradcheck(lambda v, p=p: torch.pdist(v, p), (x,))
    if n == 300:
        weight = torch.tensor(np.random.default_rng(1).random(n * (n - 1) // 2))
        (found,) = torch.autograd.grad((torch.pdist(x) * weight).sum(), x)
        whole = torch.zeros(n, n, dtype=torch.float64)
        whole[tuple(torch.triu_indices(n, n, 1))] = weight
        (want,) = torch.autograd.grad((torch.cdist(x, x, compute_mode=DIRECT) * whole).sum(), x)
        np.testing.assert_allclose(found, want, rtol=1e-9, atol=1e-12)
