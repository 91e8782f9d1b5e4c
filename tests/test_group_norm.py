"""Group norm by groups and planes, and the squared error as one row program: values and gradients of both orders."""

import numpy as np
import pytest

import flambeau
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.nn import functional as F


def drawn(seed, *shape):
    return flambeau.from_numpy(np.random.default_rng(seed).standard_normal(shape)).requires_grad_()


def plain(x, groups, weight=None, bias=None, eps=1e-5):
    rows = x.reshape(x.shape[0], groups, -1)
    centred = rows - rows.mean(2, keepdim=True)
    y = (centred / (centred.square().mean(2, keepdim=True) + eps).sqrt()).reshape(x.shape)
    shape = (1, -1, *[1] * (x.dim() - 2))
    y = y if weight is None else y * weight.view(shape)
    return y if bias is None else y + bias.view(shape)


@pytest.mark.parametrize("groups", [1, 2, 6])
@pytest.mark.parametrize("shape", [(2, 6, 3, 2), (3, 6), (1, 6, 5), (2, 6, 4, 5), (1, 6, 17)])
def test_group_norm(groups, shape):
    x, weight, bias = drawn(0, *shape), drawn(1, 6), drawn(2, 6)
    if x.numel() // (shape[0] * groups) == 1:
        groups = 3  # groups of one element have no gradient to speak of

    def ours(x, weight, bias):
        return F.group_norm(x, groups, weight, bias)

    assert flambeau.allclose(ours(x, weight, bias), plain(x, groups, weight, bias), rtol=1e-12, atol=1e-12)
    assert gradcheck(ours, (x, weight, bias)) and gradgradcheck(ours, (x, weight, bias))
    assert gradcheck(lambda x, bias: F.group_norm(x, groups, None, bias), (x, bias))


@pytest.mark.parametrize(
    "shape, groups",
    [((2, 8, 60, 50), 4), ((3, 6, 5, 7), 6), ((40, 4, 9, 9), 2), ((1, 2, 150, 130), 1), ((1, 4, 99, 99), 1)],
)
def test_large_groups_take_the_same_way_in_any_layout(shape, groups):
    x, weight, bias = drawn(3, *shape), drawn(4, shape[1]), drawn(5, shape[1])
    expected = plain(x, groups, weight, bias)
    g = drawn(6, *shape).detach()
    wanted = flambeau.autograd.grad(expected, (x, weight, bias), g)
    turned = x.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    for y in (x, x.contiguous(memory_format=flambeau.channels_last), turned):
        got = F.group_norm(y, groups, weight, bias)
        assert flambeau.allclose(got, expected, rtol=1e-10, atol=1e-10)
        for a, b in zip(flambeau.autograd.grad(got, (x, weight, bias), g), wanted, strict=True):
            assert flambeau.allclose(a, b, rtol=1e-9, atol=1e-9)


def test_a_large_mean_costs_no_digits():
    x = (drawn(7, 1, 4, 100, 100).detach() + 1000).float()
    exact = plain(x.double(), 2)
    assert (F.group_norm(x, 2).double() - exact).abs().max() < 1e-3


def test_gradients_of_a_large_mean():
    x, weight, bias = (drawn(8, 3, 4, 30, 30).detach() + 1000).float().requires_grad_(), drawn(9, 4), drawn(10, 4)
    g = drawn(11, 3, 4, 30, 30).detach()
    exact = [t.double() for t in (x, weight.float(), bias.float())]
    wanted = flambeau.autograd.grad(plain(exact[0], 2, exact[1], exact[2]), (x, weight, bias), g)
    leaves = [t.detach().float().requires_grad_() for t in (x, weight, bias)]
    got = flambeau.autograd.grad(F.group_norm(leaves[0], 2, leaves[1], leaves[2]), leaves, g.float())
    for a, b in zip(got, wanted, strict=True):
        assert flambeau.allclose(a.double(), b.double(), rtol=2e-3, atol=2e-3)


def test_halves_are_rounded_once():
    x, weight, bias = (drawn(k, *s).detach().bfloat16() for k, s in ((12, (2, 4, 5, 5)), (13, (4,)), (14, (4,))))
    exact = plain(x.double(), 2, weight.double(), bias.double())
    assert flambeau.equal(F.group_norm(x, 2, weight, bias), exact.bfloat16())


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_squared_error(reduction):
    x, y = drawn(8, 5, 7), drawn(9, 7, 5)
    loss = F.mse_loss(x, y.t(), reduction=reduction)
    expected = np.square(x.detach().numpy() - y.detach().numpy().T)
    assert np.isclose(loss.item(), getattr(expected, reduction)(), rtol=1e-13)
    assert gradcheck(lambda x, y: F.mse_loss(x, y.t(), reduction=reduction), (x, y))
    assert gradgradcheck(lambda x, y: F.mse_loss(x, y.t(), reduction=reduction), (x, y))
    with pytest.warns(UserWarning, match="Using a target size"):
        F.mse_loss(x, y[:, :1].t().detach()[0], reduction=reduction)
    empty = F.mse_loss(flambeau.zeros(0), flambeau.zeros(0), reduction=reduction)
    assert empty.item() == 0 if reduction == "sum" else empty.isnan()
