"""Programs whose numbers were recorded with PyTorch. Each takes the namespace: `torch` when recording, `flambeau` here.

The programs of a sequence run one after another from one seed, so that each begins where the others left the generator.
"""

from collections.abc import Callable
from typing import Any

SEEDS = (0, 42, 1234)
HEAD = 20  # numbers kept of each result

Program = Callable[[Any], Any]


def _init(t: Any, name: str, *args: Any, **options: Any) -> Any:
    weight = t.empty(6, 5)
    getattr(t.nn.init, name)(weight, *args, **options)
    return weight


def _parameters(module: Any) -> list[Any]:
    return [p.detach() for p in module.parameters()]


SEQUENCES: dict[str, dict[str, Program]] = {
    "uniform": {
        "rand(5)": lambda t: t.rand(5),
        "rand(3, 7)": lambda t: t.rand(3, 7),
        "rand(9, float64)": lambda t: t.rand(9, dtype=t.float64),
        "rand(4)": lambda t: t.rand(4),
        "rand(11, float16)": lambda t: t.rand(11, dtype=t.float16),
        "rand(11, bfloat16)": lambda t: t.rand(11, dtype=t.bfloat16),
        "uniform_(-0.3, 1.7)": lambda t: t.empty(13).uniform_(-0.3, 1.7),
        "uniform_ that rounds to its end": lambda t: t.empty(13).uniform_(1e8, 1e8 + 8),
        "rand_like": lambda t: t.rand_like(t.empty(2, 3)),
        "rand(700)": lambda t: t.rand(700),
    },
    "normal": {
        "randn(5)": lambda t: t.randn(5),
        "randn(15)": lambda t: t.randn(15),
        "randn(16)": lambda t: t.randn(16),
        "rand(3)": lambda t: t.rand(3),
        "randn(17)": lambda t: t.randn(17),
        "randn(100)": lambda t: t.randn(100),
        "randn(4, 25).t()": lambda t: t.randn(4, 25).t(),
        "randn(1) with one waiting": lambda t: t.randn(1),
        "randn(20, float64)": lambda t: t.randn(20, dtype=t.float64),
        "randn(20, float16)": lambda t: t.randn(20, dtype=t.float16),
        "randn(33, bfloat16)": lambda t: t.randn(33, dtype=t.bfloat16),
        "normal_(0.3, 1.7)": lambda t: t.empty(19).normal_(0.3, 1.7),
        "randn_like": lambda t: t.randn_like(t.empty(2, 3)),
        "log_normal_": lambda t: t.empty(7).log_normal_(0.1, 0.5),
        "exponential_": lambda t: t.empty(7).exponential_(1.5),
        "cauchy_": lambda t: t.empty(7).cauchy_(0.5, 2.0),
        "geometric_": lambda t: t.empty(9).geometric_(0.3),
    },
    "integers": {
        "randint(10)": lambda t: t.randint(10, (20,)),
        "randint(-5, 5, int8)": lambda t: t.randint(-5, 5, (9,), dtype=t.int8),
        "rand(3)": lambda t: t.rand(3),
        "randint(2**28 - 1)": lambda t: t.randint(2**28 - 1, (5,)),
        "randint(2**28)": lambda t: t.randint(2**28, (5,)),
        "randint(-2**62, 2**62)": lambda t: t.randint(-(2**62), 2**62, (5,)),
        "randint(100, float32)": lambda t: t.randint(100, (6,), dtype=t.float32),
        "random_() uint8": lambda t: t.empty(9, dtype=t.uint8).random_(),
        "random_() int64": lambda t: t.empty(5, dtype=t.int64).random_(),
        "random_() float32": lambda t: t.empty(5).random_(),
        "random_() float64": lambda t: t.empty(5, dtype=t.float64).random_(),
        "random_(100)": lambda t: t.empty(5, dtype=t.int32).random_(100),
        "randperm(5)": lambda t: t.randperm(5),
        "randperm(100)": lambda t: t.randperm(100),
        "randperm(40000)": lambda t: t.randperm(40000),
        "randint after randperm": lambda t: t.randint(1000, (4,)),
    },
    "choices": {
        "bernoulli_(0.3)": lambda t: t.empty(64).bernoulli_(0.3),
        "bernoulli_(0.5) bool": lambda t: t.empty(31, dtype=t.bool).bernoulli_(0.5),
        "bernoulli(p)": lambda t: t.bernoulli(t.linspace(0, 1, 31)),
        "bernoulli(p, float64)": lambda t: t.bernoulli(t.linspace(0, 1, 31, dtype=t.float64)),
        "bernoulli_(0.2) of 3000": lambda t: t.empty(3000).bernoulli_(0.2),
        "dropout(0.4)": lambda t: t.nn.functional.dropout(t.ones(64), 0.4),
        "Dropout(0.5)": lambda t: t.nn.Dropout(0.5)(t.ones(8, 8)),
        "randn(3)": lambda t: t.randn(3),
        "multinomial with replacement": lambda t: t.multinomial(t.tensor([0.1, 0.0, 0.4, 0.5]), 12, replacement=True),
    },
    "families": {
        "_standard_gamma": lambda t: t._standard_gamma(t.tensor([0.01, 0.3, 1.0, 2.5, 10.0, 1e4])),
        "_sample_dirichlet": lambda t: t._sample_dirichlet(t.tensor([[0.1, 2.0, 3.0], [30.0, 1.0, 0.01]]).t()),
        "poisson": lambda t: t.poisson(t.tensor([0.0, 0.5, 9.9, 10.0, 30.0, 1e3, 1e6])),
        "binomial": lambda t: t.binomial(t.tensor([1.0, 5.0, 100.0, 1e3, 1e6]), t.tensor([0.5, 0.9, 0.2, 0.7, 0.01])),
        "_standard_gamma, float64": lambda t: t._standard_gamma(t.tensor([0.5, 3.0], dtype=t.float64)),
        "Normal": lambda t: t.distributions.Normal(t.zeros(3), 2.0).sample((2,)),
        "Beta": lambda t: t.distributions.Beta(t.tensor([0.5, 3.0]), 2.0).sample((2,)),
        "Gumbel": lambda t: t.distributions.Gumbel(t.zeros(3), 2.0).sample(),
        "StudentT": lambda t: t.distributions.StudentT(t.tensor([3.0, 5.0])).rsample(),
        "VonMises": lambda t: t.distributions.VonMises(t.zeros(3), 2.0).sample((2,)),
        "NegativeBinomial": lambda t: t.distributions.NegativeBinomial(t.tensor([3.0, 50.0]), 0.5).sample((3,)),
        "Categorical": lambda t: t.distributions.Categorical(t.tensor([0.1, 0.2, 0.7])).sample((9,)),
        "Multinomial": lambda t: t.distributions.Multinomial(9, t.tensor([0.1, 0.2, 0.7])).sample((3,)),
        "MultivariateNormal": lambda t: t.distributions.MultivariateNormal(t.zeros(2), t.eye(2) + 0.5).sample((3,)),
        "RelaxedBernoulli": lambda t: t.distributions.RelaxedBernoulli(t.tensor(0.5), t.tensor([0.2, 0.7])).sample(),
    },
    "modules": {
        "Linear(10, 5)": lambda t: _parameters(t.nn.Linear(10, 5)),
        "Conv2d(3, 8, 3)": lambda t: _parameters(t.nn.Conv2d(3, 8, 3)),
        "Embedding(7, 4)": lambda t: _parameters(t.nn.Embedding(7, 4)),
        "Linear(4, 3, no bias)": lambda t: _parameters(t.nn.Linear(4, 3, bias=False)),
        "two layers": lambda t: _parameters(t.nn.Sequential(t.nn.Linear(6, 4), t.nn.ReLU(), t.nn.Linear(4, 2))),
        "xavier_uniform_": lambda t: _init(t, "xavier_uniform_"),
        "xavier_normal_": lambda t: _init(t, "xavier_normal_"),
        "kaiming_normal_": lambda t: _init(t, "kaiming_normal_", mode="fan_out", nonlinearity="relu"),
    },
}


def numbers(result: Any) -> list[list[float]]:
    """The heads of the tensors that a program returns, as Python numbers."""
    results = result if isinstance(result, list) else [result]
    heads = [r.flatten().tolist()[:HEAD] for r in results]
    return [[int(v) if isinstance(v, bool) else v for v in head] for head in heads]
