"""`special`: what the table's own tests do not reach: two operands of different roles, missing gradients, dtypes."""

import numpy as np
import pytest
from scipy import special

import flambeau as torch

RANDOM = np.random.default_rng(0)
POLYNOMIALS = {
    "chebyshev_polynomial_t": special.eval_chebyt, "chebyshev_polynomial_u": special.eval_chebyu,
    "shifted_chebyshev_polynomial_t": special.eval_sh_chebyt, "shifted_chebyshev_polynomial_u": special.eval_sh_chebyu,
    "hermite_polynomial_h": special.eval_hermite, "hermite_polynomial_he": special.eval_hermitenorm,
    "laguerre_polynomial_l": special.eval_laguerre, "legendre_polynomial_p": special.eval_legendre,
}  # fmt: skip


@pytest.mark.parametrize("name", POLYNOMIALS)
def test_polynomials(name):
    function = getattr(torch.special, name)
    x, n = RANDOM.uniform(-3, 3, (4, 1)), np.arange(0, 9)
    want = POLYNOMIALS[name](n, x)
    assert np.allclose(function(torch.from_numpy(x), torch.from_numpy(n.astype(float))).numpy(), want, rtol=1e-12)
    assert np.allclose(function(torch.from_numpy(x), 5).numpy(), want[:, 5:6], rtol=1e-12)
    assert np.allclose(function(0.7, torch.from_numpy(n)).numpy(), POLYNOMIALS[name](n, 0.7), rtol=1e-6, atol=1e-6)
    x = torch.from_numpy(x).requires_grad_()
    assert not function(x, 3).requires_grad
    with pytest.raises(TypeError, match=rf"special_{name}\(\) received an invalid combination .* got \(int, float\)"):
        function(2, 3.0)


@pytest.mark.parametrize("name", ["v", "w"])
def test_polynomials_of_the_third_and_fourth_kind(name):
    """V = (T(n) - T(n+1)) / (1 - x), W(x) = (-1)^n V(-x)."""
    x, n = torch.rand(20, dtype=torch.float64) - 0.5, torch.arange(20)
    t, v = torch.special.chebyshev_polynomial_t, torch.special.chebyshev_polynomial_v
    want = (t(x, n) + t(x, n + 1)) / (1 + x) if name == "v" else (t(x, n) - t(x, n + 1)) / (1 - x)
    got = getattr(torch.special, f"chebyshev_polynomial_{name}")(x, n)
    assert torch.allclose(got, want, atol=1e-12)
    shifted = getattr(torch.special, f"shifted_chebyshev_polynomial_{name}")((x + 1) / 2, n)
    assert torch.allclose(shifted, want, atol=1e-12)
    assert torch.allclose(v(-x, n) * (-1.0) ** n, torch.special.chebyshev_polynomial_w(x, n), atol=1e-12)


def test_zeta():
    s = torch.tensor([[1.5], [2.0], [7.0]], dtype=torch.float64)
    q = torch.tensor([0.3, 1.0, 9.0], dtype=torch.float64, requires_grad=True)
    assert np.allclose(torch.special.zeta(s, q).detach().numpy(), special.zeta(s.numpy(), q.detach().numpy()))
    assert torch.special.zeta(torch.tensor([3.0]), 1).item() == np.float32(1.2020569031595942)
    assert torch.autograd.gradcheck(torch.special.zeta, (s, q))
    assert torch.autograd.gradgradcheck(torch.special.zeta, (s, q))
    for number in (2.5, 4, 3.7):  # each its own gradient
        assert torch.autograd.gradcheck(lambda q, number=number: torch.special.zeta(number, q), (q,))
        assert torch.autograd.gradgradcheck(lambda q, number=number: torch.special.zeta(number, q), (q,))
    s.requires_grad_()
    result = torch.special.zeta(s, q).sum()
    with pytest.raises(NotImplementedError, match="the derivative for 'zeta' is not implemented"):
        result.backward()


