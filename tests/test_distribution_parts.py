"""What distributions are made of: constraints, transforms, their registries, and divergences."""

import math
import pickle

import numpy as np
import pytest
from scipy.integrate import quad

import flambeau as torch
from flambeau import distributions as D
from flambeau.autograd import gradcheck
from flambeau.autograd.functional import jacobian
from flambeau.distributions import constraints as C
from flambeau.distributions.utils import tril_matrix_to_vec, vec_to_tril_matrix

INF = math.inf


def f64(*values):
    return torch.tensor(values if len(values) > 1 else values[0], dtype=torch.float64)


def array(t):
    return t.detach().numpy()


# ---- constraints

MATRICES = f64([[[1.0, 0.5], [0.5, 1.0]], [[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.0], [0.5, -1.0]], [[1.0, 0.0], [0.6, 0.8]]])


@pytest.mark.parametrize(
    ("constraint", "value", "inside"),
    [
        (C.boolean, f64(0.0, 1.0, 0.5), [1, 1, 0]),
        (C.integer_interval(1, 3), f64(0.0, 1.0, 2.5, 3.0), [0, 1, 0, 1]),
        (C.nonnegative_integer, f64(-1.0, 0.0, 1.5, 7.0), [0, 1, 0, 1]),
        (C.positive_integer, f64(0.0, 1.0), [0, 1]),
        (C.real, f64(0.0, INF, math.nan), [1, 1, 0]),
        (C.real_vector, f64([[0.0, 1.0], [math.nan, 0.0]]), [1, 0]),
        (C.positive, f64(0.0, 1e-300), [0, 1]),
        (C.nonnegative, f64(0.0, -1.0), [1, 0]),
        (C.greater_than(2.0), f64(2.0, 3.0), [0, 1]),
        (C.greater_than_eq(2.0), f64(2.0, 1.0), [1, 0]),
        (C.less_than(2.0), f64(2.0, 1.0), [0, 1]),
        (C.unit_interval, f64(0.0, 1.0, 1.1), [1, 1, 0]),
        (C.half_open_interval(0.0, 1.0), f64(0.0, 1.0), [1, 0]),
        (C.one_hot, f64([[0.0, 1.0], [1.0, 1.0], [0.5, 0.5]]), [1, 0, 0]),
        (C.simplex, f64([[0.2, 0.8], [0.5, 0.6], [-0.1, 1.1]]), [1, 0, 0]),
        (C.multinomial(3), f64([[1.0, 2.0], [2.0, 2.0], [-1.0, 2.0]]), [1, 0, 0]),
        (C.lower_triangular, MATRICES, [0, 0, 1, 1]),
        (C.lower_cholesky, MATRICES, [0, 0, 0, 1]),
        (C.corr_cholesky, MATRICES, [0, 0, 0, 1]),
        (C.symmetric, MATRICES, [1, 1, 0, 0]),
        (C.positive_definite, MATRICES[:2], [1, 0]),
        (C.positive_semidefinite, MATRICES[:2], [1, 0]),
        (C.square, torch.zeros(2, 2, 3), [0, 0]),
        (C.independent(C.positive, 1), f64([[1.0, 2.0], [0.0, 1.0]]), [1, 0]),
        (C.cat([C.positive, C.real], 0, [2, 1]), f64(1.0, -1.0, -1.0), [1, 0, 1]),
        (C.stack([C.positive, C.real], 0), f64([[1.0, -1.0], [1.0, -1.0]]), [[1, 0], [1, 1]]),
    ],
)  # fmt: skip
def test_constraints(constraint, value, inside) -> None:
    assert constraint.check(value).to(torch.int64).tolist() == inside
    assert isinstance(constraint.is_discrete, bool) and constraint.event_dim >= 0
    assert not C.is_dependent(constraint)


