"""Distributions: densities and moments against SciPy, samples against moments, gradients, shapes, errors."""

import doctest
import importlib
import math
import pickle
import pkgutil
import warnings

import numpy as np
import pytest
import scipy.stats as st

import flambeau as torch
from flambeau import distributions as D
from flambeau.autograd import gradcheck

INF, NAN = math.inf, math.nan


def f64(*values):
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


def array(t):
    return t.detach().numpy()


COVARIANCE = np.array([[2.0, 0.5], [0.5, 1.0]])
LOWER = np.linalg.cholesky(COVARIANCE)

# name: the distribution, SciPy's, values; each of a batch of two.
CONTINUOUS = {
    "Normal": (D.Normal(f64(0.5, -1.0), f64(1.0, 2.0)), st.norm([0.5, -1], [1, 2]), f64(0.3, -2.0)),
    "Beta": (D.Beta(f64(0.5, 2.0), f64(3.0, 0.7)), st.beta([0.5, 2], [3, 0.7]), f64(0.1, 0.7)),
    "Gamma": (D.Gamma(f64(0.5, 2.0), f64(3.0, 0.7)), st.gamma([0.5, 2], scale=[1 / 3, 1 / 0.7]), f64(0.1, 0.7)),
    "InverseGamma": (D.InverseGamma(f64(2.5, 4.0), f64(3.0, 0.7)), st.invgamma([2.5, 4], scale=[3, 0.7]), f64(0.8, 0.2)),
    "Laplace": (D.Laplace(f64(0.5, -1.0), f64(1.0, 2.0)), st.laplace([0.5, -1], [1, 2]), f64(0.3, -2.0)),
    "Exponential": (D.Exponential(f64(1.0, 2.0)), st.expon(scale=[1, 0.5]), f64(0.3, 2.0)),
    "Uniform": (D.Uniform(f64(0.0, -1.0), f64(1.0, 4.0)), st.uniform([0, -1], [1, 5]), f64(0.3, 2.0)),
    "StudentT": (D.StudentT(f64(3.5, 5.0), f64(0.0, 1.0), f64(1.0, 2.0)), st.t([3.5, 5], [0, 1], [1, 2]), f64(0.3, -2.0)),
    "Cauchy": (D.Cauchy(f64(0.0, 1.0), f64(1.0, 2.0)), st.cauchy([0, 1], [1, 2]), f64(0.3, -2.0)),
    "HalfNormal": (D.HalfNormal(f64(1.0, 2.0)), st.halfnorm(scale=[1, 2]), f64(0.3, 2.0)),
    "HalfCauchy": (D.HalfCauchy(f64(1.0, 2.0)), st.halfcauchy(scale=[1, 2]), f64(0.3, 2.0)),
    "LogNormal": (D.LogNormal(f64(0.0, 1.0), f64(1.0, 0.5)), st.lognorm([1, 0.5], scale=np.exp([0, 1])), f64(0.3, 2.0)),
    "Gumbel": (D.Gumbel(f64(0.0, 1.0), f64(1.0, 2.0)), st.gumbel_r([0, 1], [1, 2]), f64(0.3, -2.0)),
    "Pareto": (D.Pareto(f64(0.2, 1.0), f64(3.0, 5.0)), st.pareto([3, 5], scale=[0.2, 1]), f64(0.3, 2.0)),
    "GeneralizedPareto": (
        D.GeneralizedPareto(f64(0.5, 0.0), f64(0.3, 1.0), f64(0.3, -0.2)),
        st.genpareto([0.3, -0.2], [0.5, 0], [0.3, 1]), f64(0.6, 1.5),
    ),
    "Weibull": (D.Weibull(f64(0.2, 1.0), f64(1.7, 5.0)), st.weibull_min([1.7, 5], scale=[0.2, 1]), f64(0.3, 0.9)),
    "VonMises": (D.VonMises(f64(0.2, 1.0), f64(1.7, 5.0)), st.vonmises([1.7, 5], [0.2, 1]), f64(0.3, 2.0)),
    "Chi2": (D.Chi2(f64(1.7, 5.0)), st.chi2([1.7, 5]), f64(0.3, 2.0)),
    "FisherSnedecor": (D.FisherSnedecor(f64(3.0, 5.0), f64(7.0, 9.0)), st.f([3, 5], [7, 9]), f64(0.3, 2.0)),
}  # fmt: skip
DISCRETE = {
    "Bernoulli": (D.Bernoulli(f64(0.3, 0.9)), st.bernoulli([0.3, 0.9]), f64(1.0, 0.0)),
    "Bernoulli of logits": (D.Bernoulli(logits=f64(0.5, -2.0)), st.bernoulli(1 / (1 + np.exp([-0.5, 2]))), f64(1.0, 0.0)),
    "Binomial": (D.Binomial(6, f64(0.3, 0.9)), st.binom(6, [0.3, 0.9]), f64(2.0, 6.0)),
    "Poisson": (D.Poisson(f64(3.5, 0.5)), st.poisson([3.5, 0.5]), f64(2.0, 0.0)),
    "Geometric": (D.Geometric(f64(0.3, 0.9)), st.geom([0.3, 0.9], -1), f64(2.0, 0.0)),
    "NegativeBinomial": (D.NegativeBinomial(f64(3.0, 2.5), f64(0.3, 0.6)), st.nbinom([3, 2.5], [0.7, 0.4]), f64(2.0, 0.0)),
}  # fmt: skip
WITHOUT_CDF = ("Beta", "StudentT", "VonMises", "FisherSnedecor")