@pytest.mark.parametrize(("name", "other"), [("igamma", "gammainc"), ("igammac", "gammaincc")])
def test_incomplete_gamma(name, other):
    function = getattr(torch, name)
    a = torch.tensor([[0.1], [1.0], [4.5], [300.0]], dtype=torch.float64)
    x = torch.tensor([0.05, 2.0, 6.0, 295.0], dtype=torch.float64, requires_grad=True)
    want = getattr(special, other)(a.numpy(), x.detach().numpy())
    assert np.allclose(function(a, x).detach().numpy(), want, rtol=1e-12)
    assert np.array_equal(getattr(torch.special, other)(a, x).detach().numpy(), function(a, x).detach().numpy())
    assert torch.autograd.gradcheck(function, (a[:3], x))
    assert torch.autograd.gradgradcheck(function, (a[:3], x))
    plain = a.expand(4, 4).contiguous()
    assert torch.equal(getattr(plain, f"{name}_")(x.detach()), function(a, x.detach()))
    result = function(a.requires_grad_(), x).sum()
    with pytest.raises(NotImplementedError, match=f"the derivative for '{name}: input' is not implemented"):
        result.backward()
    with pytest.raises(NotImplementedError, match=f"\"{name}_cpu\" not implemented for 'Long'"):
        function(torch.tensor([1]), torch.tensor([2]))
    with pytest.raises(TypeError, match=r"argument 'other' \(position 2\) must be Tensor, not int"):
        function(a, 2)


def test_multivariate_gamma():
    x = torch.tensor([[2.5, 3.0], [7.0, 2.1]], dtype=torch.float64, requires_grad=True)
    want = np.vectorize(special.multigammaln)(x.detach().numpy(), 4)
    assert np.allclose(torch.mvlgamma(x, 4).detach().numpy(), want)
    assert torch.autograd.gradcheck(lambda x: torch.special.multigammaln(x, 3), (x,))
    assert torch.autograd.gradgradcheck(lambda x: x.mvlgamma(3), (x,))
    assert torch.mvlgamma(torch.tensor([3]), 2).dtype == torch.float32
    for p, sentence in ((0, "p has to be greater than or equal to 1"),):
        with pytest.raises(RuntimeError, match=sentence):
            torch.mvlgamma(x, p)
    with pytest.raises(RuntimeError, match="The input tensor may not be a boolean tensor"):
        torch.mvlgamma(torch.tensor([True]), 1)


def test_polygamma_below_zero():
    x = np.array([-0.5, -1.25, -7.3, -30.6, 0.4])
    for n in (1, 2, 3, 6, 171):
        got = torch.polygamma(n, torch.from_numpy(x)).numpy()
        if n < 7:  # SciPy has positive arguments only: the recurrence leads to them
            terms = sum((x + k) ** -(n + 1.0) for k in range(31))
            want = (-1.0) ** (n + 1) * special.factorial(n) * (terms + special.zeta(n + 1, x + 31))
            assert np.allclose(got, want, rtol=1e-11), n
        else:
            assert np.isinf(got).all()
    poles = torch.tensor([0.0, -1.0, -50.0])
    assert torch.polygamma(1, poles).tolist() == [torch.inf] * 3
    assert torch.polygamma(2, poles).tolist() == [-torch.inf] * 3
    with pytest.raises(RuntimeError, match=r"polygamma\(n, x\) does not support negative n"):
        torch.polygamma(-1, poles)


def test_complex_logsumexp():
    z = torch.complex(torch.randn(3, 4, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)).requires_grad_()
    want = np.log(np.exp(z.detach().numpy()).sum(1))
    assert np.allclose(torch.special.logsumexp(z, 1).detach().numpy(), want)
    assert torch.autograd.gradcheck(lambda z: z.logsumexp(0), (z,))


def test_dtypes():
    for dtype in (torch.int64, torch.uint8, torch.bool, torch.uint16):
        assert torch.special.i1e(torch.ones(3).to(dtype)).dtype == torch.float32
    for dtype in (torch.bfloat16, torch.float16):
        x = torch.linspace(0.1, 3, 9).to(dtype)
        for name in ("bessel_j0", "modified_bessel_k1", "ndtri", "airy_ai", "erfcx"):
            f = getattr(torch.special, name)
            assert torch.equal(f(x), f(x.float()).to(dtype)) or name == "ndtri"
    out = torch.empty(2)
    assert torch.special.ndtr(torch.zeros(2), out=out) is out and out.tolist() == [0.5, 0.5]
    with pytest.raises(NotImplementedError, match="\"i1_cpu\" not implemented for 'ComplexFloat'"):
        torch.special.i1(torch.ones(1, dtype=torch.complex64))
    x = torch.zeros(3)
    assert x.i0_() is x and x.tolist() == [1, 1, 1]