def test_dependent_constraints() -> None:
    assert C.is_dependent(C.dependent) and C.is_dependent(D.Uniform.support)
    assert D.Uniform.support.event_dim == 0 and not D.Uniform.support.is_discrete
    with pytest.raises(ValueError, match="Cannot determine validity of dependent constraint"):
        C.dependent.check(torch.zeros(2))
    with pytest.raises(NotImplementedError, match=r"\.event_dim cannot be determined statically"):
        C.dependent.event_dim  # noqa: B018
    known = C.dependent(is_discrete=True, event_dim=1)
    assert known.is_discrete and known.event_dim == 1
    assert repr(C.positive) == "GreaterThan(lower_bound=0.0)"
    assert repr(C.real_vector) == "IndependentConstraint(Real(), 1)"
    with pytest.raises(ValueError, match="Expected value.dim"):
        C.real_vector.check(torch.tensor(0.0))


# ---- transforms

TRANSFORMS = {
    "exp": (D.ExpTransform(), f64(-1.0, 0.5)),
    "power": (D.PowerTransform(f64(-1.5, 2.0)), f64(0.3, 2.0)),
    "sigmoid": (D.SigmoidTransform(), f64(-1.0, 0.5)),
    "softplus": (D.SoftplusTransform(), f64(-1.0, 0.5)),
    "tanh": (D.TanhTransform(), f64(-1.0, 0.5)),
    "affine": (D.AffineTransform(1.0, -2.0), f64(-1.0, 0.5)),
    "affine of tensors": (D.AffineTransform(f64(1.0, 2.0), f64(3.0, -4.0)), f64(-1.0, 0.5)),
    "affine events": (D.AffineTransform(f64(1.0, 2.0), f64(3.0, -4.0), event_dim=1), f64(-1.0, 0.5)),
    "composed": (D.ComposeTransform([D.AffineTransform(1.0, 2.0), D.ExpTransform(), D.PowerTransform(2.0)]), f64(-1.0, 0.5)),
    "inverse": (D.ExpTransform().inv, f64(0.3, 2.0)),
    "independent": (D.IndependentTransform(D.ExpTransform(), 1), f64(-1.0, 0.5)),
    "stick breaking": (D.StickBreakingTransform(), f64(-1.0, 0.5, 0.2)),
    "stick breaking, composed": (D.ComposeTransform([D.AffineTransform(0.0, 2.0), D.StickBreakingTransform()]), f64(-1.0, 0.5)),
    "correlation": (D.CorrCholeskyTransform(), f64(-1.0, 0.5, 0.2)),
    "reshape": (D.ReshapeTransform((4,), (2, 2)), f64(1.0, 2.0, 3.0, 4.0)),
    "cat": (D.CatTransform([D.ExpTransform(), D.AffineTransform(0.0, 2.0)], 0, [1, 2]), f64(-1.0, 0.5, 0.2)),
    "stack": (D.StackTransform([D.ExpTransform(), D.AffineTransform(0.0, 2.0)], 0), f64([[-1.0], [0.5]])),
    "cumulative": (D.CumulativeDistributionTransform(D.Normal(f64(0.0), f64(1.0))), f64(-1.0, 0.5)),
}  # fmt: skip


def log_det(transform, x, y):
    """By the Jacobian; a simplex has one coordinate too many, a factor's rows end on the unit sphere."""
    full = jacobian(transform, x).reshape(y.numel(), x.numel())
    if isinstance(transform.codomain, type(C.simplex)):
        full = full[:-1]
    if isinstance(transform.codomain, type(C.corr_cholesky)):
        below = torch.tril_indices(y.shape[-1], y.shape[-1], -1)
        full = full[below[0] * y.shape[-1] + below[1]]
    return torch.linalg.slogdet(full)[1].item()


@pytest.mark.parametrize("name", TRANSFORMS)
def test_transforms(name: str) -> None:
    t, x = TRANSFORMS[name]
    y = t(x)
    np.testing.assert_allclose(array(t.inv(y)), array(x), rtol=1e-9)
    assert t.domain.check(x).all() and t.codomain.check(y).all()
    assert t.log_abs_det_jacobian(x, y).sum().item() == pytest.approx(log_det(t, x, y), abs=1e-9)
    back = t.inv.log_abs_det_jacobian(y, x)
    np.testing.assert_allclose(array(back), -array(t.log_abs_det_jacobian(x, y)))
    assert t.inv.inv is t and t == t and t.forward_shape(x.shape) == y.shape and t.inverse_shape(y.shape) == x.shape
    assert t.bijective and t.inv.bijective and repr(t) and hash(t)
    assert gradcheck(lambda v: (t(v), t.log_abs_det_jacobian(v, t(v))), [x.clone().requires_grad_()])
    kept = t.with_cache(1)
    made = kept(x)
    if not isinstance(kept, D.ComposeTransform) and name != "inverse":
        assert kept(x) is made and kept.inv(made) is x
    np.testing.assert_array_equal(array(pickle.loads(pickle.dumps(t))(x)), array(y))