@pytest.mark.parametrize("name", CONTINUOUS)
def test_density_and_moments(name: str) -> None:
    d, reference, value = CONTINUOUS[name]
    np.testing.assert_allclose(array(d.log_prob(value)), reference.logpdf(array(value)), rtol=1e-9, atol=1e-12)
    if name not in ("VonMises", "Cauchy", "HalfCauchy"):
        np.testing.assert_allclose(array(d.mean), reference.mean(), rtol=1e-9, atol=1e-15)
        np.testing.assert_allclose(array(d.variance), reference.var(), rtol=1e-9)
        np.testing.assert_allclose(array(d.stddev), reference.std(), rtol=1e-9)
    if name not in ("VonMises", "FisherSnedecor"):
        np.testing.assert_allclose(array(d.entropy()), reference.entropy(), rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(array(d.perplexity()), np.exp(reference.entropy()), rtol=1e-8)
    if name not in WITHOUT_CDF:
        below = d.cdf(value)
        np.testing.assert_allclose(array(below), reference.cdf(array(value)), rtol=1e-9)
        if name not in ("Gamma", "Chi2", "InverseGamma"):
            np.testing.assert_allclose(array(d.icdf(below)), array(value), rtol=1e-8)


@pytest.mark.parametrize("name", DISCRETE)
def test_probabilities_and_moments(name: str) -> None:
    d, reference, value = DISCRETE[name]
    np.testing.assert_allclose(array(d.log_prob(value)), reference.logpmf(array(value)), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(array(d.mean), reference.mean(), rtol=1e-9)
    np.testing.assert_allclose(array(d.variance), reference.var(), rtol=1e-9)
    counts = torch.arange(60, dtype=torch.float64).reshape(-1, 1)
    allowed = counts[: 2 if "Bernoulli" in name and "Neg" not in name else 7 if name == "Binomial" else 60]
    probabilities = d.log_prob(allowed).exp()
    np.testing.assert_allclose(array(d.mode), array(probabilities.argmax(0).to(torch.float64)))
    if name not in ("NegativeBinomial", "Poisson"):
        np.testing.assert_allclose(array(d.entropy()), reference.entropy(), rtol=1e-6)
    if d.has_enumerate_support:
        np.testing.assert_array_equal(array(d.enumerate_support()), array(allowed.expand(-1, 2)))
        np.testing.assert_array_equal(array(d.enumerate_support(expand=False)), array(allowed))


@pytest.mark.parametrize("name", [*CONTINUOUS, *DISCRETE])
def test_samples_have_the_moments(name: str) -> None:
    """Means of 4,000 samples within five standard errors; ranks uniform where there is a distribution function."""
    d, reference, _ = {**CONTINUOUS, **DISCRETE}[name]
    torch.manual_seed(11)
    n = 4000
    drawn = d.sample((n,))
    assert drawn.shape == (n, 2) and drawn.dtype is torch.float64 and not drawn.requires_grad
    assert d.support.check(drawn).all()
    x = array(drawn)
    if name in CONTINUOUS:
        for k, column in enumerate(x.T):
            ranks = reference.cdf(x)[:, k]
            assert st.kstest(ranks, "uniform").pvalue > 1e-3, name
            assert len(np.unique(column)) > n / 2
    else:
        error = np.sqrt(reference.var() / n)
        np.testing.assert_array_less(np.abs(x.mean(0) - reference.mean()), 5 * error)
        np.testing.assert_allclose(x.var(0), reference.var(), rtol=0.3)


# ---- families over vectors and matrices


def test_categorical() -> None:
    d = D.Categorical(f64(1.0, 1.0, 2.0).expand(4, 3))
    assert d.batch_shape == (4,) and d.event_shape == () and d.param_shape == (4, 3)
    np.testing.assert_allclose(array(d.log_prob(torch.tensor([0, 1, 2, 2])).exp()), [0.25, 0.25, 0.5, 0.5])
    np.testing.assert_allclose(array(d.entropy()), [1.5 * math.log(2)] * 4)
    assert d.mode.tolist() == [2] * 4 and d.mean.isnan().all() and d.variance.isnan().all()
    assert d.enumerate_support().tolist() == [[k] * 4 for k in range(3)]
    torch.manual_seed(0)
    drawn = d.sample((500,))
    assert drawn.shape == (500, 4) and drawn.dtype is torch.int64
    np.testing.assert_allclose(np.bincount(array(drawn).ravel()) / 2000, [0.25, 0.25, 0.5], atol=0.04)
    never = D.Categorical(logits=f64(0.0, -INF))
    assert never.entropy() == 0 and never.log_prob(torch.tensor(1)) == -INF
    assert D.Categorical(logits=torch.zeros(2, 5)).sample().shape == (2,)


def test_one_hot_categorical() -> None:
    d = D.OneHotCategorical(f64(0.25, 0.75))
    assert d.event_shape == (2,) and d.log_prob(f64(0.0, 1.0)).exp() == 0.75
    assert d.mode.tolist() == [0, 1] and d.variance.tolist() == [0.1875] * 2
    assert d.enumerate_support().tolist() == [[1, 0], [0, 1]]
    torch.manual_seed(0)
    drawn = d.sample((400,))
    assert (drawn.sum(-1) == 1).all() and abs(drawn.mean(0)[1].item() - 0.75) < 0.07
    logits = f64(0.0, 1.0).requires_grad_()
    D.OneHotCategoricalStraightThrough(logits=logits).rsample()[0].backward()
    p = 1 / (1 + math.e)
    assert logits.grad[0].item() == pytest.approx(p * (1 - p))


def test_multinomial() -> None:
    d, reference = D.Multinomial(5, f64(0.2, 0.3, 0.5)), st.multinomial(5, [0.2, 0.3, 0.5])
    value = f64(1.0, 1.0, 3.0)
    assert d.log_prob(value).item() == pytest.approx(reference.logpmf([1, 1, 3]))
    assert d.entropy().item() == pytest.approx(reference.entropy())
    np.testing.assert_allclose(array(d.variance), np.diag(reference.cov()))
    torch.manual_seed(0)
    drawn = d.sample((2000,))
    assert (drawn.sum(-1) == 5).all()
    np.testing.assert_allclose(array(drawn.mean(0)), [1, 1.5, 2.5], atol=0.12)


def test_dirichlet() -> None:
    a = [0.5, 2.0, 3.0]
    d, reference = D.Dirichlet(f64(*a)), st.dirichlet(a)
    assert d.log_prob(f64(0.2, 0.3, 0.5)).item() == pytest.approx(reference.logpdf([0.2, 0.3, 0.5]))
    assert d.entropy().item() == pytest.approx(reference.entropy())
    np.testing.assert_allclose(array(d.mean), reference.mean())
    np.testing.assert_allclose(array(d.variance), reference.var())
    np.testing.assert_allclose(array(d.mode), [0, 1 / 3, 2 / 3])
    assert D.Dirichlet(f64(0.1, 0.5, 0.3)).mode.tolist() == [0, 1, 0]
    torch.manual_seed(0)
    drawn = d.sample((3000,))
    np.testing.assert_allclose(array(drawn.mean(0)), reference.mean(), atol=0.02)
    np.testing.assert_allclose(array(drawn.var(0)), reference.var(), rtol=0.15)


@pytest.mark.parametrize("given", ["covariance_matrix", "precision_matrix", "scale_tril"])
def test_multivariate_normal(given: str) -> None:
    matrix = {"covariance_matrix": COVARIANCE, "precision_matrix": np.linalg.inv(COVARIANCE), "scale_tril": LOWER}[given]
    d = D.MultivariateNormal(f64(0.0, 1.0), **{given: torch.tensor(matrix)})
    reference = st.multivariate_normal([0, 1], COVARIANCE)
    np.testing.assert_allclose(array(d.log_prob(f64(0.3, 0.4))), reference.logpdf([0.3, 0.4]))
    np.testing.assert_allclose(array(d.entropy()), reference.entropy())
    np.testing.assert_allclose(array(d.covariance_matrix), COVARIANCE, atol=1e-12)
    np.testing.assert_allclose(array(d.precision_matrix), np.linalg.inv(COVARIANCE), atol=1e-12)
    np.testing.assert_allclose(array(d.scale_tril), LOWER, atol=1e-12)
    np.testing.assert_allclose(array(d.variance), [2, 1])
    torch.manual_seed(0)
    np.testing.assert_allclose(np.cov(array(d.sample((4000,))).T), COVARIANCE, atol=0.15)
    many = d.expand((3,))
    assert many.log_prob(torch.zeros(4, 3, 2, dtype=torch.float64)).shape == (4, 3)
    batch = D.MultivariateNormal(torch.zeros(5, 2, dtype=torch.float64), torch.tensor(COVARIANCE).expand(5, 2, 2))
    zeros = batch.log_prob(torch.zeros(3, 5, 2, dtype=torch.float64))
    np.testing.assert_allclose(array(zeros), np.full((3, 5), st.multivariate_normal([0, 0], COVARIANCE).logpdf([0, 0])))


def test_low_rank_normal_is_the_full_one() -> None:
    generator = np.random.default_rng(0)
    factor, diagonal = torch.tensor(generator.normal(size=(4, 2))), torch.tensor(generator.uniform(0.5, 2, 4))
    low = D.LowRankMultivariateNormal(torch.zeros(4, dtype=torch.float64), factor, diagonal)
    full = D.MultivariateNormal(torch.zeros(4, dtype=torch.float64), factor @ factor.T + diagonal.diag())
    value = torch.tensor(generator.normal(size=(3, 4)))
    for what in ("covariance_matrix", "precision_matrix", "scale_tril", "variance", "mean"):
        np.testing.assert_allclose(array(getattr(low, what)), array(getattr(full, what)), atol=1e-10)
    np.testing.assert_allclose(array(low.log_prob(value)), array(full.log_prob(value)))
    np.testing.assert_allclose(array(low.entropy()), array(full.entropy()))
    assert D.kl_divergence(low, full).item() == pytest.approx(0, abs=1e-9)
    assert D.kl_divergence(full, low.expand((2,))).shape == (2,)
    torch.manual_seed(0)
    np.testing.assert_allclose(np.cov(array(low.sample((6000,))).T), array(full.covariance_matrix), atol=0.35)


def test_wishart() -> None:
    d, reference = D.Wishart(f64(4.5), torch.tensor(COVARIANCE)), st.wishart(4.5, COVARIANCE)
    value = torch.tensor(COVARIANCE * 2)
    assert d.log_prob(value).item() == pytest.approx(reference.logpdf(COVARIANCE * 2))
    assert d.entropy().item() == pytest.approx(reference.entropy())
    np.testing.assert_allclose(array(d.mean), reference.mean())
    np.testing.assert_allclose(array(d.variance), reference.var())
    np.testing.assert_allclose(array(d.mode), reference.mode())
    torch.manual_seed(0)
    drawn = d.sample((3000,))
    assert d.support.check(drawn).all()
    np.testing.assert_allclose(array(drawn.mean(0)), reference.mean(), rtol=0.05)
    inverse = D.Wishart(f64(4.5), precision_matrix=torch.linalg.inv(torch.tensor(COVARIANCE)))
    np.testing.assert_allclose(array(inverse.log_prob(value)), array(d.log_prob(value)))
    with pytest.warns(UserWarning, match="Low df values detected"):
        D.Wishart(f64(1.5), torch.tensor(COVARIANCE))


def test_lkj_cholesky() -> None:
    torch.manual_seed(0)
    d = D.LKJCholesky(3, f64(1.0))
    drawn = d.sample((4000,))
    assert d.support.check(drawn).all()
    # Each correlation of three variables is a beta number of parameters concentration + 1/2, on (-1, 1).
    for row, column in ((1, 0), (2, 0), (2, 1)):
        correlation = array((drawn @ drawn.mT)[:, row, column])
        assert st.kstest((correlation + 1) / 2, st.beta(1.5, 1.5).cdf).pvalue > 1e-3
    # For two variables the factor's density is that of the correlation times what the change of variables multiplies.
    r = 0.3
    lower = torch.tensor([[1.0, 0.0], [r, math.sqrt(1 - r * r)]], dtype=torch.float64)
    wanted = st.beta(2.5, 2.5).logpdf((1 + r) / 2) - math.log(2)
    assert D.LKJCholesky(2, f64(2.5)).log_prob(lower).item() == pytest.approx(wanted)


def test_continuous_bernoulli() -> None:
    """Against integrals; near 1/2 the series meet the closed forms."""
    x = (np.arange(20000) + 0.5) / 20000
    for p in (0.1, 0.4985, 0.4999, 0.5, 0.501, 0.9):
        d = D.ContinuousBernoulli(f64(p))
        density = array(d.log_prob(torch.tensor(x)).exp())
        assert density.mean() == pytest.approx(1, rel=1e-7)
        assert d.mean.item() == pytest.approx((density * x).mean(), rel=1e-6)
        assert d.variance.item() == pytest.approx((density * x * x).mean() - (density * x).mean() ** 2, rel=1e-5)
        assert d.entropy().item() == pytest.approx(-(density * np.log(density)).mean(), abs=1e-6)
        value = f64(0.3)
        assert d.icdf(d.cdf(value)).item() == pytest.approx(0.3, rel=1e-6)
    same = D.ContinuousBernoulli(logits=f64(0.4))
    np.testing.assert_allclose(array(same.log_prob(value)), array(D.ContinuousBernoulli(torch.sigmoid(f64(0.4))).log_prob(value)))


def test_kumaraswamy() -> None:
    x = (np.arange(20000) + 0.5) / 20000
    d = D.Kumaraswamy(f64(2.0), f64(3.0))
    density = array(d.log_prob(torch.tensor(x)).exp())
    assert density.mean() == pytest.approx(1, rel=1e-6)
    assert d.mean.item() == pytest.approx((density * x).mean(), rel=1e-6)
    assert d.entropy().item() == pytest.approx(-(density * np.log(density)).mean(), abs=1e-5)
    assert d.mode.item() == pytest.approx(x[density.argmax()], abs=1e-4)
    assert D.Kumaraswamy(f64(0.5), f64(3.0)).mode.isnan()


def test_mixture() -> None:
    weights = D.Categorical(f64(0.3, 0.7))
    d = D.MixtureSameFamily(weights, D.Normal(f64(0.0, 3.0), f64(1.0, 2.0)))
    x = f64(0.5, 1.0)
    each = [st.norm(0, 1), st.norm(3, 2)]
    np.testing.assert_allclose(array(d.log_prob(x).exp()), sum(w * n.pdf(array(x)) for w, n in zip((0.3, 0.7), each, strict=False)))
    np.testing.assert_allclose(array(d.cdf(x)), sum(w * n.cdf(array(x)) for w, n in zip((0.3, 0.7), each, strict=False)))
    assert d.mean.item() == pytest.approx(2.1)
    assert d.variance.item() == pytest.approx(0.3 + 2.8 + 0.3 * 2.1**2 + 0.7 * 0.9**2)
    torch.manual_seed(0)
    assert d.sample((4000,)).mean().item() == pytest.approx(2.1, abs=0.2)
    vectors = D.MixtureSameFamily(weights, D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 1))
    assert vectors.sample((5,)).shape == (5, 3) and vectors.log_prob(torch.zeros(5, 3)).shape == (5,)
    assert d.expand((2,)).log_prob(x).shape == (2,)
    assert d.support.check(x).all()
    with pytest.raises(ValueError, match="needs to be an  instance of torch.distributions.Categorical"):
        D.MixtureSameFamily(D.Normal(0.0, 1.0), D.Normal(f64(0.0, 1.0), 1.0))
    with pytest.raises(ValueError, match="does not equal `component_distribution.batch_shape"):
        D.MixtureSameFamily(weights, D.Normal(torch.zeros(3), 1.0))


def test_relaxed_families() -> None:
    torch.manual_seed(0)
    d = D.RelaxedBernoulli(f64(0.5), f64(0.3, 0.9))
    near = D.RelaxedBernoulli(f64(0.01), f64(0.3, 0.9)).sample((2000,))
    np.testing.assert_allclose(array((near > 0.5).double().mean(0)), [0.3, 0.9], atol=0.05)
    x = torch.tensor((np.arange(20000) + 0.5) / 20000).reshape(-1, 1)
    np.testing.assert_allclose(array(d.log_prob(x).exp().mean(0)), [1, 1], rtol=2e-2)
    assert d.expand((3, 2)).temperature is d.temperature
    one_hot = D.RelaxedOneHotCategorical(f64(0.5), f64(0.2, 0.3, 0.5))
    drawn = D.RelaxedOneHotCategorical(f64(0.01), f64(0.2, 0.3, 0.5)).sample((3000,))
    np.testing.assert_allclose(array((drawn > 0.5).double().mean(0)), [0.2, 0.3, 0.5], atol=0.05)
    # With temperature 1 and equal weights of three the points are uniform on the simplex of area 1/2.
    even = D.RelaxedOneHotCategorical(f64(1.0), f64(1.0, 1.0, 1.0))
    assert one_hot.event_shape == (3,)
    assert even.log_prob(f64(1.0, 1.0, 1.0) / 3).item() == pytest.approx(math.log(2), abs=1e-9)


def test_logistic_normal_and_independent() -> None:
    d = D.LogisticNormal(torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))
    torch.manual_seed(0)
    drawn = d.rsample((5,))
    assert drawn.shape == (5, 4) and D.constraints.simplex.check(drawn).all() and d.log_prob(drawn).shape == (5,)
    base = D.Normal(torch.zeros(2, 3), 1.0)
    joined = D.Independent(base, 1)
    assert (joined.batch_shape, joined.event_shape) == ((2,), (3,))
    value = torch.randn(2, 3)
    np.testing.assert_allclose(array(joined.log_prob(value)), array(base.log_prob(value).sum(-1)), rtol=1e-6)
    np.testing.assert_allclose(array(joined.entropy()), array(base.entropy().sum(-1)))
    assert joined.expand((4, 2)).sample((5,)).shape == (5, 4, 2, 3)
    assert joined.has_rsample and not joined.has_enumerate_support
    with pytest.raises(NotImplementedError, match="Enumeration over cartesian product is not implemented"):
        joined.enumerate_support()
    with pytest.raises(ValueError, match="Expected reinterpreted_batch_ndims <= len"):
        D.Independent(base, 3)


