"""Sums and row programs."""


def _case(call):
    def make(torch):
        x = torch.rand(1024, 1024)
        return lambda: call(torch, x)

    return make


WORKLOADS = {
    "sum_all": _case(lambda t, x: x.sum()),
    "sum_0": _case(lambda t, x: x.sum(0)),
    "sum_1": _case(lambda t, x: x.sum(1)),
    "softmax": _case(lambda t, x: t.softmax(x, 1)),
    "layer_norm": _case(lambda t, x: t.nn.functional.layer_norm(x, (1024,))),
    "cumsum": _case(lambda t, x: t.cumsum(x, 1)),
}