def test_transforms_that_forget() -> None:
    x = f64(-1.0, 0.5)
    assert D.AbsTransform()(x).tolist() == [1, 0.5] and D.AbsTransform().inv(x) is x
    soft = D.SoftmaxTransform()
    np.testing.assert_allclose(array(soft(soft.inv(soft(x)))), array(soft(x)))
    square = f64([[0.5, 3.0], [-1.0, 0.2]])
    lower = D.LowerCholeskyTransform()
    assert lower.codomain.check(lower(square))
    np.testing.assert_allclose(array(lower.inv(lower(square))), np.tril(array(square)))
    definite = D.PositiveDefiniteTransform()
    assert definite.codomain.check(definite(square))
    np.testing.assert_allclose(array(definite.inv(definite(square))), np.tril(array(square)), rtol=1e-9)
    assert D.ExpTransform() == D.ExpTransform() != D.SigmoidTransform()
    assert D.AffineTransform(0.0, 1.0) == D.AffineTransform(0.0, 1.0) != D.AffineTransform(0.0, 2.0)
    assert D.AffineTransform(0, -1).sign == -1 and D.ComposeTransform([D.AffineTransform(0, -1)] * 2).sign == 1
    assert D.identity_transform(x) is x and D.identity_transform.log_abs_det_jacobian(x, x).tolist() == [0, 0]


def test_errors_of_transforms() -> None:
    with pytest.raises(ValueError, match="cache_size must be 0 or 1"):
        D.ExpTransform(cache_size=2)
    with pytest.raises(ValueError, match="have different numbers of elements"):
        D.ReshapeTransform((2,), (3,))
    with pytest.raises(ValueError, match="Too few dimensions on input"):
        D.StickBreakingTransform().forward_shape(())
    with pytest.raises(ValueError, match="Input is not a flattened lower-diagonal number"):
        D.CorrCholeskyTransform().forward_shape((4,))
    with pytest.raises(NotImplementedError):
        D.Transform().sign  # noqa: B018
    with pytest.raises(ValueError, match="cannot be expressed as the lower triangular part"):
        vec_to_tril_matrix(torch.ones(4))
    vector = torch.arange(6.0)
    assert (tril_matrix_to_vec(vec_to_tril_matrix(vector)) == vector).all()
    assert tril_matrix_to_vec(torch.ones(3, 3), -1).shape == (3,)


@pytest.mark.parametrize(
    "constraint",
    [
        C.real, C.positive, C.nonnegative, C.greater_than(2.0), C.greater_than_eq(-1.0), C.less_than(1.0), C.unit_interval,
        C.interval(-1.0, 3.0), C.half_open_interval(0.0, 2.0), C.simplex, C.corr_cholesky, C.independent(C.positive, 1),
        C.real_vector, C.lower_cholesky, C.positive_definite, C.positive_semidefinite,
        C.cat([C.positive, C.unit_interval], -1, [2, 1]), C.stack([C.positive, C.unit_interval, C.real], -1),
    ],
)  # fmt: skip
def test_every_constraint_has_a_transform(constraint) -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 3, dtype=torch.float64)
    for registry in (D.transform_to, D.biject_to):
        if registry is D.biject_to and isinstance(constraint, type(C.lower_cholesky) | type(C.positive_definite) | type(C.positive_semidefinite)):
            with pytest.raises(NotImplementedError, match="Cannot transform"):
                registry(constraint)
            continue
        assert constraint.check(registry(constraint)(x)).all()
    with pytest.raises(TypeError, match="Expected constraint to be either a Constraint subclass or instance"):
        D.biject_to.register(3, None)(lambda c: c)


