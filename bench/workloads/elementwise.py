"""Unary and binary operators by size and layout."""


def _case(n, call, layout="plain"):
    def make(torch):
        a, b = torch.rand(n, n), torch.rand(n, n)
        b = {"plain": b, "broadcast": b[0], "transposed": b.t(), "double": b.double()}[layout]
        return lambda: call(torch, a, b)

    return make


_CALLS = {"add": lambda t, a, b: a + b, "exp": lambda t, a, b: t.exp(a), "add_": lambda t, a, b: a.add_(b)}
WORKLOADS = {f"{name}_{n}": _case(n, call) for name, call in _CALLS.items() for n in (2, 256, 4096)}
WORKLOADS.update({f"add_256_{x}": _case(256, _CALLS["add"], x) for x in ("broadcast", "transposed", "double")})