# ---- shapes, expansion, copies

ALL = {**CONTINUOUS, **DISCRETE}
ALL = {name: (d, value) for name, (d, _, value) in ALL.items()}
ALL |= {
    "Categorical": (D.Categorical(torch.ones(2, 3)), torch.tensor([0, 2])),
    "OneHotCategorical": (D.OneHotCategorical(logits=torch.ones(2, 3)), torch.eye(3)[:2]),
    "Multinomial": (D.Multinomial(3, torch.ones(2, 3)), torch.ones(2, 3)),
    "Dirichlet": (D.Dirichlet(torch.ones(2, 3)), torch.ones(2, 3) / 3),
    "ContinuousBernoulli": (D.ContinuousBernoulli(f64(0.3, 0.5)), f64(0.1, 0.2)),
    "Kumaraswamy": (D.Kumaraswamy(f64(0.3, 5.0), f64(2.0, 0.7)), f64(0.1, 0.2)),
    "MultivariateNormal": (D.MultivariateNormal(torch.zeros(2, 3), torch.eye(3)), torch.ones(2, 3)),
    "LowRankMultivariateNormal": (D.LowRankMultivariateNormal(torch.zeros(2, 3), torch.ones(3, 1), torch.ones(3)), torch.ones(2, 3)),
    "LKJCholesky": (D.LKJCholesky(3, torch.ones(2)), torch.eye(3)),
    "Wishart": (D.Wishart(f64(4.0, 5.0), torch.tensor(COVARIANCE)), torch.tensor(COVARIANCE)),
    "RelaxedBernoulli": (D.RelaxedBernoulli(f64(0.5), f64(0.3, 0.9)), f64(0.1, 0.2)),
    "RelaxedOneHotCategorical": (D.RelaxedOneHotCategorical(f64(0.5), torch.ones(2, 3)), torch.ones(2, 3) / 3),
    "LogisticNormal": (D.LogisticNormal(torch.zeros(2, 3), torch.ones(2, 3)), torch.ones(2, 4) / 4),
    "TransformedDistribution": (
        D.TransformedDistribution(D.Normal(f64(0.0, 1.0), 1.0), [D.AffineTransform(1.0, 2.0), D.ExpTransform()]), f64(0.5, 2.0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_expansion(name: str) -> None:
    d, value = ALL[name]
    wide = d.expand((3, 2))
    assert type(wide) is type(d) and wide.batch_shape == (3, 2) and wide.event_shape == d.event_shape
    assert wide.sample((4,)).shape == (4, 3, 2, *d.event_shape)
    assert wide.sample().shape == (3, 2, *d.event_shape)
    want = d.log_prob(value).expand(3, 2)
    np.testing.assert_allclose(array(wide.log_prob(value)), array(want), rtol=1e-6)
    again = pickle.loads(pickle.dumps(d))
    np.testing.assert_array_equal(array(again.log_prob(value)), array(d.log_prob(value)))
    assert repr(d).startswith(type(d).__name__)
    if d.has_rsample:
        assert d.rsample((2,)).shape == (2, 2, *d.event_shape)


def test_numbers_and_dtypes() -> None:
    assert D.Normal(0, 1).loc.dtype is torch.float32 and D.Normal(0, 1).batch_shape == ()
    assert D.Normal(f64(0.0), 1).scale.dtype is torch.float64
    assert D.Bernoulli(0.5).sample().dtype is torch.float32
    assert D.Binomial(torch.tensor(3), torch.tensor(0.5)).total_count.dtype is torch.float32
    half = D.Normal(torch.zeros(2, dtype=torch.bfloat16), 1.0)
    assert half.rsample().dtype is torch.bfloat16
    with pytest.warns(UserWarning, match="sample_n will be deprecated"):
        assert D.Normal(0.0, 1.0).sample_n(3).shape == (3,)


def test_a_family_of_ones_own() -> None:
    class Shifted(D.Normal):
        def __init__(self, loc, scale, by, validate_args=None):
            self.by = by
            super().__init__(loc + by, scale, validate_args=validate_args)

    with pytest.raises(NotImplementedError, match="that defines a custom __init__ method must also define a custom .expand"):
        Shifted(0.0, 1.0, 2.0)._get_checked_instance(D.Normal)
    with pytest.raises(NotImplementedError, match="must also define a custom .expand"):
        Shifted(0.0, 1.0, 2.0).expand((2,))

    class Expanded(Shifted):
        def expand(self, batch_shape, _instance=None):
            new = self._get_checked_instance(Expanded, _instance)
            new.by = self.by
            return super().expand(batch_shape, _instance=new)

    wide = Expanded(0.0, 1.0, 2.0).expand((3, 2))
    assert type(wide) is Expanded and wide.batch_shape == (3, 2) and wide.by == 2 and (wide.mean == 2).all()

    class Plain(D.Distribution):
        pass

    with pytest.warns(UserWarning, match="does not define `arg_constraints`"):
        plain = Plain()
    for ask in ("sample", "rsample", "entropy", "enumerate_support"):
        with pytest.raises(NotImplementedError):
            getattr(plain, ask)()

    class Bare(D.ExponentialFamily):
        """Exponential numbers by their natural parameter."""

        arg_constraints = {}  # noqa: RUF012

        def __init__(self, rate):
            self.rate = rate
            super().__init__(rate.shape)

        _natural_params = property(lambda self: (-self.rate,))
        _mean_carrier_measure = 0

        def _log_normalizer(self, x):
            return -torch.log(-x)

    rates = f64(1.0, 3.0)
    np.testing.assert_allclose(array(Bare(rates).entropy()), array(D.Exponential(rates).entropy()))
    got = D.kl_divergence(Bare(rates), Bare(rates * 2))
    np.testing.assert_allclose(array(got), array(D.kl_divergence(D.Exponential(rates), D.Exponential(rates * 2))))


# ---- gradients


@pytest.mark.parametrize(
    ("make", "parameters", "value"),
    [
        (D.Normal, (f64(0.5, -1.0), f64(1.0, 2.0)), f64(0.3, -2.0)),
        (D.Beta, (f64(0.5, 2.0), f64(3.0, 0.7)), f64(0.1, 0.7)),
        (D.Gamma, (f64(0.5, 2.0), f64(3.0, 0.7)), f64(0.1, 0.7)),
        (D.StudentT, (f64(3.5, 5.0), f64(0.0, 1.0), f64(1.0, 2.0)), f64(0.3, -2.0)),
        (D.VonMises, (f64(0.2, 1.0), f64(1.7, 5.0)), f64(0.3, 2.0)),
        (D.FisherSnedecor, (f64(3.0, 5.0), f64(7.0, 9.0)), f64(0.3, 2.0)),
        (D.ContinuousBernoulli, (f64(0.3, 0.9),), f64(0.3, 0.2)),
        (D.Dirichlet, (f64(0.5, 2.0, 3.0),), f64(0.2, 0.3, 0.5)),
        (D.Pareto, (f64(0.2, 1.0), f64(3.0, 5.0)), f64(0.3, 2.0)),
        (D.Weibull, (f64(0.2, 1.0), f64(1.7, 5.0)), f64(0.3, 0.9)),
        (D.GeneralizedPareto, (f64(0.5, 0.0), f64(0.3, 1.0), f64(0.3, -0.2)), f64(0.6, 1.5)),
        (lambda p: D.NegativeBinomial(3.0, p), (f64(0.3, 0.6),), f64(2.0, 0.0)),
        (lambda x: D.Categorical(logits=x), (f64(0.3, 0.6, -1.0),), torch.tensor(1)),
        (lambda c: D.MultivariateNormal(f64(0.0, 1.0), c @ c.mT), (torch.tensor(LOWER),), f64(0.3, 0.4)),
        (lambda w, v: D.LowRankMultivariateNormal(f64(0.0, 1.0), w, v), (f64([[1.0], [0.5]]), f64(1.0, 2.0)), f64(0.3, 0.4)),
        (lambda c: D.Wishart(f64(4.5), scale_tril=c.tril()), (torch.tensor(LOWER),), torch.tensor(COVARIANCE)),
    ],
)  # fmt: skip
def test_gradients_of_log_prob(make, parameters, value) -> None:
    leaves = [p.clone().requires_grad_() for p in parameters]
    assert gradcheck(lambda *ps: make(*ps).log_prob(value), leaves)


def _moved(cdf, x, parameters, k):
    """How x moves with parameter k where its rank stays, by differences of a distribution function."""
    h = 1e-5 * max(parameters[k], 1e-2)
    up, down = ([p + s * h * (i == k) for i, p in enumerate(parameters)] for s in (1, -1))
    slope = (cdf(x, *up) - cdf(x, *down)) / (2 * h)
    e = 1e-6 * min(x, 1 - x) if x < 1 else 1e-6 * x
    return -slope / ((cdf(x + e, *parameters) - cdf(x - e, *parameters)) / (2 * e))


@pytest.mark.parametrize("a", [0.1, 0.7, 1.5, 8.0, 200.0])
def test_gamma_samples_move_with_their_shape(a: float) -> None:
    torch.manual_seed(1)
    shapes = torch.full((20,), a, dtype=torch.float64, requires_grad=True)
    x = D.Gamma(shapes, f64(2.0)).rsample()
    x.sum().backward()
    want = [_moved(lambda v, s: st.gamma.cdf(v, s, scale=0.5), v, [a], 0) for v in x.tolist() if v > 1e-9]
    got = [g for g, v in zip(shapes.grad.tolist(), x.tolist(), strict=True) if v > 1e-9]
    np.testing.assert_allclose(got, want, rtol=2e-4)
    single = torch._standard_gamma_grad(shapes.detach().float(), (x * 2).detach().float())
    np.testing.assert_allclose(array(single.double()), array(shapes.grad * 2), rtol=1e-4)


@pytest.mark.parametrize(("a", "b"), [(0.3, 0.4), (0.5, 3.0), (2.0, 5.0), (30.0, 2.0), (80.0, 120.0)])
def test_beta_samples_move_with_their_shapes(a: float, b: float) -> None:
    torch.manual_seed(1)
    first = torch.full((20,), a, dtype=torch.float64, requires_grad=True)
    second = torch.full((20,), b, dtype=torch.float64, requires_grad=True)
    x = D.Beta(first, second).rsample()
    x.sum().backward()
    kept = [k for k, v in enumerate(x.tolist()) if 1e-6 < v < 1 - 1e-6]
    for k, leaf in enumerate((first, second)):
        want = [_moved(lambda v, p, q: st.beta.cdf(v, p, q), x[i].item(), [a, b], k) for i in kept]
        np.testing.assert_allclose(array(leaf.grad)[kept], want, rtol=5e-4)


def test_implicit_slopes_at_their_ends() -> None:
    grad = torch._standard_gamma_grad(f64(1.0, 0.0, NAN, 2.0, -1.0), f64(0.0, 1.0, 1.0, INF, 1.0))
    assert grad[0] == 0 and grad[1:].isnan().all()
    ends = torch._dirichlet_grad(f64(0.0, 1.0), f64(1.0, 1.0), f64(2.0, 2.0))
    assert ends[0] == 0
    for dtype in (torch.float16, torch.int64):
        with pytest.raises(NotImplementedError, match='"gamma_cpu" not implemented for'):
            torch._standard_gamma(torch.ones(2, dtype=dtype))
        with pytest.raises(NotImplementedError, match='"dirichlet" not implemented for'):
            torch._sample_dirichlet(torch.ones(2, dtype=dtype))


@pytest.mark.parametrize(
    ("make", "mean"),
    [
        (lambda p: D.Normal(p, 0.5), lambda p: p**2 + 0.25),
        (lambda p: D.Exponential(p), lambda p: 2 / p**2),
        (lambda p: D.Gamma(p, 1.0), lambda p: p**2 + p),
        (lambda p: D.Gamma(2.0, p), lambda p: 6 / p**2),
        (lambda p: D.StudentT(8.0, 0.0, p), lambda p: p**2 * 8 / 6),
        (lambda p: D.Beta(p, 2.0), lambda p: p * (p + 1) / ((p + 2) * (p + 3))),
        (lambda p: D.Uniform(0.0, p), lambda p: p**2 / 3),
        (lambda p: D.Laplace(p, 0.5), lambda p: p**2 + 0.5),
        (lambda p: D.LogNormal(p, 0.2), lambda p: math.exp(2 * p + 0.08)),
        (lambda p: D.Weibull(p, 2.0), lambda p: p**2),
        (lambda p: D.HalfNormal(p), lambda p: p**2),
    ],
)
def test_gradients_through_samples(make, mean) -> None:
    """The derivative of E[x^2] by samples and by its formula."""
    torch.manual_seed(2)
    p = f64(1.3).requires_grad_()
    make(p).rsample((20000,)).square().mean().backward()
    h = 1e-5
    assert p.grad.item() == pytest.approx((mean(1.3 + h) - mean(1.3 - h)) / (2 * h), rel=0.06)


def test_bernoulli_gradients_reach_logits() -> None:
    logits = f64(0.3, -1.0).requires_grad_()
    assert gradcheck(lambda x: D.Bernoulli(logits=x).entropy(), [logits])
    probs = f64(0.3, 0.9).requires_grad_()
    assert gradcheck(lambda p: D.Geometric(p).log_prob(f64(2.0, 0.0)), [probs])
    assert gradcheck(lambda p: D.Binomial(4, p).log_prob(f64(2.0, 4.0)), [probs])


# ---- random families as operators


def test_operators_that_draw() -> None:
    torch.manual_seed(0)
    rates = torch.tensor([0.0, 0.5, 4.0, 50.0, 1e5]).expand(4000, 5)
    x = array(torch.poisson(rates).double())
    assert (x[:, 0] == 0).all() and (x % 1 == 0).all()
    np.testing.assert_allclose(x.mean(0)[1:], [0.5, 4, 50, 1e5], rtol=0.08)
    np.testing.assert_allclose(x.var(0)[1:], [0.5, 4, 50, 1e5], rtol=0.12)
    counts, chances = torch.tensor([0.0, 5.0, 100.0, 1e6]).expand(4000, 4), torch.tensor([0.5, 0.2, 0.7, 0.01])
    x = array(torch.binomial(counts, chances).double())
    np.testing.assert_allclose(x.mean(0), [0, 1, 70, 1e4], rtol=0.08)
    np.testing.assert_allclose(x.var(0), [0, 0.8, 21, 9900], rtol=0.12)
    edges = torch.binomial(f64(3.0, 3.0, NAN, 3.0, -1.0, INF), f64(0.0, 1.0, 0.5, NAN, 0.5, 0.5))
    assert edges[:2].tolist() == [0, 3] and edges[2:4].isnan().all() and edges[4] == 0 and edges[5] == INF
    assert torch._standard_gamma(f64(NAN, -1.0)).isnan().all() and torch._standard_gamma(f64(0.0)) > 0
    assert torch.poisson(f64(INF)) == INF
    assert torch.poisson(torch.ones(2, 3, device="meta")).is_meta
    assert torch.poisson(torch.empty(0)).shape == (0,)
    first = torch.poisson(rates, torch.Generator().manual_seed(5))
    assert (first == torch.poisson(rates, generator=torch.Generator().manual_seed(5))).all()
    with pytest.raises(RuntimeError, match="invalid Poisson rate, expected rate to be non-negative"):
        torch.poisson(torch.tensor([1.0, -1.0]))
    with pytest.raises(NotImplementedError, match="\"poisson_cpu\" not implemented for 'Long'"):
        torch.poisson(torch.ones(2, dtype=torch.int64))
    with pytest.raises(ValueError, match="binomial only supports floating-point dtypes for count, got: Long"):
        torch.binomial(torch.ones(2, dtype=torch.int64), torch.ones(2))
    with pytest.raises(RuntimeError, match="Found dtype Double but expected Float"):
        torch.binomial(torch.ones(2), torch.ones(2, dtype=torch.float64))
    rate = torch.ones(3, requires_grad=True)
    torch.poisson(rate).sum().backward()
    assert (rate.grad == 0).all()


# ---- errors


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: D.Normal(0.0, -1.0), ValueError, r"Expected parameter scale \(Tensor of shape \(\)\) of distribution Normal\(loc: 0.0, scale: -1.0\) to satisfy the constraint GreaterThan\(lower_bound=0.0\), but found invalid values:\n-1.0"),
        (lambda: D.Normal("a", 1.0), ValueError, "Input arguments must all be instances of Number, torch.Tensor"),
        (lambda: D.Normal(torch.zeros(2), 1.0).log_prob(torch.zeros(3)), ValueError, "Value is not broadcastable with batch_shape"),
        (lambda: D.Normal(0.0, 1.0).log_prob(0.0), ValueError, "The value argument to log_prob must be a Tensor"),
        (lambda: D.Beta(1.0, 1.0).log_prob(torch.tensor(2.0)), ValueError, r"Expected value argument \(Tensor of shape \(\)\) to be within the support \(Interval"),
        (lambda: D.Dirichlet(torch.ones(2)).log_prob(torch.ones(3)), ValueError, "The right-most size of value must match event_shape"),
        (lambda: D.Categorical(torch.tensor([-1.0, 2.0])), ValueError, r"to satisfy the constraint Simplex\(\)"),
        (lambda: D.Categorical(torch.tensor(1.0)), ValueError, "`probs` parameter must be at least one-dimensional."),
        (lambda: D.Categorical(), ValueError, "Either `probs` or `logits` must be specified, but not both."),
        (lambda: D.Bernoulli(0.2, 0.3), ValueError, "Either `probs` or `logits` must be specified, but not both."),
        (lambda: D.Uniform(1.0, 0.0), ValueError, r"Expected parameter low .* to satisfy the constraint LessThan\(upper_bound=0.0\)"),
        (lambda: D.LKJCholesky(1), ValueError, "Expected dim to be an integer greater than or equal to 2. Found dim=1."),
        (lambda: D.Geometric(0.0), ValueError, "to be positive but found invalid values"),
        (lambda: D.Dirichlet(torch.tensor(1.0)), ValueError, "`concentration` parameter must be at least one-dimensional."),
        (lambda: D.Multinomial(torch.tensor([1]), torch.ones(3)), NotImplementedError, "inhomogeneous total_count is not supported"),
        (lambda: D.Binomial(torch.tensor([3, 4]), torch.tensor(0.5)).entropy(), NotImplementedError, "Inhomogeneous total count not supported by `entropy`."),
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Cauchy(0.0, 1.0)), NotImplementedError, r"No KL\(p \|\| q\) is implemented for p type Normal and q type Cauchy"),
        (lambda: D.kl_divergence(D.Normal(0.0, 1.0), D.Poisson(1.0)), NotImplementedError, "cannot be computed using Bregman divergences"),
        (lambda: D.register_kl(int, D.Normal), TypeError, "Expected type_p to be a Distribution subclass"),
        (lambda: D.MultivariateNormal(torch.zeros(2)), ValueError, "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."),
        (lambda: D.MultivariateNormal(torch.tensor(0.0), torch.eye(2)), ValueError, "loc must be at least one-dimensional."),
        (lambda: D.MultivariateNormal(torch.zeros(2), torch.zeros(2)), ValueError, "covariance_matrix must be at least two-dimensional"),
        (lambda: D.MultivariateNormal(torch.zeros(2), -torch.eye(2)), ValueError, r"constraint PositiveDefinite\(\)"),
        (lambda: D.Wishart(torch.tensor(0.0), torch.eye(2)), ValueError, r"expected to be greater than ndim - 1 = 1"),
        (lambda: D.TransformedDistribution(D.Normal(0.0, 1.0), 3), ValueError, "transforms must be a Transform or list, but was 3"),
        (lambda: D.Bernoulli(0.5).rsample(), NotImplementedError, None),
        (lambda: D.LKJCholesky(2).mode, NotImplementedError, "does not implement mode"),
        (lambda: D.Distribution.set_default_validate_args(3), ValueError, None),
    ],
)  # fmt: skip
def test_errors(call, error, text) -> None:
    with pytest.raises(error, match=text):
        call()