def test_ones_own_constraint_has_ones_own_transform() -> None:
    class Even(C.Constraint):
        def check(self, value):
            return value % 2 == 0

    @D.transform_to.register(Even)
    def _even(constraint):
        return D.AffineTransform(0.0, 2.0)

    assert D.transform_to(Even())(f64(1.0, 2.0)).tolist() == [2, 4]


# ---- transformed distributions


def test_change_of_variables() -> None:
    """A normal of normals; a distribution function turned round; events of a transform with more of them."""
    base = D.Normal(f64(0.5), f64(1.0))
    d = D.TransformedDistribution(base, [D.AffineTransform(1.0, -2.0)])
    same = D.Normal(f64(0.0), f64(2.0))
    for value in (-1.0, 0.3):
        assert d.log_prob(f64(value)).item() == pytest.approx(same.log_prob(f64(value)).item())
        assert d.cdf(f64(value)).item() == pytest.approx(same.cdf(f64(value)).item())
    assert d.icdf(f64(0.2)).item() == pytest.approx(same.icdf(f64(0.2)).item())
    assert d.expand((3,)).batch_shape == (3,) and d.has_rsample
    wide = D.TransformedDistribution(D.Normal(torch.zeros(3), 1.0), D.StickBreakingTransform())
    assert wide.batch_shape == () and wide.event_shape == (4,)
    broad = D.TransformedDistribution(D.Normal(0.0, 1.0), D.AffineTransform(torch.zeros(2), torch.ones(2)))
    assert broad.batch_shape == (2,)
    assert D.TransformedDistribution(base, []).log_prob(f64(0.0)) == base.log_prob(f64(0.0))
    with pytest.raises(ValueError, match="needs to have shape with size at least 1"):
        D.TransformedDistribution(D.Normal(0.0, 1.0), D.StickBreakingTransform())


# ---- divergences

LINE = {
    "Beta": D.Beta(f64(1.5), f64(3.0)),
    "ContinuousBernoulli": D.ContinuousBernoulli(f64(0.3)),
    "Exponential": D.Exponential(f64(1.5)),
    "Gamma": D.Gamma(f64(2.5), f64(3.0)),
    "Gumbel": D.Gumbel(f64(0.5), f64(1.5)),
    "Laplace": D.Laplace(f64(0.5), f64(1.5)),
    "Normal": D.Normal(f64(0.5), f64(1.5)),
    "Pareto": D.Pareto(f64(0.8), f64(4.0)),
    "Uniform": D.Uniform(f64(0.1), f64(0.9)),
    "HalfNormal": D.HalfNormal(f64(1.5)),
    "Cauchy": D.Cauchy(f64(0.5), f64(1.5)),
}
OTHERS = {
    "Beta": D.Beta(f64(2.5), f64(1.0)),
    "ContinuousBernoulli": D.ContinuousBernoulli(f64(0.6)),
    "Exponential": D.Exponential(f64(0.5)),
    "Gamma": D.Gamma(f64(1.5), f64(1.0)),
    "Gumbel": D.Gumbel(f64(-0.5), f64(2.5)),
    "Laplace": D.Laplace(f64(0.0), f64(2.5)),
    "Normal": D.Normal(f64(0.0), f64(1.2)),
    "Pareto": D.Pareto(f64(0.05), f64(3.0)),
    "Uniform": D.Uniform(f64(-0.5), f64(1.5)),
    "HalfNormal": D.HalfNormal(f64(1.0)),
    "Cauchy": D.Cauchy(f64(0.0), f64(1.0)),
}
EDGES = {
    "Beta": (0, 1), "ContinuousBernoulli": (0, 1), "Exponential": (0, 60), "Gamma": (0, 60), "Gumbel": (-12, 60),
    "Laplace": (-60, 60), "Normal": (-15, 15), "Pareto": (0.8, 3000), "Uniform": (0.1, 0.9), "HalfNormal": (0, 15),
}  # fmt: skip


def pairs():
    from flambeau.distributions.kl import _KL_REGISTRY

    kinds = {(p.__name__, q.__name__) for p, q in _KL_REGISTRY}
    return sorted((p, q) for p, q in kinds if p in LINE and q in LINE)


