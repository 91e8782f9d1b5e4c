"""Random numbers and dropout: the same bits as PyTorch's generator for the CPU."""

_SIZES = {"4": (2, 2), "64K": (256, 256), "4M": (2048, 2048)}
_CALLS = {
    "rand": lambda t, x: t.rand(x.shape),
    "randn": lambda t, x: t.randn(x.shape),
    "randint": lambda t, x: t.randint(0, 1000, x.shape),
    "normal_": lambda t, x: x.normal_(),
    "uniform_": lambda t, x: x.uniform_(-1, 1),
    "bernoulli": lambda t, x: t.bernoulli(x),
    "bernoulli_": lambda t, x: x.bernoulli_(0.5),
    "exponential_": lambda t, x: x.exponential_(),
    "dropout": lambda t, x: t.nn.functional.dropout(x, 0.1),
    "randperm": lambda t, x: t.randperm(x.numel()),
}


def _case(size, call):
    def make(torch):
        x = torch.rand(size)
        return lambda: call(torch, x)

    return make


def _dropout_both(torch):
    x = torch.rand(4096, 768, requires_grad=True)

    def step():
        torch.nn.functional.dropout(x, 0.1).sum().backward()
        x.grad = None

    return step


WORKLOADS = {f"{name}_{n}": _case(size, call) for name, call in _CALLS.items() for n, size in _SIZES.items()}
WORKLOADS["dropout_both"] = _dropout_both
WORKLOADS["multinomial_one"] = _case((64, 32768), lambda t, x: t.multinomial(x, 1))
WORKLOADS["multinomial_many"] = _case((64, 1000), lambda t, x: t.multinomial(x, 100, replacement=True))
