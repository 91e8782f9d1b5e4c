"""Kullback and Leibler's divergence of two distributions.

Most pairs are -H(p) - E_p[log q]: the entropy of p, and the mean of q's log density under p, which for many families q
needs a mean, a variance or the mean of a logarithm of p, whatever p is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from flambeau import functional_ns as o
from flambeau.distributions.bernoulli import Bernoulli
from flambeau.distributions.beta import Beta
from flambeau.distributions.binomial import Binomial
from flambeau.distributions.categorical import Categorical
from flambeau.distributions.cauchy import Cauchy
from flambeau.distributions.continuous_bernoulli import ContinuousBernoulli
from flambeau.distributions.dirichlet import Dirichlet
from flambeau.distributions.distribution import Distribution
from flambeau.distributions.exp_family import ExponentialFamily
from flambeau.distributions.exponential import Exponential
from flambeau.distributions.gamma import Gamma
from flambeau.distributions.geometric import Geometric
from flambeau.distributions.gumbel import Gumbel
from flambeau.distributions.half_normal import HalfNormal
from flambeau.distributions.independent import Independent
from flambeau.distributions.laplace import Laplace
from flambeau.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal
from flambeau.distributions.multivariate_normal import MultivariateNormal, half_log_det, squared_length
from flambeau.distributions.normal import Normal
from flambeau.distributions.one_hot_categorical import OneHotCategorical
from flambeau.distributions.pareto import Pareto
from flambeau.distributions.poisson import Poisson
from flambeau.distributions.transformed_distribution import TransformedDistribution
from flambeau.distributions.uniform import Uniform
from flambeau.distributions.utils import euler_constant, sum_rightmost

__all__ = ["kl_divergence", "register_kl"]

Tensor = o.Tensor
_KL_REGISTRY: dict[tuple[type, type], Callable] = {}
_found: dict[tuple[type, type], Any] = {}


def register_kl(type_p: type, type_q: type) -> Callable[[Callable], Callable]:
    """A decorator: the function gives the divergence of distributions of two types.

    Example:
        >>> class Mine(torch.distributions.Normal): ...
        >>> @torch.distributions.register_kl(Mine, Mine)
        ... def divergence(p, q):
        ...     return (p.loc - q.loc).abs()
        >>> torch.distributions.kl_divergence(Mine(0.0, 1.0), Mine(2.0, 1.0))
        tensor(2.)
    """
    if not (isinstance(type_p, type) and issubclass(type_p, Distribution)):
        raise TypeError(f"Expected type_p to be a Distribution subclass but got {type_p}")
    if not (isinstance(type_q, type) and issubclass(type_q, Distribution)):
        raise TypeError(f"Expected type_q to be a Distribution subclass but got {type_q}")

    def decorator(function: Callable) -> Callable:
        _KL_REGISTRY[type_p, type_q] = function
        _found.clear()
        return function

    return decorator


def _nearest(type_p: type, type_q: type) -> Any:
    """The function of the closest pair of base classes; of two as close that of p's is taken, with a warning."""
    pairs = [(p, q) for p, q in _KL_REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)]
    if not pairs:
        return NotImplemented
    order_p, order_q = type_p.__mro__.index, type_q.__mro__.index
    by_p = min(pairs, key=lambda pair: (order_p(pair[0]), order_q(pair[1])))
    by_q = min(pairs, key=lambda pair: (order_q(pair[1]), order_p(pair[0])))
    if _KL_REGISTRY[by_p] is not _KL_REGISTRY[by_q]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please register_kl({by_p[0].__name__}, "
            f"{by_q[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _KL_REGISTRY[by_p]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """KL(p || q): the mean of log p(x) - log q(x) over x drawn from p.

    Args:
        p: a distribution.
        q: another one.

    Returns:
        One number for each place of the batch; infinite where p draws values that q does not.

    Raises:
        NotImplementedError: nothing is registered for the types of p and q.

    Example:
        >>> normal = torch.distributions.Normal
        >>> torch.distributions.kl_divergence(normal(1.0, 1.0), normal(0.0, 1.0))
        tensor(0.5000)
    """
    key = type(p), type(q)
    if key not in _found:
        _found[key] = _nearest(*key)
    function = _found[key]
    if function is NotImplemented:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {p.__class__.__name__} and q type {q.__class__.__name__}"
        )
    return function(p, q)


def _register(ps: tuple[type, ...], qs: tuple[type, ...]) -> Callable[[Callable], Callable]:
    def decorator(function: Callable) -> Callable:
        for p in ps:
            for q in qs:
                register_kl(p, q)(function)
        return function

    return decorator


# ---- values of p that q does not have

_OUTSIDE: dict[tuple[type, ...], tuple[type, ...]] = {
    (Beta,): (Pareto,),
    (ContinuousBernoulli,): (Pareto,),
    (Exponential, Gamma, Pareto): (Beta, ContinuousBernoulli, Uniform),
    (Exponential, Gamma): (Pareto,),
    (Gumbel, Laplace, Normal): (Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform),
    (Poisson,): (Bernoulli, Binomial),
}


def _infinite(p: Any, q: Any) -> Tensor:
    return o.full_like(p.mean, math.inf)


for _ps, _qs in _OUTSIDE.items():
    _register(_ps, _qs)(_infinite)


# ---- by the means that q's log density needs


def _mean_log(p: Any) -> Tensor:
    """E[log x]."""
    if isinstance(p, Beta):
        return p.concentration1.digamma() - (p.concentration1 + p.concentration0).digamma()
    if isinstance(p, Exponential):
        return -euler_constant - p.rate.log()
    if isinstance(p, Gamma):
        return p.concentration.digamma() - p.rate.log()
    if isinstance(p, Pareto):
        return p.scale.log() + p.alpha.reciprocal()
    return (o.xlogy(p.high, p.high) - o.xlogy(p.low, p.low)) / (p.high - p.low) - 1  # uniform


def _mean_exp(p: Any, t: Tensor) -> Tensor:
    """E[exp(t x)] for t < 0, infinite where it does not exist."""
    if isinstance(p, Normal):
        return (t * p.loc + (t * p.scale).square() / 2).exp()
    if isinstance(p, Exponential):
        return p.rate / (p.rate - t)
    if isinstance(p, Gamma):
        return (p.rate / (p.rate - t)) ** p.concentration
    if isinstance(p, Gumbel):
        return (t * p.loc + o.lgamma(1 - t * p.scale)).exp()
    return (o.exp(t * p.high) - o.exp(t * p.low)) / (t * (p.high - p.low))  # uniform


def _within(p: Any, low: Any, high: Any, value: Tensor) -> Tensor:
    """The value where uniform numbers stay between two bounds, else infinity; p of other kinds has them inside."""
    return o.where((p.low >= low) & (p.high <= high), value, math.inf) if isinstance(p, Uniform) else value


@_register((Beta, ContinuousBernoulli, Exponential, Gamma, Pareto, Uniform), (Exponential,))
def _to_exponential(p: Any, q: Exponential) -> Tensor:
    return _within(p, 0, math.inf, -p.entropy() - q.rate.log() + q.rate * p.mean)


@_register((Beta, Exponential, Gamma, Pareto, Uniform), (Gamma,))
def _to_gamma(p: Any, q: Gamma) -> Tensor:
    a, rate = q.concentration, q.rate
    value = -p.entropy() - a * rate.log() + o.lgamma(a) - (a - 1) * _mean_log(p) + rate * p.mean
    return _within(p, 0, math.inf, value)


@_register((Beta, ContinuousBernoulli, Exponential, Gamma, Gumbel, Laplace, Normal, Pareto, Uniform), (Normal,))
def _to_normal(p: Any, q: Normal) -> Tensor:
    variance = q.scale.square()
    square = (p.variance + (p.mean - q.loc).square()) / (2 * variance)
    return -p.entropy() + 0.5 * (2 * math.pi * variance).log() + square


@_register((Exponential, Gamma, Gumbel, Normal, Uniform), (Gumbel,))
def _to_gumbel(p: Any, q: Gumbel) -> Tensor:
    spread = (q.loc / q.scale).exp() * _mean_exp(p, -1 / q.scale)
    return -p.entropy() + q.scale.log() + (p.mean - q.loc) / q.scale + spread


@_register((Beta, ContinuousBernoulli, Uniform), (Uniform,))
def _to_uniform(p: Any, q: Uniform) -> Tensor:
    value = -p.entropy() + (q.high - q.low).log()
    if isinstance(p, Uniform):
        return _within(p, q.low, q.high, value)
    return o.where((q.low <= 0) & (q.high >= 1), value, math.inf)


@_register((Beta, ContinuousBernoulli, Uniform), (ContinuousBernoulli,))
def _to_continuous_bernoulli(p: Any, q: ContinuousBernoulli) -> Tensor:
    cross = p.mean * q.logits + o.log1p(-q.probs) + q._log_norm()
    return _within(p, 0, 1, -p.entropy() - cross)


@_register((Pareto, Uniform), (Pareto,))
def _to_pareto(p: Any, q: Pareto) -> Tensor:
    value = -p.entropy() - q.alpha.log() - q.alpha * q.scale.log() + (q.alpha + 1) * _mean_log(p)
    low = p.low if isinstance(p, Uniform) else p.scale
    return o.where(low >= q.scale, value, math.inf)


@register_kl(Normal, Normal)
def _normal(p: Normal, q: Normal) -> Tensor:
    ratio = (p.scale / q.scale).square()
    return 0.5 * (ratio + ((p.loc - q.loc) / q.scale).square() - 1 - ratio.log())


@register_kl(Exponential, Exponential)
def _exponential(p: Exponential, q: Exponential) -> Tensor:
    ratio = q.rate / p.rate
    return ratio - ratio.log() - 1


@register_kl(Gamma, Gamma)
def _gamma(p: Gamma, q: Gamma) -> Tensor:
    a = p.concentration
    powers = q.concentration * (p.rate / q.rate).log() + (a - q.concentration) * a.digamma()
    return powers + q.concentration.lgamma() - a.lgamma() + (q.rate - p.rate) * (a / p.rate)


@register_kl(Bernoulli, Poisson)
def _bernoulli_to_poisson(p: Bernoulli, q: Poisson) -> Tensor:
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Uniform, Beta)
def _uniform_to_beta(p: Uniform, q: Beta) -> Tensor:
    a, b = q.concentration1, q.concentration0
    rest = Uniform(1 - p.high, 1 - p.low, validate_args=False)
    logs = (a - 1) * _mean_log(p) + (b - 1) * _mean_log(rest)
    value = -p.entropy() - logs + o.lgamma(a) + o.lgamma(b) - o.lgamma(a + b)
    return _within(p, 0, 1, value)


# ---- of one family


@register_kl(Bernoulli, Bernoulli)
def _bernoulli(p: Bernoulli, q: Bernoulli) -> Tensor:
    yes = _share(p.probs, q.probs, p.logits, q.logits, 1)
    return yes + _share(1 - p.probs, 1 - q.probs, p.logits, q.logits, -1)


def _share(p: Tensor, q: Tensor, p_logits: Tensor, q_logits: Tensor, sign: int) -> Tensor:
    """p log(p / q): 0 where p is 0, infinite where only q is."""
    value = p * (o.logsigmoid(sign * p_logits) - o.logsigmoid(sign * q_logits))
    return o.where(p == 0, 0.0, o.where(q == 0, math.inf, value))


@register_kl(Binomial, Binomial)
def _binomial(p: Binomial, q: Binomial) -> Tensor:
    if (p.total_count < q.total_count).any():
        raise NotImplementedError("KL between Binomials where q.total_count > p.total_count is not implemented")
    logits = p.total_count * (p.probs * (p.logits - q.logits) + (-p.probs).log1p() - (-q.probs).log1p())
    return o.where(p.total_count > q.total_count, math.inf, logits)


@register_kl(Categorical, Categorical)
def _categorical(p: Categorical, q: Categorical) -> Tensor:
    each = p.probs * (p.logits - q.logits)
    each = o.where(q.probs == 0, math.inf, each)
    return o.where(p.probs == 0, 0.0, each).sum(-1)


@register_kl(OneHotCategorical, OneHotCategorical)
def _one_hot(p: OneHotCategorical, q: OneHotCategorical) -> Tensor:
    return _categorical(p._categorical, q._categorical)


@register_kl(Geometric, Geometric)
def _geometric(p: Geometric, q: Geometric) -> Tensor:
    return -p.entropy() - o.log1p(-q.probs) / p.probs - q.logits


@register_kl(Poisson, Poisson)
def _poisson(p: Poisson, q: Poisson) -> Tensor:
    return o.xlogy(p.rate, p.rate / q.rate) - (p.rate - q.rate)


@register_kl(Cauchy, Cauchy)
def _cauchy(p: Cauchy, q: Cauchy) -> Tensor:
    both = (p.scale + q.scale).square() + (p.loc - q.loc).square()
    return both.log() - (4 * p.scale * q.scale).log()


@register_kl(HalfNormal, HalfNormal)
def _half_normal(p: HalfNormal, q: HalfNormal) -> Tensor:
    return _normal(p.base_dist, q.base_dist)


@_register((Laplace, Normal), (Laplace,))
def _to_laplace(p: Any, q: Laplace) -> Tensor:
    gap = p.loc - q.loc
    if isinstance(p, Laplace):
        distance = p.scale * (-gap.abs() / p.scale).exp() + gap.abs()
    else:
        z = gap / (math.sqrt(2) * p.scale)
        distance = math.sqrt(2 / math.pi) * p.scale * (-z * z).exp() + gap * o.erf(z)
    return -p.entropy() + (2 * q.scale).log() + distance / q.scale


@register_kl(Dirichlet, Dirichlet)
def _dirichlet(p: Dirichlet, q: Dirichlet) -> Tensor:
    total = p.concentration.sum(-1)
    start = total.lgamma() - q.concentration.sum(-1).lgamma()
    start = start - (p.concentration.lgamma() - q.concentration.lgamma()).sum(-1)
    logs = p.concentration.digamma() - total.digamma().unsqueeze(-1)
    return start + ((p.concentration - q.concentration) * logs).sum(-1)


@register_kl(Beta, Beta)
def _beta(p: Beta, q: Beta) -> Tensor:
    return _dirichlet(p._dirichlet, q._dirichlet)


@register_kl(ExponentialFamily, ExponentialFamily)
def _exponential_family(p: ExponentialFamily, q: ExponentialFamily) -> Tensor:
    """Bregman's divergence of the normalisers."""
    if type(p) is not type(q):
        raise NotImplementedError(
            "The cross KL-divergence between different exponential families cannot be computed using Bregman "
            "divergences"
        )
    natural, normalizer, slopes = p._normalizer_and_slopes()
    result = q._log_normalizer(*q._natural_params) - normalizer
    for of_p, of_q, slope in zip(natural, q._natural_params, slopes, strict=True):
        result = result - sum_rightmost((of_q - of_p) * slope, len(q.event_shape))
    return result


# ---- vectors


def _factor_of(d: Any) -> Tensor:
    return d._unbroadcasted_scale_tril if isinstance(d, MultivariateNormal) else d.scale_tril


_VECTORS = (MultivariateNormal, LowRankMultivariateNormal)


@_register(_VECTORS, _VECTORS)
def _multivariate_normal(p: Any, q: Any) -> Tensor:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two {'' if isinstance(p, MultivariateNormal) else 'Low Rank '}Multivariate Normals "
            "with different event shapes cannot be computed"
        )
    n = p.event_shape[0]
    lower_p, lower_q = _factor_of(p), _factor_of(q)
    batch = o.broadcast_shapes(lower_p.shape[:-2], lower_q.shape[:-2])
    lower_p, whole_q = lower_p.expand((*batch, n, n)), lower_q.expand((*batch, n, n))
    trace = o.linalg.solve_triangular(whole_q, lower_p, upper=False).square().sum((-2, -1))
    distance = squared_length(lower_q, q.loc - p.loc)
    return half_log_det(lower_q) - half_log_det(lower_p) + 0.5 * (trace + distance - n)


# ---- of other distributions


@register_kl(Independent, Independent)
def _independent(p: Independent, q: Independent) -> Tensor:
    if p.reinterpreted_batch_ndims != q.reinterpreted_batch_ndims:
        raise NotImplementedError
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), p.reinterpreted_batch_ndims)


@register_kl(TransformedDistribution, TransformedDistribution)
def _transformed(p: TransformedDistribution, q: TransformedDistribution) -> Tensor:
    """One transform of both changes nothing."""
    if p.transforms != q.transforms or p.event_shape != q.event_shape:
        raise NotImplementedError
    extra = len(p.event_shape) - len(p.base_dist.event_shape)
    return sum_rightmost(kl_divergence(p.base_dist, q.base_dist), extra)