@pytest.mark.parametrize(("p", "q"), pairs())
def test_divergence_is_the_integral(p: str, q: str) -> None:
    first, second = LINE[p], OTHERS[q]
    got = D.kl_divergence(first, second).item()
    if not math.isfinite(got):
        torch.manual_seed(0)
        drawn = first.sample((4000,))
        inside = second.support.check(drawn) if second.support is not None else None
        assert got == INF and not inside.all()
        return
    if p == "Cauchy":
        both = (1.5 + 1.0) ** 2 + 0.5**2
        assert got == pytest.approx(math.log(both / (4 * 1.5)))
        return

    def integrand(x):
        at = f64(float(x))
        log_p, log_q = first.log_prob(at), second.log_prob(at)
        return (log_p.exp() * (log_p - log_q)).item() if log_p > -700 else 0.0

    low, high = EDGES[p]
    points = [v for v in (0.5, first.mean.item(), 3.0) if low < v < high]
    eps = 1e-12 if low in (0, 0.1, 0.8) else 0
    want = quad(integrand, low + eps, high - eps, points=points, limit=200, epsabs=1e-9)[0]
    assert got == pytest.approx(want, rel=2e-5, abs=2e-6)


@pytest.mark.parametrize("name", [n for n in LINE if n != "Cauchy"])
def test_divergence_from_itself_is_nothing(name: str) -> None:
    assert D.kl_divergence(LINE[name], LINE[name]).item() == pytest.approx(0, abs=1e-12)


def test_divergence_where_values_fall_outside() -> None:
    assert D.kl_divergence(D.Uniform(0.0, 2.0), D.Uniform(0.0, 1.0)) == INF
    assert D.kl_divergence(D.Uniform(-1.0, 2.0), D.Exponential(1.0)) == INF
    assert D.kl_divergence(D.Pareto(0.5, 3.0), D.Pareto(1.0, 3.0)) == INF
    assert D.kl_divergence(D.Beta(1.0, 2.0), D.Uniform(0.5, 1.0)) == INF
    sure, never = D.Bernoulli(f64(1.0)), D.Bernoulli(f64(0.0))
    assert D.kl_divergence(sure, never) == INF and D.kl_divergence(sure, sure) == 0
    assert D.kl_divergence(D.Categorical(f64(0.5, 0.5)), D.Categorical(f64(1.0, 0.0))) == INF
    assert D.kl_divergence(D.Categorical(f64(1.0, 0.0)), D.Categorical(f64(0.5, 0.5))).item() == pytest.approx(math.log(2))
    with pytest.raises(NotImplementedError, match="KL between Binomials"):
        D.kl_divergence(D.Binomial(2, 0.5), D.Binomial(3, 0.5))


@pytest.mark.parametrize(
    ("p", "q", "count"),
    [
        (D.Bernoulli(f64(0.3)), D.Bernoulli(f64(0.6)), 2),
        (D.Bernoulli(f64(0.3)), D.Poisson(f64(0.6)), 2),
        (D.Binomial(5, f64(0.3)), D.Binomial(5, f64(0.6)), 6),
        (D.Geometric(f64(0.3)), D.Geometric(f64(0.6)), 120),
        (D.Poisson(f64(3.0)), D.Poisson(f64(2.0)), 60),
    ],
)
def test_divergence_is_the_sum(p, q, count) -> None:
    k = torch.arange(count, dtype=torch.float64)
    log_p = p.log_prob(k)
    want = (log_p.exp() * (log_p - q.log_prob(k))).sum().item()
    assert D.kl_divergence(p, q).item() == pytest.approx(want, rel=1e-6)