def test_checks_can_be_left_out() -> None:
    assert D.Normal(0.0, -1.0, validate_args=False).scale == -1
    assert D.Uniform(0.0, 1.0, validate_args=False).log_prob(torch.tensor(2.0)) == -INF
    D.Distribution.set_default_validate_args(False)
    try:
        assert D.Poisson(-1.0).rate == -1
    finally:
        D.Distribution.set_default_validate_args(True)


# ---- examples


MODULES = [m.name for m in pkgutil.iter_modules(D.__path__)]


@pytest.mark.parametrize("name", ["", *MODULES])
def test_examples(name: str) -> None:
    module = importlib.import_module(f"flambeau.distributions.{name}".rstrip("."))
    names = {"torch": torch}
    torch.manual_seed(0)
    for test in doctest.DocTestFinder().find(module, module.__name__, module, extraglobs=names):
        report: list[str] = []
        doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=report.append)
        assert not report, "".join(report)
    public = [getattr(module, n) for n in module.__all__] if hasattr(module, "__all__") else []
    assert all(p.__doc__ for p in public if isinstance(p, type))


def test_names_are_those_of_pytorch() -> None:
    warnings.simplefilter("error")
    for name in D.__all__:
        assert getattr(D, name) is not None
    from flambeau.distributions.utils import broadcast_all, clamp_probs, lazy_property, logits_to_probs  # noqa: F401

    assert D.normal.Normal is D.Normal and D.utils is not None and D.kl.kl_divergence is D.kl_divergence
