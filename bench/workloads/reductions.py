"""Sums and their relatives, over each dimension and over all; running totals, sorting."""

_SIZES = {"64K": (256, 256), "1M": (1024, 1024), "16M": (4096, 4096)}


def _case(size, call, make_input=None):
    def make(torch):
        x = torch.randn(size) if make_input is None else make_input(torch, size)
        return lambda: call(torch, x)

    return make


_BY_DIM = {
    "sum": lambda t, x, d: x.sum(d),
    "max": lambda t, x, d: x.max(d),
    "argmax": lambda t, x, d: x.argmax(d),
    "var": lambda t, x, d: x.var(d),
    "norm": lambda t, x, d: t.linalg.vector_norm(x, dim=d),
}
_ALL = {
    "sum": lambda t, x: x.sum(),
    "mean": lambda t, x: x.mean(),
    "max": lambda t, x: x.max(),
    "argmax": lambda t, x: x.argmax(),
    "var": lambda t, x: x.var(),
    "norm": lambda t, x: x.norm(),
    "prod": lambda t, x: x.prod(),
}
WORKLOADS = {}
for _n, _size in _SIZES.items():
    for _name, _call in _ALL.items():
        WORKLOADS[f"{_name}_all_{_n}"] = _case(_size, _call)
    for _name, _call in _BY_DIM.items():
        for _d in (0, 1):
            WORKLOADS[f"{_name}_{_d}_{_n}"] = _case(_size, lambda t, x, call=_call, d=_d: call(t, x, d))


def _false(torch, size):
    return torch.zeros(size, dtype=torch.bool)


def _integers(torch, size):
    return torch.randint(0, 1000, size)


def _classes(size):
    """The loss of log-probabilities over many classes: one element of each row."""

    def make(torch):
        x, target = torch.randn(size), torch.randint(0, size[1], (size[0],))
        return lambda: torch.nn.functional.nll_loss(x, target)

    return make


_M = (1024, 1024)
WORKLOADS.update(
    {
        "any_all": _case(_M, lambda t, x: x.any(), _false),
        "any_1": _case(_M, lambda t, x: x.any(1), _false),
        "count_bool": _case(_M, lambda t, x: x.sum(), _false),
        "sum_int64": _case(_M, lambda t, x: x.sum(), _integers),
        "sum_middle": _case((64, 256, 64), lambda t, x: x.sum(1)),
        "sum_channels": _case((32, 64, 32, 32), lambda t, x: x.sum((0, 2, 3))),
        "mean_planes": _case((32, 64, 32, 32), lambda t, x: x.mean((2, 3))),
        "logsumexp": _case(_M, lambda t, x: x.logsumexp(1)),
        "cumsum_0": _case(_M, lambda t, x: x.cumsum(0)),
        "cumsum_1": _case(_M, lambda t, x: x.cumsum(1)),
        "sort": _case(_M, lambda t, x: x.sort(1)),
        "sort_long": _case((1 << 20,), lambda t, x: x.sort()),
        "argsort": _case(_M, lambda t, x: x.argsort(1)),
        "topk": _case(_M, lambda t, x: x.topk(10)),
        "topk_half": _case(_M, lambda t, x: x.topk(512)),
        "unique": _case(_M, lambda t, x: x.unique(), _integers),
        "bincount": _case(_M, lambda t, x: x.view(-1).bincount(), _integers),
        "median": _case(_M, lambda t, x: x.median(1)),
        "median_all": _case(_M, lambda t, x: x.median()),
        "median_short": _case((64, 64), lambda t, x: x.median(1)),
        "kthvalue": _case(_M, lambda t, x: x.kthvalue(100, 1)),
        "quantile": _case(_M, lambda t, x: t.quantile(x, 0.9, 1)),
        "sort_0": _case(_M, lambda t, x: x.sort(0)),
    }
)
WORKLOADS["nll_64x30000"] = _classes((64, 30_000))
WORKLOADS["topk_50_of_1M"] = _case((1 << 20,), lambda t, x: x.topk(50))
WORKLOADS["histc_2M"] = _case((1 << 21,), lambda t, x: t.histc(x, 100))
WORKLOADS["histogram_1M"] = _case((1 << 20,), lambda t, x: t.histogram(x, 64))
WORKLOADS["trapezoid_1M"] = _case(_SIZES["1M"], lambda t, x: t.trapezoid(x, dim=1))
for _name, _p in (("1", 1.0), ("2", 2.0), ("inf", float("inf"))):
    WORKLOADS[f"cdist_{_name}"] = _case((512, 16), lambda t, x, p=_p: t.cdist(x, x, p))
WORKLOADS["pdist"] = _case((512, 16), lambda t, x: t.nn.functional.pdist(x))