def test_divergence_of_vectors() -> None:
    torch.manual_seed(3)
    p, q = D.Dirichlet(f64(1.5, 2.0, 3.0)), D.Dirichlet(f64(2.5, 1.0, 2.0))
    drawn = p.sample((40000,))
    want = (p.log_prob(drawn) - q.log_prob(drawn)).mean().item()
    assert D.kl_divergence(p, q).item() == pytest.approx(want, rel=0.05)
    covariance = f64([[2.0, 0.5], [0.5, 1.0]])
    first = D.MultivariateNormal(torch.zeros(3, 2, dtype=torch.float64), covariance)
    second = D.MultivariateNormal(f64(1.0, 0.0), torch.eye(2, dtype=torch.float64))
    want = 0.5 * (3 + 1 - 2 - math.log(1.75))
    np.testing.assert_allclose(array(D.kl_divergence(first, second)), [want] * 3)
    with pytest.raises(ValueError, match="different event shapes"):
        D.kl_divergence(first, D.MultivariateNormal(torch.zeros(3), torch.eye(3)))
    a, b = D.Independent(D.Normal(torch.zeros(2, 3), 1.0), 1), D.Independent(D.Normal(torch.ones(2, 3), 1.0), 1)
    assert D.kl_divergence(a, b).tolist() == [1.5, 1.5]
    c, d = D.LogNormal(torch.zeros(2), 1.0), D.LogNormal(torch.ones(2), 1.0)
    assert D.kl_divergence(c, d).tolist() == [0.5, 0.5]
    one_hot = [D.OneHotCategorical(f64(0.3, 0.7)), D.OneHotCategorical(f64(0.5, 0.5))]
    want = 0.3 * math.log(0.6) + 0.7 * math.log(1.4)
    assert D.kl_divergence(*one_hot).item() == pytest.approx(want)
    wishart = [D.Wishart(f64(4.5), covariance), D.Wishart(f64(3.5), torch.eye(2, dtype=torch.float64))]
    drawn = wishart[0].sample((20000,))
    want = (wishart[0].log_prob(drawn) - wishart[1].log_prob(drawn)).mean().item()
    assert D.kl_divergence(*wishart).item() == pytest.approx(want, rel=0.05)


def test_gradients_of_divergences() -> None:
    loc, scale = f64(0.3, -1.0).requires_grad_(), f64(1.0, 2.0).requires_grad_()
    assert gradcheck(lambda m, s: D.kl_divergence(D.Normal(m, s), D.Normal(0.0, f64(1.0))), [loc, scale])
    assert gradcheck(lambda s: D.kl_divergence(D.Gamma(s, f64(1.0)), D.Gamma(f64(2.0), f64(1.5))), [scale])
    lower = f64([[1.4, 0.0], [0.3, 0.9]]).requires_grad_()
    standard = D.MultivariateNormal(f64(0.0, 0.0), torch.eye(2, dtype=torch.float64))
    assert gradcheck(lambda c: D.kl_divergence(D.MultivariateNormal(f64(1.0, 0.0), scale_tril=c.tril()), standard), [lower])


def test_registered_divergences() -> None:
    class Mine(D.Normal):
        pass

    assert D.kl_divergence(Mine(0.0, 1.0), D.Normal(0.0, 1.0)) == 0  # that of the base class

    @D.register_kl(Mine, D.Normal)
    def _(p, q):
        return 7

    @D.register_kl(D.Normal, Mine)
    def _(p, q):
        return 8

    assert D.kl_divergence(Mine(0.0, 1.0), D.Normal(0.0, 1.0)) == 7
    with pytest.warns(RuntimeWarning, match=r"Ambiguous kl_divergence\(Mine, Mine\)"):
        D.kl_divergence(Mine(0.0, 1.0), Mine(0.0, 1.0))


def test_a_beta_distribution_is_kept_as_a_dirichlet_one():
    d = D.Beta(torch.tensor([0.5, 2.0]), 1.5)
    assert repr(d) == "Beta()" and d.expand((3, 2)).concentration1.shape == (3, 2)
    with pytest.raises(ValueError, match="Expected parameter concentration .* of distribution Dirichlet"):
        D.Beta(-1.0, 1.0)


def test_values_of_gamma_may_be_numbers():
    assert D.Gamma(1.0, 1.0).log_prob(1.0) == D.Chi2(2.0).log_prob(torch.tensor(2.0)) + math.log(2.0)
    with pytest.raises(ValueError, match="The value argument to log_prob must be a Tensor"):
        D.HalfCauchy(1.0).log_prob(1.0)


def test_what_maps_to_positive_numbers():
    for make in (D.biject_to, D.transform_to):
        assert [type(t).__name__ for t in make(C.positive).parts] == ["ExpTransform", "AffineTransform"]
